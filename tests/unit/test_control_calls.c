/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_control_calls.c - libsallyport: the commands of a control socket, and their answers as structs
 *
 * Not here: what can become of the connection (test_control_link.c).
 */
#include "config.h"

#include "control_peer.h"

#include <sys/stat.h>

TestSuite(control_calls, .timeout = 60);

#define RECORD                                                                                     \
    "\"spec\":\"8080:80\",\"protocol\":\"tcp\",\"family\":\"ipv4\",\"host_addr\":\"0.0.0.0\","     \
    "\"host_ports\":\"8080\",\"guest_ports\":\"80\",\"exposure\":\"all\",\"source\":\"client\""

Test(control_calls, publish_returns_records_with_the_number_of_the_publication)
{
    Peer peer = peer_new();
    SallyportPublishedList *list = NULL;

    peer_says(&peer, "{\"id\":1,\"return\":{\"publication\":7,\"published\":[{" RECORD
                     ",\"name\":\"web\",\"new\":1},{" RECORD "}]}}");
    cr_assert_eq(sallyport_control_publish(peer.control, "8080:80", WAIT_MS, &list), 0);
    peer_heard(&peer, "{\"id\":1,\"command\":\"publish\",\"arguments\":{\"spec\":\"8080:80\"}}");
    sallyport_control_close(peer.control);
    peer.control = NULL;
    cr_assert_eq(list->publication, 7);
    cr_assert_eq(list->count, 2);
    cr_assert_eq(list->items[0].publication, 7);
    cr_assert_str_eq(list->items[0].spec, "8080:80");
    cr_assert_str_eq(list->items[0].protocol, "tcp");
    cr_assert_str_eq(list->items[0].family, "ipv4");
    cr_assert_str_eq(list->items[0].host_addr, "0.0.0.0");
    cr_assert_str_eq(list->items[0].host_ports, "8080");
    cr_assert_str_eq(list->items[0].guest_ports, "80");
    cr_assert_str_eq(list->items[0].exposure, "all");
    cr_assert_str_eq(list->items[0].source, "client");
    cr_assert_str_eq(list->items[0].name, "web");
    cr_assert_null(list->items[1].name);
    cr_assert_null(list->items[1].guest_addr);
    cr_assert_null(list->items[1].interface);
    cr_assert_null(list->items[1].origin);
    cr_assert_not(list->more);
    sallyport_published_list_free(list);
    peer_free(&peer);
}

Test(control_calls, publish_does_without_a_place_for_its_result)
{
    Peer peer = peer_new();
    SallyportPublishedList *list = NULL;

    peer_says(&peer, "{\"id\":1,\"return\":{\"publication\":7,\"published\":[{" RECORD "}]}}");
    peer_says(&peer, "{\"id\":2,\"return\":{\"publication\":7,\"published\":[],\"more\":true}}");
    cr_assert_eq(sallyport_control_publish(peer.control, "8080:80", WAIT_MS, NULL), 0);
    sallyport_published_list_free(NULL);
    cr_assert_eq(sallyport_control_publish(peer.control, "1-9", WAIT_MS, &list), 0);
    cr_assert(list->more);
    sallyport_published_list_free(list);
    peer_free(&peer);
}

Test(control_calls, refused_publish_leaves_its_result_alone)
{
    Peer peer = peer_new();
    SallyportPublishedList *list = NULL;

    peer_says(&peer, "{\"id\":1,\"error\":{\"code\":\"publish\",\"message\":\"no\"}}");
    cr_assert_eq(sallyport_control_publish(peer.control, "80:80", WAIT_MS, &list), -EREMOTEIO);
    cr_assert_null(list);
    peer_free(&peer);
}

Test(control_calls, unpublish_names_number_or_spec_and_what_becomes_of_connections)
{
    Peer peer = peer_new();

    peer_says(&peer, "{\"id\":1,\"return\":{}}");
    peer_says(&peer, "{\"id\":2,\"return\":{}}");
    cr_assert_eq(sallyport_control_unpublish(peer.control, 7, SALLYPORT_KEEP_CONNECTIONS, WAIT_MS),
                 0);
    cr_assert_eq(sallyport_control_unpublish_spec(peer.control, "8080:80",
                                                  SALLYPORT_CUT_CONNECTIONS, WAIT_MS),
                 0);
    peer_heard(&peer, "{\"id\":1,\"command\":\"unpublish\",\"arguments\":{\"publication\":7,"
                      "\"connections\":\"keep\"}}");
    peer_heard(&peer, "{\"id\":2,\"command\":\"unpublish\",\"arguments\":{\"spec\":\"8080:80\","
                      "\"connections\":\"cut\"}}");
    peer_free(&peer);
}

Test(control_calls, list_returns_numbers_and_origins)
{
    Peer peer = peer_new();
    SallyportPublishedList *list = NULL;

    peer_says(&peer, "{\"id\":1,\"return\":{\"published\":["
                     "{\"publication\":0,\"origin\":\"command-line\"," RECORD "},"
                     "{\"publication\":3,\"origin\":\"control\"," RECORD
                     ",\"guest_addr\":\"10.0.2.5\",\"interface\":\"eth0\"}]}}");
    peer_says(&peer, "{\"id\":2,\"return\":{\"published\":[],\"cursor\":null}}");
    cr_assert_eq(sallyport_control_list(peer.control, WAIT_MS, &list), 0);
    cr_assert_eq(list->count, 2);
    cr_assert_eq(list->items[0].publication, 0);
    cr_assert_str_eq(list->items[0].origin, "command-line");
    cr_assert_eq(list->items[1].publication, 3);
    cr_assert_str_eq(list->items[1].guest_addr, "10.0.2.5");
    cr_assert_str_eq(list->items[1].interface, "eth0");
    sallyport_published_list_free(list);
    cr_assert_eq(sallyport_control_list(peer.control, WAIT_MS, &list), 0);
    cr_assert_eq(list->count, 0);
    sallyport_published_list_free(list);
    peer_heard(&peer, "{\"id\":1,\"command\":\"list\",\"arguments\":{}}");
    peer_free(&peer);
}

Test(control_calls, list_of_several_pages_is_one)
{
    Peer peer = peer_new();
    SallyportPublishedList *list = NULL;

    peer_says(&peer, "{\"id\":1,\"return\":{\"published\":[{\"publication\":1," RECORD
                     "}],\"cursor\":65537}}");
    peer_says(&peer, "{\"id\":2,\"return\":{\"published\":[{\"publication\":1," RECORD
                     "},{\"publication\":2," RECORD "}],\"cursor\":null}}");
    cr_assert_eq(sallyport_control_list(peer.control, WAIT_MS, &list), 0);
    cr_assert_eq(list->count, 3);
    cr_assert_eq(list->items[0].publication, 1);
    cr_assert_eq(list->items[2].publication, 2);
    cr_assert_str_eq(list->items[0].spec, "8080:80");
    sallyport_published_list_free(list);
    peer_heard(&peer, "{\"id\":1,\"command\":\"list\",\"arguments\":{}}");
    peer_heard(&peer, "{\"id\":2,\"command\":\"list\",\"arguments\":{\"cursor\":65537}}");
    peer_free(&peer);
}

Test(control_calls, list_that_fails_on_a_later_page_or_goes_round_in_circles_is_none)
{
    Peer peer = peer_new();
    SallyportPublishedList *list = NULL;

    peer_says(&peer, "{\"id\":1,\"return\":{\"published\":[{\"publication\":1," RECORD
                     "}],\"cursor\":1}}");
    peer_says(&peer, "{\"id\":2,\"error\":{\"code\":\"internal\",\"message\":\"no\"}}");
    peer_says(&peer, "{\"id\":3,\"return\":{\"published\":[],\"cursor\":1}}");
    peer_says(&peer, "{\"id\":4,\"return\":{\"published\":[],\"cursor\":1}}");
    cr_assert_eq(sallyport_control_list(peer.control, WAIT_MS, &list), -EREMOTEIO);
    cr_assert_eq(sallyport_control_list(peer.control, WAIT_MS, &list), -EBADMSG);
    cr_assert_null(list);
    peer_free(&peer);
}

#define FLOW(port)                                                                                 \
    "{\"path\":\"relay\",\"protocol\":\"tcp\",\"guest\":{\"local\":\"10.0.2.100:80\",\"remote\":"  \
    "\"192.0.2.1:" port "\"},\"host\":{\"local\":\"192.0.2.1:8080\",\"remote\":\"192.0.2.2:" port  \
    "\"},\"bytes_in\":12,\"bytes_out\":9007199254740993,\"age_ms\":5,\"state\":\"open\"}"

Test(control_calls, flows_come_in_pages_with_a_cursor_of_any_kind)
{
    Peer peer = peer_new();
    SallyportFlowList *page = NULL, *next = NULL;

    peer_says(&peer,
              "{\"id\":1,\"return\":{\"flows\":[" FLOW("1") "," FLOW("2") "],\"cursor\":42}}");
    peer_says(&peer, "{\"id\":2,\"return\":{\"flows\":[{\"path\":\"nat\",\"protocol\":\"udp\","
                     "\"guest\":{\"local\":\"a\",\"remote\":\"b\"},\"bytes_in\":0,\"bytes_out\":0,"
                     "\"age_ms\":0,\"state\":\"\"}],\"cursor\":null}}");
    cr_assert_eq(sallyport_control_flows(peer.control, NULL, 2, WAIT_MS, &page), 0);
    cr_assert_eq(page->count, 2);
    cr_assert_str_eq(page->cursor, "42");
    cr_assert_str_eq(page->items[1].path, "relay");
    cr_assert_str_eq(page->items[1].protocol, "tcp");
    cr_assert_str_eq(page->items[1].state, "open");
    cr_assert_str_eq(page->items[1].guest_local, "10.0.2.100:80");
    cr_assert_str_eq(page->items[1].guest_remote, "192.0.2.1:2");
    cr_assert_str_eq(page->items[1].host_local, "192.0.2.1:8080");
    cr_assert_str_eq(page->items[1].host_remote, "192.0.2.2:2");
    cr_assert_eq(page->items[1].bytes_in, 12);
    cr_assert_eq(page->items[1].bytes_out, UINT64_C(9007199254740993));
    cr_assert_eq(page->items[1].age_ms, 5);
    cr_assert_eq(sallyport_control_flows(peer.control, page->cursor, 0, WAIT_MS, &next), 0);
    cr_assert_null(next->cursor);
    cr_assert_str_eq(next->items[0].host_local, "", "what is not known");
    sallyport_flow_list_free(page);
    sallyport_flow_list_free(next);
    sallyport_flow_list_free(NULL);
    cr_assert_eq(sallyport_control_flows(peer.control, "not json", 0, WAIT_MS, &next), -EINVAL);
    peer_heard(&peer, "{\"id\":1,\"command\":\"flows\",\"arguments\":{\"limit\":2}}");
    peer_heard(&peer, "{\"id\":2,\"command\":\"flows\",\"arguments\":{\"cursor\":42}}");
    peer_free(&peer);
}

typedef struct Walk {
    unsigned count;
    unsigned end_at;
} Walk;

static int walk(const SallyportFlow *flow, void *user_data)
{
    Walk *state = user_data;

    cr_assert_not_null(flow->guest_remote);
    return ++state->count == state->end_at ? 77 : 0;
}

Test(control_calls, each_flow_walks_all_pages)
{
    Peer peer = peer_new();
    Walk state = {0};

    peer_says(&peer, "{\"id\":1,\"return\":{\"flows\":[" FLOW("1") "," FLOW(
                         "2") "],\"cursor\":{\"a\":1}}}");
    peer_says(&peer, "{\"id\":2,\"return\":{\"flows\":[],\"cursor\":\"b\"}}");
    peer_says(&peer, "{\"id\":3,\"return\":{\"flows\":[" FLOW("3") "]}}");
    cr_assert_eq(sallyport_control_each_flow(peer.control, WAIT_MS, walk, &state), 0);
    cr_assert_eq(state.count, 3);
    peer_heard(&peer, "{\"id\":1,\"command\":\"flows\",\"arguments\":{}}");
    peer_heard(&peer, "{\"id\":2,\"command\":\"flows\",\"arguments\":{\"cursor\":{\"a\":1}}}");
    peer_heard(&peer, "{\"id\":3,\"command\":\"flows\",\"arguments\":{\"cursor\":\"b\"}}");
    peer_free(&peer);
}

Test(control_calls, each_flow_ends_when_it_is_told_to)
{
    Peer peer = peer_new();
    Walk state = {.end_at = 2};

    peer_says(&peer, "{\"id\":1,\"return\":{\"flows\":[" FLOW("1") "," FLOW("2") "," FLOW(
                         "3") "],\"cursor\":1}}");
    cr_assert_eq(sallyport_control_each_flow(peer.control, WAIT_MS, walk, &state), 77);
    cr_assert_eq(state.count, 2);
    peer_free(&peer);
}

Test(control_calls, each_flow_ends_with_an_error_of_a_later_page)
{
    Peer peer = peer_new();
    Walk state = {0};

    peer_says(&peer, "{\"id\":1,\"return\":{\"flows\":[" FLOW("1") "],\"cursor\":1}}");
    peer_says(&peer, "{\"id\":2,\"error\":{\"code\":\"internal\",\"message\":\"no\"}}");
    cr_assert_eq(sallyport_control_each_flow(peer.control, WAIT_MS, walk, &state), -EREMOTEIO);
    cr_assert_eq(state.count, 1);
    peer_free(&peer);
}

Test(control_calls, each_flow_does_not_go_round_in_circles)
{
    Peer peer = peer_new();
    Walk state = {0};

    peer_says(&peer, "{\"id\":1,\"return\":{\"flows\":[],\"cursor\":1}}");
    peer_says(&peer, "{\"id\":2,\"return\":{\"flows\":[],\"cursor\":1}}");
    cr_assert_eq(sallyport_control_each_flow(peer.control, WAIT_MS, walk, &state), -EBADMSG);
    peer_free(&peer);
}

Test(control_calls, deadline_of_each_flow_is_for_all_pages)
{
    Peer peer = peer_new();
    Walk state = {0};
    int64_t begin = now_ms();

    peer_says(&peer, "{\"id\":1,\"return\":{\"flows\":[" FLOW("1") "],\"cursor\":1}}");
    cr_assert_eq(sallyport_control_each_flow(peer.control, 100, walk, &state), -ETIMEDOUT);
    cr_assert_geq(now_ms() - begin, 100);
    cr_assert_eq(state.count, 1);
    peer_free(&peer);
}

Test(control_calls, stats_are_names_with_dots_in_the_order_of_the_reply)
{
    Peer peer = peer_new();
    SallyportStatList *list = NULL;

    peer_says(&peer,
              "{\"id\":1,\"return\":{\"counters\":{\"gate.malformed\":3,\"a\":-1},\"totals\":"
              "{\"tcp\":{\"bytes_in\":9007199254740993}},\"word\":\"x\",\"real\":0.5,"
              "\"list\":[1],\"fds\":12}}");
    peer_says(&peer, "{\"id\":2,\"return\":{}}");
    cr_assert_eq(sallyport_control_stats(peer.control, WAIT_MS, &list), 0);
    cr_assert_eq(list->count, 4);
    cr_assert_str_eq(list->items[0].name, "counters.gate.malformed");
    cr_assert_eq(list->items[0].value, 3);
    cr_assert_str_eq(list->items[1].name, "counters.a");
    cr_assert_eq(list->items[1].value, -1);
    cr_assert_str_eq(list->items[2].name, "totals.tcp.bytes_in");
    cr_assert_eq(list->items[2].value, INT64_C(9007199254740993));
    cr_assert_str_eq(list->items[3].name, "fds");
    cr_assert_eq(list->items[3].value, 12);
    sallyport_stat_list_free(list);
    cr_assert_eq(sallyport_control_stats(peer.control, WAIT_MS, &list), 0);
    cr_assert_eq(list->count, 0);
    sallyport_stat_list_free(list);
    sallyport_stat_list_free(NULL);
    peer_heard(&peer, "{\"id\":1,\"command\":\"stats\"}");
    peer_free(&peer);
}

/* Receives the request and its fd. */
static int peer_gets_fd(const Peer *peer, char *line, size_t size)
{
    _Alignas(struct cmsghdr) char space[CMSG_SPACE(4 * sizeof(int))];
    struct iovec part = {.iov_base = line, .iov_len = size - 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
    ssize_t n = recvmsg(peer->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int fd;

    cr_assert_gt(n, 0);
    line[n] = '\0';
    cr_assert_not_null(header);
    cr_assert_eq(header->cmsg_len, CMSG_LEN(sizeof(int)), "one fd");
    memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    return fd;
}

Test(control_calls, pcap_start_passes_the_fd_and_the_cap)
{
    Peer peer = peer_new();
    char line[512];
    struct stat passed, own;
    int fd;

    peer_says(&peer, "{\"id\":1,\"return\":{}}");
    peer_says(&peer, "{\"id\":2,\"return\":{}}");
    cr_assert_eq(sallyport_control_pcap_start(peer.control, STDERR_FILENO, 4096, WAIT_MS), 0);
    fd = peer_gets_fd(&peer, line, sizeof(line));
    cr_assert_str_eq(line, "{\"id\":1,\"command\":\"pcap\",\"arguments\":{\"action\":\"start\","
                           "\"max_bytes\":4096}}\n");
    cr_assert_eq(fstat(fd, &passed), 0);
    cr_assert_eq(fstat(STDERR_FILENO, &own), 0);
    cr_assert_eq(passed.st_ino, own.st_ino);
    (void)close(fd);
    cr_assert_eq(sallyport_control_pcap_start(peer.control, STDERR_FILENO, 0, WAIT_MS), 0);
    fd = peer_gets_fd(&peer, line, sizeof(line));
    cr_assert_str_eq(line,
                     "{\"id\":2,\"command\":\"pcap\",\"arguments\":{\"action\":\"start\"}}\n");
    (void)close(fd);
    cr_assert_eq(sallyport_control_pcap_start(peer.control, -1, 0, WAIT_MS), -EINVAL);
    cr_assert_eq(sallyport_control_pcap_start(peer.control, 2, UINT64_MAX, WAIT_MS), -EINVAL);
    peer_free(&peer);
}

Test(control_calls, pcap_stop_tells_what_was_written)
{
    Peer peer = peer_new();
    SallyportCapture capture = {.dropped = 9};

    peer_says(&peer, "{\"id\":1,\"return\":{\"bytes\":4000,\"frames\":7}}");
    peer_says(&peer, "{\"id\":2,\"return\":{\"bytes\":4000,\"frames\":7,\"dropped\":2}}");
    peer_says(&peer, "{\"id\":3,\"return\":{\"bytes\":4000,\"frames\":7}}");
    cr_assert_eq(sallyport_control_pcap_stop(peer.control, WAIT_MS, &capture), 0);
    cr_assert_eq(capture.bytes, 4000);
    cr_assert_eq(capture.frames, 7);
    cr_assert_eq(capture.dropped, 0);
    cr_assert_eq(sallyport_control_pcap_stop(peer.control, WAIT_MS, &capture), 0);
    cr_assert_eq(capture.dropped, 2);
    cr_assert_eq(sallyport_control_pcap_stop(peer.control, WAIT_MS, NULL), 0);
    peer_heard(&peer, "{\"id\":1,\"command\":\"pcap\",\"arguments\":{\"action\":\"stop\"}}");
    peer_free(&peer);
}

Test(control_calls, log_level_names_the_level)
{
    Peer peer = peer_new();

    peer_says(&peer, "{\"id\":1,\"return\":{}}");
    cr_assert_eq(sallyport_control_log_level(peer.control, "debug", WAIT_MS), 0);
    peer_heard(&peer, "{\"id\":1,\"command\":\"log-level\",\"arguments\":{\"level\":\"debug\"}}");
    peer_free(&peer);
}

Test(control_calls, strings_that_are_not_utf_8_are_not_sent)
{
    Peer peer = peer_new();
    char byte;

    cr_assert_eq(sallyport_control_publish(peer.control, "\xff", WAIT_MS, NULL), -EINVAL);
    cr_assert_eq(sallyport_control_publish(peer.control, NULL, WAIT_MS, NULL), -EINVAL);
    cr_assert_eq(
        sallyport_control_unpublish_spec(peer.control, "\xff", SALLYPORT_KEEP_CONNECTIONS, WAIT_MS),
        -EINVAL);
    cr_assert_eq(sallyport_control_log_level(peer.control, "\xff", WAIT_MS), -EINVAL);
    cr_assert_eq(recv(peer.fd, &byte, 1, MSG_DONTWAIT), -1);
    peer_free(&peer);
}

static int call_publish(SallyportControl *control)
{
    SallyportPublishedList *list;

    return sallyport_control_publish(control, "80", WAIT_MS, &list);
}

static int call_list(SallyportControl *control)
{
    SallyportPublishedList *list;

    return sallyport_control_list(control, WAIT_MS, &list);
}

static int call_flows(SallyportControl *control)
{
    SallyportFlowList *list;

    return sallyport_control_flows(control, NULL, 0, WAIT_MS, &list);
}

static int call_stats(SallyportControl *control)
{
    SallyportStatList *list;

    return sallyport_control_stats(control, WAIT_MS, &list);
}

static int call_pcap_stop(SallyportControl *control)
{
    return sallyport_control_pcap_stop(control, WAIT_MS, NULL);
}

Test(control_calls, results_that_lack_what_they_must_have_are_ebadmsg)
{
    static const struct {
        int (*call)(SallyportControl *control);
        const char *result;
    } rows[] = {
        {call_publish, "{}"},
        {call_publish, "{\"publication\":1}"},
        {call_publish, "{\"publication\":-1,\"published\":[]}"},
        {call_publish, "{\"publication\":\"1\",\"published\":[]}"},
        {call_publish, "{\"publication\":1,\"published\":{}}"},
        {call_publish, "{\"publication\":1,\"published\":[7]}"},
        {call_publish, "{\"publication\":1,\"published\":[{\"spec\":\"80\"}]}"},
        {call_list, "{\"published\":null}"},
        {call_list, "{\"published\":[{" RECORD "}]}"},
        {call_flows, "{\"flows\":7}"},
        {call_flows, "{\"flows\":[{}]}"},
        {call_flows, "{\"flows\":[{\"path\":\"nat\",\"protocol\":\"tcp\",\"guest\":{\"local\":"
                     "\"a\",\"remote\":\"b\"},\"bytes_in\":-1,\"bytes_out\":1,\"age_ms\":1,"
                     "\"state\":\"x\"}]}"},
        {call_stats, "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}"
                     "}}}}}}"},
        {call_pcap_stop, "{\"bytes\":1}"},
        {call_pcap_stop, "{\"bytes\":1,\"frames\":1.5}"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        Peer peer = peer_new();

        peer_says(&peer, "{\"id\":1,\"return\":%s}", rows[i].result);
        cr_expect_eq(rows[i].call(peer.control), -EBADMSG, "%s", rows[i].result);
        cr_expect_eq(rows[i].call(peer.control), -EPIPE, "%s", rows[i].result);
        peer_free(&peer);
    }
}
