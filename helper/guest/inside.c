/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * inside.c - the process in the guest's user and network namespace
 *
 * Does:     joins the namespaces, has the TAP made and the fast path set up, then makes connected sockets there on request.
 * Runs in:  the guest's user and network namespace; mount, PID and all other namespaces stay the user's own.
 * Trusts:   the supervisor. Requests of the datapath are judged: it may be in an attacker's hands, and the guest's root
 *           must not become able to make it do what only we can.
 * Owns:     after ready its two sockets and the fast path's rules; the TAP's fd and the fast path's are passed on and closed.
 * Order:    non-dumpable and rid of every other fd before setns(2): the guest's root could otherwise attach (ptrace(2)).
 *           Capabilities are dropped when the TAP stands, but for those that hold the fast path; then no file can be opened.
 * Rules:    are loaded behind "ready", for they may take as long as all the rest of the start (rules.c); before it with --fast-path
 *           require, and where the guest has rules already: then they take less, and its NAT must not see a SYN before ours does.
 * Limits:   INSIDE_REPAIR_US between two repairs, whatever the datapath asks.
 */
#include "config.h"

#include "inside.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/ip.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../fault.h"
#include "../fd.h"
#include "../lockdown/lockdown.h"
#include "../lockdown/process.h"
#include "../message.h"
#include "rules.h"
#include "tap.h"
#include "transparent.h"

#define INSIDE_REPAIR_US (900 * 1000)
#define INSIDE_MEMORY_MS 1

#define INSIDE_NO_FAST_PATH "no fast path, TCP goes through libslirp: "

typedef struct Inside {
    const GuestSettings *guest;
    const char *what; /* the guest, as the command line names it */
    pid_t parent;
    bool insecure;
    int supervisor;
    int datapath;
    int netns;
    int userns;    /* -1: our own */
    Rules *rules;  /* NULL: no fast path */
    bool outbound; /* rules are loaded or can be; else they are for inbound flows alone */
    uint16_t listener_port;
    int64_t repaired_us;
} Inside;

static void inside_say(const Inside *inside, MessageType type, unsigned level, const GError *error)
{
    MessageText text;

    message_text_init(&text, type, level, fault_kind(error), fault_errno(error), error->message);
    /* If it does not listen, it is about to end. */
    (void)message_send_patiently(inside->supervisor, &text);
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

static uint8_t inside_hop_limit(const char *path)
{
    g_autofree char *text = NULL;
    guint64 value;

    if (!g_file_get_contents(path, &text, NULL, NULL) ||
        !g_ascii_string_to_unsigned(g_strstrip(text), 10, 1, UINT8_MAX, &value, NULL)) {
        return IPDEFTTL;
    }
    return (uint8_t)value;
}

/* A negative one among fds[@from] to fds[@to - 1] is an errno. */
static bool inside_sockets_stand(const int *fds, unsigned from, unsigned to, GError **error)
{
    for (unsigned i = from; i < to; i++) {
        if (fds[i] < 0) {
            fault_set(error, FAULT_FAST_PATH, -fds[i], "transparent sockets in the guest: %s",
                      g_strerror(-fds[i]));
            return false;
        }
    }
    return true;
}

static bool inside_load(Inside *inside, GError **error)
{
    return rules_loaded(inside->rules) || rules_load(inside->rules, inside->listener_port, error);
}

/* What takes connections over: sockets, and the table that leads to them, now or later. */
static bool inside_open_outbound(Inside *inside, int *ret_fds, GError **error)
{
    ret_fds[FAST_PATH_LISTENER] = transparent_listener(&inside->listener_port);
    ret_fds[FAST_PATH_INJECT4] = transparent_raw(AF_INET, RULES_MARK_INJECT);
    ret_fds[FAST_PATH_INJECT6] = transparent_raw(AF_INET6, RULES_MARK_INJECT);
    ret_fds[FAST_PATH_DIAG] = transparent_diag();
    if (!inside_sockets_stand(ret_fds, FAST_PATH_INBOUND_FDS, FAST_PATH_FDS, error) ||
        !rules_loadable(inside->rules, error)) {
        return false;
    }
    if ((inside->guest->fast_path != FAST_PATH_REQUIRE && !rules_found_company(inside->rules)) ||
        inside_load(inside, error)) {
        return true;
    }
    if (inside->guest->fast_path != FAST_PATH_REQUIRE && rules_wait(*error)) {
        g_clear_error(error);
        return true;
    }
    return false;
}

/* Behind "ready", or when a client is first. What is missing is said once; then TCP out is libslirp's. */
static bool inside_load_late(Inside *inside)
{
    g_autoptr(GError) missing = NULL;

    if (!inside->outbound) {
        return false;
    }
    if (!inside_load(inside, &missing) && rules_wait(missing)) {
        return false;
    }
    if (missing != NULL) {
        inside->outbound = false;
        g_prefix_error(&missing, INSIDE_NO_FAST_PATH);
        inside_say(inside, MESSAGE_LOG, LOG_LEVEL_WARNING, missing);
    }
    return inside->outbound;
}

/* Sockets and table, and all of it to the datapath. What shows clients' addresses needs the policy routing alone, so that it
 * is there on kernels without nf_tables too. @error is set unless both are. */
static void inside_open_fast_path(Inside *inside, const Tap *tap, MessageFastPathState *ret,
                                  GError **error)
{
    g_autofree char *path6 =
        g_strdup_printf("/proc/sys/net/ipv6/conf/%s/hop_limit", inside->guest->ifname);
    MessageFastPath message = {.type = MESSAGE_FAST_PATH, .ifindex = tap->ifindex};
    int fds[FAST_PATH_FDS] = {-1, -1, -1, -1, -1, -1};
    int failed;

    message.hop_limit[0] = inside_hop_limit("/proc/sys/net/ipv4/ip_default_ttl");
    message.hop_limit[1] = inside_hop_limit(path6);
    fds[FAST_PATH_RETURN4] = transparent_raw(AF_INET, RULES_MARK);
    fds[FAST_PATH_RETURN6] = transparent_raw(AF_INET6, RULES_MARK);
    if (inside_sockets_stand(fds, 0, FAST_PATH_INBOUND_FDS, error)) {
        ret->on = inside_open_outbound(inside, fds, error);
        ret->inbound = true;
        ret->loaded = rules_loaded(inside->rules);
        message.loaded = ret->loaded;
        failed = -message_send(inside->datapath, &message, fds,
                               ret->on ? FAST_PATH_FDS : FAST_PATH_INBOUND_FDS);
        if (failed != 0) {
            ret->on = false;
            ret->inbound = false;
            g_clear_error(error);
            fault_set(error, FAULT_FAST_PATH, failed, "passing the fast path on: %s",
                      g_strerror(failed));
        }
    }
    for (unsigned i = 0; i < FAST_PATH_FDS; i++) {
        fd_close(fds[i] < 0 ? -1 : fds[i]);
    }
}

/* False with @error set only if it is required. Otherwise one record says what is missing. */
static bool inside_make_fast_path(Inside *inside, const Tap *tap, MessageFastPathState *ret,
                                  GError **error)
{
    g_autoptr(GError) missing = NULL;

    if (inside->guest->fast_path == FAST_PATH_OFF) {
        g_strlcpy(ret->why, "--fast-path off", sizeof(ret->why));
        return true;
    }
    inside->rules = rules_new(inside->guest->ifname, tap->ifindex, tap->ipv6, &missing);
    if (inside->rules != NULL) {
        inside_open_fast_path(inside, tap, ret, &missing);
    }
    inside->outbound = ret->on;
    if (ret->on) {
        return true;
    }
    if (!ret->inbound || inside->guest->fast_path == FAST_PATH_REQUIRE) {
        g_clear_pointer(&inside->rules, rules_free);
    }
    g_strlcpy(ret->why, missing->message, sizeof(ret->why));
    if (inside->guest->fast_path == FAST_PATH_REQUIRE) {
        g_prefix_error(&missing, "--fast-path require: ");
        g_propagate_error(error, g_steal_pointer(&missing));
        return false;
    }
    g_prefix_error(&missing, INSIDE_NO_FAST_PATH);
    inside_say(inside, MESSAGE_LOG, LOG_LEVEL_WARNING, missing);
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

/* Everything that needs the capabilities. The TAP is passed on first: the datapath gets ready while the rules are put in
 * place. */
static bool inside_prepare(Inside *inside, MessageFastPathState *ret, GError **error)
{
    g_autoptr(Tap) tap = tap_new(inside->guest, error);

    return tap != NULL && inside_pass_tap(inside, tap, error) &&
           inside_make_fast_path(inside, tap, ret, error);
}

/* The end of the capabilities we can do without, and of all that is not needed any more; then the word that it is done. */
static bool inside_lock_down(const Inside *inside, const MessageFastPathState *state,
                             GError **error)
{
    /* For rules and transparent sockets; and to bind them to a client's port below 1024. */
    const uint64_t kept = UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << CAP_NET_RAW |
                          UINT64_C(1) << CAP_NET_BIND_SERVICE;
    MessageLocked locked = {.type = MESSAGE_LOCKED};
    Lockdown *lock;
    int failed;

    process_renew_bonds(inside->parent);
    lock = lockdown_begin_keeping(ROLE_INSIDE, inside->rules != NULL ? kept : 0, false,
                                  inside->insecure, error);
    if (lock == NULL || !lockdown_finish(lock, &locked.held, error)) {
        return false;
    }
    failed = -message_send_patiently(inside->supervisor, &locked);
    if (failed == 0) {
        failed = -message_send_patiently(inside->supervisor, state);
    }
    if (failed != 0) {
        fault_set(error, FAULT_INTERNAL, failed, "saying that the fast path is ready: %s",
                  g_strerror(failed));
    }
    return failed == 0;
}

/* @errnum: of the reply itself; written if the fd cannot be sent. Waits for room if the datapath is slow to read. 1, or 0 when the
 * datapath has gone, or -errno. */
static int inside_reply(const Inside *inside, const void *reply, int32_t *errnum, int fd)
{
    int failed;

    while ((failed = message_send(inside->datapath, reply, fd < 0 ? NULL : &fd, fd >= 0)) != 0) {
        struct pollfd fds[2] = {{.fd = inside->datapath, .events = POLLOUT},
                                {.fd = inside->supervisor}};

        if (failed == -ETOOMANYREFS && fd >= 0) {
            /* Too many fds of this user in flight: say so without one. */
            *errnum = ETOOMANYREFS;
            fd = -1;
            continue;
        }
        if (failed != -EAGAIN) {
            return failed == -EPIPE || failed == -ECONNRESET ? 0 : failed;
        }
        if (poll(fds, 2, -1) < 0 && errno != EINTR) {
            return -errno;
        }
        if (fds[1].revents != 0) {
            return 0;
        }
        if (fds[0].revents != 0) {
            (void)poll(NULL, 0, INSIDE_MEMORY_MS); /* there was room: the kernel lacked memory */
        }
    }
    return 1;
}

/* The rules again, and a listener if that was destroyed too (ss -K of the guest's root); its fd or -1. 0 or an errno. */
static int inside_mend(Inside *inside, bool listener, int *ret_fd)
{
    g_autoptr(GError) error = NULL;
    int64_t now = g_get_monotonic_time();
    uint16_t port = inside->listener_port;
    FD_AUTO fd = -1;

    if (now - inside->repaired_us < INSIDE_REPAIR_US) {
        return EBUSY;
    }
    inside->repaired_us = now;
    if (listener) {
        fd = transparent_listener(&port);
        if (fd < 0) {
            return -fd;
        }
    }
    if (!rules_loaded(inside->rules)) {
        inside->listener_port = port;
        if (!inside_load_late(inside)) {
            return inside->outbound ? ENETDOWN : EOPNOTSUPP;
        }
    } else if (!rules_load(inside->rules, port, &error)) {
        inside_say(inside, MESSAGE_LOG, LOG_LEVEL_WARNING, error);
        return EAGAIN;
    }
    inside->listener_port = port;
    *ret_fd = fd_steal(&fd);
    return 0;
}

static int inside_repair(Inside *inside, const MessageRepair *request)
{
    MessageFastPath answer = {.type = MESSAGE_FAST_PATH};
    FD_AUTO fd = -1;

    if (request->what > REPAIR_LISTENER) {
        return -EBADMSG;
    }
    if (!inside->outbound) {
        answer.errnum = EOPNOTSUPP;
    } else if (request->what == REPAIR_LOAD) {
        answer.errnum = inside_load_late(inside) ? 0 : inside->outbound ? ENETDOWN : EOPNOTSUPP;
    } else {
        answer.errnum = inside_mend(inside, request->what == REPAIR_LISTENER, &fd);
    }
    answer.loaded = inside->outbound && rules_loaded(inside->rules);
    return inside_reply(inside, &answer, &answer.errnum, fd);
}

/* 1; 0 when the datapath has gone; -errno for what cannot go on: a message that is none, or a reply that cannot be sent. */
static int inside_serve(Inside *inside)
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
    if (message.type == MESSAGE_REPAIR) {
        return inside_repair(inside, &message.repair);
    }
    if (message.type != MESSAGE_SOCKET_REQUEST) {
        return -EBADMSG;
    }
    if (inside->rules == NULL) {
        message.socket_request.source = MESSAGE_SOURCE_GUEST;
    }
    (void)inside_load_late(
        inside); /* a MASQUERADE of the guest's own would take the client's address away */
    fd = transparent_connect(inside->guest, &message.socket_request, &reply);
    reply.id = message.socket_request.id;
    reply.errnum = fd < 0 ? -fd : 0;
    return inside_reply(inside, &reply, &reply.errnum, fd);
}

static void inside_loop(Inside *inside)
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
    MessageFastPathState state = {.type = MESSAGE_INSIDE_FAST_PATH};
    g_autoptr(GError) error = NULL;
    int *keep[] = {&inside->supervisor, &inside->datapath, &inside->netns, &inside->userns};

    if (!process_become_child(inside->parent, keep, G_N_ELEMENTS(keep), &error) ||
        !inside_join(inside, &error)) {
        inside_say(inside, MESSAGE_FAULT, LOG_LEVEL_ERROR, error);
        return 1;
    }
    fd_clear(&inside->netns);
    fd_clear(&inside->userns);
    if (!inside_prepare(inside, &state, &error) || !inside_lock_down(inside, &state, &error)) {
        inside_say(inside, MESSAGE_FAULT, LOG_LEVEL_ERROR, error);
        rules_free(inside->rules);
        return 1;
    }
    inside_loop(inside);
    /* A helper that ends well leaves nothing; after SIGKILL the next one takes over what is left. */
    rules_free(inside->rules);
    return 0;
}

pid_t inside_spawn(const Settings *settings, const Target *target, int supervisor_sock,
                   int datapath_sock, GError **error)
{
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid < 0) {
        fault_set(error, FAULT_INTERNAL, errno, "fork: %s", g_strerror(errno));
    } else if (pid == 0) {
        Inside inside = {.guest = &settings->guest,
                         .insecure = settings->insecure,
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
