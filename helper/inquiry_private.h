/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_INQUIRY_PRIVATE_H
#define SALLYPORT_INQUIRY_PRIVATE_H

#include <sys/types.h>

#include <jansson.h>

#include "message.h"

/* inquiry_json.c: what the datapath said, in JSON. Pure, but for what /proc says of the processes. */
json_t *inquiry_flow_json(const FlowRecord *flow);
json_t *inquiry_stats_json(const MessageStats *stats, pid_t datapath, pid_t inside);
json_t *inquiry_pcap_json(const MessagePcapDone *done);

#endif
