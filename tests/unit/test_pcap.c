/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_pcap.c - frames written down, and read back by a small reader of pcap-savefile(5)
 *
 * Does:     files, pipes and sockets; the limit, a full disk, a reader that goes or sleeps.
 */
#include "config.h"

#include "datapath/pcap.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "datapath/frame.h"

#include "loopfixture.h"

#define FILE_HEADER   24
#define RECORD_HEADER 16

typedef struct Ended {
    unsigned count;
    int errnum;
} Ended;

static void on_ended(int errnum, void *user_data)
{
    Ended *ended = user_data;

    ended->count++;
    ended->errnum = errnum;
}

static Pcap *begin(Ended *ended)
{
    (void)signal(SIGPIPE, SIG_IGN); /* as lockdown/process.c does */
    (void)signal(SIGXFSZ, SIG_IGN);
    *ended = (Ended){0};
    return pcap_new(on_ended, ended);
}

static int scratch_file(void)
{
    int fd = memfd_create("pcap", MFD_CLOEXEC);

    cr_assert_geq(fd, 0);
    return fd;
}

static uint32_t word(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

/* The whole frames in @data; each must be filled with its number. */
static unsigned read_frames(const uint8_t *data, size_t len)
{
    size_t at = FILE_HEADER;
    unsigned count = 0;
    time_t now = time(NULL);

    cr_assert_geq(len, (size_t)FILE_HEADER);
    cr_expect_eq(word(data), 0xa1b23c4d, "magic of nanoseconds");
    cr_expect_eq(word(data + 4), 2 | 4 << 16, "version 2.4");
    cr_expect_eq(word(data + 8), 0);
    cr_expect_geq(word(data + 16), FRAME_MAX, "snap length");
    cr_expect_eq(word(data + 20), 1, "LINKTYPE_ETHERNET");
    while (at + RECORD_HEADER <= len) {
        uint32_t size = word(data + at + 8);

        cr_expect_leq(word(data + at), (uint32_t)now);
        cr_expect_geq(word(data + at), (uint32_t)now - 60);
        cr_expect_lt(word(data + at + 4), 1000000000);
        cr_expect_eq(word(data + at + 12), size, "nothing is cut");
        at += RECORD_HEADER;
        if (at + size > len) {
            break; /* cut at the end of the file */
        }
        for (uint32_t i = 0; i < size; i++) {
            cr_assert_eq(data[at + i], data[at], "frame %u byte %u", count, i);
        }
        at += size;
        count++;
    }
    return count;
}

static unsigned file_frames(int fd, size_t *ret_len)
{
    struct stat st;
    uint8_t *data;
    unsigned count;

    cr_assert_eq(fstat(fd, &st), 0);
    *ret_len = (size_t)st.st_size;
    data = g_malloc(*ret_len);
    cr_assert_eq(pread(fd, data, *ret_len, 0), st.st_size);
    count = read_frames(data, *ret_len);
    g_free(data);
    return count;
}

static void send_frames(Pcap *pcap, unsigned count, size_t len)
{
    uint8_t *frame = g_malloc(len); /* exact, for AddressSanitizer */

    for (unsigned i = 0; i < count; i++) {
        memset(frame, (int)i, len);
        pcap_frame(pcap, frame, len);
    }
    g_free(frame);
}

Test(pcap, file_holds_every_frame_whole_until_it_is_stopped)
{
    Ended ended;
    g_autoptr(Pcap) pcap = begin(&ended);
    int fd = scratch_file();
    size_t len;

    send_frames(pcap, 1, 60);
    cr_assert_eq(pcap_start(pcap, dup(fd), 0), 0);
    send_frames(pcap, 200, 60);
    send_frames(pcap, 2, FRAME_MAX);
    pcap_stop(pcap);
    send_frames(pcap, 1, 60);
    cr_expect_eq(file_frames(fd, &len), 202);
    cr_expect_eq(len, FILE_HEADER + 202 * RECORD_HEADER + 200 * (size_t)60 + 2 * (size_t)FRAME_MAX);
    cr_expect_eq(pcap_counts(pcap).bytes, len);
    cr_expect_eq(pcap_counts(pcap).frames, 202);
    cr_expect_eq(ended.count, 0);
    cr_expect_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0, "as it was");
    (void)close(fd);
}

Test(pcap, limit_of_bytes_is_never_passed_and_ends_it)
{
    Ended ended;
    g_autoptr(Pcap) pcap = begin(&ended);
    int fd = scratch_file();
    size_t len;

    cr_expect_eq(pcap_start(pcap, dup(fd), FILE_HEADER - 1), -EINVAL);
    cr_assert_eq(pcap_start(pcap, dup(fd), FILE_HEADER + 3 * (RECORD_HEADER + 100)), 0);
    send_frames(pcap, 3, 100);
    cr_expect_eq(ended.count, 0);
    send_frames(pcap, 3, 100);
    cr_expect_eq(ended.count, 1, "once");
    cr_expect_eq(ended.errnum, 0);
    cr_expect_eq(file_frames(fd, &len), 3);
    cr_expect_eq(len, FILE_HEADER + 3 * (size_t)(RECORD_HEADER + 100));
    (void)close(fd);
}

Test(pcap, full_disk_is_told_at_the_start_or_ends_it)
{
    Ended ended;
    g_autoptr(Pcap) pcap = begin(&ended);
    struct rlimit limit = {1000, 1000};
    int fd = scratch_file();
    size_t len;

    cr_expect_eq(pcap_start(pcap, open("/dev/full", O_WRONLY | O_CLOEXEC), 0), -ENOSPC);
    send_frames(pcap, 1, 60);
    cr_expect_eq(ended.count, 0);
    /* A file that may not grow stops in the midst of a record, as a disk does. */
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(pcap_start(pcap, dup(fd), 0), 0);
    send_frames(pcap, 20, 100);
    cr_expect_eq(ended.count, 1);
    cr_expect_eq(ended.errnum, EFBIG);
    cr_expect_eq(file_frames(fd, &len), (1000 - FILE_HEADER) / (RECORD_HEADER + 100));
    cr_expect_eq(len, 1000);
    (void)close(fd);
}

Test(pcap, pipe_that_nobody_reads_drops_whole_frames_and_blocks_nobody)
{
    Ended ended;
    g_autoptr(Pcap) pcap = begin(&ended);
    g_autoptr(GByteArray) data = g_byte_array_new();
    uint8_t some[65536];
    int ends[2];
    ssize_t got;
    unsigned whole;

    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert_eq(pcap_start(pcap, dup(ends[1]), 0), 0);
    send_frames(pcap, 100, 9000);
    cr_expect_gt(pcap_counts(pcap).dropped, 80);
    cr_expect_eq(pcap_counts(pcap).dropped + pcap_counts(pcap).frames, 100);
    cr_assert_eq(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    while ((got = read(ends[0], some, sizeof(some))) > 0) {
        (void)g_byte_array_append(data, some, (guint)got);
    }
    send_frames(pcap, 5, 100); /* what was left of the record that did not fit comes first */
    pcap_stop(pcap);
    while ((got = read(ends[0], some, sizeof(some))) > 0) {
        (void)g_byte_array_append(data, some, (guint)got);
    }
    whole = read_frames(data->data, data->len);
    cr_expect_eq(whole, pcap_counts(pcap).frames, "%u frames", whole);
    cr_expect_eq(data->len, pcap_counts(pcap).bytes);
    cr_expect_eq(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0, "as it was");
    (void)close(ends[0]);
    (void)close(ends[1]);
}

Test(pcap, reader_that_goes_away_ends_it)
{
    Ended ended;
    g_autoptr(Pcap) pcap = begin(&ended);
    int ends[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    cr_assert_eq(pcap_start(pcap, ends[1], 0), 0);
    send_frames(pcap, 1, 100);
    (void)close(ends[0]);
    send_frames(pcap, 3, 100);
    cr_expect_eq(ended.count, 1);
    cr_expect_eq(ended.errnum, EPIPE);
}

Test(pcap, what_cannot_be_written_to_is_refused_and_closed_and_disturbs_nothing)
{
    static const int flags[] = {O_RDONLY, O_PATH};
    Ended ended;
    g_autoptr(Pcap) pcap = begin(&ended);
    int fd = scratch_file();
    size_t before = count_fds();
    size_t len;

    cr_assert_eq(pcap_start(pcap, dup(fd), 0), 0);
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        cr_expect_eq(pcap_start(pcap, open("/dev/null", flags[i] | O_CLOEXEC), 0), -EBADF);
    }
    send_frames(pcap, 1, 60);
    pcap_stop(pcap);
    cr_expect_eq(file_frames(fd, &len), 1, "the recording under way went on");
    cr_expect_eq(count_fds(), before);
    (void)close(fd);
}
