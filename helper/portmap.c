/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * portmap.c - published ports as values: copy, canonical text, overlap, default host address
 *
 * Does:     everything that is done with a PortMap once it has been parsed.
 * Trusts:   a PortMap from portmap_parse(); not the address given to portmap_set_default_host().
 * Limits:   PORTMAP_TEXT_MAX bytes for any text that is parsed.
 * Not here: the grammar (portmap_parse.c, portmap_read.c), the options (portmap_options.c), sockets.
 */
#include "config.h"

#include "portmap.h"

#include <string.h>

#include "portmap_private.h"

#define PORTMAP_TEXT_MAX 4096

G_DEFINE_QUARK(portmap - error - quark, portmap_error)

bool portmap_fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_propagate_error(error, g_error_new_valist(PORTMAP_ERROR, PORTMAP_ERROR_SYNTAX, format, args));
    va_end(args);
    return false;
}

bool portmap_check_text(const char *text, GError **error)
{
    size_t length = strlen(text);

    if (length > PORTMAP_TEXT_MAX)
        return portmap_fail(error, "longer than %d bytes", PORTMAP_TEXT_MAX);
    if (!g_utf8_validate(text, (gssize)length, NULL))
        return portmap_fail(error, "not valid UTF-8");
    for (const char *p = text; *p != '\0'; p = g_utf8_find_next_char(p, NULL)) {
        if (g_unichar_iscntrl(g_utf8_get_char(p)))
            return portmap_fail(error, "control character at byte %zu", (size_t)(p - text) + 1);
    }
    return true;
}

void portmap_free(PortMap *map)
{
    if (!map)
        return;
    g_free(map->text);
    g_free(map->unix_path);
    g_clear_pointer(&map->holes, g_array_unref);
    g_free(map->fd_name);
    g_free(map->name);
    g_free(map);
}

PortMap *portmap_copy(const PortMap *map)
{
    PortMap *copy = g_new(PortMap, 1);

    *copy = *map;
    copy->text = g_strdup(map->text);
    copy->unix_path = g_strdup(map->unix_path);
    copy->holes = g_array_copy(map->holes);
    copy->fd_name = g_strdup(map->fd_name);
    copy->name = g_strdup(map->name);
    return copy;
}

unsigned portmap_possible_protocols(PortMapHost kind, const NetAddr *addr)
{
    if (kind != PORTMAP_HOST_ADDR)
        return PORTMAP_ALL_TCP | PORTMAP_ALL_UDP;
    return addr->family == AF_INET ? PORTMAP_ALL_V4 : PORTMAP_ALL_V6;
}

const char *portmap_protocol_name(unsigned protocols, unsigned possible)
{
    bool tcp = (protocols & PORTMAP_ALL_TCP) != 0;
    bool udp = (protocols & PORTMAP_ALL_UDP) != 0;

    if (tcp && udp)
        return "tcp+udp";
    /* The digit is left out where it says nothing: 127.0.0.1 has only one family to offer. */
    if (tcp && protocols == (possible & PORTMAP_ALL_TCP))
        return "tcp";
    if (udp && protocols == (possible & PORTMAP_ALL_UDP))
        return "udp";
    if (tcp)
        return protocols & PORTMAP_TCP4 ? "tcp4" : "tcp6";
    return protocols & PORTMAP_UDP4 ? "udp4" : "udp6";
}

bool portmap_restrict_protocols(const PortMapListen *listen, unsigned wanted, unsigned *ret,
                                GError **error)
{
    unsigned left = wanted & portmap_possible_protocols(listen->kind, &listen->addr);
    char text[NETADDR_STRLEN];

    if (left == 0)
        return portmap_fail(error, "/%s cannot listen on %s address %s",
                            portmap_protocol_name(wanted, PORTMAP_ALL_TCP | PORTMAP_ALL_UDP),
                            listen->addr.family == AF_INET ? "IPv4" : "IPv6",
                            netaddr_format(&listen->addr, text));
    *ret = left;
    return true;
}

bool portmap_set_default_host(PortMap *map, const char *haddr, GError **error)
{
    PortMapListen listen = {0};

    g_return_val_if_fail(map != NULL && haddr != NULL, false);

    if (map->host_kind != PORTMAP_HOST_UNSET)
        return true;
    if (!portmap_check_text(haddr, error) || !portmap_read_listen(haddr, &listen, error) ||
        !portmap_restrict_protocols(&listen, map->protocols, &map->protocols, error))
        return false;
    map->host_kind = listen.kind;
    map->host_addr = listen.addr;
    memcpy(map->ifname, listen.ifname, sizeof(map->ifname));
    return true;
}

static void append_range(GString *text, PortRange range)
{
    if (range.first == range.last)
        g_string_append_printf(text, "%u", (unsigned)range.first);
    else
        g_string_append_printf(text, "%u-%u", (unsigned)range.first, (unsigned)range.last);
}

static void append_holes(GString *text, const PortMap *map)
{
    for (unsigned i = 0; i < map->holes->len; i++) {
        g_string_append_c(text, '~');
        append_range(text, g_array_index(map->holes, PortRange, i));
    }
}

static void append_host(GString *text, const PortMap *map)
{
    char addr[NETADDR_STRLEN];

    switch (map->host_kind) {
    case PORTMAP_HOST_UNIX:
        g_string_append_printf(text, "unix %s", map->unix_path);
        return;
    case PORTMAP_HOST_LOCALHOST:
        g_string_append(text, "localhost");
        break;
    case PORTMAP_HOST_ADDR:
        netaddr_format(&map->host_addr, addr);
        g_string_append_printf(text, map->host_addr.family == AF_INET6 ? "[%s]" : "%s", addr);
        break;
    case PORTMAP_HOST_UNSET:
    case PORTMAP_HOST_ANY:
        g_string_append_c(text, '*');
        break;
    }
    if (map->ifname[0] != '\0')
        g_string_append_printf(text, "%%%s", map->ifname);
}

/* "all" and "auto" read the same on both sides; NULL if the ports are numbers or the kernel's choice. */
static const char *ports_word(PortMapPorts kind)
{
    if (kind == PORTMAP_PORTS_ALL)
        return "all";
    return kind == PORTMAP_PORTS_AUTO ? "auto" : NULL;
}

char *portmap_to_string(const PortMap *map)
{
    GString *text = g_string_new(NULL);
    const char *word = ports_word(map->ports_kind);
    char addr[NETADDR_STRLEN];

    append_host(text, map);
    if (map->host_kind != PORTMAP_HOST_UNIX) {
        g_string_append(text, " port ");
        if (word)
            g_string_append(text, word);
        else if (map->ports_kind == PORTMAP_PORTS_KERNEL)
            g_string_append(text, "(kernel picks)");
        else
            append_range(text, map->host_ports);
        append_holes(text, map);
    }

    g_string_append(text, " -> ");
    if (map->guest_addr.family == AF_UNSPEC)
        g_string_append(text, "guest");
    else
        g_string_append_printf(text, map->guest_addr.family == AF_INET6 ? "[%s]" : "%s",
                               netaddr_format(&map->guest_addr, addr));
    g_string_append(text, " port ");
    if (word) {
        g_string_append(text, word);
        append_holes(text, map);
    } else {
        append_range(text, map->guest_ports);
    }

    g_string_append_printf(
        text, ", %s%s",
        portmap_protocol_name(map->protocols,
                              portmap_possible_protocols(map->host_kind, &map->host_addr)),
        map->first_free ? " (first free)" : "");
    portmap_options_append(map, text);
    return g_string_free(text, FALSE);
}

static bool range_has(PortRange range, uint16_t port)
{
    return range.first <= port && port <= range.last;
}

bool portmap_has_host_port(const PortMap *map, uint16_t port)
{
    if (map->ports_kind != PORTMAP_PORTS_RANGE || !range_has(map->host_ports, port))
        return false;
    for (unsigned i = 0; i < map->holes->len; i++) {
        if (range_has(g_array_index(map->holes, PortRange, i), port))
            return false;
    }
    return true;
}

unsigned portmap_mark_host_ports(const PortMap *map, uint8_t *ports)
{
    PortRange range = {1, G_MAXUINT16};
    unsigned count = 0;

    if (map->ports_kind == PORTMAP_PORTS_RANGE)
        range = map->host_ports;
    memset(ports, 0, G_MAXUINT16 + 1);
    memset(ports + range.first, 1, (size_t)(range.last - range.first) + 1);
    for (unsigned i = 0; i < map->holes->len; i++) {
        PortRange hole = g_array_index(map->holes, PortRange, i);

        memset(ports + hole.first, 0, (size_t)(hole.last - hole.first) + 1);
    }
    for (size_t port = 0; port <= G_MAXUINT16; port++)
        count += ports[port];
    return count;
}

static bool ports_overlap(const PortMap *a, const PortMap *b)
{
    g_autofree uint8_t *ports_a = NULL;
    g_autofree uint8_t *ports_b = NULL;

    if (a->ports_kind == PORTMAP_PORTS_KERNEL || b->ports_kind == PORTMAP_PORTS_KERNEL)
        return false;
    /* What "auto" binds is known only later, and it passes over a port that is taken: beside fixed ports
     * it is useful, beside another that wants whatever there is it is a mistake. */
    if (a->ports_kind == PORTMAP_PORTS_AUTO || b->ports_kind == PORTMAP_PORTS_AUTO)
        return a->ports_kind != PORTMAP_PORTS_RANGE && b->ports_kind != PORTMAP_PORTS_RANGE;

    if (a->ports_kind == PORTMAP_PORTS_RANGE && b->ports_kind == PORTMAP_PORTS_RANGE) {
        if (a->host_ports.last < b->host_ports.first || b->host_ports.last < a->host_ports.first)
            return false;
        if (a->holes->len == 0 && b->holes->len == 0)
            return true;
    }
    /* Maps of both, because the holes are many if the specification is hostile. */
    ports_a = g_malloc(G_MAXUINT16 + 1);
    ports_b = g_malloc(G_MAXUINT16 + 1);
    (void)portmap_mark_host_ports(a, ports_a); /* neither is empty: portmap_parse() sees to that */
    (void)portmap_mark_host_ports(b, ports_b);
    for (size_t port = 1; port <= G_MAXUINT16; port++) {
        if (ports_a[port] && ports_b[port])
            return true;
    }
    return false;
}

static NetAddr listen_addr(const PortMap *map, sa_family_t family)
{
    if (map->host_kind == PORTMAP_HOST_ADDR)
        return map->host_addr;
    return map->host_kind == PORTMAP_HOST_LOCALHOST ? netaddr_loopback(family)
                                                    : netaddr_any(family);
}

static bool addresses_overlap(const PortMap *a, const PortMap *b, sa_family_t family)
{
    NetAddr addr_a = listen_addr(a, family);
    NetAddr addr_b = listen_addr(b, family);

    return netaddr_is_any(&addr_a) || netaddr_is_any(&addr_b) || netaddr_equal(&addr_a, &addr_b);
}

bool portmap_overlaps(const PortMap *a, const PortMap *b)
{
    unsigned common = a->protocols & b->protocols;

    if (a->host_kind == PORTMAP_HOST_UNIX || b->host_kind == PORTMAP_HOST_UNIX)
        return a->host_kind == b->host_kind && g_str_equal(a->unix_path, b->unix_path);
    if (a->ifname[0] != '\0' && b->ifname[0] != '\0' && !g_str_equal(a->ifname, b->ifname))
        return false;
    if (!((common & PORTMAP_ALL_V4) != 0 && addresses_overlap(a, b, AF_INET)) &&
        !((common & PORTMAP_ALL_V6) != 0 && addresses_overlap(a, b, AF_INET6)))
        return false;
    return ports_overlap(a, b);
}
