/* SPDX-License-Identifier: MIT */
/*
 * process.c - a running helper: wait for it, stop it, forget it
 *
 * Does:     deadlines, SIGTERM then SIGKILL, reaping, the object's end.
 * Owns:     the pidfd and the read end of the report pipe; both stay open until sallyport_free(). Our end
 *           of --control-fd until it is taken.
 * Names:    the child only by its pidfd. If another part of the parent reaps it first, no stranger
 *           that got its PID is ever signalled or waited for.
 * States:   running -> ended (pidfd readable) -> reaped. Only reaping changes what sallyport_stop()
 *           returns.
 */
#include "config.h"

#include "sallyport.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "parent.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)
#define NEVER     INT64_MAX

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static int64_t now_ns(void)
{
    struct timespec ts = {0};

    (void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t sallyport__deadline(int timeout_ms)
{
    return timeout_ms < 0 ? NEVER : now_ns() + timeout_ms * NS_PER_MS;
}

bool sallyport__expired(int64_t deadline_ns)
{
    return deadline_ns != NEVER && now_ns() >= deadline_ns;
}

int sallyport__remaining_ms(int64_t deadline_ns)
{
    int64_t left;

    if (deadline_ns == NEVER) {
        return -1;
    }
    left = deadline_ns - now_ns();
    if (left <= 0) {
        return 0;
    }
    left = (left + NS_PER_MS - 1) / NS_PER_MS;
    return left > INT_MAX ? INT_MAX : (int)left;
}

int sallyport__poll(struct pollfd *fds, size_t count, int64_t deadline_ns)
{
    for (;;) {
        int n = poll(fds, count, sallyport__remaining_ms(deadline_ns));

        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            return 1;
        }
        if (n == 0 && sallyport__expired(deadline_ns)) {
            return 0;
        }
    }
}

int sallyport__wait(Sallyport *sp, bool only_end, int64_t deadline_ns)
{
    /* poll() skips negative fds. A pipe at its end would be "ready" for ever. */
    struct pollfd fds[] = {
        {.fd = sp->pidfd, .events = POLLIN},
        {.fd = only_end ? -1 : sp->report_fd, .events = POLLIN},
    };
    int r = sallyport__poll(fds, sizeof(fds) / sizeof(fds[0]), deadline_ns);

    if (r > 0) {
        sp->ended = sp->ended || fds[0].revents != 0;
    }
    return r;
}

static void send_signal(const Sallyport *sp, int number)
{
    /* Fails only for a helper that ended meanwhile, which is what was wanted. */
    (void)syscall(SYS_pidfd_send_signal, sp->pidfd, number, NULL, 0);
}

/* Waits for the end of the child and reaps it; the status goes into the object, put together as
 * wait(2) does, which C libraries have no macro for in common. */
static void reap(Sallyport *sp)
{
    siginfo_t info = {0};
    int r;

    do {
        r = waitid((idtype_t)P_PIDFD, (id_t)sp->pidfd, &info, WEXITED);
    } while (r < 0 && errno == EINTR);
    sp->ended = true;
    sp->reaped = true;
    if (r < 0) {
        sp->reap_error = -errno;
    } else if (info.si_code == CLD_EXITED) {
        sp->wait_status = info.si_status << 8;
    } else {
        sp->wait_status = info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
    }
}

/* Reads on while waiting: a helper with much to say must not be held up by a full pipe. What is left
 * there at the end can be read until sallyport_free(). */
static int wait_end(Sallyport *sp, int64_t deadline_ns)
{
    while (!sp->ended) {
        bool only_end = sallyport__drain(sp) < 0;
        int r = sallyport__wait(sp, only_end, deadline_ns);

        if (r <= 0) {
            return r;
        }
        /* A helper that never stops writing must not get past the deadline. */
        if (!sp->ended && sallyport__expired(deadline_ns)) {
            return 0;
        }
    }
    return 1;
}

int sallyport_stop(Sallyport *sp, int timeout_ms, int *ret_status)
{
    if (!sp->reaped) {
        int r;

        send_signal(sp, SIGTERM);
        r = wait_end(sp, sallyport__deadline(timeout_ms));
        if (r <= 0) {
            send_signal(sp, SIGKILL);
        }
        reap(sp);
    }
    if (sp->reap_error == 0 && ret_status != NULL) {
        *ret_status = sp->wait_status;
    }
    return sp->reap_error;
}

void sallyport_free(Sallyport *sp)
{
    if (sp == NULL) {
        return;
    }
    if (!sp->reaped) {
        send_signal(sp, SIGKILL);
        reap(sp);
    }
    while (sp->head != NULL) {
        SallyportRecord *next = sp->head->next;

        sallyport_event_free(&sp->head->event);
        sp->head = next;
    }
    if (sp->control_fd >= 0) {
        (void)close(sp->control_fd);
    }
    (void)close(sp->report_fd);
    (void)close(sp->pidfd);
    free(sp);
}

pid_t sallyport_pid(const Sallyport *sp)
{
    return sp->pid;
}

int sallyport_fd(const Sallyport *sp)
{
    return sp->report_fd;
}

int sallyport_take_control(Sallyport *sp, SallyportControl **ret)
{
    int r = sp->control_fd < 0 ? -ENOENT : sallyport_control_open_fd(sp->control_fd, ret);

    if (r == 0) {
        sp->control_fd = -1;
    }
    return r;
}
