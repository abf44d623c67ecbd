/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_LOCKDOWN_LANDLOCK_H
#define SALLYPORT_LOCKDOWN_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

/* From this ABI on abstract sockets and signals can be scoped (landlock(7)). */
#define LANDLOCK_ABI_SCOPE 6

/**
 * landlock_deny_all() - no file system for the calling thread and those it makes from now on
 * @proof:   directories below which files can still be read; whoever holds no fd on them cannot name them (landlock.c)
 * @count:   of them
 * @ret_abi: what the kernel has; 0: no Landlock, and then nothing was done, which is no error
 *
 * From LANDLOCK_ABI_SCOPE on, neither abstract sockets nor processes outside can be reached either. TCP is not
 * restricted: the guest chooses ports. Needs no_new_privs.
 *
 * Return: false with @error set (FAULT_LOCKDOWN)
 */
bool landlock_deny_all(const int *proof, size_t count, int *ret_abi, GError **error);

#endif
