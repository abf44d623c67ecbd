/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_router.c - router advertisements: for whom there is a router, when it speaks
 *
 * Does:     with a clock and a timer of the test's own.
 * Not here: the bytes of the frame (test_frame_build.c); what a kernel makes of them (tests/system/test_slirp4netns_net.c).
 */
#include "config.h"

#include "datapath/router.h"

#include <criterion/criterion.h>

#include "../../helper/datapath/frame.h"
#include "../../helper/datapath/poller.h"

static int64_t clock_us = INT64_C(3600) * G_USEC_PER_SEC;

struct Timer {
    TimerFunc func;
    void *user_data;
    int64_t at_us;
};

static Timer the_timer = {.at_us = -1};
static unsigned timers;

gint64 g_get_monotonic_time(void)
{
    return clock_us;
}

Timer *timer_new(GMainContext *context, TimerFunc func, void *user_data)
{
    (void)context;
    timers++;
    the_timer = (Timer){.func = func, .user_data = user_data, .at_us = -1};
    return &the_timer;
}

void timer_free(Timer *timer)
{
    cr_assert_eq(timer, &the_timer);
    timers--;
}

void timer_set(Timer *timer, int64_t at_us)
{
    timer->at_us = at_us;
}

static void pass_s(int64_t seconds)
{
    int64_t end = clock_us + seconds * G_USEC_PER_SEC;

    while (the_timer.at_us >= 0 && the_timer.at_us <= end) {
        clock_us = the_timer.at_us;
        the_timer.at_us = -1;
        the_timer.func(the_timer.user_data);
    }
    clock_us = end;
}

static unsigned sent;

static void on_send(const uint8_t *frame, size_t len, void *user_data)
{
    FrameView view;

    cr_assert_eq(user_data, &sent);
    cr_assert_eq(frame_parse(frame, len, &view), FRAME_OK);
    cr_assert_eq(view.icmp_type, 134);
    sent++;
}

static Settings settings_of(bool autoconf, bool ipv6)
{
    Settings settings = {.dns = true};

    settings.guest.autoconf = autoconf;
    settings.guest.ipv6 = ipv6;
    cr_assert(netcidr_parse("fd00::/64", AF_INET6, &settings.guest.cidr6, NULL));
    settings.guest.gateway6 = netcidr_host(&settings.guest.cidr6, 2);
    settings.guest.dns6 = netcidr_host(&settings.guest.cidr6, 3);
    return settings;
}

Test(router, there_is_none_where_the_guest_is_configured_or_has_no_ipv6)
{
    for (unsigned i = 0; i < 3; i++) {
        const Settings settings = settings_of(i & 1, i & 2);
        Router *router = router_new(NULL, &settings, on_send, &sent);

        cr_assert_null(router);
        router_solicited(router);
        router_free(router);
    }
    cr_assert_eq(sent, 0);
    cr_assert_eq(timers, 0);
}

Test(router, answers_at_once_and_speaks_before_a_third_of_its_lifetime_is_over)
{
    const Settings settings = settings_of(true, true);
    Router *router = router_new(NULL, &settings, on_send, &sent);

    cr_assert_not_null(router);
    cr_assert_eq(sent, 0);
    for (unsigned i = 1; i <= 10; i++) {
        router_solicited(router);
        cr_assert_eq(sent, i);
    }
    pass_s(599);
    cr_assert_eq(sent, 10);
    pass_s(1);
    cr_assert_eq(sent, 11);
    pass_s(3600);
    cr_assert_eq(sent, 17);
    router_free(router);
    cr_assert_eq(timers, 0);
}
