/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * publisher.c - from port maps to listeners in the datapath
 *
 * Does:     decides which ports are bound in which order, all or nothing but for weak maps; sends them on in batches; keeps
 *           what was bound for the records.
 * Runs in:  the supervisor.
 * Trusts:   the datapath only to answer; what it answers can end us, nothing else.
 * Owns:     fds between bind and handing over.
 * Limits:   PUBLISHER_WINDOW batches of at most MESSAGE_FDS_MAX sockets without an answer.
 * Not here: one bind (bindport.c); what the datapath does with a listener (datapath/forward.c).
 */
#include "config.h"

#include "publisher.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "bindport.h"
#include "fault.h"
#include "fd.h"
#include "portmap.h"
#include "sallyport.h"

#define PUBLISHER_WINDOW 4
/* How often a port that the kernel picked for one socket is tried for its brothers before it is given up. */
#define PUBLISHER_KERNEL_TRIES 32
/* One record lists so many runs of ports; more go into another record. */
#define PUBLISHER_RUNS_MAX 200

/* What of one map is bound: host ports of one slot, ascending. */
typedef struct PublishedSlot {
    BindSlot slot;
    GArray *ports; /* uint16_t */
} PublishedSlot;

typedef struct PublishedMap {
    const PortMap *map;
    uint32_t id;
    PublishedSlot slots[BIND_SLOTS_MAX];
    size_t slot_count;
    size_t bound;
    int weak_errno; /* why a weak map's last missing socket is missing */
    bool failed;
} PublishedMap;

typedef struct Batch {
    MessageListen listen;
    int fds[MESSAGE_FDS_MAX];
    size_t count;
} Batch;

struct Publisher {
    GPtrArray *maps; /* PublishedMap */
    const GuestSettings *guest;
    bool shows_source;
    int sock;
    Report *report;
    PublisherDoneFunc done;
    void *user_data;
    GQueue batches;      /* bound, not sent */
    unsigned unanswered; /* batches sent */
    guint next_map;
    uint32_t next_port; /* of the range of next_map; 0: from its beginning */
    bool failed;
    bool finished;
};

static void published_map_free(PublishedMap *published)
{
    for (size_t i = 0; i < published->slot_count; i++) {
        g_array_unref(published->slots[i].ports);
    }
    g_free(published);
}

static void batch_free(Batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        fd_close(batch->fds[i]);
    }
    g_free(batch);
}

Publisher *publisher_new(const GPtrArray *maps, const GuestSettings *guest, int sock,
                         Report *report, PublisherDoneFunc done, void *user_data)
{
    Publisher *publisher = g_new0(Publisher, 1);

    publisher->maps = g_ptr_array_new_with_free_func((GDestroyNotify)published_map_free);
    publisher->guest = guest;
    publisher->sock = sock;
    publisher->report = report;
    publisher->done = done;
    publisher->user_data = user_data;
    g_queue_init(&publisher->batches);
    for (guint i = 0; i < maps->len; i++) {
        PublishedMap *published = g_new0(PublishedMap, 1);
        BindSlot slots[BIND_SLOTS_MAX];

        published->map = g_ptr_array_index(maps, i);
        published->id = i;
        published->slot_count = bindport_slots(published->map, slots);
        for (size_t s = 0; s < published->slot_count; s++) {
            published->slots[s].slot = slots[s];
            published->slots[s].ports = g_array_new(FALSE, FALSE, sizeof(uint16_t));
        }
        g_ptr_array_add(publisher->maps, published);
    }
    return publisher;
}

void publisher_free(Publisher *publisher)
{
    if (publisher == NULL) {
        return;
    }
    g_queue_clear_full(&publisher->batches, (GDestroyNotify)batch_free);
    g_ptr_array_unref(publisher->maps);
    g_free(publisher);
}

static void publisher_fail(Publisher *publisher, PublishedMap *published, const BindSlot *slot,
                           uint16_t port, int errnum)
{
    g_autoptr(GError) error = bindport_fault(published->map, slot, port, errnum);
    g_autofree char *spec = report_cut(published->map->text);
    char addr[NETADDR_STRLEN];

    published->failed = true;
    publisher->failed = true;
    report_error(publisher->report, error,
                 json_pack("{s:s,s:s,s:s,s:i}", "spec", spec, "protocol",
                           bindport_protocol_name(slot->protocol), "host_addr",
                           netaddr_format(&slot->addr, addr), "host_port", (int)port));
}

/* The host may do without IPv6; a wildcard that never named it does too. */
static bool publisher_family_missing(const BindSlot *slot, int errnum)
{
    return slot->optional && (errnum == EAFNOSUPPORT || errnum == EADDRNOTAVAIL);
}

/*
 * An address that is not the guest's own lies behind the guest, where only what the guest forwards arrives: the sockets
 * that show the client's address speak to this one host (guest/rules.c).
 */
static MessageSource publisher_source(const Publisher *publisher, const PortMap *map)
{
    if (map->guest_addr.family != AF_UNSPEC &&
        !netaddr_equal(&map->guest_addr, &publisher->guest->addr) &&
        !netaddr_equal(&map->guest_addr, &publisher->guest->addr6)) {
        return MESSAGE_SOURCE_GUEST;
    }
    return map->src == PORTMAP_SOURCE_GATEWAY ? MESSAGE_SOURCE_GATEWAY : MESSAGE_SOURCE_CLIENT;
}

/* The batch that @port of @slot goes into: the last one if it continues that, else a new one. */
static Batch *publisher_batch(Publisher *publisher, const PublishedMap *published,
                              const BindSlot *slot, uint16_t port, uint16_t guest_port)
{
    const PortMap *map = published->map;
    bool guest_range = map->guest_ports.first != map->guest_ports.last;
    Batch *batch = NULL;

    for (GList *link = publisher->batches.tail; link != NULL && batch == NULL; link = link->prev) {
        Batch *other = link->data;

        if (other->listen.publication == published->id &&
            other->listen.protocol == (uint32_t)slot->protocol && other->count < MESSAGE_FDS_MAX &&
            other->listen.host_port + other->count == port &&
            other->listen.guest_port + (guest_range ? other->count : 0) == guest_port) {
            batch = other;
        }
    }
    if (batch == NULL) {
        batch = g_new0(Batch, 1);
        batch->listen = (MessageListen){
            .type = MESSAGE_LISTEN,
            .publication = published->id,
            .protocol = (uint32_t)slot->protocol,
            .host_port = port,
            .guest_port = guest_port,
            .guest_range = guest_range,
            .both_families = slot->both_families,
            .max = map->max,
            .source = (uint32_t)publisher_source(publisher, map),
            .idle_s = map->idle_s,
            .guest_addr = map->guest_addr,
        };
        g_queue_push_tail(&publisher->batches, batch);
    }
    return batch;
}

static void publisher_take(Publisher *publisher, PublishedMap *published, size_t slot,
                           uint16_t port, uint16_t guest_port, int take_fd)
{
    Batch *batch =
        publisher_batch(publisher, published, &published->slots[slot].slot, port, guest_port);

    batch->fds[batch->count++] = take_fd;
    batch->listen.count = (uint16_t)batch->count;
    g_array_append_val(published->slots[slot].ports, port);
    published->bound++;
}

/*
 * Binds all sockets of one host port, or none (weak: what goes). @port 0: the kernel picks for the first, the others follow.
 * Returns 0, or the errno with *ret_slot the socket it happened to.
 */
static int publisher_bind_port(Publisher *publisher, PublishedMap *published, uint16_t port,
                               uint16_t guest_port, size_t *ret_slot)
{
    int fds[BIND_SLOTS_MAX] = {-1, -1, -1, -1};
    int failed = 0;

    for (size_t i = 0; i < published->slot_count && failed == 0; i++) {
        const BindSlot *slot = &published->slots[i].slot;

        fds[i] = bindport_open(published->map, slot, port);
        if (fds[i] >= 0) {
            port = port != 0 ? port : bindport_port(fds[i]);
        } else if (!publisher_family_missing(slot, -fds[i]) && !published->map->weak) {
            failed = -fds[i];
            *ret_slot = i;
        } else if (published->map->weak) {
            published->weak_errno = -fds[i];
            *ret_slot = i;
        }
    }
    for (size_t i = 0; i < published->slot_count; i++) {
        if (fds[i] >= 0 && failed == 0) {
            publisher_take(publisher, published, i, port, guest_port, fds[i]);
        } else {
            fd_close(fds[i]);
        }
    }
    return failed;
}

static void publisher_bind_kernel(Publisher *publisher, PublishedMap *published)
{
    for (uint32_t guest = published->map->guest_ports.first;
         guest <= published->map->guest_ports.last; guest++) {
        size_t slot = 0;
        int failed = EADDRINUSE;

        for (unsigned tries = 0; failed == EADDRINUSE && tries < PUBLISHER_KERNEL_TRIES; tries++) {
            failed = publisher_bind_port(publisher, published, 0, (uint16_t)guest, &slot);
        }
        if (failed != 0) {
            publisher_fail(publisher, published, &published->slots[slot].slot, 0, failed);
            return;
        }
    }
    if (published->bound == 0) {
        publisher_fail(publisher, published, &published->slots[0].slot, 0, published->weak_errno);
    }
}

static void publisher_bind_first_free(Publisher *publisher, PublishedMap *published)
{
    const PortMap *map = published->map;
    size_t slot = 0;
    uint16_t tried = map->host_ports.first;
    int failed = EADDRINUSE;

    for (uint32_t port = map->host_ports.first; port <= map->host_ports.last; port++) {
        if (!portmap_has_host_port(map, (uint16_t)port)) {
            continue;
        }
        tried = (uint16_t)port;
        failed = publisher_bind_port(publisher, published, (uint16_t)port, map->guest_ports.first,
                                     &slot);
        failed = failed == 0 && published->bound == 0 ? published->weak_errno : failed;
        if (failed == 0) {
            return;
        }
        if (failed != EADDRINUSE && failed != EACCES) {
            break;
        }
    }
    publisher_fail(publisher, published, &published->slots[slot].slot, tried, failed);
}

/* Binds on until batches enough wait; true when the range is through. */
static bool publisher_bind_range(Publisher *publisher, PublishedMap *published)
{
    const PortMap *map = published->map;
    bool guest_range = map->guest_ports.first != map->guest_ports.last;
    uint32_t port = MAX(publisher->next_port, map->host_ports.first);
    size_t slot = 0;

    for (; port <= map->host_ports.last; port++) {
        uint16_t guest =
            (uint16_t)(map->guest_ports.first + (guest_range ? port - map->host_ports.first : 0));
        int failed;

        if (!portmap_has_host_port(map, (uint16_t)port)) {
            continue;
        }
        if (g_queue_get_length(&publisher->batches) > PUBLISHER_WINDOW) {
            publisher->next_port = port;
            return false;
        }
        failed = publisher_bind_port(publisher, published, (uint16_t)port, guest, &slot);
        if (failed != 0) {
            publisher_fail(publisher, published, &published->slots[slot].slot, (uint16_t)port,
                           failed);
            break;
        }
    }
    if (published->bound == 0 && !published->failed) {
        publisher_fail(publisher, published, &published->slots[slot].slot, map->host_ports.first,
                       published->weak_errno);
    }
    publisher->next_port = 0;
    return true;
}

static void publisher_bind_some(Publisher *publisher)
{
    while (publisher->next_map < publisher->maps->len &&
           g_queue_get_length(&publisher->batches) <= PUBLISHER_WINDOW) {
        PublishedMap *published = g_ptr_array_index(publisher->maps, publisher->next_map);
        bool through = true;

        if (published->map->ports_kind == PORTMAP_PORTS_KERNEL) {
            publisher_bind_kernel(publisher, published);
        } else if (published->map->first_free) {
            publisher_bind_first_free(publisher, published);
        } else {
            through = publisher_bind_range(publisher, published);
        }
        publisher->next_map += through;
    }
}

/* False if the connection takes no more for now. */
static bool publisher_send_some(Publisher *publisher)
{
    while (publisher->unanswered < PUBLISHER_WINDOW && !g_queue_is_empty(&publisher->batches)) {
        Batch *batch = g_queue_pop_head(&publisher->batches);
        int failed = publisher->failed
                         ? 0
                         : message_send(publisher->sock, &batch->listen, batch->fds, batch->count);

        if (failed == 0 && !publisher->failed) {
            publisher->unanswered++;
        } else if (failed == -EAGAIN || failed == -ETOOMANYREFS) {
            /* The next answer makes room. */
            g_queue_push_head(&publisher->batches, batch);
            if (publisher->unanswered > 0) {
                return false;
            }
            batch = g_queue_pop_head(&publisher->batches);
        }
        if (failed != 0) {
            g_autoptr(GError) error = fault_new(
                FAULT_PUBLISH, -failed, "handing published ports over: %s", g_strerror(-failed));

            publisher->failed = true;
            report_error(publisher->report, error, NULL);
        }
        batch_free(batch);
    }
    return publisher->unanswered < PUBLISHER_WINDOW;
}

static void publisher_go_on(Publisher *publisher)
{
    do {
        publisher_bind_some(publisher);
    } while (publisher_send_some(publisher) && publisher->next_map < publisher->maps->len);
    if (!publisher->finished && publisher->unanswered == 0 &&
        g_queue_is_empty(&publisher->batches)) {
        publisher->finished = true;
        publisher->done(publisher->user_data);
    }
}

static void publisher_ignore(void *user_data)
{
    (void)user_data;
}

void publisher_start(Publisher *publisher)
{
    publisher_go_on(publisher);
}

void publisher_try(const GPtrArray *maps, const GuestSettings *guest, Report *report)
{
    g_autoptr(Publisher) publisher = publisher_new(maps, guest, -1, report, publisher_ignore, NULL);

    publisher->failed = true; /* so nothing is sent: each batch is closed again */
    publisher_start(publisher);
}

void publisher_answer(Publisher *publisher, const MessageListening *answer)
{
    if (publisher->unanswered == 0) {
        return;
    }
    publisher->unanswered--;
    if (answer->errnum != 0 && answer->publication < publisher->maps->len) {
        const PublishedMap *published = g_ptr_array_index(publisher->maps, answer->publication);
        g_autoptr(GError) error =
            fault_new(FAULT_PUBLISH, answer->errnum, "--publish %s: the listeners do not fit: %s%s",
                      published->map->text, g_strerror(answer->errnum),
                      answer->errnum == EMFILE ? " (RLIMIT_NOFILE)" : "");

        publisher->failed = true;
        report_error(publisher->report, error, NULL);
    }
    publisher_go_on(publisher);
}

bool publisher_finished(const Publisher *publisher)
{
    return publisher->finished;
}

bool publisher_failed(const Publisher *publisher)
{
    return publisher->failed;
}

static const char *publisher_exposure(const PortMap *map, const NetAddr *addr)
{
    if (netaddr_is_loopback(addr)) {
        return "loopback";
    }
    return netaddr_is_any(addr) && map->ifname[0] == '\0' ? "all" : "interface";
}

/* Without the fast path's routing inside makes sockets of the guest's own address. A loopback listener has loopback clients, whose
 * address means the guest itself there. */
static const char *publisher_source_word(const Publisher *publisher, const PortMap *map,
                                         const NetAddr *addr)
{
    static const char *const words[] = {[MESSAGE_SOURCE_GUEST] = "guest",
                                        [MESSAGE_SOURCE_GATEWAY] = "gateway",
                                        [MESSAGE_SOURCE_CLIENT] = "client"};
    MessageSource source = publisher_source(publisher, map);

    if (!publisher->shows_source) {
        return "guest";
    }
    return words[source == MESSAGE_SOURCE_CLIENT && netaddr_is_loopback(addr)
                     ? MESSAGE_SOURCE_GATEWAY
                     : source];
}

static void publisher_record(const Publisher *publisher, const PublishedMap *published,
                             const BindSlot *slot, const NetAddr *addr, const char *ports)
{
    const PortMap *map = published->map;
    g_autofree char *guest_ports =
        map->guest_ports.first == map->guest_ports.last
            ? g_strdup_printf("%u", map->guest_ports.first)
            : g_strdup_printf("%u-%u", map->guest_ports.first, map->guest_ports.last);
    g_autofree char *spec = report_cut(map->text);
    char text[NETADDR_STRLEN];
    json_t *body = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "spec", spec, "protocol",
                             bindport_protocol_name(slot->protocol), "family",
                             addr->family == AF_INET ? "ipv4" : "ipv6", "host_addr",
                             netaddr_format(addr, text), "host_ports", ports, "guest_ports",
                             guest_ports, "exposure", publisher_exposure(map, addr), "source",
                             publisher_source_word(publisher, map, addr));

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
    report_event(publisher->report, SALLYPORT_EVENT_PUBLISHED, body);
}

/* Ports as "first-last" runs, a record for each PUBLISHER_RUNS_MAX of them. */
static void publisher_report_slot(const Publisher *publisher, const PublishedMap *published,
                                  const PublishedSlot *bound, const NetAddr *addr)
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
        if (runs == PUBLISHER_RUNS_MAX && i < bound->ports->len) {
            publisher_record(publisher, published, &bound->slot, addr, text->str);
            g_string_truncate(text, 0);
            runs = 0;
        }
    }
    if (text->len > 0) {
        publisher_record(publisher, published, &bound->slot, addr, text->str);
    }
}

unsigned publisher_report(Publisher *publisher, bool shows_source)
{
    publisher->shows_source = shows_source;
    for (guint i = 0; i < publisher->maps->len; i++) {
        const PublishedMap *published = g_ptr_array_index(publisher->maps, i);

        for (size_t s = 0; s < published->slot_count; s++) {
            const PublishedSlot *bound = &published->slots[s];

            if (bound->slot.both_families) {
                NetAddr any4 = netaddr_any(AF_INET);

                publisher_report_slot(publisher, published, bound, &any4);
            }
            publisher_report_slot(publisher, published, bound, &bound->slot.addr);
        }
    }
    return publisher->maps->len;
}
