/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_LOCKDOWN_NAMESPACES_H
#define SALLYPORT_LOCKDOWN_NAMESPACES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>

/* The kinds of namespace, in the order of the words in namespaces.c. */
typedef enum NamespaceKind {
    NAMESPACE_USER,
    NAMESPACE_MNT,
    NAMESPACE_PID,
    NAMESPACE_IPC,
    NAMESPACE_UTS,
    NAMESPACE_CGROUP,
    NAMESPACE_NET,
    NAMESPACE_KINDS
} NamespaceKind;

/* Inode numbers of a process's namespaces (namespaces(7)). */
typedef struct Namespaces {
    uint64_t inode[NAMESPACE_KINDS];
} Namespaces;

/* Those of the calling process. False with @error set (FAULT_LOCKDOWN): there is no /proc. */
bool namespaces_read(Namespaces *ret, GError **error);

/**
 * namespaces_fork() - fork(2) into a user, mount, PID, IPC, UTS and cgroup namespace of the child's own
 *
 * The calling process must have one thread. The child has no uid in its user namespace (65534 shows), holds every
 * capability there and none elsewhere, and is PID 1: getppid(2) is 0.
 *
 * Return: as fork(2); -1 with @error set (FAULT_LOCKDOWN), which names the sysctls that forbid it
 */
pid_t namespaces_fork(GError **error);

/* Every kind but NAMESPACE_NET must differ from @parent's, and that one not. False with @error set. */
bool namespaces_differ(const Namespaces *parent, GError **error);

/* Puts an empty read-only tmpfs in place of the root and detaches what was there; needs the mount namespace of
 * namespaces_fork(). namespaces_root_is_empty() looks. False with @error set (FAULT_LOCKDOWN). */
bool namespaces_empty_root(GError **error);
bool namespaces_root_is_empty(GError **error);

#endif
