/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ctl_commands.c - the commands of "sallyport ctl", but for top
 *
 * Does:     each asks by a call of libsallyport and prints a table, or the reply as it came (--json).
 * Not here: the command line, and what is said of a failure (ctl.c).
 */
#include "config.h"

#include "control/ctl_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "control/ctl_table.h"
#include "fd.h"

static void print_table(const CtlTable *table)
{
    g_autofree char *text = ctl_table_text(table, 0, 0);

    (void)fputs(text, stdout); /* ctl.c looks whether it could be written */
}

/* After a call: its reply, if that is what is wanted. */
static bool print_json(const Ctl *ctl, int result)
{
    if (!ctl->json || result < 0) {
        return false;
    }
    (void)puts(sallyport_control_reply(ctl->control));
    return true;
}

/* Where the next page begins, as the arguments that ask for it; NULL: it was the last. g_free(). */
static char *next_page(const char *reply)
{
    json_t *root = json_loads(reply, 0, NULL);
    json_t *cursor = json_object_get(json_object_get(root, "return"), "cursor");
    char *arguments = NULL;

    if (cursor != NULL && !json_is_null(cursor)) {
        json_t *object = json_pack("{s:O}", "cursor", cursor);
        char *text = json_dumps(object, JSON_COMPACT);

        arguments = g_strdup(text);
        free(text);
        json_decref(object);
    }
    json_decref(root);
    return arguments;
}

/* Replies of all pages as they come. */
static int print_pages(const Ctl *ctl, const char *command)
{
    g_autofree char *arguments = NULL;
    int r;

    do {
        char *next;

        r = sallyport_control_call(ctl->control, command, arguments, -1, ctl->timeout_ms);
        if (r < 0) {
            return r;
        }
        (void)print_json(ctl, r);
        next = next_page(sallyport_control_reply(ctl->control));
        if (next != NULL && g_strcmp0(next, arguments) == 0) {
            r = -EBADMSG; /* it would never end */
        }
        g_free(arguments);
        arguments = next;
    } while (r == 0 && arguments != NULL);
    return r;
}

int ctl_ping(Ctl *ctl)
{
    const char *version = NULL;
    int r = sallyport_control_ping(ctl->control, ctl->timeout_ms, &version);

    if (r == 0 && !print_json(ctl, r)) {
        g_autofree char *escaped = ctl_escape(version);

        (void)printf("sallyport %s\n", escaped);
    }
    return r;
}

/* "0.0.0.0:8080", "[::]:8080": an IPv6 address in brackets, as in a spec. */
static char *endpoint(const char *addr_or_null, const char *ports)
{
    if (addr_or_null == NULL) {
        return g_strdup(ports);
    }
    return g_strdup_printf(strchr(addr_or_null, ':') != NULL ? "[%s]:%s" : "%s:%s", addr_or_null,
                           ports);
}

static void print_published(const SallyportPublishedList *list, const char *origin_or_null)
{
    static const char *const titles[] = {">NUMBER", "PROTOCOL", "HOST", "GUEST", "EXPOSURE",
                                         "SOURCE",  "ORIGIN",   "NAME", "SPEC",  NULL};
    g_autoptr(CtlTable) table = ctl_table_new(titles);

    for (size_t i = 0; i < list->count; i++) {
        const SallyportPublished *item = &list->items[i];
        g_autofree char *number = g_strdup_printf("%" PRId64, item->publication);
        g_autofree char *host = endpoint(item->host_addr, item->host_ports);
        g_autofree char *on = item->interface != NULL
                                  ? g_strdup_printf("%s%%%s", host, item->interface)
                                  : g_strdup(host);
        g_autofree char *guest = endpoint(item->guest_addr, item->guest_ports);
        const char *cells[] = {number,
                               item->protocol,
                               on,
                               guest,
                               item->exposure,
                               item->source,
                               item->origin != NULL ? item->origin : origin_or_null,
                               item->name,
                               item->spec};

        ctl_table_add(table, cells);
    }
    print_table(table);
}

int ctl_publish(Ctl *ctl)
{
    SallyportPublishedList *list = NULL;
    int r = sallyport_control_publish(ctl->control, ctl->args[0], ctl->timeout_ms, &list);

    if (r == 0 && !print_json(ctl, r)) {
        print_published(list, "control");
        if (list->more) {
            (void)ctl_complain("publish: there are more, which list shows");
        }
    }
    sallyport_published_list_free(list);
    return r;
}

int ctl_unpublish(Ctl *ctl)
{
    SallyportConnections connections =
        ctl->cut ? SALLYPORT_CUT_CONNECTIONS : SALLYPORT_KEEP_CONNECTIONS;
    const char *word = ctl->args[0];
    int r;

    /* Digits alone are a number: a spec of digits alone can be named by the number that list shows. */
    if (*word != '\0' && word[strspn(word, "0123456789")] == '\0') {
        guint64 number;

        if (!g_ascii_string_to_unsigned(word, 10, 0, INT64_MAX, &number, NULL)) {
            return ctl_complain("unpublish: %s is no number of a publication", word);
        }
        r = sallyport_control_unpublish(ctl->control, (int64_t)number, connections,
                                        ctl->timeout_ms);
    } else {
        r = sallyport_control_unpublish_spec(ctl->control, word, connections, ctl->timeout_ms);
    }
    (void)print_json(ctl, r);
    return r;
}

int ctl_list(Ctl *ctl)
{
    SallyportPublishedList *list = NULL;
    int r;

    if (ctl->json) {
        return print_pages(ctl, "list");
    }
    r = sallyport_control_list(ctl->control, ctl->timeout_ms, &list);
    if (r == 0) {
        print_published(list, NULL);
    }
    sallyport_published_list_free(list);
    return r;
}

/* SallyportFlowFunc */
static int add_flow(const SallyportFlow *flow, void *user_data)
{
    char in[CTL_BYTES_STRLEN], out[CTL_BYTES_STRLEN], age[CTL_AGE_STRLEN];
    const char *cells[] = {flow->path,
                           flow->protocol,
                           flow->state,
                           flow->guest_local,
                           flow->guest_remote,
                           flow->host_local,
                           flow->host_remote,
                           ctl_format_bytes(flow->bytes_in, in),
                           ctl_format_bytes(flow->bytes_out, out),
                           ctl_format_age(flow->age_ms, age)};

    ctl_table_add(user_data, cells);
    return 0;
}

int ctl_flows(Ctl *ctl)
{
    static const char *const titles[] = {"PATH",       "PROTOCOL", "STATE",     "GUEST",
                                         "GUEST-PEER", "HOST",     "HOST-PEER", ">IN",
                                         ">OUT",       ">AGE",     NULL};
    g_autoptr(CtlTable) table = ctl_table_new(titles);
    int r;

    if (ctl->json) {
        return print_pages(ctl, "flows");
    }
    r = sallyport_control_each_flow(ctl->control, ctl->timeout_ms, add_flow, table);
    if (r == 0) {
        print_table(table);
    }
    return r;
}

int ctl_stats(Ctl *ctl)
{
    static const char *const titles[] = {"NAME", ">VALUE", NULL};
    g_autoptr(CtlTable) table = ctl_table_new(titles);
    SallyportStatList *list = NULL;
    int r = sallyport_control_stats(ctl->control, ctl->timeout_ms, &list);

    if (r < 0 || print_json(ctl, r)) {
        sallyport_stat_list_free(list);
        return r;
    }
    for (size_t i = 0; i < list->count; i++) {
        g_autofree char *value = g_strdup_printf("%" PRId64, list->items[i].value);
        const char *cells[] = {list->items[i].name, value};

        ctl_table_add(table, cells);
    }
    sallyport_stat_list_free(list);
    print_table(table);
    return 0;
}

/* A regular file, or one that is not there, is made under another name beside it, and takes its name when the helper has taken
 * it: a start that is refused harms nobody's recording. What else there is (a pipe, a terminal) is opened as it is. */
static int pcap_open(const char *path, char **ret_made)
{
    struct stat st;
    int fd;

    *ret_made = NULL;
    if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        return open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    }
    *ret_made = g_strdup_printf("%s.XXXXXX", path);
    fd = mkostemp(*ret_made, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) {
        g_clear_pointer(ret_made, g_free);
    }
    return fd;
}

/* The file is made here, as whoever calls: the helper is given the fd. */
static int pcap_start(const Ctl *ctl, const char *path)
{
    g_autofree char *made = NULL;
    FD_AUTO fd = pcap_open(path, &made);
    int r;

    if (fd < 0) {
        return ctl_complain("pcap: %s: %s", path, g_strerror(errno));
    }
    r = sallyport_control_pcap_start(ctl->control, fd, (uint64_t)ctl->max_bytes, ctl->timeout_ms);
    (void)print_json(ctl, r);
    if (made != NULL && r < 0) {
        (void)unlink(made); /* nothing is in it */
    } else if (made != NULL && rename(made, path) < 0) {
        return ctl_complain("pcap: recording to %s: it cannot be renamed: %s", made,
                            g_strerror(errno));
    }
    return r;
}

static int pcap_stop(const Ctl *ctl)
{
    SallyportCapture capture = {0};
    int r = sallyport_control_pcap_stop(ctl->control, ctl->timeout_ms, &capture);

    if (r == 0 && !print_json(ctl, r)) {
        (void)printf("%" PRIu64 " frames, %" PRIu64 " bytes, %" PRIu64 " dropped\n", capture.frames,
                     capture.bytes, capture.dropped);
    }
    return r;
}

int ctl_pcap(Ctl *ctl)
{
    if (strcmp(ctl->args[0], "start") == 0 && ctl->args[1] != NULL) {
        return pcap_start(ctl, ctl->args[1]);
    }
    if (strcmp(ctl->args[0], "stop") == 0 && ctl->args[1] == NULL && ctl->max_bytes == 0) {
        return pcap_stop(ctl);
    }
    return ctl_complain("pcap: want start FILE [--max-bytes N], or stop");
}

int ctl_log_level(Ctl *ctl)
{
    int r = sallyport_control_log_level(ctl->control, ctl->args[0], ctl->timeout_ms);

    (void)print_json(ctl, r);
    return r;
}
