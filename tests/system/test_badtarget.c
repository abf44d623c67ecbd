/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_badtarget.c - guests that are none, gone, not ours or our own: one line, one record, nothing left behind
 */
#include "config.h"

#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab_raw.h"
#include "lab_test.h"

static void refuses(Lab *lab, const LabRawSetup *setup, const char *line, const char *code,
                    const char *errno_name, const char *says, const char *says_too)
{
    const LabCause cause = {code, errno_name, {says, says_too}};
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = lab_raw_line(lab, setup, "%s", line);

    lab_raw_expect_refusal(raw, 1, &cause, 1);
    lab_traces_expect(lab, before, 0);
    lab_raw_free(raw);
}

static void refuses_option(Lab *lab, const char *line, const char *says)
{
    refuses(lab, NULL, line, SALLYPORT_CODE_OPTION, "EINVAL", says, NULL);
}

static void refuses_target(Lab *lab, const char *line, const char *errno_name, const char *says,
                           const char *says_too)
{
    refuses(lab, NULL, line, SALLYPORT_CODE_TARGET, errno_name, says, says_too);
}

/* ---- which guest ---- */

LAB_TEST(badtarget, no_guest_or_two_are_refused)
{
    g_autofree char *two = g_strdup_printf("%d %d", lab_pid(lab, LAB_GUEST), lab_pid(lab, LAB_FAR));
    g_autofree char *path = g_strdup_printf("--netns=/proc/self/ns/net %d", (int)getpid());
    g_autofree char *command = g_strdup_printf("%d -- true", (int)getpid());
    const LabCause both = {SALLYPORT_CODE_OPTION, "EINVAL", {"more than one guest"}};

    refuses_option(lab, "--mtu=1500", "no guest");
    refuses_option(lab, two, "more than one guest");
    refuses_option(lab, path, "more than one guest");
    refuses_option(lab, "--userns=/proc/self/ns/user 1", "--userns");
    LabRaw *raw = lab_raw_line(lab, NULL, "%s", command);
    lab_raw_expect_refusal(raw, 125, &both, 1);
    lab_raw_free(raw);
    const LabCause none = {SALLYPORT_CODE_OPTION, "EINVAL", {"no command"}};
    raw = lab_raw_line(lab, NULL, "--mtu=1500 --");
    lab_raw_expect_refusal(raw, 125, &none, 1);
}

LAB_TEST(badtarget, word_that_is_no_pid_is_refused)
{
    refuses_option(lab, "0", "PID");
    refuses_option(lab, "abc", "abc");
    refuses_option(lab, "12x", "12x");
    refuses_option(lab, "99999999999", "99999999999");
    refuses_option(lab, "/proc/self/ns/net", "/proc/self/ns/net");
    refuses_option(lab, "+1", "+1");
}

LAB_TEST(badtarget, minus_one_is_one_cause)
{
    refuses_option(lab, "-1", "-1");
}

/* ---- PIDs ---- */

LAB_TEST(badtarget, pid_of_nobody_is_refused)
{
    g_autofree char *line = NULL;
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    LAB_ASSERT_EQ(waitpid(child, NULL, 0), child);
    line = g_strdup_printf("%d", (int)child);
    refuses_target(lab, line, "ESRCH", line, "gone");
    refuses_target(lab, "2147483647", "ESRCH", "2147483647", "gone");
}

LAB_TEST(badtarget, pid_of_a_zombie_is_refused)
{
    g_autofree char *line = NULL;
    siginfo_t info;
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    LAB_ASSERT_CALL(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT));
    line = g_strdup_printf("%d", (int)child);
    refuses_target(lab, line, "ESRCH", line, "gone");
    LAB_ASSERT_EQ(waitpid(child, NULL, 0), child);
}

LAB_TEST(badtarget, process_in_our_own_network_namespace_is_refused)
{
    g_autofree char *line = g_strdup_printf("%d", (int)getpid());

    refuses_target(lab, line, "EINVAL", line, "our own network namespace");
}

LAB_TEST(badtarget, process_of_another_user_is_refused)
{
    g_autofree char *far = g_strdup_printf("%d", (int)lab_pid(lab, LAB_FAR));

    if (lab_is_root(lab))
        lab_skip("root may look at every process");
    refuses_target(lab, "1", "EACCES", "PID 1", "another user");
    /* The same uid, but more capabilities than ours. */
    refuses_target(lab, far, "EACCES", far, NULL);
}

/* ---- paths ---- */

LAB_TEST(badtarget, path_that_is_no_network_namespace_is_refused)
{
    const char *file = lab_path(lab, "file"), *fifo = lab_path(lab, "fifo");
    const char *directory = lab_path(lab, "directory");
    const char *paths[] = {
        file, fifo, directory, "/dev/null", "/proc/self/ns/mnt", "/proc/self/ns/user"};

    lab_write_file(file, "");
    LAB_ASSERT_CALL(mkfifo(fifo, 0600));
    LAB_ASSERT_CALL(mkdir(directory, 0700));
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        g_autofree char *line = g_strdup_printf("--netns=%s", paths[i]);

        refuses_target(lab, line, "EINVAL", paths[i], "--netns");
    }
}

LAB_TEST(badtarget, path_that_cannot_be_opened_is_refused)
{
    const char *locked = lab_path(lab, "locked");
    g_autofree char *line = g_strdup_printf("--netns=%s", locked);
    g_autofree char *userns =
        g_strdup_printf("--netns=/proc/%d/ns/net --userns=/nowhere", (int)lab_pid(lab, LAB_GUEST));

    refuses_target(lab, "--netns=/nowhere/at/all", "ENOENT", "--netns", "/nowhere/at/all");
    refuses_target(lab, userns, "ENOENT", "--userns", "/nowhere");
    lab_write_file(locked, "");
    LAB_ASSERT_CALL(chmod(locked, 0));
    if (!lab_is_root(lab))
        refuses_target(lab, line, "EACCES", "--netns", locked);
}

LAB_TEST(badtarget, path_of_our_own_network_namespace_is_refused)
{
    refuses_target(lab, "--netns=/proc/self/ns/net", "EINVAL", "--netns",
                   "our own network namespace");
}

LAB_TEST(badtarget, user_namespace_that_does_not_own_the_network_namespace_is_refused)
{
    LabPlace second = lab_guest_new(lab);
    int guest = (int)lab_pid(lab, LAB_GUEST);
    g_autofree char *own =
        g_strdup_printf("--netns=/proc/%d/ns/net --userns=/proc/self/ns/user", guest);
    g_autofree char *other = g_strdup_printf("--netns=/proc/%d/ns/net --userns=/proc/%d/ns/user",
                                             guest, (int)lab_pid(lab, second));
    g_autofree char *type =
        g_strdup_printf("--netns=/proc/%d/ns/net --userns=/proc/%d/ns/net", guest, guest);

    refuses_target(lab, own, "EINVAL", "--userns", "does not own");
    refuses_target(lab, other, "EINVAL", "--userns", "does not own");
    refuses_target(lab, type, "EINVAL", "--userns", "not a user namespace");
}

/* ---- fds ---- */

static void refuses_fds(Lab *lab, int netns, int userns, const char *errno_name, const char *says,
                        const char *says_too)
{
    LabRawSetup setup = {.fds = {netns, userns}, .fd_count = userns >= 0 ? 2 : 1};

    refuses(lab, &setup, userns >= 0 ? "--netns-fd=10 --userns-fd=11" : "--netns-fd=10",
            SALLYPORT_CODE_TARGET, errno_name, says, says_too);
}

LAB_TEST(badtarget, fd_that_is_no_namespace_of_a_sandbox_is_refused)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int guest = lab_netns(lab, LAB_GUEST);

    refuses(lab, NULL, "--netns-fd=99", SALLYPORT_CODE_OPTION, "EBADF", "--netns-fd", "99");
    refuses(lab, NULL, "--netns-fd=x", SALLYPORT_CODE_OPTION, "EINVAL", "--netns-fd", "x");
    refuses_fds(lab, null, -1, "EINVAL", "--netns-fd", "not a network namespace");
    refuses_fds(lab, lab_userns(lab, LAB_GUEST), -1, "EINVAL", "--netns-fd",
                "not a network namespace");
    refuses_fds(lab, lab_netns(lab, LAB_HOST), -1, "EINVAL", "--netns-fd",
                "our own network namespace");
    refuses_fds(lab, guest, null, "EINVAL", "--userns-fd", "not a user namespace");
    refuses_fds(lab, guest, guest, "EINVAL", "--userns-fd", "not a user namespace");
    refuses_fds(lab, guest, lab_userns(lab, LAB_HOST), "EINVAL", "--userns-fd", "does not own");
}

LAB_TEST(badtarget, network_namespace_of_a_user_namespace_above_ours_is_refused)
{
    if (lab_is_root(lab))
        lab_skip("root's user namespace has none above");
    refuses_fds(lab, lab_netns(lab, LAB_FAR), -1, "EPERM", "--netns-fd",
                "owned by a user namespace outside ours");
}

/* ---- two causes, and a sandbox of our own ---- */

LAB_TEST(badtarget, dead_pid_and_port_in_use_are_two_lines_and_two_records)
{
    const LabCause causes[] = {
        {SALLYPORT_CODE_TARGET, "ESRCH", {"2147483647"}},
        {SALLYPORT_CODE_PUBLISH, "EADDRINUSE", {"8080"}},
    };

    (void)lab_listen(lab, LAB_HOST, "127.0.0.1", 8080);
    LabRaw *raw = lab_raw_line(lab, NULL, "-p 8080:80 2147483647");
    lab_raw_expect_refusal(raw, 1, causes, 2);
}

LAB_TEST(badtarget, forbidden_user_namespaces_are_named_with_their_sysctl)
{
    const LabCause cause = {SALLYPORT_CODE_NAMESPACE, "ENOSPC", {"max_user_namespaces"}};

    lab_limit_user_namespaces(lab, 0);
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = lab_raw_line(lab, NULL, "-p 8080:80 -- touch executed");
    lab_raw_expect_refusal(raw, 125, &cause, 1);
    lab_traces_expect(lab, before, 0);
}
