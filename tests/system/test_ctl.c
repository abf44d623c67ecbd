/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_ctl.c - a running helper, asked and changed: by sallyport ctl, and by a parent with libsallyport
 *
 * Not here: what else clients may do to the socket; clients and servers that do not speak the protocol (unit tests).
 */
#include "config.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lab_helper.h"
#include "lab_test.h"

#define CTL_MS 10000

/* ---- by sallyport ctl ---- */

static const char *control_path(Lab *lab)
{
    return lab_path(lab, "control");
}

static LabHelper *controlled_helper(Lab *lab)
{
    g_autofree char *option = g_strdup_printf("--control=%s", control_path(lab));

    return lab_helper(lab, option, NULL);
}

/* Words, then NULL. Return: exit status; the output is of this call until the next */
static int ctl(Lab *lab, LabOutput *output, ...) __attribute__((sentinel));
static int ctl(Lab *lab, LabOutput *output, ...)
{
    const char *words[16] = {lab_helper_program(), "ctl", "--control", control_path(lab)};
    va_list args;
    size_t count = 4;

    lab_output_clear(output);
    va_start(args, output);
    do {
        words[count] = va_arg(args, const char *);
    } while (words[count++] != NULL);
    va_end(args);
    return lab_execv(lab, LAB_RUNTIME, output, words);
}

static void expect_silence(const LabOutput *output)
{
    LAB_CHECK(output->err[0] == '\0', "it said: %s", output->err);
}

/* One line on stderr that has the text, nothing on stdout. */
static void expect_complaint(const LabOutput *output, const char *text)
{
    const char *end = strchr(output->err, '\n');

    LAB_CHECK(output->out[0] == '\0', "it printed: %s", output->out);
    LAB_CHECK(end != NULL && end[1] == '\0' && strstr(output->err, text) != NULL, "it said: %s",
              output->err);
}

/* The number in the first column of the second line. */
static char *first_number(const LabOutput *output)
{
    const char *line = strchr(output->out, '\n');

    LAB_ASSERT(line != NULL);
    return g_strdup_printf("%ld", strtol(line + 1, NULL, 10));
}

static void expect_refused(Lab *lab, const char *address, uint16_t port)
{
    int fd = lab_connect(lab, LAB_FAR, address, port, LAB_MS(LAB_WAIT_MS));

    LAB_CHECK(fd < 0, "port %u is still served", port);
    LAB_ASSERT_EQ(errno, ECONNREFUSED);
}

LAB_TEST(ctl, ping_says_the_version_of_the_helper)
{
    LabOutput output = {0};

    (void)controlled_helper(lab);
    LAB_ASSERT_EQ(ctl(lab, &output, "ping", NULL), 0);
    LAB_CHECK(strcmp(output.out, "sallyport " PACKAGE_VERSION "\n") == 0, "%s", output.out);
    expect_silence(&output);
    lab_output_clear(&output);
}

LAB_TEST(ctl, what_it_publishes_is_served_to_the_far_machine_until_it_is_taken_back)
{
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);
    LabHelper *helper = controlled_helper(lab);
    LabOutput output = {0};
    g_autofree char *number = NULL;
    int client, server;

    expect_refused(lab, LAB_HOST_V4, 8080);
    LAB_ASSERT_EQ(ctl(lab, &output, "publish", "8080:8000", NULL), 0);
    expect_silence(&output);
    LAB_CHECK(strstr(output.out, "0.0.0.0:8080") != NULL, "%s", output.out);
    LAB_CHECK(strstr(output.out, "[::]:8080") != NULL, "%s", output.out);
    number = first_number(&output);

    client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    server = lab_accepted(listener);
    lab_say(client, server, "there");
    lab_say(server, client, "and back");

    LAB_ASSERT_EQ(ctl(lab, &output, "list", NULL), 0);
    LAB_CHECK(strstr(output.out, "control") != NULL && strstr(output.out, "8080:8000") != NULL,
              "%s", output.out);
    LAB_ASSERT_EQ(ctl(lab, &output, "unpublish", number, NULL), 0);
    expect_silence(&output);
    LAB_CHECK(output.out[0] == '\0', "%s", output.out);
    expect_refused(lab, LAB_HOST_V4, 8080);
    expect_refused(lab, LAB_HOST_V6, 8080);
    lab_say(client, server, "connections live on");

    LAB_ASSERT_EQ(ctl(lab, &output, "list", NULL), 0);
    LAB_CHECK(strstr(output.out, "8080") == NULL, "%s", output.out);
    LAB_ASSERT(lab_helper_await(helper, SALLYPORT_EVENT_UNPUBLISHED, NULL, LAB_MS(LAB_WAIT_MS)) !=
               NULL);
    lab_output_clear(&output);
    close(client);
    close(server);
}

LAB_TEST(ctl, unpublish_with_cut_ends_the_connections_of_that_spec)
{
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);
    LabOutput output = {0};
    int client, server;

    (void)controlled_helper(lab);
    LAB_ASSERT_EQ(ctl(lab, &output, "publish", "8080:8000", NULL), 0);
    client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    server = lab_accepted(listener);
    lab_say(client, server, "there");
    LAB_ASSERT_EQ(ctl(lab, &output, "unpublish", "--cut", "8080:8000", NULL), 0);
    LAB_ASSERT_EQ(lab_wait_end(client, LAB_MS(LAB_WAIT_MS)), LAB_END_RESET);
    expect_refused(lab, LAB_HOST_V4, 8080);
    lab_output_clear(&output);
    close(client);
    close(server);
}

LAB_TEST(ctl, refusals_are_a_line_and_status_1_and_change_nothing)
{
    int taken = lab_listen(lab, LAB_HOST, LAB_HOST_V4, 8080);
    LabOutput output = {0};

    (void)controlled_helper(lab);
    LAB_ASSERT_EQ(ctl(lab, &output, "publish", "8080:8000", NULL), 1);
    expect_complaint(&output, "EADDRINUSE");
    LAB_ASSERT_EQ(ctl(lab, &output, "publish", "8080:8000/sctp", NULL), 1);
    expect_complaint(&output, "sctp");
    LAB_ASSERT_EQ(ctl(lab, &output, "unpublish", "77", NULL), 1);
    expect_complaint(&output, "no such publication");
    LAB_ASSERT_EQ(ctl(lab, &output, "unpublish", "8080:8000", NULL), 1);
    expect_complaint(&output, "no such publication");
    LAB_ASSERT_EQ(ctl(lab, &output, "--json", "list", NULL), 0);
    LAB_CHECK(strstr(output.out, "\"published\":[]") != NULL, "%s", output.out);
    lab_output_clear(&output);
    close(taken);
}

LAB_TEST(ctl, command_line_publications_are_listed_and_can_be_taken_back)
{
    g_autofree char *option = g_strdup_printf("--control=%s", control_path(lab));
    LabOutput output = {0};

    (void)lab_helper(lab, "-p 8080:8000", option, NULL);
    LAB_ASSERT_EQ(ctl(lab, &output, "list", NULL), 0);
    LAB_CHECK(strstr(output.out, "command-line") != NULL, "%s", output.out);
    LAB_ASSERT_EQ(ctl(lab, &output, "unpublish", "8080:8000", NULL), 0);
    expect_refused(lab, LAB_HOST_V4, 8080);
    lab_output_clear(&output);
}

/* One word of a row, counted from 0; columns have two blanks between them. g_free(). */
static char *cell(const char *out, unsigned row, unsigned column)
{
    g_auto(GStrv) lines = g_strsplit(out, "\n", -1);
    g_auto(GStrv) words = NULL;
    g_autoptr(GRegex) gap = g_regex_new("  +", 0, 0, NULL);

    LAB_ASSERT(g_strv_length(lines) > row);
    words = g_regex_split(gap, g_strstrip(lines[row]), 0);
    LAB_CHECK(g_strv_length(words) > column, "no column %u: %s", column, lines[row]);
    return g_strdup(words[column]);
}

static void expect_cell(const LabOutput *output, unsigned row, unsigned column, const char *text)
{
    g_autofree char *word = cell(output->out, row, column);

    LAB_CHECK(strcmp(word, text) == 0, "%s is not %s in:\n%s", word, text, output->out);
}

/* Lists flows until that cell has that text. */
static void await_cell(Lab *lab, LabOutput *output, unsigned row, unsigned column, const char *text)
{
    int64_t end = lab_now() + LAB_MS(CTL_MS);
    bool there = false;

    while (!there && lab_now() < end) {
        g_autofree char *word = NULL;

        LAB_ASSERT_EQ(ctl(lab, output, "flows", NULL), 0);
        word = cell(output->out, row, column);
        there = strcmp(word, text) == 0;
    }
    LAB_CHECK(there, "no %s in:\n%s", text, output->out);
}

/* PATH, PROTOCOL, STATE, GUEST, GUEST-PEER, HOST, HOST-PEER, IN, OUT, AGE */
LAB_TEST(ctl, flows_are_those_of_a_published_port_with_their_bytes)
{
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);
    g_autofree char *option = g_strdup_printf("--control=%s", control_path(lab));
    LabOutput output = {0};
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int client, server;

    (void)lab_helper(lab, "-p 8080:8000", option, NULL);
    LAB_ASSERT_EQ(ctl(lab, &output, "flows", NULL), 0);
    LAB_CHECK(strcspn(output.out, "\n") + 1 == strlen(output.out), "%s", output.out);
    client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    server = lab_accepted(listener);
    lab_say(client, server, "there");
    lab_say(server, client, "and back");
    await_cell(lab, &output, 1, 8, "8"); /* counted a moment after they are sent */
    expect_cell(&output, 1, 0, "relay");
    expect_cell(&output, 1, 1, "tcp");
    expect_cell(&output, 1, 2, "open");
    expect_cell(&output, 1, 3, LAB_GUEST_V4 ":8000");
    expect_cell(&output, 1, 5, LAB_HOST_V4 ":8080");
    LAB_ASSERT_CALL(getsockname(client, (struct sockaddr *)&address, &length));
    expect_cell(&output, 1, 6, lab_address_text(&address));
    expect_cell(&output, 1, 7, "5");

    LAB_ASSERT_EQ(ctl(lab, &output, "top", "--iterations", "1", "--interval", "0.1", NULL), 0);
    LAB_CHECK(strstr(output.out, "1 flow, in 0/s, out 0/s\n") == output.out, "%s", output.out);
    LAB_CHECK(strstr(output.out, LAB_GUEST_V4 ":8000") != NULL, "%s", output.out);
    lab_output_clear(&output);
    close(client);
    close(server);
}

LAB_TEST(ctl, stats_have_a_name_and_a_number_each)
{
    LabOutput output = {0};
    g_auto(GStrv) lines = NULL;

    (void)controlled_helper(lab);
    LAB_ASSERT_EQ(ctl(lab, &output, "stats", NULL), 0);
    LAB_CHECK(strstr(output.out, "counters.gate.malformed ") != NULL, "%s", output.out);
    lines = g_strsplit(output.out, "\n", -1);
    for (unsigned i = 1; lines[i] != NULL && *lines[i] != '\0'; i++) {
        g_autofree char *value = cell(output.out, i, 1);
        char *end;

        (void)strtoll(value, &end, 10);
        LAB_CHECK(*end == '\0', "%s", lines[i]);
    }
    lab_output_clear(&output);
}

/* A datagram of a hundred bytes goes out, past the fast path. */
static void send_hundred_bytes(Lab *lab)
{
    int far = lab_udp(lab, LAB_FAR, LAB_FAR_V4, 9000);
    int guest = lab_udp_connected(lab, LAB_GUEST, LAB_FAR_V4, 9000);
    char bytes[100] = "";

    lab_send(guest, bytes, sizeof bytes);
    LAB_ASSERT_EQ(lab_recv_datagram(far, bytes, sizeof bytes, NULL, LAB_MS(LAB_WAIT_MS)), 100);
    close(guest);
    close(far);
}

LAB_TEST(ctl, pcap_has_what_passed_between_start_and_stop)
{
    const char *path = lab_path(lab, "capture");
    LabOutput output = {0};
    g_autofree char *content = NULL;
    gsize size = 0;

    (void)controlled_helper(lab);
    LAB_ASSERT_EQ(ctl(lab, &output, "pcap", "start", path, NULL), 0);
    expect_silence(&output);
    send_hundred_bytes(lab);
    LAB_ASSERT_EQ(ctl(lab, &output, "pcap", "stop", NULL), 0);
    LAB_ASSERT(g_file_get_contents(path, &content, &size, NULL));
    /* With its headers, behind that of the file. */
    LAB_CHECK(size >= 24 + 16 + 14 + 20 + 8 + 100, "%zu bytes: %s", size, output.out);
    lab_output_clear(&output);
}

LAB_TEST(ctl, pcap_file_is_no_larger_than_asked_for)
{
    const char *path = lab_path(lab, "capture");
    LabOutput output = {0};
    g_autofree char *content = NULL;
    gsize size = 0;

    (void)controlled_helper(lab);
    LAB_ASSERT_EQ(ctl(lab, &output, "pcap", "start", path, "--max-bytes=300", NULL), 0);
    for (int i = 0; i < 3; i++) {
        send_hundred_bytes(lab);
    }
    LAB_ASSERT_EQ(ctl(lab, &output, "pcap", "stop", NULL), 0);
    LAB_ASSERT(g_file_get_contents(path, &content, &size, NULL));
    LAB_CHECK(size > 24 && size <= 300, "%zu bytes: %s", size, output.out);
    lab_output_clear(&output);
}

LAB_TEST(ctl, helper_that_is_not_there_any_more_is_said_so)
{
    LabHelper *helper = controlled_helper(lab);
    LabOutput output = {0};

    LAB_ASSERT_EQ(ctl(lab, &output, "ping", NULL), 0);
    lab_helper_stop(helper);
    LAB_ASSERT_EQ(ctl(lab, &output, "ping", NULL), 1);
    expect_complaint(&output, "No such file or directory");
    lab_output_clear(&output);
}

/* ---- by a parent ---- */

static LabHelper *spawn_with_control(Lab *lab, SallyportControl **ret_control)
{
    SallyportBuilder *builder = lab_helper_builder(lab);
    LabHelper *helper;

    LAB_ASSERT_EQ(sallyport_builder_set_pid(builder, lab_pid(lab, LAB_GUEST)), 0);
    LAB_ASSERT_EQ(sallyport_builder_set_control(builder, true), 0);
    helper = lab_helper_spawn_builder(lab, builder);
    LAB_ASSERT_EQ(sallyport_take_control(lab_helper_object(helper), ret_control), 0);
    return helper;
}

LAB_TEST(parent_control, request_before_ready_is_answered_when_it_is)
{
    SallyportControl *control = NULL;
    LabHelper *helper = spawn_with_control(lab, &control);
    const char *version = NULL;

    LAB_ASSERT_EQ(sallyport_control_ping(control, LAB_MS(CTL_MS), &version), 0);
    LAB_ASSERT(strcmp(version, PACKAGE_VERSION) == 0);
    lab_helper_wait_ready(helper);
    sallyport_control_close(control);
}

LAB_TEST(parent_control, publishes_a_port_the_kernel_picks_and_takes_it_back)
{
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);
    SallyportControl *control = NULL;
    LabHelper *helper = spawn_with_control(lab, &control);
    SallyportPublishedList *list = NULL;
    int64_t number;
    uint16_t port;
    int client, server;
    char *publication;
    const char *json;

    lab_helper_wait_ready(helper);
    LAB_ASSERT_EQ(sallyport_control_publish(control, LAB_HOST_V4 "::8000", LAB_MS(CTL_MS), &list),
                  0);
    LAB_ASSERT_EQ(list->count, 1);
    number = list->publication;
    LAB_ASSERT(strcmp(list->items[0].protocol, "tcp") == 0);
    LAB_ASSERT(strcmp(list->items[0].host_addr, LAB_HOST_V4) == 0);
    LAB_ASSERT(strcmp(list->items[0].guest_ports, "8000") == 0);
    port = (uint16_t)strtoul(list->items[0].host_ports, NULL, 10);
    LAB_ASSERT(port > 0);
    sallyport_published_list_free(list);

    client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, port);
    server = lab_accepted(listener);
    lab_say(client, server, "there");
    lab_say(server, client, "and back");

    /* The report pipe tells the same. */
    json = lab_helper_await(helper, SALLYPORT_EVENT_PUBLISHED, NULL, LAB_MS(LAB_WAIT_MS));
    LAB_ASSERT(json != NULL);
    publication = lab_record_value(json, "publication");
    LAB_ASSERT(publication != NULL);
    LAB_ASSERT_EQ(strtoll(publication, NULL, 10), number);
    free(publication);

    LAB_ASSERT_EQ(sallyport_control_list(control, LAB_MS(CTL_MS), &list), 0);
    LAB_ASSERT_EQ(list->count, 1);
    LAB_ASSERT_EQ(list->items[0].publication, number);
    LAB_ASSERT(strcmp(list->items[0].origin, "control") == 0);
    sallyport_published_list_free(list);

    LAB_ASSERT_EQ(
        sallyport_control_unpublish(control, number, SALLYPORT_CUT_CONNECTIONS, LAB_MS(CTL_MS)), 0);
    LAB_ASSERT_EQ(lab_wait_end(client, LAB_MS(LAB_WAIT_MS)), LAB_END_RESET);
    expect_refused(lab, LAB_HOST_V4, port);
    LAB_ASSERT_EQ(
        sallyport_control_unpublish(control, number, SALLYPORT_CUT_CONNECTIONS, LAB_MS(CTL_MS)),
        -EREMOTEIO);
    LAB_ASSERT(strcmp(sallyport_control_refusal(control)->code, SALLYPORT_REFUSAL_NOT_FOUND) == 0);
    sallyport_control_close(control);
    close(client);
    close(server);
}

LAB_TEST(parent_control, refusal_names_the_errno_and_the_connection_lives_on)
{
    int taken = lab_listen(lab, LAB_HOST, LAB_HOST_V4, 8080);
    SallyportControl *control = NULL;
    LabHelper *helper = spawn_with_control(lab, &control);
    const SallyportRefusal *refusal;

    lab_helper_wait_ready(helper);
    LAB_ASSERT_EQ(sallyport_control_publish(control, "8080:80", LAB_MS(CTL_MS), NULL), -EREMOTEIO);
    refusal = sallyport_control_refusal(control);
    LAB_ASSERT(strcmp(refusal->code, SALLYPORT_REFUSAL_PUBLISH) == 0);
    LAB_ASSERT(refusal->errno_name != NULL && strcmp(refusal->errno_name, "EADDRINUSE") == 0);
    close(taken);
    LAB_ASSERT_EQ(sallyport_control_publish(control, "8080:80", LAB_MS(CTL_MS), NULL), 0);
    LAB_ASSERT_EQ(sallyport_control_call(control, "dance", NULL, -1, LAB_MS(CTL_MS)), -EREMOTEIO);
    LAB_ASSERT(strcmp(sallyport_control_refusal(control)->code, SALLYPORT_REFUSAL_COMMAND) == 0);
    LAB_ASSERT_EQ(sallyport_control_call(control, "ping", "{\"x\":1}", -1, LAB_MS(CTL_MS)),
                  -EREMOTEIO);
    LAB_ASSERT(strcmp(sallyport_control_refusal(control)->code, SALLYPORT_REFUSAL_REQUEST) == 0);
    sallyport_control_close(control);
}

LAB_TEST(parent_control, hundreds_of_publications_are_one_list)
{
    SallyportControl *control = NULL;
    LabHelper *helper = spawn_with_control(lab, &control);
    SallyportPublishedList *list = NULL;

    lab_helper_wait_ready(helper);
    for (int i = 0; i < 300; i++) {
        g_autofree char *spec = g_strdup_printf("127.0.0.1:%d:80,name=number-%d", 20000 + i, i);

        LAB_ASSERT_EQ(sallyport_control_publish(control, spec, LAB_MS(CTL_MS), NULL), 0);
    }
    LAB_ASSERT_EQ(sallyport_control_list(control, LAB_MS(CTL_MS), &list), 0);
    LAB_ASSERT_EQ(list->count, 300);
    for (size_t i = 0; i < list->count; i++) {
        g_autofree char *name = g_strdup_printf("number-%zu", i);

        LAB_ASSERT(strcmp(list->items[i].name, name) == 0);
    }
    LAB_CHECK(strlen(sallyport_control_reply(control)) < SALLYPORT_CONTROL_LINE_MAX, "a page");
    sallyport_published_list_free(list);
    sallyport_control_close(control);
}

LAB_TEST(parent_control, end_of_the_helper_is_epipe)
{
    SallyportControl *control = NULL;
    LabHelper *helper = spawn_with_control(lab, &control);

    lab_helper_wait_ready(helper);
    LAB_ASSERT_EQ(sallyport_control_ping(control, LAB_MS(CTL_MS), NULL), 0);
    lab_helper_stop(helper);
    LAB_ASSERT_EQ(sallyport_control_ping(control, LAB_MS(CTL_MS), NULL), -EPIPE);
    sallyport_control_close(control);
}
