/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fakenet.c - a network in memory, in front of the kernel's
 *
 * Does:     keeps sockets and their peers, and lets time go by, with the failures and partial transfers an input asks for.
 * Not here: the calls themselves (fakecalls.c).
 * Why:      a symbol of the executable stands before libc's, for libraries too; so libslirp.so runs as it is, and no packet leaves.
 * Limits:   FAKENET_SOCKETS; one process, one thread.
 */
#include "config.h"

#include "fakenet_private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

/* Turns in which nothing moves and no time goes by. */
#define SPINS_MAX 40

FakeNet fakenet;

/* ---- for the targets ---- */

void fakenet_begin(const FakeHooks *hooks)
{
    memset(&fakenet, 0, sizeof(fakenet));
    fakenet.hooks = *hooks;
    fakenet.now_us = 1000000000;
    fakenet.next_port = 20000;
    for (unsigned i = 0; i < CALL_COUNT; i++) {
        fakenet.plans[i].after = UINT_MAX;
    }
    fakenet.running = true;
}

unsigned fakenet_end(void)
{
    unsigned left = 0;

    for (unsigned i = 0; i < FAKENET_SOCKETS; i++) {
        left += fakenet.sockets[i].used;
        g_clear_pointer(&fakenet.sockets[i].answer, g_free);
    }
    fakenet.running = false;
    return left;
}

void fakenet_plan(Bytes *bytes)
{
    static const int errors[] = {EAGAIN,   EINTR,       ECONNREFUSED, ECONNRESET,
                                 EPIPE,    ENETUNREACH, EHOSTUNREACH, ENOBUFS,
                                 ENOMEM,   EMFILE,      EACCES,       EPERM,
                                 EMSGSIZE, ETIMEDOUT,   EINVAL,       EADDRNOTAVAIL};
    Plan *plan = &fakenet.plans[bytes_below(bytes, CALL_COUNT)];
    uint8_t how = bytes_u8(bytes);

    plan->after = bytes_u8(bytes) % 8;
    plan->error = how & 0x80 ? 0 : errors[how % G_N_ELEMENTS(errors)];
    plan->most = how & 0x7f;
}

void fakenet_calm(void)
{
    fakenet.calm = true;
    for (unsigned i = 0; i < CALL_COUNT; i++) {
        fakenet.plans[i].after = UINT_MAX;
    }
    for (unsigned i = 0; i < FAKENET_SOCKETS; i++) {
        fakenet.sockets[i].auto_connect = true;
        fakenet.sockets[i].room = ROOM;
    }
}

void fakenet_peer(Bytes *bytes)
{
    FakeSocket *sock = fakenet_nth(bytes_u8(bytes));
    uint8_t what = bytes_u8(bytes);

    /* Half the list is about streams, the other half about datagrams and both. */
    if (sock == NULL || sock->state == FAKE_LISTENING ||
        ((what % 8 < 6) != (sock->type == SOCK_STREAM) && what % 8 != 7)) {
        return;
    }
    switch (what % 8) {
    case 0:
        sock->in_left = MIN(sock->in_left + bytes_u16(bytes), PEER_MAX);
        break;
    case 1:
        sock->peer_fin = true;
        break;
    case 2:
        sock->peer_rst = true;
        sock->error = ECONNRESET;
        break;
    case 3:
        if (sock->state == FAKE_CONNECTING) {
            sock->state = FAKE_CONNECTED;
        }
        break;
    case 4:
        if (sock->state == FAKE_CONNECTING) {
            sock->state = FAKE_FAILED;
            sock->error = what & 8 ? ECONNREFUSED : EHOSTUNREACH;
        }
        break;
    case 5:
        sock->room = bytes_u16(bytes);
        break;
    case 6:
        if (sock->datagram_count < G_N_ELEMENTS(sock->datagrams)) {
            sock->datagrams[sock->datagram_count++] = what & 8 ? bytes_u16(bytes) : bytes_u8(bytes);
        }
        break;
    default:
        sock->error = ECONNREFUSED; /* an ICMP error came back */
        break;
    }
}

void fakenet_advance(int64_t us)
{
    fakenet.now_us += us;
}

int64_t fakenet_now(void)
{
    return fakenet.now_us;
}

uint8_t fakenet_byte(uint8_t salt, uint64_t at)
{
    return (uint8_t)(salt + at * 11 + (at >> 8) * 5);
}

FakeSocket *fakenet_socket(int fd)
{
    if (!fakenet.running || fd < FAKENET_FD || fd >= FAKENET_FD + FAKENET_SOCKETS ||
        !fakenet.sockets[fd - FAKENET_FD].used) {
        return NULL;
    }
    return &fakenet.sockets[fd - FAKENET_FD];
}

FakeSocket *fakenet_nth(unsigned n)
{
    for (unsigned i = 0; i < FAKENET_SOCKETS; i++) {
        if (fakenet.sockets[i].used && !fakenet.sockets[i].is_epoll && n-- == 0) {
            return &fakenet.sockets[i];
        }
    }
    return NULL;
}

unsigned fakenet_open(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < FAKENET_SOCKETS; i++) {
        count += fakenet.sockets[i].used && !fakenet.sockets[i].is_epoll;
    }
    return count;
}

uint64_t fakenet_moved(void)
{
    return fakenet.moved;
}

uint32_t fake_ready(const FakeSocket *sock)
{
    bool up = sock->state == FAKE_CONNECTED || sock->type == SOCK_DGRAM;
    uint32_t events = 0;

    if (sock->accepts > 0 || (up && (sock->in_left > 0 || sock->datagram_count > 0)) ||
        sock->peer_fin || sock->peer_rst || sock->error != 0) {
        events |= EPOLLIN;
    }
    if ((up && sock->room > 0) || sock->state == FAKE_FAILED || sock->peer_rst) {
        events |= EPOLLOUT;
    }
    if (sock->error != 0) {
        events |= EPOLLERR;
    }
    if (sock->peer_rst || sock->state == FAKE_FAILED || (sock->peer_fin && sock->shut)) {
        events |= EPOLLHUP;
    }
    return events & (sock->events | EPOLLERR | EPOLLHUP);
}

static bool epoll_ready(int epoll_fd)
{
    for (unsigned i = 0; i < FAKENET_SOCKETS; i++) {
        const FakeSocket *sock = &fakenet.sockets[i];

        if (sock->used && !sock->is_epoll && sock->epoll_fd == epoll_fd && fake_ready(sock) != 0) {
            return true;
        }
    }
    return false;
}

/* GPollFunc */
static gint fake_poll(GPollFD *fds, guint count, gint timeout_ms)
{
    gint found = 0;

    for (unsigned i = 0; i < FAKENET_SOCKETS; i++) {
        FakeSocket *sock = &fakenet.sockets[i];

        if (sock->used && sock->state == FAKE_CONNECTING && sock->auto_connect) {
            sock->state = FAKE_CONNECTED;
        }
    }
    for (guint i = 0; i < count; i++) {
        const FakeSocket *sock = fakenet_socket(fds[i].fd);

        fds[i].revents = 0;
        if (sock != NULL && sock->is_epoll && epoll_ready(fds[i].fd)) {
            fds[i].revents = G_IO_IN & fds[i].events;
        }
        found += fds[i].revents != 0;
    }
    fakenet.slept = found == 0 && (timeout_ms < 0 || (int64_t)timeout_ms * 1000 > fakenet.most_us);
    if (found == 0) {
        fakenet.now_us += fakenet.slept ? fakenet.most_us : (int64_t)timeout_ms * 1000;
    }
    return found;
}

GMainContext *fakenet_context(void)
{
    GMainContext *context = g_main_context_new();

    g_main_context_set_poll_func(context, fake_poll);
    return context;
}

bool fakenet_turn(GMainContext *context, int64_t most_us)
{
    fakenet.most_us = most_us;
    fakenet.slept = false;
    (void)g_main_context_iteration(context, TRUE);
    return !fakenet.slept;
}

void fakenet_run(GMainContext *context, int64_t us, unsigned sockets_max)
{
    int64_t until = fakenet_now() + us;
    unsigned spins = 0;

    while (fakenet_now() < until) {
        int64_t now = fakenet_now();
        uint64_t moved = fakenet_moved();

        (void)fakenet_turn(context, until - now);
        spins = fakenet_now() == now && fakenet_moved() == moved ? spins + 1 : 0;
        FUZZ_CHECK(spins < SPINS_MAX, "the loop turns and turns");
        FUZZ_CHECK(fakenet_open() <= sockets_max, "%u sockets", fakenet_open());
    }
}

/* ---- for the calls (fakecalls.c) ---- */

int fake_failed(int error)
{
    errno = error;
    return -1;
}

int fake_planned(Call call, size_t *inout_len)
{
    Plan *plan = &fakenet.plans[call];

    if (plan->after == UINT_MAX || plan->after-- > 0) {
        return 0;
    }
    plan->after = UINT_MAX;
    if (plan->error != 0) {
        return fake_failed(plan->error);
    }
    if (inout_len != NULL && *inout_len > plan->most) {
        *inout_len = MAX(plan->most, 1);
    }
    return 0;
}

int fake_new(int family, int type, bool is_epoll)
{
    for (int i = 0; i < FAKENET_SOCKETS; i++) {
        FakeSocket *sock = &fakenet.sockets[i];

        if (!sock->used) {
            *sock = (FakeSocket){.used = true,
                                 .is_epoll = is_epoll,
                                 .family = family,
                                 .type = type & 0xf,
                                 .room = ROOM,
                                 .local_port = fakenet.next_port++,
                                 .salt = fakenet.next_salt++,
                                 .epoll_fd = -1};
            fakenet.moved++;
            return FAKENET_FD + i;
        }
    }
    return fake_failed(EMFILE);
}

int fake_take_error(FakeSocket *sock)
{
    int error = sock->error;

    sock->error = 0;
    fakenet.moved += error != 0;
    return error;
}

ssize_t fake_send(FakeSocket *sock, const void *data, size_t len, const struct sockaddr *to)
{
    NetAddr addr = sock->peer;
    uint16_t port = sock->peer_port;
    int error;

    FUZZ_CHECK(len < 1U << 30, "send of %zd bytes", (ssize_t)len);
    if (to != NULL) {
        FUZZ_CHECK(netaddr_from_sockaddr(to, &addr, &port), "send to what is no address");
    }
    if (fake_planned(CALL_SEND, sock->type == SOCK_STREAM ? &len : NULL) < 0) {
        return -1;
    }
    error = fake_take_error(sock);
    if (error != 0) {
        return fake_failed(error);
    }
    if (sock->type == SOCK_DGRAM) {
        if (fakenet.hooks.datagram != NULL) {
            fakenet.hooks.datagram(sock, data, len, &addr, port);
        }
        sock->from = addr;
        sock->from_port = port;
        fakenet.moved++;
        return (ssize_t)len;
    }
    if (sock->peer_rst || sock->shut || sock->state == FAKE_FAILED || sock->state == FAKE_NEW) {
        return fake_failed(EPIPE);
    }
    if (sock->state != FAKE_CONNECTED || sock->room == 0) {
        return fake_failed(EAGAIN);
    }
    len = MIN(len, sock->room);
    if (fakenet.hooks.stream != NULL) {
        fakenet.hooks.stream(sock, data, len);
    }
    if (!fakenet.calm) {
        sock->room -= len;
    }
    sock->out += len;
    fakenet.moved++;
    return (ssize_t)len;
}

static void fill(FakeSocket *sock, uint8_t *to, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        to[i] = sock->answer != NULL && sock->in_at + i < sock->answer_len
                    ? sock->answer[sock->in_at + i]
                    : fakenet_byte(sock->salt, sock->in_at + i);
    }
}

ssize_t fake_recv(FakeSocket *sock, void *to, size_t len, int flags)
{
    int error;

    if (fake_planned(CALL_RECV, sock->type == SOCK_STREAM ? &len : NULL) < 0) {
        return -1;
    }
    if (flags & MSG_OOB) {
        return fake_failed(EINVAL);
    }
    error = fake_take_error(sock);
    if (error != 0) {
        return fake_failed(error);
    }
    if (sock->type == SOCK_DGRAM) {
        size_t there;

        if (sock->datagram_count == 0) {
            return fake_failed(EAGAIN);
        }
        there = sock->datagrams[0];
        sock->in_at = 0;
        fill(sock, to, MIN(there, len));
        if (!(flags & MSG_PEEK)) {
            memmove(sock->datagrams, sock->datagrams + 1, sizeof(sock->datagrams) - sizeof(there));
            sock->datagram_count--;
            fakenet.moved++;
        }
        return (ssize_t)(flags & MSG_TRUNC ? there : MIN(there, len));
    }
    if (sock->peer_rst || sock->state == FAKE_NEW || sock->state == FAKE_FAILED) {
        return sock->peer_rst               ? fake_failed(ECONNRESET)
               : sock->state == FAKE_FAILED ? 0
                                            : fake_failed(ENOTCONN);
    }
    if (sock->state == FAKE_CONNECTED && sock->in_left > 0 && len > 0) {
        len = MIN(len, sock->in_left);
        fill(sock, to, len);
        if (!(flags & MSG_PEEK)) {
            sock->in_left -= len;
            sock->in_at += len;
            fakenet.moved++;
        }
        return (ssize_t)len;
    }
    if (sock->peer_fin && sock->state == FAKE_CONNECTED) {
        return 0;
    }
    return fake_failed(EAGAIN);
}

void fake_put_name(const NetAddr *addr, uint16_t port, struct sockaddr *name, socklen_t *len)
{
    struct sockaddr_storage sa;
    socklen_t full = netaddr_to_sockaddr(addr, port, &sa);

    memcpy(name, &sa, MIN(*len, full));
    *len = full;
}
