/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_environment.c - what a guest may do to its own network without losing it
 *
 * Two guests are made alike: one has the fast path, the other has not. What works without must work with it, out and in,
 * and no connect() may take much longer.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "lab_helper.h"
#include "lab_test.h"

#define MIB (1024 * 1024)
/* Name resolution of neighbours, SYNs: what a connection taken over may leave on the TAP. */
#define FEW_BYTES 20000
/* How much later than without the fast path. */
#define LATER_MS 100

#define ROUNDS 3

/* Of the far machine; a new one for each round, for takeover remembers where it failed. By family. */
static const char *const far_addresses[2][ROUNDS] = {
    {LAB_FAR_V4, LAB_FAR_V4_3, LAB_ROUTED_V4},
    {LAB_FAR_V6, LAB_FAR_V6_3, LAB_ROUTED_V6},
};
static const char *const host_addresses[2][ROUNDS] = {
    {LAB_HOST_V4, LAB_HOST_V4_2, LAB_HOST_V4_3},
    {LAB_HOST_V6, LAB_HOST_V6_2, LAB_HOST_V6_3},
};

static LabPair publishing_pair(Lab *lab, const char *option)
{
    const char *const words[] = {"-p 808%d:8000", option, NULL};
    LabPair pair = lab_pair(lab, words);

    for (int six = 0; six < 2; six++) {
        const char *any = six ? "::" : "0.0.0.0";

        (void)lab_serve_tcp(lab, lab_listen(lab, LAB_FAR, any, 80), LAB_ECHO);
        for (int i = 0; i < 2; i++)
            (void)lab_serve_tcp(lab, lab_listen(lab, pair.guest[i], any, 8000), LAB_ECHO);
    }
    return pair;
}

static void both_do(Lab *lab, const LabPlace guests[2], const char *command)
{
    for (int i = 0; i < 2; i++)
        g_free(lab_says(lab, guests[i], "%s", command));
}

static int by_value(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* A guest, or a network namespace within it: a process there. */
typedef struct From {
    LabPlace guest;
    int container;
} From;

typedef struct Greeting {
    int container; /* 0: none */
    int type;
    socklen_t length;
    struct sockaddr_storage to;
} Greeting;

/* LabFunction: greets and hears the echo. Return: how many ms that took, at most 250; 251 and more if it failed */
static int greet(const void *argument, size_t size)
{
    const Greeting *greeting = argument;
    const struct timeval patience = {.tv_sec = LAB_MS(4000) / 1000};
    g_autofree char *path = g_strdup_printf("/proc/%d/ns/net", greeting->container);
    int netns = greeting->container != 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1, fd;
    int64_t begin;
    char text[5];

    (void)size;
    if (greeting->container != 0 && setns(netns, CLONE_NEWNET) < 0)
        return 255;
    fd = socket(greeting->to.ss_family, greeting->type | SOCK_CLOEXEC, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    begin = lab_now();
    if (connect(fd, (const struct sockaddr *)&greeting->to, greeting->length) < 0)
        return 254;
    if (send(fd, "hello", 5, 0) != 5)
        return 253;
    if (recv(fd, text, 5, MSG_WAITALL) != 5 || memcmp(text, "hello", 5) != 0)
        return 252;
    return (int)MIN(lab_now() - begin, 250);
}

static int greeted(Lab *lab, From from, const char *name, int type, const char *address,
                   uint16_t port)
{
    Greeting greeting = {.container = from.container, .type = type};
    int got;

    greeting.length = lab_address(&greeting.to, address, port);
    got = lab_run(lab, from.guest, greet, &greeting, sizeof greeting);
    LAB_CHECK(got <= 250, "%s: %s port %u: %s", name, address, port,
              got == 254   ? "no connection"
              : got == 252 ? "no echo"
                           : "not sent");
    return got;
}

/* From @from[0], who has the fast path, and @from[1] to an address each round: the median of what the first takes longer. */
static void no_later(Lab *lab, const From from[2], const char *const addresses[ROUNDS],
                     const uint16_t ports[2], int later_ms)
{
    int later[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        int off = greeted(lab, from[1], "off", SOCK_STREAM, addresses[i], ports[1]);

        later[i] = greeted(lab, from[0], "fast", SOCK_STREAM, addresses[i], ports[0]) - off;
    }
    qsort(later, ROUNDS, sizeof later[0], by_value);
    LAB_CHECK(later[ROUNDS / 2] <= LAB_MS(later_ms), "%s port %u: %d, %d and %d ms later",
              addresses[0], ports[0], later[0], later[1], later[2]);
}

static void out_works(Lab *lab, const LabPair *pair, int later_ms)
{
    static const uint16_t ports[2] = {80, 80};
    const From from[2] = {{pair->guest[0], 0}, {pair->guest[1], 0}};

    for (int six = 0; six < 2; six++)
        no_later(lab, from, far_addresses[six], ports, later_ms);
}

static void in_works(Lab *lab)
{
    static const From from[2] = {{LAB_FAR, 0}, {LAB_FAR, 0}};
    static const uint16_t ports[2] = {8080, 8081};

    for (int six = 0; six < 2; six++)
        no_later(lab, from, host_addresses[six], ports, LATER_MS);
}

static void all_works(Lab *lab, const LabPair *pair)
{
    out_works(lab, pair, LATER_MS);
    in_works(lab);
}

/* It is the guest's kernel that carries what goes out. */
static void is_fast(Lab *lab, const LabPair *pair)
{
    for (int six = 0; six < 2; six++) {
        const char *address = far_addresses[six][0];
        int listener = lab_listen(lab, LAB_FAR, address, 81);
        uint64_t before = lab_tap_bytes(lab, pair->guest[0]);
        int fd = lab_connected(lab, pair->guest[0], address, 81), far = lab_accepted(listener);

        lab_transfer(fd, far, MIB, MIB, 0);
        LAB_CHECK(lab_tap_bytes(lab, pair->guest[0]) - before < FEW_BYTES, "%s: went over the TAP",
                  address);
        close(fd);
        close(far);
        close(listener);
    }
}

/* ---- sysctls, addresses, the MTU ---- */

LAB_TEST(environment, strict_reverse_paths_and_no_local_sources, .limit_ms = 60000)
{
    LabPair pair = publishing_pair(lab, NULL);

    both_do(lab, pair.guest,
            "for d in all default lo tap0; do echo 1 > /proc/sys/net/ipv4/conf/$d/rp_filter; "
            "echo 0 > /proc/sys/net/ipv4/conf/$d/accept_local; "
            "echo 0 > /proc/sys/net/ipv4/conf/$d/route_localnet; done");
    all_works(lab, &pair);
    is_fast(lab, &pair);
}

LAB_TEST(environment, an_mtu_of_1500, .limit_ms = 60000)
{
    LabPair pair = publishing_pair(lab, "--mtu=1500");

    all_works(lab, &pair);
    is_fast(lab, &pair);
}

LAB_TEST(environment, an_mtu_of_65520, .limit_ms = 60000)
{
    LabPair pair = publishing_pair(lab, "--mtu=65520");

    all_works(lab, &pair);
    is_fast(lab, &pair);
}

LAB_TEST(environment, an_address_added_later_is_the_source, .limit_ms = 60000)
{
    LabPair pair = publishing_pair(lab, NULL);
    static const char *const wanted[] = {"10.0.2.150:", "[fd00::150]:"};

    both_do(lab, pair.guest,
            "ip address add 10.0.2.150/24 dev tap0; ip address add fd00::150/64 dev tap0 nodad; "
            "ip route change default via 10.0.2.2 src 10.0.2.150; "
            "ip -6 route replace default via fd00::2 dev tap0 src fd00::150");
    all_works(lab, &pair);
    is_fast(lab, &pair);
    for (int six = 0; six < 2; six++) {
        struct sockaddr_storage own;
        socklen_t length = sizeof own;
        int fd = lab_connected(lab, LAB_GUEST, far_addresses[six][0], 80);

        LAB_ASSERT_CALL(getsockname(fd, (struct sockaddr *)&own, &length));
        LAB_CHECK(g_str_has_prefix(lab_address_text(&own), wanted[six]), "%s",
                  lab_address_text(&own));
        close(fd);
    }
}

/* ---- firewalls ---- */

LAB_TEST(environment, firewalls_that_drop_by_default, .limit_ms = 60000)
{
    LabPair pair = publishing_pair(lab, NULL);

    for (int i = 0; i < 2; i++)
        lab_nft(lab, pair.guest[i],
                "table inet g {\n"
                "chain i { type filter hook input priority 0; policy drop;\n"
                "iif lo accept\nct state established,related accept\n"
                "meta l4proto ipv6-icmp accept\niifname \"tap0\" tcp dport 8000 accept\n}\n"
                "chain f { type filter hook forward priority 0; policy drop;\n}\n"
                "chain o { type filter hook output priority 0; policy drop;\n"
                "oif lo accept\noifname \"tap0\" accept\n}\n}\n");
    all_works(lab, &pair);
    is_fast(lab, &pair);
}

LAB_TEST(environment, firewalls_that_drop_what_is_invalid, .limit_ms = 60000)
{
    LabPair pair = publishing_pair(lab, NULL);

    for (int i = 0; i < 2; i++)
        lab_nft(lab, pair.guest[i],
                "table inet g {\n"
                "chain p { type filter hook prerouting priority 0;\nct state invalid drop\n}\n"
                "chain i { type filter hook input priority 0;\nct state invalid drop\n"
                "iif != lo ip daddr 127.0.0.0/8 drop\n}\n"
                "chain o { type filter hook output priority 0;\nct state invalid drop\n}\n}\n");
    all_works(lab, &pair);
    is_fast(lab, &pair);
}

LAB_TEST(environment, a_firewall_that_refuses_lo, .limit_ms = 60000)
{
    LabPair pair = publishing_pair(lab, NULL);

    for (int i = 0; i < 2; i++)
        lab_nft(lab, pair.guest[i],
                "table inet g { chain i { type filter hook input priority 0; policy drop;\n"
                "iifname \"tap0\" accept\nmeta l4proto ipv6-icmp accept\n}\n}\n");
    /* This one is waited for 100 ms before libslirp gets it. */
    out_works(lab, &pair, LATER_MS);
}

static void masqueraded(Lab *lab, const char *how)
{
    LabPair pair = publishing_pair(lab, NULL);
    g_autofree char *rules = g_strdup_printf(
        "table inet g { chain p { type nat hook postrouting priority 100;\n%s\n}\n}\n", how);

    for (int i = 0; i < 2; i++)
        lab_nft(lab, pair.guest[i], rules);
    all_works(lab, &pair);
    is_fast(lab, &pair);
}

LAB_TEST(environment, masquerade_of_everything, .limit_ms = 60000)
{
    masqueraded(lab, "masquerade");
}

LAB_TEST(environment, masquerade_of_everything_with_random_ports, .limit_ms = 60000)
{
    masqueraded(lab, "masquerade fully-random");
}

/* Of what leaves by the TAP, that is: no host would masquerade what comes in. */
LAB_TEST(environment, masquerade_leaves_clients_their_addresses)
{
    static const char *const rules[] = {"oifname tap0 masquerade", "masquerade",
                                        "masquerade fully-random"};

    (void)lab_helper(lab, "--fast-path=require", "-p 8080:8000", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
        g_autofree char *text = g_strdup_printf(
            "table inet g\ndelete table inet g\n"
            "table inet g { chain p { type nat hook postrouting priority 100;\n%s\n}\n}\n",
            rules[i]);

        lab_nft(lab, LAB_GUEST, text);
        for (int six = 0; six < 2; six++) {
            int listener = lab_listen(lab, LAB_GUEST, six ? "::" : "0.0.0.0", 8000);
            int client = lab_connected(lab, LAB_FAR, host_addresses[six][0], 8080);
            int server = lab_accepted(listener);

            LAB_CHECK(strstr(lab_peer_text(server), far_addresses[six][0]) != NULL,
                      "%s: seen as %s", rules[i], lab_peer_text(server));
            lab_say(client, server, "there");
            lab_say(server, client, "and back");
            close(client);
            close(server);
            close(listener);
        }
    }
}

/* ---- containers behind the guest ---- */

/* A network namespace in each guest, with v1 that is joined to the guest's v0. */
static void contain(Lab *lab, const LabPair *pair, From containers[2])
{
    static const char *const words[] = {"unshare", "--net", "sleep", "100", NULL};

    for (int i = 0; i < 2; i++) {
        int pid = (int)lab_job_pid(lab_startv(lab, pair->guest[i], words));

        containers[i] = (From){pair->guest[i], pid};
        g_free(lab_says(lab, pair->guest[i],
                        "while [ $(readlink /proc/%d/ns/net) = $(readlink /proc/self/ns/net) ]; "
                        "do sleep 0.01; done; ip link add v0 type veth peer name v1 netns %d",
                        pid, pid));
    }
}

static void containers_do(Lab *lab, const From containers[2], const char *command)
{
    for (int i = 0; i < 2; i++)
        g_free(lab_says(lab, containers[i].guest, "nsenter --net=/proc/%d/ns/net sh -c '%s'",
                        containers[i].container, command));
}

static void containers_work(Lab *lab, const LabPair *pair, const From containers[2])
{
    static const uint16_t ports[2] = {80, 80};

    for (int six = 0; six < 2; six++) {
        (void)lab_serve_udp(lab, lab_udp(lab, LAB_FAR, six ? "::" : "0.0.0.0", 90), LAB_ECHO);
        for (int i = 0; i < 2; i++)
            (void)greeted(lab, containers[i], pair->name[i], SOCK_DGRAM, far_addresses[six][0], 90);
        /* Nothing is tried with these that would have to be waited for. */
        no_later(lab, containers, far_addresses[six], ports, LATER_MS / 2);
    }
    all_works(lab, pair);
}

LAB_TEST(environment, containers_bridged_to_the_tap, .limit_ms = 60000)
{
    LabPair pair = publishing_pair(lab, NULL);
    From containers[2];

    contain(lab, &pair, containers);
    both_do(lab, pair.guest,
            "ip link add br0 type bridge; ip -6 route del default; ip address flush dev tap0; ip "
            "link set tap0 master br0; "
            "ip link set v0 master br0; ip link set v0 up; ip link set br0 up; "
            "ip address add " LAB_GUEST_V4 "/24 dev br0; "
            "ip address add " LAB_GUEST_V6 "/64 dev br0 nodad; "
            "ip route add default via " LAB_GATEWAY_V4 "; "
            "ip -6 route add default via " LAB_GATEWAY_V6 " dev br0");
    containers_do(
        lab, containers,
        "ip link set lo up; ip link set v1 up; ip address add 10.0.2.150/24 dev v1; "
        "ip address add fd00::150/64 dev v1 nodad; ip route add default via " LAB_GATEWAY_V4
        "; ip -6 route add default via " LAB_GATEWAY_V6 " dev v1");
    containers_work(lab, &pair, containers);
}

LAB_TEST(environment, containers_masqueraded_by_the_guest, .limit_ms = 60000)
{
    LabPair pair = publishing_pair(lab, NULL);
    From containers[2];

    contain(lab, &pair, containers);
    both_do(lab, pair.guest,
            "echo 1 > /proc/sys/net/ipv4/ip_forward; "
            "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; "
            "ip address add 10.88.0.1/24 dev v0; ip address add fd88::1/64 dev v0 nodad; "
            "ip link set v0 up");
    containers_do(lab, containers,
                  "ip link set lo up; ip link set v1 up; ip address add 10.88.0.2/24 dev v1; "
                  "ip address add fd88::2/64 dev v1 nodad; ip route add default via 10.88.0.1; "
                  "ip -6 route add default via fd88::1 dev v1");
    for (int i = 0; i < 2; i++)
        lab_nft(lab, pair.guest[i],
                "table inet g { chain p { type nat hook postrouting priority 100;\n"
                "oifname tap0 masquerade\n}\n}\n");
    containers_work(lab, &pair, containers);
    is_fast(lab, &pair);
}

/* ---- the same five-tuple again ---- */

typedef struct Ends {
    int guest, far, ms;
} Ends;

static Ends from_4444(Lab *lab, LabPlace guest, const char *address, int listener)
{
    LabAttempt attempt = lab_attempt(lab, guest, address, 82, 4444);

    LAB_CHECK(attempt.fd >= 0, "%s: %s after %d ms", address, strerror(attempt.error), attempt.ms);
    return (Ends){attempt.fd, lab_accepted(listener), attempt.ms};
}

/* How the connection before ended; closes both ends. */
typedef void (*Death)(Lab *lab, LabPlace guest, Ends ends);

static void again_after(Lab *lab, Death death)
{
    LabPair pair = lab_pair(lab, NULL);

    for (int six = 0; six < 2; six++) {
        const char *address = far_addresses[six][0];
        int listener = lab_listen(lab, LAB_FAR, address, 82);
        int ms[2][ROUNDS];

        for (int i = 0; i < 2; i++) {
            Ends ends = from_4444(lab, pair.guest[i], address, listener);

            for (int round = 0; round < ROUNDS; round++) {
                lab_say(ends.guest, ends.far, "hello");
                death(lab, pair.guest[i], ends);
                ends = from_4444(lab, pair.guest[i], address, listener);
                ms[i][round] = ends.ms;
                lab_say(ends.guest, ends.far, "there");
                lab_say(ends.far, ends.guest, "and back");
            }
            lab_reset(ends.guest);
            close(ends.far);
            qsort(ms[i], ROUNDS, sizeof ms[i][0], by_value);
        }
        LAB_CHECK(ms[0][ROUNDS / 2] <= ms[1][ROUNDS / 2] + LAB_MS(LATER_MS),
                  "%s: %d ms, %d ms without the fast path", address, ms[0][ROUNDS / 2],
                  ms[1][ROUNDS / 2]);
        close(listener);
    }
}

static void far_finished(Lab *lab, LabPlace guest, Ends ends)
{
    close(ends.far);
    LAB_ASSERT_EQ(lab_wait_end(ends.guest, LAB_MS(LAB_WAIT_MS)), LAB_END_EOF);
    close(ends.guest);
    /* Until its last ACK has come, the guest's own kernel would refuse. */
    g_free(
        lab_says(lab, guest,
                 "for i in $(seq 100); do "
                 "[ -n \"$(ss -Htan src :4444 dst :82)\" ] || exit 0; sleep 0.02; done; exit 1"));
}

LAB_TEST(environment, a_tuple_is_used_again_after_the_far_end_finished, .limit_ms = 60000)
{
    again_after(lab, far_finished);
}

/* Closes it without a word from @place on the wire. */
static void dies(Lab *lab, LabPlace place, const char *match, int take_fd)
{
    g_autofree char *rules = g_strdup_printf(
        "table inet s { chain o { type filter hook output priority 0;\n%s drop\n}\n}\n", match);

    lab_nft(lab, place, rules);
    lab_reset(take_fd);
    lab_do(lab, place, "nft delete table inet s");
}

static void far_died(Lab *lab, LabPlace guest, Ends ends)
{
    (void)guest;
    dies(lab, LAB_FAR, "tcp sport 82", ends.far);
    lab_reset(ends.guest);
}

LAB_TEST(environment, a_tuple_is_used_again_after_the_far_end_died, .limit_ms = 60000)
{
    again_after(lab, far_died);
}

static void guest_died(Lab *lab, LabPlace guest, Ends ends)
{
    dies(lab, guest, "tcp dport 82", ends.guest);
    close(ends.far);
}

LAB_TEST(environment, a_tuple_is_used_again_after_the_guest_died, .limit_ms = 60000)
{
    again_after(lab, guest_died);
}

static void both_died(Lab *lab, LabPlace guest, Ends ends)
{
    dies(lab, LAB_FAR, "tcp sport 82", ends.far);
    dies(lab, guest, "tcp dport 82", ends.guest);
}

LAB_TEST(environment, a_tuple_is_used_again_after_both_died, .limit_ms = 60000)
{
    again_after(lab, both_died);
}

LAB_TEST(environment, the_far_end_hears_of_a_guest_that_died_by_its_next_connection)
{
    (void)lab_helper(lab, "--fast-path=require", NULL);
    for (int six = 0; six < 2; six++) {
        int listener = lab_listen(lab, LAB_FAR, far_addresses[six][0], 82);
        Ends before = from_4444(lab, LAB_GUEST, far_addresses[six][0], listener), after;
        LabEnd end;

        dies(lab, LAB_GUEST, "tcp dport 82", before.guest);
        after = from_4444(lab, LAB_GUEST, far_addresses[six][0], listener);
        end = lab_wait_end(before.far, LAB_MS(1000));
        LAB_CHECK(end == LAB_END_RESET || end == LAB_END_EOF, "%s", lab_end_text(end));
        lab_say(after.guest, after.far, "hello");
        close(listener);
    }
}

LAB_TEST(environment, a_guest_hears_of_a_far_end_that_died_when_it_speaks)
{
    (void)lab_helper(lab, "--fast-path=require", NULL);
    for (int six = 0; six < 2; six++) {
        int listener = lab_listen(lab, LAB_FAR, far_addresses[six][0], 82);
        Ends ends = from_4444(lab, LAB_GUEST, far_addresses[six][0], listener);

        dies(lab, LAB_FAR, "tcp sport 82", ends.far);
        lab_send(ends.guest, "hello", 5);
        LAB_ASSERT_EQ(lab_wait_end(ends.guest, LAB_MS(1000)), LAB_END_RESET);
        close(ends.guest);
        close(listener);
    }
}

/* ---- inbound ---- */

LAB_TEST(environment, one_client_port_reaches_two_published_ports_over_ipv6)
{
    int one = lab_listen(lab, LAB_GUEST, "::", 8000), two = lab_listen(lab, LAB_GUEST, "::", 8001);
    int clients[3], servers[3];

    (void)lab_helper(lab, "--fast-path=require", "-p 8080:8000", "-p 8081:8001", "-p 8082:8000",
                     NULL);
    for (int i = 0; i < 3; i++) {
        struct sockaddr_storage to;
        socklen_t length = lab_address(&to, LAB_HOST_V6, (uint16_t)(8080 + i));

        clients[i] = lab_socket_bound(lab, LAB_FAR, SOCK_STREAM, LAB_FAR_V6, 4444);
        LAB_ASSERT_CALL(connect(clients[i], (struct sockaddr *)&to, length));
        servers[i] = lab_accepted(i == 1 ? two : one);
        LAB_CHECK(g_str_has_prefix(lab_peer_text(servers[i]), "[" LAB_FAR_V6 "]:"), "%s",
                  lab_peer_text(servers[i]));
        /* The third one's tuple is the first one's. */
        LAB_CHECK(g_str_has_suffix(lab_peer_text(servers[i]), ":4444") == (i < 2), "%d: %s", i,
                  lab_peer_text(servers[i]));
    }
    for (int i = 0; i < 3; i++) {
        lab_say(clients[i], servers[i], "there");
        lab_say(servers[i], clients[i], "and back");
    }
}
