/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * faultshim.c - a kernel in a bad mood, between the helper and its libc
 *
 * Does:     wraps the libc calls that the helper, GLib and libslirp make. By order of the test it fails some of them at random, moves
 *           one byte where more were offered, shifts the clocks, or halts a process before its call of a given number.
 * Runs in:  all processes of the helper, by LD_PRELOAD. Not installed.
 * Trusts:   the test.
 * Limits:   no system call of its own after the constructor but connect(2), so that it works under any seccomp filter the helper loads; fds above
 *           KINDS_MAX are sockets or files like any other.
 *
 * A failure is one that a kernel could give; the others would show nothing but that nobody expects the impossible:
 *    - EAGAIN and EPIPE never on a blocking call or one of another kind, as below
 *    - EAGAIN never where epoll reports edges (EPOLLET): it says "drained" there, so no edge comes again, and a kernel that
 *      says so has kept its side of it
 *    - EINTR for connect(2): the attempt would go on behind the caller's back, which needs a call that was made
 *    - close(2) fails only after the fd is closed, as Linux does it (man 2 close)
 *    - EIO, EPIPE, ENOMEM... on eventfds, signalfds and timerfds: there is nothing behind them that can fail; EINTR only
 *    - EPIPE between processes of ours and to the report's reader: it means that the other side is gone, which is another test
 *    - EINTR from a look that does not wait; ENOMEM from a poll(2) of few fds, which fs/select.c holds on the stack
 *    - ENOMEM of read(2) from a TAP: the frame has its memory already (drivers/net/tun.c: tun_do_read())
 *    - all but EINTR for receiving from another process of ours: a message that has been queued is there, and takes no memory
 *    - EPERM of send(2) for streams: netfilter's word on a segment is never the caller's to hear; for datagrams it is
 *    - F_GETFL, F_SETFL, F_GETFD, SIOCOUTQ, EPOLL_CTL_MOD and EPOLL_CTL_DEL, SO_ERROR, SO_TYPE and SO_LINGER allocate nothing and cannot fail on an open fd
 */
#define _GNU_SOURCE
#include "faultshim_private.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int errnos[FAULT_ERRNOS] = {EAGAIN, EINTR, ENOBUFS,      ENOMEM, EMFILE,
                                         ENFILE, EPERM, ECONNABORTED, EPIPE,  EIO};

static const unsigned possible[FAULT_CALLS] = {
#define FAULT_CALL_POSSIBLE(name, set) [FAULT_CALL_##name] = (set),
    FAULT_CALLS_LIST(FAULT_CALL_POSSIBLE)
#undef FAULT_CALL_POSSIBLE
};

FaultPage *fault_page;
unsigned fault_role;
static uint8_t kinds[KINDS_MAX];
uint8_t fault_edges[KINDS_MAX];

static void __attribute__((constructor)) begin(void)
{
    const char *path = getenv(FAULTSHIM_ENV);
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
    void *map = fd < 0 ? MAP_FAILED
                       : mmap(NULL, sizeof(FaultPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (map == MAP_FAILED)
        abort();
    (void)close(fd);
    fault_page = map;
}

/* ---- decisions ---- */

static uint64_t mixed(uint64_t x)
{
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

/* Every wrapped call comes here first. */
void fault_enter(void)
{
    unsigned long long number;

    if (fault_page == NULL)
        return;
    number = atomic_fetch_add(&fault_page->made[fault_role], 1);
    if (atomic_load(&fault_page->stop_role) == (int)fault_role &&
        number == atomic_load(&fault_page->stop_at)) {
        atomic_store(&fault_page->stopped, true);
        while (atomic_load(&fault_page->stop_role) == (int)fault_role)
            __asm__ volatile("" ::: "memory");
    }
}

/* 0, or the errno this call shall fail with; @set: what it may be. */
int fault_drawn(FaultCall call, unsigned set)
{
    unsigned long long orders;
    uint64_t random;
    unsigned pick, count;

    if (fault_page == NULL || !atomic_load(&fault_page->active) ||
        (atomic_load(&fault_page->roles) >> fault_role & 1) == 0)
        return 0;
    orders = atomic_load(&fault_page->calls);
    set &= possible[call] & atomic_load(&fault_page->errnos);
    if ((orders >> call & 1) == 0 || set == 0)
        return 0;
    random = mixed(atomic_load(&fault_page->seed) + ((uint64_t)fault_role << 56) +
                   atomic_fetch_add(&fault_page->draws[fault_role], 1));
    if (random % 10000 >= atomic_load(&fault_page->rate))
        return 0;
    count = (unsigned)__builtin_popcount(set);
    pick = (unsigned)(random / 10000 % count);
    for (unsigned i = 0; i < FAULT_ERRNOS; i++) {
        if ((set >> i & 1) != 0 && pick-- == 0) {
            atomic_fetch_add(&fault_page->given[call][i], 1);
            return errnos[i];
        }
    }
    return 0;
}

Kind fault_kind_of(int fd)
{
    return fd >= 0 && fd < KINDS_MAX ? (Kind)kinds[fd] : KIND_ANY;
}

int fault_born(int fd, Kind kind)
{
    if (fd >= 0 && fd < KINDS_MAX) {
        kinds[fd] = (uint8_t)kind;
        fault_edges[fd] = 0;
    }
    return fd;
}

/* Errnos that make sense for an fd, whatever the call. */
unsigned fault_for_fd(int fd, unsigned set)
{
    switch (fault_kind_of(fd)) {
    case KIND_COUNTER:
        set &= I;
        break;
    case KIND_UNIX:
        set &= A | I | B | M;
        break;
    case KIND_FILE:
        set &= ~(unsigned)A;
        break;
    case KIND_DATAGRAM:
        set &= ~(unsigned)E;
        break;
    case KIND_STREAM:
    case KIND_NETLINK:
    case KIND_PIPE:
    case KIND_ANY:
        set &= ~(unsigned)P;
        break;
    }
    if (fd >= 0 && fd < KINDS_MAX && fault_edges[fd])
        set &= ~(unsigned)A;
    return set;
}

size_t fault_at_most(int fd, size_t size)
{
    Kind kind = fault_kind_of(fd);

    if (fault_page == NULL || size < 2 ||
        (atomic_load(&fault_page->single_byte) >> fault_role & 1) == 0 ||
        (kind != KIND_STREAM && kind != KIND_PIPE))
        return size;
    atomic_fetch_add(&fault_page->split[fault_role], 1);
    return 1;
}

/* ECONNABORTED and EPIPE are what a stream says that has ended, of which epoll tells too: so it ends, by a RST. This system call is
 * our own, and no filter but that of the supervisor refuses it, which has no stream, but a netlink socket. */
int fault_ended(int fd, int failed)
{
    static __typeof__(&connect) next;
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    Kind kind = fault_kind_of(fd);

    if ((failed == ECONNABORTED || failed == EPIPE) && kind != KIND_DATAGRAM &&
        kind != KIND_NETLINK) {
        if (next == NULL) {
            void *found = dlsym(RTLD_NEXT, "connect");
            memcpy(&next, &found, sizeof(next));
        }
        (void)next(fd, &nobody, sizeof nobody);
    }
    return failed;
}

int fault_copied(int from, int to)
{
    Kind kind = fault_kind_of(from);

    return fault_born(to, kind);
}

/* ---- clocks ---- */

static void shift(struct timespec *time, long long ns)
{
    long long sum = time->tv_nsec + ns % 1000000000;

    time->tv_sec += ns / 1000000000 + (sum >= 1000000000 ? 1 : sum < 0 ? -1 : 0);
    time->tv_nsec = sum >= 1000000000 ? sum - 1000000000 : sum < 0 ? sum + 1000000000 : sum;
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *time)
{
    static __typeof__(&clock_gettime) next;
    int result;

    if (next == NULL) {
        void *found = dlsym(RTLD_NEXT, "clock_gettime");
        memcpy(&next, &found, sizeof(next));
    }
    result = next(clock, time);
    if (result == 0 && fault_page != NULL)
        shift(time, clock == CLOCK_REALTIME ? atomic_load(&fault_page->wall_ns)
                                            : atomic_load(&fault_page->boot_ns));
    return result;
}

EXPORT int gettimeofday(struct timeval *time, void *zone)
{
    struct timespec now;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) < 0)
        return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}
