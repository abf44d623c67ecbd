/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_DNSFIXTURE_H
#define SALLYPORT_TESTS_DNSFIXTURE_H

/* Shared by test_dns.c and test_dns_tcp.c: one context on which the Dns and its fake servers run. */

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <glib.h>

#include "../../helper/datapath/dns.h"
#include "../../helper/datapath/frame.h"
#include "../../helper/datapath/poller.h"
#include "../../helper/netaddr.h"

typedef struct Fixture {
    GMainContext *context;
    Poller *poller;
    Dns *dns;
    GPtrArray *frames; /* GBytes */
    uint16_t port;     /* of all fake servers; 0 before the first */
    bool own_peer;
    unsigned peers_asked;
} Fixture;

static inline gboolean fixture_late(gpointer user_data)
{
    *(bool *)user_data = true;
    return G_SOURCE_REMOVE;
}

static inline GSource *fixture_alarm(Fixture *fix, unsigned after_ms, bool *late)
{
    GSource *source = g_timeout_source_new(after_ms);

    *late = false;
    g_source_set_callback(source, fixture_late, late, NULL);
    g_source_attach(source, fix->context);
    return source;
}

static inline void fixture_alarm_off(GSource *source)
{
    g_source_destroy(source);
    g_source_unref(source);
}

/* Runs the context until @condition holds; a watchdog ends a test that waits in vain. */
#define AWAIT(fix, condition)                                                                      \
    do {                                                                                           \
        bool late_;                                                                                \
        GSource *alarm_ = fixture_alarm((fix), 20000, &late_);                                     \
        while (!late_ && !(condition)) {                                                           \
            (void)g_main_context_iteration((fix)->context, TRUE);                                  \
        }                                                                                          \
        fixture_alarm_off(alarm_);                                                                 \
        cr_assert(!late_, "waited in vain: %s", #condition);                                       \
    } while (0)

static inline void fixture_drain(Fixture *fix)
{
    while (g_main_context_iteration(fix->context, FALSE)) {
    }
}

/* Is there no timer on the context, and nothing to do? */
static inline bool fixture_is_asleep(Fixture *fix)
{
    GPollFD fds[8];
    gint timeout_ms = 0;
    gint priority = 0;

    fixture_drain(fix);
    cr_assert(g_main_context_acquire(fix->context));
    (void)g_main_context_prepare(fix->context, &priority);
    (void)g_main_context_query(fix->context, G_MAXINT, &timeout_ms, fds, G_N_ELEMENTS(fds));
    g_main_context_release(fix->context);
    return timeout_ms == -1;
}

static inline void fixture_send_frame(const uint8_t *frame, size_t len, void *user_data)
{
    Fixture *fix = user_data;

    g_ptr_array_add(fix->frames, g_bytes_new(frame, len));
}

static inline bool fixture_is_own_peer(const NetAddr *peer, uint16_t port, void *user_data)
{
    Fixture *fix = user_data;

    fix->peers_asked++;
    cr_expect(netaddr_is_loopback(peer));
    cr_expect_neq(port, 0);
    return fix->own_peer;
}

static inline void fixture_begin(Fixture *fix)
{
    DnsHooks hooks = {fixture_send_frame, fixture_is_own_peer, fix};

    *fix = (Fixture){.context = g_main_context_new(), .own_peer = true};
    fix->poller = poller_new(fix->context, NULL);
    cr_assert_not_null(fix->poller);
    fix->frames = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    fix->dns = dns_new(fix->poller, fix->context, &hooks);
}

static inline void fixture_end(Fixture *fix)
{
    dns_free(fix->dns);
    poller_free(fix->poller);
    g_ptr_array_unref(fix->frames);
    g_main_context_unref(fix->context);
}

static inline NetAddr addr_of(const char *text)
{
    NetAddr addr;

    cr_assert(netaddr_parse(text, &addr), "%s", text);
    return addr;
}

/* @list: addresses with blanks between them. */
static inline void fixture_use_servers(Fixture *fix, const char *list)
{
    g_auto(GStrv) parts = g_strsplit(list, " ", -1);
    NetAddr servers[DNS_SERVERS_MAX];
    size_t count = g_strv_length(parts);

    for (size_t i = 0; i < count; i++) {
        servers[i] = addr_of(parts[i]);
    }
    dns_set_servers(fix->dns, servers, count);
    dns_set_server_port(fix->dns, fix->port);
}

/* A bound socket at @address and the port of all servers. */
static inline int fixture_bind(Fixture *fix, const char *address, int type)
{
    NetAddr addr = addr_of(address);
    struct sockaddr_storage sa;
    socklen_t sa_len = netaddr_to_sockaddr(&addr, fix->port, &sa);
    int fd = socket(addr.family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sa_len), 0, "%s: %s", address, g_strerror(errno));
    sa_len = sizeof sa;
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&sa, &sa_len), 0);
    cr_assert(netaddr_from_sockaddr((struct sockaddr *)&sa, &addr, &fix->port));
    return fd;
}

/* A query for @name ("a.example"), type A, with RD and an EDNS record that allows 65,535 bytes. */
static inline size_t make_query(uint8_t *out, uint16_t id, const char *name)
{
    static const uint8_t tail[] = {0, 0, 1, 0, 1, 0, 0, 41, 0xff, 0xff, 0, 0, 0, 0, 0, 0};
    g_auto(GStrv) labels = g_strsplit(name, ".", -1);
    size_t len = DNS_HEADER_LEN;

    memset(out, 0, DNS_HEADER_LEN);
    dns_message_set_id(out, id);
    out[2] = 1;
    out[5] = 1;
    out[11] = 1;
    for (char **label = labels; *label != NULL; label++) {
        out[len++] = (uint8_t)strlen(*label);
        memcpy(out + len, *label, strlen(*label));
        len += strlen(*label);
    }
    memcpy(out + len, tail, sizeof tail);
    return len + sizeof tail;
}

/* The reply to @query: the query itself, made a reply, then @extra bytes of @mark. */
static inline size_t make_reply(uint8_t *out, const uint8_t *query, size_t len, unsigned rcode,
                                uint8_t mark, size_t extra)
{
    memcpy(out, query, len);
    out[2] |= 0x80;
    out[3] = (uint8_t)(0x80 | rcode);
    memset(out + len, mark, extra);
    return len + extra;
}

static inline size_t count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t count = 0;

    cr_assert_not_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count;
}

static inline void allow_fds(size_t count)
{
    struct rlimit limit;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < count) {
        cr_skip_test("the hard limit of open files is too low");
    }
    limit.rlim_cur = count;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* No fd can be opened from here until allow_fds(). poll(2) wants the limit to be no less than what it polls. */
static inline void forbid_fds(void)
{
    struct rlimit limit;
    int fd;

    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 3;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while ((fd = dup(STDERR_FILENO)) >= 0) {
    }
    cr_assert_eq(errno, EMFILE);
}

#endif
