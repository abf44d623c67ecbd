/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_CONTROLFIXTURE_H
#define SALLYPORT_TESTS_CONTROLFIXTURE_H

/* Shared by test_control*.c and test_hostfwd.c: clients of a helper's Unix sockets. */

#include <glib.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../lab/lab_helper.h"

/* What a request may take on a busy machine. */
#define CONTROL_WAIT_MS 10000

/* -1 and errno if nobody is there. */
static inline int control_try(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    LAB_ASSERT_CALL(fd);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) < 0) {
        int failed = errno;

        close(fd);
        errno = failed;
        return -1;
    }
    return fd;
}

static inline int control_open(const char *path)
{
    int fd = control_try(path);

    LAB_CHECK(fd >= 0, "%s: %s", path, strerror(errno));
    return fd;
}

/* All that comes until a newline (one request at a time: there is nothing behind it), or the end of the connection if @whole; to be
 * freed. */
static inline char *control_hear(int fd, bool whole)
{
    GString *text = g_string_new(NULL);
    char bytes[4096];

    for (;;) {
        ssize_t n;

        LAB_CHECK(lab_wait(fd, POLLIN, LAB_MS(CONTROL_WAIT_MS)) != 0, "no reply");
        n = recv(fd, bytes, sizeof bytes, 0);
        if (n <= 0) {
            return g_string_free(text, FALSE);
        }
        g_string_append_len(text, bytes, n);
        if (!whole && bytes[n - 1] == '\n') {
            return g_string_free(text, FALSE);
        }
    }
}

/* One line, as an object; to be released. @to: what it answers, for the message. */
static inline json_t *control_reply(int fd, const char *to)
{
    g_autofree char *reply = control_hear(fd, false);
    json_t *json = json_loads(reply, 0, NULL);

    LAB_CHECK(json_is_object(json), "'%s' is answered by '%s'", to, reply);
    return json;
}

/* The reply to one line; to be released. */
static inline json_t *control_ask(int fd, const char *line)
{
    lab_send(fd, line, strlen(line));
    lab_send(fd, "\n", 1);
    return control_reply(fd, line);
}

/* What is returned, as text; an error fails the test. To be freed. */
static inline char *control_do(int fd, const char *command, const char *arguments)
{
    g_autofree char *line =
        g_strdup_printf("{\"id\":1,\"command\":\"%s\",\"arguments\":{%s}}", command, arguments);
    json_t *reply = control_ask(fd, line);
    g_autofree char *all = json_dumps(reply, JSON_COMPACT);
    char *ret;

    LAB_CHECK(json_is_object(json_object_get(reply, "return")) &&
                  json_integer_value(json_object_get(reply, "id")) == 1,
              "%s: %s", line, all);
    ret = json_dumps(json_object_get(reply, "return"), JSON_COMPACT);
    json_decref(reply);
    return ret;
}

/* The number of a new publication. */
static inline json_int_t control_publish(int fd, const char *spec)
{
    g_autofree char *arguments = g_strdup_printf("\"spec\":\"%s\"", spec);
    g_autofree char *text = control_do(fd, "publish", arguments);
    json_t *json = json_loads(text, 0, NULL);
    json_int_t id = json_integer_value(json_object_get(json, "publication"));

    LAB_CHECK(id > 0, "%s: %s", spec, text);
    json_decref(json);
    return id;
}

static inline void control_unpublish(int fd, json_int_t id, const char *connections)
{
    g_autofree char *arguments =
        g_strdup_printf("\"publication\":%lld,\"connections\":\"%s\"", (long long)id, connections);

    free(control_do(fd, "unpublish", arguments));
}

/* The reply to @what is an error with that code, and errno unless that is NULL. Releases it. */
static inline void control_expect_error(json_t *take_reply, const char *what, const char *code,
                                        const char *errno_name)
{
    json_t *reply = take_reply;
    const json_t *error = json_object_get(reply, "error");
    const char *name = json_string_value(json_object_get(error, "errno"));
    g_autofree char *all = json_dumps(reply, JSON_COMPACT);

    LAB_CHECK(g_strcmp0(json_string_value(json_object_get(error, "code")), code) == 0 &&
                  (errno_name == NULL || g_strcmp0(name, errno_name) == 0),
              "%s: %s", what, all);
    json_decref(reply);
}

static inline void control_fails(int fd, const char *line, const char *code, const char *errno_name)
{
    control_expect_error(control_ask(fd, line), line, code, errno_name);
}

/* Listening sockets of HOST on these TCP ports, by ss(8). */
static inline unsigned control_listeners(Lab *lab, unsigned first, unsigned last)
{
    g_autofree char *text =
        lab_says(lab, LAB_HOST, "ss -Hltn 'sport >= :%u and sport <= :%u'", first, last);
    unsigned lines = 0;

    for (const char *c = text; *c != '\0'; c++) {
        lines += *c == '\n' || c[1] == '\0';
    }
    return lines;
}

/* Of /proc/PID/status: "VmRSS" in KiB, "FDSize". */
static inline long control_status(pid_t pid, const char *key)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid);
    g_autofree char *text = NULL;
    const char *found;

    LAB_CHECK(g_file_get_contents(path, &text, NULL, NULL), "%s", path);
    found = strstr(text, key);
    LAB_CHECK(found != NULL, "no %s", key);
    return strtol(found + strlen(key) + 1, NULL, 10);
}

#endif
