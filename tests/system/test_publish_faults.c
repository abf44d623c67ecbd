/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_publish_faults.c - published ports when somebody misbehaves
 *
 * Does:     resets with data still under way, urgent data in bulk, a guest port that never answers, a listener and a UDP
 *           socket destroyed under the helper.
 * Runs in:  the lab.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>

#include "lab_helper.h"
#include "lab_test.h"

#define BULK (20 * 1024 * 1024)
#define TAIL 30000

typedef struct Ends {
    int client, server;
} Ends;

static Ends joined(Lab *lab, int listener)
{
    Ends ends = {.client = lab_connected(lab, LAB_RUNTIME, "127.0.0.1", 8080)};

    ends.server = lab_accept(listener, LAB_MS(LAB_WAIT_MS));
    LAB_ASSERT(ends.server >= 0);
    return ends;
}

/* Reads until the end; returns how much came, *ret_errno 0 for EOF. */
static size_t read_out(int fd, int *ret_errno)
{
    static char buffer[65536];
    size_t total = 0;

    for (;;) {
        ssize_t got;

        LAB_ASSERT(lab_wait(fd, POLLIN, LAB_MS(LAB_WAIT_MS)));
        got = recv(fd, buffer, sizeof buffer, 0);
        if (got <= 0) {
            *ret_errno = got < 0 ? errno : 0;
            return total;
        }
        total += (size_t)got;
    }
}

LAB_TEST(publish_faults, what_a_server_said_before_its_reset_reaches_the_client)
{
    static char data[TAIL];
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);

    (void)lab_helper(lab, "-p 8080:8000", NULL);
    for (unsigned i = 0; i < 10; i++) {
        Ends ends = joined(lab, listener);
        int failed = 0;
        size_t got;

        /* As a server that answers early and closes: it never reads the request, so its close is a RST. */
        lab_send(ends.client, data, 1000);
        LAB_ASSERT(lab_wait(ends.server, POLLIN, LAB_MS(LAB_WAIT_MS)));
        lab_send(ends.server, data, sizeof data);
        close(ends.server);
        got = read_out(ends.client, &failed);
        LAB_ASSERT_EQ(got, sizeof data);
        LAB_ASSERT_EQ(failed, ECONNRESET);
        close(ends.client);
    }
}

LAB_TEST(publish_faults, what_a_client_said_before_its_reset_reaches_the_server)
{
    static char data[TAIL];
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);

    (void)lab_helper(lab, "-p 8080:8000", NULL);
    for (unsigned i = 0; i < 10; i++) {
        Ends ends = joined(lab, listener);
        int failed = 0;

        lab_send(ends.client, data, sizeof data);
        lab_reset(ends.client);
        LAB_ASSERT_EQ(read_out(ends.server, &failed), sizeof data);
        LAB_ASSERT_EQ(failed, ECONNRESET);
        close(ends.server);
    }
}

/* With an urgent byte shortly before the end, while the reader is behind: no more comes after the rest that could wake a
 * stream that stopped there. */
static void send_bulk(int from, int to, size_t length)
{
    static char buffer[65536];
    size_t sent = 0, got = 0;
    bool urgent = false;

    while (got < length) {
        struct pollfd fds[2] = {{.fd = from, .events = sent < length ? POLLOUT : 0},
                                {.fd = to, .events = POLLIN}};
        ssize_t done;

        LAB_ASSERT(poll(fds, 2, LAB_MS(LAB_WAIT_MS)) > 0);
        if (fds[0].revents & POLLOUT) {
            done = send(from, buffer,
                        MIN(sizeof buffer, (sent < length - TAIL ? length - TAIL : length) - sent),
                        MSG_DONTWAIT | MSG_NOSIGNAL);
            sent += done > 0 ? (size_t)done : 0;
            if (!urgent && sent >= length - TAIL)
                urgent = send(from, "!", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
        }
        if (fds[1].revents & POLLIN) {
            done = recv(to, buffer, sizeof buffer, MSG_DONTWAIT);
            LAB_ASSERT(done > 0);
            got += (size_t)done;
        }
    }
}

LAB_TEST(publish_faults, urgent_data_in_bulk_does_not_stop_the_stream)
{
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);
    Ends ends;

    (void)lab_helper(lab, "-p 8080:8000", NULL);
    ends = joined(lab, listener);
    send_bulk(ends.client, ends.server, BULK);
    lab_say(ends.server, ends.client, "still here");
}

LAB_TEST(publish_faults, guest_port_that_never_answers_does_not_stop_the_others)
{
    int silent = lab_socket_bound(lab, LAB_GUEST, SOCK_STREAM, "0.0.0.0", 8001);
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);
    int clients[40];
    Ends ends;

    LAB_ASSERT_CALL(listen(silent, 0)); /* its queue takes one, and nobody accepts */
    lab_helper_wrap(lab, "ulimit -n 64");
    (void)lab_helper(lab, "-p 8080:8000", "-p 8081:8001", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++)
        clients[i] = lab_connect(lab, LAB_RUNTIME, "127.0.0.1", 8081, LAB_MS(1000));
    ends = joined(lab, listener);
    lab_say(ends.client, ends.server, "served beside them");
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++) {
        if (clients[i] >= 0)
            lab_reset(clients[i]);
    }
    close(ends.client);
    ends = joined(lab, listener);
    lab_say(ends.client, ends.server, "and after them");
}

LAB_TEST(publish_faults, destroyed_listener_is_said_and_costs_nothing)
{
    LabHelper *helper;
    int64_t cpu;

    helper = lab_helper(lab, "-p 8080:8000", NULL);
    if (lab_exec(lab, LAB_HOST, NULL, "ss", "-K", "-ltn", "sport", "=", ":8080", NULL) != 0)
        lab_cannot("ss -K does not work here");
    LAB_ASSERT(lab_helper_await(helper, "log", "limit", LAB_MS(LAB_WAIT_MS)) != NULL);
    cpu = lab_helper_cpu_ms(helper);
    (void)poll(NULL, 0, 1000); /* nothing to wait for: this is how long nothing may happen */
    LAB_CHECK(lab_helper_cpu_ms(helper) - cpu < 100, "%d ms of CPU in a second",
              (int)(lab_helper_cpu_ms(helper) - cpu));
}

LAB_TEST(publish_faults, udp_client_is_served_again_after_its_guest_socket_was_destroyed)
{
    int server = lab_udp(lab, LAB_GUEST, "10.0.2.100", 8000);
    int client;
    char text[64];
    bool answered = false;

    (void)lab_serve_udp(lab, server, LAB_ECHO);
    (void)lab_helper(lab, "-p 8080:8000/udp", NULL);
    client = lab_udp_connected(lab, LAB_RUNTIME, "127.0.0.1", 8080);
    LAB_ASSERT_EQ(send(client, "one", 3, 0), 3);
    LAB_ASSERT_EQ(lab_recv_datagram(client, text, sizeof text, NULL, LAB_MS(LAB_WAIT_MS)), 3);
    if (lab_exec(lab, LAB_GUEST, NULL, "ss", "-K", "-un", "dport", "=", ":8000", NULL) != 0)
        lab_cannot("ss -K does not work here");
    for (unsigned i = 0; i < 5 && !answered; i++) {
        LAB_ASSERT_EQ(send(client, "two", 3, 0), 3);
        answered = lab_recv_datagram(client, text, sizeof text, NULL, LAB_MS(500)) == 3;
    }
    LAB_ASSERT(answered);
}
