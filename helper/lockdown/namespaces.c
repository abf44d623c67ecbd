/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * namespaces.c - a place with nothing in it for the datapath
 *
 * Does:     makes the process in namespaces of its own, and a root directory that holds nothing.
 * Runs in:  the supervisor up to clone(2), then the datapath, before any thread is made and before capabilities go.
 * Why clone(2) and not unshare(2): a PID namespace is for children alone, and a second fork would leave a process that
 *           does nothing but wait. No uid is mapped: what nobody can name owns nothing, and a mapping would have to be
 *           written while the process is still dumpable.
 */
#include "config.h"

#include "namespaces.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../fault.h"

/* A directory that is there: the lock-down reads it anyway. */
#define NAMESPACES_MOUNT_POINT "/proc"

static const char *const namespace_words[NAMESPACE_KINDS] = {
    [NAMESPACE_USER] = "user",     [NAMESPACE_MNT] = "mnt", [NAMESPACE_PID] = "pid",
    [NAMESPACE_IPC] = "ipc",       [NAMESPACE_UTS] = "uts", [NAMESPACE_NET] = "net",
    [NAMESPACE_CGROUP] = "cgroup",
};

bool namespaces_read(Namespaces *ret, GError **error)
{
    for (size_t i = 0; i < NAMESPACE_KINDS; i++) {
        g_autofree char *path = g_strdup_printf("/proc/self/ns/%s", namespace_words[i]);
        struct stat st;

        if (stat(path, &st) < 0) {
            fault_set(error, FAULT_LOCKDOWN, errno, "namespaces: %s: %s", path, g_strerror(errno));
            return false;
        }
        ret->inode[i] = st.st_ino;
    }
    return true;
}

pid_t namespaces_fork(GError **error)
{
    /* glibc's fork() cannot do this. What it does beside clone(2) is for other threads, of which there are none. */
    long pid = syscall(SYS_clone,
                       CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
                           CLONE_NEWCGROUP | SIGCHLD,
                       NULL, NULL, NULL, NULL);

    if (pid < 0) {
        bool limit = errno == ENOSPC || errno == EUSERS;
        bool forbidden = errno == EPERM || errno == EACCES;

        fault_set(error, FAULT_LOCKDOWN, errno,
                  "namespaces: cannot make user, mount, PID, IPC, UTS and cgroup namespaces for "
                  "the datapath: %s%s",
                  g_strerror(errno),
                  limit ? " (sysctl user.max_user_namespaces, max_mnt_namespaces, "
                          "max_pid_namespaces and their like)"
                  : forbidden
                      ? " (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone or "
                        "kernel.apparmor_restrict_unprivileged_userns)"
                      : "");
    }
    return (pid_t)pid;
}

bool namespaces_differ(const Namespaces *parent, GError **error)
{
    Namespaces own;

    if (!namespaces_read(&own, error)) {
        return false;
    }
    for (size_t i = 0; i < NAMESPACE_KINDS; i++) {
        if ((own.inode[i] == parent->inode[i]) != (i == NAMESPACE_NET)) {
            fault_set(error, FAULT_LOCKDOWN, 0, "namespaces: the %s namespace is %s",
                      namespace_words[i], i == NAMESPACE_NET ? "another one" : "still the user's");
            return false;
        }
    }
    return true;
}

static bool namespaces_root_fault(const char *what, GError **error)
{
    fault_set(error, FAULT_LOCKDOWN, errno, "empty root: %s: %s", what, g_strerror(errno));
    return false;
}

bool namespaces_empty_root(GError **error)
{
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        return namespaces_root_fault("mount --make-rprivate", error);
    }
    if (mount("tmpfs", NAMESPACES_MOUNT_POINT, "tmpfs",
              MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "mode=0555,nr_inodes=1,size=4096") < 0) {
        return namespaces_root_fault("mount tmpfs", error);
    }
    if (chdir(NAMESPACES_MOUNT_POINT) < 0) {
        return namespaces_root_fault("chdir", error);
    }
    /* Both names the same: the old root is put over the new one, and taken off (pivot_root(2), NOTES). */
    if (syscall(SYS_pivot_root, ".", ".") < 0) {
        return namespaces_root_fault("pivot_root", error);
    }
    if (umount2(".", MNT_DETACH) < 0) {
        return namespaces_root_fault("umount", error);
    }
    if (chdir("/") < 0) {
        return namespaces_root_fault("chdir", error);
    }
    return true;
}

bool namespaces_root_is_empty(GError **error)
{
    DIR *root = opendir("/");
    struct statvfs fs;
    struct stat own;
    struct stat above;
    unsigned entries = 0;
    bool read_only;

    if (root == NULL) {
        return namespaces_root_fault("opendir", error);
    }
    while (readdir(root) != NULL) {
        entries++;
    }
    read_only = fstatvfs(dirfd(root), &fs) == 0 && (fs.f_flag & ST_RDONLY) != 0;
    /* What is mounted over the root does not show in it, but is where ".." leads (fs/namei.c: handle_dots()). */
    if (fstat(dirfd(root), &own) < 0 || stat("/..", &above) < 0 || own.st_dev != above.st_dev) {
        (void)closedir(root);
        fault_set(error, FAULT_LOCKDOWN, 0, "empty root: the old one is still there");
        return false;
    }
    (void)closedir(root);
    if (entries != 2 || !read_only) { /* itself and its parent */
        fault_set(error, FAULT_LOCKDOWN, 0, "empty root: it %s",
                  read_only ? "is not empty" : "can be written");
        return false;
    }
    return true;
}
