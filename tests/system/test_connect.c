/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_connect.c - what connect() means to the guest, whoever carries its connections
 *
 * Two guests do the same at the same time: one has the fast path, the other has not. What the first one sees must be what
 * a host on a real network sees, and no later than the second one sees it.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lab_helper.h"
#include "lab_test.h"

/* Much sooner than the first retransmission of a SYN. */
#define AT_ONCE_MS 500
/* How much later than without the fast path. */
#define LATER_MS 100

#define MIB (1024 * 1024)
/* Name resolution of neighbours, SYNs: what a connection taken over may leave on the TAP. */
#define FEW_BYTES 20000

static const char *const far_addresses[] = {LAB_FAR_V4, LAB_FAR_V6};

#define EACH_FAMILY(address)                                                                       \
    for (size_t each_ = 0; each_ < G_N_ELEMENTS(far_addresses); each_++)                           \
        for (const char *address = far_addresses[each_]; address != NULL; address = NULL)

static int new_socket(Lab *lab, LabPlace place, const char *address)
{
    int fd =
        lab_socket(lab, place, lab_address_is_v6(address) ? AF_INET6 : AF_INET, SOCK_STREAM, 0);

    LAB_ASSERT_CALL(fd);
    return fd;
}

/* ---- failures ---- */

/* A way to fail; for both families what connect() says on a real network. */
typedef struct Failure {
    const char *what;
    const char *address[2];
    uint16_t port;
    int wanted[2];
    bool slow;       /* not at once */
    bool from_afar;  /* an ICMP error sent to the host: libslirp does not pass it on */
    bool here_other; /* a socket of the host itself gets another errno, or libslirp's guest does */
} Failure;

#define FAR_BOTH                                                                                   \
    {                                                                                              \
        LAB_FAR_V4, LAB_FAR_V6                                                                     \
    }

static const Failure failures[] = {
    {"closed port", FAR_BOTH, 81, {ECONNREFUSED, ECONNREFUSED}, .slow = false},
    {"reset", FAR_BOTH, 82, {ECONNREFUSED, ECONNREFUSED}, .slow = false},
    {"port unreachable", FAR_BOTH, 83, {ECONNREFUSED, ECONNREFUSED}, .from_afar = true},
    {"prohibited afar", FAR_BOTH, 84, {EHOSTUNREACH, EACCES}, .from_afar = true},
    {"unreachable afar", FAR_BOTH, 85, {EHOSTUNREACH, EHOSTUNREACH}, .from_afar = true},
    {"no route afar", FAR_BOTH, 86, {ENETUNREACH, ENETUNREACH}, .from_afar = true},
    {"black hole", FAR_BOTH, 87, {ETIMEDOUT, ETIMEDOUT}, .slow = true},
    {"unreachable",
     {"198.18.0.1", "2001:db8:70::1"},
     81,
     {EHOSTUNREACH, EHOSTUNREACH},
     .slow = false},
    {"prohibited",
     {"198.18.1.1", "2001:db8:71::1"},
     81,
     {EHOSTUNREACH, EACCES},
     .here_other = true},
    {"no route", {"198.18.2.1", "2001:db8:72::1"}, 81, {ENETUNREACH, ENETUNREACH}, .slow = false},
};

#define FAILURES G_N_ELEMENTS(failures)

static void make_failures(Lab *lab)
{
    static const char *const kinds[] = {"unreachable", "prohibit", "throw"};

    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        lab_do(lab, LAB_HOST, "ip route add %s 198.18.%zu.0/24", kinds[i], i);
        lab_do(lab, LAB_HOST, "ip route add %s 2001:db8:7%zu::/64", kinds[i], i);
    }
    lab_sysctl(lab, LAB_FAR, "net/ipv4/icmp_ratelimit", "0");
    lab_sysctl(lab, LAB_FAR, "net/ipv6/icmp/ratelimit", "0");
    lab_nft(lab, LAB_FAR,
            "table inet f { chain i { type filter hook input priority 0;\n"
            "tcp dport 82 reject with tcp reset\n"
            "tcp dport 83 reject with icmpx type port-unreachable\n"
            "tcp dport 84 reject with icmpx type admin-prohibited\n"
            "tcp dport 85 reject with icmpx type host-unreachable\n"
            "tcp dport 86 reject with icmpx type no-route\n"
            "tcp dport 87 drop\n"
            "}\n}\n");
}

/* @fast, @off, @here: the same case tried by the guests and by the host itself. */
static void judge(const Failure *failure, int six, const LabAttempt *fast, const LabAttempt *off,
                  const LabAttempt *here)
{
    int wanted = failure->wanted[six];

    LAB_CHECK(fast->error == wanted, "%s, %s: %s after %d ms, wanted %s", failure->what,
              fast->address, strerror(fast->error), fast->ms, strerror(wanted));
    LAB_CHECK((fast->revents & POLLERR) != 0, "%s, %s: poll says %#x", failure->what, fast->address,
              (unsigned)fast->revents);
    LAB_CHECK(fast->ms <= off->ms + LAB_MS(LATER_MS), "%s, %s: %d ms, %d ms without the fast path",
              failure->what, fast->address, fast->ms, off->ms);
    if (failure->slow)
        LAB_CHECK(ABS(fast->ms - here->ms) <= LAB_MS(LATER_MS), "%s, %s: %d ms, %d ms on the host",
                  failure->what, fast->address, fast->ms, here->ms);
    else
        /* A host that gets an error while it is still in connect() itself sees the next one. */
        LAB_CHECK(fast->ms < LAB_MS(AT_ONCE_MS) ||
                      (failure->from_afar && fast->ms < here->ms + LAB_MS(LATER_MS)),
                  "%s, %s: %d ms, %d ms on the host", failure->what, fast->address, fast->ms,
                  here->ms);
    LAB_CHECK(failure->here_other || here->error == wanted, "%s, %s: the host itself got %s",
              failure->what, here->address, strerror(here->error));
    LAB_CHECK(failure->here_other || failure->from_afar || off->error == wanted,
              "%s, %s: %s without the fast path", failure->what, off->address,
              strerror(off->error));
}

LAB_TEST(connect, failures_are_those_of_a_host_on_a_real_network)
{
    LabPair pair = lab_pair(lab, NULL);
    LabPlace places[] = {pair.guest[0], pair.guest[1], LAB_RUNTIME};
    LabAttempt attempts[FAILURES][2][G_N_ELEMENTS(places)];
    const int one = 1;

    make_failures(lab);
    for (size_t i = 0; i < FAILURES; i++)
        for (int six = 0; six < 2; six++)
            for (size_t place = 0; place < G_N_ELEMENTS(places); place++) {
                LabAttempt *attempt = &attempts[i][six][place];

                *attempt =
                    (LabAttempt){.address = failures[i].address[six], .port = failures[i].port};
                attempt->fd = new_socket(lab, places[place], attempt->address);
                /* A SYN timeout of 3 s, or less. */
                LAB_ASSERT_CALL(setsockopt(attempt->fd, IPPROTO_TCP, TCP_SYNCNT, &one, sizeof one));
            }
    lab_attempts(attempts[0][0], sizeof attempts / sizeof attempts[0][0][0], LAB_MS(LAB_WAIT_MS));
    for (size_t i = 0; i < FAILURES; i++)
        for (int six = 0; six < 2; six++)
            judge(&failures[i], six, &attempts[i][six][0], &attempts[i][six][1],
                  &attempts[i][six][2]);
}

typedef struct Destination {
    socklen_t length;
    struct sockaddr_storage address;
} Destination;

/* LabFunction: returns the errno of a connect() that blocks. */
static int block(const void *argument, size_t length)
{
    const Destination *to = argument;
    int fd = socket(to->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    (void)length;
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &one, sizeof one) < 0)
        return 255;
    return connect(fd, (const struct sockaddr *)&to->address, to->length) < 0 ? errno : 0;
}

LAB_TEST(connect, a_socket_that_blocks_sees_the_same_failures)
{
    LabJob *jobs[FAILURES][2];

    (void)lab_helper(lab, "--fast-path=require", NULL);
    make_failures(lab);
    for (size_t i = 0; i < FAILURES; i++)
        for (int six = 0; six < 2; six++) {
            Destination to = {0};

            to.length = lab_address(&to.address, failures[i].address[six], failures[i].port);
            jobs[i][six] = lab_start(lab, LAB_GUEST, block, &to, sizeof to);
        }
    for (size_t i = 0; i < FAILURES; i++)
        for (int six = 0; six < 2; six++) {
            int got = lab_job_wait(jobs[i][six], LAB_MS(LAB_WAIT_MS));

            LAB_CHECK(got == failures[i].wanted[six], "%s, %s: %s, wanted %s", failures[i].what,
                      failures[i].address[six], strerror(got), strerror(failures[i].wanted[six]));
        }
}

/* ---- patience ---- */

#define DROP_88                                                                                    \
    "table inet d { chain i { type filter hook input priority 0; tcp dport 88 counter drop; "      \
    "}\n}\n"

/* SYNs that FAR has dropped. */
static unsigned dropped(Lab *lab)
{
    g_autofree char *text = lab_says(
        lab, LAB_FAR, "nft list table inet d | sed -n 's/.*packets \\([0-9]*\\) .*/\\1/p'");

    return (unsigned)g_ascii_strtoull(text, NULL, 10);
}

static void await_dropped(Lab *lab, unsigned count)
{
    int64_t end = lab_now() + LAB_MS(LAB_WAIT_MS);

    while (dropped(lab) < count) {
        LAB_CHECK(lab_now() < end, "%u SYNs of %u", dropped(lab), count);
        g_usleep(5000);
    }
}

/* Begins to connect from port 4444 to the silent port 88. */
static int begun(Lab *lab, LabPlace guest, const char *address)
{
    struct sockaddr_storage to;
    socklen_t length = lab_address(&to, address, 88);
    int fd = lab_socket_bound(lab, guest, SOCK_STREAM,
                              lab_address_is_v6(address) ? "::" : "0.0.0.0", 4444);

    LAB_ASSERT_CALL(fd);
    LAB_ASSERT_CALL(fcntl(fd, F_SETFL, O_NONBLOCK));
    LAB_ASSERT(connect(fd, (struct sockaddr *)&to, length) < 0 && errno == EINPROGRESS);
    return fd;
}

/* What the far machine echoes; closes. */
static void is_echoed(int take_fd)
{
    char text[6] = "";

    lab_send(take_fd, "hello", 5);
    lab_recv(take_fd, text, 5);
    LAB_ASSERT(strcmp(text, "hello") == 0);
    lab_reset(take_fd);
}

/* The far machine's SYN-ACK comes with the host's next SYN only: what is measured is that libslirp is no quicker. */
LAB_TEST(connect, one_that_is_given_up_does_not_delay_the_next_of_its_tuple)
{
    LabPair pair = lab_pair(lab, NULL);

    EACH_FAMILY(address)
    {
        pid_t server = lab_serve_tcp(lab, lab_listen(lab, LAB_FAR, address, 88), LAB_ECHO);
        int ms[2];

        for (int i = 0; i < 2; i++) {
            LabAttempt attempt;
            int fd;

            lab_nft(lab, LAB_FAR, DROP_88);
            fd = begun(lab, pair.guest[i], address);
            await_dropped(lab, 1);
            close(fd);
            lab_do(lab, LAB_FAR, "nft delete table inet d");
            attempt = lab_attempt(lab, pair.guest[i], address, 88, 4444);
            LAB_CHECK(attempt.fd >= 0, "%s, %s: %s after %d ms", pair.name[i], address,
                      strerror(attempt.error), attempt.ms);
            ms[i] = attempt.ms;
            is_echoed(attempt.fd);
        }
        LAB_CHECK(ms[0] <= MAX(ms[1], 1000) + LAB_MS(LATER_MS),
                  "%s: %d ms, %d ms without the fast path", address, ms[0], ms[1]);
        lab_serve_end(lab, server);
    }
}

/* A connect() that is given up while the far machine is silent, which then is silent no more: the host's own connection, in
 * vain. Return: the far machine's end of it, unless it never came about */
static int in_vain(Lab *lab, LabPlace guest, const char *address, int listener)
{
    lab_nft(lab, LAB_FAR, DROP_88);
    close(begun(lab, guest, address));
    await_dropped(lab, 1);
    lab_do(lab, LAB_FAR, "nft delete table inet d");
    return lab_accept(listener, LAB_MS(1500));
}

LAB_TEST(connect, one_that_is_given_up_leaves_its_destination_fast)
{
    (void)lab_helper(lab, "--fast-path=require", NULL);
    EACH_FAMILY(address)
    {
        int listener = lab_listen(lab, LAB_FAR, address, 88);
        int other = lab_listen(lab, LAB_FAR, address, 80);
        int far = in_vain(lab, LAB_GUEST, address, listener);
        uint64_t before;
        LabAttempt attempt;

        LAB_ASSERT(far < 0 || lab_wait_end(far, LAB_MS(1000)) != LAB_END_NONE);
        before = lab_tap_bytes(lab, LAB_GUEST);
        attempt = lab_attempt(lab, LAB_GUEST, address, 80, 0);
        LAB_CHECK(attempt.fd >= 0 && attempt.ms < LAB_MS(LATER_MS), "%s: %s after %d ms", address,
                  strerror(attempt.error), attempt.ms);
        lab_transfer(attempt.fd, lab_accepted(other), MIB, MIB, 0);
        LAB_CHECK(lab_tap_bytes(lab, LAB_GUEST) - before < FEW_BYTES, "%s: went over the TAP",
                  address);
        close(listener);
        close(other);
    }
}

LAB_TEST(connect, one_that_is_given_up_leaves_no_connection_at_the_far_end)
{
    LabPair pair = lab_pair(lab, NULL);

    EACH_FAMILY(address)
    {
        int listener = lab_listen(lab, LAB_FAR, address, 88);

        for (int i = 1; i >= 0; i--)
            for (int far = in_vain(lab, pair.guest[i], address, listener); far >= 0;
                 far = lab_accept(listener, LAB_MS(300))) {
                LabEnd end = lab_wait_end(far, LAB_MS(2000));

                LAB_CHECK(end == LAB_END_EOF || end == LAB_END_RESET,
                          "%s, %s: %s within 2 s on a connection that nobody wants", pair.name[i],
                          address, lab_end_text(end));
                close(far);
            }
        close(listener);
    }
}

/* The host's SYN timeout is no news for the guest, who asks again. */
LAB_TEST(connect, the_guests_patience_counts_and_not_the_hosts)
{
    LabAttempt attempts[2];
    const int patience = 3;

    lab_sysctl(lab, LAB_HOST, "net/ipv4/tcp_syn_retries", "1");
    (void)lab_helper(lab, "--fast-path=require", NULL);
    lab_nft(lab, LAB_FAR, DROP_88);
    for (size_t i = 0; i < 2; i++) {
        (void)lab_serve_tcp(lab, lab_listen(lab, LAB_FAR, far_addresses[i], 88), LAB_ECHO);
        attempts[i] = (LabAttempt){.address = far_addresses[i], .port = 88};
        attempts[i].fd = new_socket(lab, LAB_GUEST, far_addresses[i]);
        LAB_ASSERT_CALL(
            setsockopt(attempts[i].fd, IPPROTO_TCP, TCP_SYNCNT, &patience, sizeof patience));
    }
    /* SYNs of the host at 0 and 1 s, of the guest at 0, 1, 3 and 7 s; the rule is gone after 4 s. */
    static const char *const later[] = {"sh", "-c", "sleep 4; nft delete table inet d", NULL};
    LabJob *job = lab_startv(lab, LAB_FAR, later);
    lab_attempts(attempts, 2, LAB_MS(9000));
    for (size_t i = 0; i < 2; i++) {
        LAB_CHECK(attempts[i].fd >= 0, "%s: %s after %d ms", attempts[i].address,
                  strerror(attempts[i].error), attempts[i].ms);
        LAB_CHECK(attempts[i].ms > 3900, "%s: %d ms", attempts[i].address, attempts[i].ms);
        is_echoed(attempts[i].fd);
    }
    LAB_ASSERT_EQ(lab_job_wait(job, LAB_MS(LAB_WAIT_MS)), 0);
}

/* ---- programs ---- */

/* In both guests. */
static void both_run(Lab *lab, const LabPair *pair, int status, int at_most_ms, const char *command)
{
    for (int i = 0; i < 2; i++) {
        int64_t begin = lab_now(), ms;
        int got = lab_exec(lab, pair->guest[i], NULL, "sh", "-c", command, NULL);

        ms = lab_now() - begin;
        LAB_CHECK(got == status, "%s: %s: status %d after %d ms", pair->name[i], command, got,
                  (int)ms);
        LAB_CHECK(ms < at_most_ms, "%s: %s took %d ms", pair->name[i], command, (int)ms);
    }
}

LAB_TEST(connect, nc_z_knows_open_ports_from_closed_and_silent_ones)
{
    LabPair pair;

    if (lab_exec(lab, LAB_RUNTIME, NULL, "sh", "-c", "command -v nc >/dev/null", NULL) != 0)
        lab_cannot("there is no nc");
    pair = lab_pair(lab, NULL);
    lab_nft(lab, LAB_FAR, DROP_88);
    EACH_FAMILY(address)
    {
        g_autofree char *open = g_strdup_printf("nc -n -z -w 2 %s 80", address);
        g_autofree char *closed = g_strdup_printf("nc -n -z -w 2 %s 81", address);
        g_autofree char *silent = g_strdup_printf("nc -n -z -w 1 %s 88", address);
        g_autofree char *range = g_strdup_printf(
            "test \"$(nc -n -v -z -w 1 %s 78-83 2>&1 | grep -c succeeded)\" = 1", address);

        (void)lab_serve_tcp(lab, lab_listen(lab, LAB_FAR, address, 80), LAB_DISCARD);
        both_run(lab, &pair, 0, LAB_MS(AT_ONCE_MS), open);
        both_run(lab, &pair, 1, LAB_MS(AT_ONCE_MS), closed);
        both_run(lab, &pair, 1, LAB_MS(1000 + AT_ONCE_MS), silent);
        both_run(lab, &pair, 0, LAB_MS(2 * AT_ONCE_MS), range);
    }
}

/* Resets that the far machine has sent. */
static unsigned refused(Lab *lab)
{
    g_autofree char *text =
        lab_says(lab, LAB_FAR, "awk '/^Tcp: [0-9]/ { print $15 }' /proc/net/snmp");

    return (unsigned)g_ascii_strtoull(text, NULL, 10);
}

LAB_TEST(connect, a_script_that_waits_for_a_port_goes_on_when_it_is_there)
{
    (void)lab_helper(lab, "--fast-path=require", NULL);
    EACH_FAMILY(address)
    {
        g_autofree char *loop = g_strdup_printf(
            "until (exec 3<>/dev/tcp/%s/89) 2>/dev/null; do sleep 0.02; done", address);
        const char *const words[] = {"bash", "-c", loop, NULL};
        unsigned before = refused(lab);
        int64_t begin = lab_now();
        LabJob *job = lab_startv(lab, LAB_GUEST, words);

        while (refused(lab) < before + 5) {
            LAB_CHECK(lab_now() < begin + LAB_MS(LAB_WAIT_MS), "%u refusals",
                      refused(lab) - before);
            g_usleep(10000);
        }
        (void)lab_serve_tcp(lab, lab_listen(lab, LAB_FAR, address, 89), LAB_SINK);
        begin = lab_now();
        LAB_ASSERT_EQ(lab_job_wait(job, LAB_MS(LAB_WAIT_MS)), 0);
        LAB_CHECK(lab_now() - begin < LAB_MS(200), "%s: %d ms", address, (int)(lab_now() - begin));
    }
}

/* ---- happy eyeballs ---- */

typedef struct Race {
    int winner; /* of the addresses */
    int ms;
} Race;

/* RFC 8305: the next address is tried after 250 ms, or as soon as the one before has failed; the first one wins. */
static Race race(Lab *lab, LabPlace guest, const char *const addresses[2])
{
    struct pollfd polls[2] = {{.fd = -1, .events = POLLOUT}, {.fd = -1, .events = POLLOUT}};
    int64_t begin = lab_now(), next = begin;
    Race result = {-1, 0};

    for (int tried = 0; result.winner < 0;) {
        int64_t now = lab_now();

        LAB_CHECK(now < begin + LAB_MS(LAB_WAIT_MS), "nobody wins");
        if (tried < 2 && now >= next) {
            struct sockaddr_storage to;
            socklen_t length = lab_address(&to, addresses[tried], 80);
            int fd = new_socket(lab, guest, addresses[tried]);

            LAB_ASSERT_CALL(fcntl(fd, F_SETFL, O_NONBLOCK));
            (void)connect(fd, (struct sockaddr *)&to, length);
            polls[tried++].fd = fd;
            next = now + 250;
        }
        (void)poll(polls, 2, tried < 2 ? (int)MAX(0, next - lab_now()) : LAB_MS(LAB_WAIT_MS));
        for (int i = 0; i < tried; i++) {
            int failed = 0;
            socklen_t size = sizeof failed;

            if (polls[i].fd < 0 || polls[i].revents == 0)
                continue;
            LAB_ASSERT_CALL(getsockopt(polls[i].fd, SOL_SOCKET, SO_ERROR, &failed, &size));
            if (failed == 0) {
                result = (Race){i, (int)(lab_now() - begin)};
                break;
            }
            close(polls[i].fd);
            polls[i].fd = -1;
            next = lab_now();
        }
    }
    close(polls[1 - result.winner].fd);
    is_echoed(polls[result.winner].fd);
    return result;
}

LAB_TEST(connect, happy_eyeballs_find_the_address_that_lives)
{
    static const struct {
        const char *addresses[2];
        int winner, at_least_ms, at_most_ms;
    } rows[] = {
        {{LAB_FAR_V6, LAB_FAR_V4}, 0, 0, 100},       /* both live */
        {{"2001:db8:70::1", LAB_FAR_V4}, 1, 0, 100}, /* unreachable */
        {{"2001:db8:72::1", LAB_FAR_V4}, 1, 0, 100}, /* no route */
        {{LAB_ROUTED_V6, LAB_FAR_V4}, 1, 250, 350},  /* a black hole */
        {{"198.18.0.1", LAB_FAR_V6}, 1, 0, 100},     /* unreachable */
        {{LAB_ROUTED_V4, LAB_FAR_V6}, 1, 250, 350},  /* a black hole */
    };
    LabPair pair = lab_pair(lab, NULL);

    make_failures(lab);
    lab_nft(lab, LAB_FAR,
            "table inet h { chain i { type filter hook input priority 0;\n"
            "ip daddr " LAB_ROUTED_V4 " drop\nip6 daddr " LAB_ROUTED_V6 " drop\n}\n}\n");
    for (size_t i = 0; i < 2; i++)
        (void)lab_serve_tcp(lab, lab_listen(lab, LAB_FAR, far_addresses[i], 80), LAB_ECHO);
    /* Three times: what is known of an address by then must not change anything. */
    for (size_t i = 0; i < 3 * G_N_ELEMENTS(rows); i++)
        for (int k = 0; k < 2; k++) {
            size_t row = i % G_N_ELEMENTS(rows);
            Race result = race(lab, pair.guest[k], rows[row].addresses);

            LAB_CHECK(result.winner == rows[row].winner && result.ms >= rows[row].at_least_ms &&
                          result.ms < LAB_MS(rows[row].at_most_ms),
                      "%s: of %s and %s, number %d wins after %d ms", pair.name[k],
                      rows[row].addresses[0], rows[row].addresses[1], result.winner, result.ms);
        }
}

/* ---- SYNs with data ---- */

LAB_TEST(connect, tcp_fast_open_works)
{
    LabPair pair = lab_pair(lab, NULL);

    for (int i = 0; i < 2; i++) {
        /* A client that sends data even without a cookie; the first connection would only ask for one. */
        lab_sysctl(lab, pair.guest[i], "net/ipv4/tcp_fastopen", "5");
        lab_nft(lab, pair.guest[i],
                "table inet t { chain o { type filter hook output priority 0;\n"
                "tcp flags & (syn|ack) == syn meta length > 600 counter\n}\n}\n");
        EACH_FAMILY(address)
        {
            static char data[600];
            int listener = lab_listen(lab, LAB_FAR, address, 80), far;
            int fd = new_socket(lab, pair.guest[i], address);
            struct sockaddr_storage to;
            socklen_t length = lab_address(&to, address, 80);

            LAB_ASSERT_EQ(
                sendto(fd, data, sizeof data, MSG_FASTOPEN, (struct sockaddr *)&to, length),
                sizeof data);
            far = lab_accepted(listener);
            lab_recv(far, data, sizeof data);
            lab_say(fd, far, "and then");
            lab_transfer(fd, far, MIB, MIB, 0);
            close(fd);
            close(far);
            close(listener);
        }
        g_free(lab_says(lab, pair.guest[i], "nft list table inet t | grep 'packets 2 '"));
    }
}
