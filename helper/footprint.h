/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_FOOTPRINT_H
#define SALLYPORT_FOOTPRINT_H

#include <stdint.h>
#include <sys/types.h>

/*
 * What a process of ours costs, as /proc shows it; -1 where it does not (none is mounted, or it is another PID namespace's; for
 * fds also a kernel before 6.2). @pid: our own, or a child that has not been reaped.
 */

/* Bytes resident. */
int64_t footprint_rss(pid_t pid);
/* File descriptors open. */
int64_t footprint_fds(pid_t pid);

#endif
