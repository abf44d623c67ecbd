/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * mender.c - what the guest's root can destroy of the fast path
 *
 * Does:     remembers what is gone and asks for it again, not too often.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   the process inside to answer each request once.
 * Limits:   MENDER_RULES_US, MENDER_LISTENER_US between two requests, MENDER_LISTENERS new listeners in all.
 */
#include "config.h"

#include "mender.h"

#include "poller.h"

#define MENDER_RULES_US    (10 * G_USEC_PER_SEC)
#define MENDER_LISTENER_US G_USEC_PER_SEC
#define MENDER_LISTENERS   5

struct Mender {
    const TakeoverHooks *hooks;
    Timer *timer;
    bool listener;
    bool rules_gone;
    bool off;
    bool asked; /* and not answered yet */
    int64_t asked_us;
    unsigned listeners;
};

static void mender_ask(Mender *mender)
{
    int64_t now = g_get_monotonic_time();
    int64_t at = mender->asked_us + (mender->listener ? MENDER_RULES_US : MENDER_LISTENER_US);

    if (mender->off || mender->asked || (mender->listener && !mender->rules_gone)) {
        return;
    }
    if (mender->asked_us != 0 && now < at) {
        timer_set(mender->timer, at);
        return;
    }
    if (!mender->listener && mender->listeners++ >= MENDER_LISTENERS) {
        mender->off = true;
        mender->hooks->note(TAKEOVER_NOTE_OFF,
                            "the fast path is off from now on: its listener was destroyed in the "
                            "guest too often",
                            mender->hooks->user_data);
        return;
    }
    mender->asked = true;
    mender->asked_us = now;
    mender->hooks->repair(!mender->listener, mender->hooks->user_data);
}

static void mender_due(void *user_data)
{
    mender_ask(user_data);
}

Mender *mender_new(GMainContext *context, const TakeoverHooks *hooks)
{
    Mender *mender = g_new0(Mender, 1);

    mender->hooks = hooks;
    mender->timer = timer_new(context, mender_due, mender);
    return mender;
}

void mender_free(Mender *mender)
{
    if (mender == NULL) {
        return;
    }
    timer_free(mender->timer);
    g_free(mender);
}

bool mender_sound(const Mender *mender)
{
    return mender->listener && !mender->rules_gone && !mender->off;
}

void mender_rules_gone(Mender *mender)
{
    if (!mender->rules_gone) {
        mender->rules_gone = true;
        mender->hooks->note(TAKEOVER_NOTE_LOST,
                            "the rules of the fast path are gone from the guest; asking for them "
                            "again",
                            mender->hooks->user_data);
    }
    mender_ask(mender);
}

void mender_listener_gone(Mender *mender)
{
    mender->listener = false;
    mender->hooks->note(TAKEOVER_NOTE_LOST,
                        "the listener of the fast path was destroyed in the guest",
                        mender->hooks->user_data);
    mender_ask(mender);
}

void mender_answered(Mender *mender, bool done, bool listener)
{
    mender->asked = false;
    mender->listener = listener;
    if (done) {
        mender->rules_gone = false;
    }
    mender_ask(mender);
}
