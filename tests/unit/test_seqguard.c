/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_seqguard.c - TCP streams that pass the number libslirp 4.7.0 cannot stand
 *
 * Does:     the five ways to crash it, each made harmless; streams that cross the number in every
 *           alignment arrive whole; what is remembered is forgotten in time.
 * Model:    P is 0 for IPv4 and, for IPv6, bytes 4 to 7 of the guest's address as the machine reads
 *           them. Nothing that reaches libslirp may end there.
 */
#include "config.h"

#include "datapath/seqguard.h"

#include <criterion/criterion.h>

#include "frame_samples.h"

static const char *const guests[] = {"10.0.2.100", "fd00::64", "fd00:1:203:405::64",
                                     "fe80:0:1234:5678::1"};
static const char *const remotes[] = {"1.1.1.1", "2606:4700::1", "2606:4700::1", "2606:4700::1"};

static uint8_t frame[FRAME_MAX];

static uint32_t poison_of_guest(size_t g)
{
    NetAddr addr = sample_addr(guests[g]);
    uint32_t value = 0;

    if (addr.family == AF_INET6)
        memcpy(&value, addr.v6.s6_addr + 4, sizeof(value));
    return value;
}

/* A segment of the guest through the guard; @ret_view says what is left of it. */
static void to_nat(SeqGuard *guard, size_t g, uint32_t seq, uint8_t flags, size_t len,
                   FrameView *ret_view)
{
    TcpSpec spec = {guests[g], remotes[g], .seq = seq, .flags = flags, .len = len};
    FrameView view;
    size_t left;

    cr_assert_eq(frame_parse(frame, sample_tcp(frame, &spec), &view), FRAME_OK);
    left = seqguard_to_nat(guard, frame, &view);
    cr_assert_eq(frame_parse(frame, left, ret_view), FRAME_OK);
    cr_assert_eq(ret_view->end, left);
    cr_assert_eq(view.end, left);
    cr_assert_eq(view.seq, ret_view->seq);
    cr_assert_eq(view.tcp_flags, ret_view->tcp_flags);
    cr_assert(frame_checksums_ok(frame, ret_view));
}

/* A segment of libslirp. */
static void from_nat(SeqGuard *guard, size_t g, uint32_t ack, uint16_t window, uint8_t flags)
{
    TcpSpec spec = {remotes[g], guests[g],      .src_port = 80,  .dst_port = 40000,
                    .ack = ack, .flags = flags, .window = window};
    FrameView view;
    const uint8_t *guest6 = NULL;

    cr_assert_eq(frame_parse(frame, sample_tcp(frame, &spec), &view), FRAME_OK);
    if (view.dst.family == AF_INET6)
        guest6 = view.dst.v6.s6_addr;
    if (seqguard_cares(guard, guest6, view.ack))
        seqguard_from_nat(guard, frame, &view);
}

static size_t data_len(const FrameView *view)
{
    return view->end - view->payload;
}

static uint32_t data_end(const FrameView *view)
{
    return view->seq + !!(view->tcp_flags & FRAME_TCP_SYN) + (uint32_t)data_len(view);
}

Test(seqguard, a_segment_that_ends_at_the_number_loses_a_byte_and_fin)
{
    for (size_t g = 0; g < G_N_ELEMENTS(guests); g++) {
        g_autoptr(SeqGuard) guard = seqguard_new();
        uint32_t p = poison_of_guest(g);
        FrameView view;

        for (size_t len = 1; len < 5; len++) {
            to_nat(guard, g, p - (uint32_t)len, 0x19, len, &view);
            cr_assert_eq(data_end(&view), p - 1);
            cr_assert_eq(view.tcp_flags, 0x18);
            to_nat(guard, g, p - (uint32_t)len, 0x10, len - 1, &view);
            cr_assert_eq(data_len(&view), len - 1, "one that ends before it passes");
        }
    }
}

Test(seqguard, a_lone_fin_at_the_number_loses_the_fin_and_an_ack_passes)
{
    for (size_t g = 0; g < G_N_ELEMENTS(guests); g++) {
        g_autoptr(SeqGuard) guard = seqguard_new();
        uint32_t p = poison_of_guest(g);
        FrameView view;

        to_nat(guard, g, p, 0x11, 0, &view);
        cr_assert_eq(view.tcp_flags, 0x10);
        to_nat(guard, g, p, 0x10, 0, &view);
        cr_assert_eq(view.tcp_flags, 0x10);
        to_nat(guard, g, p - 1, 0x11, 0, &view);
        cr_assert_eq(view.tcp_flags, 0x11);
        to_nat(guard, g, p + 1, 0x11, 0, &view);
        cr_assert_eq(view.tcp_flags, 0x11);
    }
}

Test(seqguard, syn_takes_a_number_before_its_data)
{
    for (size_t g = 0; g < G_N_ELEMENTS(guests); g++) {
        g_autoptr(SeqGuard) guard = seqguard_new();
        uint32_t p = poison_of_guest(g);
        FrameView view;

        to_nat(guard, g, p - 11, 0x02, 10, &view);
        cr_assert_eq(data_len(&view), 9);
        to_nat(guard, g, p - 10, 0x02, 10, &view);
        cr_assert_eq(data_len(&view), 8, "across is no better");
        to_nat(guard, g, p - 12, 0x02, 10, &view);
        cr_assert_eq(data_len(&view), 10);
        to_nat(guard, g, p - 1, 0x02, 10, &view);
        cr_assert_eq(data_len(&view), 10);
        to_nat(guard, g, p - 1, 0x02, 0, &view);
        cr_assert_eq(view.tcp_flags, 0x02);
    }
}

Test(seqguard, a_segment_across_passes_only_within_the_window_offered)
{
    for (size_t g = 0; g < G_N_ELEMENTS(guests); g++) {
        g_autoptr(SeqGuard) guard = seqguard_new();
        uint32_t p = poison_of_guest(g);
        FrameView view;

        to_nat(guard, g, p - 100, 0x18, 200, &view);
        cr_assert_eq(data_end(&view), p - 1, "no window is known");
        from_nat(guard, g, p - 100, 200, FRAME_TCP_ACK);
        to_nat(guard, g, p - 100, 0x18, 200, &view);
        cr_assert_eq(data_len(&view), 200);
        to_nat(guard, g, p - 100, 0x18, 201, &view);
        cr_assert_eq(data_end(&view), p - 1, "beyond it");
        from_nat(guard, g, p - 100, 99, FRAME_TCP_ACK);
        to_nat(guard, g, p - 100, 0x18, 200, &view);
        cr_assert_eq(data_end(&view), p - 1, "it shrank");
    }
}

Test(seqguard, what_is_known_ends_with_the_connection_and_with_the_passage)
{
    for (size_t g = 0; g < G_N_ELEMENTS(guests); g++) {
        static const uint8_t ends[] = {FRAME_TCP_SYN | FRAME_TCP_ACK, FRAME_TCP_RST, FRAME_TCP_ACK};
        uint32_t p = poison_of_guest(g);
        FrameView view;

        for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
            g_autoptr(SeqGuard) guard = seqguard_new();

            from_nat(guard, g, p - 100, 65535, FRAME_TCP_ACK);
            from_nat(guard, g, p + 5, 65535, ends[i]);
            to_nat(guard, g, p - 100, 0x18, 200, &view);
            cr_assert_eq(data_end(&view), p - 1);
            cr_assert_not(seqguard_cares(guard, NULL, 12345), "nothing is kept");
        }
    }
}

Test(seqguard, other_connections_windows_do_not_count)
{
    g_autoptr(SeqGuard) guard = seqguard_new();
    TcpSpec other = {"1.1.1.1",         "10.0.2.100", .src_port = 80,
                     .dst_port = 40001, .ack = -100u, .flags = FRAME_TCP_ACK};
    FrameView view;

    cr_assert_eq(frame_parse(frame, sample_tcp(frame, &other), &view), FRAME_OK);
    seqguard_from_nat(guard, frame, &view);
    to_nat(guard, 0, -100u, 0x18, 200, &view);
    cr_assert_eq(data_end(&view), UINT32_MAX);
}

Test(seqguard, thousands_of_connections_only_make_it_forget)
{
    g_autoptr(SeqGuard) guard = seqguard_new();

    for (unsigned port = 1; port < 5000; port++) {
        TcpSpec ack = {"1.1.1.1",      "10.0.2.100",
                       .src_port = 80, .dst_port = (uint16_t)port,
                       .ack = -100u,   .flags = FRAME_TCP_ACK};
        FrameView view;

        cr_assert_eq(frame_parse(frame, sample_tcp(frame, &ack), &view), FRAME_OK);
        seqguard_from_nat(guard, frame, &view);
        ack.ack = 5;
        if (port % 2)
            continue;
        cr_assert_eq(frame_parse(frame, sample_tcp(frame, &ack), &view), FRAME_OK);
        seqguard_from_nat(guard, frame, &view);
    }
    cr_assert(seqguard_cares(guard, NULL, 12345));
}

Test(seqguard, the_number_of_another_family_or_prefix_is_nothing_special)
{
    g_autoptr(SeqGuard) guard = seqguard_new();
    FrameView view;

    to_nat(guard, 2, -10u, 0x19, 10, &view);
    cr_assert_eq(data_len(&view), 10);
    cr_assert_eq(view.tcp_flags, 0x19);
}

Test(seqguard, a_damaged_segment_is_neither_remembered_nor_mended)
{
    g_autoptr(SeqGuard) guard = seqguard_new();
    TcpSpec spec = {"10.0.2.100", "1.1.1.1", .seq = -10u, .flags = 0x18, .len = 10};
    FrameView view;
    size_t len = sample_tcp(frame, &spec);

    from_nat(guard, 0, -10u, 65535, FRAME_TCP_ACK);
    len = sample_tcp(frame, &spec);
    frame[len - 1] ^= 1;
    cr_assert_eq(frame_parse(frame, len, &view), FRAME_OK);
    len = seqguard_to_nat(guard, frame, &view);
    cr_assert_eq(frame_parse(frame, len, &view), FRAME_OK);
    to_nat(guard, 0, 0, 0x18, 10, &view);
    cr_assert_eq(view.seq, 0, "there is nothing to carry");

    to_nat(guard, 0, -10u, 0x18, 10, &view);
    spec.seq = 0;
    len = sample_tcp(frame, &spec);
    frame[len - 1] ^= 1;
    cr_assert_eq(frame_parse(frame, len, &view), FRAME_OK);
    cr_assert_eq(seqguard_to_nat(guard, frame, &view), len);
    cr_assert_not(frame_checksums_ok(frame, &view));
}

/* ---- a sender and a receiver of streams ---- */

#define STREAM 400

typedef struct Receiver {
    bool have[STREAM];
    size_t next; /* of the stream; all before it has arrived */
} Receiver;

/* Takes what is left of a segment as libslirp would: any order, and no segment may end at @p. */
static void receive(Receiver *receiver, uint32_t base, uint32_t p, const FrameView *view)
{
    size_t len = data_len(view);

    if (len > 0 || (view->tcp_flags & FRAME_TCP_FIN))
        cr_assert_neq(data_end(view), p);
    for (size_t i = 0; i < len; i++) {
        uint32_t seq = view->seq + (uint32_t)i;
        size_t at = seq - base;

        cr_assert_lt(at, STREAM);
        cr_assert_eq(frame[view->payload + i], 'a' + seq % 23, "byte %zu", at);
        receiver->have[at] = true;
    }
    while (receiver->next < STREAM && receiver->have[receiver->next])
        receiver->next++;
}

/* Sends the stream in segments of @mss, all at once; then again from the first byte that is
 * missing, in the same segments but for the acknowledged part, as Linux does. Returns the number of
 * rounds. */
static unsigned transfer(size_t g, uint32_t base, size_t mss, bool first_is_lost)
{
    g_autoptr(SeqGuard) guard = seqguard_new();
    uint32_t p = poison_of_guest(g);
    Receiver receiver = {.next = 0};
    unsigned rounds = 0;

    while (receiver.next < STREAM && rounds < 10) {
        size_t first = receiver.next / mss * mss;

        from_nat(guard, g, base + (uint32_t)receiver.next, 60000, FRAME_TCP_ACK);
        for (size_t at = first; at < STREAM; at += mss) {
            size_t from = MAX(at, receiver.next);
            size_t to = MIN(at + mss, STREAM);
            FrameView view;

            if (from >= to)
                continue;
            to_nat(guard, g, base + (uint32_t)from, 0x10, to - from, &view);
            if (!(first_is_lost && rounds == 0 && at == first))
                receive(&receiver, base, p, &view);
            from_nat(guard, g, base + (uint32_t)receiver.next, 60000, FRAME_TCP_ACK);
        }
        rounds++;
    }
    return rounds;
}

Test(seqguard, a_stream_crosses_the_number_in_every_alignment)
{
    for (size_t g = 0; g < G_N_ELEMENTS(guests); g++) {
        for (size_t mss = 2; mss < 60; mss += 7) {
            for (uint32_t before = 1; before <= STREAM - 60; before++) {
                uint32_t base = poison_of_guest(g) - before;
                unsigned rounds = transfer(g, base, mss, false);

                cr_assert_leq(rounds, 2, "mss %zu, %u before", mss, before);
                if (before % mss != 0)
                    cr_assert_eq(rounds, 1, "no delay where nothing ends there");
                rounds = transfer(g, base, mss, true);
                cr_assert_leq(rounds, 4, "mss %zu, %u before, first lost", mss, before);
            }
        }
    }
}
