/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_RELAYFIXTURE_H
#define SALLYPORT_TESTS_RELAYFIXTURE_H

/* Shared by test_relay.c and test_relay_limits.c: relays between real TCP connections over loopback. */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>

#include "../../helper/datapath/relay.h"
#include "loopfixture.h"

typedef struct Fixture {
    GMainContext *context;
    Relays *relays;
    RelayOwner owner;
    int listener;
    unsigned ends;
    void *last_data;
    uint16_t next_port;
    size_t fds_before; /* open before anything of this was made */
} Fixture;

/* One relay as seen from both far ends. */
typedef struct Line {
    int client; /* far end of the host side, non-blocking */
    int guest;  /* far end of the guest side */
} Line;

/* What one far end writes to the other: bytes that follow from their place. */
typedef struct Stream {
    int from;
    int to;
    size_t total;
    size_t written;
    size_t read;
    size_t chunk; /* at most so many bytes a write */
    bool wrong;
} Stream;

static inline void fixture_on_ended(void *relay_data, void *user_data)
{
    Fixture *fix = user_data;

    fix->ends++;
    fix->last_data = relay_data;
}

static inline void fixture_begin(Fixture *fix, unsigned pipes_max)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

    (void)signal(SIGPIPE, SIG_IGN); /* as lockdown/process.c does */
    *fix = (Fixture){.fds_before = count_fds()};
    fix->context = g_main_context_new();
    fix->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fix->listener, 0);
    cr_assert_eq(bind(fix->listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
    cr_assert_eq(listen(fix->listener, 512), 0);
    fix->owner = (RelayOwner){fixture_on_ended, fix};
    fix->relays = relays_new(fix->context, 2, pipes_max, NULL);
    cr_assert_not_null(fix->relays);
}

static inline void fixture_end(Fixture *fix)
{
    relays_free(fix->relays);
    (void)close(fix->listener);
    g_main_context_unref(fix->context);
}

/* A connected pair of non-blocking TCP sockets. @buffer: of each socket, 0 for the kernel's choice. */
static inline void fixture_connect(Fixture *fix, int ret_pair[2], int buffer)
{
    struct sockaddr_in sa;
    socklen_t len = sizeof(sa);
    int one = 1;

    cr_assert_eq(getsockname(fix->listener, (struct sockaddr *)&sa, &len), 0);
    ret_pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(ret_pair[0], 0, "%s", g_strerror(errno));
    if (buffer > 0) {
        (void)setsockopt(ret_pair[0], SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
        (void)setsockopt(ret_pair[0], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
        (void)setsockopt(fix->listener, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
        (void)setsockopt(fix->listener, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
    }
    cr_assert_eq(connect(ret_pair[0], (struct sockaddr *)&sa, sizeof(sa)), 0, "%s",
                 g_strerror(errno));
    ret_pair[1] = accept4(fix->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    cr_assert_geq(ret_pair[1], 0);
    cr_assert_eq(fcntl(ret_pair[0], F_SETFL, O_NONBLOCK), 0);
    for (int i = 0; i < 2; i++) {
        (void)setsockopt(ret_pair[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
}

static inline FlowKey fixture_key(Fixture *fix)
{
    NetAddr lo = netaddr_loopback(AF_INET);

    return flow_key(&lo, fix->next_port++, &lo, 80, 0);
}

static inline int fixture_join(Fixture *fix, int client, int guest, const FlowKey *key,
                               int64_t idle_us, void *data)
{
    RelayPair pair = {
        .client = client, .guest = guest, .idle_us = idle_us, .owner = &fix->owner, .data = data};

    return relays_join(fix->relays, &pair, key);
}

static inline void line_begin(Line *line, Fixture *fix, int64_t idle_us, int buffer)
{
    int client[2];
    int guest[2];
    FlowKey key = fixture_key(fix);

    fixture_connect(fix, client, buffer);
    fixture_connect(fix, guest, buffer);
    line->client = client[0];
    line->guest = guest[0];
    cr_assert_eq(fixture_join(fix, client[1], guest[1], &key, idle_us, line), 0);
}

static inline void line_end(Line *line)
{
    (void)close(line->client);
    (void)close(line->guest);
}

static inline uint8_t stream_byte(size_t place)
{
    return (uint8_t)(place * 31 + (place >> 8) * 7 + (place >> 16));
}

/* One write and one read, as far as they go. */
static inline void stream_write(Stream *stream)
{
    uint8_t buf[32768];
    size_t len = MIN(stream->total - stream->written, MIN(stream->chunk, sizeof(buf)));
    ssize_t done;

    if (len == 0) {
        return;
    }
    for (size_t i = 0; i < len; i++) {
        buf[i] = stream_byte(stream->written + i);
    }
    done = send(stream->from, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    stream->written += done > 0 ? (size_t)done : 0;
}

static inline void stream_read(Stream *stream)
{
    uint8_t buf[65536];
    ssize_t got = recv(stream->to, buf, sizeof(buf), MSG_DONTWAIT);

    for (ssize_t i = 0; i < got; i++) {
        stream->wrong |= buf[i] != stream_byte(stream->read + (size_t)i);
    }
    stream->read += got > 0 ? (size_t)got : 0;
}

/* Writes, relays and reads until all of @streams have arrived. */
static inline void streams_run(Fixture *fix, Stream *streams, size_t count)
{
    gint64 deadline = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    bool all = false;

    while (!all && g_get_monotonic_time() < deadline) {
        all = true;
        for (size_t i = 0; i < count; i++) {
            stream_write(&streams[i]);
            (void)g_main_context_iteration(fix->context, FALSE);
            stream_read(&streams[i]);
            all &= streams[i].read >= streams[i].total;
        }
    }
    for (size_t i = 0; i < count; i++) {
        cr_expect_eq(streams[i].read, streams[i].total, "stream %zu: %zu of %zu bytes", i,
                     streams[i].read, streams[i].total);
        cr_expect_not(streams[i].wrong, "stream %zu is not what was written", i);
    }
}

/* What recv() says at the end of a stream: 0 for FIN, else -errno; waits for it. Bytes before that are thrown away. */
static inline int fixture_end_of(Fixture *fix, int fd)
{
    gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    char buf[65536];

    while (g_get_monotonic_time() < deadline) {
        ssize_t got = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            return got == 0 ? 0 : -errno;
        }
        (void)g_main_context_iteration(fix->context, FALSE);
    }
    return -ETIMEDOUT;
}

#endif
