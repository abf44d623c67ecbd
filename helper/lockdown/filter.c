/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * filter.c - the list of system calls, given to the kernel
 *
 * Does:     makes a seccomp(2) program of the tables (calls.c) and loads it for all threads.
 * Runs in:  all three processes, as the last stage: what the other stages need is not on the lists.
 * Default:  the process is killed (SIGSYS, and an audit record of the kernel that names the call). An errno instead would let
 *           an attacker try on, and hide a call that a library came to need.
 * Shape:    architecture, x32, then one comparison a call, calls without arguments to judge first: their verdict the kernel
 *           keeps in a bitmap (kernel/seccomp.c: seccomp_cache_prepare()), so order costs nothing
 *           later. To fill it the kernel runs the program for each number there is, which is most of what loading takes after
 *           the 0.28 ms of a program of five instructions: hence groups.
 * Why not libseccomp: it took 1.1 ms a process to make 170 instructions of these tables, where the kernel takes 0.4 ms to
 *           load them; start to ready is 4 ms.
 */
#include "config.h"

#include "filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../fault.h"

#if defined(__x86_64__) && !defined(__ILP32__)
#define FILTER_ARCH AUDIT_ARCH_X86_64
#define FILTER_X32  0x40000000U /* asm/unistd.h: __X32_SYSCALL_BIT */
#elif defined(__aarch64__) && defined(__AARCH64EL__)
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#else
#error "filter.c: this architecture's system calls have not been looked at"
#endif

#define FILTER_CODE_MAX 1024
/* What a jump can pass (struct sock_filter: jt, jf). */
#define FILTER_JUMP_MAX 255
#define FILTER_GROUP    8

typedef struct FilterCode {
    struct sock_filter code[FILTER_CODE_MAX];
    size_t count;
} FilterCode;

/* The lists that apply, one after the other. */
typedef struct FilterList {
    const FilterRow *rows[128];
    size_t count;
} FilterList;

static void filter_put(FilterCode *code, struct sock_filter instruction)
{
    g_assert(code->count < FILTER_CODE_MAX);
    code->code[code->count++] = instruction;
}

static void filter_load_word(FilterCode *code, size_t offset)
{
    filter_put(code, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void filter_return(FilterCode *code, uint32_t verdict)
{
    filter_put(code, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, verdict));
}

/* Passes @skip instructions unless the word is @value; the caller fills in @skip when it is known. */
static size_t filter_unless(FilterCode *code, uint32_t value, size_t skip)
{
    filter_put(code,
               (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, (uint8_t)skip));
    return code->count - 1;
}

static void filter_land(FilterCode *code, size_t jump)
{
    size_t skip = code->count - jump - 1;

    g_assert(skip <= FILTER_JUMP_MAX);
    code->code[jump].jf = (uint8_t)skip;
}

/* One row: allowed if all arguments match, else on to what follows. */
static void filter_put_row(FilterCode *code, const FilterRow *row)
{
    size_t jumps[FILTER_ARGS_MAX];

    for (unsigned i = 0; i < row->count; i++) {
        const FilterArg *arg = &row->args[i];

        /* Both architectures keep the lower half first. */
        filter_load_word(code, offsetof(struct seccomp_data, args) + arg->index * sizeof(uint64_t));
        if (arg->mask != UINT32_MAX) {
            filter_put(code, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, arg->mask));
        }
        jumps[i] = filter_unless(code, arg->value, 0);
    }
    filter_return(code, SECCOMP_RET_ALLOW);
    for (unsigned i = 0; i < row->count; i++) {
        filter_land(code, jumps[i]);
    }
}

static bool filter_is_plain(const FilterList *list, int number)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->rows[i]->number == number && list->rows[i]->count == 0) {
            return true;
        }
    }
    return false;
}

/* All rows of the call of row @first, which is its first one; what matches none is the end. */
static void filter_put_call(FilterCode *code, const FilterList *list, size_t first)
{
    const int number = list->rows[first]->number;
    size_t jump;

    for (size_t i = 0; i < first; i++) {
        if (list->rows[i]->number == number) {
            return;
        }
    }
    jump = filter_unless(code, (uint32_t)number, 0);
    for (size_t i = first; i < list->count; i++) {
        if (list->rows[i]->number == number) {
            filter_put_row(code, list->rows[i]);
        }
    }
    filter_return(code, SECCOMP_RET_KILL_PROCESS);
    filter_land(code, jump);
}

static void filter_list_add(FilterList *list, FilterCalls calls)
{
    size_t count;
    const FilterRow *rows = filter_rows(calls, &count);

    for (size_t i = 0; i < count; i++) {
        if (rows[i].number >= 0) { /* else a call of other architectures */
            g_assert(list->count < G_N_ELEMENTS(list->rows));
            list->rows[list->count++] = &rows[i];
        }
    }
}

static int filter_compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Calls without arguments to judge, in ascending groups, so that most numbers are compared with few. */
static void filter_put_plain(FilterCode *code, const FilterList *list)
{
    int numbers[G_N_ELEMENTS(list->rows)];
    size_t count = 0;

    for (size_t i = 0; i < list->count; i++) {
        if (list->rows[i]->count == 0) {
            numbers[count++] = list->rows[i]->number;
        }
    }
    qsort(numbers, count, sizeof(numbers[0]), filter_compare);
    for (size_t from = 0; from < count; from += FILTER_GROUP) {
        size_t to = MIN(from + FILTER_GROUP, count);

        filter_put(code, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K,
                                                      (uint32_t)numbers[to - 1],
                                                      (uint8_t)((to - from) * 2), 0));
        for (size_t i = from; i < to; i++) {
            (void)filter_unless(code, (uint32_t)numbers[i], 1);
            filter_return(code, SECCOMP_RET_ALLOW);
        }
    }
}

static void filter_make(FilterCode *code, const FilterList *list)
{
    filter_load_word(code, offsetof(struct seccomp_data, arch));
    filter_put(code, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCH, 1, 0));
    filter_return(code, SECCOMP_RET_KILL_PROCESS);
    filter_load_word(code, offsetof(struct seccomp_data, nr));
#ifdef FILTER_X32
    filter_put(code, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FILTER_X32, 0, 1));
    filter_return(code, SECCOMP_RET_KILL_PROCESS);
#endif
    filter_put_plain(code, list);
    for (size_t i = 0; i < list->count; i++) {
        if (!filter_is_plain(list, list->rows[i]->number)) {
            filter_put_call(code, list, i);
        }
    }
    filter_return(code, SECCOMP_RET_KILL_PROCESS);
}

bool filter_load(Role role, GError **error)
{
    static const FilterCalls calls[ROLES] = {
        [ROLE_SUPERVISOR] = FILTER_CALLS_SUPERVISOR,
        [ROLE_INSIDE] = FILTER_CALLS_INSIDE,
        [ROLE_DATAPATH] = FILTER_CALLS_DATAPATH,
    };
    /* abort(3) sends itself SIGABRT. */
    const FilterRow abort_row = {"tgkill", SYS_tgkill, 1, {{0, UINT32_MAX, (uint32_t)getpid()}}};
    g_autofree FilterCode *code = g_new0(FilterCode, 1);
    FilterList list = {{&abort_row}, 1};
    struct sock_fprog program;
    long failed;

    filter_list_add(&list, FILTER_CALLS_COMMON);
    filter_list_add(&list, calls[role]);
#ifdef SALLYPORT_SANITIZED
    filter_list_add(&list, FILTER_CALLS_SANITIZER);
#endif
    filter_make(code, &list);
    program = (struct sock_fprog){(unsigned short)code->count, code->code};
    failed = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (failed == 0) {
        failed = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
    }
    if (failed != 0) {
        /* A positive number is the thread that has another filter. */
        int errnum = failed > 0 ? ESRCH : errno;

        fault_set(error, FAULT_LOCKDOWN, errnum, "seccomp: loading the filter: %s",
                  g_strerror(errnum));
        return false;
    }
    return true;
}
