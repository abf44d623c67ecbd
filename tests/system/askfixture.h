/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_ASKFIXTURE_H
#define SALLYPORT_TESTS_ASKFIXTURE_H

/* More than controlfixture.h has: a file beside a request, replies as objects, numbers out of them. */

#include "controlfixture.h"

/* The option for a socket in the lab's directory; valid until the body ends. */
static inline const char *control_option(Lab *lab)
{
    static char option[512];

    (void)g_snprintf(option, sizeof(option), "--control=%s", lab_path(lab, "control"));
    return option;
}

static inline int control_connect(Lab *lab)
{
    return control_open(lab_path(lab, "control"));
}

/* @pass_fd: beside the request, or -1. Arguments: JSON text, or NULL. */
static inline void control_send(int fd, const char *command, const char *arguments, int pass_fd)
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

/* What is in "return"; an error fails the test. To be json_decref()ed. */
static inline json_t *control_call(int fd, const char *command, const char *arguments, int pass_fd)
{
    json_t *reply;
    json_t *result;
    g_autofree char *text = NULL;

    control_send(fd, command, arguments, pass_fd);
    reply = control_reply(fd, command);
    text = json_dumps(reply, JSON_COMPACT);
    result = json_object_get(reply, "return");
    LAB_CHECK(json_is_object(result), "%s: %s", command, text);
    json_incref(result);
    json_decref(reply);
    return result;
}

static inline void control_refuses(int fd, const char *command, const char *arguments, int pass_fd,
                                   const char *code, const char *errno_name)
{
    control_send(fd, command, arguments, pass_fd);
    control_expect_error(control_reply(fd, command), command, code, errno_name);
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
