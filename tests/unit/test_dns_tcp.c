/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_dns_tcp.c - DNS over TCP at the virtual name server
 *
 * Does:   connects clients to a loopback listener of the Dns and lets fake servers answer. accept4() is our own here:
 *         it fails on demand and counts.
 */
#include "config.h"

#include "dnstcpfixture.h"

#include "../../helper/datapath/dns_tcp.h"

static unsigned accept_calls;
static unsigned accept_failures;

int accept4(int fd, __SOCKADDR_ARG arg, socklen_t *restrict len, int flags)
{
    accept_calls++;
    if (accept_failures > 0) {
        accept_failures--;
        errno = EMFILE;
        return -1;
    }
    return (int)syscall(SYS_accept4, fd, arg.__sockaddr__, len, flags);
}

Test(dns_tcp, query_is_answered_over_both_families_and_the_connection_stays)
{
    static const char addresses[][16] = {"127.0.0.1", "::1"};

    for (size_t i = 0; i < G_N_ELEMENTS(addresses); i++) {
        Fixture fix;
        Server server;
        Client client;

        fixture_begin(&fix);
        server_start(&server, &fix, addresses[i], 'a');
        fixture_use_servers(&fix, addresses[i]);
        client_start(&client, &fix, addresses[i], listen_at(&fix, addresses[i]));
        client_ask(&client, QUERY_ID, "www.example");
        expect_answer(&client, QUERY_ID, 0, 'a');
        client_ask(&client, 7, "ftp.example");
        expect_answer(&client, 7, 0, 'a');
        cr_assert_eq(fix.peers_asked, 1);
        cr_assert_not(client.closed);
        client_stop(&client);
        cr_assert(fixture_is_asleep(&fix));
        server_stop(&server);
        fixture_end(&fix);
    }
}

Test(dns_tcp, messages_split_at_every_byte_are_put_together)
{
    Fixture fix;
    Server server;
    Client client;
    uint8_t query[512];
    g_autoptr(GByteArray) out = g_byte_array_new();

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    server.byte_by_byte = true;
    fixture_use_servers(&fix, "127.0.0.1");
    client_start(&client, &fix, "127.0.0.1", listen_at(&fix, "127.0.0.1"));
    append_message(out, query, make_query(query, QUERY_ID, "www.example"));
    for (guint i = 0; i < out->len; i++) {
        client_send(&client, out->data + i, 1);
        fixture_drain(&fix);
    }
    expect_answer(&client, QUERY_ID, 0, 'a');
    client_stop(&client);
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_tcp, pipelined_queries_are_answered_in_order)
{
    Fixture fix;
    Server server;
    Client client;
    g_autoptr(GByteArray) out = g_byte_array_new();

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    fixture_use_servers(&fix, "127.0.0.1");
    client_start(&client, &fix, "127.0.0.1", listen_at(&fix, "127.0.0.1"));
    for (uint16_t i = 0; i < 30; i++) {
        g_autofree char *name = g_strdup_printf("host%u.example", i);
        uint8_t query[512];

        append_message(out, query, make_query(query, i, name));
    }
    client_send(&client, out->data, out->len);
    for (uint16_t i = 0; i < 30; i++) {
        expect_answer(&client, i, 0, 'a');
    }
    cr_assert_eq(server.queries, 30);
    client_stop(&client);
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_tcp, longest_messages_pass_both_ways_to_a_slow_reader)
{
    Fixture fix;
    Server server;
    Client client;
    g_autofree uint8_t *query = g_malloc0(65535);
    g_autoptr(GByteArray) out = g_byte_array_new();

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    server.extra = 0;
    fixture_use_servers(&fix, "127.0.0.1");
    client_start(&client, &fix, "127.0.0.1", listen_at(&fix, "127.0.0.1"));
    (void)make_query(query, QUERY_ID, "www.example");
    query[65534] = 'q';
    append_message(out, query, 65535);
    client_send(&client, out->data, out->len);
    expect_answer(&client, QUERY_ID, 0, 'q');
    client_stop(&client);
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_tcp, client_that_does_not_read_stops_only_itself)
{
    Fixture fix;
    Server server;
    Client deaf;
    Client other;
    uint16_t port;
    unsigned answered;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    server.extra = 60000;
    fixture_use_servers(&fix, "127.0.0.1");
    port = listen_at(&fix, "127.0.0.1");
    client_start(&deaf, &fix, "127.0.0.1", port);
    poller_modify(fix.poller, &deaf.watch, 0);
    for (uint16_t i = 0; i < 200; i++) {
        client_ask(&deaf, i, "www.example");
    }
    client_start(&other, &fix, "127.0.0.1", port);
    for (uint16_t i = 0; i < 100; i++) {
        client_ask(&other, i, "www.example");
        expect_answer(&other, i, 0, 'a');
    }
    answered = server.queries;
    cr_assert_lt(answered, 300, "no query is taken before its forerunner's answer is gone");
    client_listen_again(&deaf);
    for (uint16_t i = 0; i < 200; i++) {
        expect_answer(&deaf, i, 0, 'a');
    }
    client_stop(&deaf);
    client_stop(&other);
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_tcp, peer_that_is_no_socket_of_ours_is_closed_at_once)
{
    Fixture fix;
    Server server;
    Client client;

    fixture_begin(&fix);
    fix.own_peer = false;
    server_start(&server, &fix, "127.0.0.1", 'a');
    fixture_use_servers(&fix, "127.0.0.1");
    client_start(&client, &fix, "127.0.0.1", listen_at(&fix, "127.0.0.1"));
    client_ask(&client, QUERY_ID, "www.example");
    AWAIT(&fix, client.closed);
    cr_assert_eq(fix.peers_asked, 1);
    cr_assert_eq(client.in->len, 0);
    cr_assert_eq(server.queries, 0);
    cr_assert(fixture_is_asleep(&fix));
    client_stop(&client);
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_tcp, connection_beyond_the_limit_is_closed_until_one_ends)
{
    Fixture fix;
    Server server;
    Client clients[DNS_TCP_CONNECTIONS_MAX + 1];
    uint16_t port;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    fixture_use_servers(&fix, "127.0.0.1");
    port = listen_at(&fix, "127.0.0.1");
    for (size_t i = 0; i < G_N_ELEMENTS(clients); i++) {
        client_start(&clients[i], &fix, "127.0.0.1", port);
    }
    AWAIT(&fix, clients[DNS_TCP_CONNECTIONS_MAX].closed);
    cr_assert_eq(dns_dropped(fix.dns), 1);
    for (size_t i = 0; i < DNS_TCP_CONNECTIONS_MAX; i++) {
        client_ask(&clients[i], (uint16_t)i, "www.example");
    }
    for (size_t i = 0; i < DNS_TCP_CONNECTIONS_MAX; i++) {
        expect_answer(&clients[i], (uint16_t)i, 0, 'a');
    }
    client_stop(&clients[0]);
    fixture_drain(&fix);
    client_stop(&clients[DNS_TCP_CONNECTIONS_MAX]);
    client_start(&clients[0], &fix, "127.0.0.1", port);
    client_ask(&clients[0], QUERY_ID, "www.example");
    expect_answer(&clients[0], QUERY_ID, 0, 'a');
    for (size_t i = 0; i < DNS_TCP_CONNECTIONS_MAX; i++) {
        client_stop(&clients[i]);
    }
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_tcp, idle_connection_is_closed_after_its_time)
{
    Fixture fix;
    Client silent;
    Client halfway;
    gint64 began = g_get_monotonic_time();
    uint16_t port;

    fixture_begin(&fix);
    port = listen_at(&fix, "127.0.0.1");
    client_start(&silent, &fix, "127.0.0.1", port);
    client_start(&halfway, &fix, "127.0.0.1", port);
    client_send(&halfway, "\0\x20half", 6);
    AWAIT(&fix, silent.closed && halfway.closed);
    began = g_get_monotonic_time() - began;
    cr_assert_geq(began, DNS_TCP_IDLE_US);
    cr_assert_lt(began, DNS_TCP_IDLE_US + 2 * G_USEC_PER_SEC);
    cr_assert(fixture_is_asleep(&fix));
    client_stop(&silent);
    client_stop(&halfway);
    fixture_end(&fix);
}

Test(dns_tcp, failure_of_a_server_leads_to_the_next_at_once)
{
    static const struct {
        const char *what;
        Habit habit;
        unsigned rcode;
        bool next;
    } rows[] = {
        {"SERVFAIL", ANSWERS, DNS_RCODE_SERVFAIL, true},
        {"REFUSED", ANSWERS, DNS_RCODE_REFUSED, true},
        {"NOTIMP", ANSWERS, DNS_RCODE_NOTIMP, true},
        {"NXDOMAIN", ANSWERS, DNS_RCODE_NXDOMAIN, false},
        {"FORMERR", ANSWERS, DNS_RCODE_FORMERR, false},
        {"closes after the query", HANGS_UP, 0, true},
        {"closes inside its answer", HALF_AN_ANSWER, 0, true},
        {"answers other queries first", FORGES_FIRST, 0, false},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Fixture fix;
        Server first;
        Server second;
        Client client;
        gint64 began = g_get_monotonic_time();

        fixture_begin(&fix);
        server_start(&first, &fix, "127.0.0.1", 'a');
        server_start(&second, &fix, "127.0.0.2", 'b');
        first.habit = rows[i].habit;
        first.rcode = rows[i].rcode;
        /* Nobody listens at the first of the three. */
        fixture_use_servers(&fix, "127.0.0.9 127.0.0.1 127.0.0.2");
        client_start(&client, &fix, "127.0.0.1", listen_at(&fix, "127.0.0.1"));
        client_ask(&client, QUERY_ID, "www.example");
        expect_answer(&client, QUERY_ID, rows[i].next ? 0 : rows[i].rcode,
                      rows[i].next ? 'b' : 'a');
        cr_expect_eq(first.queries, 1, "%s", rows[i].what);
        cr_expect_eq(second.queries, rows[i].next ? 1 : 0, "%s", rows[i].what);
        cr_expect_lt(g_get_monotonic_time() - began, 2000000, "%s", rows[i].what);
        client_stop(&client);
        server_stop(&first);
        server_stop(&second);
        fixture_end(&fix);
    }
}

Test(dns_tcp, silent_server_is_followed_by_the_next_after_its_time)
{
    Fixture fix;
    Server first;
    Server second;
    Client client;
    gint64 took;

    fixture_begin(&fix);
    server_start(&first, &fix, "127.0.0.1", 'a');
    server_start(&second, &fix, "127.0.0.2", 'b');
    first.habit = SILENT;
    fixture_use_servers(&fix, "127.0.0.1 127.0.0.2");
    client_start(&client, &fix, "127.0.0.1", listen_at(&fix, "127.0.0.1"));
    took = g_get_monotonic_time();
    client_ask(&client, QUERY_ID, "www.example");
    expect_answer(&client, QUERY_ID, 0, 'b');
    took = g_get_monotonic_time() - took;
    cr_assert_geq(took, DNS_TCP_SERVER_TIMEOUT_US);
    cr_assert_lt(took, 2 * DNS_TCP_SERVER_TIMEOUT_US);
    client_stop(&client);
    server_stop(&first);
    server_stop(&second);
    fixture_end(&fix);
}

Test(dns_tcp, failure_of_all_servers_is_servfail_and_the_connection_stays)
{
    Fixture fix;
    Server server;
    Client client;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    server.rcode = DNS_RCODE_REFUSED;
    fixture_use_servers(&fix, "127.0.0.1 127.0.0.9");
    client_start(&client, &fix, "127.0.0.1", listen_at(&fix, "127.0.0.1"));
    client_ask(&client, QUERY_ID, "www.example");
    expect_answer(&client, QUERY_ID, DNS_RCODE_SERVFAIL, 0);
    dns_set_servers(fix.dns, NULL, 0);
    client_ask(&client, QUERY_ID + 1, "www.example");
    expect_answer(&client, QUERY_ID + 1, DNS_RCODE_SERVFAIL, 0);
    client_stop(&client);
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_tcp, pending_query_keeps_the_list_it_began_with)
{
    Fixture fix;
    Server first;
    Server second;
    Server other;
    Client client;

    fixture_begin(&fix);
    server_start(&first, &fix, "127.0.0.1", 'a');
    server_start(&second, &fix, "127.0.0.2", 'b');
    server_start(&other, &fix, "127.0.0.3", 'c');
    first.habit = SILENT;
    fixture_use_servers(&fix, "127.0.0.1 127.0.0.2");
    client_start(&client, &fix, "127.0.0.1", listen_at(&fix, "127.0.0.1"));
    client_ask(&client, QUERY_ID, "www.example");
    AWAIT(&fix, first.queries == 1);
    fixture_use_servers(&fix, "127.0.0.3");
    g_ptr_array_set_size(first.peers, 0); /* hangs up */
    expect_answer(&client, QUERY_ID, 0, 'b');
    client_ask(&client, QUERY_ID, "www.example");
    expect_answer(&client, QUERY_ID, 0, 'c');
    client_stop(&client);
    server_stop(&first);
    server_stop(&second);
    server_stop(&other);
    fixture_end(&fix);
}

Test(dns_tcp, half_closed_client_still_gets_its_answer)
{
    Fixture fix;
    Server server;
    Client client;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    fixture_use_servers(&fix, "127.0.0.1");
    client_start(&client, &fix, "127.0.0.1", listen_at(&fix, "127.0.0.1"));
    client_ask(&client, QUERY_ID, "www.example");
    cr_assert_eq(shutdown(client.fd, SHUT_WR), 0);
    expect_answer(&client, QUERY_ID, 0, 'a');
    AWAIT(&fix, client.closed);
    cr_assert(fixture_is_asleep(&fix));
    client_stop(&client);
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_tcp, client_that_resets_ends_the_question_to_the_server)
{
    struct linger linger = {.l_onoff = 1};
    Fixture fix;
    Server server;
    Client client;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    server.habit = SILENT;
    fixture_use_servers(&fix, "127.0.0.1");
    client_start(&client, &fix, "127.0.0.1", listen_at(&fix, "127.0.0.1"));
    client_ask(&client, QUERY_ID, "www.example");
    AWAIT(&fix, server.queries == 1);
    (void)setsockopt(client.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    client_stop(&client);
    AWAIT(&fix, server.peers->len == 0);
    cr_assert(fixture_is_asleep(&fix));
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_tcp, garbage_closes_the_connection_and_is_counted)
{
    static const struct {
        const char *what;
        char bytes[32];
        size_t len;
        unsigned dropped;
    } rows[] = {
        {"an empty message", "\0\0", 2, 0},
        {"a short message", "\0\3abc", 5, 1},
        {"a reply", "\0\x11\1\1\x80\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 19, 1},
        {"an update", "\0\x11\1\1\x28\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 19, 1},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Fixture fix;
        Client client;

        fixture_begin(&fix);
        client_start(&client, &fix, "127.0.0.1", listen_at(&fix, "127.0.0.1"));
        client_send(&client, rows[i].bytes, rows[i].len);
        AWAIT(&fix, client.closed);
        cr_expect_eq(client.in->len, 0, "%s", rows[i].what);
        cr_expect_eq(dns_dropped(fix.dns), rows[i].dropped, "%s", rows[i].what);
        client_stop(&client);
        fixture_end(&fix);
    }
}

Test(dns_tcp, lack_of_fds_at_accept_pauses_the_listener_without_spinning)
{
    Fixture fix;
    Server server;
    Client client;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    fixture_use_servers(&fix, "127.0.0.1");
    accept_failures = 3;
    client_start(&client, &fix, "127.0.0.1", listen_at(&fix, "127.0.0.1"));
    client_ask(&client, QUERY_ID, "www.example");
    fixture_drain(&fix);
    cr_assert_eq(accept_calls, 1);
    cr_assert_not(fixture_is_asleep(&fix));
    expect_answer(&client, QUERY_ID, 0, 'a');
    /* Three failures, the connection, and the EAGAIN behind it. */
    cr_assert_eq(accept_calls, 5);
    client_stop(&client);
    cr_assert(fixture_is_asleep(&fix));
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_tcp, lack_of_fds_for_the_server_is_servfail_and_counted)
{
    Fixture fix;
    Client client;

    fixture_begin(&fix);
    fix.port = 9;
    fixture_use_servers(&fix, "127.0.0.1 127.0.0.2");
    client_start(&client, &fix, "127.0.0.1", listen_at(&fix, "127.0.0.1"));
    AWAIT(&fix, fix.peers_asked == 1);
    client_ask(&client, QUERY_ID, "www.example");
    forbid_fds();
    expect_answer(&client, QUERY_ID, DNS_RCODE_SERVFAIL, 0);
    allow_fds(256);
    cr_assert_eq(dns_dropped(fix.dns), 1);
    client_stop(&client);
    fixture_end(&fix);
}

Test(dns_tcp, listener_that_is_not_on_loopback_or_not_listening_is_refused_and_closed)
{
    for (int i = 0; i < 3; i++) {
        Fixture fix;
        Fixture any = {.port = 0};
        GError *error = NULL;
        size_t fds;
        int fd;

        fixture_begin(&fix);
        fds = count_fds();
        fd =
            fixture_bind(&any, i == 0 ? "0.0.0.0" : "127.0.0.1", i == 2 ? SOCK_DGRAM : SOCK_STREAM);
        if (i == 0) {
            cr_assert_eq(listen(fd, 1), 0);
        }
        cr_assert_not(dns_add_listener(fix.dns, fd, &error));
        cr_assert_not_null(error);
        g_clear_error(&error);
        cr_assert_eq(count_fds(), fds);
        fixture_end(&fix);
    }
}

Test(dns_tcp, free_in_the_middle_of_everything_closes_everything)
{
    size_t fds = count_fds();
    Fixture fix;
    Server server;
    Client clients[3];
    uint16_t port;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    server.habit = SILENT;
    fixture_use_servers(&fix, "127.0.0.1");
    port = listen_at(&fix, "127.0.0.1");
    for (int i = 0; i < 3; i++) {
        client_start(&clients[i], &fix, "127.0.0.1", port);
    }
    client_ask(&clients[0], QUERY_ID, "www.example");
    client_send(&clients[1], "\1\0x", 3);
    AWAIT(&fix, server.queries == 1);
    for (int i = 0; i < 3; i++) {
        client_stop(&clients[i]);
    }
    server_stop(&server);
    fixture_end(&fix);
    cr_assert_eq(count_fds(), fds);
}
