/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_SCRATCH_H
#define SALLYPORT_SCRATCH_H

#include <stddef.h>
#include <string.h>

#include <glib.h>

/* For an object that ends in buffers, the first of which is @member: what is read of them has been written before. To clear them too
 * would bring each of their pages into memory at start, some ninety in all, of 12 us each on a machine whose page faults are dear. */
#define NEW0_UP_TO(Type, member) ((Type *)memset(g_malloc(sizeof(Type)), 0, offsetof(Type, member)))

#endif
