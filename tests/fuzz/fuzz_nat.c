/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fuzz_nat.c - gate, natshare, nat, natflows and the real libslirp on a network that fails, gives little, and has a clock of its own
 *
 * Oracles:  bytes that reach a peer are bytes the guest sent on that flow, in order and not one more; what reaches the guest is
 *           what a peer sent; a datagram leaves once, as it came; nothing is connected or sent to an address that the policy
 *           refuses; sockets and memory stay within their caps; no more flows are listed than there are sockets, each of an open
 *           one and with no more bytes than went through it; when all is quiet nothing is polled for ever, and in the end
 *           nothing is open.
 * Not here: the fast path, whose sockets are the kernel's.
 */
#include "config.h"

#include <net/ethernet.h>
#include <sys/epoll.h>

#include <sanitizer/allocator_interface.h>

#include "datapath/framebytes.h"
#include "datapath/gate.h"
#include "datapath/nat.h"
#include "datapath/natflows.h"
#include "datapath/natshare.h"

#include "bytes.h"
#include "check.h"
#include "fakenet.h"
#include "guest.h"

#define LEDGERS 64
/* Sockets of libslirp's; each may cost 256 KiB of buffers, and as much again in segments out of order. */
#define SOCKETS_MAX 6
#define MEMORY_MAX  (32U << 20)

/**
 * struct Ledger - what went in and out of one socket of libslirp's
 * @guest, @remote: as libslirp sees them: behind the gate
 * @flow:    the guest's own view; NULL if its frames were raw
 * @syn_seq: of the SYN that made it
 * @in:      bytes of data that frames brought since then
 * @out:     bytes that reached the peer
 * @fins:    frames that said they were the last
 * @salt:    of what the peer sends; @irs: libslirp's first number, if @has_irs
 */
typedef struct Ledger {
    NetAddr guest;
    NetAddr remote;
    uint16_t guest_port;
    uint16_t remote_port;
    uint8_t protocol;
    bool has_irs;
    uint8_t salt;
    GuestFlow *flow;
    uint32_t syn_seq;
    uint32_t irs;
    uint64_t in;
    uint64_t out;
    uint64_t fins;
} Ledger;

static struct {
    Guest guest;
    Gate *gate;
    Nat *nat;
    NatShare *share;
    NatFlows *flows;
    unsigned mtu;
    bool inside; /* libslirp is looking at a frame: @sent by the guest, @view behind the gate */
    FrameView sent;
    FrameView view;
    const uint8_t *frame;
    unsigned datagrams; /* that left because of it */
    size_t longest;     /* frame of the guest so far */
    size_t ledger_count;
    Ledger ledgers[LEDGERS];
} fuzz;

static uint8_t frame[FRAME_MAX];

static Ledger *ledger_of(const NetAddr *guest, uint16_t guest_port, const NetAddr *remote,
                         uint16_t remote_port, uint8_t protocol)
{
    for (size_t i = 0; i < fuzz.ledger_count; i++) {
        Ledger *ledger = &fuzz.ledgers[i];

        if (ledger->protocol == protocol && ledger->guest_port == guest_port &&
            netaddr_equal(&ledger->guest, guest) &&
            (protocol == IPPROTO_UDP ||
             (ledger->remote_port == remote_port && netaddr_equal(&ledger->remote, remote)))) {
            return ledger;
        }
    }
    return NULL;
}

/* Of the frame that libslirp is looking at; what was known of its flow is forgotten. */
static Ledger *ledger_begin(FakeSocket *sock)
{
    const FrameView *view = &fuzz.view;
    Ledger *ledger =
        ledger_of(&view->src, view->src_port, &view->dst, view->dst_port, view->protocol);
    size_t index = (size_t)view->src_port - 40000;

    if (ledger == NULL) {
        FUZZ_CHECK(fuzz.ledger_count < LEDGERS, "more flows than an input has frames for");
        ledger = &fuzz.ledgers[fuzz.ledger_count++];
    }
    *ledger = (Ledger){.guest = view->src,
                       .remote = view->dst,
                       .guest_port = view->src_port,
                       .remote_port = view->dst_port,
                       .protocol = view->protocol,
                       .salt = sock->salt,
                       .syn_seq = view->seq};
    if (index < GUEST_FLOWS && netaddr_equal(&fuzz.guest.flows[index].local, &view->src)) {
        ledger->flow = &fuzz.guest.flows[index];
    }
    sock->owner = ledger;
    return ledger;
}

/* The final word on an address, whoever asks for it. */
static void check_allowed(const NetAddr *addr, uint16_t port)
{
    const GateConfig *config = &fuzz.guest.config;
    bool ip4 = fuzz.sent.dst.family == AF_INET;
    bool to_dns = config->dns_enabled && fuzz.sent.protocol == IPPROTO_TCP &&
                  fuzz.sent.dst_port == 53 &&
                  netaddr_equal(&fuzz.sent.dst, ip4 ? &config->dns : &config->dns6);
    bool to_gateway = netaddr_equal(&fuzz.sent.dst, ip4 ? &config->gateway : &config->gateway6);
    char text[NETADDR_STRLEN];

    FUZZ_CHECK(fuzz.inside, "%s, and no frame asked for it", netaddr_format(addr, text));
    if (addr->family == AF_INET ? addr->v4.s_addr == htonl(INADDR_LOOPBACK)
                                : IN6_IS_ADDR_LOOPBACK(&addr->v6)) {
        FUZZ_CHECK((to_gateway && fuzz.guest.judge.host_loopback && port == fuzz.sent.dst_port) ||
                       (to_dns && port != 0 && port == fuzz.guest.dns_ports[!ip4]),
                   "%s, port %u", netaddr_format(addr, text), port);
        return;
    }
    FUZZ_CHECK(judge_outside(&fuzz.guest.judge, addr), "%s", netaddr_format(addr, text));
    FUZZ_CHECK(netaddr_equal(addr, &fuzz.sent.dst) && port == fuzz.sent.dst_port,
               "%s is not where the guest wanted to go", netaddr_format(addr, text));
}

/* FakeHooks.connect */
static void on_connect(FakeSocket *sock, const NetAddr *addr, uint16_t port)
{
    check_allowed(addr, port);
    FUZZ_CHECK(sock->type == SOCK_STREAM && fuzz.view.protocol == IPPROTO_TCP &&
                   (fuzz.view.tcp_flags & FRAME_TCP_SYN),
               "connected without a SYN");
    (void)ledger_begin(sock);
}

/* FakeHooks.stream */
static void on_stream(FakeSocket *sock, const uint8_t *data, size_t len)
{
    Ledger *ledger = sock->owner;

    FUZZ_CHECK(ledger != NULL, "a stream of nobody");
    FUZZ_CHECK(ledger->out + len <= ledger->in,
               "%zu bytes more, %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " sent", len,
               ledger->out, ledger->in);
    for (size_t i = 0; ledger->flow != NULL && !ledger->flow->mixed && i < len; i++) {
        uint8_t want =
            guest_byte(ledger->flow, ledger->syn_seq + 1 + (uint32_t)ledger->out + (uint32_t)i);

        FUZZ_CHECK(data[i] == want, "byte %" G_GUINT64_FORMAT " of the stream is %02x, not %02x",
                   ledger->out + i, data[i], want);
    }
    ledger->out += len;
}

/* FakeHooks.datagram */
static void on_datagram(FakeSocket *sock, const uint8_t *data, size_t len, const NetAddr *to,
                        uint16_t port)
{
    check_allowed(to, port);
    FUZZ_CHECK(fuzz.view.protocol == IPPROTO_UDP && ++fuzz.datagrams == 1,
               "datagram %u of one frame", fuzz.datagrams);
    FUZZ_CHECK(len == fuzz.view.end - fuzz.view.payload &&
                   (len == 0 || memcmp(data, fuzz.frame + fuzz.view.payload, len) == 0),
               "%zu bytes, other ones than the guest sent", len);
    (void)ledger_begin(sock);
}

static void check_to_guest(const uint8_t *at, const FrameView *view)
{
    Ledger *ledger =
        ledger_of(&view->dst, view->dst_port, &view->src, view->src_port, view->protocol);
    size_t len = view->end - view->payload;
    uint64_t place = 0;

    if (view->protocol == IPPROTO_TCP && ledger != NULL &&
        (view->tcp_flags & (FRAME_TCP_SYN | FRAME_TCP_ACK)) == (FRAME_TCP_SYN | FRAME_TCP_ACK)) {
        ledger->irs = view->seq;
        ledger->has_irs = true;
    }
    if (len == 0) {
        return;
    }
    if (view->protocol == IPPROTO_TCP) {
        FUZZ_CHECK(ledger != NULL && ledger->has_irs, "data of nobody");
        place = view->seq - ledger->irs - 1;
    } else if (view->protocol == IPPROTO_UDP) {
        FUZZ_CHECK(ledger != NULL, "a datagram of nobody");
    } else {
        /* An ICMP error quotes what the guest sent; NDP has a length of its own. */
        FUZZ_CHECK(len <= MAX(fuzz.longest, 64), "%zu bytes of ICMP", len);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t want = fakenet_byte(ledger->salt, place + i);

        FUZZ_CHECK(at[view->payload + i] == want,
                   "byte %zu of %zu is %02x, not %02x: nobody sent that", i, len,
                   at[view->payload + i], want);
    }
}

/* NatHooks.send, as the datapath has it. */
static void on_send(const uint8_t *sent, size_t len, void *user_data)
{
    g_autofree uint8_t *copy = fuzz_exact(sent, len);
    FrameView view;
    GuestFlow *flow;

    (void)user_data;
    /* Datagrams over IPv6 it cuts into no pieces. */
    FUZZ_CHECK(len <= MAX(fuzz.mtu + FRAME_ETH_LEN, 64) ||
                   (len <= FRAME_MAX && get16(copy + 12) == ETHERTYPE_IPV6 &&
                    copy[FRAME_ETH_LEN + 6] == IPPROTO_UDP),
               "%zu bytes to the guest", len);
    if (frame_parse(copy, len, &view) == FRAME_OK) {
        check_to_guest(copy, &view);
        /* An answer of 42 bytes; libslirp sends 64. */
        for (size_t i = view.end; view.ethertype == ETHERTYPE_ARP && i < len; i++) {
            FUZZ_CHECK(copy[i] == 0, "padding of an ARP frame");
        }
    }
    natflows_to_guest(fuzz.flows, copy, len);
    gate_reply(fuzz.gate, copy, len);
    if (frame_parse(copy, len, &view) != FRAME_OK || view.protocol != IPPROTO_TCP) {
        return;
    }
    flow = guest_flow(&fuzz.guest, &view.dst, view.dst_port, &view.src, view.src_port);
    if (flow != NULL) {
        flow->ack = view.seq + (uint32_t)(view.end - view.payload) +
                    !!(view.tcp_flags & FRAME_TCP_SYN) + !!(view.tcp_flags & FRAME_TCP_FIN);
    }
}

/* NatHooks.opened */
static void on_opened(int fd, const FrameView *view, void *user_data)
{
    (void)user_data;
    FUZZ_CHECK(fuzz.inside, "a socket that no frame asked for");
    natflows_opened(fuzz.flows, fd, view);
}

/* NatHooks.closed */
static void on_closed(int fd, void *user_data)
{
    (void)user_data;
    natflows_closed(fuzz.flows, fd);
}

/* NatHooks.log */
static void on_log(const char *message, void *user_data)
{
    (void)message;
    (void)user_data;
}

static void note_frame(size_t len)
{
    FrameView view;
    Ledger *ledger;

    fuzz.longest = MAX(fuzz.longest, len);
    if (fuzz.guest.raw) {
        size_t index;

        if (frame_parse(frame, len, &view) == FRAME_OK &&
            (index = (size_t)view.src_port - 40000) < GUEST_FLOWS) {
            fuzz.guest.flows[index].mixed = true;
        }
    }
    if (fuzz.inside && fuzz.view.protocol == IPPROTO_TCP) {
        ledger = ledger_of(&fuzz.view.src, fuzz.view.src_port, &fuzz.view.dst, fuzz.view.dst_port,
                           IPPROTO_TCP);
        if (ledger != NULL) {
            ledger->in += fuzz.view.end - fuzz.view.payload;
            ledger->fins += (fuzz.view.tcp_flags & FRAME_TCP_FIN) != 0;
        }
    }
}

/* What datapath_frame() does of it, without the fast path. */
static void from_guest(Bytes *bytes)
{
    size_t len = guest_frame(&fuzz.guest, bytes, frame);
    uint8_t *exact;
    GateReason reason;
    GateVerdict verdict;

    note_frame(len);
    fuzz.sent = (FrameView){0};
    (void)frame_parse(frame, len, &fuzz.sent);
    verdict = gate_judge(fuzz.gate, frame, &len, &fuzz.view, &reason);
    if ((verdict != GATE_NAT && verdict != GATE_TCP_SYN) ||
        !natshare_admits(fuzz.share, &fuzz.view)) {
        return;
    }
    exact = fuzz_exact(frame, len);
    fuzz.inside = true;
    fuzz.frame = frame;
    fuzz.datagrams = 0;
    fuzz.guest.raw = false;
    note_frame(len);
    natflows_from_guest(fuzz.flows, &fuzz.view);
    nat_input(fuzz.nat, exact, len, &fuzz.view);
    fuzz.inside = false;
    g_free(exact);
}

/* FlowListFunc. Each end that the guest claims may count for one byte. */
static bool check_flow(const FlowRecord *record, void *user_data)
{
    FlowTotal *sum = user_data;
    const Ledger *ledger =
        ledger_of(&record->guest_local.addr, record->guest_local.port, &record->guest_remote.addr,
                  record->guest_remote.port, record->protocol);
    const FakeSocket *sock;

    FUZZ_CHECK(record->host_local.addr.family != AF_UNSPEC, "a flow whose socket is closed");
    for (unsigned i = 0; record->protocol == IPPROTO_TCP && (sock = fakenet_nth(i)) != NULL; i++) {
        if (ledger != NULL && sock->owner == ledger && sock->type == SOCK_STREAM &&
            sock->local_port == record->host_local.port) {
            FUZZ_CHECK(record->bytes_in <= sock->in_at &&
                           record->bytes_out <= ledger->in + ledger->fins,
                       "%" G_GUINT64_FORMAT " bytes in, %" G_GUINT64_FORMAT " out",
                       record->bytes_in, record->bytes_out);
        }
    }
    sum->now++;
    sum->bytes_in += record->bytes_in;
    sum->bytes_out += record->bytes_out;
    return true;
}

static void check_flows(unsigned sockets)
{
    FlowTotal tcp = natflows_total(fuzz.flows, IPPROTO_TCP);
    FlowTotal udp = natflows_total(fuzz.flows, IPPROTO_UDP);
    FlowTotal sum = {0};
    FlowList list = {check_flow, &sum, 2 * SOCKETS_MAX};

    FUZZ_CHECK(natflows_page(fuzz.flows, 0, &list) == FLOW_PLACE_END, "more places than sockets");
    FUZZ_CHECK(sum.now <= sockets && sum.now == tcp.now + udp.now,
               "%" G_GUINT64_FORMAT " flows of %u sockets", sum.now, sockets);
    FUZZ_CHECK(tcp.now <= tcp.ever && udp.now <= udp.ever &&
                   sum.bytes_in <= tcp.bytes_in + udp.bytes_in &&
                   sum.bytes_out <= tcp.bytes_out + udp.bytes_out,
               "totals of less than there is");
}

static void check_caps(void)
{
    check_flows(nat_sockets(fuzz.nat));
    FUZZ_CHECK(fakenet_open() <= SOCKETS_MAX && nat_sockets(fuzz.nat) <= SOCKETS_MAX,
               "%u sockets, %u known", fakenet_open(), nat_sockets(fuzz.nat));
    FUZZ_CHECK(__sanitizer_get_current_allocated_bytes() < MEMORY_MAX, "%zu bytes",
               __sanitizer_get_current_allocated_bytes());
}

static void check_quiet(GMainContext *context, bool long_after)
{
    const FakeSocket *sock;

    fakenet_calm();
    fakenet_run(context, 20 * G_USEC_PER_SEC, SOCKETS_MAX);
    check_caps();
    for (unsigned i = 0; (sock = fakenet_nth(i)) != NULL; i++) {
        FUZZ_CHECK(!(sock->events & EPOLLOUT), "a socket still wants to write");
    }
    if (long_after) {
        fakenet_run(context, 260 * G_USEC_PER_SEC, SOCKETS_MAX);
        for (unsigned i = 0; (sock = fakenet_nth(i)) != NULL; i++) {
            FUZZ_CHECK(sock->type != SOCK_DGRAM, "a socket for datagrams outlived its time");
        }
    }
}

/* What waits for a link address that never came is dropped after a second, but only when libslirp is called. */
static void forget_waiting(void)
{
    static const uint8_t probe[42] =
        "\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01\x08\x06\0\x01\x08\0\x06\x04\0\x01";

    FrameView view;

    FUZZ_CHECK(frame_parse(probe, sizeof(probe), &view) == FRAME_OK, "our own probe");
    for (unsigned i = 0; i < 2; i++) {
        fakenet_advance(2 * G_USEC_PER_SEC);
        nat_input(fuzz.nat, probe, sizeof(probe), &view);
    }
}

static void begin(Bytes *bytes, GMainContext *context, Settings *settings)
{
    static const unsigned mtus[] = {65520, 1500, 1280, 68};
    static const FakeHooks hooks = {.refused = nat_connect_errno,
                                    .connect = on_connect,
                                    .stream = on_stream,
                                    .datagram = on_datagram};
    static const NatHooks nat_hooks = {
        .send = on_send, .log = on_log, .opened = on_opened, .closed = on_closed};
    GateConfig *config = &fuzz.guest.config;
    GError *error = NULL;

    memset(&fuzz, 0, sizeof(fuzz));
    guest_init(&fuzz.guest, bytes);
    fuzz.mtu = mtus[bytes_below(bytes, G_N_ELEMENTS(mtus))];
    config->ipv6 = config->ipv6 && fuzz.mtu >= SETTINGS_MTU_IPV6_MIN;
    settings->guest.cidr = config->cidr;
    settings->guest.cidr6 = config->cidr6;
    settings->guest.gateway = config->gateway;
    settings->guest.gateway6 = config->gateway6;
    settings->guest.dns = config->dns;
    settings->guest.dns6 = config->dns6;
    settings->guest.autoconf = !config->netns_mode;
    settings->dns = config->dns_enabled;
    fakenet_begin(&hooks);
    fuzz.gate = guest_gate(&fuzz.guest);
    fuzz.flows = natflows_new(context);
    fuzz.nat = nat_new(settings, fuzz.mtu, config->ipv6, context, &nat_hooks, &error);
    FUZZ_CHECK(fuzz.nat != NULL, "%s", error->message);
    fuzz.share = natshare_new(context, fuzz.nat, SOCKETS_MAX);
}

static void quiet(const gchar *domain, GLogLevelFlags level, const gchar *message,
                  gpointer user_data)
{
    (void)domain;
    (void)message;
    (void)user_data;
    FUZZ_CHECK(!(level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL)), "%s", message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static GMainContext *context;
    Bytes bytes = {data, data + size};
    Settings settings = {0};
    unsigned ops = 0;

    if (context == NULL) {
        context = fakenet_context();
        g_log_set_default_handler(quiet, NULL);
    }
    begin(&bytes, context, &settings);
    while (bytes_left(&bytes) > 0 && ops++ < LEDGERS) {
        switch (bytes_below(&bytes, 8)) {
        case 4:
            fakenet_plan(&bytes);
            break;
        case 5:
            fakenet_peer(&bytes);
            break;
        case 6:
            fakenet_run(context, (int64_t)bytes_u8(&bytes) * 1000, SOCKETS_MAX);
            break;
        case 7:
            fakenet_run(context, (int64_t)bytes_u8(&bytes) * 500 * 1000, SOCKETS_MAX);
            break;
        default:
            from_guest(&bytes);
            break;
        }
        check_caps();
    }
    check_quiet(context, size % 16 == 0);
    forget_waiting();
    natshare_free(fuzz.share);
    nat_free(fuzz.nat);
    check_flows(0);
    natflows_free(fuzz.flows);
    gate_free(fuzz.gate);
    FUZZ_CHECK(fakenet_end() == 0, "a socket is still open");
    return 0;
}
