/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_target.c - getting hold of a guest's namespaces, and noticing that they are gone
 *
 * Does:     everything that is no guest, and guests that a child makes with unshare(2) where users may do that.
 * Not here: namespaces of other users, bind mounts (tests/system).
 */
#include "config.h"

#include "guest/target.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fault.h"
#include "loopfixture.h"
#include "sallyport.h"

static GuestSettings settings_of(GuestKind kind)
{
    return (GuestSettings){.kind = kind, .netns_fd = -1, .userns_fd = -1};
}

/* target_open() fails with exactly @text, and leaves no fd. */
static void expect_refused(const GuestSettings *guest, pid_t command_pid, int errnum,
                           const char *text)
{
    g_autoptr(GError) error = NULL;
    size_t before = count_fds();
    Target *target = target_open(guest, command_pid, &error);

    cr_assert_null(target, "%s", text);
    cr_assert_not_null(error);
    cr_expect_str_eq(error->message, text, "'%s' instead of '%s'", error->message, text);
    cr_expect_eq(fault_kind(error), FAULT_TARGET);
    cr_expect_eq(fault_errno(error), errnum, "%s: errno %d", text, fault_errno(error));
    cr_expect_eq(count_fds(), before, "%s", text);
}

static void expect_path_refused(const char *path, int errnum, const char *cause)
{
    GuestSettings guest = settings_of(GUEST_NETNS_PATH);
    g_autofree char *copy = g_strdup(path);
    g_autofree char *text = g_strdup_printf("--netns %s: %s", path, cause);

    guest.netns_path = copy;
    expect_refused(&guest, 0, errnum, text);
}

Test(target, paths_that_are_no_network_namespace_are_refused)
{
    expect_path_refused("/dev/null", EINVAL, "not a network namespace");
    expect_path_refused("/proc/self/status", EINVAL, "not a network namespace");
    expect_path_refused("/", EINVAL, "not a network namespace");
    expect_path_refused("/proc/self/ns/user", EINVAL, "not a network namespace");
    expect_path_refused("/proc/self/ns/mnt", EINVAL, "not a network namespace");
    expect_path_refused("/nonexistent/netns", ENOENT, "No such file or directory");
}

Test(target, own_network_namespace_is_refused_however_it_is_named)
{
    GuestSettings guest = settings_of(GUEST_PID);
    g_autofree char *text = NULL;

    expect_path_refused("/proc/self/ns/net", EINVAL,
                        "this is our own network namespace, not a sandbox's");
    guest.pid = getpid();
    text = g_strdup_printf("PID %d: this is our own network namespace, not a sandbox's",
                           (int)getpid());
    expect_refused(&guest, 0, EINVAL, text);
    guest = settings_of(GUEST_COMMAND);
    expect_refused(&guest, getpid(), EINVAL, text);
}

Test(target, fifo_neither_hangs_nor_passes)
{
    g_autofree char *dir = g_dir_make_tmp("sallyport-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "fifo", NULL);
    gint64 began = g_get_monotonic_time();

    cr_assert_eq(mkfifo(path, 0600), 0);
    expect_path_refused(path, EINVAL, "not a network namespace");
    cr_expect_lt(g_get_monotonic_time() - began, 2000000);
    (void)unlink(path);
    (void)rmdir(dir);
}

Test(target, fds_that_are_no_namespace_are_refused_and_stay_the_callers)
{
    GuestSettings guest = settings_of(GUEST_NETNS_FD);
    int file = memfd_create("none", MFD_CLOEXEC);
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    g_autofree char *text = g_strdup_printf("--netns-fd %d: not a network namespace", file);
    g_autofree char *own_text =
        g_strdup_printf("--netns-fd %d: this is our own network namespace, not a sandbox's", own);

    guest.netns_fd = file;
    expect_refused(&guest, 0, EINVAL, text);
    guest.netns_fd = own;
    expect_refused(&guest, 0, EINVAL, own_text);
    cr_expect_eq(close(file), 0);
    cr_expect_eq(close(own), 0);
}

Test(target, user_namespace_of_the_wrong_type_is_refused)
{
    GuestSettings guest = settings_of(GUEST_NETNS_PATH);
    char netns[] = "/proc/self/ns/net";
    char not_user[] = "/proc/self/ns/uts";
    char file[] = "/dev/null";
    char missing[] = "/nonexistent/userns";

    guest.netns_path = netns;
    guest.userns_path = not_user;
    expect_refused(&guest, 0, EINVAL, "--userns /proc/self/ns/uts: not a user namespace");
    guest.userns_path = file;
    expect_refused(&guest, 0, EINVAL, "--userns /dev/null: not a user namespace");
    guest.userns_path = missing;
    expect_refused(&guest, 0, ENOENT, "--userns /nonexistent/userns: No such file or directory");
}

Test(target, user_namespace_fd_of_the_wrong_type_is_refused)
{
    GuestSettings guest = settings_of(GUEST_NETNS_FD);
    g_autofree char *text = NULL;

    guest.netns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    guest.userns_fd = guest.netns_fd;
    text = g_strdup_printf("--userns-fd %d: not a user namespace", guest.netns_fd);
    expect_refused(&guest, 0, EINVAL, text);
    (void)close(guest.netns_fd);
}

static pid_t spawn(bool (*prepare)(void));

static bool prepare_nothing(void)
{
    return true;
}

static bool prepare_both(void)
{
    return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
}

/* A child that has done @prepare and sleeps; 0 if that failed. */
static pid_t spawn(bool (*prepare)(void))
{
    int fds[2];
    char byte = 0;
    pid_t pid;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        byte = prepare() ? 'y' : 'n';
        (void)!write(fds[1], &byte, 1);
        for (;;) {
            (void)pause();
        }
    }
    cr_assert_eq(read(fds[0], &byte, 1), 1);
    (void)close(fds[0]);
    (void)close(fds[1]);
    if (byte != 'y') {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return 0;
    }
    return pid;
}

static void reap(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

static pid_t spawn_guest(void)
{
    pid_t pid = spawn(prepare_both);

    if (pid == 0) {
        cr_skip_test("users may not make user namespaces here");
    }
    return pid;
}

static void expect_pid_gone(pid_t pid, const char *cause)
{
    GuestSettings guest = settings_of(GUEST_PID);
    g_autofree char *text = g_strdup_printf("PID %d: target gone: %s", (int)pid, cause);

    guest.pid = pid;
    expect_refused(&guest, 0, ESRCH, text);
}

Test(target, pid_of_nobody_is_gone)
{
    pid_t pid = spawn(prepare_nothing);

    reap(pid);
    expect_pid_gone(pid, "No such process");
}

Test(target, zombie_is_gone)
{
    pid_t pid = spawn(prepare_nothing);
    siginfo_t info;

    (void)kill(pid, SIGKILL);
    cr_assert_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    expect_pid_gone(pid, "it has ended");
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

static void *thread_main(void *data)
{
    int *fds = data;
    pid_t tid = gettid();
    char byte;

    (void)!write(fds[1], &tid, sizeof(tid));
    (void)!read(fds[2], &byte, 1);
    return NULL;
}

Test(target, thread_that_is_no_process_is_gone)
{
    int fds[4];
    pid_t tid = 0;
    pthread_t thread;

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(fds + 2, O_CLOEXEC), 0);
    cr_assert_eq(pthread_create(&thread, NULL, thread_main, fds), 0);
    cr_assert_eq(read(fds[0], &tid, sizeof(tid)), (ssize_t)sizeof(tid));
    cr_assert_neq(tid, getpid());
    expect_pid_gone(tid, "No such process");
    (void)close(fds[3]);
    (void)pthread_join(thread, NULL);
    for (int i = 0; i < 3; i++) {
        (void)close(fds[i]);
    }
}

static bool same_file(int fd, const char *path)
{
    struct stat a;
    struct stat b;

    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

Test(target, guest_by_pid_is_held_with_its_owner_and_seen_to_end)
{
    size_t before = count_fds();
    pid_t pid = spawn_guest();
    GuestSettings guest = settings_of(GUEST_PID);
    g_autofree char *net = g_strdup_printf("/proc/%d/ns/net", (int)pid);
    g_autofree char *user = g_strdup_printf("/proc/%d/ns/user", (int)pid);
    g_autoptr(GError) error = NULL;
    Target *target;

    guest.pid = pid;
    target = target_open(&guest, 0, &error);
    cr_assert_not_null(target, "%s", error != NULL ? error->message : "");
    cr_expect(same_file(target->netns_fd, net));
    cr_expect(same_file(target->userns_fd, user));
    cr_expect_eq(target->pid, pid);
    cr_expect(fcntl(target->netns_fd, F_GETFD) & FD_CLOEXEC);
    cr_expect_null(target_gone(target));
    reap(pid);
    cr_expect_str_eq(target_gone(target), SALLYPORT_REASON_TARGET_GONE);
    target_free(target);
    cr_expect_eq(count_fds(), before);
}

Test(target, guest_by_fd_is_held_and_its_user_namespace_is_checked)
{
    pid_t pid = spawn_guest();
    g_autofree char *net = g_strdup_printf("/proc/%d/ns/net", (int)pid);
    g_autofree char *user = g_strdup_printf("/proc/%d/ns/user", (int)pid);
    GuestSettings guest = settings_of(GUEST_NETNS_FD);
    g_autofree char *text = NULL;
    g_autoptr(Target) target = NULL;

    guest.netns_fd = open(net, O_RDONLY | O_CLOEXEC);
    guest.userns_fd = open(user, O_RDONLY | O_CLOEXEC);
    cr_assert(guest.netns_fd >= 0 && guest.userns_fd >= 0);
    target = target_open(&guest, 0, NULL);
    cr_assert_not_null(target);
    cr_expect_neq(target->netns_fd, guest.netns_fd, "a copy");
    cr_expect(same_file(target->userns_fd, user));
    cr_expect_null(target_gone(target));
    (void)close(guest.userns_fd);
    guest.userns_fd = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
    text = g_strdup_printf("--userns-fd %d does not own the network namespace --netns-fd %d",
                           guest.userns_fd, guest.netns_fd);
    expect_refused(&guest, 0, EINVAL, text);
    (void)close(guest.netns_fd);
    (void)close(guest.userns_fd);
    reap(pid);
    cr_expect_null(target_gone(target), "it was given as an fd, and that is still there");
}

typedef struct Gone {
    unsigned calls;
    const char *reason;
} Gone;

static void on_gone(const char *reason, void *user_data)
{
    Gone *gone = user_data;

    gone->calls++;
    gone->reason = reason;
}

Test(target, end_of_the_process_is_told_once)
{
    pid_t pid = spawn_guest();
    GuestSettings guest = settings_of(GUEST_COMMAND);
    GMainContext *context = g_main_context_new();
    g_autoptr(Target) target = target_open(&guest, pid, NULL);
    Gone gone = {0};

    cr_assert_not_null(target);
    target_watch(target, context, on_gone, &gone);
    loop_drain(context);
    cr_expect_eq(gone.calls, 0);
    reap(pid);
    LOOP_AWAIT(context, gone.calls > 0);
    loop_drain(context);
    cr_expect_eq(gone.calls, 1);
    cr_expect_str_eq(gone.reason, SALLYPORT_REASON_TARGET_GONE);
    g_main_context_unref(context);
}

Test(target, path_that_becomes_something_else_is_told_and_others_beside_it_are_not)
{
    pid_t pid = spawn_guest();
    g_autofree char *dir = g_dir_make_tmp("sallyport-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "ns", NULL);
    g_autofree char *other = g_build_filename(dir, "other", NULL);
    g_autofree char *net = g_strdup_printf("/proc/%d/ns/net", (int)pid);
    GuestSettings guest = settings_of(GUEST_NETNS_PATH);
    GMainContext *context = g_main_context_new();
    g_autoptr(GError) error = NULL;
    g_autoptr(Target) target = NULL;
    Gone gone = {0};

    cr_assert_eq(symlink(net, path), 0);
    guest.netns_path = path;
    target = target_open(&guest, 0, &error);
    cr_assert_not_null(target, "%s", error != NULL ? error->message : "");
    target_watch(target, context, on_gone, &gone);
    cr_assert_eq(symlink("/", other), 0);
    cr_assert_eq(unlink(other), 0);
    loop_run_ms(context, 50);
    cr_expect_eq(gone.calls, 0);
    cr_assert_eq(unlink(path), 0);
    LOOP_AWAIT(context, gone.calls > 0);
    cr_expect_str_eq(gone.reason, SALLYPORT_REASON_NETNS_GONE);
    cr_expect_str_eq(target_gone(target), SALLYPORT_REASON_NETNS_GONE);
    (void)rmdir(dir);
    reap(pid);
    g_main_context_unref(context);
}
