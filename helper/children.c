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
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <glib-unix.h>

#include "fault.h"
#include "fd.h"

struct Child {
    pid_t pid;
    int pidfd;
    int sock;
    bool reaped;
    ChildHooks hooks;
    GSource *message_source;
    GSource *end_source;
};

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
    (void)waitpid(child->pid, &wstatus, 0);
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

    child->pid = pid;
    child->sock = take_sock;
    child->hooks = *hooks;
    /* No race: a child of ours that nobody has reaped keeps its number. */
    child->pidfd = pidfd_open(pid, 0);
    if (child->pidfd < 0) {
        fault_set(error, FAULT_INTERNAL, errno, "pidfd_open: %s", g_strerror(errno));
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
        (void)kill(child->pid, SIGKILL); /* not reaped, so the number is still its own */
        (void)waitpid(child->pid, NULL, 0);
    }
    child_source_clear(&child->message_source);
    child_source_clear(&child->end_source);
    fd_close(child->pidfd);
    fd_close(child->sock);
    g_free(child);
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

pid_t child_pid(const Child *child)
{
    return child->pid;
}

int child_sock(const Child *child)
{
    return child->sock;
}

void child_signal(Child *child, int number)
{
    if (!child->reaped) {
        (void)pidfd_send_signal(child->pidfd, number, NULL, 0);
    }
}
