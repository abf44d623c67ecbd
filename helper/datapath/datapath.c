/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * datapath.c - the process that moves frames and bytes
 *
 * Does:     puts the rooms together: link to gate, gate to nat, dns, ping; forward to relay. Takes the supervisor's messages.
 * Runs in:  the host's network namespace, else in namespaces of its own, with an empty root and no right (lockdown.c).
 * Trusts:   the supervisor. Frames, clients and servers not at all.
 * Owns:     everything it makes; one main loop; the threads of relay_worker.c, made when all rights are given up; no file.
 * Order:    policy first: what the supervisor sends is kept until MESSAGE_GO; before, no frame is read, no client accepted.
 */
#include "config.h"

#include "datapath.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <string.h>
#include <unistd.h>

#include <glib-unix.h>

#include "../fault.h"
#include "../fd.h"
#include "../lockdown/lockdown.h"
#include "../lockdown/namespaces.h"
#include "../lockdown/process.h"
#include "../message.h"
#include "../scratch.h"
#include "answers.h"
#include "dns.h"
#include "flow.h"
#include "forward.h"
#include "gate.h"
#include "guestsock.h"
#include "limits.h"
#include "link.h"
#include "listens.h"
#include "loglimit.h"
#include "nat.h"
#include "natflows.h"
#include "natshare.h"
#include "pcap.h"
#include "ping.h"
#include "policy.h"
#include "poller.h"
#include "relay.h"
#include "router.h"
#include "survey.h"
#include "takeover.h"

/* Classes of log lines: one for each reason of the gate, and these. */
typedef enum DatapathLog {
    DATAPATH_LOG_LIMIT = GATE_REASON_COUNT,
    DATAPATH_LOG_NAT,
    DATAPATH_LOG_PING,
    DATAPATH_LOG_PCAP,
    DATAPATH_LOG_TAKEOVER, /* one for each TakeoverNote */
    DATAPATH_LOG_COUNT = DATAPATH_LOG_TAKEOVER + TAKEOVER_NOTE_COUNT
} DatapathLog;

typedef struct Datapath {
    const Settings *settings;
    size_t nofile;
    int supervisor;
    int inside;
    int tap;
    MessageLink link_info;
    GMainContext *context;
    GMainLoop *loop;
    Poller *poller;
    Gate *gate;
    Link *link;
    Nat *nat;
    Dns *dns;
    Ping *ping;
    Router *router;      /* NULL: the guest is configured */
    bool ping_usable[2]; /* IPv4, IPv6 */
    GuestSock *guestsock;
    Forward *forward;
    NatShare *natshare;
    NatFlows *natflows;
    Pcap *pcap;
    Relays *relays;
    Limits limits;
    Takeover *takeover;     /* NULL: no fast path */
    GArray *host_addresses; /* the set being received */
    Answers *answers;
    Listens *listens;
    uint16_t dns_ports[2];
    LogLimit *log;
    uint8_t frame[FRAME_MAX];
} Datapath;

static void datapath_say(Datapath *dp, MessageType type, LogLevel level, FaultKind kind, int errnum,
                         const char *text)
{
    MessageText message;

    message_text_init(&message, type, level, kind, errnum, text);
    /* A full queue loses the line, unless it is our last word: logging never delays a packet. */
    (void)(type == MESSAGE_FAULT ? message_send_patiently(dp->supervisor, &message)
                                 : message_send(dp->supervisor, &message, NULL, 0));
}

/* LogLimitFunc */
static void datapath_log(LogLevel level, FaultKind kind, int errnum, const char *text,
                         void *user_data)
{
    datapath_say(user_data, MESSAGE_LOG, level, kind, errnum, text);
}

static void datapath_log_refusal(Datapath *dp, GateReason reason, const FrameView *view,
                                 LogLevel level)
{
    char src[NETADDR_STRLEN];
    char dst[NETADDR_STRLEN];

    if (!loglimit_wants(dp->log, level)) {
        return;
    }
    if (reason == GATE_REASON_MALFORMED) {
        loglimit_say(dp->log, reason, level, FAULT_REFUSED, 0,
                     "dropped a malformed frame of the guest");
        return;
    }
    loglimit_say(dp->log, reason, level, FAULT_REFUSED, 0, "refused the guest %s, protocol %u: %s",
                 netaddr_format_port(&view->src, view->src_port, src), view->protocol,
                 netaddr_format_port(&view->dst, view->dst_port, dst));
}

static void datapath_send(const uint8_t *frame, size_t len, void *user_data)
{
    Datapath *dp = user_data;

    link_send(dp->link, frame, len);
}

/* NatHooks.send. The frame stands in a buffer that libslirp made for this one call (if_encap(), arp_input(), ndp_input()...),
 * so the few bytes of a DNS-over-TCP reply are changed there: copying each frame would cost more. */
static void datapath_from_nat(const uint8_t *frame, size_t len, void *user_data)
{
    Datapath *dp = user_data;
    union {
        const uint8_t *in;
        uint8_t *out;
    } unconst = {.in = frame};

    natflows_to_guest(dp->natflows, frame, len);
    gate_reply(dp->gate, unconst.out, len);
    link_send(dp->link, frame, len);
}

/* NatHooks.opened */
static void datapath_nat_opened(int fd, const FrameView *view, void *user_data)
{
    natflows_opened(((Datapath *)user_data)->natflows, fd, view);
}

/* NatHooks.closed */
static void datapath_nat_closed(int fd, void *user_data)
{
    natflows_closed(((Datapath *)user_data)->natflows, fd);
}

/* PcapEndedFunc */
static void datapath_pcap_ended(int errnum, void *user_data)
{
    Datapath *dp = user_data;

    loglimit_say(dp->log, DATAPATH_LOG_PCAP, LOG_LEVEL_WARNING, FAULT_LIMIT, errnum,
                 "the recording of frames has ended: %s",
                 errnum != 0 ? g_strerror(errnum) : "it has as many bytes as it may have");
}

static void datapath_nat_log(const char *message, void *user_data)
{
    Datapath *dp = user_data;

    loglimit_say(dp->log, DATAPATH_LOG_NAT, LOG_LEVEL_DEBUG, FAULT_REFUSED, 0, "libslirp: %s",
                 message);
}

/* ForwardConfig.problem */
static void datapath_problem(const char *what, int errnum, void *user_data)
{
    Datapath *dp = user_data;

    loglimit_say(dp->log, DATAPATH_LOG_LIMIT, LOG_LEVEL_WARNING, FAULT_LIMIT, errnum, "%s%s%s",
                 what, errnum != 0 ? ": " : "", errnum != 0 ? g_strerror(errnum) : "");
}

/* A frame the gate let through for libslirp. Returns the length of what is to be answered instead, in dp->frame; 0: nothing. */
static size_t datapath_to_nat(Datapath *dp, const uint8_t *frame, size_t len, const FrameView *view)
{
    if (!natshare_admits(dp->natshare, view)) {
        size_t out = gate_refusal(dp->gate, frame, view, dp->frame);

        datapath_problem("limit reached: connections of the guest", 0, dp);
        gate_reply(dp->gate, dp->frame, out); /* from the name server, if it was asked */
        return out;
    }
    natflows_from_guest(dp->natflows, view);
    nat_input(dp->nat, frame, len, view);
    return 0;
}

/* A packet of a connection that the guest's kernel carries: conntrack forgot it, so it came here. The gate's word is on the
 * address of the frame, and this one goes nowhere but back. */
static bool datapath_return(Datapath *dp, const uint8_t *frame, const FrameView *view)
{
    bool tcp = view->protocol == IPPROTO_TCP;

    if (dp->takeover == NULL || (!tcp && view->protocol != IPPROTO_UDP) ||
        (tcp && (view->tcp_flags & (FRAME_TCP_SYN | FRAME_TCP_ACK)) == FRAME_TCP_SYN)) {
        return false;
    }
    if (tcp) {
        return takeover_segment(dp->takeover, frame, view);
    }
    if (!forward_owns(dp->forward, view)) {
        return false;
    }
    takeover_return(dp->takeover, frame, view);
    return true;
}

/* LinkHooks.frame */
static void datapath_frame(uint8_t *frame, size_t len, void *user_data)
{
    Datapath *dp = user_data;
    FrameView view = {0};
    GateReason reason = GATE_REASON_NONE;
    size_t out = 0;

    switch (gate_judge(dp->gate, frame, &len, &view, &reason)) {
    case GATE_DROP:
        datapath_log_refusal(dp, reason, &view, LOG_LEVEL_DEBUG);
        return;
    case GATE_REFUSE:
        if (datapath_return(dp, frame, &view)) {
            return;
        }
        datapath_log_refusal(dp, reason, &view, LOG_LEVEL_WARNING);
        out = gate_refusal(dp->gate, frame, &view, dp->frame);
        break;
    case GATE_NAT:
        if (!datapath_return(dp, frame, &view)) {
            out = datapath_to_nat(dp, frame, len, &view);
        }
        break;
    case GATE_TCP_SYN:
        if (dp->takeover == NULL || !takeover_syn(dp->takeover, frame, len, &view)) {
            out = datapath_to_nat(dp, frame, len, &view);
        }
        break;
    case GATE_DNS:
        dns_query(dp->dns, frame, &view);
        return;
    case GATE_PING:
        if (dp->ping_usable[view.dst.family == AF_INET6]) {
            ping_request(dp->ping, frame, &view);
        }
        return;
    case GATE_ROUTER:
        router_solicited(dp->router);
        return;
    case GATE_ECHO:
        out = frame_build_echo_reply(dp->frame, frame, &view);
        break;
    }
    if (out > 0) {
        link_send(dp->link, dp->frame, out);
    }
}

/* LinkHooks.gone */
static void datapath_tap_gone(void *user_data)
{
    Datapath *dp = user_data;
    MessagePlain message = {.type = MESSAGE_TAP_GONE};

    if (message_send_patiently(dp->supervisor, &message) != 0) {
        g_main_loop_quit(dp->loop); /* without its word there is still our end */
    }
}

static bool datapath_is_own_peer(const NetAddr *peer, uint16_t port, void *user_data)
{
    Datapath *dp = user_data;

    return nat_owns_local(dp->nat, peer, port, dp->dns_ports[peer->family == AF_INET6]);
}

static void datapath_make_ping(Datapath *dp)
{
    int failed4 = ping_probe(AF_INET);
    int failed6 = dp->link_info.ipv6 ? ping_probe(AF_INET6) : 0;
    int failed = failed4 != 0 ? failed4 : failed6;

    dp->ping_usable[0] = failed4 == 0;
    dp->ping_usable[1] = failed6 == 0 && dp->link_info.ipv6;
    if (failed != 0) {
        loglimit_say(dp->log, DATAPATH_LOG_PING, LOG_LEVEL_WARNING, FAULT_PING, failed,
                     "echo (ping) to the outside is not possible%s: %s (sysctl "
                     "net.ipv4.ping_group_range must include our group)",
                     failed4 == 0 ? " over IPv6" : "", g_strerror(failed));
    }
    dp->ping = ping_new(dp->context, dp->poller, dp->limits.ping, datapath_send, dp);
}

static void datapath_share_fds(Datapath *dp)
{
    int lowest = fcntl(dp->supervisor, F_DUPFD_CLOEXEC, 0);

    fd_close(lowest);
    dp->limits = limits_share(dp->settings, dp->nofile, lowest < 0 ? dp->nofile : (size_t)lowest);
    if (dp->limits.room < dp->settings->max_flows) {
        loglimit_say(dp->log, DATAPATH_LOG_LIMIT, LOG_LEVEL_WARNING, FAULT_LIMIT, EMFILE,
                     "--max-flows %u: RLIMIT_NOFILE leaves room for %u", dp->settings->max_flows,
                     dp->limits.room);
    }
}

static bool datapath_make_forward(Datapath *dp, GError **error)
{
    ForwardConfig config = {
        .guest = dp->settings->guest.addr,
        .flows_max = dp->limits.flows,
        .udp_max = dp->limits.udp,
        .problem = datapath_problem,
        .user_data = dp,
    };

    if (dp->link_info.ipv6) {
        config.guest6 = dp->settings->guest.addr6;
    }
    dp->natshare = natshare_new(dp->context, dp->nat, dp->limits.nat);
    dp->forward = forward_new(dp->context, dp->guestsock, dp->relays, &config, error);
    return dp->forward != NULL && listens_begin(dp->listens, dp->forward, error);
}

/* TakeoverHooks.nat */
static void datapath_takeover_to_nat(const uint8_t *frame, size_t len, void *user_data)
{
    Datapath *dp = user_data;
    FrameView view;
    size_t out = 0;

    if (frame_parse(frame, len, &view) == FRAME_OK) {
        out = datapath_to_nat(dp, frame, len, &view);
    }
    if (out > 0) {
        link_send(dp->link, dp->frame, out);
    }
}

/* TakeoverHooks.repair */
static bool datapath_repair(MessageRepairWhat what, void *user_data)
{
    Datapath *dp = user_data;

    return guestsock_repair(dp->guestsock, what);
}

/* TakeoverHooks.note */
static void datapath_takeover_note(TakeoverNote about, const char *what, void *user_data)
{
    Datapath *dp = user_data;
    bool tried = about == TAKEOVER_NOTE_UNMATCHED;

    loglimit_say(dp->log, DATAPATH_LOG_TAKEOVER + about,
                 tried ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, FAULT_FAST_PATH, 0, "%s", what);
}

/* TakeoverHooks.ended */
static void datapath_takeover_ended(void *user_data)
{
    Datapath *dp = user_data;

    forward_room(dp->forward);
}

static bool datapath_make_takeover(Datapath *dp, GError **error)
{
    const GuestSettings *guest = &dp->settings->guest;
    TakeoverHooks hooks = {datapath_send,          datapath_takeover_to_nat, datapath_repair,
                           datapath_takeover_note, datapath_takeover_ended,  dp};
    TakeoverConfig config = {
        .gateway = {guest->gateway, guest->gateway6},
        .outbound = {dp->settings->outbound4, dp->settings->outbound6},
        .pending_max = dp->limits.pending,
        /* A guest that opens connections without end leaves room for those of its clients. */
        .flows_max = MAX(dp->limits.flows * 3 / 4, 1),
    };

    dp->takeover = takeover_new(dp->context, dp->relays, &config, &hooks, error);
    return dp->takeover != NULL;
}

/* Not before there is nothing else to do for "ready". */
static void datapath_load_rules(Datapath *dp)
{
    if (dp->takeover != NULL && dp->link != NULL) {
        takeover_load(dp->takeover);
    }
}

/* GuestSockFastPathFunc. The first comes before "ready": inside sends it before it tells the supervisor. */
static void datapath_equip(const MessageFastPath *message, const int *take_fds, size_t count,
                           void *user_data)
{
    Datapath *dp = user_data;
    g_autoptr(GError) error = NULL;

    if (dp->takeover == NULL && !datapath_make_takeover(dp, &error)) {
        datapath_say(dp, MESSAGE_LOG, LOG_LEVEL_WARNING, FAULT_FAST_PATH, 0, error->message);
        for (size_t i = 0; i < count; i++) {
            fd_close(take_fds[i]);
        }
        return;
    }
    takeover_equip(dp->takeover, message, take_fds, count);
    datapath_load_rules(dp);
}

static bool datapath_go(Datapath *dp, GError **error)
{
    NatHooks nat_hooks = {datapath_from_nat, datapath_nat_log, datapath_nat_opened,
                          datapath_nat_closed, dp};
    LinkHooks link_hooks = {datapath_frame, datapath_tap_gone, dp};

    dp->natflows = natflows_new(dp->context);
    dp->nat = nat_new(dp->settings, dp->link_info.mtu, dp->link_info.ipv6, dp->context, &nat_hooks,
                      error);
    if (dp->nat == NULL || !datapath_make_forward(dp, error)) {
        return false;
    }
    datapath_make_ping(dp);
    dp->router = router_new(dp->context, dp->settings, datapath_send, dp);
    dns_set_max_payload(dp->dns, dp->link_info.mtu > 48 ? dp->link_info.mtu - 48 : 0);
    dp->link = link_new(fd_steal(&dp->tap), dp->context, &link_hooks);
    link_set_pcap(dp->link, dp->pcap);
    return true;
}

static void datapath_addresses(Datapath *dp, const MessageAddresses *part)
{
    if (part->first) {
        g_array_set_size(dp->host_addresses, 0);
    }
    g_array_append_vals(dp->host_addresses, part->addrs, MIN(part->count, MESSAGE_ADDRS_MAX));
    if (part->last) {
        gate_set_host_addresses(dp->gate, (const NetAddr *)(const void *)dp->host_addresses->data,
                                dp->host_addresses->len);
    }
}

static bool datapath_dns_listener(Datapath *dp, const MessageDnsListener *listener, int take_fd,
                                  GError **error)
{
    dp->dns_ports[listener->family == AF_INET6] = listener->port;
    gate_set_dns_tcp_port(dp->gate, listener->family, listener->port);
    return dns_add_listener(dp->dns, take_fd, error);
}

/* @take_fds: NULL if they were lost. False: it is no question. */
static bool datapath_answer(Datapath *dp, const Message *message, const int *take_fds, size_t count)
{
    SurveyRooms rooms = {dp->answers,  dp->gate,     dp->link,    dp->nat,       dp->natshare,
                         dp->natflows, dp->takeover, dp->forward, dp->guestsock, dp->relays,
                         dp->ping,     dp->dns,      dp->log,     dp->pcap,      dp->nofile};

    return survey_take(&rooms, message, take_fds, count);
}

/* False with @error set: the end. */
static bool datapath_take(Datapath *dp, const Message *message, const int *take_fds, size_t count,
                          GError **error)
{
    MessagePlain ready = {.type = MESSAGE_DATAPATH_READY};

    switch (message->type) {
    case MESSAGE_START:
        dp->link_info = message->link;
        dp->tap = take_fds[0];
        return true;
    case MESSAGE_LISTEN:
        listens_take(dp->listens, &message->listen, take_fds, count, 0);
        return true;
    case MESSAGE_UNLISTEN:
        if (!listens_remove(dp->listens, &message->unlisten)) {
            break;
        }
        return true;
    case MESSAGE_HOST_ADDRESSES:
        datapath_addresses(dp, &message->addresses);
        return true;
    case MESSAGE_DNS_SERVERS:
        dns_set_servers(dp->dns, message->servers.addrs,
                        MIN(message->servers.count, DNS_SERVERS_MAX));
        return true;
    case MESSAGE_DNS_LISTENER:
        return datapath_dns_listener(dp, &message->dns_listener, take_fds[0], error);
    case MESSAGE_GO:
        if (!datapath_go(dp, error)) {
            return false;
        }
        (void)message_send_patiently(dp->supervisor, &ready);
        datapath_load_rules(dp);
        return true;
    default:
        if (datapath_answer(dp, message, take_fds, count)) {
            return true;
        }
    }
    fault_set(error, FAULT_INTERNAL, EPROTO, "a message of type %u was not expected",
              message->type);
    return false;
}

static gboolean datapath_readable(gint sock, GIOCondition condition, gpointer user_data)
{
    Datapath *dp = user_data;
    g_autoptr(GError) error = NULL;
    Message message;
    int fds[MESSAGE_FDS_MAX];
    size_t count;
    int got = message_recv(sock, &message, fds, &count);

    (void)condition;
    if (got == -EAGAIN) {
        return G_SOURCE_CONTINUE;
    }
    if (got == -EMFILE && message.type == MESSAGE_LISTEN) {
        listens_take(dp->listens, &message.listen, NULL, 0, EMFILE);
        return G_SOURCE_CONTINUE;
    }
    if (got == -EMFILE && datapath_answer(dp, &message, NULL, 0)) {
        return G_SOURCE_CONTINUE;
    }
    if (got == 1 && datapath_take(dp, &message, fds, count, &error)) {
        return G_SOURCE_CONTINUE;
    }
    if (got < 0) {
        fault_set(&error, FAULT_INTERNAL, -got, "messages of the supervisor: %s", g_strerror(-got));
    }
    if (error != NULL) {
        datapath_say(dp, MESSAGE_FAULT, LOG_LEVEL_ERROR, fault_kind(error), fault_errno(error),
                     error->message);
    }
    g_main_loop_quit(dp->loop);
    return G_SOURCE_REMOVE;
}

static bool datapath_prepare(Datapath *dp, GError **error)
{
    DnsHooks dns_hooks = {datapath_send, datapath_is_own_peer, dp};
    GateConfig gate;

    dp->tap = -1;
    dp->context = g_main_context_new();
    dp->loop = g_main_loop_new(dp->context, FALSE);
    dp->answers = answers_new(dp->supervisor, dp->context);
    dp->listens = listens_new(dp->answers, dp->context);
    dp->host_addresses = g_array_new(FALSE, FALSE, sizeof(NetAddr));
    dp->log = loglimit_new(DATAPATH_LOG_COUNT, dp->settings->log_level, datapath_log, dp);
    dp->pcap = pcap_new(datapath_pcap_ended, dp);
    dp->poller = poller_new(dp->context, error);
    if (dp->poller == NULL) {
        return false;
    }
    datapath_share_fds(dp);
    dp->relays = relays_new(dp->context, 0, dp->limits.pipes, error);
    if (dp->relays == NULL) {
        return false;
    }
    gate = policy_of(dp->settings);
    dp->gate = gate_new(&gate);
    dp->dns = dns_new(dp->poller, dp->context, &dns_hooks);
    dp->guestsock = guestsock_new(fd_steal(&dp->inside), dp->context, datapath_equip, dp);
    return true;
}

/* Nothing that the guest or the network sent has been seen until this is done. */
static bool datapath_lock_down(Datapath *dp, pid_t parent, const Namespaces *outside,
                               GError **error)
{
    MessageLocked locked = {.type = MESSAGE_LOCKED};
    int *keep[] = {&dp->supervisor, &dp->inside};
    bool insecure = dp->settings->insecure;
    Lockdown *lock;
    int failed;

    if (!process_become_child(parent, keep, G_N_ELEMENTS(keep), error)) {
        return false;
    }
    lock = lockdown_begin(ROLE_DATAPATH, insecure ? NULL : outside, insecure, error);
    if (lock == NULL || !datapath_prepare(dp, error)) {
        return false;
    }
    /* Without arenas of threads: to give memory of one back glibc opens a file (malloc/arena.c: shrink_heap()). */
    (void)mallopt(M_ARENA_MAX, 1);
    /* libslirp makes one later, for the times of its router advertisements: GLib remembers that there is no /dev/urandom. */
    g_rand_free(g_rand_new());
    process_renew_bonds(parent);
    if (!lockdown_finish(lock, &locked.held, error)) {
        return false;
    }
    failed = -message_send_patiently(dp->supervisor, &locked);
    if (failed != 0) {
        fault_set(error, FAULT_INTERNAL, failed, "saying that we are locked down: %s",
                  g_strerror(failed));
    }
    return failed == 0;
}

static int datapath_run(Datapath *dp, pid_t parent, const Namespaces *outside)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GSource) source = NULL;

    if (!datapath_lock_down(dp, parent, outside, &error)) {
        datapath_say(dp, MESSAGE_FAULT, LOG_LEVEL_ERROR, fault_kind(error), fault_errno(error),
                     error->message);
        return 1;
    }
    source = g_unix_fd_source_new(dp->supervisor, G_IO_IN | G_IO_HUP | G_IO_ERR);
    g_source_set_callback(source, G_SOURCE_FUNC(datapath_readable), dp, NULL);
    poller_attach_source(source, dp->context);
    g_main_loop_run(dp->loop);
    /* The loop ends with the supervisor or with a fault. Sockets go with the process; nobody waits for more. */
    return 1;
}

pid_t datapath_spawn(const Settings *settings, size_t nofile, int supervisor_sock, int inside_sock,
                     GError **error)
{
    /* In a PID namespace of its own it sees its parent as 0. */
    pid_t parent = settings->insecure ? getpid() : 0;
    Namespaces outside;
    pid_t pid;

    if (settings->insecure) {
        pid = fork();
        if (pid < 0) {
            fault_set(error, FAULT_INTERNAL, errno, "fork: %s", g_strerror(errno));
        }
    } else {
        pid = namespaces_read(&outside, error) ? namespaces_fork(error) : -1;
    }
    if (pid == 0) {
        Datapath *dp = NEW0_UP_TO(Datapath, frame);

        dp->settings = settings;
        dp->nofile = nofile;
        dp->supervisor = supervisor_sock;
        dp->inside = inside_sock;
        _exit(datapath_run(dp, parent, &outside));
    }
    return pid;
}
