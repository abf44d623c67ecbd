/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_takeover_late.c - rules that come behind "ready"
 *
 * With --fast-path auto nftables rules come when everything else is done, unless the guest has some already. Who connects
 * meanwhile waits for them, and is carried like everyone later.
 *
 * The moment between is made as long as a test wants it (LateLoad): the kernel asks the test before it lets the transaction
 * through (seccomp_unotify(2)).
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "lab_test.h"
#include "takeoverfixture.h"

#define AT_ONCE 50

static bool table_there(Lab *lab)
{
    g_autofree char *tables = place_says(lab, LAB_GUEST, "nft list tables");

    return strstr(tables, "sallyport") != NULL;
}

static void table_comes(Lab *lab)
{
    int64_t end = lab_now() + LAB_MS(1000);

    while (!table_there(lab))
        LAB_CHECK(lab_now() < end, "no rules within a second");
}

static LabHelper *late_helper(Lab *lab, const char *publish)
{
    LabHelper *helper = lab_helper(lab, "--fast-path=auto", publish, NULL);
    const char *ready = lab_helper_await(helper, SALLYPORT_EVENT_READY, NULL, 0);

    LAB_CHECK(strstr(ready, "\"fast_path\":{\"on\":true,\"loaded\":false}") != NULL, "%s", ready);
    return helper;
}

/* ---- a transaction that takes its time ---- */

typedef struct LateLoad {
    int listener; /* of seccomp */
    struct seccomp_notif asked;
} LateLoad;

/* From now on the helper's large messages to netlink wait: sendto(2) to an address as long as netlink's, of a transaction's length.
 * With @refused they fail by that errno instead. */
static LateLoad late_load(int refused)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendto, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, sizeof(struct sockaddr_nl), 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 1500, 0, 1),
        BPF_STMT(BPF_RET | BPF_K,
                 refused != 0 ? SECCOMP_RET_ERRNO | (unsigned)refused : SECCOMP_RET_USER_NOTIF),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {G_N_ELEMENTS(code), code};
    LateLoad late = {.listener = -1};

    LAB_ASSERT_CALL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    late.listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                 refused != 0 ? 0 : SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    LAB_ASSERT_CALL(late.listener);
    return late;
}

static void load_begins(LateLoad *late)
{
    struct pollfd fd = {.fd = late->listener, .events = POLLIN};

    LAB_CHECK(poll(&fd, 1, LAB_WAIT_MS) == 1, "no transaction");
    memset(&late->asked, 0, sizeof late->asked); /* or it is EINVAL */
    LAB_ASSERT_CALL(ioctl(late->listener, SECCOMP_IOCTL_NOTIF_RECV, &late->asked));
}

static void load_goes_on(LateLoad *late)
{
    struct seccomp_notif_resp answer = {.id = late->asked.id,
                                        .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};

    LAB_ASSERT_CALL(ioctl(late->listener, SECCOMP_IOCTL_NOTIF_SEND, &answer));
}

/* A connect() that does not wait. */
static int dial(Lab *lab, const char *address, uint16_t port)
{
    struct sockaddr_storage to;
    socklen_t len = lab_address(&to, address, port);
    int fd = lab_socket(lab, LAB_GUEST, to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

    LAB_ASSERT_CALL(fd);
    LAB_ASSERT(connect(fd, (struct sockaddr *)&to, len) == 0 || errno == EINPROGRESS);
    return fd;
}

static bool connected(int fd, int timeout_ms)
{
    struct pollfd pfd = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;

    return poll(&pfd, 1, timeout_ms) == 1 &&
           getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

/* ---- who connects at once ---- */

LAB_TEST(takeover_late, the_first_connection_is_carried_by_the_guests_kernel)
{
    (void)late_helper(lab, NULL);
    LAB_ASSERT(carries(lab, connection(lab, LAB_FAR_V4)));
    LAB_ASSERT(table_there(lab));
    is_fast(lab);
}

LAB_TEST(takeover_late, so_it_is_by_ipv6)
{
    (void)late_helper(lab, NULL);
    LAB_ASSERT(carries(lab, connection(lab, LAB_FAR_V6)));
    is_fast(lab);
}

LAB_TEST(takeover_late, rules_come_without_a_connection)
{
    (void)late_helper(lab, NULL);
    table_comes(lab);
}

LAB_TEST(takeover_late, those_that_come_between_wait_and_are_carried)
{
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    const int count = lab_time_factor() > 1 ? 5 : AT_ONCE; /* in the 40 ms that they wait */
    LateLoad late = late_load(0);
    int fds[AT_ONCE];
    uint64_t before;

    (void)late_helper(lab, NULL);
    load_begins(&late);
    for (int i = 0; i < count; i++)
        fds[i] = dial(lab, LAB_FAR_V4, lab_port(listener));
    LAB_CHECK(!connected(fds[0], 2), "carried without rules");
    load_goes_on(&late);
    for (int i = 0; i < count; i++)
        LAB_ASSERT(connected(fds[i], LAB_MS(1000)));
    before = tap_bytes(lab);
    for (int i = 0; i < count; i++) {
        int far = lab_accepted(listener);

        /* Perhaps not its own, for the order in which they are accepted is nobody's. */
        lab_send(fds[i], "x", 1);
        close(far);
        close(fds[i]);
    }
    LAB_CHECK(tap_bytes(lab) - before < FEW_BYTES / 10, "%d bytes went over the TAP",
              (int)(tap_bytes(lab) - before));
    is_fast(lab);
}

/* Whatever becomes of one that waits, the others and the helper go on. */
LAB_TEST(takeover_late, those_that_give_up_or_come_anew_while_they_wait_do_no_harm)
{
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    LateLoad late = late_load(0);
    int fds[AT_ONCE];

    (void)late_helper(lab, NULL);
    load_begins(&late);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < AT_ONCE; i++) {
            struct sockaddr_storage from, to;
            socklen_t len = lab_address(&from, "0.0.0.0", (uint16_t)(40000 + i));
            int one = 1;

            /* The same tuples again: newer SYNs of what is held. */
            fds[i] = lab_socket(lab, LAB_GUEST, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
            LAB_ASSERT_CALL(setsockopt(fds[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
            LAB_ASSERT_CALL(bind(fds[i], (struct sockaddr *)&from, len));
            len = lab_address(&to, LAB_FAR_V4, lab_port(listener));
            LAB_ASSERT(connect(fds[i], (struct sockaddr *)&to, len) == 0 || errno == EINPROGRESS);
        }
        for (int i = 0; round < 2 && i < AT_ONCE; i++)
            close(fds[i]);
    }
    load_goes_on(&late);
    for (int i = 0; i < AT_ONCE; i++) {
        LAB_ASSERT(connected(fds[i], LAB_MS(2000)));
        close(fds[i]);
    }
    is_fast(lab);
}

LAB_TEST(takeover_late, one_that_waits_may_be_given_up_for_a_newer_one)
{
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    LateLoad late = late_load(0);
    int fds[8];

    (void)lab_helper(lab, "--fast-path=auto", "--max-pending=2", NULL);
    load_begins(&late);
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
        fds[i] = dial(lab, LAB_FAR_V4, lab_port(listener));
    (void)poll(NULL, 0, 5);
    load_goes_on(&late);
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        LAB_ASSERT(connected(fds[i], LAB_MS(5000)));
        close(fds[i]);
    }
    is_fast(lab);
}

LAB_TEST(takeover_late, a_refused_one_is_refused_at_once_and_the_next_is_carried)
{
    int fd, listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    struct sockaddr_storage to;
    socklen_t len = lab_address(&to, LAB_FAR_V4, lab_port(listener));

    (void)late_helper(lab, NULL);
    close(listener);
    fd = lab_socket(lab, LAB_GUEST, AF_INET, SOCK_STREAM, 0);
    LAB_ASSERT_CALL(fd);
    LAB_ASSERT(connect(fd, (struct sockaddr *)&to, len) < 0 && errno == ECONNREFUSED);
    close(fd);
    is_fast(lab);
}

/* Inside must have them before it makes its first socket: the guest's own rule would take the client's address away. */
LAB_TEST(takeover_late, the_first_client_is_seen_through_a_masquerade_of_the_guests)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    char text[INET6_ADDRSTRLEN];
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80), client, server;

    (void)late_helper(lab, "-p8080:80");
    guest_firewall(lab, "table ip g { chain post { type nat hook postrouting priority 100; "
                        "masquerade; }\n}\n");
    client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    server = lab_accepted(listener);
    LAB_ASSERT_CALL(getpeername(server, (struct sockaddr *)&from, &len));
    LAB_ASSERT(inet_ntop(AF_INET, &((struct sockaddr_in *)&from)->sin_addr, text, sizeof text));
    LAB_CHECK(strcmp(text, LAB_FAR_V4) == 0, "the client appears as %s", text);
    close(client);
    close(server);
    close(listener);
}

/* Its NAT would see the SYN before our rules do, and they would not find the flow. */
LAB_TEST(takeover_late, where_the_guest_has_rules_ours_are_there_first)
{
    static const char *const flags[] = {"", "fully-random"};

    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        g_autofree char *rules = g_strdup_printf(
            "table inet g%zu { chain post { type nat hook postrouting priority 100; "
            "masquerade %s; }\n}\n",
            i, flags[i]);
        LabHelper *helper;
        const char *ready;

        guest_firewall(lab, rules);
        helper = lab_helper(lab, "--fast-path=auto", NULL);
        ready = lab_helper_await(helper, SALLYPORT_EVENT_READY, NULL, 0);
        LAB_CHECK(strstr(ready, "\"loaded\":true") != NULL, "%s", ready);
        is_fast(lab);
        lab_helper_stop(helper);
        lab_do(lab, LAB_GUEST, "nft flush ruleset");
    }
}

/* Rules that it puts there between have seen SYNs that wait: these are libslirp's, if need be, and connect all the same. */
LAB_TEST(takeover_late, rules_of_the_guests_that_come_between_cost_no_connection)
{
    LateLoad late = late_load(0);
    int fds[2], listeners[2];

    (void)late_helper(lab, NULL);
    load_begins(&late);
    guest_firewall(lab, "table inet g { chain post { type nat hook postrouting priority 100; "
                        "masquerade fully-random; }\n}\n");
    for (int i = 0; i < 2; i++) {
        listeners[i] = lab_listen(lab, LAB_FAR, far_addresses[i], 0);
        fds[i] = dial(lab, far_addresses[i], lab_port(listeners[i]));
    }
    (void)poll(NULL, 0, 5);
    load_goes_on(&late);
    for (int i = 0; i < 2; i++) {
        LAB_CHECK(connected(fds[i], LAB_MS(1000)), "to %s", far_addresses[i]);
        close(fds[i]);
        close(listeners[i]);
    }
    is_fast(lab);
}

/* A sandbox may switch it off as soon as it runs. */
LAB_TEST(takeover_late, ipv6_that_is_switched_off_between_leaves_ipv4_fast)
{
    LateLoad late = late_load(0);

    (void)late_helper(lab, NULL);
    lab_sysctl(lab, LAB_GUEST, "net/ipv6/conf/all/disable_ipv6", "1");
    load_begins(&late);
    load_goes_on(&late);
    LAB_ASSERT(carries(lab, connection(lab, LAB_FAR_V4)));
}

LAB_TEST(takeover_late, what_cannot_be_loaded_is_told_once_and_libslirp_serves)
{
    LabHelper *helper;

    (void)late_load(EOPNOTSUPP);
    helper = late_helper(lab, NULL);
    LAB_ASSERT(lab_helper_await(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_FAST_PATH,
                                LAB_MS(LAB_WAIT_MS)) != NULL);
    is_served(lab);
    lab_do(lab, LAB_GUEST, "ss -K -l -t");
    is_served(lab);
    LAB_ASSERT_EQ(lab_helper_count(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_FAST_PATH), 1);
}

/* The guest's root may destroy the listener before anyone has used it. */
LAB_TEST(takeover_late, a_listener_destroyed_between_is_made_again)
{
    LateLoad late = late_load(0);
    LabHelper *helper = late_helper(lab, NULL);

    load_begins(&late);
    lab_do(lab, LAB_GUEST, "ss -K -l -t");
    LAB_ASSERT(lab_helper_await(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_FAST_PATH,
                                LAB_MS(LAB_WAIT_MS)) != NULL);
    load_goes_on(&late);
    load_begins(&late); /* for the new one */
    load_goes_on(&late);
    for (int i = 0; i < 50 && !carries(lab, connection(lab, LAB_FAR_V4)); i++)
        g_usleep(20000);
    is_fast(lab);
}

/* One whose rules do not come goes to libslirp within the 100 ms that the fast path may cost; the next does not even wait. */
LAB_TEST(takeover_late, nobody_waits_long_for_rules)
{
    LateLoad late = late_load(0);
    int64_t begin, took;

    (void)late_helper(lab, NULL);
    load_begins(&late);
    begin = lab_now();
    address_is_served(lab, LAB_FAR_V4);
    took = lab_now() - begin;
    /* 40 ms, and what the server takes to start and to end. */
    LAB_CHECK(took < LAB_MS(100) && took >= 40, "%d ms", (int)took);
    begin = lab_now();
    address_is_served(lab, LAB_FAR_V4);
    took = lab_now() - begin;
    LAB_CHECK(took < LAB_MS(40), "%d ms for the next", (int)took);
    load_goes_on(&late);
    table_comes(lab);
    is_fast(lab);
}
