/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * usage.h - what the processes of a helper cost: the one that was started, and its descendants
 */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <sys/types.h>

/* Each returns NAN if a process cannot be looked at. */

/* Processor time in seconds. */
double usage_cpu(pid_t pid);
/* Private memory in KiB: pages no other process has. */
double usage_private(pid_t pid);
/* How often a thread has begun to wait, which is how often one was woken. */
double usage_waits(pid_t pid);

#endif
