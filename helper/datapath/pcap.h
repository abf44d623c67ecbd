/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_PCAP_H
#define SALLYPORT_DATAPATH_PCAP_H

#include <stddef.h>
#include <stdint.h>

#include <glib.h>

/* Frames both ways, recorded into a file, pipe or socket that somebody else has opened. */
typedef struct Pcap Pcap;

/* It has ended by itself: @errnum of the write that failed, 0: the limit of bytes was reached. */
typedef void (*PcapEndedFunc)(int errnum, void *user_data);

/* Of the recording under way, or else the last. @dropped: frames that a pipe or socket had no room for. */
typedef struct PcapCounts {
    uint64_t bytes;
    uint64_t frames;
    uint64_t dropped;
} PcapCounts;

Pcap *pcap_new(PcapEndedFunc ended, void *user_data);
void pcap_free(Pcap *pcap);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pcap, pcap_free)

/**
 * pcap_start() - record from now on, in place of a recording under way
 * @take_fd:   closed in any case. O_NONBLOCK is set on it until the end, so that a pipe nobody reads delays no packet
 * @max_bytes: that is written at most; 0: no limit
 *
 * Return: 0, or -errno: -EBADF (not open for writing), -EINVAL (no room for the file's header within @max_bytes), or that of write(2).
 */
int pcap_start(Pcap *pcap, int take_fd, uint64_t max_bytes);
/* Without a recording nothing happens. */
void pcap_stop(Pcap *pcap);

/* One frame. Never blocks: a regular file's write(2) ends when the page cache has it. */
void pcap_frame(Pcap *pcap, const uint8_t *frame, size_t len);

PcapCounts pcap_counts(const Pcap *pcap);

#endif
