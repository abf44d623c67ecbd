/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_resolvconf_parse.c - the nameserver lines of a resolv.conf
 *
 * Does:    parses texts held in buffers of exactly their length. Following the file is test_resolvconf.c.
 */
#include "config.h"

#include "../../helper/resolvconf.h"

#include <net/if.h>
#include <string.h>

#include <criterion/criterion.h>

static char *join(const NetAddr *servers, size_t count)
{
    GString *text = g_string_new(NULL);

    for (size_t i = 0; i < count; i++) {
        char buf[NETADDR_STRLEN];

        g_string_append_printf(text, "%s%s", i > 0 ? " " : "", netaddr_format(&servers[i], buf));
    }
    return g_string_free(text, FALSE);
}

static char *parse(const char *text, size_t len, size_t *ret_ignored)
{
    NetAddr servers[RESOLVCONF_SERVERS_MAX];
    g_autofree char *exact = g_memdup2(text, len);
    size_t count = resolvconf_parse(exact, len, servers, ret_ignored);

    return join(servers, count);
}

Test(resolvconf_parse, parse_reads_lines_as_the_manual_page_says)
{
    static const struct {
        const char *what;
        const char *text;
        const char *want;
        size_t ignored;
    } rows[] = {
        {"nothing", "", "", 0},
        {"one", "nameserver 192.0.2.1\n", "192.0.2.1", 0},
        {"no newline at the end", "nameserver 192.0.2.1", "192.0.2.1", 0},
        {"order", "nameserver 192.0.2.2\nnameserver 192.0.2.1\n", "192.0.2.2 192.0.2.1", 0},
        {"both families", "nameserver 2001:db8::1\nnameserver 192.0.2.1\n", "2001:db8::1 192.0.2.1",
         0},
        {"tabs and blanks", "nameserver\t \t192.0.2.1 \t\n", "192.0.2.1", 0},
        {"CRLF", "nameserver 192.0.2.1\r\nnameserver 192.0.2.2\r\n", "192.0.2.1 192.0.2.2", 0},
        {"comments", "# nameserver 192.0.2.1\n;nameserver 192.0.2.2\n#\n;\n", "", 0},
        {"other keywords", "search example.org\noptions edns0\nnameserver 192.0.2.1\n", "192.0.2.1",
         0},
        {"empty lines", "\n\n\r\nnameserver 192.0.2.1\n\n", "192.0.2.1", 0},
        {"words behind", "nameserver 192.0.2.1 # mine\n", "192.0.2.1", 0},
        {"a longer keyword", "nameservers 192.0.2.1\n", "", 0},
        {"an indented keyword", " nameserver 192.0.2.1\n", "", 0},
        {"no blank", "nameserver192.0.2.1\nnameserver\n", "", 0},
        {"no address", "nameserver \nnameserver 192.0.2.1\n", "192.0.2.1", 1},
        {"a name", "nameserver localhost\n", "", 1},
        {"a port", "nameserver 192.0.2.1:53\nnameserver 192.0.2.1#53\n", "", 2},
        {"a short form", "nameserver 127.1\n", "", 1},
        {"multicast", "nameserver 224.0.0.251\nnameserver ff02::fb\n", "", 2},
        {"very long",
         "nameserver 1111111111111111111111111111111111111111111111111111111111111111"
         "11111111111111111111111111111111111111111111111111\n",
         "", 1},
        {"doubles", "nameserver 192.0.2.1\nnameserver 192.0.2.1\n", "192.0.2.1", 1},
        {"v4-mapped", "nameserver ::ffff:192.0.2.1\n", "192.0.2.1", 0},
        {"unknown scope", "nameserver fe80::1%no-such-link0\n", "", 1},
        {"loopback", "nameserver 127.0.0.53\nnameserver ::1\n", "127.0.0.53 ::1", 0},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        size_t ignored = 99;
        g_autofree char *have = parse(rows[i].text, strlen(rows[i].text), &ignored);

        cr_expect_str_eq(have, rows[i].want, "%s: %s", rows[i].what, have);
        cr_expect_eq(ignored, rows[i].ignored, "%s: %zu ignored", rows[i].what, ignored);
    }
}

Test(resolvconf_parse, parse_keeps_the_scope_given_by_name_or_number)
{
    unsigned index = if_nametoindex("lo");
    g_autofree char *text = g_strdup_printf(
        "nameserver fe80::1%%lo\nnameserver fe80::2%%%u\nnameserver fe80::1%%%u\n", index, index);
    NetAddr servers[RESOLVCONF_SERVERS_MAX];
    size_t ignored;

    cr_assert_eq(resolvconf_parse(text, strlen(text), servers, &ignored), 2);
    cr_assert_eq(servers[0].scope_id, index);
    cr_assert_eq(servers[1].scope_id, index);
    cr_assert_eq(ignored, 1);
}

Test(resolvconf_parse, parse_takes_sixteen_servers_and_counts_the_rest)
{
    GString *text = g_string_new(NULL);
    NetAddr servers[RESOLVCONF_SERVERS_MAX];
    size_t ignored;

    for (int i = 1; i <= 20; i++) {
        g_string_append_printf(text, "nameserver 192.0.2.%d\n", i);
    }
    cr_assert_eq(resolvconf_parse(text->str, text->len, servers, &ignored), 16);
    cr_assert_eq(ignored, 4);
    (void)g_string_free(text, TRUE);
}

Test(resolvconf_parse, parse_survives_any_cut_and_nul_bytes)
{
    static const char text[] = "nameserver 192.0.2.1\r\nnameserver\0 1\nnameserver 192.\0002.2\n";

    for (size_t len = 1; len < sizeof text; len++) {
        g_autofree char *have = parse(text, len, NULL);

        cr_expect(have[0] == '\0' || g_str_has_prefix(have, "192.0.2.1"), "%s", have);
    }
}
