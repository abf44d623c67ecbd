/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * call.c - the language of the control socket: one JSON object a line
 *
 * Does:     reads requests and writes replies. Pure functions.
 * Trusts:   nothing it reads.
 * Limits:   depth and numbers by jansson: JSON_PARSER_MAX_DEPTH, 64-bit integers.
 * Not here: which commands there are (commands.c), who may give them (control.c).
 */
#include "config.h"

#include "call.h"

#include <stdlib.h>
#include <string.h>

size_t call_frame(const char *bytes, size_t len, bool ended)
{
    const char *end = len > 0 ? memchr(bytes, '\n', len) : NULL;

    (void)ended; /* a line without an end is none: it may have been cut off */
    return end != NULL ? (size_t)(end - bytes) + 1 : 0;
}

json_t *call_text(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    return json_string(valid);
}

const char *call_unknown_key(const json_t *object, const char *const *allowed)
{
    union {
        const json_t *in;
        json_t *out;
    } unconst = {
        .in = object}; /* json_object_foreach() does not change it, but jansson cannot say so */
    const char *key;
    json_t *value;

    json_object_foreach(unconst.out, key, value)
    {
        if (allowed == NULL || !g_strv_contains(allowed, key)) {
            return key;
        }
    }
    return NULL;
}

bool call_integer(const json_t *arguments, const char *key, json_int_t min, json_int_t max,
                  json_int_t *ret)
{
    const json_t *value = json_object_get(arguments, key);

    if (!json_is_integer(value) || json_integer_value(value) < min ||
        json_integer_value(value) > max) {
        return false;
    }
    *ret = json_integer_value(value);
    return true;
}

static bool call_id_fits(const json_t *id)
{
    return json_is_integer(id) || (json_is_string(id) && json_string_length(id) <= CALL_ID_MAX);
}

static char *call_read(const json_t *request, Call *ret)
{
    static const char *const keys[] = {"id", "command", "arguments", NULL};
    json_t *id = json_object_get(request, "id");
    const json_t *command = json_object_get(request, "command");
    json_t *arguments = json_object_get(request, "arguments");
    const char *unknown = call_unknown_key(request, keys);

    if (id != NULL && !call_id_fits(id)) {
        return g_strdup_printf("id: want an integer or a string of at most %d bytes", CALL_ID_MAX);
    }
    ret->id = json_incref(id);
    if (unknown != NULL) {
        return g_strdup_printf("unknown key '%.64s'", unknown);
    }
    if (!json_is_string(command)) {
        return g_strdup("command: want a string");
    }
    if (arguments != NULL && !json_is_object(arguments)) {
        return g_strdup("arguments: want an object");
    }
    ret->arguments = arguments != NULL ? json_incref(arguments) : json_object();
    ret->command = g_strdup(json_string_value(command));
    return NULL;
}

void call_parse(const char *line, size_t len, Call *ret)
{
    json_error_t error;
    json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &error);

    *ret = (Call){.id = NULL};
    if (request == NULL) {
        g_autofree char *text = g_utf8_make_valid(error.text, -1);

        ret->fault = g_strdup_printf("not JSON: %s", text);
    } else if (!json_is_object(request)) {
        ret->fault = g_strdup("want an object");
    } else {
        ret->fault = call_read(request, ret);
    }
    json_decref(request);
}

void call_clear(Call *call)
{
    json_decref(call->id);
    json_decref(call->arguments);
    g_free(call->command);
    g_free(call->fault);
}

char *call_answer(const json_t *id, const char *key, json_t *take_body)
{
    json_t *answer = json_object();
    json_t *copy = id != NULL ? json_deep_copy(id) : json_null();
    char *dump;
    char *line;

    (void)json_object_set_new(answer, "id", copy);
    (void)json_object_set_new(answer, key, take_body);
    dump = json_dumps(answer, JSON_COMPACT);
    line = g_strconcat(dump, "\n", NULL);
    free(dump);
    json_decref(answer);
    return line;
}
