/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * commands.c - what can be asked of a running helper
 *
 * Does:     ping, publish, unpublish, list; and the table of all commands.
 * Runs in:  the supervisor.
 * Trusts:   a client to be allowed what it asks for (clients.c, control.c), and nothing about its arguments.
 * Not here: how ports are bound (publisher.c).
 */
#include "config.h"

#include "commands.h"

#include <errno.h>
#include <string.h>

#include "../fault.h"
#include "ask.h"
#include "call.h"
#include "sallyport.h"

/* A place in the list: a publication, and a record of it. */
#define COMMANDS_CURSOR_STEP  65536
#define COMMANDS_LIST_RECORDS 1000

const char *commands_publish_text(const GError *error)
{
    static const char option[] = "--publish ";

    return error->message + (g_str_has_prefix(error->message, option) ? strlen(option) : 0);
}

static void commands_ping(Request *take_request, const json_t *arguments, void *user_data)
{
    (void)arguments;
    (void)user_data;
    request_return(take_request, json_pack("{s:s}", "version", PACKAGE_VERSION));
}

static size_t commands_size(const json_t *value)
{
    return json_dumpb(value, NULL, 0, JSON_COMPACT) + 1;
}

typedef struct PublishRequest {
    const CommandParts *parts;
    Request *request;
} PublishRequest;

/* PublisherAddFunc */
static void commands_published(const Published *published, const GError *error, void *user_data)
{
    PublishRequest *publish = user_data;
    Request *request = publish->request;
    json_t *records;
    json_t *body;
    size_t size = 0;

    if (published == NULL) {
        request_fail(request, SALLYPORT_REFUSAL_PUBLISH, fault_errno(error), "%s",
                     commands_publish_text(error));
        g_free(publish);
        return;
    }
    records = publisher_records(publish->parts->publisher, published);
    for (size_t i = 0; i < json_array_size(records); i++) {
        size += commands_size(json_array_get(records, i));
        if (size > CONTROL_LIST_MAX) {
            /* Thousands of ports with holes between them: "list" has them all. */
            while (json_array_size(records) > i) {
                (void)json_array_remove(records, json_array_size(records) - 1);
            }
        }
    }
    body = json_pack("{s:I,s:o}", "publication", (json_int_t)published->id, "published", records);
    if (size > CONTROL_LIST_MAX) {
        (void)json_object_set_new(body, "more", json_true());
    }
    request_return(request, body);
    g_free(publish);
}

static void commands_publish(Request *take_request, const json_t *arguments, void *user_data)
{
    const CommandParts *parts = user_data;
    const char *spec = json_string_value(json_object_get(arguments, "spec"));
    g_autoptr(GError) error = NULL;
    g_autoptr(PortMap) map = NULL;
    PublishRequest *publish;

    if (spec == NULL) {
        request_fail(take_request, SALLYPORT_REFUSAL_REQUEST, 0, "publish: spec: want a string");
        return;
    }
    map = settings_port_map(parts->settings, spec, &error);
    if (map == NULL) {
        bool unknown = fault_kind(error) == FAULT_NOT_SUPPORTED;

        request_fail(take_request,
                     unknown ? SALLYPORT_REFUSAL_NOT_SUPPORTED : SALLYPORT_REFUSAL_PUBLISH,
                     fault_errno(error), "%s", commands_publish_text(error));
        return;
    }
    publish = g_new0(PublishRequest, 1);
    publish->parts = parts;
    publish->request = take_request;
    publisher_add(parts->publisher, map, PUBLISHED_BY_CONTROL, commands_published, publish);
}

/* PublisherRemoveFunc */
static void commands_unpublished(bool removed, void *user_data)
{
    Request *request = user_data;

    if (removed) {
        request_return(request, json_object());
    } else {
        request_fail(request, SALLYPORT_REFUSAL_INTERNAL, 0, "the helper ends");
    }
}

static uint32_t commands_find_spec(const Publisher *publisher, const char *spec)
{
    const Published *published = NULL;
    uint32_t id = 0;

    do {
        published = publisher_next(publisher, id);
        id = published != NULL ? published->id : 0;
    } while (published != NULL && strcmp(published->map->text, spec) != 0);
    return id;
}

/* "keep", "cut", or nothing, which is "keep". False: anything else. */
static bool commands_connections(const json_t *arguments, bool *ret_cut)
{
    const json_t *value = json_object_get(arguments, "connections");
    const char *word = value == NULL ? "keep" : json_string_value(value);

    if (word == NULL || (strcmp(word, "keep") != 0 && strcmp(word, "cut") != 0)) {
        return false;
    }
    *ret_cut = strcmp(word, "cut") == 0;
    return true;
}

static void commands_unpublish(Request *take_request, const json_t *arguments, void *user_data)
{
    const CommandParts *parts = user_data;
    const char *spec = json_string_value(json_object_get(arguments, "spec"));
    json_int_t id = 0;
    bool by_id = call_integer(arguments, "publication", 1, UINT32_MAX, &id);
    bool cut = false;
    int failed;

    if (json_object_size(arguments) !=
            1 + (size_t)(json_object_get(arguments, "connections") != NULL) ||
        by_id == (spec != NULL)) {
        request_fail(take_request, SALLYPORT_REFUSAL_REQUEST, 0,
                     "unpublish: want either a publication, a number, or a spec, a string");
        return;
    }
    if (!commands_connections(arguments, &cut)) {
        request_fail(take_request, SALLYPORT_REFUSAL_REQUEST, 0,
                     "unpublish: connections: want keep or cut");
        return;
    }
    id = by_id ? id : commands_find_spec(parts->publisher, spec);
    failed =
        publisher_remove(parts->publisher, (uint32_t)id, cut, commands_unpublished, take_request);
    if (failed == -ENOENT) {
        request_fail(take_request, SALLYPORT_REFUSAL_NOT_FOUND, ENOENT, "no such publication");
    } else if (failed != 0) {
        request_fail(take_request, SALLYPORT_REFUSAL_BUSY, -failed, "it is being closed already");
    }
}

/* An optional number. False: it is there and wrong. */
static bool commands_option(const json_t *arguments, const char *key, json_int_t min,
                            json_int_t max, json_int_t *inout)
{
    const json_t *value = json_object_get(arguments, key);

    return value == NULL || json_is_null(value) || call_integer(arguments, key, min, max, inout);
}

/* Records from @cursor on, up to @limit of them, as far as they fit. Returns where to go on, 0: that was all. */
static json_int_t commands_list_from(const Publisher *publisher, json_int_t cursor,
                                     json_int_t limit, json_t *list)
{
    json_int_t id = cursor / COMMANDS_CURSOR_STEP;
    size_t from = (size_t)(cursor % COMMANDS_CURSOR_STEP);
    size_t size = 0;
    const Published *published;

    for (published = publisher_next(publisher, (uint32_t)MAX(id, 1) - 1); published != NULL;
         published = publisher_next(publisher, published->id)) {
        json_t *records = publisher_records(publisher, published);

        for (size_t i = published->id == id ? from : 0; i < json_array_size(records); i++) {
            json_t *record = json_array_get(records, i);

            (void)json_object_set_new(record, "origin",
                                      json_string(published_origin_word(published)));
            size += commands_size(record);
            if (size > CONTROL_LIST_MAX || (json_int_t)json_array_size(list) >= limit) {
                json_decref(records);
                return (json_int_t)published->id * COMMANDS_CURSOR_STEP + (json_int_t)i;
            }
            (void)json_array_append(list, record);
        }
        json_decref(records);
    }
    return 0;
}

static void commands_list(Request *take_request, const json_t *arguments, void *user_data)
{
    const CommandParts *parts = user_data;
    json_int_t cursor = 0;
    json_int_t limit = COMMANDS_LIST_RECORDS;
    json_t *list;

    if (!commands_option(arguments, "cursor", 0, (json_int_t)UINT32_MAX * COMMANDS_CURSOR_STEP,
                         &cursor) ||
        !commands_option(arguments, "limit", 1, COMMANDS_LIST_RECORDS, &limit)) {
        request_fail(take_request, SALLYPORT_REFUSAL_REQUEST, 0,
                     "list: want a cursor as it was returned, and a limit from 1 to %d",
                     COMMANDS_LIST_RECORDS);
        return;
    }
    list = json_array();
    cursor = commands_list_from(parts->publisher, cursor, limit, list);
    request_return(take_request, json_pack("{s:o,s:o}", "published", list, "cursor",
                                           cursor != 0 ? json_integer(cursor) : json_null()));
}

static const char *const publish_keys[] = {"spec", NULL};
static const char *const unpublish_keys[] = {"publication", "spec", "connections", NULL};
static const char *const list_keys[] = {"cursor", "limit", NULL};

static const ControlCommand commands[] = {
    {"ping", false, NULL, commands_ping},
    {"publish", true, publish_keys, commands_publish},
    {"unpublish", true, unpublish_keys, commands_unpublish},
    {"list", false, list_keys, commands_list},
    {"flows", false, ask_flows_keys, ask_flows},
    {"stats", false, NULL, ask_stats},
    {"pcap", true, ask_pcap_keys, ask_pcap},
    {"log-level", true, ask_log_level_keys, ask_log_level},
};

const ControlCommand *commands_table(size_t *ret_count)
{
    *ret_count = G_N_ELEMENTS(commands);
    return commands;
}
