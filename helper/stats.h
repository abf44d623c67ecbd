/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_STATS_H
#define SALLYPORT_STATS_H

#include <stdint.h>

/*
 * What the datapath counts, by number: it tells the supervisor numbers alone, and both know their names. Since start, unless the
 * name says "now". There is one for each GateReason and each FrameStatus (stats.c asserts how many), and those listed here.
 */
#define STATS_GATE      14
#define STATS_MALFORMED 12

#define STATS_LIST(X)                                                                              \
    X(LINK_FROM_GUEST, "link.from-guest")                                                          \
    X(LINK_TO_GUEST, "link.to-guest")                                                              \
    X(LINK_DROPPED, "link.dropped")                                                                \
    X(TAKEOVER_TAKEN, "takeover.taken")                                                            \
    X(TAKEOVER_REFUSED, "takeover.refused")                                                        \
    X(TAKEOVER_GIVEN_UP, "takeover.given-up")                                                      \
    X(TAKEOVER_NOT_ACCEPTED, "takeover.not-accepted")                                              \
    X(TAKEOVER_SKIPPED, "takeover.skipped")                                                        \
    X(TAKEOVER_OVER_LIMIT, "takeover.over-limit")                                                  \
    X(TAKEOVER_CAME_BACK, "takeover.came-back")                                                    \
    X(TAKEOVER_UNMATCHED, "takeover.unmatched")                                                    \
    X(TAKEOVER_RETURNED, "takeover.returned")                                                      \
    X(TAKEOVER_PENDING, "takeover.pending-now")                                                    \
    X(FORWARD_ACCEPTED, "forward.accepted")                                                        \
    X(FORWARD_REFUSED, "forward.refused")                                                          \
    X(FORWARD_OVER_LIMIT, "forward.over-limit")                                                    \
    X(FORWARD_UDP_FLOWS, "forward.udp-clients")                                                    \
    X(FORWARD_UDP_DROPPED, "forward.udp-dropped")                                                  \
    X(FORWARD_OTHER_PORT, "forward.source-other-port")                                             \
    X(FORWARD_AS_GATEWAY, "forward.source-gateway")                                                \
    X(NAT_REFUSED, "nat.over-limit")                                                               \
    X(NAT_SOCKETS, "nat.sockets-now")                                                              \
    X(DNS_DROPPED, "dns.dropped")                                                                  \
    X(PING_FAILED, "ping.failed")                                                                  \
    X(PING_EVICTED, "ping.over-limit")                                                             \
    X(LOG_LEFT_OUT, "log.left-out")                                                                \
    X(PCAP_FRAMES, "pcap.frames")                                                                  \
    X(PCAP_DROPPED, "pcap.dropped")

#define STATS_ENUM(id, name) STAT_##id,
typedef enum StatId {
    STAT_GATE,
    STAT_MALFORMED = STAT_GATE + STATS_GATE,
    STAT_MALFORMED_LAST = STAT_MALFORMED + STATS_MALFORMED - 1,
    STATS_LIST(STATS_ENUM) STAT_COUNT
} StatId;
#undef STATS_ENUM

#define STATS_NAME_MAX 64

/* "gate.malformed". Returns @buf, or NULL for a number that nothing is counted under. */
const char *stats_name(unsigned id, char buf[STATS_NAME_MAX]);

typedef enum StatsProtocol { STATS_TCP, STATS_UDP, STATS_ICMP, STATS_PROTOCOLS } StatsProtocol;

/* Flows of one protocol, with bytes of payload since start: towards the guest and from it. */
typedef struct FlowTotal {
    uint64_t now;
    uint64_t ever;
    uint64_t bytes_in;
    uint64_t bytes_out;
} FlowTotal;

#endif
