/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_dns.c - a tiny name server that can misbehave, and a client that asks once
 *
 * Runs in:  the body (lab_dns_*), a child of it (dns_*). They share one page: the mode and the count of queries.
 * Answers:  A with the one address, AAAA with the other, whatever the name; a query over 512 bytes is ignored.
 */
#include "config.h"

#include "lab_bytes.h"
#include "lab_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define DNS_HEADER 12
#define DNS_MAX    1024
#define DNS_TTL    77
#define TYPE_A     1
#define TYPE_AAAA  28

typedef struct DnsShared {
    _Atomic unsigned queries;
    _Atomic int mode;
} DnsShared;

struct LabDns {
    pid_t server;
    DnsShared *shared;
};

typedef struct DnsServer {
    int udp, other_udp, tcp;
    const char *v4, *v6;
    DnsShared *shared;
} DnsServer;

/* Behind the question's name, type and class; 0 if the message ends before. */
static size_t question_end(const uint8_t *message, size_t length)
{
    size_t at = DNS_HEADER;

    while (at < length && message[at] != 0)
        at += message[at] + 1U;
    return at + 5 <= length ? at + 5 : 0;
}

/* ---- the server ---- */

/* Return: length of the reply, 0 for none */
static size_t dns_answer(const DnsServer *server, const uint8_t *query, size_t length, int mode,
                         bool tcp, uint8_t reply[DNS_MAX])
{
    size_t end = question_end(query, length);
    uint8_t *at = reply + end;

    if (end == 0 || end > 512)
        return 0;
    memcpy(reply, query, end);
    put16(reply + 2, 0x8180);
    put16(reply + 4, 1);
    memset(reply + 6, 0, 6);
    if (mode == LAB_DNS_SERVFAIL) {
        reply[3] |= 2;
        return end;
    }
    if (mode == LAB_DNS_TRUNCATED && !tcp) {
        reply[2] |= 2;
        return end;
    }
    unsigned type = get16(query + end - 4);
    const char *address = type == TYPE_A ? server->v4 : type == TYPE_AAAA ? server->v6 : NULL;
    if (address == NULL)
        return end;
    size_t size = type == TYPE_A ? 4 : 16;
    put16(reply + 6, 1);
    put16(at, 0xc00c);
    put16(at + 2, type);
    put16(at + 4, 1);
    put16(at + 6, 0);
    put16(at + 8, DNS_TTL);
    put16(at + 10, (unsigned)size);
    (void)inet_pton(type == TYPE_A ? AF_INET : AF_INET6, address, at + 12);
    return end + 12 + size;
}

/* A forged reply: like the true one, with the address 192.0.2.66 and what makes it wrong. */
static void dns_forge(const DnsServer *server, const uint8_t *reply, size_t length, int mode,
                      const struct sockaddr_storage *to, socklen_t size)
{
    uint8_t forged[DNS_MAX];
    int fd = server->udp;

    memcpy(forged, reply, length);
    forged[length - 1] = 66;
    if (mode == LAB_DNS_WRONG_ID)
        forged[0] ^= 0x55;
    else if (mode == LAB_DNS_WRONG_QUESTION)
        forged[DNS_HEADER + 1] ^= 0x01;
    else
        fd = server->other_udp;
    (void)sendto(fd, forged, length, 0, (const struct sockaddr *)to, size);
}

static void dns_serve_udp(const DnsServer *server)
{
    uint8_t query[DNS_MAX], reply[DNS_MAX];
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    ssize_t came = recvfrom(server->udp, query, sizeof query, 0, (struct sockaddr *)&from, &size);
    int mode = atomic_load(&server->shared->mode);
    size_t length;

    if (came < DNS_HEADER)
        return;
    atomic_fetch_add(&server->shared->queries, 1);
    if (mode == LAB_DNS_SILENT)
        return;
    length = dns_answer(server, query, (size_t)came, mode, false, reply);
    if (length == 0)
        return;
    if (mode == LAB_DNS_WRONG_ID || mode == LAB_DNS_WRONG_QUESTION || mode == LAB_DNS_WRONG_SOURCE)
        dns_forge(server, reply, length, mode, &from, size);
    (void)sendto(server->udp, reply, length, 0, (struct sockaddr *)&from, size);
}

/* Queries of one connection, one after the other, each within a second; this server needs no more. */
static void dns_serve_tcp(const DnsServer *server)
{
    uint8_t query[DNS_MAX + 2], reply[DNS_MAX + 2];
    int mode = atomic_load(&server->shared->mode);
    int fd = accept4(server->tcp, NULL, NULL, SOCK_CLOEXEC);
    const struct timeval second = {.tv_sec = 1};

    if (fd < 0)
        return;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
    while (recv(fd, query, 2, MSG_WAITALL) == 2) {
        size_t length = get16(query);

        if (length > DNS_MAX || recv(fd, query + 2, length, MSG_WAITALL) != (ssize_t)length)
            break;
        atomic_fetch_add(&server->shared->queries, 1);
        if (mode == LAB_DNS_SILENT)
            continue;
        length = dns_answer(server, query + 2, length, mode, true, reply + 2);
        put16(reply, (unsigned)length);
        if (length == 0 || send(fd, reply, length + 2, MSG_NOSIGNAL) < 0)
            break;
    }
    close(fd);
}

static void dns_main(const DnsServer *server)
{
    struct pollfd polls[2] = {{.fd = server->udp, .events = POLLIN},
                              {.fd = server->tcp, .events = POLLIN}};

    for (;;) {
        if (poll(polls, 2, -1) < 0)
            continue;
        if (polls[0].revents != 0)
            dns_serve_udp(server);
        if (polls[1].revents != 0)
            dns_serve_tcp(server);
    }
}

LabDns *lab_dns_start(Lab *lab, LabPlace place, const char *address, LabDnsMode mode,
                      const char *v4, const char *v6)
{
    LabDns *dns = g_new0(LabDns, 1);
    DnsServer server = {.v4 = v4, .v6 = v6};

    server.udp = lab_udp(lab, place, address, 53);
    server.other_udp = lab_udp(lab, place, address, 0);
    server.tcp = lab_listen(lab, place, address, 53);
    dns->shared =
        mmap(NULL, sizeof *dns->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    LAB_ASSERT(dns->shared != MAP_FAILED);
    atomic_store(&dns->shared->mode, (int)mode);
    server.shared = dns->shared;
    dns->server = lab_fork(SIGKILL, -2);
    if (dns->server == 0)
        dns_main(&server);
    LAB_ASSERT_CALL(dns->server);
    close(server.udp);
    close(server.other_udp);
    close(server.tcp);
    return dns;
}

unsigned lab_dns_queries(const LabDns *dns)
{
    return atomic_load(&dns->shared->queries);
}

void lab_dns_set_mode(LabDns *dns, LabDnsMode mode)
{
    atomic_store(&dns->shared->mode, (int)mode);
}

void lab_dns_stop(LabDns *dns)
{
    (void)kill(dns->server, SIGKILL);
    (void)waitpid(dns->server, NULL, 0);
    (void)munmap(dns->shared, sizeof *dns->shared);
    g_free(dns);
}

/* ---- the client ---- */

static size_t query_build(uint8_t query[DNS_MAX], const char *name, bool v6)
{
    static unsigned id = 0x1200;
    g_auto(GStrv) labels = g_strsplit(name, ".", -1);
    size_t at = DNS_HEADER;

    memset(query, 0, DNS_HEADER);
    put16(query, ++id);
    put16(query + 2, 0x0100);
    put16(query + 4, 1);
    for (size_t i = 0; labels[i] != NULL; i++) {
        size_t length = strlen(labels[i]);

        query[at++] = (uint8_t)length;
        memcpy(query + at, labels[i], length);
        at += length;
    }
    query[at++] = 0;
    put16(query + at, v6 ? TYPE_AAAA : TYPE_A);
    put16(query + at + 2, 1);
    return at + 4;
}

static LabDnsReply reply_parse(const uint8_t *query, size_t asked, const uint8_t *reply,
                               size_t length)
{
    LabDnsReply result = {.rcode = -1};

    if (length < asked || memcmp(reply, query, 2) != 0 || (reply[2] & 0x80) == 0 ||
        memcmp(reply + DNS_HEADER, query + DNS_HEADER, asked - DNS_HEADER) != 0)
        return result;
    result.rcode = reply[3] & 0x0f;
    result.truncated = (reply[2] & 2) != 0;
    result.answers = get16(reply + 6);
    if (result.answers != 0 && length >= asked + 16) {
        const uint8_t *at = reply + asked;
        unsigned type = get16(at + 2), size = get16(at + 10);

        result.ttl = get32(at + 6);
        if ((type == TYPE_A && size == 4) || (type == TYPE_AAAA && length >= asked + 28))
            inet_ntop(type == TYPE_A ? AF_INET : AF_INET6, at + 12, result.address,
                      sizeof result.address);
    }
    return result;
}

static LabDnsReply ask_tcp(Lab *lab, LabPlace place, const char *server, const uint8_t *query,
                           size_t asked, int timeout_ms)
{
    LabDnsReply result = {.rcode = -1};
    uint8_t reply[DNS_MAX], length[2];
    int64_t end = lab_now() + timeout_ms;
    int fd = lab_connect(lab, place, server, 53, timeout_ms);

    if (fd < 0)
        return result;
    put16(length, (unsigned)asked);
    lab_send(fd, length, 2);
    lab_send(fd, query, asked);
    if (lab_wait(fd, POLLIN, (int)MAX(0, end - lab_now())) != 0 &&
        recv(fd, length, 2, MSG_WAITALL) == 2 && get16(length) <= DNS_MAX) {
        lab_recv(fd, reply, get16(length));
        result = reply_parse(query, asked, reply, get16(length));
    }
    close(fd);
    return result;
}

LabDnsReply lab_dns_ask(Lab *lab, LabPlace place, const char *server, const char *name, bool v6,
                        bool tcp, int timeout_ms)
{
    LabDnsReply result = {.rcode = -1};
    uint8_t query[DNS_MAX], reply[DNS_MAX];
    size_t asked = query_build(query, name, v6);
    int64_t end = lab_now() + timeout_ms;

    if (tcp)
        return ask_tcp(lab, place, server, query, asked, timeout_ms);
    int fd = lab_udp_connected(lab, place, server, 53);
    if (send(fd, query, asked, MSG_NOSIGNAL) == (ssize_t)asked) {
        while (result.rcode < 0 && lab_now() < end) {
            ssize_t came =
                lab_recv_datagram(fd, reply, sizeof reply, NULL, (int)MAX(0, end - lab_now()));

            if (came < 0)
                break;
            result = reply_parse(query, asked, reply, (size_t)came);
        }
    }
    close(fd);
    return result;
}
