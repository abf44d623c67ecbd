/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_endurance.c - many starts, long idleness, ten thousand ports, and what all of it costs
 */
#include "config.h"

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab_raw.h"
#include "lab_test.h"

#define MEMORY_MAX_KIB 4096

/* ---- many starts ---- */

/* The whole number as an ordinary user without sanitizers; a tenth tells as much of the other ways to run. */
static int rounds_of(Lab *lab, int whole)
{
    return lab_time_factor() == 1 && !lab_is_root(lab) ? whole : whole / 10;
}

LAB_TEST(endurance, two_hundred_starts_on_one_port_never_find_it_in_use, .limit_ms = 120000)
{
    const int rounds = rounds_of(lab, 200);
    g_autofree char *before = NULL;
    int server = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);

    before = lab_traces(lab);
    for (int round = 0; round < rounds; round++) {
        LabRaw *raw =
            lab_raw_line(lab, NULL, "-p 8080:80 -p 8080:80/udp %d", (int)lab_pid(lab, LAB_GUEST));
        int client, accepted;

        LAB_CHECK(lab_raw_await(raw, SALLYPORT_EVENT_READY, LAB_MS(LAB_WAIT_MS)) != NULL,
                  "round %d: not ready", round);
        /* Connections at their end in every way leave every state of TCP on the host's port. */
        client = lab_connected(lab, LAB_HOST, "127.0.0.1", 8080);
        accepted = lab_accepted(server);
        lab_say(client, accepted, "hello");
        if (round % 3 == 0)
            close(accepted);
        else if (round % 3 == 1)
            close(client);
        LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
        lab_raw_expect_end(raw, 0, SALLYPORT_REASON_SIGNAL);
        lab_raw_free(raw);
        if (round % 3 != 0)
            close(accepted);
        if (round % 3 != 1)
            close(client);
    }
    lab_traces_expect(lab, before, 0);
}

/* A process in namespaces of its own that lives @life_us from when they stand. */
static pid_t short_lived(unsigned life_us)
{
    int sync[2];
    char byte = 0;
    pid_t child;

    LAB_ASSERT_CALL(pipe2(sync, O_CLOEXEC));
    LAB_ASSERT_CALL(child = fork());
    if (child == 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
            _exit(1);
        (void)!write(sync[1], "1", 1);
        usleep(life_us);
        _exit(0);
    }
    close(sync[1]);
    LAB_CHECK(read(sync[0], &byte, 1) == 1, "no user namespace for a guest");
    close(sync[0]);
    return child;
}

typedef enum Outcome {
    GONE_BEFORE,
    GONE_AFTER,
} Outcome;

static Outcome outcome(LabRaw *raw, int round)
{
    int status = lab_raw_wait(raw, LAB_MS(5000));
    unsigned ready = lab_raw_count(raw, SALLYPORT_EVENT_READY, NULL);
    unsigned errors = lab_raw_count(raw, SALLYPORT_EVENT_ERROR, NULL);

    if (ready == 1) {
        LAB_CHECK(status == 0 && errors == 0, "round %d: status %d, %u errors after ready", round,
                  status, errors);
        lab_raw_expect_reason(raw, SALLYPORT_REASON_TARGET_GONE);
        return GONE_AFTER;
    }
    LAB_CHECK(status == 1 && errors == 1, "round %d: status %d, %u errors", round, status, errors);
    LAB_CHECK(lab_raw_count(raw, SALLYPORT_EVENT_ERROR, SALLYPORT_CODE_TARGET) == 1,
              "round %d: not code target", round);
    LAB_CHECK(strstr(lab_raw_err(raw), "gone") != NULL && lab_raw_err_lines(raw) == 1,
              "round %d: %s", round, lab_raw_err(raw));
    lab_raw_expect_reason(raw, SALLYPORT_REASON_START_FAILED);
    return GONE_BEFORE;
}

LAB_TEST(endurance, thousand_starts_for_a_process_that_ends_at_once_are_all_clean,
         .limit_ms = 240000)
{
    enum { AT_ONCE = 8 };
    const int rounds = rounds_of(lab, 1000);
    LabRaw *raws[AT_ONCE] = {NULL};
    pid_t targets[AT_ONCE];
    unsigned outcomes[2] = {0, 0};
    g_autofree char *before = lab_traces(lab);

    for (int round = 0; round < rounds + AT_ONCE; round++) {
        int slot = round % AT_ONCE;

        if (raws[slot] != NULL) {
            outcomes[outcome(raws[slot], round - AT_ONCE)]++;
            lab_raw_free(raws[slot]);
            raws[slot] = NULL;
        }
        if (round < rounds) {
            /* From before the first look at it to well after ready. */
            targets[slot] = short_lived((unsigned)(round % 100) * 400);
            raws[slot] = lab_raw_line(lab, NULL, "%d", (int)targets[slot]);
        }
        while (waitpid(targets[slot], NULL, WNOHANG) == 0 && round >= rounds)
            (void)poll(NULL, 0, 5);
    }
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    fprintf(stderr, "%u ended before ready, %u after\n", outcomes[GONE_BEFORE],
            outcomes[GONE_AFTER]);
    LAB_ASSERT_EQ(outcomes[GONE_BEFORE] + outcomes[GONE_AFTER], (unsigned)rounds);
    LAB_CHECK(outcomes[GONE_BEFORE] > 0, "no process ended early enough to test anything");
    lab_traces_expect(lab, before, LAB_MS(1000));
}

/* ---- idle ---- */

/* The guest's kernel looks for routers and groups when an interface comes up: wait until it has said all that. */
static void settle(const LabTrio *trio)
{
    int64_t end = lab_now() + LAB_MS(20000), quiet_since = lab_now();
    unsigned threads;
    long long last = lab_trio_switches(trio, &threads);

    while (lab_now() - quiet_since < 3000) {
        long long now;

        LAB_CHECK(lab_now() < end, "no three quiet seconds in twenty");
        (void)poll(NULL, 0, 100);
        now = lab_trio_switches(trio, &threads);
        if (now != last)
            quiet_since = lab_now();
        last = now;
    }
}

static void stays_asleep(const LabTrio *trio)
{
    unsigned threads, threads_after;
    long long before = lab_trio_switches(trio, &threads), after;

    (void)poll(NULL, 0, 10000);
    after = lab_trio_switches(trio, &threads_after);
    LAB_CHECK(before == after && threads == threads_after,
              "%lld wake-ups of %u threads in 10 s, %u threads then", after - before, threads,
              threads_after);
}

/* The guest must be still, not only the helper. */
static void still_guest(Lab *lab)
{
    lab_sysctl(lab, LAB_GUEST, "net/ipv6/conf/default/router_solicitations", "0");
    lab_sysctl(lab, LAB_GUEST, "net/ipv6/conf/all/router_solicitations", "0");
}

LAB_TEST(endurance, fresh_helper_is_not_woken_in_ten_seconds, .limit_ms = 60000)
{
    still_guest(lab);
    LabRaw *raw =
        lab_raw_line(lab, NULL, "-p 8080:80 -p 8081:81/udp %d", (int)lab_pid(lab, LAB_GUEST));
    lab_raw_ready(raw);
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    settle(&trio);
    stays_asleep(&trio);
}

LAB_TEST(endurance, helper_that_has_carried_traffic_is_not_woken_in_ten_seconds, .limit_ms = 60000)
{
    still_guest(lab);
    int server = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);
    int far = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 7);
    LabRaw *raw = lab_raw_line(lab, NULL, "-p 8080:80 %d", (int)lab_pid(lab, LAB_GUEST));

    lab_raw_ready(raw);
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    int in = lab_connected(lab, LAB_HOST, "127.0.0.1", 8080), in_peer = lab_accepted(server);
    int out = lab_connected(lab, LAB_GUEST, LAB_FAR_V4, 7), out_peer = lab_accepted(far);
    lab_transfer(in, in_peer, 100000, 100000, 0);
    lab_transfer(out, out_peer, 100000, 100000, 0);
    /* The published connection stays open and idle; libslirp's is reset, so that it holds no socket. */
    lab_reset(out);
    (void)lab_wait_end(out_peer, LAB_MS(LAB_WAIT_MS));
    settle(&trio);
    stays_asleep(&trio);
    close(in);
    close(in_peer);
}

/* ---- size ---- */

LAB_TEST(endurance, ten_thousand_ports_are_ready_within_a_second, .limit_ms = 60000)
{
    static const uint16_t ports[] = {10000, 15000, 19999};
    struct rlimit limit;
    int64_t start, took;

    LAB_ASSERT_CALL(getrlimit(RLIMIT_NOFILE, &limit));
    if (limit.rlim_max < 12000)
        lab_cannot("the hard limit of open files is %llu", (unsigned long long)limit.rlim_max);
    start = lab_now();
    LabRaw *raw =
        lab_raw_line(lab, NULL, "-p 10000-19999:10000-19999/tcp %d", (int)lab_pid(lab, LAB_GUEST));
    LAB_ASSERT(lab_raw_await(raw, SALLYPORT_EVENT_READY, LAB_MS(10000)) != NULL);
    took = lab_now() - start;
    fprintf(stderr, "10000 ports: ready after %lld ms\n", (long long)took);
    LAB_CHECK(took <= LAB_MS(1000), "ready after %lld ms", (long long)took);
    LAB_CHECK(lab_raw_count(raw, SALLYPORT_EVENT_PUBLISHED, NULL) <= 4, "%u published records",
              lab_raw_count(raw, SALLYPORT_EVENT_PUBLISHED, NULL));
    for (size_t i = 0; i < G_N_ELEMENTS(ports); i++) {
        int server = lab_listen(lab, LAB_GUEST, "0.0.0.0", ports[i]);
        int client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, ports[i]);

        lab_say(client, lab_accepted(server), "by its number");
        client = lab_connected(lab, LAB_FAR, LAB_HOST_V6, ports[i]);
        lab_say(client, lab_accepted(server), "by IPv6");
    }
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_SIGNAL);
}

LAB_TEST(endurance, three_hundred_port_maps_are_ready_within_a_second)
{
    g_autoptr(GString) words = g_string_new(NULL);
    int64_t start = lab_now(), took;

    for (int i = 0; i < 300; i++)
        g_string_append_printf(words, "-p 127.0.0.1:%d:80 ", 10000 + 2 * i);
    LabRaw *raw = lab_raw_line(lab, NULL, "%s%d", words->str, (int)lab_pid(lab, LAB_GUEST));
    LAB_ASSERT(lab_raw_await(raw, SALLYPORT_EVENT_READY, LAB_MS(20000)) != NULL);
    took = lab_now() - start;
    LAB_CHECK(took <= LAB_MS(1000), "ready after %lld ms", (long long)took);
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_PUBLISHED, NULL), 300);
}

/* KiB of what a process has alone, and its share of written pages, which the three have from one another by fork(). */
typedef struct Memory {
    long own, anonymous;
} Memory;

/* Read by the lab's root, because the processes forbid it to others. */
static void add_memory(Lab *lab, pid_t pid, Memory *sum)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/smaps_rollup", (int)pid);
    LabOutput output = {NULL, NULL};
    g_auto(GStrv) lines = NULL;
    Memory memory = {0, 0};

    LAB_CHECK(lab_exec(lab, LAB_HOST, &output, "cat", path, NULL) == 0, "%s: %s", path, output.err);
    lines = g_strsplit(output.out, "\n", -1);
    for (size_t i = 0; lines[i] != NULL; i++) {
        const char *colon = strchr(lines[i], ':');

        if (g_str_has_prefix(lines[i], "Private_Clean:") ||
            g_str_has_prefix(lines[i], "Private_Dirty:"))
            memory.own += strtol(colon + 1, NULL, 10);
        else if (g_str_has_prefix(lines[i], "Pss_Anon:"))
            memory.anonymous = strtol(colon + 1, NULL, 10);
    }
    lab_output_clear(&output);
    LAB_CHECK(memory.own > 0 && memory.anonymous > 0, "%s says nothing", path);
    fprintf(stderr, "process %d: private %ld KiB, anonymous %ld KiB\n", (int)pid, memory.own,
            memory.anonymous);
    sum->own += memory.own;
    sum->anonymous += memory.anonymous;
}

LAB_TEST(endurance, idle_helper_has_at_most_4_mib_of_private_memory)
{
    Memory sum = {0, 0};

    if (lab_time_factor() > 1)
        lab_skip("a sanitizer's memory is not the program's");
    LabRaw *raw = lab_raw_line(lab, NULL, "-p 8080:80 %d", (int)lab_pid(lab, LAB_GUEST));
    lab_raw_ready(raw);
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    add_memory(lab, trio.supervisor, &sum);
    add_memory(lab, trio.inside, &sum);
    add_memory(lab, trio.datapath, &sum);
    LAB_CHECK(sum.own <= MEMORY_MAX_KIB && sum.anonymous <= MEMORY_MAX_KIB,
              "private %ld KiB, anonymous %ld KiB", sum.own, sum.anonymous);
}
