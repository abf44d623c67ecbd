/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_netaddr.c - addresses as text, as socket addresses, and as members of networks
 *
 * Does:     turns good and hostile text into addresses and networks, and back.
 * Not here: classes (test_netclass.c); other interfaces than lo, the only one sure to exist.
 */
#include "config.h"

#include "netaddr.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <net/if.h>
#include <string.h>
#include <sys/un.h>

static NetAddr addr_of(const char *text)
{
    NetAddr addr;

    cr_assert(netaddr_parse(text, &addr), "'%s' is an address", text);
    return addr;
}

static NetCidr cidr_of(const char *text, sa_family_t family)
{
    NetCidr cidr;

    cr_assert(netcidr_parse(text, family, &cidr, NULL), "'%s' is a network", text);
    return cidr;
}

Test(netaddr, parse_and_format_give_the_canonical_text)
{
    static const struct {
        const char *text;
        const char *canonical;
    } rows[] = {
        {"1.2.3.4", "1.2.3.4"},
        {"255.255.255.255", "255.255.255.255"},
        {"::", "::"},
        {"::1", "::1"},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
        {"2001:0db8::0001", "2001:db8::1"},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
        {"1:0:0:2:0:0:0:3", "1:0:0:2::3"},
        {"1:0:0:2:3:0:0:4", "1::2:3:0:0:4"},
        {"::ffff:7f00:1", "::ffff:127.0.0.1"},
    };
    char buf[NETADDR_STRLEN];

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        NetAddr addr = addr_of(rows[i].text);

        cr_expect_str_eq(netaddr_format(&addr, buf), rows[i].canonical, "'%s' became '%s'",
                         rows[i].text, buf);
    }
}

Test(netaddr, parse_refuses_what_inet_pton_refuses_and_leaves_the_result_alone)
{
    static const char *const rows[] = {
        "",        "1.2.3",     "1.2.3.4.5", "1.2.3.256",  "01.2.3.4",   "1.2.3.4 ",
        " ::1",    "[::1]",     "::1%lo",    "1.2.3.4%lo", "1::2::3",    "12345::",
        ":",       ":::",       "::g",       "0x7f.0.0.1", "2130706433", "1:2:3:4:5:6:7:8:9",
        "::1/128", "localhost", "\xff\xfe",  "-1.2.3.4",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        NetAddr addr = netaddr_from_v4(0x01020304);

        cr_expect(!netaddr_parse(rows[i], &addr), "'%s' is refused", rows[i]);
        cr_expect(addr.family == AF_INET && ntohl(addr.v4.s_addr) == 0x01020304,
                  "'%s' leaves the result alone", rows[i]);
    }
}

Test(netaddr, parse_scoped_resolves_a_name_and_a_number)
{
    unsigned lo = if_nametoindex("lo");
    g_autofree char *numeric = g_strdup_printf("fe80::1%%%u", lo);
    g_autofree char *formatted = NULL;
    char buf[NETADDR_STRLEN];
    NetAddr addr;

    if (lo == 0)
        cr_skip_test("no interface lo");
    cr_assert(netaddr_parse_scoped("fe80::1%lo", &addr));
    cr_expect(addr.scope_id == lo);
    cr_expect_str_eq(netaddr_format(&addr, buf), numeric);
    formatted = g_strdup_printf("[%s]:53", numeric);
    cr_expect_str_eq(netaddr_format_port(&addr, 53, buf), formatted);
    addr.scope_id = 0;
    cr_assert(netaddr_parse_scoped(numeric, &addr));
    cr_expect(addr.scope_id == lo);
    cr_assert(netaddr_parse_scoped("fe80::1", &addr));
    cr_expect(addr.scope_id == 0);
    cr_assert(netaddr_parse_scoped("10.0.2.3", &addr));
    cr_expect(addr.family == AF_INET);
}

Test(netaddr, parse_scoped_refuses_unknown_interfaces_and_scoped_ipv4)
{
    static const char *const rows[] = {
        "fe80::1%",
        "fe80::1%nosuchiface",
        "fe80::1%0",
        "fe80::1%2147483647",
        "fe80::1%-1",
        "fe80::1%+1",
        "fe80::1%lo ",
        "fe80::1%4294967297",
        "10.0.2.3%lo",
        "%lo",
        "fe80::1%abcdefghijklmnop",
        "fe80::1%lo%lo",
        "[fe80::1%lo]",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        NetAddr addr = {0};

        cr_expect(!netaddr_parse_scoped(rows[i], &addr), "'%s' is refused", rows[i]);
        cr_expect(addr.family == AF_UNSPEC, "'%s' leaves the result alone", rows[i]);
    }
}

Test(netaddr, longest_text_fits_the_buffer)
{
    NetAddr addr = addr_of("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
    char buf[NETADDR_STRLEN];

    addr.scope_id = UINT32_MAX;
    cr_expect_str_eq(netaddr_format_port(&addr, 65535, buf),
                     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535");
}

Test(netaddr, none_is_formatted_as_none)
{
    NetAddr none = {0};
    char buf[NETADDR_STRLEN];

    cr_expect_str_eq(netaddr_format(&none, buf), "none");
    cr_expect(!netaddr_is_any(&none) && !netaddr_is_loopback(&none) &&
              !netaddr_is_multicast(&none));
    cr_expect(netaddr_equal(&none, &none));
}

Test(netaddr, format_port_puts_brackets_around_ipv6_only)
{
    NetAddr v4 = addr_of("1.2.3.4");
    NetAddr v6 = addr_of("::1");
    char buf[NETADDR_STRLEN];

    cr_expect_str_eq(netaddr_format_port(&v4, 80, buf), "1.2.3.4:80");
    cr_expect_str_eq(netaddr_format_port(&v6, 65535, buf), "[::1]:65535");
}

Test(netaddr, equal_compares_family_and_bytes_but_not_the_scope)
{
    NetAddr a = addr_of("fe80::1");
    NetAddr b = addr_of("fe80::1");
    NetAddr c = addr_of("fe80::2");
    NetAddr v4 = addr_of("127.0.0.1");
    NetAddr mapped = addr_of("::ffff:127.0.0.1");

    b.scope_id = 7;
    cr_expect(netaddr_equal(&a, &b));
    cr_expect(!netaddr_equal(&a, &c));
    cr_expect(!netaddr_equal(&v4, &mapped));
}

Test(netaddr, constructors_make_the_well_known_addresses)
{
    static const uint8_t bytes[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 9};
    char buf[NETADDR_STRLEN];
    NetAddr addr;

    addr = netaddr_from_v4(0x0a000203);
    cr_expect_str_eq(netaddr_format(&addr, buf), "10.0.2.3");
    addr = netaddr_from_bytes(AF_INET, bytes);
    cr_expect_str_eq(netaddr_format(&addr, buf), "32.1.13.184");
    addr = netaddr_from_bytes(AF_INET6, bytes);
    cr_expect_str_eq(netaddr_format(&addr, buf), "2001:db8::9");
    addr = netaddr_any(AF_INET);
    cr_expect_str_eq(netaddr_format(&addr, buf), "0.0.0.0");
    addr = netaddr_any(AF_INET6);
    cr_expect_str_eq(netaddr_format(&addr, buf), "::");
    addr = netaddr_loopback(AF_INET);
    cr_expect_str_eq(netaddr_format(&addr, buf), "127.0.0.1");
    addr = netaddr_loopback(AF_INET6);
    cr_expect_str_eq(netaddr_format(&addr, buf), "::1");
    addr = netaddr_from_bytes(AF_UNIX, bytes);
    cr_expect(addr.family == AF_UNSPEC);
}

Test(netaddr, predicates_know_both_families)
{
    static const struct {
        const char *text;
        bool any;
        bool loopback;
        bool multicast;
    } rows[] = {
        {"0.0.0.0", true, false, false},
        {"0.0.0.1", false, false, false},
        {"127.0.0.1", false, true, false},
        {"127.255.255.255", false, true, false},
        {"126.255.255.255", false, false, false},
        {"128.0.0.0", false, false, false},
        {"223.255.255.255", false, false, false},
        {"224.0.0.0", false, false, true},
        {"239.255.255.255", false, false, true},
        {"240.0.0.0", false, false, false},
        {"::", true, false, false},
        {"::1", false, true, false},
        {"::2", false, false, false},
        {"ff02::1", false, false, true},
        {"fe80::1", false, false, false},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        NetAddr addr = addr_of(rows[i].text);

        cr_expect(netaddr_is_any(&addr) == rows[i].any, "any: %s", rows[i].text);
        cr_expect(netaddr_is_loopback(&addr) == rows[i].loopback, "loopback: %s", rows[i].text);
        cr_expect(netaddr_is_multicast(&addr) == rows[i].multicast, "multicast: %s", rows[i].text);
    }
}

Test(netaddr, unmap_changes_mapped_addresses_only)
{
    static const struct {
        const char *text;
        const char *unmapped;
    } rows[] = {
        {"::ffff:10.0.2.3", "10.0.2.3"}, {"::ffff:0:a00:203", "::ffff:0:a00:203"},
        {"::10.0.2.3", "::10.0.2.3"},    {"64:ff9b::a00:203", "64:ff9b::a00:203"},
        {"10.0.2.3", "10.0.2.3"},        {"::1", "::1"},
    };
    char buf[NETADDR_STRLEN];

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        NetAddr addr = addr_of(rows[i].text);
        NetAddr unmapped = netaddr_unmap(&addr);

        cr_expect_str_eq(netaddr_format(&unmapped, buf), rows[i].unmapped, "%s became %s",
                         rows[i].text, buf);
    }
}

Test(netaddr, sockaddr_keeps_address_port_and_scope)
{
    NetAddr v4 = addr_of("1.2.3.4");
    NetAddr v6 = addr_of("fe80::1");
    struct sockaddr_storage ss;
    NetAddr back;
    uint16_t port = 0;

    v6.scope_id = 3;
    cr_expect(netaddr_to_sockaddr(&v4, 80, &ss) == sizeof(struct sockaddr_in));
    cr_assert(netaddr_from_sockaddr((struct sockaddr *)&ss, &back, &port));
    cr_expect(netaddr_equal(&v4, &back) && port == 80 && back.scope_id == 0);

    cr_expect(netaddr_to_sockaddr(&v6, 443, &ss) == sizeof(struct sockaddr_in6));
    cr_assert(netaddr_from_sockaddr((struct sockaddr *)&ss, &back, &port));
    cr_expect(netaddr_equal(&v6, &back) && port == 443 && back.scope_id == 3);
    cr_expect(netaddr_from_sockaddr((struct sockaddr *)&ss, &back, NULL));
}

Test(netaddr, sockaddr_of_another_family_is_refused)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    struct sockaddr_storage ss;
    NetAddr none = {0};
    NetAddr back = netaddr_loopback(AF_INET);
    uint16_t port = 5;

    cr_expect(!netaddr_from_sockaddr((struct sockaddr *)&sun, &back, &port));
    cr_expect(netaddr_is_loopback(&back) && port == 5);
    cr_expect(netaddr_to_sockaddr(&none, 80, &ss) == 0);
    cr_expect(ss.ss_family == AF_UNSPEC);
}

Test(netcidr, parse_tells_the_errors_apart)
{
    static const struct {
        const char *text;
        sa_family_t family;
        int code; /* -1: fine */
    } rows[] = {
        {"10.0.2.0/24", AF_INET, -1},
        {"0.0.0.0/0", AF_INET, -1},
        {"10.0.2.3/32", AF_INET, -1},
        {"10.0.2.2/31", AF_INET, -1},
        {"fd00::/64", AF_INET6, -1},
        {"::/0", AF_INET6, -1},
        {"fd00::1/128", AF_INET6, -1},
        {"10.0.2.0", AF_INET, NETADDR_ERROR_SYNTAX},
        {"10.0.2.0/", AF_INET, NETADDR_ERROR_SYNTAX},
        {"/24", AF_INET, NETADDR_ERROR_SYNTAX},
        {"", AF_INET, NETADDR_ERROR_SYNTAX},
        {"10.0.2.0/24/24", AF_INET, NETADDR_ERROR_SYNTAX},
        {"10.0.2.0/ 24", AF_INET, NETADDR_ERROR_SYNTAX},
        {"10.0.2.0/+24", AF_INET, NETADDR_ERROR_SYNTAX},
        {"10.0.2.0/-1", AF_INET, NETADDR_ERROR_SYNTAX},
        {"10.0.2.0/255.255.255.0", AF_INET, NETADDR_ERROR_SYNTAX},
        {"10.0.2/24", AF_INET, NETADDR_ERROR_SYNTAX},
        {"fd00::/64", AF_INET, NETADDR_ERROR_SYNTAX},
        {"10.0.2.0/24", AF_INET6, NETADDR_ERROR_SYNTAX},
        {"10.0.2.0/33", AF_INET, NETADDR_ERROR_RANGE},
        {"10.0.2.0/99999999999999999999", AF_INET, NETADDR_ERROR_RANGE},
        {"fd00::/129", AF_INET6, NETADDR_ERROR_RANGE},
        {"10.0.2.1/24", AF_INET, NETADDR_ERROR_HOST_BITS},
        {"10.0.3.0/23", AF_INET, NETADDR_ERROR_HOST_BITS},
        {"128.0.0.0/0", AF_INET, NETADDR_ERROR_HOST_BITS},
        {"fd00::1/64", AF_INET6, NETADDR_ERROR_HOST_BITS},
        {"fd00::1/127", AF_INET6, NETADDR_ERROR_HOST_BITS},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        NetCidr cidr = {.prefix = 77};
        bool fine = netcidr_parse(rows[i].text, rows[i].family, &cidr, &error);

        cr_expect(fine == (rows[i].code < 0), "'%s'", rows[i].text);
        cr_expect(fine ? error == NULL : g_error_matches(error, NETADDR_ERROR, rows[i].code),
                  "'%s' says '%s'", rows[i].text, error ? error->message : "(nothing)");
        cr_expect(fine || cidr.prefix == 77, "'%s' leaves the result alone", rows[i].text);
    }
}

Test(netcidr, contains_exactly_its_addresses)
{
    static const struct {
        const char *cidr;
        sa_family_t family;
        const char *addr;
        bool inside;
    } rows[] = {
        {"10.0.2.0/24", AF_INET, "10.0.2.0", true},
        {"10.0.2.0/24", AF_INET, "10.0.2.255", true},
        {"10.0.2.0/24", AF_INET, "10.0.1.255", false},
        {"10.0.2.0/24", AF_INET, "10.0.3.0", false},
        {"10.0.2.128/25", AF_INET, "10.0.2.127", false},
        {"10.0.2.128/25", AF_INET, "10.0.2.128", true},
        {"10.0.2.3/32", AF_INET, "10.0.2.3", true},
        {"10.0.2.3/32", AF_INET, "10.0.2.2", false},
        {"0.0.0.0/0", AF_INET, "255.255.255.255", true},
        {"0.0.0.0/0", AF_INET, "::", false},
        {"::/0", AF_INET6, "1.2.3.4", false},
        {"::/0", AF_INET6, "ffff::", true},
        {"fe80::/10", AF_INET6, "febf::1", true},
        {"fe80::/10", AF_INET6, "fec0::1", false},
        {"fd00::1/128", AF_INET6, "fd00::1", true},
        {"fd00::1/128", AF_INET6, "fd00::", false},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        NetCidr cidr = cidr_of(rows[i].cidr, rows[i].family);
        NetAddr addr = addr_of(rows[i].addr);

        cr_expect(netcidr_contains(&cidr, &addr) == rows[i].inside, "%s in %s", rows[i].addr,
                  rows[i].cidr);
    }
}

Test(netcidr, host_counts_from_the_networks_address)
{
    static const struct {
        const char *cidr;
        sa_family_t family;
        uint32_t n;
        const char *addr;
    } rows[] = {
        {"10.0.2.0/24", AF_INET, 0, "10.0.2.0"},
        {"10.0.2.0/24", AF_INET, 100, "10.0.2.100"},
        {"10.0.0.0/8", AF_INET, 0x010203, "10.1.2.3"},
        {"0.0.0.0/0", AF_INET, UINT32_MAX, "255.255.255.255"},
        {"10.0.2.128/25", AF_INET, 3, "10.0.2.131"},
        {"fd00::/64", AF_INET6, 2, "fd00::2"},
        {"fd00::/64", AF_INET6, UINT32_MAX, "fd00::ffff:ffff"},
        {"fd00::80/121", AF_INET6, 0x7f, "fd00::ff"},
    };
    char buf[NETADDR_STRLEN];

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        NetCidr cidr = cidr_of(rows[i].cidr, rows[i].family);
        NetAddr addr = netcidr_host(&cidr, rows[i].n);

        cr_expect_str_eq(netaddr_format(&addr, buf), rows[i].addr, "%u of %s is %s", rows[i].n,
                         rows[i].cidr, buf);
    }
}
