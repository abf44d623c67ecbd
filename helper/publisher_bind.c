/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * publisher_bind.c - the sockets of one port map, in order
 *
 * Does:     decides which ports are bound in which order, all or nothing but for weak maps; puts the sockets into letters for the
 *           datapath.
 * Runs in:  the supervisor.
 * Limits:   of one map, it stops when PUBLISHER_WINDOW letters wait, and goes on later.
 * Not here: one bind (bindport.c); sending, and what follows from a failure (publisher.c).
 */
#include "config.h"

#include "publisher_private.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "bindport.h"
#include "fd.h"
#include "portmap.h"

/* How often a port that the kernel picked for one socket is tried for its brothers before it is given up. */
#define PUBLISHER_KERNEL_TRIES 32

static void publisher_fail_bind(Publisher *publisher, Job *job, const BindSlot *slot, uint16_t port,
                                int errnum)
{
    const PortMap *map = job->published.map;
    g_autofree char *spec = report_cut(map->text);
    char addr[NETADDR_STRLEN];

    publisher_fail(publisher, job, bindport_fault(map, slot, port, errnum),
                   json_pack("{s:s,s:s,s:s,s:i}", "spec", spec, "protocol",
                             bindport_protocol_name(slot->protocol), "host_addr",
                             netaddr_format(&slot->addr, addr), "host_port", (int)port));
}

/* The host may do without IPv6; a wildcard that never named it does too. */
static bool publisher_family_missing(const BindSlot *slot, int errnum)
{
    return slot->optional && (errnum == EAFNOSUPPORT || errnum == EADDRNOTAVAIL);
}

/* The letter that @port of @slot goes into: the last one if it continues that, else a new one. */
static Letter *publisher_letter(Publisher *publisher, Job *job, const BindSlot *slot, uint16_t port,
                                uint16_t guest_port)
{
    const PortMap *map = job->published.map;
    bool guest_range = map->guest_ports.first != map->guest_ports.last;
    Letter *letter = NULL;

    for (GList *link = publisher->letters.tail; link != NULL && letter == NULL; link = link->prev) {
        Letter *other = link->data;

        if (other->job == job && other->message.listen.protocol == (uint32_t)slot->protocol &&
            other->count < MESSAGE_FDS_MAX &&
            other->message.listen.host_port + other->count == port &&
            other->message.listen.guest_port + (guest_range ? other->count : 0) == guest_port) {
            letter = other;
        }
    }
    if (letter == NULL) {
        letter = g_new0(Letter, 1);
        letter->job = job;
        job->waiting++;
        letter->message.listen = (MessageListen){
            .type = MESSAGE_LISTEN,
            .publication = job->published.id,
            .protocol = (uint32_t)slot->protocol,
            .host_port = port,
            .guest_port = guest_port,
            .guest_range = guest_range,
            .both_families = slot->both_families,
            .max = map->max,
            .source = (uint32_t)published_source(map, publisher->guest),
            .idle_s = map->idle_s,
            .guest_addr = map->guest_addr,
        };
        g_queue_push_tail(&publisher->letters, letter);
    }
    return letter;
}

static void publisher_take(Publisher *publisher, Job *job, size_t slot, uint16_t port,
                           uint16_t guest_port, int take_fd)
{
    Letter *letter =
        publisher_letter(publisher, job, &job->published.slots[slot].slot, port, guest_port);

    letter->fds[letter->count++] = take_fd;
    letter->message.listen.count = (uint16_t)letter->count;
    g_array_append_val(job->published.slots[slot].ports, port);
    job->published.bound++;
}

/*
 * Binds all sockets of one host port, or none (weak: what goes). @port 0: the kernel picks for the first, the others follow.
 * Returns 0, or the errno with *ret_slot the socket it happened to.
 */
static int publisher_bind_port(Publisher *publisher, Job *job, uint16_t port, uint16_t guest_port,
                               size_t *ret_slot)
{
    int fds[BIND_SLOTS_MAX] = {-1, -1, -1, -1};
    int failed = 0;

    for (size_t i = 0; i < job->published.slot_count && failed == 0; i++) {
        const BindSlot *slot = &job->published.slots[i].slot;

        fds[i] = bindport_open(job->published.map, slot, port);
        if (fds[i] >= 0) {
            port = port != 0 ? port : bindport_port(fds[i]);
        } else if (!publisher_family_missing(slot, -fds[i]) && !job->published.map->weak) {
            failed = -fds[i];
            *ret_slot = i;
        } else if (job->published.map->weak) {
            job->published.weak_errno = -fds[i];
            *ret_slot = i;
        }
    }
    for (size_t i = 0; i < job->published.slot_count; i++) {
        if (fds[i] >= 0 && failed == 0) {
            publisher_take(publisher, job, i, port, guest_port, fds[i]);
        } else {
            fd_close(fds[i]);
        }
    }
    return failed;
}

/* Binds on until letters enough wait (no two of these ports share one); true when the guest's ports are through. */
static bool publisher_bind_kernel(Publisher *publisher, Job *job)
{
    const PortMap *map = job->published.map;
    uint32_t guest = MAX(publisher->next_port, map->guest_ports.first);
    size_t slot = 0;

    for (; guest <= map->guest_ports.last; guest++) {
        int failed = EADDRINUSE;

        if (g_queue_get_length(&publisher->letters) > PUBLISHER_WINDOW) {
            publisher->next_port = guest;
            return false;
        }
        for (unsigned tries = 0; failed == EADDRINUSE && tries < PUBLISHER_KERNEL_TRIES; tries++) {
            failed = publisher_bind_port(publisher, job, 0, (uint16_t)guest, &slot);
        }
        if (failed != 0) {
            publisher_fail_bind(publisher, job, &job->published.slots[slot].slot, 0, failed);
            break;
        }
    }
    if (job->published.bound == 0 && !job->published.failed) {
        publisher_fail_bind(publisher, job, &job->published.slots[0].slot, 0,
                            job->published.weak_errno);
    }
    publisher->next_port = 0;
    return true;
}

static void publisher_bind_first_free(Publisher *publisher, Job *job)
{
    const PortMap *map = job->published.map;
    size_t slot = 0;
    uint16_t tried = map->host_ports.first;
    int failed = EADDRINUSE;

    for (uint32_t port = map->host_ports.first; port <= map->host_ports.last; port++) {
        if (!portmap_has_host_port(map, (uint16_t)port)) {
            continue;
        }
        tried = (uint16_t)port;
        failed = publisher_bind_port(publisher, job, (uint16_t)port, map->guest_ports.first, &slot);
        failed = failed == 0 && job->published.bound == 0 ? job->published.weak_errno : failed;
        if (failed == 0) {
            return;
        }
        if (failed != EADDRINUSE && failed != EACCES) {
            break;
        }
    }
    publisher_fail_bind(publisher, job, &job->published.slots[slot].slot, tried, failed);
}

/* Binds on until batches enough wait; true when the range is through. */
static bool publisher_bind_range(Publisher *publisher, Job *job)
{
    const PortMap *map = job->published.map;
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
        if (g_queue_get_length(&publisher->letters) > PUBLISHER_WINDOW) {
            publisher->next_port = port;
            return false;
        }
        failed = publisher_bind_port(publisher, job, (uint16_t)port, guest, &slot);
        if (failed != 0) {
            publisher_fail_bind(publisher, job, &job->published.slots[slot].slot, (uint16_t)port,
                                failed);
            break;
        }
    }
    if (job->published.bound == 0 && !job->published.failed) {
        publisher_fail_bind(publisher, job, &job->published.slots[slot].slot, map->host_ports.first,
                            job->published.weak_errno);
    }
    publisher->next_port = 0;
    return true;
}

bool publisher_bind(Publisher *publisher, Job *job)
{
    /* What the datapath has refused meanwhile: the rest would be bound for nothing. */
    if (job->published.failed) {
        publisher->next_port = 0;
        return true;
    }
    if (job->published.map->ports_kind == PORTMAP_PORTS_KERNEL) {
        return publisher_bind_kernel(publisher, job);
    }
    if (job->published.map->first_free) {
        publisher_bind_first_free(publisher, job);
        return true;
    }
    return publisher_bind_range(publisher, job);
}
