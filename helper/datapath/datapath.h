/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_DATAPATH_H
#define SALLYPORT_DATAPATH_DATAPATH_H

#include <stddef.h>
#include <sys/types.h>

#include <glib.h>

#include "../settings.h"

/**
 * datapath_spawn() - start the process that parses frames
 * @settings:        copied by fork(2)
 * @nofile:          RLIMIT_NOFILE in force: its limits derive from it
 * @supervisor_sock: its end of the connection to the supervisor; @inside_sock: to the process inside; still the caller's
 *
 * It answers each MESSAGE_LISTEN, takes MESSAGE_START, _HOST_ADDRESSES, _DNS_SERVERS and _DNS_LISTENER in any order, and on
 * MESSAGE_GO begins and says MESSAGE_DATAPATH_READY, or MESSAGE_FAULT and ends with status 1.
 *
 * Return: its pid, or -1 with @error set (FAULT_INTERNAL)
 */
pid_t datapath_spawn(const Settings *settings, size_t nofile, int supervisor_sock, int inside_sock,
                     GError **error);

#endif
