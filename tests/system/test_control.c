/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_control.c - ports that come and go while the helper runs, and who may say so
 *
 * Not here: clients that mean harm (test_control_hostile.c); slirp4netns's API (test_hostfwd.c).
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "controlfixture.h"
#include "lab_raw.h"
#include "lab_test.h"

static int opened(Lab *lab, LabHelper **ret_helper, const char *more)
{
    g_autofree char *option = g_strdup_printf("--control=%s", lab_path(lab, "control"));

    *ret_helper = lab_helper(lab, option, more, NULL);
    return control_open(lab_path(lab, "control"));
}

/* ---- what changes ---- */

LAB_TEST(control, port_published_later_serves_and_is_told)
{
    LabHelper *helper;
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);
    int fd = opened(lab, &helper, NULL);
    const char *record;
    int client;
    int server;

    LAB_ASSERT_EQ(control_listeners(lab, 8080, 8080), 0);
    LAB_ASSERT_EQ(control_publish(fd, "0.0.0.0:8080:80"), 1);
    LAB_ASSERT_EQ(control_listeners(lab, 8080, 8080), 1);
    client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    server = lab_accepted(listener);
    lab_say(client, server, "there");
    lab_say(server, client, "and back");
    record = lab_helper_await(helper, SALLYPORT_EVENT_PUBLISHED, NULL, LAB_MS(CONTROL_WAIT_MS));
    LAB_ASSERT(record != NULL && lab_record_has(record, "publication", "1") &&
               lab_record_has(record, "host_ports", "8080"));
    control_unpublish(fd, 1, "keep");
    record = lab_helper_await(helper, SALLYPORT_EVENT_UNPUBLISHED, NULL, LAB_MS(CONTROL_WAIT_MS));
    LAB_ASSERT(record != NULL && lab_record_has(record, "publication", "1"));
}

LAB_TEST(control, connections_that_are_kept_go_on_and_the_port_is_free)
{
    LabHelper *helper;
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);
    int fd = opened(lab, &helper, NULL);
    json_int_t id = control_publish(fd, "0.0.0.0:8080:80");
    int client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    int server = lab_accepted(listener);

    lab_say(client, server, "before");
    control_unpublish(fd, id, "keep");
    LAB_ASSERT_EQ(control_listeners(lab, 8080, 8080), 0);
    LAB_ASSERT(lab_connect(lab, LAB_FAR, LAB_HOST_V4, 8080, LAB_MS(1000)) < 0 &&
               errno == ECONNREFUSED);
    lab_transfer(client, server, 8 << 20, 8 << 20, 0);
    /* All of it again, beside what is left of the first. */
    id = control_publish(fd, "0.0.0.0:8080:80");
    close(client);
    close(server);
    client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    server = lab_accepted(listener);
    lab_say(client, server, "again");
    control_unpublish(fd, id, "cut");
}

LAB_TEST(control, connections_that_are_cut_are_reset_on_both_sides)
{
    LabHelper *helper;
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);
    int fd = opened(lab, &helper, NULL);
    json_int_t kept = control_publish(fd, "0.0.0.0:8081:80");
    json_int_t cut = control_publish(fd, "0.0.0.0:8080:80");
    int other = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8081);
    int other_server = lab_accepted(listener);
    int client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    int server = lab_accepted(listener);

    lab_say(client, server, "before");
    control_unpublish(fd, cut, "cut");
    LAB_ASSERT_EQ(lab_wait_end(client, LAB_MS(LAB_WAIT_MS)), LAB_END_RESET);
    LAB_ASSERT_EQ(lab_wait_end(server, LAB_MS(LAB_WAIT_MS)), LAB_END_RESET);
    lab_say(other, other_server, "nothing happened to me");
    control_unpublish(fd, kept, "keep");
}

/* More than are closed in one piece. */
LAB_TEST(control, hundreds_of_connections_and_ports_go_at_once)
{
    enum { CLIENTS = 150 };
    LabHelper *helper;
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);
    int udp = lab_udp(lab, LAB_GUEST, "0.0.0.0", 80);
    int fd = opened(lab, &helper, NULL);
    json_int_t id = control_publish(fd, "0.0.0.0:8000-8499:80-579/tcp+udp");
    int clients[CLIENTS];
    int servers[CLIENTS];
    char byte;

    for (unsigned i = 0; i < CLIENTS; i++) {
        int asks = lab_udp_connected(lab, LAB_FAR, LAB_HOST_V4, 8000);

        clients[i] = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8000);
        servers[i] = lab_accepted(listener);
        LAB_ASSERT_CALL(send(asks, "x", 1, 0));
        LAB_ASSERT_EQ(lab_recv_datagram(udp, &byte, 1, NULL, LAB_MS(LAB_WAIT_MS)), 1);
        close(asks);
    }
    LAB_ASSERT_EQ(control_listeners(lab, 8000, 8499), 500);
    control_unpublish(fd, id, "cut");
    LAB_ASSERT_EQ(control_listeners(lab, 8000, 8499), 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        LAB_ASSERT_EQ(lab_wait_end(clients[i], LAB_MS(LAB_WAIT_MS)), LAB_END_RESET);
        LAB_ASSERT_EQ(lab_wait_end(servers[i], LAB_MS(LAB_WAIT_MS)), LAB_END_RESET);
    }
    LAB_ASSERT(control_publish(fd, "0.0.0.0:8000-8499:80-579/tcp+udp") > id);
}

/* A client that was accepted, but whose server in the guest does not answer yet. */
LAB_TEST(control, client_that_is_not_joined_yet_is_cut_too)
{
    LabHelper *helper;
    int fd = opened(lab, &helper, NULL);
    json_int_t id = control_publish(fd, "0.0.0.0:8080:10.0.2.77:80");
    int client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);

    free(control_do(fd, "ping", ""));
    control_unpublish(fd, id, "cut");
    LAB_ASSERT_EQ(lab_wait_end(client, LAB_MS(LAB_WAIT_MS)), LAB_END_RESET);
}

LAB_TEST(control, udp_port_comes_and_goes)
{
    LabHelper *helper;
    int server = lab_udp(lab, LAB_GUEST, "0.0.0.0", 53);
    int fd = opened(lab, &helper, NULL);

    for (unsigned round = 0; round < 3; round++) {
        json_int_t id = control_publish(fd, "0.0.0.0:5300:53/udp");
        int client = lab_udp_connected(lab, LAB_FAR, LAB_HOST_V4, 5300);
        struct sockaddr_storage from;
        char text[64];

        LAB_ASSERT_CALL(send(client, "ask", 3, 0));
        LAB_ASSERT_EQ(lab_recv_datagram(server, text, sizeof text, &from, LAB_MS(LAB_WAIT_MS)), 3);
        LAB_ASSERT_CALL(sendto(server, "tell", 4, 0, (struct sockaddr *)&from, sizeof from));
        LAB_ASSERT_EQ(lab_recv_datagram(client, text, sizeof text, &from, LAB_MS(LAB_WAIT_MS)), 4);
        control_unpublish(fd, id, round == 0 ? "keep" : "cut");
        LAB_ASSERT_CALL(send(client, "ask", 3, 0));
        LAB_ASSERT(lab_recv_datagram(client, text, sizeof text, &from, LAB_MS(LAB_WAIT_MS)) < 0);
        LAB_ASSERT_EQ(errno, ECONNREFUSED);
        close(client);
    }
}

LAB_TEST(control, what_the_command_line_published_is_listed_and_can_be_taken_back)
{
    LabHelper *helper;
    int fd = opened(lab, &helper, "-p 127.0.0.1:8080:80");
    g_autofree char *before = control_do(fd, "list", "");
    g_autofree char *after = NULL;

    LAB_CHECK(strstr(before, "\"publication\":1") != NULL &&
                  strstr(before, "\"origin\":\"command-line\"") != NULL &&
                  strstr(before, "\"spec\":\"127.0.0.1:8080:80\"") != NULL,
              "%s", before);
    free(control_do(fd, "unpublish", "\"spec\":\"127.0.0.1:8080:80\""));
    after = control_do(fd, "list", "");
    LAB_CHECK(strcmp(after, "{\"published\":[],\"cursor\":null}") == 0, "%s", after);
    LAB_ASSERT_EQ(control_listeners(lab, 8080, 8080), 0);
    LAB_ASSERT_EQ(control_publish(fd, "127.0.0.1:8080:80"), 2);
}

LAB_TEST(control, long_list_comes_in_pages_and_has_everything)
{
    LabHelper *helper;
    int fd = opened(lab, &helper, NULL);
    json_int_t cursor = 0;
    unsigned seen = 0;
    unsigned pages = 0;

    for (unsigned i = 0; i < 400; i++) {
        g_autofree char *spec = g_strdup_printf("127.0.0.1:%u:80,name=of-some-length", 20000 + i);

        (void)control_publish(fd, spec);
    }
    do {
        g_autofree char *arguments = g_strdup_printf("\"cursor\":%lld", (long long)cursor);
        g_autofree char *text = control_do(fd, "list", arguments);
        json_t *page = json_loads(text, 0, NULL);

        LAB_ASSERT(strlen(text) < 64 * 1024);
        seen += (unsigned)json_array_size(json_object_get(page, "published"));
        cursor = json_integer_value(json_object_get(page, "cursor"));
        pages++;
        json_decref(page);
    } while (cursor != 0);
    LAB_ASSERT_EQ(seen, 400);
    LAB_ASSERT(pages > 1);
    LAB_ASSERT_EQ(control_listeners(lab, 20000, 20399), 400);
}

/* ---- what does not ---- */

LAB_TEST(control, port_in_use_is_said_by_its_errno_and_nothing_stays_bound)
{
    LabHelper *helper;
    int taken = lab_listen(lab, LAB_HOST, "0.0.0.0", 8082);
    int fd = opened(lab, &helper, NULL);

    control_fails(fd,
                  "{\"command\":\"publish\",\"arguments\":{\"spec\":\"0.0.0.0:8080-8082:80-82\"}}",
                  "publish", "EADDRINUSE");
    LAB_ASSERT_EQ(control_listeners(lab, 8080, 8081), 0);
    close(taken);
    LAB_ASSERT_EQ(control_publish(fd, "0.0.0.0:8080-8082:80-82"), 1);
    LAB_ASSERT_EQ(control_listeners(lab, 8080, 8082), 3);
    control_fails(fd, "{\"command\":\"publish\",\"arguments\":{\"spec\":\"0.0.0.0:8081:1\"}}",
                  "publish", "EADDRINUSE");
    LAB_ASSERT_EQ(control_listeners(lab, 8080, 8082), 3);
}

LAB_TEST(control, port_below_1024_is_refused_to_an_ordinary_user)
{
    LabHelper *helper;
    int fd;

    lab_sysctl(lab, LAB_HOST, "net/ipv4/ip_unprivileged_port_start", "1024");
    fd = opened(lab, &helper, NULL);
    if (lab_is_root(lab)) {
        LAB_ASSERT_EQ(control_publish(fd, "0.0.0.0:80:80"), 1);
        return;
    }
    control_fails(fd, "{\"command\":\"publish\",\"arguments\":{\"spec\":\"0.0.0.0:80:80\"}}",
                  "publish", "EACCES");
}

LAB_TEST(control, what_cannot_be_is_an_error_of_its_kind)
{
    static const struct {
        const char *line;
        const char *code;
        const char *errno_name;
    } rows[] = {
        {"x", "request", NULL},
        {"{\"command\":\"dance\"}", "command", NULL},
        {"{\"command\":\"publish\"}", "request", NULL},
        {"{\"command\":\"publish\",\"arguments\":{\"spec\":80}}", "request", NULL},
        {"{\"command\":\"publish\",\"arguments\":{\"spec\":\"8080:80\",\"x\":1}}", "request", NULL},
        {"{\"command\":\"publish\",\"arguments\":{\"spec\":\"65616:80\"}}", "publish", "EINVAL"},
        {"{\"command\":\"publish\",\"arguments\":{\"spec\":\"unix:/x:80\"}}", "not-supported",
         NULL},
        {"{\"command\":\"publish\",\"arguments\":{\"spec\":\"192.0.2.77:80:80\"}}", "publish",
         "EADDRNOTAVAIL"},
        {"{\"command\":\"unpublish\"}", "request", NULL},
        {"{\"command\":\"unpublish\",\"arguments\":{\"publication\":0}}", "request", NULL},
        {"{\"command\":\"unpublish\",\"arguments\":{\"publication\":-1}}", "request", NULL},
        {"{\"command\":\"unpublish\",\"arguments\":{\"publication\":1.0}}", "request", NULL},
        {"{\"command\":\"unpublish\",\"arguments\":{\"publication\":4294967297}}", "request", NULL},
        {"{\"command\":\"unpublish\",\"arguments\":{\"publication\":1,\"spec\":\"80\"}}", "request",
         NULL},
        {"{\"command\":\"unpublish\",\"arguments\":{\"publication\":1,\"connections\":\"drop\"}}",
         "request", NULL},
        {"{\"command\":\"unpublish\",\"arguments\":{\"publication\":1,\"connections\":null}}",
         "request", NULL},
        {"{\"command\":\"unpublish\",\"arguments\":{\"publication\":1}}", "not-found", "ENOENT"},
        {"{\"command\":\"unpublish\",\"arguments\":{\"spec\":\"8080:80\"}}", "not-found", NULL},
        {"{\"command\":\"list\",\"arguments\":{\"limit\":0}}", "request", NULL},
        {"{\"command\":\"list\",\"arguments\":{\"cursor\":-1}}", "request", NULL},
        {"{\"command\":\"ping\",\"arguments\":{\"x\":1}}", "request", NULL},
    };
    LabHelper *helper;
    int fd = opened(lab, &helper, NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        control_fails(fd, rows[i].line, rows[i].code, rows[i].errno_name);
    }
    free(control_do(fd, "ping", ""));
}

/* ---- sockets ---- */

LAB_TEST(control, inherited_connections_serve_and_an_observer_changes_nothing)
{
    LabRawSetup setup = {.fd_count = 2};
    int control[2];
    int observe[2];
    LabRaw *raw;

    LAB_ASSERT_CALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control));
    LAB_ASSERT_CALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, observe));
    setup.fds[0] = control[1];
    setup.fds[1] = observe[1];
    raw = lab_raw_line(lab, &setup, "--control-fd=%d --observe-fd=%d %d", LAB_RAW_FD,
                       LAB_RAW_FD + 1, (int)lab_pid(lab, LAB_GUEST));
    close(control[1]);
    close(observe[1]);
    lab_raw_ready(raw);
    LAB_ASSERT_EQ(control_publish(control[0], "127.0.0.1:8080:80"), 1);
    free(control_do(observe[0], "list", ""));
    free(control_do(observe[0], "ping", ""));
    control_fails(observe[0], "{\"command\":\"publish\",\"arguments\":{\"spec\":\"8081:80\"}}",
                  "read-only", NULL);
    control_fails(observe[0], "{\"command\":\"unpublish\",\"arguments\":{\"publication\":1}}",
                  "read-only", NULL);
    LAB_ASSERT_EQ(control_listeners(lab, 8080, 8081), 1);
    close(control[0]); /* its end is no end of ours */
    free(control_do(observe[0], "ping", ""));
    close(observe[0]);
    lab_raw_free(raw);
}

LAB_TEST(control, socket_is_for_its_owner_and_goes_with_the_helper)
{
    LabHelper *helper;
    struct stat st;
    int fd = opened(lab, &helper, NULL);

    LAB_ASSERT_CALL(lstat(lab_path(lab, "control"), &st));
    LAB_ASSERT(S_ISSOCK(st.st_mode) && (st.st_mode & 07777) == 0600);
    lab_helper_stop(helper);
    LAB_ASSERT(lstat(lab_path(lab, "control"), &st) < 0 && errno == ENOENT);
    close(fd);
}

LAB_TEST(control, socket_of_a_killed_helper_is_replaced_and_that_of_a_live_one_is_not)
{
    LabHelper *helper;
    int fd = opened(lab, &helper, NULL);
    LabCause cause = {"option", "EADDRINUSE", {"--control", "somebody answers there"}};
    LabRaw *raw;

    raw = lab_raw_line(lab, NULL, "--control=control %d", (int)lab_pid(lab, LAB_GUEST));
    lab_raw_expect_refusal(raw, 1, &cause, 1);
    lab_raw_free(raw);
    free(control_do(fd, "ping", ""));
    lab_helper_forget(helper);
    LAB_ASSERT_CALL(kill(lab_helper_pid(helper), SIGKILL));
    (void)lab_helper_wait_end(helper, LAB_MS(CONTROL_WAIT_MS));
    LAB_ASSERT(control_try(lab_path(lab, "control")) < 0 && errno == ECONNREFUSED);
    raw = lab_raw_line(lab, NULL, "--control=control %d", (int)lab_pid(lab, LAB_GUEST));
    lab_raw_ready(raw);
    fd = control_open(lab_path(lab, "control"));
    free(control_do(fd, "ping", ""));
    lab_raw_free(raw);
}

LAB_TEST(control, place_that_will_not_do_is_refused_and_left_as_it_is)
{
    static const struct {
        const char *name;
        const char *errno_name;
    } rows[] = {{"file", "EEXIST"},      {"fifo", "EEXIST"},         {"link", "EEXIST"},
                {"directory", "EEXIST"}, {"open-to-all/c", "EPERM"}, {"missing/c", "ENOENT"}};
    const char *directory = lab_directory(lab);
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;

    lab_write_file(lab_path(lab, "file"), "precious");
    lab_do(lab, LAB_RUNTIME, "mkfifo %s/fifo", directory);
    lab_do(lab, LAB_RUNTIME, "ln -s %s/file %s/link", directory, directory);
    lab_do(lab, LAB_RUNTIME, "mkdir %s/directory %s/open-to-all", directory, directory);
    lab_do(lab, LAB_RUNTIME, "chmod 777 %s/open-to-all", directory);
    before = lab_says(lab, LAB_RUNTIME, "ls -lR %s", directory);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        LabCause cause = {"option", rows[i].errno_name, {"--control", rows[i].name}};
        LabRaw *raw =
            lab_raw_line(lab, NULL, "--control=%s %d", rows[i].name, (int)lab_pid(lab, LAB_GUEST));

        lab_raw_expect_refusal(raw, 1, &cause, 1);
        lab_raw_free(raw);
    }
    after = lab_says(lab, LAB_RUNTIME, "ls -lR %s", directory);
    LAB_CHECK(strcmp(before, after) == 0, "before:\n%s\nafter:\n%s", before, after);
}

/* ---- for ever ---- */

typedef struct Size {
    long rss_kib;
    long fds;
} Size;

static Size size_of(const LabTrio *trio)
{
    return (Size){
        control_status(trio->supervisor, "VmRSS") + control_status(trio->datapath, "VmRSS"),
        control_status(trio->supervisor, "FDSize") + control_status(trio->datapath, "FDSize")};
}

static void comes_and_goes(Lab *lab, unsigned rounds)
{
    LabHelper *helper;
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);
    int fd = opened(lab, &helper, NULL);
    LabTrio trio = lab_trio(lab, lab_helper_pid(helper), LAB_GUEST);
    Size before = {0};
    Size after;

    for (unsigned round = 0; round < rounds; round++) {
        json_int_t id = control_publish(fd, "0.0.0.0:8080:80/tcp+udp");

        /* Now and then with somebody connected, who is kept or cut. */
        if (round % 100 == 0) {
            int client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
            int server = lab_accepted(listener);

            lab_say(client, server, "here");
            control_unpublish(fd, id, round % 200 == 0 ? "keep" : "cut");
            close(client);
            close(server);
        } else {
            control_unpublish(fd, id, "keep");
        }
        if (round == rounds / 4) {
            before = size_of(&trio);
        }
    }
    after = size_of(&trio);
    /* A sanitizer keeps what was freed for a while: then only the fds tell. */
    LAB_CHECK((lab_time_factor() > 1 || after.rss_kib - before.rss_kib < 1024) &&
                  after.fds == before.fds,
              "%ld KiB and room for %ld fds, then %ld and %ld", before.rss_kib, before.fds,
              after.rss_kib, after.fds);
    LAB_ASSERT_EQ(control_listeners(lab, 8080, 8080), 0);
    free(control_do(fd, "ping", ""));
}

LAB_TEST(control, same_port_three_thousand_times_leaves_nothing, .limit_ms = 120000)
{
    comes_and_goes(lab, 3000);
}

LAB_TEST(control, same_port_a_hundred_thousand_times_leaves_nothing_for_long, .limit_ms = 700000)
{
    if (g_getenv("SALLYPORT_TEST_LONG") == NULL)
        lab_skip("100,000 rounds, only with SALLYPORT_TEST_LONG");
    comes_and_goes(lab, 100000);
}
