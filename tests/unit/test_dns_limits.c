/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_dns_limits.c - UDP queries to the virtual name server: forgeries, retransmissions, limits
 *
 * Does:    as test_dns.c, with servers that forge or are silent and with too many, too long or broken queries.
 */
#include "config.h"

#include "dnsudpfixture.h"

/* Every kind of wrong reply, then the right one. */
static void server_forges_first(Server *server)
{
    uint8_t good[sizeof server->last];
    Server other = *server;

    memcpy(good, server->last, sizeof good);
    other.mark = 'x';
    for (size_t i = 0; i < 40; i++) {
        memcpy(other.last, good, sizeof good);
        switch (i % 4) {
        case 0:
            other.last[i / 4 % 2] ^= (uint8_t)(1 + i); /* another id */
            break;
        case 1:
            other.last[DNS_HEADER_LEN + 1] = 'x'; /* another name */
            break;
        case 2:
            other.last[5] = 0; /* no question */
            break;
        default:
            other.last[2] |= 0x20; /* another opcode */
            break;
        }
        server_send(&other, 0, MARK_LEN);
    }
    cr_expect_eq(sendto(server->fd, good, server->last_len, 0, (struct sockaddr *)&server->peer,
                        server->peer_len),
                 (ssize_t)server->last_len); /* the query itself, QR 0 */
    server_send(server, 0, MARK_LEN);
}

Test(dns_limits, replies_that_do_not_match_are_dropped_and_the_wait_goes_on)
{
    Fixture fix;
    Server server;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    server.on_query = server_forges_first;
    fixture_use_servers(&fix, "127.0.0.1");
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    expect_answer(&fix, 0, 'a');
    cr_assert_eq(server.queries, 1);
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_limits, reply_from_another_source_is_not_taken)
{
    Fixture fix;
    Server server;
    Server forger;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    server_start(&forger, &fix, "127.0.0.2", 'x');
    server.on_query = server_silent;
    fixture_use_servers(&fix, "127.0.0.1");
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    AWAIT(&fix, server.queries == 1);
    memcpy(forger.last, server.last, sizeof server.last);
    forger.last_len = server.last_len;
    forger.peer = server.peer;
    forger.peer_len = server.peer_len;
    server_send(&forger, 0, MARK_LEN);
    server_send(&server, 0, MARK_LEN);
    expect_answer(&fix, 0, 'a');
    server_stop(&server);
    server_stop(&forger);
    fixture_end(&fix);
}

Test(dns_limits, retransmission_is_absorbed_while_the_query_is_pending)
{
    Fixture fix;
    Server server;
    uint8_t query[512];

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    server.on_query = server_silent;
    fixture_use_servers(&fix, "127.0.0.1");
    for (int i = 0; i < 5; i++) {
        ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    }
    /* What differs in address, port, id or question is another query. */
    ask_raw(&fix, AF_INET6, GUEST_PORT, query, make_query(query, QUERY_ID, "www.example"));
    ask(&fix, GUEST_PORT + 1, QUERY_ID, "www.example");
    ask(&fix, GUEST_PORT, QUERY_ID + 1, "www.example");
    ask(&fix, GUEST_PORT, QUERY_ID, "ftp.example");
    AWAIT(&fix, server.queries == 5);
    fixture_drain(&fix);
    cr_assert_eq(server.queries, 5);
    cr_assert_eq(dns_dropped(fix.dns), 0);
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_limits, query_beyond_the_limit_gives_up_the_oldest)
{
    Fixture fix;
    Server server;
    size_t fds;

    allow_fds(1024);
    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    server.on_query = server_silent;
    fixture_use_servers(&fix, "127.0.0.1");
    for (unsigned i = 0; i < 512; i++) {
        ask(&fix, GUEST_PORT, (uint16_t)i, "www.example");
        AWAIT(&fix, server.queries == i + 1);
    }
    fds = count_fds();
    cr_assert_eq(dns_dropped(fix.dns), 0);
    ask(&fix, GUEST_PORT, 512, "www.example");
    AWAIT(&fix, server.queries == 513);
    cr_assert_eq(dns_dropped(fix.dns), 1);
    cr_assert_eq(count_fds(), fds);
    /* The second one is still there, the first one is not. */
    ask(&fix, GUEST_PORT, 1, "www.example");
    ask(&fix, GUEST_PORT, 0, "www.example");
    AWAIT(&fix, server.queries == 514);
    cr_assert_eq(dns_dropped(fix.dns), 2);
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_limits, many_queries_to_many_silent_servers_stay_within_the_limit_of_sockets)
{
    Fixture fix;
    Server server;
    Server last;
    size_t fds;

    allow_fds(4096);
    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    server_start(&last, &fix, "127.0.0.4", 'd');
    server.on_query = server_silent;
    last.on_query = server_silent;
    /* All silent: the first socket takes what is sent to it under each of three names. */
    fixture_use_servers(&fix, "127.0.0.1 127.0.0.1 127.0.0.1 127.0.0.4");
    fds = count_fds();
    for (unsigned i = 0; i < 512; i++) {
        ask(&fix, GUEST_PORT, (uint16_t)i, "www.example");
        AWAIT(&fix, server.queries >= i + 1);
    }
    AWAIT(&fix, last.queries == 512);
    cr_assert_leq(count_fds() - fds, 1024);
    server_stop(&server);
    server_stop(&last);
    fixture_end(&fix);
}

Test(dns_limits, lack_of_fds_is_servfail_and_counted_and_over_when_there_are_some_again)
{
    Fixture fix;
    Server server;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    fixture_use_servers(&fix, "127.0.0.1");
    forbid_fds();
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    allow_fds(256);
    expect_answer(&fix, DNS_RCODE_SERVFAIL, 0);
    cr_assert_eq(dns_dropped(fix.dns), 1);
    cr_assert(fixture_is_asleep(&fix));
    ask(&fix, GUEST_PORT, QUERY_ID, "www.example");
    expect_answer(&fix, 0, 'a');
    server_stop(&server);
    fixture_end(&fix);
}

Test(dns_limits, malformed_queries_are_dropped_and_counted)
{
    Fixture fix;
    uint8_t msg[5000];
    size_t len = make_query(msg, QUERY_ID, "www.example");

    memset(msg + len, 0, sizeof msg - len);
    fixture_begin(&fix);
    ask_raw(&fix, AF_INET, GUEST_PORT, msg, 0);
    ask_raw(&fix, AF_INET, GUEST_PORT, msg, DNS_HEADER_LEN + 3);
    ask_raw(&fix, AF_INET, GUEST_PORT, msg, 4097);
    cr_assert_eq(dns_dropped(fix.dns), 3);
    msg[2] |= 0x80;
    ask_raw(&fix, AF_INET, GUEST_PORT, msg, len);
    cr_assert_eq(dns_dropped(fix.dns), 4);
    cr_assert_eq(fix.frames->len, 0);
    fixture_end(&fix);
}

Test(dns_limits, long_replies_pass_whole_up_to_the_payload_and_are_cut_with_tc_beyond)
{
    static const struct {
        sa_family_t family;
        size_t max; /* 0: not set */
        size_t reply_len;
        bool cut;
    } rows[] = {
        {AF_INET, 0, 65507, false},   {AF_INET6, 0, 65507, true},      {AF_INET6, 0, 65488, false},
        {AF_INET, 1472, 1472, false}, {AF_INET, 1472, 1473, true},     {AF_INET6, 1452, 1453, true},
        {AF_INET, 1, 512, false},     {AF_INET, 100000, 65507, false},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Fixture fix;
        Server server;
        uint8_t query[512];
        size_t query_len = make_query(query, QUERY_ID, "www.example");
        size_t question_end = 0;
        g_autofree uint8_t *msg = NULL;
        size_t len;

        fixture_begin(&fix);
        server_start(&server, &fix, "127.0.0.1", 'a');
        fixture_use_servers(&fix, "127.0.0.1");
        if (rows[i].max != 0) {
            dns_set_max_payload(fix.dns, rows[i].max);
        }
        server.extra = rows[i].reply_len - query_len;
        ask_raw(&fix, rows[i].family, GUEST_PORT, query, query_len);
        AWAIT(&fix, fix.frames->len == 1);
        msg = answer(&fix, 0, rows[i].family, GUEST_PORT, &len);
        cr_assert(dns_message_is_query(query, query_len, &question_end));
        cr_expect_eq(len, rows[i].cut ? question_end : rows[i].reply_len, "row %zu: %zu", i, len);
        cr_expect_eq((msg[2] & 2) != 0, rows[i].cut, "row %zu", i);
        cr_expect(dns_message_matches(msg, len, QUERY_ID, query, query_len));
        server_stop(&server);
        fixture_end(&fix);
    }
}

Test(dns_limits, free_with_pending_queries_closes_their_sockets)
{
    size_t fds = count_fds();
    Fixture fix;
    Server server;

    fixture_begin(&fix);
    server_start(&server, &fix, "127.0.0.1", 'a');
    server.on_query = server_silent;
    fixture_use_servers(&fix, "127.0.0.1");
    for (uint16_t i = 0; i < 20; i++) {
        ask(&fix, GUEST_PORT, i, "www.example");
    }
    server_stop(&server);
    fixture_end(&fix);
    cr_assert_eq(count_fds(), fds);
}
