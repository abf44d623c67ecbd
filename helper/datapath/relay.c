/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * relay.c - relays: the table of them, their beginning and their end
 *
 * Does:     lists relays by tuple, pumps the young ones itself, gives each that grows to the worker thread that has fewest, takes
 *           back those that have ended.
 * Runs in:  the datapath, on the loop thread.
 * Owns:     the workers, and the memory of every relay.
 * Lifetime: a relay ends on its worker's thread, which sends it back here (relays_take_ended()); its owner is told then, and
 *           its memory goes. A relay ended from here, for being idle or by relays_reset(), leaves the table at once, so that
 *           its tuple can be used again, and its memory goes when the worker has let go of it.
 * Not here: threads (relay_worker.c), bytes (relay_pump.c), pipes (relay_pipe.c).
 */
#include "config.h"

#include "relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#include "../fault.h"
#include "../fd.h"
#include "limits.h"
#include "poller.h"
#include "relay_private.h"

#define RELAY_THREADS_MAX 4
#define RELAY_PIPES_MAX   256

/* A connection for one request and its answer is over sooner than a thread is awake. What is copied for it here at once always
 * fits a socket on which nothing is queued. */
#define RELAY_YOUNG_CHUNK  ((size_t)4 * 1024)
#define RELAY_YOUNG_BUDGET ((size_t)16 * 1024)
#define RELAY_YOUNG_TURNS  16

struct Relays {
    FlowTable *flows;
    GSource *source;      /* of ended_fd */
    int ended_fd;         /* an eventfd: there is something in ended */
    pthread_mutex_t lock; /* of ended */
    Relay *ended;
    uint64_t ever;
    unsigned alive; /* relays not freed yet, listed or not */
    unsigned threads;
    unsigned next; /* worker, among those with the same load */
    GSource *young_source;
    RelayWorker young; /* without a thread */
    RelayWorker workers[];
};

void relay_reset(int take_fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(take_fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    fd_close(take_fd);
}

void relays_take_ended(Relays *relays, Relay *first, Relay *last)
{
    bool was_empty;

    (void)pthread_mutex_lock(&relays->lock);
    was_empty = relays->ended == NULL;
    last->next = relays->ended;
    relays->ended = first;
    (void)pthread_mutex_unlock(&relays->lock);
    if (was_empty) {
        (void)eventfd_write(relays->ended_fd, 1);
    }
}

static void relays_bury(Relays *relays, Relay *relay)
{
    while (relay != NULL) {
        Relay *next = relay->next;

        if (!relay->told) {
            flow_table_remove(relays->flows, &relay->flow);
            relay->owner->ended(relay->data, relay->owner->user_data);
        }
        relays->alive--;
        g_free(relay);
        relay = next;
    }
}

static void relays_collect(Relays *relays)
{
    Relay *ended;
    eventfd_t count;

    (void)eventfd_read(relays->ended_fd, &count);
    (void)pthread_mutex_lock(&relays->lock);
    ended = relays->ended;
    relays->ended = NULL;
    (void)pthread_mutex_unlock(&relays->lock);
    relays_bury(relays, ended);
}

static gboolean relays_young_ready(gint fd, GIOCondition condition, gpointer user_data)
{
    Relays *relays = user_data;

    (void)fd;
    (void)condition;
    relays_bury(relays, relay_worker_turn(&relays->young));
    return G_SOURCE_CONTINUE;
}

static gboolean relays_readable(gint fd, GIOCondition condition, gpointer user_data)
{
    (void)fd;
    (void)condition;
    relays_collect(user_data);
    return G_SOURCE_CONTINUE;
}

/* FlowEndFunc: idle for too long, or all is ending. */
static void relay_flow_ended(Flow *flow, FlowEnd why, void *user_data)
{
    Relay *relay = (Relay *)flow;

    (void)user_data;
    relay->told = true;
    relay_worker_abort(relay);
    if (why != FLOW_END_TABLE) {
        relay->owner->ended(relay->data, relay->owner->user_data);
    }
}

/* FlowSeenFunc */
static int64_t relay_flow_seen(const Flow *flow)
{
    return atomic_load_explicit(&((const Relay *)flow)->seen_us, memory_order_relaxed);
}

static GSource *relays_source(Relays *relays, int fd, GUnixFDSourceFunc func, GMainContext *context)
{
    GSource *source = g_unix_fd_source_new(fd, G_IO_IN);

    g_source_set_callback(source, G_SOURCE_FUNC(func), relays, NULL);
    poller_attach_source(source, context);
    return source;
}

Relays *relays_new(GMainContext *context, unsigned threads, unsigned pipes_max, GError **error)
{
    unsigned count = threads != 0 ? threads : limits_cores(RELAY_THREADS_MAX);
    Relays *relays = g_malloc0(sizeof(Relays) + count * sizeof(RelayWorker));
    unsigned pipes = MIN(pipes_max, RELAY_PIPES_MAX);

    relays->ended_fd = -1;
    (void)pthread_mutex_init(&relays->lock, NULL);
    relays->flows = flow_table_new(context, G_MAXUINT, relay_flow_ended, relays);
    flow_table_set_seen(relays->flows, relay_flow_seen);
    if (!relay_worker_init(&relays->young, relays, RELAY_YOUNG_CHUNK, error)) {
        relays_free(relays);
        return NULL;
    }
    relays->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (relays->ended_fd < 0) {
        fault_set(error, FAULT_INTERNAL, errno, "eventfd: %s", g_strerror(errno));
        relays_free(relays);
        return NULL;
    }
    relays->young.budget = RELAY_YOUNG_BUDGET;
    relays->source = relays_source(relays, relays->ended_fd, relays_readable, context);
    relays->young_source =
        relays_source(relays, relays->young.epoll_fd, relays_young_ready, context);
    while (relays->threads < count) {
        RelayWorker *worker = &relays->workers[relays->threads++];

        worker->brisk.never = count == 1;
        if (!relay_worker_init(worker, relays, RELAY_BUFFER, error) ||
            !relay_worker_start(worker, pipes / count + (relays->threads <= pipes % count),
                                error)) {
            relays_free(relays);
            return NULL;
        }
    }
    return relays;
}

static void relays_clear_source(GSource **source)
{
    if (*source != NULL) {
        g_source_destroy(*source);
        g_source_unref(*source);
        *source = NULL;
    }
}

void relays_free(Relays *relays)
{
    if (relays == NULL) {
        return;
    }
    flow_table_free(relays->flows);
    while (relays->alive > 0) {
        struct pollfd wait[] = {{.fd = relays->ended_fd, .events = POLLIN},
                                {.fd = relays->young.epoll_fd, .events = POLLIN}};

        (void)poll(wait, G_N_ELEMENTS(wait), -1);
        relays_bury(relays, relay_worker_turn(&relays->young));
        relays_collect(relays);
    }
    relay_worker_clear(&relays->young);
    for (unsigned i = 0; i < relays->threads; i++) {
        relay_worker_clear(&relays->workers[i]);
    }
    relays_clear_source(&relays->source);
    relays_clear_source(&relays->young_source);
    fd_close(relays->ended_fd);
    (void)pthread_mutex_destroy(&relays->lock);
    g_free(relays);
}

static RelayWorker *relays_worker(Relays *relays)
{
    RelayWorker *best = NULL;
    unsigned least = G_MAXUINT;

    for (unsigned i = 0; i < relays->threads; i++) {
        RelayWorker *worker = &relays->workers[(relays->next + i) % relays->threads];
        unsigned load = atomic_load_explicit(&worker->load, memory_order_relaxed);

        if (load < least) {
            least = load;
            best = worker;
        }
    }
    relays->next++;
    return best;
}

void relays_grow(Relays *relays, Relay *relay)
{
    int failed;

    relay->turns++;
    if (relay->wait == RELAY_WAIT_EVENT && relay->in.held == 0 && relay->out.held == 0 &&
        relay->turns < RELAY_YOUNG_TURNS) {
        return;
    }
    /* What is held goes on when its sink can be written to, which may be so now: adding the socket tells. */
    relay->guest.watches_writing |= relay->in.held > 0;
    relay->client.watches_writing |= relay->out.held > 0;
    relay_worker_give(relay);
    relay->worker = relays_worker(relays);
    failed = relay_worker_take(relay->worker, relay);
    if (failed != 0 && !atomic_load(&relay->aborted)) {
        /* The thread has never heard of it. */
        relay->worker = &relays->young;
        atomic_fetch_add(&relays->young.load, 1);
        relay_break(relay);
    }
}

/* Urgent data stays where it is in the stream, as RFC 6093 section 6 wants it; without this recv(2) leaves it out. */
static void relay_take_urgent_in_line(int fd)
{
    int one = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one));
}

int relays_join(Relays *relays, const RelayPair *take_pair, const FlowKey *key)
{
    Relay *relay = g_new0(Relay, 1);
    int failed;

    relay->owner = take_pair->owner;
    relay->data = take_pair->data;
    relay->flow.key = *key;
    relay->worker = &relays->young;
    atomic_init(&relay->seen_us, g_get_monotonic_time());
    relay->client = (RelaySide){.relay = relay, .fd = take_pair->client, .writable = true};
    relay->guest = (RelaySide){.relay = relay, .fd = take_pair->guest, .writable = true};
    relay->in =
        (RelayDirection){.source = &relay->client, .sink = &relay->guest, .pipe = RELAY_PIPE_NONE};
    relay->out =
        (RelayDirection){.source = &relay->guest, .sink = &relay->client, .pipe = RELAY_PIPE_NONE};
    relay_take_urgent_in_line(take_pair->client);
    relay_take_urgent_in_line(take_pair->guest);
    flow_table_insert(relays->flows, &relay->flow, take_pair->idle_us);
    relays->alive++;
    relays->ever++;
    failed = relay_worker_take(relay->worker, relay);
    if (failed == 0) {
        return 0;
    }
    flow_table_remove(relays->flows, &relay->flow);
    relay->told = true;
    if (!atomic_load(&relay->aborted)) {
        /* The worker has never heard of it. */
        relay_reset(relay->client.fd);
        relay_reset(relay->guest.fd);
        relays->alive--;
        g_free(relay);
    }
    return failed;
}

unsigned relays_count(const Relays *relays)
{
    return flow_table_count(relays->flows);
}

const RelayOwner *relays_lookup(const Relays *relays, const FlowKey *key, void **ret_data)
{
    const Relay *relay = (const Relay *)flow_table_lookup(relays->flows, key);

    if (relay == NULL) {
        return NULL;
    }
    *ret_data = relay->data;
    return relay->owner;
}

static void relays_reset_one(Relays *relays, Relay *relay)
{
    flow_table_remove(relays->flows, &relay->flow);
    relay->told = true;
    relay_worker_abort(relay);
    relay->owner->ended(relay->data, relay->owner->user_data);
}

void relays_reset(Relays *relays, const FlowKey *key)
{
    Relay *relay = (Relay *)flow_table_lookup(relays->flows, key);

    if (relay != NULL) {
        relays_reset_one(relays, relay);
    }
}

typedef struct RelaysChoice {
    const RelayOwner *owner;
    const void *data;
    unsigned max;
    GPtrArray *chosen;
} RelaysChoice;

static void relays_choose(Flow *flow, void *user_data)
{
    const RelaysChoice *choice = user_data;
    Relay *relay = (Relay *)flow;

    if (relay->owner == choice->owner && relay->data == choice->data &&
        choice->chosen->len < choice->max) {
        g_ptr_array_add(choice->chosen, relay);
    }
}

unsigned relays_reset_some(Relays *relays, const RelayOwner *owner, const void *data, unsigned max)
{
    g_autoptr(GPtrArray) chosen = g_ptr_array_new();
    RelaysChoice choice = {owner, data, max, chosen};

    flow_table_each(relays->flows, relays_choose, &choice);
    for (guint i = 0; i < chosen->len; i++) {
        relays_reset_one(relays, g_ptr_array_index(chosen, i));
    }
    return chosen->len;
}

typedef struct RelaysPage {
    RelayPathFunc path_of;
    void *path_data;
} RelaysPage;

/* FlowListFill. The sockets are the worker's, which closes them under its lock. */
static void relay_fill(const Flow *flow, FlowRecord *ret, void *fill_data)
{
    const RelaysPage *page = fill_data;
    const Relay *relay = (const Relay *)flow;
    RelayWorker *worker = relay->worker;

    ret->path = (uint8_t)page->path_of(relay->owner, page->path_data);
    ret->protocol = IPPROTO_TCP;
    ret->state = (uint8_t)atomic_load_explicit(&relay->state, memory_order_relaxed);
    ret->bytes_in = atomic_load_explicit(&relay->in.bytes, memory_order_relaxed);
    ret->bytes_out = atomic_load_explicit(&relay->out.bytes, memory_order_relaxed);
    (void)pthread_mutex_lock(&worker->lock);
    if (relay->client.fd >= 0) {
        flowlist_names(relay->client.fd, &ret->host_local, &ret->host_remote);
        if (ret->path == FLOW_PATH_RELAY) {
            /* Its key may be the client's name on the host. */
            flowlist_names(relay->guest.fd, &ret->guest_remote, &ret->guest_local);
        }
    }
    (void)pthread_mutex_unlock(&worker->lock);
}

uint32_t relays_page(const Relays *relays, uint32_t place, FlowList *list, RelayPathFunc path_of,
                     void *path_data)
{
    RelaysPage page = {path_of, path_data};

    return flowlist_page(relays->flows, place, list, relay_fill, &page);
}

static void relays_add_bytes(FlowTotal *total, const RelayWorker *worker)
{
    total->bytes_in += atomic_load_explicit(&worker->bytes_in, memory_order_relaxed);
    total->bytes_out += atomic_load_explicit(&worker->bytes_out, memory_order_relaxed);
}

FlowTotal relays_total(const Relays *relays)
{
    FlowTotal total = {.now = flow_table_count(relays->flows), .ever = relays->ever};

    relays_add_bytes(&total, &relays->young);
    for (unsigned i = 0; i < relays->threads; i++) {
        relays_add_bytes(&total, &relays->workers[i]);
    }
    return total;
}
