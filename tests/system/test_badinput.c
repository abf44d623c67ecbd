/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_badinput.c - wrong options, addresses and port maps: one line, one record, exit status 1, nothing left behind
 *
 * Not here: wrong guests (test_badtarget.c); the texts of the port map grammar (unit tests).
 */
#include "config.h"

#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab_raw.h"
#include "lab_test.h"

/* The helper's status for a failure of its own in front of a command. */
#define STATUS_OURS 125

/* A wrong option, and what must be said about it. */
typedef struct Row {
    const char *words;
    const char *says[3];
} Row;

static void refuses(Lab *lab, const char *words, const LabCause *causes, size_t count)
{
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = lab_raw_line(lab, NULL, "%s %d", words, (int)lab_pid(lab, LAB_GUEST));

    lab_raw_expect_refusal(raw, 1, causes, count);
    lab_traces_expect(lab, before, 0);
    lab_raw_free(raw);

    raw = lab_raw_line(lab, NULL, "%s -- touch executed", words);
    lab_raw_expect_refusal(raw, STATUS_OURS, causes, count);
    lab_traces_expect(lab, before, 0);
    lab_raw_free(raw);
}

static void refuses_rows(Lab *lab, const char *code, const char *errno_name, const Row *rows,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        LabCause cause = {.code = code, .errno_name = errno_name};

        memcpy(cause.says, rows[i].says, sizeof cause.says);
        refuses(lab, rows[i].words, &cause, 1);
    }
}

#define REFUSES(code, errno_name, rows)                                                            \
    refuses_rows(lab, code, errno_name, rows, sizeof(rows) / sizeof(rows)[0])
#define REFUSES_OPTIONS(rows) REFUSES(SALLYPORT_CODE_OPTION, "EINVAL", rows)

/* ---- one wrong option ---- */

LAB_TEST(badinput, mtu_that_is_none_is_refused)
{
    static const Row rows[] = {
        {"--mtu=67", {"--mtu", "67", "68"}}, {"--mtu=65522", {"--mtu", "65522", "65521"}},
        {"--mtu=0", {"--mtu", "0"}},         {"--mtu=-1500", {"--mtu", "-1500"}},
        {"--mtu=abc", {"--mtu", "abc"}},     {"--mtu=", {"--mtu"}},
        {"--mtu=1500x", {"--mtu", "1500x"}}, {"--mtu=0x600", {"--mtu", "0x600"}},
        {"--mtu=1e3", {"--mtu", "1e3"}},     {"--mtu=99999999999999999999", {"--mtu", "9999"}},
        {"--mtu=+1500", {"--mtu", "+1500"}},
    };

    REFUSES_OPTIONS(rows);
}

LAB_TEST(badinput, cidr_that_holds_no_sandbox_is_refused)
{
    static const Row rows[] = {
        {"--cidr=10.0.2.0/0", {"--cidr", "10.0.2.0/0"}},
        {"--cidr=0.0.0.0/0", {"--cidr", "0.0.0.0/0"}},
        {"--cidr=10.0.2.0/31", {"--cidr", "10.0.2.0/31"}},
        {"--cidr=10.0.2.0/32", {"--cidr", "10.0.2.0/32"}},
        {"--cidr=10.0.2.0/26", {"--cidr", "10.0.2.0/26"}},
        {"--cidr=10.0.2.0/33", {"--cidr", "10.0.2.0/33"}},
        {"--cidr=10.0.2.0/-1", {"--cidr", "10.0.2.0/-1"}},
        {"--cidr=10.0.2.1/24", {"--cidr", "10.0.2.1/24"}},
        {"--cidr=10.0.2.0", {"--cidr", "10.0.2.0"}},
        {"--cidr=10.0.2.0/", {"--cidr", "10.0.2.0/"}},
        {"--cidr=10.0.2/24", {"--cidr", "10.0.2/24"}},
        {"--cidr=10.0.2.256/24", {"--cidr", "10.0.2.256/24"}},
        {"--cidr=127.0.0.0/8", {"--cidr", "127.0.0.0/8"}},
        {"--cidr=169.254.0.0/16", {"--cidr", "169.254.0.0/16"}},
        {"--cidr=224.0.0.0/24", {"--cidr", "224.0.0.0/24"}},
        {"--cidr=fd00::/64", {"--cidr", "fd00::/64"}},
        {"--cidr=", {"--cidr"}},
    };

    REFUSES_OPTIONS(rows);
}

LAB_TEST(badinput, cidr6_that_holds_no_sandbox_is_refused)
{
    static const Row rows[] = {
        {"--cidr6=fd00::/0", {"--cidr6", "fd00::/0"}},
        {"--cidr6=::/0", {"--cidr6", "::/0"}},
        {"--cidr6=fd00::/127", {"--cidr6", "fd00::/127"}},
        {"--cidr6=fd00::/128", {"--cidr6", "fd00::/128"}},
        {"--cidr6=fd00::/122", {"--cidr6", "fd00::/122"}},
        {"--cidr6=fd00::/129", {"--cidr6", "fd00::/129"}},
        {"--cidr6=fd00::1/64", {"--cidr6", "fd00::1/64"}},
        {"--cidr6=fd00::", {"--cidr6", "fd00::"}},
        {"--cidr6=fd00:::/64", {"--cidr6", "fd00:::/64"}},
        {"--cidr6=fe80::/64", {"--cidr6", "fe80::/64"}},
        {"--cidr6=ff02::/64", {"--cidr6", "ff02::/64"}},
        {"--cidr6=10.0.2.0/24", {"--cidr6", "10.0.2.0/24"}},
        {"--cidr6=fd00::/64 --no-ipv6", {"--cidr6", "--no-ipv6"}},
        {"--cidr6=fd00::/64 --mtu=1279", {"--cidr6", "1280"}},
    };

    REFUSES_OPTIONS(rows);
}

LAB_TEST(badinput, interface_name_and_link_address_that_are_none_are_refused)
{
    static const Row rows[] = {
        {"--ifname=", {"--ifname"}},
        {"--ifname=sixteen-letters-", {"--ifname", "sixteen-letters-"}},
        {"--ifname=a/b", {"--ifname", "a/b"}},
        {"--ifname=a:b", {"--ifname", "a:b"}},
        {"--ifname=.", {"--ifname"}},
        {"--ifname=..", {"--ifname"}},
        {"--ifname=tap%d", {"--ifname", "tap%d"}},
        {"--mac=02:00:00:00:00", {"--mac", "02:00:00:00:00"}},
        {"--mac=02-00-00-00-00-01", {"--mac", "02-00"}},
        {"--mac=02:00:00:00:00:0g", {"--mac", "0g"}},
        {"--mac=02:00:00:00:00:01:02", {"--mac", "01:02"}},
        {"--mac=01:00:5e:00:00:01", {"--mac", "01:00:5e"}},
        {"--mac=ff:ff:ff:ff:ff:ff", {"--mac", "ff:ff"}},
        {"--mac=00:00:00:00:00:00", {"--mac", "00:00"}},
        {"--mac=52:55:0a:00:02:02", {"--mac", "52:55"}},
    };

    REFUSES_OPTIONS(rows);
}

LAB_TEST(badinput, address_that_is_none_is_refused)
{
    static const Row rows[] = {
        {"--outbound-addr=here", {"--outbound-addr", "here"}},
        {"--outbound-addr=0.0.0.0", {"--outbound-addr", "0.0.0.0"}},
        {"--outbound-addr=::", {"--outbound-addr", "::"}},
        {"--outbound-addr=224.0.0.1", {"--outbound-addr", "224.0.0.1"}},
        {"--outbound-addr=192.0.2.1/24", {"--outbound-addr", "192.0.2.1/24"}},
        {"--outbound-addr=192.0.2.1 --outbound-addr=192.0.2.7", {"--outbound-addr", "192.0.2.7"}},
        {"--dns-upstream=localhost", {"--dns-upstream", "localhost"}},
        {"--dns-upstream=0.0.0.0", {"--dns-upstream", "0.0.0.0"}},
        {"--dns-upstream=ff02::1", {"--dns-upstream", "ff02::1"}},
        {"--dns-upstream=", {"--dns-upstream"}},
        {"--publish-address=nowhere -p 8080:80", {"--publish-address", "nowhere"}},
        {"--publish-address=1.2.3.4/24", {"--publish-address", "1.2.3.4/24"}},
    };

    REFUSES_OPTIONS(rows);
}

LAB_TEST(badinput, outbound_address_the_host_does_not_have_is_refused)
{
    static const Row rows[] = {
        {"--outbound-addr=203.0.113.99", {"--outbound-addr", "203.0.113.99"}},
        {"--outbound-addr=2001:db8:99::1", {"--outbound-addr", "2001:db8:99::1"}},
    };

    REFUSES(SALLYPORT_CODE_OPTION, "EADDRNOTAVAIL", rows);
}

LAB_TEST(badinput, word_that_is_none_of_a_list_is_refused)
{
    static const Row rows[] = {
        {"--allow=everything", {"--allow", "everything", "host-loopback"}},
        {"--allow=host,", {"--allow", "host,"}},
        {"--allow=", {"--allow"}},
        {"--fast-path=maybe", {"--fast-path", "maybe"}},
        {"--log-level=loud", {"--log-level", "loud"}},
        {"--resolv-conf=relative", {"--resolv-conf", "relative"}},
        {"--nonsense", {"--nonsense"}},
        {"--nonsense=5", {"--nonsense"}},
        {"-x", {"-x"}},
        {"--no-dns=1", {"--no-dns"}},
        {"--ready-fd=abc", {"--ready-fd", "abc"}},
        {"--ready-fd=-1", {"--ready-fd", "-1"}},
        {"--exit-fd=3000000000", {"--exit-fd", "3000000000"}},
    };

    REFUSES_OPTIONS(rows);
}

LAB_TEST(badinput, fd_that_is_not_open_is_refused)
{
    static const Row rows[] = {
        {"--ready-fd=99", {"--ready-fd", "99"}},
        {"--exit-fd=99", {"--exit-fd", "99"}},
    };

    REFUSES(SALLYPORT_CODE_OPTION, "EBADF", rows);
}

LAB_TEST(badinput, report_fd_that_is_not_open_is_one_line)
{
    LabRawSetup setup = {.no_report = true};
    LabRaw *raw = lab_raw_line(lab, &setup, "--report-fd=99 %d", (int)lab_pid(lab, LAB_GUEST));

    LAB_ASSERT_EQ(lab_raw_wait(raw, LAB_MS(2000)), 1);
    LAB_CHECK(strstr(lab_raw_err(raw), "--report-fd 99") != NULL, "%s", lab_raw_err(raw));
    LAB_CHECK(strstr(lab_raw_err(raw), "exit") == NULL || lab_raw_err_lines(raw) <= 2, "%s",
              lab_raw_err(raw));
}

/* An fd that cannot be written to fails before ready, not after. */
LAB_TEST(badinput, ready_fd_that_cannot_be_written_is_refused)
{
    const LabCause cause = {SALLYPORT_CODE_OPTION, "EBADF", {"--ready-fd"}};
    int ends[2];

    LAB_ASSERT_CALL(pipe2(ends, O_CLOEXEC));
    LabRawSetup setup = {.fds = {ends[0]}, .fd_count = 1};
    LabRaw *raw =
        lab_raw_line(lab, &setup, "--ready-fd=%d %d", LAB_RAW_FD, (int)lab_pid(lab, LAB_GUEST));
    lab_raw_expect_refusal(raw, 1, &cause, 1);
}

LAB_TEST(badinput, option_without_its_value_is_refused)
{
    static const char *const options[] = {"--mtu", "--cidr", "-p", "--netns"};

    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        const LabCause cause = {SALLYPORT_CODE_OPTION, "EINVAL", {options[i]}};
        LabRaw *raw = lab_raw_line(lab, NULL, "%d %s", (int)lab_pid(lab, LAB_GUEST), options[i]);

        lab_raw_expect_refusal(raw, 1, &cause, 1);
        lab_raw_free(raw);
    }
}

LAB_TEST(badinput, what_is_not_built_yet_says_so)
{
    static const Row rows[] = {
        {"-p auto", {"auto", "not supported yet"}},
        {"-p all", {"all", "not supported yet"}},
        {"-p 8080:80,fd=web", {"fd=", "not supported yet"}},
        {"-p 8080:80,proxy=v2", {"proxy=", "not supported yet"}},
        {"-p unix:/run/x.sock:80", {"unix:", "not supported yet"}},
    };
    static const char *const guests[] = {"--fd=0", "--listen=/run/vm.sock"};

    REFUSES(SALLYPORT_CODE_NOT_SUPPORTED, NULL, rows);
    for (size_t i = 0; i < G_N_ELEMENTS(guests); i++) {
        LabRaw *raw = lab_raw_line(lab, NULL, "%s", guests[i]);
        LabCause cause = {SALLYPORT_CODE_NOT_SUPPORTED, NULL, {"not supported yet"}};
        g_autofree char *option = g_strndup(guests[i], strcspn(guests[i], "="));

        cause.says[1] = option;
        lab_raw_expect_refusal(raw, 1, &cause, 1);
        lab_raw_free(raw);
    }
}

/* ---- port maps ---- */

LAB_TEST(badinput, port_map_that_is_none_is_refused)
{
    static const Row rows[] = {
        {"-p abc", {"--publish", "abc"}},
        {"-p 0:0", {"--publish", "0:0"}},
        {"-p 8080:0", {"--publish", "8080:0"}},
        {"-p 8080:65536", {"--publish", "65536"}},
        {"-p 70000:80", {"--publish", "70000"}},
        {"-p -1:80", {"--publish", "-1:80"}},
        {"-p 8080:80/sctp", {"--publish", "sctp"}},
        {"-p 8000-8010:80-81", {"--publish", "8000-8010:80-81"}},
        {"-p 8010-8000:8010-8000", {"--publish", "8010-8000"}},
        {"-p 1.2.3.256:8080:80", {"--publish", "1.2.3.256"}},
        {"-p [::1:8080:80", {"--publish", "[::1:8080:80"}},
        {"-p 8080:80,color=red", {"--publish", "color"}},
        {"-p 8080:80,max=-1", {"--publish", "max"}},
        {"-p 8080:80 -p 8080:81", {"--publish", "8080:81"}},
        {"-p 8000-8010:8000-8010 -p 0.0.0.0:8005:80", {"--publish", "8005"}},
    };

    REFUSES_OPTIONS(rows);
}

LAB_TEST(badinput, port_in_use_is_refused)
{
    const LabCause tcp = {SALLYPORT_CODE_PUBLISH, "EADDRINUSE", {"8080", "tcp"}};
    const LabCause udp = {SALLYPORT_CODE_PUBLISH, "EADDRINUSE", {"8081", "udp"}};
    const LabCause udp_of_range = {SALLYPORT_CODE_PUBLISH, "EADDRINUSE", {"8081"}};

    (void)lab_listen(lab, LAB_HOST, "127.0.0.1", 8080);
    (void)lab_udp(lab, LAB_HOST, "0.0.0.0", 8081);
    refuses(lab, "-p 127.0.0.1:8080:80", &tcp, 1);
    refuses(lab, "-p 8080:80", &tcp, 1);
    refuses(lab, "-p 8081:80/udp", &udp, 1);
    refuses(lab, "-p 8070-8090:8070-8090/udp", &udp_of_range, 1);
}

LAB_TEST(badinput, address_of_a_port_map_the_host_does_not_have_is_refused)
{
    static const Row rows[] = {
        {"-p 203.0.113.99:8080:80", {"203.0.113.99"}},
        {"-p [2001:db8:99::1]:8080:80", {"2001:db8:99::1"}},
    };

    REFUSES(SALLYPORT_CODE_PUBLISH, "EADDRNOTAVAIL", rows);
}

LAB_TEST(badinput, privileged_port_is_refused_with_the_sysctl)
{
    static const Row rows[] = {
        {"-p 80:80", {"80", "ip_unprivileged_port_start"}},
        {"-p 127.0.0.1:53:53/udp", {"53", "ip_unprivileged_port_start"}},
        {"-p [::1]:443:443", {"443", "ip_unprivileged_port_start"}},
    };

    if (lab_is_root(lab))
        lab_skip("root may bind every port");
    REFUSES(SALLYPORT_CODE_PUBLISH, "EACCES", rows);
}

/* ---- the interface ---- */

LAB_TEST(badinput, missing_tun_device_is_refused)
{
    const LabCause cause = {SALLYPORT_CODE_TAP, "ENOENT", {"/dev/net/tun"}};
    const char *empty = lab_path(lab, "empty");

    LAB_ASSERT_CALL(mkdir(empty, 0755));
    lab_mount_over(lab, empty, "/dev/net");
    refuses(lab, "--mtu=1500", &cause, 1);
}

LAB_TEST(badinput, tun_device_that_must_not_be_opened_is_refused)
{
    const LabCause cause = {SALLYPORT_CODE_TAP, "EACCES", {"/dev/net/tun"}};
    const char *locked =
        "/proc/kmsg"; /* the real root's alone: the guest's may open our own files */

    if (lab_is_root(lab))
        lab_skip("root may open every file");
    if (access(locked, F_OK) < 0 || access(locked, R_OK) == 0)
        lab_cannot("%s is no file that only root may open", locked);
    lab_mount_over(lab, locked, "/dev/net/tun");
    refuses(lab, "--mtu=1500", &cause, 1);
}

static void name_is_taken(Lab *lab, const char *errno_name)
{
    const LabCause cause = {SALLYPORT_CODE_TAP, errno_name, {"--ifname", "tap0", "taken"}};
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = lab_raw_line(lab, NULL, "-p 8080:80 %d", (int)lab_pid(lab, LAB_GUEST));

    lab_raw_expect_refusal(raw, 1, &cause, 1);
    lab_traces_expect(lab, before, 0);
    lab_raw_free(raw);
}

LAB_TEST(badinput, interface_name_of_another_kind_is_refused)
{
    lab_do(lab, LAB_GUEST, "ip tuntap add dev tap0 mode tun");
    name_is_taken(lab, "EINVAL");
    lab_do(lab, LAB_GUEST, "ip link del tap0");
    lab_do(lab, LAB_GUEST, "ip link add tap0 type veth peer name other");
    name_is_taken(lab, "EINVAL");
}

LAB_TEST(badinput, interface_of_a_second_helper_is_refused_and_the_first_goes_on)
{
    (void)lab_helper(lab, NULL);
    name_is_taken(lab, "EBUSY");
    (void)lab_serve_tcp(lab, lab_listen(lab, LAB_FAR, LAB_FAR_V4, 7), LAB_ECHO);
    int fd = lab_connected(lab, LAB_GUEST, LAB_FAR_V4, 7);
    lab_say(fd, fd, "still here");
}

/* ---- two causes ---- */

LAB_TEST(badinput, two_wrong_options_are_two_lines_and_two_records)
{
    const LabCause causes[] = {
        {SALLYPORT_CODE_OPTION, "EINVAL", {"--mtu", "67"}},
        {SALLYPORT_CODE_OPTION, "EINVAL", {"--cidr", "10.0.2.0/31"}},
        {SALLYPORT_CODE_OPTION, "EINVAL", {"--publish", "8080:0"}},
        {SALLYPORT_CODE_OPTION, "EINVAL", {"--nonsense"}},
        {SALLYPORT_CODE_NOT_SUPPORTED, NULL, {"--socket-type"}},
    };

    refuses(lab, "--mtu=67 --cidr=10.0.2.0/31", causes, 2);
    refuses(lab, "--mtu=67 --nonsense -p 8080:0 --socket-type=x --cidr=10.0.2.0/31", causes, 5);
}

LAB_TEST(badinput, two_ports_in_use_are_two_lines_and_two_records)
{
    const LabCause causes[] = {
        {SALLYPORT_CODE_PUBLISH, "EADDRINUSE", {"8080"}},
        {SALLYPORT_CODE_PUBLISH, "EADDRINUSE", {"8082"}},
    };

    (void)lab_listen(lab, LAB_HOST, "127.0.0.1", 8080);
    (void)lab_listen(lab, LAB_HOST, "127.0.0.1", 8082);
    refuses(lab, "-p 127.0.0.1:8080:80 -p 127.0.0.1:8081:81 -p 127.0.0.1:8082:82", causes, 2);
}

LAB_TEST(badinput, port_in_use_and_name_taken_are_two_lines_and_two_records)
{
    const LabCause causes[] = {
        {SALLYPORT_CODE_PUBLISH, "EADDRINUSE", {"8080"}},
        {SALLYPORT_CODE_TAP, "EINVAL", {"--ifname", "tap0", "taken"}},
    };

    (void)lab_listen(lab, LAB_HOST, "127.0.0.1", 8080);
    lab_do(lab, LAB_GUEST, "ip tuntap add dev tap0 mode tun");
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = lab_raw_line(lab, NULL, "-p 8080:80 -p 8081:81 %d", (int)lab_pid(lab, LAB_GUEST));
    lab_raw_expect_refusal(raw, 1, causes, 2);
    lab_traces_expect(lab, before, 0);
}
