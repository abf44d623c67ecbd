/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_command.c - a command in a sandbox of the helper's own making
 */
#include "config.h"

#include <glib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab_raw.h"
#include "lab_test.h"

#define RUN_MS 8000

/* Runs "sh -c SCRIPT" in a sandbox. */
static LabRaw *shell(Lab *lab, const char *input, const char *script)
{
    const LabRawSetup setup = {.input = input};
    const char *words[] = {"--", "sh", "-c", script, NULL};

    return lab_raw_start(lab, &setup, words);
}

static LabRaw *bash(Lab *lab, const char *script)
{
    const char *words[] = {"--", "bash", "-c", script, NULL};

    if (access("/bin/bash", X_OK) != 0)
        lab_cannot("bash is not installed");
    return lab_raw_start(lab, NULL, words);
}

static void gives(Lab *lab, const char *script, int status)
{
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = shell(lab, NULL, script);
    int got = lab_raw_wait(raw, LAB_MS(RUN_MS));

    LAB_CHECK(got == status, "'%s': status %d, wanted %d", script, got, status);
    lab_raw_expect_reason(raw, SALLYPORT_REASON_COMMAND);
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_READY, NULL), 1);
    LAB_CHECK(lab_raw_err_lines(raw) == 0, "%s", lab_raw_err(raw));
    lab_traces_expect(lab, before, 0);
    lab_raw_free(raw);
}

/* ---- status ---- */

LAB_TEST(command, its_exit_status_is_ours)
{
    gives(lab, "true", 0);
    gives(lab, "exit 1", 1);
    gives(lab, "exit 42", 42);
    gives(lab, "exit 255", 255);
}

LAB_TEST(command, its_signal_is_ours_plus_128)
{
    gives(lab, "kill -KILL $$", 128 + SIGKILL);
    gives(lab, "kill -TERM $$", 128 + SIGTERM);
    gives(lab, "kill -USR1 $$", 128 + SIGUSR1);
}

LAB_TEST(command, exit_record_says_status_or_signal)
{
    LabRaw *raw = shell(lab, NULL, "exit 7");

    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(RUN_MS)), 7);
    LAB_ASSERT(lab_record_has(lab_raw_await(raw, SALLYPORT_EVENT_EXIT, 0), "status", "7"));
    raw = shell(lab, NULL, "kill -KILL $$");
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(RUN_MS)), 128 + SIGKILL);
    LAB_ASSERT(lab_record_has(lab_raw_await(raw, SALLYPORT_EVENT_EXIT, 0), "signal", "SIGKILL"));
}

static void cannot_run(Lab *lab, const char *program, int status, const char *errno_name)
{
    const LabCause cause = {SALLYPORT_CODE_COMMAND, errno_name, {"-- ", program}};
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = lab_raw_line(lab, NULL, "-p 8080:80 -- %s", program);

    lab_raw_expect_refusal(raw, status, &cause, 1);
    lab_traces_expect(lab, before, 0);
    lab_raw_free(raw);
}

LAB_TEST(command, what_is_not_found_is_127_and_what_is_not_executable_126)
{
    const char *file = lab_path(lab, "plain");

    lab_write_file(file, "text\n");
    LAB_ASSERT(g_setenv("PATH", "/usr/bin:/bin", TRUE));
    cannot_run(lab, "no-such-program-anywhere", 127, "ENOENT");
    cannot_run(lab, "/no/such/file", 127, "ENOENT");
    cannot_run(lab, file, 126, "EACCES");
    cannot_run(lab, "/usr", 126, "EACCES");
}

/* execvp(3) says EACCES then, but a shell says that it did not find it. */
LAB_TEST(command, what_is_not_found_in_a_path_with_a_locked_directory_is_127)
{
    if (lab_is_root(lab))
        lab_skip("root may search every directory");
    LAB_ASSERT(g_setenv("PATH", "/proc/1/cwd/nowhere:/usr/bin:/bin", TRUE));
    LabRaw *raw = lab_raw_line(lab, NULL, "-- no-such-program-anywhere");
    int status = lab_raw_wait(raw, LAB_MS(RUN_MS));
    LAB_CHECK(status == 127, "status %d, wanted 127: %s", status, lab_raw_err(raw));
}

LAB_TEST(command, failure_of_ours_is_125_and_the_command_is_not_run)
{
    const LabCause option = {SALLYPORT_CODE_OPTION, "EINVAL", {"--mtu"}};
    const LabCause port = {SALLYPORT_CODE_PUBLISH, "EADDRINUSE", {"8080"}};
    g_autofree char *before = NULL;

    (void)lab_listen(lab, LAB_HOST, "127.0.0.1", 8080);
    before = lab_traces(lab);
    LabRaw *raw = lab_raw_line(lab, NULL, "--mtu=1 -- touch executed");
    lab_raw_expect_refusal(raw, 125, &option, 1);
    raw = lab_raw_line(lab, NULL, "-p 8080:80 -- touch executed");
    lab_raw_expect_refusal(raw, 125, &port, 1);
    lab_traces_expect(lab, before, 0);
}

/* ---- what it gets ---- */

LAB_TEST(command, it_is_root_of_its_own_namespaces)
{
    struct stat user, net, mnt;
    LabRaw *raw = shell(lab, NULL,
                        "id -u; id -g; stat -Lc %i /proc/self/ns/user /proc/self/ns/net "
                        "/proc/self/ns/mnt");
    g_auto(GStrv) lines = NULL;

    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(RUN_MS)), 0);
    lines = g_strsplit(lab_raw_out(raw), "\n", -1);
    LAB_ASSERT_EQ(g_strv_length(lines), 6);
    LAB_CHECK(strcmp(lines[0], "0") == 0 && strcmp(lines[1], "0") == 0, "%s", lab_raw_out(raw));
    LAB_ASSERT_CALL(stat("/proc/self/ns/user", &user));
    LAB_ASSERT_CALL(stat("/proc/self/ns/net", &net));
    LAB_ASSERT_CALL(stat("/proc/self/ns/mnt", &mnt));
    LAB_ASSERT(g_ascii_strtoull(lines[2], NULL, 10) != user.st_ino);
    LAB_ASSERT(g_ascii_strtoull(lines[3], NULL, 10) != net.st_ino);
    LAB_ASSERT(g_ascii_strtoull(lines[4], NULL, 10) != mnt.st_ino);
}

LAB_TEST(command, its_standard_input_and_output_are_ours)
{
    LabRaw *raw = shell(lab, "first\nsecond\n", "read a; read b; echo \"$b $a\"; echo no >&2");

    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(RUN_MS)), 0);
    LAB_CHECK(strcmp(lab_raw_out(raw), "second first\n") == 0, "%s", lab_raw_out(raw));
    LAB_CHECK(strcmp(lab_raw_err(raw), "no\n") == 0, "%s", lab_raw_err(raw));
}

LAB_TEST(command, it_inherits_no_other_fd)
{
    /* No shell: its own pipes would show. 3 is the directory that ls has open. */
    const char *words[] = {"--", "ls", "/proc/self/fd", NULL};
    LabRaw *raw = lab_raw_start(lab, NULL, words);

    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(RUN_MS)), 0);
    LAB_CHECK(strcmp(lab_raw_out(raw), "0\n1\n2\n3\n") == 0, "fds: %s", lab_raw_out(raw));
}

LAB_TEST(command, its_directory_environment_and_signals_are_ours)
{
    g_autofree char *wanted = g_strdup_printf("%s\nvalue\n0000000\n0000000\n", lab_directory(lab));

    /* Signals 1 to 28: 32 and 33 are libc's own, and whoever started us may have left them ignored. */
    LAB_ASSERT(g_setenv("LAB_TEST_VALUE", "value", TRUE));
    LabRaw *raw = shell(lab, NULL,
                        "pwd; echo $LAB_TEST_VALUE; grep -E '^Sig(Blk|Ign)' /proc/self/status | "
                        "cut -f2 | cut -c10-");
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(RUN_MS)), 0);
    LAB_CHECK(strcmp(lab_raw_out(raw), wanted) == 0, "got %s wanted %s", lab_raw_out(raw), wanted);
}

/* ---- the network ---- */

LAB_TEST(command, tcp_goes_out_by_both_families)
{
    (void)lab_serve_tcp(lab, lab_listen(lab, LAB_FAR, LAB_FAR_V4, 7), LAB_ECHO);
    (void)lab_serve_tcp(lab, lab_listen(lab, LAB_FAR, LAB_FAR_V6, 7), LAB_ECHO);
    LabRaw *raw = bash(lab, "for a in " LAB_FAR_V4 " " LAB_FAR_V6 "; do "
                            "exec 5<>/dev/tcp/$a/7 || exit 9; echo hello $a >&5; "
                            "read -t 5 text <&5; echo \"$text\"; done");
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(RUN_MS)), 0);
    LAB_CHECK(strcmp(lab_raw_out(raw), "hello " LAB_FAR_V4 "\nhello " LAB_FAR_V6 "\n") == 0, "%s%s",
              lab_raw_out(raw), lab_raw_err(raw));
}

LAB_TEST(command, interface_is_configured_and_lo_is_up_before_it_runs)
{
    LabRaw *raw = shell(lab, NULL, "ip -o link; ip -o address; ip route; ip -6 route");

    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(RUN_MS)), 0);
    LAB_CHECK(strstr(lab_raw_out(raw), "lo: <LOOPBACK,UP,LOWER_UP>") != NULL &&
                  strstr(lab_raw_out(raw), "10.0.2.100/24") != NULL &&
                  strstr(lab_raw_out(raw), "fd00::64/64") != NULL &&
                  strstr(lab_raw_out(raw), "default via 10.0.2.2") != NULL &&
                  strstr(lab_raw_out(raw), "default via fd00::2") != NULL &&
                  strstr(lab_raw_out(raw), "tentative") == NULL,
              "%s", lab_raw_out(raw));
}

LAB_TEST(command, published_port_leads_to_it)
{
    const char *words[] = {"-p", "127.0.0.1:8080:80", "--", "nc", "-l", "-p", "80", NULL};

    if (access("/bin/nc", X_OK) != 0 && access("/usr/bin/nc", X_OK) != 0)
        lab_cannot("nc is not installed");
    LabRaw *raw = lab_raw_start(lab, NULL, words);
    lab_raw_ready(raw);
    /* nc listens soon, not at once: until then a client is reset. */
    for (int64_t end = lab_now() + LAB_MS(LAB_WAIT_MS);
         strstr(lab_raw_out(raw), "hello") == NULL;) {
        int fd = lab_connect(lab, LAB_HOST, "127.0.0.1", 8080, LAB_MS(LAB_WAIT_MS));

        LAB_CHECK(lab_now() < end, "nothing arrived");
        if (fd < 0)
            continue;
        (void)send(fd, "hello\n", 6, MSG_NOSIGNAL);
        (void)shutdown(fd, SHUT_WR);
        (void)lab_wait_end(fd, 200);
        close(fd);
    }
    (void)kill(lab_raw_pid(raw), SIGTERM);
    (void)lab_raw_wait(raw, LAB_MS(RUN_MS));
}

LAB_TEST(command, resolv_conf_names_the_virtual_server_and_lookups_work)
{
    LabDns *dns =
        lab_dns_start(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER, "198.51.100.77", "2001:db8:2::77");
    g_autofree char *host_before = NULL, *host_after = NULL;
    const char *out;

    LAB_ASSERT(g_file_get_contents("/etc/resolv.conf", &host_before, NULL, NULL));
    LabRaw *raw = shell(lab, NULL,
                        "cat /etc/resolv.conf; getent ahostsv4 www.example.com; "
                        "getent ahostsv6 www.example.com; echo up; read line");
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(RUN_MS)), 1); /* read finds the end */
    out = lab_raw_out(raw);
    LAB_CHECK(strstr(out, "nameserver 10.0.2.3\n") != NULL &&
                  strstr(out, "nameserver fd00::3\n") != NULL &&
                  strstr(out, "nameserver " LAB_FAR_V4) == NULL,
              "%s", out);
    LAB_CHECK(strstr(out, "198.51.100.77") != NULL && strstr(out, "2001:db8:2::77") != NULL, "%s",
              out);
    LAB_ASSERT(lab_dns_queries(dns) >= 2);
    LAB_ASSERT(g_file_get_contents("/etc/resolv.conf", &host_after, NULL, NULL));
    LAB_CHECK(strcmp(host_before, host_after) == 0, "the host's resolv.conf is now:\n%s",
              host_after);
    LAB_CHECK(lab_raw_count(raw, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_RESOLVER) == 0,
              "a warning about resolv.conf");
}

LAB_TEST(command, resolv_conf_keeps_search_and_options_of_the_host)
{
    const char *file = lab_path(lab, "resolv.conf");

    lab_write_file(file, "search lab.example\nnameserver " LAB_FAR_V4 "\noptions ndots:3\n");
    lab_mount_over(lab, file, "/etc/resolv.conf");
    LabRaw *raw = shell(lab, NULL, "cat /etc/resolv.conf");
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(RUN_MS)), 0);
    LAB_CHECK(strstr(lab_raw_out(raw), "search lab.example\n") != NULL &&
                  strstr(lab_raw_out(raw), "options ndots:3\n") != NULL &&
                  strstr(lab_raw_out(raw), LAB_FAR_V4) == NULL,
              "%s", lab_raw_out(raw));
}

LAB_TEST(command, without_ipv6_or_name_service_resolv_conf_says_so)
{
    LabRaw *raw = lab_raw_line(lab, NULL, "--no-ipv6 -- cat /etc/resolv.conf");

    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(RUN_MS)), 0);
    LAB_CHECK(strstr(lab_raw_out(raw), "10.0.2.3") != NULL &&
                  strstr(lab_raw_out(raw), "fd00::3") == NULL,
              "%s", lab_raw_out(raw));
    raw = lab_raw_line(lab, NULL, "--no-dns -- cat /etc/resolv.conf");
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(RUN_MS)), 0);
    LAB_CHECK(strstr(lab_raw_out(raw), "10.0.2.3") == NULL, "%s", lab_raw_out(raw));
}

LAB_TEST(command, mtu_below_1280_leaves_no_ipv6_server_in_resolv_conf)
{
    LabRaw *raw = lab_raw_line(lab, NULL, "--mtu=1000 -- cat /etc/resolv.conf");

    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(RUN_MS)), 0);
    LAB_CHECK(strstr(lab_raw_out(raw), "10.0.2.3") != NULL &&
                  strstr(lab_raw_out(raw), "fd00::3") == NULL,
              "%s", lab_raw_out(raw));
}

LAB_TEST(command, its_files_are_the_hosts)
{
    LabRaw *raw = shell(lab, NULL, "echo kept > kept; ls -A /tmp | grep -c .");
    g_autofree char *text = NULL;

    (void)lab_raw_wait(raw, LAB_MS(RUN_MS));
    LAB_ASSERT(g_file_get_contents(lab_path(lab, "kept"), &text, NULL, NULL));
    LAB_CHECK(strcmp(text, "kept\n") == 0, "%s", text);
    LAB_CHECK(atoi(lab_raw_out(raw)) > 0, "/tmp is empty in the sandbox");
}

/* ---- ends ---- */

LAB_TEST(command, sigterm_is_passed_on_to_it)
{
    LabRaw *raw =
        shell(lab, NULL, "trap 'echo caught; exit 7' TERM; echo up; while :; do sleep 0.05; done");

    lab_raw_await_out(raw, "up");
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(2000)), 7);
    LAB_CHECK(strstr(lab_raw_out(raw), "caught") != NULL, "%s", lab_raw_out(raw));
    lab_raw_expect_reason(raw, SALLYPORT_REASON_COMMAND);
}

LAB_TEST(command, sigterm_it_does_not_catch_ends_both)
{
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = shell(lab, NULL, "echo up; exec sleep 1000");

    lab_raw_await_out(raw, "up");
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(2000)), 128 + SIGTERM);
    lab_traces_expect(lab, before, 0);
}

LAB_TEST(command, killing_the_supervisor_kills_it_within_a_second)
{
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = shell(lab, NULL, "echo up; exec sleep 1000");

    lab_raw_await_out(raw, "up");
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGKILL));
    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(1000)), 128 + SIGKILL);
    lab_traces_expect(lab, before, LAB_MS(1000));
}

LAB_TEST(command, parents_end_ends_it_too)
{
    const LabRawSetup setup = {.behind_parent = true};
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = lab_raw_line(lab, &setup, "-- sleep 1000");

    lab_raw_ready(raw);
    lab_raw_parent_end(raw);
    (void)lab_raw_wait(raw, LAB_MS(1000));
    lab_raw_expect_reason(raw, SALLYPORT_REASON_PARENT_GONE);
    lab_traces_expect(lab, before, 0);
}

LAB_TEST(command, interface_it_deletes_is_an_end_of_ours)
{
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = shell(lab, NULL, "ip link del tap0; exec sleep 1000");
    int status = lab_raw_wait(raw, LAB_MS(RUN_MS));

    LAB_CHECK(status == 125, "status %d, wanted 125", status);
    lab_raw_expect_reason(raw, SALLYPORT_REASON_TAP_GONE);
    /* "ip" itself may still be on its way out of the kernel. */
    lab_traces_expect(lab, before, LAB_MS(1000));
}
