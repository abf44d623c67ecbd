/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_SURVEY_H
#define SALLYPORT_DATAPATH_SURVEY_H

#include <stdbool.h>
#include <stddef.h>

#include "../message.h"
#include "answers.h"
#include "dns.h"
#include "forward.h"
#include "gate.h"
#include "guestsock.h"
#include "link.h"
#include "loglimit.h"
#include "natflows.h"
#include "natshare.h"
#include "pcap.h"
#include "ping.h"
#include "relay.h"
#include "takeover.h"

/* The rooms that may be asked what they have; borrowed. NULL: there is none, or not yet. */
typedef struct SurveyRooms {
    Answers *answers;
    const Gate *gate;
    const Link *link;
    const Nat *nat;
    const NatShare *natshare;
    const NatFlows *natflows;
    const Takeover *takeover;
    const Forward *forward;
    const GuestSock *guestsock;
    const Relays *relays;
    const Ping *ping;
    const Dns *dns;
    LogLimit *log;
    Pcap *pcap;
    size_t nofile; /* RLIMIT_NOFILE */
} SurveyRooms;

/**
 * survey_take() - answer a question of the supervisor's, at once and in a bounded time
 * @take_fds: of a MESSAGE_PCAP: NULL if they were lost
 *
 * False: it is no question, and nothing was done.
 */
bool survey_take(const SurveyRooms *rooms, const Message *message, const int *take_fds,
                 size_t count);

#endif
