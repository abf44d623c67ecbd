/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_portmap_listen.c - which ports and addresses a port map opens, and to which ports of the guest
 *
 * Not here: parsing (unit tests), what clients experience (test_publish.c).
 */
#include "config.h"

#include <errno.h>
#include <glib.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab_helper.h"
#include "lab_test.h"

/* A client at @address and @port is joined with @listener in the guest. */
static void serves(Lab *lab, LabPlace place, const char *address, uint16_t port, int listener)
{
    int client = lab_connected(lab, place, address, port);
    int server = lab_accept(listener, LAB_MS(LAB_WAIT_MS));

    LAB_CHECK(server >= 0, "%s port %u does not lead to port %u of the guest", address, port,
              lab_port(listener));
    lab_say(client, server, "hello");
    close(client);
    close(server);
}

static void refuses(Lab *lab, LabPlace place, const char *address, uint16_t port)
{
    int client = lab_connect(lab, place, address, port, LAB_MS(1000));

    LAB_CHECK(client < 0 && errno == ECONNREFUSED, "%s port %u: %s", address, port,
              client >= 0 ? "connected" : strerror(errno));
}

static int guest_listener(Lab *lab, uint16_t port)
{
    return lab_listen(lab, LAB_GUEST, "0.0.0.0", port);
}

/* A helper that must fail to start, with one error record of that code. */
static void fails_to_start(Lab *lab, const char *word, const char *code, const char *errno_name)
{
    const char *const words[] = {word, NULL};
    LabHelper *helper = lab_helper_spawn(lab, LAB_GUEST, words);
    int status = lab_helper_wait_end(helper, LAB_MS(LAB_WAIT_MS));
    const char *record = lab_helper_await(helper, SALLYPORT_EVENT_ERROR, code, 0);
    g_autofree char *name = record != NULL ? lab_record_value(record, "errno") : NULL;

    LAB_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 1, "wait status 0x%x", (unsigned)status);
    LAB_CHECK(record != NULL, "no error record with code %s", code);
    LAB_CHECK(errno_name == NULL || g_strcmp0(name, errno_name) == 0, "%s", record);
}

/* ---- host addresses ---- */

LAB_TEST(portmap, loopback_address_is_not_open_to_others)
{
    int listener = guest_listener(lab, 80);

    (void)lab_helper(lab, "-p 127.0.0.1:8080:80", NULL);
    serves(lab, LAB_RUNTIME, "127.0.0.1", 8080, listener);
    refuses(lab, LAB_RUNTIME, "::1", 8080);
    refuses(lab, LAB_RUNTIME, LAB_HOST_V4, 8080);
    refuses(lab, LAB_FAR, LAB_HOST_V4, 8080);
    refuses(lab, LAB_FAR, LAB_HOST_V6, 8080);
}

LAB_TEST(portmap, localhost_is_loopback_of_both_families)
{
    int listener = guest_listener(lab, 80);

    (void)lab_helper(lab, "-p localhost:8080:80", NULL);
    serves(lab, LAB_RUNTIME, "127.0.0.1", 8080, listener);
    serves(lab, LAB_RUNTIME, "::1", 8080, listener);
    refuses(lab, LAB_FAR, LAB_HOST_V4, 8080);
    refuses(lab, LAB_FAR, LAB_HOST_V6, 8080);
}

LAB_TEST(portmap, wildcard_of_one_family_is_of_that_family)
{
    int listener = guest_listener(lab, 80);

    (void)lab_helper(lab, "-p 0.0.0.0:8080:80", "-p [::]:8081:80", "-p 8082:80/tcp4",
                     "-p 8083:80/tcp6", NULL);
    serves(lab, LAB_FAR, LAB_HOST_V4, 8080, listener);
    refuses(lab, LAB_FAR, LAB_HOST_V6, 8080);
    serves(lab, LAB_FAR, LAB_HOST_V6, 8081, listener);
    refuses(lab, LAB_FAR, LAB_HOST_V4, 8081);
    serves(lab, LAB_FAR, LAB_HOST_V4, 8082, listener);
    refuses(lab, LAB_FAR, LAB_HOST_V6, 8082);
    serves(lab, LAB_FAR, LAB_HOST_V6, 8083, listener);
    refuses(lab, LAB_FAR, LAB_HOST_V4, 8083);
}

LAB_TEST(portmap, one_address_of_the_host_is_that_one)
{
    int listener = guest_listener(lab, 80);

    (void)lab_helper(lab, "-p " LAB_HOST_V4_2 ":8080:80", "-p [" LAB_HOST_V6_2 "]:8080:80", NULL);
    serves(lab, LAB_FAR, LAB_HOST_V4_2, 8080, listener);
    serves(lab, LAB_FAR, LAB_HOST_V6_2, 8080, listener);
    refuses(lab, LAB_FAR, LAB_HOST_V4, 8080);
    refuses(lab, LAB_FAR, LAB_HOST_V6, 8080);
    refuses(lab, LAB_RUNTIME, "127.0.0.1", 8080);
}

LAB_TEST(portmap, interface_takes_what_comes_in_by_it)
{
    int listener = guest_listener(lab, 80);

    (void)lab_helper(lab, "-p %host1:8080:80", NULL);
    serves(lab, LAB_FAR, LAB_HOST_V4_3, 8080, listener);
    serves(lab, LAB_FAR, LAB_HOST_V6_3, 8080, listener);
    refuses(lab, LAB_FAR, LAB_HOST_V4, 8080);
    refuses(lab, LAB_FAR, LAB_HOST_V6, 8080);
    refuses(lab, LAB_RUNTIME, "127.0.0.1", 8080);
}

LAB_TEST(portmap, publish_address_decides_where_a_map_names_none)
{
    int listener = guest_listener(lab, 80);

    (void)lab_helper(lab, "--publish-address=127.0.0.1", "-p 8080:80", "-p 0.0.0.0:8081:80", NULL);
    serves(lab, LAB_RUNTIME, "127.0.0.1", 8080, listener);
    refuses(lab, LAB_FAR, LAB_HOST_V4, 8080);
    refuses(lab, LAB_RUNTIME, "::1", 8080);
    serves(lab, LAB_FAR, LAB_HOST_V4, 8081, listener);
}

LAB_TEST(portmap, published_records_name_the_exposure)
{
    static const struct {
        const char *word, *exposure;
    } rows[] = {
        {"-p 127.0.0.1:8080:80", "loopback"},
        {"-p [::1]:8080:80", "loopback"},
        {"-p " LAB_HOST_V4 ":8080:80", "interface"},
        {"-p 0.0.0.0:8080:80", "all"},
        {"-p [::]:8080:80", "all"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        LabHelper *helper = lab_helper(lab, rows[i].word, NULL);
        const char *record = lab_helper_await(helper, SALLYPORT_EVENT_PUBLISHED, NULL, 0);

        LAB_CHECK(record != NULL, "no published record for %s", rows[i].word);
        g_autofree char *exposure = lab_record_value(record, "exposure");
        LAB_CHECK(g_strcmp0(exposure, rows[i].exposure) == 0, "%s: %s", rows[i].word, record);
        LAB_ASSERT_EQ(lab_helper_count(helper, SALLYPORT_EVENT_PUBLISHED, NULL), 1);
        lab_helper_stop(helper);
    }
}

/* ---- ports ---- */

LAB_TEST(portmap, range_is_one_to_one)
{
    int listeners[4];

    for (int i = 0; i < 4; i++)
        listeners[i] = guest_listener(lab, (uint16_t)(9000 + i));
    (void)lab_helper(lab, "-p 8000-8003:9000-9003", NULL);
    for (int i = 0; i < 4; i++)
        serves(lab, LAB_FAR, LAB_HOST_V4, (uint16_t)(8000 + i), listeners[i]);
    refuses(lab, LAB_FAR, LAB_HOST_V4, 7999);
    refuses(lab, LAB_FAR, LAB_HOST_V4, 8004);
}

LAB_TEST(portmap, hole_stays_closed_and_shifts_nothing)
{
    int listeners[4];

    for (int i = 0; i < 4; i++)
        listeners[i] = guest_listener(lab, (uint16_t)(9000 + i));
    (void)lab_helper(lab, "-p 8000-8003~8001:9000-9003", NULL);
    serves(lab, LAB_FAR, LAB_HOST_V4, 8000, listeners[0]);
    refuses(lab, LAB_FAR, LAB_HOST_V4, 8001);
    serves(lab, LAB_FAR, LAB_HOST_V4, 8002, listeners[2]);
    serves(lab, LAB_FAR, LAB_HOST_V4, 8003, listeners[3]);
}

LAB_TEST(portmap, first_free_port_of_a_range_is_taken)
{
    int listener = guest_listener(lab, 80);
    int taken = lab_listen(lab, LAB_HOST, "0.0.0.0", 8000);

    LabHelper *helper = lab_helper(lab, "-p 8000-8003:80", NULL);
    LAB_ASSERT_EQ(lab_helper_port(helper, 0), 8001);
    serves(lab, LAB_FAR, LAB_HOST_V4, 8001, listener);
    serves(lab, LAB_FAR, LAB_HOST_V6, 8001, listener);
    refuses(lab, LAB_FAR, LAB_HOST_V4, 8002);
    close(taken);
}

LAB_TEST(portmap, kernel_picks_one_port_for_both_families)
{
    int listener = guest_listener(lab, 80);
    LabHelper *helper = lab_helper(lab, "-p 80", "-p 127.0.0.1::80", "-p 0:80", NULL);

    for (unsigned i = 0; i < lab_helper_count(helper, SALLYPORT_EVENT_PUBLISHED, NULL); i++) {
        uint16_t port = lab_helper_port(helper, i);

        LAB_ASSERT(port != 0);
        serves(lab, LAB_RUNTIME, "127.0.0.1", port, listener);
    }
    serves(lab, LAB_FAR, LAB_HOST_V6, lab_helper_port(helper, 0), listener);
}

LAB_TEST(portmap, other_address_of_the_guest_is_reached)
{
    (void)lab_helper(lab, "-p 8080:10.0.2.101:80", NULL);
    lab_do(lab, LAB_GUEST, "ip address add 10.0.2.101/24 dev tap0");
    int right = lab_listen(lab, LAB_GUEST, "10.0.2.101", 80);
    int wrong = lab_listen(lab, LAB_GUEST, LAB_GUEST_V4, 80);
    serves(lab, LAB_FAR, LAB_HOST_V4, 8080, right);
    serves(lab, LAB_FAR, LAB_HOST_V6, 8080, right);
    lab_expect_quiet(wrong, 20, "the other address got a client");
}

LAB_TEST(portmap, both_protocols_share_a_number)
{
    int listener = guest_listener(lab, 53), datagrams = lab_udp(lab, LAB_GUEST, "0.0.0.0", 53);
    char byte = 0;

    (void)lab_helper(lab, "-p 5353:53/tcp+udp", NULL);
    serves(lab, LAB_FAR, LAB_HOST_V4, 5353, listener);
    LAB_ASSERT_EQ(send(lab_udp_connected(lab, LAB_FAR, LAB_HOST_V4, 5353), "x", 1, 0), 1);
    LAB_ASSERT_EQ(lab_recv_datagram(datagrams, &byte, 1, NULL, LAB_MS(LAB_WAIT_MS)), 1);
}

LAB_TEST(portmap, ten_thousand_ports_are_ready_within_a_second, .limit_ms = 60000)
{
    int first = guest_listener(lab, 10000), last = guest_listener(lab, 19999);
    int64_t begin = lab_now();
    LabHelper *helper = lab_helper(lab, "-p 10000-19999:10000-19999/tcp", NULL);

    LAB_CHECK(lab_now() - begin <= LAB_MS(1000), "ready after %d ms", (int)(lab_now() - begin));
    LAB_ASSERT(lab_helper_count(helper, SALLYPORT_EVENT_PUBLISHED, NULL) <= 2);
    serves(lab, LAB_FAR, LAB_HOST_V4, 10000, first);
    serves(lab, LAB_FAR, LAB_HOST_V6, 19999, last);
}

/* ---- taken and forbidden ports ---- */

LAB_TEST(portmap, port_in_use_is_an_error_and_nothing_stays_open)
{
    int taken = lab_listen(lab, LAB_HOST, "0.0.0.0", 8001);

    fails_to_start(lab, "-p 8000-8002:80-82", SALLYPORT_CODE_PUBLISH, "EADDRINUSE");
    close(taken);
    close(lab_listen(lab, LAB_HOST, "0.0.0.0", 8000));
    close(lab_listen(lab, LAB_HOST, "::", 8002));
}

LAB_TEST(portmap, weak_map_binds_what_is_free)
{
    int eighty = guest_listener(lab, 80), two = guest_listener(lab, 82);
    int taken = lab_listen(lab, LAB_HOST, "0.0.0.0", 8001);
    int taken_too = lab_listen(lab, LAB_HOST, "::", 8001);

    (void)lab_helper(lab, "-p 8000-8002:80-82,weak", NULL);
    serves(lab, LAB_FAR, LAB_HOST_V4, 8000, eighty);
    serves(lab, LAB_FAR, LAB_HOST_V4, 8002, two);
    LAB_ASSERT(lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8001) >= 0);
    LAB_ASSERT(lab_accepted(taken) >= 0);
    close(taken_too);
}

LAB_TEST(portmap, weak_map_without_any_free_port_is_an_error)
{
    int taken = lab_listen(lab, LAB_HOST, "0.0.0.0", 8000);
    int taken_too = lab_listen(lab, LAB_HOST, "::", 8000);

    fails_to_start(lab, "-p 8000:80,weak", SALLYPORT_CODE_PUBLISH, "EADDRINUSE");
    close(taken);
    close(taken_too);
}

LAB_TEST(portmap, privileged_port_is_an_error_that_names_the_sysctl)
{
    const char *const words[] = {"-p 80:80", NULL};
    g_autofree char *message = NULL;

    if (lab_is_root(lab))
        lab_skip("root may bind every port");
    LabHelper *helper = lab_helper_spawn(lab, LAB_GUEST, words);
    LAB_ASSERT_EQ(WEXITSTATUS(lab_helper_wait_end(helper, LAB_MS(LAB_WAIT_MS))), 1);
    const char *record = lab_helper_await(helper, SALLYPORT_EVENT_ERROR, SALLYPORT_CODE_PUBLISH, 0);
    LAB_ASSERT(record != NULL);
    message = lab_record_value(record, "message");
    LAB_CHECK(message != NULL && strstr(message, "ip_unprivileged_port_start") != NULL, "%s",
              record);
}

/* ---- limits of one map ---- */

LAB_TEST(portmap, max_lets_so_many_clients_in_and_then_others_when_they_leave)
{
    int listener = guest_listener(lab, 80), clients[3], servers[2];

    (void)lab_helper(lab, "-p 8080:80,max=2", NULL);
    for (int i = 0; i < 2; i++) {
        clients[i] = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
        servers[i] = lab_accepted(listener);
        lab_say(clients[i], servers[i], "hello");
    }
    clients[2] = lab_connect(lab, LAB_FAR, LAB_HOST_V4, 8080, LAB_MS(1000));
    lab_expect_quiet(listener, LAB_MS(200), "a third client passed max=2");
    close(clients[0]);
    close(servers[0]);
    if (clients[2] >= 0)
        close(clients[2]);
    /* A third one that waited may still be handed over. Who comes before the helper has seen the others leave is reset too. */
    int64_t end = lab_now() + LAB_MS(LAB_WAIT_MS);
    char byte = 0;
    while (byte != 'n' && lab_now() < end) {
        int fresh = lab_connect(lab, LAB_FAR, LAB_HOST_V4, 8080, LAB_MS(1000)), server;

        if (fresh < 0)
            continue;
        (void)send(fresh, "n", 1, MSG_NOSIGNAL);
        while (byte != 'n' && (server = lab_accept(listener, LAB_MS(200))) >= 0) {
            if (lab_wait(server, POLLIN, LAB_MS(1000)) != 0)
                (void)recv(server, &byte, 1, MSG_DONTWAIT);
            close(server);
        }
        close(fresh);
    }
    LAB_ASSERT_EQ(byte, 'n');
}

LAB_TEST(portmap, idle_connection_ends_after_its_time)
{
    int listener = guest_listener(lab, 80);

    (void)lab_helper(lab, "-p 8080:80,idle=1", NULL);
    int client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080), server = lab_accepted(listener);
    int64_t begin = lab_now();
    lab_say(client, server, "hello");
    LabEnd end = lab_wait_end(client, LAB_MS(LAB_WAIT_MS));
    int took = (int)(lab_now() - begin);
    LAB_CHECK(end == LAB_END_EOF || end == LAB_END_RESET, "the client sees %s", lab_end_text(end));
    LAB_CHECK(took >= 900 && took <= LAB_MS(3000), "after %d ms", took);
    end = lab_wait_end(server, LAB_MS(1000));
    LAB_CHECK(end == LAB_END_EOF || end == LAB_END_RESET, "the server sees %s", lab_end_text(end));
}

LAB_TEST(portmap, idle_udp_client_is_forgotten_after_its_time)
{
    struct sockaddr_storage one, two;
    int server = lab_udp(lab, LAB_GUEST, "0.0.0.0", 53);
    char byte = 0;

    (void)lab_helper(lab, "-p 5353:53/udp,idle=1", NULL);
    int client = lab_udp_connected(lab, LAB_FAR, LAB_HOST_V4, 5353);
    LAB_ASSERT_EQ(send(client, "1", 1, 0), 1);
    LAB_ASSERT_EQ(lab_recv_datagram(server, &byte, 1, &one, LAB_MS(LAB_WAIT_MS)), 1);
    LAB_ASSERT_EQ(sendto(server, "a", 1, 0, (struct sockaddr *)&one, sizeof(struct sockaddr_in)),
                  1);
    LAB_ASSERT_EQ(lab_recv_datagram(client, &byte, 1, NULL, LAB_MS(LAB_WAIT_MS)), 1);
    /* Time has to pass here; what is awaited is that nothing happens. */
    lab_expect_quiet(client, LAB_MS(2500), "a datagram from nowhere");
    LAB_ASSERT_EQ(sendto(server, "b", 1, 0, (struct sockaddr *)&one, sizeof(struct sockaddr_in)),
                  1);
    lab_expect_quiet(client, LAB_MS(100), "a reply reached a client that was forgotten");
    LAB_ASSERT_EQ(send(client, "2", 1, 0), 1);
    LAB_ASSERT_EQ(lab_recv_datagram(server, &byte, 1, &two, LAB_MS(LAB_WAIT_MS)), 1);
    LAB_ASSERT_EQ(byte, '2');
}
