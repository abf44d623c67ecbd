/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report.h - the figures of a run as a table for people and as JSON, with what they were measured on
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "cell.h"

#include <stdbool.h>
#include <stdio.h>

/* The contender whose ratios to the others are shown: sallyport, or sallyport-off if that is all there is. */
ContenderId report_subject(const bool chosen[CONTENDERS]);

void report_text(FILE *file, const CellSettings *settings, const bool chosen[CONTENDERS]);
/* Return: false if it could not be written */
bool report_json(FILE *file, const CellSettings *settings, const bool chosen[CONTENDERS]);

/* A chart of the throughput cells, SVG, drawn by gnuplot. Return: false if that failed */
bool report_chart(FILE *file, const bool chosen[CONTENDERS]);

#endif
