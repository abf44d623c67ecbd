/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CONTROL_SERVICE_H
#define SALLYPORT_CONTROL_SERVICE_H

#include <stdbool.h>

#include <glib.h>

#include "../inquiry.h"
#include "../publisher.h"
#include "../report.h"
#include "../settings.h"

/* All sockets by which a running helper can be asked for something. */
typedef struct Service Service;

/* Does the command line want any? */
bool service_wanted(const Settings *settings);

/* Makes them, so that whatever is wrong with them is a failed start; nobody is served. Never NULL on success, if none is wanted
 * either. NULL with @error set (FAULT_OPTION). */
Service *service_new(const Settings *settings, GMainContext *context, GError **error);
void service_free(Service *service);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Service, service_free)

/* The helper is ready: serve. @publisher, @inquiry and @report are borrowed; they may outlive the service. */
void service_begin(Service *service, Publisher *publisher, Inquiry *inquiry, Report *report);

#endif
