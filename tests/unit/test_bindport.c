/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_bindport.c - one host port: which sockets it needs, and binding them
 *
 * Does:     slots of each kind of map; sockets on loopback and their options; errors and their words.
 * Not here: several ports, weak maps, batches (test_publisher.c).
 */
#include "config.h"

#include "bindport.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include "fault.h"
#include "loopfixture.h"

static PortMap *map_of(const char *spec)
{
    g_autoptr(GError) error = NULL;
    PortMap *map = portmap_parse(spec, &error);

    cr_assert_not_null(map, "%s: %s", spec, error != NULL ? error->message : "");
    return map;
}

/* "tcp 0.0.0.0, tcp :: optional": all slots of @spec in words. g_free(). */
static char *slots_text(const char *spec)
{
    g_autoptr(PortMap) map = map_of(spec);
    GString *text = g_string_new(NULL);
    BindSlot slots[BIND_SLOTS_MAX];
    size_t count = bindport_slots(map, slots);

    for (size_t i = 0; i < count; i++) {
        char addr[NETADDR_STRLEN];

        g_string_append_printf(
            text, "%s%s %s%s%s", i > 0 ? ", " : "", bindport_protocol_name(slots[i].protocol),
            netaddr_format(&slots[i].addr, addr), slots[i].both_families ? " both" : "",
            slots[i].optional ? " optional" : "");
    }
    return g_string_free(text, FALSE);
}

Test(bindport, slots_are_what_the_map_says)
{
    static const struct {
        const char *spec;
        const char *slots;
    } rows[] = {
        {"8080:80", "tcp 0.0.0.0, tcp :: optional"},
        {"*:8080:80", "tcp 0.0.0.0, tcp :: optional"},
        {"%lo:8080:80", "tcp 0.0.0.0, tcp :: optional"},
        {"80", "tcp 0.0.0.0, tcp :: optional"},
        {"8080:80/udp", "udp 0.0.0.0, udp :: optional"},
        {"8080:80/tcp4", "tcp 0.0.0.0"},
        {"8080:80/tcp6", "tcp ::"},
        {"8080:80/udp6", "udp ::"},
        {"8080:80/tcp+udp", "tcp 0.0.0.0, tcp :: optional, udp 0.0.0.0, udp :: optional"},
        {"localhost:8080:80", "tcp 127.0.0.1, tcp ::1"},
        {"localhost:8080:80/tcp+udp", "tcp 127.0.0.1, tcp ::1, udp 127.0.0.1, udp ::1"},
        {"127.0.0.2:8080:80", "tcp 127.0.0.2"},
        {"127.0.0.2:8080:80/tcp+udp", "tcp 127.0.0.2, udp 127.0.0.2"},
        {"[::1]:8080:80/udp", "udp ::1"},
        {"0.0.0.0:8080:80", "tcp 0.0.0.0"},
        {"[::]:8080:80", "tcp ::"},
        {"[fe80::1%lo]:8080:80", "tcp fe80::1%1"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = slots_text(rows[i].spec);

        cr_expect_str_eq(text, rows[i].slots, "%s: '%s'", rows[i].spec, text);
    }
}

Test(bindport, large_wildcard_ranges_share_one_socket_for_both_families)
{
    static const struct {
        const char *spec;
        const char *slots;
    } rows[] = {
        {"2000-3023:2000-3023", "tcp 0.0.0.0, tcp :: optional"},
        {"2000-3024:2000-3024", "tcp :: both"},
        {"2000-3024:2000-3024/tcp+udp", "tcp :: both, udp :: both"},
        {"2000-3024:2000-3024/tcp4", "tcp 0.0.0.0"},
        {"2000-3024:2000-3024/tcp6", "tcp ::"},
        {"2000-3024:80", "tcp 0.0.0.0, tcp :: optional"},
        {"localhost:2000-9000:2000-9000", "tcp 127.0.0.1, tcp ::1"},
        {"127.0.0.1:2000-9000:2000-9000", "tcp 127.0.0.1"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = slots_text(rows[i].spec);

        cr_expect_str_eq(text, rows[i].slots, "%s: '%s'", rows[i].spec, text);
    }
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);

    cr_expect_eq(getsockopt(fd, level, option, &value, &len), 0, "%d %d", level, option);
    return value;
}

static int open_first(const PortMap *map, uint16_t port)
{
    BindSlot slots[BIND_SLOTS_MAX];

    cr_assert_gt(bindport_slots(map, slots), 0);
    return bindport_open(map, &slots[0], port);
}

Test(bindport, tcp_socket_listens_and_passes_its_options_on)
{
    g_autoptr(PortMap) map = map_of("127.0.0.1::80");
    int fd = open_first(map, 0);

    cr_assert_geq(fd, 0);
    cr_expect_neq(bindport_port(fd), 0);
    cr_expect_eq(option_of(fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
    cr_expect_eq(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
    cr_expect_eq(option_of(fd, SOL_SOCKET, SO_REUSEADDR), 1);
    cr_expect_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 120);
    cr_expect_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 15);
    cr_expect_eq(option_of(fd, IPPROTO_TCP, TCP_KEEPCNT), 8);
    cr_expect_neq(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    cr_expect(fcntl(fd, F_GETFL) & O_NONBLOCK);
    (void)close(fd);
}

Test(bindport, udp_sockets_tell_which_address_was_asked)
{
    g_autoptr(PortMap) map4 = map_of("127.0.0.1::80/udp");
    g_autoptr(PortMap) map6 = map_of("[::1]::80/udp");
    int fd = open_first(map4, 0);

    cr_assert_geq(fd, 0);
    cr_expect_eq(option_of(fd, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
    cr_expect_eq(option_of(fd, IPPROTO_IP, IP_PKTINFO), 1);
    (void)close(fd);
    fd = open_first(map6, 0);
    if (fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT) {
        cr_skip_test("no IPv6 on lo");
    }
    cr_assert_geq(fd, 0);
    cr_expect_eq(option_of(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO), 1);
    cr_expect_eq(option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    (void)close(fd);
}

Test(bindport, ipv6_wildcard_takes_ipv4_only_if_it_is_for_both)
{
    g_autoptr(PortMap) map = map_of("[::]::80");
    BindSlot slot = {.protocol = PORTMAP_TCP6, .addr = netaddr_any(AF_INET6)};

    for (int both = 0; both < 2; both++) {
        int fd;

        slot.both_families = both != 0;
        fd = bindport_open(map, &slot, 0);
        if (fd == -EAFNOSUPPORT) {
            cr_skip_test("no IPv6");
        }
        cr_assert_geq(fd, 0);
        cr_expect_eq(option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY), !both);
        (void)close(fd);
    }
}

Test(bindport, taken_port_is_eaddrinuse_and_no_fd_stays)
{
    g_autoptr(PortMap) map = map_of("127.0.0.1::80");
    g_autoptr(PortMap) udp = map_of("127.0.0.1::80/udp");
    int first = open_first(map, 0);
    uint16_t port = bindport_port(first);
    int other;
    size_t before = count_fds();

    cr_expect_eq(open_first(map, port), -EADDRINUSE);
    cr_expect_eq(count_fds(), before);
    other = open_first(udp, port);
    cr_expect_geq(other, 0, "another protocol is another port");
    (void)close(other);
    (void)close(first);
    first = open_first(map, port);
    cr_expect_geq(first, 0);
    (void)close(first);
}

Test(bindport, interface_that_does_not_exist_is_enodev_and_named)
{
    g_autoptr(PortMap) map = map_of("%nosuch0:8080:80");
    g_autoptr(GError) error = NULL;
    BindSlot slots[BIND_SLOTS_MAX];

    (void)bindport_slots(map, slots);
    cr_assert_eq(bindport_open(map, &slots[0], 8080), -ENODEV);
    error = bindport_fault(map, &slots[0], 8080, ENODEV);
    cr_expect_str_eq(error->message, "--publish %nosuch0:8080:80: cannot bind 0.0.0.0:8080/tcp: "
                                     "No such device (interface nosuch0)");
    cr_expect_eq(fault_kind(error), FAULT_PUBLISH);
    cr_expect_eq(fault_errno(error), ENODEV);
}

Test(bindport, interface_that_exists_is_bound_to)
{
    g_autoptr(PortMap) map = map_of("127.0.0.1%lo::80");
    int fd = open_first(map, 0);
    char name[IFNAMSIZ] = "";
    socklen_t len = sizeof(name);

    cr_assert_geq(fd, 0);
    cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len), 0);
    cr_expect_str_eq(name, "lo");
    (void)close(fd);
}

Test(bindport, address_that_is_not_ours_is_eaddrnotavail)
{
    g_autoptr(PortMap) map = map_of("192.0.2.77:8080:80");
    g_autoptr(GError) error = NULL;
    BindSlot slots[BIND_SLOTS_MAX];

    (void)bindport_slots(map, slots);
    cr_assert_eq(bindport_open(map, &slots[0], 8080), -EADDRNOTAVAIL);
    error = bindport_fault(map, &slots[0], 8080, EADDRNOTAVAIL);
    cr_expect_str_eq(error->message, "--publish 192.0.2.77:8080:80: cannot bind "
                                     "192.0.2.77:8080/tcp: Cannot assign requested address");
}

Test(bindport, port_in_use_is_told_in_words_for_each_protocol_and_family)
{
    static const struct {
        const char *spec;
        const char *text;
    } rows[] = {
        {"127.0.0.1:8080:80", "--publish 127.0.0.1:8080:80: cannot bind 127.0.0.1:8080/tcp: "
                              "Address already in use"},
        {"[::1]:8080:80/udp",
         "--publish [::1]:8080:80/udp: cannot bind [::1]:8080/udp: Address already in use"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(PortMap) map = map_of(rows[i].spec);
        g_autoptr(GError) error = NULL;
        BindSlot slots[BIND_SLOTS_MAX];

        (void)bindport_slots(map, slots);
        error = bindport_fault(map, &slots[0], 8080, EADDRINUSE);
        cr_expect_str_eq(error->message, rows[i].text, "%s", error->message);
        cr_expect_eq(fault_errno(error), EADDRINUSE);
    }
}

/* As an unprivileged user: the first port that needs privilege, or 0 if there is none or it was bound. */
static void bind_privileged(uint16_t port)
{
    g_autoptr(PortMap) map = map_of("127.0.0.1:80:80");

    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) {
        _exit(77);
    }
    _exit(open_first(map, port) == -EACCES ? 0 : 1);
}

Test(bindport, privileged_port_is_eacces_and_the_words_name_the_sysctl)
{
    g_autoptr(PortMap) map = map_of("127.0.0.1:80:80");
    g_autoptr(GError) error = NULL;
    g_autofree char *start = NULL;
    g_autofree char *text = NULL;
    BindSlot slots[BIND_SLOTS_MAX];
    int status = 0;
    pid_t pid;

    cr_assert(
        g_file_get_contents("/proc/sys/net/ipv4/ip_unprivileged_port_start", &start, NULL, NULL));
    (void)g_strstrip(start);
    (void)bindport_slots(map, slots);
    error = bindport_fault(map, &slots[0], 80, EACCES);
    text = g_strdup_printf("--publish 127.0.0.1:80:80: cannot bind 127.0.0.1:80/tcp: Permission "
                           "denied (a privileged port: sysctl net.ipv4.ip_unprivileged_port_start "
                           "is %s)",
                           start);
    cr_expect_str_eq(error->message, text, "%s", error->message);
    if (strcmp(start, "0") == 0 || strcmp(start, "1") == 0) {
        cr_skip_test("no port is privileged here");
    }
    pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        bind_privileged(1);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        cr_skip_test("this user cannot become another");
    }
    cr_expect_eq(WEXITSTATUS(status), 0);
}

Test(bindport, no_fd_left_is_emfile)
{
    g_autoptr(PortMap) map = map_of("127.0.0.1::80");
    rlim_t before;
    int got;

    fds_leave(0, &before);
    got = open_first(map, 0);
    fds_allow(before);
    cr_expect_eq(got, -EMFILE);
}
