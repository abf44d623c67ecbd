/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_guestsock.c - asking the process inside for sockets
 *
 * Does:     plays that process over a pair of message sockets: answers, refuses, is late, is silent.
 * Not here: the process itself (guest/inside.c).
 */
#include "config.h"

#include "datapath/guestsock.h"

#include <sys/socket.h>

#include "loopfixture.h"
#include "message.h"

#define WINDOW 32

typedef struct Fixture {
    GMainContext *context;
    GuestSock *gs;
    int inside;    /* the other end */
    GArray *order; /* uintptr_t: user data of the callbacks in their order */
    int last_fd;
} Fixture;

/* One per request, so that the callback knows the fixture and itself. */
typedef struct Ask {
    Fixture *fix;
    unsigned number;
    unsigned calls;
    int fd;
    uint64_t id;
    bool ask_again;
} Ask;

static uint64_t ask(Fixture *fix, Ask *request, unsigned number);

static void on_socket(int fd, void *user_data)
{
    Ask *request = user_data;

    request->calls++;
    request->fd = fd;
    g_array_append_val(request->fix->order, request->number);
    if (fd >= 0) {
        (void)close(fd);
    }
    if (request->ask_again) {
        request->ask_again = false;
        (void)ask(request->fix, request, request->number + 1000);
    }
}

static uint64_t ask(Fixture *fix, Ask *request, unsigned number)
{
    MessageSocketRequest wanted = {.port = (uint16_t)number};

    cr_assert(netaddr_parse("10.0.2.100", &wanted.addr));
    request->fix = fix;
    request->number = number;
    request->id = guestsock_request(fix->gs, &wanted, on_socket, request);
    cr_expect_neq(request->id, 0);
    return request->id;
}

static void fixture_begin(Fixture *fix)
{
    int pair[2];

    *fix = (Fixture){.context = g_main_context_new()};
    cr_assert_eq(message_pair(pair), 0);
    fix->gs = guestsock_new(pair[0], fix->context, NULL, NULL);
    fix->inside = pair[1];
    fix->order = g_array_new(FALSE, FALSE, sizeof(unsigned));
}

static void fixture_end(Fixture *fix)
{
    guestsock_free(fix->gs);
    (void)close(fix->inside);
    g_array_unref(fix->order);
    g_main_context_unref(fix->context);
}

/* The next request, as the process inside gets it; false if there is none. */
static bool take(Fixture *fix, MessageSocketRequest *ret)
{
    Message message;
    int fds[MESSAGE_FDS_MAX];
    size_t count;

    if (message_recv(fix->inside, &message, fds, &count) != 1) {
        return false;
    }
    cr_assert_eq(message.type, MESSAGE_SOCKET_REQUEST);
    *ret = message.socket_request;
    return true;
}

static void answer(Fixture *fix, uint64_t id, int errnum)
{
    MessageSocketReply reply = {.type = MESSAGE_SOCKET_REPLY, .errnum = errnum, .id = id};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(message_send(fix->inside, &reply, &fd, errnum == 0), 0);
    (void)close(fd);
}

Test(guestsock, request_says_what_is_wanted_and_the_socket_comes_once)
{
    Fixture fix;
    Ask request = {.fix = &fix};
    MessageSocketRequest got;
    MessageSocketRequest wanted = {.udp = true, .port = 5353};
    NetAddr addr;

    fixture_begin(&fix);
    cr_assert(netaddr_parse("fd00::64", &addr));
    wanted.addr = addr;
    request.id = guestsock_request(fix.gs, &wanted, on_socket, &request);
    cr_assert(take(&fix, &got));
    cr_expect(got.udp);
    cr_expect_eq(got.port, 5353);
    cr_expect(netaddr_equal(&got.addr, &addr));
    cr_expect_eq(got.id, request.id);
    cr_expect_eq(request.calls, 0, "only from the loop");
    answer(&fix, got.id, 0);
    LOOP_AWAIT(fix.context, request.calls > 0);
    loop_drain(fix.context);
    cr_expect_eq(request.calls, 1);
    cr_expect_geq(request.fd, 0);
    fixture_end(&fix);
}

Test(guestsock, error_of_the_reply_is_the_callbacks_negative_number)
{
    static const int errnums[] = {ECONNREFUSED, ENETUNREACH, EMFILE};
    Fixture fix;

    fixture_begin(&fix);
    for (size_t i = 0; i < G_N_ELEMENTS(errnums); i++) {
        Ask request = {0};

        (void)ask(&fix, &request, 80);
        answer(&fix, request.id, errnums[i]);
        LOOP_AWAIT(fix.context, request.calls > 0);
        cr_expect_eq(request.fd, -errnums[i]);
    }
    fixture_end(&fix);
}

Test(guestsock, no_more_than_32_requests_are_unanswered_and_all_come_in_order)
{
    enum { COUNT = 100 };
    Fixture fix;
    Ask requests[COUNT] = {0};
    MessageSocketRequest got;
    unsigned seen = 0;
    unsigned answered = 0;

    fixture_begin(&fix);
    for (unsigned i = 0; i < COUNT; i++) {
        (void)ask(&fix, &requests[i], i);
    }
    while (take(&fix, &got)) {
        cr_expect_eq(got.port, seen);
        seen++;
    }
    cr_expect_eq(seen, WINDOW);
    while (answered < COUNT) {
        answer(&fix, requests[answered].id, answered % 3 == 0 ? ECONNREFUSED : 0);
        answered++;
        LOOP_AWAIT(fix.context, requests[answered - 1].calls == 1);
        if (take(&fix, &got)) {
            cr_expect_eq(got.port, seen);
            seen++;
        }
        cr_assert_leq(seen - answered, WINDOW);
    }
    cr_expect_eq(seen, COUNT);
    cr_assert_eq(fix.order->len, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        cr_expect_eq(g_array_index(fix.order, unsigned, i), i);
        cr_expect_eq(requests[i].calls, 1);
    }
    fixture_end(&fix);
}

Test(guestsock, replies_out_of_order_find_their_requests)
{
    Fixture fix;
    Ask requests[3] = {0};

    fixture_begin(&fix);
    for (unsigned i = 0; i < 3; i++) {
        (void)ask(&fix, &requests[i], i);
    }
    cr_expect_neq(requests[0].id, requests[1].id);
    answer(&fix, requests[2].id, EPERM);
    answer(&fix, requests[0].id, 0);
    answer(&fix, requests[1].id, EINTR);
    LOOP_AWAIT(fix.context, fix.order->len == 3);
    cr_expect_geq(requests[0].fd, 0);
    cr_expect_eq(requests[1].fd, -EINTR);
    cr_expect_eq(requests[2].fd, -EPERM);
    fixture_end(&fix);
}

Test(guestsock, cancelled_request_is_not_called_and_its_late_socket_is_closed)
{
    Fixture fix;
    Ask request = {0};
    Ask next = {0};
    size_t before;

    fixture_begin(&fix);
    before = count_fds();
    guestsock_cancel(fix.gs, ask(&fix, &request, 1));
    guestsock_cancel(fix.gs, request.id);
    guestsock_cancel(fix.gs, 0);
    guestsock_cancel(fix.gs, 4711);
    (void)ask(&fix, &next, 2);
    answer(&fix, request.id, 0);
    answer(&fix, next.id, 0);
    LOOP_AWAIT(fix.context, next.calls == 1);
    cr_expect_eq(request.calls, 0);
    cr_expect_eq(count_fds(), before);
    fixture_end(&fix);
}

Test(guestsock, request_cancelled_while_it_waits_is_never_sent)
{
    Fixture fix;
    Ask requests[WINDOW + 2] = {0};
    MessageSocketRequest got;
    unsigned seen = 0;

    fixture_begin(&fix);
    for (unsigned i = 0; i < G_N_ELEMENTS(requests); i++) {
        (void)ask(&fix, &requests[i], i);
    }
    guestsock_cancel(fix.gs, requests[WINDOW].id);
    answer(&fix, requests[0].id, 0);
    LOOP_AWAIT(fix.context, requests[0].calls == 1);
    while (take(&fix, &got)) {
        cr_expect_neq(got.id, requests[WINDOW].id);
        seen++;
    }
    cr_expect_eq(seen, WINDOW + 1);
    cr_expect_eq(got.id, requests[WINDOW + 1].id);
    cr_expect_eq(requests[WINDOW].calls, 0);
    fixture_end(&fix);
}

Test(guestsock, reply_to_nothing_is_dropped_and_its_socket_closed)
{
    Fixture fix;
    Ask request = {0};
    size_t before;

    fixture_begin(&fix);
    before = count_fds();
    answer(&fix, 99, 0);
    answer(&fix, 98, ECONNREFUSED);
    (void)ask(&fix, &request, 1);
    answer(&fix, request.id, 0);
    LOOP_AWAIT(fix.context, request.calls == 1);
    answer(&fix, request.id, 0);
    loop_drain(fix.context);
    cr_expect_eq(request.calls, 1);
    cr_expect_eq(count_fds(), before);
    fixture_end(&fix);
}

Test(guestsock, socket_that_does_not_fit_is_emfile_and_the_next_one_comes)
{
    Fixture fix;
    Ask request = {0};
    Ask next = {0};
    rlim_t before;

    fixture_begin(&fix);
    (void)ask(&fix, &request, 1);
    answer(&fix, request.id, 0);
    loop_timeout_ms(fix.context);
    fds_leave(0, &before);
    for (int i = 0; i < 100 && request.calls == 0; i++) {
        (void)g_main_context_iteration(fix.context, FALSE);
    }
    fds_allow(before);
    cr_expect_eq(request.calls, 1);
    cr_expect_eq(request.fd, -EMFILE);
    (void)ask(&fix, &next, 2);
    answer(&fix, next.id, 0);
    LOOP_AWAIT(fix.context, next.calls == 1);
    cr_expect_geq(next.fd, 0);
    fixture_end(&fix);
}

Test(guestsock, callback_may_ask_again)
{
    Fixture fix;
    Ask request = {.ask_again = true};
    MessageSocketRequest got;

    fixture_begin(&fix);
    answer(&fix, ask(&fix, &request, 1), ECONNREFUSED);
    LOOP_AWAIT(fix.context, request.calls == 1);
    cr_assert(take(&fix, &got));
    cr_assert(take(&fix, &got));
    cr_expect_eq(got.port, 1001);
    answer(&fix, got.id, 0);
    LOOP_AWAIT(fix.context, request.calls == 2);
    fixture_end(&fix);
}

Test(guestsock, end_of_the_process_inside_is_quiet)
{
    Fixture fix;
    Ask requests[3] = {0};

    fixture_begin(&fix);
    (void)ask(&fix, &requests[0], 1);
    (void)shutdown(fix.inside, SHUT_RDWR);
    (void)ask(&fix, &requests[1], 2);
    loop_run_ms(fix.context, 20);
    (void)ask(&fix, &requests[2], 3);
    loop_drain(fix.context);
    cr_expect_eq(requests[0].calls + requests[1].calls + requests[2].calls, 0);
    cr_expect_not(g_main_context_pending(fix.context), "it does not spin");
    fixture_end(&fix);
}

Test(guestsock, freed_with_requests_under_way_calls_nobody_and_keeps_no_fd)
{
    size_t before = count_fds();
    Fixture fix;
    Ask requests[WINDOW + 5] = {0};

    fixture_begin(&fix);
    for (unsigned i = 0; i < G_N_ELEMENTS(requests); i++) {
        (void)ask(&fix, &requests[i], i);
    }
    answer(&fix, requests[0].id, 0);
    fixture_end(&fix);
    for (unsigned i = 0; i < G_N_ELEMENTS(requests); i++) {
        cr_expect_eq(requests[i].calls, 0);
    }
    cr_expect_eq(count_fds(), before);
}
