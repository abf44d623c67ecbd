/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_FUZZ_FAKENET_H
#define SALLYPORT_TESTS_FUZZ_FAKENET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "netaddr.h"

#include "bytes.h"

/*
 * A network in memory. Defines socket(2) and its kin, epoll(7), clock_gettime(2) and getrandom(2) in the executable, in front of
 * libc's: what libslirp.so, GLib and we call comes here, so that nothing leaves the process and no input depends on the time or on
 * chance. Fds from FAKENET_FD on are ours; calls on others go to the kernel. One thread.
 */
#define FAKENET_FD      1000
#define FAKENET_SOCKETS 128

typedef enum FakeState {
    FAKE_NEW,
    FAKE_CONNECTING, /* until the peer answers */
    FAKE_CONNECTED,
    FAKE_FAILED, /* connect(2) failed; the error is in @error */
    FAKE_LISTENING,
} FakeState;

/**
 * struct FakeSocket - one socket, and the peer at its other end
 * @auto_connect: the peer answers at the next turn of the loop
 * @error:    what SO_ERROR and the next call report, then 0
 * @in_left:  bytes of the stream that have come and are not read yet, @in_at of them were read before
 * @room:     bytes that can be sent before it is full
 * @out:      bytes sent
 * @peer_fin, @peer_rst: it has ended the stream, or broken it
 * @salt:     the byte at place n of what the peer sends is fakenet_byte(salt, n)
 * @datagrams: lengths of @datagram_count datagrams that have come, from @from and @from_port
 * @answer:   of length @answer_len: contents of what comes next instead of the pattern, or NULL
 * @owner:    for whoever asks: the hooks' own
 */
typedef struct FakeSocket {
    bool used;
    bool is_epoll;
    bool auto_connect;
    bool shut;
    bool peer_fin;
    bool peer_rst;
    int family;
    int type;
    FakeState state;
    int error;
    NetAddr peer;
    uint16_t peer_port;
    uint16_t local_port;
    size_t in_left;
    uint64_t in_at;
    size_t room;
    uint64_t out;
    uint8_t salt;
    size_t datagrams[4];
    size_t datagram_count;
    NetAddr from;
    uint16_t from_port;
    uint8_t *answer;
    size_t answer_len;
    unsigned accepts;
    int epoll_fd; /* -1: in no set */
    uint32_t events;
    uint64_t event_data;
    void *owner;
} FakeSocket;

/* What the target wants to judge; @refused says what error of connect(2) the caller gets to see. Each may be NULL. */
typedef struct FakeHooks {
    int (*refused)(int errnum);
    void (*connect)(FakeSocket *sock, const NetAddr *addr, uint16_t port);
    void (*stream)(FakeSocket *sock, const uint8_t *data, size_t len);
    void (*datagram)(FakeSocket *sock, const uint8_t *data, size_t len, const NetAddr *to,
                     uint16_t port);
} FakeHooks;

/* Nothing is left of the input before; the clock begins anew. Until fakenet_end() time is ours. */
void fakenet_begin(const FakeHooks *hooks);
/* All is closed that anybody left open; returns how many that were. */
unsigned fakenet_end(void);

/* The n-th call of a kind from now on fails or takes less, as the input says: one byte which, one how. */
void fakenet_plan(Bytes *bytes);
/* From now on nothing fails any more, peers answer, and nothing is full. */
void fakenet_calm(void);
/* A peer does something: one byte who, one what. */
void fakenet_peer(Bytes *bytes);

void fakenet_advance(int64_t us);
int64_t fakenet_now(void);
uint8_t fakenet_byte(uint8_t salt, uint64_t at);
/* NULL if @fd is none of ours or not open. */
FakeSocket *fakenet_socket(int fd);
/* The @n-th that is open, no epoll set; NULL if there are fewer. */
FakeSocket *fakenet_nth(unsigned n);
/* Open ones, epoll sets left out. */
unsigned fakenet_open(void);
/* Calls that moved something: bytes, a connection, a socket opened or closed. */
uint64_t fakenet_moved(void);

/* A GMainContext whose poll(2) is ours: nothing ready means that the clock goes on by as much as was asked for, but at most
 * @most_us; returns false if nobody wanted to be called within that. */
GMainContext *fakenet_context(void);
bool fakenet_turn(GMainContext *context, int64_t most_us);
/* Lets time go by; a loop that turns without doing anything is a finding, and so are more than so many sockets. */
void fakenet_run(GMainContext *context, int64_t us, unsigned sockets_max);

#endif
