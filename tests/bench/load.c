/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * load.c - the client's end of the bench's traffic
 */
#include "config.h"

#include "load.h"
#include "say.h"
#include "wire.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LATENCIES_MAX (4U * 1024 * 1024)
#define REQUESTS_WARM 100
#define STREAMS_MAX   64

typedef struct Stream {
    const LoadPlan *plan;
    bool up;
    pthread_t thread;
    bool done;
    WireCount count;
} Stream;

/* A request, preceded by what opens the connection. */
typedef struct Opening {
    WireHello hello;
    char request[WIRE_REQUEST];
} Opening;

static int dial(const LoadPlan *plan, unsigned turn)
{
    const int on = 1;
    struct sockaddr_in server = plan->server;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    server.sin_port = htons((uint16_t)(ntohs(server.sin_port) + turn % plan->ports));
    if (fd < 0)
        say_die("socket: %s", strerror(errno));
    wire_limit(fd);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0)
        say_die("connect to port %u: %s", (unsigned)ntohs(server.sin_port), strerror(errno));
    return fd;
}

static WireHello hello_of(const LoadPlan *plan, WireMode mode)
{
    return (WireHello){
        .magic = WIRE_MAGIC, .mode = mode, .warm_ms = plan->warm_ms, .time_ms = plan->time_ms};
}

/* ---- streams ---- */

/* Sends until the server's count has come whole; our own total is what we sent. */
static bool stream_up(int fd, WireCount *ret)
{
    char *buffer = calloc(1, WIRE_CHUNK);
    uint64_t sent = 0;
    size_t have = 0;

    while (buffer != NULL && have < sizeof *ret) {
        ssize_t n = recv(fd, (char *)ret + have, sizeof *ret - have, MSG_DONTWAIT);

        if (n > 0) {
            have += (size_t)n;
            continue;
        }
        if (n == 0 || errno != EAGAIN)
            break;
        if (!wire_send(fd, buffer, WIRE_CHUNK))
            break;
        sent += WIRE_CHUNK;
    }
    free(buffer);
    ret->total = sent;
    return have == sizeof *ret;
}

static void *stream_main(void *argument)
{
    Stream *stream = argument;
    WireHello hello = hello_of(stream->plan, stream->up ? WIRE_UP : WIRE_DOWN);
    int fd = dial(stream->plan, 0);

    if (!wire_send(fd, &hello, sizeof hello))
        stream->done = false;
    else if (stream->up)
        stream->done = stream_up(fd, &stream->count);
    else
        stream->done = wire_window(fd, &hello, &stream->count);
    close(fd);
    return NULL;
}

void load_stream(const LoadPlan *plan, bool up)
{
    static Stream streams[STREAMS_MAX];
    uint64_t bytes = 0, total = 0;
    double rate = 0, seconds = 0;

    if (plan->streams > STREAMS_MAX)
        say_die("at most %d streams", STREAMS_MAX);
    for (unsigned i = 0; i < plan->streams; i++) {
        streams[i] = (Stream){.plan = plan, .up = up};
        if (pthread_create(&streams[i].thread, NULL, stream_main, &streams[i]) != 0)
            say_die("no thread for a stream");
    }
    for (unsigned i = 0; i < plan->streams; i++) {
        const WireCount *count = &streams[i].count;
        double took;

        pthread_join(streams[i].thread, NULL);
        if (!streams[i].done)
            say_die("stream %u of %u broke off after %" PRIu64 " bytes", i + 1, plan->streams,
                    count->total);
        took = (double)count->nanoseconds / 1e9;
        rate += (double)count->bytes / took;
        seconds = took > seconds ? took : seconds;
        bytes += count->bytes;
        total += count->total;
    }
    printf("{\"rate\":%.0f,\"bytes\":%" PRIu64 ",\"seconds\":%.6f,\"total\":%" PRIu64 "}\n", rate,
           bytes, seconds, total);
}

/* ---- requests ---- */

static void request_once(int fd)
{
    char buffer[WIRE_REQUEST] = {0};

    if (!wire_send(fd, buffer, sizeof buffer) || !wire_receive(fd, buffer, sizeof buffer))
        say_die("a request got no response: %s", strerror(errno));
}

/* A connection over which one request has been answered. */
static int request_open(const LoadPlan *plan, unsigned turn)
{
    Opening opening = {.hello = hello_of(plan, WIRE_ECHO)};
    int fd = dial(plan, turn);

    if (!wire_send(fd, &opening, sizeof opening) ||
        !wire_receive(fd, opening.request, sizeof opening.request))
        say_die("the first request got no response: %s", strerror(errno));
    return fd;
}

static int compare(const void *a, const void *b)
{
    const uint32_t *x = a;
    const uint32_t *y = b;

    return (*x > *y) - (*x < *y);
}

/* Requests for the time of the plan. Return: the rate; latencies go to @latencies unless it is NULL */
static double request_run(const LoadPlan *plan, int fd, uint32_t *latencies, size_t *ret_count)
{
    uint64_t start, now, end;
    size_t count = 0;

    for (unsigned i = 0; i < REQUESTS_WARM; i++)
        request_once(fd);
    start = now = say_now();
    end = start + (uint64_t)plan->time_ms * 1000000U;
    while (now < end && count < LATENCIES_MAX) {
        uint64_t before = now;

        request_once(fd);
        now = say_now();
        if (latencies != NULL)
            latencies[count] = (uint32_t)(now - before);
        count++;
    }
    *ret_count = count;
    return (double)count * 1e9 / (double)(now - start);
}

void load_request(const LoadPlan *plan)
{
    uint32_t *latencies = calloc(LATENCIES_MAX, sizeof *latencies);
    int fd = request_open(plan, 0);
    size_t count;
    double rate;

    if (latencies == NULL)
        say_die("out of memory");
    rate = request_run(plan, fd, latencies, &count);
    qsort(latencies, count, sizeof *latencies, compare);
    printf("{\"p50_us\":%.2f,\"p99_us\":%.2f,\"rate\":%.1f}\n", latencies[count / 2] / 1e3,
           latencies[count * 99 / 100] / 1e3, rate);
    free(latencies);
    close(fd);
}

void load_connect(const LoadPlan *plan)
{
    uint64_t start = say_now(), now = start;
    uint64_t end = start + (uint64_t)plan->time_ms * 1000000U;
    unsigned count = 0;

    while (now < end) {
        close(request_open(plan, count++));
        now = say_now();
    }
    printf("{\"rate\":%.1f,\"count\":%u}\n", (double)count * 1e9 / (double)(now - start), count);
}

static void await_line(void)
{
    int c;

    fflush(stdout);
    do
        c = getchar();
    while (c != '\n' && c != EOF);
    if (c == EOF)
        exit(0);
}

void load_held(const LoadPlan *plan)
{
    int fd = request_open(plan, 0);
    size_t count;

    printf("{\"one\":%.1f}\n", request_run(plan, fd, NULL, &count));
    await_line();
    /* They stay open until this program ends. */
    for (unsigned i = 0; i < plan->held; i++)
        (void)request_open(plan, i);
    printf("{\"held\":%u}\n", plan->held);
    await_line();
    printf("{\"many\":%.1f}\n", request_run(plan, fd, NULL, &count));
}

/* ---- datagrams ---- */

/* Sends @head until its answer comes. */
static void datagram_ask(int fd, WireDatagram *head)
{
    const struct timeval wait = {.tv_usec = 200000};
    char answer[WIRE_DATAGRAM];
    WireDatagram got;

    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    for (unsigned i = 0; i < 25; i++) {
        (void)send(fd, head, sizeof *head, 0);
        while (recv(fd, answer, sizeof answer, 0) >= (ssize_t)sizeof got) {
            memcpy(&got, answer, sizeof got);
            if (got.magic == WIRE_MAGIC && got.kind == head->kind && got.run == head->run) {
                *head = got;
                return;
            }
        }
    }
    say_die("no answer to a datagram");
}

void load_datagram(const LoadPlan *plan)
{
    WireDatagram head = {.magic = WIRE_MAGIC, .kind = WIRE_PING, .run = say_now()};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char datagram[WIRE_DATAGRAM] = {0};
    uint64_t sent = 0, end;

    if (fd < 0 || connect(fd, (const struct sockaddr *)&plan->server, sizeof plan->server) < 0)
        say_die("datagrams: %s", strerror(errno));
    datagram_ask(fd, &head);
    head.kind = WIRE_DATA;
    memcpy(datagram, &head, sizeof head);
    end = say_now() + (uint64_t)plan->time_ms * 1000000U;
    while (say_now() < end) {
        if (send(fd, datagram, sizeof datagram, 0) == (ssize_t)sizeof datagram)
            sent++;
        else if (errno != ENOBUFS && errno != EAGAIN)
            say_die("datagram: %s", strerror(errno));
    }
    /* What is under way arrives. */
    say_sleep_ms(100);
    head.kind = WIRE_ASK;
    datagram_ask(fd, &head);
    if (head.count < 2 || head.nanoseconds == 0)
        say_die("%" PRIu64 " of %" PRIu64 " datagrams came", head.count, sent);
    printf("{\"rate\":%.1f,\"sent\":%" PRIu64 ",\"came\":%" PRIu64 ",\"seconds\":%.6f}\n",
           (double)(head.count - 1) * 1e9 / (double)head.nanoseconds, sent, head.count,
           (double)head.nanoseconds / 1e9);
    close(fd);
}
