/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * supervisor.c - life and death
 *
 * Does:     starts the process inside and the datapath, gives them what they need, says ready, waits for whatever ends us, says
 *           why, and leaves nothing behind.
 * Runs in:  the namespaces of whoever spawned us.
 * Trusts:   its parent's arguments. Never parses a byte that came from the guest or the network.
 * Owns:     both children, the report, the watches.
 * States:   STARTING (both children at work, ports being bound) -> GOING (the datapath was told to begin) -> RUNNING -> ENDING.
 *           While STARTING every failure is collected, so that two causes give two records; the end comes when the
 *           last part has spoken.
 * Not here: what ends us from outside (endings.c).
 */
#include "config.h"

#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bindport.h"
#include "children.h"
#include "datapath/datapath.h"
#include "endings.h"
#include "fault.h"
#include "fd.h"
#include "guest/inside.h"
#include "guest/sandbox.h"
#include "guest/target.h"
#include "hostaddr.h"
#include "lockdown/process.h"
#include "message.h"
#include "publisher.h"
#include "resolvconf.h"
#include "sallyport.h"

#define SUPERVISOR_DRAIN_MS 1000
/* So long the process inside may take to remove what it put into the guest; it needs a few milliseconds. */
#define SUPERVISOR_DISMISS_MS 500

typedef enum SupervisorState {
    SUPERVISOR_STARTING,
    SUPERVISOR_GOING,
    SUPERVISOR_RUNNING,
    SUPERVISOR_ENDING,
} SupervisorState;

typedef struct Supervisor {
    const Settings *settings;
    Report *report;
    GMainContext *context;
    GMainLoop *loop;
    SupervisorState state;
    Endings *endings;
    Sandbox *sandbox;
    Target *target;
    Child *command; /* COMMAND mode */
    Child *inside;
    Child *datapath;
    Publisher *publisher;
    ResolvConf *resolvconf;
    HostAddr *hostaddr;
    MessageLink link;
    int tap;
    MessageFastPathState fast_path; /* type 0: not known yet */
    bool datapath_ready;
    bool inside_spoken; /* the TAP stands, or never will */
    bool failed;        /* an error record was written */
    /* The end. */
    const char *reason;
    int end_status; /* of the process that ended, -1: none */
    int end_signal; /* that ended it, or that we got */
    int exit_status;
} Supervisor;

static void supervisor_error(Supervisor *sv, const GError *error)
{
    sv->failed = true;
    report_error(sv->report, error, NULL);
}

static void supervisor_end(Supervisor *sv, const char *reason, int exit_status, int end_status,
                           int end_signal)
{
    if (sv->state == SUPERVISOR_ENDING) {
        return;
    }
    sv->state = SUPERVISOR_ENDING;
    sv->reason = reason;
    sv->exit_status = exit_status;
    sv->end_status = end_status;
    sv->end_signal = end_signal;
    g_main_loop_quit(sv->loop);
}

static int supervisor_failure_status(const Supervisor *sv)
{
    return sv->settings->guest.kind == GUEST_COMMAND ? SANDBOX_STATUS_OURS : 1;
}

static void supervisor_fail_start(Supervisor *sv)
{
    supervisor_end(sv, SALLYPORT_REASON_START_FAILED, supervisor_failure_status(sv), -1, 0);
}

static void supervisor_send(Supervisor *sv, const void *message, const int *fds, size_t count)
{
    int failed = message_send(child_sock(sv->datapath), message, fds, count);

    if (failed == 0 || failed == -EPIPE || failed == -ECONNRESET) {
        return; /* a datapath that has ended is noticed by its pidfd */
    }
    if (sv->state != SUPERVISOR_ENDING) {
        g_autoptr(GError) error =
            fault_new(FAULT_INTERNAL, -failed, "message to the datapath: %s", g_strerror(-failed));

        supervisor_error(sv, error);
        supervisor_end(sv, SALLYPORT_REASON_INTERNAL, supervisor_failure_status(sv), -1, 0);
    }
}

static void supervisor_send_addresses(void *user_data)
{
    Supervisor *sv = user_data;
    size_t count;
    const NetAddr *addrs = hostaddr_list(sv->hostaddr, &count);
    size_t done = 0;

    do {
        MessageAddresses part = {.type = MESSAGE_HOST_ADDRESSES, .first = done == 0};

        part.count = (uint32_t)MIN(count - done, MESSAGE_ADDRS_MAX);
        memcpy(part.addrs, addrs + done, part.count * sizeof(NetAddr));
        done += part.count;
        part.last = done == count;
        supervisor_send(sv, &part, NULL, 0);
    } while (done < count);
}

static void supervisor_send_servers(const NetAddr *servers, size_t count, void *user_data)
{
    MessageServers message = {.type = MESSAGE_DNS_SERVERS};

    message.count = (uint32_t)MIN(count, G_N_ELEMENTS(message.addrs));
    memcpy(message.addrs, servers, message.count * sizeof(NetAddr));
    supervisor_send(user_data, &message, NULL, 0);
}

/* A loopback listener for DNS over TCP. Without IPv6 on the host there is none for it, and the gate refuses that port. */
static void supervisor_send_dns_listener(Supervisor *sv, sa_family_t family)
{
    MessageDnsListener message = {.type = MESSAGE_DNS_LISTENER, .family = family};
    FD_AUTO fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    NetAddr loopback = netaddr_loopback(family);
    struct sockaddr_storage sa;
    socklen_t len = netaddr_to_sockaddr(&loopback, 0, &sa);

    if (fd < 0 || bind(fd, (const struct sockaddr *)&sa, len) < 0 || listen(fd, SOMAXCONN) < 0) {
        report_log(sv->report, LOG_LEVEL_INFO, FAULT_RESOLVER, errno,
                   "no DNS over TCP for %s guests: %s", family == AF_INET ? "IPv4" : "IPv6",
                   g_strerror(errno));
        return;
    }
    message.port = bindport_port(fd);
    supervisor_send(sv, &message, &fd, 1);
}

static bool supervisor_start_dns(Supervisor *sv, GError **error)
{
    const GArray *upstream = sv->settings->dns_upstream;
    NetAddr servers[RESOLVCONF_SERVERS_MAX];
    size_t count = upstream->len;

    if (!sv->settings->dns) {
        return true;
    }
    if (count > 0) {
        memcpy(servers, upstream->data, count * sizeof(NetAddr));
    } else {
        sv->resolvconf = resolvconf_new(sv->settings->resolv_conf, sv->context,
                                        supervisor_send_servers, sv, error);
        if (sv->resolvconf == NULL) {
            return false;
        }
        count = resolvconf_servers(sv->resolvconf, servers);
        if (count == 0) {
            report_log(sv->report, LOG_LEVEL_WARNING, FAULT_RESOLVER, 0,
                       "%s names no name server; queries fail until it does",
                       sv->settings->resolv_conf);
        }
    }
    supervisor_send_servers(servers, count, sv);
    supervisor_send_dns_listener(sv, AF_INET);
    if (sv->link.ipv6) {
        supervisor_send_dns_listener(sv, AF_INET6);
    }
    return true;
}

/* Everything that could fail for the user's reasons has not: let the datapath begin. */
static void supervisor_go(Supervisor *sv)
{
    MessagePlain go = {.type = MESSAGE_GO};
    MessageLink start = sv->link;
    g_autoptr(GError) error = NULL;

    sv->state = SUPERVISOR_GOING;
    start.type = MESSAGE_START;
    supervisor_send(sv, &start, &sv->tap, 1);
    fd_clear(&sv->tap);
    supervisor_send_addresses(sv);
    if (!supervisor_start_dns(sv, &error)) {
        supervisor_error(sv, error);
        supervisor_fail_start(sv);
        return;
    }
    supervisor_send(sv, &go, NULL, 0);
}

static void supervisor_check_start(Supervisor *sv)
{
    if (sv->state != SUPERVISOR_STARTING || !sv->inside_spoken ||
        !publisher_finished(sv->publisher)) {
        return;
    }
    if (sv->failed || publisher_failed(sv->publisher)) {
        supervisor_fail_start(sv);
        return;
    }
    supervisor_go(sv);
}

static void supervisor_published(void *user_data)
{
    supervisor_check_start(user_data);
}

static json_t *supervisor_addresses(const Supervisor *sv, const NetAddr *v4, const NetAddr *v6)
{
    char text[NETADDR_STRLEN];
    json_t *list = json_array();

    (void)json_array_append_new(list, json_string(netaddr_format(v4, text)));
    if (sv->link.ipv6) {
        (void)json_array_append_new(list, json_string(netaddr_format(v6, text)));
    }
    return list;
}

static void supervisor_report_ready(Supervisor *sv, unsigned published)
{
    const GuestSettings *guest = &sv->settings->guest;
    g_autofree char *mac =
        g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", sv->link.mac[0], sv->link.mac[1],
                        sv->link.mac[2], sv->link.mac[3], sv->link.mac[4], sv->link.mac[5]);
    json_t *dns =
        sv->settings->dns ? supervisor_addresses(sv, &guest->dns, &guest->dns6) : json_array();
    json_t *fast_path = json_pack("{s:b}", "on", sv->fast_path.on);
    json_t *locked = json_pack("[s,s]", "no-new-privs", "not-dumpable");
    json_t *body;

    if (!sv->fast_path.on) {
        /* With it the process inside keeps three, over the guest's network alone. */
        (void)json_array_append_new(locked, json_string("no-capabilities"));
        (void)json_object_set_new(fast_path, "why", json_string(sv->fast_path.why));
    }
    body =
        json_pack("{s:i,s:s,s:o,s:o,s:o,s:i,s:s,s:s,s:i,s:o,s:o}", "pid", (int)getpid(), "version",
                  PACKAGE_VERSION, "guest", supervisor_addresses(sv, &guest->addr, &guest->addr6),
                  "gateway", supervisor_addresses(sv, &guest->gateway, &guest->gateway6), "dns",
                  dns, "mtu", (int)sv->link.mtu, "interface", guest->ifname, "mac", mac,
                  "published", (int)published, "fast_path", fast_path, "locked_down", locked);

    report_event(sv->report, SALLYPORT_EVENT_READY, body);
}

static void supervisor_write_ready_fd(Supervisor *sv)
{
    int fd = sv->settings->ready_fd;

    if (fd < 0) {
        return;
    }
    if (write(fd, "1", 1) != 1) {
        report_log(sv->report, LOG_LEVEL_WARNING, FAULT_REPORT, errno, "--ready-fd %d: %s", fd,
                   g_strerror(errno));
    }
    (void)close(fd);
}

static void supervisor_ready(Supervisor *sv)
{
    g_autoptr(GError) error = NULL;
    const char *gone = sv->command == NULL ? target_gone(sv->target) : NULL;
    int status = SANDBOX_STATUS_OURS;
    unsigned published;

    if (gone != NULL) {
        error = fault_new(FAULT_TARGET, ESRCH, "target gone before the network stood");
        supervisor_error(sv, error);
        supervisor_fail_start(sv);
        return;
    }
    if (sv->sandbox != NULL && !sandbox_go(sv->sandbox, &status, &error)) {
        supervisor_error(sv, error);
        supervisor_end(sv, SALLYPORT_REASON_START_FAILED, status, -1, 0);
        return;
    }
    sv->state = SUPERVISOR_RUNNING;
    published = publisher_report(sv->publisher, sv->fast_path.on);
    supervisor_report_ready(sv, published);
    if (report_overflowed(sv->report)) {
        error = fault_new(FAULT_REPORT, ENOBUFS,
                          "--report-fd: the reader does not read; records were lost");
        supervisor_error(sv, error);
        supervisor_fail_start(sv);
        return;
    }
    supervisor_write_ready_fd(sv);
}

/* Both children work at it at the same time. */
static void supervisor_check_ready(Supervisor *sv)
{
    if (sv->state == SUPERVISOR_GOING && sv->datapath_ready && sv->fast_path.type != 0) {
        supervisor_ready(sv);
    }
}

/* ChildHooks.message */
static void supervisor_message(Child *child, const Message *message, int *fds, size_t count,
                               void *user_data)
{
    Supervisor *sv = user_data;
    bool from_inside = child == sv->inside;
    g_autoptr(GError) error = NULL;

    if (message->type == MESSAGE_LOG) {
        if (message->text.kind < FAULT_KIND_COUNT && message->text.level <= LOG_LEVEL_DEBUG) {
            report_log(sv->report, (LogLevel)message->text.level, (FaultKind)message->text.kind,
                       message->text.errnum, "%s", message->text.text);
        }
    } else if (message->type == MESSAGE_FAULT) {
        error = fault_new(MIN(message->text.kind, FAULT_INTERNAL), message->text.errnum & 0xfff,
                          "%s", message->text.text);
        supervisor_error(sv, error);
    } else if (from_inside && message->type == MESSAGE_INSIDE_READY && !sv->inside_spoken) {
        sv->link = message->link;
        sv->tap = fds[0];
        sv->inside_spoken = true;
        supervisor_check_start(sv);
        return;
    } else if (!from_inside && message->type == MESSAGE_LISTENING) {
        publisher_answer(sv->publisher, &message->listening);
    } else if (from_inside && message->type == MESSAGE_INSIDE_FAST_PATH &&
               sv->fast_path.type == 0) {
        sv->fast_path = message->fast_path_state;
        supervisor_check_ready(sv);
    } else if (!from_inside && message->type == MESSAGE_DATAPATH_READY) {
        sv->datapath_ready = true;
        supervisor_check_ready(sv);
    } else if (!from_inside && message->type == MESSAGE_TAP_GONE) {
        supervisor_end(sv, SALLYPORT_REASON_TAP_GONE, 1, -1, 0);
    }
    for (size_t i = 0; i < count; i++) {
        fd_close(fds[i]);
    }
}

/* ChildHooks.broken: what is no message can only come from a process in an attacker's hands, or from a bug. */
static void supervisor_broken(Child *child, int failed, void *user_data)
{
    Supervisor *sv = user_data;

    supervisor_end(
        sv, child == sv->inside ? SALLYPORT_REASON_INSIDE_DIED : SALLYPORT_REASON_DATAPATH_DIED,
        supervisor_failure_status(sv), -1, 0);
    report_log(sv->report, LOG_LEVEL_ERROR, FAULT_INTERNAL, -failed,
               "malformed message from %s: %s", child == sv->inside ? "inside" : "the datapath",
               g_strerror(-failed));
}

static int supervisor_wstatus_signal(int wstatus)
{
    return WIFSIGNALED(wstatus) ? WTERMSIG(wstatus) : 0;
}

static int supervisor_wstatus_status(int wstatus)
{
    return WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : -1;
}

/* ChildHooks.ended */
static void supervisor_child_ended(Child *child, int wstatus, void *user_data)
{
    Supervisor *sv = user_data;
    int status = supervisor_wstatus_status(wstatus);
    int number = supervisor_wstatus_signal(wstatus);

    if (child == sv->command) {
        supervisor_end(sv, SALLYPORT_REASON_COMMAND,
                       number != 0 ? SANDBOX_STATUS_SIGNALLED + number : status, status, number);
        return;
    }
    if (child == sv->inside && sv->state == SUPERVISOR_STARTING && sv->failed) {
        /* It said why. Ports are still being bound, and may have something to say too. */
        sv->inside_spoken = true;
        supervisor_check_start(sv);
        return;
    }
    if (sv->failed && sv->state != SUPERVISOR_RUNNING) {
        supervisor_fail_start(sv);
        return;
    }
    supervisor_end(
        sv, child == sv->inside ? SALLYPORT_REASON_INSIDE_DIED : SALLYPORT_REASON_DATAPATH_DIED,
        supervisor_failure_status(sv), status, number);
}

/* TargetFunc */
static void supervisor_target_gone(const char *reason, void *user_data)
{
    Supervisor *sv = user_data;

    if (sv->state != SUPERVISOR_RUNNING) {
        g_autoptr(GError) error =
            fault_new(FAULT_TARGET, ESRCH, "target gone before the network stood");

        if (sv->state == SUPERVISOR_STARTING || sv->state == SUPERVISOR_GOING) {
            supervisor_error(sv, error);
            supervisor_fail_start(sv);
        }
        return;
    }
    supervisor_end(sv, reason, 0, -1, 0);
}

/* EndingsFunc */
static void supervisor_ending(const char *reason, int number, void *user_data)
{
    Supervisor *sv = user_data;

    if (sv->command != NULL && number != 0) {
        /* COMMAND may catch it; its end is ours. The terminal has sent SIGINT to it already. */
        if (number != SIGINT) {
            child_signal(sv->command, number);
        }
        return;
    }
    supervisor_end(sv, reason, 0, -1, number);
}

static bool supervisor_spawn(Supervisor *sv, size_t nofile, GError **error)
{
    ChildHooks hooks = {supervisor_message, supervisor_broken, supervisor_child_ended, sv};
    int inside_pair[2];
    int datapath_pair[2];
    int between[2];
    pid_t inside;
    pid_t datapath;

    if (message_pair(inside_pair) != 0 || message_pair(datapath_pair) != 0 ||
        message_pair(between) != 0) {
        fault_set(error, FAULT_INTERNAL, errno, "socketpair: %s", g_strerror(errno));
        return false;
    }
    inside = inside_spawn(&sv->settings->guest, sv->target, inside_pair[1], between[0], error);
    if (inside < 0) {
        return false;
    }
    sv->inside = child_new(inside, inside_pair[0], sv->context, &hooks, error);
    datapath = sv->inside == NULL
                   ? -1
                   : datapath_spawn(sv->settings, nofile, datapath_pair[1], between[1], error);
    if (datapath < 0) {
        return false;
    }
    sv->datapath = child_new(datapath, datapath_pair[0], sv->context, &hooks, error);
    /* Only the children hold these ends, so that each notices the other's end. */
    fd_close(inside_pair[1]);
    fd_close(datapath_pair[1]);
    fd_close(between[0]);
    fd_close(between[1]);
    return sv->datapath != NULL;
}

static bool supervisor_make_sandbox(Supervisor *sv, GError **error)
{
    ChildHooks hooks = {supervisor_message, supervisor_broken, supervisor_child_ended, sv};

    if (sv->settings->guest.kind != GUEST_COMMAND) {
        return true;
    }
    sv->sandbox = sandbox_new(&sv->settings->guest, sv->settings->dns, error);
    if (sv->sandbox == NULL) {
        return false;
    }
    if (sandbox_warning(sv->sandbox) != NULL) {
        report_log(sv->report, LOG_LEVEL_WARNING, FAULT_RESOLVER,
                   fault_errno(sandbox_warning(sv->sandbox)), "%s",
                   sandbox_warning(sv->sandbox)->message);
    }
    sv->command = child_new(sandbox_pid(sv->sandbox), -1, sv->context, &hooks, error);
    return sv->command != NULL;
}

static bool supervisor_start(Supervisor *sv, GError **error)
{
    size_t nofile = process_raise_nofile();

    sv->endings = endings_new(sv->settings, sv->context, supervisor_ending, sv, error);
    if (sv->endings == NULL || !supervisor_make_sandbox(sv, error) || !process_harden(error)) {
        return false;
    }
    sv->target = target_open(&sv->settings->guest,
                             sv->sandbox != NULL ? sandbox_pid(sv->sandbox) : 0, error);
    if (sv->target == NULL || !supervisor_spawn(sv, nofile, error)) {
        return false;
    }
    sv->hostaddr = hostaddr_new(sv->context, supervisor_send_addresses, sv, error);
    if (sv->hostaddr == NULL) {
        return false;
    }
    if (sv->sandbox == NULL) {
        target_watch(sv->target, sv->context, supervisor_target_gone, sv);
    }
    report_attach(sv->report, sv->context);
    sv->publisher = publisher_new(sv->settings->publish, &sv->settings->guest,
                                  child_sock(sv->datapath), sv->report, supervisor_published, sv);
    publisher_start(sv->publisher);
    return true;
}

static void supervisor_report_exit(const Supervisor *sv)
{
    json_t *body = json_pack("{s:s}", "reason", sv->reason);

    if (sv->end_status >= 0) {
        (void)json_object_set_new(body, "status", json_integer(sv->end_status));
    }
    if (sv->end_signal != 0) {
        g_autofree char *name = g_strdup_printf("SIG%s", sigabbrev_np(sv->end_signal));

        (void)json_object_set_new(body, "signal", json_string(name));
    }
    report_event(sv->report, SALLYPORT_EVENT_EXIT, body);
}

/* Children first: when the last record is out, nothing of ours is left. */
static void supervisor_clear(Supervisor *sv)
{
    g_clear_pointer(&sv->publisher, publisher_free);
    g_clear_pointer(&sv->datapath, child_free);
    child_dismiss(sv->inside, SUPERVISOR_DISMISS_MS);
    g_clear_pointer(&sv->inside, child_free);
    g_clear_pointer(&sv->command, child_free);
    g_clear_pointer(&sv->sandbox, sandbox_free);
    g_clear_pointer(&sv->hostaddr, hostaddr_free);
    g_clear_pointer(&sv->resolvconf, resolvconf_free);
    g_clear_pointer(&sv->endings, endings_free);
    g_clear_pointer(&sv->target, target_free);
    fd_clear(&sv->tap);
}

int supervisor_run(const Settings *settings, Report *report)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(GMainLoop) loop = g_main_loop_new(context, FALSE);
    g_autoptr(GError) error = NULL;
    Supervisor sv = {.settings = settings,
                     .report = report,
                     .context = context,
                     .loop = loop,
                     .tap = -1,
                     .end_status = -1};

    if (!supervisor_start(&sv, &error)) {
        supervisor_error(&sv, error);
        supervisor_fail_start(&sv);
    }
    /* Something may have ended us before the loop began. */
    if (sv.state != SUPERVISOR_ENDING) {
        g_main_loop_run(loop);
    }
    supervisor_clear(&sv);
    supervisor_report_exit(&sv);
    report_drain(report, SUPERVISOR_DRAIN_MS);
    return sv.exit_status;
}
