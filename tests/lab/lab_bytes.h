/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_bytes.h - fields of a frame, and Internet checksums, for tests that make frames by hand
 */
#ifndef LAB_BYTES_H
#define LAB_BYTES_H

#include <stddef.h>
#include <stdint.h>

#define ETHER_SIZE 14
#define V4_SIZE    20
#define V6_SIZE    40
#define TCP_SIZE   20
#define UDP_SIZE   8
#define ECHO_SIZE  8
#define ARP_SIZE   28

static inline void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static inline void put32(uint8_t *at, uint32_t value)
{
    put16(at, value >> 16);
    put16(at + 2, value & 0xffffU);
}

static inline uint16_t get16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get16(at) << 16 | get16(at + 2);
}

static inline uint32_t sum16(uint32_t sum, const uint8_t *data, size_t length)
{
    for (size_t at = 0; at + 1 < length; at += 2)
        sum += get16(data + at);
    if (length % 2 != 0)
        sum += (uint32_t)data[length - 1] << 8;
    return sum;
}

static inline uint16_t fold(uint32_t sum)
{
    while (sum > 0xffff)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

#endif
