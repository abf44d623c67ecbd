/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * report.c - records for the parent, one JSON object a line
 *
 * Does:     numbers, dates and writes records; queues what the reader does not take; counts what is lost.
 * Runs in:  the supervisor, alone: one writer, so lines never mix.
 * Trusts:   the parent not at all: it may never read, or go away; neither ends or delays anything.
 * Limits:   REPORT_QUEUE_MAX bytes wait; SALLYPORT_RECORD_MAX bytes a record; RATE_MAX lines of children a second.
 */
#include "config.h"

#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib-unix.h>

#include "rate.h"
#include "sallyport.h"

#define REPORT_QUEUE_MAX (256 * 1024)
/* Bytes of a message. JSON doubles a quote or a backslash; the rest of an error record stays below a quarter of it. */
#define REPORT_TEXT_MAX 1024
/* Bytes of a port map quoted in a record. */
#define REPORT_SPEC_MAX 512

struct Report {
    int fd; /* -1: lines on stderr */
    bool own_fd;
    bool is_socket;
    bool nonblocking;
    bool gone; /* the reader */
    bool overflowed;
    bool plain; /* error and log alone become lines */
    LogLevel level;
    uint64_t seq;
    uint64_t lost;
    Rate said;    /* by children */
    GQueue queue; /* GBytes, whole lines; the first may be partly written */
    size_t queued;
    size_t written; /* of the first */
    GMainContext *context;
    GSource *source;
};

static const char *const report_levels[] = {"error", "warning", "info", "debug"};

static void report_open(Report *report, int fd)
{
    struct stat st;

    report->fd = fd;
    if (fstat(fd, &st) < 0) {
        return;
    }
    report->is_socket = S_ISSOCK(st.st_mode);
    if (S_ISFIFO(st.st_mode)) {
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
        int again = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

        if (again >= 0) {
            report->fd = again;
            report->own_fd = true;
            report->nonblocking = true;
        }
    }
}

Report *report_new(int fd, LogLevel level)
{
    Report *report = g_new0(Report, 1);

    (void)signal(SIGPIPE, SIG_IGN);
    report->fd = -1;
    report->level = level;
    g_queue_init(&report->queue);
    if (fd >= 0) {
        report_open(report, fd);
    }
    return report;
}

static void report_source_clear(Report *report)
{
    if (report->source != NULL) {
        g_source_destroy(report->source);
        g_clear_pointer(&report->source, g_source_unref);
    }
}

void report_set_plain(Report *report)
{
    report->plain = true;
}

void report_free(Report *report)
{
    if (report == NULL) {
        return;
    }
    report_source_clear(report);
    g_queue_clear_full(&report->queue, (GDestroyNotify)g_bytes_unref);
    if (report->own_fd) {
        (void)close(report->fd);
    }
    g_free(report);
}

/* One write that cannot block: bytes written or -errno. */
static ssize_t report_write_some(Report *report, const void *data, size_t len)
{
    ssize_t done;

    if (report->is_socket) {
        done = send(report->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        if (!report->nonblocking) {
            struct pollfd pfd = {.fd = report->fd, .events = POLLOUT};

            if (poll(&pfd, 1, 0) <= 0) {
                return -EAGAIN;
            }
        }
        done = write(report->fd, data, len);
    }
    return done < 0 ? -errno : done;
}

static void report_flush(Report *report)
{
    while (!report->gone && !g_queue_is_empty(&report->queue)) {
        GBytes *line = g_queue_peek_head(&report->queue);
        gsize len;
        const uint8_t *data = g_bytes_get_data(line, &len);
        ssize_t done = report_write_some(report, data + report->written, len - report->written);

        if (done == -EINTR) {
            continue;
        }
        if (done == -EAGAIN || done == -EWOULDBLOCK || done == -ENOMEM || done == -ENOBUFS) {
            return;
        }
        if (done < 0) {
            /* EPIPE and its like: a reader that goes away ends nothing. */
            report->gone = true;
            return;
        }
        report->written += (size_t)done;
        if (report->written == len) {
            report->queued -= len;
            report->written = 0;
            g_bytes_unref(g_queue_pop_head(&report->queue));
        }
    }
}

static gboolean report_writable(gint fd, GIOCondition condition, gpointer user_data)
{
    Report *report = user_data;

    (void)fd;
    (void)condition;
    report_flush(report);
    if (report->gone || g_queue_is_empty(&report->queue)) {
        report_source_clear(report);
        return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static void report_watch(Report *report)
{
    if (report->context == NULL || report->source != NULL || report->gone ||
        g_queue_is_empty(&report->queue)) {
        return;
    }
    report->source = g_unix_fd_source_new(report->fd, G_IO_OUT | G_IO_ERR | G_IO_HUP);
    g_source_set_callback(report->source, G_SOURCE_FUNC(report_writable), report, NULL);
    g_source_attach(report->source, report->context);
}

void report_attach(Report *report, GMainContext *context)
{
    report->context = context;
    report_watch(report);
}

/*
 * What users typed need be neither UTF-8 nor free of newlines and escape sequences: none of it may make a line of its own, or
 * move a terminal's cursor. The result is cut so that it fits a record however JSON escapes it.
 */
static char *report_clean(const char *message)
{
    g_autofree char *valid = g_utf8_make_valid(message, -1);
    GString *clean = g_string_new(NULL);

    for (const char *at = valid; *at != '\0' && clean->len < REPORT_TEXT_MAX;
         at += g_utf8_skip[(guchar)*at]) {
        gunichar c = g_utf8_get_char(at);

        if (g_unichar_iscntrl(c)) {
            g_string_append_printf(clean, "\\x%02x", c);
        } else {
            g_string_append_unichar(clean, c);
        }
    }
    return g_string_free(clean, FALSE);
}

/* Lines for people. Never blocks: what stderr does not take now is lost. */
static void report_stderr(const char *text)
{
    g_autofree char *line = g_strdup_printf("sallyport: %.*s\n", PIPE_BUF - 16, text);
    struct pollfd pfd = {.fd = STDERR_FILENO, .events = POLLOUT};

    if (poll(&pfd, 1, 0) > 0) {
        ssize_t ignored = write(STDERR_FILENO, line, strlen(line));

        (void)ignored; /* there is nobody left to tell */
    }
}

static char *report_readable(const char *event, json_t *body)
{
    const char *message = json_string_value(json_object_get(body, "message"));
    GString *text;
    const char *key;
    json_t *value;

    if (message != NULL) {
        return g_strdup(message);
    }
    text = g_string_new(event);
    json_object_foreach(body, key, value)
    {
        g_autofree char *dump = NULL;

        if (json_is_string(value)) {
            g_string_append_printf(text, " %s=%s", key, json_string_value(value));
            continue;
        }
        dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        g_string_append_printf(text, " %s=%s", key, dump);
    }
    return g_string_free(text, FALSE);
}

static json_t *report_frame(Report *report, const char *event, json_t *body)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_utc();
    g_autofree char *date = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
    g_autofree char *time = g_strdup_printf("%s.%06dZ", date, g_date_time_get_microsecond(now));
    json_t *record = json_pack("{s:i,s:s,s:s,s:I}", "v", SALLYPORT_RECORD_VERSION, "event", event,
                               "time", time, "seq", (json_int_t)report->seq);

    (void)json_object_update(record, body);
    return record;
}

static char *report_encode(Report *report, const char *event, json_t *body)
{
    json_t *record = report_frame(report, event, body);
    char *text = json_dumps(record, JSON_COMPACT);

    json_decref(record);
    return text;
}

void report_event(Report *report, const char *event, json_t *take_body)
{
    bool is_log = strcmp(event, SALLYPORT_EVENT_LOG) == 0;
    char *text;
    size_t len;

    if (report->fd < 0) {
        g_autofree char *readable = report_readable(event, take_body);
        const char *reason = json_string_value(json_object_get(take_body, "reason"));
        bool wanted = !report->plain || is_log || strcmp(event, SALLYPORT_EVENT_ERROR) == 0;

        /* After a failed start the lines of the causes have said it all. */
        if (wanted && g_strcmp0(reason, SALLYPORT_REASON_START_FAILED) != 0) {
            report_stderr(readable);
        }
        json_decref(take_body);
        return;
    }
    if (is_log && report->lost > 0) {
        (void)json_object_set_new(take_body, "lost", json_integer((json_int_t)report->lost));
    }
    text = report_encode(report, event, take_body);
    len = text == NULL ? 0 : strlen(text) + 1;
    json_decref(take_body);
    if (report->gone || text == NULL || len > SALLYPORT_RECORD_MAX ||
        report->queued + len > REPORT_QUEUE_MAX) {
        report->lost++;
        report->overflowed |= !is_log && !report->gone;
        free(text);
        return;
    }
    report->seq++;
    if (is_log) {
        report->lost = 0;
    }
    text[len - 1] = '\n';
    g_queue_push_tail(&report->queue, g_bytes_new_with_free_func(text, len, free, text));
    report->queued += len;
    report_flush(report);
    report_watch(report);
}

static json_t *report_body(FaultKind kind, int errnum, const char *message)
{
    json_t *body = json_pack("{s:s,s:s}", "code", fault_word(kind), "message", message);

    if (fault_errno_name(errnum) != NULL) {
        (void)json_object_set_new(body, "errno", json_string(fault_errno_name(errnum)));
    }
    return body;
}

void report_error(Report *report, const GError *error, json_t *take_extra)
{
    g_autofree char *message = report_clean(error->message);
    json_t *body = report_body(fault_kind(error), fault_errno(error), message);

    if (take_extra != NULL) {
        (void)json_object_update(body, take_extra);
        json_decref(take_extra);
    }
    if (report->fd >= 0) {
        report_stderr(message);
    }
    report_event(report, SALLYPORT_EVENT_ERROR, body);
}

void report_set_level(Report *report, LogLevel level)
{
    report->level = level;
}

void report_log(Report *report, LogLevel level, FaultKind kind, int errnum, const char *format, ...)
{
    g_autofree char *message = NULL;
    g_autofree char *clean = NULL;
    json_t *body;
    va_list args;

    if (level > report->level) {
        return;
    }
    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    clean = report_clean(message);
    body = report_body(kind, errnum, clean);
    (void)json_object_set_new(body, "level", json_string(report_levels[level]));
    report_event(report, SALLYPORT_EVENT_LOG, body);
}

bool report_admits(Report *report)
{
    bool admitted = rate_admits(&report->said, RATE_MAX, g_get_monotonic_time());

    report->lost += !admitted;
    return admitted;
}

void report_exit(Report *report, const char *line, json_t *take_body)
{
    if ((report->fd >= 0 || report->plain) && line != NULL) {
        report_stderr(line);
    }
    report_event(report, SALLYPORT_EVENT_EXIT, take_body);
}

char *report_cut(const char *text)
{
    char *clean = report_clean(text);

    if (strlen(clean) > REPORT_SPEC_MAX) {
        *g_utf8_find_prev_char(clean, clean + REPORT_SPEC_MAX) = '\0';
    }
    return clean;
}

bool report_overflowed(const Report *report)
{
    return report->overflowed;
}

void report_drain(Report *report, int timeout_ms)
{
    gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;

    report_flush(report);
    while (!report->gone && !g_queue_is_empty(&report->queue)) {
        struct pollfd pfd = {.fd = report->fd, .events = POLLOUT};
        gint64 left = deadline - g_get_monotonic_time();

        if (left <= 0 || (poll(&pfd, 1, (int)(left / 1000) + 1) < 0 && errno != EINTR)) {
            return;
        }
        report_flush(report);
    }
}
