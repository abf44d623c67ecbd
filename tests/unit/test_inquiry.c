/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_inquiry.c - questions of the supervisor's and the datapath's answers, over a connected pair
 *
 * Does:     walks over real relays while they come and go; counters, recordings, the log level; a datapath that is silent or lies.
 */
#include "config.h"

#include "datapath/survey.h"
#include "inquiry.h"

#include <glib-unix.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "frame_samples.h"
#include "relayfixture.h"

/* Both ends: the asker, and the rooms of a datapath that has no guest. */
typedef struct Both {
    Fixture fix;
    Inquiry *inquiry;
    int ends[2]; /* supervisor's, datapath's */
    bool silent; /* the datapath answers nothing */
    SurveyRooms rooms;
    Answers *answers;
    Poller *poller;
    Gate *gate;
    Dns *dns;
    GSource *sources[2];
    unsigned sent;     /* messages to the datapath */
    unsigned recorded; /* recordings that ended by themselves */
} Both;

typedef struct Answer {
    unsigned calls;
    json_t *result;
    int errnum;
} Answer;

static void on_answer(json_t *take_result, const GError *error, void *user_data)
{
    Answer *answer = user_data;

    cr_expect_neq(take_result == NULL, error == NULL);
    answer->calls++;
    json_decref(answer->result);
    answer->result = take_result;
    answer->errnum = error != NULL ? fault_errno(error) : 0;
}

static int on_send(const void *message, size_t size, const int *fds, size_t count, void *user_data)
{
    Both *both = user_data;

    (void)size;
    both->sent++;
    return message_send(both->ends[0], message, fds, count);
}

static gboolean supervisor_readable(gint fd, GIOCondition condition, gpointer user_data)
{
    Both *both = user_data;
    Message message;
    int fds[MESSAGE_FDS_MAX];
    size_t count;

    (void)condition;
    cr_assert_eq(message_recv(fd, &message, fds, &count), 1);
    cr_expect(inquiry_take(both->inquiry, &message));
    return G_SOURCE_CONTINUE;
}

static gboolean datapath_readable(gint fd, GIOCondition condition, gpointer user_data)
{
    Both *both = user_data;
    Message message;
    int fds[MESSAGE_FDS_MAX];
    size_t count;

    (void)condition;
    cr_assert_eq(message_recv(fd, &message, fds, &count), 1);
    if (!both->silent) {
        cr_expect(survey_take(&both->rooms, &message, fds, count));
    }
    return G_SOURCE_CONTINUE;
}

static void on_recorded(int errnum, void *user_data)
{
    (void)errnum;
    ((Both *)user_data)->recorded++;
}

static void on_log(LogLevel level, FaultKind kind, int errnum, const char *text, void *user_data)
{
    (void)level;
    (void)kind;
    (void)errnum;
    (void)text;
    (void)user_data;
}

static GSource *watch(Both *both, int fd, GUnixFDSourceFunc func)
{
    GSource *source = g_unix_fd_source_new(fd, G_IO_IN);

    g_source_set_callback(source, G_SOURCE_FUNC(func), both, NULL);
    g_source_attach(source, both->fix.context);
    return source;
}

static void both_begin(Both *both)
{
    DnsHooks dns_hooks = {NULL, NULL, NULL};
    GateConfig gate_config = {0};
    struct rlimit limit;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = MIN(limit.rlim_max, 8192);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    memset(both, 0, sizeof(*both));
    fixture_begin(&both->fix, 16);
    cr_assert_eq(message_pair(both->ends), 0);
    both->inquiry = inquiry_new(both->fix.context, on_send, both, getpid(), 0);
    both->answers = answers_new(both->ends[1], both->fix.context);
    both->poller = poller_new(both->fix.context, NULL);
    both->gate = gate_new(&gate_config);
    both->dns = dns_new(both->poller, both->fix.context, &dns_hooks);
    both->rooms = (SurveyRooms){
        .answers = both->answers,
        .gate = both->gate,
        .dns = both->dns,
        .relays = both->fix.relays,
        .log = loglimit_new(1, LOG_LEVEL_INFO, on_log, NULL),
        .pcap = pcap_new(on_recorded, both),
        .nofile = 4711,
    };
    both->sources[0] = watch(both, both->ends[0], supervisor_readable);
    both->sources[1] = watch(both, both->ends[1], datapath_readable);
}

static void both_end(Both *both)
{
    for (unsigned i = 0; i < 2; i++) {
        g_source_destroy(both->sources[i]);
        g_source_unref(both->sources[i]);
    }
    inquiry_free(both->inquiry);
    answers_free(both->answers);
    loglimit_free(both->rooms.log);
    pcap_free(both->rooms.pcap);
    gate_free(both->gate);
    dns_free(both->dns);
    poller_free(both->poller);
    fixture_end(&both->fix);
    (void)close(both->ends[0]);
    (void)close(both->ends[1]);
}

static void await(Both *both, Answer *answer, unsigned calls)
{
    LOOP_AWAIT(both->fix.context, answer->calls == calls);
}

static unsigned port_of(const json_t *flow)
{
    const char *text = json_string_value(json_object_get(json_object_get(flow, "host"), "remote"));

    cr_assert_not_null(text);
    return (unsigned)g_ascii_strtoull(strrchr(text, ':') + 1, NULL, 10);
}

static unsigned local_port(int fd)
{
    struct sockaddr_in sa;
    socklen_t len = sizeof(sa);

    cr_assert_eq(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    return ntohs(sa.sin_port);
}

/* Ends a line and waits until it is out of the table. */
static void end_line(Both *both, Line *line)
{
    unsigned before = relays_count(both->fix.relays);

    line_end(line);
    LOOP_AWAIT(both->fix.context, relays_count(both->fix.relays) < before);
}

Test(inquiry, flows_that_live_throughout_a_walk_are_listed_once_while_others_come_and_go)
{
    static Both both;
    static unsigned seen[65536];
    static Line lines[300];
    Answer answer = {0};
    uint64_t cursor = 0;
    unsigned lived = 0;
    unsigned count = 150;
    unsigned ended = 1;
    unsigned pages = 0;
    bool more = true;

    both_begin(&both);
    for (unsigned i = 0; i < count; i++) {
        line_begin(&lines[i], &both.fix, 0, 0);
    }
    for (; more; pages++) {
        const json_t *flow;
        size_t index;

        inquiry_flows(both.inquiry, cursor, 13, on_answer, &answer);
        await(&both, &answer, pages + 1);
        cr_assert_not_null(answer.result);
        cr_expect_leq(json_array_size(json_object_get(answer.result, "flows")), 13);
        json_array_foreach(json_object_get(answer.result, "flows"), index, flow)
        {
            seen[port_of(flow)]++;
            cr_expect_str_eq(json_string_value(json_object_get(flow, "path")), "relay");
            cr_expect_str_eq(json_string_value(json_object_get(flow, "state")), "open");
        }
        more = !json_is_null(json_object_get(answer.result, "cursor"));
        cursor = (uint64_t)json_integer_value(json_object_get(answer.result, "cursor"));
        for (unsigned i = 0; i < 3 && ended < 150; i++, ended += 4) {
            seen[local_port(lines[ended].client)] += 100;
            end_line(&both, &lines[ended]);
        }
        for (unsigned i = 0; i < 3 && more; i++) {
            line_begin(&lines[count++], &both.fix, 0, 0);
        }
    }
    cr_expect_geq(pages, 150 / 13);
    for (unsigned i = 0; i < count; i++) {
        if (i >= 150 || i % 4 != 1 || i >= ended) {
            unsigned times = seen[local_port(lines[i].client)] % 100;

            /* One that came meanwhile may be in either part. */
            cr_expect(times == 1 || (i >= 150 && times == 0), "%u: %u times", i, times);
            lived++;
            line_end(&lines[i]);
        }
    }
    cr_expect_geq(lived, 110);
    LOOP_AWAIT(both.fix.context, relays_count(both.fix.relays) == 0);
    json_decref(answer.result);
    both_end(&both);
}

Test(inquiry, page_of_many_is_asked_for_in_parts_and_totals_and_bytes_are_those_moved)
{
    static Both both;
    static Line lines[100];
    Answer answer = {0};
    Stream stream = {.total = 500000, .chunk = 60000};
    json_t *flow;
    json_t *total;

    both_begin(&both);
    for (unsigned i = 0; i < 100; i++) {
        line_begin(&lines[i], &both.fix, 0, 0);
    }
    stream.from = lines[0].client;
    stream.to = lines[0].guest;
    streams_run(&both.fix, &stream, 1);
    inquiry_flows(both.inquiry, 0, 128, on_answer, &answer);
    await(&both, &answer, 1);
    cr_assert_eq(json_array_size(json_object_get(answer.result, "flows")), 100);
    cr_expect(json_is_null(json_object_get(answer.result, "cursor")));
    cr_expect_geq(both.sent, 100 / MESSAGE_FLOWS_MAX);
    flow = json_array_get(json_object_get(answer.result, "flows"), 0);
    cr_expect_eq(json_integer_value(json_object_get(flow, "bytes_in")), 500000);
    cr_expect_eq(json_integer_value(json_object_get(flow, "bytes_out")), 0);
    inquiry_stats(both.inquiry, on_answer, &answer);
    await(&both, &answer, 2);
    total = json_object_get(json_object_get(answer.result, "totals"), "tcp");
    cr_expect_eq(json_integer_value(json_object_get(total, "flows")), 100);
    cr_expect_eq(json_integer_value(json_object_get(total, "flows_ever")), 100);
    cr_expect_eq(json_integer_value(json_object_get(total, "bytes_in")), 500000);
    for (unsigned i = 0; i < 100; i++) {
        line_end(&lines[i]);
    }
    LOOP_AWAIT(both.fix.context, relays_count(both.fix.relays) == 0);
    inquiry_stats(both.inquiry, on_answer, &answer);
    await(&both, &answer, 3);
    total = json_object_get(json_object_get(answer.result, "totals"), "tcp");
    cr_expect_eq(json_integer_value(json_object_get(total, "flows")), 0);
    cr_expect_eq(json_integer_value(json_object_get(total, "flows_ever")), 100);
    json_decref(answer.result);
    both_end(&both);
}

static json_int_t stat_of(const Answer *answer, const char *part, const char *name)
{
    const json_t *value = json_object_get(json_object_get(answer->result, part), name);

    cr_assert(json_is_integer(value), "%s %s", part, name);
    return json_integer_value(value);
}

Test(inquiry, stats_name_every_counter_and_tell_memory_and_fds)
{
    static Both both;
    Answer answer = {0};
    uint8_t frame[FRAME_MAX];
    size_t len;
    FrameView view;
    GateReason reason;
    const json_t *fds;

    both_begin(&both);
    for (unsigned i = 0; i < 3; i++) {
        len = 10;
        memset(frame, 0, sizeof(frame));
        cr_expect_eq(gate_judge(both.gate, frame, &len, &view, &reason), GATE_DROP);
    }
    len = sample_get("tcp6 syn", frame);
    cr_expect_eq(gate_judge(both.gate, frame, &len, &view, &reason), GATE_DROP);
    inquiry_stats(both.inquiry, on_answer, &answer);
    await(&both, &answer, 1);
    cr_expect_eq(stat_of(&answer, "counters", "gate.malformed"), 3);
    cr_expect_eq(stat_of(&answer, "counters", "malformed.short"), 3);
    cr_expect_eq(stat_of(&answer, "counters", "gate.no-ipv6"), 1);
    cr_expect_eq(stat_of(&answer, "counters", "forward.accepted"), 0);
    cr_expect_null(json_object_get(json_object_get(answer.result, "counters"), "gate.none"));
    /* All but "none" and "ok", so no two have the same name. */
    cr_expect_eq(json_object_size(json_object_get(answer.result, "counters")), STAT_COUNT - 2);
    cr_expect_gt(json_integer_value(json_object_get(
                     json_object_get(json_object_get(answer.result, "memory"), "datapath"), "rss")),
                 1000000);
    cr_expect(json_is_null(json_object_get(
        json_object_get(json_object_get(answer.result, "memory"), "inside"), "rss")));
    fds = json_object_get(json_object_get(answer.result, "fds"), "datapath");
    cr_expect_eq(json_integer_value(json_object_get(fds, "limit")), 4711);
    if (!json_is_null(json_object_get(fds, "used"))) {
        /* "." and "..", and the one that reads the directory */
        cr_expect_eq(json_integer_value(json_object_get(fds, "used")), (json_int_t)count_fds() - 3);
    }
    json_decref(answer.result);
    both_end(&both);
}

Test(inquiry, recording_begins_and_ends_and_refuses_what_cannot_be_written)
{
    static Both both;
    Answer answer = {0};
    int file = memfd_create("pcap", MFD_CLOEXEC);
    int bad[] = {open("/dev/null", O_RDONLY | O_CLOEXEC), open("/", O_RDONLY | O_CLOEXEC),
                 epoll_create1(EPOLL_CLOEXEC), socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                 9999};
    size_t before;
    uint8_t frame[100] = {0};

    both_begin(&both);
    before = count_fds();
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        inquiry_pcap_start(both.inquiry, bad[i], 0, on_answer, &answer);
        await(&both, &answer, i + 1);
        cr_expect_eq(answer.errnum, EBADF, "%u: %d", i, answer.errnum);
    }
    inquiry_pcap_start(both.inquiry, file, 200, on_answer, &answer);
    await(&both, &answer, 6);
    cr_assert_not_null(answer.result);
    cr_expect_eq(json_object_size(answer.result), 0);
    for (unsigned i = 0; i < 3; i++) {
        pcap_frame(both.rooms.pcap, frame, sizeof(frame));
    }
    cr_expect_eq(both.recorded, 1, "the limit");
    inquiry_pcap_stop(both.inquiry, on_answer, &answer);
    await(&both, &answer, 7);
    cr_assert_not_null(answer.result);
    cr_expect_eq(json_integer_value(json_object_get(answer.result, "frames")), 1);
    cr_expect_eq(json_integer_value(json_object_get(answer.result, "bytes")), 140);
    cr_expect_eq(count_fds(), before);
    json_decref(answer.result);
    both_end(&both);
}

Test(inquiry, log_level_is_the_datapaths_from_then_on)
{
    static Both both;
    Answer answer = {0};

    both_begin(&both);
    cr_expect_not(loglimit_wants(both.rooms.log, LOG_LEVEL_DEBUG));
    cr_expect_eq(inquiry_log_level(both.inquiry, LOG_LEVEL_DEBUG), 0);
    inquiry_stats(both.inquiry, on_answer, &answer);
    await(&both, &answer, 1);
    cr_expect(loglimit_wants(both.rooms.log, LOG_LEVEL_DEBUG));
    json_decref(answer.result);
    both_end(&both);
}

Test(inquiry, datapath_that_says_nothing_is_an_error_in_two_seconds_and_its_late_word_none_at_all)
{
    static Both both;
    Answer answers[2] = {{0}};
    MessageStats late = {.type = MESSAGE_STATS, .id = 1};
    int64_t began = g_get_monotonic_time();

    both_begin(&both);
    both.silent = true;
    inquiry_stats(both.inquiry, on_answer, &answers[0]);
    inquiry_flows(both.inquiry, 0, 10, on_answer, &answers[1]);
    cr_expect_eq(both.sent, 1, "one at a time");
    await(&both, &answers[0], 1);
    await(&both, &answers[1], 1);
    cr_expect_geq(g_get_monotonic_time() - began, INQUIRY_TIMEOUT_MS * 1000 - 1000);
    cr_expect_eq(answers[0].errnum, ETIMEDOUT);
    cr_expect_eq(answers[1].errnum, ETIMEDOUT);
    cr_assert_eq(message_send(both.ends[1], &late, NULL, 0), 0);
    both.silent = false;
    inquiry_flows(both.inquiry, 0, 10, on_answer, &answers[1]);
    await(&both, &answers[1], 2);
    cr_expect_not_null(answers[1].result);
    cr_expect_eq(answers[0].calls, 1);
    json_decref(answers[1].result);
    both_end(&both);
}

Test(inquiry, too_many_questions_are_refused_and_those_left_at_the_end_are_told)
{
    static Both both;
    static Answer answers[INQUIRY_MAX + 1];

    both_begin(&both);
    both.silent = true;
    for (unsigned i = 0; i <= INQUIRY_MAX; i++) {
        inquiry_stats(both.inquiry, on_answer, &answers[i]);
    }
    cr_expect_eq(answers[INQUIRY_MAX].errnum, EBUSY);
    cr_expect_eq(answers[INQUIRY_MAX - 1].calls, 0);
    inquiry_forget(both.inquiry, &answers[3]);
    both_end(&both);
    for (unsigned i = 0; i < INQUIRY_MAX; i++) {
        cr_expect_eq(answers[i].calls, i != 3);
        cr_expect_eq(answers[i].errnum, i == 3 ? 0 : ECANCELED);
    }
}

Test(inquiry, datapath_in_an_attackers_hands_ends_no_walk_of_ours_for_ever_and_chooses_no_word)
{
    static Both both;
    Answer answer = {0};
    MessageFlows lie = {.type = MESSAGE_FLOWS, .count = 1, .cursor = MESSAGE_FLOWS_END};
    const json_t *flow;

    both_begin(&both);
    both.silent = true;
    inquiry_flows(both.inquiry, 0, 10, on_answer, &answer);
    lie.id = 7; /* of no question */
    cr_assert_eq(message_send(both.ends[1], &lie, NULL, 0), 0);
    lie.id = 1;
    lie.flows[0] =
        (FlowRecord){.path = 200, .state = 200, .bytes_in = UINT64_MAX, .guest_local.port = 5};
    lie.flows[0].host_local.addr.family = 77;
    cr_assert_eq(message_send(both.ends[1], &lie, NULL, 0), 0);
    await(&both, &answer, 1);
    flow = json_array_get(json_object_get(answer.result, "flows"), 0);
    cr_expect(json_is_null(json_object_get(flow, "path")));
    cr_expect(json_is_null(json_object_get(flow, "state")));
    cr_expect(json_is_null(json_object_get(json_object_get(flow, "host"), "local")));
    cr_expect_eq(json_integer_value(json_object_get(flow, "bytes_in")), INT64_MAX);
    /* "There is more", for ever: the time ends it. */
    inquiry_flows(both.inquiry, 0, 10, on_answer, &answer);
    lie.count = 0;
    lie.cursor = 1;
    for (lie.id = 2; answer.calls == 1;) {
        if (both.sent == lie.id) {
            cr_assert_eq(message_send(both.ends[1], &lie, NULL, 0), 0);
            lie.id++;
        }
        (void)g_main_context_iteration(both.fix.context, TRUE);
    }
    cr_expect_eq(answer.errnum, ETIMEDOUT);
    json_decref(answer.result);
    both_end(&both);
}
