/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * inquiry_json.c - what the datapath said, in JSON
 *
 * Runs in:  the supervisor.
 * Trusts:   the datapath not at all: every number that chooses a word is looked at.
 */
#include "config.h"

#include "inquiry_private.h"

#include <unistd.h>

#include <glib.h>

#include "footprint.h"

/* JSON's integers are signed here. */
static json_t *inquiry_number(uint64_t value)
{
    return json_integer((json_int_t)MIN(value, (uint64_t)INT64_MAX));
}

/* @value: negative if it is not known. */
static json_t *inquiry_maybe(int64_t value)
{
    return value < 0 ? json_null() : json_integer((json_int_t)value);
}

static json_t *inquiry_word(const char *const *words, size_t count, unsigned index)
{
    return index < count ? json_string(words[index]) : json_null();
}

static json_t *inquiry_address(const FlowAddr *addr)
{
    char text[NETADDR_STRLEN];

    return addr->addr.family == AF_INET || addr->addr.family == AF_INET6
               ? json_string(netaddr_format_port(&addr->addr, addr->port, text))
               : json_null();
}

static json_t *inquiry_ends(const FlowAddr *local, const FlowAddr *remote)
{
    return json_pack("{s:o, s:o}", "local", inquiry_address(local), "remote",
                     inquiry_address(remote));
}

json_t *inquiry_flow_json(const FlowRecord *flow)
{
    static const char *const paths[FLOW_PATHS] = {[FLOW_PATH_TAKEOVER] = "takeover",
                                                  [FLOW_PATH_RELAY] = "relay",
                                                  [FLOW_PATH_UDP] = "udp",
                                                  [FLOW_PATH_NAT] = "nat"};
    static const char *const states[FLOW_STATES] = {[FLOW_STATE_OPEN] = "open",
                                                    [FLOW_STATE_REMOTE_CLOSED] = "remote-closed",
                                                    [FLOW_STATE_LOCAL_CLOSED] = "guest-closed",
                                                    [FLOW_STATE_BOTH_CLOSED] = "closing",
                                                    [FLOW_STATE_CONNECTING] = "connecting"};

    return json_pack("{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "path",
                     inquiry_word(paths, FLOW_PATHS, flow->path), "protocol",
                     flow->protocol == IPPROTO_TCP ? "tcp" : "udp", "guest",
                     inquiry_ends(&flow->guest_local, &flow->guest_remote), "host",
                     inquiry_ends(&flow->host_local, &flow->host_remote), "bytes_in",
                     inquiry_number(flow->bytes_in), "bytes_out", inquiry_number(flow->bytes_out),
                     "age_ms", inquiry_number(flow->age_ms), "state",
                     inquiry_word(states, FLOW_STATES, flow->state));
}

static json_t *inquiry_counters(const MessageStats *stats)
{
    json_t *counters = json_object();
    char buf[STATS_NAME_MAX];

    for (unsigned id = 0; id < STAT_COUNT; id++) {
        const char *name = stats_name(id, buf);

        if (name != NULL) {
            (void)json_object_set_new(counters, name, inquiry_number(stats->counters[id]));
        }
    }
    return counters;
}

static json_t *inquiry_total(const FlowTotal *total)
{
    return json_pack("{s:o, s:o, s:o, s:o}", "flows", inquiry_number(total->now), "flows_ever",
                     inquiry_number(total->ever), "bytes_in", inquiry_number(total->bytes_in),
                     "bytes_out", inquiry_number(total->bytes_out));
}

static json_t *inquiry_process(pid_t pid)
{
    return json_pack("{s:o}", "rss", inquiry_maybe(pid > 0 ? footprint_rss(pid) : -1));
}

json_t *inquiry_stats_json(const MessageStats *stats, pid_t datapath, pid_t inside)
{
    json_t *memory = json_pack("{s:o, s:o, s:o}", "supervisor", inquiry_process(getpid()), "inside",
                               inquiry_process(inside), "datapath", inquiry_process(datapath));

    return json_pack("{s:o, s:{s:o, s:o, s:o}, s:o, s:{s:{s:o, s:o}}}", "counters",
                     inquiry_counters(stats), "totals", "tcp",
                     inquiry_total(&stats->totals[STATS_TCP]), "udp",
                     inquiry_total(&stats->totals[STATS_UDP]), "icmp",
                     inquiry_total(&stats->totals[STATS_ICMP]), "memory", memory, "fds", "datapath",
                     "used", inquiry_maybe(datapath > 0 ? footprint_fds(datapath) : -1), "limit",
                     inquiry_number(stats->nofile));
}

json_t *inquiry_pcap_json(const MessagePcapDone *done)
{
    return json_pack("{s:o, s:o, s:o}", "bytes", inquiry_number(done->bytes), "frames",
                     inquiry_number(done->frames), "dropped", inquiry_number(done->dropped));
}
