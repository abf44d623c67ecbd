/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_faults_inject.c - system calls that fail, and that move one byte where more were offered
 *
 * Security.md's tests 33 and 34; the table of all of 27 to 42 is in test_faults_guest.c. Which call may fail how is in faultshim.h
 * and faultshim.c. The seed is printed: SALLYPORT_TEST_SEED repeats a run, as far as the machine's scheduler lets it.
 */
#include "config.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "faultfixture.h"
#include "lab_test.h"

/* What one side of a connection gets to carry in a round. */
#define ROUND_BYTES 100000
/* Each of them a turn of the loop, a frame and an acknowledgement. */
#define SINGLE_BYTES 30000
/* The promise is an end, not a fast one: a lost frame costs retransmissions. */
#define ROUND_MS 20000

#define ALL_ERRNOS ((1U << FAULT_ERRNOS) - 1)
#define ALL_ROLES  ((1U << FAULT_ROLES) - 1)

static const char *const errno_names[FAULT_ERRNOS] = {"EAGAIN", "EINTR",  "ENOBUFS", "ENOMEM",
                                                      "EMFILE", "ENFILE", "EPERM",   "ECONNABORTED",
                                                      "EPIPE",  "EIO"};

/* ---- a place with everything in it ---- */

typedef struct Stage {
    Lab *lab;
    FaultPage *page;
    LabHelper *helper;
    LabTrio trio;
    uint64_t seed;
    int far[2];  /* listeners at FAR: IPv4, IPv6 */
    int server;  /* a listener in the guest, published as 8080 */
    int udp_out; /* a guest's socket connected to an echo at FAR */
    int udp_in;  /* a host's socket connected to 8081, an echo in the guest */
    /* Counts of what was begun under faults. */
    unsigned complete, failed, cut;
    unsigned pings;
} Stage;

static Stage stage_new(Lab *lab, const char *fast_path)
{
    Stage stage = {.lab = lab, .page = faults_new(lab)};
    const char *seed = g_getenv("SALLYPORT_TEST_SEED");
    int echo = lab_udp(lab, LAB_FAR, LAB_FAR_V4, 7);
    g_autofree char *resolv = g_strdup(lab_path(lab, "resolv.conf"));
    g_autofree char *option = g_strconcat("--resolv-conf=", resolv, NULL);

    stage.seed = seed != NULL ? g_ascii_strtoull(seed, NULL, 10) : (uint64_t)lab_now();
    fprintf(stderr, "SALLYPORT_TEST_SEED=%llu\n", (unsigned long long)stage.seed);
    lab_sysctl(lab, LAB_GUEST, "net/ipv4/ping_group_range", "0 0");
    (void)lab_serve_udp(lab, echo, LAB_ECHO);
    (void)lab_serve_udp(lab, lab_udp(lab, LAB_GUEST, "0.0.0.0", 81), LAB_ECHO);
    (void)lab_dns_start(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER, "198.51.100.11", "2001:db8::11");
    lab_write_file(resolv, "nameserver " LAB_FAR_V4 "\n");
    stage.far[0] = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    stage.far[1] = lab_listen(lab, LAB_FAR, LAB_FAR_V6, 0);
    stage.server = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);
    stage.helper = lab_helper(lab, fast_path, option, "-p 8080:80", "-p 8081:81/udp", NULL);
    stage.trio = trio_of(lab, stage.helper);
    stage.udp_out = lab_udp_connected(lab, LAB_GUEST, LAB_FAR_V4, 7);
    stage.udp_in = lab_udp_connected(lab, LAB_RUNTIME, "127.0.0.1", 8081);
    return stage;
}

static bool dns_answers(Stage *stage, bool tcp, int timeout_ms)
{
    LabDnsReply reply = lab_dns_ask(stage->lab, LAB_GUEST, LAB_DNS_V4, "www.example.test", false,
                                    tcp, LAB_MS(timeout_ms));

    return reply.rcode == 0 && strcmp(reply.address, "198.51.100.11") == 0;
}

static bool datagram_echoes(int fd, int timeout_ms)
{
    char text[64] = "";

    while (recv(fd, text, sizeof text, MSG_DONTWAIT) >= 0 || errno != EAGAIN)
        ; /* what is late, and errors of before */
    (void)send(fd, "datagram", 8, MSG_NOSIGNAL);
    return lab_recv_datagram(fd, text, sizeof text, NULL, LAB_MS(timeout_ms)) == 8;
}

/* Without faults, all of it has to work. Datagrams may be asked twice: the socket may have been a victim. */
static void stage_works(Stage *stage)
{
    bool udp_out = false, udp_in = false;

    for (int i = 0; i < 2; i++) {
        int client =
            lab_connected(stage->lab, LAB_GUEST, far_addresses[i], lab_port(stage->far[i]));
        int server = lab_accepted(stage->far[i]);

        lab_transfer(client, server, ROUND_BYTES, ROUND_BYTES, 0);
        close(client);
        close(server);
        client = lab_connected(stage->lab, LAB_RUNTIME, "127.0.0.1", 8080);
        server = lab_accepted(stage->server);
        lab_transfer(client, server, ROUND_BYTES, ROUND_BYTES, 0);
        close(client);
        close(server);
        LAB_CHECK(dns_answers(stage, i == 1, LAB_WAIT_MS), "no DNS over %s",
                  i == 1 ? "TCP" : "UDP");
    }
    for (int i = 0; i < 3; i++) {
        udp_out = udp_out || datagram_echoes(stage->udp_out, 500);
        udp_in = udp_in || datagram_echoes(stage->udp_in, 500);
    }
    LAB_ASSERT(udp_out && udp_in);
    LAB_ASSERT(lab_ping(stage->lab, LAB_GUEST, LAB_FAR_V4, 100, LAB_MS(LAB_WAIT_MS)));
}

/* Connections whose other end never came, from before. */
static void stage_sweep(Stage *stage)
{
    int listeners[] = {stage->far[0], stage->far[1], stage->server};

    for (size_t i = 0; i < G_N_ELEMENTS(listeners); i++) {
        int fd;

        while ((fd = lab_accept(listeners[i], 0)) >= 0)
            close(fd);
    }
}

/* ---- a connection that may fail, but has to end ---- */

typedef enum Outcome { OUTCOME_COMPLETE, OUTCOME_FAILED, OUTCOME_CUT } Outcome;

static uint8_t byte_at(size_t at, bool back)
{
    return (uint8_t)(at ^ at >> 8 ^ at >> 16 ^ (back ? 0x55 : 0));
}

/* One direction of it. */
typedef struct Way {
    int from, to;
    bool back;
    size_t total, sent, got;
    bool shut, ended;
} Way;

/* Return: false when the connection has failed */
static bool way_turn(Way *way, short from_events, short to_events)
{
    uint8_t buffer[16384];
    ssize_t step;

    if ((from_events & (POLLOUT | POLLERR)) != 0 && !way->shut) {
        size_t length = MIN(sizeof buffer, way->total - way->sent);

        for (size_t i = 0; i < length; i++)
            buffer[i] = byte_at(way->sent + i, way->back);
        step = send(way->from, buffer, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (step < 0 && errno != EAGAIN)
            return false;
        way->sent += step > 0 ? (size_t)step : 0;
        if (way->sent == way->total) {
            if (shutdown(way->from, SHUT_WR) < 0)
                return false;
            way->shut = true;
        }
    }
    if ((to_events & (POLLIN | POLLHUP | POLLERR)) != 0 && !way->ended) {
        step = recv(way->to, buffer, sizeof buffer, MSG_DONTWAIT);
        if (step < 0 && errno != EAGAIN)
            return false;
        for (ssize_t i = 0; i < step; i++)
            LAB_CHECK(buffer[i] == byte_at(way->got + (size_t)i, way->back),
                      "byte %zu is another one", way->got + (size_t)i);
        way->got += step > 0 ? (size_t)step : 0;
        way->ended = step == 0;
    }
    return true;
}

/* Takes both ends. Whatever happens, it happens in time, and no byte is wrong. @turns: the server answers when it has everything. */
static Outcome exchange(int client, int server, size_t total, bool turns, const char *what)
{
    Way ways[2] = {{.from = client, .to = server, .total = total},
                   {.from = server, .to = client, .total = total, .back = true}};
    int64_t end = lab_now() + LAB_MS(ROUND_MS);
    bool well = true;

    while (well && !(ways[0].ended && ways[1].ended)) {
        struct pollfd polls[2];

        for (size_t i = 0; i < 2; i++) {
            bool sends = !ways[i].shut && (i == 0 || !turns || ways[0].ended);
            bool reads = !ways[1 - i].ended;

            polls[i] = (struct pollfd){.fd = sends || reads ? ways[i].from : -1};
            polls[i].events = (short)((sends ? POLLOUT : 0) | (reads ? POLLIN : 0));
        }
        (void)poll(polls, 2, 100);
        for (size_t i = 0; i < 2 && well; i++)
            well = way_turn(&ways[i], polls[i].revents, polls[1 - i].revents);
        LAB_CHECK(lab_now() < end, "%s: stands still: %zu there, %zu back; FIN %d, %d", what,
                  ways[0].got, ways[1].got, ways[0].ended, ways[1].ended);
        /* A FIN that comes too early: the end of the sender's half is then no use. */
        if ((ways[0].ended && ways[0].got < total) || (ways[1].ended && ways[1].got < total))
            break;
    }
    close(client);
    close(server);
    if (!well)
        return OUTCOME_FAILED;
    return ways[0].got == total && ways[1].got == total ? OUTCOME_COMPLETE : OUTCOME_CUT;
}

static void count(Stage *stage, Outcome outcome)
{
    stage->complete += outcome == OUTCOME_COMPLETE;
    stage->failed += outcome == OUTCOME_FAILED;
    stage->cut += outcome == OUTCOME_CUT;
}

/* @place: LAB_GUEST goes out, LAB_RUNTIME comes in. */
static void one_connection(Stage *stage, LabPlace place, const char *address, uint16_t port,
                           int listener)
{
    int client = lab_connect(stage->lab, place, address, port, LAB_MS(1200)), server = -1;
    Outcome outcome;

    if (client >= 0)
        server = lab_accept(listener, LAB_MS(1200));
    if (server < 0) {
        /* Both ends of a relay come to life one after the other: what fails between is reset. */
        LabEnd end = client < 0 ? LAB_END_RESET : lab_wait_end(client, LAB_MS(ROUND_MS));

        LAB_CHECK(end != LAB_END_NONE, "%s:%u: connected, never served, never ended", address,
                  port);
        stage->failed++;
        if (client >= 0)
            close(client);
        return;
    }
    outcome = exchange(client, server, ROUND_BYTES, place == LAB_GUEST,
                       place == LAB_GUEST ? "out" : "in");
    /* A relay that gives up says so by RST. libslirp says FIN after every errno but four (src/socket.c: soread()), which is not
     * ours to mend: these errnos do not come from a TCP socket outside this test. */
    LAB_CHECK(outcome != OUTCOME_CUT || place == LAB_GUEST, "in: an early FIN");
    count(stage, outcome);
}

static void one_round(Stage *stage)
{
    for (int i = 0; i < 2; i++) {
        one_connection(stage, LAB_GUEST, far_addresses[i], lab_port(stage->far[i]), stage->far[i]);
        one_connection(stage, LAB_RUNTIME, "127.0.0.1", 8080, stage->server);
    }
    stage_sweep(stage);
    (void)dns_answers(stage, false, 200);
    (void)dns_answers(stage, true, 200);
    (void)datagram_echoes(stage->udp_out, 100);
    (void)datagram_echoes(stage->udp_in, 100);
    /* The supervisor works too: new name servers, new addresses. */
    lab_replace_file(lab_path(stage->lab, "resolv.conf"), "nameserver " LAB_FAR_V4 "\n");
    lab_do(stage->lab, LAB_HOST, "ip address replace 192.0.2.99/32 dev lo");
    lab_do(stage->lab, LAB_HOST, "ip address del 192.0.2.99/32 dev lo");
}

static void rounds(Stage *stage, const char *name, unsigned set, int ms)
{
    int64_t begin = lab_now();
    unsigned given = faults_given(stage->page);
    Stage before = *stage;
    long long ticks = ticks_of(&stage->trio);

    faults_order(stage->page, ALL_ROLES, 100, set, stage->seed);
    (void)lab_ping(stage->lab, LAB_GUEST, LAB_FAR_V4, 100, LAB_MS(200));
    stage->pings += 2; /* and that of stage_works() */
    do {
        one_round(stage);
        LAB_CHECK(lab_helper_count(stage->helper, SALLYPORT_EVENT_EXIT, NULL) == 0,
                  "%s: the helper has ended", name);
    } while (lab_now() - begin < ms);
    atomic_store(&stage->page->active, false);
    fprintf(stderr, "%s: %u given; %u complete, %u failed, %u cut; %lld ticks in %lld ms\n", name,
            faults_given(stage->page) - given, stage->complete - before.complete,
            stage->failed - before.failed, stage->cut - before.cut, ticks_of(&stage->trio) - ticks,
            (long long)(lab_now() - begin));
    stage_sweep(stage);
    stage_works(stage);
}

static void every_errno(Lab *lab, const char *fast_path)
{
    int ms = long_run() ? 600000 / (FAULT_ERRNOS + 1) : 250;
    Stage stage = stage_new(lab, fast_path);
    unsigned fds;

    stage_works(&stage);
    fds = fds_of_all(lab, &stage.trio);
    for (unsigned i = 0; i < FAULT_ERRNOS; i++)
        rounds(&stage, errno_names[i], 1U << i, ms);
    rounds(&stage, "all of them", ALL_ERRNOS, ms);
    faults_print(stage.page);
    LAB_CHECK(stage.complete > 0 && stage.failed > 0, "%u complete, %u failed: no test",
              stage.complete, stage.failed);
    /* A ping of its own socket for half a minute each. */
    fds_return(lab, &stage.trio, fds + POOLED_FDS + stage.pings);
    faults_idle_but_libslirp(&stage.trio, stage.helper, NULL);
}

LAB_TEST(faults_inject, every_errno_on_every_call_with_the_fast_path, .limit_ms = 900000)
{
    every_errno(lab, "--fast-path=auto");
}

LAB_TEST(faults_inject, every_errno_on_every_call_through_libslirp, .limit_ms = 900000)
{
    every_errno(lab, "--fast-path=off");
}

/* ---- one byte at a time ---- */

/*
 * Out, one way after the other: libslirp closes its socket when both FINs are acknowledged, and what it has not yet sent of the
 * guest's last 128 KiB is lost (src/tcp_input.c: TCPS_LAST_ACK; 4.7.0). That is so for any slow reader that has sent its FIN.
 */
static void single_bytes(Lab *lab, const char *fast_path)
{
    Stage stage = stage_new(lab, fast_path);

    atomic_store(&stage.page->single_byte, ALL_ROLES);
    for (int i = 0; i < 2; i++) {
        int client = lab_connected(lab, LAB_GUEST, far_addresses[i], lab_port(stage.far[i]));

        LAB_ASSERT_EQ(exchange(client, lab_accepted(stage.far[i]), SINGLE_BYTES, true, "out"),
                      OUTCOME_COMPLETE);
        client = lab_connected(lab, LAB_RUNTIME, "127.0.0.1", 8080);
        lab_transfer(client, lab_accepted(stage.server), SINGLE_BYTES, SINGLE_BYTES, 0);
        LAB_CHECK(dns_answers(&stage, i == 1, LAB_WAIT_MS), "no DNS over %s",
                  i == 1 ? "TCP" : "UDP");
    }
    atomic_store(&stage.page->single_byte, 0);
    LAB_CHECK(atomic_load(&stage.page->split[2]) > 4 * SINGLE_BYTES,
              "only %llu calls were cut short", atomic_load(&stage.page->split[2]));
    faults_idle_but_libslirp(&stage.trio, stage.helper, NULL);
}

LAB_TEST(faults_inject, single_bytes_by_every_call_with_the_fast_path, .limit_ms = 90000)
{
    single_bytes(lab, "--fast-path=auto");
}

LAB_TEST(faults_inject, single_bytes_by_every_call_through_libslirp, .limit_ms = 90000)
{
    single_bytes(lab, "--fast-path=off");
}
