/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CONTROL_CLIENTS_H
#define SALLYPORT_CONTROL_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

/* Connections of local clients, whatever language they speak: accepted, limited, timed. */
typedef struct Clients Clients;

/* The answer that a client is owed. It outlives the client, so that what takes long can end in peace. */
typedef struct Reply Reply;

#define CLIENTS_MAX 32
/* To complete a request once its first byte has come; to take a reply. */
#define CLIENTS_DEADLINE_MS 2000
/* More fds beside one request are closed. */
#define CLIENTS_FDS_MAX 4

/* Why there is no request to answer. */
typedef enum ClientsRefusal {
    CLIENTS_TOO_LONG, /* request_max bytes and no end in sight */
    CLIENTS_TOO_LATE, /* begun, and not complete in time */
} ClientsRefusal;

/**
 * struct ClientsLanguage - how requests look, and who answers them; static
 * @request_max: bytes of a request that is not complete yet, at most
 * @once:        one request a connection: the deadline begins with the connection, and its end follows the reply
 * @frame:       how many of the @len bytes are the first request, its end included; 0: not all of it is there. @ended: and no more
 *               will come
 * @request:     one request. @take_reply must be sent, now or later
 * @refused:     @take_reply must be sent at once; the connection ends after it
 */
typedef struct ClientsLanguage {
    size_t request_max;
    bool once;
    size_t (*frame)(const char *bytes, size_t len, bool ended);
    void (*request)(Reply *take_reply, const char *bytes, size_t len, void *user_data);
    void (*refused)(Reply *take_reply, ClientsRefusal why, void *user_data);
} ClientsLanguage;

/**
 * clients_new() - no client is served before clients_begin()
 * @language:  borrowed
 * @user_data: for its functions
 */
Clients *clients_new(GMainContext *context, const ClientsLanguage *language, void *user_data);
/* Ends all connections; replies still owed can be sent into the void. */
void clients_free(Clients *clients);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Clients, clients_free)

/* A listening socket, whose clients must be of our uid or root's. Made non-blocking; borrowed. @read_only: see reply_read_only(). */
void clients_listen(Clients *clients, int fd, bool read_only);

/**
 * clients_inherit() - a socket that the parent made, listening or connected
 * @fd:     borrowed
 * @option: for the message
 *
 * Who holds a connected one needs no other proof; its place is never given to another client, and its description, which the
 * parent shares, is left as it is. Return: false with @error set (FAULT_OPTION): it is no stream socket of AF_UNIX, or not
 * connected
 */
bool clients_inherit(Clients *clients, int fd, const char *option, bool read_only, GError **error);

/* Looks at the sockets from now on. */
void clients_begin(Clients *clients);

/* May the client change nothing? */
bool reply_read_only(const Reply *reply);
/* The fd that came beside the request, now the caller's; -1: none, or more than one. */
int reply_take_fd(Reply *reply);
/* How to close it: close(2) of a socket waits as long as SO_LINGER says, which is the client's choice. */
void clients_close_passed(int take_fd);
/* @text: @len bytes, end of line included if there is to be one. @last: the connection ends after it. A client that has gone
 * misses it. */
void reply_send(Reply *take_reply, const char *text, size_t len, bool last);

#endif
