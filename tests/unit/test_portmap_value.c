/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_portmap_value.c - what is done with a published port once it has been parsed
 *
 * Does:     copies, fills in the default host address, and asks for overlaps.
 * Not here: the grammar and its error texts (test_portmap.c).
 */
#include "config.h"

#include "portmap.h"

#include <criterion/criterion.h>

static PortMap *parse(const char *spec)
{
    g_autoptr(GError) error = NULL;
    PortMap *map = portmap_parse(spec, &error);

    cr_assert(map != NULL, "'%s' is refused: %s", spec, error ? error->message : "no reason");
    return map;
}

Test(portmap_value, copy_reads_the_same_and_outlives_the_original)
{
    static const char *const specs[] = {
        "127.0.0.1%eth0:8080:10.0.2.5:80,fd=x,name=y,src=gw,proxy=v2",
        "8000-8010~8005:80-90,name=y",
        "unix:@app:80,mode=0600",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(specs); i++) {
        PortMap *map = parse(specs[i]);
        g_autoptr(PortMap) copy = NULL;
        g_autofree char *before = NULL;
        g_autofree char *after = NULL;

        before = portmap_to_string(map);
        copy = portmap_copy(map);
        g_array_set_size(map->holes, 0);
        portmap_free(map);
        after = portmap_to_string(copy);
        cr_expect(g_str_equal(before, after), "'%s' became '%s'", before, after);
        cr_expect(g_str_equal(copy->text, specs[i]), "'%s' keeps its text", specs[i]);
    }
}

Test(portmap_value, free_takes_null)
{
    portmap_free(NULL);
}

Test(portmap_value, default_host_fills_only_what_was_not_given)
{
    static const struct {
        const char *spec;
        const char *haddr;
        const char *meaning;
    } rows[] = {
        {"8080:80", "127.0.0.1", "127.0.0.1 port 8080 -> guest port 80, tcp"},
        {"8080:80", "::1", "[::1] port 8080 -> guest port 80, tcp"},
        {"8080:80", "[::1]", "[::1] port 8080 -> guest port 80, tcp"},
        {"8080:80", "*", "* port 8080 -> guest port 80, tcp"},
        {"8080:80", "localhost", "localhost port 8080 -> guest port 80, tcp"},
        {"8080:80", "%eth0", "*%eth0 port 8080 -> guest port 80, tcp"},
        {"8080:80", "fe80::1%eth0", "[fe80::1]%eth0 port 8080 -> guest port 80, tcp"},
        {"8080:80/tcp+udp", "127.0.0.1", "127.0.0.1 port 8080 -> guest port 80, tcp+udp"},
        {"8080:80/tcp4", "localhost", "localhost port 8080 -> guest port 80, tcp4"},
        {"*:8080:80", "127.0.0.1", "* port 8080 -> guest port 80, tcp"},
        {"localhost:8080:80", "::1", "localhost port 8080 -> guest port 80, tcp"},
        {"unix:@a:80", "127.0.0.1", "unix @a -> guest port 80, tcp"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(PortMap) map = parse(rows[i].spec);
        bool done = portmap_set_default_host(map, rows[i].haddr, &error);
        g_autofree char *meaning = portmap_to_string(map);

        cr_expect(done && !error, "'%s' on %s is fine", rows[i].spec, rows[i].haddr);
        cr_expect(g_str_equal(meaning, rows[i].meaning), "'%s' on %s became '%s'", rows[i].spec,
                  rows[i].haddr, meaning);
    }
}

Test(portmap_value, default_host_takes_out_the_other_family)
{
    g_autoptr(PortMap) map = parse("8080:80/tcp+udp");

    cr_expect(portmap_set_default_host(map, "::1", NULL));
    cr_expect(map->protocols == (PORTMAP_TCP6 | PORTMAP_UDP6));
}

Test(portmap_value, default_host_that_does_not_fit_leaves_the_map_unchanged)
{
    static const struct {
        const char *spec;
        const char *haddr;
        const char *error;
    } rows[] = {
        {"8080:80/tcp4", "::1", "/tcp4 cannot listen on IPv6 address ::1"},
        {"8080:80/udp6", "127.0.0.1%eth0", "/udp6 cannot listen on IPv4 address 127.0.0.1"},
        {"8080:80", "", "host address '' is not a valid address"},
        {"8080:80", "example.org", "host address 'example.org' is not a valid address"},
        {"8080:80", "[::1", "host address '[::1' is not a valid address"},
        {"8080:80", "[::1]]", "host address '[::1]]' is not a valid address"},
        {"8080:80", "127.0.0.1\n", "control character at byte 10"},
        {"8080:80", "239.1.2.3", "host address '239.1.2.3' is not one to listen on"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(PortMap) map = parse(rows[i].spec);
        unsigned before = map->protocols;

        cr_expect(!portmap_set_default_host(map, rows[i].haddr, &error), "row %zu", i);
        cr_expect(error && g_str_equal(error->message, rows[i].error), "'%s' on '%s' says '%s'",
                  rows[i].spec, rows[i].haddr, error ? error->message : "(nothing)");
        cr_expect(map->host_kind == PORTMAP_HOST_UNSET && map->protocols == before &&
                      map->ifname[0] == '\0' && map->host_addr.family == AF_UNSPEC,
                  "'%s' on '%s' leaves the map alone", rows[i].spec, rows[i].haddr);
    }
}

Test(portmap_value, overlap_is_found_in_both_directions)
{
    static const struct {
        const char *a;
        const char *b;
        bool overlap;
    } rows[] = {
        {"8080:80", "8080:81", true},
        {"8080:80", "8081:80", false},
        {"8080:80", "8080:80/udp", false},
        {"8080:80/tcp+udp", "8080:80/udp", true},
        {"8080:80/tcp4", "8080:80/tcp6", false},
        {"0.0.0.0:8080:80", "[::]:8080:80", false},
        {"0.0.0.0:8080:80", "127.0.0.1:8080:80", true},
        {"127.0.0.1:8080:80", "127.0.0.2:8080:80", false},
        {"127.0.0.1:8080:80", "[::1]:8080:80", false},
        {"localhost:8080:80", "127.0.0.1:8080:80", true},
        {"localhost:8080:80", "[::1]:8080:80", true},
        {"localhost:8080:80", "192.0.2.1:8080:80", false},
        {"*:8080:80", "192.0.2.1:8080:80", true},
        {"%eth0:8080:80", "%eth1:8080:80", false},
        {"%eth0:8080:80", "%eth0:8080:80", true},
        {"%eth0:8080:80", "8080:80", true},
        {"[fe80::1%eth0]:8080:80", "[fe80::1%eth1]:8080:80", false},
        {"8000-8010:80", "8010-8020:80", true},
        {"8000-8010:80", "8011-8020:80", false},
        {"8000-8010~8010:80", "8010-8020:80", false},
        {"8000-8010~8005:80-90", "8005:80", false},
        {"all", "8080:80", true},
        {"all~8080", "8080:80", false},
        {"all", "all/udp", false},
        {"all", "all", true},
        {"auto", "8080:80", false},
        {"auto", "auto", true},
        {"auto", "all", true},
        {"80", "80", false},
        {"0:80", "all", false},
        {"unix:/a:80", "unix:/a:81", true},
        {"unix:/a:80", "unix:/b:80", false},
        {"unix:/a:80", "unix:@a:80", false},
        {"unix:/a:80", "8080:80", false},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(PortMap) a = parse(rows[i].a);
        g_autoptr(PortMap) b = parse(rows[i].b);

        cr_expect(portmap_overlaps(a, b) == rows[i].overlap, "'%s' and '%s'", rows[i].a, rows[i].b);
        cr_expect(portmap_overlaps(b, a) == rows[i].overlap, "'%s' and '%s'", rows[i].b, rows[i].a);
    }
}

Test(portmap_value, host_port_is_within_the_range_and_outside_of_the_holes)
{
    g_autoptr(PortMap) map = parse("8000-8010~8005~8007-8008:80-90");
    g_autoptr(PortMap) kernel = parse("8000");
    g_autoptr(PortMap) all = parse("all");

    for (unsigned port = 7998; port <= 8012; port++) {
        bool want = port >= 8000 && port <= 8010 && port != 8005 && port != 8007 && port != 8008;

        cr_expect(portmap_has_host_port(map, (uint16_t)port) == want, "port %u", port);
    }
    cr_expect(!portmap_has_host_port(kernel, 8000));
    cr_expect(!portmap_has_host_port(all, 8000));
}
