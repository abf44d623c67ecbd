/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dns.c - the virtual name server: UDP queries go to the host's name servers
 *
 * Does:     forwards each query from a fresh socket with a fresh id, fails over, hands the answer back as a frame.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   nothing. Queries are the guest's bytes; a reply counts only if socket, id and question agree (RFC 5452).
 * Owns:     pending queries and their sockets, the receive buffer, the DnsTcp. Borrows poller and context.
 * Limits:   DNS_QUERIES_MAX pending (then one is given up), one socket per query and server, DNS_SOCKETS_MAX of them
 *           (then a query closes its earlier ones first), queries of DNS_QUERY_SIZE_MAX bytes.
 * States:   a query asks its servers in order. Sockets of earlier servers stay open: late answers count. It ends by
 *           an answer, by the last server's failure, or by being given up.
 * Not here: DNS over TCP (dns_tcp.c), what a message says (dnsmessage.c), which servers (resolvconf.c).
 */
#include "config.h"

#include "dns.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../scratch.h"
#include "dns_tcp.h"

#define DNS_PORT           53
#define DNS_QUERIES_MAX    512
#define DNS_SOCKETS_MAX    1024
#define DNS_QUERY_SIZE_MAX 4096
#define DNS_MESSAGE_MAX    65535
#define DNS_PAYLOAD_MAX    65507
#define DNS_PAYLOAD_MIN    512
/* Datagrams taken from one socket per wake-up, so that a flood of forgeries cannot starve the link. */
#define DNS_REPLIES_PER_WAKEUP 8

#define UDP_HEADER_LEN   8
#define IP6_HEADER_LEN   40
#define UDP_LEN_AT       4
#define DNS_PAYLOAD_MAX6 (FRAME_MAX - FRAME_ETH_LEN - IP6_HEADER_LEN - UDP_HEADER_LEN)

typedef struct DnsQuery DnsQuery;

/* What makes two datagrams of the guest the same query. */
typedef struct DnsKey {
    NetAddr guest;
    uint16_t guest_port;
    uint16_t id;
    const uint8_t *question;
    size_t question_len;
} DnsKey;

typedef struct DnsAttempt {
    DnsQuery *query;
    PollerWatch watch;
    int fd; /* -1: not asked, or failed */
    uint16_t id;
} DnsAttempt;

struct DnsQuery {
    DnsKey key; /* first, so that the query is its own key */
    Dns *dns;
    GList link;
    int64_t deadline_us;
    DnsServers *servers;
    size_t asked;
    NetAddr server;
    uint8_t guest_mac[FRAME_MAC_LEN];
    uint8_t server_mac[FRAME_MAC_LEN];
    size_t len;
    size_t question_end;
    uint8_t *msg;
    DnsAttempt attempts[];
};

struct Dns {
    Poller *poller;
    Timer *timer;
    DnsHooks hooks;
    DnsServers *servers;
    DnsTcp *tcp;
    GHashTable *queries;
    /* By deadline: every server is given the same time, so that whoever was asked last is due last. The head, which has
     * waited longest for its server, is also the one given up when there are too many. */
    GQueue fifo;
    size_t sockets;
    size_t max_payload;
    uint64_t dropped;
    uint8_t message[DNS_MESSAGE_MAX];
    uint8_t frame[FRAME_MAX];
};

static void query_ask_next(DnsQuery *query);

bool dns_error_is_local(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
           error == ENOSPC;
}

bool dns_random_id(uint16_t *ret_id)
{
    uint16_t id;

    if (getrandom(&id, sizeof id, GRND_NONBLOCK) != (ssize_t)sizeof id) {
        return false;
    }
    *ret_id = id;
    return true;
}

int dns_connect(const DnsServers *servers, size_t index, int type)
{
    const NetAddr *addr = &servers->addr[index];
    struct sockaddr_storage sa;
    socklen_t sa_len = netaddr_to_sockaddr(addr, servers->port, &sa);
    int on = 1;
    int fd = socket(addr->family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return -errno;
    }
    if (type == SOCK_DGRAM) {
        /* Without it, unreachable hosts and networks are kept from us until the time is up. Ignoring failure: that
         * is all that is lost. */
        if (addr->family == AF_INET6) {
            (void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on);
        } else {
            (void)setsockopt(fd, IPPROTO_IP, IP_RECVERR, &on, sizeof on);
        }
    }
    if (connect(fd, (const struct sockaddr *)&sa, sa_len) < 0 && errno != EINPROGRESS) {
        int saved = errno;

        (void)close(fd);
        return -saved;
    }
    return fd;
}

static guint key_hash(gconstpointer data)
{
    const DnsKey *key = data;
    guint hash = 5381;

    hash = hash * 33 + key->guest_port;
    hash = hash * 33 + key->id;
    for (size_t i = 0; i < key->question_len; i++) {
        hash = hash * 33 + key->question[i];
    }
    return hash;
}

static gboolean key_equal(gconstpointer a, gconstpointer b)
{
    const DnsKey *left = a;
    const DnsKey *right = b;

    return left->guest_port == right->guest_port && left->id == right->id &&
           left->question_len == right->question_len &&
           netaddr_equal(&left->guest, &right->guest) &&
           memcmp(left->question, right->question, left->question_len) == 0;
}

static void dns_arm(Dns *dns)
{
    const DnsQuery *first = g_queue_peek_head(&dns->fifo);

    timer_set(dns->timer, first != NULL ? first->deadline_us : -1);
}

static void attempt_close(DnsAttempt *attempt)
{
    Dns *dns = attempt->query->dns;

    if (attempt->fd < 0) {
        return;
    }
    poller_remove(dns->poller, &attempt->watch);
    (void)close(attempt->fd);
    attempt->fd = -1;
    dns->sockets--;
}

static void query_close_attempts(DnsQuery *query)
{
    for (size_t i = 0; i < query->asked; i++) {
        attempt_close(&query->attempts[i]);
    }
}

static void query_end(DnsQuery *query)
{
    Dns *dns = query->dns;

    query_close_attempts(query);
    g_hash_table_remove(dns->queries, query);
    g_queue_unlink(&dns->fifo, &query->link);
    g_rc_box_release(query->servers);
    g_free(query->msg);
    g_free(query);
    dns_arm(dns);
}

/* @msg lies in dns->message and is changed. */
static void query_answer(DnsQuery *query, uint8_t *msg, size_t len)
{
    Dns *dns = query->dns;
    size_t max = dns->max_payload;
    size_t frame_len;

    if (query->key.guest.family == AF_INET6) {
        max = MIN(max, (size_t)DNS_PAYLOAD_MAX6);
    }
    if (len > max) {
        len = dns_message_truncate(msg, len);
    }
    dns_message_set_id(msg, query->key.id);
    frame_len = frame_build_udp(dns->frame, query->guest_mac, query->server_mac, &query->server,
                                DNS_PORT, &query->key.guest, query->key.guest_port, msg, len);
    if (frame_len != 0) {
        dns->hooks.send_frame(dns->frame, frame_len, dns->hooks.user_data);
    }
    query_end(query);
}

static void query_servfail(DnsQuery *query)
{
    uint8_t *out = query->dns->message;

    query_answer(query, out,
                 dns_message_error(out, query->msg, query->question_end, DNS_RCODE_SERVFAIL));
}

static void attempt_failed(DnsAttempt *attempt)
{
    DnsQuery *query = attempt->query;
    bool current = attempt == &query->attempts[query->asked - 1];

    attempt_close(attempt);
    /* The failure of an earlier server says nothing about the one being asked. */
    if (current) {
        query_ask_next(query);
    }
}

static void attempt_ready(uint32_t events, void *user_data)
{
    DnsAttempt *attempt = user_data;
    DnsQuery *query = attempt->query;
    Dns *dns = query->dns;

    for (int i = 0; i < DNS_REPLIES_PER_WAKEUP; i++) {
        ssize_t len = recv(attempt->fd, dns->message, sizeof dns->message, 0);

        if (len < 0 && errno == EINTR) {
            continue;
        }
        if (len < 0) {
            /* An error that stays in the error queue would wake us for ever. */
            if (errno != EAGAIN || (events & EPOLLERR) != 0) {
                attempt_failed(attempt);
            }
            return;
        }
        if (!dns_message_matches(dns->message, (size_t)len, attempt->id, query->msg, query->len)) {
            continue;
        }
        if (dns_message_is_refusal(dns->message)) {
            attempt_failed(attempt);
            return;
        }
        query_answer(query, dns->message, (size_t)len);
        return;
    }
}

/* Returns 0 or -errno. */
static int attempt_start(DnsAttempt *attempt)
{
    DnsQuery *query = attempt->query;
    Dns *dns = query->dns;
    int result;

    if (dns->sockets >= DNS_SOCKETS_MAX) {
        query_close_attempts(query);
    }
    if (!dns_random_id(&attempt->id)) {
        return -ENOBUFS;
    }
    result = dns_connect(query->servers, (size_t)(attempt - query->attempts), SOCK_DGRAM);
    if (result < 0) {
        return result;
    }
    attempt->fd = result;
    dns->sockets++;
    result = poller_add(dns->poller, &attempt->watch, attempt->fd, EPOLLIN, attempt_ready, attempt);
    if (result == 0) {
        dns_message_set_id(query->msg, attempt->id);
        if (send(attempt->fd, query->msg, query->len, MSG_NOSIGNAL) < 0) {
            result = -errno;
        }
    }
    if (result < 0) {
        attempt_close(attempt);
    }
    return result;
}

static void query_ask_next(DnsQuery *query)
{
    Dns *dns = query->dns;

    while (query->asked < query->servers->count) {
        int result = attempt_start(&query->attempts[query->asked++]);

        if (result == 0) {
            query->deadline_us = g_get_monotonic_time() + DNS_SERVER_TIMEOUT_US;
            g_queue_unlink(&dns->fifo, &query->link);
            g_queue_push_tail_link(&dns->fifo, &query->link);
            dns_arm(dns);
            return;
        }
        if (dns_error_is_local(-result)) {
            dns->dropped++;
            query_servfail(query);
            return;
        }
    }
    query_servfail(query);
}

static void dns_timeout(void *user_data)
{
    Dns *dns = user_data;
    int64_t now_us = g_get_monotonic_time();
    DnsQuery *query;

    while ((query = g_queue_peek_head(&dns->fifo)) != NULL && query->deadline_us <= now_us) {
        query_ask_next(query);
    }
    dns_arm(dns);
}

/* The datagram itself: the UDP length may be shorter than the packet. */
static size_t udp_payload_len(const uint8_t *frame, const FrameView *view)
{
    size_t udp_len = (size_t)(frame[view->l4 + UDP_LEN_AT] << 8 | frame[view->l4 + UDP_LEN_AT + 1]);

    if (udp_len < UDP_HEADER_LEN || udp_len > view->end - view->l4) {
        return 0;
    }
    return udp_len - UDP_HEADER_LEN;
}

static DnsQuery *query_new(Dns *dns, const DnsKey *key, const uint8_t *frame, const FrameView *view,
                           size_t len)
{
    size_t count = dns->servers->count;
    DnsQuery *query = g_malloc0(sizeof *query + count * sizeof query->attempts[0]);

    query->key = *key;
    query->dns = dns;
    query->link.data = query;
    query->servers = g_rc_box_acquire(dns->servers);
    query->server = view->dst;
    memcpy(query->server_mac, frame, FRAME_MAC_LEN);
    memcpy(query->guest_mac, frame + FRAME_MAC_LEN, FRAME_MAC_LEN);
    query->msg = g_memdup2(frame + view->payload, len);
    query->len = len;
    query->question_end = DNS_HEADER_LEN + key->question_len;
    query->key.question = query->msg + DNS_HEADER_LEN;
    for (size_t i = 0; i < count; i++) {
        query->attempts[i] = (DnsAttempt){.query = query, .fd = -1};
    }
    g_hash_table_add(dns->queries, query);
    g_queue_push_tail_link(&dns->fifo, &query->link);
    return query;
}

void dns_query(Dns *dns, const uint8_t *frame, const FrameView *view)
{
    const uint8_t *msg = frame + view->payload;
    size_t len = udp_payload_len(frame, view);
    size_t question_end;
    DnsKey key;

    if (len > DNS_QUERY_SIZE_MAX || !dns_message_is_query(msg, len, &question_end)) {
        dns->dropped++;
        return;
    }
    key = (DnsKey){
        .guest = view->src,
        .guest_port = view->src_port,
        .id = dns_message_id(msg),
        .question = msg + DNS_HEADER_LEN,
        .question_len = question_end - DNS_HEADER_LEN,
    };
    if (g_hash_table_contains(dns->queries, &key)) {
        return;
    }
    while (dns->fifo.length >= DNS_QUERIES_MAX) {
        dns->dropped++;
        query_end(g_queue_peek_head(&dns->fifo));
    }
    query_ask_next(query_new(dns, &key, frame, view, len));
}

static void dns_replace_servers(Dns *dns, const NetAddr *servers, size_t count, uint16_t port)
{
    DnsServers *list = g_rc_box_new0(DnsServers);

    list->port = port;
    list->count = MIN(count, (size_t)DNS_SERVERS_MAX);
    if (list->count > 0) {
        memcpy(list->addr, servers, list->count * sizeof list->addr[0]);
    }
    dns_tcp_set_servers(dns->tcp, list);
    g_rc_box_release(dns->servers);
    dns->servers = list;
}

void dns_set_servers(Dns *dns, const NetAddr *servers, size_t count)
{
    dns_replace_servers(dns, servers, count, dns->servers->port);
}

void dns_set_server_port(Dns *dns, uint16_t port)
{
    dns_replace_servers(dns, dns->servers->addr, dns->servers->count, port);
}

void dns_set_max_payload(Dns *dns, size_t max_payload)
{
    dns->max_payload = CLAMP(max_payload, (size_t)DNS_PAYLOAD_MIN, (size_t)DNS_PAYLOAD_MAX);
}

bool dns_add_listener(Dns *dns, int take_fd, GError **error)
{
    return dns_tcp_add_listener(dns->tcp, take_fd, error);
}

uint64_t dns_dropped(const Dns *dns)
{
    return dns->dropped + dns_tcp_dropped(dns->tcp);
}

Dns *dns_new(Poller *poller, GMainContext *context, const DnsHooks *hooks)
{
    Dns *dns = NEW0_UP_TO(Dns, message);

    dns->poller = poller;
    dns->timer = timer_new(context, dns_timeout, dns);
    dns->hooks = *hooks;
    dns->servers = g_rc_box_new0(DnsServers);
    dns->servers->port = DNS_PORT;
    dns->tcp = dns_tcp_new(poller, context, hooks, dns->servers);
    dns->queries = g_hash_table_new(key_hash, key_equal);
    g_queue_init(&dns->fifo);
    dns->max_payload = DNS_PAYLOAD_MAX;
    return dns;
}

void dns_free(Dns *dns)
{
    DnsQuery *query;

    if (dns == NULL) {
        return;
    }
    while ((query = g_queue_peek_head(&dns->fifo)) != NULL) {
        query_end(query);
    }
    dns_tcp_free(dns->tcp);
    g_hash_table_unref(dns->queries);
    g_rc_box_release(dns->servers);
    timer_free(dns->timer);
    g_free(dns);
}
