/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * control.c - requests of the control socket, and their replies
 *
 * Does:     turns each line into one call of a command and one line back.
 * Runs in:  the supervisor.
 * Trusts:   nothing it reads: what is wrong in any way is answered with an error.
 * Owns:     requests that a command works at.
 * Not here: connections (clients.c), reading (call.c), commands (commands.c).
 */
#include "config.h"

#include "control.h"

#include <string.h>

#include "../fault.h"
#include "call.h"
#include "sallyport.h"

/* Bytes of a message: some quote what is wrong in full, and each may become six in JSON. The longest spec and its fault fit. */
#define CONTROL_MESSAGE_MAX (9 * 1024)

struct Request {
    Reply *reply;
    Call call;
};

struct Control {
    Clients *clients;
    const ControlCommand *commands;
    size_t count;
    void *user_data;
};

const json_t *request_arguments(const Request *request)
{
    return request->call.arguments;
}

int request_take_fd(Request *request)
{
    return reply_take_fd(request->reply);
}

static void request_answer(Request *take_request, const char *key, json_t *take_body, bool last)
{
    g_autofree char *line = call_answer(take_request->call.id, key, take_body);

    reply_send(take_request->reply, line, strlen(line), last);
    call_clear(&take_request->call);
    g_free(take_request);
}

static json_t *request_error(const char *code, int errnum, const char *message)
{
    const char *name = fault_errno_name(errnum);
    json_t *error = json_pack("{s:s,s:o}", "code", code, "message", call_text(message));

    if (name != NULL) {
        (void)json_object_set_new(error, "errno", json_string(name));
    }
    return error;
}

void request_return(Request *take_request, json_t *take_body)
{
    if (json_dumpb(take_body, NULL, 0, JSON_COMPACT) + 2 * (size_t)CALL_ID_MAX * 6 >
        CONTROL_LINE_MAX) {
        json_decref(take_body);
        request_fail(take_request, SALLYPORT_REFUSAL_INTERNAL, 0, "the reply is too long");
        return;
    }
    request_answer(take_request, "return", take_body, false);
}

void request_fail(Request *take_request, const char *code, int errnum, const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    if (strlen(message) > CONTROL_MESSAGE_MAX) {
        message[CONTROL_MESSAGE_MAX] = '\0'; /* half a character is replaced by call_text() */
    }
    request_answer(take_request, "error", request_error(code, errnum, message), false);
}

static const ControlCommand *control_find(const Control *control, const char *name)
{
    for (size_t i = 0; i < control->count; i++) {
        if (strcmp(control->commands[i].name, name) == 0) {
            return &control->commands[i];
        }
    }
    return NULL;
}

/* ClientsLanguage.request */
static void control_request(Reply *take_reply, const char *bytes, size_t len, void *user_data)
{
    const Control *control = user_data;
    Request *request = g_new0(Request, 1);
    const ControlCommand *command = NULL;
    const char *unknown = NULL;

    request->reply = take_reply;
    call_parse(bytes, len, &request->call);
    if (request->call.command != NULL) {
        command = control_find(control, request->call.command);
    }
    if (command != NULL) {
        unknown = call_unknown_key(request->call.arguments, command->keys);
    }
    if (request->call.fault != NULL) {
        request_fail(request, SALLYPORT_REFUSAL_REQUEST, 0, "%s", request->call.fault);
    } else if (command == NULL) {
        request_fail(request, SALLYPORT_REFUSAL_COMMAND, 0, "unknown command '%.64s'",
                     request->call.command);
    } else if (command->is_change && reply_read_only(take_reply)) {
        request_fail(request, SALLYPORT_REFUSAL_READ_ONLY, 0, "an observer cannot %s",
                     command->name);
    } else if (unknown != NULL) {
        request_fail(request, SALLYPORT_REFUSAL_REQUEST, 0, "%s: unknown argument '%.64s'",
                     command->name, unknown);
    } else {
        command->run(request, request->call.arguments, control->user_data);
    }
}

/* ClientsLanguage.refused */
static void control_refused(Reply *take_reply, ClientsRefusal why, void *user_data)
{
    Request *request = g_new0(Request, 1);
    g_autofree char *message =
        why == CLIENTS_TOO_LONG
            ? g_strdup_printf("a request of more than %d bytes", CONTROL_LINE_MAX)
            : g_strdup_printf("the request is not complete after %d ms", CLIENTS_DEADLINE_MS);

    (void)user_data;
    request->reply = take_reply;
    request_answer(request, "error", request_error(SALLYPORT_REFUSAL_REQUEST, 0, message), true);
}

Control *control_new(GMainContext *context, const ControlCommand *commands, size_t count,
                     void *user_data)
{
    static const ClientsLanguage language = {.request_max = CONTROL_LINE_MAX,
                                             .frame = call_frame,
                                             .request = control_request,
                                             .refused = control_refused};
    Control *control = g_new0(Control, 1);

    control->clients = clients_new(context, &language, control);
    control->commands = commands;
    control->count = count;
    control->user_data = user_data;
    return control;
}

void control_free(Control *control)
{
    if (control != NULL) {
        clients_free(control->clients);
        g_free(control);
    }
}

Clients *control_clients(Control *control)
{
    return control->clients;
}
