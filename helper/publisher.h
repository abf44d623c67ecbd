/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_PUBLISHER_H
#define SALLYPORT_PUBLISHER_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "message.h"
#include "report.h"

typedef struct Publisher Publisher;

/* All port maps are through: bound and accepted by the datapath, or failed with an error record each. */
typedef void (*PublisherDoneFunc)(void *user_data);

/**
 * publisher_new() - bind port maps and hand the listeners to the datapath
 * @maps: PortMap elements; borrowed, must outlive the publisher
 * @sock: the connection to the datapath; borrowed
 *
 * Nothing happens before publisher_start(). Listeners are handed over in batches, and a few batches are under way at a time, so
 * that this process never holds many of them.
 */
Publisher *publisher_new(const GPtrArray *maps, const GuestSettings *guest, int sock,
                         Report *report, PublisherDoneFunc done, void *user_data);
void publisher_free(Publisher *publisher);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Publisher, publisher_free)

/* Binds. The PublisherDoneFunc may be called from here. */
void publisher_start(Publisher *publisher);

/* Binds and closes again, for the error records alone: a start that fails for another cause tells this one too. */
void publisher_try(const GPtrArray *maps, const GuestSettings *guest, Report *report);

/* The datapath's answer to a batch. The PublisherDoneFunc may be called from here. */
void publisher_answer(Publisher *publisher, const MessageListening *answer);

bool publisher_finished(const Publisher *publisher);
bool publisher_failed(const Publisher *publisher);

/* One "published" record per map, protocol and family; @shows_source: servers in the guest can see another address than the
 * guest's own. Returns how many maps there are. */
unsigned publisher_report(Publisher *publisher, bool shows_source);

#endif
