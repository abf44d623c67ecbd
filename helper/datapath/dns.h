/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_DNS_H
#define SALLYPORT_DATAPATH_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "../netaddr.h"
#include "frame.h"
#include "poller.h"

#define DNS_SERVERS_MAX 16
/* Time one server is given before the next one is asked, in microseconds. */
#define DNS_SERVER_TIMEOUT_US (1500 * 1000)

#define DNS_HEADER_LEN     12
#define DNS_RCODE_NOERROR  0
#define DNS_RCODE_FORMERR  1
#define DNS_RCODE_SERVFAIL 2
#define DNS_RCODE_NXDOMAIN 3
#define DNS_RCODE_NOTIMP   4
#define DNS_RCODE_REFUSED  5

typedef struct Dns Dns;

/**
 * struct DnsHooks - what dns needs of the rest of the datapath; copied, user_data must outlive the Dns
 * @send_frame: one frame to the guest; @frame is only borrowed for the call
 * @is_own_peer: is (@peer, @port host order) the local address of a socket that libslirp has connected to our
 *               loopback listener? Asked once per accepted DNS-over-TCP connection; false closes it.
 *
 * Neither may call back into the Dns.
 */
typedef struct DnsHooks {
    void (*send_frame)(const uint8_t *frame, size_t len, void *user_data);
    bool (*is_own_peer)(const NetAddr *peer, uint16_t port, void *user_data);
    void *user_data;
} DnsHooks;

Dns *dns_new(Poller *poller, GMainContext *context, const DnsHooks *hooks);
void dns_free(Dns *dns);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Dns, dns_free)

/* The host's servers in the order in which they are asked, port 53; scoped link-local addresses keep their scope. Queries
 * under way go on with the list they began with. @count at most DNS_SERVERS_MAX. None: SERVFAIL at once. */
void dns_set_servers(Dns *dns, const NetAddr *servers, size_t count);

/* A UDP query the gate judged GATE_DNS; the frame is borrowed for the call. Malformed ones are dropped and counted. */
void dns_query(Dns *dns, const uint8_t *frame, const FrameView *view);

/* Takes a listening TCP socket bound to a loopback address; accepts DNS over TCP (RFC 7766) from our own sockets. */
bool dns_add_listener(Dns *dns, int take_fd, GError **error);

/* Queries from the guest that could not be started or were given up because a limit was reached, or were malformed. */
uint64_t dns_dropped(const Dns *dns);

/* Longest DNS message one UDP frame to the guest may carry (its MTU less IP and UDP headers), 512 at least. A longer reply is
 * cut to header and question with TC set, so that the guest asks again over TCP. 65507 unless set. */
void dns_set_max_payload(Dns *dns, size_t max_payload);

/* Exists for tests, which cannot bind port 53: the port (host order) every server is asked at from now on. */
void dns_set_server_port(Dns *dns, uint16_t port);

/* dnsmessage.c: pure functions over one DNS message (RFC 1035, RFC 6891). */

/* Is @msg a query with exactly one question (QR 0, opcode QUERY)? @ret_question_end: offset behind the question. */
bool dns_message_is_query(const uint8_t *msg, size_t len, size_t *ret_question_end);
/* Does @reply (QR 1) carry id @id and the same question as @query (names compared without case, RFC 1035 2.3.3; a reply
 * without a question section, as some servers send with FORMERR/SERVFAIL/NOTIMP/REFUSED, matches by id alone, with
 * these rcodes only)? */
bool dns_message_matches(const uint8_t *reply, size_t reply_len, uint16_t id, const uint8_t *query,
                         size_t query_len);
uint16_t dns_message_id(const uint8_t *msg);
void dns_message_set_id(uint8_t *msg, uint16_t id);
/* RCODE of a header, 0..15. */
unsigned dns_message_rcode(const uint8_t *msg);
/* Writes a reply to @query with the given rcode: header and question only. Returns its length; @out holds as much as @query. */
size_t dns_message_error(uint8_t *out, const uint8_t *query, size_t question_end, unsigned rcode);
/* Does the rcode (SERVFAIL, NOTIMP, REFUSED) say nothing about the name, so that another server may know better? */
bool dns_message_is_refusal(const uint8_t *msg);
/* In place: leaves header and question of a reply, with TC set. Returns the new length. @len at least 12. */
size_t dns_message_truncate(uint8_t *msg, size_t len);

#endif
