/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * published.c - one port map in force, and what is told of it
 *
 * Does:     keeps what was bound; makes the keys of records. No socket is touched here.
 * Runs in:  the supervisor.
 * Not here: binding and handing over (publisher.c); who reads the records (report.c, control/commands.c).
 */
#include "config.h"

#include "published.h"

#include "report.h"

/* One record lists so many runs of ports; more go into another record. */
#define PUBLISHED_RUNS_MAX 200

void published_init(Published *ret, const PortMap *map, PublishedOrigin origin)
{
    BindSlot slots[BIND_SLOTS_MAX];

    *ret = (Published){.map = portmap_copy(map), .origin = origin};
    ret->slot_count = bindport_slots(ret->map, slots);
    for (size_t i = 0; i < ret->slot_count; i++) {
        ret->slots[i].slot = slots[i];
        ret->slots[i].ports = g_array_new(FALSE, FALSE, sizeof(uint16_t));
    }
}

void published_clear(Published *published)
{
    for (size_t i = 0; i < published->slot_count; i++) {
        g_array_unref(published->slots[i].ports);
    }
    portmap_free(published->map);
}

const char *published_origin_word(const Published *published)
{
    static const char *const words[] = {[PUBLISHED_BY_COMMAND_LINE] = "command-line",
                                        [PUBLISHED_BY_CONTROL] = "control",
                                        [PUBLISHED_BY_API] = "api"};

    return words[published->origin];
}

/*
 * An address that is not the guest's own lies behind the guest, where only what the guest forwards arrives: the sockets
 * that show the client's address speak to this one host (guest/rules.c).
 */
MessageSource published_source(const PortMap *map, const GuestSettings *guest)
{
    if (map->guest_addr.family != AF_UNSPEC && !netaddr_equal(&map->guest_addr, &guest->addr) &&
        !netaddr_equal(&map->guest_addr, &guest->addr6)) {
        return MESSAGE_SOURCE_GUEST;
    }
    return map->src == PORTMAP_SOURCE_GATEWAY ? MESSAGE_SOURCE_GATEWAY : MESSAGE_SOURCE_CLIENT;
}

static const char *published_exposure(const PortMap *map, const NetAddr *addr)
{
    if (netaddr_is_loopback(addr)) {
        return "loopback";
    }
    return netaddr_is_any(addr) && map->ifname[0] == '\0' ? "all" : "interface";
}

/* Without the fast path's routing inside makes sockets of the guest's own address. A loopback listener has loopback clients, whose
 * address means the guest itself there. */
static const char *published_source_word(const PortMap *map, const NetAddr *addr,
                                         const GuestSettings *guest, bool shows_source)
{
    static const char *const words[] = {[MESSAGE_SOURCE_GUEST] = "guest",
                                        [MESSAGE_SOURCE_GATEWAY] = "gateway",
                                        [MESSAGE_SOURCE_CLIENT] = "client"};
    MessageSource source = published_source(map, guest);

    if (!shows_source) {
        return "guest";
    }
    return words[source == MESSAGE_SOURCE_CLIENT && netaddr_is_loopback(addr)
                     ? MESSAGE_SOURCE_GATEWAY
                     : source];
}

typedef struct PublishedListing {
    const Published *published;
    const GuestSettings *guest;
    bool shows_source;
    json_t *records;
} PublishedListing;

static void published_record(PublishedListing *listing, const BindSlot *slot, const NetAddr *addr,
                             const char *ports)
{
    const PortMap *map = listing->published->map;
    g_autofree char *guest_ports =
        map->guest_ports.first == map->guest_ports.last
            ? g_strdup_printf("%u", map->guest_ports.first)
            : g_strdup_printf("%u-%u", map->guest_ports.first, map->guest_ports.last);
    g_autofree char *spec = report_cut(map->text);
    char text[NETADDR_STRLEN];
    json_t *body = json_pack(
        "{s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "publication", (json_int_t)listing->published->id,
        "spec", spec, "protocol", bindport_protocol_name(slot->protocol), "family",
        addr->family == AF_INET ? "ipv4" : "ipv6", "host_addr", netaddr_format(addr, text),
        "host_ports", ports, "guest_ports", guest_ports, "exposure", published_exposure(map, addr),
        "source", published_source_word(map, addr, listing->guest, listing->shows_source));

    if (map->guest_addr.family != AF_UNSPEC) {
        (void)json_object_set_new(body, "guest_addr",
                                  json_string(netaddr_format(&map->guest_addr, text)));
    }
    if (map->ifname[0] != '\0') {
        (void)json_object_set_new(body, "interface", json_string(map->ifname));
    }
    if (map->name != NULL) {
        (void)json_object_set_new(body, "name", json_string(map->name));
    }
    (void)json_array_append_new(listing->records, body);
}

/* Ports as "first-last" runs, a record for each PUBLISHED_RUNS_MAX of them. */
static void published_list_slot(PublishedListing *listing, const PublishedSlot *bound,
                                const NetAddr *addr)
{
    const uint16_t *ports = (const uint16_t *)(const void *)bound->ports->data;
    g_autoptr(GString) text = g_string_new(NULL);
    unsigned runs = 0;

    for (guint i = 0; i < bound->ports->len;) {
        guint last = i;

        while (last + 1 < bound->ports->len && ports[last + 1] == ports[last] + 1) {
            last++;
        }
        g_string_append_printf(text, "%s%u", text->len > 0 ? "," : "", ports[i]);
        if (last > i) {
            g_string_append_printf(text, "-%u", ports[last]);
        }
        runs++;
        i = last + 1;
        if (runs == PUBLISHED_RUNS_MAX && i < bound->ports->len) {
            published_record(listing, &bound->slot, addr, text->str);
            g_string_truncate(text, 0);
            runs = 0;
        }
    }
    if (text->len > 0) {
        published_record(listing, &bound->slot, addr, text->str);
    }
}

json_t *published_records(const Published *published, const GuestSettings *guest, bool shows_source)
{
    PublishedListing listing = {published, guest, shows_source, json_array()};

    for (size_t i = 0; i < published->slot_count; i++) {
        const PublishedSlot *bound = &published->slots[i];

        if (bound->slot.both_families) {
            NetAddr any4 = netaddr_any(AF_INET);

            published_list_slot(&listing, bound, &any4);
        }
        published_list_slot(&listing, bound, &bound->slot.addr);
    }
    return listing.records;
}
