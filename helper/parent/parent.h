/* SPDX-License-Identifier: MIT */
#ifndef SALLYPORT_PARENT_H
#define SALLYPORT_PARENT_H

/* Internal to libsallyport: what its files share. Nothing here is exported. */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sallyport.h"

#define SALLYPORT__HIDDEN __attribute__((visibility("hidden")))

/* Records kept for a parent that does not read; a helper that sends more is left unread. */
#define SALLYPORT__KEPT_MAX 65536

/* A list of strings it owns. @items ends with NULL, or is NULL while the list is empty. */
typedef struct SallyportStrv {
    char **items;
    size_t count;
} SallyportStrv;

typedef enum SallyportGuest {
    SALLYPORT__GUEST_NONE = 0,
    SALLYPORT__GUEST_PID,
    SALLYPORT__GUEST_NETNS_PATH,
    SALLYPORT__GUEST_NETNS_FD,
    SALLYPORT__GUEST_COMMAND,
} SallyportGuest;

/* Which fields are set depends on @guest; the fds are borrowed and -1 if there is none. @control: --control-fd is wanted. */
struct SallyportBuilder {
    char *helper;
    SallyportGuest guest;
    pid_t pid;
    char *netns;
    char *userns;
    int netns_fd;
    int userns_fd;
    SallyportStrv command;
    SallyportStrv publish;
    SallyportStrv options;
    bool control;
};

/* One record in the queue; @event is what the caller gets to see. */
typedef struct SallyportRecord {
    SallyportEvent event;
    struct SallyportRecord *next;
    void *root; /* json_t that owns the strings of @event, but for @line */
    char *line;
} SallyportRecord;

/**
 * struct Sallyport - one helper
 * @report_fd: read end of the report pipe, O_NONBLOCK
 * @control_fd: our end of --control-fd until it is taken, else -1
 * @pidfd:     the child, whoever reaps it
 * @ended:     @pidfd was seen readable: whatever is in the pipe now is all there will ever be
 * @eof:       nothing is left in the pipe
 * @ready:     a ready record went by
 * @reaped:    waitid() was answered; @reap_error is 0, or -ECHILD if somebody else was faster
 * @skipping:  the rest of an overlong line is being dropped
 * @head, @tail, @kept: records read and not handed out yet, oldest first, and their number
 * @buffer:    @length bytes read that are no record yet
 */
struct Sallyport {
    pid_t pid;
    int report_fd;
    int control_fd;
    int pidfd;
    bool ended;
    bool eof;
    bool ready;
    bool reaped;
    int reap_error;
    int wait_status;
    bool skipping;
    SallyportRecord *head;
    SallyportRecord *tail;
    size_t kept;
    size_t length;
    char buffer[4 * SALLYPORT_RECORD_MAX];
};

/**
 * struct SallyportControl - one connection to a helper
 * @broken:     0, or what all later calls return: the stream is of no use any more
 * @id:         of the last request; replies to older ones came too late and are skipped
 * @refusal:    of the last call; its strings belong to @root, and @refused says whether there is one
 * @root:       the last reply, parsed: a json_t; NULL if there is none
 * @reply:      the same as a string
 * @consumed:   bytes at the beginning of @buffer that were handed out as lines
 * @length:     bytes of @buffer that were read
 */
struct SallyportControl {
    int fd;
    int broken;
    int64_t id;
    bool refused;
    SallyportRefusal refusal;
    void *root;
    char *reply;
    size_t consumed;
    size_t length;
    char buffer[SALLYPORT_CONTROL_LINE_MAX + 1]; /* the newline may come on top */
};

/* builder.c */
SALLYPORT__HIDDEN int sallyport__strv_push(SallyportStrv *strv, const char *item);
SALLYPORT__HIDDEN void sallyport__strv_clear(SallyportStrv *strv);
/* The helper's command line; @control_fd -1 for none. 0, or -EINVAL if no guest is set, or -ENOMEM. */
SALLYPORT__HIDDEN int sallyport__builder_argv(const SallyportBuilder *builder, int report_fd,
                                              int control_fd, SallyportStrv *ret);

/* process.c */
/* A point in time, nanoseconds on CLOCK_MONOTONIC; INT64_MAX is never, a negative @timeout_ms too. */
SALLYPORT__HIDDEN int64_t sallyport__deadline(int timeout_ms);
SALLYPORT__HIDDEN bool sallyport__expired(int64_t deadline_ns);
/* What is left, rounded up, so that poll(2) does not return before the deadline; -1 is for ever. */
SALLYPORT__HIDDEN int sallyport__remaining_ms(int64_t deadline_ns);
/* poll(2) until the deadline. 1 if there is something, 0 at the deadline, or -errno. */
SALLYPORT__HIDDEN int sallyport__poll(struct pollfd *fds, size_t count, int64_t deadline_ns);
/* Waits for bytes on the report pipe (unless @only_end) or the child's end, which sets sp->ended.
 * Return: 1 if there is something, 0 at the deadline, or -errno. */
SALLYPORT__HIDDEN int sallyport__wait(Sallyport *sp, bool only_end, int64_t deadline_ns);

/* event.c */
/* Takes one line (no newline, any bytes) apart. 0, -EBADMSG or -ENOMEM. */
SALLYPORT__HIDDEN int sallyport__record_parse(const char *line, size_t length,
                                              SallyportRecord **ret);

/* reader.c */
/* Reads one record into the queue. Return as sallyport_next_event(), and -ENOBUFS if the queue is
 * full. */
SALLYPORT__HIDDEN int sallyport__pump(Sallyport *sp, int64_t deadline_ns);
/* Moves what can be read without waiting into the queue, as far as one pipe holds. 0, or -errno if
 * reading more makes no sense now. */
SALLYPORT__HIDDEN int sallyport__drain(Sallyport *sp);

/* control.c */
/* sallyport_control_call() with arguments that are a json_t (consumed, NULL for none) and a point in time. On success the reply has
 * an object "return". */
SALLYPORT__HIDDEN int sallyport__control_ask(SallyportControl *control, const char *command,
                                             void *take_arguments, int fd, int64_t deadline_ns);
/* "return" of the last reply: a json_t, borrowed. */
SALLYPORT__HIDDEN void *sallyport__control_result(const SallyportControl *control);
/* The reply makes no sense: the connection is not used again. Returns -EBADMSG. */
SALLYPORT__HIDDEN int sallyport__control_nonsense(SallyportControl *control);

#endif
