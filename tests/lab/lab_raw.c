/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_raw.c - start the program by its bare command line, keep and check everything it says
 *
 * Runs in:  the body; raw_become() in the new process, parent_main() in the one between.
 * Owns:     the read ends of its pipes, and its pidfd.
 */
#include "config.h"

#include "lab_raw.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab_internal.h"

#define REPORT_FD 3
/* Every fd is moved above this first, so that none is overwritten before its turn. */
#define HIGH_FD 100

enum { PIPE_OUT, PIPE_ERR, PIPE_REPORT, PIPES };

struct LabRaw {
    pid_t pid;
    pid_t parent; /* the process between; 0: none */
    bool foreign; /* not our child */
    int pidfd;
    int pipes[PIPES]; /* -1: at its end */
    GString *texts[PIPES];
    GPtrArray *records; /* char *, whole lines */
    size_t parsed;      /* of the report's text */
    bool ended;
    int status;
};

static GPtrArray *raws; /* LabRaw; of this process */
static void (*print_others)(void);

static void print_raws(void)
{
    for (guint i = 0; i < raws->len; i++) {
        LabRaw *raw = g_ptr_array_index(raws, i);

        fprintf(stderr,
                "  helper %d, standard output:\n%s\n  standard error:\n%s\n  records:\n%s\n",
                (int)raw->pid, raw->texts[PIPE_OUT]->str, raw->texts[PIPE_ERR]->str,
                raw->texts[PIPE_REPORT]->str);
    }
    if (print_others != NULL)
        print_others();
}

/* ---- records ---- */

bool lab_record_has(const char *json, const char *key, const char *value)
{
    g_autofree char *text = json == NULL ? NULL : lab_record_value(json, key);

    return g_strcmp0(text, value) == 0;
}

static void check_record(const LabRaw *raw, const char *line)
{
    json_error_t error;
    json_t *record = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    const char *time = json_string_value(json_object_get(record, "time"));
    json_t *seq = json_object_get(record, "seq");

    LAB_CHECK(strlen(line) + 1 <= SALLYPORT_RECORD_MAX, "a record of %zu bytes", strlen(line) + 1);
    LAB_CHECK(json_is_object(record), "no record: %s: %s", error.text, line);
    LAB_CHECK(json_integer_value(json_object_get(record, "v")) == SALLYPORT_RECORD_VERSION, "%s",
              line);
    LAB_CHECK(json_is_string(json_object_get(record, "event")), "no event: %s", line);
    LAB_CHECK(time != NULL &&
                  g_regex_match_simple("^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?Z$",
                                       time, (GRegexCompileFlags)0, (GRegexMatchFlags)0),
              "time is not RFC 3339 in UTC: %s", line);
    LAB_CHECK(json_is_integer(seq), "no seq: %s", line);
    if (raw->records->len > 0) {
        const char *last = g_ptr_array_index(raw->records, raw->records->len - 1);
        g_autofree char *before = lab_record_value(last, "seq");

        LAB_CHECK(json_integer_value(seq) == g_ascii_strtoll(before, NULL, 10) + 1,
                  "a gap in seq: %s after %s", line, last);
    }
    json_decref(record);
}

static void take_lines(LabRaw *raw)
{
    const GString *text = raw->texts[PIPE_REPORT];
    const char *start, *end;

    while (start = text->str + raw->parsed, (end = strchr(start, '\n')) != NULL) {
        char *line = g_strndup(start, (gsize)(end - start));

        raw->parsed += (size_t)(end - start) + 1;
        check_record(raw, line);
        g_ptr_array_add(raw->records, line);
    }
}

/* Takes what is there. Return: false if nothing was */
static bool drain(LabRaw *raw)
{
    char buffer[16384];
    bool any = false;

    for (int i = 0; i < PIPES; i++) {
        ssize_t length;

        while (raw->pipes[i] >= 0 &&
               (length = read(raw->pipes[i], buffer, sizeof buffer), length >= 0)) {
            any = true;
            if (length > 0) {
                g_string_append_len(raw->texts[i], buffer, length);
            } else {
                close(raw->pipes[i]);
                raw->pipes[i] = -1;
            }
        }
    }
    take_lines(raw);
    return any;
}

/* Waits for anything, or the end, and takes it. */
static void pump(LabRaw *raw, int64_t end)
{
    struct pollfd polls[PIPES + 1] = {[PIPES] = {.fd = raw->pidfd, .events = POLLIN}};
    int64_t left = end - lab_now();

    for (int i = 0; i < PIPES; i++)
        polls[i] = (struct pollfd){.fd = raw->pipes[i], .events = POLLIN};
    (void)poll(polls, PIPES + 1, (int)MAX(0, left));
    if (polls[PIPES].revents != 0)
        raw->ended = true;
    (void)drain(raw);
}

unsigned lab_raw_count(LabRaw *raw, const char *event, const char *code)
{
    unsigned count = 0;

    (void)drain(raw);
    for (guint i = 0; i < raw->records->len; i++) {
        const char *json = g_ptr_array_index(raw->records, i);

        count += (event == NULL || lab_record_has(json, "event", event)) &&
                 (code == NULL || lab_record_has(json, "code", code));
    }
    return count;
}

const char *lab_raw_record(LabRaw *raw, unsigned index)
{
    (void)drain(raw);
    return index < raw->records->len ? g_ptr_array_index(raw->records, index) : NULL;
}

const char *lab_raw_await(LabRaw *raw, const char *event, int timeout_ms)
{
    int64_t end = lab_now() + timeout_ms;

    for (guint i = 0;;) {
        for (; i < raw->records->len; i++) {
            const char *json = g_ptr_array_index(raw->records, i);

            if (lab_record_has(json, "event", event))
                return json;
        }
        if (raw->ended || lab_now() >= end)
            return NULL;
        pump(raw, end);
    }
}

void lab_raw_ready(LabRaw *raw)
{
    LAB_CHECK(lab_raw_await(raw, SALLYPORT_EVENT_READY, LAB_MS(LAB_WAIT_MS)) != NULL,
              "the helper is not ready");
}

void lab_raw_await_out(LabRaw *raw, const char *text)
{
    int64_t end = lab_now() + LAB_MS(LAB_WAIT_MS);

    while (strstr(raw->texts[PIPE_OUT]->str, text) == NULL) {
        LAB_CHECK(!raw->ended && lab_now() < end, "'%s' did not come on standard output", text);
        pump(raw, end);
    }
}

const char *lab_raw_out(LabRaw *raw)
{
    (void)drain(raw);
    return raw->texts[PIPE_OUT]->str;
}

const char *lab_raw_err(LabRaw *raw)
{
    (void)drain(raw);
    return raw->texts[PIPE_ERR]->str;
}

unsigned lab_raw_err_lines(LabRaw *raw)
{
    unsigned lines = 0;

    for (const char *at = lab_raw_err(raw); *at != '\0'; at++)
        lines += *at == '\n';
    return lines;
}

/* ---- the start ---- */

static int moved_up(int fd)
{
    int high = fcntl(fd, F_DUPFD, HIGH_FD);

    if (high < 0)
        _exit(99);
    return high;
}

static void raw_become(Lab *lab, const LabRawSetup *setup, int in, int pipes[PIPES],
                       const char *program, char *const *argv)
{
    int fds[LAB_RAW_FDS_MAX];

    in = moved_up(in);
    for (int i = 0; i < PIPES; i++)
        pipes[i] = moved_up(pipes[i]);
    for (size_t i = 0; i < setup->fd_count; i++)
        fds[i] = moved_up(setup->fds[i]);
    dup2(in, 0);
    dup2(pipes[PIPE_OUT], 1);
    dup2(pipes[PIPE_ERR], 2);
    (void)close_range(REPORT_FD, HIGH_FD - 1, 0);
    if (!setup->no_report)
        dup2(pipes[PIPE_REPORT], REPORT_FD);
    for (size_t i = 0; i < setup->fd_count; i++)
        dup2(fds[i], LAB_RAW_FD + (int)i);
    (void)close_range(HIGH_FD, setup->leaks ? LAB_RAW_LEAK_FD - 1 : ~0U, 0);
    if (chdir(lab_directory(lab)) < 0)
        _exit(99);
    setenv("TMPDIR", lab_directory(lab), 1);
    setenv("HOME", lab_directory(lab), 1);
    setenv("XDG_RUNTIME_DIR", lab_directory(lab), 1);
    execv(program, argv);
    fprintf(stderr, "%s: %s\n", program, strerror(errno));
    _exit(99);
}

/* Nobody reaps the helper while this one lives, so its PID stays its own. */
static void parent_main(int answer, pid_t helper)
{
    (void)!write(answer, &helper, sizeof helper);
    (void)close_range(0, ~0U, 0);
    for (;;)
        pause();
}

static void raw_fork(LabRaw *raw, Lab *lab, const LabRawSetup *setup, int in, int pipes[PIPES],
                     char *const *argv)
{
    g_autofree char *program = realpath(lab_helper_program(), NULL);
    int answer[2];

    LAB_CHECK(program != NULL, "%s: %s", lab_helper_program(), strerror(errno));
    LAB_ASSERT_CALL(pipe2(answer, O_CLOEXEC));
    fflush(NULL);
    if (setup->behind_parent) {
        raw->foreign = true;
        LAB_ASSERT_CALL(raw->parent = fork());
        if (raw->parent > 0) {
            LAB_ASSERT_EQ(read(answer[0], &raw->pid, sizeof raw->pid), sizeof raw->pid);
        } else {
            pid_t helper = fork();

            if (helper == 0)
                raw_become(lab, setup, in, pipes, program, argv);
            parent_main(answer[1], helper);
        }
    } else {
        LAB_ASSERT_CALL(raw->pid = fork());
        if (raw->pid == 0)
            raw_become(lab, setup, in, pipes, program, argv);
    }
    close(answer[0]);
    close(answer[1]);
}

static int input_pipe(const char *text)
{
    int ends[2];

    LAB_ASSERT_CALL(pipe2(ends, O_CLOEXEC));
    if (text != NULL)
        LAB_ASSERT_EQ(write(ends[1], text, strlen(text)), strlen(text));
    close(ends[1]);
    return ends[0];
}

LabRaw *lab_raw_start(Lab *lab, const LabRawSetup *setup_or_null, const char *const *words)
{
    static const LabRawSetup plain;
    const LabRawSetup *setup = setup_or_null != NULL ? setup_or_null : &plain;
    const char *more = g_getenv("SALLYPORT_LAB_OPTIONS");
    g_auto(GStrv) options = g_strsplit(more != NULL ? more : "", " ", -1);
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    LabRaw *raw = g_new0(LabRaw, 1);
    int ends[PIPES][2], writers[PIPES], in = input_pipe(setup->input);

    g_assert(setup->fd_count <= LAB_RAW_FDS_MAX);
    g_ptr_array_add(argv, g_strdup("sallyport"));
    if (!setup->no_report)
        g_ptr_array_add(argv, g_strdup_printf("--report-fd=%d", REPORT_FD));
    for (size_t i = 0; options[i] != NULL; i++)
        g_ptr_array_add(argv, g_strdup(options[i]));
    for (size_t i = 0; words[i] != NULL; i++)
        g_ptr_array_add(argv, g_strdup(words[i]));
    g_ptr_array_add(argv, NULL);
    raw->records = g_ptr_array_new_with_free_func(g_free);
    for (int i = 0; i < PIPES; i++) {
        LAB_ASSERT_CALL(pipe2(ends[i], O_CLOEXEC));
        LAB_ASSERT_CALL(fcntl(ends[i][0], F_SETFL, O_NONBLOCK));
        raw->pipes[i] = ends[i][0];
        writers[i] = ends[i][1];
        raw->texts[i] = g_string_new(NULL);
    }
    raw_fork(raw, lab, setup, in, writers, (char *const *)argv->pdata);
    close(in);
    for (int i = 0; i < PIPES; i++)
        close(ends[i][1]);
    raw->pidfd = pidfd_open(raw->pid, 0);
    LAB_CHECK(raw->pidfd >= 0, "pidfd of the helper: %s", strerror(errno));
    if (raws == NULL)
        raws = g_ptr_array_new();
    g_ptr_array_add(raws, raw);
    if (lab_on_failure != print_raws) {
        print_others = lab_on_failure;
        lab_on_failure = print_raws;
    }
    return raw;
}

LabRaw *lab_raw_line(Lab *lab, const LabRawSetup *setup, const char *format, ...)
{
    g_autofree char *line = NULL;
    g_auto(GStrv) words = NULL;
    va_list values;

    va_start(values, format);
    line = g_strdup_vprintf(format, values);
    va_end(values);
    words = g_strsplit(line, " ", -1);
    return lab_raw_start(lab, setup, (const char *const *)words);
}

/* ---- the end ---- */

void lab_raw_parent_end(LabRaw *raw)
{
    LAB_ASSERT(raw->parent > 0);
    LAB_ASSERT_CALL(kill(raw->parent, SIGKILL));
    LAB_ASSERT_EQ(waitpid(raw->parent, NULL, 0), raw->parent);
    raw->parent = 0;
}

int lab_raw_wait(LabRaw *raw, int timeout_ms)
{
    int64_t end = lab_now() + timeout_ms;
    int status = 0;

    while (!raw->ended) {
        LAB_CHECK(lab_now() < end, "the helper did not end in %d ms", timeout_ms);
        pump(raw, end);
    }
    while (drain(raw))
        ;
    if (raw->foreign)
        return -1;
    if (raw->pid > 0) {
        LAB_ASSERT_EQ(waitpid(raw->pid, &status, 0), raw->pid);
        raw->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        raw->pid = 0;
    }
    return raw->status;
}

void lab_raw_free(LabRaw *raw)
{
    if (raw->pid > 0)
        (void)pidfd_send_signal(raw->pidfd, SIGKILL, NULL, 0);
    if (raw->pid > 0 && !raw->foreign)
        (void)waitpid(raw->pid, NULL, 0);
    if (raw->parent > 0)
        lab_raw_parent_end(raw);
    close(raw->pidfd);
    for (int i = 0; i < PIPES; i++) {
        if (raw->pipes[i] >= 0)
            close(raw->pipes[i]);
        g_string_free(raw->texts[i], TRUE);
    }
    g_ptr_array_unref(raw->records);
    g_ptr_array_remove(raws, raw);
    g_free(raw);
}

pid_t lab_raw_pid(const LabRaw *raw)
{
    return raw->pid;
}
