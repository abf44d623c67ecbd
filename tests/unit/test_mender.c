/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_mender.c - how often the fast path asks for what the guest's root has destroyed
 *
 * Does:     what is asked for, when, how often, and when it is given up.
 * Model:    the clock and the one timer are the test's own, in place of GLib's and poller.c's: ten seconds pass at once.
 */
#include "config.h"

#include "datapath/mender.h"

#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "datapath/poller.h"

/* ---- time ---- */

static int64_t clock_us;

struct Timer {
    TimerFunc func;
    void *user_data;
    int64_t at_us;
};

static Timer *the_timer;

gint64 g_get_monotonic_time(void)
{
    return clock_us;
}

Timer *timer_new(GMainContext *context, TimerFunc func, void *user_data)
{
    Timer *timer = g_new0(Timer, 1);

    (void)context;
    cr_assert_null(the_timer, "one timer is all that is expected");
    *timer = (Timer){.func = func, .user_data = user_data, .at_us = -1};
    the_timer = timer;
    return timer;
}

void timer_free(Timer *timer)
{
    cr_assert_eq(timer, the_timer);
    g_free(timer);
    the_timer = NULL;
}

void timer_set(Timer *timer, int64_t at_us)
{
    timer->at_us = at_us;
}

static void pass_ms(int64_t ms)
{
    int64_t end = clock_us + ms * 1000;

    while (the_timer->at_us >= 0 && the_timer->at_us <= end) {
        clock_us = MAX(clock_us, the_timer->at_us);
        the_timer->at_us = -1;
        the_timer->func(the_timer->user_data);
    }
    clock_us = end;
}

/* ---- what it says ---- */

static struct {
    unsigned loads, rules, listeners, gone, destroyed, off, other;
} said;

static bool deaf; /* the process inside cannot be asked */

static bool on_repair(MessageRepairWhat what, void *user_data)
{
    unsigned *const counts[] = {&said.loads, &said.rules, &said.listeners};

    cr_assert_eq(user_data, &said);
    *counts[what] += !deaf;
    return !deaf;
}

static void on_note(TakeoverNote about, const char *what, void *user_data)
{
    cr_assert_eq(user_data, &said);
    cr_assert_eq(about,
                 strstr(what, "off from now on") != NULL ? TAKEOVER_NOTE_OFF : TAKEOVER_NOTE_LOST);
    if (strstr(what, "off from now on") != NULL) {
        said.off++;
    } else if (strstr(what, "rules") != NULL) {
        said.gone++;
    } else if (strstr(what, "destroyed") != NULL) {
        said.destroyed++;
    } else {
        said.other++;
    }
}

static const TakeoverHooks hooks = {.repair = on_repair, .note = on_note, .user_data = &said};

static void begin(void)
{
    memset(&said, 0, sizeof(said));
    deaf = false;
    clock_us = INT64_C(3600) * G_USEC_PER_SEC;
}

/* The rules were there before, or are now. */
static void answered(Mender *mender, bool done, bool listener)
{
    mender_answered(mender, done ? 0 : EAGAIN, done, listener);
}

/* With a listener and its rules, as after start. */
static Mender *sound(void)
{
    Mender *mender = mender_new(NULL, &hooks);

    answered(mender, true, true);
    cr_assert(mender_sound(mender));
    return mender;
}

TestSuite(mender, .init = begin);

/* ---- the beginning ---- */

Test(mender, a_new_one_is_not_sound_and_asks_for_nothing)
{
    g_autoptr(Mender) mender = mender_new(NULL, &hooks);

    cr_assert_not(mender_sound(mender));
    pass_ms(60000);
    cr_assert_eq(said.rules + said.listeners + said.gone + said.destroyed + said.off, 0);
}

Test(mender, what_comes_at_start_makes_it_sound_without_a_word)
{
    g_autoptr(Mender) mender = sound();

    pass_ms(60000);
    cr_assert(mender_sound(mender));
    cr_assert_eq(said.rules + said.listeners + said.gone + said.destroyed + said.off, 0);
}

/* ---- rules that come later ---- */

/* As after a start with --fast-path auto. */
static Mender *without_rules(void)
{
    Mender *mender = mender_new(NULL, &hooks);

    mender_answered(mender, 0, false, true);
    return mender;
}

Test(mender, rules_are_loaded_when_they_are_needed_and_not_before)
{
    g_autoptr(Mender) mender = without_rules();

    cr_assert(mender_sound(mender));
    pass_ms(60000);
    cr_assert_eq(said.loads + said.rules + said.listeners, 0);
    for (int i = 0; i < 100; i++) {
        cr_assert_not(mender_load(mender));
    }
    cr_assert_eq(said.loads, 1);
    mender_answered(mender, 0, true, true);
    cr_assert(mender_load(mender));
    cr_assert(mender_sound(mender));
    pass_ms(60000);
    cr_assert_eq(said.loads, 1);
    cr_assert_eq(said.gone + said.destroyed + said.off, 0);
}

Test(mender, rules_that_cannot_be_loaded_are_not_asked_for_again)
{
    g_autoptr(Mender) mender = without_rules();

    (void)mender_load(mender);
    mender_answered(mender, EOPNOTSUPP, false, true);
    cr_assert_not(mender_sound(mender));
    for (int i = 0; i < 100; i++) {
        cr_assert_not(mender_load(mender));
        pass_ms(1000);
    }
    cr_assert_eq(said.loads, 1);
    cr_assert_eq(said.rules, 0);
}

Test(mender, rules_that_wait_for_an_interface_are_asked_for_with_each_connection)
{
    g_autoptr(Mender) mender = without_rules();

    (void)mender_load(mender);
    mender_answered(mender, ENETDOWN, false, true);
    cr_assert_not(mender_sound(mender));
    pass_ms(60000);
    cr_assert_eq(said.loads, 1, "without a connection nobody asks");
    for (unsigned i = 2; i < 5; i++) {
        cr_assert_not(mender_try(mender));
        cr_assert_not(mender_try(mender));
        cr_assert_eq(said.loads, i);
        mender_answered(mender, ENETDOWN, false, true);
    }
    cr_assert_not(mender_try(mender));
    mender_answered(mender, 0, true, true);
    cr_assert(mender_try(mender));
    cr_assert(mender_load(mender));
    cr_assert_eq(said.loads, 5);
    cr_assert_eq(said.gone + said.destroyed + said.off + said.rules + said.listeners, 0);
}

Test(mender, rules_just_loaded_can_be_mended_at_once)
{
    g_autoptr(Mender) mender = without_rules();

    (void)mender_load(mender);
    mender_answered(mender, 0, true, true);
    mender_rules_gone(mender);
    cr_assert_eq(said.rules, 1);
}

Test(mender, an_answer_to_the_first_request_does_not_undo_a_loss)
{
    g_autoptr(Mender) mender = without_rules();

    (void)mender_load(mender);
    mender_rules_gone(mender);
    mender_answered(mender, 0, true, true);
    cr_assert_not(mender_sound(mender));
    cr_assert_eq(said.rules, 1);
}

Test(mender, what_there_is_not_after_a_loss_is_the_end_of_it)
{
    g_autoptr(Mender) mender = without_rules();

    mender_listener_gone(mender);
    mender_answered(mender, EOPNOTSUPP, false, false);
    pass_ms(60000);
    cr_assert_eq(said.listeners, 1);
    cr_assert_eq(said.off, 0);
}

Test(mender, a_listener_lost_before_any_rules_brings_them)
{
    g_autoptr(Mender) mender = without_rules();

    mender_listener_gone(mender);
    cr_assert_eq(said.listeners, 1);
    mender_answered(mender, 0, true, true);
    cr_assert(mender_load(mender));
    cr_assert_eq(said.loads, 0);
}

Test(mender, who_could_not_be_asked_is_asked_again)
{
    g_autoptr(Mender) loading = without_rules();

    deaf = true;
    (void)mender_load(loading);
    pass_ms(25);
    cr_assert_eq(said.loads, 0);
    deaf = false;
    pass_ms(10);
    cr_assert_eq(said.loads, 1);
}

Test(mender, so_it_is_for_what_was_lost)
{
    g_autoptr(Mender) mender = sound();

    deaf = true;
    mender_rules_gone(mender);
    pass_ms(25);
    deaf = false;
    pass_ms(10);
    cr_assert_eq(said.rules, 1);
    answered(mender, true, true);
    cr_assert(mender_sound(mender));
}

/* ---- rules ---- */

Test(mender, lost_rules_are_asked_for_at_once_and_once_until_the_answer)
{
    g_autoptr(Mender) mender = sound();

    for (int i = 0; i < 100; i++) {
        mender_rules_gone(mender);
        cr_assert_not(mender_sound(mender));
        pass_ms(1000);
    }
    cr_assert_eq(said.rules, 1);
    cr_assert_eq(said.gone, 1);
    answered(mender, true, true);
    cr_assert(mender_sound(mender));
}

Test(mender, rules_are_asked_for_at_most_once_in_ten_seconds)
{
    g_autoptr(Mender) mender = sound();

    for (unsigned round = 1; round <= 5; round++) {
        mender_rules_gone(mender);
        mender_rules_gone(mender);
        cr_assert_eq(said.rules, round);
        answered(mender, true, true);
        cr_assert(mender_sound(mender));
        mender_rules_gone(mender);
        cr_assert_not(mender_sound(mender));
        pass_ms(9999);
        cr_assert_eq(said.rules, round, "asked again within ten seconds");
        mender_rules_gone(mender);
        cr_assert_eq(said.rules, round);
        pass_ms(1);
        cr_assert_eq(said.rules, round + 1, "not asked for after ten seconds");
        answered(mender, true, true);
        cr_assert(mender_sound(mender));
        pass_ms(10000);
        said.rules = round;
    }
}

Test(mender, rules_lost_again_after_ten_seconds_are_asked_for_at_once)
{
    g_autoptr(Mender) mender = sound();

    mender_rules_gone(mender);
    answered(mender, true, true);
    pass_ms(10000);
    mender_rules_gone(mender);
    cr_assert_eq(said.rules, 2);
}

Test(mender, each_loss_of_the_rules_is_noted_once)
{
    g_autoptr(Mender) mender = sound();

    for (unsigned round = 1; round <= 3; round++) {
        for (int i = 0; i < 10; i++) {
            mender_rules_gone(mender);
        }
        cr_assert_eq(said.gone, round);
        answered(mender, true, true);
        pass_ms(10000);
    }
}

Test(mender, rules_that_could_not_be_put_back_are_asked_for_every_ten_seconds)
{
    g_autoptr(Mender) mender = sound();

    mender_rules_gone(mender);
    for (unsigned round = 1; round <= 20; round++) {
        cr_assert_eq(said.rules, round);
        answered(mender, false, true);
        cr_assert_not(mender_sound(mender));
        pass_ms(9999);
        cr_assert_eq(said.rules, round);
        pass_ms(1);
    }
    cr_assert_eq(said.gone, 1);
    cr_assert_eq(said.off, 0);
    answered(mender, true, true);
    cr_assert(mender_sound(mender));
    pass_ms(60000);
    cr_assert_eq(said.rules, 21);
}

/* ---- the listener ---- */

Test(mender, a_lost_listener_is_asked_for_at_once_and_once_until_the_answer)
{
    g_autoptr(Mender) mender = sound();

    mender_listener_gone(mender);
    cr_assert_not(mender_sound(mender));
    pass_ms(60000);
    cr_assert_eq(said.listeners, 1);
    cr_assert_eq(said.destroyed, 1);
    answered(mender, true, true);
    cr_assert(mender_sound(mender));
    cr_assert_eq(said.rules, 0);
}

Test(mender, listeners_are_asked_for_at_most_once_a_second)
{
    g_autoptr(Mender) mender = sound();

    mender_listener_gone(mender);
    answered(mender, true, true);
    pass_ms(500);
    mender_listener_gone(mender);
    cr_assert_eq(said.listeners, 1);
    pass_ms(499);
    cr_assert_eq(said.listeners, 1);
    pass_ms(1);
    cr_assert_eq(said.listeners, 2);
    cr_assert_not(mender_sound(mender));
    answered(mender, true, true);
    cr_assert(mender_sound(mender));
}

Test(mender, after_five_new_listeners_it_is_off_with_one_note)
{
    g_autoptr(Mender) mender = sound();

    for (unsigned round = 1; round <= 5; round++) {
        mender_listener_gone(mender);
        cr_assert_eq(said.listeners, round);
        answered(mender, true, true);
        cr_assert(mender_sound(mender), "not sound with listener %u", round);
        cr_assert_eq(said.off, 0);
        pass_ms(1000);
    }
    mender_listener_gone(mender);
    cr_assert_eq(said.listeners, 5);
    cr_assert_eq(said.off, 1);
    cr_assert_not(mender_sound(mender));
    /* And so it stays. */
    pass_ms(3600 * 1000);
    mender_rules_gone(mender);
    answered(mender, true, true);
    pass_ms(3600 * 1000);
    cr_assert_not(mender_sound(mender));
    cr_assert_eq(said.listeners + said.rules, 5);
    cr_assert_eq(said.off, 1);
}

Test(mender, five_losses_in_hours_are_the_end_too)
{
    g_autoptr(Mender) mender = sound();

    for (unsigned round = 1; round <= 5; round++) {
        mender_listener_gone(mender);
        answered(mender, true, true);
        pass_ms(3600 * 1000);
    }
    cr_assert_eq(said.off, 0);
    mender_listener_gone(mender);
    cr_assert_eq(said.listeners, 5);
    cr_assert_eq(said.off, 1);
}

Test(mender, a_listener_that_could_not_be_made_is_asked_for_five_times)
{
    g_autoptr(Mender) mender = sound();

    mender_listener_gone(mender);
    for (unsigned round = 1; round <= 5; round++) {
        cr_assert_eq(said.listeners, round);
        answered(mender, false, false);
        cr_assert_not(mender_sound(mender));
        pass_ms(1000);
    }
    cr_assert_eq(said.listeners, 5);
    cr_assert_eq(said.off, 1);
    cr_assert_eq(said.destroyed, 1);
}

/* ---- both ---- */

Test(mender, rules_lost_with_the_listener_come_with_it)
{
    g_autoptr(Mender) mender = sound();

    mender_listener_gone(mender);
    mender_rules_gone(mender);
    cr_assert_eq(said.listeners, 1);
    cr_assert_eq(said.rules, 0, "a new listener comes with its rules");
    answered(mender, true, true);
    cr_assert(mender_sound(mender));
    pass_ms(60000);
    cr_assert_eq(said.rules, 0);
}

Test(mender, a_listener_does_not_wait_for_the_time_of_the_rules)
{
    g_autoptr(Mender) mender = sound();

    mender_rules_gone(mender);
    answered(mender, true, true);
    mender_rules_gone(mender); /* due in ten seconds */
    mender_listener_gone(mender);
    pass_ms(999);
    cr_assert_eq(said.listeners, 0);
    pass_ms(1);
    cr_assert_eq(said.listeners, 1);
    answered(mender, true, true);
    cr_assert(mender_sound(mender));
    pass_ms(60000);
    cr_assert_eq(said.rules, 1);
    cr_assert_eq(said.listeners, 1);
}

Test(mender, a_listener_lost_while_rules_are_asked_for_is_next)
{
    g_autoptr(Mender) mender = sound();

    mender_rules_gone(mender);
    mender_listener_gone(mender);
    cr_assert_eq(said.rules, 1);
    cr_assert_eq(said.listeners, 0, "two requests under way");
    answered(mender, true, false);
    pass_ms(1000);
    cr_assert_eq(said.listeners, 1);
    answered(mender, true, true);
    cr_assert(mender_sound(mender));
}

Test(mender, a_new_listener_without_rules_is_not_sound)
{
    g_autoptr(Mender) mender = sound();

    mender_listener_gone(mender);
    mender_rules_gone(mender);
    answered(mender, false, true);
    cr_assert_not(mender_sound(mender));
    pass_ms(10000);
    cr_assert_eq(said.rules, 1);
    answered(mender, true, true);
    cr_assert(mender_sound(mender));
}
