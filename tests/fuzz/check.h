/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_FUZZ_CHECK_H
#define SALLYPORT_TESTS_FUZZ_CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>

/* What libFuzzer calls, once for each input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An oracle: says what is wrong and ends the process as a crash does, so that the input is kept. */
#define FUZZ_CHECK(condition, ...)                                                                 \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);                        \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fputc('\n', stderr);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A copy with nothing behind it, so that AddressSanitizer sees every byte read beyond it. g_free(). */
G_GNUC_UNUSED static uint8_t *fuzz_exact(const void *data, size_t len)
{
    uint8_t *copy = g_malloc(len > 0 ? len : 1);

    if (len > 0) {
        memcpy(copy, data, len);
    }
    return copy;
}

#endif
