/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * supervise.c - what the supervisor keeps
 *
 * Does:     names the capabilities of root's supervisor that it still needs; an ordinary user's has none.
 * Runs in:  the supervisor.
 */
#include "config.h"

#include "supervise.h"

#include <sys/capability.h>

#include "lockdown.h"

bool lockdown_supervise(const Settings *settings, bool serves, uint32_t *ret_held, GError **error)
{
    /* Ports below 1024; paths that only root may follow, to see whether the guest's is still there. */
    const uint64_t kept =
        UINT64_C(1) << CAP_NET_BIND_SERVICE | UINT64_C(1) << CAP_DAC_READ_SEARCH |
        (settings->guest.kind == GUEST_NETNS_PATH ? UINT64_C(1) << CAP_SYS_PTRACE : 0);
    Lockdown *lock =
        lockdown_begin_keeping(ROLE_SUPERVISOR, kept, serves, settings->insecure, error);

    return lock != NULL && lockdown_finish(lock, ret_held, error);
}
