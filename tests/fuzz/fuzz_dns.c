/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fuzz_dns.c - dns.c, dns_tcp.c and dnsmessage.c: queries of the guest, replies of the network, and calls that fail
 *
 * Oracles:  a reply over UDP goes to a port that asked, once for each time it asked, has the id and the question it asked with, and
 *           is no longer than the limit; only the servers named are asked, and only with an id of their own; sockets stay within
 *           their caps; in the end nothing is open and nothing is due.
 */
#include "config.h"

#include <sys/epoll.h>

#include "datapath/dns.h"
#include "datapath/framebytes.h"

#include "bytes.h"
#include "check.h"
#include "fakenet.h"

#define PORTS 8
/* What was asked last from one port of the guest's. */
typedef struct Asked {
    unsigned times;
    size_t len;
    uint8_t query[512];
} Asked;

static struct {
    Dns *dns;
    size_t max_payload;
    size_t server_count;
    NetAddr servers[4];
    Asked asked[PORTS];
    uint8_t last[512]; /* what a server was asked last */
    size_t last_len;
} fuzz;

static uint8_t frame[FRAME_MAX];

/* DnsHooks.send_frame */
static void on_frame(const uint8_t *at, size_t len, void *user_data)
{
    g_autofree uint8_t *exact = fuzz_exact(at, len);
    FrameView view;
    const uint8_t *reply;
    Asked *asked;

    (void)user_data;
    FUZZ_CHECK(frame_parse(exact, len, &view) == FRAME_OK && view.end == len &&
                   view.protocol == IPPROTO_UDP && frame_checksums_ok(exact, &view),
               "no datagram");
    FUZZ_CHECK(view.src_port == 53 && view.dst_port >= 50000 && view.dst_port < 50000 + PORTS,
               "ports %u, %u", view.src_port, view.dst_port);
    asked = &fuzz.asked[view.dst_port - 50000];
    reply = exact + view.payload;
    FUZZ_CHECK(asked->times-- > 0, "a reply that nobody waits for");
    FUZZ_CHECK(view.end - view.payload >= DNS_HEADER_LEN &&
                   view.end - view.payload <= fuzz.max_payload,
               "%zu bytes, at most %zu", view.end - view.payload, fuzz.max_payload);
    FUZZ_CHECK((reply[2] & 0x80) != 0, "a query");
}

/* DnsHooks.is_own_peer */
static bool is_own(const NetAddr *peer, uint16_t port, void *user_data)
{
    (void)peer;
    (void)user_data;
    return port % 8 != 7;
}

static void note_server(const NetAddr *addr, uint16_t port)
{
    bool known = false;

    for (size_t i = 0; i < G_N_ELEMENTS(fuzz.servers); i++) {
        known |= netaddr_equal(&fuzz.servers[i], addr);
    }
    FUZZ_CHECK(known && port == 53, "asks somebody else");
}

/* FakeHooks.connect */
static void on_connect(FakeSocket *sock, const NetAddr *addr, uint16_t port)
{
    (void)sock;
    note_server(addr, port);
}

static void note_query(const uint8_t *data, size_t len)
{
    fuzz.last_len = MIN(len, sizeof(fuzz.last));
    memcpy(fuzz.last, data, fuzz.last_len);
}

/* FakeHooks.datagram */
static void on_datagram(FakeSocket *sock, const uint8_t *data, size_t len, const NetAddr *to,
                        uint16_t port)
{
    size_t end;

    (void)sock;
    note_server(to, port);
    FUZZ_CHECK(dns_message_is_query(data, len, &end), "asks what is no query");
    note_query(data, len);
}

/* FakeHooks.stream */
static void on_stream(FakeSocket *sock, const uint8_t *data, size_t len)
{
    if (sock->owner == NULL) {
        note_query(data, len); /* to a server */
    } else if (sock->out == 0 && len >= 2 + DNS_HEADER_LEN) {
        FUZZ_CHECK((data[4] & 0x80) != 0, "not a reply");
    }
}

static size_t make_query(Bytes *bytes, uint8_t *query)
{
    uint8_t how = bytes_u8(bytes);
    size_t len = DNS_HEADER_LEN;

    memset(query, 0, 512);
    put16(query, bytes_u8(bytes));
    query[2] = 1;
    query[5] = 1;
    if (how & 1) {
        size_t count;
        const uint8_t *raw = bytes_take(bytes, bytes_u8(bytes), &count);

        if (count > 0) {
            memcpy(query + 2, raw, count);
        }
        return MAX(count + 2, how & 2 ? (size_t)0 : DNS_HEADER_LEN);
    }
    query[len++] = 3;
    query[len++] = 'a';
    query[len++] = (uint8_t)('a' + how / 2 % 4);
    query[len++] = 'c';
    len++;
    query[len + 1] = 1;
    query[len + 3] = 1;
    return len + 4;
}

static void ask_udp(Bytes *bytes)
{
    unsigned port = bytes_below(bytes, PORTS);
    bool ip4 = bytes_u8(bytes) % 2 == 0;
    NetAddr guest =
        ip4 ? netaddr_from_v4(0x0a000264)
            : netaddr_from_bytes(AF_INET6, (const uint8_t *)"\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x64");
    NetAddr server =
        ip4 ? netaddr_from_v4(0x0a000203)
            : netaddr_from_bytes(AF_INET6, (const uint8_t *)"\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x03");
    Asked *asked = &fuzz.asked[port];
    g_autofree uint8_t *exact = NULL;
    FrameView view;
    size_t len;

    asked->len = make_query(bytes, asked->query);
    asked->times++;
    len = frame_build_udp(frame, (const uint8_t *)"\x52\x55\x0a\0\2\3",
                          (const uint8_t *)"\2\0\0\0\0\1", &guest, (uint16_t)(50000 + port),
                          &server, 53, asked->query, asked->len);
    exact = fuzz_exact(frame, len);
    FUZZ_CHECK(frame_parse(exact, len, &view) == FRAME_OK, "our own datagram");
    dns_query(fuzz.dns, exact, &view);
}

/* A server answers what it was asked, or something like it. */
static void answer(Bytes *bytes)
{
    FakeSocket *sock = fakenet_nth(bytes_u8(bytes));
    uint8_t how = bytes_u8(bytes);
    size_t head = 0;
    size_t extra = how & 4 ? bytes_u16(bytes) % 70000 : how & 8 ? bytes_u8(bytes) : 0;
    size_t patches = how / 16 % 4;

    if (sock == NULL || sock->state != FAKE_CONNECTED || fuzz.last_len < DNS_HEADER_LEN ||
        sock->owner != NULL) {
        return;
    }
    if (sock->type == SOCK_STREAM) {
        head = how & 64 ? 0 : 2;
        extra = MIN(extra, 65000);
    } else {
        extra = MIN(extra, 65000);
        sock->datagram_count = 0;
    }
    g_free(sock->answer);
    sock->answer_len = fuzz.last_len + extra;
    sock->answer = g_malloc0(sock->answer_len + 4);
    memcpy(sock->answer, fuzz.last, fuzz.last_len);
    (void)head;
    if (sock->type == SOCK_STREAM) {
        put16(sock->answer, (uint16_t)(sock->answer_len - 2));
        sock->answer[4] |= 0x80;
        sock->in_left = sock->answer_len;
        sock->in_at = 0;
    } else {
        sock->answer[2] |= 0x80;
        sock->datagrams[sock->datagram_count++] = sock->answer_len;
    }
    if (how & 1) {
        sock->answer[sock->type == SOCK_STREAM ? 5 : 3] |= bytes_u8(bytes) & 15; /* an rcode */
    }
    while (patches-- > 0) {
        uint8_t where = bytes_u8(bytes);

        sock->answer[where % sock->answer_len] = bytes_u8(bytes);
    }
}

/* The guest asks over TCP: what its libslirp would send into our listener. */
static void ask_tcp(Bytes *bytes, FakeSocket *listener)
{
    FakeSocket *sock = fakenet_nth(bytes_u8(bytes));
    uint8_t query[512];
    size_t len;

    if (sock == NULL || sock == listener || sock->owner != listener) {
        listener->accepts = MIN(listener->accepts + 1, 2);
        return;
    }
    len = make_query(bytes, query);
    g_free(sock->answer);
    sock->answer_len = len + 2;
    sock->answer = g_malloc0(sock->answer_len);
    put16(sock->answer, (uint16_t)len);
    memcpy(sock->answer + 2, query, len);
    sock->in_at = 0;
    sock->in_left = MIN(sock->answer_len, (size_t)1 + bytes_u8(bytes));
}

static void check_messages(Bytes *bytes)
{
    size_t len;
    const uint8_t *at = bytes_take(bytes, bytes_u16(bytes), &len);
    g_autofree uint8_t *msg = fuzz_exact(at, len);
    g_autofree uint8_t *out = g_malloc(len + 1);
    size_t end = 0;
    size_t end_again;

    if (dns_message_is_query(msg, len, &end)) {
        FUZZ_CHECK(end > DNS_HEADER_LEN && end <= len, "question of %zu bytes", end);
        FUZZ_CHECK(dns_message_error(out, msg, end, bytes_u8(bytes) % 16) == end,
                   "an error of another length");
        FUZZ_CHECK(dns_message_matches(out, end, dns_message_id(msg), msg, len),
                   "our own error does not match");
        FUZZ_CHECK(!dns_message_matches(out, end, (uint16_t)(dns_message_id(msg) + 1), msg, len),
                   "another id matches");
        FUZZ_CHECK(!dns_message_is_query(out, end, &end_again), "an error that is a query");
    }
    if (len >= DNS_HEADER_LEN) {
        size_t shorter = dns_message_truncate(msg, len);

        FUZZ_CHECK(shorter <= len && shorter >= DNS_HEADER_LEN && (msg[2] & 2), "cut to %zu of %zu",
                   shorter, len);
        FUZZ_CHECK(get16(msg + 6) == 0 && get16(msg + 8) == 0 && get16(msg + 10) == 0,
                   "records are left");
    }
}

static void begin(Bytes *bytes, Poller **ret_poller, GMainContext *context)
{
    static const FakeHooks hooks = {
        .connect = on_connect, .stream = on_stream, .datagram = on_datagram};
    static const DnsHooks dns_hooks = {.send_frame = on_frame, .is_own_peer = is_own};
    uint8_t mode = bytes_u8(bytes);

    memset(&fuzz, 0, sizeof(fuzz));
    fakenet_begin(&hooks);
    *ret_poller = poller_new(context, NULL);
    fuzz.dns = dns_new(*ret_poller, context, &dns_hooks);
    fuzz.server_count = mode % 5;
    for (size_t i = 0; i < G_N_ELEMENTS(fuzz.servers); i++) {
        fuzz.servers[i] =
            i % 2 == 0
                ? netaddr_from_v4(0xc0000235 + (uint32_t)i)
                : netaddr_from_bytes(AF_INET6,
                                     (const uint8_t *)"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x35");
    }
    dns_set_servers(fuzz.dns, fuzz.servers, fuzz.server_count);
    fuzz.max_payload = mode & 0x80 ? 1232 : mode & 0x40 ? 512 : 65507;
    dns_set_max_payload(fuzz.dns, fuzz.max_payload);
}

static FakeSocket *add_listener(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    FakeSocket *listener = fakenet_socket(fd);

    listener->state = FAKE_LISTENING;
    FUZZ_CHECK(dns_add_listener(fuzz.dns, fd, NULL), "no listener");
    return listener;
}

/* Each UDP query may have one with each of 4 servers; 8 connections have one each; and the listener. */
static unsigned sockets_max(void)
{
    unsigned queries = 0;

    for (size_t i = 0; i < PORTS; i++) {
        queries += fuzz.asked[i].times;
    }
    return queries * 4 + 2 * PORTS + 1;
}

static void step(Bytes *bytes, GMainContext *context, FakeSocket *listener)
{
    switch (bytes_below(bytes, 8)) {
    case 0:
        ask_udp(bytes);
        break;
    case 1:
        answer(bytes);
        break;
    case 2:
        ask_tcp(bytes, listener);
        break;
    case 3:
        fakenet_plan(bytes);
        break;
    case 4:
        fakenet_peer(bytes);
        break;
    case 5:
        check_messages(bytes);
        break;
    case 6:
        fakenet_run(context, (int64_t)bytes_u8(bytes) * 1000, sockets_max());
        break;
    default:
        fakenet_run(context, (int64_t)bytes_u8(bytes) * 100 * 1000, sockets_max());
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static GMainContext *context;
    Bytes bytes = {data, data + size};
    unsigned steps = 0;
    FakeSocket *listener;
    Poller *poller;

    if (context == NULL) {
        context = fakenet_context();
    }
    begin(&bytes, &poller, context);
    listener = add_listener();
    while (bytes_left(&bytes) > 0 && steps++ < 40) {
        step(&bytes, context, listener);
    }
    fakenet_calm();
    listener->accepts = 0;
    listener->error = 0;
    listener->peer_rst = listener->peer_fin = false;
    fakenet_run(context, 60 * G_USEC_PER_SEC, sockets_max());
    FUZZ_CHECK(fakenet_open() == 1, "%u sockets are open after a minute", fakenet_open());
    FUZZ_CHECK(!fakenet_turn(context, (int64_t)3600 * G_USEC_PER_SEC), "something is due");
    dns_free(fuzz.dns);
    poller_free(poller);
    FUZZ_CHECK(fakenet_end() == 0, "a socket is still open");
    return 0;
}
