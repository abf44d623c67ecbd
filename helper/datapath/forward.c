/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * forward.c - published ports: the registry
 *
 * Does:     keeps publications and their listeners; says which guest address a client is joined to.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   the supervisor: it alone binds host ports and says what they lead to.
 * Owns:     the listeners.
 * Not here: TCP (forward_tcp.c), UDP (forward_udp.c).
 */
#include "config.h"

#include "forward.h"

#include <errno.h>

#include "../fd.h"
#include "../portmap.h"
#include "forward_private.h"

/* Some hundred system calls at a time: well below a millisecond. */
#define FORWARD_REMOVE_BUDGET 64

static void publication_free(Publication *publication)
{
    g_ptr_array_unref(publication->parked);
    g_ptr_array_unref(publication->listeners);
    g_free(publication);
}

static void listener_free(Listener *listener)
{
    fd_close(listener->fd);
    g_free(listener);
}

Forward *forward_new(GMainContext *context, GuestSock *gs, Relays *relays,
                     const ForwardConfig *config, GError **error)
{
    g_autoptr(Forward) forward = g_new0(Forward, 1);

    forward->config = *config;
    forward->gs = gs;
    forward->relays = relays;
    forward->publications =
        g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)publication_free);
    forward->tcp = forward_tcp_new(forward, context, error);
    if (forward->tcp == NULL) {
        return NULL;
    }
    forward->udp = forward_udp_new(forward, context, error);
    return forward->udp == NULL ? NULL : g_steal_pointer(&forward);
}

void forward_free(Forward *forward)
{
    if (forward == NULL) {
        return;
    }
    /* Flows before the publications they refer to, and their listeners. */
    forward_tcp_free(forward->tcp);
    forward_udp_free(forward->udp);
    g_hash_table_unref(forward->publications);
    g_free(forward);
}

static Publication *forward_publication(Forward *forward, const MessageListen *listen)
{
    Publication *publication =
        g_hash_table_lookup(forward->publications, GUINT_TO_POINTER(listen->publication));

    if (publication == NULL) {
        publication = g_new0(Publication, 1);
        publication->id = listen->publication;
        publication->max = listen->max;
        publication->listeners = g_ptr_array_new_with_free_func((GDestroyNotify)listener_free);
        publication->parked = g_ptr_array_new();
        (void)g_hash_table_insert(forward->publications, GUINT_TO_POINTER(listen->publication),
                                  publication);
    }
    return publication;
}

static void forward_forget(Forward *forward, Publication *publication)
{
    (void)g_hash_table_remove(forward->publications, GUINT_TO_POINTER(publication->id));
}

static Listener *listener_new(Forward *forward, Publication *publication,
                              const MessageListen *listen, size_t index, int take_fd)
{
    Listener *listener = g_new0(Listener, 1);

    listener->forward = forward;
    listener->publication = publication;
    listener->fd = take_fd;
    listener->number = forward->next_number++;
    listener->host_port = (uint16_t)(listen->host_port + index);
    listener->guest_port = (uint16_t)(listen->guest_port + (listen->guest_range ? index : 0));
    listener->udp = (listen->protocol & (PORTMAP_UDP4 | PORTMAP_UDP6)) != 0;
    listener->idle_us = listen->idle_s < 0 ? -1 : listen->idle_s * G_USEC_PER_SEC;
    listener->guest_addr = listen->guest_addr;
    listener->source = (MessageSource)listen->source;
    return listener;
}

int forward_add(Forward *forward, const MessageListen *listen, const int *take_fds, size_t count)
{
    Publication *publication = forward_publication(forward, listen);
    guint before = publication->listeners->len;
    int failed = 0;

    for (size_t i = 0; i < count; i++) {
        Listener *listener = listener_new(forward, publication, listen, i, take_fds[i]);

        g_ptr_array_add(publication->listeners, listener);
        if (failed == 0) {
            failed = listener->udp ? forward_udp_listen(forward->udp, listener)
                                   : forward_tcp_listen(forward->tcp, listener);
        }
    }
    for (guint i = before; failed != 0 && i < publication->listeners->len; i++) {
        forward_unwatch(forward, g_ptr_array_index(publication->listeners, i));
    }
    if (failed != 0) {
        g_ptr_array_set_size(publication->listeners, (gint)before);
    }
    if (publication->listeners->len == 0) {
        forward_forget(forward, publication);
    }
    return failed;
}

void forward_release(Forward *forward, Publication *publication)
{
    publication->flows--;
    if (publication->removed && publication->flows == 0) {
        forward_forget(forward, publication);
    }
}

static bool forward_close_some(Forward *forward, Publication *publication)
{
    guint last = MIN(publication->closed + FORWARD_REMOVE_BUDGET, publication->listeners->len);

    for (; publication->closed < last; publication->closed++) {
        Listener *listener = g_ptr_array_index(publication->listeners, publication->closed);

        forward_unwatch(forward, listener);
        fd_clear(&listener->fd);
    }
    return last == publication->listeners->len;
}

bool forward_remove(Forward *forward, uint32_t publication_id, bool cut)
{
    Publication *publication =
        g_hash_table_lookup(forward->publications, GUINT_TO_POINTER(publication_id));

    if (publication == NULL || (publication->removed && !publication->removing)) {
        return true;
    }
    if (!publication->removed) {
        publication->removed = true;
        publication->removing = true;
        publication->flows++; /* so that it outlives its flows until all of this is done */
    }
    if (publication->closed < publication->listeners->len) {
        /* Without an own piece for flows if there are none: the common case is one piece in all. */
        if (!forward_close_some(forward, publication) || publication->flows > 1) {
            return false;
        }
    }
    if (publication->flows > 1 &&
        (!forward_udp_cut(forward->udp, publication, FORWARD_REMOVE_BUDGET) ||
         (cut && !forward_tcp_cut(forward->tcp, publication, FORWARD_REMOVE_BUDGET)))) {
        return false;
    }
    publication->removing = false;
    forward_release(forward, publication);
    return true;
}

void forward_unwatch(Forward *forward, Listener *listener)
{
    if (listener->udp) {
        forward_udp_unlisten(forward->udp, listener);
    } else {
        forward_tcp_unlisten(forward->tcp, listener);
    }
}

void forward_listener_lost(Listener *listener, int errnum)
{
    g_autofree char *what =
        g_strdup_printf("the listener of published port %u was lost", listener->host_port);
    Forward *forward = listener->forward;

    forward_unwatch(forward, listener);
    forward->config.problem(what, errnum, forward->config.user_data);
}

unsigned forward_guest_addresses(const Forward *forward, const Listener *listener,
                                 sa_family_t family, NetAddr ret[2])
{
    const NetAddr *own = family == AF_INET6 ? &forward->config.guest6 : &forward->config.guest;
    const NetAddr *other = family == AF_INET6 ? &forward->config.guest : &forward->config.guest6;
    unsigned count = 0;

    if (listener->guest_addr.family != AF_UNSPEC) {
        ret[count++] = listener->guest_addr;
        return count;
    }
    if (own->family != AF_UNSPEC) {
        ret[count++] = *own;
    }
    if (other->family != AF_UNSPEC) {
        ret[count++] = *other;
    }
    return count;
}

void forward_room(Forward *forward)
{
    forward_tcp_room(forward->tcp);
}

bool forward_out_of_fds(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ETOOMANYREFS || errnum == ENOBUFS ||
           errnum == ENOMEM;
}

const ForwardCounters *forward_counters(const Forward *forward)
{
    return &forward->counters;
}

bool forward_socket_names(int fd, NetAddr ret_ends[2], uint16_t ret_ports[2])
{
    struct sockaddr_storage own;
    struct sockaddr_storage peer;
    socklen_t own_len = sizeof(own);
    socklen_t peer_len = sizeof(peer);

    return getsockname(fd, (struct sockaddr *)&own, &own_len) == 0 &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 &&
           netaddr_from_sockaddr((const struct sockaddr *)&own, &ret_ends[0], &ret_ports[0]) &&
           netaddr_from_sockaddr((const struct sockaddr *)&peer, &ret_ends[1], &ret_ports[1]);
}

bool forward_owns(const Forward *forward, const FrameView *view)
{
    FlowKey key = flow_key(&view->dst, view->dst_port, &view->src, view->src_port, 0);

    return forward_udp_owns(forward->udp, &key);
}
