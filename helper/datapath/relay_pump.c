/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * relay_pump.c - two kernel sockets, two directions
 *
 * Does:     small data by one recv and one send from a buffer shared by all relays of a thread; a full buffer or a short send
 *           promotes that direction to splice(2) through a pipe; a drained direction gives the pipe back, and takes one again
 *           as long as much comes at once.
 * Runs in:  the datapath, on the thread of the relay's worker.
 * Trusts:   neither side. A slow reader is the writer's backpressure: nothing is read that cannot be passed on, and
 *           nothing of ours grows. How much the kernel queues for the guest is limited here, as the guest's root sets the
 *           limits of sockets in its namespace (tcp_wmem).
 * Limits:   the worker's budget of bytes a direction and turn; RELAY_QUEUE_MAX bytes on the guest's socket, and what one more
 *           step moves. When the pipes are out bytes are looked at, sent, and only then taken from the source. A short send
 *           before that is known leaves at most RELAY_BUFFER bytes, kept in memory until they are passed on: once a second and
 *           thread. A young relay has no pipe either: its short send leaves at most the 4 KiB that it copies at once.
 * States:   of one direction, from its source to its sink:
 *           COPY    nothing held; recv and send              -> SPLICE, ENDING
 *           SPLICE  a pipe, maybe with bytes                 -> without a pipe when empty and the source has no more; then
 *                                                            SPLICE again if it was bulk, else COPY
 *           ENDING  the source sent FIN; what is held is passed on, then shutdown(SHUT_WR) -> DONE
 *           DONE    nothing left to do; both DONE ends the relay.
 *           A side that was reset (FAILED) is read out first, as its peer's data came before its RST; then both
 *           sockets are reset.
 * Events:   edge-triggered: readable and writable are remembered until a call says EAGAIN. A read that comes short has emptied
 *           the socket (epoll(7)), unless FIN, RST or urgent data was announced. A socket is taken to be writable until a send
 *           fails, and watched for that from then on.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../fd.h"
#include "relay_private.h"

/* A direction that last moved at least so much at once goes on with a pipe. */
#define RELAY_BULK_MIN (32 * 1024)
/* At most so much on the guest's socket before it is asked how much is queued there; what it may be then. */
#define RELAY_ASK_EVERY ((size_t)256 * 1024)
#define RELAY_QUEUE_MAX (3 * 1024 * 1024)
/* Of which not sent yet; then the kernel tells when there is room again (tcp(7)). */
#define RELAY_UNSENT_MAX (2 * 1024 * 1024)
/* What the guest's kernel may queue for us, when much comes; the kernel doubles it for its own use (socket(7)). */
#define RELAY_RECEIVE_MAX (512 * 1024)

/* ---- what a sink says ---- */

/* The sink took nothing, for errno. One that was reset may still have something to say: it is read out before the end. */
static int relay_sink_refused(RelayDirection *dir)
{
    if (errno == EINTR) {
        return 1; /* no edge would come for it */
    }
    if (errno == ENOMEM || errno == ENOBUFS) {
        return -1; /* it lives, so no event would tell of an end */
    }
    if (errno == EAGAIN) {
        dir->sink->writable = false;
        relay_worker_watch_writing(dir->sink);
    } else {
        dir->sink->failed = true;
        dir->sink->readable = true;
    }
    return 0;
}

/* One thread alone writes it, so it need not be one step. */
static void relay_count(_Atomic uint64_t *sum, size_t bytes)
{
    atomic_store_explicit(sum, atomic_load_explicit(sum, memory_order_relaxed) + bytes,
                          memory_order_relaxed);
}

static void relay_sent(RelayDirection *dir, size_t bytes, size_t *moved)
{
    RelayWorker *worker = dir->sink->relay->worker;

    *moved += bytes;
    dir->unasked += bytes;
    worker->brisk.bytes += bytes;
    relay_count(&dir->bytes, bytes);
    relay_count(dir == &dir->sink->relay->in ? &worker->bytes_in : &worker->bytes_out, bytes);
}

/* False: the guest's kernel holds too much already, sent or not. */
static bool relay_sink_has_room(RelayDirection *dir)
{
    int queued = 0;
    int unsent_max = RELAY_UNSENT_MAX;

    if (dir->sink != &dir->sink->relay->guest || dir->unasked < RELAY_ASK_EVERY) {
        return true;
    }
    if (!dir->limited) {
        dir->limited = true;
        (void)setsockopt(dir->sink->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent_max,
                         sizeof(unsent_max));
    }
    if (ioctl(dir->sink->fd, SIOCOUTQ, &queued) == 0 && queued > RELAY_QUEUE_MAX) {
        return false;
    }
    dir->unasked = 0;
    return true;
}

/* The guest is on this machine, so its window need not cover a distance; left alone it grows to megabytes, and every byte
 * in it has gone cold before it is copied on: a stream up was 11 % slower (0.89 of a bare relay, 1.00 so). Much less than
 * this slows it too, so where the machine's limit (net.core.rmem_max) is lower, the kernel goes on to choose. */
static void relay_limit_guest(RelayDirection *dir)
{
    int wanted = RELAY_RECEIVE_MAX;
    int got = 0;
    int locks = 0;
    socklen_t len = sizeof(got);

    if (dir->source != &dir->source->relay->guest || dir->limited) {
        return;
    }
    dir->limited = true;
    if (getsockopt(dir->source->fd, SOL_SOCKET, SO_BUF_LOCK, &got, &len) < 0) {
        return; /* before Linux 5.14 there is no way back */
    }
    (void)setsockopt(dir->source->fd, SOL_SOCKET, SO_RCVBUF, &wanted, sizeof(wanted));
    if (getsockopt(dir->source->fd, SOL_SOCKET, SO_RCVBUF, &got, &len) == 0 && got < 2 * wanted) {
        (void)setsockopt(dir->source->fd, SOL_SOCKET, SO_BUF_LOCK, &locks, sizeof(locks));
    }
}

bool relay_is_stalled(const Relay *relay)
{
    int queued = 0;

    return ioctl(relay->guest.fd, SIOCOUTQ, &queued) == 0 && queued > RELAY_QUEUE_MAX;
}

/* ---- steps; -1: the source was reset and is read out, which ends the relay; 0: cannot go on now; 1: did something ---- */

static void relay_direction_clear(RelayWorker *worker, RelayDirection *dir)
{
    relay_pipes_put(&worker->pipes, &dir->pipe, dir->held == 0 || dir->spill != NULL);
    g_clear_pointer(&dir->spill, g_free);
}

static int relay_drain_spill(RelayDirection *dir, size_t *moved)
{
    ssize_t sent =
        send(dir->sink->fd, dir->spill + dir->spilled, dir->held, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0) {
        return relay_sink_refused(dir);
    }
    dir->spilled += (size_t)sent;
    dir->held -= (size_t)sent;
    relay_sent(dir, (size_t)sent, moved);
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
    relay_sent(dir, (size_t)sent, moved);
    return 1;
}

/* Fills the empty pipe from the source. */
static int relay_fill_pipe(RelayWorker *worker, RelayDirection *dir)
{
    ssize_t got = splice(dir->source->fd, NULL, dir->pipe.write_fd, NULL, RELAY_BUDGET,
                         SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

    if (got > 0) {
        dir->held = (size_t)got;
        dir->bulk = got >= RELAY_BULK_MIN;
        return 1;
    }
    if (got < 0 && errno != EAGAIN) {
        return errno == EINTR ? 1 : -1;
    }
    /* The source has nothing, or has sent FIN, or stands at urgent data, where splice(2) stops, with 0 if FIN is behind it
     * (net/ipv4/tcp.c: tcp_splice_read()): back to copying, as recv(2) goes on and tells. */
    relay_pipes_put(&worker->pipes, &dir->pipe, true);
    dir->source->readable = got == 0 || dir->source->more;
    dir->bulk &= !dir->source->readable;
    return 1;
}

/* What a short send left, at most RELAY_BUFFER bytes of the shared buffer. */
static void relay_hold(RelayWorker *worker, RelayDirection *dir, const uint8_t *data, size_t len)
{
    if (relay_pipes_get(&worker->pipes, &dir->pipe)) {
        if (write(dir->pipe.write_fd, data, len) == (ssize_t)len) {
            dir->held = len;
            return;
        }
        relay_pipes_put(&worker->pipes, &dir->pipe, false); /* it took a part, or nothing */
    }
    dir->spill = g_memdup2(data, len);
    dir->spilled = 0;
    dir->held = len;
}

/* Takes from the source what was looked at with MSG_PEEK and has been sent. False: it is still there and would be sent twice. */
static bool relay_take_sent(RelayWorker *worker, int fd, size_t len)
{
    while (len > 0) {
        ssize_t got = recv(fd, worker->buffer, len, MSG_DONTWAIT | MSG_TRUNC);

        if (got <= 0 && !(got < 0 && errno == EINTR)) {
            return false;
        }
        len -= got > 0 ? (size_t)got : 0;
    }
    return true;
}

static int relay_copy(RelayWorker *worker, RelayDirection *dir, size_t *moved)
{
    RelaySide *source = dir->source;
    /* Without a pipe for what a short send leaves, bytes stay with the source until they are sent. */
    bool peek = worker->running && !relay_pipes_may_get(&worker->pipes);
    ssize_t got =
        recv(source->fd, worker->buffer, worker->chunk, MSG_DONTWAIT | (peek ? MSG_PEEK : 0));
    ssize_t sent;
    int refused = 0;

    if (got < 0) {
        source->readable = errno != EAGAIN;
        source->more &= errno != EAGAIN;
        return errno == EAGAIN ? 0 : errno == EINTR ? 1 : -1;
    }
    if (got == 0 && source->failed) {
        return -1; /* a RST whose errno somebody else has fetched */
    }
    if (got == 0) {
        dir->ending = true;
        return 1;
    }
    source->readable = source->more || (size_t)got == worker->chunk;
    sent = send(dir->sink->fd, worker->buffer, (size_t)got, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
        refused = relay_sink_refused(dir);
        sent = 0;
    }
    relay_sent(dir, (size_t)sent, moved);
    if (peek && !relay_take_sent(worker, source->fd, (size_t)sent)) {
        return -1; /* rather a reset than a byte too many */
    }
    if (dir->sink->failed) {
        return 0;
    }
    if (peek) {
        source->readable |= sent < got;
        return sent > 0 ? 1 : refused;
    }
    if (sent < got) {
        relay_hold(worker, dir, worker->buffer + sent, (size_t)(got - sent));
    } else if ((size_t)got == RELAY_BUFFER) { /* never of a young one */
        relay_limit_guest(dir);
        (void)relay_pipes_get(&worker->pipes,
                              &dir->pipe); /* bulk; without a pipe copying goes on */
    }
    return 1;
}

/* One step of one direction. */
static int relay_step(RelayWorker *worker, RelayDirection *dir, size_t *moved)
{
    /* Nobody is left to read what this direction carries. */
    if (dir->sink->failed || dir->done) {
        return dir->source->failed ? -1 : 0;
    }
    if (dir->held > 0) {
        if (!dir->sink->writable) {
            return 0;
        }
        return dir->spill != NULL ? relay_drain_spill(dir, moved) : relay_drain_pipe(dir, moved);
    }
    if (dir->ending) {
        dir->done = true;
        relay_direction_clear(worker, dir);
        /* ENOTCONN: the sink was reset meanwhile; its own event tells. */
        (void)shutdown(dir->sink->fd, SHUT_WR);
        return 0;
    }
    /* Nothing is read that could not be passed on: the source's window is the backpressure. */
    if (!dir->source->readable || !dir->sink->writable) {
        return 0;
    }
    if (!relay_sink_has_room(dir)) {
        relay_worker_wait(dir->sink->relay, RELAY_WAIT_QUEUE);
        return 0;
    }
    if (dir->pipe.read_fd >= 0 || (dir->bulk && relay_pipes_get(&worker->pipes, &dir->pipe))) {
        return relay_fill_pipe(worker, dir);
    }
    return relay_copy(worker, dir, moved);
}

/* ---- a relay ---- */

void relay_break(Relay *relay)
{
    relay_direction_clear(relay->worker, &relay->in);
    relay_direction_clear(relay->worker, &relay->out);
    relay_worker_end(relay, true);
}

/* False if the relay has ended. */
static bool relay_pump_direction(Relay *relay, RelayDirection *dir)
{
    size_t moved = 0;
    int went;

    do {
        went = relay_step(relay->worker, dir, &moved);
    } while (went > 0 && moved < relay->worker->budget);
    if (went < 0) {
        relay_break(relay);
        return false;
    }
    if (went > 0) {
        relay_worker_wait(relay, RELAY_WAIT_TURN);
    }
    return true;
}

static FlowState relay_state(const Relay *relay)
{
    if (relay->in.done) {
        return FLOW_STATE_REMOTE_CLOSED;
    }
    return relay->out.done ? FLOW_STATE_LOCAL_CLOSED : FLOW_STATE_OPEN;
}

void relay_pump(Relay *relay)
{
    bool aborted = atomic_load(&relay->aborted);

    if (aborted) {
        relay_break(relay);
        return;
    }
    if (!relay_pump_direction(relay, &relay->in) || !relay_pump_direction(relay, &relay->out)) {
        return;
    }
    /* That sending to the client failed has only now come out: what it sent before is to be read. */
    if (relay->client.failed && !relay_pump_direction(relay, &relay->in)) {
        return;
    }
    if (relay->in.done && relay->out.done) {
        relay_worker_end(relay, false);
        return;
    }
    /* One that has finished and is gone now: no read would tell, and the other may wait for ever. */
    if ((relay->client.failed && relay->in.done) || (relay->guest.failed && relay->out.done)) {
        relay_break(relay);
        return;
    }
    atomic_store_explicit(&relay->state, relay_state(relay), memory_order_relaxed);
    atomic_store_explicit(&relay->seen_us, g_get_monotonic_time(), memory_order_relaxed);
}

void relay_event(RelaySide *side, uint32_t events)
{
    side->failed |= (events & EPOLLERR) != 0;
    side->more |= (events & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    side->readable |= (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    side->writable |= (events & (EPOLLOUT | EPOLLHUP)) != 0;
    relay_pump(side->relay);
}
