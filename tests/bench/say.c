/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * say.c - words for people, the clock, and numbers from the command line
 */
#include "config.h"

#include "say.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

const char *say_program = "bench";

void say_note(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", say_program);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

void say_die(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", say_program);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

uint64_t say_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

void say_sleep_ms(unsigned ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

uint64_t say_number(const char *name, const char *text, uint64_t min, uint64_t max)
{
    char *end;
    unsigned long long value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < min || value > max)
        say_die("%s: '%s' is not a whole number from %" PRIu64 " to %" PRIu64, name, text, min,
                max);
    return value;
}
