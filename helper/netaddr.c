/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * netaddr.c - IPv4 and IPv6 addresses as values: text, socket addresses, networks, policy classes
 *
 * Does:     turns text and socket addresses into NetAddr and back; says which addresses are special.
 * Trusts:   nothing it is given as text or as bytes; only that pointers are valid.
 * Limits:   NETADDR_STRLEN bytes for any address as text.
 * Not here: which classes are allowed and what the host's own addresses are (gate.c); names (the
 *           resolver). Only netaddr_parse_scoped() asks the kernel anything: the interface's index.
 */
#include "config.h"

#include "netaddr.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "fd.h"

#define V4_BITS  32
#define V6_BITS  128
#define V6_BYTES 16

G_DEFINE_QUARK(netaddr - error - quark, netaddr_error)

/* One row of a table of networks; @bytes in network byte order. */
typedef struct SpecialV4 {
    uint32_t net;
    unsigned prefix;
} SpecialV4;

typedef struct SpecialV6 {
    uint8_t bytes[V6_BYTES];
    unsigned prefix;
} SpecialV6;

/* AWS and most others, ECS tasks, EKS pod identity, Alibaba, Azure's wire server, Oracle. */
static const SpecialV4 metadata_v4[] = {
    {0xa9fea9fe, 32}, /* 169.254.169.254 */
    {0xa9feaa02, 32}, /* 169.254.170.2 */
    {0xa9feaa17, 32}, /* 169.254.170.23 */
    {0x646464c8, 32}, /* 100.100.100.200 */
    {0xa83f8110, 32}, /* 168.63.129.16 */
    {0xc00000c0, 32}, /* 192.0.0.192 */
};

static const SpecialV6 metadata_v6[] = {
    /* fd00:ec2::254, fd00:ec2::23: AWS; fd20:ce::254: Google */
    {{0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54}, 128},
    {{0xfd, 0x00, 0x0e, 0xc2, [15] = 0x23}, 128},
    {{0xfd, 0x20, 0x00, 0xce, [14] = 0x02, [15] = 0x54}, 128},
};

static const SpecialV4 link_local_v4[] = {{0xa9fe0000, 16}};
static const SpecialV6 link_local_v6[] = {{{0xfe, 0x80}, 10}};

static const SpecialV4 never_v4[] = {
    {0x00000000, 8}, /* Linux takes 0.0.0.0 for the local host */
    {0x7f000000, 8},
    {0xe0000000, 4}, /* multicast */
    {0xf0000000, 4}, /* class E, limited broadcast */
};

/* The mapped and the translated form (RFC 2765) are for the inside of hosts and must not be on a link. */
static const SpecialV6 never_v6[] = {
    {{0}, 96}, /* ::, ::1 and the IPv4-compatible addresses, which nobody uses any more */
    {{0xff}, 8},
    {{[10] = 0xff, [11] = 0xff}, 96},
    {{[8] = 0xff, [9] = 0xff}, 96},
};

/* RFC 6052, RFC 8215, RFC 3056: where the IPv4 address begins. */
static const struct {
    SpecialV6 net;
    unsigned offset;
} embedding[] = {
    {{{0x00, 0x64, 0xff, 0x9b}, 96}, 12},
    {{{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48}, 12},
    {{{0x20, 0x02}, 16}, 2},
    {{{[10] = 0xff, [11] = 0xff}, 96}, 12},
    {{{0}, 96}, 12},
};

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned rest = bits % 8;

    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool in_v4_table(uint32_t host_order, const SpecialV4 *table, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        if ((host_order ^ table[i].net) >> (V4_BITS - table[i].prefix) == 0)
            return true;
    }
    return false;
}

static bool in_v6_table(const struct in6_addr *addr, const SpecialV6 *table, size_t rows)
{
    for (size_t i = 0; i < rows; i++) {
        if (bits_equal(addr->s6_addr, table[i].bytes, table[i].prefix))
            return true;
    }
    return false;
}

bool netaddr_parse(const char *text, NetAddr *ret)
{
    NetAddr addr = {0};

    g_return_val_if_fail(text != NULL && ret != NULL, false);

    if (inet_pton(AF_INET, text, &addr.v4) == 1) {
        addr.family = AF_INET;
    } else if (inet_pton(AF_INET6, text, &addr.v6) == 1) {
        addr.family = AF_INET6;
    } else {
        return false;
    }
    *ret = addr;
    return true;
}

/* if_nametoindex(3) and its like ask by a socket of AF_UNIX, which is the end of a process that is locked down (lockdown/calls.c). */
static bool ask_interface(unsigned long what, struct ifreq *request)
{
    FD_AUTO fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    return fd >= 0 && ioctl(fd, what, request) == 0;
}

unsigned netaddr_ifindex(const char *name)
{
    struct ifreq request = {.ifr_ifindex = 0};

    return g_strlcpy(request.ifr_name, name, sizeof(request.ifr_name)) < sizeof(request.ifr_name) &&
                   ask_interface(SIOCGIFINDEX, &request)
               ? (unsigned)request.ifr_ifindex
               : 0;
}

/* 0 if there is no such interface. A name goes first: the kernel allows one that is all digits. */
static uint32_t scope_from_text(const char *text)
{
    struct ifreq request = {.ifr_ifindex = 0};
    guint64 number;
    unsigned index;

    if (strlen(text) >= IF_NAMESIZE)
        return 0;
    index = netaddr_ifindex(text);
    if (index != 0)
        return index;
    if (!g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT32, &number, NULL))
        return 0;
    request.ifr_ifindex = (int)number;
    return ask_interface(SIOCGIFNAME, &request) ? (uint32_t)number : 0;
}

bool netaddr_parse_scoped(const char *text, NetAddr *ret)
{
    const char *percent;
    g_autofree char *plain = NULL;
    NetAddr addr;

    g_return_val_if_fail(text != NULL && ret != NULL, false);

    percent = strchr(text, '%');
    if (!percent)
        return netaddr_parse(text, ret);

    plain = g_strndup(text, (gsize)(percent - text));
    if (!netaddr_parse(plain, &addr) || addr.family != AF_INET6)
        return false;
    addr.scope_id = scope_from_text(percent + 1);
    if (addr.scope_id == 0)
        return false;
    *ret = addr;
    return true;
}

const char *netaddr_format(const NetAddr *addr, char buf[NETADDR_STRLEN])
{
    char text[INET6_ADDRSTRLEN] = "none";

    if (addr->family == AF_INET)
        (void)inet_ntop(AF_INET, &addr->v4, text, sizeof(text)); /* the room is enough */
    else if (addr->family == AF_INET6)
        (void)inet_ntop(AF_INET6, &addr->v6, text, sizeof(text));

    if (addr->family == AF_INET6 && addr->scope_id != 0)
        g_snprintf(buf, NETADDR_STRLEN, "%s%%%" PRIu32, text, addr->scope_id);
    else
        g_strlcpy(buf, text, NETADDR_STRLEN);
    return buf;
}

const char *netaddr_format_port(const NetAddr *addr, uint16_t port, char buf[NETADDR_STRLEN])
{
    char text[NETADDR_STRLEN];

    netaddr_format(addr, text);
    /* No loss: the longest text, 39 bytes and a scope of 11, leaves 13 of NETADDR_STRLEN for the rest. */
    if (addr->family == AF_INET6)
        g_snprintf(buf, NETADDR_STRLEN, "[%s]:%u", text, (unsigned)port);
    else
        g_snprintf(buf, NETADDR_STRLEN, "%s:%u", text, (unsigned)port);
    return buf;
}

bool netaddr_equal(const NetAddr *a, const NetAddr *b)
{
    if (a->family != b->family)
        return false;
    if (a->family == AF_INET)
        return a->v4.s_addr == b->v4.s_addr;
    if (a->family == AF_INET6)
        return memcmp(&a->v6, &b->v6, sizeof(a->v6)) == 0;
    return true;
}

NetAddr netaddr_from_v4(uint32_t host_order)
{
    NetAddr addr = {.family = AF_INET};

    addr.v4.s_addr = htonl(host_order);
    return addr;
}

NetAddr netaddr_from_bytes(sa_family_t family, const uint8_t *bytes)
{
    NetAddr addr = {0};

    if (family == AF_INET)
        memcpy(&addr.v4, bytes, sizeof(addr.v4));
    else if (family == AF_INET6)
        memcpy(&addr.v6, bytes, sizeof(addr.v6));
    else
        return addr;
    addr.family = family;
    return addr;
}

void netaddr_virtual_mac(const NetAddr *addr, uint8_t *ret_mac)
{
    bool v6 = addr->family == AF_INET6;

    ret_mac[0] = 0x52;
    ret_mac[1] = v6 ? 0x56 : 0x55;
    memcpy(ret_mac + 2, v6 ? addr->v6.s6_addr + 12 : (const uint8_t *)&addr->v4, 4);
}

NetAddr netaddr_any(sa_family_t family)
{
    static const uint8_t zeros[V6_BYTES];

    return netaddr_from_bytes(family, zeros);
}

NetAddr netaddr_loopback(sa_family_t family)
{
    NetAddr addr;

    if (family == AF_INET)
        return netaddr_from_v4(INADDR_LOOPBACK);
    addr = netaddr_any(family);
    if (family == AF_INET6)
        addr.v6.s6_addr[V6_BYTES - 1] = 1;
    return addr;
}

bool netaddr_is_any(const NetAddr *addr)
{
    NetAddr any = netaddr_any(addr->family);

    return any.family != AF_UNSPEC && netaddr_equal(addr, &any);
}

bool netaddr_is_loopback(const NetAddr *addr)
{
    if (addr->family == AF_INET)
        return ntohl(addr->v4.s_addr) >> 24 == 127;
    return addr->family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&addr->v6);
}

bool netaddr_is_multicast(const NetAddr *addr)
{
    if (addr->family == AF_INET)
        return ntohl(addr->v4.s_addr) >> 28 == 0xe;
    return addr->family == AF_INET6 && addr->v6.s6_addr[0] == 0xff;
}

NetAddr netaddr_unmap(const NetAddr *addr)
{
    if (addr->family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&addr->v6))
        return netaddr_from_bytes(AF_INET, &addr->v6.s6_addr[12]);
    return *addr;
}

socklen_t netaddr_to_sockaddr(const NetAddr *addr, uint16_t port, struct sockaddr_storage *ret)
{
    struct sockaddr_in sin = {.sin_family = AF_INET};
    struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};

    memset(ret, 0, sizeof(*ret));
    if (addr->family == AF_INET) {
        sin.sin_port = htons(port);
        sin.sin_addr = addr->v4;
        memcpy(ret, &sin, sizeof(sin));
        return sizeof(sin);
    }
    if (addr->family == AF_INET6) {
        sin6.sin6_port = htons(port);
        sin6.sin6_addr = addr->v6;
        sin6.sin6_scope_id = addr->scope_id;
        memcpy(ret, &sin6, sizeof(sin6));
        return sizeof(sin6);
    }
    return 0;
}

bool netaddr_from_sockaddr(const struct sockaddr *sa, NetAddr *ret, uint16_t *ret_port)
{
    NetAddr addr = {0};
    uint16_t port;

    /* Copied out, because the caller's buffer need not be aligned for the family's own type. */
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in sin;

        memcpy(&sin, sa, sizeof(sin));
        addr.v4 = sin.sin_addr;
        port = ntohs(sin.sin_port);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 sin6;

        memcpy(&sin6, sa, sizeof(sin6));
        addr.v6 = sin6.sin6_addr;
        addr.scope_id = sin6.sin6_scope_id;
        port = ntohs(sin6.sin6_port);
    } else {
        return false;
    }
    addr.family = sa->sa_family;
    *ret = addr;
    if (ret_port)
        *ret_port = port;
    return true;
}

static unsigned family_bits(sa_family_t family)
{
    return family == AF_INET ? V4_BITS : V6_BITS;
}

/* Here and below v6 stands for the bytes of both families: the two begin at the same byte of the union. */
static bool host_bits_set(const NetAddr *addr, unsigned prefix)
{
    const uint8_t *bytes = addr->v6.s6_addr;
    unsigned bits = family_bits(addr->family);

    for (unsigned i = prefix; i < bits; i++) {
        if (bytes[i / 8] & (0x80U >> (i % 8)))
            return true;
    }
    return false;
}

bool netcidr_parse(const char *text, sa_family_t family, NetCidr *ret, GError **error)
{
    const char *slash;
    g_autofree char *host = NULL;
    NetCidr cidr = {0};
    guint64 prefix = 0;
    unsigned bits = family_bits(family);

    g_return_val_if_fail(text != NULL && ret != NULL, false);
    g_return_val_if_fail(family == AF_INET || family == AF_INET6, false);

    slash = strchr(text, '/');
    if (slash)
        host = g_strndup(text, (gsize)(slash - text));
    if (!slash || !netaddr_parse(host, &cidr.net) || cidr.net.family != family ||
        slash[1] == '\0' || strspn(slash + 1, "0123456789") != strlen(slash + 1)) {
        g_set_error(error, NETADDR_ERROR, NETADDR_ERROR_SYNTAX,
                    "'%s' is not a network of the form %s", text,
                    family == AF_INET ? "10.0.2.0/24" : "fd00::/64");
        return false;
    }
    if (!g_ascii_string_to_unsigned(slash + 1, 10, 0, bits, &prefix, NULL)) {
        g_set_error(error, NETADDR_ERROR, NETADDR_ERROR_RANGE,
                    "prefix length of '%s': want 0 to %u", text, bits);
        return false;
    }
    if (host_bits_set(&cidr.net, (unsigned)prefix)) {
        g_set_error(error, NETADDR_ERROR, NETADDR_ERROR_HOST_BITS,
                    "'%s' has bits set behind its prefix: it is a host, not a network", text);
        return false;
    }
    cidr.prefix = (uint8_t)prefix;
    *ret = cidr;
    return true;
}

bool netcidr_contains(const NetCidr *cidr, const NetAddr *addr)
{
    if (addr->family != cidr->net.family)
        return false;
    if (addr->family != AF_INET && addr->family != AF_INET6)
        return false;
    return bits_equal(addr->v6.s6_addr, cidr->net.v6.s6_addr, cidr->prefix);
}

NetAddr netcidr_host(const NetCidr *cidr, uint32_t n)
{
    NetAddr addr = cidr->net;
    uint8_t *bytes = addr.v6.s6_addr;

    for (unsigned i = family_bits(addr.family) / 8; n != 0 && i > 0; i--) {
        /* The host bits are zero, so nothing is carried. */
        bytes[i - 1] |= (uint8_t)n;
        n >>= 8;
    }
    return addr;
}

static NetClass classify_v4(const NetAddr *addr)
{
    uint32_t host_order = ntohl(addr->v4.s_addr);

    /* Metadata first: most of it is link-local, and who allows the link must not get it as well. */
    if (in_v4_table(host_order, metadata_v4, G_N_ELEMENTS(metadata_v4)))
        return NETCLASS_METADATA;
    if (in_v4_table(host_order, never_v4, G_N_ELEMENTS(never_v4)))
        return NETCLASS_NEVER;
    if (in_v4_table(host_order, link_local_v4, G_N_ELEMENTS(link_local_v4)))
        return NETCLASS_LINK_LOCAL;
    return NETCLASS_NONE;
}

NetClass netaddr_classify(const NetAddr *addr)
{
    NetAddr within;

    if (addr->family == AF_INET)
        return classify_v4(addr);
    if (addr->family != AF_INET6)
        return NETCLASS_NEVER; /* no address at all: nothing that policy could allow */
    if (in_v6_table(&addr->v6, metadata_v6, G_N_ELEMENTS(metadata_v6)))
        return NETCLASS_METADATA;
    if (in_v6_table(&addr->v6, never_v6, G_N_ELEMENTS(never_v6)))
        return NETCLASS_NEVER;
    if (in_v6_table(&addr->v6, link_local_v6, G_N_ELEMENTS(link_local_v6)))
        return NETCLASS_LINK_LOCAL;
    if (netaddr_embedded(addr, &within))
        return classify_v4(&within);
    return NETCLASS_NONE;
}

bool netaddr_embedded(const NetAddr *addr, NetAddr *ret_v4)
{
    /* Both lie in ::/96 but are addresses of their own, not 0.0.0.0 and 0.0.0.1. */
    if (addr->family != AF_INET6 || netaddr_is_any(addr) || netaddr_is_loopback(addr))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(embedding); i++) {
        if (in_v6_table(&addr->v6, &embedding[i].net, 1)) {
            *ret_v4 = netaddr_from_bytes(AF_INET, &addr->v6.s6_addr[embedding[i].offset]);
            return true;
        }
    }
    return false;
}

bool netclass_parse_list(const char *text, unsigned *inout_classes, char **ret_bad)
{
    static const struct {
        const char *word;
        NetClass bit;
    } words[] = {
        {"host-loopback", NETCLASS_HOST_LOOPBACK},
        {"host", NETCLASS_HOST},
        {"link-local", NETCLASS_LINK_LOCAL},
        {"metadata", NETCLASS_METADATA},
    };
    g_auto(GStrv) given = g_strsplit(text, ",", -1);
    unsigned classes = *inout_classes;

    if (!given[0]) { /* g_strsplit() makes no word of "" */
        *ret_bad = g_strdup("");
        return false;
    }
    for (char **word = given; *word; word++) {
        size_t i = 0;

        while (i < G_N_ELEMENTS(words) && !g_str_equal(*word, words[i].word))
            i++;
        if (i == G_N_ELEMENTS(words)) {
            *ret_bad = g_strdup(*word);
            return false;
        }
        classes |= words[i].bit;
    }
    *inout_classes = classes;
    return true;
}
