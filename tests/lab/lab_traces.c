/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_traces.c - what a helper must say at its end, its three processes, and what it must not leave behind
 *
 * Runs in:  the body. Orphans of the lab become children of the warden, the body's parent, so all of its descendants
 *           but the keepers and theirs are the body's or a helper's.
 */
#include "config.h"

#include "lab_raw.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab_internal.h"

/* ---- last words ---- */

void lab_raw_expect_reason(LabRaw *raw, const char *reason)
{
    unsigned count = lab_raw_count(raw, NULL, NULL);
    const char *last = count > 0 ? lab_raw_record(raw, count - 1) : NULL;

    LAB_CHECK(lab_record_has(last, "event", SALLYPORT_EVENT_EXIT), "the last record is %s",
              last != NULL ? last : "missing");
    LAB_CHECK(lab_record_has(last, "reason", reason), "wanted reason %s: %s", reason, last);
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_EXIT, NULL), 1);
}

void lab_raw_expect_end(LabRaw *raw, int status, const char *reason)
{
    int got = lab_raw_wait(raw, LAB_MS(2000));

    LAB_CHECK(got == status, "exit status %d, wanted %d", got, status);
    lab_raw_expect_reason(raw, reason);
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_ERROR, NULL), 0);
}

static bool says_all(const char *text, const LabCause *cause)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cause->says); i++) {
        if (cause->says[i] != NULL && strstr(text, cause->says[i]) == NULL)
            return false;
    }
    return true;
}

static bool record_shows(const char *json, const LabCause *cause)
{
    g_autofree char *message = lab_record_value(json, "message");

    return lab_record_has(json, "event", SALLYPORT_EVENT_ERROR) &&
           lab_record_has(json, "code", cause->code) && message != NULL &&
           says_all(message, cause) &&
           (cause->errno_name == NULL || lab_record_has(json, "errno", cause->errno_name));
}

static void expect_cause(LabRaw *raw, const LabCause *cause)
{
    g_auto(GStrv) lines = g_strsplit(lab_raw_err(raw), "\n", -1);
    const char *errno_name = cause->errno_name != NULL ? cause->errno_name : "any";
    bool line = false, record = false;

    for (size_t i = 0; lines[i] != NULL; i++)
        line |= says_all(lines[i], cause);
    for (unsigned i = 0; lab_raw_record(raw, i) != NULL; i++)
        record |= record_shows(lab_raw_record(raw, i), cause);
    LAB_CHECK(line, "no line on standard error with '%s' '%s' '%s'", cause->says[0],
              cause->says[1] != NULL ? cause->says[1] : "",
              cause->says[2] != NULL ? cause->says[2] : "");
    LAB_CHECK(record, "no error record with code %s, errno %s, '%s' '%s' '%s'", cause->code,
              errno_name, cause->says[0], cause->says[1] != NULL ? cause->says[1] : "",
              cause->says[2] != NULL ? cause->says[2] : "");
}

void lab_raw_expect_refusal(LabRaw *raw, int status, const LabCause *causes, size_t count)
{
    int got = lab_raw_wait(raw, LAB_MS(3000));
    unsigned lines = lab_raw_err_lines(raw), errors;

    LAB_CHECK(got == status, "exit status %d, wanted %d; standard error: %s", got, status,
              lab_raw_err(raw));
    for (size_t i = 0; i < count; i++)
        expect_cause(raw, &causes[i]);
    LAB_CHECK(lines == count, "%u lines on standard error, wanted %zu:\n%s", lines, count,
              lab_raw_err(raw));
    errors = lab_raw_count(raw, SALLYPORT_EVENT_ERROR, NULL);
    LAB_CHECK(errors == count, "%u error records, wanted %zu", errors, count);
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_READY, NULL), 0);
    lab_raw_expect_reason(raw, SALLYPORT_REASON_START_FAILED);
}

/* ---- the three processes ---- */

/* The processes forbid being looked at, except to the lab's root. */
static bool stands_in_guest(Lab *lab, pid_t pid, LabPlace guest)
{
    g_autofree char *link = g_strdup_printf("/proc/%d/ns/net", (int)pid), *wanted = NULL;
    LabOutput output = {NULL, NULL};
    struct stat netns;

    LAB_ASSERT_CALL(fstat(lab_netns(lab, guest), &netns));
    wanted = g_strdup_printf("net:[%lu]", (unsigned long)netns.st_ino);
    LAB_CHECK(lab_exec(lab, LAB_HOST, &output, "readlink", link, NULL) == 0, "readlink %s: %s",
              link, output.err);
    bool same = g_str_has_prefix(output.out, wanted);
    lab_output_clear(&output);
    return same;
}

/* Children of a process. Return: their PIDs as words, to be freed */
static char **children_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", (int)pid, (int)pid);
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return g_new0(char *, 1);
    return g_strsplit(g_strstrip(text), " ", -1);
}

LabTrio lab_trio(Lab *lab, pid_t supervisor, LabPlace guest)
{
    LabTrio trio = {.supervisor = supervisor};
    g_auto(GStrv) children = children_of(supervisor);

    for (size_t i = 0; children[i] != NULL && children[i][0] != '\0'; i++) {
        pid_t pid = (pid_t)g_ascii_strtoll(children[i], NULL, 10);

        if (stands_in_guest(lab, pid, guest))
            trio.inside = pid;
        else
            trio.datapath = pid;
    }
    LAB_CHECK(g_strv_length(children) == 2 && trio.inside > 0 && trio.datapath > 0,
              "not three processes: supervisor %d, inside %d, datapath %d of %u children",
              (int)supervisor, (int)trio.inside, (int)trio.datapath, g_strv_length(children));
    trio.pidfds[0] = pidfd_open(supervisor, 0);
    trio.pidfds[1] = pidfd_open(trio.inside, 0);
    trio.pidfds[2] = pidfd_open(trio.datapath, 0);
    LAB_ASSERT(trio.pidfds[0] >= 0 && trio.pidfds[1] >= 0 && trio.pidfds[2] >= 0);
    return trio;
}

long long lab_trio_switches(const LabTrio *trio, unsigned *ret_threads)
{
    const pid_t pids[] = {trio->supervisor, trio->inside, trio->datapath};
    long long sum = 0;
    unsigned threads = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(pids); i++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/task", (int)pids[i]);
        g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
        const char *name;

        LAB_CHECK(dir != NULL, "%s: %s", path, strerror(errno));
        while ((name = g_dir_read_name(dir)) != NULL) {
            g_autofree char *file = g_strdup_printf("%s/%s/status", path, name), *text = NULL;
            const char *voluntary, *other;

            LAB_CHECK(g_file_get_contents(file, &text, NULL, NULL), "%s", file);
            voluntary = strstr(text, "\nvoluntary_ctxt_switches:");
            other = strstr(text, "\nnonvoluntary_ctxt_switches:");
            LAB_ASSERT(voluntary != NULL && other != NULL);
            sum += g_ascii_strtoll(strchr(voluntary, ':') + 1, NULL, 10) +
                   g_ascii_strtoll(strchr(other, ':') + 1, NULL, 10);
            threads++;
        }
    }
    if (ret_threads != NULL)
        *ret_threads = threads;
    return sum;
}

bool lab_trio_ended(LabTrio *trio, int timeout_ms)
{
    int64_t end = lab_now() + timeout_ms;
    bool all = true;

    for (size_t i = 0; i < G_N_ELEMENTS(trio->pidfds); i++) {
        int64_t left = end - lab_now();

        all &= lab_wait(trio->pidfds[i], POLLIN, (int)MAX(0, left)) != 0;
        close(trio->pidfds[i]);
    }
    return all;
}

/* ---- what is left behind ---- */

static bool is_keeper(const Lab *lab, pid_t pid)
{
    for (size_t i = 0; i < LAB_PLACES_MAX; i++) {
        if (lab->places[i].pid == pid)
            return true;
    }
    return false;
}

static void list_processes(const Lab *lab, pid_t pid, GString *text)
{
    g_auto(GStrv) children = children_of(pid);

    for (size_t i = 0; children[i] != NULL && children[i][0] != '\0'; i++) {
        g_autofree char *path = g_strdup_printf("/proc/%s/stat", children[i]), *stat = NULL;
        pid_t child = (pid_t)g_ascii_strtoll(children[i], NULL, 10);
        char *end;

        if (is_keeper(lab, child) || !g_file_get_contents(path, &stat, NULL, NULL))
            continue;
        end = strrchr(stat, ')'); /* the state comes behind the name */
        if (end == NULL || end[1] == '\0' || strchr("ZX", end[2]) != NULL)
            continue;
        end[1] = '\0';
        g_string_append_printf(text, "process %s\n", stat);
        list_processes(lab, child, text);
    }
}

/* @listening: only sockets in that state. The second word is the local address, the fourth the state. */
static void list_sockets(const char *name, const char *listening, GString *text)
{
    g_autofree char *path = g_strdup_printf("/proc/self/net/%s", name), *table = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(path, &table, NULL, NULL))
        return;
    lines = g_strsplit(table, "\n", -1);
    for (size_t i = 1; lines[i] != NULL; i++) {
        char local[64], state[8];

        if (sscanf(lines[i], " %*s %63s %*s %7s", local, state) == 2 &&
            (listening == NULL || strcmp(state, listening) == 0))
            g_string_append_printf(text, "%s %s\n", name, local);
    }
}

static int compare_text(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void list_files(const Lab *lab, GString *text)
{
    g_autoptr(GDir) dir = g_dir_open(lab_directory(lab), 0, NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL)
        g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare_text);
    for (guint i = 0; i < names->len; i++)
        g_string_append_printf(text, "file %s\n", (char *)g_ptr_array_index(names, i));
}

static void list_interfaces(Lab *lab, GString *text)
{
    LabOutput output = {NULL, NULL};
    g_auto(GStrv) lines = NULL;

    if (lab_pid(lab, LAB_GUEST) == 0)
        return;
    LAB_ASSERT_EQ(lab_exec(lab, LAB_GUEST, &output, "ip", "-o", "link", NULL), 0);
    lines = g_strsplit(output.out, "\n", -1);
    for (size_t i = 0; lines[i] != NULL; i++) {
        char name[32];

        if (sscanf(lines[i], "%*d: %31[^:]", name) == 1)
            g_string_append_printf(text, "interface %s\n", name);
    }
    lab_output_clear(&output);
}

char *lab_traces(Lab *lab)
{
    GString *text = g_string_new(NULL);

    list_processes(lab, getppid(), text);
    list_sockets("tcp", "0A", text);
    list_sockets("tcp6", "0A", text);
    list_sockets("udp", NULL, text);
    list_sockets("udp6", NULL, text);
    list_sockets("icmp", NULL, text);
    list_sockets("icmp6", NULL, text);
    list_interfaces(lab, text);
    list_files(lab, text);
    return g_string_free(text, FALSE);
}

void lab_traces_expect(Lab *lab, const char *before, int timeout_ms)
{
    int64_t end = lab_now() + timeout_ms;

    for (;;) {
        g_autofree char *now = lab_traces(lab);

        if (strcmp(now, before) == 0)
            return;
        LAB_CHECK(lab_now() < end, "left behind; before:\n%safter:\n%s", before, now);
        (void)poll(NULL, 0, 20);
    }
}
