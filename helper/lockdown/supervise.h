/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_LOCKDOWN_SUPERVISE_H
#define SALLYPORT_LOCKDOWN_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "../settings.h"

/* Locks the supervisor down, when the last child has been made: from here on nothing is executed, and files are opened to be read
 * alone. @serves: it has a control socket. @ret_held: as lockdown_finish(). False with @error set (FAULT_LOCKDOWN). */
bool lockdown_supervise(const Settings *settings, bool serves, uint32_t *ret_held, GError **error);

#endif
