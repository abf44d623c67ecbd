/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_limits.c - how file descriptors are shared, and how seldom a line is said: of a class, of all, and by a child
 */
#include "config.h"

#include "datapath/limits.h"
#include "datapath/loglimit.h"
#include "rate.h"

#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>
#include <glib.h>

/* What there may be at once never takes more fds than there are. */
static void expect_room(const Limits *limits, size_t nofile)
{
    size_t most = 2 * (size_t)limits->flows + 2 * (size_t)limits->pipes + limits->pending +
                  limits->udp + limits->nat;

    cr_expect_leq(most, nofile, "%zu of %zu", most, nofile);
    cr_expect_geq(limits->flows, 1);
    cr_expect_geq(limits->pending, 1);
    cr_expect_geq(limits->udp, 1);
}

Test(limits, shares_stay_within_rlimit_nofile)
{
    static const size_t limits[] = {64, 256, 1024, 4096, 20000, 524288, 1 << 20};
    Settings settings = {0};

    for (size_t i = 0; i < G_N_ELEMENTS(limits); i++) {
        Limits shares = limits_share(&settings, limits[i], 20);

        expect_room(&shares, limits[i]);
        cr_expect_eq(shares.room, shares.flows);
    }
}

Test(limits, three_thousand_connections_fit_into_twenty_thousand_fds)
{
    Settings settings = {0};
    Limits shares = limits_share(&settings, 20000, 20);

    cr_expect_geq(shares.flows * 3 / 4, 3000, "those of the guest alone (see datapath.c)");
    cr_expect_eq(shares.pending, 1024);
}

Test(limits, options_win_as_far_as_there_are_fds)
{
    Settings settings = {.max_flows = 10, .max_pending = 7};
    Limits shares = limits_share(&settings, 4096, 20);

    cr_expect_eq(shares.flows, 10);
    cr_expect_eq(shares.pending, 7);
    settings = (Settings){.max_flows = 10};
    cr_expect_eq(limits_share(&settings, 4096, 20).pending, 5);
    settings = (Settings){.max_flows = 100000};
    shares = limits_share(&settings, 4096, 20);
    cr_expect_lt(shares.flows, 4096 / 2);
    cr_expect_eq(shares.flows, shares.room, "what there is room for, so that it can be said");
}

Test(limits, no_fds_at_all_still_leave_one_of_each)
{
    Settings settings = {0};
    Limits shares = limits_share(&settings, 16, 20);

    cr_expect_eq(shares.flows, 1);
    cr_expect_eq(shares.udp, 1);
    cr_expect_geq(shares.nat, 1);
}

typedef struct Said {
    unsigned lines;
    char last[200];
    int errnum;
} Said;

static void say(LogLevel level, FaultKind kind, int errnum, const char *text, void *user_data)
{
    Said *said = user_data;

    (void)level;
    (void)kind;
    said->lines++;
    said->errnum = errnum;
    g_strlcpy(said->last, text, sizeof(said->last));
}

Test(loglimit, one_line_of_a_class_however_often_it_comes)
{
    Said said = {0};
    g_autoptr(LogLimit) limit = loglimit_new(2, LOG_LEVEL_INFO, say, &said);

    for (int i = 0; i < 1000; i++) {
        loglimit_say(limit, 0, LOG_LEVEL_WARNING, FAULT_LIMIT, EMFILE, "number %d", i);
    }
    cr_expect_eq(said.lines, 1);
    cr_expect_str_eq(said.last, "number 0");
    cr_expect_eq(said.errnum, EMFILE);
    loglimit_say(limit, 1, LOG_LEVEL_WARNING, FAULT_LIMIT, 0, "another class");
    cr_expect_eq(said.lines, 2);
}

Test(loglimit, lines_above_the_level_are_not_even_counted)
{
    Said said = {0};
    g_autoptr(LogLimit) limit = loglimit_new(1, LOG_LEVEL_INFO, say, &said);

    loglimit_say(limit, 0, LOG_LEVEL_DEBUG, FAULT_LIMIT, 0, "detail");
    cr_expect_eq(said.lines, 0);
    loglimit_say(limit, 0, LOG_LEVEL_INFO, FAULT_LIMIT, 0, "news");
    cr_expect_str_eq(said.last, "news");
}

Test(loglimit, all_classes_together_say_no_more_than_eight_lines_at_once)
{
    Said said = {0};
    g_autoptr(LogLimit) limit = loglimit_new(100, LOG_LEVEL_INFO, say, &said);

    for (unsigned i = 0; i < 50; i++) {
        loglimit_say(limit, i, LOG_LEVEL_WARNING, FAULT_REFUSED, 0, "what the guest tries");
    }
    cr_expect_lt(said.lines, 8, "%u lines", said.lines);
    loglimit_say(limit, 50, LOG_LEVEL_WARNING, FAULT_FAST_PATH, 0, "what the parent should know");
    cr_expect_str_eq(said.last, "what the parent should know");
    for (unsigned i = 51; i < 100; i++) {
        loglimit_say(limit, i, LOG_LEVEL_WARNING, FAULT_FAST_PATH, 0, "and more");
    }
    cr_expect_eq(said.lines, 8);
}

Test(rate, no_second_has_more_wherever_it_begins)
{
    Rate rate = {.next = 0};
    int64_t admitted[1000];
    size_t count = 0;

    for (int64_t now = 1; now < 10 * G_USEC_PER_SEC; now += 7919) {
        if (rate_admits(&rate, 3 + (unsigned)(now % 2) * 5, now)) {
            admitted[count++] = now;
        }
    }
    cr_expect_geq(count, 70);
    for (size_t i = 8; i < count; i++) {
        cr_expect_geq(admitted[i] - admitted[i - 8], G_USEC_PER_SEC);
    }
}

Test(rate, the_share_of_one_caller_leaves_room_for_others)
{
    Rate rate = {.next = 0};
    unsigned few = 0;
    unsigned all = 0;

    for (int i = 0; i < 100; i++) {
        few += rate_admits(&rate, 4, 1000);
    }
    for (int i = 0; i < 100; i++) {
        all += rate_admits(&rate, RATE_MAX, 1000);
    }
    cr_expect_eq(few, 4);
    cr_expect_eq(few + all, RATE_MAX);
}
