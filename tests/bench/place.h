/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * place.h - the namespaces the bench works in, and processes in them
 *
 *            far ---- veth ---- host            guest, guest, ...
 *            198.51.100.1       192.0.2.1       one for each contender, empty until its helper makes a network
 *
 * The runner is root of a user namespace that owns host and far. Helpers run in the host as an ordinary user of a second
 * user namespace, without a capability; guests are made by that user, so each has a user namespace of its own below.
 */
#ifndef BENCH_PLACE_H
#define BENCH_PLACE_H

#include <stdbool.h>
#include <sys/types.h>

#define PLACE_FAR_ADDRESS    "198.51.100.1"
#define PLACE_HOST_ADDRESS   "192.0.2.1"
#define PLACE_JOINED_ADDRESS "10.77.0.2"

/* A process that does nothing, and the namespaces it holds. */
typedef struct Place {
    pid_t pid;
    int userns; /* -1: the runner's */
    int netns;  /* -1: the host's */
} Place;

extern Place place_host; /* as the runner */
extern Place place_user; /* the same, as the ordinary user */
extern Place place_far;

/* Makes host and far and enters host. To be called once, by a process without threads. */
void place_build(void);

/* A new guest, with nothing but a loopback interface that is down. */
Place place_guest(void);
/* Joins @guest to far by a veth pair, as PLACE_JOINED_ADDRESS with the default route there; one guest at a time. */
void place_join(const Place *guest);
/* Takes the pair away: a guest that ends takes its time to do so. */
void place_part(void);
/* Sets lo of @guest up. */
void place_loopback(const Place *guest);
void place_end(Place *place);

/*
 * Starts @argv in @place. Its standard input, output and errors are @in, @out and @err (-1: /dev/null); it inherits @keep
 * too, if that is not -1. It dies with the runner. Return: its pid
 */
pid_t place_spawn(const Place *place, const char *const *argv, int in, int out, int err, int keep);

/* SIGTERM, and SIGKILL if that is not enough; returns when it has ended. */
void place_kill(pid_t pid);

/* The congestion control new sockets of the places get; "different" if not the same in all. */
const char *place_congestion(void);

#endif
