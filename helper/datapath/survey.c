/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * survey.c - what the supervisor may ask of a running datapath
 *
 * Does:     collects flows and counters from the rooms that have them; begins and ends recordings; sets the log level.
 * Runs in:  the datapath, on the loop thread, one question a turn of the loop.
 * Trusts:   the supervisor. It asks for clients of its own, who must not be able to delay a packet: so each answer is one message,
 *           made without a system call but for names of sockets, MESSAGE_FLOWS_MAX times four at most.
 * Memory:   is not told here. mallinfo2(3) walks all free chunks, which a guest can make many of; the supervisor sees what is resident.
 * Cursor:   the number of a table in its upper half, a place in that table in its lower one. See flow_table_page() for
 *           what a walk promises while flows come and go. A connection that is joined during one may show as two, waiting and
 *           joined, for these are two tables; it then shows in that order, and is gone from the first.
 */
#include "config.h"

#include "survey.h"

#include <errno.h>
#include <string.h>

#include "../fd.h"
#include "nat.h"

/* Of all tables together, in one answer: about 10 us. */
#define SURVEY_PLACES 4096

/* In the order of a walk: what waits is joined later. */
typedef enum SurveyTable {
    SURVEY_PENDING,
    SURVEY_RELAYS,
    SURVEY_UDP,
    SURVEY_NAT,
    SURVEY_TABLES
} SurveyTable;

/* RelayPathFunc */
static FlowPath survey_path(const RelayOwner *owner, void *path_data)
{
    const SurveyRooms *rooms = path_data;

    return rooms->takeover != NULL && takeover_owns(rooms->takeover, owner) ? FLOW_PATH_TAKEOVER
                                                                            : FLOW_PATH_RELAY;
}

static uint32_t survey_page(SurveyRooms *rooms, SurveyTable table, uint32_t place, FlowList *list)
{
    switch (table) {
    case SURVEY_PENDING:
        return rooms->takeover == NULL ? FLOW_PLACE_END
                                       : takeover_page(rooms->takeover, place, list);
    case SURVEY_RELAYS:
        return rooms->relays == NULL ? FLOW_PLACE_END
                                     : relays_page(rooms->relays, place, list, survey_path, rooms);
    case SURVEY_UDP:
        return rooms->forward == NULL ? FLOW_PLACE_END
                                      : forward_udp_page(rooms->forward, place, list);
    case SURVEY_NAT:
        return rooms->natflows == NULL ? FLOW_PLACE_END
                                       : natflows_page(rooms->natflows, place, list);
    case SURVEY_TABLES:
        break;
    }
    return FLOW_PLACE_END;
}

typedef struct SurveyFlows {
    MessageFlows *message;
    uint32_t limit;
} SurveyFlows;

/* FlowListFunc */
static bool survey_add_flow(const FlowRecord *record, void *user_data)
{
    const SurveyFlows *flows = user_data;

    if (flows->message->count == flows->limit) {
        return false;
    }
    flows->message->flows[flows->message->count++] = *record;
    return true;
}

static void survey_flows(const SurveyRooms *rooms, const MessageFlowsQuery *query)
{
    SurveyRooms known = *rooms;
    MessageFlows answer;
    SurveyFlows flows = {&answer, MIN(query->limit, MESSAGE_FLOWS_MAX)};
    FlowList list = {survey_add_flow, &flows, SURVEY_PLACES};
    uint64_t table = query->cursor >> 32;
    uint32_t place = (uint32_t)query->cursor;

    memset(&answer, 0, sizeof(answer));
    answer.type = MESSAGE_FLOWS;
    answer.id = query->id;
    while (table < SURVEY_TABLES && list.places > 0) {
        place = survey_page(&known, (SurveyTable)table, place, &list);
        if (place != FLOW_PLACE_END) {
            break; /* full, or all places looked at */
        }
        table++;
        place = 0;
    }
    answer.cursor = table < SURVEY_TABLES ? table << 32 | place : MESSAGE_FLOWS_END;
    answers_send(rooms->answers, &answer, sizeof(answer));
}

/* ---- counters ---- */

static void survey_count_gate(const Gate *gate, uint64_t *counters)
{
    for (unsigned i = 0; i < GATE_REASON_COUNT; i++) {
        counters[STAT_GATE + i] = gate_counter(gate, (GateReason)i);
    }
    for (unsigned i = 0; i < FRAME_STATUS_COUNT; i++) {
        counters[STAT_MALFORMED + i] = gate_malformed_counter(gate, (FrameStatus)i);
    }
}

static void survey_count_takeover(const Takeover *takeover, uint64_t *counters)
{
    const TakeoverCounters *from = takeover_counters(takeover);

    counters[STAT_TAKEOVER_TAKEN] = from->taken;
    counters[STAT_TAKEOVER_REFUSED] = from->refused;
    counters[STAT_TAKEOVER_GIVEN_UP] = from->given_up;
    counters[STAT_TAKEOVER_NOT_ACCEPTED] = from->not_accepted;
    counters[STAT_TAKEOVER_SKIPPED] = from->skipped;
    counters[STAT_TAKEOVER_OVER_LIMIT] = from->over_limit;
    counters[STAT_TAKEOVER_CAME_BACK] = from->came_back;
    counters[STAT_TAKEOVER_UNMATCHED] = from->unmatched;
    counters[STAT_TAKEOVER_RETURNED] = from->returned;
    counters[STAT_TAKEOVER_PENDING] = takeover_pending(takeover);
}

static void survey_count_forward(const SurveyRooms *rooms, uint64_t *counters)
{
    const ForwardCounters *from = forward_counters(rooms->forward);
    const GuestSockCounters *sockets = guestsock_counters(rooms->guestsock);

    counters[STAT_FORWARD_ACCEPTED] = from->accepted;
    counters[STAT_FORWARD_REFUSED] = from->refused;
    counters[STAT_FORWARD_OVER_LIMIT] = from->over_limit;
    counters[STAT_FORWARD_UDP_FLOWS] = from->udp_flows;
    counters[STAT_FORWARD_UDP_DROPPED] = from->udp_dropped;
    counters[STAT_FORWARD_OTHER_PORT] = sockets->other_port;
    counters[STAT_FORWARD_AS_GATEWAY] = sockets->as_gateway;
}

static void survey_count_rest(const SurveyRooms *rooms, uint64_t *counters)
{
    PcapCounts recorded = pcap_counts(rooms->pcap);

    if (rooms->link != NULL) {
        const LinkCounters *link = link_counters(rooms->link);

        counters[STAT_LINK_FROM_GUEST] = link->from_guest;
        counters[STAT_LINK_TO_GUEST] = link->to_guest;
        counters[STAT_LINK_DROPPED] = link->dropped;
    }
    if (rooms->nat != NULL) {
        counters[STAT_NAT_REFUSED] = natshare_refused(rooms->natshare);
        counters[STAT_NAT_SOCKETS] = nat_sockets(rooms->nat);
    }
    if (rooms->ping != NULL) {
        PingCounters ping = ping_counters(rooms->ping);

        counters[STAT_PING_FAILED] = ping.failed;
        counters[STAT_PING_EVICTED] = ping.over_limit;
    }
    counters[STAT_DNS_DROPPED] = dns_dropped(rooms->dns);
    counters[STAT_LOG_LEFT_OUT] = loglimit_left_out(rooms->log);
    counters[STAT_PCAP_FRAMES] = recorded.frames;
    counters[STAT_PCAP_DROPPED] = recorded.dropped;
}

static void survey_add(FlowTotal *sum, FlowTotal total)
{
    sum->now += total.now;
    sum->ever += total.ever;
    sum->bytes_in += total.bytes_in;
    sum->bytes_out += total.bytes_out;
}

static void survey_sum(const SurveyRooms *rooms, FlowTotal totals[STATS_PROTOCOLS])
{
    survey_add(&totals[STATS_TCP], relays_total(rooms->relays));
    if (rooms->natflows != NULL) {
        survey_add(&totals[STATS_TCP], natflows_total(rooms->natflows, IPPROTO_TCP));
        survey_add(&totals[STATS_UDP], natflows_total(rooms->natflows, IPPROTO_UDP));
    }
    if (rooms->forward != NULL) {
        survey_add(&totals[STATS_UDP], forward_udp_total(rooms->forward));
    }
    if (rooms->ping != NULL) {
        survey_add(&totals[STATS_ICMP], ping_total(rooms->ping));
    }
}

static void survey_stats(const SurveyRooms *rooms, uint32_t id)
{
    MessageStats answer;

    memset(&answer, 0, sizeof(answer));
    answer.type = MESSAGE_STATS;
    answer.id = id;
    survey_count_gate(rooms->gate, answer.counters);
    if (rooms->takeover != NULL) {
        survey_count_takeover(rooms->takeover, answer.counters);
    }
    if (rooms->forward != NULL) {
        survey_count_forward(rooms, answer.counters);
    }
    survey_count_rest(rooms, answer.counters);
    survey_sum(rooms, answer.totals);
    answer.nofile = rooms->nofile;
    answers_send(rooms->answers, &answer, sizeof(answer));
}

/* ---- the rest ---- */

static void survey_pcap(const SurveyRooms *rooms, const MessagePcap *message, const int *take_fds,
                        size_t count)
{
    MessagePcapDone answer = {.type = MESSAGE_PCAP_DONE, .id = message->id};
    PcapCounts counts;

    if (take_fds == NULL) {
        answer.errnum = EMFILE;
    } else if (count > 0) {
        answer.errnum = -pcap_start(rooms->pcap, take_fds[0], message->max_bytes);
    } else {
        pcap_stop(rooms->pcap);
        counts = pcap_counts(rooms->pcap);
        answer.bytes = counts.bytes;
        answer.frames = counts.frames;
        answer.dropped = counts.dropped;
    }
    answers_send(rooms->answers, &answer, sizeof(answer));
}

bool survey_take(const SurveyRooms *rooms, const Message *message, const int *take_fds,
                 size_t count)
{
    switch (message->type) {
    case MESSAGE_FLOWS_QUERY:
        survey_flows(rooms, &message->flows_query);
        return true;
    case MESSAGE_STATS_QUERY:
        survey_stats(rooms, message->query.id);
        return true;
    case MESSAGE_PCAP:
        survey_pcap(rooms, &message->pcap, take_fds, count);
        return true;
    case MESSAGE_LOG_LEVEL:
        loglimit_set_most(rooms->log, (LogLevel)MIN(message->log_level.level, LOG_LEVEL_DEBUG));
        return true;
    default:
        return false;
    }
}
