/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_PUBLISHER_H
#define SALLYPORT_PUBLISHER_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "message.h"
#include "portmap.h"
#include "published.h"
#include "report.h"

typedef struct Publisher Publisher;

/* All port maps are through: bound and accepted by the datapath, or failed with an error record each. */
typedef void (*PublisherDoneFunc)(void *user_data);

/**
 * publisher_new() - bind port maps and hand the listeners to the datapath
 * @maps: PortMap elements, copied
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

/* The datapath's answers. Whoever waits for them may be called from here. */
void publisher_answer(Publisher *publisher, const MessageListening *answer);
void publisher_unlistened(Publisher *publisher, const MessageUnlistened *answer);

bool publisher_finished(const Publisher *publisher);
bool publisher_failed(const Publisher *publisher);

/* All is LIVE now. One "published" record per map, protocol and family; @shows_source: servers in the guest can see another address than the
 * guest's own. Returns how many maps there are. */
unsigned publisher_report(Publisher *publisher, bool shows_source);

/* ---- changes at run time, after publisher_report() ---- */

/* From now on it may be asked for changes; @context, borrowed, is for trying again what does not fit now. */
void publisher_serve(Publisher *publisher, GMainContext *context);

/* @published: in force, or NULL with @error (FAULT_PUBLISH; fault_errno() is exact): then nothing of it is open any more. Both are
 * borrowed during the call. May ask for further changes. */
typedef void (*PublisherAddFunc)(const Published *published, const GError *error, void *user_data);

/**
 * publisher_add() - bind one more port map, all or nothing unless it is weak, and hand it to the datapath
 * @map:   copied
 * @added: called once, perhaps before this returns, with the record written
 *
 * Changes are made one after the other, and what takes long (a range of thousands of ports) in pieces.
 */
void publisher_add(Publisher *publisher, const PortMap *map, PublishedOrigin origin,
                   PublisherAddFunc added, void *user_data);

/* @removed: every listener is closed; false: the helper ends before it knows. May ask for further changes. */
typedef void (*PublisherRemoveFunc)(bool removed, void *user_data);

/* Takes a publication back; @cut: with its TCP connections. Returns 0: @removed will be called once; -ENOENT: there is none of
 * that number; -EBUSY: it is coming or going. */
int publisher_remove(Publisher *publisher, uint32_t id, bool cut, PublisherRemoveFunc removed,
                     void *user_data);

/* The publication with the smallest number above @after that is in force or going; NULL: none. Valid until something changes. */
const Published *publisher_next(const Publisher *publisher, uint32_t after);

/* published_records() of it. */
json_t *publisher_records(const Publisher *publisher, const Published *published);

#endif
