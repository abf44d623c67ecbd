/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_hostfwd.c - slirp4netns's API socket, as podman and RootlessKit use it
 */
#include "config.h"

#include <signal.h>
#include <sys/stat.h>

#include "controlfixture.h"
#include "lab_test.h"
#include "slirpfixture.h"

#define API "api.sock"

static LabRaw *api(Lab *lab)
{
    return slirp_guest(lab, "-c --api-socket=" API);
}

/* One request as callers make it: a line, the end of writing, all of the reply. To be freed. */
static char *asked(Lab *lab, const char *request)
{
    int fd = control_open(lab_path(lab, API));
    char *reply;

    lab_send(fd, request, strlen(request));
    LAB_ASSERT_CALL(shutdown(fd, SHUT_WR));
    reply = control_hear(fd, true);
    close(fd);
    return reply;
}

static void answers(Lab *lab, const char *request, const char *wanted)
{
    g_autofree char *reply = asked(lab, request);

    LAB_CHECK(strcmp(reply, wanted) == 0, "%s\n  is answered by %s\n  not by %s", request, reply,
              wanted);
}

LAB_TEST(hostfwd, port_is_published_listed_and_taken_back)
{
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);
    int client;
    int server;

    (void)api(lab);
    /* podman: an empty guest address */
    answers(lab,
            "{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"tcp\",\"host_addr\":\"\","
            "\"host_port\":8080,\"guest_addr\":\"\",\"guest_port\":80}}\n",
            "{\"return\":{\"id\":1,\"host_port\":8080}}");
    client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    server = lab_accepted(listener);
    lab_say(client, server, "there");
    answers(lab,
            "{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"udp\",\"host_addr\":"
            "\"127.0.0.1\",\"host_port\":5300,\"guest_addr\":\"10.0.2.100\",\"guest_port\":53}}",
            "{\"return\":{\"id\":2,\"host_port\":5300}}");
#define ENTRIES                                                                                    \
    "[{\"id\":1,\"proto\":\"tcp\",\"host_addr\":\"0.0.0.0\",\"host_port\":8080,"                   \
    "\"guest_addr\":\"10.0.2.100\",\"guest_port\":80},{\"id\":2,\"proto\":\"udp\","                \
    "\"host_addr\":\"127.0.0.1\",\"host_port\":5300,\"guest_addr\":\"10.0.2.100\","                \
    "\"guest_port\":53}]"
    answers(lab, "{\"execute\":\"list_hostfwd\"}",
            "{\"return\":{\"entries\":" ENTRIES "},\"entries\":" ENTRIES "}");
    answers(lab, "{\"execute\":\"remove_hostfwd\",\"arguments\":{\"id\":1}}", "{\"return\":{}}");
    LAB_ASSERT_EQ(control_listeners(lab, 8080, 8080), 0);
    lab_say(server, client, "I go on");
    answers(lab, "{\"execute\":\"remove_hostfwd\",\"arguments\":{\"id\":1}}",
            "{\"error\":{\"desc\":\"bad request: remove_hostfwd: slirp_remove_hostfwd failed\"}}");
    answers(lab,
            "{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"tcp\",\"host_port\":8080,"
            "\"guest_port\":80}}",
            "{\"return\":{\"id\":3,\"host_port\":8080}}");
}

LAB_TEST(hostfwd, port_in_use_is_the_known_error_and_its_errno)
{
    int taken = lab_listen(lab, LAB_HOST, "0.0.0.0", 8080);

    (void)api(lab);
    answers(lab,
            "{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"tcp\",\"host_port\":8080,"
            "\"guest_port\":80}}",
            "{\"error\":{\"desc\":\"bad request: add_hostfwd: slirp_add_hostfwd failed\","
            "\"errno\":\"EADDRINUSE\"}}");
    answers(lab, "{\"execute\":\"list_hostfwd\"}", "{\"return\":{\"entries\":[]},\"entries\":[]}");
    close(taken);
}

LAB_TEST(hostfwd, port_the_kernel_picks_and_ipv6_are_beyond_slirp4netns)
{
    g_autofree char *picked = NULL;
    g_autofree char *v6 = NULL;
    json_t *reply;
    json_int_t port;

    (void)slirp_guest(lab, "-c --enable-ipv6 --api-socket=" API);
    picked = asked(lab, "{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"tcp\","
                        "\"host_addr\":\"127.0.0.1\",\"host_port\":0,\"guest_port\":80}}");
    reply = json_loads(picked, 0, NULL);
    port = json_integer_value(json_object_get(json_object_get(reply, "return"), "host_port"));
    LAB_CHECK(port > 0, "%s", picked);
    LAB_ASSERT_EQ(control_listeners(lab, (unsigned)port, (unsigned)port), 1);
    json_decref(reply);
    v6 = asked(lab, "{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"tcp\","
                    "\"host_addr\":\"::1\",\"host_port\":8080,\"guest_port\":80}}");
    LAB_CHECK(strstr(v6, "\"host_port\":8080") != NULL, "%s", v6);
}

/* As slirp4netns has it: and no port is opened in a family that nobody asked for. */
LAB_TEST(hostfwd, ipv6_is_refused_unless_enabled)
{
    (void)api(lab);
    answers(lab,
            "{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"tcp\",\"host_addr\":\"::1\","
            "\"host_port\":8080,\"guest_port\":80}}",
            "{\"error\":{\"desc\":\"bad request: add_hostfwd: bad arguments.host_addr\"}}");
    answers(lab, "{\"execute\":\"list_hostfwd\"}", "{\"return\":{\"entries\":[]},\"entries\":[]}");
    LAB_ASSERT_EQ(control_listeners(lab, 8080, 8080), 0);
}

LAB_TEST(hostfwd, what_kills_slirp4netns_is_an_error_and_the_helper_lives)
{
    static const struct {
        const char *request;
        const char *desc;
    } rows[] = {
        {"", "cannot parse JSON"},
        {"{\"execute\":\"add_hostfwd\",\"arguments\":{}}", "add_hostfwd: bad arguments.proto"},
        {"{\"execute\":\"add_hostfwd\"}", "add_hostfwd: bad arguments.proto"},
        {"{}", "no execute found"},
        {"[]", "json_object() failed"},
        {"{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"tcp\",\"host_port\":65616,"
         "\"guest_port\":80}}",
         "add_hostfwd: bad arguments.host_port"},
    };
    g_autofree char *padded = g_strnfill(4096, ' ');

    lab_sysctl(lab, LAB_GUEST, "net/ipv4/ping_group_range", "0 0");
    (void)api(lab);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *wanted =
            g_strdup_printf("{\"error\":{\"desc\":\"bad request: %s\"}}", rows[i].desc);

        answers(lab, rows[i].request, wanted);
    }
    answers(lab, padded, "{\"error\":{\"desc\":\"bad request: too large message\"}}");
    LAB_ASSERT(lab_ping(lab, LAB_GUEST, LAB_GATEWAY_V4, 56, LAB_MS(1000)));
    answers(lab, "{\"execute\":\"list_hostfwd\"}", "{\"return\":{\"entries\":[]},\"entries\":[]}");
}

/* What stops the whole network of slirp4netns. */
LAB_TEST(hostfwd, silent_client_holds_up_nobody_and_is_closed)
{
    int64_t from;
    int fd;
    char byte;

    lab_sysctl(lab, LAB_GUEST, "net/ipv4/ping_group_range", "0 0");
    (void)api(lab);
    fd = control_open(lab_path(lab, API));
    from = lab_now();
    for (unsigned i = 0; i < 50; i++) {
        LAB_CHECK(lab_ping(lab, LAB_GUEST, LAB_GATEWAY_V4, 56, LAB_MS(1000)), "echo %u is lost", i);
    }
    answers(lab, "{\"execute\":\"list_hostfwd\"}", "{\"return\":{\"entries\":[]},\"entries\":[]}");
    LAB_ASSERT(lab_wait(fd, POLLIN, LAB_MS(CONTROL_WAIT_MS)) != 0 && recv(fd, &byte, 1, 0) == 0);
    LAB_ASSERT(lab_now() - from < LAB_MS(CONTROL_WAIT_MS));
    close(fd);
}

LAB_TEST(hostfwd, request_in_pieces_needs_no_end_of_writing)
{
    static const char request[] = "{\"execute\":\"list_hostfwd\"}";
    g_autofree char *reply = NULL;
    int fd;

    (void)api(lab);
    fd = control_open(lab_path(lab, API));
    for (size_t i = 0; i < sizeof request - 1; i++) {
        lab_send(fd, request + i, 1);
        (void)poll(NULL, 0, 1);
    }
    reply = control_hear(fd, true);
    LAB_CHECK(strcmp(reply, "{\"return\":{\"entries\":[]},\"entries\":[]}") == 0, "%s", reply);
    close(fd);
}

LAB_TEST(hostfwd, socket_is_there_at_ready_and_gone_at_the_end)
{
    struct stat st;
    LabRaw *raw = api(lab);

    LAB_ASSERT_CALL(lstat(lab_path(lab, API), &st));
    LAB_ASSERT(S_ISSOCK(st.st_mode));
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(CONTROL_WAIT_MS)), 0);
    LAB_ASSERT(lstat(lab_path(lab, API), &st) < 0 && errno == ENOENT);
}
