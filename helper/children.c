/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * children.c - one child process and what it has to say
 *
 * Does:     reads its messages, notices its end, reaps it.
 * Runs in:  the supervisor.
 * Owns:     the pidfd and our end of the connection.
 * Order:    when a child ends, everything it said before is handed out first: its last message says why it ended.
 */
#include "config.h"

#include "children.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <glib-unix.h>

#include "fault.h"
#include "fd.h"

/* A message that waits for room; its fds are duplicates. */
typedef struct ChildLetter {
    Message message;
    int fds[MESSAGE_FDS_MAX];
    size_t count;
} ChildLetter;

struct Child {
    GMainContext *context;
    GQueue outbox; /* ChildLetter */
    GSource *out_source;
    pid_t pid;
    int pidfd;
    int sock;
    bool reaped;
    ChildHooks hooks;
    GSource *message_source;
    GSource *end_source;
};

static void child_letter_free(ChildLetter *letter);

static void child_source_clear(GSource **source)
{
    if (*source != NULL) {
        g_source_destroy(*source);
        g_clear_pointer(source, g_source_unref);
    }
}

/* False when there is nothing more to read, now or ever. */
static bool child_read_one(Child *child)
{
    Message message;
    int fds[MESSAGE_FDS_MAX];
    size_t count;
    int got;

    if (child->message_source == NULL) {
        return false;
    }
    got = message_recv(child->sock, &message, fds, &count);
    if (got == -EAGAIN) {
        return false;
    }
    if (got == 1) {
        child->hooks.message(child, &message, fds, count, child->hooks.user_data);
        return true;
    }
    child_source_clear(&child->message_source);
    /* An end of the connection is the end of the process, which the pidfd tells. */
    if (got < 0) {
        child->hooks.broken(child, got, child->hooks.user_data);
    }
    return false;
}

static gboolean child_readable(gint fd, GIOCondition condition, gpointer user_data)
{
    Child *child = user_data;

    (void)fd;
    (void)condition;
    (void)child_read_one(child);
    return child->message_source != NULL ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static gboolean child_ended(gint fd, GIOCondition condition, gpointer user_data)
{
    Child *child = user_data;
    int wstatus = 0;

    (void)fd;
    (void)condition;
    while (child_read_one(child)) {
    }
    child->reaped = true;
    if (TEMP_FAILURE_RETRY(waitpid(child->pid, &wstatus, 0)) != child->pid) {
        wstatus = W_EXITCODE(255, 0); /* somebody else has reaped it: how it ended is lost */
    }
    child->hooks.ended(child, wstatus, child->hooks.user_data);
    return G_SOURCE_REMOVE;
}

static GSource *child_watch_fd(Child *child, int fd, GUnixFDSourceFunc func, GMainContext *context)
{
    GSource *source = g_unix_fd_source_new(fd, G_IO_IN | G_IO_HUP | G_IO_ERR);

    g_source_set_callback(source, G_SOURCE_FUNC(func), child, NULL);
    g_source_attach(source, context);
    return source;
}

Child *child_new(pid_t pid, int take_sock, GMainContext *context, const ChildHooks *hooks,
                 GError **error)
{
    g_autoptr(Child) child = g_new0(Child, 1);

    g_queue_init(&child->outbox);
    child->context = context;
    child->pid = pid;
    child->sock = take_sock;
    child->hooks = *hooks;
    /* No race: a child of ours that nobody has reaped keeps its number. */
    child->pidfd = pidfd_open(pid, 0);
    if (child->pidfd < 0) {
        fault_set(error, FAULT_INTERNAL, errno, "pidfd_open: %s", g_strerror(errno));
        (void)kill(pid, SIGKILL); /* not reaped, so the number is still its own */
        (void)waitpid(pid, NULL, 0);
        child->reaped = true;
        return NULL;
    }
    child->end_source = child_watch_fd(child, child->pidfd, child_ended, context);
    if (take_sock >= 0) {
        child->message_source = child_watch_fd(child, take_sock, child_readable, context);
    }
    return g_steal_pointer(&child);
}

void child_free(Child *child)
{
    if (child == NULL) {
        return;
    }
    if (!child->reaped) {
        (void)pidfd_send_signal(child->pidfd, SIGKILL, NULL, 0);
        (void)waitpid(child->pid, NULL, 0);
    }
    child_source_clear(&child->out_source);
    g_queue_clear_full(&child->outbox, (GDestroyNotify)child_letter_free);
    child_source_clear(&child->message_source);
    child_source_clear(&child->end_source);
    fd_close(child->pidfd);
    fd_close(child->sock);
    g_free(child);
}

static void child_letter_free(ChildLetter *letter)
{
    for (size_t i = 0; i < letter->count; i++) {
        fd_close(letter->fds[i]);
    }
    g_free(letter);
}

static gboolean child_writable(gint fd, GIOCondition condition, gpointer user_data)
{
    Child *child = user_data;

    (void)condition;
    while (!g_queue_is_empty(&child->outbox)) {
        ChildLetter *letter = g_queue_peek_head(&child->outbox);

        if (message_send(fd, &letter->message, letter->fds, letter->count) == -EAGAIN) {
            return G_SOURCE_CONTINUE;
        }
        /* Sent, or the child has ended, which its pidfd tells. */
        child_letter_free(g_queue_pop_head(&child->outbox));
    }
    child_source_clear(&child->out_source);
    if (child->hooks.drained != NULL) {
        child->hooks.drained(child, child->hooks.user_data);
    }
    return G_SOURCE_REMOVE;
}

int child_send(Child *child, const void *message, size_t size, const int *fds, size_t count)
{
    int failed =
        g_queue_is_empty(&child->outbox) ? message_send(child->sock, message, fds, count) : -EAGAIN;
    ChildLetter *letter;

    if (failed != -EAGAIN) {
        return failed;
    }
    letter = g_new0(ChildLetter, 1);
    memcpy(&letter->message, message, size);
    for (; letter->count < count; letter->count++) {
        letter->fds[letter->count] = fcntl(fds[letter->count], F_DUPFD_CLOEXEC, 3);
    }
    g_queue_push_tail(&child->outbox, letter);
    if (child->out_source == NULL) {
        child->out_source = g_unix_fd_source_new(child->sock, G_IO_OUT);
        g_source_set_callback(child->out_source, G_SOURCE_FUNC(child_writable), child, NULL);
        g_source_attach(child->out_source, child->context);
    }
    return 0;
}

bool child_is_behind(const Child *child)
{
    return child->out_source != NULL;
}

void child_dismiss(Child *child, int timeout_ms)
{
    struct pollfd end = {.events = POLLIN};

    if (child == NULL || child->reaped) {
        return;
    }
    child_source_clear(&child->message_source);
    (void)shutdown(child->sock, SHUT_RDWR);
    end.fd = child->pidfd;
    (void)poll(&end, 1, timeout_ms); /* what has not ended by then is killed by child_free() */
}

int child_sock(const Child *child)
{
    return child->sock;
}

pid_t child_pid(const Child *child)
{
    return child->pid;
}

void child_signal(Child *child, int number)
{
    if (!child->reaped) {
        (void)pidfd_send_signal(child->pidfd, number, NULL, 0);
    }
}
