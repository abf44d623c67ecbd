/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_faults_time.c - storms of signals, processes that stand still, clocks that jump, and what becomes of resolv.conf
 *
 * Security.md's tests 40 to 42; the table of all of 27 to 42 is in test_faults_guest.c.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "faultfixture.h"
#include "lab_test.h"

/* ---- flows that have to live ---- */

/* One that each way of carrying bytes carries; libslirp's has a helper of its own. */
typedef struct Flows {
    Lab *lab;
    LabHelper *helpers[2]; /* fast path, libslirp */
    LabTrio trios[2];
    Ends ends[3]; /* taken over, published, libslirp's */
    int udp_out;  /* libslirp's */
    int udp_in;   /* published */
    int listeners[3];
} Flows;

static void flows_open(Flows *flows)
{
    Lab *lab = flows->lab;

    flows->ends[0].guest = lab_connected(lab, LAB_GUEST, LAB_FAR_V4, lab_port(flows->listeners[0]));
    flows->ends[0].far = lab_accepted(flows->listeners[0]);
    flows->ends[1].far = lab_connected(lab, LAB_RUNTIME, "127.0.0.1", 8080);
    flows->ends[1].guest = lab_accepted(flows->listeners[1]);
    flows->ends[2].guest =
        lab_connected(lab, LAB_GUEST + 1, LAB_FAR_V4, lab_port(flows->listeners[2]));
    flows->ends[2].far = lab_accepted(flows->listeners[2]);
}

static Flows flows_new(Lab *lab)
{
    static const char *const slow[] = {"--fast-path=off", NULL};
    Flows flows = {.lab = lab};
    LabPlace second = lab_guest_new(lab);

    LAB_ASSERT_EQ(second, LAB_GUEST + 1);
    (void)lab_serve_udp(lab, lab_udp(lab, LAB_FAR, LAB_FAR_V4, 7), LAB_ECHO);
    (void)lab_serve_udp(lab, lab_udp(lab, LAB_GUEST, "0.0.0.0", 81), LAB_ECHO);
    flows.listeners[0] = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    flows.listeners[1] = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);
    flows.listeners[2] = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    flows.helpers[0] = lab_helper(lab, "--fast-path=auto", "-p 8080:80", "-p 8081:81/udp", NULL);
    flows.helpers[1] = lab_helper_for(lab, second, slow);
    flows.trios[0] = lab_trio(lab, lab_helper_pid(flows.helpers[0]), LAB_GUEST);
    flows.trios[1] = lab_trio(lab, lab_helper_pid(flows.helpers[1]), second);
    flows_open(&flows);
    flows.udp_out = lab_udp_connected(lab, second, LAB_FAR_V4, 7);
    flows.udp_in = lab_udp_connected(lab, LAB_RUNTIME, "127.0.0.1", 8081);
    return flows;
}

static void datagram_returns(int fd, const char *what)
{
    char text[16];

    for (int i = 0; i < 3; i++) {
        LAB_ASSERT_EQ(send(fd, "ping", 4, 0), 4);
        if (lab_recv_datagram(fd, text, sizeof text, NULL, LAB_MS(1000)) == 4)
            return;
    }
    lab_fail(__FILE__, __LINE__, "%s: no datagram comes back", what);
}

static void flows_live(Flows *flows, const char *what)
{
    for (size_t i = 0; i < G_N_ELEMENTS(flows->ends); i++)
        say_both_ways(flows->ends[i]);
    datagram_returns(flows->udp_out, what);
    datagram_returns(flows->udp_in, what);
    for (size_t i = 0; i < 2; i++)
        LAB_CHECK(lab_helper_count(flows->helpers[i], SALLYPORT_EVENT_EXIT, NULL) == 0, "%s: ended",
                  what);
}

/* To the end of each, which must come with every byte. */
static void flows_transfer(Flows *flows, uint64_t bytes)
{
    for (size_t i = 0; i < G_N_ELEMENTS(flows->ends); i++) {
        lab_transfer(flows->ends[i].guest, flows->ends[i].far, bytes, bytes, 0);
        ends_close(flows->ends[i]);
    }
}

static void flows_idle(Flows *flows)
{
    for (size_t i = 0; i < 2; i++)
        faults_idle_but_libslirp(&flows->trios[i], flows->helpers[i], NULL);
}

static const pid_t *pids_of(const LabTrio *trio, pid_t pids[3])
{
    pids[0] = trio->supervisor;
    pids[1] = trio->inside;
    pids[2] = trio->datapath;
    return pids;
}

/* ---- 40: signals ---- */

typedef struct Storm {
    pid_t pids[6];
    int number;
} Storm;

/* Ten thousand times a second and process, as far as the machine goes with it, until it is killed. */
static int storm(const void *argument, size_t length)
{
    /* All processes ignore the first ones, by default or by their own wish. SIGUSR1, SIGTERM... are the supervisor's end. */
    static const int all[] = {SIGPIPE, SIGCHLD, SIGURG, SIGWINCH, SIGCONT};
    static const int children[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    const Storm *target = argument;

    (void)length;
    for (unsigned i = 0;; i++) {
        for (size_t j = 0; j < G_N_ELEMENTS(target->pids); j++) {
            bool supervisor = j % 3 == 0;

            if (kill(target->pids[j], supervisor || i % 2 == 0
                                          ? all[i / 2 % G_N_ELEMENTS(all)]
                                          : children[i / 2 % G_N_ELEMENTS(children)]) < 0)
                return 1;
        }
        g_usleep(50);
    }
}

LAB_TEST(faults_time, a_storm_of_signals_loses_no_byte, .limit_ms = 120000)
{
    Flows flows = flows_new(lab);
    Storm target;
    LabJob *job;

    (void)pids_of(&flows.trios[0], target.pids);
    (void)pids_of(&flows.trios[1], target.pids + 3);
    job = lab_start(lab, LAB_RUNTIME, storm, &target, sizeof target);
    for (int i = 0; i < 3; i++) {
        flows_live(&flows, "under the storm");
        flows_transfer(&flows, 20 * (uint64_t)MIB);
        flows_open(&flows);
    }
    flows_live(&flows, "under the storm");
    LAB_CHECK(kill(lab_job_pid(job), 0) == 0, "the storm is over");
    lab_job_end(job);
    flows_live(&flows, "after the storm");
    flows_idle(&flows);
}

LAB_TEST(faults_time, a_hundred_wishes_for_the_end_are_one_end)
{
    static const int wishes[] = {SIGTERM, SIGINT, SIGHUP};
    g_autofree char *before = lab_traces(lab);

    for (int round = 0; round < 5; round++) {
        LabRaw *raw = lab_raw_line(lab, NULL, "-p 8080:80 %d", (int)lab_pid(lab, LAB_GUEST));

        lab_raw_ready(raw);
        for (unsigned i = 0; i < 100; i++)
            (void)kill(lab_raw_pid(raw), wishes[(i + (unsigned)round) % G_N_ELEMENTS(wishes)]);
        lab_raw_expect_end(raw, 0, SALLYPORT_REASON_SIGNAL);
        LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_EXIT, NULL), 1);
        lab_traces_expect(lab, before, 0);
        lab_raw_free(raw);
    }
}

/* ---- 40 and 41: standing still ---- */

static void stand_still(const LabTrio *trios, size_t count, unsigned which, int ms)
{
    pid_t pids[3];

    for (int number = 0; number < 2; number++) {
        for (size_t i = 0; i < count; i++) {
            (void)pids_of(&trios[i], pids);
            for (unsigned j = 0; j < 3; j++)
                if ((which >> j & 1) != 0)
                    LAB_ASSERT_CALL(kill(pids[j], number == 0 ? SIGSTOP : SIGCONT));
        }
        if (number == 0)
            (void)poll(NULL, 0, ms);
    }
}

LAB_TEST(faults_time, processes_that_stand_still_lose_no_flow, .limit_ms = 1500000)
{
    Flows flows = flows_new(lab);

    flows_live(&flows, "fresh");
    for (unsigned which = 1; which < 8; which++) {
        g_autofree char *what = g_strdup_printf("processes %u stood still", which);

        /* What comes meanwhile is not lost either. */
        LAB_ASSERT_EQ(send(flows.ends[2].guest, "x", 1, 0), 1);
        LAB_ASSERT_EQ(send(flows.ends[1].far, "x", 1, 0), 1);
        stand_still(flows.trios, 2, which, which < 7 ? 300 : long_run() ? 600000 : 4000);
        char byte;
        lab_recv(flows.ends[2].far, &byte, 1);
        lab_recv(flows.ends[1].guest, &byte, 1);
        flows_live(&flows, what);
    }
    flows_transfer(&flows, MIB);
    flows_idle(&flows);
}

/* ---- 41: clocks ---- */

LAB_TEST(faults_time, clocks_that_jump_end_no_flow_and_stop_no_timer, .limit_ms = 120000)
{
    enum { HOUR = 3600 };
    static const struct {
        const char *what;
        long long wall_s, boot_s;
    } jumps[] = {
        {"an hour later", HOUR, 0},
        {"a year earlier", -365LL * 24 * HOUR, 0},
        {"ten years later", 3650LL * 24 * HOUR, 0},
        {"the end of 32 bits", 2147483640LL - 1700000000LL, 0},
        {"a second of monotonic time", 0, 1},
        {"ten minutes of monotonic time", 0, 600},
        {"a day of monotonic time", 0, 24 * HOUR},
        {"fifty days: 32 bits of milliseconds", 0, 50LL * 24 * HOUR},
        {"both", HOUR, 51LL * 24 * HOUR},
    };
    FaultPage *page = faults_new(lab);
    Flows flows = flows_new(lab);

    flows_live(&flows, "fresh");
    for (size_t i = 0; i < G_N_ELEMENTS(jumps); i++) {
        atomic_store(&page->wall_ns, jumps[i].wall_s * 1000000000);
        atomic_store(&page->boot_ns, jumps[i].boot_s * 1000000000);
        flows_live(&flows, jumps[i].what);
        (void)poll(NULL, 0, 600); /* libslirp's timers have a grain of half a second */
        flows_live(&flows, jumps[i].what);
    }
    flows_transfer(&flows, MIB);
    flows_open(&flows);
    flows_live(&flows, "new ones");
    flows_idle(&flows);
}

/* ---- 42: resolv.conf ---- */

static LabDnsReply ask(Lab *lab)
{
    return lab_dns_ask(lab, LAB_GUEST, LAB_DNS_V4, "www.example.test", false, false,
                       LAB_MS(LAB_WAIT_MS));
}

/* Until it is so, for two seconds. */
static void becomes(Lab *lab, int rcode, const char *what)
{
    int64_t end = lab_now() + LAB_MS(2000);
    LabDnsReply reply;

    do {
        reply = ask(lab);
    } while (reply.rcode != rcode && lab_now() < end);
    LAB_CHECK(reply.rcode == rcode, "%s: rcode %d, wanted %d", what, reply.rcode, rcode);
}

/* @first: stands before so many bytes of comments, the other after them. */
static void write_large(const char *path, const char *first, const char *last)
{
    g_autoptr(GString) text = g_string_new(first);

    while (text->len < MIB)
        g_string_append(text, "# nothing but comments\n");
    g_string_append(text, last);
    lab_replace_file(path, text->str);
}

LAB_TEST(faults_time, whatever_becomes_of_resolv_conf_dns_follows_or_fails_closed,
         .limit_ms = 90000)
{
    static const char good[] = "nameserver " LAB_FAR_V4 "\n";
    g_autofree char *path = g_strdup(lab_path(lab, "resolv.conf"));
    g_autofree char *option = g_strconcat("--resolv-conf=", path, NULL);
    LabHelper *helper;

    (void)lab_dns_start(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER, "198.51.100.11", "2001:db8::11");
    (void)lab_dns_start(lab, LAB_HOST, "::1", LAB_DNS_ANSWER, "198.51.100.22", "2001:db8::22");
    lab_write_file(path, good);
    helper = lab_helper(lab, option, NULL);
    LabTrio trio = trio_of(lab, helper);
    becomes(lab, 0, "at first");
    LAB_ASSERT_CALL(unlink(path));
    becomes(lab, 2, "removed");
    lab_replace_file(path, good);
    becomes(lab, 0, "there again");
    write_large(path, good, "");
    becomes(lab, 0, "1 MB behind it");
    write_large(path, "", good);
    becomes(lab, 2, "1 MB before it");
    lab_replace_file(path, good);
    becomes(lab, 0, "small again");
    LAB_ASSERT_CALL(unlink(path));
    LAB_ASSERT_CALL(mkdir(path, 0700));
    becomes(lab, 2, "a directory");
    LAB_ASSERT_CALL(rmdir(path));
    lab_replace_file(path, "nameserver ::1%lo\n");
    becomes(lab, 0, "::1%lo");
    LAB_CHECK(strcmp(ask(lab).address, "198.51.100.22") == 0, "another one answers");
    lab_replace_file(path, "nameserver ::1%nosuchlink\nnameserver %\nnameserver ::1%\n");
    becomes(lab, 2, "links that are none");
    for (int i = 0; i < 200; i++)
        lab_replace_file(path, i % 2 == 0 ? good : "");
    lab_replace_file(path, good);
    becomes(lab, 0, "two hundred changes later");
    faults_idle(&trio, helper, NULL);
}
