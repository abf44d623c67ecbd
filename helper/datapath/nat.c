/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * nat.c - libslirp on GLib's main loop
 *
 * Does:     feeds frames in, hands frames out, polls libslirp's sockets, and sleeps when it holds none.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   libslirp not to be safe with hostile frames: everything comes through the gate.
 * Owns:     the Slirp, an epoll set of the sockets it waits on: poll(2) over thousands of them would cost more than libslirp.
 * Instead of libc: connect(2), because libslirp cannot stand one of its errors: see nat_connect_errno().
 * Not here: policy (gate.c). libslirp's own loopback check is off, because DNS over TCP goes to a loopback port, and because
 *           it would not hold: it looks at the virtual address alone.
 */
#include "config.h"

#include "nat.h"

#include <errno.h>
#include <slirp/libslirp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <net/ethernet.h>

#include "../fault.h"
#include "poller.h"

/* libslirp: slirp_update_timeout() caps what it returns at this. */
#define NAT_NO_TIMER_MS 1000
/* Then a socket is offered again to an epoll that had no memory for it. */
#define NAT_RETRY_MS 100
/* Renew libslirp's clock before a frame if it is older than this: its UDP timeouts count from it. */
#define NAT_CLOCK_STALE_US 20000
/* Sockets looked at in one turn; the others are still ready in the next. */
#define NAT_EVENTS    256
#define NAT_PORT_DHCP 67
/* RELEASE and INFORM are rare, and no others go unanswered in a guest that means well. */
#define NAT_DHCP_UNANSWERED_MAX 256

typedef struct NatPoll {
    int fd;
    uint32_t events;  /* EPOLL* bits it is in the epoll set for */
    uint32_t revents; /* of the dispatch under way */
    uint64_t round;   /* of the last slirp_pollfds_fill() that named it */
    guint index;      /* in Nat.active */
} NatPoll;

typedef struct NatSource {
    GSource base;
    Nat *nat;
    gpointer tag;
} NatSource;

typedef struct NatSender {
    NetAddr addr;
    uint8_t mac[FRAME_MAC_LEN];
} NatSender;

struct Nat {
    Slirp *slirp;
    NatHooks hooks;
    GSource *source;
    int epoll_fd;
    GPtrArray *polls;      /* NatPoll or NULL, indexed by fd */
    GPtrArray *active;     /* the same NatPolls, in no order */
    GHashTable *sockets;   /* fds libslirp has registered */
    bool unwatched;        /* some socket, for want of memory */
    bool in_rst;           /* libslirp is looking at a RST of the guest */
    const FrameView *view; /* of the frame it is looking at, or NULL */
    NetAddr gateway;
    bool answered; /* it has sent something since then */
    unsigned dhcp_unanswered;
    uint64_t round;
    int64_t clock_us;       /* when libslirp last renewed its clock */
    int64_t due_us;         /* when it wants to be called even without an event, or -1 */
    NatSender announced[2]; /* last, IPv4 and IPv6 */
    struct sockaddr_in outbound4;
    struct sockaddr_in6 outbound6;
};

/* libslirp is looking at a frame of the guest, on this thread. */
static _Thread_local bool nat_in_slirp;

int nat_connect_errno(int errnum)
{
    return nat_in_slirp && errnum == ECONNREFUSED ? EINPROGRESS : errnum;
}

/* The executable's symbols stand before libc's, for libraries too. Weak, for programs that bring a network of their own. */
__attribute__((weak)) int connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    int result = (int)syscall(SYS_connect, fd, addr, len);

    if (result < 0) {
        errno = nat_connect_errno(errno);
    }
    return result;
}

/* SlirpCb.send_packet */
static ssize_t nat_send_packet(const void *buffer, size_t len, void *opaque)
{
    Nat *nat = opaque;

    nat->answered = true;
    nat->hooks.send(buffer, len, nat->hooks.user_data);
    return (ssize_t)len;
}

/* SlirpCb.guest_error */
static void nat_guest_error(const char *message, void *opaque)
{
    Nat *nat = opaque;

    nat->hooks.log(message, nat->hooks.user_data);
}

/* SlirpCb.clock_get_ns: CLOCK_MONOTONIC, as all our times */
static int64_t nat_clock_get_ns(void *opaque)
{
    (void)opaque;
    return g_get_monotonic_time() * 1000;
}

/*
 * SlirpCb.timer_new_opaque, timer_free, timer_mod. The one timer there is sends router advertisements, which a configured
 * namespace must not get: they would add addresses and routes, and libslirp opens resolv.conf for them. It never fires.
 */
static void *nat_timer_new_opaque(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    (void)id;
    (void)cb_opaque;
    return opaque;
}

static void nat_timer_free(void *timer, void *opaque)
{
    (void)timer;
    (void)opaque;
}

static void nat_timer_mod(void *timer, int64_t expire_time_ms, void *opaque)
{
    (void)timer;
    (void)expire_time_ms;
    (void)opaque;
}

/* SlirpCb.register_poll_fd */
static void nat_register_poll_fd(int fd, void *opaque)
{
    Nat *nat = opaque;
    int one = 1;

    if (fd < 0) {
        return; /* udp_attach() of libslirp says so of a socket it could not make */
    }
    /* libslirp asks nobody whether he still lives: a server that vanished would be held for ever. Of UDP it is ignored. */
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    (void)g_hash_table_add(nat->sockets, GINT_TO_POINTER(fd));
    if (nat->view != NULL && nat->hooks.opened != NULL) {
        nat->hooks.opened(fd, nat->view, nat->hooks.user_data);
    }
}

static void nat_poll_drop(Nat *nat, int fd)
{
    NatPoll *slot = (guint)fd < nat->polls->len ? g_ptr_array_index(nat->polls, fd) : NULL;

    if (slot == NULL) {
        return;
    }
    (void)epoll_ctl(nat->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    g_ptr_array_index(nat->polls, fd) = NULL;
    (void)g_ptr_array_remove_index_fast(nat->active, slot->index);
    if (slot->index < nat->active->len) {
        ((NatPoll *)g_ptr_array_index(nat->active, slot->index))->index = slot->index;
    }
    g_free(slot);
}

/* SlirpCb.unregister_poll_fd: called before the fd is closed, whose number may come back at once as another's. */
static void nat_unregister_poll_fd(int fd, void *opaque)
{
    Nat *nat = opaque;

    if (nat->in_rst) {
        struct linger hard = {.l_onoff = 1, .l_linger = 0};

        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    }
    (void)g_hash_table_remove(nat->sockets, GINT_TO_POINTER(fd));
    if (nat->hooks.closed != NULL) {
        nat->hooks.closed(fd, nat->hooks.user_data);
    }
    nat_poll_drop(nat, fd);
}

/* SlirpCb.notify: only guestfwd needs it. */
static void nat_notify(void *opaque)
{
    (void)opaque;
}

static void nat_init_completed(Slirp *slirp, void *opaque)
{
    (void)slirp;
    (void)opaque;
}

static const SlirpCb nat_callbacks = {
    .send_packet = nat_send_packet,
    .guest_error = nat_guest_error,
    .clock_get_ns = nat_clock_get_ns,
    .timer_free = nat_timer_free,
    .timer_mod = nat_timer_mod,
    .register_poll_fd = nat_register_poll_fd,
    .unregister_poll_fd = nat_unregister_poll_fd,
    .notify = nat_notify,
    .init_completed = nat_init_completed,
    .timer_new_opaque = nat_timer_new_opaque,
};

static uint32_t nat_events_to_epoll(int events)
{
    return ((events & SLIRP_POLL_IN) ? EPOLLIN : 0U) | ((events & SLIRP_POLL_OUT) ? EPOLLOUT : 0U) |
           ((events & SLIRP_POLL_PRI) ? EPOLLPRI : 0U) |
           ((events & SLIRP_POLL_ERR) ? EPOLLERR : 0U) |
           ((events & SLIRP_POLL_HUP) ? EPOLLHUP : 0U);
}

static int nat_events_from_epoll(uint32_t events)
{
    return ((events & EPOLLIN) ? SLIRP_POLL_IN : 0) | ((events & EPOLLOUT) ? SLIRP_POLL_OUT : 0) |
           ((events & EPOLLPRI) ? SLIRP_POLL_PRI : 0) | ((events & EPOLLERR) ? SLIRP_POLL_ERR : 0) |
           ((events & EPOLLHUP) ? SLIRP_POLL_HUP : 0);
}

/* SlirpAddPollCb: the index is the fd, so that a socket keeps its place while others come and go. Only what changes is told
 * to the kernel: libslirp names all its sockets anew in each turn of the loop. */
static int nat_add_poll(int fd, int events, void *opaque)
{
    Nat *nat = opaque;
    struct epoll_event event = {.events = nat_events_to_epoll(events)};
    NatPoll *slot;

    if ((guint)fd >= nat->polls->len) {
        g_ptr_array_set_size(nat->polls, fd + 1);
    }
    slot = g_ptr_array_index(nat->polls, fd);
    if (slot == NULL) {
        slot = g_new0(NatPoll, 1);
        slot->fd = fd;
        slot->events = event.events;
        slot->index = nat->active->len;
        event.data.ptr = slot;
        if (epoll_ctl(nat->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
            /* ENOMEM, ENOSPC (sysctl fs.epoll.max_user_watches): nothing would ever come from it. */
            g_free(slot);
            nat->unwatched = true;
            return fd;
        }
        g_ptr_array_index(nat->polls, fd) = slot;
        g_ptr_array_add(nat->active, slot);
    } else if (slot->events != event.events) {
        slot->events = event.events;
        event.data.ptr = slot;
        (void)epoll_ctl(nat->epoll_fd, EPOLL_CTL_MOD, fd, &event);
    }
    slot->round = nat->round;
    return fd;
}

/* SlirpGetREventsCb */
static int nat_get_revents(int index, void *opaque)
{
    Nat *nat = opaque;
    const NatPoll *slot =
        index >= 0 && (guint)index < nat->polls->len ? g_ptr_array_index(nat->polls, index) : NULL;

    return slot == NULL ? 0 : nat_events_from_epoll(slot->revents);
}

static int nat_no_revents(int index, void *opaque)
{
    (void)index;
    (void)opaque;
    return 0;
}

static void nat_forget_unwanted(Nat *nat)
{
    /* From the end: dropping one moves the last into its place. */
    for (guint i = nat->active->len; i > 0; i--) {
        const NatPoll *slot = g_ptr_array_index(nat->active, i - 1);

        if (slot->round != nat->round) {
            nat_poll_drop(nat, slot->fd);
        }
    }
}

static gboolean nat_prepare(GSource *source, gint *timeout_ms)
{
    Nat *nat = ((NatSource *)source)->nat;
    uint32_t timeout = UINT32_MAX;

    nat->round++;
    nat->unwatched = false;
    slirp_pollfds_fill(nat->slirp, &timeout, nat_add_poll, nat);
    nat_forget_unwanted(nat);
    if (nat->unwatched) {
        timeout = MIN(timeout, NAT_RETRY_MS);
    }
    if (timeout >= NAT_NO_TIMER_MS) {
        nat->due_us = -1;
        *timeout_ms = -1;
    } else {
        nat->due_us = g_get_monotonic_time() + (int64_t)timeout * 1000;
        *timeout_ms = (gint)timeout;
    }
    return FALSE;
}

static gboolean nat_check(GSource *source)
{
    Nat *nat = ((NatSource *)source)->nat;

    return (nat->due_us >= 0 && g_get_monotonic_time() >= nat->due_us) ||
           g_source_query_unix_fd(source, ((NatSource *)source)->tag) != 0;
}

static gboolean nat_dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
    Nat *nat = ((NatSource *)source)->nat;
    struct epoll_event ready[NAT_EVENTS];
    int count = epoll_wait(nat->epoll_fd, ready, NAT_EVENTS, 0);

    (void)callback;
    (void)user_data;
    for (int i = 0; i < count; i++) {
        ((NatPoll *)ready[i].data.ptr)->revents = ready[i].events;
    }
    nat->clock_us = g_get_monotonic_time();
    slirp_pollfds_poll(nat->slirp, 0, nat_get_revents, nat);
    /* libslirp may have closed any of them meanwhile: what is left is found among the living. */
    for (guint i = 0; count > 0 && i < nat->active->len; i++) {
        ((NatPoll *)g_ptr_array_index(nat->active, i))->revents = 0;
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs nat_source_funcs = {
    .prepare = nat_prepare,
    .check = nat_check,
    .dispatch = nat_dispatch,
};

static void nat_fill_config(Nat *nat, SlirpConfig *config, const Settings *settings, unsigned mtu,
                            bool ipv6)
{
    const GuestSettings *guest = &settings->guest;
    NetAddr dhcp = netcidr_host(&guest->cidr, SETTINGS_HOST_DHCP);

    config->version = 4;
    config->in_enabled = true;
    config->vnetwork = guest->cidr.net.v4;
    config->vnetmask.s_addr = htonl(~(uint32_t)0 << (32 - guest->cidr.prefix));
    config->vhost = guest->gateway.v4;
    nat->gateway = guest->gateway;
    config->vdhcp_start = dhcp.v4; /* must lie inside the network, even if DHCP is off */
    config->vnameserver = guest->dns.v4;
    config->in6_enabled = ipv6;
    config->vprefix_addr6 = guest->cidr6.net.v6;
    config->vprefix_len = guest->cidr6.prefix;
    config->vhost6 = guest->gateway6.v6;
    config->vnameserver6 = guest->dns6.v6;
    config->if_mtu = mtu;
    config->if_mru = mtu;
    config->disable_dhcp = !guest->autoconf;
    config->disable_dns = true;
    if (settings->outbound4.family == AF_INET) {
        struct sockaddr_storage sa;

        (void)netaddr_to_sockaddr(&settings->outbound4, 0, &sa);
        memcpy(&nat->outbound4, &sa, sizeof(nat->outbound4));
        config->outbound_addr = &nat->outbound4;
    }
    if (settings->outbound6.family == AF_INET6) {
        struct sockaddr_storage sa;

        (void)netaddr_to_sockaddr(&settings->outbound6, 0, &sa);
        memcpy(&nat->outbound6, &sa, sizeof(nat->outbound6));
        config->outbound_addr6 = &nat->outbound6;
    }
}

Nat *nat_new(const Settings *settings, unsigned mtu, bool ipv6, GMainContext *context,
             const NatHooks *hooks, GError **error)
{
    g_autoptr(Nat) nat = g_new0(Nat, 1);
    SlirpConfig config = {0};

    nat->hooks = *hooks;
    nat->polls = g_ptr_array_new();
    nat->active = g_ptr_array_new();
    nat->sockets = g_hash_table_new(NULL, NULL);
    nat->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (nat->epoll_fd < 0) {
        fault_set(error, FAULT_INTERNAL, errno, "epoll_create1: %s", g_strerror(errno));
        return NULL;
    }
    nat_fill_config(nat, &config, settings, mtu, ipv6);
    nat->slirp = slirp_new(&config, &nat_callbacks, nat);
    if (nat->slirp == NULL) {
        fault_set(error, FAULT_INTERNAL, 0, "libslirp %s refuses its configuration",
                  slirp_version_string());
        return NULL;
    }
    nat->source = g_source_new(&nat_source_funcs, sizeof(NatSource));
    ((NatSource *)nat->source)->nat = nat;
    ((NatSource *)nat->source)->tag = g_source_add_unix_fd(nat->source, nat->epoll_fd, G_IO_IN);
    poller_attach_source(nat->source, context);
    return g_steal_pointer(&nat);
}

void nat_free(Nat *nat)
{
    if (nat == NULL) {
        return;
    }
    if (nat->slirp != NULL) {
        slirp_cleanup(nat->slirp);
    }
    if (nat->source != NULL) {
        g_source_destroy(nat->source);
        g_source_unref(nat->source);
    }
    while (nat->active->len > 0) {
        nat_poll_drop(nat, ((NatPoll *)g_ptr_array_index(nat->active, 0))->fd);
    }
    if (nat->epoll_fd >= 0) {
        (void)close(nat->epoll_fd);
    }
    g_ptr_array_unref(nat->polls);
    g_ptr_array_unref(nat->active);
    g_hash_table_unref(nat->sockets);
    g_free(nat);
}

unsigned nat_sockets(const Nat *nat)
{
    return g_hash_table_size(nat->sockets);
}

/*
 * What libslirp 4.7.0 has for an address whose link address it does not know waits in its queue, and a guest that never answers
 * brings that queue into a state in which if_start() turns for ever. So libslirp learns of each sender before it hears of its
 * packet. It remembers 16 a family.
 */
static void nat_announce(Nat *nat, const uint8_t *frame, const FrameView *view)
{
    const uint8_t *mac = frame + FRAME_MAC_LEN;
    NatSender *last = &nat->announced[view->src.family == AF_INET6];
    uint8_t out[FRAME_ANNOUNCEMENT_MAX];

    if (view->ethertype == ETHERTYPE_ARP ||
        (netaddr_equal(&last->addr, &view->src) && memcmp(last->mac, mac, FRAME_MAC_LEN) == 0)) {
        return;
    }
    last->addr = view->src;
    memcpy(last->mac, mac, FRAME_MAC_LEN);
    slirp_input(nat->slirp, out,
                (int)frame_build_announcement(out, frame, mac, &view->src, &view->dst));
}

static bool nat_is_dhcp(const Nat *nat, const FrameView *view)
{
    return view->protocol == IPPROTO_UDP && view->dst_port == NAT_PORT_DHCP &&
           view->dst.family == AF_INET &&
           (view->dst.v4.s_addr == INADDR_BROADCAST || netaddr_equal(&view->dst, &nat->gateway));
}

/*
 * bootp_reply() of libslirp loses the answer it has begun if no lease is left: a buffer of the MTU's size for each request, as long
 * as the guest likes to go on. All it answers is answered before slirp_input() returns.
 */
static void nat_dhcp_done(Nat *nat)
{
    if (!nat->answered && ++nat->dhcp_unanswered == NAT_DHCP_UNANSWERED_MAX) {
        nat->hooks.log("DHCP is off from now on: the guest has asked too often for what it cannot "
                       "have",
                       nat->hooks.user_data);
    }
}

void nat_input(Nat *nat, const uint8_t *frame, size_t len, const FrameView *view)
{
    int64_t now = g_get_monotonic_time();
    bool dhcp = nat_is_dhcp(nat, view);

    if (dhcp && nat->dhcp_unanswered >= NAT_DHCP_UNANSWERED_MAX) {
        return;
    }
    if (now - nat->clock_us > NAT_CLOCK_STALE_US) {
        nat->clock_us = now;
        slirp_pollfds_poll(nat->slirp, 0, nat_no_revents, nat);
    }
    nat_announce(nat, frame, view);
    nat->in_rst = view->protocol == IPPROTO_TCP && (view->tcp_flags & FRAME_TCP_RST) != 0;
    nat->view = view;
    nat->answered = false;
    nat_in_slirp = true;
    slirp_input(nat->slirp, frame, (int)len);
    nat_in_slirp = false;
    nat->view = NULL;
    nat->in_rst = false;
    if (dhcp) {
        nat_dhcp_done(nat);
        nat->announced[0].addr.family = AF_UNSPEC; /* each lease takes a place among the 16 */
        nat_announce(nat, frame, view);
    }
}

static bool nat_socket_matches(int fd, const NetAddr *local, uint16_t local_port, uint16_t to_port)
{
    struct sockaddr_storage own;
    struct sockaddr_storage peer;
    socklen_t own_len = sizeof(own);
    socklen_t peer_len = sizeof(peer);
    NetAddr addr;
    uint16_t port;

    return getsockname(fd, (struct sockaddr *)&own, &own_len) == 0 &&
           netaddr_from_sockaddr((const struct sockaddr *)&own, &addr, &port) &&
           port == local_port && netaddr_equal(&addr, local) &&
           getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 &&
           netaddr_from_sockaddr((const struct sockaddr *)&peer, &addr, &port) && port == to_port &&
           netaddr_is_loopback(&addr);
}

bool nat_owns_local(const Nat *nat, const NetAddr *local, uint16_t local_port, uint16_t to_port)
{
    GHashTableIter iter;
    gpointer key;

    g_hash_table_iter_init(&iter, nat->sockets);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        if (nat_socket_matches(GPOINTER_TO_INT(key), local, local_port, to_port)) {
            return true;
        }
    }
    return false;
}
