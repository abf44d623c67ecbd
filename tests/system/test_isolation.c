/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_isolation.c - makes the tables of SECURITY.md from what the kernel says of the three processes
 *
 * Observer: the lab's root. Each table is printed, and compared with the one in SECURITY.md, which the build has put into
 * isolation_table.h: whoever changes what holds gets the new table from this test's output, and pastes it there.
 * Modes:    an ordinary user's helper in one run of this program, root's in the other. Open files are seen by the machine's root
 *           alone.
 */
#include "config.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <unistd.h>

#include "isolation_table.h"
#include "lab_raw.h"
#include "lab_test.h"

#define PROCESSES 3

typedef struct Seen {
    Lab *lab;
    pid_t pids[PROCESSES]; /* datapath, inside, supervisor: the columns */
    pid_t guest;
    char *status[PROCESSES];
    GString *table;
} Seen;

static void row(Seen *seen, const char *what, char *const cells[PROCESSES])
{
    g_string_append_printf(seen->table, "| %s |", what);
    for (int i = 0; i < PROCESSES; i++) {
        g_string_append_printf(seen->table, " %s |", cells[i]);
        g_free(cells[i]);
    }
    g_string_append_c(seen->table, '\n');
}

/* The value of that line, which must be the same in all threads. To be freed. */
static char *value_of(const char *status, const char *name)
{
    g_auto(GStrv) lines = g_strsplit(status, "\n", -1);
    char *value = NULL;

    for (size_t i = 0; lines[i] != NULL; i++) {
        if (g_str_has_prefix(lines[i], name)) {
            const char *own = g_strstrip(lines[i] + strlen(name));

            LAB_CHECK(value == NULL || strcmp(value, own) == 0, "%s differs in threads", name);
            g_free(value);
            value = g_strdup(own);
        }
    }
    LAB_CHECK(value != NULL, "no %s", name);
    return value;
}

static char *capabilities(const char *status, const char *name)
{
    g_autofree char *hex = value_of(status, name);
    guint64 set = g_ascii_strtoull(hex, NULL, 16);
    GString *text = g_string_new(NULL);
    unsigned missing = 0;

    for (cap_value_t cap = 0; CAP_IS_SUPPORTED(cap); cap++) {
        char *word = (set >> cap & 1) != 0 ? cap_to_name(cap) : NULL;

        missing += word == NULL;
        if (word != NULL)
            g_string_append_printf(text, "%s`%s`", text->len > 0 ? ", " : "",
                                   word + strlen("cap_"));
        (void)cap_free(word);
    }
    if (missing == 0)
        g_string_assign(text, "all");
    return g_string_free(text->len > 0 ? text : g_string_assign(text, "none"), FALSE);
}

static void capability_row(Seen *seen, const char *what, const char *name, const char *twin)
{
    char *cells[PROCESSES];

    for (int i = 0; i < PROCESSES; i++) {
        cells[i] = capabilities(seen->status[i], name);
        if (twin != NULL) {
            g_autofree char *other = capabilities(seen->status[i], twin);

            LAB_CHECK(strcmp(cells[i], other) == 0, "%s and %s differ", name, twin);
        }
    }
    row(seen, what, cells);
}

static void flag_row(Seen *seen, const char *what, const char *name, const char *wanted)
{
    char *cells[PROCESSES];

    for (int i = 0; i < PROCESSES; i++) {
        g_autofree char *value = value_of(seen->status[i], name);

        cells[i] = g_strdup(strcmp(value, wanted) == 0 ? "yes" : "no");
    }
    row(seen, what, cells);
}

static char *inode_of(Seen *seen, pid_t pid, const char *kind)
{
    return lab_says(seen->lab, LAB_HOST, "readlink /proc/%d/ns/%s", (int)pid, kind);
}

static void namespace_rows(Seen *seen)
{
    static const char *const kinds[] = {"user", "mnt", "pid", "ipc", "uts", "cgroup", "net"};

    for (size_t k = 0; k < G_N_ELEMENTS(kinds); k++) {
        /* The lab's root makes an ordinary user of itself by a user namespace, in which the helper is started. */
        pid_t user = k == 0 ? seen->pids[PROCESSES - 1] : lab_pid(seen->lab, LAB_HOST);
        g_autofree char *host = inode_of(seen, user, kinds[k]);
        g_autofree char *guest = inode_of(seen, seen->guest, kinds[k]);
        g_autofree char *what = g_strdup_printf("%s namespace", kinds[k]);
        char *cells[PROCESSES];

        for (int i = 0; i < PROCESSES; i++) {
            g_autofree char *own = inode_of(seen, seen->pids[i], kinds[k]);

            cells[i] = g_strdup(strcmp(own, host) == 0    ? "the user's"
                                : strcmp(own, guest) == 0 ? "the sandbox's"
                                                          : "its own");
        }
        row(seen, what, cells);
    }
}

static void root_row(Seen *seen)
{
    char *cells[PROCESSES];

    for (int i = 0; i < PROCESSES; i++) {
        g_autofree char *entries =
            lab_says(seen->lab, LAB_HOST, "ls -A /proc/%d/root/", (int)seen->pids[i]);
        g_autofree char *options =
            lab_says(seen->lab, LAB_HOST,
                     "awk '$2 == \"/\" { last = $4 } END { print last }' /proc/%d/mounts",
                     (int)seen->pids[i]);

        cells[i] = g_strdup_printf(
            "%s%s", entries[0] == '\0' ? "empty" : "the user's",
            g_str_has_prefix(options, "ro,") && entries[0] == '\0' ? ", read-only" : "");
    }
    row(seen, "root directory", cells);
}

/* The kernel shows Landlock nowhere: each process says what restricting itself returned. */
static void landlock_row(Seen *seen, const char *ready)
{
    static const char *const names[PROCESSES] = {"datapath", "inside", "supervisor"};
    g_autofree char *locked = lab_record_value(ready, "locked_down");
    char *cells[PROCESSES];

    for (int i = 0; i < PROCESSES; i++) {
        g_autofree char *key = g_strdup_printf("\"%s\":[", names[i]);
        const char *begin = strstr(locked, key);
        g_autofree char *held = NULL;

        LAB_CHECK(begin != NULL, "%s", locked);
        held = g_strndup(begin, (size_t)(strchr(begin, ']') - begin));
        cells[i] = g_strdup(strstr(held, "\"landlock-scope\"") != NULL
                                ? "no file, abstract socket, or signal outside"
                            : strstr(held, "\"landlock\"") != NULL ? "no file"
                                                                   : "no");
    }
    row(seen, "Landlock", cells);
}

/* "2 socket, eventpoll": kinds in the order of their names. Of eventpoll and eventfd there are more with more cores. */
static char *files_of(Seen *seen, pid_t pid)
{
    return lab_says(seen->lab, LAB_HOST,
                    "for fd in /proc/%d/fd/*; do readlink $fd; done | "
                    "sed 's/^\\(socket\\|pipe\\):.*/\\1/; s/anon_inode:\\[*\\([a-z]*\\).*/\\1/; "
                    "s,^/null$,/dev/null,' | sort | uniq -c | "
                    "awk '{ count = $2 ~ /^event/ ? \"\" : $1 \" \"; "
                    "printf \"%%s%%s%%s\", sep, count, $2; sep = \", \" }'",
                    (int)pid);
}

static void file_row(Seen *seen)
{
    char *cells[PROCESSES];

    for (int i = 0; i < PROCESSES; i++)
        cells[i] = files_of(seen, seen->pids[i]);
    row(seen, "open files", cells);
}

/* Of the supervisor's children the datapath stands in its network namespace, inside elsewhere, and a COMMAND is no helper. */
static void find(Seen *seen, pid_t supervisor, pid_t guest)
{
    g_autofree char *text =
        lab_says(seen->lab, LAB_HOST, "cat /proc/%d/task/*/children", (int)supervisor);
    g_auto(GStrv) children = g_strsplit(text, " ", -1);
    g_autofree char *host = inode_of(seen, supervisor, "net");

    seen->pids[2] = supervisor;
    seen->guest = guest;
    for (size_t i = 0; children[i] != NULL; i++) {
        pid_t pid = (pid_t)strtol(children[i], NULL, 10);
        g_autofree char *name = lab_says(seen->lab, LAB_HOST, "cat /proc/%d/comm", (int)pid);
        g_autofree char *net = inode_of(seen, pid, "net");

        if (strcmp(name, "sallyport") != 0)
            seen->guest = pid;
        else
            seen->pids[strcmp(net, host) == 0 ? 0 : 1] = pid;
    }
    LAB_CHECK(seen->pids[0] > 0 && seen->pids[1] > 0 && seen->guest > 0, "children: %s", text);
}

/* What holds of a helper that is started with these words; the ready record comes back. */
static const char *look(Seen *seen, const char *words, pid_t guest)
{
    LabRaw *raw = lab_raw_line(seen->lab, NULL, "--fast-path=require %s", words);
    const char *ready;

    lab_raw_ready(raw);
    ready = lab_raw_await(raw, SALLYPORT_EVENT_READY, 0);
    find(seen, lab_raw_pid(raw), guest);
    seen->table = g_string_new("| | datapath | inside | supervisor |\n|---|---|---|---|\n");
    for (int i = 0; i < PROCESSES; i++)
        seen->status[i] =
            lab_says(seen->lab, LAB_HOST, "cat /proc/%d/task/*/status", (int)seen->pids[i]);
    capability_row(seen, "effective and permitted capabilities", "CapEff:", "CapPrm:");
    capability_row(seen, "inheritable and ambient capabilities", "CapInh:", "CapAmb:");
    capability_row(seen, "bounding set", "CapBnd:", NULL);
    flag_row(seen, "no_new_privs", "NoNewPrivs:", "1");
    flag_row(seen, "seccomp filter on every thread", "Seccomp:", "2");
    landlock_row(seen, ready);
    root_row(seen);
    namespace_rows(seen);
    if (strstr(ready, "\"absent\":[]") == NULL)
        lab_cannot("this kernel's Landlock has no scopes, the tables have");
    return ready;
}

static void forget(Seen *seen)
{
    for (int i = 0; i < PROCESSES; i++)
        g_free(seen->status[i]);
    g_string_free(seen->table, TRUE);
}

static const char *wanted_table(void)
{
    return geteuid() == 0 ? isolation_of_root : isolation_of_user;
}

LAB_TEST(isolation, the_tables_of_security_md_are_true)
{
    const char *wanted = wanted_table();
    g_autofree char *words = g_strdup_printf("%d", (int)lab_pid(lab, LAB_GUEST));
    const bool whole =
        lab_time_factor() == 1; /* a sanitizer keeps standard error for its reports */
    Seen seen = {.lab = lab};

    (void)look(&seen, words, lab_pid(lab, LAB_GUEST));
    if (geteuid() == 0 && whole)
        file_row(&seen);
    fprintf(stderr, "%s", seen.table->str);
    LAB_CHECK(strncmp(seen.table->str, wanted, seen.table->len) == 0 &&
                  (!whole || strlen(wanted) == seen.table->len),
              "SECURITY.md has\n%sthe kernel says\n%s", wanted, seen.table->str);
    forget(&seen);
}

/* The supervisor follows a path as who may, so that its column may differ. */
static char *two_columns(const char *table)
{
    g_auto(GStrv) lines = g_strsplit(table, "\n", -1);

    for (size_t i = 0; lines[i] != NULL; i++) {
        char *last = lines[i];

        for (int bar = 0; last != NULL && bar < 4; bar++)
            last = strchr(last + (bar > 0), '|');
        if (last != NULL)
            *last = '\0';
        if (g_str_has_prefix(lines[i], "| open files"))
            lines[i][0] = '\0';
    }
    return g_strchomp(g_strjoinv("\n", lines));
}

static void same_by(Lab *lab, const char *words, pid_t guest)
{
    g_autofree char *wanted = two_columns(wanted_table());
    g_autofree char *seen_of = NULL;
    Seen seen = {.lab = lab};

    (void)look(&seen, words, guest);
    seen_of = two_columns(seen.table->str);
    LAB_CHECK(strcmp(seen_of, wanted) == 0, "SECURITY.md has\n%s\nthe kernel says\n%s", wanted,
              seen_of);
    forget(&seen);
}

LAB_TEST(isolation, they_are_so_by_a_path_to_the_network_namespace)
{
    g_autofree char *words =
        g_strdup_printf("--netns /proc/%d/ns/net", (int)lab_pid(lab, LAB_GUEST));

    same_by(lab, words, lab_pid(lab, LAB_GUEST));
}

LAB_TEST(isolation, they_are_so_around_a_command)
{
    same_by(lab, "-- sleep 1000", 0);
}
