/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load.h - the client's end of the bench's traffic: one function for each kind of cell
 *
 * Each prints its results on stdout, one JSON object a line, and ends the program if the traffic fails.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <netinet/in.h>
#include <stdbool.h>

typedef struct LoadPlan {
    struct sockaddr_in server;
    unsigned ports; /* the server listens at so many, from that of server on */
    unsigned time_ms;
    unsigned warm_ms;
    unsigned streams;
    unsigned held;
} LoadPlan;

/* {"rate": bytes per second, "bytes", "seconds", "total"}; @up means from the client to the server. */
void load_stream(const LoadPlan *plan, bool up);
/* {"p50_us", "p99_us", "rate"} of requests over one connection. */
void load_request(const LoadPlan *plan);
/* {"rate"} of connect, request, response, close, one after the other. */
void load_connect(const LoadPlan *plan);
/*
 * The rate of requests with one connection, then with the others held: prints {"one": rate}, waits for a line on stdin,
 * connects, prints {"held": count}, waits for a line, prints {"many": rate}.
 */
void load_held(const LoadPlan *plan);
/* {"rate", "sent", "came", "seconds"}: datagrams sent as fast as they go; the rate at which they came. */
void load_datagram(const LoadPlan *plan);

#endif
