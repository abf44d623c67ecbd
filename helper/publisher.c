/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * publisher.c - from port maps to listeners in the datapath, and back
 *
 * Does:     has port maps bound one after the other and sends the listeners on in batches; takes publications back; keeps what is in
 *           force for the records.
 * Runs in:  the supervisor.
 * Trusts:   the datapath only to answer; what it answers can end us, nothing else.
 * Owns:     fds between bind and handing over; the publications.
 * Limits:   PUBLISHER_WINDOW letters of at most MESSAGE_FDS_MAX sockets without an answer.
 * States:   COMING -> LIVE -> GOING. What fails while it comes goes the same way if the datapath has some of it already, so that
 *           nothing stays half bound; the one who asked is told when that is so. At start a failure ends everything.
 * Not here: the order of binding (publisher_bind.c); what the datapath does with a listener (datapath/forward.c).
 */
#include "config.h"

#include "publisher.h"

#include <errno.h>
#include <string.h>

#include "fault.h"
#include "fd.h"
#include "publisher_private.h"
#include "sallyport.h"

/* What the connection to the datapath does not take now is tried again after so long. */
#define PUBLISHER_RETRY_MS 20

static void job_free(Job *job)
{
    published_clear(&job->published);
    g_clear_error(&job->error);
    g_free(job);
}

static void letter_free(Letter *letter)
{
    for (size_t i = 0; i < letter->count; i++) {
        fd_close(letter->fds[i]);
    }
    g_free(letter);
}

static Job *publisher_job(Publisher *publisher, const PortMap *map, PublishedOrigin origin)
{
    Job *job = g_new0(Job, 1);

    published_init(&job->published, map, origin);
    g_ptr_array_add(publisher->jobs, job);
    g_queue_push_tail(&publisher->to_bind, job);
    return job;
}

Publisher *publisher_new(const GPtrArray *maps, const GuestSettings *guest, int sock,
                         Report *report, PublisherDoneFunc done, void *user_data)
{
    Publisher *publisher = g_new0(Publisher, 1);

    publisher->jobs = g_ptr_array_new_with_free_func((GDestroyNotify)job_free);
    publisher->guest = guest;
    publisher->sock = sock;
    publisher->report = report;
    publisher->done = done;
    publisher->user_data = user_data;
    g_queue_init(&publisher->to_bind);
    g_queue_init(&publisher->letters);
    g_queue_init(&publisher->changes);
    for (guint i = 0; i < maps->len; i++) {
        (void)publisher_job(publisher, g_ptr_array_index(maps, i), PUBLISHED_BY_COMMAND_LINE);
    }
    return publisher;
}

static void publisher_stop_retry(Publisher *publisher)
{
    if (publisher->retry != NULL) {
        g_source_destroy(publisher->retry);
        g_source_unref(publisher->retry);
        publisher->retry = NULL;
    }
}

/* Those who still wait are told that all this has ended. */
void publisher_free(Publisher *publisher)
{
    g_autoptr(GError) error = NULL;
    Job *job;

    if (publisher == NULL) {
        return;
    }
    publisher->going = true; /* whatever they ask for now waits in vain */
    fault_set(&error, FAULT_INTERNAL, ECANCELED, "the helper ends");
    while ((job = g_queue_pop_head(&publisher->changes)) != NULL) {
        if (job->added != NULL) {
            job->added(NULL, error, job->user_data);
        } else if (job->removed != NULL) {
            job->removed(false, job->user_data);
        }
    }
    publisher_stop_retry(publisher);
    g_queue_clear_full(&publisher->letters, (GDestroyNotify)letter_free);
    g_queue_clear(&publisher->to_bind);
    g_ptr_array_unref(publisher->jobs);
    g_free(publisher);
}

void publisher_fail(Publisher *publisher, Job *job, GError *take_error, json_t *take_extra)
{
    job->published.failed = true;
    if (job->added == NULL) {
        publisher->failed = true;
        report_error(publisher->report, take_error, take_extra);
        g_error_free(take_error);
        return;
    }
    json_decref(take_extra);
    if (job->error == NULL) {
        job->error = take_error;
    } else {
        g_error_free(take_error); /* what follows from the first */
    }
}

static void publisher_bind_some(Publisher *publisher)
{
    while (!g_queue_is_empty(&publisher->to_bind) &&
           g_queue_get_length(&publisher->letters) <= PUBLISHER_WINDOW) {
        Job *job = g_queue_peek_head(&publisher->to_bind);

        if (job->published.id == 0) {
            job->published.id = ++publisher->last_id;
        }
        job->through = publisher_bind(publisher, job);
        if (job->through) {
            (void)g_queue_pop_head(&publisher->to_bind);
        }
    }
}

static gboolean publisher_try_again(gpointer user_data);

/* The next answer makes room; without one on its way, time does. At start, when nothing else is under way, it never will. */
static bool publisher_can_wait(Publisher *publisher)
{
    if (publisher->unanswered > 0) {
        return true;
    }
    if (publisher->context != NULL && publisher->retry == NULL) {
        publisher->retry = g_timeout_source_new(PUBLISHER_RETRY_MS);
        g_source_set_callback(publisher->retry, publisher_try_again, publisher, NULL);
        g_source_attach(publisher->retry, publisher->context);
    }
    return publisher->context != NULL;
}

static void publisher_send_failed(Publisher *publisher, Letter *letter, int errnum)
{
    if (letter->message.type == MESSAGE_UNLISTEN) {
        return; /* the datapath has ended, and every listener with it */
    }
    publisher_fail(
        publisher, letter->job,
        fault_new(FAULT_PUBLISH, errnum, "handing published ports over: %s", g_strerror(errnum)),
        NULL);
}

/* False if the connection takes no more for now. */
static bool publisher_send_some(Publisher *publisher)
{
    while (publisher->unanswered < PUBLISHER_WINDOW && !g_queue_is_empty(&publisher->letters)) {
        Letter *letter = g_queue_peek_head(&publisher->letters);
        bool listen = letter->message.type == MESSAGE_LISTEN;
        bool dropped = listen && (publisher->failed || letter->job->published.failed);
        int failed =
            dropped ? 0
                    : message_send(publisher->sock, &letter->message, letter->fds, letter->count);

        if ((failed == -EAGAIN || failed == -ETOOMANYREFS) && publisher_can_wait(publisher)) {
            return false;
        }
        (void)g_queue_pop_head(&publisher->letters);
        if (failed != 0) {
            publisher_send_failed(publisher, letter, -failed);
        }
        letter->job->waiting--;
        if (failed == 0 && !dropped) {
            publisher->unanswered++;
            letter->job->unanswered++;
            letter->job->handed = true;
        }
        letter_free(letter);
    }
    return publisher->unanswered < PUBLISHER_WINDOW;
}

static void publisher_close(Publisher *publisher, Job *job, bool cut)
{
    Letter *letter = g_new0(Letter, 1);

    letter->job = job;
    letter->message.unlisten = (MessageUnlisten){MESSAGE_UNLISTEN, job->published.id, cut};
    job->published.state = PUBLISHED_GOING;
    job->removing = true;
    job->waiting++;
    g_queue_push_tail(&publisher->letters, letter);
}

static void publisher_tell_all(const Publisher *publisher, const Published *published)
{
    json_t *records = publisher_records(publisher, published);

    for (size_t i = 0; i < json_array_size(records); i++) {
        report_event(publisher->report, SALLYPORT_EVENT_PUBLISHED,
                     json_incref(json_array_get(records, i)));
    }
    json_decref(records);
}

static void publisher_succeed(Publisher *publisher, Job *job)
{
    PublisherAddFunc added = job->added;

    job->published.state = PUBLISHED_LIVE;
    job->added = NULL;
    publisher_tell_all(publisher, &job->published);
    added(&job->published, NULL, job->user_data);
}

/* Nothing of it is open when somebody is told. */
static void publisher_bury(Publisher *publisher, Job *job)
{
    g_autofree char *spec = report_cut(job->published.map->text);
    guint index = 0;

    (void)g_ptr_array_find(publisher->jobs, job, &index);
    (void)g_ptr_array_steal_index(publisher->jobs, index);
    if (job->added != NULL) {
        if (!job->handed && job->published.id == publisher->last_id) {
            publisher->last_id--; /* nobody has seen that number */
        }
        job->added(NULL, job->error, job->user_data);
    } else {
        report_event(
            publisher->report, SALLYPORT_EVENT_UNPUBLISHED,
            json_pack("{s:I,s:s}", "publication", (json_int_t)job->published.id, "spec", spec));
        job->removed(true, job->user_data);
    }
    job_free(job);
}

/* True if it is done and somebody was told, who may have asked for more. */
static bool publisher_settle_one(Publisher *publisher, Job *job)
{
    if (job->waiting + job->unanswered > 0 || (!job->removing && !job->through)) {
        return false;
    }
    if (!job->removing && job->published.failed && job->handed) {
        publisher_close(publisher, job, true);
        publisher->again = true;
        return false;
    }
    (void)g_queue_remove(&publisher->changes, job);
    if (job->removing || job->published.failed) {
        publisher_bury(publisher, job);
    } else {
        publisher_succeed(publisher, job);
    }
    return true;
}

static void publisher_settle(Publisher *publisher)
{
    GList *link = publisher->changes.head;

    while (link != NULL) {
        GList *next = link->next;

        link = publisher_settle_one(publisher, link->data) ? publisher->changes.head : next;
    }
}

static void publisher_go_on(Publisher *publisher)
{
    if (publisher->going) {
        publisher->again = true; /* called from a callback: the loop below goes round once more */
        return;
    }
    publisher->going = true;
    do {
        publisher->again = false;
        do {
            publisher_bind_some(publisher);
        } while (publisher_send_some(publisher) && !g_queue_is_empty(&publisher->to_bind));
        publisher_settle(publisher);
    } while (publisher->again);
    publisher->going = false;
    if (!publisher->finished && publisher->unanswered == 0 &&
        g_queue_is_empty(&publisher->letters)) {
        publisher->finished = true;
        publisher->done(publisher->user_data);
    }
}

static gboolean publisher_try_again(gpointer user_data)
{
    Publisher *publisher = user_data;

    publisher_stop_retry(publisher);
    publisher_go_on(publisher);
    return G_SOURCE_REMOVE;
}

static void publisher_ignore(void *user_data)
{
    (void)user_data;
}

void publisher_start(Publisher *publisher)
{
    publisher_go_on(publisher);
}

void publisher_try(const GPtrArray *maps, const GuestSettings *guest, Report *report)
{
    g_autoptr(Publisher) publisher = publisher_new(maps, guest, -1, report, publisher_ignore, NULL);

    publisher->failed = true; /* so nothing is sent: each letter is closed again */
    publisher_start(publisher);
}

static Job *publisher_job_of(const Publisher *publisher, uint32_t id)
{
    for (guint i = 0; id != 0 && i < publisher->jobs->len; i++) {
        Job *job = g_ptr_array_index(publisher->jobs, i);

        if (job->published.id == id) {
            return job;
        }
    }
    return NULL;
}

/* What is said of a publication of which nothing is unanswered is no answer; but one letter less is under way. */
static void publisher_answered(Publisher *publisher, uint32_t id, int errnum)
{
    Job *job = publisher_job_of(publisher, id);

    if (publisher->unanswered == 0) {
        return;
    }
    publisher->unanswered--;
    if (job != NULL && job->unanswered > 0) {
        job->unanswered--;
        if (errnum != 0 && !job->removing) {
            publisher_fail(publisher, job,
                           fault_new(FAULT_PUBLISH, errnum,
                                     "--publish %s: the listeners do not fit: %s%s",
                                     job->published.map->text, g_strerror(errnum),
                                     errnum == EMFILE ? " (RLIMIT_NOFILE)" : ""),
                           NULL);
        }
    }
    publisher_go_on(publisher);
}

void publisher_answer(Publisher *publisher, const MessageListening *answer)
{
    publisher_answered(publisher, answer->publication, answer->errnum);
}

void publisher_unlistened(Publisher *publisher, const MessageUnlistened *answer)
{
    publisher_answered(publisher, answer->publication, 0);
}

bool publisher_finished(const Publisher *publisher)
{
    return publisher->finished;
}

bool publisher_failed(const Publisher *publisher)
{
    return publisher->failed;
}

unsigned publisher_report(Publisher *publisher, bool shows_source)
{
    publisher->shows_source = shows_source;
    for (guint i = 0; i < publisher->jobs->len; i++) {
        Job *job = g_ptr_array_index(publisher->jobs, i);

        job->published.state = PUBLISHED_LIVE;
        publisher_tell_all(publisher, &job->published);
    }
    return publisher->jobs->len;
}

void publisher_serve(Publisher *publisher, GMainContext *context)
{
    publisher->context = context;
}

void publisher_add(Publisher *publisher, const PortMap *map, PublishedOrigin origin,
                   PublisherAddFunc added, void *user_data)
{
    Job *job = publisher_job(publisher, map, origin);

    job->added = added;
    job->user_data = user_data;
    g_queue_push_tail(&publisher->changes, job);
    publisher_go_on(publisher);
}

int publisher_remove(Publisher *publisher, uint32_t id, bool cut, PublisherRemoveFunc removed,
                     void *user_data)
{
    Job *job = publisher_job_of(publisher, id);

    if (job == NULL) {
        return -ENOENT;
    }
    if (job->published.state != PUBLISHED_LIVE) {
        return -EBUSY;
    }
    job->removed = removed;
    job->user_data = user_data;
    publisher_close(publisher, job, cut);
    g_queue_push_tail(&publisher->changes, job);
    publisher_go_on(publisher);
    return 0;
}

const Published *publisher_next(const Publisher *publisher, uint32_t after)
{
    for (guint i = 0; i < publisher->jobs->len; i++) {
        const Job *job = g_ptr_array_index(publisher->jobs, i);

        if (job->published.id > after && job->published.state != PUBLISHED_COMING) {
            return &job->published;
        }
    }
    return NULL;
}

json_t *publisher_records(const Publisher *publisher, const Published *published)
{
    return published_records(published, publisher->guest, publisher->shows_source);
}
