/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * relay_worker.c - a thread that turns an epoll set of relays; or such a set without a thread, for the young
 *
 * Does:     waits for events, gives each relay its turn, and hands back those that have ended.
 * Runs in:  the datapath: the thread itself, and, where said so, whoever calls.
 * Owns:     the epoll set; the fds of a relay from relay_worker_take() on, until it has ended.
 * Lifetime: a relay is made and freed by the loop thread. Between the two only the worker touches its sides and directions.
 *           It hands an ended one back after the batch of events in which it ended, when both fds are out of the epoll
 *           set and nothing can name it any more.
 * Lock:     of the fds: the loop thread puts both into the epoll set before the worker may close them, and may reset a
 *           relay's connections while the worker is about to.
 * Sleep:    without anything to do a worker waits without a timeout. It looks again after RELAY_LOOK_US when a guest's socket
 *           has too much queued, and once after RELAY_TRIM_MS to close spare pipes.
 * Awake:    while one relay alone exchanges small messages, and answers come within RELAY_BRISK_US, the worker looks for the
 *           next one that long before it sleeps: on an idle core to wake up costs about as much as to pass the message on
 *           (p50 of request and response 55 us, 72 us without). The first answer that is later ends that. Not for anything
 *           else: on two cores, streams lost 10 % and short connections 13 % when it looked on for them too.
 */
#include "config.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../fault.h"
#include "../fd.h"
#include "relay_private.h"

#define RELAY_EVENTS      (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET)
#define RELAY_BATCH       64
#define RELAY_LOOK_US     (20 * 1000)
#define RELAY_TRIM_MS     100
#define RELAY_BRISK_US    40
#define RELAY_BRISK_TURNS 8
#define RELAY_BRISK_BYTES ((size_t)16 * 1024)
/* A worker's calls are not deep; the buffer is not on its stack. */
#define RELAY_STACK ((size_t)128 * 1024)

/* ---- from any thread ---- */

/* connect(2) with AF_UNSPEC: sends RST, frees the addresses at once, and is an event for the worker (net/ipv4/tcp.c:
 * tcp_disconnect()). */
static void relay_disconnect(int fd)
{
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};

    (void)connect(fd, &nobody, sizeof(nobody));
}

void relay_worker_abort(Relay *relay)
{
    RelayWorker *worker = relay->worker;

    atomic_store(&relay->aborted, true);
    (void)pthread_mutex_lock(&worker->lock);
    if (relay->client.fd >= 0) {
        relay_disconnect(relay->client.fd);
        relay_disconnect(relay->guest.fd);
    }
    (void)pthread_mutex_unlock(&worker->lock);
}

int relay_worker_take(RelayWorker *worker, Relay *relay)
{
    RelaySide *sides[] = {&relay->guest, &relay->client};
    bool known = false; /* to the worker */
    int failed = 0;

    atomic_fetch_add(&worker->load, 1);
    /* So that the worker does not end the relay, or change what is watched, while it has one side alone. */
    (void)pthread_mutex_lock(&worker->lock);
    for (size_t i = 0; i < G_N_ELEMENTS(sides) && failed == 0; i++) {
        struct epoll_event event = {.events = RELAY_EVENTS, .data.ptr = sides[i]};

        event.events |= sides[i]->watches_writing ? EPOLLOUT : 0;
        /* What came before is reported as the first event. */
        failed = epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, sides[i]->fd, &event) < 0 ? -errno : 0;
        known |= failed == 0;
    }
    (void)pthread_mutex_unlock(&worker->lock);
    if (failed != 0 && known) {
        relay_worker_abort(relay);
    } else if (failed != 0) {
        atomic_fetch_sub(&worker->load, 1);
    }
    return failed;
}

/* ---- on the worker's thread ---- */

void relay_worker_watch_writing(RelaySide *side)
{
    RelayWorker *worker = side->relay->worker;
    struct epoll_event event = {.events = RELAY_EVENTS | EPOLLOUT, .data.ptr = side};

    if (side->watches_writing) {
        return;
    }
    (void)pthread_mutex_lock(&worker->lock);
    side->watches_writing = true;
    /* Reports what is so now as well, so nothing that happened meanwhile is missed. Cannot fail: see poller_modify(). */
    (void)epoll_ctl(worker->epoll_fd, EPOLL_CTL_MOD, side->fd, &event);
    (void)pthread_mutex_unlock(&worker->lock);
}

void relay_worker_wait(Relay *relay, RelayWait wait)
{
    RelayWorker *worker = relay->worker;

    if (relay->wait == wait) {
        return;
    }
    if (relay->wait != RELAY_WAIT_EVENT) {
        g_queue_unlink(&worker->waiting[relay->wait], &relay->link);
    }
    relay->wait = wait;
    if (wait != RELAY_WAIT_EVENT) {
        relay->link.data = relay;
        g_queue_push_tail_link(&worker->waiting[wait], &relay->link);
    }
}

static void relay_close_side(RelayWorker *worker, RelaySide *side, bool reset)
{
    /* Before it is closed: the process inside may still be about to close its copy of the guest's side. */
    (void)epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, side->fd, NULL);
    if (reset) {
        relay_reset(side->fd);
    } else {
        fd_close(side->fd);
    }
    side->fd = -1;
}

void relay_worker_end(Relay *relay, bool reset)
{
    RelayWorker *worker = relay->worker;

    relay_worker_wait(relay, RELAY_WAIT_EVENT);
    (void)pthread_mutex_lock(&worker->lock);
    relay_close_side(worker, &relay->client, reset);
    relay_close_side(worker, &relay->guest, reset);
    (void)pthread_mutex_unlock(&worker->lock);
    atomic_fetch_sub(&worker->load, 1);
    relay->next = worker->ended;
    worker->ended = relay;
}

void relay_worker_give(Relay *relay)
{
    RelayWorker *worker = relay->worker;

    relay_worker_wait(relay, RELAY_WAIT_EVENT);
    (void)epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, relay->client.fd, NULL);
    (void)epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, relay->guest.fd, NULL);
    atomic_fetch_sub(&worker->load, 1);
}

/* Those that wait there now, once each. */
static void worker_turn(RelayWorker *worker, RelayWait wait)
{
    guint turns = g_queue_get_length(&worker->waiting[wait]);

    while (turns-- > 0 && !g_queue_is_empty(&worker->waiting[wait])) {
        Relay *relay = g_queue_peek_head(&worker->waiting[wait]);

        relay_worker_wait(relay, RELAY_WAIT_EVENT);
        if (wait == RELAY_WAIT_QUEUE && relay_is_stalled(relay)) {
            relay_worker_wait(relay, wait);
        } else {
            relay_pump(relay);
        }
    }
}

static void worker_look(RelayWorker *worker)
{
    int64_t now = g_get_monotonic_time();

    if (g_queue_is_empty(&worker->waiting[RELAY_WAIT_QUEUE])) {
        worker->look_us = 0;
    } else if (worker->look_us == 0) {
        worker->look_us = now + RELAY_LOOK_US;
    } else if (now >= worker->look_us) {
        worker_turn(worker, RELAY_WAIT_QUEUE);
        worker->look_us = now + RELAY_LOOK_US;
    }
}

static int worker_timeout_ms(const RelayWorker *worker)
{
    if (worker->waiting[RELAY_WAIT_TURN].length > 0) {
        return 0;
    }
    if (worker->look_us != 0) {
        return RELAY_LOOK_US / 1000;
    }
    return worker->pipes.spares > 0 ? RELAY_TRIM_MS : -1;
}

static void worker_hand_back(RelayWorker *worker)
{
    Relay *first = worker->ended;
    Relay *last = first;

    if (first == NULL) {
        return;
    }
    while (last->next != NULL) {
        last = last->next;
    }
    worker->ended = NULL;
    relays_take_ended(worker->relays, first, last);
}

/* How many events there are, after a sleep if there are none yet. The clock is looked at for a quick exchange alone. */
static int worker_wait(RelayWorker *worker, struct epoll_event *events)
{
    RelayBrisk *brisk = &worker->brisk;
    int timeout_ms = worker_timeout_ms(worker);
    int64_t start;
    int count = 0;

    brisk->bytes = 0;
    if (brisk->never || brisk->turns < RELAY_BRISK_TURNS) {
        brisk->soon = true; /* not known yet */
        return epoll_wait(worker->epoll_fd, events, RELAY_BATCH, timeout_ms);
    }
    start = g_get_monotonic_time();
    if (brisk->soon) {
        do {
            (void)sched_yield(); /* who is to answer may have been put on this core */
            count = epoll_wait(worker->epoll_fd, events, RELAY_BATCH, 0);
        } while (count == 0 && g_get_monotonic_time() - start < RELAY_BRISK_US);
    }
    if (count == 0) {
        count = epoll_wait(worker->epoll_fd, events, RELAY_BATCH, timeout_ms);
    }
    brisk->soon = g_get_monotonic_time() - start < RELAY_BRISK_US;
    return count;
}

static void worker_note_turn(RelayBrisk *brisk, const struct epoll_event *events, int count)
{
    const Relay *relay = count == 1 ? ((const RelaySide *)events[0].data.ptr)->relay : NULL;

    if (relay != NULL && relay == brisk->relay && brisk->bytes > 0 &&
        brisk->bytes <= RELAY_BRISK_BYTES) {
        brisk->turns++;
    } else {
        brisk->turns = 0;
    }
    brisk->relay = relay;
}

static void *worker_main(void *data)
{
    RelayWorker *worker = data;
    struct epoll_event events[RELAY_BATCH];

    for (;;) {
        int count = worker_wait(worker, events);

        if (count == 0 && g_queue_is_empty(&worker->waiting[RELAY_WAIT_TURN])) {
            relay_pipes_trim(&worker->pipes);
        }
        for (int i = 0; i < count; i++) {
            RelaySide *side = events[i].data.ptr;

            if (side == NULL) {
                return NULL;
            }
            if (side->fd >= 0) { /* else it has ended in this batch */
                relay_event(side, events[i].events);
            }
        }
        worker_turn(worker, RELAY_WAIT_TURN);
        worker_note_turn(&worker->brisk, events, count);
        worker_look(worker);
        worker_hand_back(worker);
    }
}

/* ---- without a thread ---- */

Relay *relay_worker_turn(RelayWorker *worker)
{
    struct epoll_event events[RELAY_BATCH];
    int count = epoll_wait(worker->epoll_fd, events, RELAY_BATCH, 0);
    Relay *ended;

    for (int i = 0; i < count; i++) {
        RelaySide *side = events[i].data.ptr;
        Relay *relay = side->relay;

        /* Else it has gone to a thread, or has ended in this batch. */
        if (relay->worker == worker && side->fd >= 0) {
            relay_event(side, events[i].events);
            if (side->fd >= 0) {
                relays_grow(worker->relays, relay);
            }
        }
    }
    ended = worker->ended;
    worker->ended = NULL;
    return ended;
}

/* ---- beginning and end ---- */

static int worker_begin(RelayWorker *worker)
{
    pthread_attr_t attr;
    sigset_t all;
    sigset_t before;
    int failed;

    (void)sigfillset(&all);
    failed = pthread_attr_init(&attr);
    if (failed != 0) {
        return failed;
    }
    (void)pthread_attr_setstacksize(&attr, RELAY_STACK);
    /* Signals are the loop thread's. */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&worker->thread, &attr, worker_main, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    return failed;
}

static bool worker_failed(int failed, GError **error)
{
    fault_set(error, FAULT_INTERNAL, failed, "a thread for relays: %s", g_strerror(failed));
    return false;
}

bool relay_worker_init(RelayWorker *worker, Relays *relays, size_t chunk, GError **error)
{
    worker->relays = relays;
    worker->chunk = chunk;
    worker->buffer =
        g_malloc(chunk); /* not cleared: its pages come when there is something to copy */
    worker->budget = RELAY_BUDGET;
    worker->stop_fd = -1;
    (void)pthread_mutex_init(&worker->lock, NULL);
    for (unsigned i = 0; i < RELAY_WAITS; i++) {
        g_queue_init(&worker->waiting[i]);
    }
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return worker->epoll_fd >= 0 || worker_failed(errno, error);
}

bool relay_worker_start(RelayWorker *worker, unsigned pipes_max, GError **error)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    int failed;

    worker->pipes.max = pipes_max;
    worker->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->stop_fd < 0 ||
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->stop_fd, &event) < 0) {
        return worker_failed(errno, error);
    }
    worker->running = true; /* before there is a thread, which reads it */
    failed = worker_begin(worker);
    if (failed != 0) {
        worker->running = false;
        return worker_failed(failed, error);
    }
    return true;
}

void relay_worker_clear(RelayWorker *worker)
{
    if (worker->running) {
        (void)eventfd_write(worker->stop_fd, 1);
        (void)pthread_join(worker->thread, NULL);
    }
    relay_pipes_trim(&worker->pipes);
    fd_close(worker->epoll_fd);
    fd_close(worker->stop_fd);
    (void)pthread_mutex_destroy(&worker->lock);
    g_free(worker->buffer);
}
