/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_LINEFIXTURE_H
#define SALLYPORT_TESTS_LINEFIXTURE_H

/* Shared by test_options.c and test_settings*.c: a command line, taken apart and judged. */

#include <criterion/criterion.h>
#include <glib.h>

#include "../../helper/fault.h"
#include "../../helper/options.h"
#include "../../helper/settings.h"

typedef struct Line {
    GPtrArray *faults;
    Options *options;
    Settings *settings; /* NULL until line_judge() */
} Line;

/* @words: what follows argv[0], one blank between words; two blanks have an empty word between them. */
static inline void line_parse(Line *line, const char *words)
{
    g_auto(GStrv) rest = g_strsplit(words, " ", -1);
    guint count = g_strv_length(rest);
    g_autofree char **argv = g_new0(char *, count + 2);
    char name[] = "sallyport";

    argv[0] = name;
    for (guint i = 0; i < count; i++) {
        argv[i + 1] = rest[i];
    }
    line->faults = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
    line->options = options_parse((int)count + 1, argv, line->faults);
    line->settings = NULL;
    cr_assert_not_null(line->options);
}

static inline void line_judge(Line *line, const char *words)
{
    line_parse(line, words);
    line->settings = settings_new(line->options, line->faults);
    cr_assert_not_null(line->settings);
}

static inline void line_end(Line *line)
{
    settings_free(line->settings);
    options_free(line->options);
    g_ptr_array_unref(line->faults);
}

static inline void line_expect_no_fault(const Line *line, const char *words)
{
    for (guint i = 0; i < line->faults->len; i++) {
        const GError *error = g_ptr_array_index(line->faults, i);

        cr_expect_fail("'%s' says '%s'", words, error->message);
    }
}

static inline void line_expect_fault(const Line *line, guint i, FaultKind kind, int errnum,
                                     const char *text)
{
    const GError *error;

    cr_assert_gt(line->faults->len, i, "no fault '%s'", text);
    error = g_ptr_array_index(line->faults, i);
    cr_expect_str_eq(error->message, text, "'%s' instead of '%s'", error->message, text);
    cr_expect_eq(fault_kind(error), kind, "'%s' is of kind %d", text, (int)fault_kind(error));
    cr_expect_eq(fault_errno(error), errnum, "'%s' has errno %d", text, fault_errno(error));
}

#endif
