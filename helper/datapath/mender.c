/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * mender.c - what the fast path needs in the guest, and the guest's root can destroy
 *
 * Does:     remembers what is not there or gone, and asks for it, not too often.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   the process inside to answer each request once.
 * Limits:   MENDER_RULES_US, MENDER_LISTENER_US between two requests, MENDER_LISTENERS new listeners in all.
 */
#include "config.h"

#include "mender.h"

#include <errno.h>

#include "poller.h"

#define MENDER_RULES_US    (10 * G_USEC_PER_SEC)
#define MENDER_LISTENER_US G_USEC_PER_SEC
#define MENDER_LISTENERS   5
/* When the process inside could not even be asked. */
#define MENDER_RETRY_US (10 * 1000)

struct Mender {
    const TakeoverHooks *hooks;
    Timer *timer;
    bool listener;
    bool wanted; /* the rules */
    bool loaded; /* once */
    bool rules_gone;
    bool down; /* they could not be loaded, for an interface of the guest's was not up */
    bool off;
    bool asked;      /* and not answered yet */
    bool asked_load; /* for the first time */
    int64_t asked_us;
    unsigned listeners;
};

static bool mender_send(Mender *mender, MessageRepairWhat what)
{
    mender->asked_load = what == REPAIR_LOAD;
    mender->asked = mender->hooks->repair(what, mender->hooks->user_data);
    if (!mender->asked) {
        timer_set(mender->timer, g_get_monotonic_time() + MENDER_RETRY_US);
    }
    return mender->asked;
}

/* What may be asked for more than once. */
static void mender_ask_again(Mender *mender)
{
    int64_t now = g_get_monotonic_time();
    int64_t at = mender->asked_us + (mender->listener ? MENDER_RULES_US : MENDER_LISTENER_US);

    if (mender->listener && !mender->rules_gone) {
        return;
    }
    if (mender->asked_us != 0 && now < at) {
        timer_set(mender->timer, at);
        return;
    }
    if (!mender->listener && mender->listeners >= MENDER_LISTENERS) {
        mender->off = true;
        mender->hooks->note(TAKEOVER_NOTE_OFF,
                            "the fast path is off from now on: its listener was destroyed in the "
                            "guest too often",
                            mender->hooks->user_data);
        return;
    }
    if (mender_send(mender, mender->listener ? REPAIR_RULES : REPAIR_LISTENER)) {
        mender->asked_us = now;
        mender->listeners += !mender->listener;
    }
}

static void mender_ask(Mender *mender)
{
    if (mender->off || mender->asked) {
        return;
    }
    if (mender->wanted && !mender->loaded) {
        (void)mender_send(mender, REPAIR_LOAD);
    } else {
        mender_ask_again(mender);
    }
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
    return mender->listener && !mender->rules_gone && !mender->off && !mender->down;
}

bool mender_try(Mender *mender)
{
    if (mender->down) {
        (void)mender_load(mender); /* for the next one */
    }
    return mender_sound(mender);
}

bool mender_load(Mender *mender)
{
    if (!mender->loaded) {
        mender->wanted = true;
        mender_ask(mender);
    }
    return mender->loaded;
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
    if (mender->off) {
        return;
    }
    mender->hooks->note(TAKEOVER_NOTE_LOST,
                        "the listener of the fast path was destroyed in the guest",
                        mender->hooks->user_data);
    mender_ask(mender);
}

void mender_answered(Mender *mender, int errnum, bool loaded, bool listener)
{
    /* The kernel lacks something: the process inside has said what. */
    mender->off |= mender->asked && errnum == EOPNOTSUPP;
    /* To have loaded rules says nothing of those that were lost since. */
    if (errnum == 0 && !mender->asked_load) {
        mender->rules_gone = false;
    }
    mender->down = mender->asked && errnum == ENETDOWN;
    mender->wanted &= !mender->down; /* until the next connection */
    mender->asked = false;
    mender->asked_load = false;
    mender->listener = listener;
    mender->loaded |= loaded;
    mender_ask(mender);
}
