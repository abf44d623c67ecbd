/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * serve.c - the server's end of the bench's traffic
 *
 * One thread waits for everything and answers requests; a stream gets a thread of its own.
 */
#include "config.h"

#include "say.h"
#include "serve.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

typedef enum PeerKind {
    PEER_LISTENER,
    PEER_DATAGRAMS,
    PEER_NEW,  /* its WireHello is not complete */
    PEER_ECHO, /* what comes goes back */
} PeerKind;

typedef struct Peer {
    PeerKind kind;
    int fd;
    unsigned have; /* bytes of hello */
    WireHello hello;
} Peer;

/* The datagrams counted last. */
typedef struct Tally {
    uint64_t run;
    uint64_t count;
    uint64_t first;
    uint64_t last;
} Tally;

static int epoll_fd;

static Peer *peer_add(PeerKind kind, int fd)
{
    Peer *peer = calloc(1, sizeof *peer);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};

    if (peer == NULL)
        say_die("out of memory");
    peer->kind = kind;
    peer->fd = fd;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        say_die("epoll_ctl: %s", strerror(errno));
    return peer;
}

static void peer_end(Peer *peer)
{
    close(peer->fd);
    free(peer);
}

static int bound_socket(int type, uint16_t port)
{
    const int on = 1, room = 4 * 1024 * 1024;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        say_die("socket: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (type == SOCK_DGRAM)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        (type == SOCK_STREAM && listen(fd, 4096) < 0))
        say_die("port %u: %s", (unsigned)port, strerror(errno));
    return fd;
}

/* A thread: one stream until its client has gone. */
static void *stream_main(void *argument)
{
    Peer *peer = argument;
    char *buffer = calloc(1, WIRE_CHUNK);
    WireCount count;

    wire_limit(peer->fd);
    if (buffer == NULL) {
        /* the client sees the end */
    } else if (peer->hello.mode == WIRE_DOWN) {
        while (wire_send(peer->fd, buffer, WIRE_CHUNK))
            ;
    } else if (wire_window(peer->fd, &peer->hello, &count) &&
               wire_send(peer->fd, &count, sizeof count)) {
        while (recv(peer->fd, buffer, WIRE_CHUNK, 0) > 0)
            ;
    }
    free(buffer);
    peer_end(peer);
    return NULL;
}

/* Hands the connection to a thread. */
static void stream_start(Peer *peer)
{
    pthread_attr_t attributes;
    pthread_t thread;

    if (epoll_ctl(epoll_fd, EPOLL_CTL_DEL, peer->fd, NULL) < 0 || fcntl(peer->fd, F_SETFL, 0) < 0 ||
        pthread_attr_init(&attributes) != 0 ||
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) != 0 ||
        pthread_create(&thread, &attributes, stream_main, peer) != 0)
        say_die("no thread for a stream: %s", strerror(errno));
    (void)pthread_attr_destroy(&attributes);
}

/* Return: false once the connection is somebody else's or ended */
static bool peer_greet(Peer *peer)
{
    ssize_t n =
        recv(peer->fd, (char *)&peer->hello + peer->have, sizeof peer->hello - peer->have, 0);

    if (n < 0 && errno == EAGAIN)
        return true;
    if (n <= 0) {
        peer_end(peer);
        return false;
    }
    peer->have += (unsigned)n;
    if (peer->have < sizeof peer->hello)
        return true;
    if (peer->hello.magic == WIRE_MAGIC && peer->hello.mode == WIRE_ECHO) {
        peer->kind = PEER_ECHO;
        return true;
    }
    if (peer->hello.magic == WIRE_MAGIC)
        stream_start(peer);
    else
        peer_end(peer);
    return false;
}

static void peer_echo(Peer *peer)
{
    char buffer[4096];
    ssize_t n = recv(peer->fd, buffer, sizeof buffer, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    /* Requests are small and wait for their answers: a full send buffer is no honest client. */
    if (n <= 0 || send(peer->fd, buffer, (size_t)n, MSG_NOSIGNAL) != n)
        peer_end(peer);
}

static void accept_all(int listener)
{
    const int on = 1;

    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
            return;
        if (fd < 0)
            say_die("accept: %s", strerror(errno));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        (void)peer_add(PEER_NEW, fd);
    }
}

/* A share of what is there, so that the others are served too. */
static void datagrams_read(int fd)
{
    static Tally tally;
    char buffer[WIRE_DATAGRAM];
    WireDatagram head;

    for (unsigned i = 0; i < 256; i++) {
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t n = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr *)&from, &length);

        if (n < 0)
            return;
        if (n < (ssize_t)sizeof head)
            continue;
        memcpy(&head, buffer, sizeof head);
        if (head.magic != WIRE_MAGIC)
            continue;
        if (head.run != tally.run)
            tally = (Tally){.run = head.run};
        if (head.kind == WIRE_DATA) {
            tally.count++;
            tally.last = say_now();
            if (tally.first == 0)
                tally.first = tally.last;
            continue;
        }
        if (head.kind == WIRE_ASK) {
            head.count = tally.count;
            head.nanoseconds = tally.last - tally.first;
            memcpy(buffer, &head, sizeof head);
        }
        (void)sendto(fd, buffer, (size_t)n, 0, (struct sockaddr *)&from, length);
    }
}

static void peer_event(Peer *peer)
{
    switch (peer->kind) {
    case PEER_LISTENER:
        accept_all(peer->fd);
        break;
    case PEER_DATAGRAMS:
        datagrams_read(peer->fd);
        break;
    case PEER_NEW:
        if (peer_greet(peer) && peer->kind == PEER_ECHO)
            peer_echo(peer);
        break;
    case PEER_ECHO:
        peer_echo(peer);
        break;
    }
}

void serve(uint16_t first, unsigned count)
{
    struct epoll_event events[64];

    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        say_die("epoll_create1: %s", strerror(errno));
    for (unsigned i = 0; i < count; i++)
        (void)peer_add(PEER_LISTENER, bound_socket(SOCK_STREAM, (uint16_t)(first + i)));
    (void)peer_add(PEER_DATAGRAMS, bound_socket(SOCK_DGRAM, first));
    puts("ready");
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 64, -1);

        if (n < 0 && errno != EINTR)
            say_die("epoll_wait: %s", strerror(errno));
        for (int i = 0; i < n; i++)
            peer_event(events[i].data.ptr);
    }
}
