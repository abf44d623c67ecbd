/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_helper.c - spawn the program under test with libsallyport, keep its records, check its end
 *
 * Runs in:  the body, which is the helper's parent.
 * Owns:     every LabHelper until the body's process ends.
 */
#include "config.h"

#include "lab_helper.h"

#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab_internal.h"

/* The record's key for the ports listened at: "8080" or "8000-8010". */
#define KEY_HOST_PORTS "host_ports"

#define READY_MS 5000
#define STOP_MS  2000

typedef struct Record {
    char *json;
    char *event;
    char *code;
    bool awaited; /* returned by lab_helper_await() */
} Record;

struct LabHelper {
    Sallyport *sallyport;
    GPtrArray *records; /* Record */
    bool ended;         /* the pipe is at its end */
    bool settled;       /* stopped, waited for, or forgotten */
};

static GPtrArray *helpers; /* LabHelper; of this process */

/* ---- records ---- */

/* Reads one record if it comes in time. Return: false if none came */
static bool helper_read(LabHelper *helper, int timeout_ms)
{
    SallyportEvent *event = NULL;
    int result;

    if (helper->ended)
        return false;
    result = sallyport_next_event(helper->sallyport, timeout_ms, &event);
    if (result == 1) {
        Record *record = g_new0(Record, 1);

        record->json = g_strdup(event->json);
        record->event = g_strdup(event->event);
        record->code = g_strdup(event->code);
        g_ptr_array_add(helper->records, record);
        sallyport_event_free(event);
        return true;
    }
    LAB_CHECK(result == 0 || result == -EPIPE, "a line of the report pipe is no record: %s",
              strerror(-result));
    helper->ended = result == -EPIPE;
    return false;
}

static bool record_is(const Record *record, const char *event, const char *code)
{
    return g_strcmp0(record->event, event) == 0 &&
           (code == NULL || g_strcmp0(record->code, code) == 0);
}

const char *lab_helper_await(LabHelper *helper, const char *event, const char *code, int timeout_ms)
{
    int64_t end = lab_now() + timeout_ms;

    for (guint i = 0;; i++) {
        while (i >= helper->records->len) {
            int64_t left = end - lab_now();

            if (!helper_read(helper, (int)MAX(0, left)) && (helper->ended || left <= 0))
                return NULL;
        }
        Record *record = g_ptr_array_index(helper->records, i);
        if (!record->awaited && record_is(record, event, code)) {
            record->awaited = true;
            return record->json;
        }
    }
}

unsigned lab_helper_count(LabHelper *helper, const char *event, const char *code)
{
    unsigned count = 0;

    while (helper_read(helper, 0))
        ;
    for (guint i = 0; i < helper->records->len; i++)
        count += record_is(g_ptr_array_index(helper->records, i), event, code);
    return count;
}

char *lab_record_value(const char *json, const char *key)
{
    json_t *record = json_loads(json, 0, NULL), *value = json_object_get(record, key);
    char *text = NULL;

    if (json_is_string(value))
        text = g_strdup(json_string_value(value));
    else if (value != NULL)
        text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    json_decref(record);
    return text;
}

uint16_t lab_helper_port(LabHelper *helper, unsigned index)
{
    while (helper_read(helper, 0))
        ;
    for (guint i = 0; i < helper->records->len; i++) {
        const Record *record = g_ptr_array_index(helper->records, i);

        if (record_is(record, SALLYPORT_EVENT_PUBLISHED, NULL) && index-- == 0) {
            g_autofree char *ports = lab_record_value(record->json, KEY_HOST_PORTS);

            LAB_CHECK(ports != NULL, "no \"" KEY_HOST_PORTS "\" in %s", record->json);
            return (uint16_t)g_ascii_strtoull(ports, NULL, 10);
        }
    }
    lab_fail(__FILE__, __LINE__, "too few published records");
}

static void print_records(void)
{
    for (guint i = 0; helpers != NULL && i < helpers->len; i++) {
        LabHelper *helper = g_ptr_array_index(helpers, i);
        SallyportEvent *event;

        for (guint at = 0; at < helper->records->len; at++)
            fprintf(stderr, "  record: %s\n",
                    ((const Record *)g_ptr_array_index(helper->records, at))->json);
        while (!helper->ended && sallyport_next_event(helper->sallyport, 0, &event) == 1) {
            fprintf(stderr, "  record: %s\n", event->json);
            sallyport_event_free(event);
        }
    }
}

/* ---- the end ---- */

void lab_helper_stop(LabHelper *helper)
{
    int status = 0, result;

    helper->settled = true;
    result = sallyport_stop(helper->sallyport, LAB_MS(STOP_MS), &status);
    LAB_CHECK(result == 0, "sallyport_stop: %s", strerror(-result));
    LAB_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "helper ended with wait status 0x%x",
              (unsigned)status);
}

int lab_helper_wait_end(LabHelper *helper, int timeout_ms)
{
    int pidfd = pidfd_open(lab_helper_pid(helper), 0), status = 0;
    int64_t end = lab_now() + timeout_ms;

    helper->settled = true;
    LAB_CHECK(pidfd >= 0, "pidfd of the helper: %s", strerror(errno));
    while (lab_wait(pidfd, POLLIN, 20) == 0) {
        (void)helper_read(helper, 0);
        LAB_CHECK(lab_now() < end, "the helper did not end in %d ms", timeout_ms);
    }
    close(pidfd);
    while (helper_read(helper, 0))
        ;
    LAB_ASSERT_EQ(sallyport_stop(helper->sallyport, 0, &status), 0);
    return status;
}

void lab_helper_forget(LabHelper *helper)
{
    helper->settled = true;
}

static void stop_all(void)
{
    for (guint i = 0; helpers != NULL && i < helpers->len; i++) {
        LabHelper *helper = g_ptr_array_index(helpers, i);

        if (!helper->settled)
            lab_helper_stop(helper);
    }
}

/* ---- the start ---- */

static char *wrapper; /* lab_helper_wrap() */

const char *lab_helper_program(void)
{
    const char *program = g_getenv("SALLYPORT");

    return wrapper != NULL ? wrapper : program != NULL ? program : "./sallyport";
}

void lab_helper_wrap(Lab *lab, const char *command)
{
    g_autofree char *name = g_strdup_printf("helper-%" G_GINT64_FORMAT, lab_now());
    g_autofree char *program = g_shell_quote(lab_helper_program());
    g_autofree char *text =
        g_strdup_printf("#!/bin/sh\n%s || exit 99\nexec %s \"$@\"\n", command, program);

    wrapper = g_strdup(lab_path(lab, name));
    lab_write_file(wrapper, text);
    LAB_ASSERT_CALL(chmod(wrapper, 0755));
}

/* ---- its processes ---- */

size_t lab_helper_processes(const LabHelper *helper, pid_t *pids, size_t max)
{
    size_t count = 0;

    g_assert(max > 0);
    pids[count++] = lab_helper_pid(helper);
    for (size_t at = 0; at < count; at++) {
        g_autofree char *path =
            g_strdup_printf("/proc/%d/task/%d/children", (int)pids[at], (int)pids[at]);
        g_autofree char *text = NULL;
        g_auto(GStrv) children = NULL;

        if (!g_file_get_contents(path, &text, NULL, NULL))
            continue;
        children = g_strsplit(g_strstrip(text), " ", -1);
        for (size_t i = 0; children[i] != NULL && children[i][0] != '\0' && count < max; i++)
            pids[count++] = (pid_t)g_ascii_strtoll(children[i], NULL, 10);
    }
    return count;
}

int64_t lab_helper_cpu_ms(const LabHelper *helper)
{
    pid_t pids[64];
    size_t count = lab_helper_processes(helper, pids, G_N_ELEMENTS(pids));
    int64_t ticks = 0;

    for (size_t i = 0; i < count; i++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pids[i]);
        g_autofree char *text = NULL;
        long long user = 0, system = 0;

        /* The name in parentheses may hold anything. */
        if (g_file_get_contents(path, &text, NULL, NULL) && strrchr(text, ')') != NULL &&
            sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld",
                   &user, &system) == 2)
            ticks += user + system;
    }
    return ticks * 1000 / sysconf(_SC_CLK_TCK);
}

SallyportBuilder *lab_helper_builder(Lab *lab)
{
    SallyportBuilder *builder = sallyport_builder_new();

    (void)lab;
    LAB_ASSERT(builder != NULL);
    LAB_ASSERT_EQ(sallyport_builder_set_helper(builder, lab_helper_program()), 0);
    return builder;
}

LabHelper *lab_helper_spawn_builder(Lab *lab, SallyportBuilder *take_builder)
{
    LabHelper *helper = g_new0(LabHelper, 1);
    int result = sallyport_spawn(take_builder, &helper->sallyport);

    (void)lab;
    LAB_CHECK(result == 0, "%s: %s", lab_helper_program(), strerror(-result));
    sallyport_builder_free(take_builder);
    helper->records = g_ptr_array_new();
    if (helpers == NULL)
        helpers = g_ptr_array_new();
    g_ptr_array_add(helpers, helper);
    lab_on_failure = print_records;
    lab_on_end = stop_all;
    return helper;
}

LabHelper *lab_helper_spawn(Lab *lab, LabPlace guest, const char *const *words)
{
    SallyportBuilder *builder = lab_helper_builder(lab);
    int result = sallyport_builder_set_pid(builder, lab_pid(lab, guest));
    const char *more = g_getenv("SALLYPORT_LAB_OPTIONS");
    g_auto(GStrv) options = more != NULL && more[0] != '\0' ? g_strsplit(more, " ", -1) : NULL;

    for (size_t i = 0; result == 0 && options != NULL && options[i] != NULL; i++)
        result = sallyport_builder_option(builder, options[i]);
    for (size_t i = 0; result == 0 && words[i] != NULL; i++) {
        if (g_str_has_prefix(words[i], "-p "))
            result = sallyport_builder_publish(builder, words[i] + 3);
        else
            result = sallyport_builder_option(builder, words[i]);
    }
    LAB_CHECK(result == 0, "builder: %s", strerror(-result));
    return lab_helper_spawn_builder(lab, builder);
}

void lab_helper_wait_ready(LabHelper *helper)
{
    int64_t end = lab_now() + LAB_MS(READY_MS);

    while (lab_helper_count(helper, SALLYPORT_EVENT_READY, NULL) == 0) {
        LAB_CHECK(!helper->ended, "the helper ended before it was ready");
        LAB_CHECK(lab_now() < end, "the helper is not ready in time");
        (void)helper_read(helper, (int)MAX(0, end - lab_now()));
    }
}

LabHelper *lab_helper_for(Lab *lab, LabPlace guest, const char *const *words)
{
    LabHelper *helper = lab_helper_spawn(lab, guest, words);

    lab_helper_wait_ready(helper);
    return helper;
}

LabHelper *lab_helper(Lab *lab, ...)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    const char *word;
    va_list values;

    va_start(values, lab);
    do {
        word = va_arg(values, const char *);
        g_ptr_array_add(words, (gpointer)(uintptr_t)word);
    } while (word != NULL);
    va_end(values);
    return lab_helper_for(lab, LAB_GUEST, (const char *const *)words->pdata);
}

Sallyport *lab_helper_object(LabHelper *helper)
{
    return helper->sallyport;
}

pid_t lab_helper_pid(const LabHelper *helper)
{
    return sallyport_pid(helper->sallyport);
}
