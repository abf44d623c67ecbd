/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_faults_start.c - a start that is cut short, at a call of libc and not at a time: no machine is too slow or too fast for it
 *
 * Security.md's tests 28 and 29, and 33 from the first call on; the table of all of 27 to 42 is in test_faults_guest.c.
 */
#include "config.h"

#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "faultfixture.h"
#include "lab_test.h"

#define END_MS 1000

static LabRaw *begun(Lab *lab, bool behind_parent)
{
    const LabRawSetup setup = {.behind_parent = behind_parent};

    return lab_raw_line(lab, &setup, "-p 8080:80 -p 8081:81/udp %d", (int)lab_pid(lab, LAB_GUEST));
}

/* ---- 29: SIGKILL at points of the start and of the run ---- */

enum { POINTS = 7 }; /* of each process: 21 in all, for each of the two that may be killed */

typedef enum Victim { VICTIM_PARENT, VICTIM_SUPERVISOR, VICTIMS } Victim;

static const char *const victim_names[] = {"parent", "supervisor"};

static void fresh(FaultPage *page)
{
    atomic_store(&page->stop_role, -1);
    atomic_store(&page->stopped, false);
    atomic_store(&page->forks, 0);
    for (size_t i = 0; i < FAULT_ROLES; i++)
        atomic_store(&page->made[i], 0);
}

static void stop_at(FaultPage *page, int role, unsigned long long call)
{
    atomic_store(&page->stop_at, call);
    atomic_store(&page->stop_role, role);
}

static bool stopped(FaultPage *page, int timeout_ms)
{
    int64_t end = lab_now() + timeout_ms;

    while (!atomic_load(&page->stopped) && lab_now() < end)
        (void)poll(NULL, 0, 1);
    return atomic_load(&page->stopped);
}

/* Whether the helper has reached the step that follows its first look at its parent. */
static bool knows_its_parent(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pid);
    g_autofree char *text = NULL;

    LAB_ASSERT(g_file_get_contents(path, &text, NULL, NULL));
    return strstr(text, "NoNewPrivs:\t1") != NULL;
}

/* The process of that role stands still before a call; then the victim is killed, and then it may go on. */
static void kill_there(Lab *lab, FaultPage *page, LabRaw *raw, Victim victim, const char *before,
                       const char *where)
{
    int pidfd = pidfd_open(lab_raw_pid(raw), 0);
    bool known = knows_its_parent(lab_raw_pid(raw));

    LAB_ASSERT(pidfd >= 0);
    if (victim == VICTIM_PARENT)
        lab_raw_parent_end(raw);
    else
        LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGKILL));
    atomic_store(&page->stop_role, -1);
    if (lab_wait(pidfd, POLLIN, LAB_MS(END_MS)) == 0) {
        /* A parent that is gone before main() looks for it cannot be told from another one. */
        LAB_CHECK(!known, "%s: the helper lives on without its %s", where, victim_names[victim]);
        LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    }
    close(pidfd);
    if (victim != VICTIM_PARENT)
        lab_raw_parent_end(raw);
    (void)lab_raw_wait(raw, LAB_MS(END_MS));
    lab_traces_expect(lab, before, LAB_MS(END_MS));
    lab_raw_free(raw);
}

LAB_TEST(faults_start, sigkill_at_any_point_of_the_start_leaves_nothing, .limit_ms = 180000)
{
    FaultPage *page = faults_new(lab);
    g_autofree char *before = NULL;
    unsigned long long calls[3];
    unsigned points = 0;
    LabRaw *raw;

    fresh(page);
    before = lab_traces(lab);
    raw = begun(lab, false);
    lab_raw_ready(raw);
    for (size_t i = 0; i < 3; i++) {
        calls[i] = atomic_load(&page->made[i]);
        LAB_CHECK(calls[i] > 3 * POINTS, "process %zu has made %llu calls", i, calls[i]);
    }
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    (void)lab_raw_wait(raw, LAB_MS(2000));
    lab_raw_free(raw);
    for (int role = 0; role < 3; role++) {
        for (int point = 0; point < POINTS; point++) {
            for (int victim = 0; victim < VICTIMS; victim++) {
                unsigned long long call = calls[role] * (unsigned)point / POINTS;
                g_autofree char *where = g_strdup_printf("process %d, call %llu", role, call);

                fresh(page);
                stop_at(page, role, call);
                raw = begun(lab, true);
                LAB_CHECK(stopped(page, LAB_MS(LAB_WAIT_MS)), "%s: never reached", where);
                kill_there(lab, page, raw, (Victim)victim, before, where);
                points++;
            }
        }
    }
    fprintf(stderr, "%u points of %llu, %llu and %llu calls\n", points, calls[0], calls[1],
            calls[2]);
}

LAB_TEST(faults_start, sigkill_at_any_point_of_the_run_leaves_nothing, .limit_ms = 120000)
{
    FaultPage *page = faults_new(lab);
    int server = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80);
    g_autofree char *before = NULL;

    fresh(page);
    before = lab_traces(lab);
    for (int point = 0; point < 5; point++) {
        for (int victim = 0; victim < VICTIMS; victim++) {
            g_autofree char *where = g_strdup_printf("%d calls after ready", 7 * point);
            LabRaw *raw;
            int client, accepted;

            fresh(page);
            raw = begun(lab, true);
            lab_raw_ready(raw);
            client = lab_connected(lab, LAB_RUNTIME, "127.0.0.1", 8080);
            accepted = lab_accepted(server);
            lab_say(client, accepted, "under way");
            stop_at(page, 2, atomic_load(&page->made[2]) + 7 * (unsigned)point);
            for (int i = 0; i < 1000 && !stopped(page, 1); i++)
                (void)send(client, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
            LAB_CHECK(atomic_load(&page->stopped), "%s: never reached", where);
            /* Their ends first: what the killed leave to the kernel is no trace of ours. */
            lab_reset(client);
            lab_reset(accepted);
            kill_there(lab, page, raw, (Victim)victim, before, where);
        }
    }
}

/* ---- 28: the PID of the guest's init, given to somebody else ---- */

/* A process of that number, in a network namespace of its own; needs CAP_CHECKPOINT_RESTORE over the PID namespace. */
static pid_t process_with_pid(pid_t pid)
{
    struct clone_args args = {.flags = CLONE_NEWNET,
                              .exit_signal = SIGCHLD,
                              .set_tid = (uint64_t)(uintptr_t)&pid,
                              .set_tid_size = 1};
    pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof args);

    if (child == 0) {
        for (;;)
            (void)pause();
    }
    return child;
}

LAB_TEST(faults_start, pid_of_the_guests_init_given_to_another_is_left_alone)
{
    g_autofree char *before = NULL;
    int status = 0;

    if (!lab_is_root(lab))
        lab_skip("not in this mode: who has which PID is for root to say");
    before = lab_traces(lab);
    LabRaw *raw = begun(lab, false);
    lab_raw_ready(raw);
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    pid_t pid = lab_pid(lab, LAB_GUEST), other;

    /* It cannot be told of the end before its number is somebody else's again. */
    LAB_ASSERT_CALL(kill(trio.supervisor, SIGSTOP));
    lab_guest_end(lab, LAB_GUEST);
    other = process_with_pid(pid);
    LAB_CHECK(other == pid, "clone3: %s", strerror(errno));
    LAB_ASSERT_CALL(kill(trio.supervisor, SIGCONT));
    LAB_ASSERT(lab_trio_ended(&trio, LAB_MS(END_MS)));
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_TARGET_GONE);
    (void)poll(NULL, 0, 200);
    LAB_CHECK(waitpid(other, &status, WNOHANG) == 0, "the new process has ended: status 0x%x",
              (unsigned)status);
    g_autofree char *dev = g_strdup_printf("/proc/%d/net/dev", (int)other), *text = NULL;
    LAB_ASSERT(g_file_get_contents(dev, &text, NULL, NULL));
    LAB_CHECK(strstr(text, "tap0") == NULL, "the new process has got an interface:\n%s", text);
    LAB_ASSERT_CALL(kill(other, SIGKILL));
    LAB_ASSERT_EQ(waitpid(other, NULL, 0), other);
}

/* ---- 33: errnos from the first call on ---- */

/*
 * Ready or refused: nothing between, and no silence. What GLib and libc need for themselves they take or abort (a GMainContext
 * without an eventfd, malloc() without memory), so that eventfd(2) is left alone here: no program on GLib starts without it.
 */
LAB_TEST(faults_start, failing_calls_make_a_start_fail_with_its_reason_or_not_at_all,
         .limit_ms = 900000)
{
    FaultPage *page = faults_new(lab);
    const char *given = g_getenv("SALLYPORT_TEST_SEED");
    uint64_t seed = given != NULL ? g_ascii_strtoull(given, NULL, 10) : (uint64_t)lab_now();
    int server = lab_listen(lab, LAB_GUEST, "0.0.0.0", 80), starts = long_run() ? 3000 : 100;
    unsigned ready = 0, refused = 0, speechless = 0;
    g_autofree char *before = lab_traces(lab);

    for (int i = 0; i < starts; i++) {
        LabRaw *raw;

        fresh(page);
        faults_order(page, 7, 100, (1U << FAULT_ERRNOS) - 1, seed + ((uint64_t)i << 32));
        atomic_store(&page->calls, ~(1ULL << FAULT_CALL_eventfd));
        fprintf(stderr,
                "SALLYPORT_TEST_SEED=%llu: ", (unsigned long long)(seed + ((uint64_t)i << 32)));
        raw = begun(lab, false);
        if (lab_raw_await(raw, SALLYPORT_EVENT_READY, LAB_MS(10000)) != NULL) {
            int client, accepted;

            atomic_store(&page->active, false);
            client = lab_connected(lab, LAB_RUNTIME, "127.0.0.1", 8080);
            accepted = lab_accepted(server);
            lab_say(client, accepted, "there");
            lab_reset(client);
            (void)lab_wait_end(accepted, LAB_MS(LAB_WAIT_MS));
            close(accepted);
            LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
            LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(2000)), 0);
            ready++;
            fprintf(stderr, "ready\n");
        } else {
            int status = lab_raw_wait(raw, LAB_MS(2000));

            LAB_CHECK(status == 1, "status %d; stderr: %s", status, lab_raw_err(raw));
            /* A child that ended before it could speak is named by the exit record. */
            if (lab_raw_count(raw, SALLYPORT_EVENT_ERROR, NULL) > 0) {
                lab_raw_expect_reason(raw, SALLYPORT_REASON_START_FAILED);
            } else {
                const char *last = lab_raw_await(raw, SALLYPORT_EVENT_EXIT, 0);

                LAB_CHECK(last != NULL &&
                              (lab_record_has(last, "reason", SALLYPORT_REASON_DATAPATH_DIED) ||
                               lab_record_has(last, "reason", SALLYPORT_REASON_INSIDE_DIED)),
                          "no word why; stderr: %s", lab_raw_err(raw));
                speechless++;
            }
            refused++;
            fprintf(stderr, "%s", lab_raw_err(raw));
        }
        atomic_store(&page->active, false);
        lab_traces_expect(lab, before, LAB_MS(END_MS));
        lab_raw_free(raw);
    }
    fprintf(stderr, "%u ready, %u refused, %u of them by a child without a word;", ready, refused,
            speechless);
    faults_print(page);
    LAB_CHECK(ready > 0 && refused > 0, "%u ready, %u refused: no test", ready, refused);
}
