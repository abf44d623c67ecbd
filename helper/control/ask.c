/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ask.c - what clients may ask of the datapath
 *
 * Does:     flows, stats, pcap, log-level: looks at the arguments, and passes the question on and the answer back.
 * Runs in:  the supervisor.
 * Trusts:   a client to be allowed what it asks for (clients.c, control.c), and nothing about its arguments.
 * Not here: the questions themselves (inquiry.c).
 */
#include "config.h"

#include "ask.h"

#include <errno.h>
#include <string.h>

#include "../fault.h"
#include "call.h"
#include "commands.h"
#include "sallyport.h"

const char *const ask_flows_keys[] = {"cursor", "limit", NULL};
const char *const ask_pcap_keys[] = {"action", "max_bytes", NULL};
const char *const ask_log_level_keys[] = {"level", NULL};

/* A number that need not be there. False: it is, and is wrong. */
static bool ask_number(const json_t *arguments, const char *key, json_int_t min, json_int_t max,
                       json_int_t *inout)
{
    const json_t *value = json_object_get(arguments, key);

    return value == NULL || json_is_null(value) || call_integer(arguments, key, min, max, inout);
}

/* InquiryFunc */
static void ask_answered(json_t *take_result, const GError *error, void *user_data)
{
    Request *request = user_data;
    int errnum;

    if (take_result != NULL) {
        request_return(request, take_result);
        return;
    }
    errnum = fault_errno(error);
    request_fail(request, errnum == EBUSY ? SALLYPORT_REFUSAL_BUSY : SALLYPORT_REFUSAL_INTERNAL,
                 errnum, "%s", error->message);
}

/* InquiryFunc: what cannot be recorded into is the client's fault. */
static void ask_recording(json_t *take_result, const GError *error, void *user_data)
{
    static const int ours[] = {EBUSY, ETIMEDOUT, ECANCELED, EPIPE, EMFILE};

    for (size_t i = 0; error != NULL && i < G_N_ELEMENTS(ours); i++) {
        if (fault_errno(error) == ours[i]) {
            ask_answered(NULL, error, user_data);
            return;
        }
    }
    if (error != NULL) {
        request_fail(user_data, SALLYPORT_REFUSAL_REQUEST, fault_errno(error), "%s",
                     error->message);
        return;
    }
    request_return(user_data, take_result);
}

void ask_flows(Request *take_request, const json_t *arguments, void *user_data)
{
    const CommandParts *parts = user_data;
    json_int_t cursor = 0;
    json_int_t limit = INQUIRY_FLOWS_MAX;

    if (!ask_number(arguments, "cursor", 0, INT64_MAX, &cursor) ||
        !ask_number(arguments, "limit", 1, INQUIRY_FLOWS_MAX, &limit)) {
        request_fail(take_request, SALLYPORT_REFUSAL_REQUEST, 0,
                     "flows: want a cursor as it was returned, and a limit from 1 to %d",
                     INQUIRY_FLOWS_MAX);
        return;
    }
    inquiry_flows(parts->inquiry, (uint64_t)cursor, (unsigned)limit, ask_answered, take_request);
}

void ask_stats(Request *take_request, const json_t *arguments, void *user_data)
{
    const CommandParts *parts = user_data;

    (void)arguments;
    inquiry_stats(parts->inquiry, ask_answered, take_request);
}

void ask_pcap(Request *take_request, const json_t *arguments, void *user_data)
{
    const CommandParts *parts = user_data;
    const char *action = json_string_value(json_object_get(arguments, "action"));
    bool start = g_strcmp0(action, "start") == 0;
    json_int_t max_bytes = 0;
    int fd = start ? request_take_fd(take_request) : -1;

    if (!start && g_strcmp0(action, "stop") != 0) {
        request_fail(take_request, SALLYPORT_REFUSAL_REQUEST, 0,
                     "pcap: action: want start or stop");
    } else if (!start && json_object_get(arguments, "max_bytes") != NULL) {
        request_fail(take_request, SALLYPORT_REFUSAL_REQUEST, 0, "pcap: stop has no max_bytes");
    } else if (!ask_number(arguments, "max_bytes", 1, INT64_MAX, &max_bytes)) {
        request_fail(take_request, SALLYPORT_REFUSAL_REQUEST, 0,
                     "pcap: max_bytes: want a number above 0");
    } else if (!start) {
        inquiry_pcap_stop(parts->inquiry, ask_recording, take_request);
    } else if (fd < 0) {
        request_fail(take_request, SALLYPORT_REFUSAL_REQUEST, 0,
                     "pcap: want one file descriptor beside the request, to be recorded into");
    } else {
        inquiry_pcap_start(parts->inquiry, fd, (uint64_t)max_bytes, ask_recording, take_request);
    }
    clients_close_passed(fd);
}

void ask_log_level(Request *take_request, const json_t *arguments, void *user_data)
{
    const CommandParts *parts = user_data;
    const char *word = json_string_value(json_object_get(arguments, "level"));
    LogLevel level;
    int failed;

    if (word == NULL || !settings_log_level(word, &level)) {
        request_fail(take_request, SALLYPORT_REFUSAL_REQUEST, 0,
                     "log-level: level: want error, warning, info or debug");
        return;
    }
    failed = inquiry_log_level(parts->inquiry, level);
    if (failed != 0) {
        request_fail(take_request,
                     failed == -EBUSY ? SALLYPORT_REFUSAL_BUSY : SALLYPORT_REFUSAL_INTERNAL,
                     -failed, "telling the datapath: %s", g_strerror(-failed));
        return;
    }
    report_set_level(parts->report, level);
    request_return(take_request, json_object());
}
