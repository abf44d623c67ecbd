/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_traffic.c - bytes in bulk with their SHA-256, servers, echo
 *
 * Runs in:  the body, and children of it that live as servers (serve_*).
 */
#include "config.h"

#include "lab_internal.h"

#include <fcntl.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRANSFER_CHUNK (256 * 1024)

/* ---- transfer ---- */

/* One direction: bytes of a generator go in at one end, come out at the other. */
typedef struct Stream {
    int from, to;
    uint64_t total, sent, received;
    uint64_t state; /* of the generator, xorshift64 */
    GChecksum *sent_sum, *received_sum;
    uint8_t *pending; /* generated and hashed, not yet sent */
    size_t pending_at, pending_length, chunk;
    bool shut, ended;
} Stream;

static void stream_generate(Stream *stream)
{
    size_t length = (size_t)MIN((uint64_t)stream->chunk, stream->total - stream->sent);

    for (size_t at = 0; at < length; at += sizeof stream->state) {
        stream->state ^= stream->state << 13;
        stream->state ^= stream->state >> 7;
        stream->state ^= stream->state << 17;
        memcpy(stream->pending + at, &stream->state, MIN(sizeof stream->state, length - at));
    }
    g_checksum_update(stream->sent_sum, stream->pending, (gssize)length);
    stream->pending_at = 0;
    stream->pending_length = length;
}

static void stream_send(Stream *stream)
{
    if (stream->pending_at == stream->pending_length && stream->sent < stream->total)
        stream_generate(stream);
    if (stream->pending_at < stream->pending_length) {
        ssize_t sent =
            send(stream->from, stream->pending + stream->pending_at,
                 stream->pending_length - stream->pending_at, MSG_NOSIGNAL | MSG_DONTWAIT);

        LAB_CHECK(sent > 0 || errno == EAGAIN, "send after %" G_GUINT64_FORMAT " bytes: %s",
                  stream->sent, strerror(errno));
        if (sent > 0) {
            stream->pending_at += (size_t)sent;
            stream->sent += (uint64_t)sent;
        }
    }
    if (stream->sent == stream->total && !stream->shut) {
        LAB_ASSERT_CALL(shutdown(stream->from, SHUT_WR));
        stream->shut = true;
    }
}

static void stream_receive(Stream *stream, uint8_t *buffer)
{
    ssize_t came = recv(stream->to, buffer, stream->chunk, MSG_DONTWAIT);

    if (came < 0 && errno == EAGAIN)
        return;
    LAB_CHECK(came >= 0, "receive after %" G_GUINT64_FORMAT " bytes: %s", stream->received,
              strerror(errno));
    if (came == 0) {
        stream->ended = true;
        return;
    }
    stream->received += (uint64_t)came;
    g_checksum_update(stream->received_sum, buffer, came);
}

static void stream_begin(Stream *stream, int from, int to, uint64_t total, size_t chunk)
{
    *stream = (Stream){.from = from,
                       .to = to,
                       .total = total,
                       .state = 0x9e3779b97f4a7c15U ^ total ^ ((uint64_t)from << 32),
                       .chunk = chunk};
    stream->sent_sum = g_checksum_new(G_CHECKSUM_SHA256);
    stream->received_sum = g_checksum_new(G_CHECKSUM_SHA256);
    stream->pending = g_malloc(chunk);
}

static void stream_finish(Stream *stream)
{
    LAB_ASSERT_EQ(stream->received, stream->total);
    LAB_CHECK(strcmp(g_checksum_get_string(stream->sent_sum),
                     g_checksum_get_string(stream->received_sum)) == 0,
              "SHA-256 of %" G_GUINT64_FORMAT " bytes differs", stream->total);
    g_checksum_free(stream->sent_sum);
    g_checksum_free(stream->received_sum);
    g_free(stream->pending);
}

void lab_transfer(int a, int b, uint64_t a_to_b, uint64_t b_to_a, size_t chunk)
{
    Stream streams[2];
    g_autofree uint8_t *buffer = NULL;

    chunk = chunk == 0 ? TRANSFER_CHUNK : chunk;
    buffer = g_malloc(chunk);
    stream_begin(&streams[0], a, b, a_to_b, chunk);
    stream_begin(&streams[1], b, a, b_to_a, chunk);
    while (!streams[0].ended || !streams[1].ended) {
        struct pollfd polls[2];

        for (size_t i = 0; i < 2; i++) {
            const Stream *out = &streams[i], *in = &streams[1 - i];

            polls[i] = (struct pollfd){.fd = out->from};
            polls[i].events = (short)((out->shut ? 0 : POLLOUT) | (in->ended ? 0 : POLLIN));
            if (polls[i].events == 0)
                polls[i].fd = -1;
        }
        int ready = poll(polls, 2, LAB_MS(LAB_WAIT_MS));
        LAB_CHECK(ready > 0,
                  "nothing moves: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                  " bytes there, %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " back%s%s",
                  streams[0].received, a_to_b, streams[1].received, b_to_a,
                  streams[0].ended ? ", FIN there" : "", streams[1].ended ? ", FIN back" : "");
        for (size_t i = 0; i < 2; i++) {
            if ((polls[i].revents & (POLLOUT | POLLERR)) != 0 && !streams[i].shut)
                stream_send(&streams[i]);
            if ((polls[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !streams[1 - i].ended)
                stream_receive(&streams[1 - i], buffer);
        }
    }
    stream_finish(&streams[0]);
    stream_finish(&streams[1]);
}

/* ---- servers ---- */

/* A stream being echoed keeps what it could not send. */
typedef struct Client {
    uint8_t *kept;
    size_t at, length;
} Client;

#define SERVE_CHUNK 65536

/* One step of one client. Return: false when it is to be closed */
static bool serve_step(int fd, Client *client, LabService service, uint8_t *buffer)
{
    if (service == LAB_SOURCE) {
        ssize_t sent = send(fd, buffer, SERVE_CHUNK, MSG_NOSIGNAL | MSG_DONTWAIT);

        return sent > 0 || errno == EAGAIN;
    }
    if (client->at == client->length) {
        ssize_t came =
            recv(fd, service == LAB_SINK ? buffer : client->kept, SERVE_CHUNK, MSG_DONTWAIT);

        if (came <= 0)
            return came < 0 && errno == EAGAIN;
        if (service == LAB_SINK)
            return true;
        client->at = 0;
        client->length = (size_t)came;
    }
    ssize_t sent = send(fd, client->kept + client->at, client->length - client->at,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0)
        client->at += (size_t)sent;
    return sent > 0 || errno == EAGAIN;
}

static void serve_accept(int listener, LabService service, GArray *polls, GArray *clients)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        struct pollfd one = {.fd = fd};
        Client client = {.kept = NULL};

        if (service == LAB_DISCARD) {
            close(fd);
            continue;
        }
        if (service == LAB_ECHO)
            client.kept = g_malloc(SERVE_CHUNK);
        g_array_append_val(polls, one);
        g_array_append_val(clients, client);
    }
}

static void serve_tcp(int listener, LabService service)
{
    g_autoptr(GArray) polls = g_array_new(FALSE, TRUE, sizeof(struct pollfd));
    g_autoptr(GArray) clients = g_array_new(FALSE, TRUE, sizeof(Client));
    g_autofree uint8_t *buffer = g_malloc0(SERVE_CHUNK);
    struct pollfd first = {.fd = listener, .events = POLLIN};
    Client nobody = {.kept = NULL};

    (void)fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK);
    g_array_append_val(polls, first);
    g_array_append_val(clients, nobody);
    for (;;) {
        for (guint i = 1; i < polls->len; i++) {
            const Client *client = &g_array_index(clients, Client, i);

            g_array_index(polls, struct pollfd, i).events =
                service == LAB_SOURCE || client->at < client->length ? POLLOUT : POLLIN;
        }
        if (poll((struct pollfd *)(void *)polls->data, polls->len, -1) < 0)
            continue;
        if (g_array_index(polls, struct pollfd, 0).revents != 0)
            serve_accept(listener, service, polls, clients);
        for (guint i = polls->len; i-- > 1;) {
            struct pollfd *one = &g_array_index(polls, struct pollfd, i);
            Client *client = &g_array_index(clients, Client, i);

            if (one->revents == 0 || serve_step(one->fd, client, service, buffer))
                continue;
            close(one->fd);
            g_free(client->kept);
            g_array_remove_index_fast(polls, i);
            g_array_remove_index_fast(clients, i);
        }
    }
}

static void serve_udp(int fd, LabService service)
{
    g_autofree uint8_t *buffer = g_malloc(65536);
    struct sockaddr_storage from;

    for (;;) {
        socklen_t length = sizeof from;
        ssize_t came = recvfrom(fd, buffer, 65536, 0, (struct sockaddr *)&from, &length);

        if (came >= 0 && service == LAB_ECHO)
            (void)sendto(fd, buffer, (size_t)came, MSG_NOSIGNAL, (struct sockaddr *)&from, length);
    }
}

static pid_t serve(int take_fd, LabService service, void (*run)(int, LabService))
{
    pid_t server = lab_fork(SIGKILL, take_fd);

    if (server == 0) {
        lab_current = NULL;
        run(take_fd, service);
        _exit(0);
    }
    LAB_CHECK(server > 0, "fork: %s", strerror(errno));
    close(take_fd);
    return server;
}

pid_t lab_serve_tcp(Lab *lab, int take_listener, LabService service)
{
    (void)lab;
    return serve(take_listener, service, serve_tcp);
}

pid_t lab_serve_udp(Lab *lab, int take_fd, LabService service)
{
    (void)lab;
    return serve(take_fd, service, serve_udp);
}

void lab_serve_end(Lab *lab, pid_t server)
{
    (void)lab;
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
}

/* ---- echo ---- */

bool lab_ping(Lab *lab, LabPlace place, const char *address, size_t payload, int timeout_ms)
{
    bool v6 = lab_address_is_v6(address);
    int protocol = v6 ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP;
    int fd = lab_socket(lab, place, v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, protocol);
    size_t length = sizeof(struct icmphdr) + payload;
    g_autofree uint8_t *packet = g_malloc0(length), *reply = g_malloc0(length + 1);
    struct icmphdr header = {.type = v6 ? ICMP6_ECHO_REQUEST : ICMP_ECHO,
                             .un.echo.sequence = htons(0x5a01)};
    struct sockaddr_storage to;
    socklen_t size = lab_address(&to, address, 0);
    bool same = false;

    LAB_CHECK(fd >= 0, "ping socket in place %d: %s", (int)place, strerror(errno));
    for (size_t i = 0; i < payload; i++)
        packet[sizeof header + i] = (uint8_t)(i * 7 + 3);
    memcpy(packet, &header, sizeof header);
    if (sendto(fd, packet, length, 0, (struct sockaddr *)&to, size) == (ssize_t)length &&
        lab_recv_datagram(fd, reply, length + 1, NULL, timeout_ms) == (ssize_t)length) {
        struct icmphdr got;

        memcpy(&got, reply, sizeof got);
        same = got.type == (v6 ? ICMP6_ECHO_REPLY : ICMP_ECHOREPLY) &&
               got.un.echo.sequence == header.un.echo.sequence &&
               memcmp(reply + sizeof got, packet + sizeof got, payload) == 0;
    }
    close(fd);
    return same;
}
