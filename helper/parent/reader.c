/* SPDX-License-Identifier: MIT */
/*
 * reader.c - the report pipe: from bytes to a queue of records
 *
 * Does:     cuts lines, keeps records until the parent asks, waits with a deadline.
 * Queue:    every record goes through it. sallyport_next_event() takes the oldest;
 *           sallyport_wait_ready() takes the one it is after, or none if the caller wants none, and
 *           leaves the rest: nothing is ever lost.
 * End:      end of file, or the child has ended and the pipe is empty. The second is needed because
 *           a process the helper left behind, or forked by another thread of the parent, may hold
 *           the write end.
 * Limits:   SALLYPORT_RECORD_MAX bytes a line, SALLYPORT__KEPT_MAX records in the queue, LATE_MAX
 *           of them read once a deadline has passed.
 */
#include "config.h"

#include "sallyport.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "parent.h"

/* More than a pipe of 64 KiB holds: what is there counts as being in time, an endless flood does
 * not. */
#define LATE_MAX 4096

static void queue_push(Sallyport *sp, SallyportRecord *record)
{
    if (sp->tail != NULL) {
        sp->tail->next = record;
    } else {
        sp->head = record;
    }
    sp->tail = record;
    sp->kept++;
}

/* Takes the oldest record, or the oldest one of that kind. NULL if there is none. */
static SallyportEvent *queue_take(Sallyport *sp, const char *event_or_null)
{
    SallyportRecord **link = &sp->head;
    SallyportRecord *before = NULL, *record;

    while ((record = *link) != NULL) {
        if (event_or_null == NULL || strcmp(record->event.event, event_or_null) == 0) {
            *link = record->next;
            if (sp->tail == record) {
                sp->tail = before;
            }
            record->next = NULL;
            sp->kept--;
            return &record->event;
        }
        before = record;
        link = &record->next;
    }
    return NULL;
}

static void consume(Sallyport *sp, size_t count)
{
    sp->length -= count;
    memmove(sp->buffer, sp->buffer + count, sp->length);
}

/* 1 if a record was queued, 0 if the buffer holds no whole line, else -errno. */
static int take_line(Sallyport *sp)
{
    const char *end = memchr(sp->buffer, '\n', sp->length);
    size_t size = end != NULL ? (size_t)(end - sp->buffer) + 1 : sp->length;
    SallyportRecord *record;
    int r;

    if (sp->skipping) {
        consume(sp, size);
        sp->skipping = end == NULL;
        return end != NULL ? take_line(sp) : 0;
    }
    if (size > SALLYPORT_RECORD_MAX || (end == NULL && size == SALLYPORT_RECORD_MAX)) {
        consume(sp, size);
        sp->skipping = end == NULL;
        return -EBADMSG;
    }
    if (end == NULL) {
        return 0;
    }
    r = sallyport__record_parse(sp->buffer, size - 1, &record);
    if (r == -ENOMEM) {
        return r; /* the line stays: the caller may try again */
    }
    consume(sp, size);
    if (r < 0) {
        return r;
    }
    sp->ready = sp->ready || strcmp(record->event.event, SALLYPORT_EVENT_READY) == 0;
    queue_push(sp, record);
    return 1;
}

/* 1 if there are new bytes or the end was found, 0 if the pipe is empty, else -errno. */
static int fill(Sallyport *sp)
{
    ssize_t n;

    do {
        n = read(sp->report_fd, sp->buffer + sp->length, sizeof(sp->buffer) - sp->length);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        sp->length += (size_t)n;
        return 1;
    }
    if (n == 0) {
        sp->eof = true;
        return 1;
    }
    return errno == EAGAIN ? 0 : -errno;
}

int sallyport__pump(Sallyport *sp, int64_t deadline_ns)
{
    if (sp->kept >= SALLYPORT__KEPT_MAX) {
        return -ENOBUFS;
    }
    for (;;) {
        int r = take_line(sp);

        if (r != 0) {
            return r;
        }
        if (sp->eof) {
            /* A line without its end: whoever wrote it was killed half way. */
            r = sp->length > 0 ? -EBADMSG : -EPIPE;
            sp->length = 0;
            return r;
        }
        r = fill(sp);
        if (r == 0 && sp->ended) {
            /* The end was seen before this read, so that nothing can have come after it. */
            sp->eof = true;
            r = 1;
        }
        if (r == 0) {
            r = sallyport__wait(sp, false, deadline_ns);
            if (r == 0) {
                return 0;
            }
        }
        if (r < 0) {
            return r;
        }
    }
}

int sallyport__drain(Sallyport *sp)
{
    int64_t now = sallyport__deadline(0);

    for (unsigned i = 0; i < LATE_MAX; i++) {
        int r = sallyport__pump(sp, now);

        /* A line that is no record is skipped. */
        if (r <= 0 && r != -EBADMSG) {
            return r;
        }
    }
    return 0;
}

int sallyport_next_event(Sallyport *sp, int timeout_ms, SallyportEvent **ret)
{
    if (sp->head == NULL) {
        int r = sallyport__pump(sp, sallyport__deadline(timeout_ms));

        if (r <= 0) {
            return r;
        }
    }
    *ret = queue_take(sp, NULL);
    return 1;
}

/* Without @ret the record stays in the queue. */
static void hand_out(Sallyport *sp, const char *event, SallyportEvent **ret)
{
    if (ret != NULL) {
        *ret = queue_take(sp, event);
    }
}

int sallyport_wait_ready(Sallyport *sp, int timeout_ms, SallyportEvent **ret)
{
    int64_t deadline_ns = sallyport__deadline(timeout_ms);
    unsigned late = 0;

    if (ret != NULL) {
        *ret = NULL;
    }
    while (!sp->ready) {
        int r = sallyport__pump(sp, deadline_ns);

        if (r == -EPIPE) {
            hand_out(sp, SALLYPORT_EVENT_ERROR, ret);
            return -ECANCELED;
        }
        if (r < 0 && r != -EBADMSG) {
            return r;
        }
        late += sallyport__expired(deadline_ns);
        if (!sp->ready && (r == 0 || late > LATE_MAX)) {
            return -ETIMEDOUT;
        }
    }
    hand_out(sp, SALLYPORT_EVENT_READY, ret);
    return 0;
}
