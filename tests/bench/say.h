/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * say.h - what the programs of the bench share: words for people, the clock, numbers of options
 */
#ifndef BENCH_SAY_H
#define BENCH_SAY_H

#include <stdint.h>

/* The name before each line that say_*() writes to stderr. */
extern const char *say_program;

__attribute__((format(printf, 1, 2), noreturn)) void say_die(const char *format, ...);
__attribute__((format(printf, 1, 2))) void say_note(const char *format, ...);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t say_now(void);
void say_sleep_ms(unsigned ms);

/* @text of the option @name as a whole number between @min and @max; dies if it is not. */
uint64_t say_number(const char *name, const char *text, uint64_t min, uint64_t max);

#endif
