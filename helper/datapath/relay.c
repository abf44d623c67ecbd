/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * relay.c - two kernel sockets, two directions
 *
 * Does:     small data by one recv and one send from a shared buffer; a full buffer or a short send promotes that direction
 *           to splice(2) through a pipe; a drained direction gives the pipe back.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   neither side. A slow reader is the writer's backpressure: nothing is read that cannot be passed on, and
 *           nothing of ours grows.
 * Owns:     both sockets of each relay, a pool of pipes, one shared buffer.
 * Limits:   RELAY_BUDGET bytes a direction and turn; pipes_max pipes. Without a free pipe a short send leaves at most
 *           RELAY_BUFFER bytes, kept in memory until they are passed on.
 * States:   of one direction, from its source to its sink:
 *           COPY    nothing held; recv and send              -> SPLICE, ENDING
 *           SPLICE  a pipe, maybe with bytes                 -> COPY when empty and the source has no more
 *           ENDING  the source sent FIN; what is held is passed on, then shutdown(SHUT_WR) -> DONE
 *           DONE    nothing left to do; both DONE ends the relay.
 *           A side that was reset (FAILED) is read out first, as its peer's data came before its RST; then both
 *           sockets are reset.
 * Events:   edge-triggered: readable and writable are remembered until recv, send or splice says EAGAIN.
 */
#include "config.h"

#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../fd.h"

#define RELAY_BUFFER (64 * 1024)
#define RELAY_BUDGET (1024 * 1024)
/* Spare pipes kept open; more are closed when given back. */
#define RELAY_PIPES_SPARE 8
/* Pipes of all sandboxes of a user draw on one budget (pipe(7): pipe-user-pages-soft, 1,024 of the usual size); beyond it
 * they get a page or two, which is worse than none. */
#define RELAY_PIPES_MAX     256
#define RELAY_PIPE_RETRY_US G_USEC_PER_SEC

typedef struct RelayPipe {
    int read_fd;
    int write_fd;
} RelayPipe;

typedef struct RelaySide {
    int fd;
    bool readable;
    bool writable;
    bool
        failed; /* reset by its peer: what it sent before is still to be read, nothing can be sent to it */
    PollerWatch watch;
    struct Relay *relay;
} RelaySide;

typedef struct RelayDirection {
    RelaySide *source;
    RelaySide *sink;
    RelayPipe pipe; /* read_fd -1: none */
    size_t held;    /* bytes in the pipe, or in spill */
    uint8_t *spill; /* what a short send left while no pipe was to be had */
    size_t spilled; /* bytes of spill passed on already */
    bool ending;
    bool done;
} RelayDirection;

typedef struct Relay {
    Flow flow;
    Relays *relays;
    RelaySide client;
    RelaySide guest;
    RelayDirection in;  /* client to guest */
    RelayDirection out; /* guest to client */
    bool queued;
    GList queue_link;
    void *data;
} Relay;

struct Relays {
    Poller *poller;
    GSource *again; /* dispatches the queue */
    GQueue queue;   /* relays whose budget ran out, or that have just begun */
    FlowTable *flows;
    GArray *spare; /* RelayPipe */
    unsigned pipes;
    unsigned pipes_max;
    int64_t pipes_retry_us; /* no new pipes before */
    RelayEndFunc ended;
    void *user_data;
    uint8_t buffer[RELAY_BUFFER];
};

void relay_reset(int take_fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(take_fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    fd_close(take_fd);
}

static bool relay_pipe_get(Relays *relays, RelayPipe *ret)
{
    int fds[2];

    if (relays->spare->len > 0) {
        *ret = g_array_index(relays->spare, RelayPipe, relays->spare->len - 1);
        g_array_set_size(relays->spare, relays->spare->len - 1);
        return true;
    }
    if (relays->pipes >= relays->pipes_max || g_get_monotonic_time() < relays->pipes_retry_us ||
        pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        return false;
    }
    if (fcntl(fds[0], F_GETPIPE_SZ) < RELAY_BUFFER) {
        relays->pipes_retry_us = g_get_monotonic_time() + RELAY_PIPE_RETRY_US;
        fd_close(fds[0]);
        fd_close(fds[1]);
        return false;
    }
    relays->pipes++;
    *ret = (RelayPipe){fds[0], fds[1]};
    return true;
}

/* Only an empty pipe may be used again. */
static void relay_pipe_put(Relays *relays, RelayDirection *dir)
{
    if (dir->pipe.read_fd < 0) {
        return;
    }
    if (dir->held == 0 && relays->spare->len < RELAY_PIPES_SPARE) {
        g_array_append_val(relays->spare, dir->pipe);
    } else {
        fd_close(dir->pipe.read_fd);
        fd_close(dir->pipe.write_fd);
        relays->pipes--;
    }
    dir->pipe = (RelayPipe){-1, -1};
}

static void relay_direction_clear(Relays *relays, RelayDirection *dir)
{
    relay_pipe_put(relays, dir);
    g_clear_pointer(&dir->spill, g_free);
}

static void relay_free(Relay *relay, bool reset)
{
    Relays *relays = relay->relays;

    poller_remove(relays->poller, &relay->client.watch);
    poller_remove(relays->poller, &relay->guest.watch);
    relay_direction_clear(relays, &relay->in);
    relay_direction_clear(relays, &relay->out);
    if (relay->queued) {
        g_queue_unlink(&relays->queue, &relay->queue_link);
    }
    if (reset) {
        relay_reset(relay->client.fd);
        relay_reset(relay->guest.fd);
    } else {
        fd_close(relay->client.fd);
        fd_close(relay->guest.fd);
    }
    g_free(relay);
}

static void relay_end(Relay *relay, bool reset)
{
    Relays *relays = relay->relays;
    void *data = relay->data;

    flow_table_remove(relays->flows, &relay->flow);
    relay_free(relay, reset);
    relays->ended(data, relays->user_data);
}

static void relay_flow_ended(Flow *flow, FlowEnd why, void *user_data)
{
    Relay *relay = (Relay *)flow;
    Relays *relays = user_data;
    void *data = relay->data;

    relay_free(relay, true);
    if (why != FLOW_END_TABLE) {
        relays->ended(data, relays->user_data);
    }
}

/* The sink took nothing, for errno. One that was reset may still have something to say: it is read out before the end. */
static int relay_sink_refused(RelayDirection *dir)
{
    if (errno == EAGAIN) {
        dir->sink->writable = false;
    } else if (errno != EINTR) {
        dir->sink->failed = true;
        dir->sink->readable = true;
    }
    return 0;
}

/* -1: the source was reset and is read out, which ends the relay; 0: cannot go on now; 1: did something. */
static int relay_drain_spill(RelayDirection *dir)
{
    ssize_t sent =
        send(dir->sink->fd, dir->spill + dir->spilled, dir->held, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0) {
        return relay_sink_refused(dir);
    }
    dir->spilled += (size_t)sent;
    dir->held -= (size_t)sent;
    if (dir->held == 0) {
        g_clear_pointer(&dir->spill, g_free);
    }
    return 1;
}

static int relay_drain_pipe(RelayDirection *dir, size_t *moved)
{
    ssize_t sent = splice(dir->pipe.read_fd, NULL, dir->sink->fd, NULL, dir->held,
                          SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

    if (sent < 0) {
        return relay_sink_refused(dir);
    }
    dir->held -= (size_t)sent;
    *moved += (size_t)sent;
    return 1;
}

/* Fills the empty pipe from the source. */
static int relay_fill_pipe(Relays *relays, RelayDirection *dir)
{
    ssize_t got = splice(dir->source->fd, NULL, dir->pipe.write_fd, NULL, RELAY_BUDGET,
                         SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

    if (got < 0) {
        if (errno != EAGAIN) {
            return errno == EINTR ? 0 : -1;
        }
        /* The pipe is empty, so the source has nothing, or stands at urgent data, where splice(2) stops and recv(2) goes on:
         * back to copying, which tells. */
        relay_pipe_put(relays, dir);
        return 1;
    }
    if (got == 0 && dir->source->failed) {
        return -1;
    }
    dir->ending = got == 0;
    dir->held = (size_t)got;
    return 1;
}

/* What a short send left, at most RELAY_BUFFER bytes of the shared buffer. */
static void relay_hold(Relays *relays, RelayDirection *dir, const uint8_t *data, size_t len)
{
    if (relay_pipe_get(relays, &dir->pipe)) {
        ssize_t put = write(dir->pipe.write_fd, data, len);

        if (put == (ssize_t)len) {
            dir->held = len;
            return;
        }
        /* It took a part, or nothing: closed with it. */
        dir->held = 1;
        relay_pipe_put(relays, dir);
    }
    dir->spill = g_memdup2(data, len);
    dir->spilled = 0;
    dir->held = len;
}

static int relay_copy(Relays *relays, RelayDirection *dir, size_t *moved)
{
    ssize_t got = recv(dir->source->fd, relays->buffer, RELAY_BUFFER, MSG_DONTWAIT);
    ssize_t sent;

    if (got < 0) {
        dir->source->readable = errno != EAGAIN;
        return errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    if (got == 0 && dir->source->failed) {
        return -1; /* a RST whose errno somebody else has fetched */
    }
    if (got == 0) {
        dir->ending = true;
        return 1;
    }
    sent = send(dir->sink->fd, relays->buffer, (size_t)got, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        (void)relay_sink_refused(dir);
        sent = 0;
    }
    *moved += (size_t)sent;
    if (dir->sink->failed) {
        return 0;
    }
    if (sent < got) {
        relay_hold(relays, dir, relays->buffer + sent, (size_t)(got - sent));
    } else if (got == RELAY_BUFFER) {
        (void)relay_pipe_get(relays, &dir->pipe); /* bulk; without a pipe copying goes on */
    }
    return 1;
}

/* One step of one direction. */
static int relay_step(Relays *relays, RelayDirection *dir, size_t *moved)
{
    /* Nobody is left to read what this direction carries. */
    if (dir->sink->failed) {
        return dir->source->failed ? -1 : 0;
    }
    if (dir->done) {
        return dir->source->failed ? -1 : 0;
    }
    if (dir->held > 0) {
        if (!dir->sink->writable) {
            return 0;
        }
        return dir->spill != NULL ? relay_drain_spill(dir) : relay_drain_pipe(dir, moved);
    }
    if (dir->ending) {
        dir->done = true;
        relay_direction_clear(relays, dir);
        /* ENOTCONN: the sink was reset meanwhile; its own event tells. */
        (void)shutdown(dir->sink->fd, SHUT_WR);
        return 0;
    }
    /* Nothing is read that could not be passed on: the source's window is the backpressure. */
    if (!dir->source->readable || !dir->sink->writable) {
        return 0;
    }
    return dir->pipe.read_fd >= 0 ? relay_fill_pipe(relays, dir) : relay_copy(relays, dir, moved);
}

static void relay_queue(Relay *relay)
{
    if (!relay->queued) {
        relay->queued = true;
        relay->queue_link.data = relay;
        g_queue_push_tail_link(&relay->relays->queue, &relay->queue_link);
        g_source_set_ready_time(relay->relays->again, 0);
    }
}

/* False if the relay has ended. */
static bool relay_pump_direction(Relay *relay, RelayDirection *dir, uint64_t *counter)
{
    size_t moved = 0;
    int went;

    do {
        went = relay_step(relay->relays, dir, &moved);
    } while (went > 0 && moved < RELAY_BUDGET);
    if (went < 0) {
        relay_end(relay, true);
        return false;
    }
    *counter += moved;
    if (went > 0) {
        relay_queue(relay);
    }
    return true;
}

static void relay_pump(Relay *relay)
{
    if (!relay_pump_direction(relay, &relay->in, &relay->flow.bytes_in) ||
        !relay_pump_direction(relay, &relay->out, &relay->flow.bytes_out)) {
        return;
    }
    /* That sending to the client failed has only now come out: what it sent before is to be read. */
    if (relay->client.failed && !relay_pump_direction(relay, &relay->in, &relay->flow.bytes_in)) {
        return;
    }
    if (relay->in.done && relay->out.done) {
        relay_end(relay, false);
        return;
    }
    flow_touch(relay->relays->flows, &relay->flow);
}

static void relay_event(uint32_t events, void *user_data)
{
    RelaySide *side = user_data;

    side->failed |= (events & EPOLLERR) != 0;
    side->readable |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0;
    side->writable |= (events & (EPOLLOUT | EPOLLHUP)) != 0;
    relay_pump(side->relay);
}

static gboolean relay_again(gpointer user_data)
{
    Relays *relays = user_data;
    guint turns = g_queue_get_length(&relays->queue);

    g_source_set_ready_time(relays->again, -1);
    while (turns-- > 0 && !g_queue_is_empty(&relays->queue)) {
        Relay *relay = g_queue_peek_head(&relays->queue);

        g_queue_unlink(&relays->queue, &relay->queue_link);
        relay->queued = false;
        relay_pump(relay);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean relay_again_dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
    (void)source;
    return callback(user_data);
}

static GSourceFuncs relay_again_funcs = {
    .dispatch = relay_again_dispatch,
};

Relays *relays_new(GMainContext *context, unsigned pipes_max, RelayEndFunc ended, void *user_data,
                   GError **error)
{
    Poller *poller = poller_new(context, error);
    Relays *relays;

    if (poller == NULL) {
        return NULL;
    }
    relays = g_new0(Relays, 1);
    relays->poller = poller;
    relays->flows = flow_table_new(context, G_MAXUINT, relay_flow_ended, relays);
    relays->spare = g_array_new(FALSE, FALSE, sizeof(RelayPipe));
    relays->pipes_max = MIN(pipes_max, RELAY_PIPES_MAX);
    relays->ended = ended;
    relays->user_data = user_data;
    g_queue_init(&relays->queue);
    relays->again = g_source_new(&relay_again_funcs, sizeof(GSource));
    g_source_set_callback(relays->again, relay_again, relays, NULL);
    g_source_attach(relays->again, context);
    return relays;
}

void relays_free(Relays *relays)
{
    if (relays == NULL) {
        return;
    }
    flow_table_free(relays->flows);
    for (guint i = 0; i < relays->spare->len; i++) {
        fd_close(g_array_index(relays->spare, RelayPipe, i).read_fd);
        fd_close(g_array_index(relays->spare, RelayPipe, i).write_fd);
    }
    g_array_unref(relays->spare);
    g_source_destroy(relays->again);
    g_source_unref(relays->again);
    poller_free(relays->poller);
    g_free(relays);
}

static int relay_watch(Relay *relay, RelaySide *side)
{
    side->relay = relay;
    return poller_add(relay->relays->poller, &side->watch, side->fd,
                      EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, relay_event, side);
}

int relays_join(Relays *relays, int take_client, int take_guest, const FlowKey *key,
                int64_t idle_us, void *relay_data)
{
    Relay *relay = g_new0(Relay, 1);
    int failed;

    relay->relays = relays;
    relay->data = relay_data;
    relay->flow.key = *key;
    relay->client.fd = take_client;
    relay->guest.fd = take_guest;
    relay->in = (RelayDirection){.source = &relay->client, .sink = &relay->guest, .pipe = {-1, -1}};
    relay->out =
        (RelayDirection){.source = &relay->guest, .sink = &relay->client, .pipe = {-1, -1}};
    failed = relay_watch(relay, &relay->client);
    if (failed == 0) {
        failed = relay_watch(relay, &relay->guest);
    }
    if (failed != 0) {
        relay_free(relay, true);
        return failed;
    }
    flow_table_insert(relays->flows, &relay->flow, idle_us);
    /* epoll reports the present state of both as their first events, so nothing that came before is missed. */
    return 0;
}

unsigned relays_count(const Relays *relays)
{
    return flow_table_count(relays->flows);
}

bool relays_lookup(const Relays *relays, const FlowKey *key, void **ret_data)
{
    const Relay *relay = (const Relay *)flow_table_lookup(relays->flows, key);

    if (relay == NULL) {
        return false;
    }
    *ret_data = relay->data;
    return true;
}

void relays_reset(Relays *relays, const FlowKey *key)
{
    Relay *relay = (Relay *)flow_table_lookup(relays->flows, key);

    if (relay != NULL) {
        relay_end(relay, true);
    }
}
