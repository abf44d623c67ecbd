/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_gate.c - what the guest's root must not reach, whatever frames it sends
 *
 * Every probe is followed by a fence: a datagram to the far machine that must come back. Frames are judged in order, so
 * when the echo is there the probes before it have been judged too; only then is a listener called quiet.
 */
#include "config.h"

#include <errno.h>
#include <glib.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lab_helper.h"
#include "lab_test.h"

#define PORT       4444
#define FENCE_PORT 4000
/* How long a connection that got through may take to show. */
#define QUIET_MS 100

/* Listeners that a probe might reach, TCP and UDP: at HOST's wildcards and at addresses of FAR. */
typedef struct Traps {
    struct pollfd fds[32];
    const char *names[32];
    unsigned count;
    int fence;
    LabFrames *frames;
} Traps;

static void trap_add(Traps *traps, int fd, const char *name)
{
    g_assert(traps->count < G_N_ELEMENTS(traps->fds));
    traps->fds[traps->count] = (struct pollfd){.fd = fd, .events = POLLIN};
    traps->names[traps->count++] = name;
}

static void trap_address(Traps *traps, Lab *lab, LabPlace place, const char *address)
{
    trap_add(traps, lab_listen(lab, place, address, PORT), address);
    trap_add(traps, lab_udp(lab, place, address, PORT), address);
}

static Traps *traps_new(Lab *lab)
{
    Traps *traps = g_new0(Traps, 1);

    trap_address(traps, lab, LAB_HOST, "0.0.0.0");
    trap_address(traps, lab, LAB_HOST, "::");
    trap_address(traps, lab, LAB_FAR, LAB_METADATA);
    trap_address(traps, lab, LAB_FAR, LAB_LINKLOCAL);
    (void)lab_serve_udp(lab, lab_udp(lab, LAB_FAR, LAB_FAR_V4, FENCE_PORT), LAB_ECHO);
    return traps;
}

/* When a helper is there. */
static void traps_arm(Traps *traps, Lab *lab)
{
    traps->frames = lab_frames_open(lab, LAB_GUEST, "tap0");
    traps->fence = lab_udp_connected(lab, LAB_GUEST, LAB_FAR_V4, FENCE_PORT);
}

/* What was sent before has been judged. Sent again where the TAP's queue was full; an answer to an earlier one does not count. */
static void fence(Traps *traps)
{
    static uint8_t number;
    int64_t end = lab_now() + LAB_MS(LAB_WAIT_MS);
    uint8_t byte = 0;

    number++;
    do {
        LAB_CHECK(lab_now() < end, "an allowed datagram does not come back: %s", strerror(errno));
        LAB_ASSERT_EQ(send(traps->fence, &number, 1, 0), 1);
        while (lab_recv_datagram(traps->fence, &byte, 1, NULL, LAB_MS(200)) == 1 && byte != number)
            ;
    } while (byte != number);
}

/* What a trap caught is taken out of it. Return: true if there was something */
static bool trap_empty(const struct pollfd *trap)
{
    char text[64];
    bool caught = false;

    while (lab_wait(trap->fd, POLLIN, 0) != 0) {
        int client = lab_accept(trap->fd, 0);

        if (client >= 0)
            close(client);
        else
            (void)recv(trap->fd, text, sizeof text, MSG_DONTWAIT);
        caught = true;
    }
    return caught;
}

/* Return: the trap that caught something, or -1 after @quiet_ms */
static int traps_wait(Traps *traps, int quiet_ms)
{
    if (poll(traps->fds, traps->count, quiet_ms) <= 0)
        return -1;
    for (unsigned i = 0; i < traps->count; i++) {
        if (traps->fds[i].revents != 0) {
            (void)trap_empty(&traps->fds[i]);
            return (int)i;
        }
    }
    return -1;
}

static void probe(Traps *traps, const char *address, const char *from)
{
    static uint16_t port = 20000;
    LabSegment segment = {.from = from,
                          .to = address,
                          .from_port = ++port,
                          .to_port = PORT,
                          .tcp_flags = LAB_TCP_SYN,
                          .tcp_seq = 1000};

    lab_frames_send_tcp(traps->frames, &segment);
    segment.data = "probe";
    segment.length = 5;
    lab_frames_send_udp(traps->frames, &segment);
}

static void expect_refused(Traps *traps, const char *address, const char *from)
{
    probe(traps, address, from);
    fence(traps);
    int caught = traps_wait(traps, LAB_MS(QUIET_MS));
    LAB_CHECK(caught < 0, "a frame to %s from %s reached the listener at %s", address,
              from != NULL ? from : "the guest", traps->names[caught]);
}

static const char *const never[] = {
    "127.0.0.1",
    "127.0.0.53",
    "127.1.2.3",
    "127.255.255.254",
    "0.0.0.0",
    "0.1.2.3",
    "::1",
    "::",
    "::ffff:127.0.0.1",
    "::ffff:192.0.2.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "255.255.255.255",
    "10.0.2.255",
    "::ffff:0:127.0.0.1",
    "::ffff:169.254.169.254",
};

static const char *const host_addresses[] = {
    LAB_HOST_V4, LAB_HOST_V4_2, LAB_HOST_V4_3, LAB_HOST_V6, LAB_HOST_V6_2, LAB_HOST_V6_3,
};

LAB_TEST(gate, loopback_in_every_form_is_never_reached)
{
    Traps *traps = traps_new(lab);

    (void)lab_helper(lab, NULL);
    traps_arm(traps, lab);
    for (size_t i = 0; i < G_N_ELEMENTS(never); i++)
        expect_refused(traps, never[i], NULL);
}

LAB_TEST(gate, loopback_in_every_form_is_not_reached_with_everything_allowed)
{
    Traps *traps = traps_new(lab);

    (void)lab_helper(lab, "--allow=host-loopback,host,link-local,metadata", NULL);
    traps_arm(traps, lab);
    for (size_t i = 0; i < G_N_ELEMENTS(never); i++) {
        /* Judged as the address inside, which is allowed here. */
        if (strstr(never[i], "192.0.2") != NULL || strstr(never[i], "169.254") != NULL)
            continue;
        expect_refused(traps, never[i], NULL);
    }
}

LAB_TEST(gate, gateway_and_host_addresses_are_not_reached)
{
    Traps *traps = traps_new(lab);

    (void)lab_helper(lab, NULL);
    traps_arm(traps, lab);
    expect_refused(traps, LAB_GATEWAY_V4, NULL);
    expect_refused(traps, LAB_GATEWAY_V6, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(host_addresses); i++)
        expect_refused(traps, host_addresses[i], NULL);
    /* The same as 192.0.2.1, said in IPv6. */
    expect_refused(traps, "64:ff9b::c000:201", NULL);
    expect_refused(traps, "2002:c000:201::1", NULL);
}

LAB_TEST(gate, host_address_added_after_the_start_is_not_reached)
{
    static const char *const added[] = {"192.0.2.55", "2001:db8:1::55"};
    Traps *traps = traps_new(lab);

    (void)lab_helper(lab, NULL);
    traps_arm(traps, lab);
    lab_do(lab, LAB_HOST, "ip address add 192.0.2.55/24 dev host0");
    lab_do(lab, LAB_HOST, "ip address add 2001:db8:1::55/64 dev host0 nodad");
    for (size_t i = 0; i < G_N_ELEMENTS(added); i++) {
        /* The news needs a moment to get to the gate. */
        int64_t end = lab_now() + LAB_MS(1000);

        do {
            probe(traps, added[i], NULL);
            fence(traps);
        } while (traps_wait(traps, LAB_MS(QUIET_MS)) >= 0 && lab_now() < end);
        for (unsigned k = 0; k < traps->count; k++)
            (void)trap_empty(&traps->fds[k]);
        expect_refused(traps, added[i], NULL);
    }
}

LAB_TEST(gate, metadata_and_link_local_are_not_reached)
{
    Traps *traps = traps_new(lab);

    (void)lab_helper(lab, NULL);
    traps_arm(traps, lab);
    expect_refused(traps, LAB_METADATA, NULL);
    expect_refused(traps, LAB_LINKLOCAL, NULL);
    expect_refused(traps, "fe80::1", NULL);
}

LAB_TEST(gate, addresses_inside_the_networks_do_not_reach_the_real_ones)
{
    static const char *const inside[] = {LAB_GATEWAY_V4, LAB_DNS_V4, "10.0.2.50",
                                         LAB_GATEWAY_V6, LAB_DNS_V6, "fd00::50"};
    Traps *traps = traps_new(lab);

    for (size_t i = 0; i < G_N_ELEMENTS(inside); i++) {
        lab_do(lab, LAB_FAR, "ip address add %s dev lo%s", inside[i],
               lab_address_is_v6(inside[i]) ? " nodad" : "");
        trap_address(traps, lab, LAB_FAR, inside[i]);
    }
    (void)lab_helper(lab, NULL);
    traps_arm(traps, lab);
    for (size_t i = 0; i < G_N_ELEMENTS(inside); i++)
        expect_refused(traps, inside[i], NULL);
}

LAB_TEST(gate, frames_with_a_source_that_is_not_the_guests_are_dropped)
{
    static const char *const sources[] = {"127.0.0.1",    "192.0.2.1", LAB_GATEWAY_V4,   LAB_DNS_V4,
                                          "198.51.100.9", "0.0.0.0",   "255.255.255.255"};
    static const char *const sources6[] = {"::1",      LAB_HOST_V6,        LAB_GATEWAY_V6,
                                           LAB_DNS_V6, "::ffff:127.0.0.1", "2001:db8:9::9",
                                           "ff02::1"};
    Traps *traps = traps_new(lab);

    trap_address(traps, lab, LAB_FAR, LAB_FAR_V4);
    trap_address(traps, lab, LAB_FAR, LAB_FAR_V6);
    (void)lab_helper(lab, NULL);
    traps_arm(traps, lab);
    for (size_t i = 0; i < G_N_ELEMENTS(sources); i++)
        expect_refused(traps, LAB_FAR_V4, sources[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(sources6); i++)
        expect_refused(traps, LAB_FAR_V6, sources6[i]);

    /* The traps do catch: the same probe with an honest source. */
    probe(traps, LAB_FAR_V4, NULL);
    LAB_ASSERT(traps_wait(traps, LAB_MS(LAB_WAIT_MS)) >= 0);
}

/* ---- --allow ---- */

static const struct {
    const char *class, *address;
} classed[] = {
    {"host-loopback", LAB_GATEWAY_V4},
    {"host-loopback", LAB_GATEWAY_V6},
    {"host", LAB_HOST_V4},
    {"host", LAB_HOST_V4_2},
    {"host", LAB_HOST_V4_3},
    {"host", LAB_HOST_V6},
    {"host", LAB_HOST_V6_3},
    {"link-local", LAB_LINKLOCAL},
    {"metadata", LAB_METADATA},
};

static bool reached(Lab *lab, Traps *traps, const char *address)
{
    int fd = lab_connect(lab, LAB_GUEST, address, PORT, LAB_MS(1000));
    int udp = lab_udp_connected(lab, LAB_GUEST, address, PORT);
    bool tcp_caught = false, udp_caught = false;

    (void)send(udp, "u", 1, 0);
    fence(traps);
    for (int i = 0; i < 2; i++) {
        int caught = traps_wait(traps, fd >= 0 ? LAB_MS(1000) : LAB_MS(QUIET_MS));

        if (caught >= 0 && caught % 2 == 0)
            tcp_caught = true;
        else if (caught >= 0)
            udp_caught = true;
    }
    LAB_CHECK((fd >= 0) == tcp_caught, "connect to %s %s, the listener saw %s", address,
              fd >= 0 ? "worked" : "failed", tcp_caught ? "it" : "nothing");
    LAB_CHECK(tcp_caught == udp_caught, "%s is reached by only one of TCP and UDP", address);
    if (fd >= 0)
        close(fd);
    close(udp);
    return tcp_caught;
}

static void allows_exactly(Lab *lab, const char *class)
{
    g_autofree char *option = g_strconcat("--allow=", class, NULL);
    Traps *traps = traps_new(lab);

    (void)lab_helper(lab, option, NULL);
    traps_arm(traps, lab);
    for (size_t i = 0; i < G_N_ELEMENTS(classed); i++) {
        bool wanted = strcmp(classed[i].class, class) == 0;

        LAB_CHECK(reached(lab, traps, classed[i].address) == wanted, "with %s, %s is %s", option,
                  classed[i].address, wanted ? "not reached" : "reached");
    }
}

LAB_TEST(gate, allow_host_loopback_opens_that_class_alone)
{
    allows_exactly(lab, "host-loopback");
}

LAB_TEST(gate, allow_host_opens_that_class_alone)
{
    allows_exactly(lab, "host");
}

LAB_TEST(gate, allow_link_local_opens_that_class_alone)
{
    allows_exactly(lab, "link-local");
}

LAB_TEST(gate, allow_metadata_opens_that_class_alone)
{
    allows_exactly(lab, "metadata");
}

/* ---- how a refusal looks from inside ---- */

LAB_TEST(gate, refused_tcp_connect_fails_at_once_instead_of_hanging)
{
    (void)lab_helper(lab, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(classed); i++) {
        int64_t begin = lab_now();
        int fd = lab_connect(lab, LAB_GUEST, classed[i].address, PORT, LAB_MS(2000));

        LAB_CHECK(fd < 0 && errno != ETIMEDOUT && lab_now() - begin < LAB_MS(500),
                  "connect to %s: %s after %d ms", classed[i].address,
                  fd < 0 ? strerror(errno) : "connected", (int)(lab_now() - begin));
    }
}

LAB_TEST(gate, refused_udp_is_an_error_at_the_socket)
{
    (void)lab_helper(lab, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(classed); i++) {
        int fd = lab_udp_connected(lab, LAB_GUEST, classed[i].address, PORT);
        char byte;

        LAB_ASSERT_EQ(send(fd, "x", 1, 0), 1);
        ssize_t came = lab_recv_datagram(fd, &byte, 1, NULL, LAB_MS(1000));
        LAB_CHECK(came < 0 && errno != ETIMEDOUT, "datagram to %s: %s", classed[i].address,
                  came < 0 ? strerror(errno) : "an answer");
        close(fd);
    }
}

LAB_TEST(gate, refusals_are_logged_with_a_limited_rate)
{
    Traps *traps = traps_new(lab);
    LabHelper *helper = lab_helper(lab, NULL);

    traps_arm(traps, lab);
    for (int i = 0; i < 2000; i++)
        probe(traps, "127.0.0.1", NULL);
    fence(traps);
    LAB_ASSERT(lab_helper_await(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_REFUSED,
                                LAB_MS(2000)) != NULL);
    unsigned count = lab_helper_count(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_REFUSED);
    LAB_CHECK(count <= 50, "%u log records of 4000 refusals", count);
}

LAB_TEST(gate, urgent_data_does_not_reach_the_far_machine_with_more_bytes_than_sent)
{
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, PORT);
    size_t got = 0;
    char text[65536];
    ssize_t came;

    (void)lab_helper(lab, NULL);
    int client = lab_connected(lab, LAB_GUEST, LAB_FAR_V4, PORT), server = lab_accepted(listener);
    for (int i = 0; i < 100; i++)
        LAB_ASSERT_EQ(send(client, "abcd", 4, i % 3 == 0 ? MSG_OOB : 0), 4);
    LAB_ASSERT_CALL(shutdown(client, SHUT_WR));
    while (lab_wait(server, POLLIN, LAB_MS(LAB_WAIT_MS)) != 0 &&
           (came = recv(server, text, sizeof text, MSG_DONTWAIT)) > 0)
        got += (size_t)came;
    LAB_CHECK(got <= 400, "%zu bytes arrived of 400", got);
}

LAB_TEST(gate, fragments_are_dropped_and_harm_nothing)
{
    static uint8_t big[9000];
    Traps *traps = traps_new(lab);
    int sink = lab_udp(lab, LAB_FAR, LAB_FAR_V4, 4100);

    (void)lab_helper(lab, "--mtu=1500", NULL);
    traps_arm(traps, lab);
    int fd = lab_udp_connected(lab, LAB_GUEST, LAB_FAR_V4, 4100);
    LAB_ASSERT_EQ(send(fd, big, sizeof big, 0), sizeof big);
    fence(traps);
    lab_expect_quiet(sink, LAB_MS(QUIET_MS), "a fragmented datagram passed");
}
