/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CONTROL_CALL_H
#define SALLYPORT_CONTROL_CALL_H

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>
#include <jansson.h>

#define CALL_ID_MAX 64

/**
 * struct Call - one request of the control protocol, read
 * @id:        an integer or a string of at most CALL_ID_MAX bytes; NULL if there is none that can be repeated
 * @command:   NULL if the request is wrong
 * @arguments: an object, empty if none were given
 * @fault:     what is wrong with it, or NULL
 */
typedef struct Call {
    json_t *id;
    char *command;
    json_t *arguments;
    char *fault;
} Call;

/* Reads one line, with or without its end. @ret is filled in in any case, for call_clear(). */
void call_parse(const char *line, size_t len, Call *ret);
void call_clear(Call *call);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Call, call_clear)

/* Bytes of the first line, its end included; 0: it has none. */
size_t call_frame(const char *bytes, size_t len, bool ended);

/* {"id":..., key: body} and the end of line. g_free(). */
char *call_answer(const json_t *id, const char *key, json_t *take_body);

/* A JSON string of any text: what is no UTF-8 is replaced. */
json_t *call_text(const char *text);

/* Looks for what is not in @allowed (NULL-terminated). NULL: there is nothing of that kind. */
const char *call_unknown_key(const json_t *object, const char *const *allowed);

/* A whole number of the arguments from @min to @max. False: missing or anything else. */
bool call_integer(const json_t *arguments, const char *key, json_int_t min, json_int_t max,
                  json_int_t *ret);

#endif
