/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_flow.c - the table of everything with a tuple and an age
 *
 * Does:     finds, ages, evicts and ends flows; looks at what the loop would sleep.
 * Not here: what flows carry.
 */
#include "config.h"

#include "datapath/flow.h"

#include "loopfixture.h"

#define MS 1000

typedef struct Sample {
    Flow flow;
    unsigned ended;
    FlowEnd why;
    unsigned place; /* in the order of ends, from 1 */
} Sample;

typedef struct Fixture {
    GMainContext *context;
    FlowTable *table;
    unsigned ends;
    Sample *remove_next; /* taken out by the end of another */
} Fixture;

static void on_ended(Flow *flow, FlowEnd why, void *user_data)
{
    Fixture *fix = user_data;
    Sample *sample = (Sample *)flow;

    sample->ended++;
    sample->why = why;
    sample->place = ++fix->ends;
    if (fix->table != NULL) {
        cr_expect_null(flow_table_lookup(fix->table, &flow->key), "out of the table already");
    }
    if (fix->remove_next != NULL) {
        Sample *next = fix->remove_next;

        fix->remove_next = NULL;
        flow_table_remove(fix->table, &next->flow);
    }
}

static void fixture_begin(Fixture *fix, unsigned max)
{
    *fix = (Fixture){.context = g_main_context_new()};
    fix->table = flow_table_new(fix->context, max, on_ended, fix);
}

static void fixture_end(Fixture *fix)
{
    flow_table_free(fix->table);
    g_main_context_unref(fix->context);
}

static FlowKey key_of(const char *remote, uint16_t remote_port, const char *local,
                      uint16_t local_port, uint32_t owner)
{
    NetAddr from;
    NetAddr to;

    cr_assert(netaddr_parse(remote, &from) && netaddr_parse(local, &to));
    return flow_key(&from, remote_port, &to, local_port, owner);
}

static void insert(Fixture *fix, Sample *sample, uint16_t port, int64_t idle_us)
{
    *sample = (Sample){.flow.key = key_of("192.0.2.1", port, "10.0.2.100", 80, 0)};
    flow_table_insert(fix->table, &sample->flow, idle_us);
}

/* Lets time pass, so that two moments differ. */
static void tick(void)
{
    g_usleep(2 * MS);
}

Test(flow, each_part_of_the_key_tells_flows_apart)
{
    Fixture fix;
    Sample samples[9] = {0};
    const FlowKey keys[] = {
        key_of("192.0.2.1", 1, "10.0.2.100", 80, 0), key_of("192.0.2.2", 1, "10.0.2.100", 80, 0),
        key_of("192.0.2.1", 2, "10.0.2.100", 80, 0), key_of("192.0.2.1", 1, "10.0.2.101", 80, 0),
        key_of("192.0.2.1", 1, "10.0.2.100", 81, 0), key_of("192.0.2.1", 1, "10.0.2.100", 80, 1),
        key_of("2001:db8::1", 1, "fd00::64", 80, 0), key_of("2001:db8::2", 1, "fd00::64", 80, 0),
    };
    FlowKey missing = key_of("192.0.2.1", 80, "10.0.2.100", 1, 0);

    fixture_begin(&fix, 100);
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        samples[i].flow.key = keys[i];
        cr_expect_null(flow_table_lookup(fix.table, &keys[i]));
        flow_table_insert(fix.table, &samples[i].flow, 0);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        cr_expect_eq(flow_table_lookup(fix.table, &keys[i]), &samples[i].flow, "%zu", i);
    }
    cr_expect_null(flow_table_lookup(fix.table, &missing));
    cr_expect_eq(flow_table_count(fix.table), G_N_ELEMENTS(keys));
    fixture_end(&fix);
}

Test(flow, key_does_not_depend_on_what_is_in_unused_bytes)
{
    NetAddr clean = {.family = AF_INET};
    NetAddr dirty;
    FlowKey a;
    FlowKey b;

    memset(&dirty, 0xff, sizeof(dirty));
    dirty.family = AF_INET;
    dirty.scope_id = 0;
    dirty.v4.s_addr = 0;
    a = flow_key(&clean, 1, &clean, 2, 3);
    b = flow_key(&dirty, 1, &dirty, 2, 3);
    cr_expect_arr_eq(&a, &b, sizeof(a));
}

Test(flow, scope_of_the_remote_is_part_of_the_key)
{
    NetAddr one;
    NetAddr other;
    FlowKey a;
    FlowKey b;

    cr_assert(netaddr_parse("fe80::1", &one));
    other = one;
    one.scope_id = 1;
    other.scope_id = 2;
    a = flow_key(&one, 1, &one, 2, 3);
    b = flow_key(&other, 1, &one, 2, 3);
    cr_expect_neq(memcmp(&a, &b, sizeof(a)), 0);
}

Test(flow, removed_flow_is_not_found_and_does_not_end)
{
    Fixture fix;
    Sample sample;

    fixture_begin(&fix, 10);
    insert(&fix, &sample, 1, 10 * MS);
    flow_table_remove(fix.table, &sample.flow);
    cr_expect_null(flow_table_lookup(fix.table, &sample.flow.key));
    cr_expect_eq(flow_table_count(fix.table), 0);
    loop_run_ms(fix.context, 50);
    cr_expect_eq(sample.ended, 0);
    flow_table_insert(fix.table, &sample.flow, 0);
    cr_expect_eq(flow_table_lookup(fix.table, &sample.flow.key), &sample.flow);
    fixture_end(&fix);
    cr_expect_eq(sample.ended, 1);
}

Test(flow, flows_of_several_timeouts_end_in_the_order_of_their_time)
{
    Fixture fix;
    Sample samples[4];
    gint64 began = g_get_monotonic_time();

    fixture_begin(&fix, 10);
    insert(&fix, &samples[0], 1, 150 * MS);
    insert(&fix, &samples[1], 2, 50 * MS);
    insert(&fix, &samples[2], 3, 100 * MS);
    insert(&fix, &samples[3], 4, 0);
    LOOP_AWAIT(fix.context, fix.ends == 1);
    cr_expect_geq(g_get_monotonic_time() - began, 50 * MS);
    LOOP_AWAIT(fix.context, fix.ends == 3);
    cr_expect_geq(g_get_monotonic_time() - began, 150 * MS);
    cr_expect_eq(samples[1].place, 1);
    cr_expect_eq(samples[2].place, 2);
    cr_expect_eq(samples[0].place, 3);
    cr_expect_eq(samples[3].ended, 0);
    for (int i = 0; i < 3; i++) {
        cr_expect_eq(samples[i].ended, 1);
        cr_expect_eq(samples[i].why, FLOW_END_IDLE);
    }
    cr_expect_eq(flow_table_count(fix.table), 1);
    cr_expect_eq(flow_table_evicted(fix.table), 0);
    fixture_end(&fix);
}

Test(flow, shorter_timeout_that_comes_later_moves_the_timer_forward)
{
    Fixture fix;
    Sample samples[2];

    fixture_begin(&fix, 10);
    insert(&fix, &samples[0], 1, 60 * 1000 * MS);
    insert(&fix, &samples[1], 2, 30 * MS);
    LOOP_AWAIT(fix.context, fix.ends == 1);
    cr_expect_eq(samples[1].ended, 1);
    cr_expect_gt(loop_timeout_ms(fix.context), 50000);
    fixture_end(&fix);
}

Test(flow, touched_flow_lives_on_and_the_untouched_one_goes)
{
    Fixture fix;
    Sample samples[2];
    int64_t born;

    fixture_begin(&fix, 10);
    insert(&fix, &samples[0], 1, 200 * MS);
    insert(&fix, &samples[1], 2, 200 * MS);
    born = samples[0].flow.born_us;
    loop_run_ms(fix.context, 120);
    flow_touch(fix.table, &samples[0].flow);
    cr_expect_eq(samples[0].flow.born_us, born);
    cr_expect_geq(samples[0].flow.last_us, born + 120 * MS);
    LOOP_AWAIT(fix.context, fix.ends == 1);
    cr_expect_eq(samples[1].ended, 1);
    cr_expect_eq(samples[0].ended, 0);
    LOOP_AWAIT(fix.context, fix.ends == 2);
    cr_expect_geq(g_get_monotonic_time(), samples[0].flow.last_us + 200 * MS);
    fixture_end(&fix);
}

Test(flow, full_table_evicts_what_was_idle_longest_over_all_timeouts)
{
    Fixture fix;
    Sample samples[5];

    fixture_begin(&fix, 3);
    insert(&fix, &samples[0], 1, 0);
    tick();
    insert(&fix, &samples[1], 2, 60 * 1000 * MS);
    tick();
    insert(&fix, &samples[2], 3, 30 * 1000 * MS);
    tick();
    flow_touch(fix.table, &samples[0].flow);
    tick();
    insert(&fix, &samples[3], 4, 0);
    cr_expect_eq(samples[1].ended, 1);
    cr_expect_eq(samples[1].why, FLOW_END_EVICTED);
    insert(&fix, &samples[4], 5, 0);
    cr_expect_eq(samples[2].ended, 1);
    cr_expect_eq(fix.ends, 2);
    cr_expect_eq(flow_table_count(fix.table), 3);
    cr_expect_eq(flow_table_evicted(fix.table), 2);
    cr_expect_not_null(flow_table_lookup(fix.table, &samples[0].flow.key));
    fixture_end(&fix);
}

Test(flow, another_timeout_counts_from_its_setting)
{
    Fixture fix;
    Sample samples[2];
    gint64 began;

    fixture_begin(&fix, 10);
    insert(&fix, &samples[0], 1, 60 * 1000 * MS);
    insert(&fix, &samples[1], 2, 50 * MS);
    tick();
    began = g_get_monotonic_time();
    flow_set_idle(fix.table, &samples[0].flow, 40 * MS);
    flow_set_idle(fix.table, &samples[1].flow, 0);
    LOOP_AWAIT(fix.context, fix.ends == 1);
    cr_expect_geq(g_get_monotonic_time() - began, 40 * MS);
    cr_expect_eq(samples[0].ended, 1);
    loop_run_ms(fix.context, 100);
    cr_expect_eq(samples[1].ended, 0, "it never idles out");
    fixture_end(&fix);
}

Test(flow, same_timeout_again_is_no_use_of_the_flow)
{
    Fixture fix;
    Sample sample;
    int64_t last;

    fixture_begin(&fix, 10);
    insert(&fix, &sample, 1, 50 * MS);
    last = sample.flow.last_us;
    tick();
    flow_set_idle(fix.table, &sample.flow, 50 * MS);
    cr_expect_eq(sample.flow.last_us, last);
    fixture_end(&fix);
}

Test(flow, nothing_is_armed_while_the_table_is_empty)
{
    Fixture fix;
    Sample sample;

    fixture_begin(&fix, 10);
    cr_expect_eq(loop_timeout_ms(fix.context), -1);
    insert(&fix, &sample, 1, 5000 * MS);
    cr_expect_geq(loop_timeout_ms(fix.context), 4000);
    cr_expect_leq(loop_timeout_ms(fix.context), 5001);
    flow_table_remove(fix.table, &sample.flow);
    cr_expect_eq(loop_timeout_ms(fix.context), -1);
    insert(&fix, &sample, 1, 10 * MS);
    LOOP_AWAIT(fix.context, fix.ends == 1);
    cr_expect_eq(loop_timeout_ms(fix.context), -1);
    fixture_end(&fix);
}

Test(flow, nothing_is_armed_for_flows_that_never_idle_out)
{
    Fixture fix;
    Sample samples[2];

    fixture_begin(&fix, 10);
    insert(&fix, &samples[0], 1, 0);
    cr_expect_eq(loop_timeout_ms(fix.context), -1);
    insert(&fix, &samples[1], 2, 20 * MS);
    LOOP_AWAIT(fix.context, fix.ends == 1);
    cr_expect_eq(loop_timeout_ms(fix.context), -1);
    fixture_end(&fix);
}

Test(flow, nothing_is_armed_once_the_last_flow_that_idles_out_was_removed)
{
    Fixture fix;
    Sample samples[2];

    fixture_begin(&fix, 10);
    insert(&fix, &samples[0], 1, 0);
    insert(&fix, &samples[1], 2, 5000 * MS);
    flow_table_remove(fix.table, &samples[1].flow);
    cr_expect_eq(loop_timeout_ms(fix.context), -1);
    fixture_end(&fix);
}

Test(flow, nothing_is_armed_once_the_last_flow_was_told_never_to_idle_out)
{
    Fixture fix;
    Sample sample;

    fixture_begin(&fix, 10);
    insert(&fix, &sample, 1, 5000 * MS);
    flow_set_idle(fix.table, &sample.flow, 0);
    cr_expect_eq(loop_timeout_ms(fix.context), -1);
    fixture_end(&fix);
}

Test(flow, end_function_may_remove_another_flow_that_is_due)
{
    Fixture fix;
    Sample samples[3];

    fixture_begin(&fix, 10);
    for (uint16_t i = 0; i < 3; i++) {
        insert(&fix, &samples[i], i, 20 * MS);
    }
    fix.remove_next = &samples[1];
    g_usleep(40 * MS);
    LOOP_AWAIT(fix.context, flow_table_count(fix.table) == 0);
    cr_expect_eq(samples[0].ended, 1);
    cr_expect_eq(samples[1].ended, 0);
    cr_expect_eq(samples[2].ended, 1);
    fixture_end(&fix);
}

Test(flow, freed_table_ends_each_flow_once)
{
    static const int64_t idles[] = {0, 1000 * MS, 60000 * MS};
    Fixture fix;
    Sample samples[30];

    fixture_begin(&fix, 100);
    for (uint16_t i = 0; i < G_N_ELEMENTS(samples); i++) {
        insert(&fix, &samples[i], i, idles[i % 3]);
    }
    fixture_end(&fix);
    cr_expect_eq(fix.ends, G_N_ELEMENTS(samples));
    for (size_t i = 0; i < G_N_ELEMENTS(samples); i++) {
        cr_expect_eq(samples[i].ended, 1);
        cr_expect_eq(samples[i].why, FLOW_END_TABLE);
    }
}

Test(flow, thousands_are_found_touched_and_end_once_each)
{
    enum { COUNT = 20000 };
    Fixture fix;
    g_autofree Sample *samples = g_new0(Sample, COUNT);

    fixture_begin(&fix, COUNT / 2);
    for (unsigned i = 0; i < COUNT; i++) {
        samples[i].flow.key = key_of("192.0.2.1", (uint16_t)i, "10.0.2.100", 80, i / 1000);
        flow_table_insert(fix.table, &samples[i].flow, 100 * MS + (i % 4) * MS);
        if (i >= 10) {
            flow_touch(fix.table, &samples[i - 10].flow);
        }
    }
    cr_expect_eq(flow_table_count(fix.table), COUNT / 2);
    cr_expect_eq(flow_table_evicted(fix.table), COUNT / 2);
    LOOP_AWAIT(fix.context, flow_table_count(fix.table) == 0);
    for (unsigned i = 0; i < COUNT; i++) {
        cr_assert_eq(samples[i].ended, 1, "%u", i);
    }
    fixture_end(&fix);
}

static int64_t seen_at;

static int64_t seen(const Flow *flow)
{
    return flow->key.remote_port == 1 ? seen_at : 0;
}

Test(flow, what_was_used_unseen_does_not_idle_out_and_keeps_its_order)
{
    Fixture fix;
    Sample used;
    Sample idle;
    int64_t began = g_get_monotonic_time();

    fixture_begin(&fix, 100);
    flow_table_set_seen(fix.table, seen);
    insert(&fix, &used, 1, 100 * MS);
    insert(&fix, &idle, 2, 100 * MS);
    seen_at = began + 90 * MS;
    LOOP_AWAIT(fix.context, idle.ended > 0);
    cr_expect_eq(used.ended, 0);
    LOOP_AWAIT(fix.context, used.ended > 0);
    cr_expect_geq(g_get_monotonic_time() - began, 190 * MS);
    cr_expect_eq(used.why, FLOW_END_IDLE);
    fixture_end(&fix);
}

/* Pages of at most @room flows; how often each was seen. */
typedef struct Walk {
    unsigned room;
    unsigned seen[65536]; /* by remote port */
    unsigned calls;
} Walk;

static bool walk_one(Flow *flow, void *user_data)
{
    Walk *walk = user_data;

    walk->calls++;
    if (walk->room == 0) {
        return false;
    }
    walk->room--;
    walk->seen[flow->key.remote_port]++;
    return true;
}

Test(flow, pages_show_each_flow_once_whatever_begins_and_ends_between_them)
{
    static Walk walk;
    Fixture fix;
    Sample *samples = g_new(Sample, 2000);
    uint16_t fresh = 1000;
    uint32_t place = 0;
    uint16_t gone = 1;

    fixture_begin(&fix, 5000);
    for (uint16_t i = 0; i < 1000; i++) {
        insert(&fix, &samples[i], i, 0);
    }
    while (place != FLOW_PLACE_END) {
        walk.room = 7;
        place = flow_table_page(fix.table, place, 64, walk_one, &walk);
        /* Every third goes, some before and some after they were seen; new ones come into their places. */
        for (unsigned i = 0; i < 5 && gone < 1000; i++, gone += 3) {
            flow_table_remove(fix.table, &samples[gone].flow);
        }
        for (unsigned i = 0; i < 3; i++, fresh++) {
            insert(&fix, &samples[fresh], fresh, 0);
        }
        cr_assert_lt(fresh, 1990);
    }
    for (uint16_t i = 0; i < 1000; i++) {
        if (i % 3 != 1) {
            cr_expect_eq(walk.seen[i], 1, "flow %u: %u times", i, walk.seen[i]);
        }
    }
    for (uint16_t i = 0; i < fresh; i++) {
        cr_expect_leq(walk.seen[i], 1, "flow %u: %u times", i, walk.seen[i]);
    }
    fixture_end(&fix);
    g_free(samples);
}

Test(flow, a_page_looks_at_so_many_places_and_a_walk_at_each_once)
{
    static Walk walk = {.room = G_MAXUINT};
    Fixture fix;
    Sample *samples = g_new(Sample, 10000);
    uint32_t place = 0;
    unsigned pages = 0;

    fixture_begin(&fix, 10000);
    for (uint16_t i = 0; i < 10000; i++) {
        insert(&fix, &samples[i], i, 0);
    }
    for (uint16_t i = 0; i < 9999; i++) {
        flow_table_remove(fix.table, &samples[i].flow);
    }
    cr_expect_eq(flow_table_page(fix.table, 0, 1000, walk_one, &walk), 1000);
    cr_expect_eq(walk.calls, 0, "no flow among the first 1000 places");
    for (; place != FLOW_PLACE_END; pages++) {
        place = flow_table_page(fix.table, place, 1000, walk_one, &walk);
    }
    cr_expect_eq(pages, 10);
    cr_expect_eq(walk.seen[9999], 1);
    flow_table_remove(fix.table, &samples[9999].flow);
    cr_expect_eq(flow_table_page(fix.table, 0, 1, walk_one, &walk), FLOW_PLACE_END,
                 "what a burst took is given back");
    cr_expect_eq(flow_table_page(fix.table, 123456, 1, walk_one, &walk), FLOW_PLACE_END);
    fixture_end(&fix);
    g_free(samples);
}

static void each_port(Flow *flow, void *user_data)
{
    unsigned *ports = user_data;

    *ports = *ports * 10 + flow->key.remote_port;
}

Test(flow, each_visits_all_in_order_of_last_use)
{
    Fixture fix;
    Sample samples[3];
    unsigned ports = 0;

    fixture_begin(&fix, 100);
    for (uint16_t i = 0; i < 3; i++) {
        insert(&fix, &samples[i], (uint16_t)(i + 1), 0);
        tick();
    }
    flow_touch(fix.table, &samples[0].flow);
    flow_table_each(fix.table, each_port, &ports);
    cr_expect_eq(ports, 231);
    fixture_end(&fix);
}
