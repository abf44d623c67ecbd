/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_publish.c - clients of published ports: what they send, how they end, how many they are
 *
 * Not here: which ports and addresses a port map opens (test_portmap_listen.c).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "lab_helper.h"
#include "lab_test.h"

#define MIB (1024 * 1024)

/* Where a client of port 8080 may stand, and what it connects to. */
static const struct {
    LabPlace place;
    const char *address;
} clients[] = {
    {LAB_RUNTIME, "127.0.0.1"}, {LAB_RUNTIME, "::1"},     {LAB_RUNTIME, LAB_HOST_V4},
    {LAB_RUNTIME, LAB_HOST_V6}, {LAB_FAR, LAB_HOST_V4},   {LAB_FAR, LAB_HOST_V6},
    {LAB_FAR, LAB_HOST_V4_3},   {LAB_FAR, LAB_HOST_V6_3},
};

/* A client of port 8080 and the guest's end of it. */
typedef struct Ends {
    int client, server;
} Ends;

static Ends joined(Lab *lab, LabPlace place, const char *address, int listener)
{
    Ends ends = {.client = lab_connected(lab, place, address, 8080)};

    ends.server = lab_accept(listener, LAB_MS(LAB_WAIT_MS));
    LAB_CHECK(ends.server >= 0, "a client of %s is not joined with the server", address);
    return ends;
}

static void says_and_closes(Ends ends)
{
    lab_say(ends.client, ends.server, "there");
    lab_say(ends.server, ends.client, "and back");
    close(ends.client);
    LAB_ASSERT_EQ(lab_wait_end(ends.server, LAB_MS(LAB_WAIT_MS)), LAB_END_EOF);
    close(ends.server);
}

/* A listener on both families, as most servers have; the lab's own sockets are of one. */
static int listen_dual(Lab *lab, uint16_t port)
{
    const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = lab_socket(lab, LAB_GUEST, AF_INET6, SOCK_STREAM, 0), off = 0;

    LAB_ASSERT_CALL(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off));
    LAB_ASSERT_CALL(bind(fd, (const struct sockaddr *)&any, sizeof any));
    LAB_ASSERT_CALL(listen(fd, 4096));
    return fd;
}

/* ---- who is served ---- */

LAB_TEST(publish, tcp_server_on_both_families_serves_every_client)
{
    int listener = listen_dual(lab, 8000);

    (void)lab_helper(lab, "-p 8080:8000", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
        says_and_closes(joined(lab, clients[i].place, clients[i].address, listener));
}

LAB_TEST(publish, tcp_server_on_ipv4_only_serves_clients_of_either_family)
{
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);

    (void)lab_helper(lab, "-p 8080:8000", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
        says_and_closes(joined(lab, clients[i].place, clients[i].address, listener));
}

LAB_TEST(publish, tcp_server_on_ipv6_only_serves_clients_of_either_family)
{
    int listener = lab_listen(lab, LAB_GUEST, "::", 8000);

    (void)lab_helper(lab, "-p 8080:8000", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
        says_and_closes(joined(lab, clients[i].place, clients[i].address, listener));
}

LAB_TEST(publish, server_that_starts_after_the_helper_is_served)
{
    LabHelper *helper = lab_helper(lab, "-p 8080:8000", NULL);

    LAB_ASSERT(lab_helper_count(helper, SALLYPORT_EVENT_READY, NULL) == 1);
    says_and_closes(joined(lab, LAB_FAR, LAB_HOST_V4, lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000)));
}

LAB_TEST(publish, closed_guest_port_resets_the_client_within_100_ms)
{
    (void)lab_helper(lab, "-p 8080:8000", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++) {
        int64_t begin = lab_now();
        int client = lab_connect(lab, clients[i].place, clients[i].address, 8080, LAB_MS(1000));

        if (client < 0) {
            LAB_ASSERT_EQ(errno, ECONNRESET);
            continue;
        }
        LabEnd end = lab_wait_end(client, LAB_MS(100));
        LAB_CHECK(end == LAB_END_RESET, "client of %s sees %s after %d ms", clients[i].address,
                  lab_end_text(end), (int)(lab_now() - begin));
        close(client);
    }
}

/* ---- bytes ---- */

static void carries_64_mib(Lab *lab, LabPlace place, const char *address, int listener)
{
    Ends ends = joined(lab, place, address, listener);

    lab_transfer(ends.client, ends.server, 64 * MIB, 64 * MIB, 0);
    close(ends.client);
    close(ends.server);
}

LAB_TEST(publish, tcp_carries_64_mib_both_ways_from_loopback, .limit_ms = 60000)
{
    int listener = listen_dual(lab, 8000);

    (void)lab_helper(lab, "-p 8080:8000", NULL);
    carries_64_mib(lab, LAB_RUNTIME, "127.0.0.1", listener);
    carries_64_mib(lab, LAB_RUNTIME, "::1", listener);
}

LAB_TEST(publish, tcp_carries_64_mib_both_ways_from_the_far_machine, .limit_ms = 60000)
{
    int listener = listen_dual(lab, 8000);

    (void)lab_helper(lab, "-p 8080:8000", NULL);
    carries_64_mib(lab, LAB_FAR, LAB_HOST_V4, listener);
    carries_64_mib(lab, LAB_FAR, LAB_HOST_V6, listener);
}

LAB_TEST(publish, tcp_by_single_bytes_arrives_unchanged)
{
    int listener = listen_dual(lab, 8000);

    (void)lab_helper(lab, "-p 8080:8000", NULL);
    Ends ends = joined(lab, LAB_FAR, LAB_HOST_V4, listener);
    lab_transfer(ends.client, ends.server, 5000, 5000, 1);
    ends = joined(lab, LAB_FAR, LAB_HOST_V6, listener);
    lab_transfer(ends.client, ends.server, 5000, 5000, 1);
}

LAB_TEST(publish, slow_reader_holds_the_writer_back_and_loses_nothing)
{
    enum { LENGTH = 16 * MIB };
    static uint8_t chunk[64 * 1024];
    int listener = listen_dual(lab, 8000);
    size_t sent = 0, got = 0;
    ssize_t step;

    LabHelper *helper = lab_helper(lab, "-p 8080:8000", NULL);
    Ends ends = joined(lab, LAB_RUNTIME, "127.0.0.1", listener);
    /* Nobody reads: the writer must be stopped by then. */
    while (lab_wait(ends.client, POLLOUT, LAB_MS(300)) != 0) {
        step = send(ends.client, chunk, sizeof chunk, MSG_DONTWAIT | MSG_NOSIGNAL);
        LAB_ASSERT(step > 0 || errno == EAGAIN);
        sent += step > 0 ? (size_t)step : 0;
        LAB_CHECK(sent < 4 * LENGTH, "%zu bytes are taken though nobody reads", sent);
    }
    int64_t before = lab_helper_cpu_ms(helper);
    lab_expect_quiet(ends.client, LAB_MS(500), "the client got a byte from nowhere");
    LAB_CHECK(lab_helper_cpu_ms(helper) - before <= 50, "%d ms of CPU while nothing can move",
              (int)(lab_helper_cpu_ms(helper) - before));
    LAB_ASSERT_CALL(shutdown(ends.client, SHUT_WR));
    while (lab_wait(ends.server, POLLIN, LAB_MS(LAB_WAIT_MS)) != 0) {
        step = recv(ends.server, chunk, sizeof chunk, MSG_DONTWAIT);
        LAB_ASSERT(step >= 0 || errno == EAGAIN);
        if (step == 0)
            break;
        got += step > 0 ? (size_t)step : 0;
    }
    LAB_ASSERT_EQ(got, sent);
}

/* ---- ends ---- */

LAB_TEST(publish, half_close_keeps_the_other_direction_open)
{
    int listener = listen_dual(lab, 8000);

    (void)lab_helper(lab, "-p 8080:8000", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++) {
        Ends ends = joined(lab, clients[i].place, clients[i].address, listener);

        LAB_ASSERT_CALL(shutdown(ends.client, SHUT_WR));
        LAB_ASSERT_EQ(lab_wait_end(ends.server, LAB_MS(LAB_WAIT_MS)), LAB_END_EOF);
        lab_say(ends.server, ends.client, "still open this way");
        close(ends.server);
        LAB_ASSERT_EQ(lab_wait_end(ends.client, LAB_MS(LAB_WAIT_MS)), LAB_END_EOF);
        close(ends.client);

        ends = joined(lab, clients[i].place, clients[i].address, listener);
        LAB_ASSERT_CALL(shutdown(ends.server, SHUT_WR));
        LAB_ASSERT_EQ(lab_wait_end(ends.client, LAB_MS(LAB_WAIT_MS)), LAB_END_EOF);
        lab_say(ends.client, ends.server, "still open that way");
        close(ends.client);
        LAB_ASSERT_EQ(lab_wait_end(ends.server, LAB_MS(LAB_WAIT_MS)), LAB_END_EOF);
        close(ends.server);
    }
}

LAB_TEST(publish, bytes_before_a_fin_at_once_all_arrive)
{
    int listener = listen_dual(lab, 8000);
    char text[6] = "";

    (void)lab_helper(lab, "-p 8080:8000", NULL);
    int client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    lab_send(client, "hello", 5);
    close(client);
    int server = lab_accepted(listener);
    lab_recv(server, text, 5);
    LAB_ASSERT(strcmp(text, "hello") == 0);
    LAB_ASSERT_EQ(lab_wait_end(server, LAB_MS(LAB_WAIT_MS)), LAB_END_EOF);
}

LAB_TEST(publish, reset_of_one_end_is_a_reset_at_the_other)
{
    int listener = listen_dual(lab, 8000);

    (void)lab_helper(lab, "-p 8080:8000", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++) {
        Ends ends = joined(lab, clients[i].place, clients[i].address, listener);
        LabEnd end;

        lab_say(ends.client, ends.server, "hello");
        lab_reset(ends.client);
        end = lab_wait_end(ends.server, LAB_MS(LAB_WAIT_MS));
        LAB_CHECK(end == LAB_END_RESET, "the server sees %s", lab_end_text(end));
        close(ends.server);

        ends = joined(lab, clients[i].place, clients[i].address, listener);
        lab_say(ends.client, ends.server, "hello");
        lab_reset(ends.server);
        end = lab_wait_end(ends.client, LAB_MS(LAB_WAIT_MS));
        LAB_CHECK(end == LAB_END_RESET, "the client sees %s", lab_end_text(end));
        close(ends.client);
    }
}

/* ---- many ---- */

/* Connects @count clients to port 8080 of loopback at once and waits until each got its byte back. */
static int64_t echo_at_once(Lab *lab, unsigned count, int timeout_ms)
{
    g_autofree struct pollfd *polls = g_new0(struct pollfd, count);
    struct sockaddr_storage to;
    socklen_t length = lab_address(&to, "127.0.0.1", 8080);
    unsigned done = 0;

    for (unsigned i = 0; i < count; i++) {
        polls[i].fd = lab_socket(lab, LAB_RUNTIME, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        polls[i].events = POLLOUT;
        LAB_ASSERT_CALL(polls[i].fd);
    }
    int64_t begin = lab_now();
    for (unsigned i = 0; i < count; i++)
        LAB_ASSERT(connect(polls[i].fd, (struct sockaddr *)&to, length) == 0 ||
                   errno == EINPROGRESS);
    while (done < count && lab_now() - begin < timeout_ms) {
        char byte = 'b';

        if (poll(polls, count, timeout_ms) <= 0)
            continue;
        for (unsigned i = 0; i < count; i++) {
            if ((polls[i].revents & POLLOUT) != 0) {
                LAB_ASSERT_EQ(send(polls[i].fd, &byte, 1, MSG_NOSIGNAL), 1);
                polls[i].events = POLLIN;
            } else if (polls[i].revents != 0) {
                LAB_ASSERT_EQ(recv(polls[i].fd, &byte, 1, 0), 1);
                close(polls[i].fd);
                polls[i].fd = -1;
                done++;
            }
        }
    }
    int64_t took = lab_now() - begin;
    LAB_CHECK(done == count, "%u of %u connections echoed in %d ms", done, count, (int)took);
    return took;
}

LAB_TEST(publish, five_hundred_connects_at_once_all_echo_within_500_ms)
{
    (void)lab_serve_tcp(lab, lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000), LAB_ECHO);
    (void)lab_helper(lab, "-p 8080:8000", NULL);
    for (int round = 0; round < 3; round++) {
        int64_t took = echo_at_once(lab, 500, LAB_MS(10000));

        LAB_CHECK(took <= LAB_MS(500), "round %d: %d ms", round, (int)took);
    }
}

LAB_TEST(publish, two_hundred_clients_with_64_files_cost_no_cpu_and_leave_room_again)
{
    enum { COUNT = 200, WATCH_MS = 2000 };
    int held[COUNT];

    (void)lab_serve_tcp(lab, lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000), LAB_ECHO);
    lab_helper_wrap(lab, "ulimit -n 64");
    LabHelper *helper = lab_helper(lab, "-p 8080:8000", NULL);
    for (int i = 0; i < COUNT; i++)
        held[i] = lab_connected(lab, LAB_RUNTIME, "127.0.0.1", 8080);
    for (int i = 0; i < COUNT; i++)
        (void)send(held[i], "x", 1, MSG_NOSIGNAL);

    /* The limit is there: the last client is not served while the others stay. */
    lab_expect_quiet(held[COUNT - 1], LAB_MS(200), "200 clients are served with 64 files");
    int64_t before = lab_helper_cpu_ms(helper);
    lab_expect_quiet(held[COUNT - 1], WATCH_MS, "200 clients are served with 64 files");
    int64_t spent = lab_helper_cpu_ms(helper) - before;
    LAB_CHECK(spent * 100 <= WATCH_MS * 5, "%d ms of CPU in %d ms", (int)spent, WATCH_MS);

    int64_t begin = lab_now();
    for (int i = 0; i < COUNT; i++)
        close(held[i]);
    int client = lab_connected(lab, LAB_RUNTIME, "127.0.0.1", 8080);
    lab_say(client, client, "served again");
    LAB_CHECK(lab_now() - begin <= LAB_MS(1000), "served again after %d ms",
              (int)(lab_now() - begin));
}

/* ---- UDP ---- */

LAB_TEST(publish, udp_of_both_families_is_served_from_loopback_and_far)
{
    (void)lab_serve_udp(lab, lab_udp(lab, LAB_GUEST, "0.0.0.0", 5000), LAB_ECHO);
    (void)lab_serve_udp(lab, lab_udp(lab, LAB_GUEST, "::", 5000), LAB_ECHO);
    (void)lab_helper(lab, "-p 5353:5000/udp", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++) {
        static const size_t lengths[] = {0, 1, 1400, 9000, 60000};
        static uint8_t sent[65536], got[65536];
        int client = lab_udp_connected(lab, clients[i].place, clients[i].address, 5353);

        for (size_t k = 0; k < G_N_ELEMENTS(lengths); k++) {
            memset(sent, (int)(i + k), lengths[k]);
            LAB_ASSERT_EQ(send(client, sent, lengths[k], 0), lengths[k]);
            ssize_t came = lab_recv_datagram(client, got, sizeof got, NULL, LAB_MS(LAB_WAIT_MS));
            LAB_CHECK(came == (ssize_t)lengths[k] && memcmp(sent, got, lengths[k]) == 0,
                      "%zu bytes to %s, %zd came back (%s)", lengths[k], clients[i].address, came,
                      came < 0 ? strerror(errno) : "");
        }
        close(client);
    }
}

LAB_TEST(publish, udp_replies_go_to_the_client_that_asked)
{
    enum { COUNT = 20 };
    int server = lab_udp(lab, LAB_GUEST, "0.0.0.0", 5000), fds[COUNT];
    struct sockaddr_storage from[COUNT];
    char text[32];

    (void)lab_helper(lab, "-p 5353:5000/udp", NULL);
    for (int i = 0; i < COUNT; i++) {
        fds[i] = lab_udp_connected(lab, i % 2 == 0 ? LAB_FAR : LAB_RUNTIME,
                                   i % 2 == 0 ? LAB_HOST_V4 : "127.0.0.1", 5353);
        g_snprintf(text, sizeof text, "client %d", i);
        LAB_ASSERT_EQ(send(fds[i], text, strlen(text), 0), strlen(text));
        LAB_ASSERT(lab_recv_datagram(server, text, sizeof text, &from[i], LAB_MS(LAB_WAIT_MS)) > 0);
    }
    for (int i = COUNT; i-- > 0;) {
        g_snprintf(text, sizeof text, "for %d", i);
        LAB_ASSERT_EQ(sendto(server, text, strlen(text), 0, (struct sockaddr *)&from[i],
                             sizeof(struct sockaddr_in)),
                      strlen(text));
    }
    for (int i = 0; i < COUNT; i++) {
        char got[32] = "";

        LAB_ASSERT(lab_recv_datagram(fds[i], got, sizeof got - 1, NULL, LAB_MS(LAB_WAIT_MS)) > 0);
        g_snprintf(text, sizeof text, "for %d", i);
        LAB_CHECK(strcmp(got, text) == 0, "client %d got '%s'", i, got);
    }
}

LAB_TEST(publish, udp_server_that_starts_late_is_served)
{
    char byte = 0;

    (void)lab_helper(lab, "-p 5353:5000/udp", NULL);
    int client = lab_udp_connected(lab, LAB_FAR, LAB_HOST_V4, 5353);
    LAB_ASSERT_EQ(send(client, "1", 1, 0), 1);
    lab_expect_quiet(client, LAB_MS(100), "an answer though nobody serves");
    int server = lab_udp(lab, LAB_GUEST, "0.0.0.0", 5000);
    LAB_ASSERT_EQ(send(client, "2", 1, 0), 1);
    LAB_ASSERT_EQ(lab_recv_datagram(server, &byte, 1, NULL, LAB_MS(LAB_WAIT_MS)), 1);
    LAB_ASSERT_EQ(byte, '2');
}

LAB_TEST(publish, udp_server_on_one_family_serves_clients_of_the_other)
{
    char byte;

    (void)lab_serve_udp(lab, lab_udp(lab, LAB_GUEST, "0.0.0.0", 5000), LAB_ECHO);
    (void)lab_serve_udp(lab, lab_udp(lab, LAB_GUEST, "::", 5001), LAB_ECHO);
    (void)lab_helper(lab, "-p 5353:5000/udp", "-p 5354:5001/udp", NULL);
    int six = lab_udp_connected(lab, LAB_RUNTIME, "::1", 5353);
    int four = lab_udp_connected(lab, LAB_RUNTIME, "127.0.0.1", 5354);
    /* The first datagram may be the one that finds out. */
    for (int i = 0; i < 2; i++) {
        LAB_ASSERT_EQ(send(six, "6", 1, 0), 1);
        LAB_ASSERT_EQ(send(four, "4", 1, 0), 1);
        if (lab_wait(six, POLLIN, LAB_MS(300)) != 0 && lab_wait(four, POLLIN, LAB_MS(300)) != 0)
            break;
    }
    LAB_ASSERT_EQ(lab_recv_datagram(six, &byte, 1, NULL, LAB_MS(LAB_WAIT_MS)), 1);
    LAB_ASSERT_EQ(lab_recv_datagram(four, &byte, 1, NULL, LAB_MS(LAB_WAIT_MS)), 1);
}
