/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_LOCKDOWN_LOCKDOWN_H
#define SALLYPORT_LOCKDOWN_LOCKDOWN_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "namespaces.h"
#include "role.h"

/* What holds of a process, in the order of the words of the ready record (lockdown.c). */
typedef enum LockdownHeld {
    LOCKDOWN_NO_NEW_PRIVS,
    LOCKDOWN_NOT_DUMPABLE,
    LOCKDOWN_NO_CAPABILITIES,  /* permitted, effective, inheritable, ambient */
    LOCKDOWN_FEW_CAPABILITIES, /* those of the role's plan alone */
    LOCKDOWN_NO_BOUNDING_SET,
    LOCKDOWN_NAMESPACES,
    LOCKDOWN_EMPTY_ROOT,
    LOCKDOWN_LANDLOCK,
    LOCKDOWN_LANDLOCK_SCOPE,
    LOCKDOWN_SECCOMP,
    LOCKDOWN_SECCOMP_WIDE, /* a build with a sanitizer */
    LOCKDOWN_HELD_COUNT
} LockdownHeld;

const char *lockdown_word(LockdownHeld held);

/* One process on its way down. */
typedef struct Lockdown Lockdown;

/**
 * lockdown_begin() - everything but the filter
 * @parent:   ROLE_DATAPATH: the supervisor's namespaces; else NULL
 * @insecure: --insecure-no-lockdown: capabilities go, and nothing else is done
 *
 * Needs process_harden(). For the datapath, before its worker threads are made: they inherit this.
 *
 * Return: NULL with @error set (FAULT_LOCKDOWN, the stage is named). The process must end then
 */
Lockdown *lockdown_begin(Role role, const Namespaces *parent, bool insecure, GError **error);

/* The same for the other two, which keep what they have of @caps, a set of 1 << CAP_*. Needs every thread there will be. @serves: a
 * supervisor that has a control socket. */
Lockdown *lockdown_begin_keeping(Role role, uint64_t caps, bool serves, bool insecure,
                                 GError **error);

/**
 * lockdown_finish() - the filter, and the proof
 * @ret_held: (out) a set of 1 << LockdownHeld
 *
 * Return: false with @error set
 */
bool lockdown_finish(Lockdown *take_lockdown, uint32_t *ret_held, GError **error);

#endif
