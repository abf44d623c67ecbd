/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * inquiry.c - the supervisor asks the datapath
 *
 * Does:     puts questions one after the other, waits for each answer for so long, makes JSON of it.
 * Runs in:  the supervisor, on its loop. Never blocks.
 * Trusts:   the datapath not at all: it may be in an attacker's hands, answer nothing, something else, or for ever "there is more".
 * Owns:     questions until they are answered.
 * Load:     one question is under way at a time, and each costs the datapath little (survey.c): however many clients ask
 *           however often, frames wait for one page at most.
 */
#include "config.h"

#include "inquiry.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "fault.h"
#include "fd.h"
#include "inquiry_private.h"

typedef struct Question {
    Inquiry *inquiry;
    InquiryFunc func; /* NULL: nobody waits any more */
    void *user_data;
    GSource *deadline;
    MessageType answer;
    uint32_t id; /* of the message under way, 0: none yet */
    union {
        uint32_t type;
        MessageFlowsQuery flows;
        MessageQuery stats;
        MessagePcap pcap;
    } message;
    size_t size;
    int fd;         /* goes with it, or -1 */
    json_t *flows;  /* so far */
    unsigned limit; /* of flows */
} Question;

struct Inquiry {
    GMainContext *context;
    InquirySendFunc send;
    void *user_data;
    pid_t datapath;
    pid_t inside;
    uint32_t last_id;
    GQueue questions; /* the first is the one under way */
    bool asking;      /* inquiry_next() is at it, further up the stack */
};

static void question_free(Question *question)
{
    g_source_destroy(question->deadline);
    g_source_unref(question->deadline);
    fd_close(question->fd);
    json_decref(question->flows);
    g_free(question);
}

/* Out of the queue, then answered, so that whoever is told may ask again or forget. */
static void question_answer(Question *question, json_t *take_result, const GError *error)
{
    (void)g_queue_remove(&question->inquiry->questions, question);
    if (question->func != NULL) {
        question->func(take_result, error, question->user_data);
    } else {
        json_decref(take_result);
    }
    question_free(question);
}

static void question_fail(Question *question, int errnum, const char *what)
{
    g_autoptr(GError) error = fault_new(FAULT_INTERNAL, errnum, "%s: %s", what, g_strerror(errnum));

    question_answer(question, NULL, error);
}

static int question_send(Question *question)
{
    Inquiry *inquiry = question->inquiry;

    inquiry->last_id = MAX(inquiry->last_id + 1, 1);
    question->id = inquiry->last_id;
    /* All of them have it in the same place. */
    question->message.stats.id = question->id;
    return inquiry->send(&question->message, question->size, &question->fd, question->fd >= 0,
                         inquiry->user_data);
}

/* Puts the first question, if none is under way. */
static void inquiry_next(Inquiry *inquiry)
{
    Question *question;

    if (inquiry->asking) {
        return;
    }
    inquiry->asking = true;
    while ((question = g_queue_peek_head(&inquiry->questions)) != NULL && question->id == 0) {
        int failed = question_send(question);

        if (failed != 0) {
            question_fail(question, -failed, "asking the datapath");
        }
    }
    inquiry->asking = false;
}

static gboolean question_late(gpointer user_data)
{
    Question *question = user_data;
    Inquiry *inquiry = question->inquiry;

    question_fail(question, ETIMEDOUT, "the datapath did not answer");
    inquiry_next(inquiry);
    return G_SOURCE_REMOVE;
}

static Question *question_new(Inquiry *inquiry, InquiryFunc func, void *user_data,
                              MessageType answer)
{
    Question *question = g_new0(Question, 1);

    question->inquiry = inquiry;
    question->func = func;
    question->user_data = user_data;
    question->answer = answer;
    question->fd = -1;
    question->deadline = g_timeout_source_new(INQUIRY_TIMEOUT_MS);
    g_source_set_callback(question->deadline, question_late, question, NULL);
    g_source_attach(question->deadline, inquiry->context);
    return question;
}

static void inquiry_put(Question *question)
{
    Inquiry *inquiry = question->inquiry;

    if (g_queue_get_length(&inquiry->questions) >= INQUIRY_MAX) {
        question_fail(question, EBUSY, "too many questions to the datapath at once");
        return;
    }
    g_queue_push_tail(&inquiry->questions, question);
    inquiry_next(inquiry);
}

Inquiry *inquiry_new(GMainContext *context, InquirySendFunc send, void *user_data, pid_t datapath,
                     pid_t inside)
{
    Inquiry *inquiry = g_new0(Inquiry, 1);

    inquiry->context = context;
    inquiry->send = send;
    inquiry->user_data = user_data;
    inquiry->datapath = datapath;
    inquiry->inside = inside;
    g_queue_init(&inquiry->questions);
    return inquiry;
}

void inquiry_free(Inquiry *inquiry)
{
    if (inquiry == NULL) {
        return;
    }
    inquiry->asking = true; /* nothing is put any more */
    while (!g_queue_is_empty(&inquiry->questions)) {
        question_fail(g_queue_peek_head(&inquiry->questions), ECANCELED, "the end");
    }
    g_free(inquiry);
}

/* ---- answers ---- */

static void inquiry_take_flows(Question *question, const MessageFlows *message)
{
    MessageFlowsQuery *query = &question->message.flows;
    bool last = message->cursor > INT64_MAX; /* MESSAGE_FLOWS_END, or no cursor of ours */
    int failed;

    for (uint32_t i = 0; i < message->count && question->limit > 0; i++, question->limit--) {
        (void)json_array_append_new(question->flows, inquiry_flow_json(&message->flows[i]));
    }
    if (last || question->limit == 0) {
        question_answer(question,
                        json_pack("{s:O, s:o}", "flows", question->flows, "cursor",
                                  last ? json_null() : json_integer((json_int_t)message->cursor)),
                        NULL);
        return;
    }
    query->cursor = message->cursor;
    query->limit = question->limit;
    failed = question_send(question);
    if (failed != 0) {
        question_fail(question, -failed, "asking the datapath");
    }
}

static void inquiry_take_pcap(Question *question, const MessagePcapDone *message)
{
    if (message->errnum != 0) {
        question_fail(question, message->errnum & 0xfff, "recording frames");
    } else if (question->fd >= 0) {
        question_answer(question, json_object(), NULL);
    } else {
        question_answer(question, inquiry_pcap_json(message), NULL);
    }
}

bool inquiry_take(Inquiry *inquiry, const Message *message)
{
    Question *question = g_queue_peek_head(&inquiry->questions);

    if (message->type != MESSAGE_FLOWS && message->type != MESSAGE_STATS &&
        message->type != MESSAGE_PCAP_DONE) {
        return false;
    }
    if (question == NULL || question->answer != message->type || question->id == 0 ||
        question->id != message->query.id) {
        return true; /* nobody waits for it any more */
    }
    switch (message->type) {
    case MESSAGE_FLOWS:
        inquiry_take_flows(question, &message->flows);
        break;
    case MESSAGE_STATS:
        question_answer(question,
                        inquiry_stats_json(&message->stats, inquiry->datapath, inquiry->inside),
                        NULL);
        break;
    default:
        inquiry_take_pcap(question, &message->pcap_done);
        break;
    }
    inquiry_next(inquiry);
    return true;
}

/* ---- questions ---- */

void inquiry_flows(Inquiry *inquiry, uint64_t cursor, unsigned limit, InquiryFunc func,
                   void *user_data)
{
    Question *question = question_new(inquiry, func, user_data, MESSAGE_FLOWS);

    question->flows = json_array();
    question->limit = CLAMP(limit, 1, INQUIRY_FLOWS_MAX);
    question->message.flows = (MessageFlowsQuery){
        .type = MESSAGE_FLOWS_QUERY, .cursor = cursor, .limit = question->limit};
    question->size = sizeof(MessageFlowsQuery);
    inquiry_put(question);
}

void inquiry_stats(Inquiry *inquiry, InquiryFunc func, void *user_data)
{
    Question *question = question_new(inquiry, func, user_data, MESSAGE_STATS);

    question->message.stats = (MessageQuery){.type = MESSAGE_STATS_QUERY};
    question->size = sizeof(MessageQuery);
    inquiry_put(question);
}

/* What one writes to: not a directory, nor what only looks like a file (epoll, eventfd...). Sockets of AF_UNIX alone: to close
 * another may take as long as its SO_LINGER says, and frames would wait. */
static bool inquiry_can_record(int fd)
{
    struct sockaddr_storage own = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(own);
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return false;
    }
    if (S_ISSOCK(st.st_mode)) {
        return getsockname(fd, (struct sockaddr *)&own, &len) == 0 && own.ss_family == AF_UNIX;
    }
    return S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode);
}

/* @patient: for as long as it takes. */
static void inquiry_record(Inquiry *inquiry, int fd, uint64_t max_bytes, bool patient,
                           InquiryFunc func, void *user_data)
{
    Question *question = question_new(inquiry, func, user_data, MESSAGE_PCAP_DONE);

    question->message.pcap = (MessagePcap){.type = MESSAGE_PCAP, .max_bytes = max_bytes};
    question->size = sizeof(MessagePcap);
    if (!inquiry_can_record(fd)) {
        question_fail(question, EBADF, "recording frames (want a file, a pipe, a Unix socket)");
        return;
    }
    question->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (question->fd < 0) {
        question_fail(question, errno, "recording frames");
        return;
    }
    if (patient) {
        g_source_destroy(question->deadline);
    }
    inquiry_put(question);
}

void inquiry_pcap_start(Inquiry *inquiry, int fd, uint64_t max_bytes, InquiryFunc func,
                        void *user_data)
{
    inquiry_record(inquiry, fd, max_bytes, false, func, user_data);
}

bool inquiry_pcap_file(Inquiry *inquiry, const char *path, InquiryFunc func, void *user_data,
                       GError **error)
{
    /* Not to wait for the reader of a named pipe: without one it is an error. */
    FD_AUTO fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);

    if (fd < 0) {
        fault_set(error, FAULT_OPTION, errno, "--pcap %s: %s", path, g_strerror(errno));
        return false;
    }
    inquiry_record(inquiry, fd, 0, true, func, user_data);
    return true;
}

void inquiry_pcap_stop(Inquiry *inquiry, InquiryFunc func, void *user_data)
{
    Question *question = question_new(inquiry, func, user_data, MESSAGE_PCAP_DONE);

    question->message.pcap = (MessagePcap){.type = MESSAGE_PCAP};
    question->size = sizeof(MessagePcap);
    inquiry_put(question);
}

int inquiry_log_level(Inquiry *inquiry, LogLevel level)
{
    MessageLogLevel message = {.type = MESSAGE_LOG_LEVEL, .level = level};

    return inquiry->send(&message, sizeof(message), NULL, 0, inquiry->user_data);
}

void inquiry_forget(Inquiry *inquiry, const void *user_data)
{
    for (GList *link = inquiry->questions.head; link != NULL; link = link->next) {
        Question *question = link->data;

        if (question->user_data == user_data) {
            question->func = NULL;
        }
    }
}
