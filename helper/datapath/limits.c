/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * limits.c - who may have how many file descriptors
 *
 * Does:     shares what RLIMIT_NOFILE leaves: half to TCP connections (two each), a tenth each to their pipes, to those of
 *           the fast path that are not answered yet, and to published UDP, a fifth to libslirp. A pure function. And counts cores.
 */
#include "config.h"

#include "limits.h"

#include <sched.h>

#include <glib.h>

#define LIMITS_PENDING 1024
#define LIMITS_UDP     4096
#define LIMITS_PING    256
#define LIMITS_NAT     16384
/* fds kept for dns, ping and what is opened for a moment; a quarter of the limit if that is less. */
#define LIMITS_RESERVE 256

Limits limits_share(const Settings *settings, size_t nofile, size_t used)
{
    size_t reserve = MIN(LIMITS_RESERVE, nofile / 4);
    size_t left = nofile > used + reserve ? nofile - used - reserve : 0;
    Limits limits = {.room = (unsigned)CLAMP(left / 4, 1, G_MAXINT)};

    limits.flows = settings->max_flows != 0 ? MIN(settings->max_flows, limits.room) : limits.room;
    limits.pending = settings->max_pending != 0
                         ? settings->max_pending
                         : (unsigned)CLAMP(MIN(left / 10, limits.flows / 2), 1, LIMITS_PENDING);
    limits.pipes = (unsigned)CLAMP(left / 20, 2, G_MAXINT);
    limits.udp = (unsigned)CLAMP(left / 10, 1, LIMITS_UDP);
    limits.ping = (unsigned)CLAMP(nofile / 16, 1, LIMITS_PING);
    limits.nat = (unsigned)CLAMP(left / 5, 2, LIMITS_NAT);
    return limits;
}

unsigned limits_cores(unsigned max)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) < 0
               ? max /* more than a cpu_set_t holds */
               : (unsigned)CLAMP(CPU_COUNT(&set), 1, (int)max);
}
