/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_FRAMEBYTES_H
#define SALLYPORT_DATAPATH_FRAMEBYTES_H

#include <stdint.h>

/*
 * Big-endian fields of a frame at any alignment, and where they are. Nothing here checks bounds:
 * that is what frame_parse() is for.
 */

#define IP4_LEN   20
#define IP6_LEN   40
#define ARP_LEN   28
#define TCP_LEN   20
#define UDP_LEN   8
#define ICMP_LEN  8
#define HBH_LEN   8
#define TCP_FLAGS 13
#define TCP_SUM   16
#define UDP_SUM   6
#define ICMP_SUM  2

#define ICMP4_ECHO_REPLY   0
#define ICMP4_ECHO_REQUEST 8

#define ICMP6_PACKET_TOO_BIG         2
#define ICMP6_ECHO_REQUEST_TYPE      128
#define ICMP6_ECHO_REPLY_TYPE        129
#define ICMP6_MLD_QUERY              130
#define ICMP6_MLD_REPORT             131
#define ICMP6_MLD_DONE               132
#define ICMP6_ROUTER_SOLICITATION    133
#define ICMP6_ROUTER_ADVERTISEMENT   134
#define ICMP6_NEIGHBOR_SOLICITATION  135
#define ICMP6_NEIGHBOR_ADVERTISEMENT 136
#define ICMP6_REDIRECT               137
#define ICMP6_MLD2_REPORT            143

static inline uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static inline void put16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static inline void put32(uint8_t *p, uint32_t value)
{
    put16(p, (uint16_t)(value >> 16));
    put16(p + 2, (uint16_t)value);
}

#endif
