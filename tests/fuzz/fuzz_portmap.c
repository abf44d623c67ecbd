/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fuzz_portmap.c - portmap*.c: any text as a published port
 *
 * Oracles:  what is taken holds what portmap.h promises; written out again in the long form it reads the same; a copy is the same;
 *           overlapping is mutual; a default host address that is refused changes nothing, and given twice changes nothing more.
 */
#include "config.h"

#include "portmap.h"

#include "bytes.h"
#include "check.h"

static void check_range(PortRange range)
{
    FUZZ_CHECK(range.first >= 1 && range.first <= range.last, "%u-%u", range.first, range.last);
}

static void check_map(const PortMap *map)
{
    bool numbers = map->ports_kind == PORTMAP_PORTS_RANGE;

    FUZZ_CHECK(map->protocols != 0 && map->protocols < 16 && map->holes != NULL, "protocols %x",
               map->protocols);
    FUZZ_CHECK((map->host_kind == PORTMAP_HOST_UNIX) == (map->unix_path != NULL), "path");
    FUZZ_CHECK(memchr(map->ifname, 0, sizeof(map->ifname)) != NULL, "interface");
    if (numbers && map->host_kind != PORTMAP_HOST_UNIX) {
        unsigned span = (unsigned)(map->guest_ports.last - map->guest_ports.first);

        check_range(map->host_ports);
        check_range(map->guest_ports);
        FUZZ_CHECK(span == 0 || span == (unsigned)(map->host_ports.last - map->host_ports.first),
                   "ranges");
    }
    for (guint i = 0; i < map->holes->len; i++) {
        check_range(g_array_index(map->holes, PortRange, i));
    }
    FUZZ_CHECK(map->backlog >= -1 && map->idle_s >= -1 && map->mode >= -1 && map->mode <= 0777 &&
                   map->uid >= -1 && map->gid >= -1 && map->proxy >= 0 && map->proxy <= 2,
               "options");
    if (map->host_kind == PORTMAP_HOST_ADDR) {
        unsigned other = map->host_addr.family == AF_INET ? PORTMAP_TCP6 | PORTMAP_UDP6
                                                          : PORTMAP_TCP4 | PORTMAP_UDP4;

        FUZZ_CHECK((map->protocols & other) == 0, "a family that the address has not");
    }
}

/* The long form of @map without its options, which begin at the first "," of the short one's end. NULL: it has none. */
static char *write_again(const PortMap *map)
{
    static const char *const names[16] = {[1] = "tcp4", [2] = "tcp6", [3] = "tcp",     [4] = "udp4",
                                          [8] = "udp6", [12] = "udp", [15] = "tcp+udp"};
    GString *text = g_string_new(NULL);
    char addr[NETADDR_STRLEN];
    unsigned protocols = map->protocols;

    if (map->host_kind == PORTMAP_HOST_UNIX || map->ports_kind != PORTMAP_PORTS_RANGE ||
        map->first_free || map->holes->len > 0 || names[protocols] == NULL) {
        g_string_free(text, TRUE);
        return NULL;
    }
    g_string_append_printf(text, "target=%u-%u,published=%u-%u,protocol=%s", map->guest_ports.first,
                           map->guest_ports.last, map->host_ports.first, map->host_ports.last,
                           names[protocols]);
    if (map->host_kind == PORTMAP_HOST_ADDR) {
        g_string_append_printf(text, ",host_ip=[%s]", netaddr_format(&map->host_addr, addr));
        if (map->host_addr.family == AF_INET) {
            g_string_truncate(text, text->len - strlen(addr) - 2);
            g_string_append(text, addr);
        }
    } else if (map->host_kind != PORTMAP_HOST_UNSET) {
        g_string_append_printf(text, ",host_ip=%s",
                               map->host_kind == PORTMAP_HOST_ANY ? "*" : "localhost");
    }
    if (map->ifname[0] != 0) {
        g_string_append_printf(text, "%%%s", map->ifname);
    }
    if (map->guest_addr.family != AF_UNSPEC) {
        g_string_append_printf(
            text, map->guest_addr.family == AF_INET6 ? ",guest_ip=[%s]" : ",guest_ip=%s",
            netaddr_format(&map->guest_addr, addr));
    }
    return g_string_free(text, FALSE);
}

static void check_written(const PortMap *map, const char *canonical)
{
    g_autofree char *text = write_again(map);
    g_autofree char *again = NULL;
    const char *options = strstr(canonical, " {"); /* a brace alone may be an interface's */
    g_autofree char *plain =
        options != NULL ? g_strndup(canonical, (gsize)(options - canonical)) : g_strdup(canonical);
    g_autoptr(GError) error = NULL;
    g_autoptr(PortMap) read = NULL;

    if (text == NULL) {
        return;
    }
    read = portmap_parse(text, &error);
    FUZZ_CHECK(read != NULL, "%s: %s", text, error->message);
    again = portmap_to_string(read);
    FUZZ_CHECK(strcmp(again, g_strchomp(plain)) == 0, "'%s' reads '%s', not '%s'", text, again,
               plain);
}

static void check_default(const PortMap *map, const char *address)
{
    g_autoptr(PortMap) copy = portmap_copy(map);
    g_autofree char *before = portmap_to_string(copy);
    g_autofree char *after = NULL;
    g_autofree char *twice = NULL;
    bool done = portmap_set_default_host(copy, address, NULL);

    after = portmap_to_string(copy);
    FUZZ_CHECK(done || strcmp(before, after) == 0, "refused, but changed");
    if (done) {
        check_map(copy);
        FUZZ_CHECK(copy->host_kind != PORTMAP_HOST_UNSET, "no host address still");
        FUZZ_CHECK(portmap_set_default_host(copy, address, NULL), "refused the second time");
        twice = portmap_to_string(copy);
        FUZZ_CHECK(strcmp(after, twice) == 0, "changed the second time");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *all = g_strndup((const char *)data, size);
    g_auto(GStrv) lines = g_strsplit(all, "\n", 3);
    guint count = g_strv_length(lines);
    g_autoptr(GError) error = NULL;
    g_autoptr(PortMap) map = NULL;
    g_autoptr(PortMap) other = NULL;
    g_autoptr(PortMap) copy = NULL;
    g_autofree char *text = NULL;
    g_autofree char *copied = NULL;

    if (count == 0) {
        return 0;
    }
    map = portmap_parse(lines[0], &error);
    FUZZ_CHECK((map == NULL) == (error != NULL), "neither map nor reason");
    if (map == NULL) {
        FUZZ_CHECK(error->message[0] != 0 && g_utf8_validate(error->message, -1, NULL),
                   "no reason");
        return 0;
    }
    check_map(map);
    text = portmap_to_string(map);
    copy = portmap_copy(map);
    copied = portmap_to_string(copy);
    FUZZ_CHECK(strcmp(text, copied) == 0 && strcmp(map->text, lines[0]) == 0, "'%s', '%s'", text,
               copied);
    check_written(map, text);
    check_default(map, count > 1 ? lines[1] : "127.0.0.1");
    other = portmap_parse(count > 2 ? lines[2] : "8080:80", NULL);
    if (other != NULL) {
        FUZZ_CHECK(portmap_overlaps(map, other) == portmap_overlaps(other, map),
                   "one overlaps the other alone");
    }
    FUZZ_CHECK(map->ports_kind != PORTMAP_PORTS_RANGE || portmap_overlaps(map, copy),
               "does not overlap itself");
    return 0;
}
