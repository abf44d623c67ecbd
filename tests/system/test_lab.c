/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_lab.c - the lab itself holds what the other system tests rely on; no helper is needed
 */
#include "config.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab_test.h"

#define MIB (1024 * 1024)

static unsigned long long capabilities(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    unsigned long long effective = 1;
    char line[256];

    LAB_ASSERT(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        (void)sscanf(line, "CapEff: %llx", &effective);
    fclose(file);
    return effective;
}

LAB_TEST(lab, body_of_a_users_lab_is_uid_1000_without_a_capability, .without_tun = true)
{
    if (lab_is_root(lab)) {
        LAB_ASSERT_EQ(geteuid(), 0);
        LAB_ASSERT(capabilities() != 0);
        return;
    }
    LAB_ASSERT_EQ(geteuid(), 1000);
    LAB_ASSERT_EQ(getegid(), 1000);
    LAB_ASSERT_EQ(capabilities(), 0);
    LAB_ASSERT_EQ(lab_socket(lab, LAB_RUNTIME, AF_INET, SOCK_RAW, IPPROTO_ICMP), -1);
    LAB_ASSERT_EQ(errno, EPERM);
}

LAB_TEST(lab, places_have_four_network_namespaces_and_the_runtime_stands_in_hosts,
         .without_tun = true)
{
    struct stat own, host, far, guest;

    LAB_ASSERT_CALL(stat("/proc/self/ns/net", &own));
    LAB_ASSERT_CALL(fstat(lab_netns(lab, LAB_HOST), &host));
    LAB_ASSERT_CALL(fstat(lab_netns(lab, LAB_FAR), &far));
    LAB_ASSERT_CALL(fstat(lab_netns(lab, LAB_GUEST), &guest));
    LAB_ASSERT_EQ(own.st_ino, host.st_ino);
    LAB_ASSERT(host.st_ino != far.st_ino && far.st_ino != guest.st_ino);
    LAB_ASSERT(host.st_ino != guest.st_ino);
}

LAB_TEST(lab, guest_is_empty_with_lo_down, .without_tun = true)
{
    LabOutput output = {NULL, NULL};

    LAB_ASSERT_EQ(lab_exec(lab, LAB_GUEST, &output, "ip", "-o", "link", NULL), 0);
    LAB_CHECK(strstr(output.out, "lo:") != NULL && strstr(output.out, "state DOWN") != NULL, "%s",
              output.out);
    LAB_CHECK(strchr(output.out, '\n') == strrchr(output.out, '\n'), "%s", output.out);
    lab_output_clear(&output);
}

static void reaches(Lab *lab, const char *address)
{
    int listener = lab_listen(lab, LAB_FAR, address, 0);
    int client = lab_connected(lab, LAB_HOST, address, lab_port(listener));
    int server = lab_accepted(listener);
    int datagrams = lab_udp(lab, LAB_FAR, address, 0);
    int sender = lab_udp_connected(lab, LAB_HOST, address, lab_port(datagrams));
    char text[16];

    lab_say(client, server, "there");
    lab_say(server, client, "and back");
    lab_say(sender, datagrams, "one");
    LAB_ASSERT_EQ(send(sender, "two", 3, 0), 3);
    LAB_ASSERT_EQ(lab_recv_datagram(datagrams, text, sizeof text, NULL, LAB_WAIT_MS), 3);
    LAB_ASSERT(lab_ping(lab, LAB_RUNTIME, address, 100, LAB_WAIT_MS));
    close(client);
    LAB_ASSERT_EQ(lab_wait_end(server, LAB_WAIT_MS), LAB_END_EOF);
    close(server);
    close(listener);
    close(datagrams);
    close(sender);
}

LAB_TEST(lab, host_reaches_every_address_of_far, .without_tun = true)
{
    static const char *const addresses[] = {
        LAB_FAR_V4,    LAB_FAR_V6,    LAB_FAR_V4_3, LAB_FAR_V6_3,
        LAB_ROUTED_V4, LAB_ROUTED_V6, LAB_METADATA, LAB_LINKLOCAL,
    };

    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++)
        reaches(lab, addresses[i]);
}

LAB_TEST(lab, far_reaches_every_address_of_host, .without_tun = true)
{
    static const char *const addresses[] = {LAB_HOST_V4,   LAB_HOST_V6,   LAB_HOST_V4_2,
                                            LAB_HOST_V6_2, LAB_HOST_V4_3, LAB_HOST_V6_3};

    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        int listener = lab_listen(lab, LAB_HOST, addresses[i], 0);
        int client = lab_connected(lab, LAB_FAR, addresses[i], lab_port(listener));
        int server = lab_accepted(listener);

        lab_say(client, server, "hello");
        close(client);
        close(server);
        close(listener);
    }
}

LAB_TEST(lab, transfer_of_64_mib_both_ways_is_equal, .without_tun = true)
{
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 0);
    int client = lab_connected(lab, LAB_HOST, LAB_FAR_V4, lab_port(listener));

    lab_transfer(client, lab_accepted(listener), 64 * MIB, 64 * MIB, 0);
}

LAB_TEST(lab, transfer_by_single_bytes_is_equal, .without_tun = true)
{
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V6, 0);
    int client = lab_connected(lab, LAB_HOST, LAB_FAR_V6, lab_port(listener));

    lab_transfer(client, lab_accepted(listener), 2000, 1000, 1);
}

LAB_TEST(lab, ends_of_streams_are_told_apart, .without_tun = true)
{
    int listener = lab_listen(lab, LAB_HOST, "127.0.0.1", 0), client, server;

    client = lab_connected(lab, LAB_HOST, "127.0.0.1", lab_port(listener));
    server = lab_accepted(listener);
    LAB_ASSERT_EQ(lab_wait_end(server, 20), LAB_END_NONE);
    lab_reset(client);
    LAB_ASSERT_EQ(lab_wait_end(server, LAB_WAIT_MS), LAB_END_RESET);
    client = lab_connected(lab, LAB_HOST, "127.0.0.1", lab_port(listener));
    server = lab_accepted(listener);
    close(client);
    LAB_ASSERT_EQ(lab_wait_end(server, LAB_WAIT_MS), LAB_END_EOF);
    uint16_t port = lab_port(listener);
    close(listener);
    LAB_ASSERT_EQ(lab_connect(lab, LAB_HOST, "127.0.0.1", port, LAB_WAIT_MS), -1);
    LAB_ASSERT_EQ(errno, ECONNREFUSED);
}

LAB_TEST(lab, servers_echo_swallow_and_pour, .without_tun = true)
{
    int listener = lab_listen(lab, LAB_FAR, LAB_FAR_V4, 7000), client;
    char text[8] = "";

    pid_t server = lab_serve_tcp(lab, listener, LAB_ECHO);
    client = lab_connected(lab, LAB_HOST, LAB_FAR_V4, 7000);
    lab_say(client, client, "echo");
    LAB_ASSERT_CALL(shutdown(client, SHUT_WR));
    LAB_ASSERT_EQ(lab_wait_end(client, LAB_WAIT_MS), LAB_END_EOF);
    lab_serve_end(lab, server);

    (void)lab_serve_tcp(lab, lab_listen(lab, LAB_FAR, LAB_FAR_V4, 7001), LAB_SOURCE);
    client = lab_connected(lab, LAB_HOST, LAB_FAR_V4, 7001);
    lab_recv(client, text, sizeof text);

    (void)lab_serve_udp(lab, lab_udp(lab, LAB_FAR, LAB_FAR_V6, 7002), LAB_ECHO);
    client = lab_udp_connected(lab, LAB_HOST, LAB_FAR_V6, 7002);
    LAB_ASSERT_EQ(send(client, "", 0, 0), 0);
    LAB_ASSERT_EQ(lab_recv_datagram(client, text, sizeof text, NULL, LAB_WAIT_MS), 0);
}

LAB_TEST(lab, commands_report_status_and_output, .without_tun = true)
{
    LabOutput output = {NULL, NULL};

    LAB_ASSERT_EQ(lab_exec(lab, LAB_HOST, &output, "sh", "-c", "echo o; echo e >&2; exit 3", NULL),
                  3);
    LAB_CHECK(strcmp(output.out, "o\n") == 0 && strcmp(output.err, "e\n") == 0, "'%s' '%s'",
              output.out, output.err);
    lab_output_clear(&output);
    LAB_ASSERT_EQ(lab_exec(lab, LAB_RUNTIME, NULL, "sh", "-c", "kill -9 $$", NULL), 128 + SIGKILL);
    LAB_ASSERT_EQ(lab_exec(lab, LAB_GUEST, NULL, "/nonexistent/command", NULL), 127);
}

LAB_TEST(lab, job_that_is_ended_is_gone, .without_tun = true)
{
    static const char *const argv[] = {"sleep", "1000", NULL};
    LabJob *job = lab_startv(lab, LAB_GUEST, argv);
    pid_t pid = lab_job_pid(job);

    LAB_ASSERT_CALL(kill(pid, 0) < 0 && errno != EPERM ? -1 : 0);
    lab_job_signal(job, SIGTERM);
    LAB_ASSERT_EQ(lab_job_wait(job, LAB_WAIT_MS), 128 + SIGTERM);
    job = lab_startv(lab, LAB_FAR, argv);
    pid = lab_job_pid(job);
    lab_job_end(job);
    LAB_ASSERT(kill(pid, 0) < 0 && errno == ESRCH);
}

LAB_TEST(lab, a_second_guest_is_another_one_and_can_be_ended, .without_tun = true)
{
    LabPlace second = lab_guest_new(lab);
    struct stat one, two;
    pid_t pid = lab_pid(lab, second);

    LAB_ASSERT(second != LAB_GUEST);
    LAB_ASSERT_CALL(fstat(lab_netns(lab, LAB_GUEST), &one));
    LAB_ASSERT_CALL(fstat(lab_netns(lab, second), &two));
    LAB_ASSERT(one.st_ino != two.st_ino);
    lab_guest_end(lab, second);
    LAB_ASSERT(kill(pid, 0) < 0 && errno == ESRCH);
    LAB_ASSERT_EQ(lab_guest_new(lab), second);
}

static int try_userns(const void *argument, size_t length)
{
    (void)argument;
    (void)length;
    execlp("unshare", "unshare", "-U", "true", (char *)NULL);
    return 127;
}

LAB_TEST(lab, user_namespaces_can_be_forbidden, .without_tun = true)
{
    if (!lab_is_root(lab))
        LAB_ASSERT_EQ(lab_run(lab, LAB_RUNTIME, try_userns, NULL, 0), 0);
    lab_limit_user_namespaces(lab, 0);
    LAB_ASSERT_EQ(lab_run(lab, LAB_RUNTIME, try_userns, NULL, 0), 1);
}

LAB_TEST(lab, mounts_and_sysctls_are_the_labs_own, .without_tun = true)
{
    LabOutput output = {NULL, NULL};
    int port;

    lab_write_file(lab_path(lab, "r"), "nameserver 127.0.0.53\n");
    lab_mount_over(lab, lab_path(lab, "r"), "/etc/resolv.conf");
    LAB_ASSERT_EQ(lab_exec(lab, LAB_RUNTIME, &output, "cat", "/etc/resolv.conf", NULL), 0);
    LAB_CHECK(strcmp(output.out, "nameserver 127.0.0.53\n") == 0, "%s", output.out);
    lab_output_clear(&output);
    lab_mount_over(lab, "/dev/null", "/dev/net/tun");
    lab_sysctl(lab, LAB_HOST, "net/ipv4/ip_unprivileged_port_start", "2000");
    if (!lab_is_root(lab)) {
        LAB_ASSERT_EQ(lab_socket_bound(lab, LAB_RUNTIME, SOCK_STREAM, "127.0.0.1", 1999), -1);
        LAB_ASSERT_EQ(errno, EACCES);
    }
    port = lab_socket_bound(lab, LAB_RUNTIME, SOCK_STREAM, "127.0.0.1", 2000);
    LAB_ASSERT_CALL(port);
    LAB_ASSERT_CALL(lab_socket_bound(lab, LAB_HOST, SOCK_STREAM, "127.0.0.1", 80));
}

LAB_TEST(lab, name_server_answers_over_udp_and_tcp, .without_tun = true)
{
    LabDns *dns = lab_dns_start(lab, LAB_FAR, LAB_FAR_V4, LAB_DNS_ANSWER, "10.1.2.3", "2001::5");
    LabDnsReply reply;

    reply = lab_dns_ask(lab, LAB_HOST, LAB_FAR_V4, "a.test", false, false, LAB_WAIT_MS);
    LAB_CHECK(reply.rcode == 0 && strcmp(reply.address, "10.1.2.3") == 0, "%d %s", reply.rcode,
              reply.address);
    reply = lab_dns_ask(lab, LAB_HOST, LAB_FAR_V4, "a.test", true, true, LAB_WAIT_MS);
    LAB_CHECK(reply.rcode == 0 && strcmp(reply.address, "2001::5") == 0, "%d %s", reply.rcode,
              reply.address);
    LAB_ASSERT_EQ(lab_dns_queries(dns), 2);
    lab_dns_set_mode(dns, LAB_DNS_SERVFAIL);
    reply = lab_dns_ask(lab, LAB_HOST, LAB_FAR_V4, "a.test", false, false, LAB_WAIT_MS);
    LAB_ASSERT_EQ(reply.rcode, 2);
    lab_dns_set_mode(dns, LAB_DNS_WRONG_ID);
    reply = lab_dns_ask(lab, LAB_HOST, LAB_FAR_V4, "a.test", false, false, LAB_WAIT_MS);
    LAB_ASSERT(strcmp(reply.address, "10.1.2.3") == 0);
    lab_dns_set_mode(dns, LAB_DNS_SILENT);
    reply = lab_dns_ask(lab, LAB_HOST, LAB_FAR_V4, "a.test", false, false, 50);
    LAB_ASSERT_EQ(reply.rcode, -1);
    lab_dns_stop(dns);
}

LAB_TEST(lab, guest_root_can_make_a_tap_and_raw_sockets)
{
    lab_do(lab, LAB_GUEST, "ip tuntap add name tap0 mode tap");
    lab_do(lab, LAB_GUEST, "ip link set tap0 up");
    LAB_ASSERT_CALL(lab_socket(lab, LAB_GUEST, AF_PACKET, SOCK_RAW, 0));
    LAB_ASSERT_CALL(access("/dev/net/tun", R_OK | W_OK));
}

LAB_TEST(lab, guest_of_the_initial_user_namespace_shares_roots, .guest_userns_initial = true)
{
    struct stat own, guest;

    LAB_ASSERT_CALL(stat("/proc/self/ns/user", &own));
    LAB_ASSERT_CALL(fstat(lab_userns(lab, LAB_GUEST), &guest));
    LAB_ASSERT_EQ(own.st_ino, guest.st_ino);
}

/* ---- what a lab does to the test program ---- */

static void body_fails(Lab *lab)
{
    (void)lab;
    LAB_ASSERT_EQ(1 + 1, 3);
}

static void body_hangs(Lab *lab)
{
    (void)lab;
    for (;;)
        pause();
}

static void body_skips(Lab *lab)
{
    (void)lab;
    lab_skip("no meaning here");
}

static void body_crashes(Lab *lab)
{
    (void)lab;
    (void)raise(SIGKILL);
}

Test(lab, verdicts_come_back_with_their_text)
{
    LabOptions options = {.without_tun = true, .limit_ms = 200};
    char text[256];

    if (lab_try(&options, body_skips, text, sizeof text) != LAB_SKIPPED)
        cr_assert_fail("a skip was not one: %s", text);
    cr_assert_str_eq(text, "not in this mode: no meaning here");
    cr_assert_eq(lab_try(&options, body_fails, text, sizeof text), LAB_FAILED);
    cr_assert_not_null(strstr(text, "1 + 1 is 2"));
    cr_assert_eq(lab_try(&options, body_hangs, text, sizeof text), LAB_FAILED);
    cr_assert_str_eq(text, "the body took too long");
    cr_assert_eq(lab_try(&options, body_crashes, text, sizeof text), LAB_FAILED);
}

/* PIDs of everything in a lab and of an orphan of it, in memory that outlives the lab. */
#define LEFTOVERS (LAB_GUEST + 4)
static pid_t *leftovers;

static int make_orphan(const void *argument, size_t length)
{
    pid_t orphan = fork();

    (void)argument;
    (void)length;
    if (orphan == 0) {
        (void)setsid();
        for (;;)
            pause();
    }
    leftovers[0] = orphan;
    return 0;
}

static void body_leaves_processes(Lab *lab)
{
    static const char *const argv[] = {"sleep", "1000", NULL};
    int count = 1;

    for (int place = 0; place <= LAB_GUEST; place++)
        leftovers[count++] = lab_pid(lab, (LabPlace)place);
    leftovers[count++] = lab_job_pid(lab_startv(lab, LAB_GUEST, argv));
    leftovers[count++] = lab_serve_tcp(lab, lab_listen(lab, LAB_HOST, "127.0.0.1", 0), LAB_SOURCE);
    LAB_ASSERT_EQ(lab_run(lab, LAB_HOST, make_orphan, NULL, 0), 0);
    LAB_ASSERT_EQ(count, LEFTOVERS);
}

Test(lab, nothing_is_left_behind)
{
    LabOptions options = {.without_tun = true};
    char text[256];

    leftovers = mmap(NULL, LEFTOVERS * sizeof *leftovers, PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(leftovers, MAP_FAILED);
    switch (lab_try(&options, body_leaves_processes, text, sizeof text)) {
    case LAB_SKIPPED:
        cr_skip_test("%s", text);
        break;
    case LAB_FAILED:
        cr_assert_fail("%s", text);
        break;
    case LAB_PASSED:
        break;
    }
    for (size_t i = 0; i < LEFTOVERS; i++) {
        cr_assert_gt(leftovers[i], 0);
        cr_assert(kill(leftovers[i], 0) < 0 && errno == ESRCH, "process %d is left",
                  (int)leftovers[i]);
    }
}
