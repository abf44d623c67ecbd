/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * figures.h - what was measured: one value for each figure, contender and round; medians, quartiles, paired ratios
 */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include "contender.h"

#include <stdbool.h>

#define FIGURES_ROUNDS_MAX 100

typedef enum Figure {
    FIGURE_OUT_1_UP,
    FIGURE_OUT_1_DOWN,
    FIGURE_OUT_4_UP,
    FIGURE_OUT_4_DOWN,
    FIGURE_LOOPBACK_UP,
    FIGURE_LOOPBACK_DOWN,
    FIGURE_IN_UP,
    FIGURE_IN_DOWN,
    FIGURE_CPU_OUT_UP,
    FIGURE_CPU_OUT_DOWN,
    FIGURE_CPU_IN_UP,
    FIGURE_CPU_IN_DOWN,
    FIGURE_REQUEST_P50,
    FIGURE_REQUEST_P99,
    FIGURE_CONNECT,
    FIGURE_RATE_ONE,
    FIGURE_RATE_HELD,
    FIGURE_RATE_KEPT,
    FIGURE_MEMORY_HELD,
    FIGURE_WAKES_HELD,
    FIGURE_DATAGRAM_OUT,
    FIGURE_DATAGRAM_IN,
    FIGURE_START,
    FIGURE_MEMORY_IDLE,
    FIGURE_WAKES_IDLE,
    FIGURES
} Figure;

#define FIGURE_THROUGHPUT_LAST FIGURE_IN_DOWN

typedef struct FigureText {
    const char *name; /* for programs */
    const char *text; /* for people */
    const char *unit;
} FigureText;

extern const FigureText figure_texts[FIGURES];

/* No value has been measured; the run will have @rounds. */
void figures_clear(unsigned rounds);
unsigned figures_rounds(void);
void figures_set(Figure figure, ContenderId contender, unsigned round, double value);
/* NAN if there is none. */
double figures_value(Figure figure, ContenderId contender, unsigned round);

/* Of the rounds that have a value; all NAN if none has. */
typedef struct Summary {
    unsigned count;
    double low; /* quartiles */
    double median;
    double high;
} Summary;

Summary figures_summary(Figure figure, ContenderId contender);

/* Instead of one contender: slirp4netns or pasta, whichever was lower in that round. */
#define FIGURES_LOWER_PEER CONTENDERS

/* Of @figure's ratios of @contender to @against within each round. */
Summary figures_ratio(Figure figure, ContenderId contender, ContenderId against);

/* What the fast path has to reach. */
typedef struct Bound {
    Figure figure;
    bool own; /* the value itself, not a ratio */
    ContenderId against;
    bool at_most;
    double bound;
} Bound;

extern const Bound figure_bounds[];
extern const unsigned figure_bounds_count;

/* Its ratio or value; holds if the quartile on the worse side is within the bound. */
Summary figures_bound(const Bound *bound, bool *ret_holds);

#endif
