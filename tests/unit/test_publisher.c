/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_publisher.c - from port maps to batches of listeners
 *
 * Does:     binds ports of lo and takes them as the datapath would; occupies some before.
 * Not here: one socket (test_bindport.c), records (test_publisher_records.c), what the datapath does.
 */
#include "config.h"

#include "publisher.h"

#include "publisherfixture.h"

#define BATCH  250
#define WINDOW 4

Test(publisher, no_maps_are_done_at_once)
{
    Fixture fix;

    fixture_begin(&fix, "");
    cr_expect_eq(fix.done, 0, "not before the start");
    publisher_start(fix.publisher);
    cr_expect_eq(fix.done, 1);
    cr_expect(publisher_finished(fix.publisher));
    cr_expect_not(publisher_failed(fix.publisher));
    cr_expect_not(fixture_take(&fix));
    fixture_end(&fix);
}

Test(publisher, message_says_what_the_map_says)
{
    uint16_t port = free_ports(1);
    g_autofree char *specs =
        spec_of("127.0.0.1:%u:80,max=7,idle=90 127.0.0.1:%u:10.0.2.77:53/udp", port, port);
    Fixture fix;
    const Handed *handed;
    char text[NETADDR_STRLEN];

    fixture_begin(&fix, specs);
    fixture_run(&fix);
    handed = fixture_handed(&fix, 0);
    cr_expect_eq(handed->listen.publication, 1);
    cr_expect_eq(handed->listen.protocol, PORTMAP_TCP4);
    cr_expect_eq(handed->listen.host_port, port);
    cr_expect_eq(handed->listen.guest_port, 80);
    cr_expect_eq(handed->listen.count, 1);
    cr_expect_not(handed->listen.guest_range);
    cr_expect_not(handed->listen.both_families);
    cr_expect_eq(handed->listen.max, 7);
    cr_expect_eq(handed->listen.idle_s, 90);
    cr_expect_eq(handed->listen.guest_addr.family, AF_UNSPEC);
    cr_expect_eq(handed->ports[0], port);
    handed = fixture_handed(&fix, 1);
    cr_expect_eq(handed->listen.publication, 2);
    cr_expect_eq(handed->listen.protocol, PORTMAP_UDP4);
    cr_expect_eq(handed->listen.guest_port, 53);
    cr_expect_eq(handed->listen.max, 0);
    cr_expect_eq(handed->listen.idle_s, -1);
    cr_expect_str_eq(netaddr_format(&handed->listen.guest_addr, text), "10.0.2.77");
    cr_expect_eq(fix.handed->len, 2);
    cr_expect_not(publisher_failed(fix.publisher));
    fixture_end(&fix);
}

Test(publisher, not_done_before_the_last_answer)
{
    uint16_t port = free_ports(1);
    g_autofree char *specs = spec_of("127.0.0.1:%u:80", port);
    Fixture fix;

    fixture_begin(&fix, specs);
    publisher_start(fix.publisher);
    cr_assert(fixture_take(&fix));
    cr_expect_eq(fix.done, 0);
    cr_expect_not(publisher_finished(fix.publisher));
    fixture_answer(&fix, 1, 0);
    cr_expect_eq(fix.done, 1);
    cr_expect(publisher_finished(fix.publisher));
    publisher_answer(fix.publisher, &(MessageListening){.type = MESSAGE_LISTENING});
    cr_expect_eq(fix.done, 1, "an answer to nothing is nothing");
    fixture_end(&fix);
}

Test(publisher, range_comes_in_batches_that_continue_each_other)
{
    uint16_t port = free_ports(600);
    g_autofree char *specs = spec_of("127.0.0.1:%u-%u:1000-1599", port, port + 599);
    Fixture fix;

    fixture_begin(&fix, specs);
    fixture_run(&fix);
    cr_assert_eq(fix.handed->len, 3);
    for (guint i = 0; i < 3; i++) {
        const Handed *handed = fixture_handed(&fix, i);

        cr_expect_eq(handed->count, i < 2 ? BATCH : 100);
        cr_expect_eq(handed->listen.host_port, port + i * BATCH);
        cr_expect_eq(handed->listen.guest_port, 1000 + i * BATCH);
        cr_expect(handed->listen.guest_range);
        for (size_t n = 0; n < handed->count; n++) {
            cr_expect_eq(handed->ports[n], handed->listen.host_port + n);
        }
    }
    fixture_end(&fix);
}

Test(publisher, four_batches_are_under_way_at_most_and_few_fds_are_held)
{
    enum { COUNT = 2500 };
    uint16_t port = free_ports(COUNT);
    g_autofree char *specs =
        spec_of("127.0.0.1:%u-%u:1000-%d", port, port + COUNT - 1, COUNT + 999);
    Fixture fix;
    unsigned seen = 0;
    size_t before;

    fixture_begin(&fix, specs);
    before = count_fds();
    publisher_start(fix.publisher);
    do {
        while (fixture_take(&fix)) {
            seen += BATCH;
        }
        fixture_let_go(&fix);
        cr_assert_leq(count_fds() - before, (WINDOW + 2) * BATCH);
        fixture_answer(&fix, 1, 0);
    } while (fix.done == 0);
    cr_expect_eq(fix.most_unanswered, WINDOW);
    cr_expect_eq(seen, COUNT);
    cr_expect_eq(count_fds(), before);
    fixture_end(&fix);
}

Test(publisher, holes_are_not_bound_and_guest_ports_keep_their_distance)
{
    uint16_t port = free_ports(10);
    g_autofree char *specs =
        spec_of("127.0.0.1:%u-%u~%u~%u-%u:100-109", port, port + 9, port + 2, port + 5, port + 7);
    g_autofree char *want =
        spec_of("%u,%u,%u,%u,%u,%u", port, port + 1, port + 3, port + 4, port + 8, port + 9);
    g_autofree char *ports = NULL;
    Fixture fix;

    fixture_begin(&fix, specs);
    fixture_run(&fix);
    ports = fixture_ports(&fix, 1, PORTMAP_TCP4);
    cr_expect_str_eq(ports, want);
    cr_assert_eq(fix.handed->len, 3);
    cr_expect_eq(fixture_handed(&fix, 1)->listen.guest_port, 103);
    cr_expect_eq(fixture_handed(&fix, 2)->listen.guest_port, 108);
    fixture_end(&fix);
}

Test(publisher, many_holes_are_many_batches_within_the_window)
{
    enum { COUNT = 60 };
    uint16_t port = free_ports(COUNT);
    g_autoptr(GString) specs = g_string_new(NULL);
    Fixture fix;

    g_string_printf(specs, "127.0.0.1:%u-%u", port, port + COUNT - 1);
    for (int i = 1; i < COUNT; i += 2) {
        g_string_append_printf(specs, "~%u", port + i);
    }
    g_string_append_printf(specs, ":1000-%d", 1000 + COUNT - 1);
    fixture_begin(&fix, specs->str);
    fixture_run(&fix);
    cr_expect_eq(fix.handed->len, COUNT / 2);
    cr_expect_leq(fix.most_unanswered, WINDOW);
    fixture_end(&fix);
}

Test(publisher, one_taken_port_fails_the_map_but_the_others_are_still_tried)
{
    uint16_t port = free_ports(6);
    int taken[] = {occupy((uint16_t)(port + 1)), occupy((uint16_t)(port + 4))};
    g_autofree char *specs = spec_of("127.0.0.1:%u-%u:80-82 127.0.0.1:%u:80 127.0.0.1:%u:81", port,
                                     port + 2, port + 4, port + 5);
    Fixture fix;
    size_t before;
    json_t *record;

    fixture_begin(&fix, specs);
    before = count_fds();
    publisher_start(fix.publisher);
    cr_expect_eq(fix.done, 1);
    cr_expect(publisher_failed(fix.publisher));
    cr_expect_not(fixture_take(&fix), "nothing is handed over");
    cr_expect_eq(count_fds(), before, "all sockets are closed");
    record = reader_record(&fix.reader, 0);
    cr_expect_str_eq(record_text(record, "code"), "publish");
    cr_expect_str_eq(record_text(record, "errno"), "EADDRINUSE");
    cr_expect_str_eq(record_text(record, "host_addr"), own_address());
    cr_expect_str_eq(record_text(record, "protocol"), "tcp");
    cr_expect_eq(record_number(record, "host_port"), port + 1);
    json_decref(record);
    record = reader_record(&fix.reader, 1);
    cr_expect_eq(record_number(record, "host_port"), port + 4);
    json_decref(record);
    cr_expect_eq(fix.reader.lines->len, 2);
    (void)close(taken[0]);
    (void)close(taken[1]);
    fixture_end(&fix);
}

Test(publisher, failure_after_batches_were_sent_waits_for_their_answers)
{
    enum { COUNT = 1600 };
    uint16_t port = free_ports(COUNT);
    int taken = occupy((uint16_t)(port + COUNT - 1));
    g_autofree char *specs = spec_of("127.0.0.1:%u-%u:1-%d", port, port + COUNT - 1, COUNT);
    Fixture fix;

    fixture_begin(&fix, specs);
    fixture_run(&fix);
    cr_expect(publisher_failed(fix.publisher));
    cr_expect_gt(fix.handed->len, 0);
    cr_expect_lt(fix.handed->len, 1 + COUNT / BATCH);
    (void)reader_read(&fix.reader);
    cr_expect_eq(fix.reader.lines->len, 1);
    (void)close(taken);
    fixture_end(&fix);
}

Test(publisher, weak_map_takes_what_it_gets)
{
    uint16_t port = free_ports(5);
    int taken[] = {occupy(port), occupy((uint16_t)(port + 3))};
    g_autofree char *specs = spec_of("127.0.0.1:%u-%u:80-84,weak", port, port + 4);
    g_autofree char *want = spec_of("%u,%u,%u", port + 1, port + 2, port + 4);
    g_autofree char *ports = NULL;
    Fixture fix;

    fixture_begin(&fix, specs);
    fixture_run(&fix);
    cr_expect_not(publisher_failed(fix.publisher));
    ports = fixture_ports(&fix, 1, PORTMAP_TCP4);
    cr_expect_str_eq(ports, want);
    cr_expect_eq(fixture_handed(&fix, 0)->listen.guest_port, 81);
    (void)reader_read(&fix.reader);
    cr_expect_eq(fix.reader.lines->len, 0);
    (void)close(taken[0]);
    (void)close(taken[1]);
    fixture_end(&fix);
}

static void expect_failure(const char *specs, const char *errno_name)
{
    Fixture fix;
    json_t *record;

    fixture_begin(&fix, specs);
    fixture_run(&fix);
    cr_expect(publisher_failed(fix.publisher), "%s", specs);
    cr_expect_eq(fix.handed->len, 0, "%s", specs);
    (void)reader_read(&fix.reader);
    cr_expect_eq(fix.reader.lines->len, 1, "%s", specs);
    if (fix.reader.lines->len > 0) {
        record = reader_record(&fix.reader, 0);
        cr_expect_str_eq(record_text(record, "errno"), errno_name, "%s", specs);
        cr_expect_str_eq(record_text(record, "spec"), specs);
        json_decref(record);
    }
    fixture_end(&fix);
}

Test(publisher, weak_map_that_gets_nothing_fails)
{
    uint16_t port = free_ports(2);
    int taken[] = {occupy(port), occupy((uint16_t)(port + 1))};
    g_autofree char *spec = spec_of("127.0.0.1:%u-%u:80-81,weak", port, port + 1);

    expect_failure(spec, "EADDRINUSE");
    (void)close(taken[0]);
    (void)close(taken[1]);
}

Test(publisher, weak_map_of_a_port_the_kernel_picks_fails_too_if_it_gets_nothing)
{
    expect_failure("192.0.2.77::80,weak", "EADDRNOTAVAIL");
}

Test(publisher, weak_first_free_map_fails_if_it_gets_nothing)
{
    uint16_t port = free_ports(2);
    int taken[] = {occupy(port), occupy((uint16_t)(port + 1))};
    g_autofree char *spec = spec_of("127.0.0.1:%u-%u:80,weak", port, port + 1);

    expect_failure(spec, "EADDRINUSE");
    (void)close(taken[0]);
    (void)close(taken[1]);
}

Test(publisher, first_free_passes_over_taken_ports_and_holes)
{
    uint16_t port = free_ports(5);
    int taken[] = {occupy(port), occupy((uint16_t)(port + 2))};
    g_autofree char *specs = spec_of("127.0.0.1:%u-%u~%u:80", port, port + 4, port + 1);
    g_autofree char *want = spec_of("%u", port + 3);
    g_autofree char *ports = NULL;
    Fixture fix;

    fixture_begin(&fix, specs);
    fixture_run(&fix);
    cr_expect_not(publisher_failed(fix.publisher));
    ports = fixture_ports(&fix, 1, PORTMAP_TCP4);
    cr_expect_str_eq(ports, want);
    cr_expect_eq(fixture_handed(&fix, 0)->listen.guest_port, 80);
    (void)close(taken[0]);
    (void)close(taken[1]);
    fixture_end(&fix);
}

Test(publisher, first_free_with_none_free_fails)
{
    uint16_t port = free_ports(2);
    int taken[] = {occupy(port), occupy((uint16_t)(port + 1))};
    g_autofree char *spec = spec_of("127.0.0.1:%u-%u:80", port, port + 1);

    expect_failure(spec, "EADDRINUSE");
    (void)close(taken[0]);
    (void)close(taken[1]);
}

Test(publisher, address_that_is_not_ours_fails_at_its_first_port)
{
    expect_failure("192.0.2.77:8000-8009:80-89", "EADDRNOTAVAIL");
    expect_failure("192.0.2.77:8000-8009:80", "EADDRNOTAVAIL");
    expect_failure("192.0.2.77::80", "EADDRNOTAVAIL");
}

Test(publisher, port_the_kernel_picks_is_the_same_for_all_protocols_and_families)
{
    Fixture fix;
    g_autofree char *first = NULL;

    fixture_begin(&fix, "localhost::80/tcp+udp");
    fixture_run(&fix);
    if (publisher_failed(fix.publisher)) {
        cr_skip_test("no IPv6 on lo");
    }
    cr_assert_eq(fix.handed->len, 4);
    first = fixture_ports(&fix, 1, PORTMAP_TCP4);
    cr_expect_gt(strlen(first), 0);
    for (unsigned bit = PORTMAP_TCP6; bit <= PORTMAP_UDP6; bit <<= 1) {
        g_autofree char *other = fixture_ports(&fix, 1, (PortMapProtocol)bit);

        cr_expect_str_eq(other, first);
    }
    fixture_end(&fix);
}

Test(publisher, kernel_picks_a_port_for_each_of_several_guest_ports)
{
    Fixture fix;
    unsigned sockets = 0;

    fixture_begin(&fix, "127.0.0.1::80-89");
    fixture_run(&fix);
    cr_expect_not(publisher_failed(fix.publisher));
    for (guint i = 0; i < fix.handed->len; i++) {
        const Handed *handed = fixture_handed(&fix, i);

        for (size_t n = 0; n < handed->count; n++) {
            cr_expect_eq(handed->ports[n], handed->listen.host_port + n);
        }
        sockets += (unsigned)handed->count;
    }
    cr_expect_eq(sockets, 10);
    fixture_end(&fix);
}

Test(publisher, ports_the_kernel_picks_keep_to_the_window_too)
{
    enum { COUNT = 2000 };
    Fixture fix;
    size_t before;

    fixture_begin(&fix, "127.0.0.1::1001-3000");
    before = count_fds();
    publisher_start(fix.publisher);
    do {
        while (fixture_take(&fix)) {
        }
        cr_assert_leq(count_fds() - before - fix.keep->len, 2 * WINDOW);
        fixture_answer(&fix, 1, 0);
    } while (fix.done == 0);
    cr_expect_not(publisher_failed(fix.publisher));
    cr_expect_eq(fix.keep->len, COUNT);
    cr_expect_eq(fixture_handed(&fix, fix.handed->len - 1)->listen.guest_port, 3000);
    fixture_end(&fix);
}

Test(publisher, listeners_the_datapath_cannot_take_are_a_failure)
{
    uint16_t port = free_ports(1);
    g_autofree char *specs = spec_of("127.0.0.1:%u:80", port);
    g_autofree char *want = spec_of("--publish 127.0.0.1:%u:80: the listeners do not fit: Too many "
                                    "open files (RLIMIT_NOFILE)",
                                    port);
    Fixture fix;
    json_t *record;

    fixture_begin(&fix, specs);
    publisher_start(fix.publisher);
    cr_assert(fixture_take(&fix));
    fixture_answer(&fix, 1, EMFILE);
    cr_expect_eq(fix.done, 1);
    cr_expect(publisher_failed(fix.publisher));
    record = reader_record(&fix.reader, 0);
    cr_expect_str_eq(record_text(record, "message"), want);
    cr_expect_str_eq(record_text(record, "errno"), "EMFILE");
    json_decref(record);
    fixture_end(&fix);
}

/* To bind on would end at the last port, with a record of its own. */
Test(publisher, what_the_datapath_has_refused_is_not_bound_on)
{
    enum { COUNT = 4000 };
    uint16_t port = free_ports(COUNT);
    int taken = occupy((uint16_t)(port + COUNT - 1));
    g_autofree char *specs = spec_of("127.0.0.1:%u-%u:1-%d", port, port + COUNT - 1, COUNT);
    Fixture fix;

    fixture_begin(&fix, specs);
    publisher_start(fix.publisher);
    while (fixture_take(&fix)) {
    }
    while (fix.unanswered > 0) {
        fixture_answer(&fix, 1, EMFILE);
    }
    cr_expect_eq(fix.done, 1);
    (void)reader_read(&fix.reader);
    for (guint i = 0; i < fix.reader.lines->len; i++) {
        json_t *record = reader_record(&fix.reader, i);

        cr_expect_str_eq(record_text(record, "errno"), "EMFILE");
        json_decref(record);
    }
    (void)close(taken);
    fixture_end(&fix);
}

Test(publisher, answer_about_a_publication_that_is_none_does_no_harm)
{
    uint16_t port = free_ports(1);
    g_autofree char *specs = spec_of("127.0.0.1:%u:80", port);
    Fixture fix;

    fixture_begin(&fix, specs);
    publisher_start(fix.publisher);
    cr_assert(fixture_take(&fix));
    fixture_answer(&fix, UINT32_MAX, EMFILE);
    cr_expect_eq(fix.done, 1);
    fixture_end(&fix);
}

Test(publisher, datapath_that_is_gone_is_a_failure_and_no_hang)
{
    enum { COUNT = 1500 };
    uint16_t port = free_ports(COUNT);
    g_autofree char *specs = spec_of("127.0.0.1:%u-%u:1-%d", port, port + COUNT - 1, COUNT);
    Fixture fix;
    size_t before;

    fixture_begin(&fix, specs);
    before = count_fds();
    (void)shutdown(fix.datapath, SHUT_RDWR);
    publisher_start(fix.publisher);
    cr_expect_eq(fix.done, 1);
    cr_expect(publisher_failed(fix.publisher));
    cr_expect_eq(count_fds(), before);
    fixture_end(&fix);
}

Test(publisher, freed_half_way_leaves_no_fd)
{
    enum { COUNT = 2000 };
    uint16_t port = free_ports(COUNT);
    g_autofree char *specs = spec_of("127.0.0.1:%u-%u:1-%d", port, port + COUNT - 1, COUNT);
    size_t before = count_fds();
    Fixture fix;

    fixture_begin(&fix, specs);
    publisher_start(fix.publisher);
    cr_assert(fixture_take(&fix));
    fixture_end(&fix);
    cr_expect_eq(count_fds(), before);
}
