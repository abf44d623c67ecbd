/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * pcap.c - what passes the guest's interface, for those who look for a fault
 *
 * Does:     writes frames as tcpdump(1) and wireshark(1) read them: the classic format of pcap-savefile(5), times in ns.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   whoever passed the fd: our own user. Opens nothing.
 * Owns:     the fd, and of a pipe that took a part of a record what is left of that.
 * Limits:   max_bytes. Ends by itself there and at the first error (ENOSPC, EPIPE...).
 * Not here: what the guest's kernel carries by itself (takeover.c) passes no interface of ours.
 */
#include "config.h"

#include "pcap.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#include "../fd.h"
#include "frame.h"

#define PCAP_MAGIC_NS  0xa1b23c4dU
#define PCAP_MAJOR     2
#define PCAP_MINOR     4
#define PCAP_SNAPLEN   262144 /* what tcpdump(1) writes; no frame is cut */
#define PCAP_ETHERNET  1
#define PCAP_FLAG_MASK (O_APPEND | O_NONBLOCK | O_ASYNC | O_DIRECT | O_NOATIME)

/* Of the file, in our byte order: the magic number tells which. */
typedef struct PcapHeader {
    uint32_t magic;
    uint16_t major;
    uint16_t minor;
    uint32_t zone;
    uint32_t accuracy;
    uint32_t snaplen;
    uint32_t link_type;
} PcapHeader;

typedef struct PcapRecord {
    uint32_t seconds;
    uint32_t nanoseconds;
    uint32_t captured;
    uint32_t length;
} PcapRecord;

struct Pcap {
    PcapEndedFunc ended;
    void *user_data;
    int fd;
    int flags; /* it came with; -1: they are as they were */
    uint64_t max_bytes;
    PcapCounts counts;
    size_t left; /* of the last record: bytes that are still to be written, the first of rest */
    uint8_t rest[sizeof(PcapRecord) + FRAME_MAX];
};

Pcap *pcap_new(PcapEndedFunc ended, void *user_data)
{
    Pcap *pcap = g_new0(Pcap, 1);

    pcap->ended = ended;
    pcap->user_data = user_data;
    pcap->fd = -1;
    return pcap;
}

void pcap_free(Pcap *pcap)
{
    if (pcap == NULL) {
        return;
    }
    pcap_stop(pcap);
    g_free(pcap);
}

/* Writes, in order, as much as there is room for, and keeps the rest. 0 or -errno; -EAGAIN: there was room for nothing. */
static int pcap_write(Pcap *pcap, const void *head, size_t head_len, const void *body,
                      size_t body_len)
{
    union {
        const void *in;
        void *out;
    } unconst[] = {{.in = head}, {.in = body}}; /* writev(2) does not write there */
    struct iovec iov[] = {{unconst[0].out, head_len}, {unconst[1].out, body_len}};
    ssize_t done;
    size_t part;

    do {
        done = writev(pcap->fd, iov, body_len > 0 ? 2 : 1);
    } while (done < 0 && errno == EINTR);
    if (done < 0) {
        return -errno;
    }
    pcap->counts.bytes += (uint64_t)done;
    part = MIN((size_t)done, head_len);
    memmove(pcap->rest, (const uint8_t *)head + part, head_len - part);
    pcap->left = head_len - part;
    if (body_len > 0) {
        part = (size_t)done - part;
        memcpy(pcap->rest + pcap->left, (const uint8_t *)body + part, body_len - part);
        pcap->left += body_len - part;
    }
    return 0;
}

/* What is left of the last record. 0 or -errno; -EAGAIN: still something. */
static int pcap_flush(Pcap *pcap)
{
    while (pcap->left > 0) {
        int failed = pcap_write(pcap, pcap->rest, pcap->left, NULL, 0);

        if (failed != 0) {
            return failed;
        }
    }
    return 0;
}

static void pcap_close(Pcap *pcap)
{
    if (pcap->flags >= 0) {
        (void)fcntl(pcap->fd, F_SETFL, pcap->flags);
    }
    pcap->left = 0;
    fd_clear(&pcap->fd);
}

void pcap_stop(Pcap *pcap)
{
    if (pcap->fd >= 0) {
        (void)pcap_flush(
            pcap); /* what still does not fit is a cut last record, which readers know */
        pcap_close(pcap);
    }
}

static void pcap_end(Pcap *pcap, int errnum)
{
    pcap_close(pcap);
    pcap->ended(errnum, pcap->user_data);
}

int pcap_start(Pcap *pcap, int take_fd, uint64_t max_bytes)
{
    static const PcapHeader header = {.magic = PCAP_MAGIC_NS,
                                      .major = PCAP_MAJOR,
                                      .minor = PCAP_MINOR,
                                      .snaplen = PCAP_SNAPLEN,
                                      .link_type = PCAP_ETHERNET};
    int flags = fcntl(take_fd, F_GETFL);
    int failed = 0;

    if (flags < 0 || (flags & O_PATH) != 0 || (flags & O_ACCMODE) == O_RDONLY) {
        failed = -EBADF;
    } else if (max_bytes != 0 && max_bytes < sizeof(header)) {
        failed = -EINVAL;
    }
    if (failed != 0) {
        fd_close(take_fd);
        return failed;
    }
    pcap_stop(pcap);
    pcap->counts = (PcapCounts){0};
    pcap->fd = take_fd;
    pcap->max_bytes = max_bytes;
    pcap->flags = (flags & O_NONBLOCK) != 0 || fcntl(take_fd, F_SETFL, flags | O_NONBLOCK) < 0
                      ? -1
                      : flags & PCAP_FLAG_MASK;
    failed = pcap_write(pcap, &header, sizeof(header), NULL, 0);
    if (failed != 0) {
        pcap_close(pcap);
    }
    return failed;
}

void pcap_frame(Pcap *pcap, const uint8_t *frame, size_t len)
{
    struct timespec now;
    PcapRecord record;
    int failed;

    if (pcap->fd < 0) {
        return;
    }
    failed = pcap_flush(pcap);
    if (failed == 0 && pcap->max_bytes != 0 &&
        pcap->max_bytes - pcap->counts.bytes < sizeof(record) + len) {
        pcap_end(pcap, 0);
        return;
    }
    if (failed == 0) {
        (void)clock_gettime(CLOCK_REALTIME, &now);
        record =
            (PcapRecord){(uint32_t)now.tv_sec, (uint32_t)now.tv_nsec, (uint32_t)len, (uint32_t)len};
        failed = pcap_write(pcap, &record, sizeof(record), frame, len);
    }
    if (failed == 0) {
        pcap->counts.frames++;
        failed = pcap_flush(pcap); /* a short write of a file: the next one says why */
    } else if (failed == -EAGAIN) {
        pcap->counts.dropped++;
    }
    if (failed != 0 && failed != -EAGAIN) {
        pcap_end(pcap, -failed);
    }
}

PcapCounts pcap_counts(const Pcap *pcap)
{
    return pcap->counts;
}
