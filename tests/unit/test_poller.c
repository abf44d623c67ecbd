/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_poller.c - epoll on a main loop, and one-shot timers
 *
 * Does:     events of pipes and socket pairs; changes of the set within callbacks; pausing; timers.
 */
#include "config.h"

#include "datapath/poller.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include "loopfixture.h"

typedef struct Fixture {
    GMainContext *context;
    Poller *poller;
} Fixture;

/* One end of a socket pair, watched. */
typedef struct Spot {
    Fixture *fix;
    int fd;
    int peer;
    PollerWatch watch;
    unsigned calls;
    uint32_t events;
    struct Spot *remove; /* taken out by the next call, and its fd closed */
    bool read;           /* each call reads what is there */
} Spot;

static void fixture_begin(Fixture *fix)
{
    fix->context = g_main_context_new();
    fix->poller = poller_new(fix->context, NULL);
    cr_assert_not_null(fix->poller);
}

static void fixture_end(Fixture *fix)
{
    poller_free(fix->poller);
    g_main_context_unref(fix->context);
}

static void on_spot(uint32_t events, void *user_data)
{
    Spot *spot = user_data;
    char buf[64];

    spot->calls++;
    spot->events = events;
    if (spot->read) {
        cr_expect_gt(read(spot->fd, buf, sizeof(buf)), 0);
    }
    if (spot->remove != NULL) {
        Spot *other = spot->remove;

        spot->remove = NULL;
        poller_remove(other->fix->poller, &other->watch);
        (void)close(other->fd);
        other->fd = -1;
    }
}

static void spot_begin(Spot *spot, Fixture *fix, uint32_t events)
{
    int fds[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    *spot = (Spot){.fix = fix, .fd = fds[0], .peer = fds[1]};
    cr_assert_eq(poller_add(fix->poller, &spot->watch, spot->fd, events, on_spot, spot), 0);
}

static void spot_end(Spot *spot)
{
    poller_remove(spot->fix->poller, &spot->watch);
    if (spot->fd >= 0) {
        (void)close(spot->fd);
    }
    if (spot->peer >= 0) {
        (void)close(spot->peer);
    }
}

static void poke(const Spot *spot)
{
    cr_assert_eq(write(spot->peer, "x", 1), 1);
}

Test(poller, level_triggered_watch_is_called_until_it_has_read)
{
    Fixture fix;
    Spot spot;

    fixture_begin(&fix);
    spot_begin(&spot, &fix, EPOLLIN);
    loop_drain(fix.context);
    cr_expect_eq(spot.calls, 0);
    poke(&spot);
    LOOP_AWAIT(fix.context, spot.calls >= 3);
    cr_expect_eq(spot.events, EPOLLIN);
    spot.read = true;
    LOOP_AWAIT(fix.context, !g_main_context_pending(fix.context));
    spot.calls = 0;
    loop_drain(fix.context);
    cr_expect_eq(spot.calls, 0);
    spot_end(&spot);
    fixture_end(&fix);
}

Test(poller, edge_triggered_watch_is_called_once_a_change)
{
    Fixture fix;
    Spot spot;

    fixture_begin(&fix);
    spot_begin(&spot, &fix, EPOLLIN | EPOLLOUT | EPOLLET);
    LOOP_AWAIT(fix.context, spot.calls == 1);
    cr_expect_eq(spot.events, EPOLLOUT, "the present state comes first");
    loop_drain(fix.context);
    cr_expect_eq(spot.calls, 1);
    poke(&spot);
    LOOP_AWAIT(fix.context, spot.calls == 2);
    loop_drain(fix.context);
    cr_expect_eq(spot.calls, 2);
    cr_expect(spot.events & EPOLLIN);
    spot_end(&spot);
    fixture_end(&fix);
}

Test(poller, hangup_is_told_without_asking)
{
    Fixture fix;
    Spot spot;

    fixture_begin(&fix);
    spot_begin(&spot, &fix, 0);
    (void)close(spot.peer);
    spot.peer = -1;
    LOOP_AWAIT(fix.context, spot.calls > 0);
    cr_expect(spot.events & EPOLLHUP);
    spot_end(&spot);
    fixture_end(&fix);
}

Test(poller, modified_watch_hears_of_what_it_asks_for_now)
{
    Fixture fix;
    Spot spot;

    fixture_begin(&fix);
    spot_begin(&spot, &fix, EPOLLIN);
    poke(&spot);
    poller_modify(fix.poller, &spot.watch, EPOLLOUT);
    LOOP_AWAIT(fix.context, spot.calls > 0);
    cr_expect_eq(spot.events, EPOLLOUT);
    poller_modify(fix.poller, &spot.watch, 0);
    spot.calls = 0;
    loop_drain(fix.context);
    cr_expect_eq(spot.calls, 0);
    spot_end(&spot);
    fixture_end(&fix);
}

Test(poller, watch_removed_by_anothers_callback_is_not_called_any_more)
{
    Fixture fix;
    Spot spots[2];

    /* Which of the two comes first is epoll's business: the first removes the other. */
    fixture_begin(&fix);
    for (int i = 0; i < 2; i++) {
        spot_begin(&spots[i], &fix, EPOLLIN);
        spots[i].remove = &spots[1 - i];
        poke(&spots[i]);
    }
    spots[0].remove = &spots[1];
    spots[1].remove = &spots[0];
    cr_assert(g_main_context_iteration(fix.context, TRUE));
    cr_expect_eq(spots[0].calls + spots[1].calls, 1);
    spot_end(&spots[0]);
    spot_end(&spots[1]);
    fixture_end(&fix);
}

Test(poller, watch_may_remove_itself_and_close_its_fd)
{
    Fixture fix;
    Spot spot;

    fixture_begin(&fix);
    spot_begin(&spot, &fix, EPOLLIN);
    spot.remove = &spot;
    poke(&spot);
    LOOP_AWAIT(fix.context, spot.calls > 0);
    loop_drain(fix.context);
    cr_expect_eq(spot.calls, 1);
    cr_expect_not(spot.watch.active);
    poller_remove(fix.poller, &spot.watch);
    spot_end(&spot);
    fixture_end(&fix);
}

Test(poller, removed_watch_can_be_added_again)
{
    Fixture fix;
    Spot spot;

    fixture_begin(&fix);
    spot_begin(&spot, &fix, EPOLLIN);
    poller_remove(fix.poller, &spot.watch);
    poke(&spot);
    loop_drain(fix.context);
    cr_expect_eq(spot.calls, 0);
    cr_assert_eq(poller_add(fix.poller, &spot.watch, spot.fd, EPOLLIN, on_spot, &spot), 0);
    LOOP_AWAIT(fix.context, spot.calls > 0);
    spot_end(&spot);
    fixture_end(&fix);
}

Test(poller, fd_that_cannot_be_watched_is_an_error_and_no_watch)
{
    Fixture fix;
    PollerWatch watch = {0};
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

    fixture_begin(&fix);
    cr_expect_eq(poller_add(fix.poller, &watch, -1, EPOLLIN, on_spot, NULL), -EBADF);
    cr_expect_eq(poller_add(fix.poller, &watch, file, EPOLLIN, on_spot, NULL), -EPERM);
    cr_expect_not(watch.active);
    poller_remove(fix.poller, &watch);
    (void)close(file);
    fixture_end(&fix);
}

Test(poller, paused_poller_is_silent_and_sees_afterwards_what_came)
{
    Fixture fix;
    Spot spot;

    fixture_begin(&fix);
    spot_begin(&spot, &fix, EPOLLIN);
    poller_pause(fix.poller, true);
    poke(&spot);
    loop_drain(fix.context);
    cr_expect_not(g_main_context_pending(fix.context), "nothing wakes the process");
    cr_expect_eq(spot.calls, 0);
    poller_pause(fix.poller, false);
    LOOP_AWAIT(fix.context, spot.calls > 0);
    spot_end(&spot);
    fixture_end(&fix);
}

Test(poller, hundreds_of_watches_are_all_served)
{
    enum { COUNT = 200 };
    Fixture fix;
    g_autofree Spot *spots = g_new0(Spot, COUNT);
    unsigned served = 0;

    fixture_begin(&fix);
    for (int i = 0; i < COUNT; i++) {
        spot_begin(&spots[i], &fix, EPOLLIN);
        spots[i].read = true;
        poke(&spots[i]);
    }
    loop_drain(fix.context);
    for (int i = 0; i < COUNT; i++) {
        served += spots[i].calls == 1;
        spot_end(&spots[i]);
    }
    cr_expect_eq(served, COUNT);
    fixture_end(&fix);
}

Test(poller, free_gives_its_fd_back)
{
    size_t before = count_fds();
    Fixture fix;

    fixture_begin(&fix);
    fixture_end(&fix);
    cr_expect_eq(count_fds(), before);
    poller_free(NULL);
}

Test(poller, no_fd_left_is_an_error_with_words)
{
    g_autoptr(GError) error = NULL;
    GMainContext *context = g_main_context_new();
    rlim_t before;
    Poller *poller;

    fds_leave(0, &before);
    poller = poller_new(context, &error);
    fds_allow(before);
    cr_expect_null(poller);
    cr_assert(g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_MFILE));
    cr_expect(g_str_has_prefix(error->message, "epoll_create1: "));
    g_main_context_unref(context);
}

typedef struct Bell {
    Timer *timer;
    unsigned rings;
    gint64 rang_us;
    int64_t again_us; /* after a ring, 0: not */
} Bell;

static void on_bell(void *user_data)
{
    Bell *bell = user_data;

    bell->rings++;
    bell->rang_us = g_get_monotonic_time();
    if (bell->again_us > 0) {
        timer_set(bell->timer, bell->rang_us + bell->again_us);
    }
}

Test(timer, fires_once_at_its_time_and_sleeps_then)
{
    GMainContext *context = g_main_context_new();
    Bell bell = {0};
    gint64 at = g_get_monotonic_time() + 50000;

    bell.timer = timer_new(context, on_bell, &bell);
    cr_expect_eq(loop_timeout_ms(context), -1);
    timer_set(bell.timer, at);
    LOOP_AWAIT(context, bell.rings > 0);
    cr_expect_geq(bell.rang_us, at);
    cr_expect_lt(bell.rang_us, at + 1000000);
    cr_expect_eq(loop_timeout_ms(context), -1);
    loop_run_ms(context, 60);
    cr_expect_eq(bell.rings, 1);
    timer_free(bell.timer);
    g_main_context_unref(context);
}

Test(timer, last_setting_counts_and_a_negative_one_disarms)
{
    GMainContext *context = g_main_context_new();
    Bell bell = {0};
    gint64 now = g_get_monotonic_time();

    bell.timer = timer_new(context, on_bell, &bell);
    timer_set(bell.timer, now + 20000);
    timer_set(bell.timer, now + 5000000);
    loop_run_ms(context, 60);
    cr_expect_eq(bell.rings, 0);
    cr_expect_gt(loop_timeout_ms(context), 3000);
    timer_set(bell.timer, -1);
    cr_expect_eq(loop_timeout_ms(context), -1);
    timer_set(bell.timer, 0);
    LOOP_AWAIT(context, bell.rings == 1);
    timer_free(bell.timer);
    g_main_context_unref(context);
}

Test(timer, callback_may_arm_it_again)
{
    GMainContext *context = g_main_context_new();
    Bell bell = {.again_us = 5000};

    bell.timer = timer_new(context, on_bell, &bell);
    timer_set(bell.timer, g_get_monotonic_time());
    LOOP_AWAIT(context, bell.rings == 5);
    timer_free(bell.timer);
    timer_free(NULL);
    loop_run_ms(context, 30);
    cr_expect_eq(bell.rings, 5);
    g_main_context_unref(context);
}
