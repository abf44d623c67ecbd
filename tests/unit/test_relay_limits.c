/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_relay_limits.c - relays whose readers are slow, or whose pipes and fds run out
 *
 * Does:     as test_relay.c, with small buffers, without pipes, at RLIMIT_NOFILE, and with many at once.
 */
#include "config.h"

#include "datapath/relay.h"

#include <linux/socket.h>
#include <linux/sockios.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "relayfixture.h"

#define MIB (1024 * 1024)

static atomic_bool taking_fails;

/* In libc's place: that of the worker's which takes what it has looked at fails once, when that is asked for. */
ssize_t recv(int fd, void *buffer, size_t len, int flags)
{
    if ((flags & MSG_TRUNC) != 0 && atomic_exchange(&taking_fails, false)) {
        errno = ENOMEM;
        return -1;
    }
    return recvfrom(fd, buffer, len, flags, NULL, NULL);
}

/* KiB of memory in use (VmRSS of proc(5)). */
static long memory_kib(void)
{
    g_autofree char *status = NULL;
    const char *at;
    long kib = -1;

    cr_assert(g_file_get_contents("/proc/self/status", &status, NULL, NULL));
    at = strstr(status, "VmRSS:");
    cr_assert_not_null(at);
    cr_assert_eq(sscanf(at, "VmRSS: %ld", &kib), 1);
    return kib;
}

/* Writes until nothing more is taken for a while. */
static void stream_fill(Fixture *fix, Stream *stream)
{
    unsigned vain = 0;

    while (vain < 200) {
        size_t before = stream->written;

        stream_write(stream);
        for (int i = 0; i < 10; i++) {
            (void)g_main_context_iteration(fix->context, FALSE);
        }
        vain = stream->written > before ? 0 : vain + 1;
        if (vain > 0) {
            g_usleep(500);
        }
    }
    cr_assert_lt(stream->written, stream->total, "the reader is slow");
}

static void expect_slow_reader_is_served(unsigned pipes_max, bool guest_reads)
{
    Fixture fix;
    Line line;
    Stream stream;
    long memory;

    fixture_begin(&fix, pipes_max);
    line_begin(&line, &fix, 0, 65536);
    stream = (Stream){.from = guest_reads ? line.client : line.guest,
                      .to = guest_reads ? line.guest : line.client,
                      .total = 64 * MIB,
                      .chunk = 32768};
    memory = memory_kib();
    stream_fill(&fix, &stream);
    cr_expect_lt(memory_kib() - memory, 8 * 1024, "%ld KiB", memory_kib() - memory);
    cr_expect_lt(stream.written, 16 * MIB, "the writer is held back");
    cr_expect_not(g_main_context_pending(fix.context), "waiting costs nothing");
    stream.total = stream.written + 300000;
    streams_run(&fix, &stream, 1);
    cr_assert_eq(shutdown(stream.from, SHUT_WR), 0);
    cr_expect_eq(fixture_end_of(&fix, stream.to), 0);
    line_end(&line);
    LOOP_AWAIT(fix.context, fix.ends == 1);
    fixture_end(&fix);
}

Test(relay_limits, slow_reader_holds_the_writer_back_and_gets_everything_later)
{
    expect_slow_reader_is_served(16, true);
    expect_slow_reader_is_served(16, false);
}

Test(relay_limits, slow_reader_is_served_without_pipes_too)
{
    expect_slow_reader_is_served(0, true);
    expect_slow_reader_is_served(0, false);
}

Test(relay_limits, slow_reader_does_not_stop_the_other_way)
{
    Fixture fix;
    Line line;
    Stream slow;
    Stream other;

    fixture_begin(&fix, 16);
    line_begin(&line, &fix, 0, 65536);
    slow = (Stream){.from = line.client, .to = line.guest, .total = 64 * MIB, .chunk = 32768};
    stream_fill(&fix, &slow);
    other = (Stream){.from = line.guest, .to = line.client, .total = 2 * MIB, .chunk = 32768};
    streams_run(&fix, &other, 1);
    line_end(&line);
    fixture_end(&fix);
}

Test(relay_limits, without_pipes_bulk_is_copied_correctly)
{
    Fixture fix;
    Line line;
    Stream streams[2];

    fixture_begin(&fix, 0);
    line_begin(&line, &fix, 0, 16384);
    streams[0] = (Stream){.from = line.client, .to = line.guest, .total = 8 * MIB, .chunk = 32768};
    streams[1] = (Stream){.from = line.guest, .to = line.client, .total = 8 * MIB, .chunk = 999};
    streams_run(&fix, streams, 2);
    line_end(&line);
    fixture_end(&fix);
}

Test(relay_limits, what_was_sent_and_cannot_be_taken_is_not_sent_twice)
{
    const size_t first = 100000; /* copied by a worker, not by the loop */
    Fixture fix;
    Line line;
    Stream stream;

    fixture_begin(&fix, 0);
    line_begin(&line, &fix, 0, 65536);
    stream = (Stream){.from = line.client, .to = line.guest, .total = first, .chunk = 32768};
    streams_run(&fix, &stream, 1);
    atomic_store(&taking_fails, true);
    stream.total += 1000;
    stream_write(&stream);
    LOOP_AWAIT(fix.context, fix.ends == 1);
    cr_expect_not(atomic_load(&taking_fails), "nothing was to be taken");
    while (stream.read < stream.total) {
        size_t before = stream.read;

        stream_read(&stream);
        if (stream.read == before) {
            break;
        }
    }
    cr_expect_not(stream.wrong, "not what was written");
    cr_expect_leq(stream.read, stream.total);
    cr_expect_eq(fixture_end_of(&fix, line.guest), -ECONNRESET);
    line_end(&line);
    fixture_end(&fix);
}

Test(relay_limits, fin_waits_for_what_a_slow_reader_has_not_taken)
{
    for (unsigned pipes_max = 0; pipes_max <= 16; pipes_max += 16) {
        Fixture fix;
        Line line;
        Stream stream;

        fixture_begin(&fix, pipes_max);
        line_begin(&line, &fix, 0, 16384);
        stream = (Stream){.from = line.client, .to = line.guest, .total = 64 * MIB, .chunk = 32768};
        stream_fill(&fix, &stream);
        cr_assert_eq(shutdown(line.client, SHUT_WR), 0);
        loop_drain(fix.context);
        stream.total = stream.written;
        streams_run(&fix, &stream, 1);
        cr_expect_eq(fixture_end_of(&fix, line.guest), 0);
        line_end(&line);
        fixture_end(&fix);
    }
}

Test(relay_limits, reset_with_bytes_in_flight_reaches_the_other_side_and_frees_all)
{
    for (unsigned pipes_max = 0; pipes_max <= 16; pipes_max += 16) {
        Fixture fix;
        Line line;
        Stream stream;

        fixture_begin(&fix, pipes_max);
        line_begin(&line, &fix, 0, 16384);
        stream = (Stream){.from = line.client, .to = line.guest, .total = 64 * MIB, .chunk = 32768};
        stream_fill(&fix, &stream);
        relay_reset(line.guest);
        LOOP_AWAIT(fix.context, fix.ends == 1);
        cr_expect_eq(fixture_end_of(&fix, line.client), -ECONNRESET);
        (void)close(line.client);
        fixture_end(&fix);
        cr_expect_eq(count_fds(), fix.fds_before);
    }
}

Test(relay_limits, one_pipe_for_many_relays_is_enough)
{
    enum { COUNT = 6 };
    Fixture fix;
    Line lines[COUNT];
    Stream streams[2 * COUNT];

    fixture_begin(&fix, 1);
    for (int i = 0; i < COUNT; i++) {
        line_begin(&lines[i], &fix, 0, 16384);
        streams[2 * i] = (Stream){
            .from = lines[i].client, .to = lines[i].guest, .total = 2 * MIB, .chunk = 32768};
        streams[2 * i + 1] = (Stream){
            .from = lines[i].guest, .to = lines[i].client, .total = 2 * MIB, .chunk = 32768};
    }
    streams_run(&fix, streams, 2 * COUNT);
    for (int i = 0; i < COUNT; i++) {
        line_end(&lines[i]);
    }
    LOOP_AWAIT(fix.context, fix.ends == COUNT);
    fixture_end(&fix);
}

Test(relay_limits, without_a_free_fd_bulk_is_still_correct)
{
    Fixture fix;
    Line line;
    Stream streams[2];
    rlim_t before;

    fixture_begin(&fix, 16);
    line_begin(&line, &fix, 0, 16384);
    streams[0] = (Stream){.from = line.client, .to = line.guest, .total = 8 * MIB, .chunk = 32768};
    streams[1] = (Stream){.from = line.guest, .to = line.client, .total = 8 * MIB, .chunk = 32768};
    fds_leave(1, &before); /* a pipe needs two */
    streams_run(&fix, streams, 2);
    fds_allow(before);
    line_end(&line);
    LOOP_AWAIT(fix.context, fix.ends == 1);
    fixture_end(&fix);
    cr_expect_eq(count_fds(), fix.fds_before);
}

Test(relay_limits, idle_relays_hold_no_pipes)
{
    enum { COUNT = 20 };
    Fixture fix;
    Line lines[COUNT];
    size_t before;

    fixture_begin(&fix, 64);
    for (int i = 0; i < COUNT; i++) {
        line_begin(&lines[i], &fix, 0, 0);
    }
    before = count_fds();
    for (int i = 0; i < COUNT; i++) {
        Stream stream = {
            .from = lines[i].client, .to = lines[i].guest, .total = 4 * MIB, .chunk = 32768};

        streams_run(&fix, &stream, 1);
    }
    loop_run_ms(fix.context, 500);
    cr_expect_leq(count_fds(), before);
    for (int i = 0; i < COUNT; i++) {
        line_end(&lines[i]);
    }
    LOOP_AWAIT(fix.context, fix.ends == COUNT);
    fixture_end(&fix);
    cr_expect_eq(count_fds(), fix.fds_before);
}

Test(relay_limits, many_relays_carry_their_own_bytes_and_leave_no_fd)
{
    enum { COUNT = 150 };
    Fixture fix;
    g_autofree Line *lines = g_new0(Line, COUNT);
    g_autofree Stream *streams = g_new0(Stream, 2 * COUNT);

    fixture_begin(&fix, 32);
    for (size_t i = 0; i < COUNT; i++) {
        line_begin(&lines[i], &fix, 0, 0);
        streams[2 * i] = (Stream){.from = lines[i].client,
                                  .to = lines[i].guest,
                                  .total = 1000 + i * 2000,
                                  .chunk = 32768};
        streams[2 * i + 1] = (Stream){.from = lines[i].guest,
                                      .to = lines[i].client,
                                      .total = 1000 + (COUNT - i) * 2000,
                                      .chunk = 4096};
    }
    cr_expect_eq(relays_count(fix.relays), COUNT);
    streams_run(&fix, streams, 2 * COUNT);
    for (int i = 0; i < COUNT; i++) {
        if (i % 2 == 0) {
            relay_reset(lines[i].client);
            (void)close(lines[i].guest);
        } else {
            line_end(&lines[i]);
        }
    }
    LOOP_AWAIT(fix.context, fix.ends == COUNT);
    cr_expect_eq(relays_count(fix.relays), 0);
    fixture_end(&fix);
    cr_expect_eq(count_fds(), fix.fds_before);
}

/* Whatever limit the guest's root sets: TCP_NOTSENT_LOWAT holds what is not sent, SIOCOUTQ what is sent and not acknowledged. */
Test(relay_limits, the_kernel_queues_less_than_5_mib_for_a_guest_that_does_not_read)
{
    Fixture fix;
    int client[2];
    int guest[2];
    int big = 256 * MIB;
    int seen;
    int queued = 0;
    FlowKey key;
    Stream stream;

    fixture_begin(&fix, 16);
    key = fixture_key(&fix);
    fixture_connect(&fix, client, 0);
    fixture_connect(&fix, guest, 0);
    if (setsockopt(guest[1], SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big)) < 0) {
        cr_skip_test("not in this mode: SO_SNDBUFFORCE is root's");
    }
    seen = fcntl(guest[1], F_DUPFD_CLOEXEC, 0);
    cr_assert_eq(fixture_join(&fix, client[1], guest[1], &key, 0, NULL), 0);
    stream = (Stream){.from = client[0], .to = guest[0], .total = 256 * MIB, .chunk = 32768};
    stream_fill(&fix, &stream);
    cr_assert_eq(ioctl(seen, SIOCOUTQ, &queued), 0);
    cr_expect_lt(queued, 5 * MIB, "%d bytes", queued);
    cr_expect_gt(queued, 256 * 1024, "%d bytes", queued);
    stream.total = stream.written + 3 * MIB;
    streams_run(&fix, &stream, 1);
    (void)close(seen);
    (void)close(client[0]);
    (void)close(guest[0]);
    fixture_end(&fix);
}

/* Of a guest that sends much; where the machine allows less than 512 KiB the kernel has to go on to choose. */
Test(relay_limits, the_window_offered_to_a_guest_that_sends_much_is_a_fixed_one)
{
    Fixture fix;
    int client[2];
    int guest[2];
    int seen;
    int size = 0;
    int locks = -1;
    socklen_t len = sizeof(size);
    g_autofree char *allowed = NULL;
    FlowKey key;
    Stream stream;

    fixture_begin(&fix, 16);
    cr_assert(g_file_get_contents("/proc/sys/net/core/rmem_max", &allowed, NULL, NULL));
    key = fixture_key(&fix);
    fixture_connect(&fix, client, 0);
    fixture_connect(&fix, guest, 0);
    seen = fcntl(guest[1], F_DUPFD_CLOEXEC, 0);
    cr_assert_eq(fixture_join(&fix, client[1], guest[1], &key, 0, NULL), 0);
    stream = (Stream){.from = guest[0], .to = client[0], .total = 64 * MIB, .chunk = MIB};
    streams_run(&fix, &stream, 1);
    cr_assert_eq(getsockopt(seen, SOL_SOCKET, SO_RCVBUF, &size, &len), 0);
    if (getsockopt(seen, SOL_SOCKET, SO_BUF_LOCK, &locks, &len) < 0) {
        cr_skip_test("not in this mode: this kernel has no SO_BUF_LOCK");
    }
    if (atoi(allowed) >= MIB / 2) {
        cr_expect_eq(size, MIB, "%d bytes", size);
        cr_expect_eq(locks, SOCK_RCVBUF_LOCK, "%d", locks);
    } else {
        cr_expect_eq(locks, 0, "%d", locks);
    }
    (void)close(seen);
    (void)close(client[0]);
    (void)close(guest[0]);
    fixture_end(&fix);
}
