/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_takeover_load.c - the fast path under many connections, long silences and readers that have stopped
 *
 * Fds, private memory and the kernel's queues are the measures: what comes must go again.
 */
#include "config.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "lab_test.h"
#include "takeoverfixture.h"

/* Rates and latencies are measured: one test at a time. */
static void __attribute__((constructor)) one_at_a_time(void)
{
    (void)g_setenv("CRITERION_JOBS", "1", FALSE);
}

/* ---- short connections ---- */

enum { FAR_PORT = 9000, FAR_PORTS = 16, AT_ONCE = 64 };

typedef struct Short {
    char address[64];
    int count;
} Short;

/* In FAR: accepts at every port, answers one byte with one byte, closes when the client does. */
static int short_server(const void *argument, size_t length)
{
    const Short *request = argument;
    int set = epoll_create1(0), listeners[FAR_PORTS];
    struct epoll_event events[AT_ONCE];

    (void)length;
    for (int i = 0; i < FAR_PORTS; i++) {
        struct sockaddr_storage sa;
        socklen_t len = lab_address(&sa, request->address, (uint16_t)(FAR_PORT + i));
        struct epoll_event event = {.events = EPOLLIN, .data.fd = -1 - i};

        listeners[i] = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (bind(listeners[i], (struct sockaddr *)&sa, len) < 0 || listen(listeners[i], 4096) < 0 ||
            epoll_ctl(set, EPOLL_CTL_ADD, listeners[i], &event) < 0)
            return 1;
    }
    for (;;) {
        int ready = epoll_wait(set, events, AT_ONCE, -1);

        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            char byte;

            if (fd >= 0) {
                if (recv(fd, &byte, 1, MSG_DONTWAIT) == 1)
                    (void)send(fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
                else
                    close(fd);
                continue;
            }
            fd = accept4(listeners[-1 - fd], NULL, NULL, SOCK_NONBLOCK);
            if (fd >= 0) {
                struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

                (void)epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}

static int short_begin(int set, const Short *request, int number)
{
    struct sockaddr_storage sa;
    socklen_t len = lab_address(&sa, request->address, (uint16_t)(FAR_PORT + number % FAR_PORTS));
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct epoll_event event = {.events = EPOLLOUT, .data.fd = fd};

    if (fd < 0 || (connect(fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS) ||
        epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0) {
        fprintf(stderr, "connection %d: %s\n", number, strerror(errno));
        return -1;
    }
    return fd;
}

/*
 * Kernels before 6.19 lose sight of a socket for an instant, while it takes the place of its request in the table of
 * connections: data that comes just then is answered by RST. The guest's kernel makes both ends of a connection here, on two
 * CPUs, which finds that instant once in some hundred thousand connections.
 */
#define RESETS_MAX(count) (3 + (count) / 20000)

/* In GUEST: so many connections with one request each. Return: 0 if each was answered */
static int short_client(const void *argument, size_t length)
{
    const Short *request = argument;
    int set = epoll_create1(0), begun = 0, done = 0, resets = 0;
    struct epoll_event events[AT_ONCE];

    (void)length;
    while (done < request->count) {
        int ready;

        for (; begun < request->count && begun - done < AT_ONCE; begun++)
            if (short_begin(set, request, begun) < 0)
                return 1;
        ready = epoll_wait(set, events, AT_ONCE, 10000 * lab_time_factor());
        if (ready <= 0) {
            fprintf(stderr, "nothing moves after %d connections\n", done);
            return 2;
        }
        for (int i = 0; i < ready; i++) {
            struct epoll_event event = {.events = EPOLLIN, .data.fd = events[i].data.fd};
            char byte = 'x';

            if ((events[i].events & (EPOLLOUT | EPOLLERR)) == EPOLLOUT &&
                send(event.data.fd, &byte, 1, MSG_NOSIGNAL) == 1) {
                (void)epoll_ctl(set, EPOLL_CTL_MOD, event.data.fd, &event);
                continue;
            }
            if (recv(event.data.fd, &byte, 1, MSG_DONTWAIT) != 1) {
                fprintf(stderr, "connection %d: events 0x%x: %s\n", done, events[i].events,
                        strerror(errno));
                if (errno != ECONNRESET || ++resets > RESETS_MAX(request->count))
                    return 3;
            }
            close(event.data.fd);
            done++;
        }
    }
    return 0;
}

static void short_connections(Lab *lab, const char *address, int count)
{
    Short request = {.count = count};
    int64_t begin = lab_now(), took;
    LabJob *job;

    g_strlcpy(request.address, address, sizeof request.address);
    job = lab_start(lab, LAB_GUEST, short_client, &request, sizeof request);
    LAB_ASSERT_EQ(lab_job_wait(job, 240000 * lab_time_factor()), 0);
    took = MAX(1, lab_now() - begin);
    if (count > 2000)
        fprintf(stderr, "%s: %d connections in %lld ms, %lld a second\n", address, count,
                (long long)took, (long long)count * 1000 / took);
}

/* Waits until no connection is left in the guest but those in TIME-WAIT, and those whose other end a reset has taken. */
static void short_settle(Lab *lab, unsigned at_most)
{
    int64_t end = lab_now() + LAB_MS(LAB_WAIT_MS);

    for (;;) {
        g_autofree char *left =
            place_says(lab, LAB_GUEST, "ss -Htan exclude time-wait exclude listening | head -n 50");
        g_auto(GStrv) lines = g_strsplit(g_strchomp(left), "\n", -1);

        if (g_strv_length(lines) <= at_most)
            return;
        LAB_CHECK(lab_now() < end, "left in the guest:\n%s", left);
        (void)poll(NULL, 0, 50);
    }
}

LAB_TEST(takeover_load, short_connections_leave_nothing_behind, .limit_ms = 280000)
{
    bool many = lab_time_factor() == 1 && !lab_is_root(lab);
    int count = g_getenv("SALLYPORT_TEST_LONG") != NULL ? 200000 : many ? 50000 : 10000;
    LabTrio trio = trio_of(lab, fast_helper(lab));
    LabJob *servers[2];
    unsigned fds;
    long memory, after;

    /* What is closed needs no place in the table any more, which all the machine's namespaces share. */
    lab_sysctl(lab, LAB_GUEST, "net/netfilter/nf_conntrack_tcp_timeout_time_wait", "1");
    lab_sysctl(lab, LAB_GUEST, "net/netfilter/nf_conntrack_tcp_timeout_close", "1");
    for (size_t i = 0; i < 2; i++) {
        Short request = {.count = 0};

        g_strlcpy(request.address, far_addresses[i], sizeof request.address);
        servers[i] = lab_start(lab, LAB_FAR, short_server, &request, sizeof request);
    }
    EACH_FAMILY(address)
    {
        /* Its last listener is the server's last word before it serves. */
        int64_t end = lab_now() + LAB_MS(LAB_WAIT_MS);
        int fd;

        while ((fd = lab_connect(lab, LAB_FAR, address, FAR_PORT + FAR_PORTS - 1, 100)) < 0)
            LAB_CHECK(lab_now() < end, "no server at %s", address);
        close(fd);
    }
    EACH_FAMILY(address)
    short_connections(lab, address, 1000);
    short_settle(lab, RESETS_MAX(0));
    fds = fds_of_all(lab, &trio);
    memory = private_memory(lab, &trio);
    EACH_FAMILY(address)
    short_connections(lab, address, count / 2);
    short_settle(lab, RESETS_MAX(count));
    fds_return(lab, &trio, fds + 2 * RESETS_MAX(count));
    after = private_memory(lab, &trio);
    fprintf(stderr, "private memory: %ld KiB, then %ld KiB; %u fds\n", memory, after, fds);
    if (lab_time_factor() == 1)
        LAB_CHECK(after - memory <= 512, "%ld KiB more", after - memory);
    for (size_t i = 0; i < 2; i++)
        lab_job_end(servers[i]);
    is_fast(lab);
}

/* ---- half-close ---- */

/* A connection each: out and in, both families, closed by the guest or by its peer first. */
enum { HALF_MAX = 8 };

typedef struct Half {
    const char *name;
    int closed; /* has sent its FIN */
    int open;
} Half;

static void half_close(Half *half, const char *name, int closes, int stays)
{
    char byte;

    *half = (Half){name, closes, stays};
    lab_say(closes, stays, "first");
    lab_say(stays, closes, "first");
    LAB_ASSERT_CALL(shutdown(closes, SHUT_WR));
    LAB_CHECK(lab_wait(stays, POLLIN, LAB_MS(LAB_WAIT_MS)) != 0 && recv(stays, &byte, 1, 0) == 0,
              "%s: no FIN", name);
}

static void half_goes_on(const Half *half)
{
    enum { CHUNK = 100000 };
    g_autofree uint8_t *there = g_malloc0(CHUNK), *back = g_malloc0(CHUNK);
    int64_t end = lab_now() + LAB_MS(LAB_WAIT_MS);
    size_t sent = 0, got = 0;

    while (got < CHUNK) {
        ssize_t step = send(half->open, there + sent, CHUNK - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        LAB_CHECK(step >= 0 || errno == EAGAIN, "%s: send: %s", half->name, strerror(errno));
        sent += step > 0 ? (size_t)step : 0;
        if (lab_wait(half->closed, POLLIN, 100) != 0) {
            step = recv(half->closed, back + got, CHUNK - got, MSG_DONTWAIT);
            LAB_CHECK(step > 0, "%s: %s", half->name, step == 0 ? "FIN" : strerror(errno));
            got += (size_t)step;
        }
        LAB_CHECK(lab_now() < end, "%s: silent after %zu of %zu bytes", half->name, got, sent);
    }
    close(half->open);
    LAB_CHECK(lab_wait_end(half->closed, LAB_MS(LAB_WAIT_MS)) == LAB_END_EOF, "%s: no FIN",
              half->name);
    close(half->closed);
}

static void half_closed_for(Lab *lab, int ms)
{
    static const char *const hosts[] = {LAB_HOST_V4, LAB_HOST_V6};
    int servers[] = {lab_listen(lab, LAB_GUEST, "0.0.0.0", 80),
                     lab_listen(lab, LAB_GUEST, "::", 80)};
    LabTrio trio = trio_of(lab, lab_helper(lab, "--fast-path=require", "-p 8080:80", NULL));
    unsigned before = fds_of_all(lab, &trio);
    uint64_t tap;
    Half halves[HALF_MAX];

    for (size_t i = 0; i < 2; i++) {
        Ends out[] = {connection(lab, far_addresses[i]), connection(lab, far_addresses[i])};
        int in[2], in_guest[2];

        for (size_t j = 0; j < 2; j++) {
            in[j] = lab_connected(lab, LAB_FAR, hosts[i], 8080);
            in_guest[j] = lab_accepted(servers[i]);
        }
        half_close(&halves[4 * i], i ? "out, IPv6, by the guest" : "out, IPv4, by the guest",
                   out[0].guest, out[0].far);
        half_close(&halves[4 * i + 1], i ? "out, IPv6, by the peer" : "out, IPv4, by the peer",
                   out[1].far, out[1].guest);
        half_close(&halves[4 * i + 2], i ? "in, IPv6, by the guest" : "in, IPv4, by the guest",
                   in_guest[0], in[0]);
        half_close(&halves[4 * i + 3], i ? "in, IPv6, by the peer" : "in, IPv4, by the peer", in[1],
                   in_guest[1]);
    }
    (void)poll(NULL, 0, ms);
    tap = tap_bytes(lab);
    for (size_t i = 0; i < HALF_MAX; i++)
        half_goes_on(&halves[i]);
    LAB_CHECK(tap_bytes(lab) - tap < 4 * 100000, "%llu bytes over the TAP",
              (unsigned long long)(tap_bytes(lab) - tap));
    fds_return(lab, &trio, before + POOLED_FDS);
}

static void conntrack_forgets_in_a_second(Lab *lab)
{
    static const char *const states[] = {"established", "fin_wait", "close_wait",    "time_wait",
                                         "last_ack",    "close",    "unacknowledged"};

    for (size_t i = 0; i < G_N_ELEMENTS(states); i++) {
        g_autofree char *name =
            g_strdup_printf("net/netfilter/nf_conntrack_tcp_timeout_%s", states[i]);

        lab_sysctl(lab, LAB_GUEST, name, "1");
    }
}

LAB_TEST(takeover_load, half_closed_connections_outlive_conntrack, .limit_ms = 60000)
{
    conntrack_forgets_in_a_second(lab);
    half_closed_for(lab, 5000);
}

LAB_TEST(takeover_load, half_closed_connections_live_for_ten_minutes, .limit_ms = 700000)
{
    if (g_getenv("SALLYPORT_TEST_LONG") == NULL)
        lab_skip("ten minutes: only with SALLYPORT_TEST_LONG=1");
    half_closed_for(lab, 600000);
}

LAB_TEST(takeover_load, idle_connections_outlive_conntrack, .limit_ms = 60000)
{
    Ends live[4];

    conntrack_forgets_in_a_second(lab);
    (void)fast_helper(lab);
    for (size_t i = 0; i < G_N_ELEMENTS(live); i++)
        live[i] = connection(lab, far_addresses[i % 2]);
    (void)poll(NULL, 0, 5000);
    /* Either side may be the first to speak. */
    for (size_t i = 0; i < G_N_ELEMENTS(live); i++) {
        if (i < 2)
            lab_say(live[i].guest, live[i].far, "there");
        else
            lab_say(live[i].far, live[i].guest, "back");
        say_both_ways(live[i]);
        LAB_CHECK(carries(lab, live[i]), "%zu: not back in the kernel", i);
    }
}

/* ---- held connections ---- */

LAB_TEST(takeover_load, three_thousand_idle_connections_wake_nobody_and_weigh_little,
         .limit_ms = 120000)
{
    enum { HELD = 1500 };
    static const char *const hosts[] = {LAB_HOST_V4, LAB_HOST_V6};
    static int out[HELD][2], in[HELD][2];
    struct rlimit limit;
    int servers[] = {lab_listen(lab, LAB_GUEST, "0.0.0.0", 80),
                     lab_listen(lab, LAB_GUEST, "::", 80)};
    int far[] = {lab_listen(lab, LAB_FAR, LAB_FAR_V4, 7), lab_listen(lab, LAB_FAR, LAB_FAR_V6, 7)};
    int64_t end = lab_now() + LAB_MS(60000);
    long long before, after;
    g_autofree char *taken = NULL;
    unsigned fds;
    long memory;

    lab_sysctl(lab, LAB_GUEST, "net/ipv6/conf/default/router_solicitations", "0");
    lab_sysctl(lab, LAB_GUEST, "net/ipv6/conf/all/router_solicitations", "0");
    LAB_ASSERT_CALL(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    LAB_ASSERT_CALL(setrlimit(RLIMIT_NOFILE, &limit));
    if (limit.rlim_max < 8 * HELD)
        lab_cannot("the hard limit of open files is %llu", (unsigned long long)limit.rlim_max);
    LabTrio trio = trio_of(lab, lab_helper(lab, "--fast-path=require", "-p 8080:80", NULL));
    is_fast(lab);
    fds = fds_of_all(lab, &trio);
    memory = private_memory(lab, &trio);
    for (int i = 0; i < HELD; i++) {
        out[i][0] = lab_connected(lab, LAB_GUEST, far_addresses[i % 2], 7);
        out[i][1] = lab_accepted(far[i % 2]);
        in[i][0] = lab_connected(lab, LAB_FAR, hosts[i % 2], 8080);
        in[i][1] = lab_accepted(servers[i % 2]);
    }
    taken = place_says(lab, LAB_GUEST, "ss -Htn state established sport = :7 | wc -l");
    LAB_CHECK(atoi(taken) == HELD, "%d of %d were taken over", atoi(taken), HELD);
    lab_say(out[0][0], out[0][1], "there");
    lab_say(in[HELD - 1][1], in[HELD - 1][0], "back");
    memory = private_memory(lab, &trio) - memory;
    fprintf(stderr, "%d held: %ld KiB more, %u fds more\n", 2 * HELD, memory,
            fds_of_all(lab, &trio) - fds);
    if (lab_time_factor() == 1)
        LAB_CHECK(memory <= 4 * 2 * HELD, "%ld KiB more for %d connections", memory, 2 * HELD);
    /* What neighbours ask of one another comes first. */
    do {
        LAB_CHECK(lab_now() < end, "no ten seconds without a wake-up in sixty");
        before = lab_trio_switches(&trio, NULL);
        (void)poll(NULL, 0, 10000);
        after = lab_trio_switches(&trio, NULL);
        fprintf(stderr, "%lld wake-ups in ten seconds\n", after - before);
    } while (before != after);
    for (int i = 0; i < HELD; i += 100) {
        lab_say(out[i][0], out[i][1], "there");
        lab_say(in[i][0], in[i][1], "there");
    }
    for (int i = 0; i < HELD; i++) {
        ends_close((Ends){out[i][0], out[i][1]});
        ends_close((Ends){in[i][0], in[i][1]});
    }
    fds_return(lab, &trio, fds);
}
