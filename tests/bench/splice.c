/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * splice.c - a bare relay of two sockets, as the yardstick for what a relay in user space can reach
 *
 * usage: splice PID ADDRESS FIRST-PORT COUNT HOST-PORT GUEST-PORT
 *
 * Does:     in the network namespace of PID listens on 127.0.0.1 at COUNT ports from FIRST-PORT on and joins each client to
 *           the same port of ADDRESS, as seen from where it was started; and listens there at HOST-PORT and joins each
 *           client to 127.0.0.1:GUEST-PORT in the namespace of PID. Says "ready" on stdout.
 * Not here: everything that makes a helper: no policy, no names, no addresses kept, nothing but TCP.
 * Threads:  two, one for each way; a socket belongs to the namespace its thread is in. Listeners change hands once.
 * Pipes:    one for each direction that holds bytes; an empty one goes back to the pool of its thread.
 */
#include "config.h"

#include "say.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIPE_BYTES    (1024 * 1024)
#define POOL_MAX      32
#define LISTENERS_MAX 64

typedef struct Pipe {
    int ends[2];
    size_t held;
} Pipe;

typedef struct Joint Joint;

/* One of the two sockets of a joint. */
typedef struct Side {
    Joint *joint; /* NULL: a listener */
    int fd;
    struct sockaddr_in target; /* of a listener */
} Side;

/* Two sockets; way 0 goes from side 0 to side 1. */
struct Joint {
    Side sides[2];
    Pipe *pipes[2];
    bool finished[2]; /* end of stream was passed on that way */
    bool broken;
    Joint *next_dead;
};

/* What a thread owns. */
typedef struct Worker {
    int epoll_fd;
    Pipe *pool[POOL_MAX];
    unsigned pooled;
    Side listeners[LISTENERS_MAX];
    unsigned count;
    Joint *dead; /* freed after the batch of events */
} Worker;

/* What the command line says. */
static struct {
    int guest_netns;
    struct sockaddr_in far;
    unsigned count;
    uint16_t host_port;
    uint16_t guest_port;
} plan;

static Worker outwards, inwards;

static void watch(Worker *worker, Side *side, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = side};

    if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, side->fd, &event) < 0)
        say_die("epoll_ctl: %s", strerror(errno));
}

static void listen_at(Worker *worker, in_addr_t address, uint16_t port, struct sockaddr_in target)
{
    const int on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    Side *side = &worker->listeners[worker->count++];

    at.sin_addr.s_addr = htonl(address);
    side->target = target;
    side->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (side->fd < 0)
        say_die("socket: %s", strerror(errno));
    (void)setsockopt(side->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(side->fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(side->fd, 4096) < 0)
        say_die("port %u: %s", (unsigned)port, strerror(errno));
    watch(worker, side, EPOLLIN);
}

/* ---- pipes ---- */

static Pipe *pipe_take(Worker *worker)
{
    Pipe *fresh;

    if (worker->pooled > 0)
        return worker->pool[--worker->pooled];
    fresh = calloc(1, sizeof *fresh);
    if (fresh == NULL || pipe2(fresh->ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        free(fresh);
        return NULL;
    }
    /* Above the user's limit it stays as it is. */
    (void)fcntl(fresh->ends[1], F_SETPIPE_SZ, PIPE_BYTES);
    return fresh;
}

/* An empty pipe goes to the pool; one with bytes in it is of no use to anybody. */
static void pipe_give(Worker *worker, Pipe **pipe)
{
    Pipe *old = *pipe;

    *pipe = NULL;
    if (old == NULL)
        return;
    if (old->held == 0 && worker->pooled < POOL_MAX) {
        worker->pool[worker->pooled++] = old;
        return;
    }
    close(old->ends[0]);
    close(old->ends[1]);
    free(old);
}

/* ---- joints ---- */

static void joint_accept(Worker *worker, const Side *listener)
{
    const int on = 1;

    for (;;) {
        int client = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        Joint *joint;
        int server;

        if (client < 0)
            return;
        server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        joint = calloc(1, sizeof *joint);
        if (server < 0 || joint == NULL ||
            (connect(server, (const struct sockaddr *)&listener->target, sizeof listener->target) <
                 0 &&
             errno != EINPROGRESS))
            say_die("no connection to the server: %s", strerror(errno));
        (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        (void)setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        joint->sides[0] = (Side){.joint = joint, .fd = client};
        joint->sides[1] = (Side){.joint = joint, .fd = server};
        for (unsigned i = 0; i < 2; i++)
            watch(worker, &joint->sides[i], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    }
}

/* Empties the pipe of @way as far as the socket behind it takes it. Return: false if it took less than all */
static bool joint_drain(Joint *joint, unsigned way)
{
    Pipe *pipe = joint->pipes[way];

    while (pipe->held > 0) {
        ssize_t n = splice(pipe->ends[0], NULL, joint->sides[!way].fd, NULL, pipe->held,
                           SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

        if (n <= 0) {
            joint->broken |= n < 0 && errno != EAGAIN;
            return false;
        }
        pipe->held -= (size_t)n;
    }
    return true;
}

/* Moves bytes along @way until one of the sockets has had enough. */
static void joint_move(Worker *worker, Joint *joint, unsigned way)
{
    while (!joint->finished[way] && !joint->broken) {
        Pipe *pipe = joint->pipes[way];
        ssize_t n;

        if (pipe == NULL)
            pipe = joint->pipes[way] = pipe_take(worker);
        if (pipe == NULL) {
            joint->broken = true;
            return;
        }
        if (!joint_drain(joint, way))
            return;
        n = splice(joint->sides[way].fd, NULL, pipe->ends[1], NULL, PIPE_BYTES,
                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n > 0) {
            pipe->held += (size_t)n;
            continue;
        }
        if (n == 0) {
            joint->finished[way] = true;
            (void)shutdown(joint->sides[!way].fd, SHUT_WR);
        } else if (errno != EAGAIN && errno != ENOTCONN) {
            joint->broken = true;
        }
        pipe_give(worker, &joint->pipes[way]);
        return;
    }
}

static void joint_event(Worker *worker, Joint *joint)
{
    if (joint->sides[0].fd < 0)
        return;
    joint_move(worker, joint, 0);
    joint_move(worker, joint, 1);
    if (!joint->broken && !(joint->finished[0] && joint->finished[1]))
        return;
    for (unsigned i = 0; i < 2; i++) {
        const struct linger reset = {.l_onoff = 1};

        if (joint->broken)
            (void)setsockopt(joint->sides[i].fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(joint->sides[i].fd);
        joint->sides[i].fd = -1;
        pipe_give(worker, &joint->pipes[i]);
    }
    joint->next_dead = worker->dead;
    worker->dead = joint;
}

static void work(Worker *worker)
{
    struct epoll_event events[64];

    for (;;) {
        int n = epoll_wait(worker->epoll_fd, events, 64, -1);

        for (int i = 0; i < n; i++) {
            Side *side = events[i].data.ptr;

            if (side->joint == NULL)
                joint_accept(worker, side);
            else
                joint_event(worker, side->joint);
        }
        while (worker->dead != NULL) {
            Joint *joint = worker->dead;

            worker->dead = joint->next_dead;
            free(joint);
        }
    }
}

/* ---- the start ---- */

/* The thread that stands in the guest: makes the listeners of the other, then its own connections. */
static void *guest_main(void *argument)
{
    pthread_barrier_t *barrier = argument;
    struct sockaddr_in target = plan.far;

    if (setns(plan.guest_netns, CLONE_NEWNET) < 0)
        say_die("the guest's network namespace: %s", strerror(errno));
    for (unsigned i = 0; i < plan.count; i++) {
        target.sin_port = htons((uint16_t)(ntohs(plan.far.sin_port) + i));
        listen_at(&outwards, INADDR_LOOPBACK, ntohs(target.sin_port), target);
    }
    pthread_barrier_wait(barrier);
    work(&inwards);
    return NULL;
}

static int open_namespace(const char *pid, const char *name)
{
    char path[64];
    int fd;

    snprintf(path, sizeof path, "/proc/%.16s/ns/%s", pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        say_die("%s: %s", path, strerror(errno));
    return fd;
}

int main(int argc, char **argv)
{
    struct sockaddr_in guest = {.sin_family = AF_INET};
    pthread_barrier_t barrier;
    pthread_t thread;
    int userns;

    say_program = "splice";
    if (argc != 7)
        say_die("usage: splice PID ADDRESS FIRST-PORT COUNT HOST-PORT GUEST-PORT");
    (void)signal(SIGPIPE, SIG_IGN);
    plan.far.sin_family = AF_INET;
    plan.far.sin_port = htons((uint16_t)say_number("FIRST-PORT", argv[3], 1, 65535));
    if (inet_pton(AF_INET, argv[2], &plan.far.sin_addr) != 1)
        say_die("'%s' is no IPv4 address", argv[2]);
    plan.count = (unsigned)say_number("COUNT", argv[4], 1, LISTENERS_MAX);
    plan.host_port = (uint16_t)say_number("HOST-PORT", argv[5], 1, 65535);
    plan.guest_port = (uint16_t)say_number("GUEST-PORT", argv[6], 1, 65535);
    guest.sin_port = htons(plan.guest_port);
    guest.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    userns = open_namespace(argv[1], "user");
    plan.guest_netns = open_namespace(argv[1], "net");
    if (setns(userns, CLONE_NEWUSER) < 0)
        say_die("the guest's user namespace: %s", strerror(errno));
    outwards.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    inwards.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    listen_at(&inwards, INADDR_ANY, plan.host_port, guest);
    if (pthread_barrier_init(&barrier, NULL, 2) != 0 ||
        pthread_create(&thread, NULL, guest_main, &barrier) != 0)
        say_die("no thread");
    pthread_barrier_wait(&barrier);
    puts("ready");
    fflush(stdout);
    work(&outwards);
}
