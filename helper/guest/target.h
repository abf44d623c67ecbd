/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_GUEST_TARGET_H
#define SALLYPORT_GUEST_TARGET_H

#include <stdbool.h>
#include <sys/types.h>

#include <glib.h>

#include "../settings.h"

/**
 * struct Target - the guest's namespaces, opened and verified
 * @netns_fd:  the network namespace
 * @userns_fd: the user namespace that owns it, or -1 if that is our own
 * @pidfd:     of the process whose end is the guest's end, or -1
 * @pid:       its number
 * @watch_fd:  inotify on the directory of @path, or -1
 * @what:      the guest as the command line names it, for messages
 * @polled:    no event tells of the path's end: it is looked at once a second
 * @path:      the path given by --netns; @dev, @ino: what it led to
 */
typedef struct Target {
    int netns_fd;
    int userns_fd;
    int pidfd;
    pid_t pid;
    int watch_fd;
    char *what;
    char *path;
    dev_t dev;
    ino_t ino;
    bool polled;
} Target;

/**
 * target_open() - get hold of the guest
 * @guest: what was asked for; @command_pid: the sandbox's process for GUEST_COMMAND, else 0
 *
 * Verifies before anything is made: the fds are of nsfs and of the right type, the network namespace is not our own and
 * is owned by the user namespace, which is asked of the kernel if none was given (ioctl_ns(2): NS_GET_USERNS); a PID
 * is held by a pidfd, taken before /proc is looked at and still alive after it.
 *
 * Return: new, or NULL with @error set (FAULT_TARGET)
 */
Target *target_open(const GuestSettings *guest, pid_t command_pid, GError **error);
void target_free(Target *target);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Target, target_free)

/* Has the process ended, is the path gone or another namespace by now? NULL while it is there; else a SALLYPORT_REASON_*. */
const char *target_gone(const Target *target);

/* The namespaces have been joined: closes their fds. An fd opened by a path would keep the file system there busy, so that
 * nobody could unmount it (umount(8): target is busy). */
void target_release(Target *target);

typedef void (*TargetFunc)(const char *reason, void *user_data);

/* Calls @gone once, from @context, when target_gone() becomes true. */
void target_watch(Target *target, GMainContext *context, TargetFunc gone, void *user_data);

#endif
