/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_OPTIONS_PRIVATE_H
#define SALLYPORT_OPTIONS_PRIVATE_H

#include <stddef.h>

#include <glib.h>

#include "options.h"

/* What options.c and slirp4netns.c share, and nobody else may include. */

typedef struct OptionRow {
    const char *name;
    char letter; /* 0: none */
    OptionId id;
    const char *argument; /* NULL: takes none */
    const char *help;     /* NULL: not in --help */
} OptionRow;

/* One personality's command line. */
typedef struct OptionTable {
    const OptionRow *rows;
    size_t count;
} OptionTable;

/* Takes @argv apart by @table; what is wrong goes to @faults, values and positionals unjudged to @options. */
void options_walk(Options *options, const OptionTable *table, int argc, char **argv,
                  GPtrArray *faults);

/* One line for each row that has a help text. */
void options_append_rows(GString *text, const OptionTable *table);

#endif
