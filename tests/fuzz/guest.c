/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * guest.c - a guest that sends what the fuzzer's input says
 *
 * Does:     makes frames: raw bytes, or TCP, UDP, ARP, NDP and echo with good headers and odd contents, because random bytes
 *           seldom have a good checksum.
 * Why:      zeros stand for the usual, so that an input grows from a plain connection into a strange one.
 */
#include "config.h"

#include "guest.h"

#include <net/ethernet.h>
#include <string.h>

#include "datapath/framebytes.h"

#include "check.h"

static NetAddr addr_of(const char *text)
{
    NetAddr addr = {0};

    FUZZ_CHECK(netaddr_parse(text, &addr), "%s", text);
    return addr;
}

void guest_init(Guest *guest, Bytes *bytes)
{
    uint8_t policy = bytes_u8(bytes);
    uint8_t mode = bytes_u8(bytes);
    bool other = mode & 8;
    GateConfig *config = &guest->config;

    memset(guest, 0, sizeof(*guest));
    guest->judge.host_loopback = policy & 1;
    guest->judge.host = policy & 2;
    guest->judge.link_local = policy & 4;
    guest->judge.metadata = policy & 8;
    config->allow = (policy & 1 ? NETCLASS_HOST_LOOPBACK : 0U) | (policy & 2 ? NETCLASS_HOST : 0U) |
                    (policy & 4 ? NETCLASS_LINK_LOCAL : 0U) | (policy & 8 ? NETCLASS_METADATA : 0U);
    config->ipv6 = !(mode & 1);
    config->dns_enabled = !(mode & 2);
    config->netns_mode = !(mode & 4);
    config->unreachable = mode & 64;
    FUZZ_CHECK(
        netcidr_parse(other ? "172.16.128.0/17" : "10.0.2.0/24", AF_INET, &config->cidr, NULL),
        "cidr");
    FUZZ_CHECK(netcidr_parse(other ? "fd00:0:1234:5678::/64" : "fd00::/64", AF_INET6,
                             &config->cidr6, NULL),
               "cidr6");
    config->gateway = netcidr_host(&config->cidr, 2);
    config->dns = netcidr_host(&config->cidr, 3);
    guest->addr4 = netcidr_host(&config->cidr, 100);
    config->gateway6 = netcidr_host(&config->cidr6, 2);
    config->dns6 = netcidr_host(&config->cidr6, 3);
    guest->addr6 = netcidr_host(&config->cidr6, 100);
    guest->hosts[0] = addr_of("192.0.2.7");
    guest->hosts[1] = addr_of("2001:db8::7");
    guest->hosts[2] = addr_of("169.254.1.1");
    guest->hosts[3] = addr_of("fe80::1");
    guest->judge.hosts = guest->hosts;
    guest->judge.host_count = GUEST_HOSTS;
    guest->judge.net4 = other ? 0xac108000 : 0x0a000200;
    guest->judge.mask4 = other ? 0xffff8000 : 0xffffff00;
    memcpy(guest->judge.net6, &config->cidr6.net.v6, 16);
    guest->judge.prefix6 = 64;
    guest->dns_ports[0] = mode & 16 ? 0 : 5353;
    guest->dns_ports[1] = mode & 32 ? 0 : 5354;
}

Gate *guest_gate(const Guest *guest)
{
    Gate *gate = gate_new(&guest->config);

    gate_set_host_addresses(gate, guest->hosts, GUEST_HOSTS);
    gate_set_dns_tcp_port(gate, AF_INET, guest->dns_ports[0]);
    gate_set_dns_tcp_port(gate, AF_INET6, guest->dns_ports[1]);
    return gate;
}

uint32_t guest_poison(const NetAddr *guest)
{
    uint32_t value = 0;

    if (guest->family == AF_INET6) {
        memcpy(&value, guest->v6.s6_addr + 4, sizeof(value));
    }
    return value;
}

uint8_t guest_byte(const GuestFlow *flow, uint32_t seq)
{
    uint32_t at = seq - flow->iss;

    return (uint8_t)(at * 7 + (at >> 8) * 13 + flow->local_port);
}

bool guest_may_reach(const Guest *guest, const NetAddr *dst, bool *ret_inside)
{
    bool ip4 = dst->family == AF_INET;
    const uint8_t *six = dst->v6.s6_addr;
    /* libslirp answers for the link-local twins of gateway and name server as well. */
    bool twin = !ip4 && six[0] == 0xfe && six[1] == 0x80 &&
                memcmp(six + 2, "\0\0\0\0\0\0", 6) == 0 &&
                (memcmp(six + 8, guest->config.gateway6.v6.s6_addr + 8, 8) == 0 ||
                 memcmp(six + 8, guest->config.dns6.v6.s6_addr + 8, 8) == 0);

    *ret_inside = twin || (ip4 ? (ntohl(dst->v4.s_addr) & guest->judge.mask4) == guest->judge.net4
                               : memcmp(six, guest->judge.net6, 8) == 0);
    if (netaddr_equal(dst, ip4 ? &guest->config.gateway : &guest->config.gateway6)) {
        return guest->judge.host_loopback;
    }
    return !*ret_inside && judge_outside(&guest->judge, dst);
}

GuestFlow *guest_flow(Guest *guest, const NetAddr *local, uint16_t local_port,
                      const NetAddr *remote, uint16_t remote_port)
{
    for (size_t i = 0; i < GUEST_FLOWS; i++) {
        GuestFlow *flow = &guest->flows[i];

        if (flow->used && flow->local_port == local_port && flow->remote_port == remote_port &&
            netaddr_equal(&flow->local, local) && netaddr_equal(&flow->remote, remote)) {
            return flow;
        }
    }
    return NULL;
}

static NetAddr take_remote(const Guest *guest, Bytes *bytes, sa_family_t family)
{
    static const char *const four[] = {"93.184.216.34", "127.0.0.1",       "0.0.0.0",
                                       "192.0.2.7",     "169.254.169.254", "169.254.1.1",
                                       "169.254.9.9",   "224.0.0.1",       "255.255.255.255",
                                       "240.0.0.1",     "100.100.100.200", "10.0.2.9"};
    static const char *const six[] = {"2606:2800:220:1::1",
                                      "::1",
                                      "::",
                                      "2001:db8::7",
                                      "fd00:ec2::254",
                                      "fe80::1",
                                      "fe80::2",
                                      "ff02::1",
                                      "::ffff:127.0.0.1",
                                      "64:ff9b::7f00:1",
                                      "2002:7f00:1::1",
                                      "64:ff9b::a00:209",
                                      "2002:c000:207::",
                                      "64:ff9b:1::a9fe:a9fe",
                                      "fd00::9"};
    uint8_t which = bytes_u8(bytes);
    bool ip4 = family == AF_INET;
    size_t count = ip4 ? G_N_ELEMENTS(four) : G_N_ELEMENTS(six);
    uint8_t raw[16];

    if (which < count) {
        return addr_of(ip4 ? four[which] : six[which]);
    }
    if (which < 64) {
        return ip4 ? guest->config.gateway : guest->config.gateway6;
    }
    if (which < 96) {
        return ip4 ? guest->config.dns : guest->config.dns6;
    }
    if (which < 128) {
        NetCidr net = ip4 ? guest->config.cidr : guest->config.cidr6;

        return netcidr_host(&net, bytes_u8(bytes));
    }
    bytes_copy(bytes, raw, ip4 ? 4 : 16);
    return netaddr_from_bytes(family, raw);
}

static uint16_t take_port(Bytes *bytes)
{
    static const uint16_t ports[] = {80, 53, 67, 69, 547, 5353, 5354, 1};
    uint8_t which = bytes_u8(bytes);

    return which < G_N_ELEMENTS(ports) ? ports[which] : which < 128 ? which : bytes_port(bytes);
}

/* Ethernet and IP headers around @len bytes of @protocol that stand in @out already; returns the frame's length. */
static size_t wrap(const Guest *guest, uint8_t *out, const NetAddr *src, const NetAddr *dst,
                   uint8_t protocol, size_t len)
{
    bool ip4 = src->family == AF_INET;
    uint8_t *ip = out + FRAME_ETH_LEN;

    (void)guest;
    memcpy(out, "\x52\x55\x0a\0\x02\x02\x02\0\0\0\0\x01", 12);
    put16(out + 12, ip4 ? ETHERTYPE_IP : ETHERTYPE_IPV6);
    if (ip4) {
        memset(ip, 0, IP4_LEN);
        ip[0] = 0x45;
        put16(ip + 2, (uint16_t)(IP4_LEN + len));
        ip[8] = 64;
        ip[9] = protocol;
        memcpy(ip + 12, &src->v4, 4);
        memcpy(ip + 16, &dst->v4, 4);
        return FRAME_ETH_LEN + IP4_LEN + len;
    }
    put32(ip, 0x60000000);
    put16(ip + 4, (uint16_t)len);
    ip[6] = protocol;
    ip[7] = protocol == IPPROTO_ICMPV6 ? 255 : 64;
    memcpy(ip + 8, &src->v6, 16);
    memcpy(ip + 24, &dst->v6, 16);
    return FRAME_ETH_LEN + IP6_LEN + len;
}

static size_t l4_at(sa_family_t family)
{
    return FRAME_ETH_LEN + (family == AF_INET ? IP4_LEN : IP6_LEN);
}

/* Good checksums, or not: one bit of the last byte of the header is enough. */
static void finish(uint8_t *out, size_t len, bool good)
{
    FrameView view;

    if (frame_parse(out, len, &view) == FRAME_OK) {
        frame_fix_checksums(out, &view);
        if (!good) {
            out[view.l4 + 3] ^= 1;
        }
    }
}

static void open_flow(Guest *guest, GuestFlow *flow, size_t index, Bytes *bytes)
{
    uint8_t how = bytes_u8(bytes);
    sa_family_t family = how & 1 ? AF_INET6 : AF_INET;

    flow->used = true;
    flow->local = family == AF_INET ? guest->addr4 : guest->addr6;
    flow->local_port = (uint16_t)(40000 + index);
    flow->remote = take_remote(guest, bytes, family);
    flow->remote_port = take_port(bytes);
    flow->iss = how & 2   ? guest_poison(&flow->local) - 1 - bytes_u16(bytes)
                : how & 4 ? bytes_u32(bytes)
                          : 1000;
    flow->next = flow->iss;
}

static uint32_t take_seq(const Guest *guest, const GuestFlow *flow, Bytes *bytes, uint8_t how)
{
    (void)guest;
    switch (how % 8) {
    case 1:
        return flow->next + (uint32_t)(int8_t)bytes_u8(bytes);
    case 2:
        return flow->next + bytes_u16(bytes);
    case 3:
        return guest_poison(&flow->local) - bytes_u8(bytes);
    case 4:
        return flow->iss + bytes_u16(bytes);
    case 5:
        return bytes_u32(bytes);
    default:
        return flow->next;
    }
}

static size_t take_length(Bytes *bytes, uint8_t how)
{
    switch (how / 8 % 8) {
    case 1:
        return 1;
    case 2:
        return bytes_u8(bytes);
    case 3:
        return bytes_u16(bytes) % 9000;
    case 4:
        return bytes_u16(bytes) % 65400;
    default:
        return 0;
    }
}

static size_t make_tcp(Guest *guest, Bytes *bytes, uint8_t *out)
{
    static const uint8_t flags[] = {
        FRAME_TCP_ACK | FRAME_TCP_PSH, FRAME_TCP_SYN, FRAME_TCP_ACK,
        FRAME_TCP_FIN | FRAME_TCP_ACK, FRAME_TCP_RST, FRAME_TCP_RST | FRAME_TCP_ACK,
        FRAME_TCP_URG | FRAME_TCP_ACK};
    uint8_t what = bytes_u8(bytes);
    uint8_t how = bytes_u8(bytes);
    uint8_t kind = what / GUEST_FLOWS % 8;
    size_t index = what % GUEST_FLOWS;
    GuestFlow *flow = &guest->flows[index];
    uint32_t seq;
    size_t len;
    uint8_t *tcp;

    if (!flow->used) {
        open_flow(guest, flow, index, bytes);
    }
    tcp = out + l4_at(flow->local.family);
    memset(tcp, 0, TCP_LEN);
    tcp[TCP_FLAGS] = kind < sizeof(flags) ? flags[kind] : bytes_u8(bytes);
    if (kind == 1 && (what & 0x80)) {
        flow->iss += bytes_u32(bytes);
        flow->next = flow->iss;
        flow->mixed = true; /* bytes of both streams may be under way */
    }
    seq = take_seq(guest, flow, bytes, how);
    len = take_length(bytes, how);
    /* Behind a FIN, which takes a number, there is no stream: whatever libslirp makes of it harms its sender alone. */
    flow->mixed |= flow->finished && len > 0;
    flow->finished |= (tcp[TCP_FLAGS] & FRAME_TCP_FIN) != 0;
    put16(tcp, flow->local_port);
    put16(tcp + 2, flow->remote_port);
    put32(tcp + 4, seq);
    put32(tcp + 8, flow->ack + (how & 0x80 ? (uint32_t)(int8_t)bytes_u8(bytes) : 0));
    tcp[12] = 0x50;
    put16(tcp + 14, how & 0x40 ? bytes_u16(bytes) : 65535);
    put16(tcp + 18, kind == 6 ? bytes_u16(bytes) : 0);
    for (size_t i = 0; i < len; i++) {
        /* A SYN takes a number; data with one begin behind it. */
        tcp[TCP_LEN + i] = guest_byte(flow, seq + (uint32_t)i + !!(tcp[TCP_FLAGS] & FRAME_TCP_SYN));
    }
    if (seq == flow->next) {
        flow->next +=
            (uint32_t)len + !!(tcp[TCP_FLAGS] & FRAME_TCP_SYN) + !!(tcp[TCP_FLAGS] & FRAME_TCP_FIN);
    }
    len = wrap(guest, out, &flow->local, &flow->remote, IPPROTO_TCP, TCP_LEN + len);
    finish(out, len, (how & 0xf8) != 0xf8);
    return len;
}

static size_t make_udp(const Guest *guest, Bytes *bytes, uint8_t *out)
{
    uint8_t how = bytes_u8(bytes);
    sa_family_t family = how & 1 ? AF_INET6 : AF_INET;
    NetAddr dst = take_remote(guest, bytes, family);
    uint8_t *udp = out + l4_at(family);
    size_t len = take_length(bytes, how);
    uint8_t salt = bytes_u8(bytes);

    put16(udp, how & 2 ? 68 : (uint16_t)(50000 + salt));
    put16(udp + 2, take_port(bytes));
    put16(udp + 4, (uint16_t)(UDP_LEN + len));
    put16(udp + 6, 1); /* a checksum, not none */
    for (size_t i = 0; i < len; i++) {
        udp[UDP_LEN + i] = (uint8_t)(i * 3 + salt);
    }
    len = wrap(guest, out, family == AF_INET ? &guest->addr4 : &guest->addr6, &dst, IPPROTO_UDP,
               UDP_LEN + len);
    finish(out, len, (how & 0xf8) != 0xf8);
    return len;
}

static size_t make_icmp(const Guest *guest, Bytes *bytes, uint8_t *out)
{
    static const uint8_t types6[] = {128, 133, 135, 136, 143, 134, 137, 1};
    uint8_t how = bytes_u8(bytes);
    sa_family_t family = how & 1 ? AF_INET6 : AF_INET;
    NetAddr dst = take_remote(guest, bytes, family);
    uint8_t *icmp = out + l4_at(family);
    size_t len;
    const uint8_t *body = bytes_take(bytes, bytes_u8(bytes), &len);

    memset(icmp, 0, ICMP_LEN);
    icmp[0] = family == AF_INET ? (how & 2 ? bytes_u8(bytes) : 8) : types6[how / 2 % 8];
    icmp[1] = how & 0x40 ? bytes_u8(bytes) : 0;
    memcpy(icmp + 4, "\0\x07\0\x01", 4);
    if (len > 0) {
        memcpy(icmp + ICMP_LEN, body, len);
    }
    len = wrap(guest, out, family == AF_INET ? &guest->addr4 : &guest->addr6, &dst,
               family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6, ICMP_LEN + len);
    finish(out, len, how < 0xf8);
    return len;
}

static size_t make_arp(const Guest *guest, Bytes *bytes, uint8_t *out)
{
    uint8_t how = bytes_u8(bytes);
    NetAddr target = take_remote(guest, bytes, AF_INET);
    size_t padding = how & 4 ? bytes_u8(bytes) : 0;

    memcpy(out, "\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01\x08\x06\0\x01\x08\0\x06\x04\0", 21);
    out[21] = how & 1 ? 2 : 1;
    memcpy(out + 22, "\x02\0\0\0\0\x01", 6);
    memcpy(out + 28, &guest->addr4.v4, 4);
    memset(out + 32, 0, 6);
    memcpy(out + 38, &target.v4, 4);
    if (how & 2) {
        bytes_copy(bytes, out + 28, 4);
    }
    memset(out + 42, 0xaa, padding);
    return 42 + padding;
}

static size_t make_raw(Bytes *bytes, uint8_t *out)
{
    size_t len = bytes_u16(bytes);
    size_t there;
    const uint8_t *at = bytes_take(bytes, len, &there);
    FrameView view;

    if (there > 0) {
        memcpy(out, at, there);
    }
    /* Half of them are given good checksums: that part nobody need find by chance. */
    if (bytes_u8(bytes) % 2 == 0 && frame_parse(out, there, &view) == FRAME_OK) {
        frame_fix_checksums(out, &view);
    }
    return there;
}

size_t guest_frame(Guest *guest, Bytes *bytes, uint8_t *out)
{
    unsigned kind = bytes_below(bytes, 8);

    guest->raw = kind == 7;
    switch (kind) {
    case 0:
    case 1:
    case 2:
        return make_tcp(guest, bytes, out);
    case 3:
    case 4:
        return make_udp(guest, bytes, out);
    case 5:
        return make_icmp(guest, bytes, out);
    case 6:
        return make_arp(guest, bytes, out);
    default:
        return make_raw(bytes, out);
    }
}
