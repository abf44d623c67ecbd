/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_filter.c - each system call under the real filters: the list survives, everything else is the end
 *
 * A call is tried in a process of its own, with arguments that do nothing; it need not succeed.
 */
#include "config.h"

#include "lockdown/filter.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#define CALLS_MAX 600
/* Whatever reads, writes or follows it fails. */
#define NOWHERE 8L

typedef struct Attempt {
    long number;
    long args[6];
} Attempt;

/* What became of the process: 0 if it lived, else the signal. */
static int tried_by(Role role, bool serves, const Attempt *attempt)
{
    const long *a = attempt->args;
    int status = 0;
    pid_t pid = fork();

    cr_assert_geq(pid, 0);
    if (pid == 0) {
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* no core */
        (void)signal(SIGSEGV, SIG_DFL);           /* a sanitizer would tell of it */
        if (!filter_load(role, serves, NULL)) {
            _exit(99);
        }
        /* What waits is ended by the parent; but nothing that is allowed waits on such arguments for ever. */
        (void)syscall(attempt->number, a[0], a[1], a[2], a[3], a[4], a[5]);
        (void)syscall(SYS_exit_group, 0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(!WIFEXITED(status) || WEXITSTATUS(status) == 0, "the filter was not loaded: %d",
              WEXITSTATUS(status));
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static int tried(Role role, const Attempt *attempt)
{
    return tried_by(role, false, attempt);
}

/* The row of a role for a number, plain ones first; NULL: it is not on the list. */
static const FilterRow *listed(Role role, long number)
{
    static const FilterCalls lists[ROLES] = {
        [ROLE_SUPERVISOR] = FILTER_CALLS_SUPERVISOR,
        [ROLE_INSIDE] = FILTER_CALLS_INSIDE,
        [ROLE_DATAPATH] = FILTER_CALLS_DATAPATH,
    };
    const FilterCalls all[] = {lists[role], FILTER_CALLS_COMMON,
#ifdef SALLYPORT_SANITIZED
                               FILTER_CALLS_SANITIZER
#endif
    };
    const FilterRow *found = NULL;

    for (size_t list = 0; list < G_N_ELEMENTS(all); list++) {
        size_t count;
        const FilterRow *rows = filter_rows(all[list], &count);

        for (size_t i = 0; i < count; i++) {
            if (rows[i].number == number && (found == NULL || rows[i].count == 0)) {
                found = &rows[i];
            }
        }
    }
    return found;
}

/* Allowed arguments of a row; with @upper, the upper halves hold something else. */
static Attempt allowed(const FilterRow *row, bool upper)
{
    Attempt attempt = {row->number, {-1, NOWHERE, 0, 0, 0, 0}};

    for (unsigned i = 0; i < row->count; i++) {
        attempt.args[row->args[i].index] =
            (long)((upper ? UINT64_C(0xdead) << 32 : 0) | row->args[i].value);
    }
    return attempt;
}

static void each_call(Role role)
{
    for (long number = 0; number < CALLS_MAX; number++) {
        const FilterRow *row = listed(role, number);
        Attempt attempt =
            row != NULL ? allowed(row, false) : (Attempt){number, {-1, NOWHERE, 0, 0, 0, 0}};
        int signal_number;

        /* They end the process or wait, as they should. */
        if (number == SYS_exit || number == SYS_exit_group || number == SYS_restart_syscall ||
            number == SYS_poll || number == SYS_rt_sigreturn) {
            continue;
        }
#ifdef __x86_64__
        /* uretprobe and uprobe of Linux 6.14 on: never filtered, and of no use to who calls them (kernel/seccomp.c). */
        if (number == 335 || number == 336) {
            continue;
        }
#endif
        signal_number = tried(role, &attempt);
        cr_expect_eq(signal_number == SIGSYS, row == NULL, "role %d, call %ld (%s): signal %d",
                     role, number, row != NULL ? row->name : "not listed", signal_number);
    }
}

Test(filter, datapath_lives_through_its_list_and_nothing_else, .timeout = 120)
{
    each_call(ROLE_DATAPATH);
}

Test(filter, inside_lives_through_its_list_and_nothing_else, .timeout = 120)
{
    each_call(ROLE_INSIDE);
}

Test(filter, supervisor_lives_through_its_list_and_nothing_else, .timeout = 120)
{
    each_call(ROLE_SUPERVISOR);
}

Test(filter, supervisor_that_serves_may_do_a_little_more)
{
    const Attempt more[] = {{SYS_accept4, {-1}},
                            {SYS_getsockopt, {-1, SOL_SOCKET, SO_PEERCRED}},
                            {SYS_unlinkat, {-1, 0, 0}}};
    const Attempt never[] = {{SYS_getsockopt, {-1, SOL_SOCKET, SO_ERROR}},
                             {SYS_unlinkat, {-1, 0, AT_REMOVEDIR}},
                             {SYS_connect, {-1}},
                             {SYS_socket, {AF_UNIX, SOCK_STREAM, 0}}};

    for (size_t i = 0; i < G_N_ELEMENTS(more); i++) {
        cr_expect_eq(tried_by(ROLE_SUPERVISOR, true, &more[i]), 0, "more, %zu", i);
        cr_expect_eq(tried_by(ROLE_SUPERVISOR, false, &more[i]), SIGSYS, "without, %zu", i);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(never); i++) {
        cr_expect_eq(tried_by(ROLE_SUPERVISOR, true, &never[i]), SIGSYS, "never, %zu", i);
    }
}

Test(filter, upper_halves_of_arguments_change_nothing)
{
    size_t count;
    const FilterRow *rows = filter_rows(FILTER_CALLS_DATAPATH, &count);

    for (size_t i = 0; i < count; i++) {
        if (rows[i].count > 0) {
            Attempt attempt = allowed(&rows[i], true);

            cr_expect_eq(tried(ROLE_DATAPATH, &attempt), 0, "%s, row %zu", rows[i].name, i);
        }
    }
}

Test(filter, arguments_that_are_not_listed_are_the_end)
{
    const Attempt attempts[] = {
        {SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
        {SYS_socket, {AF_NETLINK, SOCK_RAW, 0}},
        {SYS_socket, {AF_PACKET, SOCK_RAW, 0}},
        {SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}},
        {SYS_socket, {AF_ALG, SOCK_SEQPACKET, 0}},
        {SYS_socket, {AF_INET, SOCK_RAW, IPPROTO_ICMP}},
        {SYS_socket, {AF_INET, SOCK_STREAM, IPPROTO_SCTP}},
        {SYS_setsockopt, {-1, SOL_SOCKET, SO_BINDTODEVICE}},
        {SYS_setsockopt, {-1, SOL_SOCKET, SO_MARK}},
        {SYS_setsockopt, {-1, IPPROTO_IP, IP_TRANSPARENT}},
        {SYS_fcntl, {-1, F_SETOWN, 1}},
        {SYS_ioctl, {-1, SIOCSIFFLAGS, 0}},
        {SYS_ioctl, {-1, TIOCSTI, 0}},
#ifndef SALLYPORT_SANITIZED
        {SYS_tgkill, {1, 1, 0}},
#endif
        {SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
        {SYS_mprotect, {0, 4096, PROT_EXEC}},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(attempts); i++) {
        cr_expect_eq(tried(ROLE_DATAPATH, &attempts[i]), SIGSYS, "attempt %zu", i);
    }
}

#ifdef __x86_64__
Test(filter, x32_and_the_32_bit_entry_are_the_end)
{
    const Attempt x32 = {0x40000000 | SYS_getpid, {0}};
    int status = 0;
    pid_t pid;

    cr_expect_eq(tried(ROLE_DATAPATH, &x32), SIGSYS);
    pid = fork();
    if (pid == 0) {
        long result = 20; /* getpid(2) of that table, and writev(2) of ours */

        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        if (!filter_load(ROLE_DATAPATH, false, NULL)) {
            _exit(99);
        }
        __asm__ volatile("int $0x80" : "+a"(result) : : "memory");
        (void)syscall(SYS_exit_group, 0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    /* A kernel without that entry has none to guard: it ends the process by SIGSEGV. */
    cr_expect(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV),
              "wait status %x", (unsigned)status);
}
#endif
