/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_control_hostile.c - clients of the control sockets that are slow, mad or many: not one packet of the guest is lost
 */
#include "config.h"

#include "controlfixture.h"
#include "lab_raw.h"
#include "lab_test.h"

typedef struct Door {
    const char *path;
    LabRaw *raw;
} Door;

static Door native(Lab *lab)
{
    LabRaw *raw;

    lab_sysctl(lab, LAB_GUEST, "net/ipv4/ping_group_range", "0 0");
    raw = lab_raw_line(lab, NULL, "--control=control %d", (int)lab_pid(lab, LAB_GUEST));
    lab_raw_ready(raw);
    return (Door){lab_path(lab, "control"), raw};
}

static void pings(Lab *lab, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        LAB_CHECK(lab_ping(lab, LAB_GUEST, LAB_GATEWAY_V4, 56, LAB_MS(1000)), "echo %u is lost", i);
    }
}

/* The helper ends the connection, whatever it says before, within the deadline and some. */
static void is_closed(int fd)
{
    int64_t end = lab_now() + LAB_MS(CONTROL_WAIT_MS);
    char text[4096];

    for (;;) {
        ssize_t n;

        LAB_CHECK(lab_wait(fd, POLLIN, (int)(end - lab_now())) != 0, "still open");
        n = recv(fd, text, sizeof text, MSG_DONTWAIT);
        if (n <= 0 && !(n < 0 && errno == EAGAIN)) {
            break;
        }
    }
    close(fd);
}

static void alive(const Door *door)
{
    int fd = control_open(door->path);

    free(control_do(fd, "ping", ""));
    close(fd);
}

LAB_TEST(control_hostile, client_that_says_nothing_holds_up_nobody)
{
    Door door = native(lab);
    int fd = control_open(door.path);

    pings(lab, 50);
    alive(&door);
    pings(lab, 10);
    free(control_do(fd, "ping", "")); /* it may stay, and speak later */
    close(fd);
    lab_raw_free(door.raw);
}

LAB_TEST(control_hostile, byte_a_second_is_too_slow)
{
    Door door = native(lab);
    int fd = control_open(door.path);
    int64_t end = lab_now() + LAB_MS(CONTROL_WAIT_MS);

    while (send(fd, "{", 1, MSG_NOSIGNAL) == 1) {
        LAB_CHECK(lab_now() < end, "still open");
        pings(lab, 5);
        (void)lab_wait(fd, POLLHUP, 1000);
    }
    alive(&door);
    is_closed(fd);
    lab_raw_free(door.raw);
}

LAB_TEST(control_hostile, ten_megabytes_without_a_newline_are_cut_short)
{
    Door door = native(lab);
    int fd = control_open(door.path);
    g_autofree char *chunk = g_strnfill(64 * 1024, 'x');
    size_t sent = 0;

    while (sent < 10 << 20) {
        ssize_t n = send(fd, chunk, 64 * 1024, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno != EAGAIN) {
            break;
        }
        sent += n > 0 ? (size_t)n : 0;
        pings(lab, 1);
        if (n < 0) {
            (void)lab_wait(fd, POLLOUT, 100);
        }
    }
    LAB_CHECK(sent < 10 << 20, "all of it was taken");
    alive(&door);
    is_closed(fd);
    lab_raw_free(door.raw);
}

/* What is wrong is quoted, however long it is: the reply must be a line that a client takes all the same. */
LAB_TEST(control_hostile, error_of_the_longest_request_fits_a_line)
{
    static const char head[] = "{\"command\":\"publish\",\"arguments\":{\"spec\":\"";
    static const char tail[] = "\"}}\n";
    Door door = native(lab);
    int fd = control_open(door.path);
    g_autofree char *spec = g_strnfill(64 * 1024 - strlen(head) - strlen(tail), 'x');
    g_autofree char *line = g_strconcat(head, spec, tail, NULL);
    g_autofree char *reply = NULL;

    lab_send(fd, line, strlen(line));
    reply = control_hear(fd, false);
    LAB_CHECK(strstr(reply, "\"publish\"") != NULL, "%.200s", reply);
    LAB_CHECK(strlen(reply) <= 64 * 1024, "%zu bytes", strlen(reply));
    alive(&door);
    close(fd);
    lab_raw_free(door.raw);
}

LAB_TEST(control_hostile, reply_that_is_not_read_is_given_up)
{
    Door door = native(lab);
    int fd = control_open(door.path);
    int64_t end = lab_now() + LAB_MS(CONTROL_WAIT_MS);

    for (;;) {
        static const char line[] = "{\"command\":\"dance\"}\n";
        ssize_t n = send(fd, line, sizeof line - 1, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno != EAGAIN) {
            break;
        }
        LAB_CHECK(lab_now() < end, "still open");
        if (n < 0) {
            pings(lab, 1);
            (void)lab_wait(fd, POLLOUT, 50);
        }
    }
    alive(&door);
    close(fd);
    lab_raw_free(door.raw);
}

LAB_TEST(control_hostile, thousand_clients_lock_nobody_out, .limit_ms = 60000)
{
    Door door = native(lab);
    int fds[1000];
    unsigned count = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = control_open(door.path);
        count += send(fds[i], "{", i % 2, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
        if (i % 50 == 0) {
            pings(lab, 1);
        }
    }
    LAB_ASSERT(count > 0);
    pings(lab, 20);
    for (unsigned i = 1; i < G_N_ELEMENTS(fds); i += 2) {
        is_closed(fds[i]); /* those that have begun something */
    }
    alive(&door);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i += 2) {
        close(fds[i]);
    }
    lab_raw_free(door.raw);
}

/* Somebody who begins a publication of thousands of ports and goes, again and again. */
LAB_TEST(control_hostile, clients_that_go_before_their_reply_leave_a_working_helper,
         .limit_ms = 60000)
{
    Door door = native(lab);
    int64_t end = lab_now() + LAB_MS(20000);
    g_autofree char *list = NULL;
    int fd;

    for (unsigned i = 0; i < 20; i++) {
        g_autofree char *line = g_strdup_printf("{\"command\":\"publish\",\"arguments\":{\"spec\":"
                                                "\"127.0.0.1:%u-%u:1-500\"}}\n",
                                                10000 + i * 500, 10499 + i * 500);

        fd = control_open(door.path);
        lab_send(fd, line, strlen(line));
        close(fd);
    }
    pings(lab, 20);
    fd = control_open(door.path);
    do {
        LAB_CHECK(lab_now() < end, "not all are published: %s", list);
        g_free(list);
        list = control_do(fd, "list", "");
    } while (strstr(list, "19500-19999") == NULL);
    LAB_ASSERT_EQ(control_listeners(lab, 10000, 19999), 10000);
    lab_raw_free(door.raw);
}
