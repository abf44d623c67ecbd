/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * forward_tcp.c - published TCP ports
 *
 * Does:     accepts clients, asks for a socket in the guest's namespace, tries the other family if the first refuses,
 *           hands the pair to relay.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   clients not at all: they may come in thousands and never speak.
 * Owns:     clients until they are joined.
 * Limits:   flows_max connections in all, three quarters of that for one publication, and its max=. At flows_max, and
 *           when the process or the host is out of fds, no listener is looked at until a connection ends or, for the
 *           latter, FORWARD_RETRY_US have passed: clients wait in the kernel's backlog, and nothing spins. A publication
 *           at its share has its own listeners parked likewise. At max= clients are reset.
 * States:   of one client: ASKED (waiting for the socket) -> CONNECTING (waiting for the guest's answer) -> joined.
 *           A refusal goes back to ASKED with the next address, or resets the client.
 */
#include "config.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "../fd.h"
#include "forward_private.h"

#define FORWARD_RETRY_US      (250 * 1000)
#define FORWARD_ACCEPT_BUDGET 128

struct ForwardTcp {
    Forward *forward;
    Poller *listeners; /* of its own, so that all listeners are paused at the cost of one */
    Poller *clients;
    RelayOwner owner; /* of the joined ones; their data is the Publication */
    Timer *retry;
    GQueue joining; /* ForwardClient */
    uint32_t
        serial; /* makes flow keys unique: two clients differ in our address alone where a listener has many */
    bool paused;
};

typedef struct ForwardClient {
    ForwardTcp *tcp;
    Listener *listener;
    int fd;
    PollerWatch client_watch; /* of fd: a client that gives up while the guest is silent */
    int guest_fd;
    PollerWatch watch; /* of guest_fd */
    uint64_t request;  /* to the process inside, 0 if none */
    NetAddr peer;
    uint16_t peer_port;
    NetAddr addresses[2];
    unsigned address_count;
    unsigned address_next;
    GList link;
} ForwardClient;

static void forward_tcp_update_pause(ForwardTcp *tcp, bool out_of_fds)
{
    unsigned flows = relays_count(tcp->forward->relays) + g_queue_get_length(&tcp->joining);
    bool pause = out_of_fds || flows >= tcp->forward->config.flows_max;

    if (pause != tcp->paused) {
        tcp->paused = pause;
        poller_pause(tcp->listeners, pause);
    }
    timer_set(tcp->retry, out_of_fds ? g_get_monotonic_time() + FORWARD_RETRY_US : -1);
}

void forward_tcp_room(ForwardTcp *tcp)
{
    if (tcp->paused) {
        forward_tcp_update_pause(tcp, false);
    }
}

static void forward_tcp_retry(void *user_data)
{
    forward_tcp_update_pause(user_data, false);
}

static unsigned forward_tcp_share(const ForwardTcp *tcp)
{
    return MAX(tcp->forward->config.flows_max * 3 / 4, 1);
}

/* A connection of @publication has ended. */
static void forward_tcp_release(ForwardTcp *tcp, Publication *publication)
{
    while (publication->parked->len > 0 && publication->flows <= forward_tcp_share(tcp)) {
        Listener *listener = g_ptr_array_index(publication->parked, publication->parked->len - 1);

        g_ptr_array_set_size(publication->parked, (gint)publication->parked->len - 1);
        (void)forward_tcp_listen(tcp,
                                 listener); /* its place in the epoll set was free a moment ago */
    }
    forward_release(tcp->forward, publication);
    forward_tcp_update_pause(tcp, false);
}

static void forward_relay_ended(void *relay_data, void *user_data)
{
    forward_tcp_release(user_data, relay_data);
}

/* @reset: the client gets RST; otherwise its fd has been handed over. */
static void forward_client_free(ForwardClient *client, bool reset)
{
    ForwardTcp *tcp = client->tcp;

    guestsock_cancel(tcp->forward->gs, client->request);
    poller_remove(tcp->clients, &client->watch);
    poller_remove(tcp->clients, &client->client_watch);
    if (client->guest_fd >= 0) {
        relay_reset(client->guest_fd); /* a FIN would say that the client had finished */
    }
    g_queue_unlink(&tcp->joining, &client->link);
    if (reset) {
        relay_reset(client->fd);
        forward_tcp_release(tcp, client->listener->publication);
    }
    g_free(client);
}

/* Reset, or closed both ways: nobody waits for the guest's answer any more. What the client said before is still to be passed
 * on, as it would reach a server that accepts late. */
static void forward_client_left(uint32_t events, void *user_data)
{
    ForwardClient *client = user_data;
    int queued = 0;

    if ((events & (EPOLLERR | EPOLLHUP)) != 0 &&
        (ioctl(client->fd, FIONREAD, &queued) < 0 || queued == 0)) {
        forward_client_free(client, true);
    }
}

static void forward_client_ask(ForwardClient *client);

static void forward_client_refused(ForwardClient *client, int errnum)
{
    ForwardTcp *tcp = client->tcp;

    if (forward_out_of_fds(errnum)) {
        tcp->forward->counters.over_limit++;
        tcp->forward->config.problem("limit reached: file descriptors", errnum,
                                     tcp->forward->config.user_data);
        forward_client_free(client, true);
        forward_tcp_update_pause(tcp, true);
        return;
    }
    if (client->address_next < client->address_count) {
        forward_client_ask(client);
        return;
    }
    tcp->forward->counters.refused++;
    forward_client_free(client, true);
}

/*
 * A socket that shows an address which is not the guest's is found by the guest's names for both ends, as takeover's are:
 * a segment the guest's kernel lost track of names it. Others are found by who the client is.
 */
static FlowKey forward_client_key(ForwardClient *client)
{
    NetAddr ends[2] = {{.family = AF_UNSPEC}, {.family = AF_UNSPEC}};
    uint16_t ports[2] = {0, 0};

    if (client->listener->source == MESSAGE_SOURCE_GUEST ||
        !forward_socket_names(client->guest_fd, ends, ports)) {
        return flow_key(&client->peer, client->peer_port, &ends[1], client->listener->host_port,
                        ++client->tcp->serial);
    }
    return flow_key(&ends[0], ports[0], &ends[1], ports[1], 0);
}

static void forward_client_join(ForwardClient *client)
{
    ForwardTcp *tcp = client->tcp;
    Publication *publication = client->listener->publication;
    FlowKey key = forward_client_key(client);
    RelayPair pair = {.client = client->fd,
                      .guest = fd_steal(&client->guest_fd),
                      .idle_us = MAX(client->listener->idle_us, 0),
                      .owner = &tcp->owner,
                      .data = publication};

    poller_remove(tcp->clients, &client->watch); /* before its fd moves to the relay's set */
    forward_client_free(client, false);
    /* A socket destroyed in the guest has freed its tuple before its relay was told. */
    relays_reset(tcp->forward->relays, &key);
    if (relays_join(tcp->forward->relays, &pair, &key) != 0) {
        forward_tcp_release(tcp, publication);
    }
}

static void forward_client_connected(uint32_t events, void *user_data)
{
    ForwardClient *client = user_data;
    int failed = 0;
    socklen_t len = sizeof(failed);

    (void)events;
    if (getsockopt(client->guest_fd, SOL_SOCKET, SO_ERROR, &failed, &len) < 0) {
        failed = errno;
    }
    if (failed == 0) {
        forward_client_join(client);
        return;
    }
    poller_remove(client->tcp->clients, &client->watch);
    fd_clear(&client->guest_fd);
    forward_client_refused(client, failed);
}

static void forward_client_answered(int fd, void *user_data)
{
    ForwardClient *client = user_data;
    int failed;

    client->request = 0;
    if (fd < 0) {
        forward_client_refused(client, -fd);
        return;
    }
    client->guest_fd = fd;
    failed = poller_add(client->tcp->clients, &client->watch, fd, EPOLLOUT,
                        forward_client_connected, client);
    if (failed != 0) {
        client->address_next = client->address_count; /* the end, with RST for both */
        forward_client_refused(client, -failed);
    }
}

static void forward_client_ask(ForwardClient *client)
{
    const NetAddr *addr = &client->addresses[client->address_next++];

    MessageSocketRequest request = {.addr = *addr,
                                    .port = client->listener->guest_port,
                                    .source = client->listener->source,
                                    .client = client->peer,
                                    .client_port = client->peer_port};

    client->request =
        guestsock_request(client->tcp->forward->gs, &request, forward_client_answered, client);
}

static void forward_client_new(ForwardTcp *tcp, Listener *listener, int take_fd,
                               const struct sockaddr_storage *sa)
{
    Forward *forward = tcp->forward;
    Publication *publication = listener->publication;
    ForwardClient *client;
    NetAddr peer;

    if (publication->max != 0 && publication->flows >= publication->max) {
        forward->counters.over_limit++;
        forward->config.problem("limit reached: max= of a published port", 0,
                                forward->config.user_data);
        relay_reset(take_fd);
        return;
    }
    client = g_new0(ForwardClient, 1);
    client->tcp = tcp;
    client->listener = listener;
    client->fd = take_fd;
    client->guest_fd = -1;
    client->link.data = client;
    (void)netaddr_from_sockaddr((const struct sockaddr *)sa, &peer, &client->peer_port);
    client->peer = netaddr_unmap(&peer);
    g_queue_push_tail_link(&tcp->joining, &client->link);
    publication->flows++;
    forward->counters.accepted++;
    /* If this fails the client's leaving is seen later, by the relay. */
    (void)poller_add(tcp->clients, &client->client_watch, take_fd, EPOLLET, forward_client_left,
                     client);
    client->address_count =
        forward_guest_addresses(forward, listener, client->peer.family, client->addresses);
    if (client->address_count == 0) {
        forward_client_refused(client, EADDRNOTAVAIL);
        return;
    }
    forward_client_ask(client);
}

/* accept(2): errors that belong to the one client that was next. Any other is the listener's own. */
static bool forward_accept_transient(int errnum)
{
    static const int transient[] = {ECONNABORTED, EINTR,       EPROTO,       ENOPROTOOPT,
                                    EHOSTDOWN,    ENONET,      EHOSTUNREACH, ENETDOWN,
                                    EOPNOTSUPP,   ENETUNREACH, ETIMEDOUT,    EPERM};

    for (size_t i = 0; i < G_N_ELEMENTS(transient); i++) {
        if (errnum == transient[i]) {
            return true;
        }
    }
    return false;
}

/* False when no more is to be accepted now. */
static bool forward_accept_failed(Listener *listener, int errnum)
{
    ForwardTcp *tcp = listener->forward->tcp;

    if (errnum == EAGAIN) {
        return false;
    }
    if (forward_out_of_fds(errnum)) {
        listener->forward->config.problem("limit reached: file descriptors", errnum,
                                          listener->forward->config.user_data);
        forward_tcp_update_pause(tcp, true);
        return false;
    }
    if (forward_accept_transient(errnum)) {
        return true;
    }
    forward_listener_lost(listener, errnum);
    return false;
}

static void forward_tcp_acceptable(uint32_t events, void *user_data)
{
    Listener *listener = user_data;
    ForwardTcp *tcp = listener->forward->tcp;

    (void)events;
    for (unsigned i = 0; i < FORWARD_ACCEPT_BUDGET && !tcp->paused; i++) {
        struct sockaddr_storage sa;
        socklen_t len = sizeof(sa);
        int fd;

        if (listener->publication->flows >= forward_tcp_share(tcp)) {
            poller_remove(tcp->listeners, &listener->watch);
            g_ptr_array_add(listener->publication->parked, listener);
            return;
        }
        fd = accept4(listener->fd, (struct sockaddr *)&sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (!forward_accept_failed(listener, errno)) {
                return;
            }
            continue;
        }
        forward_client_new(tcp, listener, fd, &sa);
        forward_tcp_update_pause(tcp, false);
    }
}

int forward_tcp_listen(ForwardTcp *tcp, Listener *listener)
{
    return poller_add(tcp->listeners, &listener->watch, listener->fd, EPOLLIN,
                      forward_tcp_acceptable, listener);
}

void forward_tcp_unlisten(ForwardTcp *tcp, Listener *listener)
{
    poller_remove(tcp->listeners, &listener->watch);
    (void)g_ptr_array_remove(listener->publication->parked, listener);
}

bool forward_tcp_cut(ForwardTcp *tcp, const Publication *publication, unsigned max)
{
    unsigned done = 0;
    GList *next;

    for (GList *link = tcp->joining.head; link != NULL && done < max; link = next) {
        ForwardClient *client = link->data;

        next = link->next;
        if (client->listener->publication == publication) {
            forward_client_free(client, true);
            done++;
        }
    }
    done += relays_reset_some(tcp->forward->relays, &tcp->owner, publication, max - done);
    return done < max;
}

ForwardTcp *forward_tcp_new(Forward *forward, GMainContext *context, GError **error)
{
    ForwardTcp *tcp = g_new0(ForwardTcp, 1);

    tcp->forward = forward;
    tcp->owner = (RelayOwner){forward_relay_ended, tcp};
    g_queue_init(&tcp->joining);
    tcp->retry = timer_new(context, forward_tcp_retry, tcp);
    tcp->listeners = poller_new(context, error);
    if (tcp->listeners != NULL) {
        tcp->clients = poller_new(context, error);
    }
    if (tcp->clients == NULL) {
        forward_tcp_free(tcp);
        return NULL;
    }
    return tcp;
}

void forward_tcp_free(ForwardTcp *tcp)
{
    if (tcp == NULL) {
        return;
    }
    while (!g_queue_is_empty(&tcp->joining)) {
        forward_client_free(g_queue_peek_head(&tcp->joining), true);
    }
    poller_free(tcp->clients);
    poller_free(tcp->listeners);
    timer_free(tcp->retry);
    g_free(tcp);
}
