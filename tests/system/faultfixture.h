/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_FAULTFIXTURE_H
#define SALLYPORT_TESTS_FAULTFIXTURE_H

/* Shared by the tests of faults: the shim and its page, the helper's idleness, what runs for minutes on request. */

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../lab/lab_helper.h"
#include "../lab/lab_raw.h"
#include "faultshim.h"
#include "takeoverfixture.h"

/* CPU and memory are measured: one test at a time. */
static void __attribute__((constructor)) one_at_a_time(void)
{
    (void)g_setenv("CRITERION_JOBS", "1", FALSE);
}

static inline bool long_run(void)
{
    return g_getenv("SALLYPORT_TEST_LONG") != NULL;
}

/* ---- the shim ---- */

/* From now on helpers start with the shim. It does nothing until the page says so. */
static inline FaultPage *faults_new(Lab *lab)
{
    g_autofree char *program = realpath(lab_helper_program(), NULL);
    g_autofree char *dir = program == NULL ? NULL : g_path_get_dirname(program);
    g_autofree char *shim = g_strconcat(dir, "/tests/system/.libs/faultshim.so", NULL);
    g_autofree char *command = NULL;
    const char *path = lab_path(lab, "faults");
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FaultPage *page;

    LAB_CHECK(access(shim, R_OK) == 0, "%s: %s", shim, strerror(errno));
    LAB_ASSERT(fd >= 0);
    LAB_ASSERT_CALL(ftruncate(fd, sizeof(FaultPage)));
    page = mmap(NULL, sizeof(FaultPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    LAB_ASSERT(page != MAP_FAILED);
    close(fd);
    atomic_store(&page->stop_role, -1);
    command = g_strdup_printf("export LD_PRELOAD='%s' " FAULTSHIM_ENV "='%s' "
                              "ASAN_OPTIONS=\"$ASAN_OPTIONS:verify_asan_link_order=0\"",
                              shim, path);
    lab_helper_wrap(lab, command);
    return page;
}

/* All counts of a page, and which roles may fail; the calls that may are all of them. */
static inline void faults_order(FaultPage *page, unsigned roles, unsigned rate, unsigned errnos,
                                uint64_t seed)
{
    atomic_store(&page->active, false);
    atomic_store(&page->rate, rate);
    atomic_store(&page->roles, roles);
    atomic_store(&page->calls, ~0ULL);
    atomic_store(&page->errnos, errnos);
    atomic_store(&page->seed, seed);
    for (size_t i = 0; i < FAULT_ROLES; i++)
        atomic_store(&page->draws[i], 0);
    atomic_store(&page->active, true);
}

static inline unsigned faults_given(const FaultPage *page)
{
    unsigned sum = 0;

    for (size_t call = 0; call < FAULT_CALLS; call++)
        for (size_t i = 0; i < FAULT_ERRNOS; i++)
            sum += atomic_load(&page->given[call][i]);
    return sum;
}

static inline void faults_print(const FaultPage *page)
{
    static const char *const names[FAULT_CALLS] = {
#define FAULT_CALL_NAME(name, errnos) #name,
        FAULT_CALLS_LIST(FAULT_CALL_NAME)
#undef FAULT_CALL_NAME
    };

    for (size_t call = 0; call < FAULT_CALLS; call++) {
        unsigned sum = 0;

        for (size_t i = 0; i < FAULT_ERRNOS; i++)
            sum += atomic_load(&page->given[call][i]);
        if (sum > 0)
            fprintf(stderr, " %s %u", names[call], sum);
    }
    fprintf(stderr, "\n");
}

/* ---- idleness ---- */

/* CPU time of all three so far, in clock ticks. */
static inline long long ticks_of(const LabTrio *trio)
{
    const pid_t pids[] = {trio->supervisor, trio->inside, trio->datapath};
    long long sum = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(pids); i++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pids[i]), *text = NULL;
        long long user = 0, system = 0;

        LAB_CHECK(g_file_get_contents(path, &text, NULL, NULL) && strrchr(text, ')') != NULL &&
                      sscanf(strrchr(text, ')') + 1,
                             " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld", &user,
                             &system) == 2,
                  "%s", path);
        sum += user + system;
    }
    return sum;
}

/*
 * Security.md's test 38, at the end of each of these: fewer than one wake-up a second, less than 0.1 % of CPU (of which a clock tick
 * is the grain) and no log line. What the guest's kernel and timers still have to say comes first: some window of the next ones must
 * be such, not the very next. A minute's window with SALLYPORT_TEST_LONG.
 */
static inline void faults_idle_at(const LabTrio *trio, LabHelper *helper, LabRaw *raw, int most)
{
    int window_ms = long_run() ? 60000 : 2000;
    int64_t end = lab_now() + LAB_MS(long_run() ? 300000 : 20000);
    long long woken, ticks;
    unsigned lines;

    do {
        long long switches = lab_trio_switches(trio, NULL), before = ticks_of(trio);

        lines = helper != NULL ? lab_helper_count(helper, SALLYPORT_EVENT_LOG, NULL)
                               : lab_raw_count(raw, SALLYPORT_EVENT_LOG, NULL);
        (void)poll(NULL, 0, window_ms);
        woken = lab_trio_switches(trio, NULL) - switches;
        ticks = ticks_of(trio) - before;
        lines = (helper != NULL ? lab_helper_count(helper, SALLYPORT_EVENT_LOG, NULL)
                                : lab_raw_count(raw, SALLYPORT_EVENT_LOG, NULL)) -
                lines;
        if (woken * 1000 < window_ms * most && ticks <= window_ms / 10000 && lines == 0)
            return;
    } while (lab_now() < end);
    lab_fail(__FILE__, __LINE__, "never idle: %lld wake-ups, %lld ticks, %u lines in %d ms", woken,
             ticks, lines, window_ms);
}

static inline void faults_idle(const LabTrio *trio, LabHelper *helper, LabRaw *raw)
{
    faults_idle_at(trio, helper, raw, 1);
}

/* While libslirp holds a TCP connection, its slow timer wakes us twice a second: of that, "less than once" is refuted. */
static inline void faults_idle_but_libslirp(const LabTrio *trio, LabHelper *helper, LabRaw *raw)
{
    faults_idle_at(trio, helper, raw, 4);
}

#endif
