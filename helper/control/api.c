/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * api.c - slirp4netns's API socket: one request a connection, one reply, the end
 *
 * Does:     turns a request into a change of the publisher, and what came of it into the reply that callers know: "return" and
 *           "error" are objects; a list stands both in "return", as the manual has it, and beside it, as the program does.
 * Runs in:  the supervisor.
 * Trusts:   nothing it reads.
 * Ids:      those of publications: there are no others in this personality, so they begin with 1; and they are never used again.
 * Not here: reading (hostfwd.c), connections (clients.c).
 */
#include "config.h"

#include "api.h"

#include <stdlib.h>
#include <string.h>

#include "../fault.h"
#include "hostfwd.h"

struct Api {
    Clients *clients;
    const CommandParts *parts;
};

static void api_reply(Reply *take_reply, json_t *take_body)
{
    char *text = json_dumps(take_body, JSON_COMPACT);

    reply_send(take_reply, text, strlen(text), true);
    free(text);
    json_decref(take_body);
}

static void api_fail(Reply *take_reply, const char *what, int errnum)
{
    g_autofree char *desc = g_strconcat("bad request: ", what, NULL);
    const char *name = fault_errno_name(errnum);
    json_t *error = json_pack("{s:s}", "desc", desc);

    if (name != NULL) {
        (void)json_object_set_new(error, "errno", json_string(name));
    }
    api_reply(take_reply, json_pack("{s:o}", "error", error));
}

static int api_host_port(const Published *published)
{
    const GArray *ports = published->slots[0].ports;

    return ports->len > 0 ? g_array_index(ports, uint16_t, 0) : 0;
}

/* PublisherAddFunc */
static void api_added(const Published *published, const GError *error, void *user_data)
{
    if (published == NULL) {
        api_fail(user_data, "add_hostfwd: slirp_add_hostfwd failed", fault_errno(error));
        return;
    }
    api_reply(user_data, json_pack("{s:{s:I,s:i}}", "return", "id", (json_int_t)published->id,
                                   "host_port", api_host_port(published)));
}

static void api_add(const Api *api, Reply *take_reply, const HostFwd *add)
{
    g_autofree char *spec = hostfwd_spec(add);
    g_autoptr(GError) error = NULL;
    g_autoptr(PortMap) map = settings_port_map(api->parts->settings, spec, &error);

    if (map == NULL) {
        /* A multicast or otherwise impossible address. */
        api_fail(take_reply, "add_hostfwd: slirp_add_hostfwd failed", fault_errno(error));
        return;
    }
    publisher_add(api->parts->publisher, map, PUBLISHED_BY_API, api_added, take_reply);
}

/* PublisherRemoveFunc */
static void api_removed(bool removed, void *user_data)
{
    if (removed) {
        api_reply(user_data, json_pack("{s:{}}", "return"));
    } else {
        api_fail(user_data, "remove_hostfwd: slirp_remove_hostfwd failed", 0);
    }
}

/* Connections go on, as with libslirp, which closes the listener alone. */
static void api_remove(const Api *api, Reply *take_reply, uint32_t id)
{
    const Published *published = publisher_next(api->parts->publisher, id - 1);

    if (published == NULL || published->id != id || published->origin != PUBLISHED_BY_API ||
        publisher_remove(api->parts->publisher, id, false, api_removed, take_reply) != 0) {
        api_fail(take_reply, "remove_hostfwd: slirp_remove_hostfwd failed", 0);
    }
}

static json_t *api_entry(const Api *api, const Published *published)
{
    const PortMap *map = published->map;
    const GuestSettings *guest = &api->parts->settings->guest;
    const BindSlot *slot = &published->slots[0].slot;
    char host[NETADDR_STRLEN];
    char inside[NETADDR_STRLEN];

    return json_pack(
        "{s:I,s:s,s:s,s:i,s:s,s:i}", "id", (json_int_t)published->id, "proto",
        bindport_protocol_name(slot->protocol), "host_addr", netaddr_format(&slot->addr, host),
        "host_port", api_host_port(published), "guest_addr",
        netaddr_format(map->guest_addr.family != AF_UNSPEC ? &map->guest_addr : &guest->addr,
                       inside),
        "guest_port", (int)map->guest_ports.first);
}

static void api_list(const Api *api, Reply *take_reply)
{
    json_t *entries = json_array();
    const Published *published = publisher_next(api->parts->publisher, 0);

    for (; published != NULL; published = publisher_next(api->parts->publisher, published->id)) {
        if (published->origin == PUBLISHED_BY_API) {
            (void)json_array_append_new(entries, api_entry(api, published));
        }
    }
    api_reply(take_reply,
              json_pack("{s:{s:O},s:o}", "return", "entries", entries, "entries", entries));
}

/* ClientsLanguage.request */
static void api_request(Reply *take_reply, const char *bytes, size_t len, void *user_data)
{
    const Api *api = user_data;
    HostFwd request;

    if (len >= HOSTFWD_REQUEST_MAX) {
        api_fail(take_reply, "too large message", 0);
        return;
    }
    hostfwd_parse(bytes, len, api->parts->settings->guest.ipv6, &request);
    switch (request.command) {
    case HOSTFWD_WRONG:
        api_fail(take_reply, request.wrong, 0);
        break;
    case HOSTFWD_ADD:
        api_add(api, take_reply, &request);
        break;
    case HOSTFWD_LIST:
        api_list(api, take_reply);
        break;
    case HOSTFWD_REMOVE:
        api_remove(api, take_reply, request.id);
        break;
    }
}

/* ClientsLanguage.refused */
static void api_refused(Reply *take_reply, ClientsRefusal why, void *user_data)
{
    (void)user_data;
    api_fail(take_reply, why == CLIENTS_TOO_LONG ? "too large message" : "cannot parse JSON", 0);
}

Api *api_new(GMainContext *context, const CommandParts *parts)
{
    static const ClientsLanguage language = {.request_max = HOSTFWD_REQUEST_MAX,
                                             .once = true,
                                             .frame = hostfwd_frame,
                                             .request = api_request,
                                             .refused = api_refused};
    Api *api = g_new0(Api, 1);

    api->clients = clients_new(context, &language, api);
    api->parts = parts;
    return api;
}

void api_free(Api *api)
{
    if (api != NULL) {
        clients_free(api->clients);
        g_free(api);
    }
}

Clients *api_clients(Api *api)
{
    return api->clients;
}
