/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_keeper.c - the process that stands in a place and does there what the body asks for
 *
 * Runs in:  the keeper (keeper_*), the minder of one command (minder_*), and the body (lab_keeper_*, lab_run, ...).
 * States:   a keeper serves one request after the other until its control socket is closed. A command gets a minder
 *           of its own, which is its parent: it passes signals on, reports the status, and kills it when the leash
 *           (a socketpair to the body) is closed. So no PID is ever signalled by somebody who does not own it.
 * Not here: user namespaces and forking (lab_process.c), what the places look like (lab_place.c).
 */
#include "config.h"

#include "lab_internal.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEEPER_ARGUMENT_MAX 8192

typedef enum KeeperWish {
    KEEPER_SOCKET,
    KEEPER_RUN,
    KEEPER_EXEC,
} KeeperWish;

typedef struct KeeperRequest {
    KeeperWish wish;
    int family;
    int type;
    int protocol;
    socklen_t address_length; /* 0: do not bind */
    struct sockaddr_storage address;
    LabFunction function;
    size_t length;
    uint8_t argument[KEEPER_ARGUMENT_MAX]; /* KEEPER_EXEC: words, each with its NUL */
} KeeperRequest;

typedef struct KeeperReply {
    int error; /* errno, or 0 */
    pid_t pid;
} KeeperReply;

struct LabJob {
    int leash;
    pid_t pid;
};

enum { RUN_LEASH, RUN_OUT, RUN_ERR, RUN_FDS };

static int keeper_socket(const KeeperRequest *request, int *ret_fd)
{
    const int on = 1;
    int fd = socket(request->family, request->type | SOCK_CLOEXEC, request->protocol);

    if (fd < 0)
        return errno;
    if (request->address_length != 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (request->family == AF_INET6)
            (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
        if (bind(fd, (const struct sockaddr *)&request->address, request->address_length) < 0) {
            int error = errno;

            close(fd);
            return error;
        }
    }
    *ret_fd = fd;
    return 0;
}

static void minder_become(const KeeperRequest *request, const int *fds)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    dup2(null, 0);
    dup2(fds[RUN_OUT], 1);
    dup2(fds[RUN_ERR], 2);
    (void)close_range(3, ~0U, 0);
    if (request->wish == KEEPER_RUN) {
        int status = request->function(request->argument, request->length);

        fflush(NULL);
        _exit(status);
    }

    const char *argv[512];
    size_t count = 0, at = 0;

    while (at < request->length && count < G_N_ELEMENTS(argv) - 1) {
        argv[count++] = (const char *)request->argument + at;
        at += strlen((const char *)request->argument + at) + 1;
    }
    argv[count] = NULL;
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

/* The minder: parent of one command until that ends. */
static void minder_serve(const KeeperRequest *request, const int *fds, int control)
{
    KeeperReply reply = {.pid = -1};
    siginfo_t info = {.si_pid = 0};
    int status = 255;
    pid_t child = lab_fork(SIGKILL, -2);

    if (child == 0)
        minder_become(request, fds);
    close(fds[RUN_OUT]);
    close(fds[RUN_ERR]);
    reply.pid = child;
    reply.error = child < 0 ? errno : 0;
    (void)lab_message_send(control, &reply, sizeof reply, NULL, 0);
    close(control);
    if (child < 0)
        _exit(1);

    struct pollfd polls[2] = {
        {.fd = fds[RUN_LEASH], .events = POLLIN},
        {.fd = pidfd_open(child, 0), .events = POLLIN},
    };
    while (poll(polls, 2, -1) >= 0 || errno == EINTR) {
        if (polls[1].revents != 0)
            break;
        if (polls[0].revents != 0) {
            int signal = 0;

            if (recv(fds[RUN_LEASH], &signal, sizeof signal, 0) != (ssize_t)sizeof signal) {
                signal = SIGKILL;
                polls[0].fd = -1;
            }
            kill(child, signal);
        }
    }
    if (waitid(P_PID, (id_t)child, &info, WEXITED) == 0)
        status = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
    (void)send(fds[RUN_LEASH], &status, sizeof status, MSG_NOSIGNAL);
    _exit(0);
}

static void keeper_run(const KeeperRequest *request, const int *fds, int control)
{
    pid_t minder;

    if (fds[RUN_LEASH] < 0 || fds[RUN_OUT] < 0 || fds[RUN_ERR] < 0)
        return;
    minder = lab_fork(SIGKILL, -2);
    if (minder == 0)
        minder_serve(request, fds, control);
    if (minder < 0) {
        KeeperReply reply = {.error = errno, .pid = -1};

        (void)lab_message_send(control, &reply, sizeof reply, NULL, 0);
    }
}

static void keeper_serve(int control)
{
    KeeperRequest *request = g_new0(KeeperRequest, 1);

    signal(SIGCHLD, SIG_IGN); /* minders are not waited for */
    for (;;) {
        int fds[RUN_FDS];
        ssize_t length = lab_message_recv(control, request, sizeof *request, fds, RUN_FDS);

        if (length != (ssize_t)sizeof *request)
            _exit(length == 0 ? 0 : 1);
        if (request->wish == KEEPER_SOCKET) {
            int fd = -1;
            KeeperReply reply = {.error = keeper_socket(request, &fd)};

            (void)lab_message_send(control, &reply, sizeof reply, &fd, fd >= 0 ? 1 : 0);
            if (fd >= 0)
                close(fd);
        } else {
            keeper_run(request, fds, control);
        }
        for (size_t i = 0; i < RUN_FDS; i++) {
            if (fds[i] >= 0)
                close(fds[i]);
        }
    }
}

/* The keeper's life. Its first message is the text of what failed, or the empty text, with its namespaces. */
static void keeper_main(int control, int flags, LabMap map)
{
    const char *failed = lab_unshare_mapped(flags, map, control);
    KeeperReply ready = {.error = failed != NULL ? errno : 0, .pid = getpid()};
    int fds[2] = {-1, -1};

    if (failed == NULL) {
        fds[0] = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
        fds[1] = open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC);
        if (fds[0] < 0 || fds[1] < 0)
            ready.error = errno;
    }
    if (lab_message_send(control, &ready, sizeof ready, fds, ready.error == 0 ? 2 : 0) < 0 ||
        ready.error != 0)
        _exit(1);
    close(fds[0]);
    close(fds[1]);
    keeper_serve(control);
}

const char *lab_keeper_start(Lab *lab, LabPlace place, int flags, LabMap map)
{
    LabKeeper *keeper = &lab->places[place];
    KeeperReply ready = {.error = EPIPE};
    const char *failed;
    int pair[2], fds[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return "socketpair";
    pid = lab_fork(SIGKILL, pair[1]);
    if (pid == 0)
        keeper_main(pair[1], flags, map);
    close(pair[1]);
    if (pid < 0)
        return "fork";
    keeper->pid = pid;
    keeper->pidfd = pidfd_open(pid, 0);
    keeper->control = pair[0];
    failed = lab_map_child(pid, map, pair[0]);
    if (failed != NULL)
        return failed;
    if (lab_message_recv(pair[0], &ready, sizeof ready, fds, 2) != (ssize_t)sizeof ready ||
        ready.error != 0) {
        errno = ready.error;
        return "the namespaces of a keeper";
    }
    keeper->netns = fds[0];
    keeper->userns = fds[1];
    return NULL;
}

void lab_keeper_stop(Lab *lab, LabPlace place)
{
    LabKeeper *keeper = &lab->places[place];

    if (keeper->pid == 0)
        return;
    (void)kill(keeper->pid, SIGKILL);
    (void)waitpid(keeper->pid, NULL, 0);
    close(keeper->pidfd);
    close(keeper->control);
    close(keeper->netns);
    close(keeper->userns);
    *keeper = (LabKeeper){.pid = 0};
}

/* Sends a request, reads the reply. Return: 0 or -1 with errno; *ret_fd only if the reply has one */
static int keeper_ask(Lab *lab, LabPlace place, const KeeperRequest *request, const int *fds,
                      int *ret_fd, pid_t *ret_pid)
{
    KeeperReply reply = {.error = EPIPE};
    int fd = -1, control = lab->places[place].control;

    if (lab->places[place].pid == 0) {
        errno = ESRCH;
        return -1;
    }
    if (lab_message_send(control, request, sizeof *request, fds, fds != NULL ? RUN_FDS : 0) < 0)
        return -1;
    if (lab_message_recv(control, &reply, sizeof reply, &fd, 1) != (ssize_t)sizeof reply ||
        reply.error != 0) {
        errno = reply.error;
        return -1;
    }
    if (ret_fd != NULL)
        *ret_fd = fd;
    if (ret_pid != NULL)
        *ret_pid = reply.pid;
    return 0;
}

int lab_socket(Lab *lab, LabPlace place, int family, int type, int protocol)
{
    g_autofree KeeperRequest *request = g_new0(KeeperRequest, 1);
    int fd = -1;

    *request = (KeeperRequest){
        .wish = KEEPER_SOCKET, .family = family, .type = type, .protocol = protocol};
    return keeper_ask(lab, place, request, NULL, &fd, NULL) < 0 ? -1 : fd;
}

int lab_socket_bound(Lab *lab, LabPlace place, int type, const char *address, uint16_t port)
{
    g_autofree KeeperRequest *request = g_new0(KeeperRequest, 1);
    int fd = -1;

    request->wish = KEEPER_SOCKET;
    request->type = type;
    request->address_length = lab_address(&request->address, address, port);
    request->family = request->address.ss_family;
    return keeper_ask(lab, place, request, NULL, &fd, NULL) < 0 ? -1 : fd;
}

static LabJob *job_start(Lab *lab, LabPlace place, const KeeperRequest *request, int out, int err)
{
    g_autofree LabJob *job = g_new0(LabJob, 1);
    int leash[2], fds[RUN_FDS];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, leash) < 0)
        return NULL;
    fds[RUN_LEASH] = leash[1];
    fds[RUN_OUT] = out;
    fds[RUN_ERR] = err;
    int result = keeper_ask(lab, place, request, fds, NULL, &job->pid);
    close(leash[1]);
    if (result < 0) {
        close(leash[0]);
        return NULL;
    }
    job->leash = leash[0];
    return g_steal_pointer(&job);
}

static KeeperRequest *request_function(LabFunction function, const void *argument, size_t length)
{
    KeeperRequest *request = g_new0(KeeperRequest, 1);

    g_assert(length <= sizeof request->argument);
    request->wish = KEEPER_RUN;
    request->function = function;
    request->length = length;
    if (length != 0)
        memcpy(request->argument, argument, length);
    return request;
}

static KeeperRequest *request_command(const char *const *argv)
{
    KeeperRequest *request = g_new0(KeeperRequest, 1);

    request->wish = KEEPER_EXEC;
    for (size_t i = 0; argv[i] != NULL; i++) {
        size_t size = strlen(argv[i]) + 1;

        g_assert(request->length + size <= sizeof request->argument);
        memcpy(request->argument + request->length, argv[i], size);
        request->length += size;
    }
    return request;
}

LabJob *lab_start(Lab *lab, LabPlace place, LabFunction function, const void *argument,
                  size_t length)
{
    g_autofree KeeperRequest *request = request_function(function, argument, length);
    LabJob *job = job_start(lab, place, request, 2, 2);

    LAB_CHECK(job != NULL, "no process in place %d: %s", (int)place, strerror(errno));
    return job;
}

LabJob *lab_startv(Lab *lab, LabPlace place, const char *const *argv)
{
    g_autofree KeeperRequest *request = request_command(argv);
    LabJob *job = job_start(lab, place, request, 2, 2);

    LAB_CHECK(job != NULL, "%s: no process in place %d: %s", argv[0], (int)place, strerror(errno));
    return job;
}

pid_t lab_job_pid(const LabJob *job)
{
    return job->pid;
}

void lab_job_signal(LabJob *job, int signal)
{
    (void)send(job->leash, &signal, sizeof signal, MSG_NOSIGNAL);
}

int lab_job_wait(LabJob *job, int timeout_ms)
{
    int status = 255;

    if (lab_wait(job->leash, POLLIN, timeout_ms) == 0) {
        lab_job_signal(job, SIGKILL);
        (void)lab_wait(job->leash, POLLIN, LAB_MS(LAB_WAIT_MS));
    } else if (recv(job->leash, &status, sizeof status, 0) != (ssize_t)sizeof status) {
        status = 255;
    }
    close(job->leash);
    g_free(job);
    return status;
}

void lab_job_end(LabJob *job)
{
    lab_job_signal(job, SIGKILL);
    (void)lab_job_wait(job, LAB_MS(LAB_WAIT_MS));
}

/* Reads two pipes to their end. */
static void output_collect(LabOutput *output, int out, int err)
{
    GString *texts[2] = {g_string_new(NULL), g_string_new(NULL)};
    struct pollfd polls[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
    int64_t end = lab_now() + LAB_MS(2 * LAB_WAIT_MS);
    char buffer[4096];

    while ((polls[0].fd >= 0 || polls[1].fd >= 0) && lab_now() < end) {
        if (poll(polls, 2, (int)MAX(0, end - lab_now())) <= 0)
            continue;
        for (size_t i = 0; i < 2; i++) {
            if (polls[i].fd < 0 || polls[i].revents == 0)
                continue;
            ssize_t length = read(polls[i].fd, buffer, sizeof buffer);

            if (length > 0)
                g_string_append_len(texts[i], buffer, length);
            else
                polls[i].fd = -1;
        }
    }
    output->out = g_string_free(texts[0], FALSE);
    output->err = g_string_free(texts[1], FALSE);
}

void lab_output_clear(LabOutput *output)
{
    g_clear_pointer(&output->out, g_free);
    g_clear_pointer(&output->err, g_free);
}

int lab_run(Lab *lab, LabPlace place, LabFunction function, const void *argument, size_t length)
{
    return lab_job_wait(lab_start(lab, place, function, argument, length), LAB_MS(LAB_WAIT_MS));
}

int lab_keeper_exec(Lab *lab, LabPlace place, const char *const *argv)
{
    g_autofree KeeperRequest *request = request_command(argv);
    LabJob *job = job_start(lab, place, request, 2, 2);

    return job == NULL ? 255 : lab_job_wait(job, LAB_MS(2 * LAB_WAIT_MS));
}

int lab_execv(Lab *lab, LabPlace place, LabOutput *output, const char *const *argv)
{
    g_autofree KeeperRequest *request = request_command(argv);
    int out[2], err[2];

    if (output == NULL)
        return lab_job_wait(lab_startv(lab, place, argv), LAB_MS(2 * LAB_WAIT_MS));
    LAB_ASSERT_CALL(pipe2(out, O_CLOEXEC));
    LAB_ASSERT_CALL(pipe2(err, O_CLOEXEC));
    LabJob *job = job_start(lab, place, request, out[1], err[1]);
    LAB_CHECK(job != NULL, "%s: no process in place %d: %s", argv[0], (int)place, strerror(errno));
    close(out[1]);
    close(err[1]);
    output_collect(output, out[0], err[0]);
    close(out[0]);
    close(err[0]);
    return lab_job_wait(job, LAB_MS(LAB_WAIT_MS));
}

int lab_exec(Lab *lab, LabPlace place, LabOutput *output, ...)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    const char *word;
    va_list words;

    va_start(words, output);
    do {
        word = va_arg(words, const char *);
        g_ptr_array_add(argv, (gpointer)(uintptr_t)word);
    } while (word != NULL);
    va_end(words);
    return lab_execv(lab, place, output, (const char *const *)argv->pdata);
}

void lab_do(Lab *lab, LabPlace place, const char *format, ...)
{
    g_autofree char *line = NULL;
    g_auto(GStrv) words = NULL;
    va_list values;

    va_start(values, format);
    line = g_strdup_vprintf(format, values);
    va_end(values);
    words = g_strsplit(line, " ", -1);
    int status = lab_execv(lab, place, NULL, (const char *const *)words);
    LAB_CHECK(status == 0, "'%s' in place %d: status %d", line, (int)place, status);
}
