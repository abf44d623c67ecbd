/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * faultshim_calls.c - all other calls, as faultshim.c wants them
 */
#define _GNU_SOURCE
#include "faultshim_private.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sockios.h>

/* fs/select.c: N_INLINE_POLL_ENTRIES, about. */
#define POLL_INLINE 9

static unsigned fcntl_set(int command)
{
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
        return F;
    return command == F_SETPIPE_SZ ? M | P : 0;
}

#define FCNTL(name)                                                                                \
    EXPORT int name(int fd, int command, ...)                                                      \
    {                                                                                              \
        va_list values;                                                                            \
        void *value;                                                                               \
        int result;                                                                                \
                                                                                                   \
        va_start(values, command);                                                                 \
        value = va_arg(values, void *);                                                            \
        va_end(values);                                                                            \
        NEXT(name);                                                                                \
        FAIL(fcntl, fcntl_set(command));                                                           \
        result = next(fd, command, value);                                                         \
        return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? fault_copied(fd, result)         \
                                                                : result;                          \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

EXPORT int dup2(int from, int to)
{
    NEXT(dup2);
    return fault_copied(from, next(from, to));
}

EXPORT int dup3(int from, int to, int flags)
{
    NEXT(dup3);
    return fault_copied(from, next(from, to, flags));
}

EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list values;
    void *value;

    va_start(values, request);
    value = va_arg(values, void *);
    va_end(values);
    NEXT(ioctl);
    if (request != SIOCOUTQ && request != FIONREAD && request != FIONBIO)
        FAIL(ioctl, ALL);
    return next(fd, request, value);
}

EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    NEXT(poll);
    FAIL(poll, (timeout == 0 ? 0 : I) | (count > POLL_INLINE ? M : 0));
    return next(fds, count, timeout);
}

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room);
EXPORT int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room)
{
    (void)room;
    return poll(fds, count, timeout);
}

EXPORT int epoll_create1(int flags)
{
    NEXT(epoll_create1);
    FAIL(epoll_create, ALL);
    return fault_born(next(flags), KIND_ANY);
}

EXPORT int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    NEXT(epoll_ctl);
    if (operation == EPOLL_CTL_ADD)
        FAIL(epoll_ctl, ALL);
    if (operation != EPOLL_CTL_DEL && fd >= 0 && fd < KINDS_MAX)
        fault_edges[fd] = (event->events & (EPOLLET | EPOLLONESHOT)) != 0;
    return next(epoll, operation, fd, event);
}

EXPORT int epoll_wait(int epoll, struct epoll_event *events, int max, int timeout)
{
    NEXT(epoll_wait);
    FAIL(epoll_wait, timeout == 0 ? 0 : ALL);
    return next(epoll, events, max, timeout);
}

int eventfd(unsigned count, int flags);
EXPORT int eventfd(unsigned count, int flags)
{
    NEXT(eventfd);
    FAIL(eventfd, ALL);
    return fault_born(next(count, flags), KIND_COUNTER);
}

int signalfd(int fd, const sigset_t *mask, int flags);
EXPORT int signalfd(int fd, const sigset_t *mask, int flags)
{
    NEXT(signalfd);
    FAIL(signalfd, ALL);
    return fault_born(next(fd, mask, flags), KIND_COUNTER);
}

#define OPEN(name)                                                                                 \
    EXPORT int name(const char *path, int flags, ...)                                              \
    {                                                                                              \
        va_list values;                                                                            \
        mode_t mode = 0;                                                                           \
                                                                                                   \
        va_start(values, flags);                                                                   \
        if ((flags & (O_CREAT | O_TMPFILE)) != 0)                                                  \
            mode = va_arg(values, mode_t);                                                         \
        va_end(values);                                                                            \
        NEXT(name);                                                                                \
        FAIL(open, ALL);                                                                           \
        return fault_born(next(path, flags, mode),                                                 \
                          strcmp(path, "/dev/net/tun") == 0 ? KIND_ANY : KIND_FILE);               \
    }
OPEN(open)
OPEN(open64)

int pidfd_open(pid_t pid, unsigned flags);
EXPORT int pidfd_open(pid_t pid, unsigned flags)
{
    NEXT(pidfd_open);
    FAIL(pidfd_open, ALL);
    return fault_born(next(pid, flags), KIND_ANY);
}

int inotify_init1(int flags);
EXPORT int inotify_init1(int flags)
{
    NEXT(inotify_init1);
    FAIL(inotify, ALL);
    return fault_born(next(flags), KIND_FILE);
}

EXPORT pid_t waitpid(pid_t pid, int *status, int options)
{
    NEXT(waitpid);
    FAIL(waitpid, (options & WNOHANG) != 0 ? 0 : ALL);
    return next(pid, status, options);
}

/* What the next process of the supervisor's will be; 0 for those of others. */
static int next_role(void)
{
    return fault_page == NULL || fault_role != 0 ? 0 : atomic_fetch_add(&fault_page->forks, 1) + 1;
}

static void begin_role(int role)
{
    if (fault_role == 0)
        fault_role = role < FAULT_ROLES ? (unsigned)role : FAULT_ROLES - 1;
}

EXPORT pid_t fork(void)
{
    pid_t child;
    int role;

    NEXT(fork);
    FAIL(fork, ALL);
    role = next_role();
    child = next();
    if (child == 0)
        begin_role(role);
    return child;
}

/* Two that libc cannot give: clone(2) without a stack of its own, and connect(2) behind the helper's own function of that name. */
EXPORT long syscall(long number, ...)
{
    long args[6], result;
    int role = 0;
    va_list list;

    va_start(list, number);
    for (unsigned i = 0; i < 6; i++)
        args[i] = va_arg(list, long);
    va_end(list);
    NEXT(syscall);
    if (number == SYS_connect && ((const struct sockaddr *)args[1])->sa_family != AF_UNSPEC) {
        FAIL(connect, ALL); /* to take a connection apart needs nothing */
    } else if (number == SYS_clone) {
        FAIL(fork, ALL);
        role = next_role();
    }
    result = next(number, args[0], args[1], args[2], args[3], args[4], args[5]);
    if (number == SYS_clone && result == 0)
        begin_role(role);
    return result;
}

int setns(int fd, int type);
EXPORT int setns(int fd, int type)
{
    NEXT(setns);
    FAIL(setns, ALL);
    return next(fd, type);
}

int unshare(int flags);
EXPORT int unshare(int flags)
{
    NEXT(unshare);
    FAIL(unshare, ALL);
    return next(flags);
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *),
                          void *argument)
{
    int failed;

    NEXT(pthread_create);
    failed = fault_drawn(FAULT_CALL_pthread_create, A); /* the only one of them it has (man 3) */
    return failed != 0 ? failed : next(thread, attr, start, argument);
}

EXPORT int prctl(int option, ...)
{
    unsigned long values[4];
    va_list list;

    va_start(list, option);
    for (unsigned i = 0; i < 4; i++)
        values[i] = va_arg(list, unsigned long);
    va_end(list);
    NEXT(prctl);
    if (option == PR_SET_NO_NEW_PRIVS)
        FAIL(prctl, ALL);
    return next(option, values[0], values[1], values[2], values[3]);
}
