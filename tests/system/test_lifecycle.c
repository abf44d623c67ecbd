/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_lifecycle.c - what ends a helper, what does not, and how it says so
 *
 * Not here: records while it lives (test_report.c), many starts and long lives (test_endurance.c).
 */
#include "config.h"

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "lab_raw.h"
#include "lab_test.h"

#define END_MS 1000
/* How long nothing must happen for us to believe that nothing will. */
#define QUIET_MS 700

static LabRaw *started(Lab *lab, const LabRawSetup *setup, const char *words)
{
    LabRaw *raw = lab_raw_line(lab, setup, "%s-p 8080:80 %d", words, (int)lab_pid(lab, LAB_GUEST));

    lab_raw_ready(raw);
    return raw;
}

/* One byte there and back through the helper. */
static void works(Lab *lab)
{
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    int client = lab_connected(lab, LAB_GUEST, LAB_FAR_V4, lab_port(listener));
    int server = lab_accepted(listener);

    lab_say(client, server, "there");
    lab_say(server, client, "back");
    close(client);
    close(server);
    close(listener);
}

static void lives_on(Lab *lab, LabRaw *raw)
{
    int pidfd = pidfd_open(lab_raw_pid(raw), 0);

    LAB_ASSERT(pidfd >= 0);
    lab_expect_quiet(pidfd, QUIET_MS, "the helper ended");
    close(pidfd);
    works(lab);
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_EXIT, NULL), 0);
}

/* ---- wished ends ---- */

static void signal_ends(Lab *lab, int number, const char *name)
{
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = started(lab, NULL, "");

    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), number));
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_SIGNAL);
    lab_traces_expect(lab, before, 0);
    LAB_CHECK(lab_record_has(lab_raw_await(raw, SALLYPORT_EVENT_EXIT, 0), "signal", name),
              "no signal %s in the exit record", name);
    LAB_ASSERT_EQ(lab_raw_err_lines(raw), 0);
    lab_raw_free(raw);
}

LAB_TEST(lifecycle, sigterm_sigint_and_sighup_are_wished_ends)
{
    signal_ends(lab, SIGTERM, "SIGTERM");
    signal_ends(lab, SIGINT, "SIGINT");
    signal_ends(lab, SIGHUP, "SIGHUP");
}

LAB_TEST(lifecycle, sigterm_before_ready_is_a_wished_end_too)
{
    g_autofree char *before = lab_traces(lab);

    for (int delay_us = 0; delay_us < 30000; delay_us += 1000) {
        LabRaw *raw = lab_raw_line(lab, NULL, "-p 8080:80 %d", (int)lab_pid(lab, LAB_GUEST));
        int status;

        g_usleep((gulong)delay_us);
        LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
        status = lab_raw_wait(raw, LAB_MS(2000));
        /* Before the first line of main() has run, nobody can catch it. */
        LAB_CHECK(status == 0 || (status == 128 + SIGTERM && lab_raw_count(raw, NULL, NULL) == 0),
                  "exit status %d after %d us", status, delay_us);
        if (status == 0)
            lab_raw_expect_reason(raw, SALLYPORT_REASON_SIGNAL);
        lab_traces_expect(lab, before, status == 0 ? 0 : LAB_MS(END_MS));
        lab_raw_free(raw);
    }
}

LAB_TEST(lifecycle, hang_up_of_exit_fd_ends_it_and_data_does_not)
{
    g_autofree char *before = lab_traces(lab);
    int ends[2];

    LAB_ASSERT_CALL(pipe2(ends, O_CLOEXEC));
    LabRawSetup setup = {.fds = {ends[0]}, .fd_count = 1};
    LabRaw *raw = started(lab, &setup, "--exit-fd=10 ");
    close(ends[0]);
    LAB_ASSERT_EQ(write(ends[1], "data", 4), 4);
    lives_on(lab, raw);
    close(ends[1]);
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_EXIT_FD);
    lab_traces_expect(lab, before, 0);
}

/* A reader that never reads must not cost the helper anything either. */
LAB_TEST(lifecycle, data_in_exit_fd_costs_no_cpu)
{
    int ends[2];
    long before = 0, after = 0;

    LAB_ASSERT_CALL(pipe2(ends, O_CLOEXEC));
    LabRawSetup setup = {.fds = {ends[0]}, .fd_count = 1};
    LabRaw *raw = started(lab, &setup, "--exit-fd=10 ");
    LAB_ASSERT_EQ(write(ends[1], "data", 4), 4);
    for (int round = 0; round < 2; round++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)lab_raw_pid(raw));
        g_autofree char *text = NULL;
        long user = 0, system = 0;

        LAB_ASSERT(g_file_get_contents(path, &text, NULL, NULL));
        LAB_ASSERT_EQ(sscanf(strrchr(text, ')') + 1,
                             " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user,
                             &system),
                      2);
        *(round == 0 ? &before : &after) = user + system;
        if (round == 0)
            lives_on(lab, raw);
    }
    LAB_CHECK(after - before <= 10, "%ld ticks in %d ms", after - before, QUIET_MS);
}

LAB_TEST(lifecycle, parents_end_ends_all_three_within_a_second)
{
    const LabRawSetup setup = {.behind_parent = true};
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = started(lab, &setup, "");
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);

    lab_raw_parent_end(raw);
    LAB_ASSERT(lab_trio_ended(&trio, LAB_MS(END_MS)));
    (void)lab_raw_wait(raw, LAB_MS(END_MS));
    lab_raw_expect_reason(raw, SALLYPORT_REASON_PARENT_GONE);
    lab_traces_expect(lab, before, 0);
}

/* Whether the helper has reached the step that follows its first look at its parent. */
static bool knows_its_parent(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid);
    g_autofree char *text = NULL;

    LAB_ASSERT(g_file_get_contents(path, &text, NULL, NULL));
    return strstr(text, "NoNewPrivs:\t1") != NULL;
}

/* Returns whether the helper knew its parent when that ended. */
static bool parent_ends_after(Lab *lab, int delay_us)
{
    const LabRawSetup setup = {.behind_parent = true};
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = lab_raw_line(lab, &setup, "-p 8080:80 %d", (int)lab_pid(lab, LAB_GUEST));
    bool known;

    g_usleep((gulong)delay_us);
    known = knows_its_parent(lab_raw_pid(raw));
    lab_raw_parent_end(raw);
    /* A parent that is gone before main() looks for it cannot be told from another one. */
    if (lab_raw_await(raw, SALLYPORT_EVENT_EXIT, LAB_MS(END_MS)) == NULL) {
        LAB_CHECK(!known, "no end after %d us", delay_us);
        LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    }
    (void)lab_raw_wait(raw, LAB_MS(END_MS));
    lab_traces_expect(lab, before, LAB_MS(END_MS));
    lab_raw_free(raw);
    return known;
}

LAB_TEST(lifecycle, parents_end_during_the_start_ends_all_of_it)
{
    const int step = LAB_MS(2000), enough = 12, most = 300 * step;
    int known = 0;

    for (int delay_us = 0; delay_us < most && known < enough; delay_us += step) {
        known += parent_ends_after(lab, delay_us);
    }
    LAB_CHECK(known == enough, "only %d of %d starts had begun", known, enough);
}

static void outlives_parent(Lab *lab, const LabRawSetup *setup, const char *words)
{
    LabRaw *raw = started(lab, setup, words);

    lab_raw_parent_end(raw);
    lives_on(lab, raw);
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    (void)lab_raw_wait(raw, LAB_MS(END_MS));
    lab_raw_expect_reason(raw, SALLYPORT_REASON_SIGNAL);
}

LAB_TEST(lifecycle, outlive_parent_and_exit_fd_let_it_outlive_its_parent)
{
    LabRawSetup setup = {.behind_parent = true};
    int ends[2];

    outlives_parent(lab, &setup, "--outlive-parent ");
    LAB_ASSERT_CALL(pipe2(ends, O_CLOEXEC));
    setup.fds[0] = ends[0];
    setup.fd_count = 1;
    outlives_parent(lab, &setup, "--exit-fd=10 ");
}

/* ---- the guest's end ---- */

LAB_TEST(lifecycle, end_of_the_target_process_is_a_wished_end)
{
    LabRaw *raw = started(lab, NULL, "");
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);

    lab_guest_end(lab, LAB_GUEST);
    LAB_ASSERT(lab_trio_ended(&trio, LAB_MS(END_MS)));
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_TARGET_GONE);
    close(lab_listen(lab, LAB_HOST, "0.0.0.0", 8080));
}

/* @unmount: how the runtime takes its bind mount away. */
static void path_goes(Lab *lab, const char *unmount)
{
    const char *path = lab_path(lab, "netns");
    g_autofree char *source = g_strdup_printf("/proc/%d/ns/net", (int)lab_pid(lab, LAB_GUEST));
    g_autofree char *before = lab_traces(lab);

    lab_write_file(path, "");
    lab_mount_over(lab, source, path);
    LabRaw *raw = lab_raw_line(lab, NULL, "--netns=%s -p 8080:80", path);
    lab_raw_ready(raw);
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    lives_on(lab, raw);
    lab_do(lab, LAB_HOST, "%s %s", unmount, path);
    LAB_ASSERT_CALL(unlink(path));
    LAB_ASSERT(lab_trio_ended(&trio, LAB_MS(END_MS)));
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_NETNS_GONE);
    lab_traces_expect(lab, before, 0);
    lab_raw_free(raw);
}

LAB_TEST(lifecycle, removal_of_a_detached_path_is_a_wished_end)
{
    path_goes(lab, "umount --lazy");
}

LAB_TEST(lifecycle, removal_of_an_unmounted_path_is_a_wished_end)
{
    path_goes(lab, "umount");
}

LAB_TEST(lifecycle, other_files_beside_the_path_end_nothing)
{
    const char *path = lab_path(lab, "netns"), *other = lab_path(lab, "other");
    g_autofree char *source = g_strdup_printf("/proc/%d/ns/net", (int)lab_pid(lab, LAB_GUEST));

    lab_write_file(path, "");
    lab_mount_over(lab, source, path);
    LabRaw *raw = lab_raw_line(lab, NULL, "--netns=%s", path);
    lab_raw_ready(raw);
    lab_write_file(other, "");
    LAB_ASSERT_CALL(rename(other, lab_path(lab, "another")));
    LAB_ASSERT_CALL(unlink(lab_path(lab, "another")));
    lives_on(lab, raw);
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_SIGNAL);
    lab_do(lab, LAB_HOST, "umount %s", path);
}

LAB_TEST(lifecycle, helper_of_a_namespace_fd_lives_until_a_signal)
{
    LabRawSetup setup = {.fds = {lab_netns(lab, LAB_GUEST)}, .fd_count = 1};
    LabRaw *raw = lab_raw_line(lab, &setup, "--netns-fd=10 -p 8080:80");
    int pidfd = pidfd_open(lab_raw_pid(raw), 0);

    lab_raw_ready(raw);
    works(lab);
    lab_guest_end(lab, LAB_GUEST);
    lab_expect_quiet(pidfd, QUIET_MS, "the helper ended with the process");
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_SIGNAL);
}

LAB_TEST(lifecycle, helper_of_a_namespace_fd_ends_with_exit_fd_and_with_its_parent)
{
    LabRawSetup setup = {.fds = {lab_netns(lab, LAB_GUEST)}, .fd_count = 1};
    int ends[2];

    LAB_ASSERT_CALL(pipe2(ends, O_CLOEXEC));
    setup.fds[1] = ends[0];
    setup.fd_count = 2;
    LabRaw *raw = lab_raw_line(lab, &setup, "--netns-fd=10 --exit-fd=11");
    lab_raw_ready(raw);
    close(ends[1]);
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_EXIT_FD);
    setup.fd_count = 1;
    setup.behind_parent = true;
    raw = lab_raw_line(lab, &setup, "--netns-fd=10");
    lab_raw_ready(raw);
    lab_raw_parent_end(raw);
    (void)lab_raw_wait(raw, LAB_MS(END_MS));
    lab_raw_expect_reason(raw, SALLYPORT_REASON_PARENT_GONE);
}

/* ---- the interface ---- */

static void tap_goes(Lab *lab, bool report, unsigned lines_min)
{
    const LabRawSetup setup = {.no_report = !report};
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = lab_raw_line(lab, &setup, "-p 8080:80 %d", (int)lab_pid(lab, LAB_GUEST));
    unsigned lines;

    for (int64_t end = lab_now() + LAB_MS(LAB_WAIT_MS);
         !report && strstr(lab_raw_err(raw), "ready") == NULL;) {
        LAB_CHECK(lab_now() < end, "no line that says ready:\n%s", lab_raw_err(raw));
        (void)poll(NULL, 0, 5);
    }
    if (report)
        lab_raw_ready(raw);
    works(lab);
    lines = lab_raw_err_lines(raw);
    lab_do(lab, LAB_GUEST, "ip link del tap0");
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(END_MS)), 1);
    if (report)
        lab_raw_expect_reason(raw, SALLYPORT_REASON_TAP_GONE);
    else
        LAB_CHECK(strstr(lab_raw_err(raw), "tap-gone") != NULL, "%s", lab_raw_err(raw));
    lines = lab_raw_err_lines(raw) - lines;
    LAB_CHECK(lines >= lines_min && lines <= 5, "%u lines:\n%s", lines, lab_raw_err(raw));
    lab_traces_expect(lab, before, 0);
    lab_raw_free(raw);
}

LAB_TEST(lifecycle, interface_deleted_from_inside_is_an_end_of_at_most_five_lines)
{
    tap_goes(lab, false, 1);
    tap_goes(lab, true, 0);
}

LAB_TEST(lifecycle, interface_deleted_from_inside_is_one_line_on_stderr)
{
    LabRaw *raw = started(lab, NULL, "");

    lab_do(lab, LAB_GUEST, "ip link del tap0");
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(END_MS)), 1);
    LAB_CHECK(lab_raw_err_lines(raw) == 1 && strstr(lab_raw_err(raw), "tap0") != NULL,
              "wanted one line that names tap0, got: '%s'", lab_raw_err(raw));
}

LAB_TEST(lifecycle, interface_down_and_up_again_recovers)
{
    LabRaw *raw = started(lab, NULL, "");

    works(lab);
    lab_do(lab, LAB_GUEST, "ip link set tap0 down");
    int pidfd = pidfd_open(lab_raw_pid(raw), 0);
    lab_expect_quiet(pidfd, QUIET_MS, "the helper ended");
    lab_do(lab, LAB_GUEST, "ip link set tap0 up");
    /* The kernel dropped the default route with the link. */
    lab_do(lab, LAB_GUEST, "ip route add default via %s", LAB_GATEWAY_V4);
    works(lab);
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_SIGNAL);
}

/* ---- faults ---- */

static void killing_ends_all(Lab *lab, bool inside, int number, const char *reason)
{
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = started(lab, NULL, "");
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    g_autofree char *name = g_strdup_printf("SIG%s", sigabbrev_np(number));
    const char *last;

    works(lab);
    LAB_ASSERT_CALL(kill(inside ? trio.inside : trio.datapath, number));
    LAB_ASSERT(lab_trio_ended(&trio, LAB_MS(END_MS)));
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(END_MS)), 1);
    lab_raw_expect_reason(raw, reason);
    last = lab_raw_await(raw, SALLYPORT_EVENT_EXIT, 0);
    /* A sanitizer catches SIGSEGV, reports and exits. */
    LAB_CHECK(lab_record_has(last, "signal", name) ||
                  (lab_time_factor() > 1 && number == SIGSEGV && strstr(last, "status") != NULL),
              "%s", last);
    lab_traces_expect(lab, before, 0);
    lab_raw_free(raw);
}

LAB_TEST(lifecycle, killing_inside_ends_all_and_is_reported)
{
    killing_ends_all(lab, true, SIGKILL, SALLYPORT_REASON_INSIDE_DIED);
    killing_ends_all(lab, true, SIGSEGV, SALLYPORT_REASON_INSIDE_DIED);
}

LAB_TEST(lifecycle, killing_the_datapath_ends_all_and_is_reported)
{
    /* The first process of a PID namespace takes no other signal (pid_namespaces(7)); a fault of its own still ends it. */
    killing_ends_all(lab, false, SIGKILL, SALLYPORT_REASON_DATAPATH_DIED);
}

LAB_TEST(lifecycle, killing_the_supervisor_ends_the_others_within_a_second_without_a_record)
{
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = started(lab, NULL, "");
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    int64_t killed = lab_now();

    works(lab);
    LAB_ASSERT_CALL(kill(trio.supervisor, SIGKILL));
    LAB_ASSERT(lab_trio_ended(&trio, LAB_MS(END_MS)));
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(END_MS)), 128 + SIGKILL);
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_EXIT, NULL), 0);
    lab_traces_expect(lab, before, (int)MAX(0, killed + LAB_MS(END_MS) - lab_now()));
}

LAB_TEST(lifecycle, killing_a_process_during_the_start_is_a_clean_end)
{
    g_autofree char *before = lab_traces(lab);

    for (int round = 0; round < 40; round++) {
        LabRaw *raw = lab_raw_line(lab, NULL, "-p 8080:80 %d", (int)lab_pid(lab, LAB_GUEST));
        g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", (int)lab_raw_pid(raw),
                                                (int)lab_raw_pid(raw));
        pid_t children[2] = {0, 0};

        g_usleep((gulong)(round / 2) * 500);
        FILE *file = fopen(path, "re");
        int count = file == NULL ? 0 : fscanf(file, "%d %d", &children[0], &children[1]);
        if (file != NULL)
            fclose(file);
        if (count == 2)
            (void)kill(children[round % 2], SIGKILL);
        else
            (void)kill(lab_raw_pid(raw), SIGTERM);
        (void)lab_raw_wait(raw, LAB_MS(2 * END_MS));
        if (count == 2)
            LAB_CHECK(lab_raw_count(raw, SALLYPORT_EVENT_EXIT, NULL) == 1, "no exit record");
        lab_traces_expect(lab, before, LAB_MS(END_MS));
        lab_raw_free(raw);
    }
}
