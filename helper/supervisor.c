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
#include <sys/wait.h>
#include <unistd.h>

#include "bindport.h"
#include "briefing.h"
#include "children.h"
#include "control/service.h"
#include "datapath/datapath.h"
#include "endings.h"
#include "fault.h"
#include "fd.h"
#include "guest/inside.h"
#include "guest/sandbox.h"
#include "guest/target.h"
#include "inquiry.h"
#include "lockdown/process.h"
#include "lockdown/supervise.h"
#include "message.h"
#include "publisher.h"
#include "record.h"
#include "sallyport.h"
#include "slirp4netns.h"

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
    pid_t parent;
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
    Inquiry *inquiry;
    Service *service;
    Briefing *briefing;
    MessageLink link;
    int tap;
    MessageFastPathState fast_path; /* type 0: not known yet */
    RecordLocked locked;
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

static void supervisor_send(Supervisor *sv, const void *message, size_t size, const int *fds,
                            size_t count)
{
    int failed = child_send(sv->datapath, message, size, fds, count);

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

/* BriefingSendFunc */
static void supervisor_brief(const void *message, size_t size, const int *fds, size_t count,
                             void *user_data)
{
    supervisor_send(user_data, message, size, fds, count);
}

/* ChildHooks.drained */
static void supervisor_drained(Child *child, void *user_data)
{
    Supervisor *sv = user_data;

    if (child == sv->datapath) {
        briefing_renew(sv->briefing);
    }
}

/* Everything that could fail for the user's reasons has not: let the datapath begin. */
static void supervisor_go(Supervisor *sv)
{
    MessagePlain go = {.type = MESSAGE_GO};
    MessageLink start = sv->link;
    g_autoptr(GError) error = NULL;

    sv->state = SUPERVISOR_GOING;
    start.type = MESSAGE_START;
    supervisor_send(sv, &start, sizeof(start), &sv->tap, 1);
    fd_clear(&sv->tap);
    if (!briefing_begin(sv->briefing, sv->link.ipv6, &error)) {
        supervisor_error(sv, error);
        supervisor_fail_start(sv);
        return;
    }
    supervisor_send(sv, &go, sizeof(go), NULL, 0);
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
    published = publisher_report(sv->publisher, sv->fast_path.inbound);
    if (report_overflowed(sv->report)) {
        error = fault_new(FAULT_REPORT, ENOBUFS,
                          "--report-fd: the reader does not read; records were lost");
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
    service_begin(sv->service, sv->publisher, sv->inquiry, sv->report);
    slirp4netns_announce(sv->settings, &sv->link);
    report_event(sv->report, SALLYPORT_EVENT_READY,
                 record_ready(sv->settings, &sv->link, &sv->fast_path, &sv->locked, published));
    if (sv->settings->ready_fd >= 0 && !process_write_ready(sv->settings->ready_fd)) {
        report_log(sv->report, LOG_LEVEL_WARNING, FAULT_REPORT, errno,
                   "--ready-fd %d: cannot be written", sv->settings->ready_fd);
    }
}

/* Both children work at it at the same time. */
static void supervisor_check_ready(Supervisor *sv)
{
    if (sv->state == SUPERVISOR_GOING && sv->datapath_ready && sv->fast_path.type != 0 &&
        sv->locked.held[ROLE_INSIDE] != 0 && sv->locked.held[ROLE_DATAPATH] != 0) {
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

    /* A first fault is always told: it may be the only word on why all this ends. */
    if ((message->type == MESSAGE_LOG || (message->type == MESSAGE_FAULT && sv->failed)) &&
        !report_admits(sv->report)) {
        return; /* neither brings fds */
    }
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
        target_release(sv->target);
        supervisor_check_start(sv);
        return;
    } else if (!from_inside && message->type == MESSAGE_LISTENING) {
        publisher_answer(sv->publisher, &message->listening);
    } else if (!from_inside && message->type == MESSAGE_UNLISTENED) {
        publisher_unlistened(sv->publisher, &message->unlistened);
    } else if (from_inside && message->type == MESSAGE_INSIDE_FAST_PATH &&
               sv->fast_path.type == 0) {
        sv->fast_path = message->fast_path_state;
        supervisor_check_ready(sv);
    } else if (!from_inside && inquiry_take(sv->inquiry, message)) {
        /* It brings no fds. */
    } else if (message->type == MESSAGE_LOCKED) {
        sv->locked.held[from_inside ? ROLE_INSIDE : ROLE_DATAPATH] = message->locked.held;
    } else if (!from_inside && message->type == MESSAGE_DATAPATH_READY) {
        sv->datapath_ready = true;
        supervisor_check_ready(sv);
    } else if (!from_inside && message->type == MESSAGE_TAP_GONE) {
        supervisor_end(sv, SALLYPORT_REASON_TAP_GONE, supervisor_failure_status(sv), -1, 0);
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

/* ChildHooks.ended */
static void supervisor_child_ended(Child *child, int wstatus, void *user_data)
{
    Supervisor *sv = user_data;
    int status = WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : -1;
    int number = WIFSIGNALED(wstatus) ? WTERMSIG(wstatus) : 0;

    if (child == sv->command && sv->state != SUPERVISOR_RUNNING) {
        g_autoptr(GError) error =
            fault_new(FAULT_COMMAND, ECHILD, "-- COMMAND: its process ended before it ran");

        supervisor_error(sv, error);
        supervisor_fail_start(sv);
        return;
    }
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
static void supervisor_ending(const char *reason, int number, bool from_terminal, void *user_data)
{
    Supervisor *sv = user_data;

    if (sv->command != NULL && number != 0 && sv->state == SUPERVISOR_RUNNING) {
        /* COMMAND may catch it; its end is ours. What the terminal sends, it sends to COMMAND as well. */
        if (!from_terminal) {
            child_signal(sv->command, number);
        }
        return;
    }
    supervisor_end(sv, reason, 0, -1, number);
}

static bool supervisor_spawn(Supervisor *sv, size_t nofile, GError **error)
{
    ChildHooks hooks = {supervisor_message, supervisor_broken, supervisor_child_ended,
                        supervisor_drained, sv};
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
    inside = inside_spawn(sv->settings, sv->target, inside_pair[1], between[0], error);
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
    ChildHooks hooks = {supervisor_message, supervisor_broken, supervisor_child_ended,
                        supervisor_drained, sv};

    if (sv->settings->guest.kind != GUEST_COMMAND) {
        return true;
    }
    sv->sandbox = sandbox_new(&sv->settings->guest,
                              sv->settings->dns ? sv->settings->resolv_conf : NULL, error);
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

static void supervisor_check_outbound(Supervisor *sv)
{
    const NetAddr *addrs[] = {&sv->settings->outbound4, &sv->settings->outbound6};

    for (size_t i = 0; i < G_N_ELEMENTS(addrs); i++) {
        g_autoptr(GError) error = bindport_source_fault(addrs[i]);

        if (error != NULL) {
            supervisor_error(sv, error);
        }
    }
}

/* InquirySendFunc: a datapath that does not read is asked nothing more, or what clients ask would pile up here. */
static int supervisor_ask(const void *message, size_t size, const int *fds, size_t count,
                          void *user_data)
{
    Child *datapath = ((Supervisor *)user_data)->datapath;

    return child_is_behind(datapath) ? -EBUSY : child_send(datapath, message, size, fds, count);
}

/* InquiryFunc: --pcap. An answer comes before "ready", as it is asked for before MESSAGE_GO. */
static void supervisor_recording(json_t *take_result, const GError *error, void *user_data)
{
    Supervisor *sv = user_data;

    json_decref(take_result);
    if (error != NULL && sv->state != SUPERVISOR_ENDING) {
        g_autoptr(GError) fault = fault_new(FAULT_OPTION, fault_errno(error), "--pcap %s: %s",
                                            sv->settings->pcap, g_strerror(fault_errno(error)));

        supervisor_error(sv, fault);
        supervisor_fail_start(sv);
    }
}

static bool supervisor_record(Supervisor *sv, GError **error)
{
    sv->inquiry = inquiry_new(sv->context, supervisor_ask, sv, child_pid(sv->datapath),
                              child_pid(sv->inside));
    return sv->settings->pcap == NULL ||
           inquiry_pcap_file(sv->inquiry, sv->settings->pcap, supervisor_recording, sv, error);
}

static bool supervisor_start(Supervisor *sv, GError **error)
{
    size_t nofile;

    sv->endings = endings_new(sv->settings, sv->parent, sv->context, supervisor_ending, sv, error);
    if (sv->endings == NULL || !supervisor_make_sandbox(sv, error) || !process_harden(error)) {
        return false;
    }
    process_prepare_lockdown();
    nofile = process_raise_nofile(); /* ours, not COMMAND's */
    supervisor_check_outbound(sv);
    sv->target = target_open(&sv->settings->guest,
                             sv->sandbox != NULL ? sandbox_pid(sv->sandbox) : 0, error);
    if (sv->target == NULL || !supervisor_spawn(sv, nofile, error)) {
        return false;
    }
    sv->briefing = briefing_new(sv->settings, sv->datapath, sv->context, sv->report,
                                supervisor_brief, sv, error);
    if (sv->briefing == NULL) {
        return false;
    }
    if (sv->sandbox == NULL) {
        target_watch(sv->target, sv->context, supervisor_target_gone, sv);
    }
    sv->service = service_new(sv->settings, sv->context, error);
    if (sv->service == NULL) {
        return false;
    }
    report_attach(sv->report, sv->context);
    sv->publisher = publisher_new(sv->settings->publish, &sv->settings->guest,
                                  child_sock(sv->datapath), sv->report, supervisor_published, sv);
    publisher_start(sv->publisher);
    if (!supervisor_record(sv, error)) {
        return false;
    }
    sv->locked.insecure = sv->settings->insecure;
    return lockdown_supervise(sv->settings, service_wanted(sv->settings),
                              &sv->locked.held[ROLE_SUPERVISOR], error);
}

static void supervisor_report_exit(const Supervisor *sv)
{
    json_t *body = json_pack("{s:s}", "reason", sv->reason);
    g_autofree char *name = NULL;
    g_autofree char *line = NULL;

    if (sv->end_status >= 0) {
        (void)json_object_set_new(body, "status", json_integer(sv->end_status));
    }
    if (sv->end_signal != 0) {
        name = record_signal_name(sv->end_signal);
        (void)json_object_set_new(body, "signal", json_string(name));
    }
    line = record_exit_line(sv->settings, sv->reason, sv->end_status, name);
    report_exit(sv->report, line, body);
}

/* Children first: when the last record is out, nothing of ours is left. */
static void supervisor_clear(Supervisor *sv)
{
    g_clear_pointer(&sv->service, service_free);
    g_clear_pointer(&sv->inquiry, inquiry_free);
    g_clear_pointer(&sv->publisher, publisher_free);
    g_clear_pointer(&sv->datapath, child_free);
    child_dismiss(sv->inside, SUPERVISOR_DISMISS_MS);
    g_clear_pointer(&sv->inside, child_free);
    g_clear_pointer(&sv->command, child_free);
    g_clear_pointer(&sv->sandbox, sandbox_free);
    g_clear_pointer(&sv->briefing, briefing_free);
    g_clear_pointer(&sv->endings, endings_free);
    g_clear_pointer(&sv->target, target_free);
    fd_clear(&sv->tap);
}

int supervisor_run(const Settings *settings, pid_t parent, Report *report)
{
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(GMainLoop) loop = g_main_loop_new(context, FALSE);
    g_autoptr(GError) error = NULL;
    Supervisor sv = {.parent = parent,
                     .settings = settings,
                     .report = report,
                     .context = context,
                     .loop = loop,
                     .tap = -1,
                     .end_status = -1};

    if (!supervisor_start(&sv, &error)) {
        supervisor_error(&sv, error);
        if (sv.publisher == NULL) {
            publisher_try(settings->publish, &settings->guest,
                          report); /* a second cause gets its record too */
        }
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
