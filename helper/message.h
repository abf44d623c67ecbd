/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_MESSAGE_H
#define SALLYPORT_MESSAGE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flowrecord.h"
#include "netaddr.h"
#include "stats.h"

/*
 * Fixed-size typed messages between the three processes, one per SOCK_SEQPACKET datagram. Lengths and counts of
 * fds are checked in message_recv() alone, against one table, before anyone looks at the contents.
 */
#define MESSAGE_TEXT_MAX  480
#define MESSAGE_ADDRS_MAX 64
#define MESSAGE_WHY_MAX   160
#define MESSAGE_FLOWS_MAX 32
/* SCM_MAX_FD of include/net/scm.h is 253. */
#define MESSAGE_FDS_MAX 250

typedef enum MessageType {
    MESSAGE_INSIDE_READY = 1, /* inside -> supervisor: TAP made; 1 fd */
    MESSAGE_INSIDE_FAST_PATH, /* inside -> supervisor: the fast path is on, or why not */
    MESSAGE_START,            /* supervisor -> datapath: the TAP; 1 fd */
    MESSAGE_HOST_ADDRESSES, /* supervisor -> datapath: addresses of the host's interfaces, in parts */
    MESSAGE_DNS_SERVERS,    /* supervisor -> datapath: the host's name servers */
    MESSAGE_DNS_LISTENER,   /* supervisor -> datapath: loopback listener of DNS over TCP; 1 fd */
    MESSAGE_LISTEN,         /* supervisor -> datapath: listeners of one publication; 1 to 250 fds */
    MESSAGE_LISTENING,      /* datapath -> supervisor: the answer to each MESSAGE_LISTEN */
    MESSAGE_UNLISTEN,       /* supervisor -> datapath: close the listeners of one publication */
    MESSAGE_UNLISTENED,     /* datapath -> supervisor: the answer: they are closed */
    MESSAGE_GO,             /* supervisor -> datapath: that was all; begin */
    MESSAGE_DATAPATH_READY, /* datapath -> supervisor: running */
    MESSAGE_LOG,            /* inside, datapath -> supervisor: a log record */
    MESSAGE_FAULT, /* inside, datapath -> supervisor: an error record; the sender ends with status 1 */
    MESSAGE_TAP_GONE,       /* datapath -> supervisor: the interface was deleted */
    MESSAGE_SOCKET_REQUEST, /* datapath -> inside: a connected socket in the guest's netns, please */
    MESSAGE_SOCKET_REPLY,   /* inside -> datapath: 1 fd, or none and an errno */
    MESSAGE_FAST_PATH,      /* inside -> datapath: what takeover works with; 6 fds, 2, 1 or none */
    MESSAGE_REPAIR,         /* datapath -> inside: rules are wanted, or rules or listener gone */
    MESSAGE_LOCKED, /* inside, datapath -> supervisor: what holds of it, proved; before its ready */
    MESSAGE_FLOWS_QUERY, /* supervisor -> datapath: which flows are there? */
    MESSAGE_FLOWS,       /* datapath -> supervisor: a page of them */
    MESSAGE_STATS_QUERY, /* supervisor -> datapath: what was counted? */
    MESSAGE_STATS,       /* datapath -> supervisor: that */
    MESSAGE_PCAP,        /* supervisor -> datapath: record frames into 1 fd, or stop, without */
    MESSAGE_PCAP_DONE,   /* datapath -> supervisor: the answer to each MESSAGE_PCAP */
    MESSAGE_LOG_LEVEL,   /* supervisor -> datapath: what is worth a line from now on */
    MESSAGE_TYPE_COUNT
} MessageType;

/* What the guest's interface turned out to be; @ipv6: addresses of IPv6 are usable. */
typedef struct MessageLink {
    uint32_t type;
    uint32_t mtu;
    uint8_t mac[6];
    bool ipv6;
    bool attached; /* a persistent TAP that was there before */
    char ifname[IFNAMSIZ];
} MessageLink;

/* @inbound: sockets in the guest can show a client's own address; so it is with @on, and may be without. @loaded: the rules are
 * in the guest; else they come behind "ready". @why: it is off, NUL-terminated. */
typedef struct MessageFastPathState {
    uint32_t type;
    bool on;
    bool loaded;
    bool inbound;
    char why[MESSAGE_WHY_MAX];
} MessageFastPathState;

/* The whole set comes in parts: @first begins a new one, @last completes it. */
typedef struct MessageAddresses {
    uint32_t type;
    uint32_t count;
    bool first;
    bool last;
    NetAddr addrs[MESSAGE_ADDRS_MAX];
} MessageAddresses;

typedef struct MessageServers {
    uint32_t type;
    uint32_t count;
    NetAddr addrs[16];
} MessageServers;

typedef struct MessageDnsListener {
    uint32_t type;
    uint16_t family;
    uint16_t port; /* host byte order */
} MessageDnsListener;

/* What a socket in the guest's namespace says its own address is. */
typedef enum MessageSource {
    MESSAGE_SOURCE_GUEST,   /* the kernel's choice: an address of the guest's */
    MESSAGE_SOURCE_GATEWAY, /* the gateway of the family, any port */
    MESSAGE_SOURCE_CLIENT,  /* the client's own */
} MessageSource;

/**
 * struct MessageListen - @count consecutive host ports of one publication
 * @publication: its number; listeners of one publication share max
 * @protocol:    one PORTMAP_* bit
 * @both_families: an IPv6 wildcard socket that takes IPv4 too
 * @host_port:   first host port, host byte order; the n-th fd is host_port + n
 * @guest_port:  guest port of the first; grows with n if @guest_range
 * @guest_addr:  AF_UNSPEC: the guest's own
 * @source:      a MessageSource
 * @idle_s:      seconds, -1 for the default
 * @max:         connections or clients, 0 for the default
 */
typedef struct MessageListen {
    uint32_t type;
    uint32_t publication;
    uint32_t protocol;
    uint16_t host_port;
    uint16_t guest_port;
    uint16_t count;
    bool guest_range;
    bool both_families;
    uint32_t source;
    uint32_t max;
    int64_t idle_s;
    NetAddr guest_addr;
} MessageListen;

/* @errnum: 0, or why these listeners are not in use (they are closed then). */
typedef struct MessageListening {
    uint32_t type;
    uint32_t publication;
    int32_t errnum;
} MessageListening;

/* @cut: its TCP connections are reset; else they go on. UDP clients lose their way with the listener in any case. */
typedef struct MessageUnlisten {
    uint32_t type;
    uint32_t publication;
    bool cut;
} MessageUnlisten;

typedef struct MessageUnlistened {
    uint32_t type;
    uint32_t publication;
} MessageUnlistened;

typedef struct MessagePlain {
    uint32_t type;
} MessagePlain;

/* @level: a LogLevel (logs only); @kind: a FaultKind; @text: NUL-terminated. */
typedef struct MessageText {
    uint32_t type;
    uint32_t level;
    uint32_t kind;
    int32_t errnum;
    char text[MESSAGE_TEXT_MAX];
} MessageText;

/* @client, @client_port (0: any): for MESSAGE_SOURCE_CLIENT. Ports in host byte order. */
typedef struct MessageSocketRequest {
    uint32_t type;
    uint16_t port;
    uint16_t client_port;
    bool udp;
    uint32_t source;
    uint64_t id;
    NetAddr addr;
    NetAddr client;
} MessageSocketRequest;

/* @errnum: why there is no socket. A TCP connect may still be under way. @source: what it came to; @other_port: not the
 * client's, because that was taken. */
typedef struct MessageSocketReply {
    uint32_t type;
    int32_t errnum;
    uint32_t source;
    bool other_port;
    uint64_t id;
} MessageSocketReply;

/* The order of the fds of a MESSAGE_FAST_PATH at start. */
typedef enum MessageFastPathFd {
    FAST_PATH_RETURN4, /* raw, for later packets of a flow (mark M) */
    FAST_PATH_RETURN6,
    FAST_PATH_LISTENER,
    FAST_PATH_INJECT4, /* raw, for re-injected SYNs (mark M2) */
    FAST_PATH_INJECT6,
    FAST_PATH_DIAG, /* sock_diag(7): asks about the guest's sockets */
    FAST_PATH_FDS,
    FAST_PATH_INBOUND_FDS =
        FAST_PATH_LISTENER /* that many come without the table: nothing is taken over */
} MessageFastPathFd;

/**
 * struct MessageFastPath - at start all fds, or those for inbound flows alone; later the answer to a MESSAGE_REPAIR: a new
 *                          listener or, for rules, no fd
 * @errnum: the repair failed; EOPNOTSUPP: there is no fast path
 * @loaded: the rules were put into the guest
 * @ifindex: of the TAP, in the guest
 * @hop_limit: with which packets of the guest's own leave: IPv4, IPv6
 */
typedef struct MessageFastPath {
    uint32_t type;
    int32_t errnum;
    uint32_t ifindex;
    uint8_t hop_limit[2];
    bool loaded;
} MessageFastPath;

typedef enum MessageRepairWhat {
    REPAIR_LOAD,     /* the rules, unless they are there */
    REPAIR_RULES,    /* the rules, whatever is said to be there */
    REPAIR_LISTENER, /* a new listener, and rules that lead to it */
} MessageRepairWhat;

/* @what: a MessageRepairWhat. */
typedef struct MessageRepair {
    uint32_t type;
    uint32_t what;
} MessageRepair;

/* @held: a set of 1 << LockdownHeld. */
typedef struct MessageLocked {
    uint32_t type;
    uint32_t held;
} MessageLocked;

/*
 * Questions of the supervisor's, and answers that carry their number. A question that finds the datapath's queue full waits in ours,
 * and an answer in the datapath's, within limits: who asked waits for so long and no longer (inquiry.h).
 */

/* Where a walk begins, and where one has ended. What else a cursor says only the datapath knows. */
#define MESSAGE_FLOWS_BEGIN 0
#define MESSAGE_FLOWS_END   UINT64_MAX

typedef struct MessageFlowsQuery {
    uint32_t type;
    uint32_t id;
    uint64_t cursor;
    uint32_t limit; /* flows at most; more than MESSAGE_FLOWS_MAX never come */
} MessageFlowsQuery;

/* A page may have less flows than were asked for, or none, though there are more: only @cursor tells. */
typedef struct MessageFlows {
    uint32_t type;
    uint32_t id;
    uint64_t cursor; /* of the next page */
    uint32_t count;
    FlowRecord flows[MESSAGE_FLOWS_MAX];
} MessageFlows;

/* MESSAGE_STATS_QUERY */
typedef struct MessageQuery {
    uint32_t type;
    uint32_t id;
} MessageQuery;

/* @nofile: RLIMIT_NOFILE of the datapath. */
typedef struct MessageStats {
    uint32_t type;
    uint32_t id;
    uint64_t counters[STAT_COUNT];
    FlowTotal totals[STATS_PROTOCOLS];
    uint64_t nofile;
} MessageStats;

/* @max_bytes: of the file, its headers included; 0: no limit. With one fd it begins, in place of one under way; without, it ends. */
typedef struct MessagePcap {
    uint32_t type;
    uint32_t id;
    uint64_t max_bytes;
} MessagePcap;

/* @errnum: why it does not begin. Of what ended, if anything did: @bytes and @frames written, @dropped for want of room. */
typedef struct MessagePcapDone {
    uint32_t type;
    uint32_t id;
    int32_t errnum;
    uint64_t bytes;
    uint64_t frames;
    uint64_t dropped;
} MessagePcapDone;

/* @level: a LogLevel. */
typedef struct MessageLogLevel {
    uint32_t type;
    uint32_t level;
} MessageLogLevel;

typedef union Message {
    uint32_t type;
    MessagePlain plain;
    MessageLink link;
    MessageAddresses addresses;
    MessageServers servers;
    MessageDnsListener dns_listener;
    MessageListen listen;
    MessageListening listening;
    MessageUnlisten unlisten;
    MessageUnlistened unlistened;
    MessageText text;
    MessageSocketRequest socket_request;
    MessageSocketReply socket_reply;
    MessageFastPath fast_path;
    MessageFastPathState fast_path_state;
    MessageRepair repair;
    MessageLocked locked;
    MessageFlowsQuery flows_query;
    MessageFlows flows;
    MessageQuery query;
    MessageStats stats;
    MessagePcap pcap;
    MessagePcapDone pcap_done;
    MessageLogLevel log_level;
} Message;

/* Makes a connected pair of SOCK_SEQPACKET sockets, CLOEXEC and non-blocking. 0 or -errno. */
int message_pair(int ret_pair[2]);

/**
 * message_send() - send one message; its type says how long it is
 * @fds: @fd_count file descriptors to pass, still the caller's afterwards; NULL for none
 *
 * Return: 0, -EAGAIN (queue full, or no memory for it in the kernel now), -ETOOMANYREFS (too many fds in flight), or another -errno of sendmsg(2).
 * EPIPE comes as an error, never as a signal.
 */
int message_send(int sock, const void *message, const int *fds, size_t fd_count);

/* The same without fds, for what must not get lost while somebody waits for it: tries for about a second. */
int message_send_patiently(int sock, const void *message);

/**
 * message_recv() - receive one message
 * @ret_fds: the fds that came with it, CLOEXEC, now the caller's
 *
 * Return: 1; 0 at the end of the connection; -EAGAIN; -EBADMSG for an unknown type, a wrong length, a wrong number of
 * fds or text without an end (fds are closed); -EMFILE if fds were lost because this process can hold no more: then
 * @ret is filled in, and there are no fds.
 */
int message_recv(int sock, Message *ret, int ret_fds[MESSAGE_FDS_MAX], size_t *ret_fd_count);

/* Fills in a MESSAGE_LOG or MESSAGE_FAULT; a longer text is cut. */
void message_text_init(MessageText *ret, MessageType type, unsigned level, unsigned kind,
                       int errnum, const char *text);

#endif
