/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CONTROL_CONTROL_H
#define SALLYPORT_CONTROL_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>
#include <jansson.h>

#include "clients.h"

/* Bytes of a request and of a reply, the end of line included, at most. */
#define CONTROL_LINE_MAX (64 * 1024)
/* What of it a list may fill, so that the rest of the reply fits beside it. */
#define CONTROL_LIST_MAX (CONTROL_LINE_MAX - 2048)

/* A request that a command works at. It outlives its client, and the server. */
typedef struct Request Request;

/**
 * struct ControlCommand - static
 * @is_change: refused on an observer
 * @keys:      of its arguments, NULL-terminated; others are refused before @run is called. NULL: it has none
 * @run:       must lead to one request_return() or request_fail(), now or later
 */
typedef struct ControlCommand {
    const char *name;
    bool is_change;
    const char *const *keys;
    void (*run)(Request *take_request, const json_t *arguments, void *user_data);
} ControlCommand;

/* The arguments, as long as the request lives. */
const json_t *request_arguments(const Request *request);
/* The fd that came beside it, now the caller's; -1: none, or more than one. */
int request_take_fd(Request *request);
/* @take_body: an object. A reply of more than CONTROL_LINE_MAX bytes becomes an error. */
void request_return(Request *take_request, json_t *take_body);
/* @code: a SALLYPORT_REFUSAL_* (sallyport.h); @errnum: 0 for none. */
void request_fail(Request *take_request, const char *code, int errnum, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

/* The server of the control protocol: the clients' language, with these commands behind it. */
typedef struct Control Control;

/* @commands: @count of them, borrowed; @user_data: for their functions. */
Control *control_new(GMainContext *context, const ControlCommand *commands, size_t count,
                     void *user_data);
void control_free(Control *control);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Control, control_free)

/* Where its clients come from; owned by it. */
Clients *control_clients(Control *control);

#endif
