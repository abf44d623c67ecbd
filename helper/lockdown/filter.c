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
#define FILTER_ROWS_MAX 128
/* What a jump can pass (struct sock_filter: jt, jf). */
#define FILTER_JUMP_MAX 255
#define FILTER_GROUP    8

typedef struct FilterCode {
    struct sock_filter code[FILTER_CODE_MAX];
    size_t count;
} FilterCode;

/* The lists that apply, one after the other. */
typedef struct FilterList {
    const FilterRow *rows[FILTER_ROWS_MAX];
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

/* Passes @skip instructions if it is. */
static void filter_when(FilterCode *code, uint32_t value, size_t skip)
{
    g_assert(skip <= FILTER_JUMP_MAX);
    filter_put(code,
               (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, (uint8_t)skip, 0));
}

static void filter_land(FilterCode *code, size_t jump)
{
    size_t skip = code->count - jump - 1;

    g_assert(skip <= FILTER_JUMP_MAX);
    code->code[jump].jf = (uint8_t)skip;
}

/* Those of @rows that have @value at @depth. Returns how many. */
static size_t filter_select(const FilterRow *const *rows, size_t count, unsigned depth,
                            uint32_t value, const FilterRow **ret_rows)
{
    size_t found = 0;

    for (size_t i = 0; i < count; i++) {
        if (rows[i]->args[depth].value == value) {
            ret_rows[found++] = rows[i];
        }
    }
    return found;
}

static bool filter_is_first(const FilterRow *const *rows, size_t at, unsigned depth)
{
    for (size_t i = 0; i < at; i++) {
        if (rows[i]->args[depth].value == rows[at]->args[depth].value) {
            return false;
        }
    }
    return true;
}

/* Rows of one call that agree in their arguments below @depth. Each argument is loaded once; what matches no row is the end. All rows
 * of a call look at the same arguments in the same way, so values are never tried twice. */
static void filter_put_rows(FilterCode *code, const FilterRow *const *rows, size_t count,
                            unsigned depth)
{
    const FilterArg *arg = &rows[0]->args[depth];
    const bool last = depth + 1 == rows[0]->count;
    const FilterRow *same[FILTER_ROWS_MAX];
    size_t first_jump;

    /* Both architectures keep the lower half first. */
    filter_load_word(code, offsetof(struct seccomp_data, args) + arg->index * sizeof(uint64_t));
    if (arg->mask != UINT32_MAX) {
        filter_put(code, (struct sock_filter)BPF_STMT(BPF_ALU | BPF_AND | BPF_K, arg->mask));
    }
    first_jump = code->count;
    for (size_t i = 0; i < count; i++) {
        const FilterArg *own = &rows[i]->args[depth];

        g_assert(rows[i]->count == rows[0]->count && own->index == arg->index &&
                 own->mask == arg->mask);
        if (!last && filter_is_first(rows, i, depth)) {
            size_t jump = filter_unless(code, own->value, 0);

            filter_put_rows(code, same, filter_select(rows, count, depth, own->value, same),
                            depth + 1);
            filter_land(code, jump);
        } else if (last) {
            filter_when(code, own->value, count - i);
        }
    }
    filter_return(code, SECCOMP_RET_KILL_PROCESS);
    if (last) {
        g_assert(code->count == first_jump + count + 1);
        filter_return(code, SECCOMP_RET_ALLOW);
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

/* All rows of the call of row @first, which is its first one. */
static void filter_put_call(FilterCode *code, const FilterList *list, size_t first)
{
    const int number = list->rows[first]->number;
    const FilterRow *rows[FILTER_ROWS_MAX];
    size_t count = 0;
    size_t jump;

    for (size_t i = 0; i < list->count; i++) {
        if (list->rows[i]->number == number) {
            if (i < first) {
                return;
            }
            rows[count++] = list->rows[i];
        }
    }
    jump = filter_unless(code, (uint32_t)number, 0);
    filter_put_rows(code, rows, count, 0);
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
                                                      (uint8_t)(to - from + 1), 0));
        for (size_t i = from; i + 1 < to; i++) {
            filter_when(code, (uint32_t)numbers[i], to - i - 1);
        }
        (void)filter_unless(code, (uint32_t)numbers[to - 1], 1);
        filter_return(code, SECCOMP_RET_ALLOW);
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

bool filter_load(Role role, bool serves, GError **error)
{
    static const FilterCalls calls[ROLES] = {
        [ROLE_SUPERVISOR] = FILTER_CALLS_SUPERVISOR,
        [ROLE_INSIDE] = FILTER_CALLS_INSIDE,
        [ROLE_DATAPATH] = FILTER_CALLS_DATAPATH,
    };
    /* abort(3) sends itself SIGABRT. */
    const FilterRow abort_row = {"tgkill", SYS_tgkill, 1, {{0, UINT32_MAX, (uint32_t)getpid()}}};
    g_autofree FilterCode *code = g_new(FilterCode, 1);
    FilterList list;
    struct sock_fprog program;
    long failed;

    code->count = 0;
    list.rows[0] = &abort_row;
    list.count = 1;
    filter_list_add(&list, FILTER_CALLS_COMMON);
    filter_list_add(&list, calls[role]);
    if (serves) {
        filter_list_add(&list, FILTER_CALLS_CONTROL);
    }
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
