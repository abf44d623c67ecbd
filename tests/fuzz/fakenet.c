/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fakenet.c - a network in memory, in front of the kernel's
 *
 * Does:     what the socket calls of libslirp and of our own modules need, with the failures and partial transfers an input asks for.
 * Why:      a symbol of the executable stands before libc's, for libraries too; so libslirp.so runs as it is, and no packet leaves.
 * Limits:   FAKENET_SOCKETS; one process, one thread.
 */
#include "config.h"

#include "fakenet.h"

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

#define ROOM 65536
/* Bytes a peer may have sent unread: more would only be slow. */
#define PEER_MAX 300000

typedef enum Call {
    CALL_SOCKET,
    CALL_CONNECT,
    CALL_SEND,
    CALL_RECV,
    CALL_OPTION,
    CALL_EPOLL,
    CALL_COUNT
} Call;

typedef struct Plan {
    unsigned after; /* calls that go well before it; UINT_MAX: none */
    int error;      /* 0: takes at most @most */
    size_t most;
} Plan;

static struct {
    bool running;
    bool calm;
    int64_t now_us;
    uint64_t moved;
    uint16_t next_port;
    uint8_t next_salt;
    uint32_t chance;
    int64_t most_us;
    bool slept;
    FakeHooks hooks;
    Plan plans[CALL_COUNT];
    FakeSocket sockets[FAKENET_SOCKETS];
} net;

/* ---- for the targets ---- */

void fakenet_begin(const FakeHooks *hooks)
{
    memset(&net, 0, sizeof(net));
    net.hooks = *hooks;
    net.now_us = 1000000000;
    net.next_port = 20000;
    for (unsigned i = 0; i < CALL_COUNT; i++) {
        net.plans[i].after = UINT_MAX;
    }
    net.running = true;
}

unsigned fakenet_end(void)
{
    unsigned left = 0;

    for (unsigned i = 0; i < FAKENET_SOCKETS; i++) {
        left += net.sockets[i].used;
        g_clear_pointer(&net.sockets[i].answer, g_free);
    }
    net.running = false;
    return left;
}

void fakenet_plan(Bytes *bytes)
{
    static const int errors[] = {EAGAIN,   EINTR,       ECONNREFUSED, ECONNRESET,
                                 EPIPE,    ENETUNREACH, EHOSTUNREACH, ENOBUFS,
                                 ENOMEM,   EMFILE,      EACCES,       EPERM,
                                 EMSGSIZE, ETIMEDOUT,   EINVAL,       EADDRNOTAVAIL};
    Plan *plan = &net.plans[bytes_below(bytes, CALL_COUNT)];
    uint8_t how = bytes_u8(bytes);

    plan->after = bytes_u8(bytes) % 8;
    plan->error = how & 0x80 ? 0 : errors[how % G_N_ELEMENTS(errors)];
    plan->most = how & 0x7f;
}

void fakenet_calm(void)
{
    net.calm = true;
    for (unsigned i = 0; i < CALL_COUNT; i++) {
        net.plans[i].after = UINT_MAX;
    }
    for (unsigned i = 0; i < FAKENET_SOCKETS; i++) {
        net.sockets[i].auto_connect = true;
        net.sockets[i].room = ROOM;
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
    net.now_us += us;
}

int64_t fakenet_now(void)
{
    return net.now_us;
}

uint8_t fakenet_byte(uint8_t salt, uint64_t at)
{
    return (uint8_t)(salt + at * 11 + (at >> 8) * 5);
}

FakeSocket *fakenet_socket(int fd)
{
    if (!net.running || fd < FAKENET_FD || fd >= FAKENET_FD + FAKENET_SOCKETS ||
        !net.sockets[fd - FAKENET_FD].used) {
        return NULL;
    }
    return &net.sockets[fd - FAKENET_FD];
}

FakeSocket *fakenet_nth(unsigned n)
{
    for (unsigned i = 0; i < FAKENET_SOCKETS; i++) {
        if (net.sockets[i].used && !net.sockets[i].is_epoll && n-- == 0) {
            return &net.sockets[i];
        }
    }
    return NULL;
}

unsigned fakenet_open(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < FAKENET_SOCKETS; i++) {
        count += net.sockets[i].used && !net.sockets[i].is_epoll;
    }
    return count;
}

uint64_t fakenet_moved(void)
{
    return net.moved;
}

static uint32_t ready(const FakeSocket *sock)
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
        const FakeSocket *sock = &net.sockets[i];

        if (sock->used && !sock->is_epoll && sock->epoll_fd == epoll_fd && ready(sock) != 0) {
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
        FakeSocket *sock = &net.sockets[i];

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
    net.slept = found == 0 && (timeout_ms < 0 || (int64_t)timeout_ms * 1000 > net.most_us);
    if (found == 0) {
        net.now_us += net.slept ? net.most_us : (int64_t)timeout_ms * 1000;
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
    net.most_us = most_us;
    net.slept = false;
    (void)g_main_context_iteration(context, TRUE);
    return !net.slept;
}

/* ---- for the calls ---- */

static int failed(int error)
{
    errno = error;
    return -1;
}

/* Does the plan say something of this call? Then -1 with errno, or less than @inout_len. */
static int planned(Call call, size_t *inout_len)
{
    Plan *plan = &net.plans[call];

    if (plan->after == UINT_MAX || plan->after-- > 0) {
        return 0;
    }
    plan->after = UINT_MAX;
    if (plan->error != 0) {
        return failed(plan->error);
    }
    if (inout_len != NULL && *inout_len > plan->most) {
        *inout_len = MAX(plan->most, 1);
    }
    return 0;
}

static int fake_new(int family, int type, bool is_epoll)
{
    for (int i = 0; i < FAKENET_SOCKETS; i++) {
        FakeSocket *sock = &net.sockets[i];

        if (!sock->used) {
            *sock = (FakeSocket){.used = true,
                                 .is_epoll = is_epoll,
                                 .family = family,
                                 .type = type & 0xf,
                                 .room = ROOM,
                                 .local_port = net.next_port++,
                                 .salt = net.next_salt++,
                                 .epoll_fd = -1};
            net.moved++;
            return FAKENET_FD + i;
        }
    }
    return failed(EMFILE);
}

static int take_error(FakeSocket *sock)
{
    int error = sock->error;

    sock->error = 0;
    net.moved += error != 0;
    return error;
}

static ssize_t fake_send(FakeSocket *sock, const void *data, size_t len, const struct sockaddr *to)
{
    NetAddr addr = sock->peer;
    uint16_t port = sock->peer_port;
    int error;

    FUZZ_CHECK(len < 1U << 30, "send of %zd bytes", (ssize_t)len);
    if (to != NULL) {
        FUZZ_CHECK(netaddr_from_sockaddr(to, &addr, &port), "send to what is no address");
    }
    if (planned(CALL_SEND, sock->type == SOCK_STREAM ? &len : NULL) < 0) {
        return -1;
    }
    error = take_error(sock);
    if (error != 0) {
        return failed(error);
    }
    if (sock->type == SOCK_DGRAM) {
        if (net.hooks.datagram != NULL) {
            net.hooks.datagram(sock, data, len, &addr, port);
        }
        sock->from = addr;
        sock->from_port = port;
        net.moved++;
        return (ssize_t)len;
    }
    if (sock->peer_rst || sock->shut || sock->state == FAKE_FAILED || sock->state == FAKE_NEW) {
        return failed(EPIPE);
    }
    if (sock->state != FAKE_CONNECTED || sock->room == 0) {
        return failed(EAGAIN);
    }
    len = MIN(len, sock->room);
    if (net.hooks.stream != NULL) {
        net.hooks.stream(sock, data, len);
    }
    if (!net.calm) {
        sock->room -= len;
    }
    sock->out += len;
    net.moved++;
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

static ssize_t fake_recv(FakeSocket *sock, void *to, size_t len, int flags)
{
    int error;

    if (planned(CALL_RECV, sock->type == SOCK_STREAM ? &len : NULL) < 0) {
        return -1;
    }
    if (flags & MSG_OOB) {
        return failed(EINVAL);
    }
    error = take_error(sock);
    if (error != 0) {
        return failed(error);
    }
    if (sock->type == SOCK_DGRAM) {
        size_t there;

        if (sock->datagram_count == 0) {
            return failed(EAGAIN);
        }
        there = sock->datagrams[0];
        sock->in_at = 0;
        fill(sock, to, MIN(there, len));
        if (!(flags & MSG_PEEK)) {
            memmove(sock->datagrams, sock->datagrams + 1, sizeof(sock->datagrams) - sizeof(there));
            sock->datagram_count--;
            net.moved++;
        }
        return (ssize_t)(flags & MSG_TRUNC ? there : MIN(there, len));
    }
    if (sock->peer_rst || sock->state == FAKE_NEW || sock->state == FAKE_FAILED) {
        return sock->peer_rst               ? failed(ECONNRESET)
               : sock->state == FAKE_FAILED ? 0
                                            : failed(ENOTCONN);
    }
    if (sock->state == FAKE_CONNECTED && sock->in_left > 0 && len > 0) {
        len = MIN(len, sock->in_left);
        fill(sock, to, len);
        if (!(flags & MSG_PEEK)) {
            sock->in_left -= len;
            sock->in_at += len;
            net.moved++;
        }
        return (ssize_t)len;
    }
    if (sock->peer_fin && sock->state == FAKE_CONNECTED) {
        return 0;
    }
    return failed(EAGAIN);
}

static void put_name(const NetAddr *addr, uint16_t port, struct sockaddr *name, socklen_t *len)
{
    struct sockaddr_storage sa;
    socklen_t full = netaddr_to_sockaddr(addr, port, &sa);

    memcpy(name, &sa, MIN(*len, full));
    *len = full;
}

/* ---- in front of libc ---- */

/* Declared by libc's headers, some with attributes that a definition need not repeat. */
int socket(int family, int type, int protocol)
{
    if (!net.running) {
        return (int)syscall(SYS_socket, family, type, protocol);
    }
    FUZZ_CHECK((family == AF_INET || family == AF_INET6) &&
                   ((type & 0xf) == SOCK_STREAM || (type & 0xf) == SOCK_DGRAM),
               "socket of family %d, type %d", family, type);
    return planned(CALL_SOCKET, NULL) < 0 ? -1 : fake_new(family, type, false);
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    FakeSocket *sock = fakenet_socket(fd);
    NetAddr addr = {0};
    uint16_t port = 0;

    if (sock == NULL) {
        return (int)syscall(SYS_connect, fd, to, len);
    }
    FUZZ_CHECK(netaddr_from_sockaddr(to, &addr, &port), "connect to what is no address");
    if (net.hooks.connect != NULL) {
        net.hooks.connect(sock, &addr, port);
    }
    if (planned(CALL_CONNECT, NULL) < 0) {
        if (errno == EAGAIN) {
            sock->state = FAKE_CONNECTING; /* and the peer says nothing */
            errno = EINPROGRESS;
        } else if (net.hooks.refused != NULL && net.hooks.refused(errno) != errno) {
            sock->state =
                FAKE_FAILED; /* connect(2) has taken the error; there is nobody at the other end */
            errno = net.hooks.refused(errno);
        }
        sock->peer = addr;
        sock->peer_port = port;
        return -1;
    }
    sock->peer = addr;
    sock->peer_port = port;
    net.moved++;
    if (sock->type == SOCK_DGRAM) {
        sock->state = FAKE_CONNECTED;
        return 0;
    }
    sock->state = FAKE_CONNECTING;
    sock->auto_connect = true;
    return failed(EINPROGRESS);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    FakeSocket *sock = fakenet_socket(fd);

    return sock == NULL ? syscall(SYS_sendto, fd, data, len, flags, NULL, 0)
                        : fake_send(sock, data, len, NULL);
}

ssize_t sendto(int fd, const void *data, size_t len, int flags, const struct sockaddr *to,
               socklen_t to_len)
{
    FakeSocket *sock = fakenet_socket(fd);

    return sock == NULL ? syscall(SYS_sendto, fd, data, len, flags, to, to_len)
                        : fake_send(sock, data, len, to);
}

ssize_t recv(int fd, void *to, size_t len, int flags)
{
    FakeSocket *sock = fakenet_socket(fd);

    return sock == NULL ? syscall(SYS_recvfrom, fd, to, len, flags, NULL, NULL)
                        : fake_recv(sock, to, len, flags);
}

ssize_t recvfrom(int fd, void *to, size_t len, int flags, struct sockaddr *from,
                 socklen_t *from_len)
{
    FakeSocket *sock = fakenet_socket(fd);
    ssize_t result;

    if (sock == NULL) {
        return syscall(SYS_recvfrom, fd, to, len, flags, from, from_len);
    }
    result = fake_recv(sock, to, len, flags);
    if (result >= 0 && from != NULL && sock->from.family != AF_UNSPEC) {
        put_name(&sock->from, sock->from_port, from, from_len);
    }
    return result;
}

/* The error queue (IP_RECVERR) alone is read in this way by what is tested here; it is always empty. */
ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    return fakenet_socket(fd) == NULL ? syscall(SYS_recvmsg, fd, message, flags) : failed(EAGAIN);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    FakeSocket *sock = fakenet_socket(fd);
    int result = 0;

    if (sock == NULL) {
        return (int)syscall(SYS_getsockopt, fd, level, name, value, len);
    }
    if (level == SOL_SOCKET && name == SO_ERROR) {
        result = take_error(sock);
    } else if (level == SOL_SOCKET && name == SO_TYPE) {
        result = sock->type;
    } else if (level == SOL_SOCKET && name == SO_ACCEPTCONN) {
        result = sock->state == FAKE_LISTENING;
    }
    memset(value, 0, *len);
    memcpy(value, &result, MIN(*len, sizeof(result)));
    return 0;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    if (fakenet_socket(fd) == NULL) {
        return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
    }
    return planned(CALL_OPTION, NULL);
}

int getsockname(int fd, struct sockaddr *name, socklen_t *len)
{
    FakeSocket *sock = fakenet_socket(fd);
    NetAddr own;

    if (sock == NULL) {
        return (int)syscall(SYS_getsockname, fd, name, len);
    }
    own = netaddr_loopback((sa_family_t)sock->family);
    put_name(&own, sock->local_port, name, len);
    return 0;
}

int getpeername(int fd, struct sockaddr *name, socklen_t *len)
{
    FakeSocket *sock = fakenet_socket(fd);

    if (sock == NULL) {
        return (int)syscall(SYS_getpeername, fd, name, len);
    }
    if (sock->state != FAKE_CONNECTED) {
        return failed(ENOTCONN);
    }
    put_name(&sock->peer, sock->peer_port, name, len);
    return 0;
}

int bind(int fd, const struct sockaddr *name, socklen_t len)
{
    return fakenet_socket(fd) == NULL ? (int)syscall(SYS_bind, fd, name, len)
                                      : planned(CALL_OPTION, NULL);
}

int shutdown(int fd, int how)
{
    FakeSocket *sock = fakenet_socket(fd);

    if (sock == NULL) {
        return (int)syscall(SYS_shutdown, fd, how);
    }
    sock->shut |= how != SHUT_RD;
    net.moved++;
    return 0;
}

int accept4(int fd, struct sockaddr *name, socklen_t *len, int flags)
{
    FakeSocket *listener = fakenet_socket(fd);
    FakeSocket *sock;
    int accepted;

    if (listener == NULL) {
        return (int)syscall(SYS_accept4, fd, name, len, flags);
    }
    if (listener->accepts == 0) {
        return failed(EAGAIN);
    }
    if (planned(CALL_SOCKET, NULL) < 0) {
        return -1;
    }
    accepted = fake_new(listener->family, SOCK_STREAM, false);
    if (accepted < 0) {
        return -1;
    }
    listener->accepts--;
    sock = fakenet_socket(accepted);
    sock->state = FAKE_CONNECTED;
    sock->owner = listener;
    sock->peer = netaddr_loopback((sa_family_t)sock->family);
    sock->peer_port = sock->local_port;
    if (name != NULL) {
        put_name(&sock->peer, sock->peer_port, name, len);
    }
    return accepted;
}

int close(int fd)
{
    FakeSocket *sock = fakenet_socket(fd);

    if (sock == NULL) {
        FUZZ_CHECK(!net.running || fd < FAKENET_FD, "%d is closed twice", fd);
        return (int)syscall(SYS_close, fd);
    }
    g_clear_pointer(&sock->answer, g_free);
    sock->used = false;
    net.moved++;
    return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
    FakeSocket *sock = fakenet_socket(fd);
    va_list args;
    void *argument;

    va_start(args, request);
    argument = va_arg(args, void *);
    va_end(args);
    if (sock == NULL) {
        return (int)syscall(SYS_ioctl, fd, request, argument);
    }
    if (request == FIONREAD) {
        int count = sock->type == SOCK_DGRAM
                        ? (sock->datagram_count > 0 ? (int)sock->datagrams[0] : 0)
                        : (int)sock->in_left;

        memcpy(argument, &count, sizeof(count));
    }
    return 0;
}

static int any_fcntl(int fd, int command, long argument)
{
    if (fakenet_socket(fd) == NULL) {
        return (int)syscall(SYS_fcntl, fd, command, argument);
    }
    return command == F_GETFL ? O_RDWR | O_NONBLOCK : 0;
}

/* libc's has no prototype of its own name once large files are the only ones there are. */
int fcntl64(int fd, int command, ...);

int fcntl64(int fd, int command, ...)
{
    va_list args;
    long argument;

    va_start(args, command);
    argument = va_arg(args, long);
    va_end(args);
    return any_fcntl(fd, command, argument);
}

int fcntl(int fd, int command, ...)
{
    va_list args;
    long argument;

    va_start(args, command);
    argument = va_arg(args, long);
    va_end(args);
    return any_fcntl(fd, command, argument);
}

int epoll_create1(int flags)
{
    if (!net.running) {
        return (int)syscall(SYS_epoll_create1, flags);
    }
    return fake_new(AF_UNSPEC, 0, true);
}

int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    FakeSocket *sock = fakenet_socket(fd);

    if (fakenet_socket(epoll_fd) == NULL) {
        return (int)syscall(SYS_epoll_ctl, epoll_fd, operation, fd, event);
    }
    if (sock == NULL) {
        return failed(EBADF);
    }
    if (operation == EPOLL_CTL_DEL) {
        sock->epoll_fd = -1;
        sock->events = 0;
        return 0;
    }
    FUZZ_CHECK((operation == EPOLL_CTL_ADD) == (sock->epoll_fd < 0), "fd %d, operation %d", fd,
               operation);
    if (operation == EPOLL_CTL_ADD && planned(CALL_EPOLL, NULL) < 0) {
        return -1;
    }
    sock->epoll_fd = epoll_fd;
    sock->events = event->events;
    sock->event_data = event->data.u64;
    return 0;
}

int epoll_wait(int epoll_fd, struct epoll_event *events, int most, int timeout_ms)
{
    int count = 0;

    if (fakenet_socket(epoll_fd) == NULL) {
        return (int)syscall(SYS_epoll_wait, epoll_fd, events, most, timeout_ms);
    }
    for (unsigned i = 0; i < FAKENET_SOCKETS && count < most; i++) {
        const FakeSocket *sock = &net.sockets[i];

        if (sock->used && !sock->is_epoll && sock->epoll_fd == epoll_fd && ready(sock) != 0) {
            events[count].events = ready(sock);
            events[count++].data.u64 = sock->event_data;
        }
    }
    return count;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    if (!net.running || clock != CLOCK_MONOTONIC) {
        return (int)syscall(SYS_clock_gettime, clock, ret);
    }
    ret->tv_sec = net.now_us / 1000000;
    ret->tv_nsec = net.now_us % 1000000 * 1000;
    return 0;
}

ssize_t getrandom(void *to, size_t len, unsigned flags)
{
    if (!net.running) {
        return syscall(SYS_getrandom, to, len, flags);
    }
    for (size_t i = 0; i < len; i++) {
        net.chance = net.chance * 1103515245 + 12345;
        ((uint8_t *)to)[i] = (uint8_t)(net.chance >> 16);
    }
    return (ssize_t)len;
}
