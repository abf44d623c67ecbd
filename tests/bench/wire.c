/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wire.c - whole messages, and the window in which a stream is measured
 */
#include "config.h"

#include "say.h"
#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

bool wire_send(int fd, const void *data, uint64_t length)
{
    const char *at = data;

    while (length > 0) {
        ssize_t n = send(fd, at, length, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        length -= (uint64_t)n;
    }
    return true;
}

bool wire_receive(int fd, void *data, uint64_t length)
{
    char *at = data;

    while (length > 0) {
        ssize_t n = recv(fd, at, length, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        length -= (uint64_t)n;
    }
    return true;
}

bool wire_window(int fd, const WireHello *hello, WireCount *ret)
{
    uint64_t warm = (uint64_t)hello->warm_ms * 1000000U;
    uint64_t window = (uint64_t)hello->time_ms * 1000000U;
    uint64_t first = 0, opened = 0, before = 0;
    char *buffer = malloc(WIRE_CHUNK);
    bool done = false;

    *ret = (WireCount){0};
    while (buffer != NULL && !done) {
        ssize_t n = recv(fd, buffer, WIRE_CHUNK, 0);
        uint64_t now;

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        now = say_now();
        ret->total += (uint64_t)n;
        if (first == 0)
            first = now;
        if (opened == 0 && now - first >= warm) {
            opened = now;
            before = ret->total;
        } else if (opened != 0 && now - opened >= window) {
            ret->bytes = ret->total - before;
            ret->nanoseconds = now - opened;
            done = true;
        }
    }
    free(buffer);
    return done;
}

void wire_limit(int fd)
{
    const struct timeval limit = {.tv_sec = WIRE_STALL_S};

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}
