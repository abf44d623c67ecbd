/* SPDX-License-Identifier: MIT */
/*
 * control_calls.c - what a helper can be asked for, and its answers as plain structs
 *
 * Does:     puts arguments together, takes results apart.
 * Trusts:   nothing in a result. What a struct cannot do without must be there and of its type, or
 *           the answer makes no sense; any other key of a wrong type counts as missing.
 * Owns:     a list holds the reply its strings live in, so that it outlives the connection.
 * Not here: lines, ids, deadlines (control.c).
 */
#include "config.h"

#include "sallyport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "parent.h"

/* Objects within objects, of statistics. */
#define STATS_DEPTH_MAX 8

/* Each begins with what the caller sees, so that free() finds the rest. @roots: an array of the
 * replies that the strings live in. */
typedef struct PublishedRoom {
    SallyportPublishedList list;
    SallyportPublished *items;
    json_t *roots;
} PublishedRoom;

typedef struct FlowRoom {
    SallyportFlowList list;
    json_t *root;
    char *cursor;
    SallyportFlow items[];
} FlowRoom;

typedef struct StatRoom {
    SallyportStatList list;
    SallyportStat *items;
    SallyportStrv names;
} StatRoom;

static const char *get_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

/* False unless it is there, an integer and not negative. */
static bool get_count(const json_t *object, const char *key, uint64_t *ret)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return false;
    }
    *ret = (uint64_t)json_integer_value(value);
    return true;
}

/* json_pack() gives NULL for what is not UTF-8, and for want of memory. */
static int ask(SallyportControl *control, const char *command, json_t *take_arguments,
               int timeout_ms)
{
    if (take_arguments == NULL) {
        return -EINVAL;
    }
    return sallyport__control_ask(control, command, take_arguments, -1,
                                  sallyport__deadline(timeout_ms));
}

static int ask_plain(SallyportControl *control, const char *command, int timeout_ms)
{
    return sallyport__control_ask(control, command, NULL, -1, sallyport__deadline(timeout_ms));
}

int sallyport_control_ping(SallyportControl *control, int timeout_ms, const char **ret_version)
{
    int r = ask_plain(control, "ping", timeout_ms);
    const char *version;

    if (r < 0) {
        return r;
    }
    version = get_string(sallyport__control_result(control), "version");
    if (version == NULL) {
        return sallyport__control_nonsense(control);
    }
    if (ret_version != NULL) {
        *ret_version = version;
    }
    return 0;
}

/* @number: of a record that does not have its own, or 0. */
static bool read_published(const json_t *record, int64_t number, SallyportPublished *ret)
{
    uint64_t own = (uint64_t)number;

    *ret = (SallyportPublished){
        .spec = get_string(record, "spec"),
        .origin = get_string(record, "origin"),
        .protocol = get_string(record, "protocol"),
        .family = get_string(record, "family"),
        .host_addr = get_string(record, "host_addr"),
        .host_ports = get_string(record, "host_ports"),
        .guest_addr = get_string(record, "guest_addr"),
        .guest_ports = get_string(record, "guest_ports"),
        .exposure = get_string(record, "exposure"),
        .source = get_string(record, "source"),
        .interface = get_string(record, "interface"),
        .name = get_string(record, "name"),
    };
    if (!get_count(record, "publication", &own) && number == 0) {
        return false;
    }
    ret->publication = (int64_t)own;
    return ret->spec != NULL && ret->protocol != NULL && ret->host_addr != NULL &&
           ret->host_ports != NULL && ret->guest_ports != NULL;
}

/* Adds what is in the reply to the room. */
static int take_published(SallyportControl *control, int64_t number, PublishedRoom *room)
{
    const json_t *records = json_object_get(sallyport__control_result(control), "published");
    size_t count = room->list.count, more = json_array_size(records);
    SallyportPublished *items = realloc(room->items, (count + more + 1) * sizeof(*items));

    if (items == NULL || json_array_append(room->roots, control->root) < 0) {
        room->items = items != NULL ? items : room->items;
        return -ENOMEM;
    }
    room->items = items;
    room->list.items = items;
    if (!json_is_array(records)) {
        return sallyport__control_nonsense(control);
    }
    for (size_t i = 0; i < more; i++) {
        if (!read_published(json_array_get(records, i), number, &items[count + i])) {
            return sallyport__control_nonsense(control);
        }
    }
    room->list.count += more;
    return 0;
}

static PublishedRoom *published_room_new(void)
{
    PublishedRoom *room = calloc(1, sizeof(*room));

    if (room != NULL) {
        room->roots = json_array();
    }
    return room;
}

int sallyport_control_publish(SallyportControl *control, const char *spec, int timeout_ms,
                              SallyportPublishedList **ret)
{
    PublishedRoom *room;
    uint64_t number;
    int r = ask(control, "publish", json_pack("{s:s}", "spec", spec), timeout_ms);

    if (r < 0) {
        return r;
    }
    if (!get_count(sallyport__control_result(control), "publication", &number)) {
        return sallyport__control_nonsense(control);
    }
    room = published_room_new();
    if (room == NULL) {
        return -ENOMEM;
    }
    r = take_published(control, (int64_t)number, room);
    if (r < 0 || ret == NULL) {
        sallyport_published_list_free(&room->list);
        return r;
    }
    room->list.publication = (int64_t)number;
    room->list.more = json_is_true(json_object_get(sallyport__control_result(control), "more"));
    *ret = &room->list;
    return 0;
}

static const char *connections_word(SallyportConnections connections)
{
    return connections == SALLYPORT_CUT_CONNECTIONS ? "cut" : "keep";
}

int sallyport_control_unpublish(SallyportControl *control, int64_t publication,
                                SallyportConnections connections, int timeout_ms)
{
    return ask(control, "unpublish",
               json_pack("{s:I,s:s}", "publication", (json_int_t)publication, "connections",
                         connections_word(connections)),
               timeout_ms);
}

int sallyport_control_unpublish_spec(SallyportControl *control, const char *spec,
                                     SallyportConnections connections, int timeout_ms)
{
    return ask(control, "unpublish",
               json_pack("{s:s,s:s}", "spec", spec, "connections", connections_word(connections)),
               timeout_ms);
}

/* The helper's cursor is any JSON value but null; the caller's is that as text. */
static int read_cursor(const SallyportControl *control, char **ret)
{
    const json_t *cursor = json_object_get(sallyport__control_result(control), "cursor");

    *ret = NULL;
    if (cursor == NULL || json_is_null(cursor)) {
        return 0;
    }
    *ret = json_dumps(cursor, JSON_COMPACT | JSON_ENCODE_ANY);
    return *ret != NULL ? 0 : -ENOMEM;
}

/* A page from there on; @limit 0 is left out. */
static int ask_page(SallyportControl *control, const char *command, const char *cursor_or_null,
                    unsigned limit, int64_t deadline_ns)
{
    json_t *arguments = json_object();
    int r = arguments != NULL ? 0 : -ENOMEM;

    if (r == 0 && cursor_or_null != NULL &&
        json_object_set_new(arguments, "cursor",
                            json_loads(cursor_or_null, JSON_DECODE_ANY, NULL)) < 0) {
        r = -EINVAL; /* not one of ours */
    }
    if (r == 0 && limit > 0 && json_object_set_new(arguments, "limit", json_integer(limit)) < 0) {
        r = -ENOMEM;
    }
    if (r < 0) {
        json_decref(arguments);
        return r;
    }
    return sallyport__control_ask(control, command, arguments, -1, deadline_ns);
}

int sallyport_control_list(SallyportControl *control, int timeout_ms, SallyportPublishedList **ret)
{
    int64_t deadline_ns = sallyport__deadline(timeout_ms);
    PublishedRoom *room = published_room_new();
    char *cursor = NULL;
    int r;

    if (room == NULL) {
        return -ENOMEM;
    }
    do {
        char *next = NULL;

        r = ask_page(control, "list", cursor, 0, deadline_ns);
        r = r == 0 ? take_published(control, 0, room) : r;
        r = r == 0 ? read_cursor(control, &next) : r;
        if (r == 0 && next != NULL && cursor != NULL && strcmp(next, cursor) == 0) {
            r = sallyport__control_nonsense(control); /* it would never end */
        }
        free(cursor);
        cursor = next;
    } while (r == 0 && cursor != NULL);
    free(cursor);
    if (r < 0) {
        sallyport_published_list_free(&room->list);
        return r;
    }
    *ret = &room->list;
    return 0;
}

void sallyport_published_list_free(SallyportPublishedList *list)
{
    PublishedRoom *room = (PublishedRoom *)(void *)list;

    if (room != NULL) {
        json_decref(room->roots);
        free(room->items);
        free(room);
    }
}

/* Empty if it is missing, or null: the helper does not know. */
static const char *get_word(const json_t *object, const char *key)
{
    const char *word = get_string(object, key);

    return word != NULL ? word : "";
}

static bool read_flow(const json_t *record, SallyportFlow *ret)
{
    const json_t *guest = json_object_get(record, "guest");
    const json_t *host = json_object_get(record, "host");
    uint64_t age_ms;

    *ret = (SallyportFlow){
        .path = get_word(record, "path"),
        .protocol = get_word(record, "protocol"),
        .state = get_word(record, "state"),
        .guest_local = get_word(guest, "local"),
        .guest_remote = get_word(guest, "remote"),
        .host_local = get_word(host, "local"),
        .host_remote = get_word(host, "remote"),
    };
    if (!get_count(record, "bytes_in", &ret->bytes_in) ||
        !get_count(record, "bytes_out", &ret->bytes_out) || !get_count(record, "age_ms", &age_ms)) {
        return false;
    }
    ret->age_ms = (int64_t)age_ms;
    return true;
}

static int read_flow_list(SallyportControl *control, SallyportFlowList **ret)
{
    const json_t *records = json_object_get(sallyport__control_result(control), "flows");
    size_t count = json_array_size(records);
    FlowRoom *room;

    if (!json_is_array(records)) {
        return sallyport__control_nonsense(control);
    }
    room = malloc(sizeof(*room) + count * sizeof(room->items[0]));
    if (room == NULL || read_cursor(control, &room->cursor) < 0) {
        free(room);
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        if (!read_flow(json_array_get(records, i), &room->items[i])) {
            free(room->cursor);
            free(room);
            return sallyport__control_nonsense(control);
        }
    }
    room->list = (SallyportFlowList){count, room->items, room->cursor};
    room->root = json_incref(control->root);
    *ret = &room->list;
    return 0;
}

static int flows_until(SallyportControl *control, const char *cursor_or_null, unsigned limit,
                       int64_t deadline_ns, SallyportFlowList **ret)
{
    int r = ask_page(control, "flows", cursor_or_null, limit, deadline_ns);

    return r < 0 ? r : read_flow_list(control, ret);
}

int sallyport_control_flows(SallyportControl *control, const char *cursor_or_null, unsigned limit,
                            int timeout_ms, SallyportFlowList **ret)
{
    return flows_until(control, cursor_or_null, limit, sallyport__deadline(timeout_ms), ret);
}

void sallyport_flow_list_free(SallyportFlowList *list)
{
    FlowRoom *room = (FlowRoom *)(void *)list;

    if (room != NULL) {
        json_decref(room->root);
        free(room->cursor);
        free(room);
    }
}

int sallyport_control_each_flow(SallyportControl *control, int timeout_ms, SallyportFlowFunc func,
                                void *user_data)
{
    int64_t deadline_ns = sallyport__deadline(timeout_ms);
    SallyportFlowList *page;
    int r = flows_until(control, NULL, 0, deadline_ns, &page);

    while (r == 0) {
        SallyportFlowList *next = NULL;

        for (size_t i = 0; i < page->count && r == 0; i++) {
            r = func(&page->items[i], user_data);
        }
        if (r == 0 && page->cursor != NULL) {
            r = flows_until(control, page->cursor, 0, deadline_ns, &next);
        }
        if (r == 0 && next != NULL && next->cursor != NULL &&
            strcmp(next->cursor, page->cursor) == 0) {
            r = sallyport__control_nonsense(control); /* it would never end */
        }
        sallyport_flow_list_free(page);
        if (r != 0) {
            sallyport_flow_list_free(next);
        } else if (next == NULL) {
            break;
        }
        page = next;
    }
    return r;
}

/* Integers below @value into the room, each by the keys that lead to it. */
static int read_stats(const char *prefix_or_null, json_t *value, unsigned depth, StatRoom *room)
{
    const char *key;
    json_t *inner;

    if (depth > STATS_DEPTH_MAX) {
        return -EBADMSG;
    }
    json_object_foreach(value, key, inner)
    {
        char *name = NULL;
        int r = 0;

        if (asprintf(&name, "%s%s%s", prefix_or_null != NULL ? prefix_or_null : "",
                     prefix_or_null != NULL ? "." : "", key) < 0) {
            return -ENOMEM;
        }
        if (json_is_object(inner)) {
            r = read_stats(name, inner, depth + 1, room);
        } else if (json_is_integer(inner)) {
            SallyportStat *items = realloc(room->items, (room->list.count + 1) * sizeof(*items));

            r = items != NULL ? sallyport__strv_push(&room->names, name) : -ENOMEM;
            room->items = items != NULL ? items : room->items;
            if (r == 0) {
                items[room->list.count] =
                    (SallyportStat){room->names.items[room->list.count], json_integer_value(inner)};
                room->list.count++;
            }
        }
        free(name);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int sallyport_control_stats(SallyportControl *control, int timeout_ms, SallyportStatList **ret)
{
    StatRoom *room;
    int r = ask_plain(control, "stats", timeout_ms);

    if (r < 0) {
        return r;
    }
    room = calloc(1, sizeof(*room));
    if (room == NULL) {
        return -ENOMEM;
    }
    r = read_stats(NULL, sallyport__control_result(control), 0, room);
    if (r < 0) {
        sallyport_stat_list_free(&room->list);
        return r == -EBADMSG ? sallyport__control_nonsense(control) : r;
    }
    room->list.items = room->items;
    *ret = &room->list;
    return 0;
}

void sallyport_stat_list_free(SallyportStatList *list)
{
    StatRoom *room = (StatRoom *)(void *)list;

    if (room != NULL) {
        sallyport__strv_clear(&room->names);
        free(room->items);
        free(room);
    }
}

int sallyport_control_pcap_start(SallyportControl *control, int fd, uint64_t max_bytes,
                                 int timeout_ms)
{
    json_t *arguments;

    if (fd < 0 || max_bytes > INT64_MAX) {
        return -EINVAL;
    }
    arguments = max_bytes > 0
                    ? json_pack("{s:s,s:I}", "action", "start", "max_bytes", (json_int_t)max_bytes)
                    : json_pack("{s:s}", "action", "start");
    if (arguments == NULL) {
        return -ENOMEM;
    }
    return sallyport__control_ask(control, "pcap", arguments, fd, sallyport__deadline(timeout_ms));
}

int sallyport_control_pcap_stop(SallyportControl *control, int timeout_ms, SallyportCapture *ret)
{
    const json_t *result;
    SallyportCapture capture = {0};
    int r = ask(control, "pcap", json_pack("{s:s}", "action", "stop"), timeout_ms);

    if (r < 0) {
        return r;
    }
    result = sallyport__control_result(control);
    if (!get_count(result, "bytes", &capture.bytes) ||
        !get_count(result, "frames", &capture.frames)) {
        return sallyport__control_nonsense(control);
    }
    (void)get_count(result, "dropped", &capture.dropped);
    if (ret != NULL) {
        *ret = capture;
    }
    return 0;
}

int sallyport_control_log_level(SallyportControl *control, const char *level, int timeout_ms)
{
    return ask(control, "log-level", json_pack("{s:s}", "level", level), timeout_ms);
}
