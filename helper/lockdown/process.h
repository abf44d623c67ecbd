/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_LOCKDOWN_PROCESS_H
#define SALLYPORT_LOCKDOWN_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/capability.h>
#include <sys/types.h>

#include <glib.h>

/* Opens /dev/null on those of 0, 1, 2 that are closed, so that no fd of ours is ever mistaken for them. 0 or -errno. */
int process_fill_stdio(void);

/* Writes the one byte of --ready-fd and closes it as process_close_inherited() does. False with errno if it could not be written at
 * once: somebody else's full pipe must not hold us. */
bool process_write_ready(int fd);

/* Closes an fd of the caller's; one of 0, 1, 2 becomes /dev/null, so that the next fd opened is not taken for it. */
void process_close_inherited(int fd);

/* Closes all fds but 0, 1, 2 and @keep (entries of -1 are skipped). */
void process_close_others(const int *keep, size_t count);

/* RLIMIT_NOFILE to its hard limit (setrlimit(2)). Returns the limit now in force. */
size_t process_raise_nofile(void);

/* Before anything of GLib's that a locked down process cannot do: its log writer looks for a terminal, the journal, the time zone; and
 * g_strerror(3) converts from the locale, and its first use reads files (charset.alias, iconv's tables), which a locked down process
 * cannot. We never call setlocale(3), so messages are ASCII; told that this is UTF-8, GLib converts nothing. The children inherit it. */
void process_prepare_lockdown(void);

/**
 * process_become_child() - first stage of a forked role
 * @parent: the pid that must still be our parent
 * @keep:   fds the role needs; renumbered from 3 on, in order, and written back
 *
 * Drops: all other fds, the parent's stdio (/dev/null instead), its signal dispositions and mask (SIGTERM, SIGINT,
 * SIGHUP, SIGQUIT are ignored: the supervisor alone takes them). Sets: dumpable 0, no_new_privs, PR_SET_PDEATHSIG
 * SIGKILL. Must keep: capabilities and namespaces, which later stages need.
 *
 * Return: false with @error set (FAULT_LOCKDOWN)
 */
bool process_become_child(pid_t parent, int *const *keep, size_t count, GError **error);

/* setns(2) and capset(2) may clear PR_SET_PDEATHSIG and dumpable (kernel/cred.c: commit_creds()): set them again, and
 * end at once if @parent is gone already. @parent 0: it is outside our PID namespace, where its end shows as that of the
 * connection. */
void process_renew_bonds(pid_t parent);

/* Empties effective, permitted, inheritable and ambient sets, and the bounding set where CAP_SETPCAP is held (where it is not,
 * no_new_privs makes it moot), but for @count capabilities, which stay permitted and effective; they cannot pass an execve(2). */
bool process_keep_capabilities(const cap_value_t *kept, int count, GError **error);

/* PR_SET_DUMPABLE 0 and no_new_privs for the calling process. */
bool process_harden(GError **error);

#endif
