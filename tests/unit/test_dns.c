/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_dns.c - UDP queries to the virtual name server: forwarding and failover
 *
 * Does:     sends frames into a Dns and lets fake servers on the loopback interface answer them. connect() is our own
 *           here: it reports unreachable networks on demand and sends a link-local address to ::1.
 * Not here: what is not answered (test_dns_limits.c), TCP (test_dns_tcp.c).
 */
#include "config.h"

#include "dnsudpfixture.h"

#include <errno.h>
#include <net/if.h>
#include <sys/syscall.h>

static const char *unreachable; /* connect() to this address fails with ENETUNREACH */
static uint32_t scope_seen;

int connect(int fd, __CONST_SOCKADDR_ARG arg, socklen_t len)
{
    const struct sockaddr *sa = arg.__sockaddr__;
    struct sockaddr_in6 sa6;
    NetAddr addr;

    if (netaddr_from_sockaddr(sa, &addr, NULL)) {
        char text[NETADDR_STRLEN];

        if (unreachable != NULL && strcmp(netaddr_format(&addr, text), unreachable) == 0) {
            errno = ENETUNREACH;
            return -1;
        }
        if (addr.family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&addr.v6)) {
            memcpy(&sa6, sa, sizeof sa6);
            scope_seen = sa6.sin6_scope_id;
            sa6.sin6_scope_id = 0;
            sa6.sin6_addr = in6addr_loopback;
            return (int)syscall(SYS_connect, fd, &sa6, sizeof sa6);
        }
    }
    return (int)syscall(SYS_connect, fd, sa, len);
}

Test(dns, query_comes_back_with_the_guests_id_and_all_else_unchanged)
{
    Fixture fix;
    Server server;
    uint8_t query[512];
    uint8_t want[600];
    size_t query_len = make_query(query, QUERY_ID, "www.example");
    size_t want_len = make_reply(want, query, query_len, 0, 'a', MARK_LEN);
    g_autofree uint8_t *msg = NULL;
    size_t len;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    fixture_use_servers(&fix, "127.0.0.1");
    ask_raw(&fix, AF_INET, GUEST_PORT, query, query_len);
    AWAIT(&fix, fix.frames->len == 1);
    cr_assert_eq(server.last_len, query_len);
    cr_assert_arr_eq(server.last + 2, query + 2, query_len - 2);
    msg = answer(&fix, 0, AF_INET, GUEST_PORT, &len);
    cr_assert_eq(len, want_len);
    cr_assert_arr_eq(msg, want, len);
    cr_assert(fixture_is_asleep(&fix));
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns, query_over_ipv6_reaches_an_ipv6_server)
{
    Fixture fix;
    Server server;
    uint8_t query[512];
    size_t len;
    g_autofree uint8_t *msg = NULL;

    fixture_begin(&fix);
    server_start(&server, &fix, "::1", 'a');
    fixture_use_servers(&fix, "::1");
    ask_raw(&fix, AF_INET6, GUEST_PORT, query, make_query(query, QUERY_ID, "www.example"));
    AWAIT(&fix, fix.frames->len == 1);
    msg = answer(&fix, 0, AF_INET6, GUEST_PORT, &len);
    cr_assert_eq(dns_message_id(msg), QUERY_ID);
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns, scope_of_a_link_local_server_is_kept)
{
    Fixture fix;
    Server server;
    NetAddr scoped;

    fixture_begin(&fix);
    server_start(&server, &fix, "::1", 'a');
    cr_assert(netaddr_parse_scoped("fe80::1%lo", &scoped));
    dns_set_servers(fix.dns, &scoped, 1);
    dns_set_server_port(fix.dns, fix.port);
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    expect_answer(&fix, 0, 'a');
    cr_assert_eq(scope_seen, if_nametoindex("lo"));
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns, every_query_has_its_own_id_and_source_port)
{
    Fixture fix;
    Server server;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    fixture_use_servers(&fix, "127.0.0.1");
    for (guint i = 0; i < 200; i++) {
        ask(&fix, GUEST_PORT, (uint16_t)i, "www.example");
        AWAIT(&fix, fix.frames->len == i + 1);
    }
    /* Chance may repeat some: 200 of 65,536 and of the ephemeral ports. */
    cr_assert_gt(g_hash_table_size(server.ids), 190);
    cr_assert_gt(g_hash_table_size(server.ports), 180);
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns, rcodes_that_speak_of_the_server_lead_to_the_next_one_and_others_to_the_guest)
{
    static const struct {
        unsigned rcode;
        bool next;
    } rows[] = {
        {DNS_RCODE_NOERROR, false},
        {DNS_RCODE_FORMERR, false},
        {DNS_RCODE_SERVFAIL, true},
        {DNS_RCODE_NXDOMAIN, false},
        {DNS_RCODE_NOTIMP, true},
        {DNS_RCODE_REFUSED, true},
        {9, false},
    };
    Fixture fix;
    Server first;
    Server second;

    fixture_begin(&fix);
    server_start(&first, &fix, "127.0.0.1", 'a');
    server_start(&second, &fix, "127.0.0.2", 'b');
    fixture_use_servers(&fix, "127.0.0.1 127.0.0.2");
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        gint64 began = g_get_monotonic_time();

        first.rcode = rows[i].rcode;
        ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
        expect_answer(&fix, rows[i].next ? 0 : rows[i].rcode, rows[i].next ? 'b' : 'a');
        cr_expect_lt(g_get_monotonic_time() - began, 1000000, "at once");
    }
    server_stop(&first);
    server_stop(&second);
    fixture_end(&fix);
}

Test(dns, refusal_by_all_servers_is_servfail)
{
    Fixture fix;
    Server first;
    Server second;

    fixture_begin(&fix);
    server_start(&first, &fix, "127.0.0.1", 'a');
    server_start(&second, &fix, "127.0.0.2", 'b');
    first.rcode = DNS_RCODE_SERVFAIL;
    second.rcode = DNS_RCODE_REFUSED;
    fixture_use_servers(&fix, "127.0.0.1 127.0.0.2");
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    expect_answer(&fix, DNS_RCODE_SERVFAIL, 0);
    cr_assert_eq(second.queries, 1);
    cr_assert_eq(dns_dropped(fix.dns), 0);
    server_stop(&first);
    server_stop(&second);
    fixture_end(&fix);
}

Test(dns, closed_port_and_unreachable_network_lead_to_the_next_server_at_once)
{
    Fixture fix;
    Server server;
    gint64 began = g_get_monotonic_time();

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.3", 'c');
    unreachable = "127.0.0.2";
    fixture_use_servers(&fix, "127.0.0.1 127.0.0.2 127.0.0.3");
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    expect_answer(&fix, 0, 'c');
    cr_assert_lt(g_get_monotonic_time() - began, 1000000);
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns, servers_that_all_cannot_be_reached_are_servfail_at_once)
{
    Fixture fix;
    gint64 began = g_get_monotonic_time();

    fixture_begin(&fix);
    (void)close(fixture_bind(&fix, "127.0.0.1", SOCK_DGRAM));
    fixture_use_servers(&fix, "127.0.0.1 127.0.0.2");
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    expect_answer(&fix, DNS_RCODE_SERVFAIL, 0);
    cr_assert_lt(g_get_monotonic_time() - began, 1000000);
    fixture_end(&fix);
}

Test(dns, no_servers_is_servfail_at_once)
{
    Fixture fix;

    fixture_begin(&fix);
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    cr_assert_eq(fix.frames->len, 1);
    expect_answer(&fix, DNS_RCODE_SERVFAIL, 0);
    fixture_end(&fix);
}

Test(dns, silent_server_is_followed_by_the_next_after_its_time)
{
    Fixture fix;
    Server first;
    Server second;
    gint64 took;

    fixture_begin(&fix);
    server_start(&first, &fix, "127.0.0.1", 'a');
    server_start(&second, &fix, "127.0.0.2", 'b');
    first.on_query = server_silent;
    fixture_use_servers(&fix, "127.0.0.1 127.0.0.2");
    took = g_get_monotonic_time();
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    expect_answer(&fix, 0, 'b');
    took = g_get_monotonic_time() - took;
    cr_assert_geq(took, DNS_SERVER_TIMEOUT_US);
    cr_assert_lt(took, 2 * DNS_SERVER_TIMEOUT_US);
    cr_assert(fixture_is_asleep(&fix));
    server_stop(&first);
    server_stop(&second);
    fixture_end(&fix);
}

Test(dns, late_answer_of_an_earlier_server_is_taken)
{
    Fixture fix;
    Server first;
    Server second;

    fixture_begin(&fix);
    server_start(&first, &fix, "127.0.0.1", 'a');
    server_start(&second, &fix, "127.0.0.2", 'b');
    first.on_query = server_silent;
    second.on_query = server_silent;
    fixture_use_servers(&fix, "127.0.0.1 127.0.0.2");
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    AWAIT(&fix, second.queries == 1);
    server_send(&first, 0, MARK_LEN);
    expect_answer(&fix, 0, 'a');
    /* Nobody listens any more. */
    server_send(&second, 0, MARK_LEN);
    fixture_drain(&fix);
    cr_assert_eq(fix.frames->len, 0);
    server_stop(&first);
    server_stop(&second);
    fixture_end(&fix);
}

Test(dns, late_refusal_of_an_earlier_server_does_not_end_the_wait_for_the_next)
{
    Fixture fix;
    Server servers[3];

    fixture_begin(&fix);
    for (int i = 0; i < 3; i++) {
        g_autofree char *address = g_strdup_printf("127.0.0.%d", i + 1);

        server_start(&servers[i], &fix, address, (uint8_t)('a' + i));
        servers[i].on_query = server_silent;
    }
    fixture_use_servers(&fix, "127.0.0.1 127.0.0.2 127.0.0.3");
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    AWAIT(&fix, servers[1].queries == 1);
    server_send(&servers[0], DNS_RCODE_REFUSED, 0);
    fixture_drain(&fix);
    cr_assert_eq(servers[2].queries, 0);
    server_send(&servers[1], 0, MARK_LEN);
    expect_answer(&fix, 0, 'b');
    cr_assert_eq(servers[2].queries, 0);
    for (int i = 0; i < 3; i++) {
        server_stop(&servers[i]);
    }
    fixture_end(&fix);
}

Test(dns, silence_of_all_servers_is_servfail_and_the_query_is_forgotten)
{
    Fixture fix;
    Server server;
    size_t fds;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    server.on_query = server_silent;
    fixture_use_servers(&fix, "127.0.0.1");
    fds = count_fds();
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    cr_assert_eq(count_fds(), fds + 1);
    expect_answer(&fix, DNS_RCODE_SERVFAIL, 0);
    cr_assert_eq(count_fds(), fds);
    cr_assert(fixture_is_asleep(&fix));
    server.on_query = NULL;
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    expect_answer(&fix, 0, 'a');
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns, pending_query_keeps_the_list_it_began_with)
{
    Fixture fix;
    Server first;
    Server second;
    Server other;

    fixture_begin(&fix);
    server_start(&first, &fix, "127.0.0.1", 'a');
    server_start(&second, &fix, "127.0.0.2", 'b');
    server_start(&other, &fix, "127.0.0.3", 'c');
    first.on_query = server_silent;
    fixture_use_servers(&fix, "127.0.0.1 127.0.0.2");
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    AWAIT(&fix, first.queries == 1);
    fixture_use_servers(&fix, "127.0.0.3");
    server_send(&first, DNS_RCODE_SERVFAIL, 0);
    expect_answer(&fix, 0, 'b');
    cr_assert_eq(other.queries, 0);
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    expect_answer(&fix, 0, 'c');
    server_stop(&first);
    server_stop(&second);
    server_stop(&other);
    fixture_end(&fix);
}
