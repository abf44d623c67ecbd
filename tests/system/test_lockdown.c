/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_lockdown.c - what the three processes have given up, seen from outside; and stages that the kernel refuses
 *
 * Observer: the lab's root, who may look into processes that forbid it to their own user.
 * Not here: which system calls a filter lets pass (tests/unit/test_filter.c).
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab_raw.h"
#include "lab_test.h"

static LabRaw *started(Lab *lab, const LabRawSetup *setup, const char *words)
{
    LabRaw *raw = lab_raw_line(lab, setup, "%s-p 8080:80 %d", words, (int)lab_pid(lab, LAB_GUEST));

    lab_raw_ready(raw);
    return raw;
}

/* ---- every thread ---- */

static void expect_lines(const char *status, const char *const *lines)
{
    for (size_t i = 0; lines[i] != NULL; i++) {
        unsigned count = 0;

        for (const char *at = status; (at = strstr(at, lines[i])) != NULL; at++)
            count++;
        LAB_CHECK(count > 0, "no line %s in\n%s", lines[i], status);
    }
}

/* Each line that begins with a name must be the wanted one. */
static void expect_all(const char *text, const char *name, const char *wanted)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    unsigned count = 0;

    for (size_t i = 0; lines[i] != NULL; i++) {
        if (g_str_has_prefix(lines[i], name)) {
            count++;
            LAB_CHECK(strcmp(lines[i] + strlen(name), wanted) == 0, "%s, wanted %s", lines[i],
                      wanted);
        }
    }
    LAB_CHECK(count > 0, "no %s in\n%s", name, text);
}

#define NO_CAPS "\t0000000000000000"

LAB_TEST(lockdown, each_thread_of_the_datapath_has_no_right_left)
{
    static const char *const empty[] = {"CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"};
    LabRaw *raw = started(lab, NULL, "");
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    g_autofree char *status =
        lab_says(lab, LAB_HOST, "cat /proc/%d/task/*/status", (int)trio.datapath);

    for (size_t i = 0; i < G_N_ELEMENTS(empty); i++)
        expect_all(status, empty[i], NO_CAPS);
    expect_all(status, "NoNewPrivs:", "\t1");
    expect_all(status, "Seccomp:", "\t2");
    LAB_CHECK(strstr(strstr(status, "Seccomp:") + 1, "Seccomp:") != NULL, "only one thread: %s",
              status);
}

LAB_TEST(lockdown, inside_and_supervisor_are_filtered_and_have_few_capabilities)
{
    const char *const lines[] = {"NoNewPrivs:\t1\n", "Seccomp:\t2\n", "CapInh:" NO_CAPS "\n",
                                 "CapAmb:" NO_CAPS "\n", NULL};
    LabRaw *raw = started(lab, NULL, "");
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    g_autofree char *inside =
        lab_says(lab, LAB_HOST, "cat /proc/%d/task/*/status", (int)trio.inside);
    g_autofree char *supervisor =
        lab_says(lab, LAB_HOST, "cat /proc/%d/task/*/status", (int)trio.supervisor);

    expect_lines(inside, lines);
    expect_lines(supervisor, lines);
    /* CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_NET_RAW; nothing may come back by execve(2). */
    LAB_CHECK(strstr(inside, "CapEff:\t0000000000003400\n") != NULL ||
                  strstr(inside, "CapEff:" NO_CAPS "\n") != NULL,
              "inside: %s", inside);
    expect_all(inside, "CapBnd:", NO_CAPS);
    LAB_CHECK(strstr(supervisor, "CapEff:\t0000000000000404\n") != NULL ||
                  strstr(supervisor, "CapEff:" NO_CAPS "\n") != NULL,
              "supervisor: %s", supervisor);
}

/* ---- namespaces, root, fds ---- */

LAB_TEST(lockdown, datapath_stands_in_namespaces_of_its_own)
{
    static const char *const own[] = {"user", "mnt", "pid", "ipc", "uts", "cgroup"};
    LabRaw *raw = started(lab, NULL, "");
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    int others[] = {trio.supervisor, trio.inside, lab_pid(lab, LAB_GUEST), getpid()};

    for (size_t i = 0; i < G_N_ELEMENTS(own); i++) {
        g_autofree char *datapath =
            lab_says(lab, LAB_HOST, "readlink /proc/%d/ns/%s", (int)trio.datapath, own[i]);

        for (size_t at = 0; at < G_N_ELEMENTS(others); at++) {
            g_autofree char *other =
                lab_says(lab, LAB_HOST, "readlink /proc/%d/ns/%s", others[at], own[i]);

            LAB_CHECK(strcmp(datapath, other) != 0, "%s of process %d too", other, others[at]);
        }
    }
    g_autofree char *net = lab_says(lab, LAB_HOST, "readlink /proc/%d/ns/net", (int)trio.datapath);
    g_autofree char *host =
        lab_says(lab, LAB_HOST, "readlink /proc/%d/ns/net", (int)trio.supervisor);
    LAB_CHECK(strcmp(net, host) == 0, "%s, but the host has %s", net, host);
}

LAB_TEST(lockdown, datapath_sees_an_empty_read_only_root)
{
    LabRaw *raw = started(lab, NULL, "");
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    g_autofree char *root = lab_says(lab, LAB_HOST, "ls -A /proc/%d/root/ /proc/%d/cwd/",
                                     (int)trio.datapath, (int)trio.datapath);
    g_autofree char *mounts = lab_says(lab, LAB_HOST, "cat /proc/%d/mounts", (int)trio.datapath);
    g_autofree char *bare = g_strdup_printf("/proc/%d/cwd/:\n\n/proc/%d/root/:", (int)trio.datapath,
                                            (int)trio.datapath);

    LAB_CHECK(strcmp(root, bare) == 0, "not empty: %s", root);
    LAB_CHECK(strchr(mounts, '\n') == NULL && strstr(mounts, " / tmpfs ro,") != NULL, "mounts:\n%s",
              mounts);
}

LAB_TEST(lockdown, no_inherited_fd_reaches_any_process)
{
    const LabRawSetup setup = {.leaks = true};
    int pair[2], ends[2], kinds[4];
    LabRaw *raw;
    LabTrio trio;

    if (geteuid() != 0)
        lab_skip("not in this mode: fds of what is not dumpable are for the machine's root");
    LAB_ASSERT_CALL(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    LAB_ASSERT_CALL(pipe(ends));
    kinds[0] = pair[0];
    kinds[1] = ends[1];
    kinds[2] = STDERR_FILENO;
    kinds[3] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    LAB_ASSERT_CALL(kinds[3]);
    /* Numbers far away, so that they cannot be mistaken, and without CLOEXEC. */
    for (int i = 0; i < 50; i++)
        LAB_ASSERT_CALL(fcntl(kinds[i % 4], F_DUPFD, LAB_RAW_LEAK_FD));
    raw = started(lab, &setup, "");
    trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    g_autofree char *datapath = lab_says(lab, LAB_HOST, "ls -l /proc/%d/fd", (int)trio.datapath);
    g_autofree char *inside = lab_says(lab, LAB_HOST, "ls -l /proc/%d/fd", (int)trio.inside);
    g_autofree char *all = lab_says(lab, LAB_HOST, "ls /proc/%d/fd /proc/%d/fd /proc/%d/fd",
                                    (int)trio.supervisor, (int)trio.inside, (int)trio.datapath);
    g_auto(GStrv) numbers = g_strsplit(all, "\n", -1);

    for (size_t i = 0; numbers[i] != NULL; i++)
        LAB_CHECK(atoi(numbers[i]) < LAB_RAW_LEAK_FD, "fd %s is inherited", numbers[i]);
    LAB_CHECK(strstr(datapath, "pipe:") == NULL, "a pipe:\n%s", datapath);
    LAB_CHECK(strstr(inside, "pipe:") == NULL, "a pipe:\n%s", inside);
    /* Of files: the TAP, /dev/null, and the sysctl that inside sets back at its end. */
    LAB_CHECK(strstr(datapath, "/proc/") == NULL && strstr(datapath, "/tmp/") == NULL,
              "a file:\n%s", datapath);
    LAB_CHECK(strstr(inside, "/dev/net/tun") == NULL, "the TAP is still inside's:\n%s", inside);
}

/* ---- being attached to ---- */

typedef struct Victim {
    pid_t pid;
} Victim;

/* Exit status 0 if every way in is refused. */
static int attack(const void *argument, size_t length)
{
    const Victim *victim = argument;
    char byte, path[64];
    struct iovec here = {&byte, 1}, there = {(void *)(uintptr_t)0x400000, 1};
    int fd;

    (void)length;
    if (ptrace(PTRACE_ATTACH, victim->pid, NULL, NULL) == 0 || errno != EPERM)
        return 10;
    if (process_vm_readv(victim->pid, &here, 1, &there, 1, 0) >= 0 || errno != EPERM)
        return 11;
    snprintf(path, sizeof path, "/proc/%d/mem", (int)victim->pid);
    fd = open(path, O_RDWR);
    if (fd >= 0 || (errno != EACCES && errno != EPERM))
        return 12;
    return 0;
}

LAB_TEST(lockdown, nobody_of_the_same_user_can_attach)
{
    LabRaw *raw = started(lab, NULL, "");
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    const Victim victims[] = {{trio.supervisor}, {trio.inside}, {trio.datapath}};

    for (size_t i = 0; i < G_N_ELEMENTS(victims); i++) {
        /* The guest's root, who shares the PID namespace. */
        int status = lab_run(lab, LAB_GUEST, attack, &victims[i], sizeof victims[i]);

        LAB_CHECK(status == 0, "the guest's root got into process %zu: %d", i, status);
        if (geteuid() != 0) {
            status = attack(&victims[i], sizeof victims[i]);
            LAB_CHECK(status == 0, "its own user got into process %zu: %d", i, status);
        }
    }
}

/* The limit is what is left of it after this test's parents; the helper, which inherits it, must not need it. */
static void allow_cores(void)
{
    struct rlimit limit;

    LAB_ASSERT_CALL(getrlimit(RLIMIT_CORE, &limit));
    limit.rlim_cur = limit.rlim_max;
    LAB_ASSERT_CALL(setrlimit(RLIMIT_CORE, &limit));
    if (limit.rlim_cur == 0)
        lab_cannot("the hard limit of core files is 0");
}

LAB_TEST(lockdown, a_crash_leaves_no_core_and_is_told)
{
    LabRaw *raw;
    LabTrio trio;

    allow_cores();
    raw = started(lab, NULL, "");
    trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);

    lab_do(lab, LAB_HOST, "kill -SEGV %d", (int)trio.inside);
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(2000)), 1);
    /* A sanitizer catches it, reports and exits. */
    LAB_CHECK(lab_time_factor() > 1 ||
                  lab_record_has(lab_raw_await(raw, SALLYPORT_EVENT_EXIT, 0), "signal", "SIGSEGV"),
              "the exit record does not name it");
    g_autofree char *core =
        lab_says(lab, LAB_HOST, "ls %s | grep -c '^core' || true", lab_directory(lab));
    LAB_CHECK(strcmp(core, "0") == 0, "%s core files", core);
}

/* ---- stages that the kernel refuses ---- */

/* From now on that call of ours and of all we start fails; @mask: of the first argument, 0 for any. */
static void refuse(long call, unsigned mask, int errnum)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, mask, 0, mask == 0 ? 0 : 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)errnum),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {G_N_ELEMENTS(code), code};

    LAB_ASSERT_CALL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    LAB_ASSERT_CALL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

/* Each process that the kernel refuses it to may say so. @errno_name: NULL: none, for the kernel has said that all is well */
static void refused(Lab *lab, const char *errno_name, const char *stage)
{
    LabRaw *raw = lab_raw_line(lab, NULL, "%d", (int)lab_pid(lab, LAB_GUEST));
    unsigned errors = 0;

    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(3000)), 1);
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_READY, NULL), 0);
    for (unsigned i = 0; lab_raw_record(raw, i) != NULL; i++) {
        const char *json = lab_raw_record(raw, i);
        g_autofree char *message = lab_record_value(json, "message");

        if (lab_record_has(json, "event", SALLYPORT_EVENT_ERROR)) {
            errors++;
            LAB_CHECK(lab_record_has(json, "code", SALLYPORT_CODE_LOCKDOWN) &&
                          (errno_name == NULL || lab_record_has(json, "errno", errno_name)) &&
                          g_str_has_prefix(message, stage),
                      "%s", json);
        }
    }
    LAB_CHECK(errors > 0 && errors <= 3, "%u error records", errors);
    lab_raw_expect_reason(raw, SALLYPORT_REASON_START_FAILED);
}

LAB_TEST(lockdown, no_namespaces_no_start)
{
    refuse(SYS_clone, CLONE_NEWUSER, EPERM);
    refused(lab, "EPERM", "namespaces: ");
}

LAB_TEST(lockdown, no_mount_no_start)
{
    refuse(SYS_mount, 0, EPERM);
    refused(lab, "EPERM", "empty root: ");
}

LAB_TEST(lockdown, no_pivot_root_no_start)
{
    refuse(SYS_pivot_root, 0, ENOSYS);
    refused(lab, "ENOSYS", "empty root: pivot_root");
}

LAB_TEST(lockdown, landlock_refused_no_start)
{
    refuse(446, 0, EPERM); /* landlock_restrict_self */
    refused(lab, "EPERM", "landlock: ");
}

LAB_TEST(lockdown, landlock_refusing_what_the_proof_reads_no_start)
{
    refuse(445, 0, EPERM); /* landlock_add_rule */
    refused(lab, "EPERM", "landlock: add_rule");
}

LAB_TEST(lockdown, no_seccomp_no_start)
{
    refuse(SYS_seccomp, 0, ENOSYS);
    refused(lab, "ENOSYS", "seccomp: ");
}

LAB_TEST(lockdown, no_capset_no_start)
{
    refuse(SYS_capset, 0, EPERM);
    refused(lab, "EPERM", "capabilities: ");
}

/* ---- stages that do nothing, and say that they did: SECCOMP_RET_ERRNO with 0 ---- */

LAB_TEST(lockdown, capabilities_that_were_not_dropped_are_seen)
{
    refuse(SYS_capset, 0, 0);
    refused(lab, NULL, "proof: Cap");
}

LAB_TEST(lockdown, a_filter_that_was_not_loaded_is_seen)
{
    refuse(SYS_seccomp, 0, 0);
    refused(lab, NULL, "proof: Seccomp");
}

LAB_TEST(lockdown, an_old_root_that_was_not_taken_off_is_seen)
{
    refuse(SYS_umount2, 0, 0);
    refused(lab, NULL, "empty root: the old one");
}

LAB_TEST(lockdown, a_root_that_was_not_changed_is_seen)
{
    refuse(SYS_pivot_root, 0, 0);
    refused(lab, NULL, "empty root: it ");
}

LAB_TEST(lockdown, a_kernel_without_landlock_is_told_and_is_no_error)
{
    LabRaw *raw;
    g_autofree char *locked = NULL;

    refuse(444, 0, ENOSYS); /* landlock_create_ruleset */
    raw = started(lab, NULL, "");
    locked = lab_record_value(lab_raw_await(raw, SALLYPORT_EVENT_READY, 0), "locked_down");
    LAB_CHECK(strstr(locked, "\"absent\":[\"landlock\",\"landlock-scope\"]") != NULL, "%s", locked);
}

LAB_TEST(lockdown, the_ready_record_tells_of_insecure_no_lockdown)
{
    LabRaw *raw = started(lab, NULL, "--insecure-no-lockdown ");
    g_autofree char *locked =
        lab_record_value(lab_raw_await(raw, SALLYPORT_EVENT_READY, 0), "locked_down");

    LAB_CHECK(strstr(locked, "\"insecure\":true") != NULL && strstr(locked, "seccomp") == NULL,
              "%s", locked);
}

/* ---- what is rarely called, and must not be the end ---- */

/* glibc looks a scope up by a socket of AF_UNIX. */
LAB_TEST(lockdown, name_servers_with_a_scope_are_read_at_start_and_later)
{
    const char *path = lab_path(lab, "resolv.conf");
    g_autofree char *option = g_strdup_printf("--resolv-conf=%s ", path);
    LabRaw *raw;

    lab_write_file(path,
                   "nameserver ::1%lo\nnameserver fe80::1%1\nnameserver fe80::1%nosuchlink\n");
    raw = started(lab, NULL, option);
    lab_replace_file(path, "nameserver fe80::2%lo\n");
    (void)poll(NULL, 0, 200);
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_SIGNAL);
}

/* GLib's own log writer looks for a terminal, the journal and the time zone. */
LAB_TEST(lockdown, a_warning_of_glibs_is_written_and_is_not_the_end)
{
    const char *path = lab_path(lab, "resolv.conf");
    g_autofree char *option = g_strdup_printf("--resolv-conf=%s ", path);
    LabRaw *raw;

    lab_write_file(path, "nameserver 192.0.2.1\n");
    refuse(SYS_inotify_add_watch, 0, ENOSPC);
    raw = started(lab, NULL, option);
    LAB_CHECK(strstr(lab_raw_err(raw), "No space left") != NULL, "%s", lab_raw_err(raw));
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(2000)), 0);
}
