/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * endings.c - what ends a helper from outside
 *
 * Does:     watches signals, the parent, and --exit-fd.
 * Runs in:  the supervisor. Not by g_unix_signal_add(), which starts a thread.
 * Trusts:   nobody to write to --exit-fd: only its hang-up counts, never data.
 */
#include "config.h"

#include "endings.h"

#include <errno.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <glib-unix.h>

#include "fault.h"
#include "fd.h"
#include "sallyport.h"

struct Endings {
    EndingsFunc func;
    void *user_data;
    int signal_fd;
    int parent_fd;
    GSource *sources[3];
    unsigned count;
};

static gboolean endings_signal(gint fd, GIOCondition condition, gpointer user_data)
{
    Endings *endings = user_data;
    struct signalfd_siginfo info;

    (void)condition;
    if (read(fd, &info, sizeof(info)) == sizeof(info)) {
        endings->func(SALLYPORT_REASON_SIGNAL, (int)info.ssi_signo, info.ssi_code == SI_KERNEL,
                      endings->user_data);
    }
    return G_SOURCE_CONTINUE;
}

static gboolean endings_parent(gint fd, GIOCondition condition, gpointer user_data)
{
    Endings *endings = user_data;

    (void)fd;
    (void)condition;
    endings->func(SALLYPORT_REASON_PARENT_GONE, 0, false, endings->user_data);
    return G_SOURCE_REMOVE;
}

static gboolean endings_exit_fd(gint fd, GIOCondition condition, gpointer user_data)
{
    Endings *endings = user_data;

    (void)fd;
    (void)condition;
    endings->func(SALLYPORT_REASON_EXIT_FD, 0, false, endings->user_data);
    return G_SOURCE_REMOVE;
}

static void endings_watch(Endings *endings, int fd, GIOCondition condition, GUnixFDSourceFunc func,
                          GMainContext *context)
{
    GSource *source = g_unix_fd_source_new(fd, condition);

    g_source_set_callback(source, G_SOURCE_FUNC(func), endings, NULL);
    g_source_attach(source, context);
    endings->sources[endings->count++] = source;
}

static int endings_signalfd(void)
{
    struct sigaction hangup;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGQUIT);
    /* nohup(1) leaves it ignored, and so it stays. */
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) {
        sigaddset(&set, SIGHUP);
    }
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) {
        return -1;
    }
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* -1 with errno 0 if there is nothing to watch: a parent in another PID namespace shows as 0. */
static int endings_open_parent(pid_t parent)
{
    int fd;

    errno = 0;
    if (parent == 0) {
        return -1;
    }
    fd = pidfd_open(parent, 0);
    /* It may have ended before that, and its number gone to somebody else: then our parent is another one now. */
    if (fd >= 0 && getppid() != parent) {
        fd_close(fd);
        errno = ESRCH;
        return -1;
    }
    return fd;
}

Endings *endings_new(const Settings *settings, pid_t parent, GMainContext *context,
                     EndingsFunc func, void *user_data, GError **error)
{
    g_autoptr(Endings) endings = g_new0(Endings, 1);

    endings->func = func;
    endings->user_data = user_data;
    endings->parent_fd = -1;
    endings->signal_fd = endings_signalfd();
    if (endings->signal_fd < 0) {
        fault_set(error, FAULT_INTERNAL, errno, "signalfd: %s", g_strerror(errno));
        return NULL;
    }
    endings_watch(endings, endings->signal_fd, G_IO_IN, endings_signal, context);
    if (settings->exit_fd >= 0) {
        endings_watch(endings, settings->exit_fd, G_IO_HUP | G_IO_ERR, endings_exit_fd, context);
    } else if (!settings->outlive_parent) {
        endings->parent_fd = endings_open_parent(parent);
        if (endings->parent_fd < 0 && errno != 0) {
            fault_set(error, FAULT_INTERNAL, errno, "watching our parent: %s", g_strerror(errno));
            return NULL;
        }
        if (endings->parent_fd >= 0) {
            endings_watch(endings, endings->parent_fd, G_IO_IN, endings_parent, context);
        }
    }
    return g_steal_pointer(&endings);
}

void endings_free(Endings *endings)
{
    if (endings == NULL) {
        return;
    }
    for (unsigned i = 0; i < endings->count; i++) {
        g_source_destroy(endings->sources[i]);
        g_source_unref(endings->sources[i]);
    }
    fd_close(endings->signal_fd);
    fd_close(endings->parent_fd);
    g_free(endings);
}
