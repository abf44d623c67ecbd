/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * inside.c - the process in the guest's user and network namespace
 *
 * Does:     joins the namespaces, has the TAP made, then makes connected sockets there on request.
 * Runs in:  the guest's user and network namespace; mount, PID and all other namespaces stay the user's own.
 * Trusts:   the supervisor. Requests of the datapath are judged: it may be in an attacker's hands, and the guest's root
 *           must not become able to make it do what only we can.
 * Owns:     nothing after ready but its two sockets: the TAP's fd is passed on and closed.
 * Order:    non-dumpable and rid of every other fd before setns(2): the guest's root could otherwise attach (ptrace(2)).
 *           Capabilities are dropped when the TAP stands.
 */
#include "config.h"

#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../fault.h"
#include "../fd.h"
#include "../lockdown/process.h"
#include "../message.h"
#include "tap.h"

typedef struct Inside {
    const GuestSettings *guest;
    const char *what; /* the guest, as the command line names it */
    pid_t parent;
    int supervisor;
    int datapath;
    int netns;
    int userns; /* -1: our own */
} Inside;

static void inside_say(const Inside *inside, MessageType type, unsigned level, const GError *error)
{
    MessageText text;

    message_text_init(&text, type, level, fault_kind(error), fault_errno(error), error->message);
    (void)message_send(inside->supervisor, &text, NULL,
                       0); /* if it does not listen, it is about to end */
}

static bool inside_join(const Inside *inside, GError **error)
{
    const char *failed = NULL;

    if (inside->userns >= 0 && setns(inside->userns, CLONE_NEWUSER) < 0) {
        failed = "the user namespace that owns its network";
    } else if (setns(inside->netns, CLONE_NEWNET) < 0) {
        failed = "its network namespace";
    }
    if (failed != NULL) {
        fault_set(error, FAULT_NAMESPACE, errno, "%s: cannot join %s: %s%s", inside->what, failed,
                  g_strerror(errno), errno == EPERM ? " (another user's?)" : "");
        return false;
    }
    process_renew_bonds(inside->parent);
    return true;
}

static bool inside_pass_tap(const Inside *inside, const Tap *tap, GError **error)
{
    MessageLink ready = {.type = MESSAGE_INSIDE_READY};
    int failed;

    for (guint i = 0; i < tap->warnings->len; i++) {
        inside_say(inside, MESSAGE_LOG, LOG_LEVEL_WARNING, g_ptr_array_index(tap->warnings, i));
    }
    ready.mtu = tap->mtu;
    memcpy(ready.mac, tap->mac, sizeof(ready.mac));
    ready.ipv6 = tap->ipv6;
    ready.attached = tap->attached;
    g_strlcpy(ready.ifname, inside->guest->ifname, sizeof(ready.ifname));
    failed = message_send(inside->supervisor, &ready, &tap->fd, 1);
    if (failed != 0) {
        fault_set(error, FAULT_INTERNAL, -failed, "passing the TAP on: %s", g_strerror(-failed));
        return false;
    }
    return true;
}

/* Everything that needs the capabilities, then their end, then the word that it is done. */
static bool inside_prepare(const Inside *inside, GError **error)
{
    g_autoptr(Tap) tap = tap_new(inside->guest, error);

    if (tap == NULL || !process_drop_capabilities(error)) {
        return false;
    }
    process_renew_bonds(inside->parent);
    return inside_pass_tap(inside, tap, error);
}

/* A connected socket, or one whose TCP connect is under way. Returns the fd or -errno. */
static int inside_connect(const MessageSocketRequest *request)
{
    struct sockaddr_storage sa;
    socklen_t len = netaddr_to_sockaddr(&request->addr, request->port, &sa);
    FD_AUTO fd = -1;

    /* A published port leads to a host of the guest's, never to a group or to "any", which would be loopback. */
    if (len == 0 || request->port == 0 || netaddr_is_any(&request->addr) ||
        netaddr_is_multicast(&request->addr)) {
        return -EINVAL;
    }
    fd = socket(request->addr.family,
                (request->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    if (!request->udp) {
        int one = 1;
        int syns = 3;

        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        /* A guest that drops the SYN (a full queue, a firewall) is given 15 s, not two minutes: a client waits. */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &syns, sizeof(syns));
    }
    if (connect(fd, (const struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS) {
        return -errno;
    }
    return fd_steal(&fd);
}

/* Waits for room if the datapath is slow to read. 0 or -errno. */
static int inside_reply(const Inside *inside, const MessageSocketReply *reply, const int *fd,
                        size_t count)
{
    int failed;

    while ((failed = message_send(inside->datapath, reply, fd, count)) == -EAGAIN) {
        struct pollfd fds[2] = {{.fd = inside->datapath, .events = POLLOUT},
                                {.fd = inside->supervisor}};

        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            return -errno;
        }
        if (fds[1].revents != 0) {
            return -EPIPE;
        }
    }
    return failed;
}

/* 1; 0 when the datapath has gone; -errno for what cannot go on: a message that is none, or a reply that cannot be sent. */
static int inside_serve(const Inside *inside)
{
    Message message;
    MessageSocketReply reply = {.type = MESSAGE_SOCKET_REPLY};
    int fds[MESSAGE_FDS_MAX];
    size_t count;
    int got = message_recv(inside->datapath, &message, fds, &count);
    FD_AUTO fd = -1;

    if (got == -EAGAIN) {
        return 1;
    }
    if (got != 1) {
        return got;
    }
    if (message.type != MESSAGE_SOCKET_REQUEST) {
        return -EBADMSG;
    }
    fd = inside_connect(&message.socket_request);
    reply.id = message.socket_request.id;
    reply.errnum = fd < 0 ? -fd : 0;
    got = inside_reply(inside, &reply, &fd, fd < 0 ? 0 : 1);
    if (got == -ETOOMANYREFS && fd >= 0) {
        /* Too many fds of this user in flight: say so without one. */
        reply.errnum = ETOOMANYREFS;
        got = inside_reply(inside, &reply, NULL, 0);
    }
    if (got == -EPIPE || got == -ECONNRESET) {
        return 0;
    }
    return got == 0 ? 1 : got;
}

static void inside_loop(const Inside *inside)
{
    struct pollfd fds[2] = {{.fd = inside->supervisor, .events = POLLIN},
                            {.fd = inside->datapath, .events = POLLIN}};

    for (;;) {
        int served = 1;

        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            return;
        }
        /* Nothing is ever asked by the supervisor yet: whatever comes is its end. */
        if (fds[0].revents != 0) {
            return;
        }
        if (fds[1].revents != 0) {
            served = inside_serve(inside);
        }
        if (served < 0) {
            return; /* rather than being deaf in secret: the supervisor reports our end */
        }
        if (served == 0) {
            /* The supervisor sees the datapath's end itself and will end us. */
            fds[1].fd = -1;
        }
    }
}

static int inside_run(Inside *inside)
{
    g_autoptr(GError) error = NULL;
    int *keep[] = {&inside->supervisor, &inside->datapath, &inside->netns, &inside->userns};

    if (!process_become_child(inside->parent, keep, G_N_ELEMENTS(keep), &error) ||
        !inside_join(inside, &error)) {
        inside_say(inside, MESSAGE_FAULT, LOG_LEVEL_ERROR, error);
        return 1;
    }
    fd_clear(&inside->netns);
    fd_clear(&inside->userns);
    if (!inside_prepare(inside, &error)) {
        inside_say(inside, MESSAGE_FAULT, LOG_LEVEL_ERROR, error);
        return 1;
    }
    inside_loop(inside);
    return 0;
}

pid_t inside_spawn(const GuestSettings *guest, const Target *target, int supervisor_sock,
                   int datapath_sock, GError **error)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid < 0) {
        fault_set(error, FAULT_INTERNAL, errno, "fork: %s", g_strerror(errno));
    } else if (pid == 0) {
        Inside inside = {.guest = guest,
                         .what = target->what,
                         .parent = parent,
                         .supervisor = supervisor_sock,
                         .datapath = datapath_sock,
                         .netns = target->netns_fd,
                         .userns = target->userns_fd};

        _exit(inside_run(&inside));
    }
    return pid;
}
