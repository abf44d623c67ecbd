/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_ASKFIXTURE_H
#define SALLYPORT_TESTS_ASKFIXTURE_H

/* Requests one by one, with a file beside them; controlfixture.h is for those that come and go. */

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <glib.h>
#include <jansson.h>

#include "../lab/lab_helper.h"

/* The option for a socket in the lab's directory; valid until the body ends. */
static inline const char *control_option(Lab *lab)
{
    static char option[512];

    (void)g_snprintf(option, sizeof(option), "--control=%s", lab_path(lab, "control"));
    return option;
}

static inline int control_connect(Lab *lab)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    LAB_ASSERT_CALL(fd);
    LAB_ASSERT(g_strlcpy(sa.sun_path, lab_path(lab, "control"), sizeof(sa.sun_path)) <
               sizeof(sa.sun_path));
    LAB_ASSERT_CALL(connect(fd, (const struct sockaddr *)&sa, sizeof(sa)));
    return fd;
}

/* @pass_fd: beside the request, or -1. Arguments: JSON text, or NULL. */
static inline void control_ask(int fd, const char *command, const char *arguments, int pass_fd)
{
    g_autofree char *line = g_strdup_printf("{\"id\": 1, \"command\": \"%s\"%s%s}\n", command,
                                            arguments != NULL ? ", \"arguments\": " : "",
                                            arguments != NULL ? arguments : "");
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {line, strlen(line)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    if (pass_fd >= 0) {
        struct cmsghdr *cmsg = &control.align;

        header.msg_control = &control;
        header.msg_controllen = sizeof(control.bytes);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(cmsg), &pass_fd, sizeof(int));
    }
    LAB_ASSERT_EQ(sendmsg(fd, &header, MSG_NOSIGNAL), (ssize_t)strlen(line));
}

/* One line, as an object; to be json_decref()ed. */
static inline json_t *control_reply(int fd)
{
    g_autoptr(GString) line = g_string_new(NULL);
    json_t *reply;
    char byte = '\0';

    while (byte != '\n') {
        lab_recv(fd, &byte, 1);
        (void)g_string_append_c(line, byte);
    }
    reply = json_loads(line->str, 0, NULL);
    LAB_CHECK(json_is_object(reply), "%s", line->str);
    return reply;
}

/* What is in "return"; an error fails the test. To be json_decref()ed. */
static inline json_t *control_call(int fd, const char *command, const char *arguments, int pass_fd)
{
    json_t *reply;
    json_t *result;
    g_autofree char *text = NULL;

    control_ask(fd, command, arguments, pass_fd);
    reply = control_reply(fd);
    text = json_dumps(reply, JSON_COMPACT);
    result = json_object_get(reply, "return");
    LAB_CHECK(json_is_object(result), "%s: %s", command, text);
    json_incref(result);
    json_decref(reply);
    return result;
}

/* The error must have this code, and errno unless NULL. */
static inline void control_refuses(int fd, const char *command, const char *arguments, int pass_fd,
                                   const char *code, const char *errno_name)
{
    json_t *reply;
    const json_t *error;
    g_autofree char *text = NULL;

    control_ask(fd, command, arguments, pass_fd);
    reply = control_reply(fd);
    text = json_dumps(reply, JSON_COMPACT);
    error = json_object_get(reply, "error");
    LAB_CHECK(g_strcmp0(json_string_value(json_object_get(error, "code")), code) == 0 &&
                  (errno_name == NULL ||
                   g_strcmp0(json_string_value(json_object_get(error, "errno")), errno_name) == 0),
              "%s %s: %s", command, arguments, text);
    json_decref(reply);
}

/* A number by its path: "totals.tcp.flows" has dots, names of counters too, so the parts are given one by one. */
static inline json_int_t control_number(const json_t *object, const char *one, const char *two,
                                        const char *three)
{
    const json_t *value = json_object_get(object, one);

    value = two != NULL ? json_object_get(value, two) : value;
    value = three != NULL ? json_object_get(value, three) : value;
    LAB_CHECK(json_is_integer(value), "no number %s %s %s", one, two != NULL ? two : "",
              three != NULL ? three : "");
    return json_integer_value(value);
}

#endif
