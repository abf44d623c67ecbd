/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * target.c - getting hold of the guest's namespaces, and noticing that they are gone
 *
 * Does:     opens and verifies; watches the process (pidfd) or the path (inotify on its directory).
 * Runs in:  the supervisor.
 * Trusts:   the kernel. Paths and PIDs may be reused at any time: what was verified is held by fd.
 * Why not the namespace itself: a TAP's fd keeps it alive, so its end can never be seen on it.
 */
#include "config.h"

#include "target.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <glib-unix.h>

#include "../fault.h"
#include "../fd.h"
#include "sallyport.h"

/* O_NONBLOCK: a FIFO given as a path must not hang us. */
#define TARGET_LINKS_MAX 40 /* as path_resolution(7) allows */
#define TARGET_OPEN      (O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)

static bool target_same(int a, int b)
{
    struct stat sa;
    struct stat sb;

    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

static bool target_check_type(int fd, int type, const char *what, GError **error)
{
    struct statfs fs;

    if (fstatfs(fd, &fs) < 0 || fs.f_type != NSFS_MAGIC || ioctl(fd, NS_GET_NSTYPE) != type) {
        fault_set(error, FAULT_TARGET, EINVAL, "%s: not a %s namespace", what,
                  type == CLONE_NEWNET ? "network" : "user");
        return false;
    }
    return true;
}

/* @what names the network namespace in messages. Takes the fds; -1 for a user namespace that was not given. */
static bool target_verify(Target *target, const char *what, int take_userns,
                          const char *userns_what, GError **error)
{
    FD_AUTO given = take_userns;
    FD_AUTO own_net = open("/proc/self/ns/net", TARGET_OPEN);
    FD_AUTO own_user = open("/proc/self/ns/user", TARGET_OPEN);
    FD_AUTO owner = -1;
    struct stat held;

    if (!target_check_type(target->netns_fd, CLONE_NEWNET, what, error) ||
        (given >= 0 && !target_check_type(given, CLONE_NEWUSER, userns_what, error))) {
        return false;
    }
    if (own_net < 0 || own_user < 0) {
        fault_set(error, FAULT_TARGET, errno, "/proc/self/ns: %s", g_strerror(errno));
        return false;
    }
    if (fstat(target->netns_fd, &held) == 0) {
        target->dev = held.st_dev;
        target->ino = held.st_ino;
    }
    if (target_same(target->netns_fd, own_net)) {
        fault_set(error, FAULT_TARGET, EINVAL,
                  "%s: this is our own network namespace, not a sandbox's", what);
        return false;
    }
    owner = ioctl(target->netns_fd, NS_GET_USERNS);
    if (owner < 0) {
        fault_set(error, FAULT_TARGET, errno, "%s: owned by a user namespace outside ours: %s",
                  what, g_strerror(errno));
        return false;
    }
    if (given >= 0 && !target_same(given, owner)) {
        fault_set(error, FAULT_TARGET, EINVAL, "%s does not own the network namespace %s",
                  userns_what, what);
        return false;
    }
    if (!target_same(owner, own_user)) {
        target->userns_fd = fd_steal(&owner);
    }
    return true;
}

static bool target_ended(int pidfd)
{
    struct pollfd pfd = {.fd = pidfd, .events = POLLIN};

    return pidfd >= 0 && poll(&pfd, 1, 0) > 0;
}

static bool target_open_pid(Target *target, pid_t pid, GError **error)
{
    g_autofree char *what = g_strdup_printf("PID %d", (int)pid);
    g_autofree char *path = g_strdup_printf("/proc/%d/ns/net", (int)pid);
    int saved;

    target->pid = pid;
    target->what = g_strdup(what);
    target->pidfd = pidfd_open(pid, 0);
    if (target->pidfd < 0) {
        /* EINVAL, ENOENT of newer kernels: a thread's number, not a process's */
        saved = errno == EINVAL || errno == ENOENT ? ESRCH : errno;
        fault_set(error, FAULT_TARGET, saved, "%s: target gone: %s", what, g_strerror(saved));
        return false;
    }
    target->netns_fd = open(path, TARGET_OPEN);
    saved = errno;
    /* Only now is it certain that /proc spoke of the process the pidfd holds. */
    /* A task that is just ending has no namespaces any more, while its pidfd is not readable yet. */
    if (target_ended(target->pidfd) ||
        (target->netns_fd < 0 && (saved == ENOENT || saved == ESRCH))) {
        fault_set(error, FAULT_TARGET, ESRCH, "%s: target gone: it has ended", what);
        return false;
    }
    if (target->netns_fd < 0) {
        fault_set(error, FAULT_TARGET, saved, "%s: cannot open its network namespace: %s%s", what,
                  g_strerror(saved),
                  saved == EACCES || saved == EPERM ? " (another user's process)" : "");
        return false;
    }
    return target_verify(target, what, -1, NULL, error);
}

/* Where a path really leads: directories and symbolic links resolved, but not the magic link of procfs at its end, which
 * realpath(3) would follow into nowhere. NULL if it leads nowhere. g_free(). */
static char *target_resolve(const char *path)
{
    g_autofree char *at = g_strdup(path);

    for (unsigned links = 0; links < TARGET_LINKS_MAX; links++) {
        g_autofree char *directory = g_path_get_dirname(at);
        g_autofree char *name = g_path_get_basename(at);
        char real[PATH_MAX];
        char link[PATH_MAX] = "";
        struct statfs fs;

        if (realpath(directory, real) == NULL || statfs(real, &fs) < 0) {
            return NULL;
        }
        g_free(at);
        at = g_build_filename(real, name, NULL);
        if (fs.f_type == PROC_SUPER_MAGIC || readlink(at, link, sizeof(link) - 1) < 0) {
            return g_steal_pointer(&at);
        }
        g_free(at);
        at = link[0] == '/' ? g_strdup(link) : g_build_filename(real, link, NULL);
    }
    return NULL;
}

/* /proc/PID/ns/net as a path names a process too: its end is the guest's. False if @real is of procfs and names none. */
static bool target_watch_process(Target *target, const char *real)
{
    int pid = 0;
    int end = 0;
    struct stat here;
    g_autofree char *again = NULL;

    if (sscanf(real, "/proc/%d/ns/net%n", &pid, &end) != 1 || end == 0) {
        end = 0;
        if (sscanf(real, "/proc/%d/task/%*d/ns/net%n", &pid, &end) != 1 || end == 0) {
            return false;
        }
    }
    target->pid = pid;
    target->pidfd = real[end] == '\0' && pid > 0 ? pidfd_open(pid, 0) : -1;
    /* Still the same process: taken before this look. */
    again = g_strdup_printf("/proc/%d/ns/net", pid);
    return target->pidfd >= 0 && stat(again, &here) == 0 && here.st_dev == target->dev &&
           here.st_ino == target->ino;
}

static bool target_watch_directory(Target *target, const char *path, GError **error)
{
    g_autofree char *directory = g_path_get_dirname(path);

    if (target->watch_fd < 0) {
        target->watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    }
    if (target->watch_fd < 0 ||
        inotify_add_watch(target->watch_fd, directory,
                          IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |
                              IN_UNMOUNT) < 0) {
        fault_set(error, FAULT_TARGET, errno, "--netns %s: cannot watch its directory: %s%s",
                  target->path, g_strerror(errno),
                  errno == EMFILE || errno == ENOSPC
                      ? " (sysctl fs.inotify.max_user_instances, max_user_watches)"
                      : "");
        return false;
    }
    return true;
}

/* The directory of the path as it was given, and of where it leads. procfs reports nothing: a process there is held by a
 * pidfd, and what cannot be held is looked at again and again. */
static bool target_watch_path(Target *target, GError **error)
{
    g_autofree char *real = target_resolve(target->path);
    g_autofree char *directory = real != NULL ? g_path_get_dirname(real) : NULL;
    struct statfs fs;

    if (real == NULL) {
        fault_set(error, FAULT_TARGET, ENOENT, "--netns %s: target gone", target->path);
        return false;
    }
    if (!target_watch_directory(target, target->path, error) ||
        !target_watch_directory(target, real, error)) {
        return false;
    }
    target->polled = statfs(directory, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC &&
                     !target_watch_process(target, real);
    return true;
}

static bool target_open_path(Target *target, const GuestSettings *guest, GError **error)
{
    g_autofree char *what = g_strdup_printf("--netns %s", guest->netns_path);
    g_autofree char *userns_what = g_strdup_printf("--userns %s", guest->userns_path);
    int userns = -1;

    target->path = g_strdup(guest->netns_path);
    target->what = g_strdup(what);
    target->netns_fd = open(guest->netns_path, TARGET_OPEN);
    if (target->netns_fd < 0) {
        fault_set(error, FAULT_TARGET, errno, "%s: %s", what, g_strerror(errno));
        return false;
    }
    if (guest->userns_path != NULL) {
        userns = open(guest->userns_path, TARGET_OPEN);
        if (userns < 0) {
            fault_set(error, FAULT_TARGET, errno, "%s: %s", userns_what, g_strerror(errno));
            return false;
        }
    }
    if (!target_verify(target, what, userns, userns_what, error) ||
        !target_watch_path(target, error)) {
        return false;
    }
    /* The watch stands: a path that went before it is noticed here, one that goes later by the watch. */
    if (target_gone(target) != NULL) {
        fault_set(error, FAULT_TARGET, ENOENT, "%s: target gone", what);
        return false;
    }
    return true;
}

static bool target_open_fds(Target *target, const GuestSettings *guest, GError **error)
{
    g_autofree char *what = g_strdup_printf("--netns-fd %d", guest->netns_fd);
    g_autofree char *userns_what = g_strdup_printf("--userns-fd %d", guest->userns_fd);
    int userns = -1;

    target->what = g_strdup(what);
    target->netns_fd = fcntl(guest->netns_fd, F_DUPFD_CLOEXEC, 3);
    if (guest->userns_fd >= 0) {
        userns = fcntl(guest->userns_fd, F_DUPFD_CLOEXEC, 3);
    }
    return target_verify(target, what, userns, userns_what, error);
}

Target *target_open(const GuestSettings *guest, pid_t command_pid, GError **error)
{
    g_autoptr(Target) target = g_new0(Target, 1);
    bool ok = false;

    target->netns_fd = -1;
    target->userns_fd = -1;
    target->pidfd = -1;
    target->watch_fd = -1;
    switch (guest->kind) {
    case GUEST_PID:
        ok = target_open_pid(target, guest->pid, error);
        break;
    case GUEST_NETNS_PATH:
        ok = target_open_path(target, guest, error);
        break;
    case GUEST_NETNS_FD:
        ok = target_open_fds(target, guest, error);
        break;
    case GUEST_COMMAND:
        ok = target_open_pid(target, command_pid, error);
        break;
    }
    return ok ? g_steal_pointer(&target) : NULL;
}

void target_free(Target *target)
{
    if (target == NULL) {
        return;
    }
    fd_close(target->netns_fd);
    fd_close(target->userns_fd);
    fd_close(target->pidfd);
    fd_close(target->watch_fd);
    g_free(target->what);
    g_free(target->path);
    g_free(target);
}

const char *target_gone(const Target *target)
{
    struct stat path;

    if (target_ended(target->pidfd)) {
        return SALLYPORT_REASON_TARGET_GONE;
    }
    if (target->watch_fd < 0) {
        return NULL;
    }
    if (stat(target->path, &path) < 0 || path.st_dev != target->dev || path.st_ino != target->ino) {
        return SALLYPORT_REASON_NETNS_GONE;
    }
    return NULL;
}

void target_release(Target *target)
{
    fd_clear(&target->netns_fd);
    fd_clear(&target->userns_fd);
}

typedef struct TargetWatch {
    Target *target;
    TargetFunc gone;
    void *user_data;
} TargetWatch;

static gboolean target_event(gint fd, GIOCondition condition, gpointer user_data)
{
    TargetWatch *watch = user_data;
    const char *reason;

    (void)condition;
    if (fd == watch->target->watch_fd) {
        char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

        /* What happened does not matter, only what is there now. */
        while (read(fd, events, sizeof(events)) > 0) {
        }
    }
    reason = target_gone(watch->target);
    if (reason == NULL) {
        return G_SOURCE_CONTINUE;
    }
    watch->gone(reason, watch->user_data);
    return G_SOURCE_REMOVE;
}

static void target_watch_fd(Target *target, int fd, GMainContext *context, TargetFunc gone,
                            void *user_data)
{
    g_autoptr(GSource) source = NULL;
    TargetWatch *watch;

    if (fd < 0) {
        return;
    }
    watch = g_new0(TargetWatch, 1);
    *watch = (TargetWatch){target, gone, user_data};
    source = g_unix_fd_source_new(fd, G_IO_IN);
    g_source_set_callback(source, G_SOURCE_FUNC(target_event), watch, g_free);
    g_source_attach(source, context);
}

static gboolean target_look(gpointer user_data)
{
    TargetWatch *watch = user_data;
    const char *reason = target_gone(watch->target);

    if (reason == NULL) {
        return G_SOURCE_CONTINUE;
    }
    watch->gone(reason, watch->user_data);
    return G_SOURCE_REMOVE;
}

void target_watch(Target *target, GMainContext *context, TargetFunc gone, void *user_data)
{
    target_watch_fd(target, target->pidfd, context, gone, user_data);
    target_watch_fd(target, target->watch_fd, context, gone, user_data);
    if (target->polled) {
        g_autoptr(GSource) source = g_timeout_source_new_seconds(1);
        TargetWatch *watch = g_new0(TargetWatch, 1);

        *watch = (TargetWatch){target, gone, user_data};
        g_source_set_callback(source, target_look, watch, g_free);
        g_source_attach(source, context);
    }
}
