/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_GUEST_SANDBOX_H
#define SALLYPORT_GUEST_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#include <glib.h>

#include "../settings.h"

/* Exit statuses of ours in COMMAND mode, as a shell's (POSIX.1-2017 XCU 2.8.2). */
#define SANDBOX_STATUS_OURS      125
#define SANDBOX_STATUS_NOT_RUN   126
#define SANDBOX_STATUS_NOT_FOUND 127
#define SANDBOX_STATUS_SIGNALLED 128

/* A new user, network and mount namespace, with a process waiting in it to become COMMAND. */
typedef struct Sandbox Sandbox;

/**
 * sandbox_new() - make the namespaces; COMMAND does not run yet
 * @guest: command, addresses; borrowed, must outlive the sandbox; @resolv_conf: the host's file, whose search list is kept when one that names the virtual name server is put in
 *   place; NULL: leave it alone
 *
 * Must be called before the calling process becomes non-dumpable (the child writes its own uid_map).
 *
 * Return: new, or NULL with @error set (FAULT_NAMESPACE; names the sysctl that forbids user namespaces)
 */
Sandbox *sandbox_new(const GuestSettings *guest, const char *resolv_conf, GError **error);
/* Does not end the process. */
void sandbox_free(Sandbox *sandbox);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Sandbox, sandbox_free)

pid_t sandbox_pid(const Sandbox *sandbox);

/* What went missing (a resolv.conf that could not be put in place), or NULL. Owned by the sandbox. */
const GError *sandbox_warning(const Sandbox *sandbox);

/* Lets COMMAND run. False with @error set (FAULT_COMMAND) if it could not be executed; *ret_status is 126 or 127 then. */
bool sandbox_go(Sandbox *sandbox, int *ret_status, GError **error);

#endif
