/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_FUZZ_FAKENET_PRIVATE_H
#define SALLYPORT_TESTS_FUZZ_FAKENET_PRIVATE_H

#include "fakenet.h"

#include <sys/socket.h>
#include <sys/types.h>

/* Shared by fakenet.c (sockets, peers, time) and fakecalls.c (what stands in front of libc). */

#define ROOM 65536
/* Bytes a peer may have sent unread: more would only be slow. */
#define PEER_MAX 300000

typedef enum Call {
    CALL_SOCKET,
    CALL_CONNECT,
    CALL_SEND,
    CALL_RECV,
    CALL_OPTION,
    CALL_EPOLL,
    CALL_COUNT
} Call;

typedef struct Plan {
    unsigned after; /* calls that go well before it; UINT_MAX: none */
    int error;      /* 0: takes at most @most */
    size_t most;
} Plan;

typedef struct FakeNet {
    bool running;
    bool calm;
    int64_t now_us;
    uint64_t moved;
    uint16_t next_port;
    uint8_t next_salt;
    uint32_t chance;
    int64_t most_us;
    bool slept;
    FakeHooks hooks;
    Plan plans[CALL_COUNT];
    FakeSocket sockets[FAKENET_SOCKETS];
} FakeNet;

extern FakeNet fakenet;

/* -1 with errno set. */
int fake_failed(int error);
/* Does the plan say something of this call? Then -1 with errno, or less than @inout_len. */
int fake_planned(Call call, size_t *inout_len);
/* An fd, or -1 with errno. */
int fake_new(int family, int type, bool is_epoll);
int fake_take_error(FakeSocket *sock);
/* epoll(7)'s events of those that are asked for. */
uint32_t fake_ready(const FakeSocket *sock);
ssize_t fake_send(FakeSocket *sock, const void *data, size_t len, const struct sockaddr *to);
ssize_t fake_recv(FakeSocket *sock, void *to, size_t len, int flags);
void fake_put_name(const NetAddr *addr, uint16_t port, struct sockaddr *name, socklen_t *len);

#endif
