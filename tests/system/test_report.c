/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_report.c - what a parent reads: ready, records, and what happens if it does not read
 *
 * The form of every record is checked as it comes (lab_raw.c).
 */
#include "config.h"

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lab_raw.h"
#include "lab_test.h"

/* Ends of a pipe of the test's, whose writing end the helper inherits. */
typedef struct Pipe {
    int reader, writer;
} Pipe;

static Pipe pipe_new(void)
{
    int ends[2];

    LAB_ASSERT_CALL(pipe2(ends, O_CLOEXEC));
    return (Pipe){ends[0], ends[1]};
}

static void works(Lab *lab)
{
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    int client = lab_connected(lab, LAB_GUEST, LAB_FAR_V4, lab_port(listener));
    int server = lab_accepted(listener);

    lab_transfer(client, server, 4096, 4096, 0);
    close(client);
    close(server);
    close(listener);
}

/* What comes until the end, which must come in time. Return: bytes */
static size_t read_all(int fd, char *buffer, size_t size)
{
    size_t length = 0;
    ssize_t got;

    do {
        LAB_CHECK(lab_wait(fd, POLLIN, LAB_MS(2 * LAB_WAIT_MS)) != 0, "neither data nor the end");
        got = read(fd, buffer + length, size - length);
        LAB_ASSERT_CALL(got);
        length += (size_t)got;
    } while (got > 0 && length < size);
    return length;
}

static void wait_one(int fd)
{
    char text[4];

    LAB_ASSERT_EQ(read_all(fd, text, sizeof text), 1);
    LAB_ASSERT_EQ(text[0], '1');
}

static void stop(LabRaw *raw)
{
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(2000)), 0);
}

/* ---- ready ---- */

LAB_TEST(report, ready_fd_gets_one_byte_and_the_end)
{
    Pipe ready = pipe_new();
    LabRawSetup setup = {.fds = {ready.writer}, .fd_count = 1};
    LabRaw *raw;

    (void)lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);
    raw = lab_raw_line(lab, &setup, "--ready-fd=10 -p 8080:80 %d", (int)lab_pid(lab, LAB_GUEST));
    close(ready.writer);
    wait_one(ready.reader);
    /* Ready means ready: no waiting for anything now. */
    int fd = lab_connect(lab, LAB_FAR, LAB_HOST_V4, 8080, LAB_MS(200));
    LAB_CHECK(fd >= 0, "published port: %s", strerror(errno));
    LAB_ASSERT(lab_raw_await(raw, SALLYPORT_EVENT_READY, 0) != NULL ||
               lab_raw_count(raw, SALLYPORT_EVENT_READY, NULL) == 1);
    works(lab);
    stop(raw);
}

LAB_TEST(report, ready_fd_gets_only_the_end_when_the_start_fails)
{
    Pipe ready = pipe_new();
    LabRawSetup setup = {.fds = {ready.writer}, .fd_count = 1};
    char text[4];

    (void)lab_listen(lab, LAB_HOST, "127.0.0.1", 8080);
    LabRaw *raw =
        lab_raw_line(lab, &setup, "--ready-fd=10 -p 8080:80 %d", (int)lab_pid(lab, LAB_GUEST));
    close(ready.writer);
    LAB_ASSERT_EQ(read_all(ready.reader, text, sizeof text), 0);
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(2000)), 1);
}

LAB_TEST(report, reader_of_ready_fd_that_goes_away_ends_nothing)
{
    Pipe ready = pipe_new();
    LabRawSetup setup = {.fds = {ready.writer}, .fd_count = 1};

    close(ready.reader);
    LabRaw *raw = lab_raw_line(lab, &setup, "--ready-fd=10 %d", (int)lab_pid(lab, LAB_GUEST));
    lab_raw_ready(raw);
    works(lab);
    stop(raw);
}

/* ---- records ---- */

static const char *published(LabRaw *raw, const char *ports, const char *family)
{
    for (unsigned i = 0; lab_raw_record(raw, i) != NULL; i++) {
        const char *json = lab_raw_record(raw, i);

        if (lab_record_has(json, "event", SALLYPORT_EVENT_PUBLISHED) &&
            lab_record_has(json, "host_ports", ports) && lab_record_has(json, "family", family))
            return json;
    }
    lab_fail(__FILE__, __LINE__, "no published record for port %s, %s", ports, family);
}

LAB_TEST(report, published_records_come_before_ready_and_state_their_exposure)
{
    static const struct {
        const char *ports, *family, *protocol, *exposure;
    } wanted[] = {
        {"8080", "ipv4", "tcp", "loopback"}, {"8081", "ipv4", "tcp", "interface"},
        {"8082", "ipv4", "tcp", "all"},      {"8082", "ipv6", "tcp", "all"},
        {"8083", "ipv6", "udp", "loopback"}, {"8090-8099", "ipv4", "tcp", "loopback"},
    };
    LabRaw *raw = lab_raw_line(lab, NULL,
                               "-p 127.0.0.1:8080:80 -p 192.0.2.1:8081:81 -p 8082:82 "
                               "-p [::1]:8083:83/udp -p 127.0.0.1:8090-8099:90-99 %d",
                               (int)lab_pid(lab, LAB_GUEST));
    unsigned count, at_ready = 0;
    bool fast;

    lab_raw_ready(raw);
    count = lab_raw_count(raw, NULL, NULL);
    for (unsigned i = 0; i < count; i++) {
        if (lab_record_has(lab_raw_record(raw, i), "event", SALLYPORT_EVENT_READY))
            at_ready = i;
    }
    fast = strstr(lab_raw_record(raw, at_ready), "\"fast_path\":{\"on\":true,") != NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++) {
        const char *json = published(raw, wanted[i].ports, wanted[i].family);
        const char *source = strcmp(wanted[i].exposure, "loopback") == 0 ? "gateway" : "client";

        LAB_CHECK(lab_record_has(json, "exposure", wanted[i].exposure), "%s", json);
        LAB_CHECK(lab_record_has(json, "protocol", wanted[i].protocol), "%s", json);
        LAB_CHECK(lab_record_has(json, "source", fast ? source : "guest"), "%s", json);
    }
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_PUBLISHED, NULL), G_N_ELEMENTS(wanted));
    for (unsigned i = at_ready; i < count; i++)
        LAB_CHECK(!lab_record_has(lab_raw_record(raw, i), "event", SALLYPORT_EVENT_PUBLISHED),
                  "published after ready: %s", lab_raw_record(raw, i));
    stop(raw);
}

LAB_TEST(report, ready_record_says_what_the_guest_got)
{
    static const char *const keys[][2] = {
        {"mtu", "1500"},
        {"interface", "net0"},
        {"mac", "02:00:00:00:00:07"},
        {"published", "1"}, /* ports, not records */
        {"guest", "[\"10.0.2.100\",\"fd00::64\"]"},
        {"gateway", "[\"10.0.2.2\",\"fd00::2\"]"},
        {"dns", "[\"10.0.2.3\",\"fd00::3\"]"},
    };
    LabRaw *raw =
        lab_raw_line(lab, NULL, "--mtu=1500 --ifname=net0 --mac=02:00:00:00:00:07 -p 8080:80 %d",
                     (int)lab_pid(lab, LAB_GUEST));
    g_autofree char *pid = g_strdup_printf("%d", (int)lab_raw_pid(raw));
    const char *json;

    lab_raw_ready(raw);
    json = lab_raw_await(raw, SALLYPORT_EVENT_READY, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        LAB_CHECK(lab_record_has(json, keys[i][0], keys[i][1]), "%s is not %s: %s", keys[i][0],
                  keys[i][1], json);
    LAB_CHECK(lab_record_has(json, "pid", pid), "%s", json);
    stop(raw);
}

static void one_line_one_record(Lab *lab, const char *spec)
{
    g_autofree char *guest = g_strdup_printf("%d", (int)lab_pid(lab, LAB_GUEST));
    const char *words[] = {"-p", spec, guest, NULL};
    LabRaw *raw = lab_raw_start(lab, NULL, words);

    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(2000)), 1);
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_ERROR, NULL), 1);
    lab_raw_expect_reason(raw, SALLYPORT_REASON_START_FAILED);
    LAB_CHECK(lab_raw_err_lines(raw) == 1 && g_str_has_suffix(lab_raw_err(raw), "\n"),
              "%u newlines on standard error", lab_raw_err_lines(raw));
}

LAB_TEST(report, word_of_four_thousand_bytes_is_one_line_and_one_record_that_fits)
{
    g_autofree char *name = g_strnfill(3900, 'x');
    g_autofree char *spec = g_strdup_printf("8080:80,%s", name);

    one_line_one_record(lab, spec);
}

LAB_TEST(report, word_of_control_characters_is_one_line_and_one_record)
{
    one_line_one_record(lab, "\xff\xfe\x01\"\\\x1b[2J\x7f");
    one_line_one_record(lab, "80\n80\nsallyport: a line of somebody else's");
}

LAB_TEST(report, without_report_fd_events_are_readable_lines)
{
    static const char *const wanted[] = {"published", "8080", "loopback",
                                         "ready",     "exit", "signal"};
    const LabRawSetup setup = {.no_report = true};
    LabRaw *raw =
        lab_raw_line(lab, &setup, "-p 127.0.0.1:8080:80 %d", (int)lab_pid(lab, LAB_GUEST));
    int64_t end = lab_now() + LAB_MS(LAB_WAIT_MS);

    while (strstr(lab_raw_err(raw), "ready") == NULL) {
        LAB_CHECK(lab_now() < end, "no line that says ready:\n%s", lab_raw_err(raw));
        (void)poll(NULL, 0, 5);
    }
    works(lab);
    stop(raw);
    g_auto(GStrv) lines = g_strsplit(g_strchomp(g_strdup(lab_raw_err(raw))), "\n", -1);
    for (size_t i = 0; lines[i] != NULL; i++) {
        LAB_CHECK(g_str_has_prefix(lines[i], "sallyport: "), "'%s'", lines[i]);
        LAB_CHECK(strchr(lines[i], '{') == NULL || strchr(lines[i], '{') > lines[i] + 20,
                  "JSON for people: '%s'", lines[i]);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++)
        LAB_CHECK(strstr(lab_raw_err(raw), wanted[i]) != NULL, "no '%s' in\n%s", wanted[i],
                  lab_raw_err(raw));
    LAB_CHECK(*lab_raw_out(raw) == '\0', "on standard output: %s", lab_raw_out(raw));
}

/* ---- a parent that does not read ---- */

/* A helper that reports to a pipe of the test's, and is ready. */
static LabRaw *reports_to(Lab *lab, int writer, const char *words)
{
    Pipe ready = pipe_new();
    LabRawSetup setup = {.no_report = true, .fds = {writer, ready.writer}, .fd_count = 2};
    LabRaw *raw = lab_raw_line(lab, &setup, "--report-fd=10 --ready-fd=11 %s%d", words,
                               (int)lab_pid(lab, LAB_GUEST));

    close(ready.writer);
    wait_one(ready.reader);
    close(ready.reader);
    return raw;
}

LAB_TEST(report, reader_that_goes_away_ends_nothing)
{
    Pipe report = pipe_new();
    LabRaw *raw = reports_to(lab, report.writer, "");

    close(report.writer);
    close(report.reader);
    works(lab);
    stop(raw);
    report = pipe_new();
    close(report.reader);
    raw = reports_to(lab, report.writer, "-p 8080:80 ");
    works(lab);
    stop(raw);
}

/* 300 records do not fit into 4096 bytes of pipe; they fit into the helper's queue. */
static char *many_ports(void)
{
    GString *words = g_string_new(NULL);

    for (int i = 0; i < 300; i++)
        g_string_append_printf(words, "-p 127.0.0.1:%d:80 ", 10000 + 2 * i);
    return g_string_free(words, FALSE);
}

LAB_TEST(report, reader_that_never_reads_blocks_nothing)
{
    g_autofree char *words = many_ports();
    Pipe report = pipe_new();
    LabRaw *raw;
    int64_t stopped;

    LAB_ASSERT(fcntl(report.writer, F_SETPIPE_SZ, 4096) >= 4096);
    raw = reports_to(lab, report.writer, words);
    works(lab);
    int server = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);
    int client = lab_connected(lab, LAB_HOST, "127.0.0.1", 10598);
    lab_say(client, lab_accepted(server), "by the last port");
    LAB_CHECK((fcntl(report.writer, F_GETFL) & O_NONBLOCK) == 0,
              "O_NONBLOCK was set on a description the parent shares");
    stopped = lab_now();
    stop(raw);
    LAB_CHECK(lab_now() - stopped < LAB_MS(1500), "the last word held it up for %lld ms",
              (long long)(lab_now() - stopped));
}

LAB_TEST(report, reader_that_comes_late_gets_every_record)
{
    g_autofree char *words = many_ports();
    g_autoptr(GString) text = g_string_new(NULL);
    g_auto(GStrv) lines = NULL;
    char buffer[4096];
    Pipe report = pipe_new();
    ssize_t length;

    LAB_ASSERT(fcntl(report.writer, F_SETPIPE_SZ, 4096) >= 4096);
    LabRaw *raw = reports_to(lab, report.writer, words);
    close(report.writer);
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    while ((length = read(report.reader, buffer, sizeof buffer)) > 0)
        g_string_append_len(text, buffer, length);
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(2000)), 0);
    lines = g_strsplit(text->str, "\n", -1);
    LAB_ASSERT_EQ(g_strv_length(lines), 300 + 1 + 1 + 1); /* ready, exit, the end */
    for (guint i = 0; i + 1 < g_strv_length(lines); i++) {
        g_autofree char *seq = g_strdup_printf("%u", i);

        LAB_CHECK(lab_record_has(lines[i], "seq", seq), "record %u: %s", i, lines[i]);
    }
    LAB_CHECK(lab_record_has(lines[301], "event", SALLYPORT_EVENT_EXIT), "%s", lines[301]);
}

LAB_TEST(report, socket_serves_as_report_too)
{
    int ends[2];
    char buffer[8192];
    ssize_t length;

    LAB_ASSERT_CALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
    LabRaw *raw = reports_to(lab, ends[1], "");
    LAB_CHECK((fcntl(ends[1], F_GETFL) & O_NONBLOCK) == 0, "O_NONBLOCK was set");
    stop(raw);
    length = recv(ends[0], buffer, sizeof buffer - 1, MSG_DONTWAIT);
    LAB_ASSERT(length > 0);
    buffer[length] = '\0';
    LAB_CHECK(strstr(buffer, "\"ready\"") != NULL && strstr(buffer, "\"exit\"") != NULL, "%s",
              buffer);
}
