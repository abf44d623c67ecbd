/* SPDX-License-Identifier: MIT */
/*
 * event.c - one record: from a line of JSON to a SallyportEvent
 *
 * Does:     checks that a line is a record of our version and takes out the keys every parent
 *           needs.
 * Trusts:   nothing in the line. A key of the wrong type counts as missing; "v", "event" and "seq"
 *           must be there.
 * Owns:     the parsed JSON and a copy of the line, both freed with the event.
 * Not here: where lines come from (reader.c).
 */
#include "config.h"

#include "sallyport.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "parent.h"

/* "signal" of an exit record may be a number or a name; this is the only list that every libc has.
 * */
static const struct {
    char name[8];
    int number;
} signal_names[] = {
    {"ABRT", SIGABRT}, {"ALRM", SIGALRM}, {"BUS", SIGBUS},   {"FPE", SIGFPE},   {"HUP", SIGHUP},
    {"ILL", SIGILL},   {"INT", SIGINT},   {"KILL", SIGKILL}, {"PIPE", SIGPIPE}, {"QUIT", SIGQUIT},
    {"SEGV", SIGSEGV}, {"SYS", SIGSYS},   {"TERM", SIGTERM}, {"TRAP", SIGTRAP}, {"USR1", SIGUSR1},
    {"USR2", SIGUSR2}, {"XCPU", SIGXCPU}, {"XFSZ", SIGXFSZ},
};

static const char *get_string(const json_t *root, const char *key)
{
    return json_string_value(json_object_get(root, key));
}

static int get_int(const json_t *root, const char *key, int otherwise)
{
    const json_t *value = json_object_get(root, key);
    json_int_t number = json_integer_value(value);

    return json_is_integer(value) && number >= 0 && number <= INT_MAX ? (int)number : otherwise;
}

static int get_signal(const json_t *root)
{
    const char *name = get_string(root, "signal");

    if (name == NULL) {
        return get_int(root, "signal", 0);
    }
    if (strncmp(name, "SIG", 3) == 0) {
        name += 3;
    }
    for (size_t i = 0; i < sizeof(signal_names) / sizeof(signal_names[0]); i++) {
        if (strcmp(name, signal_names[i].name) == 0) {
            return signal_names[i].number;
        }
    }
    return 0;
}

/* json_object_get() gives NULL for anything that is no object, and so does every getter for NULL.
 * */
static bool is_record(const json_t *root)
{
    return json_is_integer(json_object_get(root, "v")) &&
           json_integer_value(json_object_get(root, "v")) == SALLYPORT_RECORD_VERSION &&
           json_is_string(json_object_get(root, "event")) &&
           json_is_integer(json_object_get(root, "seq"));
}

int sallyport__record_parse(const char *line, size_t length, SallyportRecord **ret)
{
    SallyportRecord *record = calloc(1, sizeof(*record));
    char *copy = malloc(length + 1);
    json_t *root = NULL;
    bool is_exit;

    if (record == NULL || copy == NULL) {
        free(record);
        free(copy);
        return -ENOMEM;
    }
    memcpy(copy, line, length);
    copy[length] = '\0';
    root = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    if (!is_record(root)) {
        json_decref(root);
        free(record);
        free(copy);
        return -EBADMSG;
    }
    record->root = root;
    record->line = copy;
    is_exit = strcmp(get_string(root, "event"), SALLYPORT_EVENT_EXIT) == 0;
    record->event = (SallyportEvent){
        .event = get_string(root, "event"),
        .code = get_string(root, "code"),
        .reason = get_string(root, "reason"),
        .message = get_string(root, "message"),
        .errno_name = get_string(root, "errno"),
        .json = copy,
        .seq = json_integer_value(json_object_get(root, "seq")),
        .status = is_exit ? get_int(root, "status", -1) : -1,
        .signal = is_exit ? get_signal(root) : 0,
    };
    *ret = record;
    return 0;
}

void sallyport_event_free(SallyportEvent *event)
{
    /* The event is the first member of the record it was handed out from. */
    SallyportRecord *record = (SallyportRecord *)(void *)event;

    if (record == NULL) {
        return;
    }
    json_decref(record->root);
    free(record->line);
    free(record);
}
