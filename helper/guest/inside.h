/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_GUEST_INSIDE_H
#define SALLYPORT_GUEST_INSIDE_H

#include <sys/types.h>

#include <glib.h>

#include "../settings.h"
#include "target.h"

/**
 * inside_spawn() - start the process that lives in the guest's namespaces
 * @settings:        copied by fork(2)
 * @target:          borrowed
 * @supervisor_sock: its end of the connection to the supervisor; @datapath_sock: to the datapath; still the caller's
 *
 * It makes the TAP, sends MESSAGE_LOG for each warning and MESSAGE_INSIDE_READY with the TAP's fd. Then it sets up the fast
 * path, of which it sends MESSAGE_FAST_PATH to the datapath, locks itself down, says MESSAGE_LOCKED and MESSAGE_INSIDE_FAST_PATH; or at any point MESSAGE_FAULT,
 * and ends with status 1. From then on it answers MESSAGE_SOCKET_REQUEST and MESSAGE_REPAIR from the datapath until the
 * supervisor ends, and takes the fast path away.
 *
 * Return: its pid, or -1 with @error set (FAULT_INTERNAL)
 */
pid_t inside_spawn(const Settings *settings, const Target *target, int supervisor_sock,
                   int datapath_sock, GError **error);

#endif
