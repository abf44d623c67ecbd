/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_dns.c - the virtual name server: who is asked, who answers, and what follows a change of resolv.conf
 */
#include "config.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lab_helper.h"
#include "lab_test.h"

#define FAILOVER_MS 1500

/* Two name servers that can be told apart. */
#define ONE_V4 "198.51.100.11"
#define ONE_V6 "2001:db8:aaaa::1"
#define TWO_V4 "198.51.100.22"
#define TWO_V6 "2001:db8:bbbb::2"

static LabDns *start_one(Lab *lab, LabPlace place, const char *address, LabDnsMode mode)
{
    return lab_dns_start(lab, place, address, mode, ONE_V4, ONE_V6);
}

static LabDns *start_two(Lab *lab, LabPlace place, const char *address, LabDnsMode mode)
{
    return lab_dns_start(lab, place, address, mode, TWO_V4, TWO_V6);
}

static LabDnsReply ask(Lab *lab, int timeout_ms)
{
    return lab_dns_ask(lab, LAB_GUEST, LAB_DNS_V4, "www.example.test", false, false,
                       LAB_MS(timeout_ms));
}

static void answers(Lab *lab, const char *server, bool v6, bool tcp, const char *wanted)
{
    LabDnsReply reply =
        lab_dns_ask(lab, LAB_GUEST, server, "www.example.test", v6, tcp, LAB_MS(LAB_WAIT_MS));

    LAB_CHECK(reply.rcode == 0 && strcmp(reply.address, wanted) == 0,
              "%s over %s says %s (rcode %d), wanted %s", server, tcp ? "TCP" : "UDP",
              reply.address, reply.rcode, wanted);
}

/* A resolv.conf of the test's own; the words become nameserver lines. */
static const char *resolv_conf(Lab *lab, const char *first, const char *second)
{
    const char *path = lab_path(lab, "resolv.conf");
    g_autofree char *text =
        g_strdup_printf("# of the lab\nsearch example.test\nnameserver %s\n%s%s\n", first,
                        second != NULL ? "nameserver " : "", second != NULL ? second : "");

    lab_write_file(path, text);
    return path;
}

static LabHelper *helper_with_resolv_conf(Lab *lab, const char *path)
{
    g_autofree char *option = g_strconcat("--resolv-conf=", path, NULL);

    return lab_helper(lab, option, NULL);
}

/* Asks again and again until the other server answers. */
static void follows_within_2_s(Lab *lab, const char *wanted)
{
    int64_t begin = lab_now();
    LabDnsReply reply;

    do {
        reply = ask(lab, 1000);
    } while (strcmp(reply.address, wanted) != 0 && lab_now() - begin < LAB_MS(2000));
    LAB_CHECK(strcmp(reply.address, wanted) == 0, "still %s (rcode %d) after %d ms", reply.address,
              reply.rcode, (int)(lab_now() - begin));
}

/* ---- answers ---- */

LAB_TEST(dns, host_resolver_answers_over_udp_and_tcp_by_both_families)
{
    LabDns *dns = start_one(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER);

    (void)lab_helper(lab, NULL);
    for (int tcp = 0; tcp < 2; tcp++) {
        answers(lab, LAB_DNS_V4, false, tcp != 0, ONE_V4);
        answers(lab, LAB_DNS_V4, true, tcp != 0, ONE_V6);
        answers(lab, LAB_DNS_V6, false, tcp != 0, ONE_V4);
        answers(lab, LAB_DNS_V6, true, tcp != 0, ONE_V6);
    }
    LAB_ASSERT_EQ(lab_dns_queries(dns), 8);
}

LAB_TEST(dns, resolver_with_an_ipv6_address_is_asked)
{
    (void)start_one(lab, LAB_FAR, LAB_FAR_V6, LAB_DNS_ANSWER);
    (void)helper_with_resolv_conf(lab, resolv_conf(lab, LAB_FAR_V6, NULL));
    answers(lab, LAB_DNS_V4, false, false, ONE_V4);
    answers(lab, LAB_DNS_V4, false, true, ONE_V4);
}

LAB_TEST(dns, stub_resolver_of_the_host_is_asked_without_any_allow)
{
    (void)start_one(lab, LAB_HOST, "127.0.0.53", LAB_DNS_ANSWER);
    (void)helper_with_resolv_conf(lab, resolv_conf(lab, "127.0.0.53", NULL));
    answers(lab, LAB_DNS_V4, false, false, ONE_V4);
    answers(lab, LAB_DNS_V4, false, true, ONE_V4);
    answers(lab, LAB_DNS_V6, true, true, ONE_V6);
}

LAB_TEST(dns, truncated_answer_is_passed_on_and_tcp_has_the_whole)
{
    LabDnsReply reply;

    (void)start_one(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_TRUNCATED);
    (void)lab_helper(lab, NULL);
    reply = ask(lab, LAB_WAIT_MS);
    LAB_ASSERT_EQ(reply.rcode, 0);
    LAB_ASSERT(reply.truncated);
    answers(lab, LAB_DNS_V4, false, true, ONE_V4);
}

LAB_TEST(dns, forged_answers_are_not_believed)
{
    static const LabDnsMode modes[] = {LAB_DNS_WRONG_ID, LAB_DNS_WRONG_QUESTION,
                                       LAB_DNS_WRONG_SOURCE};
    LabDns *dns = start_one(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER);

    (void)lab_helper(lab, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(modes); i++) {
        lab_dns_set_mode(dns, modes[i]);
        answers(lab, LAB_DNS_V4, false, false, ONE_V4);
    }
}

LAB_TEST(dns, hundred_questions_at_once_each_get_their_answer)
{
    enum { COUNT = 100 };
    int fds[COUNT];
    uint8_t reply[512];

    (void)start_one(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER);
    (void)lab_helper(lab, NULL);
    for (int i = 0; i < COUNT; i++) {
        uint8_t query[] = {0x77, (uint8_t)i, 1, 0, 0, 1,   0, 0,
                           0,    0,          0, 0, 1, 'q', 1, (uint8_t)('a' + i % 26),
                           0,    0,          1, 0, 1};

        fds[i] = lab_udp_connected(lab, LAB_GUEST, LAB_DNS_V4, 53);
        LAB_ASSERT_EQ(send(fds[i], query, sizeof query, 0), sizeof query);
    }
    for (int i = 0; i < COUNT; i++) {
        ssize_t came = lab_recv_datagram(fds[i], reply, sizeof reply, NULL, LAB_MS(LAB_WAIT_MS));

        LAB_CHECK(came == 21 + 16 && reply[1] == (uint8_t)i && reply[15] == 'a' + i % 26,
                  "question %d: %zd bytes came", i, came);
    }
}

LAB_TEST(dns, garbage_does_not_stop_the_service)
{
    static const uint8_t garbage[][14] = {"", "\x01", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                                          "\x12\x34\x81\x80\x00\x01\x00\x01\x00"};
    int fd;

    (void)start_one(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER);
    (void)lab_helper(lab, NULL);
    fd = lab_udp_connected(lab, LAB_GUEST, LAB_DNS_V4, 53);
    for (size_t i = 0; i < G_N_ELEMENTS(garbage); i++) {
        for (size_t length = 0; length <= sizeof garbage[0]; length++)
            LAB_ASSERT_EQ(send(fd, garbage[i], length, 0), length);
    }
    fd = lab_connected(lab, LAB_GUEST, LAB_DNS_V4, 53);
    lab_send(fd, "\xff\xffgarbage", 9);
    answers(lab, LAB_DNS_V4, false, false, ONE_V4);
    answers(lab, LAB_DNS_V4, false, true, ONE_V4);
}

/* ---- servers that fail ---- */

LAB_TEST(dns, silent_first_server_makes_the_second_answer)
{
    LabDns *silent = start_one(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_SILENT);
    int64_t begin;

    (void)start_two(lab, LAB_FAR, LAB_FAR_V4_3, LAB_DNS_ANSWER);
    (void)helper_with_resolv_conf(lab, resolv_conf(lab, LAB_FAR_V4, LAB_FAR_V4_3));
    begin = lab_now();
    answers(lab, LAB_DNS_V4, false, false, TWO_V4);
    int took = (int)(lab_now() - begin);
    LAB_CHECK(took >= FAILOVER_MS - 100 && took <= LAB_MS(FAILOVER_MS + 1000), "after %d ms", took);
    LAB_ASSERT(lab_dns_queries(silent) >= 1);
    answers(lab, LAB_DNS_V4, false, true, TWO_V4);
}

LAB_TEST(dns, absent_first_server_makes_the_second_answer)
{
    (void)start_two(lab, LAB_FAR, LAB_FAR_V4_3, LAB_DNS_ANSWER);
    (void)helper_with_resolv_conf(lab, resolv_conf(lab, LAB_FAR_V4, LAB_FAR_V4_3));
    answers(lab, LAB_DNS_V4, false, false, TWO_V4);
    answers(lab, LAB_DNS_V4, false, true, TWO_V4);
}

LAB_TEST(dns, servfail_when_every_server_is_silent)
{
    LabDnsReply reply;

    (void)start_one(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_SILENT);
    (void)start_two(lab, LAB_FAR, LAB_FAR_V4_3, LAB_DNS_SILENT);
    (void)helper_with_resolv_conf(lab, resolv_conf(lab, LAB_FAR_V4, LAB_FAR_V4_3));
    reply = ask(lab, 2 * LAB_WAIT_MS);
    LAB_ASSERT_EQ(reply.rcode, 2);
}

LAB_TEST(dns, servfail_when_no_server_is_there)
{
    (void)helper_with_resolv_conf(lab, resolv_conf(lab, LAB_FAR_V4, LAB_FAR_V4_3));
    LAB_ASSERT_EQ(ask(lab, 2 * LAB_WAIT_MS).rcode, 2);
}

LAB_TEST(dns, server_that_comes_back_is_used_again)
{
    LabDns *dns = start_one(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_SILENT);

    (void)lab_helper(lab, NULL);
    LAB_ASSERT_EQ(ask(lab, 2 * LAB_WAIT_MS).rcode, 2);
    lab_dns_set_mode(dns, LAB_DNS_ANSWER);
    answers(lab, LAB_DNS_V4, false, false, ONE_V4);
}

/* ---- changes of resolv.conf ---- */

static const char *two_servers(Lab *lab)
{
    (void)start_one(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER);
    (void)start_two(lab, LAB_FAR, LAB_FAR_V4_3, LAB_DNS_ANSWER);
    return resolv_conf(lab, LAB_FAR_V4, NULL);
}

LAB_TEST(dns, resolv_conf_rewritten_in_place_is_followed_within_2_s)
{
    const char *path = two_servers(lab);

    (void)helper_with_resolv_conf(lab, path);
    answers(lab, LAB_DNS_V4, false, false, ONE_V4);
    lab_write_file(path, "nameserver " LAB_FAR_V4_3 "\n");
    follows_within_2_s(lab, TWO_V4);
    lab_write_file(path, "nameserver " LAB_FAR_V4 "\n");
    follows_within_2_s(lab, ONE_V4);
}

LAB_TEST(dns, resolv_conf_renamed_over_is_followed_within_2_s)
{
    const char *path = two_servers(lab);

    (void)helper_with_resolv_conf(lab, path);
    answers(lab, LAB_DNS_V4, false, false, ONE_V4);
    lab_replace_file(path, "nameserver " LAB_FAR_V4_3 "\n");
    follows_within_2_s(lab, TWO_V4);
    lab_replace_file(path, "nameserver " LAB_FAR_V4 "\n");
    follows_within_2_s(lab, ONE_V4);
}

LAB_TEST(dns, resolv_conf_symlink_retargeted_is_followed_within_2_s)
{
    const char *link = lab_path(lab, "link.conf"), *fresh = lab_path(lab, "fresh.conf");
    const char *other = lab_path(lab, "other.conf"), *path = two_servers(lab);

    lab_write_file(other, "nameserver " LAB_FAR_V4_3 "\n");
    LAB_ASSERT_CALL(symlink(path, link));
    (void)helper_with_resolv_conf(lab, link);
    answers(lab, LAB_DNS_V4, false, false, ONE_V4);
    LAB_ASSERT_CALL(symlink(other, fresh));
    LAB_ASSERT_CALL(rename(fresh, link));
    follows_within_2_s(lab, TWO_V4);
    /* And the new target itself is watched. */
    lab_replace_file(other, "nameserver " LAB_FAR_V4 "\n");
    follows_within_2_s(lab, ONE_V4);
}

LAB_TEST(dns, resolv_conf_that_vanishes_and_returns_is_followed_within_2_s)
{
    const char *path = two_servers(lab);

    (void)helper_with_resolv_conf(lab, path);
    answers(lab, LAB_DNS_V4, false, false, ONE_V4);
    LAB_ASSERT_CALL(unlink(path));
    lab_write_file(path, "nameserver " LAB_FAR_V4_3 "\n");
    follows_within_2_s(lab, TWO_V4);
}

/* ---- options ---- */

LAB_TEST(dns, upstream_option_overrides_resolv_conf_and_keeps_its_order)
{
    LabDns *one = start_one(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER);

    (void)start_two(lab, LAB_FAR, LAB_FAR_V6_3, LAB_DNS_ANSWER);
    LabHelper *helper =
        lab_helper(lab, "--dns-upstream=" LAB_FAR_V6_3, "--dns-upstream=" LAB_FAR_V4, NULL);
    answers(lab, LAB_DNS_V4, false, false, TWO_V4);
    answers(lab, LAB_DNS_V4, false, true, TWO_V4);
    LAB_ASSERT_EQ(lab_dns_queries(one), 0);
    lab_helper_stop(helper);
}

LAB_TEST(dns, no_dns_leaves_the_address_silent)
{
    LabDns *dns = start_one(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER);

    (void)lab_helper(lab, "--no-dns", NULL);
    LAB_ASSERT_EQ(ask(lab, 500).rcode, -1);
    LAB_ASSERT_EQ(
        lab_dns_ask(lab, LAB_GUEST, LAB_DNS_V6, "a.test", false, false, LAB_MS(500)).rcode, -1);
    LAB_ASSERT_EQ(lab_dns_ask(lab, LAB_GUEST, LAB_DNS_V4, "a.test", false, true, LAB_MS(500)).rcode,
                  -1);
    LAB_ASSERT_EQ(lab_dns_queries(dns), 0);
}
