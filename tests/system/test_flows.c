/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_flows.c - what a running helper says of its flows, counters, frames and itself, when it is asked
 *
 * Bytes are compared with what ss(8) says of the same sockets of the helper's: the tuple is the one that the flow names.
 */
#include "config.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "askfixture.h"
#include "lab_test.h"

#define MIB   (1024 * 1024)
#define CHUNK (64 * 1024)

/* Bytes that a socket has sent and had acknowledged, and received. */
typedef struct Kernel {
    uint64_t acked;
    uint64_t received;
} Kernel;

static uint64_t ss_number(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at == NULL ? 0 : g_ascii_strtoull(at + strlen(name), NULL, 10);
}

static Kernel ss_says(Lab *lab, const char *local, const char *remote)
{
    g_autofree char *text = lab_says(lab, LAB_HOST, "ss -Htin src '%s' dst '%s'", local, remote);

    LAB_CHECK(strstr(text, "ESTAB") != NULL, "ss knows no socket %s %s: %s", local, remote, text);
    return (Kernel){ss_number(text, "bytes_acked:"), ss_number(text, "bytes_received:")};
}

static const char *flow_text(const json_t *flow, const char *side, const char *end)
{
    const json_t *value = json_object_get(flow, side);

    value = end != NULL ? json_object_get(value, end) : value;
    return json_is_string(value) ? json_string_value(value) : "null";
}

/* The one open flow whose guest's end is this, or NULL; to be json_decref()ed. */
static json_t *find_flow(int control, const char *guest_local)
{
    json_t *result = control_call(control, "flows", NULL, -1);
    json_t *found = NULL;
    json_t *flow;
    size_t index;

    json_array_foreach(json_object_get(result, "flows"), index, flow)
    {
        if (strcmp(flow_text(flow, "guest", "local"), guest_local) == 0 &&
            strcmp(flow_text(flow, "state", NULL), "open") == 0) {
            LAB_CHECK(found == NULL, "%s is listed twice", guest_local);
            found = json_incref(flow);
        }
    }
    json_decref(result);
    return found;
}

/* Waits for it: both ends may know that they are connected before the helper does. */
static json_t *flow_of(int control, const char *guest_local)
{
    int64_t deadline = lab_now() + LAB_MS(LAB_WAIT_MS);
    json_t *found = NULL;

    while (found == NULL && lab_now() < deadline) {
        found = find_flow(control, guest_local);
    }
    LAB_CHECK(found != NULL, "no flow of %s", guest_local);
    return found;
}

/* "10.0.2.100:40000" of a socket itself. */
static char *own_text(int fd)
{
    struct sockaddr_storage own;
    socklen_t len = sizeof(own);

    LAB_ASSERT_CALL(getsockname(fd, (struct sockaddr *)&own, &len));
    return g_strdup(lab_address_text(&own));
}

static void echo(int fd, size_t bytes)
{
    static char out[CHUNK];
    static char in[CHUNK];

    for (size_t done = 0; done < bytes; done += CHUNK) {
        lab_send(fd, out, CHUNK);
        lab_recv(fd, in, CHUNK);
    }
}

/* SYN and FIN have numbers of their own, and count as acknowledged bytes. */
static bool agrees(uint64_t ours, uint64_t kernel)
{
    return kernel == ours || kernel == ours + 1;
}

/*
 * An established connection, one of whose ends is @guest in the guest, the other @other; @asker is the one that echo() plays.
 * What goes from the guest is acknowledged on the host, what goes to it is received there.
 */
static void follow(Lab *lab, int control, const char *path, int guest, int asker)
{
    g_autofree char *own = own_text(guest);
    int64_t deadline = lab_now() + LAB_MS(LAB_WAIT_MS);
    Kernel before = {0, 0};
    bool same = false;

    for (unsigned part = 0; part < 4; part++) {
        json_t *flow = flow_of(control, own);
        uint64_t in = (uint64_t)control_number(flow, "bytes_in", NULL, NULL);
        uint64_t out = (uint64_t)control_number(flow, "bytes_out", NULL, NULL);
        Kernel after =
            ss_says(lab, flow_text(flow, "host", "local"), flow_text(flow, "host", "remote"));

        LAB_CHECK(strcmp(flow_text(flow, "path", NULL), path) == 0, "path %s",
                  flow_text(flow, "path", NULL));
        LAB_CHECK(strcmp(flow_text(flow, "guest", "remote"), lab_peer_text(guest)) == 0,
                  "the guest's peer is %s, not %s", lab_peer_text(guest),
                  flow_text(flow, "guest", "remote"));
        /* What was sent a moment ago may not be counted yet. */
        LAB_CHECK(in + CHUNK >= part * MIB && out + 1 >= before.acked && in <= after.received,
                  "part %u: in %llu, out %llu, acked before %llu, received after %llu", part,
                  (unsigned long long)in, (unsigned long long)out, (unsigned long long)before.acked,
                  (unsigned long long)after.received);
        before = after;
        json_decref(flow);
        echo(asker, MIB);
    }
    /* When all is still both say the same; the last acknowledgement may take a moment. */
    while (!same && lab_now() < deadline) {
        json_t *flow = flow_of(control, own);
        Kernel now =
            ss_says(lab, flow_text(flow, "host", "local"), flow_text(flow, "host", "remote"));

        same = control_number(flow, "bytes_in", NULL, NULL) == 4 * MIB &&
               control_number(flow, "bytes_out", NULL, NULL) == 4 * MIB &&
               agrees(4 * MIB, now.acked) && agrees(4 * MIB, now.received);
        json_decref(flow);
    }
    LAB_CHECK(same, "%s: other bytes than ss says", path);
}

static void follow_out(Lab *lab, const char *fast_path, const char *path, const char *address)
{
    int listener = lab_listen(lab, LAB_FAR, address, 7000);
    int control;
    int fd;

    (void)lab_serve_tcp(lab, listener, LAB_ECHO);
    (void)lab_helper(lab, fast_path, control_option(lab), NULL);
    control = control_connect(lab);
    fd = lab_connected(lab, LAB_GUEST, address, 7000);
    follow(lab, control, path, fd, fd);
}

LAB_TEST(flows, taken_over_connection_has_the_bytes_that_ss_says)
{
    follow_out(lab, "--fast-path=require", "takeover", LAB_FAR_V4);
}

LAB_TEST(flows, taken_over_connection_of_ipv6_has_the_bytes_that_ss_says)
{
    follow_out(lab, "--fast-path=require", "takeover", LAB_FAR_V6);
}

LAB_TEST(flows, connection_of_libslirps_has_the_bytes_that_ss_says)
{
    follow_out(lab, "--fast-path=off", "nat", LAB_FAR_V4);
}

LAB_TEST(flows, connection_of_libslirps_over_ipv6_has_the_bytes_that_ss_says)
{
    follow_out(lab, "--fast-path=off", "nat", LAB_FAR_V6);
}

LAB_TEST(flows, bytes_of_a_published_port_agree_while_and_after_they_move)
{
    int listener = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);
    int control;
    int client;
    int server;
    pid_t pid;

    (void)lab_helper(lab, "-p 8080:8000", control_option(lab), NULL);
    control = control_connect(lab);
    client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    server = lab_accepted(listener);
    pid = fork();
    LAB_ASSERT_CALL(pid);
    if (pid == 0) {
        char buf[CHUNK];
        ssize_t got;

        while ((got = read(server, buf, sizeof(buf))) > 0) {
            for (ssize_t at = 0; at < got;) {
                ssize_t put = write(server, buf + at, (size_t)(got - at));

                if (put <= 0) {
                    _exit(1);
                }
                at += put;
            }
        }
        _exit(0);
    }
    follow(lab, control, "relay", server, client);
    close(client);
}

LAB_TEST(flows, datagrams_of_published_ports_and_of_libslirps_are_listed)
{
    int server = lab_udp(lab, LAB_GUEST, "0.0.0.0", 5000);
    int far = lab_udp(lab, LAB_FAR, LAB_FAR_V4, 6000);
    struct sockaddr_storage from;
    char buf[100];
    int control;
    int client;
    json_t *flow;
    json_t *stats;

    (void)lab_helper(lab, "-p 5001:5000/udp", control_option(lab), NULL);
    control = control_connect(lab);
    client = lab_udp_connected(lab, LAB_FAR, LAB_HOST_V4, 5001);
    LAB_ASSERT_EQ(send(client, buf, 100, 0), 100);
    LAB_ASSERT_EQ(lab_recv_datagram(server, buf, 100, &from, LAB_MS(LAB_WAIT_MS)), 100);
    lab_send_datagram(far, LAB_HOST_V4, 1, buf, 0); /* to nobody */
    flow = flow_of(control, LAB_GUEST_V4 ":5000");
    LAB_ASSERT(strcmp(flow_text(flow, "path", NULL), "udp") == 0);
    LAB_ASSERT(strcmp(flow_text(flow, "host", "local"), LAB_HOST_V4 ":5001") == 0);
    LAB_ASSERT_EQ(control_number(flow, "bytes_in", NULL, NULL), 100);
    json_decref(flow);
    {
        int guest = lab_udp_connected(lab, LAB_GUEST, LAB_FAR_V4, 6000);
        g_autofree char *own = own_text(guest);

        LAB_ASSERT_EQ(send(guest, buf, 70, 0), 70);
        LAB_ASSERT_EQ(lab_recv_datagram(far, buf, 100, &from, LAB_MS(LAB_WAIT_MS)), 70);
        LAB_ASSERT_EQ(sendto(far, buf, 30, 0, (struct sockaddr *)&from, sizeof(struct sockaddr_in)),
                      30);
        LAB_ASSERT_EQ(lab_recv_datagram(guest, buf, 100, NULL, LAB_MS(LAB_WAIT_MS)), 30);
        flow = flow_of(control, own);
        LAB_ASSERT(strcmp(flow_text(flow, "path", NULL), "nat") == 0);
        LAB_ASSERT(strcmp(flow_text(flow, "guest", "remote"), LAB_FAR_V4 ":6000") == 0);
        LAB_ASSERT_EQ(control_number(flow, "bytes_out", NULL, NULL), 70);
        LAB_ASSERT_EQ(control_number(flow, "bytes_in", NULL, NULL), 30);
        json_decref(flow);
    }
    stats = control_call(control, "stats", NULL, -1);
    LAB_ASSERT_EQ(control_number(stats, "totals", "udp", "flows"), 2);
    LAB_ASSERT_EQ(control_number(stats, "totals", "udp", "bytes_in"), 130);
    LAB_ASSERT_EQ(control_number(stats, "totals", "udp", "bytes_out"), 70);
    json_decref(stats);
}

LAB_TEST(flows, many_are_listed_page_by_page_each_once)
{
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 7000);
    json_int_t cursor = 0;
    unsigned seen = 0;
    unsigned pages = 0;
    bool more = true;
    int control;

    (void)lab_helper(lab, control_option(lab), NULL);
    control = control_connect(lab);
    for (unsigned i = 0; i < 300; i++) {
        (void)lab_connected(lab, LAB_GUEST, LAB_FAR_V4, 7000);
        (void)lab_accepted(listener);
    }
    for (; more && pages < 10; pages++) {
        g_autofree char *arguments =
            g_strdup_printf("{\"cursor\": %lld, \"limit\": 128}", (long long)cursor);
        json_t *result = control_call(control, "flows", arguments, -1);

        seen += (unsigned)json_array_size(json_object_get(result, "flows"));
        more = !json_is_null(json_object_get(result, "cursor"));
        cursor = json_integer_value(json_object_get(result, "cursor"));
        json_decref(result);
    }
    LAB_ASSERT(!more);
    LAB_ASSERT_EQ(seen, 300);
    LAB_ASSERT_EQ(pages, 3);
    control_refuses(control, "flows", "{\"limit\": 129}", -1, "request", NULL);
    control_refuses(control, "flows", "{\"cursor\": -1}", -1, "request", NULL);
    control_refuses(control, "flows", "{\"from\": 1}", -1, "request", NULL);
}

LAB_TEST(flows, stats_count_what_was_refused_and_tell_memory_of_locked_down_processes)
{
    LabFrames *frames;
    json_t *stats;
    int control;
    const LabSegment bad = {
        .to = "10.0.2.50", .to_port = 80, .from_port = 4000, .tcp_flags = LAB_TCP_SYN};
    int64_t deadline = lab_now() + LAB_MS(LAB_WAIT_MS);
    json_int_t counted = 0;

    (void)lab_helper(lab, control_option(lab), NULL);
    control = control_connect(lab);
    frames = lab_frames_open(lab, LAB_GUEST, "tap0");
    lab_frames_send_tcp(frames, &bad);
    while (counted == 0 && lab_now() < deadline) {
        stats = control_call(control, "stats", NULL, -1);
        counted = control_number(stats, "counters", "gate.inside-cidr", NULL);
        json_decref(stats);
    }
    LAB_ASSERT_EQ(counted, 1);
    stats = control_call(control, "stats", NULL, -1);
    LAB_ASSERT_EQ(control_number(stats, "counters", "gate.host-loopback", NULL), 0);
    LAB_ASSERT(control_number(stats, "counters", "link.from-guest", NULL) > 0);
    LAB_ASSERT(control_number(stats, "memory", "datapath", "rss") > 500000);
    LAB_ASSERT(control_number(stats, "memory", "inside", "rss") > 500000);
    LAB_ASSERT(control_number(stats, "memory", "supervisor", "rss") > 500000);
    LAB_ASSERT(control_number(stats, "fds", "datapath", "limit") > 100);
    json_decref(stats);
    lab_frames_close(frames);
}

LAB_TEST(flows, recording_into_a_passed_fd_ends_at_its_limit_with_a_record)
{
    int file = memfd_create("pcap", MFD_CLOEXEC);
    LabHelper *helper;
    struct stat st;
    json_t *result;
    int control;

    lab_sysctl(lab, LAB_GUEST, "net/ipv4/ping_group_range", "0 0");
    helper = lab_helper(lab, control_option(lab), NULL);
    control = control_connect(lab);
    control_refuses(control, "pcap", "{\"action\": \"start\"}", -1, "request", NULL);
    control_refuses(control, "pcap", "{\"action\": \"go\"}", file, "request", NULL);
    control_refuses(control, "pcap", "{\"action\": \"start\"}", lab_netns(lab, LAB_GUEST),
                    "request", "EBADF");
    json_decref(
        control_call(control, "pcap", "{\"action\": \"start\", \"max_bytes\": 3000}", file));
    for (unsigned i = 0; i < 3; i++) {
        LAB_ASSERT(lab_ping(lab, LAB_GUEST, LAB_GATEWAY_V4, 800, LAB_MS(LAB_WAIT_MS)));
    }
    LAB_ASSERT(lab_helper_await(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_LIMIT,
                                LAB_MS(LAB_WAIT_MS)) != NULL);
    result = control_call(control, "pcap", "{\"action\": \"stop\"}", -1);
    LAB_ASSERT_CALL(fstat(file, &st));
    LAB_ASSERT_EQ(control_number(result, "bytes", NULL, NULL), st.st_size);
    LAB_ASSERT(st.st_size <= 3000 && st.st_size > 2000);
    LAB_ASSERT(control_number(result, "frames", NULL, NULL) >= 3);
    json_decref(result);
}

LAB_TEST(flows, log_level_debug_says_what_info_did_not)
{
    const LabSegment odd = {.from = "10.9.9.9", .to = LAB_FAR_V4, .from_port = 4000, .to_port = 80};
    LabFrames *frames;
    LabHelper *helper;
    int control;

    helper = lab_helper(lab, control_option(lab), NULL);
    control = control_connect(lab);
    frames = lab_frames_open(lab, LAB_GUEST, "tap0");
    control_refuses(control, "log-level", "{\"level\": \"loud\"}", -1, "request", NULL);
    lab_frames_send_udp(frames, &odd);
    json_decref(control_call(control, "stats", NULL, -1));
    LAB_ASSERT_EQ(lab_helper_count(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_REFUSED), 0);
    json_decref(control_call(control, "log-level", "{\"level\": \"debug\"}", -1));
    lab_frames_send_udp(frames, &odd);
    LAB_ASSERT(lab_helper_await(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_REFUSED,
                                LAB_MS(LAB_WAIT_MS)) != NULL);
    lab_frames_close(frames);
}

/* The one of the helper's processes that is in a PID namespace of its own. */
static pid_t datapath_of(const LabHelper *helper)
{
    pid_t pids[16];
    size_t count = lab_helper_processes(helper, pids, G_N_ELEMENTS(pids));

    for (size_t i = 0; i < count; i++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pids[i]);
        g_autofree char *text = NULL;
        char *at;

        if (g_file_get_contents(path, &text, NULL, NULL) &&
            (at = strstr(text, "\nNSpid:")) != NULL) {
            at[1 + strcspn(at + 1, "\n")] = '\0';
            if (g_str_has_suffix(at, "\t1")) {
                return pids[i];
            }
        }
    }
    lab_fail(__FILE__, __LINE__, "no datapath among %zu processes", count);
}

LAB_TEST(flows, datapath_that_hangs_is_an_error_in_time_and_delays_no_other_command)
{
    LabHelper *helper = lab_helper(lab, control_option(lab), NULL);
    pid_t datapath = datapath_of(helper);
    int control = control_connect(lab);
    int other = control_connect(lab);
    int64_t began;

    LAB_ASSERT_CALL(kill(datapath, SIGSTOP));
    began = lab_now();
    control_send(control, "stats", NULL, -1);
    json_decref(control_call(other, "ping", NULL, -1));
    LAB_CHECK(lab_now() - began < LAB_MS(1500), "ping took %d ms", (int)(lab_now() - began));
    {
        json_t *reply = control_reply(control, "stats");
        g_autofree char *text = json_dumps(reply, JSON_COMPACT);

        LAB_CHECK(strstr(text, "ETIMEDOUT") != NULL && strstr(text, "\"internal\"") != NULL, "%s",
                  text);
        json_decref(reply);
    }
    LAB_ASSERT_CALL(kill(datapath, SIGCONT));
    json_decref(control_call(control, "stats", NULL, -1));
}

/* What is not read is not stored: a client that goes on and on would fill the supervisor's memory. */
LAB_TEST(flows, datapath_that_hangs_is_told_so_much_and_then_the_client_is)
{
    LabHelper *helper = lab_helper(lab, control_option(lab), NULL);
    pid_t datapath = datapath_of(helper);
    int control = control_connect(lab);
    bool busy = false;

    LAB_ASSERT_CALL(kill(datapath, SIGSTOP));
    for (unsigned i = 0; i < 5000 && !busy; i++) {
        json_t *reply;

        control_send(control, "log-level", "{\"level\": \"info\"}", -1);
        reply = control_reply(control, "stats");
        busy = g_strcmp0(flow_text(reply, "error", "code"), "busy") == 0;
        json_decref(reply);
    }
    LAB_CHECK(busy, "all of it was taken");
    LAB_ASSERT_CALL(kill(datapath, SIGCONT));
    json_decref(control_call(control, "ping", NULL, -1));
}
