/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_takeover_stall.c - readers that have stopped, and writers that go on
 *
 * A slow reader is the writer's backpressure: nothing of the helper grows, nothing in the guest's kernel does on its account,
 * whatever buffers the guest's root allows, and nobody else waits for it.
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>

#include "lab_test.h"
#include "takeoverfixture.h"

#define GIB         (INT64_C(1024) * MIB)
#define GROWTH_KIB  1024
#define QUEUE_BYTES (5 * MIB)

/* Memory and latencies are measured: one test at a time. */
static void __attribute__((constructor)) one_at_a_time(void)
{
    (void)g_setenv("CRITERION_JOBS", "1", FALSE);
}

/* Both of a stream's kernels may buffer a GiB. */
static void huge_buffers(Lab *lab)
{
    static const LabPlace places[] = {LAB_GUEST, LAB_FAR};

    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        lab_sysctl(lab, places[i], "net/ipv4/tcp_wmem", "4096 16384 1073741824");
        lab_sysctl(lab, places[i], "net/ipv4/tcp_rmem", "4096 131072 1073741824");
    }
}

/* A stream through the helper, and its socket in the guest's kernel as ss(8) finds it. */
typedef enum Way {
    WAY_IN,   /* a client at FAR writes to a server in the guest */
    WAY_DOWN, /* a server at FAR writes to a client in the guest */
    WAY_UP,   /* a client in the guest writes to a server at FAR */
    WAYS
} Way;

static const char *const way_names[] = {"in", "down", "up"};

typedef struct Stream {
    int writer, reader;
    char ours[64];    /* the helper's socket in the guest */
    char program[64]; /* nft's words for what the guest's own program sends */
} Stream;

static Stream stream_open(Lab *lab, Way way, bool six, int server)
{
    Stream stream;
    Ends ends;

    if (way == WAY_IN) {
        stream.writer = lab_connected(lab, LAB_FAR, six ? LAB_HOST_V6 : LAB_HOST_V4, 8080);
        stream.reader = lab_accepted(server);
        g_strlcpy(stream.ours, "dport = :80", sizeof stream.ours);
        g_strlcpy(stream.program, "tcp sport 80", sizeof stream.program);
        return stream;
    }
    ends = connection(lab, far_addresses[six]);
    stream.writer = way == WAY_DOWN ? ends.far : ends.guest;
    stream.reader = way == WAY_DOWN ? ends.guest : ends.far;
    g_snprintf(stream.ours, sizeof stream.ours, "sport = :%u", lab_port(ends.far));
    g_snprintf(stream.program, sizeof stream.program, "tcp dport %u", lab_port(ends.far));
    return stream;
}

static void stream_close(const Stream *stream)
{
    lab_reset(stream->writer);
    lab_reset(stream->reader);
}

static const uint8_t zeros[MIB];

/* Writes until nobody takes anything for @patience_ms. Return: how much was taken */
static int64_t offer(int writer, int64_t total, int patience_ms)
{
    int64_t sent = 0;

    while (sent < total) {
        ssize_t step = send(writer, zeros, (size_t)MIN((int64_t)sizeof zeros, total - sent),
                            MSG_NOSIGNAL | MSG_DONTWAIT);

        LAB_CHECK(step > 0 || errno == EAGAIN, "send: %s", strerror(errno));
        if (step > 0)
            sent += step;
        else if (lab_wait(writer, POLLOUT, patience_ms) == 0)
            break;
    }
    return sent;
}

/* The reader keeps up with so many bytes: windows and buffers open. */
static void pump(const Stream *stream, int64_t total)
{
    static uint8_t sink[MIB];
    int64_t sent = 0, got = 0, end = lab_now() + LAB_MS(20000);

    while (got < total) {
        ssize_t step = sent == total ? 0
                                     : send(stream->writer, zeros,
                                            (size_t)MIN((int64_t)sizeof zeros, total - sent),
                                            MSG_NOSIGNAL | MSG_DONTWAIT);

        sent += step > 0 ? step : 0;
        step = recv(stream->reader, sink, sizeof sink, MSG_DONTWAIT);
        got += step > 0 ? step : 0;
        LAB_CHECK(lab_now() < end, "%lld of %lld bytes in 20 s", (long long)got, (long long)total);
        if (step <= 0)
            (void)lab_wait(stream->reader, POLLIN, 10);
    }
}

/* Bytes in the send queue of the helper's socket, which the guest's kernel holds; and in its receive queue. */
static long ours_queued(Lab *lab, const Stream *stream, long *ret_received)
{
    g_autofree char *text = place_says(lab, LAB_GUEST,
                                       "ss -Htn state established '( %s )' | awk '{ r += $1; s += "
                                       "$2 } END { print s + 0, r + 0 }'",
                                       stream->ours);
    char *rest;
    long sent = strtol(text, &rest, 10);

    *ret_received = strtol(rest, NULL, 10);
    return sent;
}

static void stalls(Lab *lab, const LabTrio *trio, Way way, bool six, int server, bool silent)
{
    Stream stream = stream_open(lab, way, six, server);
    long memory, queue = 0, received = 0;
    int64_t taken, end;

    /* What the first use of anything costs is not growth. */
    pump(&stream, silent ? INT64_C(256) * MIB : MIB);
    memory = private_memory(lab, trio);
    if (silent) {
        g_autofree char *rules = g_strdup_printf(
            "table inet g { chain o { type filter hook output priority 0;\n%s drop; }\n}\n",
            stream.program);

        guest_firewall(lab, rules);
    }
    taken = offer(stream.writer, GIB, LAB_MS(1000));
    for (end = lab_now() + 1000; lab_now() < end;) {
        long now = ours_queued(lab, &stream, &received);

        queue = MAX(queue, now);
        (void)poll(NULL, 0, 100);
    }
    memory = private_memory(lab, trio) - memory;
    fprintf(stderr,
            "%s, %s%s: %lld KiB taken, %ld KiB queued to the guest, %ld KiB from it, "
            "%ld KiB of memory more\n",
            way_names[way], six ? "IPv6" : "IPv4", silent ? ", no ACK" : "",
            (long long)taken / 1024, queue / 1024, received / 1024, memory);
    if (lab_time_factor() == 1)
        LAB_CHECK(memory <= GROWTH_KIB, "%s: %ld KiB of memory more", way_names[way], memory);
    LAB_CHECK(queue < QUEUE_BYTES, "%s, %s: %ld bytes queued to the guest", way_names[way],
              six ? "IPv6" : "IPv4", queue);
    if (silent)
        lab_do(lab, LAB_GUEST, "nft delete table inet g");
    stream_close(&stream);
}

static void every_way_stalls(Lab *lab, bool silent)
{
    int servers[] = {lab_listen(lab, LAB_GUEST, "0.0.0.0", 80),
                     lab_listen(lab, LAB_GUEST, "::", 80)};
    LabTrio trio;

    huge_buffers(lab);
    trio = trio_of(lab, lab_helper(lab, "--fast-path=require", "-p 8080:80", NULL));
    for (int way = 0; way < (silent ? WAY_UP : WAYS); way++)
        for (int six = 0; six < 2; six++)
            stalls(lab, &trio, (Way)way, six, servers[six], silent);
    is_fast(lab);
}

LAB_TEST(takeover_stall, a_stopped_reader_with_a_gib_offered_costs_nothing, .limit_ms = 90000)
{
    every_way_stalls(lab, false);
}

LAB_TEST(takeover_stall, nor_does_one_whose_acknowledgements_are_dropped, .limit_ms = 120000)
{
    every_way_stalls(lab, true);
}

/* ---- others ---- */

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* Microseconds that 99 of 100 questions take at most. */
static int64_t p99(int fd)
{
    enum { QUESTIONS = 2000 };
    static int64_t took[QUESTIONS];

    for (int i = 0; i < QUESTIONS; i++) {
        char byte = 'x';
        int64_t begin = g_get_monotonic_time();

        LAB_ASSERT_EQ(send(fd, &byte, 1, MSG_NOSIGNAL), 1);
        LAB_ASSERT_EQ(recv(fd, &byte, 1, 0), 1);
        took[i] = g_get_monotonic_time() - begin;
    }
    qsort(took, QUESTIONS, sizeof took[0], compare);
    return took[QUESTIONS * 99 / 100];
}

/* Medians of windows that take turns: nobody stalls, somebody does. Return: percent */
static int latency_ratio(Lab *lab, Way way, bool six, int server, int fd)
{
    enum { WINDOWS = 7 };
    int64_t quiet[WINDOWS], stalled[WINDOWS];

    for (int i = 0; i < WINDOWS; i++) {
        Stream stream;

        quiet[i] = p99(fd);
        stream = stream_open(lab, way, six, server);
        (void)offer(stream.writer, GIB, 100);
        stalled[i] = p99(fd);
        stream_close(&stream);
    }
    qsort(quiet, WINDOWS, sizeof quiet[0], compare);
    qsort(stalled, WINDOWS, sizeof stalled[0], compare);
    fprintf(stderr, "%s, %s: p99 %lld us alone, %lld us beside a stalled one\n", way_names[way],
            six ? "IPv6" : "IPv4", (long long)quiet[WINDOWS / 2], (long long)stalled[WINDOWS / 2]);
    return (int)(stalled[WINDOWS / 2] * 100 / MAX(1, quiet[WINDOWS / 2]));
}

LAB_TEST(takeover_stall, another_connections_latency_stays_as_it_was, .limit_ms = 180000)
{
    int servers[] = {lab_listen(lab, LAB_GUEST, "0.0.0.0", 80),
                     lab_listen(lab, LAB_GUEST, "::", 80)};
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0), fd;
    uint16_t port = lab_port(listener);

    huge_buffers(lab);
    (void)lab_helper(lab, "--fast-path=require", "-p 8080:80", NULL);
    (void)lab_serve_tcp(lab, listener, LAB_ECHO);
    fd = lab_connected(lab, LAB_GUEST, LAB_FAR_V4, port);
    (void)p99(fd);
    for (int way = 0; way < WAYS; way++) {
        int ratio = INT_MAX;

        /* The machine has others to serve too: what is so each time is ours. */
        for (int attempt = 0; attempt < 3 && ratio > 120; attempt++)
            ratio = latency_ratio(lab, (Way)way, way == WAY_DOWN, servers[way == WAY_DOWN], fd);
        LAB_CHECK(ratio <= 120 * lab_time_factor(), "%s: p99 is %d %% of what it was",
                  way_names[way], ratio);
    }
}
