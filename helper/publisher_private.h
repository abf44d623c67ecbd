/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_PUBLISHER_PRIVATE_H
#define SALLYPORT_PUBLISHER_PRIVATE_H

/* What the publisher*.c files share; nobody else includes it. */

#include "publisher.h"

#define PUBLISHER_WINDOW 4

/**
 * struct Job - a publication and what is being done about it
 * @published: first, so that it is one
 * @through:   everything of it is bound, or has failed
 * @waiting:   letters about it that are not sent, @unanswered: not answered
 * @handed:    the datapath knows of it
 * @removing:  the datapath was told, or is about to be, to close it
 * @error:     why it failed, for the one who asked at run time
 * @added:     NULL at start, and once it was called
 * @removed:   who asked for its end
 */
typedef struct Job {
    Published published;
    bool through;
    unsigned waiting;
    unsigned unanswered;
    bool handed;
    bool removing;
    GError *error;
    PublisherAddFunc added;
    PublisherRemoveFunc removed;
    void *user_data;
} Job;

/* A message that waits to be sent: a MESSAGE_LISTEN with its fds, or a MESSAGE_UNLISTEN. */
typedef struct Letter {
    union {
        uint32_t type;
        MessageListen listen;
        MessageUnlisten unlisten;
    } message;
    int fds[MESSAGE_FDS_MAX];
    size_t count;
    Job *job;
} Letter;

struct Publisher {
    GPtrArray *jobs; /* Job, by id */
    GQueue to_bind;  /* Job; the first one is being bound */
    GQueue letters;  /* of what is bound and not sent */
    GQueue changes;  /* Job: asked for at run time and not answered */
    const GuestSettings *guest;
    bool shows_source;
    int sock;
    Report *report;
    GMainContext *context; /* NULL until publisher_serve() */
    GSource *retry;
    PublisherDoneFunc done;
    void *user_data;
    uint32_t last_id;
    unsigned unanswered; /* letters sent */
    uint32_t next_port;  /* of the range being bound; 0: from its beginning */
    bool failed;         /* the start has */
    bool finished;       /* the start is */
    bool going;
    bool again;
};

/* Why @job will not come to be: a record at start; later the one who asked is told. @take_extra: more keys of the record, or NULL. */
void publisher_fail(Publisher *publisher, Job *job, GError *take_error, json_t *take_extra);

/* Binds on until letters enough wait; true when the map is through. */
bool publisher_bind(Publisher *publisher, Job *job);

#endif
