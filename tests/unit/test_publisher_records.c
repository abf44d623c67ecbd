/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_publisher_records.c - what the parent is told of published ports
 *
 * Does:     reads the records of what was bound, and of what could not be.
 * Not here: which sockets are handed over (test_publisher.c).
 */
#include "config.h"

#include "publisher.h"

#include "publisherfixture.h"

/* Publishes @specs, all of which fit, and has them reported. */
static void publish(Fixture *fix, const char *specs)
{
    fixture_begin(fix, specs);
    fixture_run(fix);
    cr_assert_not(publisher_failed(fix->publisher), "%s", specs);
    cr_expect_eq(publisher_report(fix->publisher, false), fix->maps->len);
    (void)reader_read(&fix->reader);
}

Test(publisher_records, record_says_what_was_bound_where_and_for_what)
{
    uint16_t port = free_ports(1);
    g_autofree char *spec = spec_of("127.0.0.1:%u:80", port);
    g_autofree char *port_text = spec_of("%u", port);
    Fixture fix;
    json_t *record;

    publish(&fix, spec);
    cr_assert_eq(fix.reader.lines->len, 1);
    record = reader_record(&fix.reader, 0);
    cr_expect_str_eq(record_text(record, "event"), "published");
    cr_expect_str_eq(record_text(record, "spec"), spec);
    cr_expect_str_eq(record_text(record, "protocol"), "tcp");
    cr_expect_str_eq(record_text(record, "family"), "ipv4");
    cr_expect_str_eq(record_text(record, "host_addr"), own_address());
    cr_expect_str_eq(record_text(record, "host_ports"), port_text);
    cr_expect_str_eq(record_text(record, "guest_ports"), "80");
    cr_expect_str_eq(record_text(record, "exposure"), "loopback");
    cr_expect_str_eq(record_text(record, "source"), "guest");
    cr_expect_null(json_object_get(record, "guest_addr"));
    cr_expect_null(json_object_get(record, "interface"));
    cr_expect_null(json_object_get(record, "name"));
    json_decref(record);
    fixture_end(&fix);
}

Test(publisher_records, name_interface_and_guest_address_are_told_if_given)
{
    uint16_t port = free_ports(1);
    g_autofree char *spec = spec_of("127.0.0.1%%lo:%u:10.0.2.77:53/udp,name=dns", port);
    Fixture fix;
    json_t *record;

    publish(&fix, spec);
    record = reader_record(&fix.reader, 0);
    cr_expect_str_eq(record_text(record, "protocol"), "udp");
    cr_expect_str_eq(record_text(record, "guest_addr"), "10.0.2.77");
    cr_expect_str_eq(record_text(record, "interface"), "lo");
    cr_expect_str_eq(record_text(record, "name"), "dns");
    cr_expect_str_eq(record_text(record, "exposure"), "loopback");
    json_decref(record);
    fixture_end(&fix);
}

Test(publisher_records, exposure_of_a_wildcard_is_all_unless_it_is_bound_to_an_interface)
{
    static const struct {
        const char *spec;
        const char *exposure;
    } rows[] = {{"0.0.0.0::80", "all"}, {"0.0.0.0%lo::80", "interface"}};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Fixture fix;
        json_t *record;

        publish(&fix, rows[i].spec);
        record = reader_record(&fix.reader, 0);
        cr_expect_str_eq(record_text(record, "exposure"), rows[i].exposure, "%s", rows[i].spec);
        cr_expect_str_eq(record_text(record, "host_addr"), "0.0.0.0");
        json_decref(record);
        fixture_end(&fix);
    }
}

Test(publisher_records, each_protocol_and_family_has_its_record_with_the_port_the_kernel_picked)
{
    Fixture fix;
    g_autofree char *port = NULL;

    fixture_begin(&fix, "localhost::80/tcp+udp");
    fixture_run(&fix);
    if (publisher_failed(fix.publisher)) {
        cr_skip_test("no IPv6 on lo");
    }
    port = spec_of("%u", fixture_handed(&fix, 0)->ports[0]);
    cr_expect_eq(publisher_report(fix.publisher, false), 1);
    (void)reader_read(&fix.reader);
    cr_assert_eq(fix.reader.lines->len, 4);
    for (guint i = 0; i < 4; i++) {
        json_t *record = reader_record(&fix.reader, i);

        cr_expect_str_eq(record_text(record, "protocol"), i < 2 ? "tcp" : "udp");
        cr_expect_str_eq(record_text(record, "family"), i % 2 == 0 ? "ipv4" : "ipv6");
        cr_expect_str_eq(record_text(record, "host_addr"), i % 2 == 0 ? "127.0.0.1" : "::1");
        cr_expect_str_eq(record_text(record, "host_ports"), port);
        json_decref(record);
    }
    fixture_end(&fix);
}

Test(publisher_records, ports_are_told_as_runs)
{
    uint16_t port = free_ports(8);
    g_autofree char *spec =
        spec_of("127.0.0.1:%u-%u~%u~%u:80-87", port, port + 7, port + 2, port + 4);
    g_autofree char *want = spec_of("%u-%u,%u,%u-%u", port, port + 1, port + 3, port + 5, port + 7);
    Fixture fix;
    json_t *record;

    publish(&fix, spec);
    cr_assert_eq(fix.reader.lines->len, 1);
    record = reader_record(&fix.reader, 0);
    cr_expect_str_eq(record_text(record, "host_ports"), want);
    cr_expect_str_eq(record_text(record, "guest_ports"), "80-87");
    json_decref(record);
    fixture_end(&fix);
}

Test(publisher_records, ports_a_weak_map_did_not_get_are_not_told)
{
    uint16_t port = free_ports(3);
    int taken = occupy((uint16_t)(port + 1));
    g_autofree char *spec = spec_of("127.0.0.1:%u-%u:80-82,weak", port, port + 2);
    g_autofree char *want = spec_of("%u,%u", port, port + 2);
    Fixture fix;
    json_t *record;

    publish(&fix, spec);
    record = reader_record(&fix.reader, 0);
    cr_expect_str_eq(record_text(record, "host_ports"), want);
    json_decref(record);
    (void)close(taken);
    fixture_end(&fix);
}

/* A range of 2 * @runs ports with every second one cut out. */
static char *combed(uint16_t port, unsigned runs)
{
    g_autoptr(GString) text = g_string_new(NULL);

    g_string_printf(text, "127.0.0.1:%u-%u", port, port + 2 * runs - 1);
    for (unsigned i = 0; i < runs; i++) {
        g_string_append_printf(text, "~%u", port + 2 * i + 1);
    }
    g_string_append_printf(text, ":1000-%u", 1000 + 2 * runs - 1);
    return spec_of("%s", text->str);
}

static void expect_all_runs_told(unsigned runs, unsigned records)
{
    uint16_t port = free_ports(2 * runs);
    g_autofree char *spec = combed(port, runs);
    unsigned told = 0;
    Fixture fix;

    publish(&fix, spec);
    cr_expect_not(report_overflowed(fix.reader.report));
    cr_expect_eq(fix.reader.lines->len, records, "%u runs: %u records", runs,
                 fix.reader.lines->len);
    for (guint i = 0; i < fix.reader.lines->len; i++) {
        json_t *record = reader_record(&fix.reader, i);
        g_auto(GStrv) ports = g_strsplit(record_text(record, "host_ports"), ",", -1);

        told += g_strv_length(ports);
        json_decref(record);
    }
    cr_expect_eq(told, runs);
    fixture_end(&fix);
}

Test(publisher_records, more_than_200_runs_take_another_record)
{
    expect_all_runs_told(200, 1);
    expect_all_runs_told(201, 2);
}

Test(publisher_records, longest_specification_is_still_told_in_full)
{
    expect_all_runs_told(670, 4);
}

Test(publisher_records, failure_of_a_long_specification_is_told)
{
    enum { RUNS = 600 };
    uint16_t port = free_ports(2 * RUNS);
    int taken = occupy(port);
    g_autofree char *spec = combed(port, RUNS);
    Fixture fix;
    json_t *record;

    fixture_begin(&fix, spec);
    fixture_run(&fix);
    cr_expect(publisher_failed(fix.publisher));
    record = reader_record(&fix.reader, 0);
    cr_expect_str_eq(record_text(record, "errno"), "EADDRINUSE");
    json_decref(record);
    (void)close(taken);
    fixture_end(&fix);
}
