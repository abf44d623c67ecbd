/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_PUBLISHED_H
#define SALLYPORT_PUBLISHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>
#include <jansson.h>

#include "bindport.h"
#include "message.h"
#include "portmap.h"
#include "settings.h"

/* Who asked for it. The order is that of the words in published.c. */
typedef enum PublishedOrigin {
    PUBLISHED_BY_COMMAND_LINE,
    PUBLISHED_BY_CONTROL,
    PUBLISHED_BY_API,
} PublishedOrigin;

typedef enum PublishedState {
    PUBLISHED_COMING, /* being bound, or not accepted by the datapath yet */
    PUBLISHED_LIVE,
    PUBLISHED_GOING, /* being closed */
} PublishedState;

/* What of one map is bound: host ports of one slot, ascending. */
typedef struct PublishedSlot {
    BindSlot slot;
    GArray *ports; /* uint16_t */
} PublishedSlot;

/**
 * struct Published - one port map, as far as it is in force; publisher.c changes it, everybody else reads
 * @id:         its number, from 1 on, never used again; 0: it has none yet
 * @bound:      sockets so far
 * @weak_errno: why a weak map's last missing socket is missing
 * @failed:     it will not come to be
 */
typedef struct Published {
    PortMap *map;
    uint32_t id;
    PublishedOrigin origin;
    PublishedState state;
    PublishedSlot slots[BIND_SLOTS_MAX];
    size_t slot_count;
    size_t bound;
    int weak_errno;
    bool failed;
} Published;

/* Fills in what follows from @map, which is copied; published_clear() frees what is held. */
void published_init(Published *ret, const PortMap *map, PublishedOrigin origin);
void published_clear(Published *published);

const char *published_origin_word(const Published *published);

/* What a client's address becomes in the guest. */
MessageSource published_source(const PortMap *map, const GuestSettings *guest);

/**
 * published_records() - the keys of its "published" records, one object per protocol, family and some hundred ports
 * @shows_source: servers in the guest can see another address than the guest's own
 *
 * Return: an array, the caller's to json_decref()
 */
json_t *published_records(const Published *published, const GuestSettings *guest,
                          bool shows_source);

#endif
