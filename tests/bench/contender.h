/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * contender.h - what is measured: helpers of several makes, and two yardsticks without one
 *
 * A contender that cannot be started, or is not what its label says, is left out of the whole run, and its left_out says
 * why.
 */
#ifndef BENCH_CONTENDER_H
#define BENCH_CONTENDER_H

#include "place.h"

#include <stdbool.h>
#include <stdint.h>

#define CONTENDER_FAR_PORT   5001 /* far serves there ... */
#define CONTENDER_FAR_PORTS  16   /* ... at so many ports */
#define CONTENDER_GUEST_PORT 6001 /* the guest's server, whose host port is the contender's own */

typedef enum ContenderId {
    CONTENDER_SALLYPORT, /* with the fast path */
    CONTENDER_OFF,       /* sallyport --fast-path=off */
    CONTENDER_SLIRP4NETNS,
    CONTENDER_PASTA,
    CONTENDER_SPLICE, /* splice.c */
    CONTENDER_DIRECT, /* no helper: a veth pair, and the host itself as the server behind its loopback */
    /* Only when named: what lock-down costs, and how much one binary differs from itself. */
    CONTENDER_INSECURE, /* sallyport --insecure-no-lockdown */
    CONTENDER_AGAIN,    /* sallyport */
    CONTENDERS,
    CONTENDERS_USUAL = CONTENDER_INSECURE
} ContenderId;

typedef struct Contender {
    const char *label; /* one word */
    const char *program;
    bool helper;    /* has processes of its own, which cost something */
    bool starts;    /* makes a network, so that its start is measured */
    bool datagrams; /* relays UDP */
    char left_out[512];
    char version[192];
    /* While started: */
    Place guest;
    pid_t pid;    /* of the helper, or 0 */
    pid_t server; /* in the guest */
    int report;   /* -1, or what the helper writes to */
    uint16_t port;
} Contender;

extern Contender contenders[CONTENDERS];

/* Ways a connection is made. */
typedef enum ContenderWay {
    CONTENDER_OUT,      /* from the guest to far */
    CONTENDER_LOOPBACK, /* from the host's loopback to the guest */
    CONTENDER_IN,       /* from far to the guest */
} ContenderWay;

/*
 * Files of the contenders go to @directory; @programs is where traffic and splice are, @sallyport a path. Servers of far and
 * the host are started. To be called once, after place_build().
 */
void contender_prepare(const char *directory, const char *programs, const char *sallyport);

/* The path of the program that makes the traffic. */
const char *contender_traffic(void);

/* Finds out the versions. */
void contender_versions(void);

/*
 * Starts the contender @id for a new guest, with its ports published and a server in the guest if @whole; stores the time
 * from before its fork until it was ready in @ret_ms. Return: false if it did not start: left_out says why
 */
bool contender_start(ContenderId id, bool whole, double *ret_ms);
void contender_stop(ContenderId id);

/* Where a client of @way is, and the address and port it connects to. */
const Place *contender_route(ContenderId id, ContenderWay way, const char **ret_address,
                             uint16_t *ret_port);

#endif
