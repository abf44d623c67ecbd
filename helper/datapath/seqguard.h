/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_SEQGUARD_H
#define SALLYPORT_DATAPATH_SEQGUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "frame.h"

/* Connections of which something is remembered at a time; a newer one takes the place of an older
 * one. */
#define SEQGUARD_SLOTS 64
/* More than the receive window of any libslirp: 128 KiB and one segment of 65,480 bytes. */
#define SEQGUARD_NEAR (1u << 18)

typedef struct SeqGuard SeqGuard;

/* Never fails. */
SeqGuard *seqguard_new(void);
void seqguard_free(SeqGuard *guard);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SeqGuard, seqguard_free)

/**
 * seqguard_to_nat() - make a TCP segment harmless to libslirp 4.7.0
 * @frame: a TCP frame on its way to libslirp, addresses and ports as libslirp will see them
 * @view:  what it says; updated
 *
 * Returns the length of the frame, which may be less than before. Costs a subtraction and a
 * comparison for all but one segment in 4 GiB of a connection.
 */
size_t seqguard_to_nat(SeqGuard *guard, uint8_t *frame, FrameView *view);

/* Must see every TCP frame libslirp sends, before its addresses are changed. */
void seqguard_from_nat(SeqGuard *guard, const uint8_t *frame, const FrameView *view);

/* Must seqguard_from_nat() see a frame of this guest address with this acknowledgement number?
 * @guest6 is the IPv6 address (16 bytes), NULL for IPv4. Saves the caller frame_parse(). */
bool seqguard_cares(const SeqGuard *guard, const uint8_t *guest6, uint32_t ack);

#endif
