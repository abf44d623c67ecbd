/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CONTROL_ASK_H
#define SALLYPORT_CONTROL_ASK_H

#include <jansson.h>

#include "control.h"

/* Commands that the datapath answers; @user_data of each is a CommandParts. See ControlCommand. */
void ask_flows(Request *take_request, const json_t *arguments, void *user_data);
void ask_stats(Request *take_request, const json_t *arguments, void *user_data);
void ask_pcap(Request *take_request, const json_t *arguments, void *user_data);
void ask_log_level(Request *take_request, const json_t *arguments, void *user_data);

extern const char *const ask_flows_keys[];
extern const char *const ask_pcap_keys[];
extern const char *const ask_log_level_keys[];

#endif
