/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * stats.c - the names of what the datapath counts
 *
 * Runs in:  the supervisor; the numbers are those of datapath/survey.c.
 */
#include "config.h"

#include "stats.h"

#include <glib.h>

#include "datapath/frame.h"
#include "datapath/gate.h"

G_STATIC_ASSERT(STATS_GATE == GATE_REASON_COUNT);
G_STATIC_ASSERT(STATS_MALFORMED == FRAME_STATUS_COUNT);

const char *stats_name(unsigned id, char buf[STATS_NAME_MAX])
{
#define STATS_NAME(id, name) [STAT_##id] = (name),
    static const char *const names[STAT_COUNT] = {STATS_LIST(STATS_NAME)};
#undef STATS_NAME

    if (id == STAT_GATE + GATE_REASON_NONE || id == STAT_MALFORMED + FRAME_OK || id >= STAT_COUNT) {
        return NULL;
    }
    if (id < STAT_MALFORMED) {
        (void)g_snprintf(buf, STATS_NAME_MAX, "gate.%s",
                         gate_reason_name((GateReason)(id - STAT_GATE)));
    } else if (id <= STAT_MALFORMED_LAST) {
        (void)g_snprintf(buf, STATS_NAME_MAX, "malformed.%s",
                         frame_status_name((FrameStatus)(id - STAT_MALFORMED)));
    } else {
        (void)g_strlcpy(buf, names[id], STATS_NAME_MAX);
    }
    return buf;
}
