/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * figures.c - what was measured, and what it comes to
 */
#include "config.h"

#include "figures.h"

#include <math.h>
#include <stdlib.h>

const FigureText figure_texts[FIGURES] = {
    [FIGURE_OUT_1_UP] = {"out-1-up", "out, 1 stream, up", "Gbit/s"},
    [FIGURE_OUT_1_DOWN] = {"out-1-down", "out, 1 stream, down", "Gbit/s"},
    [FIGURE_OUT_4_UP] = {"out-4-up", "out, 4 streams, up", "Gbit/s"},
    [FIGURE_OUT_4_DOWN] = {"out-4-down", "out, 4 streams, down", "Gbit/s"},
    [FIGURE_LOOPBACK_UP] = {"loopback-up", "in from loopback, to the guest", "Gbit/s"},
    [FIGURE_LOOPBACK_DOWN] = {"loopback-down", "in from loopback, from the guest", "Gbit/s"},
    [FIGURE_IN_UP] = {"in-up", "in from far, to the guest", "Gbit/s"},
    [FIGURE_IN_DOWN] = {"in-down", "in from far, from the guest", "Gbit/s"},
    [FIGURE_CPU_OUT_UP] = {"cpu-out-up", "helper's CPU, out, up", "s/GiB"},
    [FIGURE_CPU_OUT_DOWN] = {"cpu-out-down", "helper's CPU, out, down", "s/GiB"},
    [FIGURE_CPU_IN_UP] = {"cpu-in-up", "helper's CPU, in, to the guest", "s/GiB"},
    [FIGURE_CPU_IN_DOWN] = {"cpu-in-down", "helper's CPU, in, from the guest", "s/GiB"},
    [FIGURE_REQUEST_P50] = {"request-p50", "request and response, p50", "us"},
    [FIGURE_REQUEST_P99] = {"request-p99", "request and response, p99", "us"},
    [FIGURE_CONNECT] = {"connect", "connect, request, close", "1/s"},
    [FIGURE_RATE_ONE] = {"rate-one", "requests with 1 connection", "1/s"},
    [FIGURE_RATE_HELD] = {"rate-held", "requests with the held ones", "1/s"},
    [FIGURE_RATE_KEPT] = {"rate-kept", "the latter by the former", "x"},
    [FIGURE_MEMORY_HELD] = {"memory-held", "private memory per held one", "KiB"},
    [FIGURE_WAKES_HELD] = {"wakes-held", "wake-ups with the held ones", ""},
    [FIGURE_DATAGRAM_OUT] = {"datagram-out", "UDP out, datagrams that came", "1/s"},
    [FIGURE_DATAGRAM_IN] = {"datagram-in", "UDP in, datagrams that came", "1/s"},
    [FIGURE_START] = {"start", "start to ready", "ms"},
    [FIGURE_MEMORY_IDLE] = {"memory-idle", "private memory, idle", "KiB"},
    [FIGURE_WAKES_IDLE] = {"wakes-idle", "wake-ups, idle", ""},
};

const Bound figure_bounds[] = {
    {FIGURE_OUT_1_UP, false, CONTENDER_SLIRP4NETNS, false, 3.5},
    {FIGURE_OUT_1_DOWN, false, CONTENDER_SLIRP4NETNS, false, 3.5},
    {FIGURE_OUT_4_UP, false, CONTENDER_SLIRP4NETNS, false, 3.2},
    {FIGURE_OUT_4_DOWN, false, CONTENDER_SLIRP4NETNS, false, 3.2},
    {FIGURE_OUT_1_UP, false, CONTENDER_PASTA, false, 1.0},
    {FIGURE_OUT_1_DOWN, false, CONTENDER_PASTA, false, 1.0},
    {FIGURE_OUT_4_UP, false, CONTENDER_PASTA, false, 1.0},
    {FIGURE_OUT_4_DOWN, false, CONTENDER_PASTA, false, 1.0},
    {FIGURE_LOOPBACK_UP, false, CONTENDER_SLIRP4NETNS, false, 4.0},
    {FIGURE_LOOPBACK_DOWN, false, CONTENDER_SLIRP4NETNS, false, 4.0},
    {FIGURE_LOOPBACK_UP, false, CONTENDER_PASTA, false, 0.95},
    {FIGURE_LOOPBACK_DOWN, false, CONTENDER_PASTA, false, 0.95},
    {FIGURE_IN_UP, false, CONTENDER_SLIRP4NETNS, false, 3.5},
    {FIGURE_IN_DOWN, false, CONTENDER_SLIRP4NETNS, false, 3.5},
    {FIGURE_IN_UP, false, CONTENDER_PASTA, false, 1.3},
    {FIGURE_IN_DOWN, false, CONTENDER_PASTA, false, 1.3},
    {FIGURE_OUT_1_UP, false, CONTENDER_SPLICE, false, 0.9},
    {FIGURE_OUT_1_DOWN, false, CONTENDER_SPLICE, false, 0.9},
    {FIGURE_OUT_4_UP, false, CONTENDER_SPLICE, false, 0.9},
    {FIGURE_OUT_4_DOWN, false, CONTENDER_SPLICE, false, 0.9},
    {FIGURE_LOOPBACK_UP, false, CONTENDER_SPLICE, false, 0.9},
    {FIGURE_LOOPBACK_DOWN, false, CONTENDER_SPLICE, false, 0.9},
    {FIGURE_IN_UP, false, CONTENDER_SPLICE, false, 0.9},
    {FIGURE_IN_DOWN, false, CONTENDER_SPLICE, false, 0.9},
    {FIGURE_REQUEST_P50, false, FIGURES_LOWER_PEER, true, 1.10},
    {FIGURE_CONNECT, false, CONTENDER_SLIRP4NETNS, false, 1.0},
    {FIGURE_RATE_KEPT, true, CONTENDERS, false, 0.90},
    {FIGURE_MEMORY_HELD, true, CONTENDERS, true, 4},
    {FIGURE_START, false, CONTENDER_SLIRP4NETNS, true, 2},
    {FIGURE_WAKES_HELD, true, CONTENDERS, true, 0},
};
const unsigned figure_bounds_count = sizeof figure_bounds / sizeof figure_bounds[0];

static double values[FIGURES][CONTENDERS][FIGURES_ROUNDS_MAX];
static unsigned rounds;

void figures_clear(unsigned count)
{
    rounds = count;
    for (unsigned f = 0; f < FIGURES; f++) {
        for (unsigned c = 0; c < CONTENDERS; c++) {
            for (unsigned r = 0; r < FIGURES_ROUNDS_MAX; r++)
                values[f][c][r] = NAN;
        }
    }
}

unsigned figures_rounds(void)
{
    return rounds;
}

void figures_set(Figure figure, ContenderId contender, unsigned round, double value)
{
    values[figure][contender][round] = value;
}

double figures_value(Figure figure, ContenderId contender, unsigned round)
{
    if (contender == FIGURES_LOWER_PEER)
        return fmin(values[figure][CONTENDER_SLIRP4NETNS][round],
                    values[figure][CONTENDER_PASTA][round]);
    return values[figure][contender][round];
}

static int compare(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;

    return (*x > *y) - (*x < *y);
}

/* Quantile @q of @count sorted values, between neighbours by the straight line. */
static double quantile(const double *sorted, unsigned count, double q)
{
    double at = q * (double)(count - 1);
    unsigned below = (unsigned)at;

    if (below + 1 >= count)
        return sorted[count - 1];
    return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

static Summary summarize(double *some, unsigned count)
{
    if (count == 0)
        return (Summary){0, NAN, NAN, NAN};
    qsort(some, count, sizeof *some, compare);
    return (Summary){count, quantile(some, count, 0.25), quantile(some, count, 0.5),
                     quantile(some, count, 0.75)};
}

Summary figures_summary(Figure figure, ContenderId contender)
{
    double some[FIGURES_ROUNDS_MAX];
    unsigned count = 0;

    for (unsigned r = 0; r < rounds; r++) {
        double value = figures_value(figure, contender, r);

        if (isfinite(value))
            some[count++] = value;
    }
    return summarize(some, count);
}

Summary figures_ratio(Figure figure, ContenderId contender, ContenderId against)
{
    double some[FIGURES_ROUNDS_MAX];
    unsigned count = 0;

    for (unsigned r = 0; r < rounds; r++) {
        double ratio = figures_value(figure, contender, r) / figures_value(figure, against, r);

        if (isfinite(ratio))
            some[count++] = ratio;
    }
    return summarize(some, count);
}

Summary figures_bound(const Bound *bound, bool *ret_holds)
{
    Summary summary = bound->own
                          ? figures_summary(bound->figure, CONTENDER_SALLYPORT)
                          : figures_ratio(bound->figure, CONTENDER_SALLYPORT, bound->against);

    *ret_holds = summary.count > 0 &&
                 (bound->at_most ? summary.high <= bound->bound : summary.low >= bound->bound);
    return summary;
}
