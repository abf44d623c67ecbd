/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_ctl_text.c - sallyport ctl: columns, sizes, ages, rates; pure functions
 */
#include "config.h"

#include "control/ctl_rates.h"
#include "control/ctl_table.h"

#include <string.h>

#include <criterion/criterion.h>

#ifdef SALLYPORT_ASAN
#include <sanitizer/lsan_interface.h>
#endif

static void check_leaks(void)
{
#ifdef SALLYPORT_ASAN
    cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
#endif
}

Test(ctl_text, what_a_terminal_would_obey_is_escaped_and_other_text_is_not)
{
    static const struct {
        const char *text;
        const char *shown;
    } rows[] = {
        {"", ""},
        {"eth0 8080:80", "eth0 8080:80"},
        {"b\xc3\xbcro \xe2\x82\xac", "b\xc3\xbcro \xe2\x82\xac"},
        {"\x1b[31mred", "\\x1b[31mred"},
        {"a\nb\tc\rd", "a\\x0ab\\x09c\\x0dd"},
        {"\x7f", "\\x7f"},
        {"\xc2\x9b"
         "31m",
         "\\x9b31m"},
        {"\x9b"
         "31m",
         "\\x9b31m"},
        {"\xe2\x80\xae"
         "txt",
         "\\u202etxt"},
        {"\xe2\x80\xa8", "\\u2028"},
        {"\xf3\xa0\x80\x81", "\\ue0001"},
        {"\xff\xc3", "\\xff\\xc3"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *shown = ctl_escape(rows[i].text);

        cr_expect_str_eq(shown, rows[i].shown);
    }
    check_leaks();
}

Test(ctl_text, bytes_have_at_most_four_digits_and_a_unit)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0"},
        {1023, "1023"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {10188, "9.9 KiB"},
        {10239, "10 KiB"},
        {1023 * 1024, "1023 KiB"},
        {1024 * 1024 - 1, "1.0 MiB"},
        {UINT64_C(5) << 30, "5.0 GiB"},
        {UINT64_C(3) << 40, "3.0 TiB"},
        {UINT64_C(7) << 50, "7.0 PiB"},
        {UINT64_MAX, "16 EiB"},
    };
    char text[CTL_BYTES_STRLEN];

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        cr_expect_str_eq(ctl_format_bytes(rows[i].bytes, text), rows[i].text);
    }
}

Test(ctl_text, ages_have_two_units_at_most)
{
    static const struct {
        int64_t age_ms;
        const char *text;
    } rows[] = {
        {0, "0.0s"},
        {999, "0.9s"},
        {9999, "9.9s"},
        {10000, "10s"},
        {59999, "59s"},
        {60000, "1m00s"},
        {3599999, "59m59s"},
        {3600000, "1h00m"},
        {86399999, "23h59m"},
        {86400000, "1d00h"},
        {INT64_MAX, "106751991167d07h"},
    };
    char text[CTL_AGE_STRLEN];

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        cr_expect_str_eq(ctl_format_age(rows[i].age_ms, text), rows[i].text);
    }
}

static const char *const titles[] = {"NAME", ">N", "WHAT", NULL};

static CtlTable *sample(void)
{
    const char *const first[] = {"a", "1", "x"};
    const char *const second[] = {"b\xc3\xbcro", "1000", NULL};
    const char *const third[] = {"\xe6\x97\xa5", "", "\x1b[2J"};
    CtlTable *table = ctl_table_new(titles);

    ctl_table_add(table, first);
    ctl_table_add(table, second);
    ctl_table_add(table, third);
    return table;
}

static void expect_text(size_t columns, size_t rows, const char *expected)
{
    CtlTable *table = sample();
    char *text = ctl_table_text(table, columns, rows);

    cr_expect_str_eq(text, expected);
    g_free(text);
    ctl_table_free(table);
}

/* U+65E5 takes two cells of a terminal. */
Test(ctl_text, columns_are_aligned_by_what_a_terminal_shows_and_nothing_trails)
{
    expect_text(0, 0,
                "NAME     N  WHAT\n"
                "a        1  x\n"
                "b\xc3\xbcro  1000  -\n"
                "\xe6\x97\xa5       -  \\x1b[2J\n");
    check_leaks();
}

Test(ctl_text, table_is_cut_to_columns_and_rows)
{
    expect_text(5, 3, "NAME \na    \nb\xc3\xbcro \n");
    expect_text(1, 0, "N\na\nb\n\n");
    expect_text(0, 1, "NAME  N  WHAT\n");
    expect_text(
        0, 4,
        "NAME     N  WHAT\na        1  x\nb\xc3\xbcro  1000  -\n\xe6\x97\xa5       -  \\x1b[2J\n");
    check_leaks();
}

Test(ctl_text, table_without_rows_is_its_titles)
{
    CtlTable *table = ctl_table_new(titles);
    char *text = ctl_table_text(table, 0, 0);

    cr_assert_str_eq(text, "NAME  N  WHAT\n");
    g_free(text);
    ctl_table_free(table);
    ctl_table_free(NULL);
    check_leaks();
}

static void add(CtlListing *listing, const char *port, int64_t age_ms, uint64_t in, uint64_t out)
{
    char local[32];
    SallyportFlow flow = {
        .path = "takeover",
        .protocol = "tcp",
        .state = "open",
        .guest_local = local,
        .guest_remote = "192.0.2.1:80",
        .bytes_in = in,
        .bytes_out = out,
        .age_ms = age_ms,
    };

    (void)g_snprintf(local, sizeof(local), "10.0.2.100:%s", port);
    ctl_listing_add(listing, &flow);
}

static void expect_flow(const CtlListing *listing, size_t at, const char *local, uint64_t in,
                        uint64_t out)
{
    const CtlFlow *flow = ctl_listing_at(listing, at);

    cr_expect_str_eq(flow->flow.guest_local, local);
    cr_expect_eq(flow->rate_in, in);
    cr_expect_eq(flow->rate_out, out);
}

Test(ctl_rates, rate_is_the_difference_by_the_time_and_the_fastest_is_first)
{
    CtlListing *before = ctl_listing_new(1000000), *now = ctl_listing_new(3000000);
    uint64_t in, out;

    add(before, "1", 5000, 100, 1000);
    add(before, "2", 5000, 0, 0);
    add(before, "gone", 5000, 0, 0);
    add(now, "1", 7000, 100, 1200);
    add(now, "2", 7000, 4000, 0);
    add(now, "3", 7000, 0, 0);
    ctl_listing_rate(now, before);
    cr_assert_eq(ctl_listing_count(now), 3);
    expect_flow(now, 0, "10.0.2.100:2", 2000, 0);
    expect_flow(now, 1, "10.0.2.100:1", 0, 100);
    expect_flow(now, 2, "10.0.2.100:3", 0, 0);
    ctl_listing_total(now, &in, &out);
    cr_assert_eq(in, 2000);
    cr_assert_eq(out, 100);
    ctl_listing_free(before);
    ctl_listing_free(now);
    ctl_listing_free(NULL);
    check_leaks();
}

Test(ctl_rates, new_flow_has_moved_all_its_bytes_since_the_last_listing_or_over_its_age)
{
    CtlListing *before = ctl_listing_new(0), *now = ctl_listing_new(2000000);

    add(now, "young", 500, 2000, 0);
    add(now, "missed", 10000, 1000, 0);
    add(now, "ancient", INT64_MAX, 1000, 0);
    ctl_listing_rate(now, before);
    expect_flow(now, 0, "10.0.2.100:young", 1000, 0);
    expect_flow(now, 1, "10.0.2.100:missed", 100, 0);
    expect_flow(now, 2, "10.0.2.100:ancient", 0, 0);
    ctl_listing_free(before);
    ctl_listing_free(now);
    check_leaks();
}

Test(ctl_rates, flow_that_took_the_addresses_of_another_is_a_new_one)
{
    CtlListing *before = ctl_listing_new(0), *now = ctl_listing_new(1000000);

    add(before, "younger", 5000, 100, 100);
    add(before, "fewer", 100, 9000, 100);
    add(now, "younger", 300, 500, 100);
    add(now, "fewer", 900, 400, 100);
    ctl_listing_rate(now, before);
    expect_flow(now, 0, "10.0.2.100:younger", 500, 100);
    expect_flow(now, 1, "10.0.2.100:fewer", 400, 100);
    ctl_listing_free(before);
    ctl_listing_free(now);
    check_leaks();
}

Test(ctl_rates, two_listings_at_one_time_have_no_rates)
{
    CtlListing *before = ctl_listing_new(5), *now = ctl_listing_new(5);

    add(before, "1", 0, 0, 0);
    add(now, "1", 0, 1000, 0);
    add(now, "2", 0, 1000, 0);
    ctl_listing_rate(now, before);
    expect_flow(now, 0, "10.0.2.100:1", 0, 0);
    expect_flow(now, 1, "10.0.2.100:2", 0, 0);
    ctl_listing_free(before);
    ctl_listing_free(now);
    check_leaks();
}

Test(ctl_rates, flow_that_comes_twice_is_one)
{
    CtlListing *listing = ctl_listing_new(0);

    add(listing, "1", 1, 10, 0);
    add(listing, "1", 2, 20, 0);
    cr_assert_eq(ctl_listing_count(listing), 1);
    cr_assert_eq(ctl_listing_at(listing, 0)->flow.bytes_in, 20);
    ctl_listing_free(listing);
    check_leaks();
}
