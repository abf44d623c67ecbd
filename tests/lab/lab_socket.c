/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_socket.c - ordinary socket work with a deadline on every wait
 *
 * Runs in:  the body. Sockets of other places come from keepers (lab_keeper.c) and are used here like any other.
 */
#include "config.h"

#include "lab_internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool lab_address_is_v6(const char *address)
{
    return strchr(address, ':') != NULL;
}

socklen_t lab_address(struct sockaddr_storage *ret, const char *address, uint16_t port)
{
    memset(ret, 0, sizeof *ret);
    if (lab_address_is_v6(address)) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
        g_auto(GStrv) parts = g_strsplit(address, "%", 2);

        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        if (parts[1] != NULL)
            v6->sin6_scope_id = (uint32_t)g_ascii_strtoull(parts[1], NULL, 10);
        LAB_CHECK(inet_pton(AF_INET6, parts[0], &v6->sin6_addr) == 1, "bad address %s", address);
        return sizeof *v6;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;

    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    LAB_CHECK(inet_pton(AF_INET, address, &v4->sin_addr) == 1, "bad address %s", address);
    return sizeof *v4;
}

static uint16_t address_port(const struct sockaddr_storage *address)
{
    return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                : ((const struct sockaddr_in *)address)->sin_port);
}

uint16_t lab_port(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;

    LAB_ASSERT_CALL(getsockname(fd, (struct sockaddr *)&address, &length));
    return address_port(&address);
}

const char *lab_address_text(const struct sockaddr_storage *address)
{
    static char ring[8][INET6_ADDRSTRLEN + 16];
    static unsigned next;
    char *text = ring[next++ % G_N_ELEMENTS(ring)], host[INET6_ADDRSTRLEN];

    if (address->ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, host, sizeof host);
        g_snprintf(text, sizeof ring[0], "[%s]:%u", host, address_port(address));
    } else {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, host, sizeof host);
        g_snprintf(text, sizeof ring[0], "%s:%u", host, address_port(address));
    }
    return text;
}

const char *lab_peer_text(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;

    LAB_ASSERT_CALL(getpeername(fd, (struct sockaddr *)&address, &length));
    return lab_address_text(&address);
}

int lab_listen(Lab *lab, LabPlace place, const char *address, uint16_t port)
{
    int fd = lab_socket_bound(lab, place, SOCK_STREAM, address, port);

    LAB_CHECK(fd >= 0, "bind %s port %u: %s", address, port, strerror(errno));
    LAB_ASSERT_CALL(listen(fd, 4096));
    return fd;
}

int lab_udp(Lab *lab, LabPlace place, const char *address, uint16_t port)
{
    int fd = lab_socket_bound(lab, place, SOCK_DGRAM, address, port);

    LAB_CHECK(fd >= 0, "bind %s port %u/udp: %s", address, port, strerror(errno));
    return fd;
}

int lab_wait(int fd, short events, int timeout_ms)
{
    struct pollfd one = {.fd = fd, .events = events};
    int64_t end = lab_now() + timeout_ms;

    for (;;) {
        int64_t left = end - lab_now();
        int ready = poll(&one, 1, (int)MAX(0, left));

        if (ready > 0)
            return one.revents;
        if (ready == 0 && left <= 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return 0;
    }
}

static void set_blocking(int fd, bool blocking)
{
    int flags = fcntl(fd, F_GETFL);

    (void)fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

int lab_connect(Lab *lab, LabPlace place, const char *address, uint16_t port, int timeout_ms)
{
    struct sockaddr_storage to;
    socklen_t length = lab_address(&to, address, port), size = sizeof(int);
    int fd = lab_socket(lab, place, to.ss_family, SOCK_STREAM, 0), error = 0;

    if (fd < 0)
        return -1;
    set_blocking(fd, false);
    if (connect(fd, (struct sockaddr *)&to, length) < 0) {
        error = errno;
        if (error == EINPROGRESS) {
            error = ETIMEDOUT;
            if (lab_wait(fd, POLLOUT, timeout_ms) != 0)
                (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        }
    }
    if (error != 0) {
        close(fd);
        errno = error;
        return -1;
    }
    set_blocking(fd, true);
    return fd;
}

int lab_connected(Lab *lab, LabPlace place, const char *address, uint16_t port)
{
    int fd = lab_connect(lab, place, address, port, LAB_MS(LAB_WAIT_MS));

    LAB_CHECK(fd >= 0, "connect from place %d to %s port %u: %s", (int)place, address, port,
              strerror(errno));
    return fd;
}

int lab_udp_connected(Lab *lab, LabPlace place, const char *address, uint16_t port)
{
    struct sockaddr_storage to;
    socklen_t length = lab_address(&to, address, port);
    int fd = lab_socket(lab, place, to.ss_family, SOCK_DGRAM, 0);

    LAB_CHECK(fd >= 0, "UDP socket: %s", strerror(errno));
    LAB_CHECK(connect(fd, (struct sockaddr *)&to, length) == 0, "connect to %s port %u/udp: %s",
              address, port, strerror(errno));
    return fd;
}

int lab_accept(int listener, int timeout_ms)
{
    if (lab_wait(listener, POLLIN, timeout_ms) == 0) {
        errno = ETIMEDOUT;
        return -1;
    }
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

int lab_accepted(int listener)
{
    int fd = lab_accept(listener, LAB_MS(LAB_WAIT_MS));

    LAB_CHECK(fd >= 0, "accept at port %u: %s", lab_port(listener), strerror(errno));
    return fd;
}

void lab_send(int fd, const void *data, size_t length)
{
    const uint8_t *at = data;

    while (length > 0) {
        ssize_t sent = send(fd, at, length, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            LAB_CHECK(lab_wait(fd, POLLOUT, LAB_MS(LAB_WAIT_MS)) != 0,
                      "cannot send %zu more bytes in time", length);
            continue;
        }
        LAB_CHECK(sent > 0, "send: %s", strerror(errno));
        at += sent;
        length -= (size_t)sent;
    }
}

void lab_recv(int fd, void *data, size_t length)
{
    uint8_t *at = data;

    while (length > 0) {
        LAB_CHECK(lab_wait(fd, POLLIN, LAB_MS(LAB_WAIT_MS)) != 0,
                  "%zu more bytes did not come in time", length);
        ssize_t came = recv(fd, at, length, MSG_DONTWAIT);

        if (came < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        LAB_CHECK(came > 0, "%zu more bytes wanted, but %s", length,
                  came == 0 ? "the stream ended" : strerror(errno));
        at += came;
        length -= (size_t)came;
    }
}

void lab_say(int from, int to, const char *text)
{
    size_t length = strlen(text);
    g_autofree char *got = g_malloc0(length + 1);

    lab_send(from, text, length);
    lab_recv(to, got, length);
    LAB_CHECK(memcmp(got, text, length) == 0, "sent '%s', got '%s'", text, got);
}

ssize_t lab_recv_datagram(int fd, void *data, size_t size, struct sockaddr_storage *from,
                          int timeout_ms)
{
    socklen_t length = sizeof *from;

    if (lab_wait(fd, POLLIN, timeout_ms) == 0) {
        errno = ETIMEDOUT;
        return -1;
    }
    return recvfrom(fd, data, size, MSG_DONTWAIT, (struct sockaddr *)from,
                    from != NULL ? &length : NULL);
}

void lab_send_datagram(int fd, const char *address, uint16_t port, const void *data, size_t length)
{
    struct sockaddr_storage to;
    socklen_t size = lab_address(&to, address, port);

    LAB_CHECK(sendto(fd, data, length, MSG_NOSIGNAL, (struct sockaddr *)&to, size) ==
                  (ssize_t)length,
              "datagram of %zu bytes to %s port %u: %s", length, address, port, strerror(errno));
}

LabEnd lab_wait_end(int fd, int timeout_ms)
{
    char byte;
    ssize_t came;

    if (lab_wait(fd, POLLIN | POLLRDHUP, timeout_ms) == 0)
        return LAB_END_NONE;
    came = recv(fd, &byte, 1, MSG_DONTWAIT);
    if (came > 0)
        return LAB_END_DATA;
    if (came == 0)
        return LAB_END_EOF;
    return errno == ECONNRESET ? LAB_END_RESET : LAB_END_ERROR;
}

const char *lab_end_text(LabEnd end)
{
    static const char *const texts[] = {"nothing", "data", "EOF", "a reset", "an error"};

    return texts[end];
}

void lab_reset(int fd)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};

    LAB_ASSERT_CALL(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    close(fd);
}

void lab_expect_quiet(int fd, int quiet_ms, const char *what)
{
    LAB_CHECK(lab_wait(fd, POLLIN, quiet_ms) == 0, "%s", what);
}
