/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * flow.c - the table that everything with a tuple and an age shares
 *
 * Does:     hash lookup by key; idle timeouts; a cap with eviction of the flow that was idle longest.
 * Runs in:  the datapath, on the loop thread.
 * Trusts:   keys not at all: clients and guests choose them, so the hash is keyed with a random secret.
 * Owns:     nothing of a flow but its place in the lists.
 * Cost:     touching a flow moves it to the end of its class's list: no timer is set, nothing is searched. A class is
 *           all flows with the same timeout, in order of their last use, so its first is the next to go.
 */
#include "config.h"

#include "flow.h"

#include <string.h>
#include <sys/random.h>

#include "poller.h"

struct FlowClass {
    int64_t idle_us;
    GQueue flows;
};

struct FlowTable {
    GHashTable *by_key;
    GPtrArray *classes; /* FlowClass; as many as there are different timeouts in use */
    GPtrArray *places;  /* Flow, or NULL */
    GArray *vacant;     /* uint32_t: those that are NULL */
    Timer *timer;
    bool armed;
    unsigned max;
    uint64_t evicted;
    FlowEndFunc ended;
    FlowSeenFunc seen; /* NULL: flow_touch() says all */
    void *user_data;
};

static uint64_t flow_secret(void)
{
    static uint64_t secret;

    /* One secret a process, drawn at first use, never changed: no state of any one table. */
    while (secret == 0) {
        if (getrandom(&secret, sizeof(secret), 0) != sizeof(secret)) {
            secret = (uint64_t)g_get_monotonic_time() | 1;
        }
    }
    return secret;
}

static guint flow_key_hash(gconstpointer data)
{
    uint64_t words[sizeof(FlowKey) / sizeof(uint64_t)];
    uint64_t hash = flow_secret();

    G_STATIC_ASSERT(sizeof(FlowKey) % sizeof(uint64_t) == 0);
    memcpy(words, data, sizeof(words));
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ULL;
        hash ^= hash >> 29;
    }
    return (guint)(hash ^ hash >> 32);
}

static gboolean flow_key_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(FlowKey)) == 0;
}

FlowKey flow_key(const NetAddr *remote, uint16_t remote_port, const NetAddr *local,
                 uint16_t local_port, uint32_t owner)
{
    FlowKey key;

    memset(&key, 0,
           sizeof(key)); /* padding is hashed and compared, so members are copied one by one */
    key.remote.family = remote->family;
    key.remote.scope_id = remote->scope_id;
    key.local.family = local->family;
    if (remote->family == AF_INET) {
        key.remote.v4 = remote->v4;
    } else {
        key.remote.v6 = remote->v6;
    }
    if (local->family == AF_INET) {
        key.local.v4 = local->v4;
    } else {
        key.local.v6 = local->v6;
    }
    key.remote_port = remote_port;
    key.local_port = local_port;
    key.owner = owner;
    return key;
}

static void flow_arm(FlowTable *table)
{
    int64_t next = -1;

    for (guint i = 0; i < table->classes->len; i++) {
        FlowClass *class = g_ptr_array_index(table->classes, i);
        const Flow *first = g_queue_peek_head(&class->flows);

        if (first != NULL && class->idle_us > 0 &&
            (next < 0 || first->last_us + class->idle_us < next)) {
            next = first->last_us + class->idle_us;
        }
    }
    table->armed = next >= 0;
    timer_set(table->timer, next);
}

static void flow_end(FlowTable *table, Flow *flow, FlowEnd why)
{
    flow_table_remove(table, flow);
    table->ended(flow, why, table->user_data);
}

/* Was it used, unseen by flow_touch()? Then it goes to its place in the order of last use. */
static bool flow_was_used(FlowTable *table, Flow *flow)
{
    GQueue *flows = &flow->class->flows;
    int64_t seen = table->seen != NULL ? table->seen(flow) : flow->last_us;
    GList *before = g_queue_peek_tail_link(flows);

    if (seen <= flow->last_us) {
        return false;
    }
    flow->last_us = seen;
    while (before != NULL && before != &flow->link &&
           ((const Flow *)before->data)->last_us > seen) {
        before = before->prev;
    }
    if (before != NULL && before != &flow->link) {
        g_queue_unlink(flows, &flow->link);
        g_queue_insert_after_link(flows, before, &flow->link);
    }
    return true;
}

static void flow_expire(void *user_data)
{
    FlowTable *table = user_data;
    int64_t now = g_get_monotonic_time();

    for (guint i = 0; i < table->classes->len; i++) {
        FlowClass *class = g_ptr_array_index(table->classes, i);
        Flow *first;

        while (class->idle_us > 0 && (first = g_queue_peek_head(&class->flows)) != NULL &&
               first->last_us + class->idle_us <= now) {
            if (!flow_was_used(table, first)) {
                flow_end(table, first, FLOW_END_IDLE);
            }
        }
    }
    flow_arm(table);
}

FlowTable *flow_table_new(GMainContext *context, unsigned max, FlowEndFunc ended, void *user_data)
{
    FlowTable *table = g_new0(FlowTable, 1);

    table->by_key = g_hash_table_new(flow_key_hash, flow_key_equal);
    table->classes = g_ptr_array_new_with_free_func(g_free);
    table->places = g_ptr_array_new();
    table->vacant = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    table->timer = timer_new(context, flow_expire, table);
    table->max = max;
    table->ended = ended;
    table->user_data = user_data;
    return table;
}

void flow_table_free(FlowTable *table)
{
    if (table == NULL) {
        return;
    }
    for (guint i = 0; i < table->classes->len; i++) {
        FlowClass *class = g_ptr_array_index(table->classes, i);

        while (!g_queue_is_empty(&class->flows)) {
            flow_end(table, g_queue_peek_head(&class->flows), FLOW_END_TABLE);
        }
    }
    g_hash_table_unref(table->by_key);
    g_ptr_array_unref(table->classes);
    g_ptr_array_unref(table->places);
    g_array_unref(table->vacant);
    timer_free(table->timer);
    g_free(table);
}

Flow *flow_table_lookup(const FlowTable *table, const FlowKey *key)
{
    return g_hash_table_lookup(table->by_key, key);
}

static FlowClass *flow_class(FlowTable *table, int64_t idle_us)
{
    FlowClass *class;

    for (guint i = 0; i < table->classes->len; i++) {
        class = g_ptr_array_index(table->classes, i);
        if (class->idle_us == idle_us) {
            return class;
        }
    }
    class = g_new0(FlowClass, 1);
    class->idle_us = idle_us;
    g_queue_init(&class->flows);
    g_ptr_array_add(table->classes, class);
    return class;
}

static void flow_enter_class(FlowTable *table, Flow *flow, int64_t idle_us)
{
    flow->class = flow_class(table, idle_us);
    flow->link.data = flow;
    g_queue_push_tail_link(&flow->class->flows, &flow->link);
    /* A flow of a shorter timeout than all others may be the next to go. */
    if (idle_us > 0 && (!table->armed || g_queue_get_length(&flow->class->flows) == 1)) {
        flow_arm(table);
    }
}

static void flow_evict(FlowTable *table)
{
    Flow *oldest = NULL;

    for (guint i = 0; i < table->classes->len; i++) {
        FlowClass *class = g_ptr_array_index(table->classes, i);
        Flow *first = g_queue_peek_head(&class->flows);

        if (first != NULL && (oldest == NULL || first->last_us < oldest->last_us)) {
            oldest = first;
        }
    }
    if (oldest != NULL) {
        table->evicted++;
        flow_end(table, oldest, FLOW_END_EVICTED);
    }
}

static void flow_take_place(FlowTable *table, Flow *flow)
{
    guint vacant = table->vacant->len;

    if (vacant == 0) {
        flow->place = table->places->len;
        g_ptr_array_add(table->places, flow);
        return;
    }
    flow->place = g_array_index(table->vacant, uint32_t, vacant - 1);
    g_array_set_size(table->vacant, vacant - 1);
    g_ptr_array_index(table->places, flow->place) = flow;
}

static void flow_leave_place(FlowTable *table, const Flow *flow)
{
    g_ptr_array_index(table->places, flow->place) = NULL;
    g_array_append_val(table->vacant, flow->place);
    if (table->vacant->len == table->places->len) {
        /* What a burst took is given back when the last of it has gone. */
        g_array_set_size(table->vacant, 0);
        g_ptr_array_set_size(table->places, 0);
    }
}

void flow_table_insert(FlowTable *table, Flow *flow, int64_t idle_us)
{
    g_return_if_fail(flow->class == NULL);
    if (g_hash_table_size(table->by_key) >= table->max) {
        flow_evict(table);
    }
    flow->born_us = g_get_monotonic_time();
    flow->last_us = flow->born_us;
    g_hash_table_insert(table->by_key, &flow->key, flow);
    flow_take_place(table, flow);
    flow_enter_class(table, flow, idle_us);
}

void flow_table_remove(FlowTable *table, Flow *flow)
{
    g_return_if_fail(flow->class != NULL);
    g_hash_table_remove(table->by_key, &flow->key);
    flow_leave_place(table, flow);
    g_queue_unlink(&flow->class->flows, &flow->link);
    if (g_queue_is_empty(&flow->class->flows)) {
        flow_arm(table); /* maybe nothing is left to wait for: an idle process is not woken */
    }
    flow->class = NULL;
}

void flow_touch(FlowTable *table, Flow *flow)
{
    (void)table;
    flow->last_us = g_get_monotonic_time();
    g_queue_unlink(&flow->class->flows, &flow->link);
    g_queue_push_tail_link(&flow->class->flows, &flow->link);
}

void flow_set_idle(FlowTable *table, Flow *flow, int64_t idle_us)
{
    if (flow->class->idle_us == idle_us) {
        return;
    }
    g_queue_unlink(&flow->class->flows, &flow->link);
    if (g_queue_is_empty(&flow->class->flows)) {
        flow_arm(table);
    }
    /* The order by last use within the class must hold. */
    flow->last_us = g_get_monotonic_time();
    flow_enter_class(table, flow, idle_us);
}

void flow_table_set_seen(FlowTable *table, FlowSeenFunc seen)
{
    table->seen = seen;
}

void flow_table_each(const FlowTable *table, void (*func)(Flow *flow, void *user_data),
                     void *user_data)
{
    for (guint i = 0; i < table->classes->len; i++) {
        const FlowClass *class = g_ptr_array_index(table->classes, i);

        for (const GList *link = class->flows.head; link != NULL; link = link->next) {
            func(link->data, user_data);
        }
    }
}

uint32_t flow_table_places(const FlowTable *table)
{
    return table->places->len;
}

uint32_t flow_table_page(const FlowTable *table, uint32_t place, unsigned places, FlowPageFunc func,
                         void *user_data)
{
    for (; place < table->places->len && places > 0; place++, places--) {
        Flow *flow = g_ptr_array_index(table->places, place);

        if (flow != NULL && !func(flow, user_data)) {
            return place;
        }
    }
    return place < table->places->len ? place : FLOW_PLACE_END;
}

unsigned flow_table_count(const FlowTable *table)
{
    return g_hash_table_size(table->by_key);
}

uint64_t flow_table_evicted(const FlowTable *table)
{
    return table->evicted;
}
