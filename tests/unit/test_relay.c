/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_relay.c - bytes, ends and resets between two TCP connections
 *
 * Does:     joins real connections over loopback and plays both far ends.
 * Not here: slow readers, missing pipes and fds, many relays (test_relay_limits.c).
 */
#include "config.h"

#include "datapath/relay.h"

#include <sys/resource.h>

#include "relayfixture.h"

#define MIB (1024 * 1024)

Test(relay, small_messages_go_both_ways_at_once)
{
    Fixture fix;
    Line line;

    fixture_begin(&fix, 16);
    line_begin(&line, &fix, 0, 0);
    for (size_t i = 0; i < 200; i++) {
        Stream streams[] = {
            {.from = line.client, .to = line.guest, .total = i + 1, .chunk = 4096},
            {.from = line.guest, .to = line.client, .total = 200 - i, .chunk = 4096},
        };

        streams_run(&fix, streams, 2);
    }
    cr_expect_eq(relays_count(fix.relays), 1);
    cr_expect_eq(fix.ends, 0);
    line_end(&line);
    LOOP_AWAIT(fix.context, fix.ends == 1);
    fixture_end(&fix);
}

Test(relay, bytes_that_came_before_the_join_are_not_missed)
{
    Fixture fix;
    int client[2];
    int guest[2];
    FlowKey key;
    Stream stream;

    fixture_begin(&fix, 16);
    key = fixture_key(&fix);
    fixture_connect(&fix, client, 0);
    fixture_connect(&fix, guest, 0);
    stream = (Stream){.from = client[0], .to = guest[0], .total = 5, .chunk = 5};
    stream_write(&stream);
    (void)shutdown(client[0], SHUT_WR);
    cr_assert_eq(fixture_join(&fix, client[1], guest[1], &key, 0, NULL), 0);
    streams_run(&fix, &stream, 1);
    cr_expect_eq(fixture_end_of(&fix, guest[0]), 0);
    (void)close(client[0]);
    (void)close(guest[0]);
    fixture_end(&fix);
}

Test(relay, bulk_goes_each_way_and_both_ways)
{
    static const struct {
        size_t in;
        size_t out;
    } rows[] = {{32 * MIB, 0}, {0, 32 * MIB}, {16 * MIB, 16 * MIB + 12345}};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Fixture fix;
        Line line;
        Stream streams[2];

        fixture_begin(&fix, 16);
        line_begin(&line, &fix, 0, 0);
        streams[0] =
            (Stream){.from = line.client, .to = line.guest, .total = rows[i].in, .chunk = 32768};
        streams[1] =
            (Stream){.from = line.guest, .to = line.client, .total = rows[i].out, .chunk = 32768};
        streams_run(&fix, streams, 2);
        line_end(&line);
        LOOP_AWAIT(fix.context, fix.ends == 1);
        fixture_end(&fix);
    }
}

Test(relay, single_bytes_arrive_in_order)
{
    Fixture fix;
    Line line;
    Stream streams[2];

    fixture_begin(&fix, 16);
    line_begin(&line, &fix, 0, 0);
    streams[0] = (Stream){.from = line.client, .to = line.guest, .total = 3000, .chunk = 1};
    streams[1] = (Stream){.from = line.guest, .to = line.client, .total = 3000, .chunk = 1};
    streams_run(&fix, streams, 2);
    line_end(&line);
    fixture_end(&fix);
}

Test(relay, each_side_may_close_its_half_and_still_be_answered)
{
    for (int way = 0; way < 2; way++) {
        Fixture fix;
        Line line;
        int early;
        int late;
        Stream stream;

        fixture_begin(&fix, 16);
        line_begin(&line, &fix, 0, 0);
        early = way == 0 ? line.client : line.guest;
        late = way == 0 ? line.guest : line.client;
        stream = (Stream){.from = early, .to = late, .total = 100000, .chunk = 32768};
        streams_run(&fix, &stream, 1);
        cr_assert_eq(shutdown(early, SHUT_WR), 0);
        cr_expect_eq(fixture_end_of(&fix, late), 0);
        cr_expect_eq(relays_count(fix.relays), 1);
        stream = (Stream){.from = late, .to = early, .total = 4 * MIB, .chunk = 32768};
        streams_run(&fix, &stream, 1);
        cr_assert_eq(shutdown(late, SHUT_WR), 0);
        cr_expect_eq(fixture_end_of(&fix, early), 0);
        LOOP_AWAIT(fix.context, fix.ends == 1);
        cr_expect_eq(fix.last_data, &line);
        cr_expect_eq(relays_count(fix.relays), 0);
        line_end(&line);
        fixture_end(&fix);
    }
}

Test(relay, fin_comes_behind_the_last_byte)
{
    Fixture fix;
    Line line;
    Stream stream;

    fixture_begin(&fix, 16);
    line_begin(&line, &fix, 0, 0);
    stream = (Stream){.from = line.client, .to = line.guest, .total = MIB, .chunk = 32768};
    while (stream.written < stream.total) {
        stream_write(&stream);
        (void)g_main_context_iteration(fix.context, FALSE);
        if (stream.total - stream.written > MIB / 2) {
            continue;
        }
        stream_read(&stream);
    }
    cr_assert_eq(shutdown(line.client, SHUT_WR), 0);
    streams_run(&fix, &stream, 1);
    cr_expect_eq(fixture_end_of(&fix, line.guest), 0);
    line_end(&line);
    fixture_end(&fix);
}

Test(relay, reset_of_each_side_is_the_others_econnreset)
{
    for (int way = 0; way < 4; way++) {
        Fixture fix;
        Line line;
        int early;
        int late;

        fixture_begin(&fix, 16);
        line_begin(&line, &fix, 0, 0);
        early = way % 2 == 0 ? line.client : line.guest;
        late = way % 2 == 0 ? line.guest : line.client;
        loop_drain(fix.context);
        if (way >= 2) { /* the other has said all it had to say */
            cr_assert_eq(shutdown(late, SHUT_WR), 0);
            cr_expect_eq(fixture_end_of(&fix, early), 0);
        }
        relay_reset(early);
        cr_expect_eq(fixture_end_of(&fix, late), -ECONNRESET, "way %d", way);
        LOOP_AWAIT(fix.context, fix.ends == 1);
        cr_expect_eq(relays_count(fix.relays), 0);
        (void)close(late);
        fixture_end(&fix);
    }
}

Test(relay, writing_to_a_reader_that_closed_ends_the_relay_and_the_writer_learns_it)
{
    Fixture fix;
    Line line;
    Stream stream;
    gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

    fixture_begin(&fix, 16);
    line_begin(&line, &fix, 0, 0);
    (void)close(line.guest);
    stream = (Stream){.from = line.client, .to = line.client, .total = SIZE_MAX, .chunk = 32768};
    while (fix.ends == 0 && g_get_monotonic_time() < deadline) {
        stream_write(&stream);
        (void)g_main_context_iteration(fix.context, FALSE);
    }
    cr_expect_eq(fix.ends, 1);
    /* The FIN came first, so the reset after it is EPIPE (net/ipv4/tcp_input.c: tcp_reset()). */
    cr_expect_lt(send(line.client, "x", 1, MSG_NOSIGNAL), 0);
    cr_expect_eq(errno, EPIPE);
    (void)close(line.client);
    fixture_end(&fix);
}

Test(relay, idle_relay_is_reset_on_both_sides)
{
    Fixture fix;
    Line line;
    gint64 began = g_get_monotonic_time();

    fixture_begin(&fix, 16);
    line_begin(&line, &fix, 200000, 0);
    LOOP_AWAIT(fix.context, fix.ends == 1);
    cr_expect_geq(g_get_monotonic_time() - began, 200000);
    cr_expect_eq(fixture_end_of(&fix, line.client), -ECONNRESET);
    cr_expect_eq(fixture_end_of(&fix, line.guest), -ECONNRESET);
    cr_expect_eq(fix.last_data, &line);
    line_end(&line);
    fixture_end(&fix);
}

Test(relay, bytes_of_either_side_keep_a_relay_from_being_idle)
{
    Fixture fix;
    Line line;

    fixture_begin(&fix, 16);
    line_begin(&line, &fix, 300000, 0);
    for (int i = 0; i < 8; i++) {
        Stream stream = {.from = i % 2 == 0 ? line.client : line.guest,
                         .to = i % 2 == 0 ? line.guest : line.client,
                         .total = 1,
                         .chunk = 1};

        loop_run_ms(fix.context, 100);
        streams_run(&fix, &stream, 1);
    }
    cr_expect_eq(fix.ends, 0);
    line_end(&line);
    fixture_end(&fix);
}

Test(relay, idle_relay_lets_the_process_sleep)
{
    Fixture fix;
    Line line;

    fixture_begin(&fix, 16);
    line_begin(&line, &fix, 0, 0);
    loop_run_ms(fix.context, 50);
    cr_expect_not(g_main_context_pending(fix.context));
    cr_expect_eq(loop_timeout_ms(fix.context), -1);
    line_end(&line);
    fixture_end(&fix);
}

Test(relay, freed_relays_reset_both_sides_without_a_call)
{
    Fixture fix;
    Line line;

    fixture_begin(&fix, 16);
    line_begin(&line, &fix, 0, 0);
    loop_drain(fix.context);
    relays_free(fix.relays);
    fix.relays = NULL;
    cr_expect_eq(fix.ends, 0);
    cr_expect_eq(fixture_end_of(&fix, line.client), -ECONNRESET);
    cr_expect_eq(fixture_end_of(&fix, line.guest), -ECONNRESET);
    line_end(&line);
    fixture_end(&fix);
}

Test(relay, join_that_fails_resets_both_and_calls_nobody)
{
    Fixture fix;
    int client[2];
    FlowKey key;
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

    fixture_begin(&fix, 16);
    key = fixture_key(&fix);
    fixture_connect(&fix, client, 0);
    cr_expect_eq(fixture_join(&fix, client[1], file, &key, 0, NULL), -EPERM);
    cr_expect_eq(relays_count(fix.relays), 0);
    cr_expect_eq(fix.ends, 0);
    cr_expect_eq(fcntl(file, F_GETFD), -1, "consumed whatever happens");
    cr_expect_eq(fixture_end_of(&fix, client[0]), -ECONNRESET);
    (void)close(client[0]);
    fixture_end(&fix);
}

/* Nothing comes after it that could wake a relay which took it for the end of what there is. */
Test(relay, urgent_data_stays_in_its_place_in_the_stream)
{
    for (size_t before = 0; before <= 300000; before = before * 10 + 3) {
        Fixture fix;
        Line line;
        Stream stream;
        char last[4] = "";
        size_t have = 0;
        gint64 deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;

        fixture_begin(&fix, 16);
        line_begin(&line, &fix, 0, 0);
        stream = (Stream){.from = line.client, .to = line.guest, .total = before, .chunk = 32768};
        streams_run(&fix, &stream, 1);
        cr_assert_eq(send(line.client, "ab", 2, MSG_OOB | MSG_NOSIGNAL), 2);
        cr_assert_eq(send(line.client, "cd", 2, MSG_NOSIGNAL), 2);
        while (have < 4 && g_get_monotonic_time() < deadline) {
            ssize_t got = recv(line.guest, last + have, 4 - have, MSG_DONTWAIT);

            have += got > 0 ? (size_t)got : 0;
            (void)g_main_context_iteration(fix.context, FALSE);
        }
        cr_expect_eq(have, 4);
        cr_expect_arr_eq(last, "abcd", 4);
        line_end(&line);
        fixture_end(&fix);
    }
}

typedef struct Listed {
    unsigned count;
    FlowRecord info; /* of the last */
} Listed;

static bool listed_add(const FlowRecord *info, void *user_data)
{
    Listed *listed = user_data;

    listed->count++;
    listed->info = *info;
    return true;
}

static FlowPath published(const RelayOwner *owner, void *path_data)
{
    cr_expect_eq(owner, path_data);
    return FLOW_PATH_RELAY;
}

static void list_all(Fixture *fix, Listed *listed)
{
    FlowList list = {listed_add, listed, 1000};

    cr_assert_eq(relays_page(fix->relays, 0, &list, published, &fix->owner), FLOW_PLACE_END);
}

static void expect_name(const FlowAddr *addr, int fd, bool of_peer)
{
    struct sockaddr_in sa;
    socklen_t len = sizeof(sa);

    cr_assert_eq(of_peer ? getpeername(fd, (struct sockaddr *)&sa, &len)
                         : getsockname(fd, (struct sockaddr *)&sa, &len),
                 0);
    cr_expect_eq(addr->addr.family, AF_INET);
    cr_expect_eq(addr->port, ntohs(sa.sin_port));
}

Test(relay, a_list_says_names_bytes_each_way_age_and_state)
{
    Fixture fix;
    Line line;
    Listed listed = {0};
    Stream streams[2];

    fixture_begin(&fix, 16);
    line_begin(&line, &fix, 0, 0);
    streams[0] = (Stream){.from = line.client, .to = line.guest, .total = 70000, .chunk = 32768};
    streams[1] = (Stream){.from = line.guest, .to = line.client, .total = 3, .chunk = 3};
    streams_run(&fix, streams, 2);
    loop_run_ms(fix.context, 20);
    list_all(&fix, &listed);
    cr_expect_eq(listed.count, 1);
    cr_expect_eq(listed.info.bytes_in, 70000);
    cr_expect_eq(listed.info.bytes_out, 3);
    cr_expect_geq(listed.info.age_ms, 20);
    expect_name(&listed.info.host_local, line.client, true);
    expect_name(&listed.info.host_remote, line.client, false);
    expect_name(&listed.info.guest_local, line.guest, false);
    expect_name(&listed.info.guest_remote, line.guest, true);
    cr_expect_eq(listed.info.state, FLOW_STATE_OPEN);
    cr_assert_eq(shutdown(line.guest, SHUT_WR), 0);
    cr_expect_eq(fixture_end_of(&fix, line.client), 0);
    for (unsigned i = 0; i < 1000 && listed.info.state == FLOW_STATE_OPEN; i++) {
        g_usleep(1000);
        list_all(&fix, &listed);
    }
    cr_expect_eq(listed.info.state, FLOW_STATE_LOCAL_CLOSED);
    line_end(&line);
    LOOP_AWAIT(fix.context, fix.ends == 1);
    cr_expect_eq(relays_total(fix.relays).now, 0);
    cr_expect_eq(relays_total(fix.relays).ever, 1);
    cr_expect_eq(relays_total(fix.relays).bytes_in, 70000, "those that have ended count");
    cr_expect_eq(relays_total(fix.relays).bytes_out, 3);
    fixture_end(&fix);
}

Test(relay, reset_from_here_frees_the_tuple_before_it_returns)
{
    Fixture fix;
    Line line;
    FlowKey key;
    char byte;

    fixture_begin(&fix, 16);
    line_begin(&line, &fix, 0, 0);
    fix.next_port--;
    key = fixture_key(&fix);
    relays_reset(fix.relays, &key);
    cr_expect_eq(relays_count(fix.relays), 0);
    cr_expect_eq(fix.ends, 1);
    cr_expect_eq(recv(line.client, &byte, 1, MSG_DONTWAIT), -1);
    cr_expect_eq(errno, ECONNRESET);
    cr_expect_eq(recv(line.guest, &byte, 1, MSG_DONTWAIT), -1);
    cr_expect_eq(errno, ECONNRESET);
    relays_reset(fix.relays, &key);
    cr_expect_eq(fix.ends, 1, "once");
    line_end(&line);
    fixture_end(&fix);
    cr_expect_eq(count_fds(), fix.fds_before);
}

Test(relay, flows_are_spread_over_the_threads_and_end_in_any_order, .timeout = 60)
{
    enum { COUNT = 40, ROUNDS = 30 };
    Fixture fix;

    fixture_begin(&fix, 16);
    for (int round = 0; round < ROUNDS; round++) {
        Line lines[COUNT];

        for (int i = 0; i < COUNT; i++) {
            line_begin(&lines[i], &fix, 0, 0);
            cr_assert_eq(send(lines[i].client, "x", 1, MSG_NOSIGNAL), 1);
        }
        for (int i = 0; i < COUNT; i++) {
            if (i % 4 == 0) {
                FlowKey key;

                fix.next_port -= COUNT - i;
                key = fixture_key(&fix);
                fix.next_port += COUNT - i - 1;
                relays_reset(fix.relays, &key); /* while its worker may be at it */
                line_end(&lines[i]);
            } else if (i % 4 == 1) {
                relay_reset(lines[i].client);
                (void)close(lines[i].guest);
            } else {
                line_end(&lines[i]);
            }
        }
        LOOP_AWAIT(fix.context, fix.ends == (unsigned)(round + 1) * COUNT);
    }
    cr_expect_eq(relays_count(fix.relays), 0);
    fixture_end(&fix);
    cr_expect_eq(count_fds(), fix.fds_before);
}

/* How often threads other than this one have gone to sleep (getrusage(2)). */
static long threads_sleeps(void)
{
    struct rusage all;
    struct rusage own;

    cr_assert_eq(getrusage(RUSAGE_SELF, &all), 0);
    cr_assert_eq(getrusage(RUSAGE_THREAD, &own), 0);
    return all.ru_nvcsw - own.ru_nvcsw;
}

/* Fewer turns, or more, than a relay has while it is young. */
Test(relay, a_request_and_its_answer_wake_no_thread_and_a_long_exchange_is_given_to_one)
{
    Fixture fix;
    Line line;
    long before;

    fixture_begin(&fix, 16);
    line_begin(&line, &fix, 0, 0);
    loop_run_ms(fix.context, 50);
    before = threads_sleeps();
    for (unsigned exchanges = 0; exchanges < 40; exchanges++) {
        Stream ask = {.from = line.client, .to = line.guest, .total = 64, .chunk = 64};
        Stream answer = {.from = line.guest, .to = line.client, .total = 64, .chunk = 64};

        streams_run(&fix, &ask, 1);
        streams_run(&fix, &answer, 1);
        if (exchanges == 0) {
            loop_run_ms(fix.context, 50);
            cr_expect_eq(threads_sleeps(), before);
        }
    }
    loop_run_ms(fix.context, 50);
    cr_expect_gt(threads_sleeps(), before);
    line_end(&line);
    LOOP_AWAIT(fix.context, fix.ends == 1);
    fixture_end(&fix);
}
