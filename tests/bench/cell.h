/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cell.h - what is done to a contender, and which figures come of it
 */
#ifndef BENCH_CELL_H
#define BENCH_CELL_H

#include "contender.h"

#include <stdbool.h>

/* Groups of cells, to be chosen by name. */
typedef enum CellGroup {
    CELL_STREAM = 1 << 0,
    CELL_REQUEST = 1 << 1,
    CELL_CONNECT = 1 << 2,
    CELL_HELD = 1 << 3,
    CELL_DATAGRAM = 1 << 4,
    CELL_START = 1 << 5,
    CELL_IDLE = 1 << 6,
    CELL_ALL = (1 << 7) - 1,
} CellGroup;

/* The group of that name, or 0. */
unsigned cell_group(const char *name);

typedef struct CellSettings {
    unsigned groups; /* CellGroup, or-ed */
    unsigned time_ms;
    unsigned warm_ms;
    unsigned held;
    unsigned idle_s; /* the time in which wake-ups are counted */
} CellSettings;

/* The cells are counted from 0 on. */
extern const unsigned cells_count;

/* Is the cell of one of the groups, and can this contender do it? */
bool cell_wanted(unsigned cell, const CellSettings *settings, ContenderId id);

/* Measures a contender that runs. Figures that cannot be got stay as they are, and a line says why. */
void cell_measure(unsigned cell, const CellSettings *settings, ContenderId id, unsigned round);

/* Starts and ends a contender that does not run. */
void cell_start(const CellSettings *settings, ContenderId id, unsigned round);

/* Wake-ups of all the contenders chosen, which are idle; at the same time. */
void cell_idle(const CellSettings *settings, const bool chosen[CONTENDERS], unsigned round);

#endif
