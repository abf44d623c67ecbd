/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * faultshim_bytes.c - the calls that move bytes and make sockets, as faultshim.c wants them
 */
#define _GNU_SOURCE
#include "faultshim_private.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

EXPORT ssize_t read(int fd, void *data, size_t size)
{
    NEXT(read);
    FAIL(read, fault_for_fd(fd, fault_kind_of(fd) == KIND_ANY ? A | I | O : ALL));
    return next(fd, data, fault_at_most(fd, size));
}

ssize_t __read_chk(int fd, void *data, size_t size, size_t room);
EXPORT ssize_t __read_chk(int fd, void *data, size_t size, size_t room)
{
    (void)room;
    return read(fd, data, size);
}

EXPORT ssize_t write(int fd, const void *data, size_t size)
{
    NEXT(write);
    /* Of the supervisor's there are the report and standard error alone, whose reader lives. */
    FAIL(write, fault_for_fd(fd, fault_kind_of(fd) == KIND_PIPE ? A | I
                                 : fd <= 2                      ? A
                                 : fault_role == 0              ? A | I | M
                                                                : ALL));
    return next(fd, data, fault_at_most(fd, size));
}

EXPORT ssize_t recvfrom(int fd, void *data, size_t size, int flags, struct sockaddr *from,
                        socklen_t *length)
{
    NEXT(recvfrom);
    FAIL_STREAM(recv, fd, fault_for_fd(fd, fault_kind_of(fd) == KIND_UNIX ? I : ALL));
    return next(fd, data, fault_at_most(fd, size), flags, from, length);
}

EXPORT ssize_t recv(int fd, void *data, size_t size, int flags)
{
    NEXT(recv);
    FAIL_STREAM(recv, fd, fault_for_fd(fd, fault_kind_of(fd) == KIND_UNIX ? I : ALL));
    return next(fd, data, fault_at_most(fd, size), flags);
}

ssize_t __recv_chk(int fd, void *data, size_t size, size_t room, int flags);
EXPORT ssize_t __recv_chk(int fd, void *data, size_t size, size_t room, int flags)
{
    (void)room;
    return recv(fd, data, size, flags);
}

ssize_t __recvfrom_chk(int fd, void *data, size_t size, size_t room, int flags,
                       struct sockaddr *from, socklen_t *length);
EXPORT ssize_t __recvfrom_chk(int fd, void *data, size_t size, size_t room, int flags,
                              struct sockaddr *from, socklen_t *length)
{
    (void)room;
    return recvfrom(fd, data, size, flags, from, length);
}

/* What sendmsg(2) and recvmsg(2) move of a stream: the first byte of it. */
static const struct msghdr *shortened(int fd, const struct msghdr *message, struct msghdr *copy,
                                      struct iovec *vector)
{
    if (message->msg_iovlen == 0 ||
        fault_at_most(fd, message->msg_iov[0].iov_len) == message->msg_iov[0].iov_len)
        return message;
    *copy = *message;
    *vector = (struct iovec){message->msg_iov[0].iov_base, 1};
    copy->msg_iov = vector;
    copy->msg_iovlen = 1;
    return copy;
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    struct msghdr copy;
    struct iovec vector;

    NEXT(recvmsg);
    FAIL_STREAM(recv, fd, fault_for_fd(fd, fault_kind_of(fd) == KIND_UNIX ? I : ALL));
    if (shortened(fd, message, &copy, &vector) == message)
        return next(fd, message, flags);
    ssize_t got = next(fd, &copy, flags);
    message->msg_namelen = copy.msg_namelen;
    message->msg_controllen = copy.msg_controllen;
    message->msg_flags = copy.msg_flags;
    return got;
}

EXPORT ssize_t sendto(int fd, const void *data, size_t size, int flags, const struct sockaddr *to,
                      socklen_t length)
{
    NEXT(sendto);
    FAIL_STREAM(send, fd, fault_for_fd(fd, ALL));
    return next(fd, data, fault_at_most(fd, size), flags, to, length);
}

EXPORT ssize_t send(int fd, const void *data, size_t size, int flags)
{
    NEXT(send);
    FAIL_STREAM(send, fd, fault_for_fd(fd, ALL));
    return next(fd, data, fault_at_most(fd, size), flags);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct msghdr copy;
    struct iovec vector;

    NEXT(sendmsg);
    FAIL_STREAM(send, fd, fault_for_fd(fd, ALL));
    return next(fd, shortened(fd, message, &copy, &vector), flags);
}

EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    NEXT(accept4);
    FAIL(accept, fd >= 0 && fd < KINDS_MAX && fault_edges[fd] ? ALL & ~(unsigned)A : ALL);
    return fault_born(next(fd, address, length, flags), KIND_STREAM);
}

EXPORT int accept(int fd, struct sockaddr *address, socklen_t *length)
{
    NEXT(accept);
    FAIL(accept, ALL);
    return fault_born(next(fd, address, length), KIND_STREAM);
}

static Kind socket_kind(int domain, int type)
{
    if (domain == AF_UNIX)
        return KIND_UNIX;
    if (domain == AF_NETLINK)
        return KIND_NETLINK;
    return (type & 0xf) == SOCK_STREAM ? KIND_STREAM : KIND_DATAGRAM;
}

EXPORT int socket(int domain, int type, int protocol)
{
    NEXT(socket);
    FAIL(socket, ALL);
    return fault_born(next(domain, type, protocol), socket_kind(domain, type));
}

EXPORT int socketpair(int domain, int type, int protocol, int fds[2])
{
    NEXT(socketpair);
    FAIL(socket, ALL);
    if (next(domain, type, protocol, fds) < 0)
        return -1;
    (void)fault_born(fds[0], socket_kind(domain, type));
    (void)fault_born(fds[1], socket_kind(domain, type));
    return 0;
}

EXPORT int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    NEXT(connect);
    FAIL(connect, ALL);
    return next(fd, address, length);
}

EXPORT int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    NEXT(bind);
    FAIL(bind, ALL);
    return next(fd, address, length);
}

EXPORT int listen(int fd, int backlog)
{
    NEXT(listen);
    FAIL(listen, ALL);
    return next(fd, backlog);
}

EXPORT int getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
    NEXT(getsockopt);
    if (level != SOL_SOCKET || (name != SO_ERROR && name != SO_TYPE && name != SO_DOMAIN))
        FAIL(getsockopt, ALL);
    return next(fd, level, name, value, length);
}

EXPORT int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    NEXT(setsockopt);
    if (level != SOL_SOCKET || name != SO_LINGER)
        FAIL(setsockopt, ALL);
    return next(fd, level, name, value, length);
}

EXPORT int getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    NEXT(getsockname);
    FAIL(getsockname, ALL);
    return next(fd, address, length);
}

EXPORT int close(int fd)
{
    int closed;

    NEXT(close);
    (void)fault_born(fd, KIND_ANY);
    closed = next(fd);
    if (closed == 0)
        FAIL(close, ALL);
    return closed;
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
    NEXT(close_range);
    for (unsigned fd = first; fd <= last && fd < KINDS_MAX; fd++)
        (void)fault_born((int)fd, KIND_ANY);
    return next(first, last, flags);
}

EXPORT int pipe2(int fds[2], int flags)
{
    NEXT(pipe2);
    FAIL(pipe, ALL);
    if (next(fds, flags) < 0)
        return -1;
    (void)fault_born(fds[0], KIND_PIPE);
    (void)fault_born(fds[1], KIND_PIPE);
    return 0;
}

EXPORT ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t size, unsigned flags)
{
    NEXT(splice);
    FAIL_STREAM(splice, fault_kind_of(in) == KIND_PIPE ? out : in,
                fault_for_fd(in, ALL) & fault_for_fd(out, ALL));
    return next(in, in_at, out, out_at,
                fault_at_most(fault_kind_of(in) == KIND_PIPE ? in : out, size), flags);
}
