/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_report.c - records for the parent: their shape, and readers that do not read
 *
 * Does:     reads records from pipes, sockets and files; lets readers sleep, wake and go away.
 * Not here: which records there are, and when (tests/system).
 */
#include "config.h"

#include "report.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "loopfixture.h"
#include "reportfixture.h"

#define QUEUE_MAX (256 * 1024)

/* A body whose record is somewhat longer than @len. */
static json_t *body_of(size_t len)
{
    g_autofree char *fill = g_strnfill(len, 'x');

    return json_pack("{s:s}", "fill", fill);
}

/* Sends events of 1 KiB until nothing more can be queued; returns how many were taken. */
static unsigned fill_queue(Reader *reader)
{
    unsigned sent = 0;

    while (!report_overflowed(reader->report)) {
        report_event(reader->report, "ready", body_of(1024));
        sent++;
        cr_assert_lt(sent, 10000, "the queue has an end");
    }
    return sent - 1;
}

Test(report, record_is_one_line_with_version_event_time_and_body)
{
    Reader reader;
    json_t *record;

    reader_begin(&reader, LOG_LEVEL_INFO);
    report_event(reader.report, "ready", json_pack("{s:s,s:i}", "name", "a\nb\"c", "n", 7));
    cr_assert_neq(reader_read(&reader), 0);
    cr_assert_eq(reader.lines->len, 1);
    cr_expect_eq(reader.rest->len, 0);
    record = reader_record(&reader, 0);
    cr_expect_eq(json_object_size(record), 6);
    cr_expect_eq(record_number(record, "v"), 1);
    cr_expect_str_eq(record_text(record, "event"), "ready");
    cr_expect_eq(record_number(record, "seq"), 0);
    cr_expect_str_eq(record_text(record, "name"), "a\nb\"c");
    cr_expect_eq(record_number(record, "n"), 7);
    cr_expect(
        g_regex_match_simple("^20\\d\\d-[01]\\d-[0-3]\\dT[0-2]\\d:[0-5]\\d:[0-6]\\d\\.\\d{6}Z$",
                             record_text(record, "time"), 0, 0),
        "%s", record_text(record, "time"));
    json_decref(record);
    reader_end(&reader);
}

Test(report, sequence_numbers_have_no_gaps_over_all_kinds_of_records)
{
    Reader reader;
    g_autoptr(GError) error = fault_new(FAULT_TAP, EBUSY, "busy");

    reader_begin(&reader, LOG_LEVEL_INFO);
    report_event(reader.report, "ready", json_object());
    report_log(reader.report, LOG_LEVEL_DEBUG, FAULT_LIMIT, 0, "left out");
    report_log(reader.report, LOG_LEVEL_INFO, FAULT_LIMIT, 0, "kept");
    report_error(reader.report, error, NULL);
    for (guint i = 0; i < 3; i++) {
        json_t *record = reader_record(&reader, i);

        cr_expect_eq(record_number(record, "seq"), i);
        json_decref(record);
    }
    cr_expect_eq(reader.lines->len, 3);
    reader_end(&reader);
}

Test(report, error_record_has_code_errno_message_and_what_is_added)
{
    Reader reader;
    g_autoptr(GError) with = fault_new(FAULT_PUBLISH, EADDRINUSE, "port %d", 80);
    g_autoptr(GError) without = fault_new(FAULT_NOT_SUPPORTED, 0, "later");
    g_autoptr(GError) foreign = g_error_new_literal(G_FILE_ERROR, 3, "file");
    json_t *record;

    reader_begin(&reader, LOG_LEVEL_ERROR);
    report_error(reader.report, with, json_pack("{s:i}", "host_port", 80));
    report_error(reader.report, without, NULL);
    report_error(reader.report, foreign, NULL);
    record = reader_record(&reader, 0);
    cr_expect_str_eq(record_text(record, "event"), "error");
    cr_expect_str_eq(record_text(record, "code"), "publish");
    cr_expect_str_eq(record_text(record, "errno"), "EADDRINUSE");
    cr_expect_str_eq(record_text(record, "message"), "port 80");
    cr_expect_eq(record_number(record, "host_port"), 80);
    json_decref(record);
    record = reader_record(&reader, 1);
    cr_expect_str_eq(record_text(record, "code"), "not-supported");
    cr_expect_null(json_object_get(record, "errno"));
    json_decref(record);
    record = reader_record(&reader, 2);
    cr_expect_str_eq(record_text(record, "code"), "internal");
    cr_expect_null(json_object_get(record, "errno"));
    json_decref(record);
    reader_end(&reader);
}

Test(report, log_records_up_to_the_level_are_written_and_name_it)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};

    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        Reader reader;

        reader_begin(&reader, (LogLevel)level);
        for (int at = LOG_LEVEL_ERROR; at <= LOG_LEVEL_DEBUG; at++) {
            report_log(reader.report, (LogLevel)at, FAULT_REFUSED, EPERM, "at %d", at);
        }
        (void)reader_read(&reader);
        cr_assert_eq(reader.lines->len, (guint)level + 1);
        for (guint i = 0; i < reader.lines->len; i++) {
            json_t *record = reader_record(&reader, i);

            cr_expect_str_eq(record_text(record, "event"), "log");
            cr_expect_str_eq(record_text(record, "level"), names[i]);
            cr_expect_str_eq(record_text(record, "code"), "refused");
            cr_expect_str_eq(record_text(record, "errno"), "EPERM");
            json_decref(record);
        }
        reader_end(&reader);
    }
}

Test(report, long_message_is_cut_between_characters)
{
    Reader reader;
    g_autoptr(GString) text = g_string_new("x");
    g_autoptr(GError) error = NULL;
    json_t *record;

    for (int i = 0; i < 3000; i++) {
        g_string_append(text, "\xc3\xa4");
    }
    error = fault_new(FAULT_OPTION, EINVAL, "%s", text->str);
    reader_begin(&reader, LOG_LEVEL_INFO);
    report_error(reader.report, error, NULL);
    record = reader_record(&reader, 0);
    cr_expect_gt(strlen(record_text(record, "message")), 1000);
    cr_expect_eq(strncmp(record_text(record, "message"), text->str, 1000), 0);
    cr_expect(g_utf8_validate(record_text(record, "message"), -1, NULL));
    cr_expect_leq(reader.longest, SALLYPORT_RECORD_MAX);
    json_decref(record);
    reader_end(&reader);
}

Test(report, error_made_of_control_characters_still_arrives)
{
    Reader reader;
    g_autofree char *text = g_strnfill(2000, '\x01');
    g_autoptr(GError) error = fault_new(FAULT_OPTION, EINVAL, "%s", text);
    json_t *record;

    reader_begin(&reader, LOG_LEVEL_INFO);
    report_error(reader.report, error, NULL);
    record = reader_record(&reader, 0);
    cr_expect_str_eq(record_text(record, "code"), "option");
    cr_expect_leq(reader.longest, SALLYPORT_RECORD_MAX);
    json_decref(record);
    reader_end(&reader);
}

Test(report, bytes_that_are_no_utf8_are_replaced)
{
    Reader reader;
    g_autoptr(GError) error = fault_new(FAULT_OPTION, EINVAL, "a\xff\xc3(b");
    json_t *record;

    reader_begin(&reader, LOG_LEVEL_INFO);
    report_error(reader.report, error, NULL);
    report_log(reader.report, LOG_LEVEL_INFO, FAULT_LIMIT, 0, "%s", "\xfe");
    record = reader_record(&reader, 0);
    cr_expect_str_eq(record_text(record, "message"), "a\xef\xbf\xbd\xef\xbf\xbd(b");
    json_decref(record);
    record = reader_record(&reader, 1);
    cr_expect_str_eq(record_text(record, "message"), "\xef\xbf\xbd");
    json_decref(record);
    reader_end(&reader);
}

Test(report, longest_record_is_4096_bytes_and_a_longer_one_is_dropped)
{
    Reader reader;
    size_t overhead;
    json_t *record;

    reader_begin(&reader, LOG_LEVEL_INFO);
    report_event(reader.report, "ready", body_of(1));
    (void)reader_read(&reader);
    overhead = reader.longest - 1;
    report_event(reader.report, "ready", body_of(SALLYPORT_RECORD_MAX - overhead + 1));
    report_event(reader.report, "ready", body_of(SALLYPORT_RECORD_MAX - overhead));
    (void)reader_read(&reader);
    cr_expect_eq(reader.lines->len, 2);
    cr_expect_eq(reader.longest, SALLYPORT_RECORD_MAX);
    record = reader_record(&reader, 1);
    cr_expect_eq(record_number(record, "seq"), 1, "a lost record takes no number");
    json_decref(record);
    report_log(reader.report, LOG_LEVEL_INFO, FAULT_LIMIT, 0, "then");
    record = reader_record(&reader, 2);
    cr_expect_eq(record_number(record, "lost"), 1);
    json_decref(record);
    reader_end(&reader);
}

Test(report, reader_that_does_not_read_blocks_nothing_and_the_queue_has_an_end)
{
    Reader reader;
    gint64 began = g_get_monotonic_time();
    unsigned taken;

    reader_begin(&reader, LOG_LEVEL_INFO);
    cr_expect_not(report_overflowed(reader.report));
    taken = fill_queue(&reader);
    cr_expect_lt(g_get_monotonic_time() - began, 5000000);
    cr_expect_gt(taken, QUEUE_MAX / 1200);
    cr_expect_lt(taken, (QUEUE_MAX + 80 * 1024) / 1024);
    while (reader_read(&reader) > 0) {
        report_drain(reader.report, 0);
    }
    cr_expect_eq(reader.lines->len, taken);
    for (guint i = 0; i < reader.lines->len; i++) {
        json_t *record = reader_record(&reader, i);

        cr_expect_eq(record_number(record, "seq"), i);
        json_decref(record);
    }
    reader_end(&reader);
}

Test(report, lost_records_are_counted_and_told_by_the_next_log_record)
{
    Reader reader;
    json_t *record;
    guint taken;

    reader_begin(&reader, LOG_LEVEL_INFO);
    taken = fill_queue(&reader);
    for (int i = 0; i < 9; i++) {
        report_event(reader.report, "ready", body_of(1024));
    }
    while (reader_read(&reader) > 0) {
        report_drain(reader.report, 0);
    }
    report_event(reader.report, "ready", json_object());
    report_log(reader.report, LOG_LEVEL_INFO, FAULT_LIMIT, 0, "one");
    report_log(reader.report, LOG_LEVEL_INFO, FAULT_LIMIT, 0, "two");
    record = reader_record(&reader, taken);
    cr_expect_null(json_object_get(record, "lost"));
    json_decref(record);
    record = reader_record(&reader, taken + 1);
    cr_expect_eq(record_number(record, "lost"), 10);
    cr_expect_eq(record_number(record, "seq"), taken + 1);
    json_decref(record);
    record = reader_record(&reader, taken + 2);
    cr_expect_null(json_object_get(record, "lost"), "told once");
    json_decref(record);
    reader_end(&reader);
}

Test(report, children_may_say_ten_lines_a_second_and_the_rest_counts_as_lost)
{
    Reader reader;
    unsigned admitted = 0;
    json_t *record;

    reader_begin(&reader, LOG_LEVEL_INFO);
    for (int i = 0; i < 1000; i++) {
        admitted += report_admits(reader.report);
    }
    cr_expect_eq(admitted, 10);
    report_log(reader.report, LOG_LEVEL_INFO, FAULT_INTERNAL, 0, "ours");
    (void)reader_read(&reader);
    record = reader_record(&reader, 0);
    cr_expect_eq(json_integer_value(json_object_get(record, "lost")), 990);
    json_decref(record);
    reader_end(&reader);
}

Test(report, lost_log_records_are_no_overflow)
{
    Reader reader;

    reader_begin(&reader, LOG_LEVEL_INFO);
    for (int i = 0; i < 20000; i++) {
        report_log(reader.report, LOG_LEVEL_INFO, FAULT_LIMIT, 0, "a log record that nobody reads");
    }
    cr_expect_not(report_overflowed(reader.report));
    report_event(reader.report, "ready", body_of(1024));
    cr_expect(report_overflowed(reader.report));
    reader_end(&reader);
}

Test(report, parents_pipe_keeps_its_flags_and_no_fd_stays)
{
    Reader reader;
    size_t before = count_fds();
    int flags;

    reader_begin(&reader, LOG_LEVEL_INFO);
    flags = fcntl(reader.write_fd, F_GETFL);
    cr_expect_not(flags & O_NONBLOCK);
    (void)fill_queue(&reader);
    report_drain(reader.report, 1);
    cr_expect_eq(fcntl(reader.write_fd, F_GETFL), flags);
    reader_end(&reader);
    cr_expect_eq(count_fds(), before);
}

Test(report, waiting_records_are_written_by_the_loop_when_the_reader_reads_on)
{
    Reader reader;
    GMainContext *context = g_main_context_new();
    guint taken;

    reader_begin(&reader, LOG_LEVEL_INFO);
    report_attach(reader.report, context);
    taken = fill_queue(&reader);
    loop_drain(context);
    LOOP_AWAIT(context, reader_read(&reader) == 0 || reader.lines->len >= taken);
    LOOP_AWAIT(context, (reader_read(&reader), reader.lines->len >= taken));
    cr_expect_eq(reader.lines->len, taken);
    cr_expect_not(g_main_context_iteration(context, FALSE), "an empty queue wakes nobody");
    reader_end(&reader);
    g_main_context_unref(context);
}

Test(report, stream_socket_is_written_without_blocking_and_keeps_its_flags)
{
    Reader reader;
    int socks[2];
    guint taken;

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks), 0);
    reader_adopt(&reader, socks[0], socks[1], LOG_LEVEL_INFO);
    taken = fill_queue(&reader);
    cr_expect_not(fcntl(socks[1], F_GETFL) & O_NONBLOCK);
    while (reader_read(&reader) > 0) {
        report_drain(reader.report, 0);
    }
    cr_expect_eq(reader.lines->len, taken);
    reader_end(&reader);
}

Test(report, file_takes_everything)
{
    Reader reader;
    int file = memfd_create("records", MFD_CLOEXEC);
    int copy;

    cr_assert_geq(file, 0);
    copy = fcntl(file, F_DUPFD_CLOEXEC, 3);
    reader_adopt(&reader, copy, file, LOG_LEVEL_INFO);
    for (int i = 0; i < 2000; i++) {
        report_event(reader.report, "ready", body_of(1024));
    }
    cr_expect_not(report_overflowed(reader.report));
    cr_assert_eq(lseek(copy, 0, SEEK_SET), 0);
    (void)reader_read(&reader);
    cr_expect_eq(reader.lines->len, 2000);
    reader_end(&reader);
}

Test(report, reader_that_goes_away_is_harmless_and_no_overflow)
{
    for (int kind = 0; kind < 2; kind++) {
        Reader reader;
        gint64 began = g_get_monotonic_time();
        int fds[2];

        (void)signal(SIGPIPE, SIG_IGN); /* as endings.c does */
        cr_assert_eq(kind == 0 ? pipe2(fds, O_CLOEXEC)
                               : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
                     0);
        reader_adopt(&reader, fds[0], fds[1], LOG_LEVEL_INFO);
        report_event(reader.report, "ready", json_object());
        (void)close(reader.read_fd);
        for (int i = 0; i < 1000; i++) {
            report_event(reader.report, "ready", body_of(1024));
        }
        cr_expect_not(report_overflowed(reader.report));
        report_drain(reader.report, 10000);
        cr_expect_lt(g_get_monotonic_time() - began, 5000000);
        reader.read_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        reader_end(&reader);
    }
}

static void report_to_nobody(bool late)
{
    int fds[2];
    Report *report;

    (void)signal(SIGPIPE, SIG_DFL);
    if (pipe2(fds, O_CLOEXEC) != 0) {
        _exit(2);
    }
    report = late ? NULL : report_new(fds[1], LOG_LEVEL_INFO);
    (void)close(fds[0]);
    report = late ? report_new(fds[1], LOG_LEVEL_INFO) : report;
    report_event(report, "exit", json_object());
    report_drain(report, 1000);
    _exit(0);
}

/* A refused command line is reported before signals are set up: endings.h. */
Test(report, reader_that_is_gone_kills_nobody_even_if_sigpipe_is_not_ignored)
{
    for (int late = 0; late < 2; late++) {
        pid_t pid = fork();
        int status = 0;

        if (pid == 0) {
            report_to_nobody(late != 0);
        }
        cr_assert_gt(pid, 0);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "killed by signal %d",
                  WTERMSIG(status));
    }
}

Test(report, drain_ends_at_its_deadline)
{
    Reader reader;
    gint64 began;
    gint64 took;

    reader_begin(&reader, LOG_LEVEL_INFO);
    (void)fill_queue(&reader);
    began = g_get_monotonic_time();
    report_drain(reader.report, 200);
    took = g_get_monotonic_time() - began;
    cr_expect_geq(took, 200000);
    cr_expect_lt(took, 2000000);
    reader_end(&reader);
}

Test(report, drain_writes_what_waits_and_ends_at_once)
{
    Reader reader;
    gint64 began;
    guint taken;
    pid_t pid;
    int status = 0;

    reader_begin(&reader, LOG_LEVEL_INFO);
    taken = fill_queue(&reader);
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        while (reader.lines->len < taken) {
            struct pollfd pfd = {.fd = reader.read_fd, .events = POLLIN};

            (void)poll(&pfd, 1, 10000);
            if (reader_read(&reader) == 0) {
                _exit(1);
            }
        }
        _exit(0);
    }
    began = g_get_monotonic_time();
    report_drain(reader.report, 20000);
    cr_expect_lt(g_get_monotonic_time() - began, 10000000);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    reader_end(&reader);
}

/* What the calls below leave on stderr. g_free(). */
static char *stderr_of(int report_fd, bool plain, const GError *error)
{
    char text[4096] = "";
    int file = memfd_create("stderr", MFD_CLOEXEC);
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    g_autoptr(Report) report = NULL;

    cr_assert_geq(dup2(file, STDERR_FILENO), 0);
    report = report_new(report_fd, LOG_LEVEL_INFO);
    if (plain) {
        report_set_plain(report);
    }
    report_error(report, error, NULL);
    report_event(report, "ready", json_pack("{s:i}", "pid", 1));
    report_log(report, LOG_LEVEL_WARNING, FAULT_PING, 0, "no ping");
    report_event(report, "exit", json_pack("{s:s,s:i}", "reason", "signal", "status", 3));
    cr_assert_geq(dup2(saved, STDERR_FILENO), 0);
    cr_assert_geq(pread(file, text, sizeof(text) - 1, 0), 0);
    (void)close(saved);
    (void)close(file);
    return g_strdup(text);
}

Test(report, without_a_report_fd_people_read_the_same_on_stderr)
{
    g_autoptr(GError) error = fault_new(FAULT_TAP, EBUSY, "tap0: busy");
    g_autofree char *text = stderr_of(-1, false, error);

    cr_expect_str_eq(text, "sallyport: tap0: busy\nsallyport: ready pid=1\nsallyport: no ping\n"
                           "sallyport: exit reason=signal status=3\n");
}

Test(report, plain_lines_are_errors_and_logs)
{
    g_autoptr(GError) error = fault_new(FAULT_TAP, EBUSY, "tap0: busy");
    g_autofree char *text = stderr_of(-1, true, error);

    cr_expect_str_eq(text, "sallyport: tap0: busy\nsallyport: no ping\n");
}

Test(report, with_a_report_fd_only_errors_are_on_stderr)
{
    g_autoptr(GError) error = fault_new(FAULT_TAP, EBUSY, "tap0: busy");
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    g_autofree char *text = stderr_of(null, false, error);

    cr_expect_str_eq(text, "sallyport: tap0: busy\n");
    (void)close(null);
}
