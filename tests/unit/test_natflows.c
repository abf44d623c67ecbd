/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_natflows.c - flows of libslirp's, from the frames that pass it
 *
 * Does:     bytes each once, whatever is sent again and whatever the guest claims; ends, names used again, pages.
 * Not here: the real libslirp (system tests).
 */
#include "config.h"

#include <criterion/criterion.h>
#include <netinet/in.h>

#include "datapath/natflows.h"

#include "frame_samples.h"

#define GUEST  "10.0.2.100"
#define SERVER "93.184.216.34"

typedef struct Listed {
    unsigned count;
    FlowRecord last;
} Listed;

static bool on_listed(const FlowRecord *record, void *user_data)
{
    Listed *listed = user_data;

    listed->count++;
    listed->last = *record;
    return true;
}

static Listed list(const NatFlows *flows)
{
    Listed listed = {0};
    FlowList page = {on_listed, &listed, 1000};

    cr_expect_eq(natflows_page(flows, 0, &page), FLOW_PLACE_END);
    return listed;
}

static FrameView from_guest(uint8_t flags, uint32_t seq, size_t len)
{
    TcpSpec spec = {GUEST,          SERVER,     .src_port = 40000, .dst_port = 443,
                    .flags = flags, .seq = seq, .len = len};
    uint8_t frame[4096];
    FrameView view;

    cr_assert_eq(frame_parse(frame, sample_tcp(frame, &spec), &view), FRAME_OK);
    return view;
}

/* libslirp to the guest. */
static void to_guest(NatFlows *flows, uint8_t flags, uint32_t seq, uint32_t ack, size_t len)
{
    TcpSpec spec = {SERVER,         GUEST,      .src_port = 443, .dst_port = 40000,
                    .flags = flags, .seq = seq, .ack = ack,      .len = len};
    uint8_t frame[4096];

    natflows_to_guest(flows, frame, sample_tcp(frame, &spec));
}

static void expect(const NatFlows *flows, uint64_t in, uint64_t out, FlowState state)
{
    Listed listed = list(flows);

    cr_assert_eq(listed.count, 1);
    cr_expect_eq(listed.last.bytes_in, in, "in: %u", (unsigned)listed.last.bytes_in);
    cr_expect_eq(listed.last.bytes_out, out, "out: %u", (unsigned)listed.last.bytes_out);
    cr_expect_eq(listed.last.state, state);
    cr_expect_eq(listed.last.path, FLOW_PATH_NAT);
    cr_expect_eq(listed.last.protocol, IPPROTO_TCP);
    cr_expect_eq(listed.last.guest_local.port, 40000);
    cr_expect_eq(listed.last.guest_remote.port, 443);
}

Test(natflows, tcp_bytes_count_once_and_syn_and_fin_not_at_all)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(NatFlows) flows = natflows_new(context);
    FrameView syn = from_guest(FRAME_TCP_SYN, 0xffffff00, 0); /* its stream passes 0 */
    FrameView fin;

    natflows_opened(flows, 1000, &syn);
    expect(flows, 0, 0, FLOW_STATE_CONNECTING);
    to_guest(flows, FRAME_TCP_SYN | FRAME_TCP_ACK, 5000, 0xffffff01, 0);
    expect(flows, 0, 0, FLOW_STATE_OPEN);
    to_guest(flows, FRAME_TCP_ACK, 5001, 0xffffff01, 1000);
    to_guest(flows, FRAME_TCP_ACK, 6001, 0xffffff01 + 600, 500);
    to_guest(flows, FRAME_TCP_ACK, 5001, 0xffffff01 + 600, 1000); /* once more */
    to_guest(flows, FRAME_TCP_ACK, 5501, 0xffffff01 + 300, 1100); /* the last 100 are new */
    expect(flows, 1600, 600, FLOW_STATE_OPEN);
    fin = from_guest(FRAME_TCP_ACK | FRAME_TCP_FIN, 0xffffff01 + 600, 10);
    natflows_from_guest(flows, &fin);
    expect(flows, 1600, 600, FLOW_STATE_LOCAL_CLOSED);
    to_guest(flows, FRAME_TCP_ACK, 6601, 0xffffff01 + 611, 0);
    expect(flows, 1600, 610, FLOW_STATE_LOCAL_CLOSED);
    to_guest(flows, FRAME_TCP_ACK | FRAME_TCP_FIN, 6601, 0xffffff01 + 611, 0);
    to_guest(flows, FRAME_TCP_ACK, 6602, 0xffffff01 + 611, 0);
    expect(flows, 1600, 610, FLOW_STATE_BOTH_CLOSED);
    cr_expect_eq(natflows_total(flows, IPPROTO_TCP).now, 1);
    natflows_closed(flows, 1000);
    cr_expect_eq(list(flows).count, 0);
    cr_expect_eq(natflows_total(flows, IPPROTO_TCP).now, 0);
    cr_expect_eq(natflows_total(flows, IPPROTO_TCP).ever, 1);
    cr_expect_eq(natflows_total(flows, IPPROTO_TCP).bytes_in, 1600);
    cr_expect_eq(natflows_total(flows, IPPROTO_TCP).bytes_out, 610);
}

Test(natflows, guest_that_lies_changes_no_count)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(NatFlows) flows = natflows_new(context);
    FrameView syn = from_guest(FRAME_TCP_SYN, 1000, 0);
    FrameView lie;

    natflows_opened(flows, 1000, &syn);
    to_guest(flows, FRAME_TCP_SYN | FRAME_TCP_ACK, 5000, 1001, 0);
    lie = from_guest(FRAME_TCP_ACK, 900000, 1000); /* of no window */
    natflows_from_guest(flows, &lie);
    lie = from_guest(FRAME_TCP_ACK | FRAME_TCP_FIN, 2000, 0); /* an end where more comes */
    natflows_from_guest(flows, &lie);
    to_guest(flows, FRAME_TCP_ACK, 5001, 2001, 0);
    to_guest(flows, FRAME_TCP_ACK, 5001, 4001, 0);
    cr_expect_eq(list(flows).last.bytes_out, 3000);
    to_guest(flows, FRAME_TCP_RST, 77777, 88888, 0);
    cr_expect_eq(list(flows).last.bytes_out, 3000);
    natflows_closed(flows, 1000);
}

Test(natflows, names_and_fds_that_are_used_again_begin_a_new_flow)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(NatFlows) flows = natflows_new(context);
    FrameView syn = from_guest(FRAME_TCP_SYN, 1000, 0);

    natflows_opened(flows, 1000, &syn);
    to_guest(flows, FRAME_TCP_SYN | FRAME_TCP_ACK, 5000, 1001, 0);
    to_guest(flows, FRAME_TCP_ACK, 5001, 1101, 100);
    natflows_opened(flows, 1001, &syn); /* the same tuple, before the old socket is closed */
    expect(flows, 0, 0, FLOW_STATE_CONNECTING);
    natflows_closed(flows, 1000);
    cr_expect_eq(list(flows).count, 1, "the old one's close is not the new one's");
    natflows_opened(flows, 1001, &syn); /* the same fd, whose close was not told */
    cr_expect_eq(list(flows).count, 1);
    cr_expect_eq(natflows_total(flows, IPPROTO_TCP).now, 1);
    cr_expect_eq(natflows_total(flows, IPPROTO_TCP).ever, 3);
    natflows_closed(flows, 1001);
    natflows_closed(flows, 1001);
    natflows_closed(flows, 99999);
    natflows_closed(flows, -1);
    cr_expect_eq(natflows_total(flows, IPPROTO_TCP).now, 0);
}

Test(natflows, udp_source_is_one_flow_whoever_it_writes_to)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(NatFlows) flows = natflows_new(context);
    uint8_t frame[256];
    FrameView view;
    Listed listed;
    size_t len = sample_udp(frame, GUEST, 5000, SERVER, 53);

    cr_assert_eq(frame_parse(frame, len, &view), FRAME_OK);
    natflows_from_guest(flows, &view); /* no socket yet: counted when there is one */
    natflows_opened(flows, 1000, &view);
    len = sample_udp(frame, GUEST, 5000, "192.0.2.9", 123);
    cr_assert_eq(frame_parse(frame, len, &view), FRAME_OK);
    natflows_from_guest(flows, &view);
    natflows_to_guest(flows, frame, sample_udp(frame, SERVER, 53, GUEST, 5000));
    natflows_to_guest(flows, frame, sample_udp(frame, SERVER, 53, GUEST, 5001)); /* of no flow */
    listed = list(flows);
    cr_expect_eq(listed.count, 1);
    cr_expect_eq(listed.last.bytes_out, 10);
    cr_expect_eq(listed.last.bytes_in, 5);
    cr_expect_eq(listed.last.guest_remote.port, 123, "the last one it wrote to");
    cr_expect_eq(natflows_total(flows, IPPROTO_UDP).now, 1);
    cr_expect_eq(natflows_total(flows, IPPROTO_TCP).ever, 0);
    natflows_closed(flows, 1000);
}

Test(natflows, frames_that_are_none_are_nothing)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(NatFlows) flows = natflows_new(context);
    uint8_t frame[256];
    size_t len = sample_get("arp request", frame);
    FrameView view;

    natflows_to_guest(flows, frame, len);
    natflows_to_guest(flows, frame, 3);
    cr_assert_eq(frame_parse(frame, len, &view), FRAME_OK);
    natflows_opened(flows, 1000, &view);
    cr_expect_eq(list(flows).count, 0);
}
