/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * seqguard.c - keep libslirp 4.7.0 alive where a TCP stream passes one sequence number
 *
 * Why:      tcp_reass() of libslirp before 4.8.0 does not recognise the end of its list of
 *           segments. Having taken the last one, it reads the sequence number of a segment that
 *           does not exist out of its own control block, where four bytes of the guest's address
 *           are: zero for IPv4, bytes 4 to 7 of an IPv6 address. If that equals rcv_nxt, it follows
 *           a wild pointer. Call the number P ("poison").
 * Does:     holds one invariant: no segment (data, or a FIN without data) ends at P, neither as it
 *           was sent nor after libslirp cut it at the right edge of its window. Then rcv_nxt never
 *           is P when the list ends. All of this was seen to crash 4.7.0: out of order; any order
 *           once the host has closed its half; data on a SYN (which takes a number); a lone FIN at
 *           P; a segment across P when the window ends at P.
 * How:      - A segment that ends at P loses its last byte, and the byte is remembered. The next
 *             one, which starts at P, gets it in front and loses its own last byte: libslirp sees
 *             no gap that a retransmission would not fill. Without this, a bulk sender would
 *             retransmit one byte that ends at P for ever.
 *           - A segment across P passes only if it ends within the window that libslirp has
 *             offered; the edge it cuts at is never left of that (rcv_adv never shrinks). Otherwise
 *             it is cut off before the byte in front of P. A peer that heeds the window never sees
 *             this.
 *           - A lone FIN at P loses the FIN.
 * Trusts:   the guest in nothing. Forgetting (a slot taken by another connection) is safe: it only
 *           cuts more.
 * Limits:   SEQGUARD_SLOTS. What does not get through: the end of a stream or of a request that
 *           falls exactly on P, one in 2^32; more data from the guest or its retransmission timeout
 *           ends that. Data on a SYN across P is cut and comes again.
 * Runs in:  the datapath process, loop thread. No I/O, no allocation but the one object.
 */
#include "config.h"

#include "seqguard.h"

#include <string.h>

#include <net/ethernet.h>

#include "framebytes.h"

/* Who talks to whom, as the guest sees it; without padding, so that it can be compared and hashed
 * as bytes. */
typedef struct Tuple {
    uint8_t guest[16];
    uint8_t remote[16];
    uint16_t guest_port;
    uint16_t remote_port;
    uint32_t family;
} Tuple;

/**
 * struct Slot - what is known of one connection near P
 * @edge: right edge of the window libslirp offered last, if @has_edge
 * @byte: the byte in front of P, if @has_byte
 */
typedef struct Slot {
    Tuple tuple;
    uint32_t edge;
    bool used;
    bool has_edge;
    bool has_byte;
    uint8_t byte;
} Slot;

struct SeqGuard {
    unsigned used;
    Slot slots[SEQGUARD_SLOTS];
};

SeqGuard *seqguard_new(void)
{
    return g_new0(SeqGuard, 1);
}

void seqguard_free(SeqGuard *guard)
{
    g_free(guard);
}

/* As libslirp reads it: without a change of byte order. */
static uint32_t poison(const uint8_t *guest6)
{
    uint32_t value = 0;

    if (guest6)
        memcpy(&value, guest6 + 4, sizeof(value));
    return value;
}

static uint32_t poison_of(const NetAddr *guest)
{
    return poison(guest->family == AF_INET6 ? guest->v6.s6_addr : NULL);
}

static void put_addr(uint8_t bytes[16], const NetAddr *addr)
{
    if (addr->family == AF_INET)
        memcpy(bytes, &addr->v4, sizeof(addr->v4));
    else
        memcpy(bytes, &addr->v6, sizeof(addr->v6));
}

static Tuple make_tuple(const NetAddr *guest, uint16_t guest_port, const NetAddr *remote,
                        uint16_t remote_port)
{
    Tuple tuple = {
        .guest_port = guest_port,
        .remote_port = remote_port,
        .family = guest->family,
    };

    put_addr(tuple.guest, guest);
    put_addr(tuple.remote, remote);
    return tuple;
}

/* The only slot that may hold @tuple (FNV-1a: a guest that makes collisions harms itself only). */
static Slot *home_of(SeqGuard *guard, const Tuple *tuple)
{
    const uint8_t *bytes = (const uint8_t *)tuple;
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < sizeof(*tuple); i++)
        hash = (hash ^ bytes[i]) * 16777619u;
    return &guard->slots[(hash ^ hash >> 16) % SEQGUARD_SLOTS];
}

static Slot *find(SeqGuard *guard, const Tuple *tuple)
{
    Slot *slot = home_of(guard, tuple);

    return slot->used && memcmp(&slot->tuple, tuple, sizeof(*tuple)) == 0 ? slot : NULL;
}

static Slot *find_or_take(SeqGuard *guard, const Tuple *tuple)
{
    Slot *slot = find(guard, tuple);

    if (slot)
        return slot;
    slot = home_of(guard, tuple);
    guard->used += !slot->used;
    *slot = (Slot){.tuple = *tuple, .used = true};
    return slot;
}

static void forget(SeqGuard *guard, const Tuple *tuple)
{
    Slot *slot = find(guard, tuple);

    if (!slot)
        return;
    slot->used = false;
    guard->used--;
}

static bool within(const Slot *slot, uint32_t end)
{
    return slot && slot->has_edge && (int32_t)(slot->edge - end) >= 0;
}

/* The segment starts at P. Puts the remembered byte in front and drops the last, so that the frame
 * does not grow; with one byte of data that would end at P again. */
static void carry(const Slot *slot, uint8_t *frame, FrameView *view)
{
    uint8_t *payload = frame + view->payload;
    size_t len = view->end - view->payload;

    if (len < 2 || !slot || !slot->has_byte || !within(slot, view->seq + (uint32_t)len - 1))
        return;
    /* New checksums must not make a damaged segment look whole. */
    if (!frame_checksums_ok(frame, view))
        return;
    memmove(payload + 1, payload, len - 1);
    payload[0] = slot->byte;
    view->seq--;
    put32(frame + view->l4 + 4, view->seq);
    view->tcp_flags &= (uint8_t)~FRAME_TCP_FIN;
    frame[view->l4 + TCP_FLAGS] &= (uint8_t)~FRAME_TCP_FIN;
    frame_fix_checksums(frame, view);
}

static void remember_last_byte(SeqGuard *guard, const Tuple *tuple, const uint8_t *frame,
                               const FrameView *view)
{
    Slot *slot;

    if (!frame_checksums_ok(frame, view))
        return;
    slot = find_or_take(guard, tuple);
    slot->byte = frame[view->end - 1];
    slot->has_byte = true;
}

size_t seqguard_to_nat(SeqGuard *guard, uint8_t *frame, FrameView *view)
{
    bool syn = view->tcp_flags & FRAME_TCP_SYN;
    size_t len = view->end - view->payload;
    /* Bytes of the stream from the first of this segment to P. */
    uint32_t before = poison_of(&view->src) - (view->seq + syn);
    Tuple tuple;
    Slot *slot;

    if (before > len)
        return view->end;
    if (len == 0)
        return frame_shorten_tcp(frame, view, 0);
    tuple = make_tuple(&view->src, view->src_port, &view->dst, view->dst_port);
    slot = find(guard, &tuple);
    if (before == 0) {
        if (!syn)
            carry(slot, frame, view);
        return view->end;
    }
    if (before < len && !syn && within(slot, view->seq + (uint32_t)len))
        return view->end;
    if (before == len && !syn)
        remember_last_byte(guard, &tuple, frame, view);
    return frame_shorten_tcp(frame, view, len - before + 1);
}

bool seqguard_cares(const SeqGuard *guard, const uint8_t *guest6, uint32_t ack)
{
    return guard->used > 0 || poison(guest6) - ack < SEQGUARD_NEAR;
}

void seqguard_from_nat(SeqGuard *guard, const uint8_t *frame, const FrameView *view)
{
    Tuple tuple = make_tuple(&view->dst, view->dst_port, &view->src, view->src_port);
    Slot *slot;

    /* A new connection of a known tuple, or the end of one: what was known is wrong now. */
    if (view->tcp_flags & (FRAME_TCP_SYN | FRAME_TCP_RST))
        forget(guard, &tuple);
    if (!(view->tcp_flags & FRAME_TCP_ACK) || (view->tcp_flags & FRAME_TCP_RST))
        return;
    /* Passed, or not there yet: an edge must not survive until the stream comes round again. */
    if (poison_of(&view->dst) - view->ack >= SEQGUARD_NEAR) {
        forget(guard, &tuple);
        return;
    }
    slot = find_or_take(guard, &tuple);
    slot->edge = view->ack + get16(frame + view->l4 + 14);
    slot->has_edge = true;
}
