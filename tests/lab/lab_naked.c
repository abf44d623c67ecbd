/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_naked.c - libslirp with nothing before it: what the gate is measured against
 *
 * Runs in:  a child of the body, so that it may die; frames come and go over a socketpair. Its sockets are HOST's, as those of
 *           the helper are.
 * Why own:  nothing of the helper's adapter is used. What does harm here and none through the helper is the gate's merit.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lab_internal.h"
#include "lab_wire.h"

#define NAKED_POLLS 256

struct LabNaked {
    LabFrames *frames;
    pid_t pid;
};

typedef struct Naked {
    int fd;
    nfds_t count;
    struct pollfd polls[NAKED_POLLS];
} Naked;

static ssize_t naked_send(const void *frame, size_t length, void *opaque)
{
    (void)send(((Naked *)opaque)->fd, frame, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    return (ssize_t)length;
}

static void naked_error(const char *text, void *opaque)
{
    (void)text;
    (void)opaque;
}

static int64_t naked_clock(void *opaque)
{
    struct timespec now;

    (void)opaque;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void *naked_timer(SlirpTimerId id, void *about, void *opaque)
{
    (void)id;
    (void)about;
    return opaque;
}

static void naked_timer_free(void *timer, void *opaque)
{
    (void)timer;
    (void)opaque;
}

static void naked_timer_set(void *timer, int64_t when, void *opaque)
{
    (void)timer;
    (void)when;
    (void)opaque;
}

static void naked_fd(int fd, void *opaque)
{
    (void)fd;
    (void)opaque;
}

static void naked_nothing(void *opaque)
{
    (void)opaque;
}

static void naked_begun(Slirp *slirp, void *opaque)
{
    (void)slirp;
    (void)opaque;
}

static int naked_add(int fd, int events, void *opaque)
{
    Naked *naked = opaque;
    short wanted = (short)(((events & SLIRP_POLL_IN) ? POLLIN : 0) |
                           ((events & SLIRP_POLL_OUT) ? POLLOUT : 0) |
                           ((events & SLIRP_POLL_PRI) ? POLLPRI : 0));

    if (naked->count == NAKED_POLLS)
        return -1;
    naked->polls[naked->count] = (struct pollfd){.fd = fd, .events = wanted};
    return (int)naked->count++;
}

static int naked_events(int index, void *opaque)
{
    int came = index < 0 ? 0 : ((Naked *)opaque)->polls[index].revents;

    return ((came & POLLIN) ? SLIRP_POLL_IN : 0) | ((came & POLLOUT) ? SLIRP_POLL_OUT : 0) |
           ((came & POLLPRI) ? SLIRP_POLL_PRI : 0) | ((came & POLLERR) ? SLIRP_POLL_ERR : 0) |
           ((came & POLLHUP) ? SLIRP_POLL_HUP : 0);
}

static const SlirpCb naked_callbacks = {
    .send_packet = naked_send,
    .guest_error = naked_error,
    .clock_get_ns = naked_clock,
    .timer_free = naked_timer_free,
    .timer_mod = naked_timer_set,
    .register_poll_fd = naked_fd,
    .unregister_poll_fd = naked_fd,
    .notify = naked_nothing,
    .init_completed = naked_begun,
    .timer_new_opaque = naked_timer,
};

static Slirp *naked_new(Naked *naked, unsigned mtu)
{
    SlirpConfig config = {.version = 4,
                          .in_enabled = true,
                          .in6_enabled = true,
                          .vprefix_len = 64,
                          .if_mtu = mtu,
                          .if_mru = mtu,
                          .disable_host_loopback = true,
                          .disable_dns = true,
                          .disable_dhcp = true};

    g_assert(inet_pton(AF_INET, "10.0.2.0", &config.vnetwork) == 1);
    g_assert(inet_pton(AF_INET, "255.255.255.0", &config.vnetmask) == 1);
    g_assert(inet_pton(AF_INET, LAB_GATEWAY_V4, &config.vhost) == 1);
    g_assert(inet_pton(AF_INET, LAB_DNS_V4, &config.vnameserver) == 1);
    g_assert(inet_pton(AF_INET, "10.0.2.15", &config.vdhcp_start) == 1);
    g_assert(inet_pton(AF_INET6, "fd00::", &config.vprefix_addr6) == 1);
    g_assert(inet_pton(AF_INET6, LAB_GATEWAY_V6, &config.vhost6) == 1);
    g_assert(inet_pton(AF_INET6, LAB_DNS_V6, &config.vnameserver6) == 1);
    return slirp_new(&config, &naked_callbacks, naked);
}

/* Until the body closes its end. */
static void naked_run(int fd, unsigned mtu)
{
    static uint8_t frame[LAB_FRAME_MAX];
    Naked *naked = g_new0(Naked, 1);
    Slirp *slirp;

    naked->fd = fd;
    slirp = naked_new(naked, mtu);
    for (;;) {
        uint32_t timeout_ms = 1000;
        int ready;

        naked->polls[0] = (struct pollfd){.fd = fd, .events = POLLIN};
        naked->count = 1;
        slirp_pollfds_fill(slirp, &timeout_ms, naked_add, naked);
        ready = poll(naked->polls, naked->count, (int)timeout_ms);
        slirp_pollfds_poll(slirp, ready < 0, naked_events, naked);
        if (ready > 0 && naked->polls[0].revents != 0) {
            ssize_t length = recv(fd, frame, sizeof frame, MSG_DONTWAIT);

            if (length <= 0)
                return;
            slirp_input(slirp, frame, (int)length);
        }
    }
}

LabNaked *lab_naked_start(Lab *lab, unsigned mtu)
{
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 0x77};
    LabNaked *naked = g_new0(LabNaked, 1);
    int ends[2];

    (void)lab;
    LAB_ASSERT_CALL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
    naked->pid = lab_fork(SIGKILL, ends[1]);
    if (naked->pid == 0) {
        static const struct rlimit none = {0, 0};

        lab_current = NULL;
        (void)setrlimit(RLIMIT_CORE, &none);
        /* A sanitizer would make a report of what is expected here. */
        for (size_t i = 0; i < G_N_ELEMENTS(deadly); i++)
            (void)signal(deadly[i], SIG_DFL);
        naked_run(ends[1], mtu);
        _exit(0);
    }
    LAB_CHECK(naked->pid > 0, "fork: %s", strerror(errno));
    close(ends[1]);
    naked->frames = lab_frames_of(ends[0], mac);
    lab_frames_adopt(naked->frames, LAB_RAW_V4, LAB_GATEWAY_V4);
    lab_frames_adopt(naked->frames, LAB_RAW_V6, LAB_GATEWAY_V6);
    LAB_ASSERT(lab_frames_fence(naked->frames, NULL, NULL) >= 0);
    return naked;
}

LabFrames *lab_naked_frames(LabNaked *naked)
{
    return naked->frames;
}

int lab_naked_end(LabNaked *naked)
{
    int status = 0;

    (void)lab_frames_fence(naked->frames, NULL, NULL);
    lab_frames_close(naked->frames);
    LAB_ASSERT_EQ(waitpid(naked->pid, &status, 0), naked->pid);
    g_free(naked);
    return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

const char *lab_naked_version(void)
{
    return slirp_version_string();
}
