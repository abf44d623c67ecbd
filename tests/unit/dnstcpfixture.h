/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_DNSTCPFIXTURE_H
#define SALLYPORT_TESTS_DNSTCPFIXTURE_H

/* Of test_dns_tcp.c: fake TCP servers with habits, and clients of the Dns. */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "dnsfixture.h"

#define QUERY_ID 0x1234
#define MARK_LEN 32

typedef struct Server Server;

/* One connection to a fake server. */
typedef struct Peer {
    Server *server;
    PollerWatch watch;
    int fd;
    GByteArray *in;
    GByteArray *out;
} Peer;

typedef enum Habit {
    ANSWERS,
    SILENT,
    HANGS_UP,       /* after the query */
    HALF_AN_ANSWER, /* then hangs up */
    FORGES_FIRST,   /* other ids and questions, then the right answer */
} Habit;

struct Server {
    Fixture *fix;
    PollerWatch watch;
    int fd;
    uint8_t mark;
    unsigned rcode;
    size_t extra;
    Habit habit;
    bool byte_by_byte;
    unsigned queries;
    GPtrArray *peers;
};

typedef struct Client {
    Fixture *fix;
    PollerWatch watch;
    int fd;
    GByteArray *in;
    bool closed;
} Client;

static inline void peer_free(gpointer data)
{
    Peer *peer = data;

    poller_remove(peer->server->fix->poller, &peer->watch);
    (void)close(peer->fd);
    g_byte_array_unref(peer->in);
    g_byte_array_unref(peer->out);
    g_free(peer);
}

static inline void append_message(GByteArray *out, const uint8_t *msg, size_t len)
{
    uint8_t head[] = {(uint8_t)(len >> 8), (uint8_t)len};

    g_byte_array_append(out, head, sizeof head);
    g_byte_array_append(out, msg, (guint)len);
}

static inline void peer_answer(Peer *peer, const uint8_t *query, size_t len)
{
    Server *server = peer->server;
    g_autofree uint8_t *reply = g_malloc(len + server->extra);
    size_t reply_len = make_reply(reply, query, len, server->rcode, server->mark, server->extra);

    if (server->habit == FORGES_FIRST) {
        reply[1] ^= 1;
        append_message(peer->out, reply, reply_len);
        reply[1] ^= 1;
        reply[DNS_HEADER_LEN + 1] ^= 1;
        append_message(peer->out, reply, reply_len);
        reply[DNS_HEADER_LEN + 1] ^= 1;
        append_message(peer->out, reply, 3);
        append_message(peer->out, query, len);
    }
    append_message(peer->out, reply, reply_len);
    if (server->habit == HALF_AN_ANSWER) {
        g_byte_array_set_size(peer->out, peer->out->len / 2);
    }
}

static inline void peer_flush(Peer *peer)
{
    while (peer->out->len > 0) {
        size_t want = peer->server->byte_by_byte ? 1 : peer->out->len;
        ssize_t count = send(peer->fd, peer->out->data, want, MSG_NOSIGNAL);

        if (count <= 0) {
            break;
        }
        g_byte_array_remove_range(peer->out, 0, (guint)count);
        if (peer->server->byte_by_byte) {
            break;
        }
    }
    poller_modify(peer->server->fix->poller, &peer->watch,
                  EPOLLIN | (peer->out->len > 0 ? EPOLLOUT : 0u));
}

static inline void peer_ready(uint32_t events, void *user_data)
{
    Peer *peer = user_data;
    Server *server = peer->server;
    uint8_t buf[4096];
    ssize_t count;
    size_t len;

    (void)events;
    while ((count = recv(peer->fd, buf, sizeof buf, 0)) > 0) {
        g_byte_array_append(peer->in, buf, (guint)count);
    }
    if (count == 0) {
        g_ptr_array_remove(server->peers, peer);
        return;
    }
    len = peer->in->len >= 2 ? (size_t)(peer->in->data[0] << 8 | peer->in->data[1]) : 65536;
    if (peer->in->len >= 2 + len) {
        server->queries++;
        if (server->habit != SILENT && server->habit != HANGS_UP) {
            peer_answer(peer, peer->in->data + 2, len);
        }
        g_byte_array_set_size(peer->in, 0);
    }
    peer_flush(peer);
    if (server->queries > 0 && peer->out->len == 0 &&
        (server->habit == HANGS_UP || server->habit == HALF_AN_ANSWER)) {
        g_ptr_array_remove(server->peers, peer);
    }
}

static inline void server_ready(uint32_t events, void *user_data)
{
    Server *server = user_data;
    Peer *peer;
    int fd = (int)syscall(SYS_accept4, server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)events;
    cr_assert_geq(fd, 0);
    peer = g_new0(Peer, 1);
    peer->server = server;
    peer->fd = fd;
    peer->in = g_byte_array_new();
    peer->out = g_byte_array_new();
    g_ptr_array_add(server->peers, peer);
    cr_assert_eq(poller_add(server->fix->poller, &peer->watch, fd, EPOLLIN, peer_ready, peer), 0);
}

static inline void server_start(Server *server, Fixture *fix, const char *address, uint8_t mark)
{
    *server = (Server){.fix = fix, .mark = mark, .extra = MARK_LEN};
    server->peers = g_ptr_array_new_with_free_func(peer_free);
    server->fd = fixture_bind(fix, address, SOCK_STREAM);
    cr_assert_eq(listen(server->fd, 128), 0);
    cr_assert_eq(poller_add(fix->poller, &server->watch, server->fd, EPOLLIN, server_ready, server),
                 0);
}

static inline void server_stop(Server *server)
{
    g_ptr_array_unref(server->peers);
    poller_remove(server->fix->poller, &server->watch);
    (void)close(server->fd);
}

/* A listener of the Dns at @address; returns its port. */
static inline uint16_t listen_at(Fixture *fix, const char *address)
{
    Fixture any = {.port = 0};
    int fd = fixture_bind(&any, address, SOCK_STREAM);
    GError *error = NULL;

    cr_assert_eq(listen(fd, 256), 0);
    cr_assert(dns_add_listener(fix->dns, fd, &error), "%s", error != NULL ? error->message : "");
    return any.port;
}

static inline void client_ready(uint32_t events, void *user_data)
{
    Client *client = user_data;
    uint8_t buf[4096];
    ssize_t count;

    (void)events;
    while ((count = recv(client->fd, buf, sizeof buf, 0)) != 0) {
        if (count < 0 && errno == EAGAIN) {
            return;
        }
        if (count < 0) {
            break;
        }
        g_byte_array_append(client->in, buf, (guint)count);
    }
    client->closed = true;
    poller_remove(client->fix->poller, &client->watch);
}

static inline void client_start(Client *client, Fixture *fix, const char *address, uint16_t port)
{
    NetAddr addr = addr_of(address);
    struct sockaddr_storage sa;
    socklen_t sa_len = netaddr_to_sockaddr(&addr, port, &sa);

    *client = (Client){.fix = fix, .in = g_byte_array_new()};
    client->fd = socket(addr.family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(client->fd, 0);
    cr_assert_eq(connect(client->fd, (struct sockaddr *)&sa, sa_len), 0);
    cr_assert_eq(fcntl(client->fd, F_SETFL, O_NONBLOCK), 0);
    cr_assert_eq(poller_add(fix->poller, &client->watch, client->fd, EPOLLIN, client_ready, client),
                 0);
}

static inline void client_listen_again(Client *client)
{
    poller_modify(client->fix->poller, &client->watch, EPOLLIN);
}

static inline void client_stop(Client *client)
{
    poller_remove(client->fix->poller, &client->watch);
    (void)close(client->fd);
    g_byte_array_unref(client->in);
}

/* The other side lives on the same thread: it gets its turn when the socket is full. */
static inline void client_send(Client *client, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;

    while (len > 0) {
        ssize_t count = send(client->fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (count > 0) {
            at += count;
            len -= (size_t)count;
        } else {
            cr_assert_eq(errno, EAGAIN);
            (void)g_main_context_iteration(client->fix->context, FALSE);
        }
    }
}

static inline void client_ask(Client *client, uint16_t id, const char *name)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    uint8_t query[512];

    append_message(out, query, make_query(query, id, name));
    client_send(client, out->data, out->len);
}

static inline bool client_has_message(const Client *client)
{
    return client->in->len >= 2 &&
           client->in->len >= 2 + (guint)(client->in->data[0] << 8 | client->in->data[1]);
}

/* Takes the next message off; @mark 0: an error of our own making. */
static inline void expect_answer(Client *client, uint16_t id, unsigned rcode, uint8_t mark)
{
    const uint8_t *msg;
    size_t len;

    AWAIT(client->fix, client_has_message(client) || client->closed);
    cr_assert(client_has_message(client), "closed without an answer");
    len = (size_t)(client->in->data[0] << 8 | client->in->data[1]);
    msg = client->in->data + 2;
    cr_assert_gt(len, DNS_HEADER_LEN);
    cr_expect_eq(dns_message_id(msg), id);
    cr_expect_eq(dns_message_rcode(msg), rcode);
    if (mark != 0) {
        cr_expect_eq(msg[len - 1], mark, "%c", msg[len - 1]);
    } else {
        cr_expect_eq(msg[11], 0, "our own errors carry no records");
    }
    g_byte_array_remove_range(client->in, 0, (guint)len + 2);
}

#endif
