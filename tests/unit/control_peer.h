/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_CONTROL_PEER_H
#define TEST_CONTROL_PEER_H

/*
 * control_peer.h - the other end of a control connection, played by the test itself
 *
 * Does:     a socket pair holds more than a request and its reply, so that a test says first what the
 *           peer will answer, then calls, then looks at what was asked. Ids count from 1.
 */
#include "sallyport.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#ifdef SALLYPORT_ASAN
#include <sanitizer/lsan_interface.h>
#endif

#define WAIT_MS 10000
/* What a loaded machine may add to a deadline. */
#define SLACK_MS 3000

typedef struct Peer {
    int fd;
    SallyportControl *control;
} Peer;

static inline Peer peer_new(void)
{
    Peer peer;
    int pair[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    cr_assert_eq(sallyport_control_open_fd(pair[0], &peer.control), 0);
    peer.fd = pair[1];
    return peer;
}

static inline void peer_write(const Peer *peer, const char *bytes, size_t size)
{
    cr_assert_eq(send(peer->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT), (ssize_t)size);
}

/* One line. */
static inline void __attribute__((format(printf, 2, 3)))
peer_says(const Peer *peer, const char *format, ...)
{
    char line[8192];
    va_list args;
    int length;

    va_start(args, format);
    length = vsnprintf(line, sizeof(line) - 1, format, args);
    va_end(args);
    cr_assert(length >= 0 && (size_t)length < sizeof(line) - 1);
    line[length] = '\n';
    peer_write(peer, line, (size_t)length + 1);
}

/* One line that was asked, byte by byte: there may be more behind it. */
static inline void peer_heard(const Peer *peer, const char *line)
{
    char got[8192];
    size_t length = 0;

    while (length < sizeof(got) - 1 && recv(peer->fd, &got[length], 1, MSG_DONTWAIT) == 1 &&
           got[length] != '\n') {
        length++;
    }
    got[length] = '\0';
    cr_assert_str_eq(got, line);
}

static inline void peer_hang_up(Peer *peer)
{
    if (peer->fd >= 0) {
        (void)close(peer->fd);
    }
    peer->fd = -1;
}

/* The last line of a test. */
static inline void peer_free(Peer *peer)
{
    peer_hang_up(peer);
    sallyport_control_close(peer->control);
#ifdef SALLYPORT_ASAN
    cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
#endif
}

static inline int64_t now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#endif
