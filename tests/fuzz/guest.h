/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_FUZZ_GUEST_H
#define SALLYPORT_TESTS_FUZZ_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "datapath/frame.h"
#include "datapath/gate.h"
#include "netaddr.h"

#include "bytes.h"
#include "judge.h"

/* A guest that sends what the input says: a policy, a few connections whose numbers it keeps, and frames of every kind. */

#define GUEST_FLOWS 8
#define GUEST_HOSTS 4

/**
 * struct GuestFlow - one TCP connection as the guest sees it
 * @iss:  its first sequence number; the byte of the stream at sequence number s is guest_byte(flow, s)
 * @next: the number that the next byte has
 * @ack:  what the other side has sent so far
 * @mixed: a frame not made by guest_frame() may have had other bytes
 */
typedef struct GuestFlow {
    bool used;
    bool mixed;
    bool finished; /* a FIN was sent */
    NetAddr local;
    NetAddr remote;
    uint16_t local_port;
    uint16_t remote_port;
    uint32_t iss;
    uint32_t next;
    uint32_t ack;
} GuestFlow;

/**
 * struct Guest - who it is, what it may, and its connections
 * @dns_ports: where DNS over TCP is sent, IPv4 and IPv6
 * @raw:       the last frame was raw bytes: it may belong to any flow, with any contents
 */
typedef struct Guest {
    GateConfig config;
    Judge judge;
    NetAddr hosts[GUEST_HOSTS];
    NetAddr addr4;
    NetAddr addr6;
    uint16_t dns_ports[2];
    bool raw;
    GuestFlow flows[GUEST_FLOWS];
} Guest;

/* Policy, networks and modes from the first bytes of the input. */
void guest_init(Guest *guest, Bytes *bytes);
/* A gate with that policy. */
Gate *guest_gate(const Guest *guest);
/* Writes the next frame of the input into @out (FRAME_MAX bytes); returns its length, which may be anything. */
size_t guest_frame(Guest *guest, Bytes *bytes, uint8_t *out);
/* The flow a TCP frame belongs to; NULL if none of ours. */
GuestFlow *guest_flow(Guest *guest, const NetAddr *local, uint16_t local_port,
                      const NetAddr *remote, uint16_t remote_port);
uint8_t guest_byte(const GuestFlow *flow, uint32_t seq);
/* The number at which no segment may end: what libslirp 4.7.0 reads where its list of segments ends (seqguard.c). */
uint32_t guest_poison(const NetAddr *guest);
/* May the final destination of a well-formed frame be reached? @ret_inside: it is within the guest's own networks. */
bool guest_may_reach(const Guest *guest, const NetAddr *dst, bool *ret_inside);

#endif
