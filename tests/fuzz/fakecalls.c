/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fakecalls.c - what stands in front of libc's calls
 *
 * Does:     gives each call on a socket of fakenet.c to it, and all others to the kernel.
 * Why:      see fakenet.c.
 */
#include "config.h"

#include "fakenet_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

/* Declared by libc's headers, some with attributes that a definition need not repeat. */
int socket(int family, int type, int protocol)
{
    if (!fakenet.running) {
        return (int)syscall(SYS_socket, family, type, protocol);
    }
    FUZZ_CHECK((family == AF_INET || family == AF_INET6) &&
                   ((type & 0xf) == SOCK_STREAM || (type & 0xf) == SOCK_DGRAM),
               "socket of family %d, type %d", family, type);
    return fake_planned(CALL_SOCKET, NULL) < 0 ? -1 : fake_new(family, type, false);
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
    if (fakenet.hooks.connect != NULL) {
        fakenet.hooks.connect(sock, &addr, port);
    }
    if (fake_planned(CALL_CONNECT, NULL) < 0) {
        if (errno == EAGAIN) {
            sock->state = FAKE_CONNECTING; /* and the peer says nothing */
            errno = EINPROGRESS;
        } else if (fakenet.hooks.refused != NULL && fakenet.hooks.refused(errno) != errno) {
            sock->state =
                FAKE_FAILED; /* connect(2) has taken the error; there is nobody at the other end */
            errno = fakenet.hooks.refused(errno);
        }
        sock->peer = addr;
        sock->peer_port = port;
        return -1;
    }
    sock->peer = addr;
    sock->peer_port = port;
    fakenet.moved++;
    if (sock->type == SOCK_DGRAM) {
        sock->state = FAKE_CONNECTED;
        return 0;
    }
    sock->state = FAKE_CONNECTING;
    sock->auto_connect = true;
    return fake_failed(EINPROGRESS);
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
        fake_put_name(&sock->from, sock->from_port, from, from_len);
    }
    return result;
}

/* The error queue (IP_RECVERR) alone is read in this way by what is tested here; it is always empty. */
ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    return fakenet_socket(fd) == NULL ? syscall(SYS_recvmsg, fd, message, flags)
                                      : fake_failed(EAGAIN);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    FakeSocket *sock = fakenet_socket(fd);
    int result = 0;

    if (sock == NULL) {
        return (int)syscall(SYS_getsockopt, fd, level, name, value, len);
    }
    if (level == SOL_SOCKET && name == SO_ERROR) {
        result = fake_take_error(sock);
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
    return fake_planned(CALL_OPTION, NULL);
}

int getsockname(int fd, struct sockaddr *name, socklen_t *len)
{
    FakeSocket *sock = fakenet_socket(fd);
    NetAddr own;

    if (sock == NULL) {
        return (int)syscall(SYS_getsockname, fd, name, len);
    }
    own = netaddr_loopback((sa_family_t)sock->family);
    fake_put_name(&own, sock->local_port, name, len);
    return 0;
}

int getpeername(int fd, struct sockaddr *name, socklen_t *len)
{
    FakeSocket *sock = fakenet_socket(fd);

    if (sock == NULL) {
        return (int)syscall(SYS_getpeername, fd, name, len);
    }
    if (sock->state != FAKE_CONNECTED) {
        return fake_failed(ENOTCONN);
    }
    fake_put_name(&sock->peer, sock->peer_port, name, len);
    return 0;
}

int bind(int fd, const struct sockaddr *name, socklen_t len)
{
    return fakenet_socket(fd) == NULL ? (int)syscall(SYS_bind, fd, name, len)
                                      : fake_planned(CALL_OPTION, NULL);
}

int shutdown(int fd, int how)
{
    FakeSocket *sock = fakenet_socket(fd);

    if (sock == NULL) {
        return (int)syscall(SYS_shutdown, fd, how);
    }
    sock->shut |= how != SHUT_RD;
    fakenet.moved++;
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
        return fake_failed(EAGAIN);
    }
    if (fake_planned(CALL_SOCKET, NULL) < 0) {
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
        fake_put_name(&sock->peer, sock->peer_port, name, len);
    }
    return accepted;
}

int close(int fd)
{
    FakeSocket *sock = fakenet_socket(fd);

    if (sock == NULL) {
        FUZZ_CHECK(!fakenet.running || fd < FAKENET_FD, "%d is closed twice", fd);
        return (int)syscall(SYS_close, fd);
    }
    g_clear_pointer(&sock->answer, g_free);
    sock->used = false;
    fakenet.moved++;
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

int fcntl(int fd, int command, ...)
{
    va_list args;
    long argument;

    va_start(args, command);
    argument = va_arg(args, long);
    va_end(args);
    if (fakenet_socket(fd) == NULL) {
        return (int)syscall(SYS_fcntl, fd, command, argument);
    }
    return command == F_GETFL ? O_RDWR | O_NONBLOCK : 0;
}

/* What libraries built with large files alone call (fcntl.h). */
int fcntl64(int fd, int command, ...) __attribute__((alias("fcntl")));

int epoll_create1(int flags)
{
    if (!fakenet.running) {
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
        return fake_failed(EBADF);
    }
    if (operation == EPOLL_CTL_DEL) {
        sock->epoll_fd = -1;
        sock->events = 0;
        return 0;
    }
    FUZZ_CHECK((operation == EPOLL_CTL_ADD) == (sock->epoll_fd < 0), "fd %d, operation %d", fd,
               operation);
    if (operation == EPOLL_CTL_ADD && fake_planned(CALL_EPOLL, NULL) < 0) {
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
        const FakeSocket *sock = &fakenet.sockets[i];

        if (sock->used && !sock->is_epoll && sock->epoll_fd == epoll_fd && fake_ready(sock) != 0) {
            events[count].events = fake_ready(sock);
            events[count++].data.u64 = sock->event_data;
        }
    }
    return count;
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    if (!fakenet.running || clock != CLOCK_MONOTONIC) {
        return (int)syscall(SYS_clock_gettime, clock, ret);
    }
    ret->tv_sec = fakenet.now_us / 1000000;
    ret->tv_nsec = fakenet.now_us % 1000000 * 1000;
    return 0;
}

ssize_t getrandom(void *to, size_t len, unsigned flags)
{
    if (!fakenet.running) {
        return syscall(SYS_getrandom, to, len, flags);
    }
    for (size_t i = 0; i < len; i++) {
        fakenet.chance = fakenet.chance * 1103515245 + 12345;
        ((uint8_t *)to)[i] = (uint8_t)(fakenet.chance >> 16);
    }
    return (ssize_t)len;
}
