/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_surroundings.c - what parents, terminals and hosts do to a helper
 *
 * Does:     inherited signal dispositions and limits, links to /proc, fds that cannot do what they are given for, a host whose
 *           addresses change while the datapath stands still.
 * Runs in:  the lab.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lab_raw.h"
#include "lab_test.h"

static LabRaw *shell(Lab *lab, const char *script)
{
    const char *words[] = {"--", "sh", "-c", script, NULL};

    return lab_raw_start(lab, NULL, words);
}

static LabRaw *started(Lab *lab, const LabRawSetup *setup, const char *words)
{
    LabRaw *raw = lab_raw_line(lab, setup, "%s%d", words, (int)lab_pid(lab, LAB_GUEST));

    lab_raw_ready(raw);
    return raw;
}

LAB_TEST(surroundings, ignored_sigchld_of_the_parent_does_not_lose_the_exit_status)
{
    void (*before)(int) = signal(SIGCHLD, SIG_IGN);
    LabRaw *raw = shell(lab, "exit 7");

    (void)signal(SIGCHLD, before);
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(5000)), 7);
}

LAB_TEST(surroundings, quit_typed_at_the_terminal_is_the_commands_to_take)
{
    LabRaw *raw = shell(lab, "trap 'echo caught' QUIT; echo up; while :; do sleep 0.1; done");

    lab_raw_await_out(raw, "up");
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGQUIT));
    lab_raw_await_out(raw, "caught");
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(5000)), 128 + SIGTERM);
}

LAB_TEST(surroundings, quit_ends_a_helper_without_a_command)
{
    LabRaw *raw = started(lab, NULL, "");

    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGQUIT));
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_SIGNAL);
}

LAB_TEST(surroundings, command_keeps_the_limit_of_open_files)
{
    struct rlimit limit;
    LabRaw *raw;

    LAB_ASSERT_CALL(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = 512;
    LAB_ASSERT_CALL(setrlimit(RLIMIT_NOFILE, &limit));
    raw = shell(lab, "ulimit -Sn");
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(5000)), 0);
    LAB_CHECK(strcmp(lab_raw_out(raw), "512\n") == 0, "got %s", lab_raw_out(raw));
}

LAB_TEST(surroundings, signal_before_ready_ends_the_start_and_the_command_never_runs)
{
    for (unsigned i = 0; i < 20; i++) {
        LabRaw *raw = shell(lab, "echo ran; exec sleep 100");
        int status;

        (void)poll(NULL, 0, (int)i / 2);
        LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
        status = lab_raw_wait(raw, LAB_MS(5000));
        if (lab_raw_count(raw, SALLYPORT_EVENT_READY, NULL) == 0)
            LAB_CHECK(lab_raw_out(raw)[0] == '\0', "it ran, status %d", status);
        else
            LAB_CHECK(status == 128 + SIGTERM, "status %d", status);
        lab_raw_free(raw);
    }
}

static void path_of_proc_ends_with_its_process(Lab *lab, const char *target, bool by_link)
{
    g_autofree char *link = g_strdup(lab_path(lab, "link"));
    LabRaw *raw;

    if (by_link)
        LAB_ASSERT_CALL(symlink(target, link));
    raw = lab_raw_line(lab, NULL, "--netns %s", by_link ? link : target);
    lab_raw_ready(raw);
    lab_guest_end(lab, LAB_GUEST);
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(3000)), 0);
    lab_raw_expect_reason(raw, SALLYPORT_REASON_TARGET_GONE);
}

LAB_TEST(surroundings, path_of_procfs_ends_with_its_process)
{
    g_autofree char *target = g_strdup_printf("/proc/%d/ns/net", (int)lab_pid(lab, LAB_GUEST));

    path_of_proc_ends_with_its_process(lab, target, false);
}

LAB_TEST(surroundings, link_to_a_path_of_procfs_ends_with_its_process)
{
    g_autofree char *target = g_strdup_printf("/proc/%d/ns/net", (int)lab_pid(lab, LAB_GUEST));

    path_of_proc_ends_with_its_process(lab, target, true);
}

LAB_TEST(surroundings, path_of_a_task_ends_with_its_process)
{
    int pid = (int)lab_pid(lab, LAB_GUEST);
    g_autofree char *target = g_strdup_printf("/proc/%d/task/%d/ns/net", pid, pid);

    path_of_proc_ends_with_its_process(lab, target, false);
}

LAB_TEST(surroundings, exit_fd_that_can_never_hang_up_is_refused)
{
    LabRawSetup setup = {.fds = {open("/dev/null", O_RDONLY)}, .fd_count = 1};
    const LabCause cause = {SALLYPORT_CODE_OPTION, "EINVAL", {"--exit-fd", "hang up"}};
    LabRaw *raw =
        lab_raw_line(lab, &setup, "--exit-fd=%d %d", LAB_RAW_FD, (int)lab_pid(lab, LAB_GUEST));

    lab_raw_expect_refusal(raw, 1, &cause, 1);
}

LAB_TEST(surroundings, full_ready_fd_does_not_hold_the_helper)
{
    int ends[2];
    static const char page[4096];
    LabRawSetup setup = {.fd_count = 1};
    LabRaw *raw;

    LAB_ASSERT_CALL(pipe2(ends, O_CLOEXEC));
    LAB_ASSERT_CALL(fcntl(ends[1], F_SETPIPE_SZ, 4096));
    LAB_ASSERT_EQ(write(ends[1], page, sizeof page), (ssize_t)sizeof page);
    setup.fds[0] = ends[1];
    raw = lab_raw_line(lab, &setup, "--ready-fd=%d %d", LAB_RAW_FD, (int)lab_pid(lab, LAB_GUEST));
    lab_raw_ready(raw);
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(2000)), 0);
}

LAB_TEST(surroundings, addresses_that_change_while_the_datapath_stands_still_end_nothing)
{
    LabRaw *raw = started(lab, NULL, "");
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);

    LAB_ASSERT_CALL(kill(trio.datapath, SIGSTOP));
    LAB_ASSERT_EQ(
        lab_exec(lab, LAB_HOST, NULL, "sh", "-ec",
                 "for i in $(seq 300); do ip address add 192.0.2.99/32 dev lo; "
                 "ip address del 192.0.2.99/32 dev lo; done; ip address add 192.0.2.98/32 dev lo",
                 NULL),
        0);
    LAB_ASSERT_CALL(kill(trio.datapath, SIGCONT));
    /* The last list has come through: the new address is the host's own, and refused. */
    (void)lab_listen(lab, LAB_HOST, "192.0.2.98", 8099);
    for (unsigned i = 0; i < 50; i++) {
        int fd = lab_connect(lab, LAB_GUEST, "192.0.2.98", 8099, LAB_MS(1000));

        if (fd < 0 && errno == ECONNREFUSED)
            break;
        LAB_CHECK(i < 49, "the new address is still reached");
        close(fd);
        (void)poll(NULL, 0, 20);
    }
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_SIGNAL);
}

LAB_TEST(surroundings, host_with_thousands_of_addresses_is_ready_all_the_same)
{
    LabRaw *raw;

    LAB_ASSERT_EQ(
        lab_exec(
            lab, LAB_HOST, NULL, "sh", "-ec",
            "for i in $(seq 0 47); do for j in $(seq 1 250); do echo address add 198.19.$i.$j/32 "
            "dev lo; "
            "done; done | ip -batch -",
            NULL),
        0);
    raw = started(lab, NULL, "");
    LAB_ASSERT_EQ(lab_connect(lab, LAB_GUEST, "198.19.47.250", 1, LAB_MS(1000)), -1);
    LAB_ASSERT_EQ(errno, ECONNREFUSED);
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_SIGNAL);
}
