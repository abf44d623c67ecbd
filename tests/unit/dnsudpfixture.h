/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_DNSUDPFIXTURE_H
#define SALLYPORT_TESTS_DNSUDPFIXTURE_H

/* Shared by test_dns.c and test_dns_limits.c: fake UDP servers, queries as frames, a look at the frames that come back. */

#include <netinet/in.h>
#include <sys/epoll.h>

#include "dnsfixture.h"

#define GUEST_PORT 40000
#define QUERY_ID   0x1234
#define MARK_LEN   32

typedef struct Server Server;

struct Server {
    Fixture *fix;
    PollerWatch watch;
    int fd;
    uint8_t mark;
    unsigned rcode;
    size_t extra;
    /* NULL: answers with rcode and extra marks. */
    void (*on_query)(Server *server);
    unsigned queries;
    uint8_t last[4096];
    size_t last_len;
    struct sockaddr_storage peer;
    socklen_t peer_len;
    GHashTable *ids;
    GHashTable *ports;
};

static const uint8_t guest_mac[] = {2, 0, 0, 0, 0, 1};
static const uint8_t server_mac[] = {2, 0, 0, 0, 0, 2};

static inline void server_send(Server *server, unsigned rcode, size_t extra)
{
    g_autofree uint8_t *reply = g_malloc(server->last_len + extra);
    size_t len = make_reply(reply, server->last, server->last_len, rcode, server->mark, extra);

    cr_expect_eq(
        sendto(server->fd, reply, len, 0, (struct sockaddr *)&server->peer, server->peer_len),
        (ssize_t)len);
}

static inline void server_silent(Server *server)
{
    (void)server;
}

static inline void server_ready(uint32_t events, void *user_data)
{
    Server *server = user_data;
    ssize_t len;

    (void)events;
    for (;;) {
        uint16_t port = 0;
        NetAddr addr;

        server->peer_len = sizeof server->peer;
        len = recvfrom(server->fd, server->last, sizeof server->last, 0,
                       (struct sockaddr *)&server->peer, &server->peer_len);
        if (len < 0) {
            return;
        }
        server->last_len = (size_t)len;
        server->queries++;
        cr_expect(netaddr_from_sockaddr((struct sockaddr *)&server->peer, &addr, &port));
        g_hash_table_add(server->ids, GUINT_TO_POINTER(dns_message_id(server->last)));
        g_hash_table_add(server->ports, GUINT_TO_POINTER(port));
        if (server->on_query != NULL) {
            server->on_query(server);
        } else {
            server_send(server, server->rcode, server->extra);
        }
    }
}

static inline void server_start(Server *server, Fixture *fix, const char *address, uint8_t mark)
{
    int size = 4 << 20;

    *server = (Server){.fix = fix, .mark = mark, .extra = MARK_LEN};
    server->fd = fixture_bind(fix, address, SOCK_DGRAM);
    (void)setsockopt(server->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    server->ids = g_hash_table_new(NULL, NULL);
    server->ports = g_hash_table_new(NULL, NULL);
    cr_assert_eq(poller_add(fix->poller, &server->watch, server->fd, EPOLLIN, server_ready, server),
                 0);
}

static inline void server_stop(Server *server)
{
    poller_remove(server->fix->poller, &server->watch);
    (void)close(server->fd);
    g_hash_table_unref(server->ids);
    g_hash_table_unref(server->ports);
}

static inline void ask_raw(Fixture *fix, sa_family_t family, uint16_t port, const uint8_t *msg,
                           size_t len)
{
    g_autofree uint8_t *frame = g_malloc(FRAME_MAX);
    NetAddr guest = addr_of(family == AF_INET ? "10.0.2.100" : "fd00::100");
    NetAddr server = addr_of(family == AF_INET ? "10.0.2.3" : "fd00::3");
    size_t frame_len =
        frame_build_udp(frame, server_mac, guest_mac, &guest, port, &server, 53, msg, len);
    g_autofree uint8_t *exact = g_memdup2(frame, frame_len);
    FrameView view;

    cr_assert_eq(frame_parse(exact, frame_len, &view), FRAME_OK);
    dns_query(fix->dns, exact, &view);
}

static inline void ask(Fixture *fix, uint16_t port, uint16_t id, const char *name)
{
    uint8_t query[512];

    ask_raw(fix, AF_INET, port, query, make_query(query, id, name));
}

/* The message in frame number @index, to be freed; every frame to the guest is checked here. */
static inline uint8_t *answer(Fixture *fix, guint index, sa_family_t family, uint16_t port,
                              size_t *ret_len)
{
    NetAddr guest = addr_of(family == AF_INET ? "10.0.2.100" : "fd00::100");
    NetAddr server = addr_of(family == AF_INET ? "10.0.2.3" : "fd00::3");
    const uint8_t *frame;
    size_t len;
    FrameView view;

    cr_assert_gt(fix->frames->len, index);
    frame = g_bytes_get_data(g_ptr_array_index(fix->frames, index), &len);
    cr_assert_eq(frame_parse(frame, len, &view), FRAME_OK);
    cr_expect(frame_checksums_ok(frame, &view));
    cr_expect_arr_eq(frame, guest_mac, FRAME_MAC_LEN);
    cr_expect_arr_eq(frame + FRAME_MAC_LEN, server_mac, FRAME_MAC_LEN);
    cr_expect(netaddr_equal(&view.src, &server));
    cr_expect(netaddr_equal(&view.dst, &guest));
    cr_expect_eq(view.protocol, IPPROTO_UDP);
    cr_expect_eq(view.src_port, 53);
    cr_expect_eq(view.dst_port, port);
    *ret_len = view.end - view.payload;
    return g_memdup2(frame + view.payload, *ret_len);
}

/* The only answer so far: its id is right, its rcode @rcode, and it ends with @mark (0: made by us). */
static inline void expect_answer(Fixture *fix, unsigned rcode, uint8_t mark)
{
    size_t len;
    g_autofree uint8_t *msg = NULL;

    AWAIT(fix, fix->frames->len > 0);
    cr_assert_eq(fix->frames->len, 1);
    msg = answer(fix, 0, AF_INET, GUEST_PORT, &len);
    cr_expect_eq(dns_message_id(msg), QUERY_ID);
    cr_expect_eq(dns_message_rcode(msg), rcode);
    if (mark != 0) {
        cr_expect_eq(msg[len - 1], mark, "%c", msg[len - 1]);
    } else {
        cr_expect_eq(msg[11], 0, "our own errors carry no records");
    }
    g_ptr_array_set_size(fix->frames, 0);
}

#endif
