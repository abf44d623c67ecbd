/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dns_tcp.c - the virtual name server: DNS over TCP (RFC 7766)
 *
 * Does:     accepts connections the gate redirected to our loopback listeners, asks the host's name servers over TCP.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   nothing. A peer that is not a socket of our own is closed unread; both sides may be slow, split messages
 *           at any byte, or send garbage.
 * Owns:     listeners, connections and their sockets. Borrows poller and context.
 * Limits:   DNS_TCP_CONNECTIONS_MAX connections, one query and one reply of 65,537 bytes each, held only while needed;
 *           DNS_TCP_IDLE_US without progress, DNS_TCP_SERVER_TIMEOUT_US per server.
 * States:   READING -> ASKING -> ANSWERING -> READING ...; an error of the guest's side closes from any of them, an
 *           error of a server's side leads to the next server, the last one's to a SERVFAIL.
 *           READING:   query is being filled;              wakes on client readable; deadline idle
 *           ASKING:    query goes to a server, reply comes; wakes on the server;      deadline of the server
 *           ANSWERING: reply goes to the client;            wakes on client writable; deadline idle
 */
#include "config.h"

#include "dns_tcp.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../fault.h"

#define LISTEN_RETRY_US    (250 * 1000)
#define ACCEPTS_PER_WAKEUP 128
#define LENGTH_LEN         2

typedef enum IoResult {
    IO_DONE,
    IO_WAIT,
    IO_FAILED, /* end of file included: it never comes in the middle of a message we want */
} IoResult;

/* One message behind its length (RFC 1035 4.2.2). @data is made when the length is known. */
typedef struct Message {
    uint8_t head[LENGTH_LEN];
    uint8_t *data;
    size_t len;
    size_t done;
} Message;

typedef enum ConnState {
    CONN_READING,
    CONN_ASKING,
    CONN_ANSWERING,
} ConnState;

typedef struct Listener {
    DnsTcp *tcp;
    PollerWatch watch;
    int fd;
    int64_t retry_us; /* 0: not paused */
} Listener;

typedef struct Conn {
    DnsTcp *tcp;
    GList link;
    ConnState state;
    int64_t deadline_us;
    PollerWatch watch;
    int fd;
    Message query;
    Message reply;
    uint16_t guest_id;
    uint16_t id;
    size_t question_end;
    DnsServers *servers; /* NULL unless ASKING */
    size_t asked;
    PollerWatch server_watch;
    int server_fd;
    bool query_sent;
} Conn;

struct DnsTcp {
    Poller *poller;
    Timer *timer;
    DnsHooks hooks;
    DnsServers *servers;
    GPtrArray *listeners;
    size_t paused; /* listeners with a retry_us */
    GQueue conns;
    int64_t armed_us; /* -1: disarmed */
    uint64_t dropped;
};

static void message_clear(Message *message)
{
    g_free(message->data);
    *message = (Message){.len = 0};
}

static void message_alloc(Message *message, size_t len)
{
    message->data = g_malloc(LENGTH_LEN + len);
    message->len = LENGTH_LEN + len;
    message->data[0] = (uint8_t)(len >> 8);
    message->data[1] = (uint8_t)len;
}

static uint8_t *message_body(const Message *message)
{
    return message->data + LENGTH_LEN;
}

static size_t message_body_len(const Message *message)
{
    return message->len - LENGTH_LEN;
}

/* Never takes a byte of the next message out of the socket. */
static IoResult message_recv(Message *message, int fd)
{
    for (;;) {
        uint8_t *to = message->data != NULL ? message->data : message->head;
        size_t want = message->data != NULL ? message->len : LENGTH_LEN;
        ssize_t count = recv(fd, to + message->done, want - message->done, 0);

        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0 && errno == EAGAIN) {
            return IO_WAIT;
        }
        if (count <= 0) {
            return IO_FAILED;
        }
        message->done += (size_t)count;
        if (message->done < want) {
            continue;
        }
        if (message->data != NULL) {
            return IO_DONE;
        }
        message_alloc(message, (size_t)(message->head[0] << 8 | message->head[1]));
        if (message->done == message->len) {
            return IO_FAILED;
        }
    }
}

static IoResult message_send(Message *message, int fd)
{
    while (message->done < message->len) {
        ssize_t count =
            send(fd, message->data + message->done, message->len - message->done, MSG_NOSIGNAL);

        if (count >= 0) {
            message->done += (size_t)count;
        } else if (errno != EINTR) {
            return errno == EAGAIN ? IO_WAIT : IO_FAILED;
        }
    }
    return IO_DONE;
}

/* The timer may fire too early and look again, but never too late: no walk when a deadline moves on. */
static void tcp_arm(DnsTcp *tcp, int64_t at_us)
{
    if (tcp->armed_us < 0 || at_us < tcp->armed_us) {
        tcp->armed_us = at_us;
        timer_set(tcp->timer, at_us);
    }
}

static void tcp_disarm_if_idle(DnsTcp *tcp)
{
    if (tcp->conns.length == 0 && tcp->paused == 0) {
        tcp->armed_us = -1;
        timer_set(tcp->timer, -1);
    }
}

static void conn_set_deadline(Conn *conn, int64_t from_now_us)
{
    conn->deadline_us = g_get_monotonic_time() + from_now_us;
    tcp_arm(conn->tcp, conn->deadline_us);
}

static void conn_close_server(Conn *conn)
{
    if (conn->server_fd >= 0) {
        poller_remove(conn->tcp->poller, &conn->server_watch);
        (void)close(conn->server_fd);
        conn->server_fd = -1;
    }
}

static void conn_leave_servers(Conn *conn)
{
    conn_close_server(conn);
    g_clear_pointer(&conn->servers, g_rc_box_release);
}

static void conn_close(Conn *conn)
{
    DnsTcp *tcp = conn->tcp;

    conn_leave_servers(conn);
    poller_remove(tcp->poller, &conn->watch);
    (void)close(conn->fd);
    message_clear(&conn->query);
    message_clear(&conn->reply);
    g_queue_unlink(&tcp->conns, &conn->link);
    g_free(conn);
    tcp_disarm_if_idle(tcp);
}

static void conn_read_next(Conn *conn)
{
    message_clear(&conn->query);
    message_clear(&conn->reply);
    conn->state = CONN_READING;
    poller_modify(conn->tcp->poller, &conn->watch, EPOLLIN);
    conn_set_deadline(conn, DNS_TCP_IDLE_US);
}

/* The reply lies in conn->reply. */
static void conn_answer(Conn *conn)
{
    conn_leave_servers(conn);
    dns_message_set_id(message_body(&conn->reply), conn->guest_id);
    conn->reply.done = 0;
    conn->state = CONN_ANSWERING;
    poller_modify(conn->tcp->poller, &conn->watch, EPOLLOUT);
    conn_set_deadline(conn, DNS_TCP_IDLE_US);
}

static void conn_servfail(Conn *conn)
{
    message_clear(&conn->reply);
    message_alloc(&conn->reply, conn->question_end);
    (void)dns_message_error(message_body(&conn->reply), message_body(&conn->query),
                            conn->question_end, DNS_RCODE_SERVFAIL);
    conn_answer(conn);
}

static void server_ready(uint32_t events, void *user_data);

/* Returns 0 or -errno. */
static int conn_ask(Conn *conn, size_t index)
{
    int result;

    message_clear(&conn->reply);
    conn->query.done = 0;
    conn->query_sent = false;
    if (!dns_random_id(&conn->id)) {
        return -ENOBUFS;
    }
    result = dns_connect(conn->servers, index, SOCK_STREAM);
    if (result < 0) {
        return result;
    }
    conn->server_fd = result;
    dns_message_set_id(message_body(&conn->query), conn->id);
    result = poller_add(conn->tcp->poller, &conn->server_watch, conn->server_fd, EPOLLOUT,
                        server_ready, conn);
    if (result < 0) {
        conn_close_server(conn);
    }
    return result;
}

static void conn_ask_next(Conn *conn)
{
    conn_close_server(conn);
    while (conn->asked < conn->servers->count) {
        int result = conn_ask(conn, conn->asked++);

        if (result == 0) {
            conn_set_deadline(conn, DNS_TCP_SERVER_TIMEOUT_US);
            return;
        }
        if (dns_error_is_local(-result)) {
            conn->tcp->dropped++;
            break;
        }
    }
    conn_servfail(conn);
}

static void server_ready(uint32_t events, void *user_data)
{
    Conn *conn = user_data;
    IoResult result;

    (void)events;
    if (!conn->query_sent) {
        /* A failed connect() shows as the error of the first send(). */
        result = message_send(&conn->query, conn->server_fd);
        if (result == IO_DONE) {
            conn->query_sent = true;
            poller_modify(conn->tcp->poller, &conn->server_watch, EPOLLIN);
        } else if (result == IO_FAILED) {
            conn_ask_next(conn);
        }
        return;
    }
    result = message_recv(&conn->reply, conn->server_fd);
    if (result == IO_WAIT) {
        return;
    }
    if (result == IO_FAILED) {
        conn_ask_next(conn);
        return;
    }
    if (!dns_message_matches(message_body(&conn->reply), message_body_len(&conn->reply), conn->id,
                             message_body(&conn->query), message_body_len(&conn->query))) {
        message_clear(&conn->reply);
    } else if (dns_message_is_refusal(message_body(&conn->reply))) {
        conn_ask_next(conn);
    } else {
        conn_answer(conn);
    }
}

static void conn_read(Conn *conn)
{
    size_t done = conn->query.done;
    IoResult result = message_recv(&conn->query, conn->fd);

    if (result == IO_FAILED) {
        conn_close(conn);
        return;
    }
    if (result == IO_WAIT) {
        if (conn->query.done != done) {
            conn_set_deadline(conn, DNS_TCP_IDLE_US);
        }
        return;
    }
    if (!dns_message_is_query(message_body(&conn->query), message_body_len(&conn->query),
                              &conn->question_end)) {
        conn->tcp->dropped++;
        conn_close(conn);
        return;
    }
    conn->guest_id = dns_message_id(message_body(&conn->query));
    conn->state = CONN_ASKING;
    conn->servers = g_rc_box_acquire(conn->tcp->servers);
    conn->asked = 0;
    /* One query at a time: the next one waits in the socket, and the guest with it. */
    poller_modify(conn->tcp->poller, &conn->watch, 0);
    conn_ask_next(conn);
}

static void conn_write(Conn *conn)
{
    size_t done = conn->reply.done;
    IoResult result = message_send(&conn->reply, conn->fd);

    if (result == IO_FAILED) {
        conn_close(conn);
    } else if (result == IO_DONE) {
        conn_read_next(conn);
    } else if (conn->reply.done != done) {
        conn_set_deadline(conn, DNS_TCP_IDLE_US);
    }
}

static void conn_ready(uint32_t events, void *user_data)
{
    Conn *conn = user_data;

    (void)events;
    switch (conn->state) {
    case CONN_READING:
        conn_read(conn);
        break;
    case CONN_ASKING:
        /* Only HUP and ERR come now: nobody is left who could read the answer. */
        conn_close(conn);
        break;
    case CONN_ANSWERING:
        conn_write(conn);
        break;
    }
}

/* Takes @fd. */
static void conn_new(DnsTcp *tcp, int fd, const NetAddr *peer, uint16_t port)
{
    Conn *conn;

    if (!tcp->hooks.is_own_peer(peer, port, tcp->hooks.user_data)) {
        (void)close(fd);
        return;
    }
    if (tcp->conns.length >= DNS_TCP_CONNECTIONS_MAX) {
        tcp->dropped++;
        (void)close(fd);
        return;
    }
    conn = g_new0(Conn, 1);
    conn->tcp = tcp;
    conn->link.data = conn;
    conn->fd = fd;
    conn->server_fd = -1;
    if (poller_add(tcp->poller, &conn->watch, fd, EPOLLIN, conn_ready, conn) < 0) {
        tcp->dropped++;
        (void)close(fd);
        g_free(conn);
        return;
    }
    g_queue_push_tail_link(&tcp->conns, &conn->link);
    conn_set_deadline(conn, DNS_TCP_IDLE_US);
}

static void listener_pause(Listener *listener)
{
    DnsTcp *tcp = listener->tcp;

    poller_remove(tcp->poller, &listener->watch);
    listener->retry_us = g_get_monotonic_time() + LISTEN_RETRY_US;
    tcp->paused++;
    tcp_arm(tcp, listener->retry_us);
}

static void listener_ready(uint32_t events, void *user_data)
{
    Listener *listener = user_data;

    (void)events;
    for (int i = 0; i < ACCEPTS_PER_WAKEUP; i++) {
        struct sockaddr_storage sa;
        socklen_t sa_len = sizeof sa;
        NetAddr peer;
        uint16_t port;
        int fd =
            accept4(listener->fd, (struct sockaddr *)&sa, &sa_len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            if (netaddr_from_sockaddr((const struct sockaddr *)&sa, &peer, &port)) {
                peer = netaddr_unmap(&peer);
                conn_new(listener->tcp, fd, &peer, port);
            } else {
                (void)close(fd);
            }
        } else if (errno == EAGAIN) {
            return;
        } else if (errno == EINVAL) {
            poller_remove(listener->tcp->poller,
                          &listener->watch); /* destroyed (ss -K): for good */
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            /* EMFILE and its like leave the connection in the queue: the listener would wake us for ever. */
            listener_pause(listener);
            return;
        }
    }
}

static void listener_resume(Listener *listener)
{
    DnsTcp *tcp = listener->tcp;

    listener->retry_us = 0;
    tcp->paused--;
    if (poller_add(tcp->poller, &listener->watch, listener->fd, EPOLLIN, listener_ready, listener) <
        0) {
        listener_pause(listener);
    }
}

static void listener_free(gpointer data)
{
    Listener *listener = data;

    poller_remove(listener->tcp->poller, &listener->watch);
    (void)close(listener->fd);
    g_free(listener);
}

static void tcp_timeout(void *user_data)
{
    DnsTcp *tcp = user_data;
    int64_t now_us = g_get_monotonic_time();

    tcp->armed_us = -1;
    for (GList *at = tcp->conns.head; at != NULL;) {
        Conn *conn = at->data;

        at = at->next; /* conn may go */
        if (conn->deadline_us > now_us) {
            continue;
        }
        if (conn->state == CONN_ASKING) {
            conn_ask_next(conn);
        } else {
            conn_close(conn);
        }
    }
    for (guint i = 0; i < tcp->listeners->len; i++) {
        Listener *listener = g_ptr_array_index(tcp->listeners, i);

        if (listener->retry_us != 0 && listener->retry_us <= now_us) {
            listener_resume(listener);
        }
        if (listener->retry_us != 0) {
            tcp_arm(tcp, listener->retry_us);
        }
    }
    for (GList *at = tcp->conns.head; at != NULL; at = at->next) {
        tcp_arm(tcp, ((Conn *)at->data)->deadline_us);
    }
}

static bool refuse_listener(int fd, GError **error, const char *what, int code)
{
    (void)close(fd);
    fault_set(error, FAULT_RESOLVER, code, "DNS over TCP listener: %s", what);
    return false;
}

bool dns_tcp_add_listener(DnsTcp *tcp, int take_fd, GError **error)
{
    struct sockaddr_storage sa;
    socklen_t sa_len = sizeof sa;
    int listening = 0;
    socklen_t listening_len = sizeof listening;
    NetAddr addr;
    Listener *listener;
    int flags;
    int result;

    if (getsockname(take_fd, (struct sockaddr *)&sa, &sa_len) < 0 ||
        getsockopt(take_fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &listening_len) < 0) {
        result = errno;
        return refuse_listener(take_fd, error, g_strerror(result), result);
    }
    if (listening == 0 || !netaddr_from_sockaddr((const struct sockaddr *)&sa, &addr, NULL) ||
        !netaddr_is_loopback(&addr)) {
        return refuse_listener(take_fd, error, "not listening on a loopback address", EINVAL);
    }
    flags = fcntl(take_fd, F_GETFL);
    if (flags < 0 || fcntl(take_fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(take_fd, F_SETFD, FD_CLOEXEC) < 0) {
        result = errno;
        return refuse_listener(take_fd, error, g_strerror(result), result);
    }
    listener = g_new0(Listener, 1);
    listener->tcp = tcp;
    listener->fd = take_fd;
    result = poller_add(tcp->poller, &listener->watch, take_fd, EPOLLIN, listener_ready, listener);
    if (result < 0) {
        g_free(listener);
        return refuse_listener(take_fd, error, g_strerror(-result), -result);
    }
    g_ptr_array_add(tcp->listeners, listener);
    return true;
}

void dns_tcp_set_servers(DnsTcp *tcp, DnsServers *servers)
{
    DnsServers *old = tcp->servers;

    tcp->servers = g_rc_box_acquire(servers);
    g_rc_box_release(old);
}

uint64_t dns_tcp_dropped(const DnsTcp *tcp)
{
    return tcp->dropped;
}

DnsTcp *dns_tcp_new(Poller *poller, GMainContext *context, const DnsHooks *hooks,
                    DnsServers *servers)
{
    DnsTcp *tcp = g_new0(DnsTcp, 1);

    tcp->poller = poller;
    tcp->timer = timer_new(context, tcp_timeout, tcp);
    tcp->hooks = *hooks;
    tcp->servers = g_rc_box_acquire(servers);
    tcp->listeners = g_ptr_array_new_with_free_func(listener_free);
    g_queue_init(&tcp->conns);
    tcp->armed_us = -1;
    return tcp;
}

void dns_tcp_free(DnsTcp *tcp)
{
    if (tcp == NULL) {
        return;
    }
    while (tcp->conns.head != NULL) {
        conn_close(tcp->conns.head->data);
    }
    g_ptr_array_unref(tcp->listeners);
    g_rc_box_release(tcp->servers);
    timer_free(tcp->timer);
    g_free(tcp);
}
