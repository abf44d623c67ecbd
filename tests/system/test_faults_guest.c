/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_faults_guest.c - floods, lost interfaces and peers that vanish
 *
 * Where security.md's tests of faults are:
 *    27  interface down, up, deleted   lifecycle::interface_*; here: back within a second, MTU, addresses. "CPU below 1 %" after the
 *                                      deletion has nobody to measure: all three processes have ended
 *    28  init killed, its PID reused   lifecycle::end_of_the_target_process_is_a_wished_end; faults_start: its number again
 *    29  SIGKILL at 20 points          lifecycle::parents_end_*, killing_*, by time; faults_start, by count of calls
 *    30  64 fds, inbound               publish::two_hundred_clients_with_64_files_*; here: outbound
 *    31  10,000 SYN to a black hole    takeover_repair::the_oldest_of_too_many_pending_*; here: all of them, beside a live flow
 *    32  UDP to many destinations      here
 *    33  errnos on system calls        faults_inject::every_errno_*; from the start: faults_start
 *    34  one byte at a time            faults_inject::single_bytes_*
 *    35  a stopped reader              takeover_stall
 *    36  half-close, peers that vanish takeover_load::half_closed_*: a half-closed connection is kept as long as both ends are,
 *                                      for no timer of ours may cut what TCP allows; here: peers that vanish
 *    37  200,000 short connections     takeover_load::short_connections_leave_nothing_behind
 *    38  idle afterwards               faults_idle(), at the end of each of these; endurance
 *    39  the report's reader           report::reader_that_*
 *    40  signals                       lifecycle, surroundings: those that end; faults_time: storms, SIGSTOP
 *    41  clocks                        faults_time
 *    42  resolv.conf                   dns::resolv_conf_*; faults_time: removed, 1 MB, ::1%lo
 */
#include "config.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "faultfixture.h"
#include "lab_test.h"

#define RECOVERY_MS 1000

/* ---- 27: the guest's interface ---- */

/* Tries again and again until a byte has come back, by IPv4. */
static void recovers_within_a_second(Lab *lab, uint16_t port, const char *what)
{
    int64_t begin = lab_now();
    bool done = false;

    while (!done) {
        int fd = lab_connect(lab, LAB_GUEST, LAB_FAR_V4, port, LAB_MS(200));
        char byte = 'x';

        if (fd >= 0) {
            (void)send(fd, &byte, 1, MSG_NOSIGNAL);
            done = lab_wait(fd, POLLIN, LAB_MS(200)) != 0 && recv(fd, &byte, 1, 0) == 1;
            close(fd);
        }
        LAB_CHECK(done || lab_now() - begin < LAB_MS(RECOVERY_MS), "%s: dead after %lld ms", what,
                  (long long)(lab_now() - begin));
    }
}

static void interface_changes(Lab *lab, const char *fast_path)
{
    static const char *const mtus[] = {"1400", "576", "9000", "65520"};
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    uint16_t port = lab_port(listener);
    LabHelper *helper = lab_helper(lab, fast_path, NULL);
    LabTrio trio = trio_of(lab, helper);

    (void)lab_serve_tcp(lab, listener, LAB_ECHO);
    recovers_within_a_second(lab, port, "fresh");
    for (int i = 0; i < 3; i++) {
        lab_do(lab, LAB_GUEST, "ip link set tap0 down");
        (void)lab_connect(lab, LAB_GUEST, LAB_FAR_V4, port, 50);
        lab_do(lab, LAB_GUEST, "ip link set tap0 up");
        lab_do(lab, LAB_GUEST, "ip route add default via " LAB_GATEWAY_V4);
        recovers_within_a_second(lab, port, "down and up");
    }
    for (size_t i = 0; i < G_N_ELEMENTS(mtus); i++) {
        lab_do(lab, LAB_GUEST, "ip link set tap0 mtu %s", mtus[i]);
        recovers_within_a_second(lab, port, mtus[i]);
    }
    lab_do(lab, LAB_GUEST, "ip address flush dev tap0");
    (void)lab_connect(lab, LAB_GUEST, LAB_FAR_V4, port, 50);
    lab_do(lab, LAB_GUEST, "ip address add " LAB_GUEST_V4 "/24 dev tap0");
    lab_do(lab, LAB_GUEST, "ip route add default via " LAB_GATEWAY_V4);
    recovers_within_a_second(lab, port, "addresses");
    faults_idle_but_libslirp(&trio, helper, NULL);
}

LAB_TEST(faults_guest, interface_changed_from_inside_works_within_a_second, .limit_ms = 90000)
{
    interface_changes(lab, "--fast-path=auto");
}

LAB_TEST(faults_guest, so_it_does_through_libslirp, .limit_ms = 90000)
{
    interface_changes(lab, "--fast-path=off");
}

/* ---- log lines ---- */

/* One frame of each class that the gate can tell, and a few that libslirp and the fast path have a word on. */
static void all_that_is_told(Lab *lab, LabFrames *frames, uint16_t listener)
{
    static const char *const refused[] = {
        "127.0.0.1",   "0.0.0.0",   "255.255.255.255", LAB_HOST_V4, LAB_HOST_V6, LAB_METADATA,
        LAB_LINKLOCAL, "10.0.2.55", LAB_GATEWAY_V4,    LAB_DNS_V4,  "224.0.0.9", "::1",
        "240.0.0.1",   "fd00::55",  "ff02::99",        "fe80::77",
    };
    static const uint8_t garbage[64] = {0x52, 0x55, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0x08, 0x00, 0x4f};
    static const uint8_t multicast_source[64] = {0x52, 0x55, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1, 0x08, 0};

    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        LabSegment segment = {.to = refused[i], .from_port = 7000, .to_port = 7001};

        lab_frames_send_udp(frames, &segment);
        segment.tcp_flags = LAB_TCP_SYN;
        lab_frames_send_tcp(frames, &segment);
    }
    LabSegment stranger = {.from = "198.18.9.9", .to = LAB_FAR_V4, .from_port = 1, .to_port = 2};
    lab_frames_send_udp(frames, &stranger);
    LabSegment dhcp = {.to = "255.255.255.255", .from_port = 68, .to_port = 67};
    lab_frames_send_udp(frames, &dhcp);
    lab_frames_send_raw(frames, garbage, sizeof garbage);
    lab_frames_send_raw(frames, multicast_source, sizeof multicast_source);
    if (listener != 0) {
        int fd = lab_connect(lab, LAB_GUEST, "127.0.0.1", listener, LAB_MS(200));

        if (fd >= 0)
            close(fd);
    }
}

static int64_t record_us(const char *json)
{
    g_autofree char *text = lab_record_value(json, "time");
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, NULL);

    LAB_CHECK(time != NULL, "time of %s", json);
    return g_date_time_to_unix(time) * G_USEC_PER_SEC + g_date_time_get_microsecond(time);
}

LAB_TEST(faults_guest, no_guest_makes_us_write_more_than_ten_lines_a_second, .limit_ms = 60000)
{
    LabRaw *raw = lab_raw_line(lab, NULL, "--fast-path=auto --log-level=debug --max-flows=4 %d",
                               (int)lab_pid(lab, LAB_GUEST));
    int64_t times[1000], until;
    unsigned count = 0, codes = 0, held = 0;
    int fds[400];

    lab_raw_ready(raw);
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    LabFrames *frames = lab_frames_open(lab, LAB_GUEST, "tap0");
    uint16_t listener = listener_port(lab);
    until = lab_now() + 7000; /* a class may speak again after five seconds */
    while (lab_now() < until) {
        all_that_is_told(lab, frames, listener);
        /* More sockets than libslirp may hold, and rules that are lost. */
        for (int i = 0; i < 20 && held < G_N_ELEMENTS(fds); i++) {
            fds[held] = lab_udp_connected(lab, LAB_GUEST, LAB_FAR_V4, 9);
            (void)send(fds[held++], "x", 1, MSG_NOSIGNAL);
        }
        (void)lab_exec(lab, LAB_GUEST, NULL, "sh", "-c", "ip rule del priority 100 2>/dev/null",
                       NULL);
        (void)lab_connect(lab, LAB_GUEST, LAB_FAR_V4, 9, 20);
    }
    for (unsigned i = 0; lab_raw_record(raw, i) != NULL && count < G_N_ELEMENTS(times); i++) {
        const char *json = lab_raw_record(raw, i);

        if (lab_record_has(json, "event", SALLYPORT_EVENT_LOG))
            times[count++] = record_us(json);
    }
    codes = lab_raw_count(raw, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_REFUSED);
    fprintf(stderr, "%u log records, %u of them refusals\n", count, codes);
    LAB_CHECK(codes >= 8 && count > 10, "%u log records, %u refusals: no flood", count, codes);
    for (unsigned i = 10; i < count; i++)
        LAB_CHECK(times[i] - times[i - 10] >= G_USEC_PER_SEC, "eleven records in %lld us: %s",
                  (long long)(times[i] - times[i - 10]), lab_raw_record(raw, i));
    lab_frames_close(frames);
    for (unsigned i = 0; i < held; i++)
        close(fds[i]);
    faults_idle_but_libslirp(&trio, NULL, raw);
}

/* ---- 30: no fds left, outbound ---- */

static void outbound_with_64_files(Lab *lab, const char *fast_path)
{
    enum { COUNT = 200, WATCH_MS = 2000 };
    static LabAttempt attempts[COUNT];
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0), fd;
    unsigned connected = 0;
    int64_t begin, spent;
    LabHelper *helper;

    (void)lab_serve_tcp(lab, lab_listen(lab, LAB_FAR, LAB_FAR_V4_3, 7), LAB_ECHO);
    lab_helper_wrap(lab, "ulimit -n 64");
    helper = lab_helper(lab, fast_path, NULL);
    LabTrio trio = trio_of(lab, helper);
    for (int i = 0; i < COUNT; i++)
        attempts[i] = (LabAttempt){.address = LAB_FAR_V4,
                                   .port = lab_port(listener),
                                   .fd = lab_socket(lab, LAB_GUEST, AF_INET, SOCK_STREAM, 0)};
    lab_attempts(attempts, COUNT, LAB_MS(1500));
    for (int i = 0; i < COUNT; i++)
        connected += attempts[i].fd >= 0 && attempts[i].error == 0;
    fprintf(stderr, "%s: %u of %d connected\n", fast_path, connected, COUNT);
    LAB_CHECK(connected > 0 && connected < COUNT, "%u of %d connected with 64 files", connected,
              COUNT);
    begin = lab_helper_cpu_ms(helper);
    (void)poll(NULL, 0, WATCH_MS);
    spent = lab_helper_cpu_ms(helper) - begin;
    LAB_CHECK(spent * 100 <= WATCH_MS * 5, "%d ms of CPU in %d ms", (int)spent, WATCH_MS);
    for (int i = 0; i < COUNT; i++)
        if (attempts[i].fd >= 0)
            lab_reset(attempts[i].fd);
    while ((fd = lab_accept(listener, 0)) >= 0)
        close(fd);
    begin = lab_now();
    do {
        char byte = 'x';

        fd = lab_connect(lab, LAB_GUEST, LAB_FAR_V4_3, 7, LAB_MS(RECOVERY_MS));
        if (fd >= 0 &&
            (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 ||
             lab_wait(fd, POLLIN, LAB_MS(RECOVERY_MS)) == 0 || recv(fd, &byte, 1, 0) != 1)) {
            close(fd);
            fd = -1;
        }
        LAB_CHECK(lab_now() - begin <= LAB_MS(RECOVERY_MS), "nothing works after the release");
    } while (fd < 0);
    close(fd);
    faults_idle_but_libslirp(&trio, helper, NULL);
}

LAB_TEST(faults_guest, two_hundred_connections_out_with_64_files_cost_no_cpu_and_leave_room,
         .limit_ms = 90000)
{
    outbound_with_64_files(lab, "--fast-path=auto");
}

LAB_TEST(faults_guest, so_do_they_through_libslirp, .limit_ms = 90000)
{
    outbound_with_64_files(lab, "--fast-path=off");
}

/* ---- 31: a black hole ---- */

typedef struct Flood {
    int count;   /* destinations */
    int at_once; /* sockets open */
} Flood;

/* In GUEST: SYNs to addresses from which nothing comes. */
static int flood_syns(const void *argument, size_t length)
{
    const Flood *flood = argument;
    g_autofree int *fds = g_new(int, flood->at_once);
    struct rlimit limit;

    (void)length;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    for (int i = 0; i < flood->at_once; i++)
        fds[i] = -1;
    for (int i = 0; i < flood->count; i++) {
        g_autofree char *hole = g_strdup_printf("198.18.%d.%d", i / 250 % 250, i % 250 + 1);
        struct sockaddr_storage sa;
        socklen_t len = lab_address(&sa, hole, 80);
        int *slot = &fds[i % flood->at_once];

        if (*slot >= 0)
            close(*slot);
        *slot = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (*slot < 0 || (connect(*slot, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS &&
                          errno != ECONNREFUSED && errno != EAGAIN && errno != EADDRNOTAVAIL))
            return 1;
    }
    /* The others send their SYNs again. */
    (void)poll(NULL, 0, 3000);
    return 0;
}

/*
 * Bytes a second of a stream whose writer offers 20 MB a second. Not as fast as it can: that flow would share the two cores with the
 * process that floods, which is no measure of ours.
 */
static int64_t paced_rate(Ends ends, int ms)
{
    static uint8_t chunk[1000000], sink[1000000];
    int64_t begin = lab_now(), got = 0, offered = 0;

    while (lab_now() - begin < ms) {
        int64_t due = (lab_now() - begin) * 20000;
        ssize_t step = offered >= due
                           ? 0
                           : send(ends.far, chunk, MIN(sizeof chunk, (size_t)(due - offered)),
                                  MSG_NOSIGNAL | MSG_DONTWAIT);

        offered += step > 0 ? step : 0;
        step = recv(ends.guest, sink, sizeof sink, MSG_DONTWAIT);
        LAB_CHECK(step > 0 || (step < 0 && errno == EAGAIN), "the flow has ended");
        got += step > 0 ? step : 0;
        if (step <= 0)
            (void)poll(NULL, 0, 1);
    }
    return got * 1000 / ms;
}

static void black_hole(Lab *lab, const char *fast_path)
{
    Flood flood = {.count = 10000, .at_once = 2500};
    LabHelper *helper = lab_helper(lab, fast_path, NULL);
    LabTrio trio = trio_of(lab, helper);
    Ends live = connection(lab, LAB_FAR_V4);
    int64_t alone, beside;
    unsigned fds = fds_of_all(lab, &trio), most = 0;
    bool slow = strcmp(fast_path, "--fast-path=off") == 0;
    long memory;
    LabJob *job;

    lab_do(lab, LAB_HOST, "ip route add 198.18.0.0/16 via " LAB_FAR_V4);
    alone = paced_rate(live, 1000);
    memory = private_memory(lab, &trio);
    job = lab_start(lab, LAB_GUEST, flood_syns, &flood, sizeof flood);
    beside = paced_rate(live, 2000);
    most = fds_of_all(lab, &trio);
    LAB_ASSERT_EQ(lab_job_wait(job, LAB_MS(30000)), 0);
    memory = private_memory(lab, &trio) - memory;
    fprintf(stderr, "%s: %lld B/s alone, %lld beside 10,000 SYNs; %u fds, then %u; %ld KiB more\n",
            fast_path, (long long)alone, (long long)beside, fds, most, memory);
    /* libslirp looks at all its sockets in each turn of the loop, and 4,000 may wait for an answer: without the fast path the flow
     * gets slow, and is not more than alive. */
    LAB_CHECK(beside * 100 > alone * (slow ? 2 : 80), "%lld B/s alone, %lld beside",
              (long long)alone, (long long)beside);
    /* 1024 connects of the fast path (limits.c), and those libslirp may hold: a fifth of the fds. */
    struct rlimit limit;
    LAB_ASSERT_CALL(getrlimit(RLIMIT_NOFILE, &limit));
    LAB_CHECK(most < fds + 1024 + limit.rlim_max / 5, "%u fds", most);
    (void)paced_rate(live, 200);
    if (!slow) /* libslirp's wait for their answers until its own time is over */
        address_is_served(lab, LAB_FAR_V4);
    ends_close(live);
}

LAB_TEST(faults_guest, ten_thousand_syns_to_a_black_hole_leave_a_live_flow_its_rate,
         .limit_ms = 120000)
{
    black_hole(lab, "--fast-path=auto");
}

LAB_TEST(faults_guest, so_they_do_through_libslirp, .limit_ms = 120000)
{
    black_hole(lab, "--fast-path=off");
}

/* ---- 32: UDP to everywhere ---- */

/* In GUEST: one datagram to each of many addresses, from many ports. */
static int flood_udp(const void *argument, size_t length)
{
    const Flood *flood = argument;
    g_autofree int *fds = g_new(int, flood->at_once);

    (void)length;
    for (int i = 0; i < flood->at_once; i++)
        fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    for (int i = 0; i < flood->count; i++) {
        struct sockaddr_in sa = {.sin_family = AF_INET,
                                 .sin_port = htons((uint16_t)(1024 + i % 60000))};

        sa.sin_addr.s_addr = htonl(0xc6120000U + (uint32_t)i % 65000); /* 198.18.0.0/16 */
        if (i / flood->at_once % 8 == 7) {
            /* A port of its own again. */
            close(fds[i % flood->at_once]);
            fds[i % flood->at_once] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        }
        if (i % 20 == 19)
            g_usleep(
                500); /* what does not fit into the queue of its interface the guest's kernel drops itself */
        (void)sendto(fds[i % flood->at_once], "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&sa,
                     sizeof sa);
    }
    return 0;
}

/*
 * "Oldest idle evicted" is refuted: the sockets are libslirp's, which has no call to give one up, and does so itself after four
 * minutes (natshare.c). Until then sources beyond the limit are refused, by ICMP, so the guest is told; DNS, echo and published
 * ports draw on shares of their own.
 */
LAB_TEST(faults_guest, udp_to_very_many_destinations_stays_within_the_limits, .limit_ms = 900000)
{
    Flood flood = {.count = long_run() ? 1000000 : 100000, .at_once = 500};
    LabHelper *helper;
    long memory;
    int slowest = 0;
    unsigned asked = 0;
    LabJob *job;

    lab_helper_wrap(lab, "ulimit -n 4096");
    g_autofree char *resolv = g_strdup(lab_path(lab, "resolv.conf"));
    g_autofree char *option = g_strconcat("--resolv-conf=", resolv, NULL);
    (void)lab_dns_start(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER, "198.51.100.11", "2001:db8::11");
    lab_write_file(resolv, "nameserver " LAB_FAR_V4 "\n");
    helper = lab_helper(lab, option, NULL);
    LabTrio trio = trio_of(lab, helper);
    lab_do(lab, LAB_HOST, "ip route add 198.18.0.0/16 via " LAB_FAR_V4);
    memory = private_memory(lab, &trio);
    job = lab_start(lab, LAB_GUEST, flood_udp, &flood, sizeof flood);
    int pidfd = (int)lab_job_pid(job);
    while (kill(pidfd, 0) == 0 && asked < (long_run() ? 100000U : 500U)) {
        int64_t begin = lab_now();
        LabDnsReply reply = lab_dns_ask(lab, LAB_GUEST, LAB_DNS_V4, "www.example.test", false,
                                        false, LAB_MS(LAB_WAIT_MS));

        LAB_CHECK(reply.rcode == 0, "rcode %d", reply.rcode);
        slowest = MAX(slowest, (int)(lab_now() - begin));
        asked++;
        (void)poll(NULL, 0, 2);
    }
    LAB_ASSERT_EQ(lab_job_wait(job, LAB_MS(600000)), 0);
    memory = private_memory(lab, &trio) - memory;
    fprintf(stderr, "%u questions, the slowest %d ms; %u fds; %ld KiB more\n", asked, slowest,
            fds_of(lab, trio.datapath), memory);
    LAB_CHECK(slowest < LAB_MS(100), "%d ms", slowest);
    /* A fifth of 4096 for libslirp, and what was there before. */
    LAB_CHECK(fds_of(lab, trio.datapath) < 4096 / 5 + 100, "%u fds", fds_of(lab, trio.datapath));
    if (lab_time_factor() == 1)
        LAB_CHECK(memory < 8192, "%ld KiB more", memory);
    address_is_served(lab, LAB_FAR_V4);
    faults_idle_but_libslirp(&trio, helper, NULL);
}

/* ---- 36: peers that vanish ---- */

/* Two seconds instead of two hours, which is what the host's kernel documents. */
static void impatient(Lab *lab, LabPlace place)
{
    lab_sysctl(lab, place, "net/ipv4/tcp_keepalive_time", "1");
    lab_sysctl(lab, place, "net/ipv4/tcp_keepalive_intvl", "1");
    lab_sysctl(lab, place, "net/ipv4/tcp_keepalive_probes", "1");
}

/*
 * Clients of published ports are asked when we wish it (bindport.c: after two minutes, eight times, every 15 seconds): they
 * come with SALLYPORT_TEST_LONG.
 *
 * libslirp tells the guest by FIN, and lets go of its socket when the guest closes too, or after ten minutes (TCP_MAXIDLE); so
 * it does with one whose server has sent FIN before.
 */
static void peers_vanish(Lab *lab, const char *fast_path)
{
    bool slow = strcmp(fast_path, "--fast-path=off") == 0, clients = long_run();
    int server = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);
    int far = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    LabHelper *helper;
    unsigned before, left = slow ? 2 : 0;
    Ends ends[6];
    int count = clients ? 6 : 3;

    impatient(lab, LAB_HOST);
    helper = lab_helper(lab, fast_path, "-p 8080:80", NULL);
    LabTrio trio = trio_of(lab, helper);
    before = fds_of_all(lab, &trio);
    for (int i = 0; i < count; i++) {
        if (i < 3) {
            ends[i].guest = lab_connected(lab, LAB_GUEST, LAB_FAR_V4, lab_port(far));
            ends[i].far = lab_accepted(far);
        } else {
            ends[i].far = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
            ends[i].guest = lab_accepted(server);
        }
        say_both_ways(ends[i]);
        /* Not at all, and half-closed by either side. */
        if (i % 3 != 0)
            LAB_ASSERT_CALL(shutdown(i % 3 == 1 ? ends[i].guest : ends[i].far, SHUT_WR));
    }
    (void)poll(NULL, 0, 200);
    LAB_CHECK(fds_of_all(lab, &trio) >= before + 3, "half-closed connections are gone already");
    lab_do(lab, LAB_FAR, "ip link set far0 down");
    for (int64_t end = lab_now() + LAB_MS(clients ? 1200000 : 15000);
         fds_of_all(lab, &trio) > before + left;) {
        LAB_CHECK(lab_now() < end, "%u fds, %u before", fds_of_all(lab, &trio), before);
        (void)poll(NULL, 0, 100);
    }
    for (int i = 0; i < count; i++) {
        LabEnd end = lab_wait_end(ends[i].guest, LAB_MS(LAB_WAIT_MS));

        /* After its peer's FIN there is nothing more to read; the reset behind it shows in a write. */
        LAB_CHECK(end == LAB_END_RESET || end == LAB_END_EOF || end == LAB_END_ERROR,
                  "connection %d: %s", i, lab_end_text(end));
        close(ends[i].guest);
    }
    faults_idle_but_libslirp(&trio, helper, NULL);
}

LAB_TEST(faults_guest, peers_that_vanish_are_forgotten, .limit_ms = 1300000)
{
    peers_vanish(lab, "--fast-path=auto");
}

LAB_TEST(faults_guest, so_they_are_by_libslirp, .limit_ms = 1300000)
{
    peers_vanish(lab, "--fast-path=off");
}
