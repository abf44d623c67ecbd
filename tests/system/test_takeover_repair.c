/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_takeover_repair.c - what the guest's root destroys of the fast path, and what its limits leave over
 *
 * Whatever is gone, connections go on: live ones in the kernel or back into it, new ones by libslirp at the latest.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>

#include "lab_test.h"
#include "takeoverfixture.h"

/* ---- flushes ---- */

static bool guest_can(Lab *lab, const char *command)
{
    return lab_exec(lab, LAB_GUEST, NULL, "sh", "-c", command, NULL) == 0;
}

LAB_TEST(takeover_repair, the_guests_root_cannot_touch_the_table)
{
    static const char *const commands[] = {
        "nft delete table inet sallyport", "nft flush table inet sallyport",
        "nft flush chain inet sallyport o", "nft insert rule inet sallyport o drop",
        "nft add chain inet sallyport x '{ type filter hook output priority 0; policy drop; }'"};
    Ends live[2];

    (void)fast_helper(lab);
    live[0] = connection(lab, LAB_FAR_V4);
    live[1] = connection(lab, LAB_FAR_V6);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        LAB_CHECK(!guest_can(lab, commands[i]), "%s: done", commands[i]);
    lab_do(lab, LAB_GUEST, "nft flush ruleset");
    LAB_ASSERT(listener_port(lab) != 0);
    for (size_t i = 0; i < G_N_ELEMENTS(live); i++)
        LAB_ASSERT(carries(lab, live[i]));
    is_fast(lab);
}

/* Milliseconds of CPU that all of the helper used in a second in which nothing was said. */
static int64_t cpu_of_a_quiet_second(LabHelper *helper)
{
    int64_t before = lab_helper_cpu_ms(helper);

    (void)poll(NULL, 0, 1000);
    return lab_helper_cpu_ms(helper) - before;
}

/* Takes policy routing away under live connections: they go on, nothing spins, and new ones are served. */
static void lost_under_live_flows(Lab *lab, const char *four, const char *six)
{
    LabHelper *helper = fast_helper(lab);
    Ends live[] = {connection(lab, LAB_FAR_V4), connection(lab, LAB_FAR_V6)};
    int64_t cpu;

    for (size_t i = 0; i < G_N_ELEMENTS(live); i++)
        say_both_ways(live[i]);
    lab_do(lab, LAB_GUEST, "%s", four);
    lab_do(lab, LAB_GUEST, "%s", six);
    /* Unanswered, so that what is lost is sent again and again. */
    LAB_ASSERT_EQ(send(live[0].guest, "x", 1, MSG_NOSIGNAL), 1);
    LAB_ASSERT_EQ(send(live[1].guest, "x", 1, MSG_NOSIGNAL), 1);
    cpu = cpu_of_a_quiet_second(helper);
    LAB_CHECK(cpu < LAB_MS(200), "%lld ms of CPU in a second", (long long)cpu);
    is_served(lab);
    for (size_t i = 0; i < G_N_ELEMENTS(live); i++) {
        char byte = 0;

        LAB_CHECK(lab_wait(live[i].far, POLLIN, LAB_MS(12000)) != 0, "%s: the connection is dead",
                  far_addresses[i]);
        lab_recv(live[i].far, &byte, 1);
        say_both_ways(live[i]);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(live); i++)
        LAB_CHECK(carries(lab, live[i]), "%s: not back in the kernel", far_addresses[i]);
}

LAB_TEST(takeover_repair, rules_of_routing_lost_under_live_connections_come_back, .limit_ms = 60000)
{
    lost_under_live_flows(lab, "ip rule del priority 100", "ip -6 rule del priority 100");
}

LAB_TEST(takeover_repair, routes_lost_under_live_connections_come_back, .limit_ms = 60000)
{
    lost_under_live_flows(lab, "ip route flush table 5480731", "ip -6 route flush table 5480731");
}

LAB_TEST(takeover_repair, live_connections_recover_without_a_new_one, .limit_ms = 60000)
{
    LabHelper *helper = fast_helper(lab);
    Ends live[] = {connection(lab, LAB_FAR_V4), connection(lab, LAB_FAR_V6)};

    (void)helper;
    lab_do(lab, LAB_GUEST, "ip rule del priority 100");
    lab_do(lab, LAB_GUEST, "ip -6 rule del priority 100");
    for (size_t i = 0; i < G_N_ELEMENTS(live); i++) {
        char text[6] = "";

        lab_send(live[i].guest, "hello", 5);
        LAB_CHECK(lab_wait(live[i].far, POLLIN, LAB_MS(12000)) != 0,
                  "%s: the connection is dead as long as no other begins", far_addresses[i]);
        lab_recv(live[i].far, text, 5);
        say_both_ways(live[i]);
        ends_close(live[i]);
    }
}

LAB_TEST(takeover_repair, a_rule_of_routing_before_ours_makes_nothing_spin, .limit_ms = 60000)
{
    LabHelper *helper = fast_helper(lab);
    Ends live[] = {connection(lab, LAB_FAR_V4), connection(lab, LAB_FAR_V6)};
    int64_t cpu;

    lab_do(lab, LAB_GUEST, "ip rule add priority 10 table main");
    lab_do(lab, LAB_GUEST, "ip -6 rule add priority 10 table main");
    LAB_ASSERT_EQ(send(live[0].guest, "x", 1, MSG_NOSIGNAL), 1);
    LAB_ASSERT_EQ(send(live[1].guest, "x", 1, MSG_NOSIGNAL), 1);
    cpu = cpu_of_a_quiet_second(helper);
    LAB_CHECK(cpu < LAB_MS(200), "%lld ms of CPU in a second", (long long)cpu);
    is_served(lab);
    cpu = cpu_of_a_quiet_second(helper);
    LAB_CHECK(cpu < LAB_MS(200), "%lld ms of CPU in a second", (long long)cpu);
}

/* ---- sockets destroyed ---- */

/* @end: "sport" for the socket the helper accepted, "dport" for the program's own */
static void destroyed_end(Lab *lab, const char *end)
{
    LabTrio trio = trio_of(lab, fast_helper(lab));
    Ends other[] = {connection(lab, LAB_FAR_V4), connection(lab, LAB_FAR_V6)};
    unsigned before = fds_of_all(lab, &trio);

    for (int round = 0; round < 10; round++)
        EACH_FAMILY(address)
        {
            Ends ends = connection(lab, address);

            say_both_ways(ends);
            lab_do(lab, LAB_GUEST, "ss -K -t %s = :%u", end, lab_port(ends.far));
            LAB_ASSERT(lab_wait_end(ends.far, LAB_MS(1000)) != LAB_END_NONE);
            LAB_ASSERT(lab_wait_end(ends.guest, LAB_MS(1000)) != LAB_END_NONE);
            ends_close(ends);
        }
    fds_return(lab, &trio, before);
    for (size_t i = 0; i < G_N_ELEMENTS(other); i++)
        LAB_ASSERT(carries(lab, other[i]));
    is_fast(lab);
}

LAB_TEST(takeover_repair, a_destroyed_socket_of_ours_ends_both_sides)
{
    destroyed_end(lab, "sport");
}

LAB_TEST(takeover_repair, a_destroyed_socket_of_the_program_ends_both_sides)
{
    destroyed_end(lab, "dport");
}

static void destroy_listener(Lab *lab, uint16_t port)
{
    lab_do(lab, LAB_GUEST, "ss -K -l -t sport = :%u", port);
}

static uint16_t next_listener(Lab *lab, uint16_t port)
{
    int64_t end = lab_now() + LAB_MS(3000);
    uint16_t now;

    while ((now = listener_port(lab)) == port || now == 0) {
        if (lab_now() >= end)
            return port;
        (void)poll(NULL, 0, 50);
    }
    return now;
}

LAB_TEST(takeover_repair, after_five_new_listeners_the_fast_path_is_off_with_a_record,
         .limit_ms = 60000)
{
    LabHelper *helper = fast_helper(lab);
    Ends live[] = {connection(lab, LAB_FAR_V4), connection(lab, LAB_FAR_V6)};
    int64_t end;
    bool said = false;

    for (int round = 1; round <= 5; round++) {
        uint16_t port = listener_port(lab), next;

        (void)poll(NULL, 0, 1000);
        destroy_listener(lab, port);
        next = next_listener(lab, port);
        LAB_CHECK(next != port, "no new listener after %d losses", round);
        is_fast(lab);
    }
    (void)poll(NULL, 0, 1000);
    destroy_listener(lab, listener_port(lab));
    is_served(lab);
    for (size_t i = 0; i < G_N_ELEMENTS(live); i++)
        LAB_CHECK(carries(lab, live[i]), "%s: a live connection left the kernel", far_addresses[i]);
    EACH_FAMILY(address)
    LAB_ASSERT(!carries(lab, connection(lab, address)));
    /* Records of one kind may wait some seconds for one another. */
    for (end = lab_now() + LAB_MS(8000); !said && lab_now() < end;) {
        const char *record = lab_helper_await(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_FAST_PATH,
                                              (int)(end - lab_now()));

        said = record != NULL && strstr(record, "off from now on") != NULL;
    }
    LAB_CHECK(said, "no record says that the fast path is off");
}

/* ---- the guest's firewall ---- */

static int connect_ms(Lab *lab, const char *address, uint16_t port)
{
    int64_t begin = lab_now();
    int fd = lab_connected(lab, LAB_GUEST, address, port);
    char text[6] = "";

    lab_send(fd, "hello", 5);
    lab_recv(fd, text, 5);
    LAB_ASSERT(strcmp(text, "hello") == 0);
    close(fd);
    return (int)(lab_now() - begin);
}

LAB_TEST(takeover_repair, a_firewall_that_refuses_lo_for_one_family_costs_that_one_alone)
{
    (void)fast_helper(lab);
    guest_firewall(lab, "table inet g { chain i { type filter hook input priority 0;\n"
                        "iif lo meta nfproto ipv6 drop; }\n}\n");
    LAB_ASSERT(carries(lab, connection(lab, LAB_FAR_V4)));
    address_is_served(lab, LAB_FAR_V6);
    LAB_ASSERT(!carries(lab, connection(lab, LAB_FAR_V6)));
    LAB_ASSERT(carries(lab, connection(lab, LAB_FAR_V4)));
    lab_do(lab, LAB_GUEST, "nft delete table inet g");
    guest_firewall(lab, "table inet g { chain i { type filter hook input priority 0;\n"
                        "iif lo meta nfproto ipv4 drop; }\n}\n");
    /* That family's destination is avoided for a minute still, and the other is so from now on. */
    is_served(lab);
}

LAB_TEST(takeover_repair, a_firewall_that_refuses_lo_costs_one_connect_a_tenth_of_a_second)
{
    (void)fast_helper(lab);
    guest_firewall(lab, "table inet g { chain i { type filter hook input priority 0;\n"
                        "iif lo drop; }\n}\n");
    EACH_FAMILY(address)
    {
        int listener = lab_listen(lab, LAB_FAR, address, 0), first, second;
        uint16_t port = lab_port(listener);

        (void)lab_serve_tcp(lab, listener, LAB_ECHO);
        first = connect_ms(lab, address, port);
        second = connect_ms(lab, address, port);
        LAB_CHECK(first < LAB_MS(100) && second < LAB_MS(90), "%s: %d ms, then %d ms", address,
                  first, second);
    }
}

LAB_TEST(takeover_repair, a_firewall_that_drops_what_we_inject_costs_no_time)
{
    static const char *const hooks[] = {"output priority raw", "output priority 0"};

    (void)fast_helper(lab);
    for (size_t i = 0; i < G_N_ELEMENTS(hooks); i++) {
        g_autofree char *rules = g_strdup_printf(
            "table inet g { chain o { type filter hook %s;\nmeta mark { 0x53a11b01, 0x53a11b02 } "
            "drop; }\n}\n",
            hooks[i]);

        guest_firewall(lab, rules);
        EACH_FAMILY(address)
        {
            int listener = lab_listen(lab, LAB_FAR, address, 0), took;
            uint16_t port = lab_port(listener);

            (void)lab_serve_tcp(lab, listener, LAB_ECHO);
            took = connect_ms(lab, address, port);
            LAB_CHECK(took < LAB_MS(90), "%s, %s: %d ms", hooks[i], address, took);
        }
        lab_do(lab, LAB_GUEST, "nft delete table inet g");
    }
}

/* ---- limits ---- */

LAB_TEST(takeover_repair, the_oldest_of_too_many_pending_connections_is_given_up, .limit_ms = 60000)
{
    enum { HOLES = 50, PENDING = 8 };
    LabTrio trio = trio_of(lab, lab_helper(lab, "--fast-path=require", "--max-pending=8", NULL));
    unsigned before = fds_of_all(lab, &trio);
    int fds[2 * HOLES], took;
    int64_t begin;

    lab_do(lab, LAB_HOST, "ip route add 198.18.1.0/24 via " LAB_FAR_V4);
    lab_do(lab, LAB_HOST, "ip route add 2001:db8:77::/64 via " LAB_FAR_V6);
    begin = lab_now();
    for (int i = 0; i < 2 * HOLES; i++) {
        struct sockaddr_storage sa;
        g_autofree char *hole =
            g_strdup_printf(i % 2 == 0 ? "198.18.1.%d" : "2001:db8:77::%d", i / 2 + 1);
        socklen_t len = lab_address(&sa, hole, 81);

        fds[i] = lab_socket(lab, LAB_GUEST, sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        LAB_ASSERT_CALL(fds[i]);
        LAB_ASSERT_EQ(connect(fds[i], (struct sockaddr *)&sa, len), -1);
        LAB_ASSERT_EQ(errno, EINPROGRESS);
    }
    (void)poll(NULL, 0, 50);
    g_autofree char *pending = place_says(lab, LAB_HOST, "ss -Htn state syn-sent");
    g_auto(GStrv) lines = g_strsplit(g_strchomp(pending), "\n", -1);

    took = (int)(lab_now() - begin);
    LAB_CHECK(g_strv_length(lines) <= PENDING, "%u connects are under way:\n%s",
              g_strv_length(lines), pending);
    /* Until the first SYNs are sent again. */
    if (took < 900)
        LAB_CHECK(strstr(pending, "198.18.1.50:81") != NULL && strstr(pending, "::50]:81") != NULL,
                  "the newest are not among them:\n%s", pending);
    EACH_FAMILY(address)
    {
        int listener = lab_listen(lab, LAB_FAR, address, 0);
        uint16_t port = lab_port(listener);

        (void)lab_serve_tcp(lab, listener, LAB_ECHO);
        took = connect_ms(lab, address, port);
        LAB_CHECK(took < LAB_MS(500), "%s: %d ms", address, took);
    }
    is_fast(lab);
    for (int i = 0; i < 2 * HOLES; i++)
        close(fds[i]);
    /* What the guest has given up is forgotten when its time on the host is over: at most the limit is left. */
    fds_return(lab, &trio, before + PENDING);
}

LAB_TEST(takeover_repair, connections_beyond_the_limit_are_libslirps, .limit_ms = 60000)
{
    enum { COUNT = 30, TAKEN = 7 }; /* a quarter of ten is kept for published ports */
    Ends ends[COUNT];

    (void)lab_helper(lab, "--fast-path=require", "--max-flows=10", NULL);
    for (int i = 0; i < COUNT; i++)
        ends[i] = connection(lab, far_addresses[i % 2]);
    for (int i = 0; i < COUNT; i++)
        say_both_ways(ends[i]);
    for (int i = 0; i < COUNT; i++) {
        bool fast = carries(lab, ends[i]);

        LAB_CHECK(fast == (i < TAKEN), "connection %d %s taken over", i, fast ? "was" : "was not");
    }
    is_fast(lab);
}

LAB_TEST(takeover_repair, clients_beyond_the_limit_wait_in_the_backlog, .limit_ms = 60000)
{
    enum { COUNT = 24 };
    static const char *const hosts[] = {LAB_HOST_V4, LAB_HOST_V6};
    int servers[] = {lab_listen(lab, LAB_GUEST, "0.0.0.0", 80),
                     lab_listen(lab, LAB_GUEST, "::", 80)};
    int clients[COUNT], accepted[COUNT], count = 0, waited;

    (void)lab_helper(lab, "--fast-path=require", "--max-flows=10", "-p 8080:80", NULL);
    for (int i = 0; i < COUNT; i++) {
        clients[i] = lab_connected(lab, LAB_FAR, hosts[i % 2], 8080);
        lab_send(clients[i], "x", 1);
    }
    for (int round = 0; round < 2; round++) {
        int now = 0;

        for (int i = 0; i < 2; i++) {
            int fd;

            while (count < COUNT && (fd = lab_accept(servers[i], LAB_MS(500))) >= 0) {
                accepted[count++] = fd;
                now++;
            }
        }
        LAB_CHECK(now > 0 && now <= 10, "%d clients at once, %d so far", now, count);
        /* Their end lets others in. */
        for (int i = count - now; i < count; i++)
            close(accepted[i]);
        for (int i = 0; i < COUNT; i++)
            if (clients[i] >= 0 && lab_wait_end(clients[i], 0) == LAB_END_EOF) {
                close(clients[i]);
                clients[i] = -1;
            }
    }
    waited = count;
    LAB_CHECK(waited > 10 && waited <= 20, "%d of %d after two rounds", waited, COUNT);
}

/* ---- abandoned ---- */

/* A program gives up while the far machine is silent, which then answers: nothing stays connected there. */
static void abandoned(Lab *lab, const char *hole, uint16_t port)
{
    bool six = lab_address_is_v6(hole);
    int listener, far;

    LAB_ASSERT_EQ(lab_connect(lab, LAB_GUEST, hole, port, 200), -1);
    LAB_ASSERT_EQ(errno, ETIMEDOUT);
    lab_do(lab, LAB_FAR, "ip address add %s/%d dev lo%s", hole, six ? 128 : 32,
           six ? " nodad" : "");
    listener = lab_listen(lab, LAB_FAR, hole, port);
    while ((far = lab_accept(listener, LAB_MS(2500))) >= 0) {
        LabEnd end = lab_wait_end(far, LAB_MS(3000));

        LAB_CHECK(end == LAB_END_EOF || end == LAB_END_RESET, "%s: %s at FAR", hole,
                  lab_end_text(end));
        close(far);
    }
    close(listener);
}

LAB_TEST(takeover_repair, an_abandoned_connect_leaves_no_connection_at_the_far_machine,
         .limit_ms = 60000)
{
    (void)lab_helper(lab, NULL);
    lab_do(lab, LAB_HOST, "ip route add 198.18.1.0/24 via " LAB_FAR_V4);
    lab_do(lab, LAB_HOST, "ip route add 2001:db8:77::/64 via " LAB_FAR_V6);
    abandoned(lab, "198.18.1.1", 81);
    abandoned(lab, "2001:db8:77::1", 82);
}

/* ---- file descriptors ---- */

/* The number that the process's next fd gets. */
static unsigned next_fd(Lab *lab, pid_t pid)
{
    g_autofree char *text = place_says(
        lab, LAB_HOST,
        "set -e; cd /proc/%d/fdinfo; n=0; while [ -e $n ]; do n=$((n + 1)); done; echo $n",
        (int)pid);
    unsigned number = (unsigned)g_ascii_strtoull(text, NULL, 10);

    LAB_CHECK(number > 3, "process %d: '%s'", (int)pid, text);
    return number;
}

/* The host's side gets the last fd, so that what the guest's kernel has connected cannot be accepted. */
LAB_TEST(takeover_repair, without_an_fd_to_accept_with_nothing_spins_and_the_connection_waits)
{
    LabHelper *helper = fast_helper(lab);
    LabTrio trio = trio_of(lab, helper);
    struct rlimit before, scarce;
    int64_t cpu;

    LAB_ASSERT_CALL(prlimit(trio.datapath, RLIMIT_NOFILE, NULL, &before));
    scarce = before;
    EACH_FAMILY(address)
    {
        Ends ends;

        scarce.rlim_cur = next_fd(lab, trio.datapath) + 1;
        LAB_ASSERT_CALL(prlimit(trio.datapath, RLIMIT_NOFILE, &scarce, NULL));
        ends = connection(lab, address);
        cpu = cpu_of_a_quiet_second(helper);
        LAB_CHECK(cpu < LAB_MS(200), "%lld ms of CPU in a second", (long long)cpu);
        LAB_ASSERT_CALL(prlimit(trio.datapath, RLIMIT_NOFILE, &before, NULL));
        say_both_ways(ends);
        LAB_CHECK(carries(lab, ends), "%s: went over the TAP", address);
    }
}

LAB_TEST(takeover_repair, what_goes_to_libslirp_in_the_end_counts_against_its_limit)
{
    enum { ADDRESSES = 20, MOST = 10 };
    int listener, connected = 0;

    lab_helper_wrap(lab, "ulimit -n 64");
    (void)fast_helper(lab);
    guest_firewall(lab, "table inet g { chain i { type filter hook input priority 0;\n"
                        "iif lo drop; }\n}\n");
    listener = lab_listen(lab, LAB_FAR, "0.0.0.0", 0);
    /* Each is a destination that has not been tried, so that each goes the whole way. */
    for (int i = 0; i < ADDRESSES; i++) {
        g_autofree char *address = g_strdup_printf("198.51.100.%d", 10 + i);

        lab_do(lab, LAB_FAR, "ip address add %s/32 dev lo", address);
        connected += lab_connect(lab, LAB_GUEST, address, lab_port(listener), LAB_MS(1000)) >= 0;
    }
    LAB_CHECK(connected >= 1 && connected <= MOST, "%d of %d", connected, ADDRESSES);
}
