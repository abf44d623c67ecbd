/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_REPORTFIXTURE_H
#define SALLYPORT_TESTS_REPORTFIXTURE_H

/* Shared by the tests that read records: a report at one end of a pipe, its reader at the other. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <glib.h>
#include <jansson.h>

#include "../../helper/report.h"
#include "../../include/sallyport.h"

typedef struct Reader {
    int read_fd; /* non-blocking */
    int write_fd;
    Report *report;
    GPtrArray *lines; /* read so far, without their newlines */
    GString *rest;
    size_t longest; /* bytes of the longest line, its newline included */
} Reader;

static inline void reader_adopt(Reader *reader, int read_fd, int write_fd, LogLevel level)
{
    *reader = (Reader){.read_fd = read_fd, .write_fd = write_fd};
    cr_assert_eq(fcntl(read_fd, F_SETFL, fcntl(read_fd, F_GETFL) | O_NONBLOCK), 0);
    reader->report = report_new(write_fd, level);
    reader->lines = g_ptr_array_new_with_free_func(g_free);
    reader->rest = g_string_new(NULL);
}

static inline void reader_begin(Reader *reader, LogLevel level)
{
    int fds[2];

    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    reader_adopt(reader, fds[0], fds[1], level);
}

static inline void reader_end(Reader *reader)
{
    report_free(reader->report);
    (void)close(reader->read_fd);
    (void)close(reader->write_fd);
    g_ptr_array_unref(reader->lines);
    (void)g_string_free(reader->rest, TRUE);
}

/* Reads what is there now. Returns how many bytes that were. */
static inline size_t reader_read(Reader *reader)
{
    size_t total = 0;
    char buf[4096];
    ssize_t got;

    while ((got = read(reader->read_fd, buf, sizeof(buf))) > 0) {
        char *end;

        g_string_append_len(reader->rest, buf, got);
        total += (size_t)got;
        while ((end = strchr(reader->rest->str, '\n')) != NULL) {
            size_t len = (size_t)(end - reader->rest->str);

            g_ptr_array_add(reader->lines, g_strndup(reader->rest->str, len));
            g_string_erase(reader->rest, 0, (gssize)len + 1);
            reader->longest = MAX(reader->longest, len + 1);
        }
    }
    return total;
}

/* The @i-th record read. json_decref(). */
static inline json_t *reader_record(Reader *reader, guint i)
{
    json_error_t error;
    json_t *record;

    (void)reader_read(reader);
    cr_assert_gt(reader->lines->len, i, "no record %u", i);
    record = json_loads(g_ptr_array_index(reader->lines, i), JSON_REJECT_DUPLICATES, &error);
    cr_assert_not_null(record, "%s: %s", error.text,
                       (const char *)g_ptr_array_index(reader->lines, i));
    return record;
}

static inline const char *record_text(const json_t *record, const char *key)
{
    const char *text = json_string_value(json_object_get(record, key));

    return text != NULL ? text : "(none)";
}

static inline json_int_t record_number(const json_t *record, const char *key)
{
    const json_t *value = json_object_get(record, key);

    return json_is_integer(value) ? json_integer_value(value) : -1;
}

#endif
