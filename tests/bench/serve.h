/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * serve.h - the server's end of the bench's traffic
 */
#ifndef BENCH_SERVE_H
#define BENCH_SERVE_H

#include <stdint.h>

/* Serves TCP at @count ports from @first on and UDP at @first, every IPv4 address; says "ready" on stdout. */
__attribute__((noreturn)) void serve(uint16_t first, unsigned count);

#endif
