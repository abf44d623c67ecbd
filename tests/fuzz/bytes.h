/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_FUZZ_BYTES_H
#define SALLYPORT_TESTS_FUZZ_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * The fuzzer's input, eaten from the front. Where there is none left everything is zero, so that a target never has to ask: a
 * shorter input is the same as one with zeros behind it, and every loop over it asks bytes_left().
 */
typedef struct Bytes {
    const uint8_t *at;
    const uint8_t *end;
} Bytes;

static inline size_t bytes_left(const Bytes *bytes)
{
    return (size_t)(bytes->end - bytes->at);
}

static inline uint8_t bytes_u8(Bytes *bytes)
{
    return bytes->at < bytes->end ? *bytes->at++ : 0;
}

static inline uint16_t bytes_u16(Bytes *bytes)
{
    uint16_t high = bytes_u8(bytes);

    return (uint16_t)(high << 8 | bytes_u8(bytes));
}

static inline uint32_t bytes_u32(Bytes *bytes)
{
    uint32_t high = bytes_u16(bytes);

    return high << 16 | bytes_u16(bytes);
}

/* Not zero. */
static inline uint16_t bytes_port(Bytes *bytes)
{
    uint16_t port = bytes_u16(bytes);

    return port != 0 ? port : 1;
}

/* A number below @n. */
static inline unsigned bytes_below(Bytes *bytes, unsigned n)
{
    return bytes_u8(bytes) % n;
}

/* At most @max bytes, less if there are no more; @ret_len says how many. */
static inline const uint8_t *bytes_take(Bytes *bytes, size_t max, size_t *ret_len)
{
    const uint8_t *at = bytes->at;

    *ret_len = max < bytes_left(bytes) ? max : bytes_left(bytes);
    bytes->at += *ret_len;
    return at;
}

/* @len bytes into @to, zeros where there are none left. */
static inline void bytes_copy(Bytes *bytes, void *to, size_t len)
{
    size_t count;
    const uint8_t *from = bytes_take(bytes, len, &count);

    memset(to, 0, len);
    if (count > 0) {
        memcpy(to, from, count);
    }
}

#endif
