/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ctl_table.c - text for people: columns, sizes, ages
 *
 * Does:     pure functions; nothing is printed here.
 * Trusts:   nothing about a cell: it may hold what a client sent to the helper, and a terminal obeys control characters.
 */
#include "config.h"

#include "control/ctl_table.h"

#include <stdbool.h>
#include <string.h>

#define GAP "  "

struct CtlTable {
    const char *const *titles;
    size_t columns;
    GPtrArray *rows; /* of char **, each NULL-terminated */
};

/* g_utf8_next_char() casts const away. */
static const char *text_next(const char *text)
{
    return text + g_utf8_skip[(unsigned char)*text];
}

/* U+2028 and U+2029 end lines, though they count as printable. */
static bool escape_shows(gunichar c)
{
    return g_unichar_isprint(c) && c != 0x2028 && c != 0x2029;
}

char *ctl_escape(const char *text)
{
    GString *out = g_string_new(NULL);

    while (*text != '\0') {
        gunichar c = g_utf8_get_char_validated(text, -1);

        if (c == (gunichar)-1 || c == (gunichar)-2) {
            g_string_append_printf(out, "\\x%02x", (unsigned char)*text);
            text++;
            continue;
        }
        if (escape_shows(c)) {
            g_string_append_unichar(out, c);
        } else {
            g_string_append_printf(out, c < 0x100 ? "\\x%02x" : "\\u%04x", c);
        }
        text = text_next(text);
    }
    return g_string_free(out, FALSE);
}

const char *ctl_format_bytes(uint64_t bytes, char ret[CTL_BYTES_STRLEN])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        (void)g_snprintf(ret, CTL_BYTES_STRLEN, "%u", (unsigned)bytes);
        return ret;
    }
    /* What would be rounded to 1024 is 1.0 of the next unit. */
    while (value >= 1023.5 && unit + 1 < G_N_ELEMENTS(units)) {
        value /= 1024;
        unit++;
    }
    (void)g_snprintf(ret, CTL_BYTES_STRLEN, value < 9.95 ? "%.1f %s" : "%.0f %s", value,
                     units[unit]);
    return ret;
}

const char *ctl_format_age(int64_t age_ms, char ret[CTL_AGE_STRLEN])
{
    long long seconds = age_ms / 1000;

    if (age_ms < 10000) {
        (void)g_snprintf(ret, CTL_AGE_STRLEN, "%lld.%ds", seconds, (int)(age_ms % 1000 / 100));
    } else if (seconds < 60) {
        (void)g_snprintf(ret, CTL_AGE_STRLEN, "%llds", seconds);
    } else if (seconds < 3600) {
        (void)g_snprintf(ret, CTL_AGE_STRLEN, "%lldm%02llds", seconds / 60, seconds % 60);
    } else if (seconds < 86400) {
        (void)g_snprintf(ret, CTL_AGE_STRLEN, "%lldh%02lldm", seconds / 3600, seconds / 60 % 60);
    } else {
        (void)g_snprintf(ret, CTL_AGE_STRLEN, "%lldd%02lldh", seconds / 86400, seconds / 3600 % 24);
    }
    return ret;
}

CtlTable *ctl_table_new(const char *const *titles)
{
    CtlTable *table = g_new0(CtlTable, 1);

    table->titles = titles;
    table->columns = g_strv_length((char **)(uintptr_t)titles);
    table->rows = g_ptr_array_new_with_free_func((GDestroyNotify)g_strfreev);
    return table;
}

void ctl_table_free(CtlTable *table)
{
    if (table == NULL) {
        return;
    }
    g_ptr_array_unref(table->rows);
    g_free(table);
}

void ctl_table_add(CtlTable *table, const char *const *cells)
{
    char **row = g_new0(char *, table->columns + 1);

    for (size_t i = 0; i < table->columns; i++) {
        row[i] = cells[i] != NULL && *cells[i] != '\0' ? ctl_escape(cells[i]) : g_strdup("-");
    }
    g_ptr_array_add(table->rows, row);
}

/* Cells of a terminal. */
static size_t table_char_width(gunichar c)
{
    return g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
}

static size_t table_width(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text = text_next(text)) {
        width += table_char_width(g_utf8_get_char(text));
    }
    return width;
}

static void table_cut(GString *line, size_t columns)
{
    const char *at = line->str;
    size_t width = 0;

    while (*at != '\0') {
        width += table_char_width(g_utf8_get_char(at));
        if (width > columns) {
            g_string_truncate(line, (gsize)(at - line->str));
            return;
        }
        at = text_next(at);
    }
}

static void table_append_line(const CtlTable *table, GString *out, const char *const *cells,
                              const size_t *widths, size_t columns)
{
    g_autoptr(GString) line = g_string_new(NULL);

    for (size_t i = 0; i < table->columns; i++) {
        size_t pad = widths[i] - table_width(cells[i]);
        bool right = table->titles[i][0] == '>';

        g_string_append(line, i > 0 ? GAP : "");
        g_string_append_printf(line, "%*s%s", right ? (int)pad : 0, "", cells[i]);
        if (!right && i + 1 < table->columns) {
            g_string_append_printf(line, "%*s", (int)pad, "");
        }
    }
    if (columns > 0) {
        table_cut(line, columns);
    }
    g_string_append_printf(out, "%s\n", line->str);
}

char *ctl_table_text(const CtlTable *table, size_t columns, size_t rows)
{
    g_autofree const char **titles = g_new0(const char *, table->columns);
    g_autofree size_t *widths = g_new0(size_t, table->columns);
    size_t shown = table->rows->len;
    GString *out = g_string_new(NULL);

    if (rows > 0 && shown + 1 > rows) {
        shown = rows - 1;
    }
    for (size_t i = 0; i < table->columns; i++) {
        titles[i] = table->titles[i] + (table->titles[i][0] == '>');
        widths[i] = table_width(titles[i]);
        for (size_t r = 0; r < shown; r++) {
            char **row = g_ptr_array_index(table->rows, r);

            widths[i] = MAX(widths[i], table_width(row[i]));
        }
    }
    table_append_line(table, out, titles, widths, columns);
    for (size_t r = 0; r < shown; r++) {
        table_append_line(table, out, g_ptr_array_index(table->rows, r), widths, columns);
    }
    return g_string_free(out, FALSE);
}
