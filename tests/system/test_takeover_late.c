/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_takeover_late.c - rules that come with the first connection
 *
 * --fast-path auto puts nftables rules into the guest when something needs them. Until then there are none, and the connection
 * that needs them is carried like every later one.
 */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

#include "lab_test.h"
#include "takeoverfixture.h"

#define AT_ONCE 50

static bool table_there(Lab *lab)
{
    g_autofree char *tables = place_says(lab, LAB_GUEST, "nft list tables");

    return strstr(tables, "sallyport") != NULL;
}

static LabHelper *late_helper(Lab *lab, const char *publish)
{
    LabHelper *helper = lab_helper(lab, "--fast-path=auto", publish, NULL);
    const char *ready = lab_helper_await(helper, SALLYPORT_EVENT_READY, NULL, 0);

    LAB_CHECK(strstr(ready, "\"fast_path\":{\"on\":true,\"loaded\":false}") != NULL, "%s", ready);
    LAB_ASSERT(!table_there(lab));
    return helper;
}

LAB_TEST(takeover_late, the_first_connection_is_carried_by_the_guests_kernel)
{
    (void)late_helper(lab, NULL);
    LAB_ASSERT(carries(lab, connection(lab, LAB_FAR_V4)));
    LAB_ASSERT(table_there(lab));
    is_fast(lab);
}

LAB_TEST(takeover_late, so_it_is_by_ipv6)
{
    (void)late_helper(lab, NULL);
    LAB_ASSERT(carries(lab, connection(lab, LAB_FAR_V6)));
    is_fast(lab);
}

LAB_TEST(takeover_late, so_are_many_that_come_at_once)
{
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    struct sockaddr_storage to;
    socklen_t len = lab_address(&to, LAB_FAR_V4, lab_port(listener));
    Ends ends[AT_ONCE];
    uint64_t before;

    (void)late_helper(lab, NULL);
    for (int i = 0; i < AT_ONCE; i++) {
        ends[i].guest = lab_socket(lab, LAB_GUEST, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        LAB_ASSERT_CALL(ends[i].guest);
        LAB_ASSERT(connect(ends[i].guest, (struct sockaddr *)&to, len) == 0 ||
                   errno == EINPROGRESS);
    }
    for (int i = 0; i < AT_ONCE; i++)
        ends[i].far = lab_accepted(listener);
    before = tap_bytes(lab);
    for (int i = 0; i < AT_ONCE; i++) {
        LAB_ASSERT_CALL(fcntl(ends[i].guest, F_SETFL, 0));
    }
    /* They were accepted in another order than they were made, perhaps. */
    for (int i = 0; i < AT_ONCE; i++)
        lab_send(ends[i].guest, "x", 1);
    for (int i = 0; i < AT_ONCE; i++) {
        char byte;

        lab_recv(ends[i].far, &byte, 1);
    }
    LAB_CHECK(tap_bytes(lab) - before < FEW_BYTES / 10, "%d bytes went over the TAP",
              (int)(tap_bytes(lab) - before));
    for (int i = 0; i < AT_ONCE; i++)
        ends_close(ends[i]);
}

LAB_TEST(takeover_late, a_refused_one_is_refused_at_once_and_the_next_is_carried)
{
    int fd, listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    struct sockaddr_storage to;
    socklen_t len = lab_address(&to, LAB_FAR_V4, lab_port(listener));

    (void)late_helper(lab, NULL);
    close(listener);
    fd = lab_socket(lab, LAB_GUEST, AF_INET, SOCK_STREAM, 0);
    LAB_ASSERT_CALL(fd);
    LAB_ASSERT(connect(fd, (struct sockaddr *)&to, len) < 0 && errno == ECONNREFUSED);
    close(fd);
    is_fast(lab);
}

/* Inside must have them before it makes its first socket: the guest's own rule would take the client's address away. */
LAB_TEST(takeover_late, the_first_client_is_seen_through_a_masquerade_of_the_guests)
{
    struct sockaddr_storage from;
    socklen_t len = sizeof from;
    char text[INET6_ADDRSTRLEN];
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80), client, server;

    (void)late_helper(lab, "-p8080:80");
    guest_firewall(lab, "table ip g { chain post { type nat hook postrouting priority 100; "
                        "masquerade; }\n}\n");
    client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    server = lab_accepted(listener);
    LAB_ASSERT_CALL(getpeername(server, (struct sockaddr *)&from, &len));
    LAB_ASSERT(inet_ntop(AF_INET, &((struct sockaddr_in *)&from)->sin_addr, text, sizeof text));
    LAB_CHECK(strcmp(text, LAB_FAR_V4) == 0, "the client appears as %s", text);
    close(client);
    close(server);
    close(listener);
}

/* A table of that name which the guest's root owns cannot be replaced: stands for whatever the kernel refuses. */
LAB_TEST(takeover_late, what_cannot_be_loaded_is_told_once_and_libslirp_serves)
{
    LabHelper *helper = late_helper(lab, NULL);

    g_free(place_says(lab, LAB_GUEST,
                      "(echo 'add table inet sallyport { flags owner; }'; exec sleep 20) | "
                      "nft -i >/dev/null 2>&1 & "
                      "for i in $(seq 100); do nft list tables | grep sallyport && exit 0; "
                      "sleep 0.02; done; exit 1"));
    is_served(lab);
    is_served(lab);
    LAB_ASSERT(lab_helper_await(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_FAST_PATH,
                                LAB_MS(LAB_WAIT_MS)) != NULL);
    LAB_ASSERT_EQ(lab_helper_count(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_FAST_PATH), 1);
}

/* The guest's root may destroy the listener before anyone has used it. */
LAB_TEST(takeover_late, a_listener_destroyed_before_is_made_again)
{
    (void)late_helper(lab, NULL);
    lab_do(lab, LAB_GUEST, "ss -K state listening");
    for (int i = 0; i < 50 && !carries(lab, connection(lab, LAB_FAR_V4)); i++)
        g_usleep(20000);
    is_fast(lab);
}

/* One whose rules do not come goes to libslirp within the 100 ms that the fast path may cost. */
LAB_TEST(takeover_late, nobody_waits_long_for_rules)
{
    LabHelper *helper = late_helper(lab, NULL);
    LabTrio trio = trio_of(lab, helper);
    int64_t begin, took;

    LAB_ASSERT_CALL(kill(trio.inside, SIGSTOP));
    begin = lab_now();
    address_is_served(lab, LAB_FAR_V4);
    took = lab_now() - begin;
    /* 80 ms, and what the server takes to start and to end. */
    LAB_CHECK(took < LAB_MS(150) && took >= 80, "%d ms", (int)took);
    LAB_ASSERT_CALL(kill(trio.inside, SIGCONT));
    is_fast(lab);
}
