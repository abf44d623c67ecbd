/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_slirp4netns.c - called as slirp4netns: what it is told, how it starts and ends, what the interface is
 *
 * Not here: what the guest can reach (test_slirp4netns_net.c), each word of the command line (tests/unit/test_slirp4netns.c).
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

#include "lab_test.h"
#include "slirpfixture.h"

#define END_MS 4000
/* So long something that must not end is looked at. */
#define STAYS_MS 300

/* ---- texts and refusals ---- */

LAB_TEST(slirp4netns, help_and_version_are_a_success, .without_tun = true)
{
    static const char *const rows[][2] = {
        {"--help", "--netns-type "},
        {"-h", "Usage: slirp4netns [OPTION]... PID|PATH|FD [TAPNAME]"},
        {"--version", "slirp4netns version "},
        {"-v", "\nSLIRP_CONFIG_VERSION_MAX: "},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        LabRaw *raw = slirp_line(lab, "%s", rows[i][0]);

        LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(END_MS)), 0);
        LAB_CHECK(strstr(lab_raw_out(raw), rows[i][1]) != NULL, "%s says %s", rows[i][0],
                  lab_raw_out(raw));
        LAB_ASSERT_EQ(lab_raw_err_lines(raw), 0);
        lab_raw_free(raw);
    }
}

LAB_TEST(slirp4netns, symlink_of_that_name_is_it, .without_tun = true)
{
    const char *path = lab_path(lab, "slirp4netns");
    g_autofree char *program = realpath(lab_helper_program(), NULL);
    g_autofree char *says = NULL;

    LAB_ASSERT_CALL(symlink(program, path));
    says = lab_says(lab, LAB_RUNTIME, "%s --version", path);
    LAB_CHECK(g_str_has_prefix(says, "slirp4netns version "), "%s", says);
}

static void refused(Lab *lab, const char *words, const char *message, bool usage)
{
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = slirp_line(lab, "%s", words);

    LAB_CHECK(lab_raw_wait(raw, LAB_MS(END_MS)) == 1, "'%s' is no failure", words);
    LAB_CHECK(strstr(lab_raw_err(raw), message) != NULL, "'%s' says %s", words, lab_raw_err(raw));
    LAB_CHECK(lab_raw_err_lines(raw) == 1, "'%s' says %s", words, lab_raw_err(raw));
    LAB_CHECK((strstr(lab_raw_out(raw), "Usage: slirp4netns ") != NULL) == usage, "'%s' says %s",
              words, lab_raw_out(raw));
    lab_raw_free(raw);
    lab_traces_expect(lab, before, 0);
}

LAB_TEST(slirp4netns, refusals_are_status_1_with_the_words_of_old)
{
    g_autofree char *pid = g_strdup_printf("%d", (int)lab_pid(lab, LAB_GUEST));
    g_autofree char *name = g_strnfill(108, 'a');
    g_autofree char *socket = g_strdup_printf("-a /tmp/%s %s tap0", name, pid);
    g_autofree char *ready = g_strdup_printf("-r 77 %s tap0", pid);
    g_autofree char *exiting = g_strdup_printf("-e 77 %s tap0", pid);
    g_autofree char *mac = g_strdup_printf("--macaddress 0e:d4:18:d9:38:fb %s tap0", pid);
    g_autofree char *outbound = g_strdup_printf("--outbound-addr 198.51.100.9 %s tap0", pid);

    refused(lab, "", "no PID or PATH", true);
    refused(lab, "abc tap0", "PID must be a positive integer", true);
    refused(lab, "--foo 1 tap0", "unrecognized option '--foo'", true);
    refused(lab, "-m 65522 1 tap0", "MTU must be a positive integer (< 65522)", true);
    refused(lab, "--cidr 24 1 tap0", "invalid CIDR", false);
    refused(lab, "--cidr 10.0.2.100/24 1 tap0",
            "CIDR needs to be a network address like 10.0.2.0/24, not like 10.0.2.100/24", false);
    refused(lab, "--cidr 10.0.2.0/26 1 tap0", "prefix length needs to be 1-25", false);
    refused(lab, "--netns-type=path /no/such tap0",
            "existing path expected when --netns-type=path: No such file or directory", true);
    refused(lab, "--userns-path=/no/such --netns-type=path /proc/self/ns/net tap0",
            "userns path doesn't exist: /no/such", true);
    refused(lab, mac, "--macaddr cannot be specified when --configure or -c is not specified",
            true);
    refused(lab, socket, "too long", false);
    refused(lab, ready, "--ready-fd 77: no such open file descriptor", false);
    refused(lab, exiting, "--exit-fd 77: no such open file descriptor", false);
    refused(lab, "2147483647 tap0", "target gone", false);
    refused(lab, outbound, "198.51.100.9", false);
}

LAB_TEST(slirp4netns, what_is_not_built_yet_is_refused)
{
    refused(lab, "--netns-type=tapfd 3", "--netns-type=tapfd is not supported yet", false);
    refused(lab, "--target-type=bess /tmp/bess", "--target-type=bess is not supported yet", false);
}

/* ---- the start ---- */

LAB_TEST(slirp4netns, configure_makes_an_interface_with_an_address)
{
    (void)slirp(lab, "-c %d tap11", (int)lab_pid(lab, LAB_GUEST));
    slirp_shows(lab, "ip -o -4 address show dev tap11", "10.0.2.100/24");
    slirp_shows(lab, "ip -o link show dev tap11", "mtu 1500 ");
    slirp_shows(lab, "ip -o link show dev tap11", ",UP,LOWER_UP");
    slirp_shows(lab, "ip -o link show dev lo", ",UP,LOWER_UP");
    slirp_shows(lab, "ip route", "default via 10.0.2.2 dev tap11");
    slirp_shows_not(lab, "ip -o -6 address show dev tap11", "fd00:");
}

LAB_TEST(slirp4netns, without_configure_there_is_an_interface_and_no_more)
{
    (void)slirp_guest(lab, "--mtu 65520");
    slirp_shows(lab, "ip -o link show dev tap0", "state DOWN");
    slirp_shows(lab, "ip -o link show dev lo", "state DOWN");
    slirp_shows_not(lab, "ip -o address", "inet");
}

LAB_TEST(slirp4netns, mac_address_is_the_one_asked_for)
{
    (void)slirp_guest(lab, "-c --macaddress=0e:d4:18:d9:38:fb");
    slirp_shows(lab, "ip -o link show dev tap0", "0e:d4:18:d9:38:fb");
}

LAB_TEST(slirp4netns, cidr_moves_the_guest)
{
    (void)slirp_guest(lab, "-c --cidr=10.0.135.128/25 -m 65521");
    slirp_shows(lab, "ip -o -4 address show dev tap0", "10.0.135.228/25");
    slirp_shows(lab, "ip route", "default via 10.0.135.130");
    slirp_shows(lab, "ip -o link show dev tap0", "mtu 65521 ");
    slirp_transfers(lab, LAB_FAR_V4, 100000);
}

LAB_TEST(slirp4netns, ready_fd_may_be_a_file)
{
    LabRawSetup setup = {.no_report = true, .fd_count = 1};
    const char *path = lab_path(lab, "ready");
    int64_t end = lab_now() + LAB_MS(10000);
    char *text = NULL;

    setup.fds[0] = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    LAB_ASSERT(setup.fds[0] >= 0);
    (void)lab_raw_line(lab, &setup, SLIRP_WORDS " -c -r %d %d tap0", LAB_RAW_FD,
                       (int)lab_pid(lab, LAB_GUEST));
    while (g_file_get_contents(path, &text, NULL, NULL) && text[0] == '\0') {
        g_free(text);
        LAB_ASSERT(lab_now() < end);
        (void)poll(NULL, 0, 10);
    }
    LAB_CHECK(g_strcmp0(text, "1") == 0, "'%s'", text);
    g_free(text);
}

LAB_TEST(slirp4netns, summary_is_on_standard_output_before_ready)
{
    LabRaw *raw = slirp_guest(lab, "-c --enable-ipv6 --enable-sandbox --enable-seccomp");

    LAB_CHECK(g_str_has_prefix(lab_raw_out(raw), "WARNING: Support for IPv6 is experimental\n"
                                                 "WARNING: Support for seccomp is experimental\n"
                                                 "Starting slirp\n"
                                                 "* MTU:             1500\n"
                                                 "* Network:         10.0.2.0\n"),
              "%s", lab_raw_out(raw));
    LAB_ASSERT(strstr(lab_raw_out(raw), "* Recommended IP:  10.0.2.100\n") != NULL);
    LAB_ASSERT(strstr(lab_raw_out(raw), "127.0.0.1:* on the host is accessible as 10.0.2.2") !=
               NULL);
    LAB_CHECK(lab_raw_err_lines(raw) == 0, "no records, no chatter: %s", lab_raw_err(raw));
}

/* Podman sets accept_dad of "default" to 0 until ready: the interface must have been made by then. */
LAB_TEST(slirp4netns, interface_is_up_before_ready)
{
    LabRaw *raw;

    lab_sysctl(lab, LAB_GUEST, "net/ipv6/conf/default/accept_dad", "0");
    raw = slirp_guest(lab, "-c --enable-ipv6");
    lab_sysctl(lab, LAB_GUEST, "net/ipv6/conf/default/accept_dad", "1");
    (void)raw;
    slirp_shows(lab, "cat /proc/sys/net/ipv6/conf/tap0/accept_dad", "0");
    slirp_shows(lab, "ip -o link show dev tap0", ",UP,LOWER_UP");
    slirp_shows_not(lab, "ip -o -6 address show dev tap0", "tentative");
}

/* ---- namespaces ---- */

LAB_TEST(slirp4netns, path_with_and_without_a_user_namespace)
{
    int pid = (int)lab_pid(lab, LAB_GUEST);
    LabRaw *raw = slirp(
        lab, "--userns-path=/proc/%d/ns/user --netns-type=path /proc/%d/ns/net tap1", pid, pid);

    slirp_shows_not(lab, "ip -o address show dev tap1", "inet");
    lab_raw_free(raw);
    raw = slirp(lab, "--netns-type=foo /proc/%d/ns/net tap2", pid);
    slirp_shows(lab, "ip -o link show dev tap2", "tap2");
    lab_raw_free(raw);
    (void)slirp(lab, "-c --enable-seccomp --userns-path=/proc/%d/ns/user %d tap3", pid, pid);
    slirp_shows(lab, "ip -o -4 address show dev tap3", "10.0.2.100/24");
}

/* As podman: root of a user namespace that owns the network namespace, which is given by path, in a mount namespace of its own. */
LAB_TEST(slirp4netns, root_of_the_user_namespace_that_owns_the_network)
{
    const char *sleeper[] = {"unshare", "--user", "--map-root-user", "--net", "sleep", "60", NULL};
    g_autofree char *program = realpath(lab_helper_program(), NULL);
    LabJob *guest = lab_startv(lab, LAB_RUNTIME, sleeper);
    g_autofree char *enter = g_strdup_printf(
        "nsenter --preserve-credentials --user=/proc/%d/ns/user", (int)lab_job_pid(guest));
    const char *ready = lab_path(lab, "ready");
    g_autofree char *line = g_strdup_printf(
        "exec %s unshare --mount --propagation unchanged %s " SLIRP_WORDS
        " --disable-host-loopback --mtu=65520 --enable-sandbox --enable-seccomp "
        "--cidr=10.0.3.0/24 --enable-ipv6 -c -r 3 --netns-type=path /proc/%d/ns/net tap0 3>%s "
        "</dev/null",
        enter, program, (int)lab_job_pid(guest), ready);
    const char *helper[] = {"sh", "-c", line, NULL};
    int64_t end = lab_now() + LAB_MS(10000);
    struct stat st = {0};
    LabJob *job;

    free(lab_says(lab, LAB_RUNTIME,
                  "until test \"$(readlink /proc/%d/ns/net)\" != \"$(readlink /proc/self/ns/net)\" "
                  "&& test \"$(%s id -u)\" = 0; do sleep 0.02; done",
                  (int)lab_job_pid(guest), enter));
    job = lab_startv(lab, LAB_RUNTIME, helper);
    while (stat(ready, &st) < 0 || st.st_size == 0) {
        LAB_CHECK(lab_now() < end, "not ready");
        (void)poll(NULL, 0, 20);
    }
    free(lab_says(lab, LAB_RUNTIME,
                  "%s nsenter --net=/proc/%d/ns/net sh -c 'ip -o -4 address show dev tap0 | grep "
                  "10.0.3.100/24 && ping -q -c 1 -w 5 10.0.3.2'",
                  enter, (int)lab_job_pid(guest)));
    lab_job_signal(job, SIGTERM);
    LAB_ASSERT_EQ(lab_job_wait(job, LAB_MS(END_MS)), 0);
    lab_job_end(guest);
}

/* As RootlessKit's detached form: the namespace is bound to a path that is there in the guest's mount namespace alone. */
LAB_TEST(slirp4netns, path_in_the_mount_namespace_of_the_guest)
{
    int pid = (int)lab_pid(lab, LAB_GUEST);
    const char *directory = lab_directory(lab);
    LabRaw *raw;

    lab_do(lab, LAB_RUNTIME, "mkdir %s/state", directory);
    lab_do(lab, LAB_GUEST, "mount -t tmpfs tmpfs %s/state", directory);
    lab_do(lab, LAB_GUEST, "touch %s/state/netns", directory);
    lab_do(lab, LAB_GUEST, "mount --bind /proc/self/ns/net %s/state/netns", directory);
    raw = slirp(lab,
                "-c --userns-path=/proc/%d/ns/user --netns-type=path "
                "/proc/%d/root%s/state/netns tap0",
                pid, pid, directory);
    slirp_shows(lab, "ip -o -4 address show dev tap0", "10.0.2.100/24");
    /* What else happens in that directory is nobody's end. */
    for (int i = 0; i < 3; i++) {
        lab_do(lab, LAB_GUEST, "touch %s/state/api.sock", directory);
        lab_do(lab, LAB_GUEST, "rm %s/state/api.sock", directory);
        slirp_transfers(lab, LAB_FAR_V4, 1000);
    }
    lab_do(lab, LAB_GUEST, "umount %s/state/netns", directory);
    lab_do(lab, LAB_GUEST, "rm %s/state/netns", directory);
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(10000)), 0);
}

/* ---- the end ---- */

LAB_TEST(slirp4netns, exit_fd_ends_it_by_hanging_up_and_not_by_data)
{
    LabRawSetup setup = {.no_report = true, .fd_count = 2};
    int ready[2], leave[2];
    LabRaw *raw;

    LAB_ASSERT_CALL(pipe2(ready, O_CLOEXEC));
    LAB_ASSERT_CALL(pipe2(leave, O_CLOEXEC));
    setup.fds[0] = ready[1];
    setup.fds[1] = leave[0];
    raw = lab_raw_line(lab, &setup, SLIRP_WORDS " -c -e %d -r %d %d tap0", LAB_RAW_FD + 1,
                       LAB_RAW_FD, (int)lab_pid(lab, LAB_GUEST));
    close(ready[1]);
    close(leave[0]);
    slirp_await_ready(raw, ready[0]);
    LAB_ASSERT_EQ(write(leave[1], "bye", 3), 3);
    slirp_transfers(lab, LAB_FAR_V4, 1000);
    close(leave[1]);
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(END_MS)), 0);
    LAB_CHECK(lab_raw_err_lines(raw) == 0, "%s", lab_raw_err(raw));
}

LAB_TEST(slirp4netns, signals_end_it_well_and_leave_nothing)
{
    static const int signals[] = {SIGTERM, SIGINT};
    g_autofree char *before = lab_traces(lab);

    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
        LabRaw *raw = slirp_guest(lab, "-c");

        LAB_ASSERT_CALL(kill(lab_raw_pid(raw), signals[i]));
        LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(END_MS)), 0);
        LAB_CHECK(lab_raw_err_lines(raw) == 0, "%s", lab_raw_err(raw));
        lab_raw_free(raw);
        lab_traces_expect(lab, before, 0);
    }
}

LAB_TEST(slirp4netns, outlives_its_parent_and_ends_with_the_guest)
{
    LabRawSetup setup = {.no_report = true, .behind_parent = true, .fd_count = 1};
    int ready[2];
    LabRaw *raw;

    LAB_ASSERT_CALL(pipe2(ready, O_CLOEXEC));
    setup.fds[0] = ready[1];
    raw = lab_raw_line(lab, &setup, SLIRP_WORDS " -c -r %d %d tap0", LAB_RAW_FD,
                       (int)lab_pid(lab, LAB_GUEST));
    close(ready[1]);
    slirp_await_ready(raw, ready[0]);
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    lab_raw_parent_end(raw);
    LAB_ASSERT_EQ(lab_wait(trio.pidfds[0], POLLIN, STAYS_MS), 0);
    slirp_transfers(lab, LAB_FAR_V4, 1000);
    lab_guest_end(lab, LAB_GUEST);
    LAB_ASSERT(lab_trio_ended(&trio, LAB_MS(END_MS)));
}

/* ---- what sandbox and seccomp promise, asked for or not ---- */

static void locked(Lab *lab, const char *words)
{
    LabRaw *raw = slirp_guest(lab, words);
    LabTrio trio = lab_trio(lab, lab_raw_pid(raw), LAB_GUEST);
    const pid_t pids[] = {trio.supervisor, trio.datapath};

    for (size_t i = 0; i < G_N_ELEMENTS(pids); i++) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", (int)pids[i]);
        g_autofree char *text = NULL;
        const char *caps;

        LAB_ASSERT(g_file_get_contents(path, &text, NULL, NULL));
        caps = strstr(text, "\nCapEff:");
        LAB_ASSERT(caps != NULL);
        /* CAP_SYS_ADMIN is bit 21. */
        LAB_ASSERT_EQ(g_ascii_strtoull(caps + 8, NULL, 16) & (1U << 21), 0);
        LAB_ASSERT(strstr(text, "\nNoNewPrivs:\t1\n") != NULL);
        LAB_ASSERT(strstr(text, "\nSeccomp:\t2\n") != NULL);
    }
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(END_MS)), 0);
    lab_raw_free(raw);
    LAB_ASSERT(lab_trio_ended(&trio, 0));
}

LAB_TEST(slirp4netns, locked_down_whether_asked_to_or_not)
{
    locked(lab, "-c");
    locked(lab, "-c --enable-sandbox --enable-seccomp");
    locked(lab, "-c --create-sandbox");
}

LAB_TEST(slirp4netns, mounts_of_the_host_stay)
{
    const char *directory = lab_directory(lab);
    LabRaw *raw;

    lab_do(lab, LAB_HOST, "mkdir %s/foo", directory);
    lab_do(lab, LAB_HOST, "mount -t tmpfs tmpfs %s/foo", directory);
    lab_do(lab, LAB_HOST, "mount --make-shared %s/foo", directory);
    lab_do(lab, LAB_HOST, "touch %s/foo/bar", directory);
    raw = slirp_guest(lab, "-c --enable-sandbox");
    lab_do(lab, LAB_HOST, "test -e %s/foo/bar", directory);
    lab_do(lab, LAB_RUNTIME, "test -e %s/foo/bar", directory);
    lab_raw_free(raw);
    lab_do(lab, LAB_HOST, "test -e %s/foo/bar", directory);
}
