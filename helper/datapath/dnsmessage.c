/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dnsmessage.c - what the forwarder must know of one DNS message
 *
 * Does:     checks queries, matches replies with them, changes ids, makes error replies, cuts replies.
 * Runs in:  the datapath; pure functions, no I/O, no state.
 * Trusts:   nothing: queries are the guest's bytes, replies are the network's.
 * Owns:     nothing; works within the buffers of its callers.
 * Limits:   names of 255 bytes, labels of 63 (RFC 1035 2.3.4). Records behind the question are never looked at.
 */
#include "config.h"

#include "dns.h"

#include <string.h>

#define OFFSET_FLAGS   2
#define OFFSET_RCODE   3
#define OFFSET_QDCOUNT 4
#define OFFSET_ANCOUNT 6

/* First flags byte. */
#define FLAG_QR     0x80
#define FLAG_OPCODE 0x78
#define FLAG_TC     0x02
#define FLAG_RD     0x01
/* Second flags byte, the rcode in its low half. */
#define FLAG_RA    0x80
#define FLAG_CD    0x10
#define RCODE_MASK 0x0f

#define NAME_MAX_LEN  255
#define LABEL_MAX_LEN 63

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void put16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* Offset behind the one question at DNS_HEADER_LEN, or 0. A compressed name cannot stand there: nothing comes before it
 * that it could point to (RFC 1035 4.1.4). */
static size_t question_end(const uint8_t *msg, size_t len)
{
    size_t at = DNS_HEADER_LEN;

    while (at < len && msg[at] != 0) {
        if (msg[at] > LABEL_MAX_LEN) {
            return 0;
        }
        at += 1 + (size_t)msg[at];
        if (at - DNS_HEADER_LEN >= NAME_MAX_LEN) {
            return 0;
        }
    }
    if (at >= len || len - at < 1 + 4) {
        return 0;
    }
    return at + 1 + 4;
}

bool dns_message_is_query(const uint8_t *msg, size_t len, size_t *ret_question_end)
{
    size_t end;

    if (len < DNS_HEADER_LEN || (msg[OFFSET_FLAGS] & (FLAG_QR | FLAG_OPCODE)) != 0 ||
        get16(msg + OFFSET_QDCOUNT) != 1) {
        return false;
    }
    end = question_end(msg, len);
    if (end == 0) {
        return false;
    }
    *ret_question_end = end;
    return true;
}

static bool same_question(const uint8_t *reply, size_t reply_len, const uint8_t *query,
                          size_t query_len)
{
    size_t end = question_end(query, query_len);

    if (end == 0 || question_end(reply, reply_len) != end) {
        return false;
    }
    /* Length bytes are below 64 and no letters, so that lowering the case of all bytes compares labels too. */
    for (size_t i = DNS_HEADER_LEN; i < end - 4; i++) {
        if (g_ascii_tolower((char)reply[i]) != g_ascii_tolower((char)query[i])) {
            return false;
        }
    }
    return memcmp(reply + end - 4, query + end - 4, 4) == 0;
}

bool dns_message_matches(const uint8_t *reply, size_t reply_len, uint16_t id, const uint8_t *query,
                         size_t query_len)
{
    if (reply_len < DNS_HEADER_LEN || dns_message_id(reply) != id ||
        (reply[OFFSET_FLAGS] & (FLAG_QR | FLAG_OPCODE)) != FLAG_QR) {
        return false;
    }
    switch (get16(reply + OFFSET_QDCOUNT)) {
    case 0:
        /* Never an answer: the question is part of what a forger has to guess (RFC 5452 4.2). */
        return dns_message_rcode(reply) == DNS_RCODE_FORMERR || dns_message_is_refusal(reply);
    case 1:
        return same_question(reply, reply_len, query, query_len);
    default:
        return false;
    }
}

uint16_t dns_message_id(const uint8_t *msg)
{
    return get16(msg);
}

void dns_message_set_id(uint8_t *msg, uint16_t id)
{
    put16(msg, id);
}

unsigned dns_message_rcode(const uint8_t *msg)
{
    return msg[OFFSET_RCODE] & RCODE_MASK;
}

bool dns_message_is_refusal(const uint8_t *msg)
{
    unsigned rcode = dns_message_rcode(msg);

    return rcode == DNS_RCODE_SERVFAIL || rcode == DNS_RCODE_NOTIMP || rcode == DNS_RCODE_REFUSED;
}

size_t dns_message_error(uint8_t *out, const uint8_t *query, size_t end, unsigned rcode)
{
    memcpy(out, query, end);
    /* RD and CD are copied (RFC 1035 4.1.1, RFC 4035 3.1.6); AA, TC and AD are not ours to claim. */
    out[OFFSET_FLAGS] = (uint8_t)(FLAG_QR | (query[OFFSET_FLAGS] & (FLAG_OPCODE | FLAG_RD)));
    out[OFFSET_RCODE] = (uint8_t)(FLAG_RA | (query[OFFSET_RCODE] & FLAG_CD) | (rcode & RCODE_MASK));
    put16(out + OFFSET_QDCOUNT, 1);
    memset(out + OFFSET_ANCOUNT, 0, DNS_HEADER_LEN - OFFSET_ANCOUNT);
    return end;
}

size_t dns_message_truncate(uint8_t *msg, size_t len)
{
    size_t end = get16(msg + OFFSET_QDCOUNT) == 1 ? question_end(msg, len) : 0;

    if (end == 0) {
        put16(msg + OFFSET_QDCOUNT, 0);
        end = DNS_HEADER_LEN;
    }
    /* No half record sets: whoever reads TC must ask again over TCP and use nothing of this (RFC 2181 9). */
    msg[OFFSET_FLAGS] |= FLAG_TC;
    memset(msg + OFFSET_ANCOUNT, 0, DNS_HEADER_LEN - OFFSET_ANCOUNT);
    return end;
}
