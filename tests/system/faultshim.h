/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_FAULTSHIM_H
#define SALLYPORT_TESTS_FAULTSHIM_H

/*
 * What a test and the shim in the helper's processes share: one page mapped from the file that FAULTSHIM_ENV names. The test writes
 * the orders at any time and reads the counts; the shim makes no system call for it.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FAULTSHIM_ENV "SALLYPORT_FAULTS"

/* Processes in the order of their fork(2): the supervisor, inside, the datapath; one for whatever may come after them. */
#define FAULT_ROLES 4

/* X(name, errnos a kernel may give): see faultshim.c for the letters and for what narrows them. */
#define FAULT_CALLS_LIST(X)                                                                        \
    X(read, A | I | M | O)                                                                         \
    X(write, A | I | B | M | O)                                                                    \
    X(recv, A | I | B | M | C | E)                                                                 \
    X(send, A | I | B | M | P | C | E)                                                             \
    X(accept, A | I | B | M | F | N | P | C)                                                       \
    X(socket, B | M | F | N | P)                                                                   \
    X(connect, B | M | P)                                                                          \
    X(bind, M | P)                                                                                 \
    X(listen, M | P)                                                                               \
    X(getsockopt, B | M | P)                                                                       \
    X(setsockopt, B | M | P)                                                                       \
    X(getsockname, B | M)                                                                          \
    X(close, I | O)                                                                                \
    X(pipe, F | N | M)                                                                             \
    X(splice, A | I | M | C | E)                                                                   \
    X(fcntl, F | M | P)                                                                            \
    X(ioctl, M | P | O)                                                                            \
    X(poll, I | M)                                                                                 \
    X(epoll_create, F | N | M)                                                                     \
    X(epoll_ctl, M)                                                                                \
    X(epoll_wait, I)                                                                               \
    X(eventfd, F | N | M)                                                                          \
    X(signalfd, F | N | M)                                                                         \
    X(open, F | N | M | P | I | O)                                                                 \
    X(pidfd_open, F | N | M)                                                                       \
    X(inotify, F | N | M)                                                                          \
    X(waitpid, I)                                                                                  \
    X(fork, A | M)                                                                                 \
    X(setns, M | P)                                                                                \
    X(unshare, M | P)                                                                              \
    X(pthread_create, A | M)                                                                       \
    X(prctl, P)

typedef enum FaultCall {
#define FAULT_CALL_ENUM(name, errnos) FAULT_CALL_##name,
    FAULT_CALLS_LIST(FAULT_CALL_ENUM)
#undef FAULT_CALL_ENUM
        FAULT_CALLS
} FaultCall;

/* The numbers of errnos in sets and counts. */
#define FAULT_ERRNOS 10

typedef struct FaultPage {
    /* ---- orders ---- */
    atomic_bool active;
    atomic_uint rate;    /* of 10,000 calls */
    atomic_uint roles;   /* set of roles */
    atomic_ullong calls; /* set of FaultCall */
    atomic_uint errnos;  /* set of errno numbers, 0 to FAULT_ERRNOS - 1 */
    atomic_ullong seed;
    atomic_uint single_byte; /* set of roles whose sockets take and give one byte at a time */
    atomic_llong wall_ns;    /* CLOCK_REALTIME is so much later */
    atomic_llong boot_ns;    /* so is CLOCK_MONOTONIC */
    atomic_int stop_role;    /* which role waits, -1: none, */
    atomic_ullong stop_at;   /* before its call of that number */
    /* ---- counts ---- */
    atomic_bool stopped;
    atomic_int forks;
    atomic_ullong made[FAULT_ROLES]; /* calls so far */
    atomic_ullong draws[FAULT_ROLES];
    atomic_ullong split[FAULT_ROLES]; /* calls that moved one byte for single_byte */
    atomic_uint given[FAULT_CALLS][FAULT_ERRNOS];
} FaultPage;

#endif
