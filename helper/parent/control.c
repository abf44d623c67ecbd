/* SPDX-License-Identifier: MIT */
/*
 * control.c - the connection to a helper's control socket: one request, its reply, a deadline
 *
 * Does:     connects, sends a line, waits for the line that answers it.
 * Trusts:   nothing that comes back. A reply is a JSON object with our id and either "return", an
 *           object, or "error", an object with "code" and "message". An error with the id null
 *           answers what we have just asked: the helper could not read it.
 * Owns:     the socket and the last reply. The socket stays as it is (blocking or not): another
 *           process may share its description.
 * States:   in use -> broken, when it is not certain any more where a line begins.
 * Not here: what the commands are (control_calls.c).
 */
#include "config.h"

#include "sallyport.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

#include "parent.h"

/* connect(2) of AF_UNIX waits for room in the listener's queue, which poll(2) cannot; SO_SNDTIMEO
 * bounds it, and 0 there would be "for ever". */
static int connect_until(int fd, const struct sockaddr_un *address, int64_t deadline_ns)
{
    for (;;) {
        int left_ms = sallyport__remaining_ms(deadline_ns);
        struct timeval limit = {.tv_sec = left_ms / 1000, .tv_usec = (left_ms % 1000) * 1000};

        if (left_ms == 0) {
            limit.tv_usec = 1;
        } else if (left_ms < 0) {
            limit = (struct timeval){0};
        }
        if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0) {
            return -errno;
        }
        if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0) {
            return 0;
        }
        if (errno != EINTR && errno != EAGAIN) {
            return -errno;
        }
        if (sallyport__expired(deadline_ns)) {
            return -ETIMEDOUT;
        }
    }
}

static int object_new(int fd, SallyportControl **ret)
{
    /* The buffer is written before it is read. */
    SallyportControl *control = malloc(sizeof(*control));

    if (control == NULL) {
        return -ENOMEM;
    }
    memset(control, 0, offsetof(SallyportControl, buffer));
    control->fd = fd;
    *ret = control;
    return 0;
}

int sallyport_control_open(const char *path, int timeout_ms, SallyportControl **ret)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, r;

    if (path == NULL || *path == '\0') {
        return -EINVAL;
    }
    if (strlen(path) >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    r = connect_until(fd, &address, sallyport__deadline(timeout_ms));
    if (r == 0) {
        r = object_new(fd, ret);
    }
    if (r < 0) {
        (void)close(fd);
    }
    return r;
}

int sallyport_control_open_fd(int take_fd, SallyportControl **ret)
{
    struct sockaddr_storage peer;
    socklen_t size = sizeof(peer);
    int domain = 0, type = 0;
    socklen_t length = sizeof(int);

    if (getsockopt(take_fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0 ||
        getsockopt(take_fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0) {
        return -errno;
    }
    if (domain != AF_UNIX || type != SOCK_STREAM) {
        return -EINVAL;
    }
    if (getpeername(take_fd, (struct sockaddr *)&peer, &size) < 0) {
        return -errno;
    }
    return object_new(take_fd, ret);
}

static void forget_reply(SallyportControl *control)
{
    json_decref(control->root);
    free(control->reply);
    control->root = NULL;
    control->reply = NULL;
    control->refused = false;
}

void sallyport_control_close(SallyportControl *control)
{
    if (control == NULL) {
        return;
    }
    forget_reply(control);
    (void)close(control->fd); /* what was sent has been sent */
    free(control);
}

int sallyport_control_fd(const SallyportControl *control)
{
    return control->fd;
}

const SallyportRefusal *sallyport_control_refusal(const SallyportControl *control)
{
    return control->refused ? &control->refusal : NULL;
}

const char *sallyport_control_reply(const SallyportControl *control)
{
    return control->reply;
}

/* From now on the stream is of no use. Returns @result. */
static int broken(SallyportControl *control, int result)
{
    control->broken = -EPIPE;
    return result;
}

int sallyport__control_nonsense(SallyportControl *control)
{
    return broken(control, -EBADMSG);
}

/* 1 if the socket may be ready, else what the caller returns. */
static int wait_for(SallyportControl *control, short events, int64_t deadline_ns)
{
    struct pollfd fd = {.fd = control->fd, .events = events};
    int r = sallyport__poll(&fd, 1, deadline_ns);

    return r == 0 ? -ETIMEDOUT : r;
}

/* A part of a line; the fd goes with its first byte. */
static ssize_t send_part(int sock, const char *bytes, size_t size, int fd)
{
    _Alignas(struct cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    if (fd >= 0) {
        struct cmsghdr *header;

        message.msg_control = space;
        message.msg_controllen = sizeof(space);
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    }
    return sendmsg(sock, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* 0, or -errno; -EPIPE if the helper has closed, after which a last word of it may be there to be
 * read. */
static int send_line(SallyportControl *control, const char *line, size_t size, int fd,
                     int64_t deadline_ns)
{
    size_t sent = 0;

    while (sent < size) {
        ssize_t n = send_part(control->fd, line + sent, size - sent, sent == 0 ? fd : -1);
        int r;

        if (n >= 0) {
            sent += (size_t)n;
            continue;
        }
        if (errno == EPIPE || errno == ECONNRESET) {
            return -EPIPE;
        }
        if (errno == EINTR) {
            continue;
        }
        r = errno == EAGAIN ? wait_for(control, POLLOUT, deadline_ns) : -errno;
        if (r < 0) {
            return sent > 0 ? broken(control, r) : r;
        }
    }
    return 0;
}

/* 1 if there are new bytes, else -errno. */
static int fill(SallyportControl *control, int64_t deadline_ns)
{
    memmove(control->buffer, control->buffer + control->consumed,
            control->length - control->consumed);
    control->length -= control->consumed;
    control->consumed = 0;
    if (control->length == sizeof(control->buffer)) {
        return sallyport__control_nonsense(control);
    }
    for (;;) {
        /* recv() and not recvmsg(): fds that nobody asked for are dropped by the kernel. */
        ssize_t n = recv(control->fd, control->buffer + control->length,
                         sizeof(control->buffer) - control->length, MSG_DONTWAIT);
        int r;

        if (n > 0) {
            control->length += (size_t)n;
            return 1;
        }
        if (n == 0 || errno == ECONNRESET) {
            /* A line without its end is what a helper leaves that was killed half way. */
            return broken(control, -EPIPE);
        }
        if (errno == EINTR) {
            continue;
        }
        r = errno == EAGAIN ? wait_for(control, POLLIN, deadline_ns) : -errno;
        if (r < 0) {
            return r;
        }
    }
}

/* The next line, which lives in the buffer until the next call. */
static int receive_line(SallyportControl *control, int64_t deadline_ns, const char **ret,
                        size_t *ret_length)
{
    size_t seen = control->consumed;

    for (;;) {
        const char *end = memchr(control->buffer + seen, '\n', control->length - seen);
        int r;

        if (end != NULL) {
            *ret = control->buffer + control->consumed;
            *ret_length = (size_t)(end - *ret);
            control->consumed += *ret_length + 1;
            return 0;
        }
        seen = control->length - control->consumed;
        r = fill(control, deadline_ns);
        if (r < 0) {
            return r;
        }
    }
}

/* Which request a reply belongs to. */
typedef enum Answers {
    ANSWERS_THIS,
    ANSWERS_OLDER,
    ANSWERS_NONE,
} Answers;

static Answers answers(const SallyportControl *control, const json_t *root)
{
    const json_t *id = json_object_get(root, "id");

    if (json_is_null(id)) {
        return json_object_get(root, "error") != NULL ? ANSWERS_THIS : ANSWERS_NONE;
    }
    if (!json_is_integer(id) || json_integer_value(id) <= 0 ||
        json_integer_value(id) > control->id) {
        return ANSWERS_NONE;
    }
    return json_integer_value(id) == control->id ? ANSWERS_THIS : ANSWERS_OLDER;
}

/* The reply is in the object: 0, -EREMOTEIO or -EBADMSG. */
static int judge(SallyportControl *control)
{
    const json_t *error = json_object_get(control->root, "error");

    if (error == NULL) {
        return json_is_object((json_t *)sallyport__control_result(control))
                   ? 0
                   : sallyport__control_nonsense(control);
    }
    control->refusal = (SallyportRefusal){
        .code = json_string_value(json_object_get(error, "code")),
        .errno_name = json_string_value(json_object_get(error, "errno")),
        .message = json_string_value(json_object_get(error, "message")),
    };
    if (control->refusal.code == NULL || control->refusal.message == NULL) {
        return sallyport__control_nonsense(control);
    }
    control->refused = true;
    return -EREMOTEIO;
}

static int receive_reply(SallyportControl *control, int64_t deadline_ns)
{
    for (;;) {
        Answers which;
        const char *line;
        size_t length;
        json_t *root;
        int r = receive_line(control, deadline_ns, &line, &length);

        if (r < 0) {
            return r;
        }
        root = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
        which = answers(control, root); /* of what is no object: none */
        if (which == ANSWERS_THIS) {
            control->root = root;
            control->reply = strndup(line, length);
            return control->reply != NULL ? judge(control) : broken(control, -ENOMEM);
        }
        json_decref(root);
        if (which == ANSWERS_NONE) {
            return sallyport__control_nonsense(control);
        }
        if (sallyport__expired(deadline_ns)) {
            return -ETIMEDOUT;
        }
    }
}

/* The request as a line, newline included. 0, -EINVAL, -EMSGSIZE or -ENOMEM. */
static int make_line(SallyportControl *control, const char *command, json_t *take_arguments,
                     char **ret, size_t *ret_size)
{
    json_t *root = json_pack("{s:I,s:s}", "id", (json_int_t)(control->id + 1), "command", command);
    char *line;
    int r = 0;

    if (root == NULL) {
        json_decref(take_arguments);
        return -EINVAL; /* a command that is not UTF-8; or memory is out */
    }
    if (take_arguments != NULL && json_object_set_new(root, "arguments", take_arguments) < 0) {
        r = -ENOMEM;
    }
    line = r == 0 ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (line == NULL) {
        return -ENOMEM;
    }
    *ret_size = strlen(line) + 1;
    if (*ret_size > SALLYPORT_CONTROL_LINE_MAX) {
        free(line);
        return -EMSGSIZE;
    }
    line[*ret_size - 1] = '\n'; /* sent with its length, not as a string */
    *ret = line;
    return 0;
}

int sallyport__control_ask(SallyportControl *control, const char *command, void *take_arguments,
                           int fd, int64_t deadline_ns)
{
    char *line;
    size_t size;
    int r, received;

    forget_reply(control);
    if (control->broken < 0) {
        json_decref(take_arguments);
        return control->broken;
    }
    r = make_line(control, command, take_arguments, &line, &size);
    if (r < 0) {
        return r;
    }
    control->id++;
    r = send_line(control, line, size, fd, deadline_ns);
    free(line);
    if (r < 0 && r != -EPIPE) {
        return r;
    }
    received = receive_reply(control, deadline_ns);
    /* Whoever closed may have said why; it can have said nothing else. */
    return r == -EPIPE && received != -EREMOTEIO ? broken(control, r) : received;
}

void *sallyport__control_result(const SallyportControl *control)
{
    return json_object_get(control->root, "return");
}

int sallyport_control_call(SallyportControl *control, const char *command,
                           const char *arguments_or_null, int fd, int timeout_ms)
{
    json_t *arguments = NULL;

    if (command == NULL || fd < -1) {
        return -EINVAL;
    }
    if (arguments_or_null != NULL) {
        arguments = json_loads(arguments_or_null, JSON_REJECT_DUPLICATES, NULL);
        if (!json_is_object(arguments)) {
            json_decref(arguments);
            return -EINVAL;
        }
    }
    return sallyport__control_ask(control, command, arguments, fd, sallyport__deadline(timeout_ms));
}
