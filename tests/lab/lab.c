/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab.c - build a lab, run a body in it, leave nothing behind
 *
 * Runs in:  the test program (lab_try), the warden (warden_*), the runtime (runtime_main and what a body calls).
 * Owns:     the warden owns every process of the lab: it is their reaper (PR_SET_CHILD_SUBREAPER), so even one whose
 *           parent died becomes its child, and it kills its own children only. All die with their parent; the warden
 *           itself gets SIGTERM when the test program dies, and clears up.
 * Why fork: Criterion's worker has two threads, and unshare(CLONE_NEWUSER) fails in a process with threads.
 */
#include "config.h"

#include "lab_internal.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

Lab *lab_current;
int lab_verdict_fd = -1;
void (*lab_on_failure)(void);
void (*lab_on_end)(void);

/* Exit statuses of the warden besides the runtime's own. */
#define WARDEN_NO_LAB  78
#define WARDEN_TIMEOUT 79

#ifndef __has_feature
#define __has_feature(name) 0
#endif

int lab_time_factor(void)
{
    const char *text = g_getenv("LAB_TIME_FACTOR");
    gint64 factor = text != NULL ? g_ascii_strtoll(text, NULL, 10) : 0;

    if (factor >= 1 && factor <= 100)
        return (int)factor;
#if defined(__SANITIZE_ADDRESS__) || defined(LAB_SANITIZED) || __has_feature(address_sanitizer)
    return 5;
#else
    return 1;
#endif
}

int64_t lab_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void verdict_write(const char *text)
{
    if (lab_verdict_fd >= 0)
        (void)!write(lab_verdict_fd, text, strlen(text));
}

void lab_fail(const char *file, int line, const char *format, ...)
{
    g_autofree char *reason = NULL, *text = NULL;
    va_list values;

    va_start(values, format);
    reason = g_strdup_vprintf(format, values);
    va_end(values);
    text = g_strdup_printf("%s:%d: %s", file, line, reason);
    fprintf(stderr, "%s\n", text);
    verdict_write(text);
    if (lab_current != NULL && lab_on_failure != NULL)
        lab_on_failure();
    fflush(NULL);
    _exit(LAB_STATUS_FAILED);
}

void lab_skip(const char *format, ...)
{
    g_autofree char *reason = NULL;
    g_autofree char *text = NULL;
    va_list values;

    va_start(values, format);
    reason = g_strdup_vprintf(format, values);
    va_end(values);
    /* tests/run-tap knows these words: such a skip is no failure even where every test must work. */
    text = g_strdup_printf("not in this mode: %s", reason);
    verdict_write(text);
    fflush(NULL);
    _exit(LAB_STATUS_SKIPPED);
}

void lab_cannot(const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list values;

    va_start(values, format);
    text = g_strdup_vprintf(format, values);
    va_end(values);
    verdict_write(text);
    fflush(NULL);
    _exit(WARDEN_NO_LAB);
}

/* Of the set-up, in any process of the lab. */
static void no_lab(const char *what)
{
    lab_cannot("cannot build a lab here: %s: %s", what, strerror(errno));
}

bool lab_is_root(const Lab *lab)
{
    return lab->root;
}

const char *lab_directory(const Lab *lab)
{
    return lab->directory;
}

const char *lab_path(Lab *lab, const char *name)
{
    char *path = g_build_filename(lab->directory, name, NULL);

    g_ptr_array_add(lab->paths, path);
    return path;
}

void lab_write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    LAB_CHECK(file != NULL, "%s: %s", path, strerror(errno));
    LAB_CHECK(fputs(text, file) >= 0 && fclose(file) == 0, "%s: %s", path, strerror(errno));
}

void lab_replace_file(const char *path, const char *text)
{
    g_autofree char *fresh = g_strconcat(path, ".new", NULL);

    lab_write_file(fresh, text);
    LAB_ASSERT_CALL(rename(fresh, path));
}

/* ---- the runtime ---- */

static void runtime_main(Lab *lab, LabMap map, int sync, LabBody body)
{
    const char *failed = lab_unshare_mapped(0, map, sync);

    close(sync);
    if (failed != NULL)
        no_lab(failed);
    lab_current = lab;
    failed = lab_keeper_start(lab, LAB_STEWARD, 0, LAB_MAP_NONE);
    if (failed == NULL && !lab->root)
        failed = lab_drop_capabilities();
    if (failed == NULL)
        failed = lab_keeper_start(lab, LAB_RUNTIME, 0, LAB_MAP_NONE);
    if (failed != NULL)
        no_lab(failed);
    if (lab_guest_new(lab) != LAB_GUEST)
        no_lab("a guest");
    body(lab);
    if (lab_on_end != NULL)
        lab_on_end();
    fflush(NULL);
    _exit(0);
}

/* ---- the warden ---- */

/* Kills the warden's children until there are none: orphans of the lab become its children one after the other. */
static void warden_clear(void)
{
    char path[64];
    int64_t end = lab_now() + LAB_MS(LAB_WAIT_MS);

    g_snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    while (lab_now() < end) {
        g_autofree char *text = NULL;
        g_auto(GStrv) pids = NULL;

        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
            return;
        if (g_file_get_contents(path, &text, NULL, NULL)) {
            pids = g_strsplit(text, " ", -1);
            for (size_t i = 0; pids[i] != NULL && pids[i][0] != '\0'; i++)
                (void)kill((pid_t)g_ascii_strtoll(pids[i], NULL, 10), SIGKILL);
        }
        (void)waitpid(-1, NULL, 0);
    }
}

static void warden_private_mounts(const Lab *lab)
{
    g_autofree char *resolver = g_build_filename(lab->directory, "etc-resolv.conf", NULL);
    FILE *file;

    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        no_lab("private mounts");
    if (mount("lab", lab->directory, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") < 0)
        no_lab("a tmpfs");
    file = fopen(resolver, "we");
    if (file == NULL || fputs("nameserver " LAB_FAR_V4 "\n", file) < 0 || fclose(file) != 0)
        no_lab(resolver);
    /* Nothing of the machine's may be asked; where there is no such file, there is nothing to hide. */
    if (mount(resolver, "/etc/resolv.conf", NULL, MS_BIND, NULL) < 0 && errno != ENOENT)
        no_lab("a resolv.conf of our own");
}

/* Root's lab asked to be a user's: down to LAB_USER, for good. */
static void warden_step_down(void)
{
    if (setgroups(0, NULL) < 0 || setresgid(LAB_USER, LAB_USER, LAB_USER) < 0 ||
        setresuid(LAB_USER, LAB_USER, LAB_USER) < 0)
        no_lab("uid 1000");
    /* A change of uid makes /proc/self/uid_map root's. */
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0)
        no_lab("PR_SET_DUMPABLE");
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0); /* cleared by the change */
}

static void warden_check_tun(const Lab *lab)
{
    struct stat status;

    if (lab->options.without_tun)
        return;
    if (stat("/dev/net/tun", &status) < 0)
        no_lab("/dev/net/tun");
    if (geteuid() == 0 && (status.st_mode & 0666) != 0666 && chmod("/dev/net/tun", 0666) == 0)
        fprintf(stderr, "lab: /dev/net/tun had mode %04o; it has 0666 now\n",
                status.st_mode & 07777U);
}

/* Waits for the runtime, the time limit or the death of the test program. Return: exit status */
static int warden_wait(pid_t runtime, int signals, int limit_ms)
{
    struct pollfd polls[2] = {{.fd = pidfd_open(runtime, 0), .events = POLLIN},
                              {.fd = signals, .events = POLLIN}};
    siginfo_t info = {.si_pid = 0};
    int64_t end = lab_now() + limit_ms;

    for (;;) {
        int64_t left = end - lab_now();
        int ready = poll(polls, 2, (int)MAX(0, left));

        if (ready < 0 && errno == EINTR)
            continue;
        if (polls[0].revents == 0)
            return WARDEN_TIMEOUT;
        (void)waitid(P_PID, (id_t)runtime, &info, WEXITED);
        return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    }
}

static int warden_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

static void warden_main(Lab *lab, bool step_down, LabBody body)
{
    int signals = warden_signals(), sync[2];
    LabMap map = lab->root ? LAB_MAP_NONE : LAB_MAP_USER;
    const char *failed = NULL;
    pid_t runtime;

    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    (void)fcntl(lab_verdict_fd, F_SETFD, FD_CLOEXEC);
    warden_check_tun(lab);
    if (step_down)
        warden_step_down();
    if (!lab->options.without_tun && access("/dev/net/tun", R_OK | W_OK) < 0)
        no_lab("/dev/net/tun");
    if (!lab->root && (failed = lab_map_self()) != NULL)
        no_lab(failed);
    if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
        no_lab("network and mount namespaces");
    warden_private_mounts(lab);
    if ((failed = lab_keeper_start(lab, LAB_HOST, 0, LAB_MAP_NONE)) != NULL ||
        (failed = lab_keeper_start(lab, LAB_FAR, CLONE_NEWNET, LAB_MAP_NONE)) != NULL ||
        (failed = lab_network_build(lab)) != NULL)
        no_lab(failed);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sync) < 0)
        no_lab("socketpair");
    runtime = lab_fork(SIGKILL, -2);
    if (runtime == 0) {
        close(signals);
        close(sync[0]);
        runtime_main(lab, map, sync[1], body);
    }
    close(sync[1]);
    if (runtime < 0 || (failed = lab_map_child(runtime, map, sync[0])) != NULL)
        no_lab(failed != NULL ? failed : "fork");
    int limit_ms = lab->options.limit_ms != 0 ? lab->options.limit_ms : LAB_BODY_MS;
    int status = warden_wait(runtime, signals, LAB_MS(limit_ms));
    if (status == WARDEN_TIMEOUT)
        verdict_write("the body took too long");
    warden_clear();
    _exit(status);
}

/* ---- the test program ---- */

static void read_verdict(int fd, char *text, size_t size)
{
    ssize_t length = read(fd, text, size - 1);

    text[MAX(length, 0)] = '\0';
}

LabVerdict lab_try(const LabOptions *options, LabBody body, char *text, size_t size)
{
    const char *mode = g_getenv("LAB_MODE"), *must_work = g_getenv("MUST_WORK");
    bool user = geteuid() != 0 || g_strcmp0(mode, "user") == 0;
    Lab lab = {.root = !user};
    int verdict[2], status = 0;
    pid_t warden;

    if (options != NULL)
        lab.options = *options;
    text[0] = '\0';
    if (g_strcmp0(mode, "root") == 0 && user) {
        g_snprintf(text, size, "LAB_MODE=root needs root");
        return LAB_SKIPPED;
    }
    if (user && lab.options.guest_userns_initial) {
        g_snprintf(text, size,
                   "not in this mode: a guest of the initial user namespace needs LAB_MODE=root");
        return LAB_SKIPPED;
    }
    g_snprintf(lab.directory, sizeof lab.directory, "/tmp/lab-XXXXXX");
    if (mkdtemp(lab.directory) == NULL || pipe2(verdict, O_CLOEXEC) < 0) {
        g_snprintf(text, size, "%s: %s", lab.directory, strerror(errno));
        return LAB_FAILED;
    }
    (void)chmod(lab.directory, 0755);
    lab.paths = g_ptr_array_new_with_free_func(g_free);
    warden = lab_fork(SIGTERM, verdict[1]);
    if (warden == 0) {
        lab_verdict_fd = verdict[1];
        warden_main(&lab, user && geteuid() == 0, body);
    }
    close(verdict[1]);
    (void)waitpid(warden, &status, 0);
    read_verdict(verdict[0], text, size);
    close(verdict[0]);
    (void)rmdir(lab.directory);
    g_ptr_array_unref(lab.paths);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return LAB_PASSED;
    if (WIFEXITED(status) &&
        (WEXITSTATUS(status) == LAB_STATUS_SKIPPED || WEXITSTATUS(status) == WARDEN_NO_LAB)) {
        return g_strcmp0(must_work, "1") == 0 && WEXITSTATUS(status) == WARDEN_NO_LAB ? LAB_FAILED
                                                                                      : LAB_SKIPPED;
    }
    if (text[0] == '\0')
        g_snprintf(text, size, "the body ended with wait status 0x%x", (unsigned)status);
    return LAB_FAILED;
}
