/* SPDX-License-Identifier: MIT */
/*
 * sallyport.h - the parent's side: spawn a helper, read its records, stop it
 *
 * libsallyport is small: libc and jansson. No function of it blocks longer than the deadline it is given, none starts a
 * thread, installs a signal handler or writes to stdout or stderr. An object must not be used by two threads at once.
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

typedef struct SallyportBuilder SallyportBuilder;
typedef struct Sallyport Sallyport;

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

#ifdef __cplusplus
}
#endif

#endif
