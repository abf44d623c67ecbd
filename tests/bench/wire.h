/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wire.h - what the two ends of the bench's traffic say to each other
 *
 * Both ends run on one machine, so numbers are in its byte order. A TCP connection begins with a WireHello of the client:
 *   WIRE_ECHO  every byte after it comes back
 *   WIRE_UP    the client sends until a WireCount comes back
 *   WIRE_DOWN  the server sends until the client closes
 * The receiver of a stream measures it: the bytes and the time between the end of a warm-up, which starts with the first
 * byte, and the end of the window behind that.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#define WIRE_MAGIC    0x62e4c401U
#define WIRE_CHUNK    (256 * 1024) /* bytes per send() and recv() of a stream */
#define WIRE_REQUEST  64           /* bytes of a request and of its response */
#define WIRE_DATAGRAM 1200         /* bytes of a datagram */
#define WIRE_STALL_S  10           /* nothing moved for so long: given up */

typedef enum WireMode {
    WIRE_ECHO = 1,
    WIRE_UP,
    WIRE_DOWN,
} WireMode;

typedef struct WireHello {
    uint32_t magic;
    uint32_t mode; /* WireMode */
    uint32_t warm_ms;
    uint32_t time_ms;
} WireHello;

typedef struct WireCount {
    uint64_t bytes;       /* within the window */
    uint64_t nanoseconds; /* length of the window */
    uint64_t total;       /* all bytes until the end of the window */
} WireCount;

typedef enum WireKind {
    WIRE_PING = 1, /* comes back as it is */
    WIRE_DATA,     /* is counted */
    WIRE_ASK,      /* comes back with count and nanoseconds */
} WireKind;

/* The beginning of every datagram. */
typedef struct WireDatagram {
    uint32_t magic;
    uint32_t kind;  /* WireKind */
    uint64_t run;   /* a number for each run, so that late datagrams of another are not counted */
    uint64_t count; /* datagrams that came */
    uint64_t nanoseconds; /* from the first to the last of them */
} WireDatagram;

/* All of @length bytes. Return: false on an error or, in receive, an early end */
bool wire_send(int fd, const void *data, uint64_t length);
bool wire_receive(int fd, void *data, uint64_t length);

/* Receives a stream with @hello's warm-up and window. Return: false if it ended before the window did */
bool wire_window(int fd, const WireHello *hello, WireCount *ret);

/* A blocking receive or send that waits for longer than WIRE_STALL_S fails. */
void wire_limit(int fd);

#endif
