/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CTL_TABLE_H
#define SALLYPORT_CTL_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include <glib.h>

/* What a terminal may see of a string somebody else made: control and format characters, and what is not UTF-8, as "\x1b" or
 * "\u202e". g_free(). */
char *ctl_escape(const char *text);

#define CTL_BYTES_STRLEN 16
#define CTL_AGE_STRLEN   24

/* "999", "1.5 KiB", "12 MiB": at most four digits. Returns @ret. */
const char *ctl_format_bytes(uint64_t bytes, char ret[CTL_BYTES_STRLEN]);
/* "0.5s", "12s", "3m05s", "2h07m", "4d03h". Returns @ret. */
const char *ctl_format_age(int64_t age_ms, char ret[CTL_AGE_STRLEN]);

typedef struct CtlTable CtlTable;

/* @titles: NULL-terminated; borrowed for the table's life. One that begins with '>' is of a column that is aligned to the right. */
CtlTable *ctl_table_new(const char *const *titles);
void ctl_table_free(CtlTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(CtlTable, ctl_table_free)

/* As many cells as there are titles; they are escaped. NULL and "" show as "-". */
void ctl_table_add(CtlTable *table, const char *const *cells);

/* Lines, the titles first, each with its newline. @columns: of the terminal, longer lines are cut; 0 for none. @rows: lines at
 * most; 0 for all. g_free(). */
char *ctl_table_text(const CtlTable *table, size_t columns, size_t rows);

#endif
