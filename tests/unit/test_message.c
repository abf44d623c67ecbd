/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_message.c - typed messages and fds over a connected pair
 *
 * Does:     each type there and back; what is refused, how, and that no fd stays behind; ends and full queues.
 * Not here: what a message means.
 */
#include "config.h"

#include "message.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "loopfixture.h"

/* include/net/scm.h */
#define FDS_OF_THE_KERNEL 253

typedef struct Shape {
    MessageType type;
    size_t size;
    size_t fds_min;
    size_t fds_max;
} Shape;

static const Shape shapes[] = {
    {MESSAGE_INSIDE_READY, sizeof(MessageLink), 1, 1},
    {MESSAGE_INSIDE_FAST_PATH, sizeof(MessageFastPathState), 0, 0},
    {MESSAGE_START, sizeof(MessageLink), 1, 1},
    {MESSAGE_HOST_ADDRESSES, sizeof(MessageAddresses), 0, 0},
    {MESSAGE_DNS_SERVERS, sizeof(MessageServers), 0, 0},
    {MESSAGE_DNS_LISTENER, sizeof(MessageDnsListener), 1, 1},
    {MESSAGE_LISTEN, sizeof(MessageListen), 1, 250},
    {MESSAGE_LISTENING, sizeof(MessageListening), 0, 0},
    {MESSAGE_UNLISTEN, sizeof(MessageUnlisten), 0, 0},
    {MESSAGE_UNLISTENED, sizeof(MessageUnlistened), 0, 0},
    {MESSAGE_GO, sizeof(MessagePlain), 0, 0},
    {MESSAGE_DATAPATH_READY, sizeof(MessagePlain), 0, 0},
    {MESSAGE_LOG, sizeof(MessageText), 0, 0},
    {MESSAGE_FAULT, sizeof(MessageText), 0, 0},
    {MESSAGE_TAP_GONE, sizeof(MessagePlain), 0, 0},
    {MESSAGE_SOCKET_REQUEST, sizeof(MessageSocketRequest), 0, 0},
    {MESSAGE_SOCKET_REPLY, sizeof(MessageSocketReply), 0, 1},
    {MESSAGE_FAST_PATH, sizeof(MessageFastPath), 0, FAST_PATH_FDS},
    {MESSAGE_REPAIR, sizeof(MessageRepair), 0, 0},
    {MESSAGE_LOCKED, sizeof(MessageLocked), 0, 0},
    {MESSAGE_FLOWS_QUERY, sizeof(MessageFlowsQuery), 0, 0},
    {MESSAGE_FLOWS, sizeof(MessageFlows), 0, 0},
    {MESSAGE_STATS_QUERY, sizeof(MessageQuery), 0, 0},
    {MESSAGE_STATS, sizeof(MessageStats), 0, 0},
    {MESSAGE_PCAP, sizeof(MessagePcap), 0, 1},
    {MESSAGE_PCAP_DONE, sizeof(MessagePcapDone), 0, 0},
    {MESSAGE_LOG_LEVEL, sizeof(MessageLogLevel), 0, 0},
};

typedef struct Pair {
    int ours;
    int theirs;
    size_t fds_before; /* open in this process, the pair included */
    Message got;
    int fds[MESSAGE_FDS_MAX];
    size_t fd_count;
} Pair;

static void pair_begin(Pair *pair)
{
    int socks[2];

    memset(pair, 0, sizeof(*pair));
    cr_assert_eq(message_pair(socks), 0);
    pair->ours = socks[0];
    pair->theirs = socks[1];
    pair->fds_before = count_fds();
}

static void pair_end(Pair *pair)
{
    (void)close(pair->ours);
    (void)close(pair->theirs);
}

static int pair_receive(Pair *pair)
{
    memset(&pair->got, 0, sizeof(pair->got));
    pair->fd_count = 99999;
    return message_recv(pair->theirs, &pair->got, pair->fds, &pair->fd_count);
}

static void pair_close_received(Pair *pair)
{
    for (size_t i = 0; i < pair->fd_count; i++) {
        (void)close(pair->fds[i]);
    }
    cr_expect_eq(count_fds(), pair->fds_before, "no fd is left");
}

/* A well-formed message of @type for @fd_count fds, every other byte of it set. */
static void make_message(Message *ret, MessageType type, size_t fd_count)
{
    memset(ret, 0xa5, sizeof(*ret));
    ret->type = type;
    if (type == MESSAGE_LISTEN) {
        ret->listen.count = (uint16_t)fd_count;
    } else if (type == MESSAGE_FLOWS) {
        ret->flows.count = MESSAGE_FLOWS_MAX;
    } else if (type == MESSAGE_LOG || type == MESSAGE_FAULT) {
        ret->text.text[MESSAGE_TEXT_MAX - 1] = '\0';
    } else if (type == MESSAGE_INSIDE_FAST_PATH) {
        ret->fast_path_state.why[sizeof(ret->fast_path_state.why) - 1] = '\0';
    } else if (type == MESSAGE_SOCKET_REPLY) {
        ret->socket_reply.errnum = fd_count == 0 ? ECONNREFUSED : 0;
    }
}

/* sendmsg(2) without any judgement. The same fd is passed @fd_count times. */
static void send_raw(int sock, const void *data, size_t len, int fd, size_t fd_count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FDS_OF_THE_KERNEL)];
    } control;
    Message copy[2];
    struct iovec iov = {copy, len};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    cr_assert_leq(len, sizeof(copy));
    memset(copy, 0xa5, sizeof(copy));
    memcpy(copy, data, MIN(len, sizeof(Message)));
    if (fd_count > 0) {
        struct cmsghdr *cmsg;

        memset(&control, 0, sizeof(control));
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        for (size_t i = 0; i < fd_count; i++) {
            memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fd, sizeof(int));
        }
    }
    cr_assert_eq(sendmsg(sock, &header, MSG_NOSIGNAL), (ssize_t)len, "%s", g_strerror(errno));
}

/* What was sent last is refused with @want, and leaves no fd. */
static void expect_refused(Pair *pair, int want, const char *what, MessageType type)
{
    int got = pair_receive(pair);

    cr_expect_eq(got, want, "%s of type %d: %d", what, (int)type, got);
    cr_expect_eq(pair->fd_count, 0, "%s of type %d", what, (int)type);
    cr_expect_eq(count_fds(), pair->fds_before, "%s of type %d leaves fds", what, (int)type);
}

Test(message, pair_is_of_sockets_that_keep_boundaries_and_do_not_block_or_leak)
{
    Pair pair;
    int type = 0;
    socklen_t len = sizeof(type);

    pair_begin(&pair);
    cr_assert_eq(getsockopt(pair.ours, SOL_SOCKET, SO_TYPE, &type, &len), 0);
    cr_expect_eq(type, SOCK_SEQPACKET);
    cr_expect(fcntl(pair.ours, F_GETFL) & O_NONBLOCK);
    cr_expect(fcntl(pair.theirs, F_GETFL) & O_NONBLOCK);
    cr_expect(fcntl(pair.ours, F_GETFD) & FD_CLOEXEC);
    cr_expect(fcntl(pair.theirs, F_GETFD) & FD_CLOEXEC);
    pair_end(&pair);
}

/* Else the last word of a process that ends is lost if it had not read everything. */
Test(message, what_was_said_before_an_end_arrives_though_something_was_unread)
{
    MessagePlain unread = {.type = MESSAGE_GO};
    MessagePlain word = {.type = MESSAGE_DATAPATH_READY};
    Pair pair;

    pair_begin(&pair);
    cr_assert_eq(message_send(pair.theirs, &unread, NULL, 0), 0);
    cr_assert_eq(message_send(pair.ours, &word, NULL, 0), 0);
    (void)close(pair.ours);
    cr_expect_eq(pair_receive(&pair), 1);
    cr_expect_eq(pair.got.type, MESSAGE_DATAPATH_READY);
    cr_expect_eq(pair_receive(&pair), 0);
    (void)close(pair.theirs);
}

Test(message, shapes_of_these_tests_are_all_there_are)
{
    cr_assert_eq(G_N_ELEMENTS(shapes), MESSAGE_TYPE_COUNT - 1);
}

Test(message, each_type_arrives_byte_by_byte_with_its_fds)
{
    Pair pair;

    pair_begin(&pair);
    for (size_t i = 0; i < 2 * G_N_ELEMENTS(shapes); i++) {
        const Shape *shape = &shapes[i / 2];
        size_t fd_count = i % 2 == 0 ? shape->fds_min : shape->fds_max;
        int fds[MESSAGE_FDS_MAX];
        Message message;

        for (size_t n = 0; n < fd_count; n++) {
            fds[n] = pair.ours;
        }
        make_message(&message, shape->type, fd_count);
        cr_assert_eq(message_send(pair.ours, &message, fds, fd_count), 0);
        cr_assert_eq(pair_receive(&pair), 1, "type %d", (int)shape->type);
        cr_expect_arr_eq(&pair.got, &message, shape->size, "type %d", (int)shape->type);
        cr_expect_eq(pair.fd_count, fd_count, "type %d", (int)shape->type);
        pair_close_received(&pair);
    }
    pair_end(&pair);
}

Test(message, fds_arrive_in_order_cloexec_and_stay_open_at_the_sender)
{
    static const size_t counts[] = {1, 2, 125, 249, 250};
    int fds[MESSAGE_FDS_MAX];
    Pair pair;

    for (size_t i = 0; i < MESSAGE_FDS_MAX; i++) {
        fds[i] = memfd_create("sample", MFD_CLOEXEC);
        cr_assert_geq(fds[i], 0);
        cr_assert_eq(ftruncate(fds[i], (off_t)i + 1), 0);
    }
    pair_begin(&pair);
    for (size_t i = 0; i < G_N_ELEMENTS(counts); i++) {
        Message message;

        make_message(&message, MESSAGE_LISTEN, counts[i]);
        cr_assert_eq(message_send(pair.ours, &message, fds, counts[i]), 0);
        cr_assert_eq(pair_receive(&pair), 1, "%zu fds", counts[i]);
        cr_assert_eq(pair.fd_count, counts[i]);
        for (size_t n = 0; n < counts[i]; n++) {
            struct stat st;

            cr_assert_eq(fstat(pair.fds[n], &st), 0);
            cr_expect_eq(st.st_size, (off_t)n + 1);
            cr_expect(fcntl(pair.fds[n], F_GETFD) & FD_CLOEXEC);
        }
        pair_close_received(&pair);
    }
    for (size_t i = 0; i < MESSAGE_FDS_MAX; i++) {
        cr_assert_eq(close(fds[i]), 0);
    }
    pair_end(&pair);
}

Test(message, messages_keep_their_order_and_boundaries)
{
    Pair pair;

    pair_begin(&pair);
    for (uint32_t i = 0; i < 5; i++) {
        MessageListening message = {.type = MESSAGE_LISTENING, .publication = i, .errnum = -1};

        cr_assert_eq(message_send(pair.ours, &message, NULL, 0), 0);
    }
    for (uint32_t i = 0; i < 5; i++) {
        cr_assert_eq(pair_receive(&pair), 1);
        cr_expect_eq(pair.got.listening.publication, i);
    }
    pair_end(&pair);
}

Test(message, empty_queue_and_full_queue_are_eagain)
{
    Pair pair;
    MessagePlain message = {.type = MESSAGE_GO};
    int sent = 0;
    int failed;

    pair_begin(&pair);
    expect_refused(&pair, -EAGAIN, "nothing", MESSAGE_GO);
    while ((failed = message_send(pair.ours, &message, NULL, 0)) == 0 && sent < 1000000) {
        sent++;
    }
    cr_expect_eq(failed, -EAGAIN);
    cr_expect_gt(sent, 0);
    for (int i = 0; i < sent; i++) {
        cr_assert_eq(pair_receive(&pair), 1);
    }
    expect_refused(&pair, -EAGAIN, "all read", MESSAGE_GO);
    pair_end(&pair);
}

Test(message, end_of_the_connection_is_zero_after_what_came_before)
{
    Pair pair;
    MessagePlain message = {.type = MESSAGE_GO};

    pair_begin(&pair);
    cr_assert_eq(message_send(pair.ours, &message, NULL, 0), 0);
    (void)close(pair.ours);
    cr_expect_eq(pair_receive(&pair), 1);
    cr_expect_eq(pair_receive(&pair), 0);
    cr_expect_eq(pair.fd_count, 0);
    cr_expect_eq(pair_receive(&pair), 0);
    (void)close(pair.theirs);
}

Test(message, end_with_our_message_unread_is_an_end_too)
{
    Pair pair;
    MessagePlain message = {.type = MESSAGE_GO};

    pair_begin(&pair);
    cr_assert_eq(message_send(pair.theirs, &message, NULL, 0), 0);
    (void)close(pair.ours);
    cr_expect_eq(pair_receive(&pair), 0);
    (void)close(pair.theirs);
}

Test(message, sending_to_nobody_is_epipe_and_no_signal)
{
    Pair pair;
    MessagePlain message = {.type = MESSAGE_GO};

    (void)signal(SIGPIPE, SIG_DFL);
    pair_begin(&pair);
    (void)close(pair.theirs);
    cr_expect_eq(message_send(pair.ours, &message, NULL, 0), -EPIPE);
    (void)close(pair.ours);
}

Test(message, wrong_length_of_each_type_is_refused)
{
    Pair pair;

    pair_begin(&pair);
    for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++) {
        const Shape *shape = &shapes[i];
        const size_t lens[] = {1,
                               3,
                               4,
                               shape->size - 1,
                               shape->size + 1,
                               shape->size + 8,
                               sizeof(Message),
                               sizeof(Message) + 1,
                               2 * sizeof(Message)};

        for (size_t n = 0; n < G_N_ELEMENTS(lens); n++) {
            Message message;

            if (lens[n] == shape->size) {
                continue;
            }
            make_message(&message, shape->type, shape->fds_min);
            send_raw(pair.ours, &message, lens[n], pair.ours, shape->fds_min);
            expect_refused(&pair, -EBADMSG, "wrong length", shape->type);
        }
    }
    pair_end(&pair);
}

Test(message, unknown_type_is_refused_at_any_length_and_with_any_fds)
{
    static const uint32_t types[] = {0, MESSAGE_TYPE_COUNT, MESSAGE_TYPE_COUNT + 1, 0x80000001,
                                     UINT32_MAX};
    static const size_t fd_counts[] = {0, 1, 250};
    Pair pair;

    pair_begin(&pair);
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        for (size_t n = 0; n < G_N_ELEMENTS(shapes); n++) {
            Message message;

            memset(&message, 0, sizeof(message));
            message.type = types[i];
            send_raw(pair.ours, &message, shapes[n].size, pair.ours, fd_counts[n % 3]);
            expect_refused(&pair, -EBADMSG, "unknown type", (MessageType)types[i]);
        }
    }
    pair_end(&pair);
}

Test(message, too_few_and_too_many_fds_are_refused)
{
    Pair pair;

    pair_begin(&pair);
    for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++) {
        const Shape *shape = &shapes[i];

        for (size_t fd_count = 0; fd_count <= 3; fd_count++) {
            Message message;

            if (fd_count >= shape->fds_min && fd_count <= shape->fds_max) {
                continue;
            }
            make_message(&message, shape->type, fd_count);
            send_raw(pair.ours, &message, shape->size, pair.ours, fd_count);
            expect_refused(&pair, -EBADMSG, "wrong number of fds", shape->type);
        }
    }
    pair_end(&pair);
}

Test(message, more_fds_than_any_message_has_leave_none_open)
{
    Pair pair;

    pair_begin(&pair);
    for (size_t i = 0; i < G_N_ELEMENTS(shapes); i++) {
        Message message;

        make_message(&message, shapes[i].type, FDS_OF_THE_KERNEL);
        send_raw(pair.ours, &message, shapes[i].size, pair.ours, FDS_OF_THE_KERNEL);
        cr_expect_lt(pair_receive(&pair), 0, "type %d", (int)shapes[i].type);
        cr_expect_eq(pair.fd_count, 0);
        cr_expect_eq(count_fds(), pair.fds_before, "type %d", (int)shapes[i].type);
    }
    pair_end(&pair);
}

Test(message, listeners_count_must_be_that_of_the_fds)
{
    static const uint16_t counts[] = {0, 1, 3, 250, UINT16_MAX};
    Pair pair;

    pair_begin(&pair);
    for (size_t i = 0; i < G_N_ELEMENTS(counts); i++) {
        Message message;

        make_message(&message, MESSAGE_LISTEN, counts[i]);
        send_raw(pair.ours, &message, sizeof(MessageListen), pair.ours, 2);
        expect_refused(&pair, -EBADMSG, "wrong count", MESSAGE_LISTEN);
    }
    pair_end(&pair);
}

Test(message, fast_path_comes_with_all_its_fds_or_those_for_inbound_flows_or_one_or_none)
{
    for (size_t count = 0; count <= FAST_PATH_FDS; count++) {
        bool wanted = count <= 1 || count == FAST_PATH_INBOUND_FDS || count == FAST_PATH_FDS;
        Message message;
        Pair pair;
        int got;

        pair_begin(&pair);
        make_message(&message, MESSAGE_FAST_PATH, count);
        send_raw(pair.ours, &message, sizeof(MessageFastPath), pair.ours, count);
        got = message_recv(pair.theirs, &pair.got, pair.fds, &pair.fd_count);
        cr_expect_eq(got, wanted ? 1 : -EBADMSG, "%zu fds: %d", count, got);
        for (size_t i = 0; got == 1 && i < pair.fd_count; i++) {
            (void)close(pair.fds[i]);
        }
        pair_end(&pair);
    }
}

Test(message, socket_reply_has_either_a_socket_or_an_errno)
{
    Pair pair;
    Message message;

    pair_begin(&pair);
    make_message(&message, MESSAGE_SOCKET_REPLY, 0);
    send_raw(pair.ours, &message, sizeof(MessageSocketReply), pair.ours, 1);
    expect_refused(&pair, -EBADMSG, "both", MESSAGE_SOCKET_REPLY);
    make_message(&message, MESSAGE_SOCKET_REPLY, 1);
    send_raw(pair.ours, &message, sizeof(MessageSocketReply), -1, 0);
    expect_refused(&pair, -EBADMSG, "neither", MESSAGE_SOCKET_REPLY);
    pair_end(&pair);
}

Test(message, text_without_an_end_and_more_flows_than_fit_are_refused)
{
    static const MessageType types[] = {MESSAGE_LOG, MESSAGE_FAULT};
    Pair pair;
    Message flows;

    pair_begin(&pair);
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        Message message;

        make_message(&message, types[i], 0);
        message.text.text[MESSAGE_TEXT_MAX - 1] = 'x';
        send_raw(pair.ours, &message, sizeof(MessageText), -1, 0);
        expect_refused(&pair, -EBADMSG, "text", types[i]);
    }
    make_message(&flows, MESSAGE_FLOWS, 0);
    flows.flows.count = MESSAGE_FLOWS_MAX + 1;
    cr_assert_eq(message_send(pair.ours, &flows, NULL, 0), 0);
    expect_refused(&pair, -EBADMSG, "too many flows", MESSAGE_FLOWS);
    pair_end(&pair);
}

Test(message, empty_datagram_leaves_no_fd)
{
    Pair pair;
    Message message;

    pair_begin(&pair);
    make_message(&message, MESSAGE_GO, 0);
    send_raw(pair.ours, &message, 0, pair.ours, 3);
    cr_expect_leq(pair_receive(&pair), 0);
    cr_expect_eq(pair.fd_count, 0);
    cr_expect_eq(count_fds(), pair.fds_before);
    pair_end(&pair);
}

Test(message, refused_message_does_not_spoil_the_next)
{
    Pair pair;
    Message message;

    pair_begin(&pair);
    make_message(&message, MESSAGE_START, 1);
    send_raw(pair.ours, &message, 9, pair.ours, 2);
    cr_assert_eq(message_send(pair.ours, &message, &pair.ours, 1), 0);
    expect_refused(&pair, -EBADMSG, "short", MESSAGE_START);
    cr_assert_eq(pair_receive(&pair), 1);
    cr_expect_eq(pair.fd_count, 1);
    pair_close_received(&pair);
    pair_end(&pair);
}

Test(message, fds_that_do_not_fit_are_emfile_with_the_message_and_none_of_them_stays)
{
    static const struct {
        MessageType type;
        size_t size;
        size_t fd_count;
        unsigned room;
    } rows[] = {
        {MESSAGE_SOCKET_REPLY, sizeof(MessageSocketReply), 1, 0},
        {MESSAGE_START, sizeof(MessageLink), 1, 0},
        {MESSAGE_LISTEN, sizeof(MessageListen), 5, 0},
        {MESSAGE_LISTEN, sizeof(MessageListen), 5, 4},
        {MESSAGE_LISTEN, sizeof(MessageListen), 250, 10},
    };
    Pair pair;

    pair_begin(&pair);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        int fds[MESSAGE_FDS_MAX];
        Message message;
        rlim_t before;
        int got;

        for (size_t n = 0; n < rows[i].fd_count; n++) {
            fds[n] = pair.ours;
        }
        make_message(&message, rows[i].type, rows[i].fd_count);
        cr_assert_eq(message_send(pair.ours, &message, fds, rows[i].fd_count), 0);
        fds_leave(rows[i].room, &before);
        got = pair_receive(&pair);
        fds_allow(before);
        cr_expect_eq(got, -EMFILE, "row %zu: %d", i, got);
        cr_expect_eq(pair.fd_count, 0);
        cr_expect_arr_eq(&pair.got, &message, rows[i].size, "row %zu", i);
        cr_expect_eq(count_fds(), pair.fds_before, "row %zu", i);
    }
    pair_end(&pair);
}

Test(message, malformed_message_whose_fds_do_not_fit_is_refused_all_the_same)
{
    Pair pair;
    Message message;
    rlim_t before;
    int got;

    pair_begin(&pair);
    make_message(&message, MESSAGE_LISTEN, 5);
    send_raw(pair.ours, &message, sizeof(MessageListen) - 1, pair.ours, 5);
    fds_leave(2, &before);
    got = pair_receive(&pair);
    fds_allow(before);
    cr_expect_eq(got, -EBADMSG, "%d", got);
    cr_expect_eq(count_fds(), pair.fds_before);
    pair_end(&pair);
}

Test(message, text_is_filled_in_and_cut_to_fit)
{
    g_autofree char *longer = g_strnfill(MESSAGE_TEXT_MAX + 10, 'x');
    MessageText text;

    memset(&text, 0xa5, sizeof(text));
    message_text_init(&text, MESSAGE_FAULT, 1, 2, EPERM, "why");
    cr_expect_eq(text.type, MESSAGE_FAULT);
    cr_expect_eq(text.level, 1);
    cr_expect_eq(text.kind, 2);
    cr_expect_eq(text.errnum, EPERM);
    cr_expect_str_eq(text.text, "why");
    cr_expect_eq(text.text[MESSAGE_TEXT_MAX - 1], '\0', "nothing of the stack is passed on");
    message_text_init(&text, MESSAGE_LOG, 0, 0, 0, longer);
    cr_expect_eq(strlen(text.text), MESSAGE_TEXT_MAX - 1);
}
