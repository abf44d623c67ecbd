/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CONTROL_COMMANDS_H
#define SALLYPORT_CONTROL_COMMANDS_H

#include <stddef.h>

#include "../inquiry.h"
#include "../publisher.h"
#include "../report.h"
#include "../settings.h"
#include "control.h"

/* What the commands work with; borrowed, complete before the first client is served. */
typedef struct CommandParts {
    const Settings *settings;
    Publisher *publisher;
    Inquiry *inquiry;
    Report *report;
} CommandParts;

/* The table of commands, for control_new(), with a CommandParts as their user_data. */
const ControlCommand *commands_table(size_t *ret_count);

/* Without "--publish ", which is not how the spec came here. */
const char *commands_publish_text(const GError *error);

#endif
