/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * process.c - what every process of ours gives up
 *
 * Does:     fds, signals, dumpability, no_new_privs, capabilities; the bond between child and parent.
 * Runs in:  all three processes, before any thread is made: these calls act on the calling thread alone.
 * Order:    process_become_child() first; namespaces are joined or made after it; process_drop_capabilities() last,
 *           because joining and configuring need them.
 * Not here: the other stages (lockdown.c).
 */
#include "config.h"

#include "process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../fault.h"
#include "../fd.h"

int process_fill_stdio(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) {
            continue;
        }
        /* The lowest free number is fd itself. */
        if (open("/dev/null", O_RDWR | O_NOCTTY) <
            0) { /* NOLINT: these three are meant to survive exec */
            return -errno;
        }
    }
    return 0;
}

void process_close_inherited(int fd)
{
    /* To be read alone: the filter allows no more (calls.c), and whoever writes there may well be told. */
    FD_AUTO null = fd <= 2 ? open("/dev/null", O_RDONLY | O_CLOEXEC | O_NOCTTY) : -1;

    if (null < 0 || dup2(null, fd) < 0) {
        fd_close(fd);
    }
}

bool process_write_ready(int fd)
{
    struct pollfd pfd = {.fd = fd, .events = POLLOUT};
    bool written = poll(&pfd, 1, 0) == 1 && write(fd, "1", 1) == 1;

    process_close_inherited(fd);
    return written;
}

static int process_compare_fds(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

void process_close_others(const int *keep, size_t count)
{
    g_autofree int *sorted = g_new(int, count + 1);
    unsigned next = 3;

    memcpy(sorted, keep, count * sizeof(int));
    qsort(sorted, count, sizeof(int), process_compare_fds);
    for (size_t i = 0; i < count; i++) {
        if (sorted[i] < (int)next) {
            continue;
        }
        if ((unsigned)sorted[i] > next) {
            (void)close_range(next, (unsigned)sorted[i] - 1, 0);
        }
        next = (unsigned)sorted[i] + 1;
    }
    (void)close_range(next, ~0U, 0);
}

size_t process_raise_nofile(void)
{
    struct rlimit limit = {0, 0};

    (void)getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {limit.rlim_max, limit.rlim_max};

        /* Refused only for more than the hard limit. */
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
            limit = raised;
        }
    }
    return limit.rlim_cur;
}

/* Moves the kept fds to 3, 4, ... by way of numbers above them all, so that none is overwritten before its turn. */
static bool process_renumber(int *const *keep, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int high;

        if (*keep[i] < 0) {
            continue;
        }
        high = fcntl(*keep[i], F_DUPFD_CLOEXEC, (int)(3 + count));
        if (high < 0) {
            return false;
        }
        *keep[i] = high;
    }
    for (size_t i = 0; i < count; i++) {
        int low = (int)(3 + i);

        if (*keep[i] < 0) {
            (void)close(low);
            continue;
        }
        if (dup3(*keep[i], low, O_CLOEXEC) < 0) {
            return false;
        }
        *keep[i] = low;
    }
    return close_range((unsigned)(3 + count), ~0U, 0) == 0;
}

static bool process_null_stdio(void)
{
    FD_AUTO null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);

    return null >= 0 && dup2(null, 0) == 0 && dup2(null, 1) == 1 && dup2(null, 2) == 2;
}

static void process_reset_signals(void)
{
    static const int ignored[] = {SIGTERM, SIGINT,  SIGHUP,  SIGQUIT,
                                  SIGPIPE, SIGUSR1, SIGUSR2, SIGXFSZ};
    sigset_t none;

    for (int number = 1; number < SIGRTMAX; number++) {
        (void)signal(number, SIG_DFL); /* EINVAL for SIGKILL, SIGSTOP and libc's own */
    }
    for (size_t i = 0; i < G_N_ELEMENTS(ignored); i++) {
        (void)signal(ignored[i], SIG_IGN);
    }
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void process_renew_bonds(pid_t parent)
{
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent) {
        _exit(1);
    }
}

bool process_harden(GError **error)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) {
        fault_set(error, FAULT_LOCKDOWN, errno, "PR_SET_DUMPABLE: %s", g_strerror(errno));
        return false;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
        fault_set(error, FAULT_LOCKDOWN, errno, "PR_SET_NO_NEW_PRIVS: %s", g_strerror(errno));
        return false;
    }
    return true;
}

/* GLogWriterFunc. GLib's own opens the time zone and looks for a terminal and the journal; a child shall open nothing. What is
 * fatal still aborts. */
static GLogWriterOutput process_write_log(GLogLevelFlags level, const GLogField *fields,
                                          gsize count, gpointer user_data)
{
    (void)level;
    (void)user_data;
    for (gsize i = 0; i < count; i++) {
        if (strcmp(fields[i].key, "MESSAGE") == 0 && fields[i].length < 0) {
            (void)!write(STDERR_FILENO, fields[i].value, strlen(fields[i].value));
            (void)!write(STDERR_FILENO, "\n", 1);
        }
    }
    return G_LOG_WRITER_HANDLED;
}

void process_prepare_lockdown(void)
{
    g_autofree char *kept = g_strdup(g_getenv("CHARSET"));

    g_log_set_writer_func(process_write_log, NULL, NULL);
    (void)g_setenv("CHARSET", "UTF-8", TRUE);
    (void)g_get_charset(NULL);
    if (kept != NULL) {
        (void)g_setenv("CHARSET", kept, TRUE);
    } else {
        g_unsetenv("CHARSET");
    }
}

bool process_become_child(pid_t parent, int *const *keep, size_t count, GError **error)
{
    process_reset_signals();
#ifndef SALLYPORT_SANITIZED
    /* A sanitizer reports on stderr; everything else has no business there. */
    if (!process_null_stdio()) {
        fault_set(error, FAULT_LOCKDOWN, errno, "/dev/null: %s", g_strerror(errno));
        return false;
    }
#else
    (void)process_null_stdio;
#endif
    if (!process_renumber(keep, count)) {
        fault_set(error, FAULT_LOCKDOWN, errno, "inherited files: %s", g_strerror(errno));
        return false;
    }
    process_renew_bonds(parent);
    return process_harden(error);
}

bool process_keep_capabilities(const cap_value_t *kept, int count, GError **error)
{
    cap_t set;
    bool done;

    /* Without CAP_SETPCAP the first is refused, and so were the others: no_new_privs makes them moot, the proof tells. Behind the
     * last one there is EINVAL. */
    for (cap_value_t cap = 0; cap_drop_bound(cap) == 0; cap++) {
    }
    (void)cap_reset_ambient();
    set = cap_init();
    done = set != NULL;
    if (done && count > 0) {
        done = cap_set_flag(set, CAP_PERMITTED, count, kept, CAP_SET) == 0 &&
               cap_set_flag(set, CAP_EFFECTIVE, count, kept, CAP_SET) == 0;
    }
    if (!done || cap_set_proc(set) < 0) {
        fault_set(error, FAULT_LOCKDOWN, errno, "capset: %s", g_strerror(errno));
        done = false;
    }
    (void)cap_free(set);
    return done;
}
