/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_netclass.c - what netaddr.c says of an address for policy's sake
 *
 * Does:     asks for every special address by each of its spellings, and for both neighbours of every
 *           special network.
 * Not here: the host's own addresses, which the address alone does not show.
 */
#include "config.h"

#include "netaddr.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>

/* Each special network, and what lies just outside of it. */
static const struct {
    const char *text;
    NetClass want;
} special[] = {
    {"169.254.169.254", NETCLASS_METADATA},
    {"169.254.170.2", NETCLASS_METADATA},
    {"169.254.170.23", NETCLASS_METADATA},
    {"100.100.100.200", NETCLASS_METADATA},
    {"168.63.129.16", NETCLASS_METADATA},
    {"192.0.0.192", NETCLASS_METADATA},
    {"fd00:ec2::254", NETCLASS_METADATA},
    {"fd00:ec2::23", NETCLASS_METADATA},
    {"fd20:ce::254", NETCLASS_METADATA},
    {"169.254.169.253", NETCLASS_LINK_LOCAL},
    {"169.254.169.255", NETCLASS_LINK_LOCAL},
    {"169.254.170.3", NETCLASS_LINK_LOCAL},
    {"100.100.100.201", NETCLASS_NONE},
    {"168.63.129.17", NETCLASS_NONE},
    {"192.0.0.193", NETCLASS_NONE},
    {"fd00:ec2::253", NETCLASS_NONE},
    {"fd00:ec2::255", NETCLASS_NONE},
    {"fd00:ec2::1:254", NETCLASS_NONE},
    {"fd20:ce::253", NETCLASS_NONE},
    {"169.254.0.0", NETCLASS_LINK_LOCAL},
    {"169.254.255.255", NETCLASS_LINK_LOCAL},
    {"169.253.255.255", NETCLASS_NONE},
    {"169.255.0.0", NETCLASS_NONE},
    {"fe80::1", NETCLASS_LINK_LOCAL},
    {"febf:ffff::1", NETCLASS_LINK_LOCAL},
    {"fe7f::1", NETCLASS_NONE},
    {"fec0::1", NETCLASS_NONE},
    {"feff::1", NETCLASS_NONE},
    {"0.0.0.0", NETCLASS_NEVER},
    {"0.255.255.255", NETCLASS_NEVER},
    {"1.0.0.0", NETCLASS_NONE},
    {"126.255.255.255", NETCLASS_NONE},
    {"127.0.0.1", NETCLASS_NEVER},
    {"127.255.255.255", NETCLASS_NEVER},
    {"128.0.0.0", NETCLASS_NONE},
    {"223.255.255.255", NETCLASS_NONE},
    {"224.0.0.0", NETCLASS_NEVER},
    {"239.255.255.250", NETCLASS_NEVER},
    {"240.0.0.0", NETCLASS_NEVER},
    {"255.255.255.254", NETCLASS_NEVER},
    {"255.255.255.255", NETCLASS_NEVER},
    {"::", NETCLASS_NEVER},
    {"::1", NETCLASS_NEVER},
    {"::2", NETCLASS_NEVER},
    {"::ffff:ffff", NETCLASS_NEVER},
    {"::1:0:0", NETCLASS_NONE},
    {"::ffff:8.8.8.8", NETCLASS_NEVER},
    {"::fffe:808:808", NETCLASS_NONE},
    {"::ffff:0:8.8.8.8", NETCLASS_NEVER},
    {"::1:ffff:808:808", NETCLASS_NONE},
    {"::ffff:1:808:808", NETCLASS_NONE},
    {"ff00::", NETCLASS_NEVER},
    {"ff02::1", NETCLASS_NEVER},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NETCLASS_NEVER},
    {"feff:ffff::", NETCLASS_NONE},
    {"10.0.0.1", NETCLASS_NONE},
    {"192.168.1.1", NETCLASS_NONE},
    {"100.64.0.1", NETCLASS_NONE},
    {"8.8.8.8", NETCLASS_NONE},
    {"fd00::1", NETCLASS_NONE},
    {"2001:db8::1", NETCLASS_NONE},
    {"2001::1", NETCLASS_NONE},
    {"64:ff9b::8.8.8.8", NETCLASS_NONE},
    {"64:ff9b::127.0.0.1", NETCLASS_NEVER},
    {"64:ff9b::169.254.169.254", NETCLASS_METADATA},
    {"64:ff9b:1:ffff::169.254.1.1", NETCLASS_LINK_LOCAL},
    {"64:ff9b:2::127.0.0.1", NETCLASS_NONE},
    {"2002:7f00:1::", NETCLASS_NEVER},
    {"2002:a9fe:a9fe::1", NETCLASS_METADATA},
    {"2002:a9fe:101::", NETCLASS_LINK_LOCAL},
    {"2002:808:808::7f00:1", NETCLASS_NONE},
    {"2003:7f00:1::", NETCLASS_NONE},
};

static NetAddr addr_of(const char *text)
{
    NetAddr addr;

    cr_assert(netaddr_parse(text, &addr), "'%s' is an address", text);
    return addr;
}

Test(netclass, addresses_and_their_neighbours_have_the_right_class)
{
    for (size_t i = 0; i < G_N_ELEMENTS(special); i++) {
        NetAddr addr = addr_of(special[i].text);
        NetClass class = netaddr_classify(&addr);

        cr_expect(class == special[i].want, "%s is of class %#x, not %#x", special[i].text,
                  (unsigned)class, (unsigned)special[i].want);
    }
}

Test(netclass, translated_spellings_never_get_more_than_the_plain_address)
{
    static const char *const plain[] = {
        "127.0.0.1",       "0.0.0.0",       "169.254.169.254", "169.254.170.2", "169.254.170.23",
        "100.100.100.200", "168.63.129.16", "192.0.0.192",     "169.254.1.1",   "224.0.0.1",
        "255.255.255.255", "240.0.0.1",     "8.8.8.8",         "10.0.0.1",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(plain); i++) {
        NetAddr v4 = addr_of(plain[i]);
        uint32_t bits = ntohl(v4.v4.s_addr);
        g_autofree char *nat64 = g_strdup_printf("64:ff9b::%s", plain[i]);
        g_autofree char *local = g_strdup_printf("64:ff9b:1:2:3:4:%s", plain[i]);
        g_autofree char *six = g_strdup_printf("2002:%x:%x::1", bits >> 16, bits & 0xffff);
        const char *same[] = {nat64, local, six};
        g_autofree char *mapped = g_strdup_printf("::ffff:%s", plain[i]);
        g_autofree char *siit = g_strdup_printf("::ffff:0:%s", plain[i]);
        g_autofree char *compatible = g_strdup_printf("::%s", plain[i]);
        const char *never[] = {mapped, siit, compatible};

        for (size_t j = 0; j < G_N_ELEMENTS(same); j++) {
            NetAddr addr = addr_of(same[j]);

            cr_expect(netaddr_classify(&addr) == netaddr_classify(&v4), "%s", same[j]);
        }
        for (size_t j = 0; j < G_N_ELEMENTS(never); j++) {
            NetAddr addr = addr_of(never[j]);

            cr_expect(netaddr_classify(&addr) == NETCLASS_NEVER, "%s", never[j]);
        }
    }
}

Test(netclass, no_address_is_never_allowed)
{
    NetAddr none = {0};

    cr_expect(netaddr_classify(&none) == NETCLASS_NEVER);
}

Test(netclass, scope_does_not_change_the_class)
{
    NetAddr addr = addr_of("fd00:ec2::254");

    addr.scope_id = 4;
    cr_expect(netaddr_classify(&addr) == NETCLASS_METADATA);
}

Test(netclass, embedded_finds_the_ipv4_address_within)
{
    static const struct {
        const char *text;
        const char *within; /* NULL: there is none */
    } rows[] = {
        {"64:ff9b::10.0.2.3", "10.0.2.3"},
        {"64:ff9b:1:ffff:ffff:ffff:10.0.2.3", "10.0.2.3"},
        {"2002:a00:203::1", "10.0.2.3"},
        {"::ffff:10.0.2.3", "10.0.2.3"},
        {"::10.0.2.3", "10.0.2.3"},
        {"::2", "0.0.0.2"},
        {"::", NULL},
        {"::1", NULL},
        {"10.0.2.3", NULL},
        {"64:ff9b:0:0:0:1:10.0.2.3", NULL},
        {"64:ff9b:2::10.0.2.3", NULL},
        {"2001:db8::10.0.2.3", NULL},
        {"2003:a00:203::1", NULL},
        {"::1:0:a00:203", NULL},
    };
    char buf[NETADDR_STRLEN];

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        NetAddr addr = addr_of(rows[i].text);
        NetAddr within = {0};
        bool found = netaddr_embedded(&addr, &within);

        cr_expect(found == (rows[i].within != NULL), "%s", rows[i].text);
        cr_expect_str_eq(netaddr_format(&within, buf), rows[i].within ? rows[i].within : "none",
                         "%s has %s", rows[i].text, buf);
    }
}

Test(netclass, list_adds_to_the_classes)
{
    unsigned classes = NETCLASS_METADATA;
    char *bad = NULL;

    cr_expect(netclass_parse_list("host-loopback,host", &classes, &bad));
    cr_expect(classes == (NETCLASS_METADATA | NETCLASS_HOST_LOOPBACK | NETCLASS_HOST));
    cr_expect(netclass_parse_list("link-local,metadata,link-local", &classes, &bad));
    cr_expect(classes ==
              (NETCLASS_METADATA | NETCLASS_HOST_LOOPBACK | NETCLASS_HOST | NETCLASS_LINK_LOCAL));
    cr_expect(bad == NULL);
}

Test(netclass, list_names_its_first_unknown_word_and_changes_nothing)
{
    static const struct {
        const char *text;
        const char *bad;
    } rows[] = {
        {"", ""},           {",", ""},
        {"host,", ""},      {"host,,metadata", ""},
        {"never", "never"}, {"none", "none"},
        {"HOST", "HOST"},   {"host, host", " host"},
        {"hos", "hos"},     {"host=1", "host=1"},
        {"host,x,y", "x"},  {"\xff", "\xff"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        unsigned classes = NETCLASS_LINK_LOCAL;
        g_autofree char *bad = NULL;

        cr_expect(!netclass_parse_list(rows[i].text, &classes, &bad), "'%s'", rows[i].text);
        cr_expect(g_strcmp0(bad, rows[i].bad) == 0, "'%s' names '%s'", rows[i].text, bad);
        cr_expect(classes == NETCLASS_LINK_LOCAL, "'%s' changes nothing", rows[i].text);
    }
}
