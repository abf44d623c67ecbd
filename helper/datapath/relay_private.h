/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_RELAY_PRIVATE_H
#define SALLYPORT_DATAPATH_RELAY_PRIVATE_H

#include "relay.h"

#include <pthread.h>
#include <stdatomic.h>

#include "relay_pipe.h"

/* Shared by relay.c (the loop thread's side), relay_worker.c (threads) and relay_pump.c (bytes). */

#define RELAY_BUFFER ((size_t)64 * 1024)
#define RELAY_BUDGET ((size_t)1024 * 1024)

typedef struct Relay Relay;
typedef struct RelayWorker RelayWorker;

/**
 * struct RelaySide - one socket of a relay
 * @fd:     -1 when the relay has ended; changed under the worker's lock
 * @readable, @writable: until recv, send or splice says EAGAIN
 * @failed: reset by its peer: what it sent before is still to be read, nothing can be sent to it
 * @more:   a read that came short need not have been the last: FIN, RST or urgent data, at which recv(2) stops
 * @watches_writing: its readiness to be written to is an event; not asked for until a send fails
 */
typedef struct RelaySide {
    Relay *relay;
    int fd;
    bool readable;
    bool writable;
    bool failed;
    bool more;
    bool watches_writing;
} RelaySide;

/**
 * struct RelayDirection - from one socket to the other
 * @held:    bytes in the pipe, or in @spill
 * @spill:   what a short send left while no pipe was to be had; @spilled bytes of it were passed on
 * @unasked: bytes sent since the length of the sink's queue was asked for
 * @bytes:   passed on so far; written by the worker, read by anybody
 */
typedef struct RelayDirection {
    RelaySide *source;
    RelaySide *sink;
    RelayPipe pipe;
    size_t held;
    uint8_t *spill;
    size_t spilled;
    size_t unasked;
    bool bulk;    /* the next read begins with a pipe */
    bool limited; /* the queue of the guest's socket is; as the sink it is watched */
    bool ending;
    bool done;
    _Atomic uint64_t bytes;
} RelayDirection;

/* Where a relay waits in its worker. */
typedef enum RelayWait {
    RELAY_WAIT_EVENT,
    RELAY_WAIT_TURN,  /* its budget ran out */
    RELAY_WAIT_QUEUE, /* the guest's side has too much queued; looked at again by time */
    RELAY_WAITS
} RelayWait;

struct Relay {
    /* Of the loop thread. */
    Flow flow;
    const RelayOwner *owner;
    void *data;
    bool told; /* the owner knows of the end, and the flow is out of the table */
    /* Of both. */
    RelayWorker *worker;
    atomic_bool aborted;
    _Atomic int64_t seen_us;
    _Atomic(FlowState) state;
    /* Of the worker, when both sockets are in its epoll set. */
    RelaySide client;
    RelaySide guest;
    RelayDirection in;  /* client to guest */
    RelayDirection out; /* guest to client */
    RelayWait wait;
    unsigned turns; /* while it is young */
    GList link;     /* of RelayWorker.waiting */
    Relay *next;    /* has ended */
};

/**
 * struct RelayBrisk - is a worker in the middle of a quick exchange of small messages?
 * @relay: whose the last turn was, if of one alone; to be compared, it may have ended
 * @turns: of that relay in a row that moved a little
 * @bytes: moved in this turn
 * @soon:  after so many turns, this one's event came within RELAY_BRISK_US
 * @never: a lone core has nobody else to send the answer meanwhile
 */
typedef struct RelayBrisk {
    const Relay *relay;
    unsigned turns;
    size_t bytes;
    bool soon;
    bool never;
} RelayBrisk;

struct RelayWorker {
    Relays *relays;
    pthread_t thread;
    bool running;
    int epoll_fd;
    int stop_fd;               /* an eventfd: the thread shall end */
    pthread_mutex_t lock;      /* of the fds of its relays */
    atomic_uint load;          /* relays it has */
    _Atomic uint64_t bytes_in; /* of all it ever had, as RelayDirection.bytes */
    _Atomic uint64_t bytes_out;
    GQueue waiting[RELAY_WAITS];
    int64_t look_us; /* at those with RELAY_WAIT_QUEUE */
    RelayPipes pipes;
    RelayBrisk brisk;
    Relay *ended;    /* in this turn */
    size_t chunk;    /* bytes copied at once */
    size_t budget;   /* bytes of a direction and turn */
    uint8_t *buffer; /* of @chunk bytes */
};

/* relay_pump.c; on the worker's thread. @relay may have ended afterwards, and is then one of worker->ended. */
void relay_event(RelaySide *side, uint32_t events);
void relay_pump(Relay *relay);
/* Resets both sockets; what is held is lost. */
void relay_break(Relay *relay);
/* Is the guest's side still to be waited for? */
bool relay_is_stalled(const Relay *relay);

/* relay_worker.c */
/* A worker without a thread, whose turns are those of whoever calls relay_worker_turn(). */
bool relay_worker_init(RelayWorker *worker, Relays *relays, size_t chunk, GError **error);
/* Gives it a thread, which may use so many pipes. */
bool relay_worker_start(RelayWorker *worker, unsigned pipes_max, GError **error);
/* Ends the thread. Relays that have not ended stay as they are. */
void relay_worker_clear(RelayWorker *worker);
/* Both sockets into the worker's epoll set, from any thread. 0 or -errno. */
int relay_worker_take(RelayWorker *worker, Relay *relay);
/* What is ready now, without waiting, of a worker that has no thread. Return: those that have ended, by their "next" */
Relay *relay_worker_turn(RelayWorker *worker);
/* On its worker's thread: takes it out, so that another can take it. */
void relay_worker_give(Relay *relay);
/* On the worker's thread: out of one of its lists, into another. */
void relay_worker_wait(Relay *relay, RelayWait wait);
/* On the worker's thread: an event when @side can be written to, from now on. */
void relay_worker_watch_writing(RelaySide *side);
/* On the worker's thread: the end of a relay. */
void relay_worker_end(Relay *relay, bool reset);
/* From any thread: resets both connections at once; the worker sees that and ends the relay. */
void relay_worker_abort(Relay *relay);

/* relay.c; on a worker's thread: a list of relays that have ended, all by their "next". */
void relays_take_ended(Relays *relays, Relay *first, Relay *last);
/* relay.c; on the loop thread: a young relay has had a turn, and lives. */
void relays_grow(Relays *relays, Relay *relay);

#endif
