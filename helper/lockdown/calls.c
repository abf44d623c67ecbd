/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * calls.c - the system calls of each process once it is locked down
 *
 * Does:     tables alone. tests/checks/calls compares them with the code: what no file of the process calls must name the
 *           library that does, and what its files call must be here.
 * Why by value: the kernel takes an int argument's lower 32 bits, so these alone are compared (INT); what the upper bits
 *           hold is the caller's accident.
 */
#include "config.h"

#include "filter.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* Architectures that came later do without these. */
#ifndef SYS_dup2
#define SYS_dup2 -1
#endif
#ifndef SYS_epoll_wait
#define SYS_epoll_wait -1
#endif
#ifndef SYS_poll
#define SYS_poll -1
#endif
#ifndef SYS_readlink
#define SYS_readlink -1
#endif

#define CALL(call) .name = #call, .number = SYS_##call
#define MASK(n, mask, v)                                                                           \
    {                                                                                              \
        (n), (uint32_t)(mask), (uint32_t)(v)                                                       \
    }
#define INT(n, v) MASK(n, UINT32_MAX, v)
/* socket(2): the kind alone, whatever its two flags. */
#define TYPE(n, v) MASK(n, ~(SOCK_NONBLOCK | SOCK_CLOEXEC), v)
#define SOCKET(f, t, p)                                                                            \
    {                                                                                              \
        CALL(socket), 3,                                                                           \
        {                                                                                          \
            INT(0, f), TYPE(1, t), INT(2, p)                                                       \
        }                                                                                          \
    }
#define SETSOCKOPT(l, o)                                                                           \
    {                                                                                              \
        CALL(setsockopt), 2,                                                                       \
        {                                                                                          \
            INT(1, l), INT(2, o)                                                                   \
        }                                                                                          \
    }
#define FCNTL(c)                                                                                   \
    {                                                                                              \
        CALL(fcntl), 1,                                                                            \
        {                                                                                          \
            INT(1, c)                                                                              \
        }                                                                                          \
    }
#define IOCTL(c)                                                                                   \
    {                                                                                              \
        CALL(ioctl), 1,                                                                            \
        {                                                                                          \
            INT(1, c)                                                                              \
        }                                                                                          \
    }

/* libslirp's sockets are among them. Of raw sockets and netlink the datapath has only what it is given. */
static const FilterRow calls_datapath[] = {
    {CALL(accept4)},
    {CALL(bind)},
    {CALL(connect)},
    {CALL(epoll_create1)},
    {CALL(epoll_ctl)},
    {CALL(epoll_pwait)}, /* library: epoll_wait(3) where there is no such call */
    {CALL(epoll_wait)},
    FCNTL(F_DUPFD_CLOEXEC),
    FCNTL(F_GETFL),
    FCNTL(F_GETPIPE_SZ),
    FCNTL(F_SETFD),
    FCNTL(F_SETFL),
    FCNTL(F_SETPIPE_SZ),
    {CALL(getpeername)},
    {CALL(getsockname)},
    {CALL(getsockopt)},
    IOCTL(FIONREAD),
    IOCTL(SIOCOUTQ),
    {CALL(getppid)}, /* library: g_rand_new(3), which libslirp calls */
    {CALL(pipe2)},
    {CALL(poll)},
    {CALL(ppoll)}, /* library: poll(3) where there is no such call */
    {CALL(recvfrom)},
    {CALL(recvmsg)},
    {CALL(sched_yield)},
    {CALL(sendmsg)},
    {CALL(sendto)},
    {CALL(rseq)}, /* library: a worker thread may get its filter before its first instruction */
    {CALL(set_robust_list)}, /* library: the same */
    SETSOCKOPT(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT),
    SETSOCKOPT(IPPROTO_IP, IP_RECVERR),
    SETSOCKOPT(IPPROTO_IP, IP_RECVTTL),
    SETSOCKOPT(IPPROTO_IP, IP_TTL),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_RECVERR),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_RECVHOPLIMIT),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_UNICAST_HOPS),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_V6ONLY), /* library: libslirp */
    SETSOCKOPT(IPPROTO_TCP, TCP_NODELAY),
    SETSOCKOPT(IPPROTO_TCP, TCP_NOTSENT_LOWAT),
    SETSOCKOPT(SOL_SOCKET, SO_BUF_LOCK),
    SETSOCKOPT(SOL_SOCKET, SO_KEEPALIVE),
    SETSOCKOPT(SOL_SOCKET, SO_LINGER),
    SETSOCKOPT(SOL_SOCKET, SO_OOBINLINE),
    SETSOCKOPT(SOL_SOCKET, SO_RCVBUF),
    SETSOCKOPT(SOL_SOCKET, SO_REUSEADDR), /* library: libslirp */
    {CALL(shutdown)},
    SOCKET(AF_INET, SOCK_DGRAM, 0),
    SOCKET(AF_INET, SOCK_DGRAM, IPPROTO_ICMP),
    SOCKET(AF_INET, SOCK_STREAM, 0),
    SOCKET(AF_INET6, SOCK_DGRAM, 0),
    SOCKET(AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6),
    SOCKET(AF_INET6, SOCK_STREAM, 0),
    {CALL(splice)},
    {CALL(sysinfo)}, /* library: qsort(3) looks how much memory there is */
    {CALL(write)},
};

/* Netlink and raw sockets were made before. */
static const FilterRow calls_inside[] = {
    {CALL(bind)},
    {CALL(connect)},
    {CALL(getsockname)},
    {CALL(listen)},
    {CALL(poll)},
    {CALL(ppoll)}, /* library: poll(3) where there is no such call */
    {CALL(pwrite64)},
    {CALL(recvfrom)},
    {CALL(recvmsg)},
    {CALL(sendmsg)},
    {CALL(sendto)},
    SETSOCKOPT(IPPROTO_IP, IP_TRANSPARENT),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_TRANSPARENT),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_V6ONLY),
    SETSOCKOPT(IPPROTO_TCP, TCP_NODELAY),
    SETSOCKOPT(IPPROTO_TCP, TCP_SYNCNT),
    SETSOCKOPT(SOL_SOCKET, SO_KEEPALIVE),
    SETSOCKOPT(SOL_SOCKET, SO_MARK),
    SETSOCKOPT(SOL_SOCKET, SO_REUSEADDR),
    SOCKET(AF_INET, SOCK_DGRAM, 0),
    SOCKET(AF_INET, SOCK_STREAM, 0),
    SOCKET(AF_INET6, SOCK_DGRAM, 0),
    SOCKET(AF_INET6, SOCK_STREAM, 0),
    {CALL(write)}, /* library: GLib's warnings */
};

/* Files are opened to be read alone: resolv.conf, and what a path of the user's leads to. */
static const FilterRow calls_supervisor[] = {
    {CALL(bind)},
    {CALL(dup2)},
    {CALL(dup3)}, /* library: dup2(3) where there is no such call */
    FCNTL(F_DUPFD_CLOEXEC),
    FCNTL(F_GETFD),
    FCNTL(F_GETFL),
    {CALL(fstat)},
    {CALL(fstatfs)},
    {CALL(getcwd)}, /* library: realpath(3) */
    {CALL(getppid)},
    {CALL(getsockname)},
    {CALL(inotify_add_watch)},
    {CALL(inotify_init1)},
    {CALL(inotify_rm_watch)},
    IOCTL(SIOCGIFINDEX),
    IOCTL(SIOCGIFNAME),
    {CALL(listen)},
    {CALL(newfstatat)},
    {CALL(openat), 1, {MASK(2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY)}},
    {CALL(pidfd_open)},
    {CALL(pidfd_send_signal)},
    {CALL(poll)},
    {CALL(ppoll)}, /* library: poll(3) where there is no such call */
    {CALL(readlink)},
    {CALL(readlinkat)}, /* library: readlink(3) where there is no such call */
    {CALL(recvfrom)},
    {CALL(recvmsg)},
    {CALL(sendmsg)},
    {CALL(sendto)},
    SETSOCKOPT(IPPROTO_IP, IP_PKTINFO),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_RECVPKTINFO),
    SETSOCKOPT(IPPROTO_IPV6, IPV6_V6ONLY),
    SETSOCKOPT(IPPROTO_TCP, TCP_KEEPCNT),
    SETSOCKOPT(IPPROTO_TCP, TCP_KEEPIDLE),
    SETSOCKOPT(IPPROTO_TCP, TCP_KEEPINTVL),
    SETSOCKOPT(IPPROTO_TCP, TCP_NODELAY),
    SETSOCKOPT(SOL_SOCKET, SO_BINDTODEVICE),
    SETSOCKOPT(SOL_SOCKET, SO_KEEPALIVE),
    SETSOCKOPT(SOL_SOCKET, SO_REUSEADDR),
    {CALL(shutdown)},
    SOCKET(AF_INET, SOCK_DGRAM, 0),
    SOCKET(AF_INET, SOCK_STREAM, 0),
    SOCKET(AF_INET6, SOCK_DGRAM, 0),
    SOCKET(AF_INET6, SOCK_STREAM, 0),
    SOCKET(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE),
    {CALL(statfs)},
    {CALL(wait4)},
    {CALL(write)},
};

/* Clients come, and at the end the file of the socket goes: relative to its directory, and no directory itself. */
static const FilterRow calls_control[] = {
    {CALL(accept4)},
    {CALL(getsockopt), 2, {INT(1, SOL_SOCKET), INT(2, SO_PEERCRED)}},
    SETSOCKOPT(SOL_SOCKET, SO_LINGER), /* off: of what they pass and is closed */
    {CALL(unlinkat), 1, {INT(2, 0)}},
};

/* All of it is libraries': memory, locks, time, a clean end, and how a caught bug ends. */
static const FilterRow calls_common[] = {
    {CALL(brk)},           /* library: malloc(3) */
    {CALL(clock_gettime)}, /* library: where the vDSO cannot answer */
    {CALL(close)},
    {CALL(exit)}, /* library: the end of a thread */
    {CALL(exit_group)},
    {CALL(futex)},        /* library: pthread mutexes, GLib's locks */
    {CALL(getpid)},       /* library: abort(3) */
    {CALL(getrandom)},    /* library: hash tables; ids of DNS and of flows */
    {CALL(gettid)},       /* library: abort(3) */
    {CALL(gettimeofday)}, /* library: g_get_real_time(3), where the vDSO cannot answer */
    IOCTL(TCGETS),        /* library: GLib looks whether a warning goes to a terminal */
    {CALL(madvise), 1, {INT(2, MADV_DONTNEED)}},  /* library: malloc(3), the end of a thread */
    {CALL(mmap), 1, {MASK(2, PROT_EXEC, 0)}},     /* library: malloc(3) */
    {CALL(mprotect), 1, {MASK(2, PROT_EXEC, 0)}}, /* library: malloc(3) */
    {CALL(mremap)},                               /* library: realloc(3) */
    {CALL(munmap)},                               /* library: free(3) */
    {CALL(read)},            /* library: none; the proof reads what it opened (proof.c) */
    {CALL(restart_syscall)}, /* library: poll(2) goes on after SIGSTOP and SIGCONT */
    {CALL(rt_sigprocmask)},  /* library: abort(3), the end of a thread */
    {CALL(writev)},          /* library: what libc says of a caught bug */
};

static const FilterRow calls_sanitizer[] = {
    {CALL(fstat)},
    {CALL(getcwd)},
    {CALL(getrusage)},
    {CALL(lseek)},
    {CALL(madvise)},
    {CALL(mincore)},
    {CALL(nanosleep)},
    {CALL(clock_nanosleep)},
    {CALL(newfstatat)},
    {CALL(openat)},
    {CALL(prctl)},
    {CALL(prlimit64)},
    {CALL(read)},
    {CALL(readlink)},
    {CALL(rt_sigaction)},
    {CALL(rt_sigreturn)},
    {CALL(sched_getaffinity)},
    {CALL(sched_yield)},
    {CALL(sigaltstack)},
    {CALL(tkill)},
    {CALL(tgkill)},
    {CALL(uname)},
    {CALL(write)},
};

const FilterRow *filter_rows(FilterCalls calls, size_t *ret_count)
{
    static const struct {
        const FilterRow *rows;
        size_t count;
    } tables[FILTER_CALLS_KINDS] = {
        [FILTER_CALLS_DATAPATH] = {calls_datapath, G_N_ELEMENTS(calls_datapath)},
        [FILTER_CALLS_INSIDE] = {calls_inside, G_N_ELEMENTS(calls_inside)},
        [FILTER_CALLS_SUPERVISOR] = {calls_supervisor, G_N_ELEMENTS(calls_supervisor)},
        [FILTER_CALLS_CONTROL] = {calls_control, G_N_ELEMENTS(calls_control)},
        [FILTER_CALLS_COMMON] = {calls_common, G_N_ELEMENTS(calls_common)},
        [FILTER_CALLS_SANITIZER] = {calls_sanitizer, G_N_ELEMENTS(calls_sanitizer)},
    };

    *ret_count = tables[calls].count;
    return tables[calls].rows;
}
