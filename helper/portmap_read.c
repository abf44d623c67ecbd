/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * portmap_read.c - the grammar of a published port: addresses, ports, protocols, socket paths
 *
 * Does:     reads each text of a struct PortMapParts into a PortMap and checks that they suit each other.
 * Trusts:   nothing it reads but what portmap_check_text() has checked.
 * Limits:   sun_path, IFNAMSIZ.
 * Not here: how a specification is cut (portmap_parse.c). No I/O: an interface need not exist, an
 *           address need not be the host's.
 */
#include "config.h"

#include "portmap_private.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/un.h>

#define DIGITS        "0123456789"
#define UNIX_PATH_MAX (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

/* One side's ports, read. */
typedef struct Side {
    PortMapPorts kind;
    PortRange range;
    GArray *holes;
} Side;

static void side_clear(Side *side)
{
    g_clear_pointer(&side->holes, g_array_unref);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Side, side_clear)

static bool read_ifname(const char *text, char ret[IFNAMSIZ], GError **error)
{
    size_t length = strlen(text);
    bool fine = length > 0 && length < IFNAMSIZ && !g_str_equal(text, ".") &&
                !g_str_equal(text, "..") && strpbrk(text, "/:%[] ") == NULL;

    if (!fine)
        return portmap_fail(error, "interface name '%s' is not a valid name", text);
    memset(ret, 0, IFNAMSIZ);
    memcpy(ret, text, length);
    return true;
}

/* What no socket can be bound to or connected to over TCP: groups and the limited broadcast. */
static bool is_many(const NetAddr *addr)
{
    return netaddr_is_multicast(addr) ||
           (addr->family == AF_INET && addr->v4.s_addr == htonl(INADDR_BROADCAST));
}

/* "[fe80::1%eth0]" and "[fe80::1]%eth0" -> "fe80::1", "eth0"; *ret_ifname is NULL without '%'. */
static bool cut_brackets(const char *text, char **ret_addr, char **ret_ifname)
{
    const char *close = strchr(text, ']');
    g_autofree char *within = NULL;
    char *percent;

    if (!close)
        return false;
    within = g_strndup(text + 1, (gsize)(close - text) - 1);
    percent = strchr(within, '%');
    if (close[1] != '\0' && (close[1] != '%' || percent))
        return false;
    if (percent)
        *percent = '\0';
    *ret_ifname = percent ? g_strdup(percent + 1) : close[1] == '%' ? g_strdup(close + 2) : NULL;
    *ret_addr = g_steal_pointer(&within);
    return true;
}

bool portmap_read_listen(const char *text, PortMapListen *ret, GError **error)
{
    PortMapListen listen = {.kind = PORTMAP_HOST_ADDR};
    g_autofree char *addr = NULL;
    g_autofree char *ifname = NULL;
    const char *percent = strchr(text, '%');
    bool valid = true;

    if (text[0] == '[') {
        valid = cut_brackets(text, &addr, &ifname);
    } else {
        addr = percent ? g_strndup(text, (gsize)(percent - text)) : g_strdup(text);
        ifname = percent ? g_strdup(percent + 1) : NULL;
    }
    if (ifname && !read_ifname(ifname, listen.ifname, error))
        return false;

    if (valid && text[0] == '[') {
        valid = netaddr_parse(addr, &listen.addr) && listen.addr.family == AF_INET6;
    } else if (valid) {
        if (g_str_equal(addr, "*") || (addr[0] == '\0' && ifname))
            listen.kind = PORTMAP_HOST_ANY;
        else if (g_str_equal(addr, "localhost"))
            listen.kind = PORTMAP_HOST_LOCALHOST;
        else
            valid = netaddr_parse(addr, &listen.addr);
    }
    if (!valid)
        return portmap_fail(error, "host address '%s' is not a valid address", text);

    /* docker, too, takes [::ffff:127.0.0.1] for 127.0.0.1; an IPV6_V6ONLY socket could not be bound to it. */
    listen.addr = netaddr_unmap(&listen.addr);
    if (is_many(&listen.addr))
        return portmap_fail(error, "host address '%s' is not one to listen on", text);
    /* bind(2) would say EINVAL, which tells the user nothing. */
    if (listen.kind == PORTMAP_HOST_ADDR && listen.addr.family == AF_INET6 &&
        IN6_IS_ADDR_LINKLOCAL(&listen.addr.v6) && !ifname)
        return portmap_fail(error, "link-local address '%s' needs its interface, as in %%eth0",
                            text);
    *ret = listen;
    return true;
}

bool portmap_read_guest_addr(const char *text, NetAddr *ret, GError **error)
{
    size_t length = strlen(text);
    g_autofree char *plain = NULL;
    NetAddr addr;

    if (text[0] == '[' && text[length - 1] == ']')
        plain = g_strndup(text + 1, length - 2);
    if (!netaddr_parse(plain ? plain : text, &addr) || (plain && addr.family != AF_INET6))
        return portmap_fail(error, "guest address '%s' is not a valid address", text);
    addr = netaddr_unmap(&addr);
    if (netaddr_is_any(&addr) || is_many(&addr))
        return portmap_fail(error, "guest address '%s' is not one to connect to", text);
    *ret = addr;
    return true;
}

static bool read_port(const char *text, const char *side, bool host, uint16_t *ret, GError **error)
{
    guint64 number;

    if (text[0] == '\0' || strspn(text, DIGITS) != strlen(text))
        return portmap_fail(error, "%s port '%s' is not a number", side, text);
    if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT16, &number, NULL))
        return host ? portmap_fail(error, "port %s: want 0 to 65535", text)
                    : portmap_fail(error, "%s port %s: want 1 to 65535", side, text);
    if (number == 0 && !host)
        return portmap_fail(error, "%s port 0 is not a port", side);
    *ret = (uint16_t)number;
    return true;
}

/* @side is a word for messages; @host says that 0 is allowed, for "the kernel picks". */
static bool read_range(const char *text, const char *side, bool host, PortRange *ret,
                       GError **error)
{
    const char *dash = strchr(text, '-');
    g_autofree char *first = dash ? g_strndup(text, (gsize)(dash - text)) : g_strdup(text);
    PortRange range = {0, 0};

    if (!read_port(first, side, host, &range.first, error) ||
        !read_port(dash ? dash + 1 : first, side, host, &range.last, error))
        return false;
    if (range.first > range.last)
        return portmap_fail(error, "%s port range '%s' runs backwards", side, text);
    if (dash && range.first == 0)
        return portmap_fail(error, "%s port range '%s' begins with 0, which is not a port", side,
                            text);
    *ret = range;
    return true;
}

/* Twice the same hole is one hole, so that "all~22:all~22" reads like "all~22". */
static void add_hole(GArray *holes, PortRange hole)
{
    for (unsigned i = 0; i < holes->len; i++) {
        PortRange old = g_array_index(holes, PortRange, i);

        if (old.first == hole.first && old.last == hole.last)
            return;
    }
    g_array_append_val(holes, hole);
}

static bool read_side(const char *text, bool host, Side *side, GError **error)
{
    const char *name = host ? "host" : "guest";
    g_auto(GStrv) words = g_strsplit(text[0] == '\0' ? "0" : text, "~", -1);

    side->holes = g_array_new(FALSE, FALSE, sizeof(PortRange));
    if (words[0][0] == '\0') /* pasta's way to write it */
        return portmap_fail(error, "%s port '%s': write all%s", name, text, text);
    if (g_str_equal(words[0], "all"))
        side->kind = PORTMAP_PORTS_ALL;
    else if (g_str_equal(words[0], "auto"))
        side->kind = PORTMAP_PORTS_AUTO;
    else if (!read_range(words[0], name, host, &side->range, error))
        return false;
    else
        side->kind = side->range.first == 0 ? PORTMAP_PORTS_KERNEL : PORTMAP_PORTS_RANGE;

    if (words[1] && side->kind == PORTMAP_PORTS_KERNEL)
        return portmap_fail(error, "host port '%s': the kernel picks, so nothing can be excluded",
                            text);
    if (words[1] && side->kind == PORTMAP_PORTS_RANGE && !host)
        return portmap_fail(error, "guest port '%s': exclude ports on the host side", text);
    for (char **word = words + 1; *word; word++) {
        PortRange hole;

        if (!read_range(*word, "excluded", false, &hole, error))
            return false;
        if (side->kind == PORTMAP_PORTS_RANGE &&
            (hole.first < side->range.first || hole.last > side->range.last))
            return portmap_fail(error, "excluded port %s lies outside of %s", *word, words[0]);
        add_hole(side->holes, hole);
    }
    return true;
}

static bool is_word(const Side *side)
{
    return side->kind == PORTMAP_PORTS_ALL || side->kind == PORTMAP_PORTS_AUTO;
}

/* "all" or "auto", on both sides or alone: no port is translated, so a hole on either side is the same. */
static bool set_word_ports(PortMap *map, const PortMapParts *parts, const Side *host,
                           const Side *guest, GError **error)
{
    PortMapPorts kind = is_word(host) ? host->kind : guest->kind;

    if (parts->path)
        return portmap_fail(error, "a host socket needs one guest port");
    if (parts->hports && host->kind != guest->kind)
        return portmap_fail(error, "'%s' cannot be translated; use it alone",
                            kind == PORTMAP_PORTS_ALL ? "all" : "auto");
    map->ports_kind = kind;
    map->weak = kind == PORTMAP_PORTS_ALL;
    for (unsigned i = 0; i < guest->holes->len; i++)
        add_hole(map->holes, g_array_index(guest->holes, PortRange, i));
    return true;
}

static bool set_number_ports(PortMap *map, const PortMapParts *parts, const Side *host,
                             const Side *guest, GError **error)
{
    unsigned host_length = (unsigned)(host->range.last - host->range.first) + 1;
    unsigned guest_length = (unsigned)(guest->range.last - guest->range.first) + 1;

    map->ports_kind = host->kind;
    map->guest_ports = guest->range;
    if (parts->path && guest_length != 1)
        return portmap_fail(error, "a host socket needs one guest port");
    /* Like docker's "-p 80-82": each guest port gets a host port of the kernel's choice. */
    if (host->kind == PORTMAP_PORTS_KERNEL)
        return true;
    if (guest_length != 1 && guest_length != host_length)
        return portmap_fail(error, "host range %u-%u and guest range %u-%u differ in length",
                            (unsigned)host->range.first, (unsigned)host->range.last,
                            (unsigned)guest->range.first, (unsigned)guest->range.last);
    map->host_ports = host->range;
    map->first_free = host_length > 1 && guest_length == 1;
    return true;
}

static bool read_ports(PortMap *map, const PortMapParts *parts, GError **error)
{
    g_auto(Side) host = {0};
    g_auto(Side) guest = {0};
    g_autofree uint8_t *ports = NULL;

    if (!read_side(parts->hports ? parts->hports : "", true, &host, error))
        return false;
    if (parts->gports[0] == '\0')
        return portmap_fail(error, "guest port is missing");
    if (!read_side(parts->gports, false, &guest, error))
        return false;

    map->holes = g_array_ref(host.holes);
    if (is_word(&host) || is_word(&guest)) {
        if (!set_word_ports(map, parts, &host, &guest, error))
            return false;
    } else if (!set_number_ports(map, parts, &host, &guest, error)) {
        return false;
    }
    if (map->holes->len > 0) {
        ports = g_malloc(G_MAXUINT16 + 1);
        if (portmap_mark_host_ports(map, ports) == 0)
            return portmap_fail(error, "every host port is excluded");
    }
    return true;
}

static bool read_protocol(const char *text, unsigned *ret, GError **error)
{
    static const struct {
        const char *name;
        unsigned protocols;
    } names[] = {
        {"tcp", PORTMAP_ALL_TCP},
        {"udp", PORTMAP_ALL_UDP},
        {"tcp4", PORTMAP_TCP4},
        {"tcp6", PORTMAP_TCP6},
        {"udp4", PORTMAP_UDP4},
        {"udp6", PORTMAP_UDP6},
        {"tcp+udp", PORTMAP_ALL_TCP | PORTMAP_ALL_UDP},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (g_ascii_strcasecmp(text, names[i].name) == 0) {
            *ret = names[i].protocols;
            return true;
        }
    }
    if (g_ascii_strcasecmp(text, "sctp") == 0)
        return portmap_fail(error, "protocol '%s' is not supported; use tcp or udp", text);
    return portmap_fail(error, "protocol '%s': want tcp, udp, tcp4, tcp6, udp4, udp6 or tcp+udp",
                        text);
}

/* Only what has a meaning in the grammar can be escaped: no escape makes a control character. */
static char *unescape(const char *text)
{
    static const char escapable[] = ":,%[]";
    GString *plain = g_string_new(NULL);

    for (; *text != '\0'; text++) {
        char c = *text;

        if (c == '%') {
            int high = g_ascii_xdigit_value(text[1]);
            int low = high < 0 ? -1 : g_ascii_xdigit_value(text[2]);

            if (low < 0 || high * 16 + low == 0 || !strchr(escapable, high * 16 + low)) {
                (void)g_string_free(plain, TRUE);
                return NULL;
            }
            c = (char)(high * 16 + low);
            text += 2;
        }
        g_string_append_c(plain, c);
    }
    return g_string_free(plain, FALSE);
}

static bool read_path(const char *text, char **ret, GError **error)
{
    g_autofree char *path = unescape(text);

    if (text[0] == '\0')
        return portmap_fail(error, "socket path is missing");
    if (!path)
        return portmap_fail(error, "socket path '%s': write '%%' as %%25", text);
    if (path[0] != '/' && path[0] != '@')
        return portmap_fail(error, "socket path '%s' must start with '/' or '@'", path);
    if (path[1] == '\0')
        return portmap_fail(error, "socket path '%s' has no name", path);
    if (strlen(path) > UNIX_PATH_MAX)
        return portmap_fail(error, "socket path '%s' is longer than %zu bytes", path,
                            UNIX_PATH_MAX);
    *ret = g_steal_pointer(&path);
    return true;
}

bool portmap_read_parts(PortMap *map, const PortMapParts *parts, GError **error)
{
    PortMapListen listen = {.kind = PORTMAP_HOST_UNSET};

    if (parts->path) {
        if (!read_path(parts->path, &map->unix_path, error))
            return false;
        listen.kind = PORTMAP_HOST_UNIX;
    } else if (parts->host && !portmap_read_listen(parts->host, &listen, error)) {
        return false;
    }
    map->host_kind = listen.kind;
    map->host_addr = listen.addr;
    memcpy(map->ifname, listen.ifname, sizeof(map->ifname));

    if (parts->gaddr && !portmap_read_guest_addr(parts->gaddr, &map->guest_addr, error))
        return false;
    if (!read_ports(map, parts, error) ||
        !read_protocol(parts->proto ? parts->proto : "tcp", &map->protocols, error))
        return false;
    if (parts->path && (map->protocols & PORTMAP_ALL_UDP) != 0)
        return portmap_fail(error, "a host socket forwards streams only; drop /%s", parts->proto);
    if (parts->path && map->protocols != PORTMAP_ALL_TCP)
        return portmap_fail(error, "a host socket has no address family; drop /%s", parts->proto);
    return portmap_restrict_protocols(&listen, map->protocols, &map->protocols, error);
}
