/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_HOSTADDR_H
#define SALLYPORT_HOSTADDR_H

#include <stddef.h>

#include <glib.h>

#include "netaddr.h"

typedef struct HostAddr HostAddr;
typedef void (*HostAddrFunc)(void *user_data);

/**
 * hostaddr_new() - the addresses of the interfaces of our network namespace, followed
 * @changed: called from @context after an address came or went; hostaddr_list() is new then
 *
 * Reads the list at once (rtnetlink(7): RTM_GETADDR), then listens. Return: NULL with @error set (FAULT_INTERNAL)
 */
HostAddr *hostaddr_new(GMainContext *context, HostAddrFunc changed, void *user_data,
                       GError **error);
void hostaddr_free(HostAddr *hostaddr);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostAddr, hostaddr_free)

/* Valid until the next change. */
const NetAddr *hostaddr_list(const HostAddr *hostaddr, size_t *ret_count);

#endif
