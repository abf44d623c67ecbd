/* SPDX-License-Identifier: MIT */
/*
 * sallyport.h - the parent's side: spawn a helper, read its records, ask and change it while it runs, stop it
 *
 * libsallyport is small: libc and jansson. No function of it blocks longer than the deadline it is given, none starts a
 * thread, installs a signal handler or writes to stdout or stderr. An object must not be used by two threads at once;
 * two objects may, also a Sallyport and the SallyportControl taken from it.
 */
#ifndef SALLYPORT_H
#define SALLYPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SALLYPORT_RECORD_VERSION 1
/* A record is one line of JSON of at most so many bytes, the newline included. */
#define SALLYPORT_RECORD_MAX 4096

/* Values of "event". */
#define SALLYPORT_EVENT_PUBLISHED   "published"
#define SALLYPORT_EVENT_UNPUBLISHED "unpublished"
#define SALLYPORT_EVENT_READY       "ready"
#define SALLYPORT_EVENT_LOG         "log"
#define SALLYPORT_EVENT_ERROR       "error"
#define SALLYPORT_EVENT_EXIT        "exit"

/*
 * "locked_down" of the ready record: an object. "datapath", "inside", "supervisor": what holds of that process, read back by it
 * before ready, as words: "no-new-privs", "not-dumpable", "no-capabilities" (or "few-capabilities": those it needs),
 * "no-bounding-set" (an ordinary user's supervisor cannot empty it), "namespaces", "empty-root", "landlock", "landlock-scope"
 * (abstract sockets and signals), "seccomp", "seccomp-wide" (a build with a sanitizer: a longer list of calls). "absent": what
 * the kernel does not have. "insecure": --insecure-no-lockdown was given.
 */

/* Values of "code" in error and log records. */
#define SALLYPORT_CODE_OPTION        "option"    /* a bad option, address, CIDR, MTU, port map */
#define SALLYPORT_CODE_TARGET        "target"    /* PID or namespace: wrong, gone, not ours */
#define SALLYPORT_CODE_NAMESPACE     "namespace" /* a namespace could not be made or joined */
#define SALLYPORT_CODE_TAP           "tap"       /* /dev/net/tun, interface name */
#define SALLYPORT_CODE_CONFIGURE     "configure" /* addresses and routes of the guest */
#define SALLYPORT_CODE_PUBLISH       "publish"   /* a port could not be bound */
#define SALLYPORT_CODE_RESOLVER      "resolver"  /* name service */
#define SALLYPORT_CODE_IPV6          "ipv6"      /* IPv6 is missing; IPv4 alone */
#define SALLYPORT_CODE_PING          "ping"      /* echo is missing: net.ipv4.ping_group_range */
#define SALLYPORT_CODE_REFUSED       "refused"   /* the guest asked for what is not allowed (log) */
#define SALLYPORT_CODE_LIMIT         "limit"     /* a limit was reached */
#define SALLYPORT_CODE_LOCKDOWN      "lockdown"  /* a stage of locking down failed */
#define SALLYPORT_CODE_COMMAND       "command"   /* COMMAND could not be started */
#define SALLYPORT_CODE_REPORT        "report"    /* the report pipe or ready fd */
#define SALLYPORT_CODE_FAST_PATH     "fast-path" /* the fast path is missing, or was lost */
#define SALLYPORT_CODE_NOT_SUPPORTED "not-supported" /* asked for, not built yet */
#define SALLYPORT_CODE_INTERNAL      "internal"      /* memory, sockets of our own, a bug */

/* Values of "reason" in the exit record. */
#define SALLYPORT_REASON_TARGET_GONE   "target-gone" /* the PID ended */
#define SALLYPORT_REASON_NETNS_GONE    "netns-gone"  /* the path was removed */
#define SALLYPORT_REASON_PARENT_GONE   "parent-gone"
#define SALLYPORT_REASON_EXIT_FD       "exit-fd"
#define SALLYPORT_REASON_SIGNAL        "signal"   /* SIGTERM, SIGINT or SIGHUP; "signal" names it */
#define SALLYPORT_REASON_COMMAND       "command"  /* COMMAND ended; "status" or "signal" */
#define SALLYPORT_REASON_TAP_GONE      "tap-gone" /* the interface was deleted from inside */
#define SALLYPORT_REASON_INSIDE_DIED   "inside-died" /* "signal" or "status" says how */
#define SALLYPORT_REASON_DATAPATH_DIED "datapath-died"
#define SALLYPORT_REASON_START_FAILED  "start-failed" /* error records say why */
#define SALLYPORT_REASON_INTERNAL      "internal"

/* Values of SallyportRefusal.code: why a helper did not do what it was asked for. */
#define SALLYPORT_REFUSAL_REQUEST       "request"   /* no request, or a wrong or missing argument */
#define SALLYPORT_REFUSAL_COMMAND       "command"   /* it does not know the command */
#define SALLYPORT_REFUSAL_READ_ONLY     "read-only" /* a change, asked for on --observe-fd */
#define SALLYPORT_REFUSAL_PUBLISH       "publish" /* the spec is wrong, or a port could not be bound */
#define SALLYPORT_REFUSAL_NOT_FOUND     "not-found"
#define SALLYPORT_REFUSAL_BUSY          "busy" /* the same is under way, or too much is */
#define SALLYPORT_REFUSAL_NOT_SUPPORTED "not-supported"
#define SALLYPORT_REFUSAL_INTERNAL      "internal"

typedef struct SallyportBuilder SallyportBuilder;
typedef struct Sallyport Sallyport;
typedef struct SallyportControl SallyportControl;

/**
 * struct SallyportEvent - one record, taken apart
 * @event, @code, @reason, @message: as in the record; NULL where the record has none
 * @json:   the whole record, one line without the newline, for keys not listed here
 * @seq:    sequence number; gaps never happen, so a gap means a record was not for this pipe
 * @status: exit record: exit status of what ended, else -1
 * @signal: exit record: number of the signal that ended it, else 0
 * @errno_name: "EADDRINUSE"; NULL if the cause has none
 *
 * All strings live until sallyport_event_free().
 */
typedef struct SallyportEvent {
    const char *event;
    const char *code;
    const char *reason;
    const char *message;
    const char *errno_name;
    const char *json;
    int64_t seq;
    int status;
    int signal;
} SallyportEvent;

/* A new builder that will run "sallyport" from PATH. NULL if memory is out. */
SallyportBuilder *sallyport_builder_new(void);
void sallyport_builder_free(SallyportBuilder *builder);

/* The setters return 0 or -errno (-ENOMEM, -EINVAL); strings are copied. Of the four guests exactly one must be set. */
int sallyport_builder_set_helper(SallyportBuilder *builder, const char *path);
int sallyport_builder_set_pid(SallyportBuilder *builder, pid_t pid);
int sallyport_builder_set_netns_path(SallyportBuilder *builder, const char *netns,
                                     const char *userns_or_null);
/* The fds are borrowed until sallyport_spawn() returns; userns_fd -1 for none. They may be CLOEXEC. */
int sallyport_builder_set_netns_fd(SallyportBuilder *builder, int netns_fd, int userns_fd);
int sallyport_builder_set_command(SallyportBuilder *builder, const char *const *argv);
/* -p; may be called again. */
int sallyport_builder_publish(SallyportBuilder *builder, const char *spec);
/* Any other option, given to the helper as it is: "--mtu=1500". May be called again. */
int sallyport_builder_option(SallyportBuilder *builder, const char *option);
/* --control-fd: the helper gets one end of a socket pair, sallyport_take_control() gives the other. No path is needed. */
int sallyport_builder_set_control(SallyportBuilder *builder, bool control);

/* Starts the helper with a report pipe. On success *@ret is a new object and 0 is returned; else -errno (posix_spawn(3),
 * pipe2(2)); exec failure included. The helper inherits stdin, stdout, stderr and what the builder names, nothing else. */
int sallyport_spawn(const SallyportBuilder *builder, Sallyport **ret);

pid_t sallyport_pid(const Sallyport *sp);
/* The read end of the report pipe, for poll(2); owned by the object. Records may wait in the object as well: before the
 * first poll and after each POLLIN or POLLHUP call sallyport_next_event() with timeout 0 until it returns 0 or -EPIPE. */
int sallyport_fd(const Sallyport *sp);

/**
 * sallyport_next_event() - the next record
 * @timeout_ms: 0 does not wait, -1 waits for ever
 *
 * Return: 1 with *@ret to be freed; 0 if none came in time; -EPIPE after the last one (the helper has ended);
 * -EBADMSG for a line that is no record (it is skipped; call again)
 */
int sallyport_next_event(Sallyport *sp, int timeout_ms, SallyportEvent **ret);
void sallyport_event_free(SallyportEvent *event);

/**
 * sallyport_wait_ready() - read records until "ready"
 * @ret: (optional) the ready record, or with -ECANCELED the first error record; NULL if there is none
 *
 * Records passed on the way ("published") are kept for sallyport_next_event(), which returns them first; so is the
 * record of @ret if @ret is not given. After -ETIMEDOUT it may be called again.
 * Return: 0 (at once if it was ready before), -ETIMEDOUT, -ECANCELED if the helper ended instead, or another -errno
 */
int sallyport_wait_ready(Sallyport *sp, int timeout_ms, SallyportEvent **ret);

/* Asks the helper to end (SIGTERM) and waits; every port is free when it returns. SIGKILL after @timeout_ms: then within a
 * second. Returns the wait status (waitpid(2)) in *@ret_status (optional); 0, or -errno (-ECHILD: somebody else reaped it).
 * Its last records can still be read. May be called again. */
int sallyport_stop(Sallyport *sp, int timeout_ms, int *ret_status);

/* Frees the object; a helper still running gets SIGKILL and is reaped. NULL is fine. */
void sallyport_free(Sallyport *sp);

/* ---- control: ask and change a running helper ---- */

/* A request or a reply is one line of JSON of at most so many bytes. */
#define SALLYPORT_CONTROL_LINE_MAX 65536

/*
 * Every call below that takes a deadline (@timeout_ms: -1 waits for ever) returns 0, or:
 *
 *    -EREMOTEIO  the helper refused; sallyport_control_refusal() says why, nothing was changed
 *    -ETIMEDOUT  no reply in time. The helper may have done it or may still do it. The connection can be used on: a reply
 *                that comes late is skipped
 *    -EPIPE      the helper closed the connection or ended; whether it did it is not known
 *    -EBADMSG    what came is no reply, or has more than SALLYPORT_CONTROL_LINE_MAX bytes
 *    -EMSGSIZE   the request is longer than that and was not sent
 *    -EINVAL     an argument makes no sense (a string that is not UTF-8); nothing was sent
 *    -ENOMEM, or another -errno of sendmsg(2), recv(2), poll(2)
 *
 * After -EPIPE and -EBADMSG, and after -ETIMEDOUT with half of a request sent, all later calls fail at once with -EPIPE:
 * close it and open another. What "ret" points to is written on success alone.
 */

/* Connects to --control PATH. 0, or -errno of socket(2) and connect(2): -ENOENT nothing is there, -ECONNREFUSED nobody listens,
 * -EACCES, -ENAMETOOLONG, -ETIMEDOUT. */
int sallyport_control_open(const char *path, int timeout_ms, SallyportControl **ret);
/* The same for a connected stream socket of AF_UNIX, which the object owns if 0 is returned; -ENOTSOCK, -EINVAL, -ENOTCONN. */
int sallyport_control_open_fd(int take_fd, SallyportControl **ret);
/* The connection of a helper that was spawned with sallyport_builder_set_control(), once: the caller owns it, also beyond
 * sallyport_free(). -ENOENT: there is none, or not any more. Requests before "ready" may have to wait for it. */
int sallyport_take_control(Sallyport *sp, SallyportControl **ret);
/* NULL is fine. Changes nothing in the helper: what was published stays. */
void sallyport_control_close(SallyportControl *control);
/* The socket, for poll(2): POLLIN or POLLHUP between two calls means that the helper has ended, or that a late reply is there.
 * Owned by the object. */
int sallyport_control_fd(const SallyportControl *control);

/**
 * struct SallyportRefusal - the error of a reply
 * @code:       SALLYPORT_REFUSAL_*, or a word of a newer helper
 * @errno_name: "EADDRINUSE"; NULL if the cause has none
 * @message:    one line for people. It may quote the request: escape control characters before a terminal sees it
 */
typedef struct SallyportRefusal {
    const char *code;
    const char *errno_name;
    const char *message;
} SallyportRefusal;

/* Of the last call if it returned -EREMOTEIO, else NULL. Lives until the next call. */
const SallyportRefusal *sallyport_control_refusal(const SallyportControl *control);
/* The last reply as it came, one line without the newline, for keys that no struct has; NULL if the last call got none. Lives
 * until the next call. */
const char *sallyport_control_reply(const SallyportControl *control);

/* Any command, with its arguments as a JSON object or NULL, and an fd to pass or -1. The calls below are made of it. */
int sallyport_control_call(SallyportControl *control, const char *command,
                           const char *arguments_or_null, int fd, int timeout_ms);

/* @ret_version: (optional) lives until the next call */
int sallyport_control_ping(SallyportControl *control, int timeout_ms, const char **ret_version);

/**
 * struct SallyportPublished - ports of the host that lead to the sandbox, of one protocol and family
 * @publication: its number, for sallyport_control_unpublish(); the structs of one spec share it
 * @spec:        what it was published with
 * @origin:      "command-line", "control" or "api"; NULL in what sallyport_control_publish() returns
 * @host_ports:  "8080" or "8000-8010,8012"; also for ports the kernel picked
 * @guest_addr:  NULL means the sandbox's own address
 * @exposure:    "loopback", "interface" or "all"
 * @source:      whose address servers see: "client", "gateway" or "guest"
 * @interface, @name: as in the spec, or NULL
 *
 * @family, @exposure and @source may be NULL as well.
 */
typedef struct SallyportPublished {
    int64_t publication;
    const char *spec;
    const char *origin;
    const char *protocol;
    const char *family;
    const char *host_addr;
    const char *host_ports;
    const char *guest_addr;
    const char *guest_ports;
    const char *exposure;
    const char *source;
    const char *interface;
    const char *name;
} SallyportPublished;

/* @items: @count of them; all strings live until sallyport_published_list_free(), whatever becomes of the connection. So it is
 * with the other lists. @publication: of sallyport_control_publish(), else 0. @more: of that too: ports with so many holes between
 * them that not all had room in the reply; sallyport_control_list() has them. */
typedef struct SallyportPublishedList {
    int64_t publication;
    size_t count;
    const SallyportPublished *items;
    bool more;
} SallyportPublishedList;

typedef enum SallyportConnections {
    SALLYPORT_KEEP_CONNECTIONS, /* those that are there live on */
    SALLYPORT_CUT_CONNECTIONS,
} SallyportConnections;

/* Publishes what "-p SPEC" would. All of a spec or nothing, unless it says "weak". @ret: (optional) to be freed */
int sallyport_control_publish(SallyportControl *control, const char *spec, int timeout_ms,
                              SallyportPublishedList **ret);
int sallyport_control_unpublish(SallyportControl *control, int64_t publication,
                                SallyportConnections connections, int timeout_ms);
/* By the very text it was published with. */
int sallyport_control_unpublish_spec(SallyportControl *control, const char *spec,
                                     SallyportConnections connections, int timeout_ms);
/* Everything that is published. It may take several requests; the deadline is for all of them. */
int sallyport_control_list(SallyportControl *control, int timeout_ms, SallyportPublishedList **ret);
void sallyport_published_list_free(SallyportPublishedList *list);

/**
 * struct SallyportFlow - one connection, or one pair of addresses that exchange datagrams
 * @path:         "takeover", "relay", "nat" or "udp"
 * @protocol:     "tcp" or "udp"
 * @state:        a word for people
 * @guest_local:  "10.0.2.100:40000", the sandbox's own address; IPv6 in brackets
 * @guest_remote: what the sandbox sees as its peer
 * @host_local:   our socket on the host
 * @host_remote:  its peer
 * @bytes_in:     towards the sandbox, so far
 * @bytes_out:    from the sandbox
 * @age_ms:       since it began
 *
 * What the helper does not know is an empty string, never NULL.
 */
typedef struct SallyportFlow {
    const char *path;
    const char *protocol;
    const char *state;
    const char *guest_local;
    const char *guest_remote;
    const char *host_local;
    const char *host_remote;
    uint64_t bytes_in;
    uint64_t bytes_out;
    int64_t age_ms;
} SallyportFlow;

/* One page. @cursor: where the next one begins; NULL after the last. */
typedef struct SallyportFlowList {
    size_t count;
    const SallyportFlow *items;
    const char *cursor;
} SallyportFlowList;

/* @cursor_or_null: NULL begins; else SallyportFlowList.cursor of the page before. @limit: flows of a page, 0 for as many as the
 * helper gives. Flows come and go between two pages; none that lives through all of them is left out. */
int sallyport_control_flows(SallyportControl *control, const char *cursor_or_null, unsigned limit,
                            int timeout_ms, SallyportFlowList **ret);
void sallyport_flow_list_free(SallyportFlowList *list);

/* Return: 0 to go on; else sallyport_control_each_flow() ends and returns it. @flow lives until it returns. It must not call
 * anything on the same connection. */
typedef int (*SallyportFlowFunc)(const SallyportFlow *flow, void *user_data);
/* All pages; the deadline is for all of them. */
int sallyport_control_each_flow(SallyportControl *control, int timeout_ms, SallyportFlowFunc func,
                                void *user_data);

/* @name: "counters.gate.malformed", "totals.tcp.bytes_in", "memory.rss": the keys that lead to it, with dots between. Which there
 * are is the helper's matter. */
typedef struct SallyportStat {
    const char *name;
    int64_t value;
} SallyportStat;

typedef struct SallyportStatList {
    size_t count;
    const SallyportStat *items;
} SallyportStatList;

/* All integers of the reply, in its order. */
int sallyport_control_stats(SallyportControl *control, int timeout_ms, SallyportStatList **ret);
void sallyport_stat_list_free(SallyportStatList *list);

/* Captures what passes the sandbox's interface, to an fd that is open for writing; it is borrowed. @max_bytes: where the file
 * ends; 0 leaves that to the helper. */
int sallyport_control_pcap_start(SallyportControl *control, int fd, uint64_t max_bytes,
                                 int timeout_ms);
/* @dropped: frames that were not written, because the file had no more room or did not take them in time */
typedef struct SallyportCapture {
    uint64_t bytes;
    uint64_t frames;
    uint64_t dropped;
} SallyportCapture;

/* @ret: (optional) what came of it */
int sallyport_control_pcap_stop(SallyportControl *control, int timeout_ms, SallyportCapture *ret);

/* "error", "warning", "info" or "debug". */
int sallyport_control_log_level(SallyportControl *control, const char *level, int timeout_ms);

#ifdef __cplusplus
}
#endif

#endif
