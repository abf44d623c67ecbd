/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_wire.h - frames by hand, every byte that comes back, a TCP without a kernel, and libslirp without a gate
 *
 * LAB_RAW_V4 and LAB_RAW_V6 are addresses of the guest's networks that its kernel does not have: it answers nothing for
 * them, and the fast path leaves them to libslirp.
 */
#ifndef LAB_WIRE_H
#define LAB_WIRE_H

#include "lab.h"

#define LAB_RAW_V4 "10.0.2.77"
#define LAB_RAW_V6 "fd00::77"

#define LAB_FRAME_MAX 65550

/* A frame as lab_frames_send_tcp(), _udp() and _echo() send it (IPPROTO_TCP, _UDP, _ICMP for both echoes). @out has
 * LAB_FRAME_MAX bytes. Return: its length */
size_t lab_frame_make(LabFrames *frames, int protocol, const LabSegment *segment, uint8_t *out);
/* Makes the checksums good, those of IP and of what is in it, as far as they can be found. */
void lab_frame_seal(uint8_t *frame, size_t length);

/* Sends; a frame that the kernel refuses (or a naked libslirp that is gone) is no failure. Return: false, and errno */
bool lab_frames_offer(LabFrames *frames, const void *frame, size_t length);
/* The next frame of any kind from the helper. Return: its length; 0 after the time */
size_t lab_frames_take(LabFrames *frames, uint8_t out[LAB_FRAME_MAX], int timeout_ms);

/* Tells libslirp where @address is, by asking for @gateway. To be done before a frame is sent from it. */
void lab_frames_adopt(LabFrames *frames, const char *address, const char *gateway);

typedef void (*LabTake)(const uint8_t *frame, size_t length, void *user_data);

/**
 * lab_frames_fence() - wait until all frames sent before have been judged
 * @take: (optional) gets what came back meanwhile; ARP and neighbour messages are left out
 *
 * An echo request from LAB_RAW_V4 (adopted) to the gateway, whose reply must come. Return: how many frames were there for
 * @take; -1 if a naked libslirp is gone
 */
int lab_frames_fence(LabFrames *frames, LabTake take, void *user_data);

/* ---- TCP by hand ---- */

typedef struct LabRawTcp {
    LabFrames *frames; /* (in) with all down to @first */
    const char *from, *to;
    uint16_t from_port, to_port;
    uint32_t first; /* sequence number of the first byte */
    uint32_t acked; /* bytes that the other end has acknowledged */
    uint32_t next;  /* of the other end */
    bool reset;
} LabRawTcp;

/* The three-way handshake. Return: false after the time or when it was reset */
bool lab_rawtcp_open(LabRawTcp *tcp, int timeout_ms);
/* One segment with ACK, and @flags, at @at bytes of the stream. */
void lab_rawtcp_send(const LabRawTcp *tcp, uint32_t at, const void *data, size_t length,
                     uint8_t flags, uint16_t urgent);
/* Takes what has been answered to all that was sent. Return: false when it was reset, or libslirp is gone */
bool lab_rawtcp_listen(LabRawTcp *tcp);
void lab_rawtcp_reset(LabRawTcp *tcp);

/* ---- libslirp alone (lab_naked.c; link with SLIRP_LIBS) ---- */

typedef struct LabNaked LabNaked;

/* A process of HOST that hands every frame to libslirp, with the host's loopback disabled as well as libslirp can. */
LabNaked *lab_naked_start(Lab *lab, unsigned mtu);
/* Its link; LAB_RAW_V4 and LAB_RAW_V6 are adopted. */
LabFrames *lab_naked_frames(LabNaked *naked);
/* Ends it and frees. Return: the signal or status it had died with before; 0 if it was alive */
int lab_naked_end(LabNaked *naked);
const char *lab_naked_version(void);

#endif
