/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_settings.c - the command line, judged
 *
 * Does:     defaults, each good value, the exact fault of each bad one, several faults at once.
 * Not here: how the line is taken apart (test_options.c), the grammar of ports (test_portmap.c).
 */
#include "config.h"

#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "linefixture.h"
#include "portmap.h"

static void expect_addr(const NetAddr *addr, const char *text)
{
    char buf[NETADDR_STRLEN];

    cr_expect_str_eq(netaddr_format(addr, buf), text, "%s instead of %s", buf, text);
}

typedef struct FaultRow {
    const char *words;
    const char *text;
} FaultRow;

/* Each line has one fault, of kind option and EINVAL, with exactly that text. */
static void expect_single_faults(const FaultRow *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        Line line;

        line_judge(&line, rows[i].words);
        cr_expect_eq(line.faults->len, 1, "'%s' has %u faults", rows[i].words, line.faults->len);
        line_expect_fault(&line, 0, FAULT_OPTION, EINVAL, rows[i].text);
        line_end(&line);
    }
}

#define EXPECT_SINGLE_FAULTS(rows) expect_single_faults((rows), G_N_ELEMENTS(rows))

Test(settings, pid_alone_has_all_defaults)
{
    Line line;
    const Settings *settings;
    const GuestSettings *guest;

    line_judge(&line, "1234");
    line_expect_no_fault(&line, "1234");
    settings = line.settings;
    guest = &settings->guest;
    cr_expect_eq(guest->kind, GUEST_PID);
    cr_expect_eq(guest->pid, 1234);
    cr_expect_null(guest->netns_path);
    cr_expect_null(guest->userns_path);
    cr_expect_null(guest->command);
    cr_expect_eq(guest->netns_fd, -1);
    cr_expect_eq(guest->userns_fd, -1);
    cr_expect_str_eq(guest->ifname, "tap0");
    cr_expect_eq(guest->mtu, 65520);
    cr_expect_not(guest->has_mac);
    cr_expect(guest->configure);
    cr_expect(guest->ipv6);
    cr_expect_not(guest->ipv6_required);
    cr_expect_eq(settings->allow, 0);
    cr_expect_eq(settings->outbound4.family, AF_UNSPEC);
    cr_expect_eq(settings->outbound6.family, AF_UNSPEC);
    cr_expect(settings->dns);
    cr_expect_eq(settings->dns_upstream->len, 0);
    cr_expect_str_eq(settings->resolv_conf, "/etc/resolv.conf");
    cr_expect_eq(settings->publish->len, 0);
    cr_expect_eq(settings->report_fd, -1);
    cr_expect_eq(settings->ready_fd, -1);
    cr_expect_eq(settings->exit_fd, -1);
    cr_expect_not(settings->outlive_parent);
    cr_expect_not(settings->insecure);
    cr_expect_eq(settings->log_level, LOG_LEVEL_INFO);
    cr_expect_null(settings->pcap);
    line_end(&line);
}

Test(settings, addresses_follow_from_the_networks)
{
    static const struct {
        const char *words;
        const char *gateway, *dns, *addr;
        const char *gateway6, *dns6, *addr6;
    } rows[] = {
        {"1", "10.0.2.2", "10.0.2.3", "10.0.2.100", "fd00::2", "fd00::3", "fd00::64"},
        {"--cidr 192.168.7.128/25 1", "192.168.7.130", "192.168.7.131", "192.168.7.228", "fd00::2",
         "fd00::3", "fd00::64"},
        {"--cidr 172.16.0.0/12 --cidr6 2001:db8:1::/48 1", "172.16.0.2", "172.16.0.3",
         "172.16.0.100", "2001:db8:1::2", "2001:db8:1::3", "2001:db8:1::64"},
        {"--cidr6 fd12::ab00/120 1", "10.0.2.2", "10.0.2.3", "10.0.2.100", "fd12::ab02",
         "fd12::ab03", "fd12::ab64"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Line line;

        line_judge(&line, rows[i].words);
        line_expect_no_fault(&line, rows[i].words);
        expect_addr(&line.settings->guest.gateway, rows[i].gateway);
        expect_addr(&line.settings->guest.dns, rows[i].dns);
        expect_addr(&line.settings->guest.addr, rows[i].addr);
        expect_addr(&line.settings->guest.gateway6, rows[i].gateway6);
        expect_addr(&line.settings->guest.dns6, rows[i].dns6);
        expect_addr(&line.settings->guest.addr6, rows[i].addr6);
        line_end(&line);
    }
}

Test(settings, each_kind_of_guest_is_known)
{
    Line line;

    line_judge(&line, "--netns /run/n --userns /run/u");
    line_expect_no_fault(&line, "paths");
    cr_expect_eq(line.settings->guest.kind, GUEST_NETNS_PATH);
    cr_expect_str_eq(line.settings->guest.netns_path, "/run/n");
    cr_expect_str_eq(line.settings->guest.userns_path, "/run/u");
    line_end(&line);

    line_judge(&line, "--netns-fd 1 --userns-fd 2");
    line_expect_no_fault(&line, "fds");
    cr_expect_eq(line.settings->guest.kind, GUEST_NETNS_FD);
    cr_expect_eq(line.settings->guest.netns_fd, 1);
    cr_expect_eq(line.settings->guest.userns_fd, 2);
    line_end(&line);

    line_judge(&line, "-- sh -c id");
    line_expect_no_fault(&line, "command");
    cr_expect_eq(line.settings->guest.kind, GUEST_COMMAND);
    cr_expect_eq(g_strv_length(line.settings->guest.command), 3);
    cr_expect_str_eq(line.settings->guest.command[2], "id");
    line_end(&line);

    line_judge(&line, "2147483647");
    line_expect_no_fault(&line, "largest PID");
    cr_expect_eq(line.settings->guest.pid, 2147483647);
    line_end(&line);
}

Test(settings, guest_must_be_one_and_whole)
{
    static const FaultRow rows[] = {
        {"", "no guest: want one PID, --netns, --netns-fd or -- COMMAND"},
        {"1 2", "more than one guest: want one PID, --netns, --netns-fd or -- COMMAND"},
        {"1 --netns /n", "more than one guest: want one PID, --netns, --netns-fd or -- COMMAND"},
        {"1 -- sh", "more than one guest: want one PID, --netns, --netns-fd or -- COMMAND"},
        {"--netns /n --netns-fd 1",
         "more than one guest: want one PID, --netns, --netns-fd or -- COMMAND"},
        {"--netns-fd 1 -- sh",
         "more than one guest: want one PID, --netns, --netns-fd or -- COMMAND"},
        {"--userns /u 1", "--userns goes with --netns"},
        {"--userns /u --netns-fd 1", "--userns goes with --netns"},
        {"--userns-fd 1 1", "--userns-fd goes with --netns-fd"},
        {"--userns-fd 1 --netns /n", "--userns-fd goes with --netns-fd"},
        {"--", "no command behind --"},
        {"0", "PID '0': want a positive number"},
        {"2147483648", "PID '2147483648': want a positive number"},
        {"12x", "PID '12x': want a positive number"},
        {"+12", "PID '+12': want a positive number"},
        {"-", "PID '-': want a positive number"},
    };

    EXPECT_SINGLE_FAULTS(rows);
}

Test(settings, inherited_fds_are_kept_if_they_are_open)
{
    Line line;

    line_judge(&line, "--report-fd 2 --ready-fd 1 --exit-fd 0 1");
    line_expect_no_fault(&line, "three fds");
    cr_expect_eq(line.settings->report_fd, 2);
    cr_expect_eq(line.settings->ready_fd, 1);
    cr_expect_eq(line.settings->exit_fd, 0);
    line_end(&line);
}

Test(settings, inherited_fd_that_is_not_open_is_a_fault_with_its_errno)
{
    static const char *const names[] = {"report-fd", "ready-fd", "exit-fd", "netns-fd",
                                        "userns-fd"};
    int closed = fcntl(STDERR_FILENO, F_DUPFD, 100);

    cr_assert_geq(closed, 100);
    (void)close(closed);
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        const char *guest = i < 3 ? "1" : i == 3 ? "--no-dns" : "--netns-fd 1";
        g_autofree char *words = g_strdup_printf("--%s %d %s", names[i], closed, guest);
        g_autofree char *text =
            g_strdup_printf("--%s %d: no such open file descriptor", names[i], closed);
        Line line;

        line_judge(&line, words);
        cr_expect_eq(line.faults->len, 1, "%s", words);
        line_expect_fault(&line, 0, FAULT_OPTION, EBADF, text);
        cr_expect_eq(line.settings->report_fd, -1);
        cr_expect_eq(line.settings->guest.userns_fd, -1);
        line_end(&line);
    }
}

Test(settings, fd_must_be_a_number)
{
    static const FaultRow rows[] = {
        {"--report-fd x 1", "--report-fd x: want a number from 0 to 2147483647"},
        {"--ready-fd -1 1", "--ready-fd -1: want a number from 0 to 2147483647"},
        {"--exit-fd 2147483648 1", "--exit-fd 2147483648: want a number from 0 to 2147483647"},
        {"--netns-fd 1x", "--netns-fd 1x: want a number from 0 to 2147483647"},
        {"--report-fd  1", "--report-fd : want a number from 0 to 2147483647"},
    };

    EXPECT_SINGLE_FAULTS(rows);
}

Test(settings, good_values_of_the_interface_are_taken)
{
    static const uint8_t mac[] = {0x02, 0xab, 0xCD, 0x00, 0x0f, 0xff};
    Line line;

    line_judge(&line, "--ifname abcdefghijklmno --mtu 68 --mac 02:ab:CD:00:0f:ff --no-configure "
                      "--no-ipv6 1");
    line_expect_no_fault(&line, "interface");
    cr_expect_str_eq(line.settings->guest.ifname, "abcdefghijklmno");
    cr_expect_eq(line.settings->guest.mtu, 68);
    cr_assert(line.settings->guest.has_mac);
    cr_expect_arr_eq(line.settings->guest.mac, mac, sizeof(mac));
    cr_expect_not(line.settings->guest.configure);
    cr_expect_not(line.settings->guest.ipv6);
    line_end(&line);

    line_judge(&line, "--mtu 65521 --cidr6 fd00::/64 1");
    line_expect_no_fault(&line, "largest MTU");
    cr_expect_eq(line.settings->guest.mtu, 65521);
    cr_expect(line.settings->guest.ipv6_required);
    line_end(&line);
}

#define IFNAME_CAUSE "not an interface name (1 to 15 bytes, no '/', ':', '%' or space)"
#define MAC_CAUSE    "want six hexadecimal bytes like 02:00:00:00:00:01"

Test(settings, bad_values_of_the_interface_are_faults)
{
    static const FaultRow rows[] = {
        {"--ifname  1", "--ifname : " IFNAME_CAUSE},
        {"--ifname abcdefghijklmnop 1", "--ifname abcdefghijklmnop: " IFNAME_CAUSE},
        {"--ifname . 1", "--ifname .: " IFNAME_CAUSE},
        {"--ifname .. 1", "--ifname ..: " IFNAME_CAUSE},
        {"--ifname a/b 1", "--ifname a/b: " IFNAME_CAUSE},
        {"--ifname a:b 1", "--ifname a:b: " IFNAME_CAUSE},
        {"--ifname tap%d 1", "--ifname tap%d: " IFNAME_CAUSE},
        {"--ifname a\tb 1", "--ifname a\tb: " IFNAME_CAUSE},
        {"--mtu 67 1", "--mtu 67: want a number from 68 to 65521"},
        {"--mtu 65522 1", "--mtu 65522: want a number from 68 to 65521"},
        {"--mtu 1500b 1", "--mtu 1500b: want a number from 68 to 65521"},
        {"--mac 02:00:00:00:00 1", "--mac 02:00:00:00:00: " MAC_CAUSE},
        {"--mac 02:00:00:00:00:001 1", "--mac 02:00:00:00:00:001: " MAC_CAUSE},
        {"--mac 02-00-00-00-00-01 1", "--mac 02-00-00-00-00-01: " MAC_CAUSE},
        {"--mac 02:00:00:00:00:0g 1", "--mac 02:00:00:00:00:0g: " MAC_CAUSE},
        {"--mac 01:00:5e:00:00:01 1",
         "--mac 01:00:5e:00:00:01: a multicast or zero address cannot be an interface's own"},
        {"--mac 00:00:00:00:00:00 1",
         "--mac 00:00:00:00:00:00: a multicast or zero address cannot be an interface's own"},
        {"--mac 52:55:0a:00:02:02 1", "--mac 52:55:0a:00:02:02: 52:55 and 52:56 are used by the "
                                      "gateway and the name server"},
        {"--mac 52:56:00:00:00:01 1", "--mac 52:56:00:00:00:01: 52:55 and 52:56 are used by the "
                                      "gateway and the name server"},
    };

    EXPECT_SINGLE_FAULTS(rows);
}

Test(settings, bad_networks_are_faults)
{
    static const FaultRow rows[] = {
        {"--cidr x 1", "--cidr x: 'x' is not a network of the form 10.0.2.0/24"},
        {"--cidr fd00::/64 1", "--cidr fd00::/64: 'fd00::/64' is not a network of the form "
                               "10.0.2.0/24"},
        {"--cidr 10.0.2.0/33 1",
         "--cidr 10.0.2.0/33: prefix length of '10.0.2.0/33': want 0 to 32"},
        {"--cidr 10.0.2.1/24 1",
         "--cidr 10.0.2.1/24: '10.0.2.1/24' has bits set behind its prefix: "
         "it is a host, not a network"},
        {"--cidr 10.0.2.0/26 1", "--cidr 10.0.2.0/26: want a prefix length from 1 to 25, so that "
                                 "the guest's address fits"},
        {"--cidr 0.0.0.0/0 1", "--cidr 0.0.0.0/0: want a prefix length from 1 to 25, so that the "
                               "guest's address fits"},
        {"--cidr6 fd00::/121 1", "--cidr6 fd00::/121: want a prefix length from 1 to 120, so that "
                                 "the guest's address fits"},
        {"--cidr 127.0.0.0/8 1", "--cidr 127.0.0.0/8: not a network for hosts (loopback, "
                                 "link-local, multicast or reserved)"},
        {"--cidr 169.254.0.0/16 1", "--cidr 169.254.0.0/16: not a network for hosts (loopback, "
                                    "link-local, multicast or reserved)"},
        {"--cidr6 fe80::/64 1", "--cidr6 fe80::/64: not a network for hosts (loopback, link-local, "
                                "multicast or reserved)"},
        {"--cidr6 ff00::/8 1", "--cidr6 ff00::/8: not a network for hosts (loopback, link-local, "
                               "multicast or reserved)"},
        {"--cidr6 fd00::/64 --no-ipv6 1", "--cidr6 fd00::/64: contradicts --no-ipv6"},
        {"--cidr6 fd00::/64 --mtu 1279 1", "--cidr6 fd00::/64: IPv6 needs an MTU of 1280 or more"},
    };

    EXPECT_SINGLE_FAULTS(rows);
}

Test(settings, small_mtu_is_fine_while_ipv6_is_not_demanded)
{
    Line line;

    line_judge(&line, "--mtu 1279 1");
    line_expect_no_fault(&line, "--mtu 1279 1");
    line_end(&line);
    line_judge(&line, "--mtu 1280 --cidr6 fd00::/64 1");
    line_expect_no_fault(&line, "--mtu 1280 --cidr6 fd00::/64 1");
    line_end(&line);
}

Test(settings, policy_and_name_servers_are_taken)
{
    Line line;

    line_judge(
        &line,
        "--allow host,metadata --allow link-local --outbound-addr 127.0.0.9 "
        "--outbound-addr 2001:db8::9 --dns-upstream 9.9.9.9 --dns-upstream fe80::1%lo "
        "--resolv-conf /r/c --no-dns --outlive-parent --insecure-no-lockdown --log-level debug "
        "--fast-path auto 1");
    line_expect_no_fault(&line, "policy");
    cr_expect_eq(line.settings->allow, NETCLASS_HOST | NETCLASS_METADATA | NETCLASS_LINK_LOCAL);
    expect_addr(&line.settings->outbound4, "127.0.0.9");
    expect_addr(&line.settings->outbound6, "2001:db8::9");
    cr_assert_eq(line.settings->dns_upstream->len, 2);
    expect_addr(&g_array_index(line.settings->dns_upstream, NetAddr, 0), "9.9.9.9");
    cr_expect_eq(g_array_index(line.settings->dns_upstream, NetAddr, 1).scope_id,
                 if_nametoindex("lo"));
    cr_expect_str_eq(line.settings->resolv_conf, "/r/c");
    cr_expect_not(line.settings->dns);
    cr_expect(line.settings->outlive_parent);
    cr_expect(line.settings->insecure);
    cr_expect_eq(line.settings->log_level, LOG_LEVEL_DEBUG);
    line_end(&line);
}

Test(settings, each_log_level_has_its_word)
{
    static const char *const words[] = {
        [LOG_LEVEL_ERROR] = "--log-level error 1",
        [LOG_LEVEL_WARNING] = "--log-level warning 1",
        [LOG_LEVEL_INFO] = "--log-level info 1",
        [LOG_LEVEL_DEBUG] = "--log-level debug 1",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        Line line;

        line_judge(&line, words[i]);
        line_expect_no_fault(&line, words[i]);
        cr_expect_eq(line.settings->log_level, i, "%s", words[i]);
        line_end(&line);
    }
}

Test(settings, bad_policy_and_name_servers_are_faults)
{
    static const FaultRow rows[] = {
        {"--allow host,internet 1", "--allow host,internet: 'internet' is none of host-loopback, "
                                    "host, link-local, metadata"},
        {"--allow  1", "--allow : '' is none of host-loopback, host, link-local, metadata"},
        {"--outbound-addr x 1", "--outbound-addr x: want an address of the host"},
        {"--outbound-addr 0.0.0.0 1", "--outbound-addr 0.0.0.0: want an address of the host"},
        {"--outbound-addr ff02::1 1", "--outbound-addr ff02::1: want an address of the host"},
        {"--outbound-addr 127.0.0.1 --outbound-addr ::1 --outbound-addr 127.0.0.2 1",
         "--outbound-addr 127.0.0.2: a second address of the same family"},
        {"--dns-upstream x 1", "--dns-upstream x: want the address of a name server"},
        {"--dns-upstream :: 1", "--dns-upstream ::: want the address of a name server"},
        {"--dns-upstream 224.0.0.1 1",
         "--dns-upstream 224.0.0.1: want the address of a name server"},
        {"--resolv-conf r/c 1", "--resolv-conf r/c: want an absolute path"},
        {"--log-level loud 1", "--log-level loud: want error, warning, info or debug"},
        {"--fast-path on 1", "--fast-path on: want auto, off or require"},
        {"--max-flows 0 1", "--max-flows 0: want a number from 1 to 1000000"},
        {"--max-flows many 1", "--max-flows many: want a number from 1 to 1000000"},
        {"--max-pending -1 1", "--max-pending -1: want a number from 1 to 1000000"},
        {"--max-pending 1000001 1", "--max-pending 1000001: want a number from 1 to 1000000"},
    };

    EXPECT_SINGLE_FAULTS(rows);
}

Test(settings, sixteen_name_servers_are_the_most)
{
    g_autoptr(GString) words = g_string_new("1");
    Line line;

    for (int i = 1; i <= 16; i++) {
        g_string_append_printf(words, " --dns-upstream 192.0.2.%d", i);
    }
    line_judge(&line, words->str);
    line_expect_no_fault(&line, words->str);
    cr_expect_eq(line.settings->dns_upstream->len, 16);
    line_end(&line);
    g_string_append(words, " --dns-upstream 192.0.2.17");
    line_judge(&line, words->str);
    cr_expect_eq(line.faults->len, 1);
    line_expect_fault(&line, 0, FAULT_OPTION, EINVAL,
                      "--dns-upstream 192.0.2.17: more than 16 name servers");
    cr_expect_eq(line.settings->dns_upstream->len, 16);
    line_end(&line);
}

Test(settings, fast_path_is_automatic_unless_told_otherwise)
{
    Line line;

    line_judge(&line, "1");
    cr_expect_eq(line.settings->guest.fast_path, FAST_PATH_AUTO);
    cr_expect_eq(line.settings->max_flows, 0);
    cr_expect_eq(line.settings->max_pending, 0);
    line_end(&line);
    line_judge(&line, "--fast-path auto 1");
    cr_expect_eq(line.settings->guest.fast_path, FAST_PATH_AUTO);
    line_end(&line);
    line_judge(&line, "--fast-path off 1");
    cr_expect_eq(line.settings->guest.fast_path, FAST_PATH_OFF);
    line_end(&line);
    line_judge(&line, "--fast-path require --max-flows 10 --max-pending 3 1");
    cr_expect_eq(line.settings->guest.fast_path, FAST_PATH_REQUIRE);
    cr_expect_eq(line.settings->max_flows, 10);
    cr_expect_eq(line.settings->max_pending, 3);
    line_end(&line);
}

Test(settings, ports_are_kept_in_order_and_default_host_fills_only_gaps)
{
    Line line;
    const PortMap *map;

    line_judge(&line, "-p 8080:80 -p 127.0.0.1:81:81 -p 82 --publish-address ::1 1");
    line_expect_no_fault(&line, "ports");
    cr_assert_eq(line.settings->publish->len, 3);
    map = g_ptr_array_index(line.settings->publish, 0);
    cr_expect_str_eq(map->text, "8080:80");
    cr_expect_eq(map->host_kind, PORTMAP_HOST_ADDR);
    expect_addr(&map->host_addr, "::1");
    cr_expect_eq(map->protocols, PORTMAP_TCP6);
    map = g_ptr_array_index(line.settings->publish, 1);
    expect_addr(&map->host_addr, "127.0.0.1");
    map = g_ptr_array_index(line.settings->publish, 2);
    cr_expect_str_eq(map->text, "82");
    expect_addr(&map->host_addr, "::1");
    line_end(&line);

    line_judge(&line, "-p 8080:80 1");
    line_expect_no_fault(&line, "no default host");
    map = g_ptr_array_index(line.settings->publish, 0);
    cr_expect_eq(map->host_kind, PORTMAP_HOST_UNSET);
    line_end(&line);
}

Test(settings, bad_ports_are_faults)
{
    static const FaultRow rows[] = {
        {"-p x 1", "--publish x: guest port 'x' is not a number"},
        {"--publish-address ::1 -p 80:80/tcp4 1",
         "--publish 80:80/tcp4: /tcp4 cannot listen on IPv6 address ::1"},
        {"-p 8080:80 -p 8080:81 1", "--publish 8080:81: overlaps with '8080:80'"},
        {"-p 127.0.0.1:8080:80 -p 90:90 -p *:8000-9000:80 1",
         "--publish *:8000-9000:80: overlaps with '127.0.0.1:8080:80'"},
        {"--publish-address localhost -p 8080:80 -p [::1]:8080:80 1",
         "--publish [::1]:8080:80: overlaps with '8080:80'"},
        {"--publish-address x -p 80 -p 81 1",
         "--publish-address x: host address 'x' is not a valid address"},
        {"--publish-address x 1", "--publish-address x: host address 'x' is not a valid address"},
    };

    EXPECT_SINGLE_FAULTS(rows);
}

Test(settings, ports_that_only_look_alike_do_not_overlap)
{
    static const char *const rows[] = {
        "-p 8080:80 -p 8081:80 1",
        "-p 8080:80/tcp -p 8080:80/udp 1",
        "-p 127.0.0.1:8080:80 -p 127.0.0.2:8080:80 1",
        "-p 8080:80/tcp4 -p 8080:80/tcp6 1",
        "-p 127.0.0.1::80 -p 127.0.0.1::80 1",
        "--publish-address 127.0.0.1 -p 8080:80 -p 127.0.0.2:8080:80 1",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Line line;

        line_judge(&line, rows[i]);
        line_expect_no_fault(&line, rows[i]);
        cr_expect_eq(line.settings->publish->len, 2, "%s", rows[i]);
        line_end(&line);
    }
}

Test(settings, ports_that_are_not_built_yet_say_which_word_is_missing)
{
    static const FaultRow rows[] = {
        {"-p unix:/x:80 1", "--publish unix:/x:80: 'unix:' is not supported yet"},
        {"-p all 1", "--publish all: 'all' is not supported yet"},
        {"-p auto 1", "--publish auto: 'auto' is not supported yet"},
        {"-p 80,fd=x 1", "--publish 80,fd=x: 'fd=' is not supported yet"},
        {"-p 80,proxy=v1 1", "--publish 80,proxy=v1: 'proxy=' is not supported yet"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Line line;

        line_judge(&line, rows[i].words);
        cr_expect_eq(line.faults->len, 1, "%s", rows[i].words);
        line_expect_fault(&line, 0, FAULT_NOT_SUPPORTED, 0, rows[i].text);
        cr_expect_eq(line.settings->publish->len, 0, "%s", rows[i].words);
        line_end(&line);
    }
}

static bool has_fault(const Line *line, const char *text)
{
    for (guint i = 0; i < line->faults->len; i++) {
        const GError *error = g_ptr_array_index(line->faults, i);

        if (strcmp(error->message, text) == 0) {
            return true;
        }
    }
    return false;
}

Test(settings, all_faults_are_told_at_once_and_report_fd_and_level_are_still_good)
{
    static const char *const texts[] = {
        "unrecognized option '--wrong'",
        "no guest: want one PID, --netns, --netns-fd or -- COMMAND",
        ("--ifname a/b: " IFNAME_CAUSE),
        "--mtu 1: want a number from 68 to 65521",
        "--cidr x: 'x' is not a network of the form 10.0.2.0/24",
        "--allow y: 'y' is none of host-loopback, host, link-local, metadata",
        "--dns-upstream z: want the address of a name server",
        "--publish q: guest port 'q' is not a number",
        "--publish all: 'all' is not supported yet",
    };
    Line line;

    line_judge(&line, "--wrong --mtu 1 --ifname a/b --cidr x --allow y --dns-upstream z -p q "
                      "-p all --report-fd 2 --log-level error");
    cr_expect_eq(line.faults->len, G_N_ELEMENTS(texts), "%u faults", line.faults->len);
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        cr_expect(has_fault(&line, texts[i]), "%s", texts[i]);
    }
    cr_expect_eq(line.settings->report_fd, 2);
    cr_expect_eq(line.settings->log_level, LOG_LEVEL_ERROR);
    line_end(&line);
}

/* The sandbox must not be served. */
Test(settings, command_gets_no_control_socket_as_a_standard_stream)
{
    static const FaultRow rows[] = {
        {"--control-fd 2 -- sh", "--control-fd 2: COMMAND would have it too, as one of 0, 1, 2"},
        {"--observe-fd 2 -- sh", "--observe-fd 2: COMMAND would have it too, as one of 0, 1, 2"},
    };
    Line line;

    EXPECT_SINGLE_FAULTS(rows);
    line_judge(&line, "--control-fd 2 1");
    line_expect_no_fault(&line, "--control-fd 2 1");
    line_end(&line);
}
