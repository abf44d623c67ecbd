/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_dnsmessage.c - the pure functions over one DNS message
 *
 * Does:    checks queries, replies and cuts byte by byte; every buffer is exactly as long as its message, so that
 *          AddressSanitizer sees a read behind it.
 */
#include "config.h"

#include "../../helper/datapath/dns.h"

#include <string.h>

#include <criterion/criterion.h>

/* id 0x1234, RD, one question: "ab.c" A IN. */
#define QUERY                                                                                      \
    "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02"                                         \
    "ab\x01"                                                                                       \
    "c\x00\x00\x01\x00\x01"
#define QUERY_LEN (sizeof QUERY - 1)
#define REPLY                                                                                      \
    "\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x02"                                         \
    "aB\x01"                                                                                       \
    "C\x00\x00\x01\x00\x01"                                                                        \
    "rest"
#define REPLY_LEN (sizeof REPLY - 1)

static uint8_t *copy(const char *text, size_t len)
{
    return g_memdup2(text, len);
}

Test(dnsmessage, is_query_accepts_one_question_and_tells_its_end)
{
    g_autofree uint8_t *msg = copy(QUERY "tail", QUERY_LEN + 4);
    size_t end = 0;

    cr_assert(dns_message_is_query(msg, QUERY_LEN + 4, &end));
    cr_assert_eq(end, QUERY_LEN);
    cr_assert_eq(dns_message_id(msg), 0x1234);
}

Test(dnsmessage, is_query_refuses_every_shorter_message)
{
    for (size_t len = 0; len < QUERY_LEN; len++) {
        g_autofree uint8_t *exact = g_memdup2(QUERY, len);
        size_t end = 7;

        cr_expect_not(dns_message_is_query(exact, len, &end), "%zu bytes", len);
        cr_expect_eq(end, 7);
    }
}

Test(dnsmessage, is_query_refuses_what_is_no_query)
{
    static const struct {
        const char *what;
        size_t at;
        uint8_t value;
    } rows[] = {
        {"a reply", 2, 0x81},
        {"opcode notify", 2, 0x20},
        {"opcode update", 2, 0x28},
        {"no question", 5, 0},
        {"two questions", 5, 2},
        {"256 questions", 4, 1},
        {"a compressed name", 12, 0xc0},
        {"a label of 64 bytes", 12, 64},
        {"a label beyond the end", 12, 63},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree uint8_t *msg = copy(QUERY, QUERY_LEN);
        size_t end;

        msg[rows[i].at] = rows[i].value;
        cr_expect_not(dns_message_is_query(msg, QUERY_LEN, &end), "%s", rows[i].what);
    }
}

Test(dnsmessage, is_query_takes_names_of_255_bytes_and_no_longer)
{
    /* Labels of one byte, then one of two for the odd length. */
    for (size_t name_len = 253; name_len <= 258; name_len++) {
        size_t len = DNS_HEADER_LEN + name_len + 4;
        g_autofree uint8_t *msg = g_malloc0(len);
        size_t at = DNS_HEADER_LEN;
        size_t end = 0;

        msg[5] = 1;
        if (name_len % 2 == 0) {
            msg[at] = 2;
            at += 3;
        }
        for (; at < DNS_HEADER_LEN + name_len - 1; at += 2) {
            msg[at] = 1;
        }
        cr_expect_eq(dns_message_is_query(msg, len, &end), name_len <= 255, "%zu", name_len);
    }
}

Test(dnsmessage, is_query_accepts_the_root)
{
    static const char root[] = "\0\0\0\0\0\1\0\0\0\0\0\0\0\0\2\0\1";
    g_autofree uint8_t *msg = copy(root, sizeof root - 1);
    size_t end = 0;

    cr_assert(dns_message_is_query(msg, sizeof root - 1, &end));
    cr_assert_eq(end, sizeof root - 1);
}

Test(dnsmessage, matches_compares_names_without_case)
{
    g_autofree uint8_t *reply = copy(REPLY, REPLY_LEN);
    g_autofree uint8_t *query = copy(QUERY, QUERY_LEN);

    cr_assert(dns_message_matches(reply, REPLY_LEN, 0x1234, query, QUERY_LEN));
    cr_assert_not(dns_message_matches(reply, REPLY_LEN, 0x1235, query, QUERY_LEN));
}

Test(dnsmessage, matches_refuses_another_question)
{
    static const struct {
        const char *what;
        size_t at;
        uint8_t value;
    } rows[] = {
        {"a query", 2, 0x01},        {"opcode status", 2, 0x90}, {"another name", 13, 'x'},
        {"other labels", 12, 4},     {"another type", 19, 28},   {"another class", 21, 3},
        {"two questions", 5, 2},     {"no question", 5, 0},      {"id, high byte", 0, 0x13},
        {"a pointer", 12, 0xc0},     {"a shorter name", 15, 0},  {"type, high byte", 18, 1},
        {"class, high byte", 20, 1},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree uint8_t *reply = copy(REPLY, REPLY_LEN);
        g_autofree uint8_t *query = copy(QUERY, QUERY_LEN);

        reply[rows[i].at] = rows[i].value;
        cr_expect_not(dns_message_matches(reply, REPLY_LEN, 0x1234, query, QUERY_LEN), "%s",
                      rows[i].what);
    }
}

Test(dnsmessage, matches_refuses_every_reply_cut_inside_its_question)
{
    g_autofree uint8_t *query = copy(QUERY, QUERY_LEN);

    for (size_t len = 1; len < QUERY_LEN; len++) {
        g_autofree uint8_t *reply = copy(REPLY, len);

        cr_expect_not(dns_message_matches(reply, len, 0x1234, query, QUERY_LEN), "%zu", len);
    }
}

Test(dnsmessage, matches_takes_a_reply_without_question_only_as_an_error)
{
    for (unsigned rcode = 0; rcode < 16; rcode++) {
        uint8_t reply[DNS_HEADER_LEN] = {0x12, 0x34, 0x81, (uint8_t)(0x80 | rcode)};
        g_autofree uint8_t *query = copy(QUERY, QUERY_LEN);
        bool want = rcode == DNS_RCODE_FORMERR || rcode == DNS_RCODE_SERVFAIL ||
                    rcode == DNS_RCODE_NOTIMP || rcode == DNS_RCODE_REFUSED;

        cr_expect_eq(dns_message_matches(reply, sizeof reply, 0x1234, query, QUERY_LEN), want, "%u",
                     rcode);
        cr_expect_eq(dns_message_rcode(reply), rcode);
        cr_expect_eq(dns_message_is_refusal(reply), want && rcode != DNS_RCODE_FORMERR, "%u",
                     rcode);
    }
}

Test(dnsmessage, error_is_a_reply_with_the_question_alone)
{
    g_autofree uint8_t *query = copy(QUERY "more", QUERY_LEN + 4);
    g_autofree uint8_t *out = g_malloc(QUERY_LEN);
    size_t end = 0;

    query[3] = 0x30; /* AD and CD */
    query[11] = 1;   /* an OPT record behind */
    cr_assert(dns_message_is_query(query, QUERY_LEN + 4, &end));
    cr_assert_eq(dns_message_error(out, query, end, DNS_RCODE_SERVFAIL), QUERY_LEN);
    cr_assert_arr_eq(out, "\x12\x34\x81\x92\x00\x01\x00\x00\x00\x00\x00\x00", DNS_HEADER_LEN);
    cr_assert_arr_eq(out + DNS_HEADER_LEN, &QUERY[DNS_HEADER_LEN], QUERY_LEN - DNS_HEADER_LEN);
    cr_assert(dns_message_matches(out, QUERY_LEN, 0x1234, query, QUERY_LEN + 4));
}

Test(dnsmessage, truncate_leaves_header_and_question_and_sets_tc)
{
    g_autofree uint8_t *reply = copy(REPLY, REPLY_LEN);

    cr_assert_eq(dns_message_truncate(reply, REPLY_LEN), QUERY_LEN);
    cr_assert_arr_eq(reply, "\x12\x34\x83\x80\x00\x01\x00\x00\x00\x00\x00\x00", DNS_HEADER_LEN);
}

Test(dnsmessage, truncate_of_a_reply_without_question_leaves_the_header)
{
    uint8_t reply[40] = {0x12, 0x34, 0x81, 0x85, 0, 0, 0, 9};

    cr_assert_eq(dns_message_truncate(reply, sizeof reply), DNS_HEADER_LEN);
    cr_assert_eq(reply[2], 0x83);
    cr_assert_eq(reply[7], 0);
}

Test(dnsmessage, set_id_changes_nothing_else)
{
    g_autofree uint8_t *msg = copy(QUERY, QUERY_LEN);

    dns_message_set_id(msg, 0xfedc);
    cr_assert_eq(dns_message_id(msg), 0xfedc);
    cr_assert_arr_eq(msg + 2, &QUERY[2], QUERY_LEN - 2);
}
