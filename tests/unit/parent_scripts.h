/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_PARENT_SCRIPTS_H
#define TEST_PARENT_SCRIPTS_H

/*
 * parent_scripts.h - helpers played by small shell scripts, for the tests of libsallyport
 *
 * Does:     writes the helper a test needs into a directory of the test's own, and spawns it.
 * Scripts:  fd 3 is the report pipe (dash cannot write to fds above 9); "rec EVENT [MORE]" writes
 *           one record with the next sequence number; MORE is further keys, with a leading comma.
 */
#include "sallyport.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#ifdef SALLYPORT_ASAN
#include <sanitizer/lsan_interface.h>
#endif

#define WAIT_MS 10000
/* What a loaded machine may add to a deadline. */
#define SLACK_MS 3000

/* The fds of a script that are not its own: the shell keeps the script itself open, and has opened
 * and closed the directory to list it. */
#define LIST_FDS                                                                                   \
    "for f in /proc/$$/fd/*; do [ -e $f ] || continue\n"                                           \
    "[ \"$(readlink $f)\" = \"$0\" ] || list=\"$list ${f##*/}\"; done\n"
/* Counts first: a trap may run between two commands, and the signal for it comes as soon as the
 * record was read. */
#define OPEN_REPORT                                                                                \
    "exec 3>/proc/self/fd/$2; seq=0\n"                                                             \
    "rec() { seq=$((seq+1)); "                                                                     \
    "printf '{\"v\":1,\"event\":\"%s\",\"seq\":%d%s}\\n' $1 $((seq-1)) \"$2\" >&3; }\n"
#define UNTIL_TERM "while :; do sleep 0.02; done\n"
#define END_ON_TERM                                                                                \
    "trap 'rec exit \",\\\"reason\\\":\\\"signal\\\",\\\"signal\\\":15\"; exit 0' TERM\n"

static char directory[64];
static char helper[128];

static inline void setup(void)
{
    (void)snprintf(directory, sizeof(directory), "/tmp/test_parent.XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(helper, sizeof(helper), "%s/helper", directory);
}

static inline void teardown(void)
{
    (void)unlink(helper);
    (void)rmdir(directory);
}

static inline void check_leaks(void)
{
#ifdef SALLYPORT_ASAN
    cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
#endif
}

static inline void write_file(const char *before, const char *body)
{
    FILE *file = fopen(helper, "we");

    cr_assert_not_null(file);
    fprintf(file, "#!/bin/sh\n%s%s%s", before, OPEN_REPORT, body);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(helper, 0755), 0);
}

static inline SallyportBuilder *new_builder(void)
{
    SallyportBuilder *builder = sallyport_builder_new();

    cr_assert_not_null(builder);
    cr_assert_eq(sallyport_builder_set_helper(builder, helper), 0);
    return builder;
}

static inline Sallyport *spawn_take(SallyportBuilder *take_builder)
{
    Sallyport *sp = NULL;

    cr_assert_eq(sallyport_spawn(take_builder, &sp), 0);
    sallyport_builder_free(take_builder);
    return sp;
}

static inline Sallyport *spawn_script(const char *body)
{
    SallyportBuilder *builder = new_builder();

    write_file("", body);
    cr_assert_eq(sallyport_builder_set_pid(builder, 1), 0);
    return spawn_take(builder);
}

static inline void expect_event(Sallyport *sp, const char *event, int64_t seq)
{
    SallyportEvent *got = NULL;

    cr_assert_eq(sallyport_next_event(sp, WAIT_MS, &got), 1);
    cr_assert_str_eq(got->event, event);
    cr_assert_eq(got->seq, seq);
    sallyport_event_free(got);
}

static inline void expect_message(Sallyport *sp, const char *message)
{
    SallyportEvent *got = NULL;

    cr_assert_eq(sallyport_next_event(sp, WAIT_MS, &got), 1);
    cr_assert_not_null(got->message);
    cr_assert_str_eq(got->message, message);
    sallyport_event_free(got);
}

static inline void expect_result(Sallyport *sp, int result)
{
    SallyportEvent *got = NULL;

    cr_assert_eq(sallyport_next_event(sp, WAIT_MS, &got), result);
    cr_assert_null(got);
}

static inline int64_t now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static inline void assert_took(int64_t since_ms, int64_t at_least_ms)
{
    int64_t took = now_ms() - since_ms;

    cr_assert_geq(took, at_least_ms);
    cr_assert_lt(took, at_least_ms + SLACK_MS);
}

static inline int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    cr_assert_not_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count;
}

static inline void assert_no_child(void)
{
    cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
    cr_assert_eq(errno, ECHILD);
}

#endif
