/* SPDX-License-Identifier: MIT */
/*
 * spawn.c - start the helper
 *
 * Does:     finds the program, makes the report pipe and the control socket, forks, executes.
 * Child:    gets 0, 1, 2, these two and the fds of the guest, and nothing else: every other
 *           fd is closed, CLOEXEC or not. Every signal has its default action and none is blocked.
 * Threads:  the parent may have any number. Between fork() and execve() the child makes only
 *           async-signal-safe calls and allocates nothing: argv and the path are ready before.
 *           Every fd is CLOEXEC at birth: what another thread forks and executes meanwhile keeps
 *           none.
 * Status:   a CLOEXEC socket pair. The parent sends one byte when it holds the child's pidfd: until
 *           then the child cannot end, and its PID cannot become another process, even if the
 *           parent ignores SIGCHLD. Then the child sends errno if it fails; end of file says that
 *           execve() worked. A socket and not a pipe, because send() can do without SIGPIPE.
 * Known:    a process that another thread forks during sallyport_spawn() and that never executes
 *           anything may hold the child's end, and so delay sallyport_spawn() until it ends.
 */
#include "config.h"

#include "sallyport.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "parent.h"

#define FIRST_FREE_FD (STDERR_FILENO + 1)
/* The report pipe, the control socket and the two fds of the guest. */
#define INHERIT_MAX 4

extern char **environ;

/**
 * struct Plan - everything the child needs, made before fork()
 * @status:  the status pair: the parent's end and the child's end
 * @control: the control socket, ours and the child's end; -1 if none is wanted
 * @inherit: fds the helper gets
 * @keep:    @inherit without 0, 1 and 2, and the child's end of @status; ascending
 */
typedef struct Plan {
    char *path;
    SallyportStrv argv;
    int report[2];
    int status[2];
    int control[2];
    int inherit[INHERIT_MAX];
    size_t inherit_count;
    int keep[INHERIT_MAX + 1];
    size_t keep_count;
} Plan;

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* nothing was written that could be lost */
    }
    *fd = -1;
}

static void plan_clear(Plan *plan)
{
    free(plan->path);
    sallyport__strv_clear(&plan->argv);
    close_fd(&plan->report[0]);
    close_fd(&plan->report[1]);
    close_fd(&plan->status[0]);
    close_fd(&plan->status[1]);
    close_fd(&plan->control[0]);
    close_fd(&plan->control[1]);
}

/* In a parent whose stdin is closed a new fd may be 0, which the child would take for its stdin. */
static int move_up(int *fd)
{
    int moved;

    if (*fd >= FIRST_FREE_FD) {
        return 0;
    }
    moved = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);
    if (moved < 0) {
        return -errno;
    }
    (void)close(*fd);
    *fd = moved;
    return 0;
}

static int executable(const char *path)
{
    struct stat st;

    if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 || stat(path, &st) < 0) {
        return -errno;
    }
    return S_ISREG(st.st_mode) ? 0 : -EACCES;
}

/* As execvp(3), which is not async-signal-safe. Empty entries of PATH (the working directory) are
 * skipped. */
static int find_helper(const char *helper, char **ret)
{
    const char *path = getenv("PATH");
    int result = -ENOENT;

    if (strchr(helper, '/') != NULL) {
        *ret = strdup(helper);
        return *ret != NULL ? 0 : -ENOMEM;
    }
    if (path == NULL) {
        path = "/usr/bin:/bin";
    }
    while (*path != '\0') {
        size_t length = strcspn(path, ":");
        char *candidate;
        int r;

        if (length > 0) {
            if (asprintf(&candidate, "%.*s/%s", (int)length, path, helper) < 0) {
                return -ENOMEM;
            }
            r = executable(candidate);
            if (r == 0) {
                *ret = candidate;
                return 0;
            }
            free(candidate);
            if (r == -EACCES) {
                result = r;
            }
        }
        path += length;
        path += *path == ':';
    }
    return result;
}

/* The fd of a guest must be open now, or its number could be given to a fd made here. */
static int inherit(Plan *plan, int fd)
{
    if (fcntl(fd, F_GETFD) < 0) {
        return -errno;
    }
    plan->inherit[plan->inherit_count++] = fd;
    return 0;
}

static void keep(Plan *plan, int fd)
{
    size_t at = plan->keep_count;

    if (fd < FIRST_FREE_FD) {
        return;
    }
    for (; at > 0 && plan->keep[at - 1] > fd; at--) {
        plan->keep[at] = plan->keep[at - 1];
    }
    plan->keep[at] = fd;
    plan->keep_count++;
}

/* The helper's end never becomes blocking or not for us: it has a description of its own. */
static int plan_control(Plan *plan)
{
    int r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, plan->control) < 0) {
        return -errno;
    }
    if ((r = move_up(&plan->control[0])) < 0 || (r = move_up(&plan->control[1])) < 0) {
        return r;
    }
    return inherit(plan, plan->control[1]);
}

static int plan_make(const SallyportBuilder *builder, Plan *plan)
{
    int r = 0;

    if (builder->netns_fd >= 0) {
        r = inherit(plan, builder->netns_fd);
    }
    if (r == 0 && builder->userns_fd >= 0) {
        r = inherit(plan, builder->userns_fd);
    }
    if (r == 0) {
        r = find_helper(builder->helper, &plan->path);
    }
    if (r < 0) {
        return r;
    }
    if (pipe2(plan->report, O_CLOEXEC) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, plan->status) < 0) {
        return -errno;
    }
    if ((r = move_up(&plan->report[0])) < 0 || (r = move_up(&plan->report[1])) < 0 ||
        (r = move_up(&plan->status[0])) < 0 || (r = move_up(&plan->status[1])) < 0 ||
        (r = inherit(plan, plan->report[1])) < 0 ||
        (builder->control && (r = plan_control(plan)) < 0)) {
        return r;
    }
    /* Each end of a pipe has a description of its own: the helper's stays blocking. */
    if (fcntl(plan->report[0], F_SETFL, O_NONBLOCK) < 0) {
        return -errno;
    }
    keep(plan, plan->status[1]);
    for (size_t i = 0; i < plan->inherit_count; i++) {
        keep(plan, plan->inherit[i]);
    }
    return sallyport__builder_argv(builder, plan->report[1], plan->control[1], &plan->argv);
}

/* Child: for kernels and seccomp filters that do not know close_range(). */
static int close_listed(unsigned first, unsigned last)
{
    _Alignas(struct dirent64) char buffer[2048];
    int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ssize_t n;

    if (dir < 0) {
        return -errno;
    }
    /* The kernel walks by number, so that closing on the way skips nothing. */
    while ((n = getdents64(dir, buffer, sizeof(buffer))) > 0) {
        for (ssize_t at = 0; at < n;) {
            struct dirent64 *entry = (void *)(buffer + at);
            unsigned fd = 0;

            /* "." and ".." give 0, which is never in the range. */
            for (const char *p = entry->d_name; *p >= '0' && *p <= '9'; p++) {
                fd = fd * 10 + (unsigned)(*p - '0');
            }
            if (fd >= first && fd <= last && fd != (unsigned)dir) {
                (void)close((int)fd);
            }
            at += entry->d_reclen;
        }
    }
    n = n < 0 ? -errno : 0;
    (void)close(dir);
    return (int)n;
}

/* Child. */
static int close_between(unsigned first, unsigned last)
{
    if (first > last || syscall(SYS_close_range, first, last, 0) == 0) {
        return 0;
    }
    return close_listed(first, last);
}

/* Child: only what the helper inherits stays, and the status pair. */
static int arrange_fds(const Plan *plan)
{
    unsigned next = FIRST_FREE_FD;
    int r;

    for (size_t i = 0; i < plan->keep_count; i++) {
        unsigned fd = (unsigned)plan->keep[i];

        r = close_between(next, fd - 1);
        if (r < 0) {
            return r;
        }
        next = fd + 1;
    }
    r = close_between(next, ~0U);
    if (r < 0) {
        return r;
    }
    for (int fd = 0; fd < FIRST_FREE_FD; fd++) {
        /* open() takes the lowest free number. Without /dev/null it stays closed, as it was. */
        if (fcntl(fd, F_SETFD, 0) < 0) {
            (void)open("/dev/null", O_RDWR);
        }
    }
    for (size_t i = 0; i < plan->inherit_count; i++) {
        if (fcntl(plan->inherit[i], F_SETFD, 0) < 0) {
            return -errno;
        }
    }
    return 0;
}

/* Child: handlers first, then the mask, so that no handler of the parent ever runs here. */
static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        (void)sigaction(number, &action, NULL); /* SIGKILL, SIGSTOP and libc's own refuse */
    }
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void child(const Plan *plan, char **envp)
{
    ssize_t n;
    char go;
    int error;

    (void)close(plan->status[0]); /* so that the parent's death is seen below */
    reset_signals();
    do {
        n = read(plan->status[1], &go, sizeof(go));
    } while (n < 0 && errno == EINTR);
    if (n != sizeof(go)) {
        _exit(127);
    }
    error = -arrange_fds(plan);
    if (error == 0) {
        (void)execve(plan->path, plan->argv.items, envp);
        error = errno;
    }
    (void)send(plan->status[1], &error, sizeof(error), MSG_NOSIGNAL);
    _exit(127);
}

/* fork() with every signal blocked around it: the child must not run the parent's handlers. */
static pid_t start(const Plan *plan)
{
    sigset_t all, before;
    pid_t pid;
    int saved;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0) {
        child(plan, environ);
    }
    saved = errno;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

/* Lets the child go, once it can be named safely. */
static int release(Plan *plan, pid_t pid, int *ret_pidfd)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    int error = 0;
    ssize_t n;

    if (pidfd < 0) {
        return -errno;
    }
    /* CLOEXEC is a promise of pidfd_open(2). A failing send() means that the child was killed:
     * recv() tells. */
    (void)send(plan->status[0], "", 1, MSG_NOSIGNAL);
    do {
        n = recv(plan->status[0], &error, sizeof(error), MSG_WAITALL);
    } while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof(error)) {
        (void)close(pidfd);
        return -error;
    }
    *ret_pidfd = pidfd;
    return 0;
}

int sallyport_spawn(const SallyportBuilder *builder, Sallyport **ret)
{
    Plan plan = {.report = {-1, -1}, .status = {-1, -1}, .control = {-1, -1}};
    Sallyport *sp = calloc(1, sizeof(*sp));
    int r = sp != NULL ? plan_make(builder, &plan) : -ENOMEM;

    if (r == 0) {
        sp->pid = start(&plan);
        if (sp->pid < 0) {
            r = -errno;
        } else {
            close_fd(&plan.status[1]);
            r = release(&plan, sp->pid, &sp->pidfd);
            if (r < 0) {
                close_fd(&plan.status[0]); /* a child that still waits for its byte ends */
                reap(sp->pid);
            }
        }
    }
    if (r == 0) {
        sp->report_fd = plan.report[0];
        sp->control_fd = plan.control[0];
        plan.report[0] = -1;
        plan.control[0] = -1;
        *ret = sp;
    } else {
        free(sp);
    }
    plan_clear(&plan);
    return r;
}
