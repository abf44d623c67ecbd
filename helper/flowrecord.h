/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_FLOWRECORD_H
#define SALLYPORT_FLOWRECORD_H

#include <stdint.h>

#include "netaddr.h"

/* Who moves the bytes of a flow. */
typedef enum FlowPath {
    FLOW_PATH_TAKEOVER, /* outbound TCP that the guest's own kernel carries */
    FLOW_PATH_RELAY,    /* a client of a published TCP port */
    FLOW_PATH_UDP,      /* a client of a published UDP port */
    FLOW_PATH_NAT,      /* libslirp */
    FLOW_PATHS
} FlowPath;

/* How far a flow is: a side that is "closed" has sent its last byte. */
typedef enum FlowState {
    FLOW_STATE_OPEN,
    FLOW_STATE_REMOTE_CLOSED,
    FLOW_STATE_LOCAL_CLOSED, /* the guest's side */
    FLOW_STATE_BOTH_CLOSED,
    FLOW_STATE_CONNECTING,
    FLOW_STATES
} FlowState;

/* AF_UNSPEC: not known, or there is none. @port in host byte order. */
typedef struct FlowAddr {
    NetAddr addr;
    uint16_t port;
} FlowAddr;

/**
 * struct FlowRecord - one flow, as the datapath tells the supervisor of it
 * @path, @state: a FlowPath, a FlowState; @protocol: IPPROTO_TCP or IPPROTO_UDP
 * @guest_local:  the guest's own address; @guest_remote: its peer, by the name the guest knows it by
 * @host_local:   of our socket on the host; @host_remote: of its peer
 * @bytes_in, @bytes_out: of payload, towards the guest and from it
 */
typedef struct FlowRecord {
    uint8_t path;
    uint8_t protocol;
    uint8_t state;
    FlowAddr guest_local;
    FlowAddr guest_remote;
    FlowAddr host_local;
    FlowAddr host_remote;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t age_ms;
} FlowRecord;

#endif
