/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_LOOPFIXTURE_H
#define SALLYPORT_TESTS_LOOPFIXTURE_H

/* Shared by the tests that run a GMainContext or count file descriptors. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <glib.h>

static inline gboolean loop_late(gpointer user_data)
{
    *(bool *)user_data = true;
    return G_SOURCE_REMOVE;
}

static inline GSource *loop_alarm(GMainContext *context, unsigned after_ms, bool *late)
{
    GSource *source = g_timeout_source_new(after_ms);

    *late = false;
    g_source_set_callback(source, loop_late, late, NULL);
    g_source_attach(source, context);
    return source;
}

static inline void loop_alarm_off(GSource *source)
{
    g_source_destroy(source);
    g_source_unref(source);
}

/* Runs the context until @condition holds; a watchdog ends a test that waits in vain. */
#define LOOP_AWAIT(context, condition)                                                             \
    do {                                                                                           \
        bool late_;                                                                                \
        GSource *alarm_ = loop_alarm((context), 20000, &late_);                                    \
        while (!late_ && !(condition)) {                                                           \
            (void)g_main_context_iteration((context), TRUE);                                       \
        }                                                                                          \
        loop_alarm_off(alarm_);                                                                    \
        cr_assert(!late_, "waited in vain: %s", #condition);                                       \
    } while (0)

static inline void loop_drain(GMainContext *context)
{
    while (g_main_context_iteration(context, FALSE)) {
    }
}

static inline void loop_run_ms(GMainContext *context, unsigned ms)
{
    bool late;
    GSource *source = loop_alarm(context, ms, &late);

    while (!late) {
        (void)g_main_context_iteration(context, TRUE);
    }
    loop_alarm_off(source);
}

/* How long the context would sleep: -1 if nothing is armed. */
static inline gint loop_timeout_ms(GMainContext *context)
{
    GPollFD fds[64];
    gint timeout_ms = 0;
    gint priority = 0;

    cr_assert(g_main_context_acquire(context));
    (void)g_main_context_prepare(context, &priority);
    (void)g_main_context_query(context, G_MAXINT, &timeout_ms, fds, G_N_ELEMENTS(fds));
    g_main_context_release(context);
    return timeout_ms;
}

static inline size_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t count = 0;

    cr_assert_not_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count;
}

/* At most @room more fds can be opened from here until fds_allow(). */
static inline void fds_leave(unsigned room, rlim_t *ret_before)
{
    int holes[64];
    struct rlimit limit;
    int last = -1;

    cr_assert_leq(room, G_N_ELEMENTS(holes));
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    *ret_before = limit.rlim_cur;
    for (unsigned i = 0; i < room; i++) {
        holes[i] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
        cr_assert_geq(holes[i], 0);
        last = holes[i];
    }
    if (room == 0) {
        last = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0) - 1;
        (void)close(last + 1);
    }
    limit.rlim_cur = (rlim_t)last + 1;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (unsigned i = 0; i < room; i++) {
        (void)close(holes[i]);
    }
}

static inline void fds_allow(rlim_t before)
{
    struct rlimit limit;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = before;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

#endif
