/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * hostfwd.c - the language of slirp4netns's API socket
 *
 * Does:     reads add_hostfwd, list_hostfwd and remove_hostfwd; says what is wrong in the words that callers know. Pure functions.
 * Trusts:   nothing it reads.
 * Order:    of the faults: that in which slirp4netns looks at the arguments, so that the first one told is the same.
 * More:     IPv6 addresses where --enable-ipv6 asks for IPv6, and host port 0 for one that the kernel picks: slirp4netns refuses
 *           both.
 * Not here: what is done about it (api.c).
 */
#include "config.h"

#include "hostfwd.h"

#include <string.h>

#include <jansson.h>

size_t hostfwd_frame(const char *bytes, size_t len, bool ended)
{
    json_error_t error;
    json_t *value;

    if (len == 0 || ended) {
        return len;
    }
    value = json_loadb(bytes, len, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &error);
    if (value == NULL) {
        return json_error_code(&error) == json_error_premature_end_of_input ? 0 : len;
    }
    json_decref(value);
    return len; /* whatever follows it: the answer ends the connection */
}

/* A whole number, written as an integer or not ("80.0": JSON has one kind of number). */
static bool hostfwd_number(const json_t *arguments, const char *key, uint32_t max, uint32_t *ret)
{
    const json_t *value = json_object_get(arguments, key);
    double number = json_number_value(value);

    if (!json_is_number(value) || !(number >= 0 && number <= max)) {
        return false;
    }
    *ret = (uint32_t)number;
    return (double)*ret == number;
}

/* An address, or none: missing or "". False: anything else, and one of IPv6 unless @ipv6. */
static bool hostfwd_address(const json_t *arguments, const char *key, bool ipv6, NetAddr *ret)
{
    const json_t *value = json_object_get(arguments, key);
    const char *text = json_string_value(value);

    *ret = (NetAddr){.family = AF_UNSPEC};
    if (value == NULL || (text != NULL && text[0] == '\0')) {
        return true;
    }
    return text != NULL && netaddr_parse(text, ret) && (ipv6 || ret->family == AF_INET);
}

static const char *hostfwd_read_add(const json_t *arguments, bool ipv6, HostFwd *ret)
{
    const char *proto = json_string_value(json_object_get(arguments, "proto"));
    uint32_t port = 0;

    if (proto == NULL || (strcmp(proto, "tcp") != 0 && strcmp(proto, "udp") != 0)) {
        return "add_hostfwd: bad arguments.proto";
    }
    ret->udp = strcmp(proto, "udp") == 0;
    if (!hostfwd_address(arguments, "host_addr", ipv6, &ret->host_addr)) {
        return "add_hostfwd: bad arguments.host_addr";
    }
    if (ret->host_addr.family == AF_UNSPEC) {
        ret->host_addr = netaddr_any(AF_INET);
    }
    if (!hostfwd_number(arguments, "host_port", UINT16_MAX, &port)) {
        return "add_hostfwd: bad arguments.host_port";
    }
    ret->host_port = (uint16_t)port;
    if (!hostfwd_address(arguments, "guest_addr", ipv6, &ret->guest_addr)) {
        return "add_hostfwd: bad arguments.guest_addr";
    }
    if (!hostfwd_number(arguments, "guest_port", UINT16_MAX, &port) || port == 0) {
        return "add_hostfwd: bad arguments.guest_port";
    }
    ret->guest_port = (uint16_t)port;
    ret->command = HOSTFWD_ADD;
    return NULL;
}

static const char *hostfwd_read(const json_t *request, bool ipv6, HostFwd *ret)
{
    const char *execute = json_string_value(json_object_get(request, "execute"));
    const json_t *arguments = json_object_get(request, "arguments");

    if (execute == NULL) {
        return "no execute found";
    }
    if (strcmp(execute, "add_hostfwd") == 0) {
        return hostfwd_read_add(arguments, ipv6, ret);
    }
    if (strcmp(execute, "list_hostfwd") == 0) {
        ret->command = HOSTFWD_LIST;
        return NULL;
    }
    if (strcmp(execute, "remove_hostfwd") != 0) {
        return "unknown execute";
    }
    if (!hostfwd_number(arguments, "id", UINT32_MAX, &ret->id) || ret->id == 0) {
        return "remove_hostfwd: bad arguments.id";
    }
    ret->command = HOSTFWD_REMOVE;
    return NULL;
}

void hostfwd_parse(const char *bytes, size_t len, bool ipv6, HostFwd *ret)
{
    json_t *request = json_loadb(bytes, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);

    *ret = (HostFwd){.command = HOSTFWD_WRONG};
    if (request == NULL) {
        ret->wrong = "cannot parse JSON";
    } else if (!json_is_object(request)) {
        ret->wrong = "json_object() failed";
    } else {
        ret->wrong = hostfwd_read(request, ipv6, ret);
    }
    json_decref(request);
}

static void hostfwd_append_address(GString *text, const NetAddr *addr)
{
    char buf[NETADDR_STRLEN];

    g_string_append_printf(text,
                           addr->family == AF_INET6 ? "[%s]:" : "%s:", netaddr_format(addr, buf));
}

char *hostfwd_spec(const HostFwd *add)
{
    GString *text = g_string_new(NULL);

    hostfwd_append_address(text, &add->host_addr);
    g_string_append_printf(text, "%u:", add->host_port);
    if (add->guest_addr.family != AF_UNSPEC) {
        hostfwd_append_address(text, &add->guest_addr);
    }
    g_string_append_printf(text, "%u/%s", add->guest_port, add->udp ? "udp" : "tcp");
    return g_string_free(text, FALSE);
}
