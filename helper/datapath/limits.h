/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_LIMITS_H
#define SALLYPORT_DATAPATH_LIMITS_H

#include <stddef.h>

#include "../settings.h"

/**
 * struct Limits - how many of each there may be at once
 * @flows:   TCP connections that are relayed, wherever they were begun
 * @pending: of the fast path, those without an answer
 * @pipes:   of relays
 * @udp:     clients of published UDP ports
 * @ping:    ping sockets
 * @nat:     sockets of libslirp's
 * @room:    what @flows would be without --max-flows; less than was asked for there if that is more
 */
typedef struct Limits {
    unsigned flows;
    unsigned pending;
    unsigned pipes;
    unsigned udp;
    unsigned ping;
    unsigned nat;
    unsigned room;
} Limits;

/* @nofile: RLIMIT_NOFILE; @used: fds open already. */
Limits limits_share(const Settings *settings, size_t nofile, size_t used);

/* Cores that we may run on, 1 to @max. sysconf(3) would read a file, and count those that a cpuset takes from us. */
unsigned limits_cores(unsigned max);

#endif
