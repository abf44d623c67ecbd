/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_source.c - whom a server in the sandbox sees as its client
 */
#include "config.h"

#include <errno.h>
#include <glib.h>
#include <linux/filter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lab_helper.h"
#include "lab_raw.h"
#include "lab_test.h"

/* All helpers of this program, unless the caller's environment says otherwise; a later option of a test's own wins. */
static void __attribute__((constructor)) fast_path_on(void)
{
    (void)g_setenv("SALLYPORT_LAB_OPTIONS", "--fast-path=auto", FALSE);
}

static LabHelper *publishing(Lab *lab, const char *spec)
{
    return lab_helper(lab, "--fast-path=require", spec, NULL);
}

static const char *name_of(int fd)
{
    struct sockaddr_storage own;
    socklen_t len = sizeof own;

    LAB_ASSERT_CALL(getsockname(fd, (struct sockaddr *)&own, &len));
    return lab_address_text(&own);
}

static bool starts_with(const char *text, const char *address)
{
    g_autofree char *four = g_strdup_printf("%s:", address);
    g_autofree char *six = g_strdup_printf("[%s]:", address);

    return g_str_has_prefix(text, four) || g_str_has_prefix(text, six);
}

/* A socket of @place with this address and port, connected. */
static int client_from(Lab *lab, LabPlace place, int type, const char *from, uint16_t port,
                       const char *to, uint16_t to_port)
{
    struct sockaddr_storage sa;
    socklen_t len = lab_address(&sa, to, to_port);
    int fd = lab_socket_bound(lab, place, type, from, port);

    LAB_CHECK(fd >= 0, "bind to %s port %u: %s", from, port, strerror(errno));
    LAB_CHECK(connect(fd, (struct sockaddr *)&sa, len) == 0, "connect to %s: %s", to,
              strerror(errno));
    return fd;
}

static void say_both_ways(int client, int server)
{
    lab_say(client, server, "there");
    lab_say(server, client, "and back");
}

/* The server sees exactly the client's own name. */
static void is_true(Lab *lab, LabPlace place, const char *to, int listener)
{
    int client = lab_connected(lab, place, to, 8080), server = lab_accepted(listener);

    LAB_CHECK(strcmp(lab_peer_text(server), name_of(client)) == 0, "%s is seen as %s",
              name_of(client), lab_peer_text(server));
    say_both_ways(client, server);
    close(client);
    close(server);
}

/* The server sees that address. */
static void is_seen_as(Lab *lab, LabPlace place, const char *to, int listener, const char *wanted)
{
    int client = lab_connected(lab, place, to, 8080), server = lab_accepted(listener);

    LAB_CHECK(starts_with(lab_peer_text(server), wanted), "%s is seen as %s, wanted %s",
              name_of(client), lab_peer_text(server), wanted);
    say_both_ways(client, server);
    close(client);
    close(server);
}

/* ---- TCP ---- */

LAB_TEST(source, tcp_server_sees_the_clients_own_address_and_port)
{
    int four = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);
    int six = lab_listen(lab, LAB_GUEST, "::", 8000);

    (void)publishing(lab, "-p 8080:8000");
    is_true(lab, LAB_FAR, LAB_HOST_V4, four);
    is_true(lab, LAB_FAR, LAB_HOST_V6, six);
    is_true(lab, LAB_FAR, LAB_HOST_V4_3, four);
    is_true(lab, LAB_FAR, LAB_HOST_V6_3, six);
    is_true(lab, LAB_RUNTIME, LAB_HOST_V4, four);
    is_true(lab, LAB_RUNTIME, LAB_HOST_V6, six);
}

LAB_TEST(source, tcp_carries_64_mib_from_a_true_address, .limit_ms = 60000)
{
    int four = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000), client, server;
    int six = lab_listen(lab, LAB_GUEST, "::", 8000);

    (void)publishing(lab, "-p 8080:8000");
    client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    server = lab_accepted(four);
    lab_transfer(client, server, 64 << 20, 64 << 20, 0);
    client = lab_connected(lab, LAB_FAR, LAB_HOST_V6, 8080);
    server = lab_accepted(six);
    lab_transfer(client, server, 64 << 20, 64 << 20, 0);
}

LAB_TEST(source, loopback_clients_appear_as_the_gateway)
{
    int four = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);
    int six = lab_listen(lab, LAB_GUEST, "::", 8000);

    (void)publishing(lab, "-p 8080:8000");
    is_seen_as(lab, LAB_RUNTIME, "127.0.0.1", four, LAB_GATEWAY_V4);
    is_seen_as(lab, LAB_RUNTIME, "::1", six, LAB_GATEWAY_V6);
}

LAB_TEST(source, every_client_appears_as_the_gateway_with_src_gw)
{
    int four = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);
    int six = lab_listen(lab, LAB_GUEST, "::", 8000);

    (void)publishing(lab, "-p 8080:8000,src=gw");
    is_seen_as(lab, LAB_FAR, LAB_HOST_V4, four, LAB_GATEWAY_V4);
    is_seen_as(lab, LAB_FAR, LAB_HOST_V6, six, LAB_GATEWAY_V6);
}

LAB_TEST(source, without_the_fast_path_clients_appear_as_the_guest)
{
    int four = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);

    (void)lab_helper(lab, "--fast-path=off", "-p 8080:8000", NULL);
    is_seen_as(lab, LAB_FAR, LAB_HOST_V4, four, LAB_GUEST_V4);
}

LAB_TEST(source, a_client_inside_the_guests_network_appears_as_the_gateway)
{
    int four = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000), client, server;

    lab_do(lab, LAB_FAR, "ip address add 10.0.2.77/32 dev lo");
    lab_do(lab, LAB_HOST, "ip route add 10.0.2.77/32 via " LAB_FAR_V4);
    (void)publishing(lab, "-p 8080:8000");
    client = client_from(lab, LAB_FAR, SOCK_STREAM, "10.0.2.77", 0, LAB_HOST_V4, 8080);
    server = lab_accepted(four);
    LAB_CHECK(starts_with(lab_peer_text(server), LAB_GATEWAY_V4), "%s", lab_peer_text(server));
    say_both_ways(client, server);
}

LAB_TEST(source, a_server_of_the_other_family_sees_the_gateway)
{
    int six = lab_listen(lab, LAB_GUEST, "::", 8000);

    (void)publishing(lab, "-p 8080:8000");
    is_seen_as(lab, LAB_FAR, LAB_HOST_V4, six, LAB_GATEWAY_V6);
}

LAB_TEST(source, one_client_port_reaches_two_published_ports)
{
    int one = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000);
    int two = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8001);
    int clients[3], servers[3];

    (void)lab_helper(lab, "--fast-path=require", "-p 8080:8000", "-p 8081:8001", "-p 8082:8000",
                     NULL);
    for (int i = 0; i < 3; i++) {
        clients[i] = client_from(lab, LAB_FAR, SOCK_STREAM, LAB_FAR_V4, 4444, LAB_HOST_V4,
                                 (uint16_t)(8080 + i));
        servers[i] = lab_accepted(i == 1 ? two : one);
        LAB_CHECK(starts_with(lab_peer_text(servers[i]), LAB_FAR_V4), "%s",
                  lab_peer_text(servers[i]));
    }
    LAB_ASSERT(strcmp(lab_peer_text(servers[0]), LAB_FAR_V4 ":4444") == 0);
    LAB_ASSERT(strcmp(lab_peer_text(servers[1]), LAB_FAR_V4 ":4444") == 0);
    LAB_ASSERT(strcmp(lab_peer_text(servers[2]), LAB_FAR_V4 ":4444") != 0);
    for (int i = 0; i < 3; i++)
        say_both_ways(clients[i], servers[i]);
}

LAB_TEST(source, a_port_that_the_guest_listens_at_is_shown_as_another)
{
    int one = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000), client, server;
    int taken = lab_listen(lab, LAB_GUEST, "0.0.0.0", 4444);

    (void)taken;
    (void)publishing(lab, "-p 8080:8000");
    client = client_from(lab, LAB_FAR, SOCK_STREAM, LAB_FAR_V4, 4444, LAB_HOST_V4, 8080);
    server = lab_accepted(one);
    LAB_CHECK(starts_with(lab_peer_text(server), LAB_FAR_V4), "%s", lab_peer_text(server));
    say_both_ways(client, server);
}

LAB_TEST(source, a_link_local_client_appears_as_the_gateway)
{
    int six = lab_listen(lab, LAB_GUEST, "::", 8000), client, server;
    LabOutput host = {NULL, NULL}, index = {NULL, NULL};
    g_autofree char *address = NULL;

    (void)publishing(lab, "-p 8080:8000");
    LAB_ASSERT_EQ(lab_exec(lab, LAB_HOST, &host, "sh", "-c",
                           "ip -6 -o address show dev host0 scope link | "
                           "sed -n 's,.*inet6 \\([^/]*\\)/.*,\\1,p' | head -n1",
                           NULL),
                  0);
    LAB_ASSERT_EQ(
        lab_exec(lab, LAB_FAR, &index, "sh", "-c", "ip -o link show far0 | sed 's/:.*//'", NULL),
        0);
    if (host.out[0] == '\0')
        lab_skip("not in this lab: host0 has no link-local address");
    address = g_strdup_printf("%s%%%s", g_strchomp(host.out), g_strchomp(index.out));
    client = lab_connected(lab, LAB_FAR, address, 8080);
    server = lab_accepted(six);
    LAB_CHECK(starts_with(lab_peer_text(server), LAB_GATEWAY_V6), "%s", lab_peer_text(server));
    say_both_ways(client, server);
    lab_output_clear(&host);
    lab_output_clear(&index);
}

LAB_TEST(source, published_records_say_what_the_server_sees)
{
    static const struct {
        const char *spec, *wanted;
    } rows[] = {{"8080:8000", "client"},
                {"8081:8000,src=keep", "client"},
                {"8082:8000,src=gw", "gateway"},
                {"8083:10.0.2.100:8000", "client"},
                {"8084:10.0.2.101:8000", "guest"}};
    LabHelper *helper = lab_helper(lab, "--fast-path=require", "--no-ipv6", "-p 8080:8000",
                                   "-p 8081:8000,src=keep", "-p 8082:8000,src=gw",
                                   "-p 8083:10.0.2.100:8000", "-p 8084:10.0.2.101:8000", NULL);
    const char *record;
    unsigned seen = 0;

    while ((record = lab_helper_await(helper, SALLYPORT_EVENT_PUBLISHED, NULL, 0)) != NULL) {
        g_autofree char *spec = lab_record_value(record, "spec");
        g_autofree char *source = lab_record_value(record, "source");

        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
            if (strcmp(rows[i].spec, spec) == 0) {
                LAB_CHECK(strcmp(rows[i].wanted, source) == 0, "%s", record);
                seen |= 1U << i;
            }
    }
    LAB_ASSERT_EQ(seen, (1U << G_N_ELEMENTS(rows)) - 1);
}

/* ---- UDP ---- */

/* One datagram there, its source, and one back. */
static void datagram(int client, int server, const char *wanted)
{
    struct sockaddr_storage from;
    char byte = 'x';

    LAB_ASSERT_EQ(send(client, &byte, 1, 0), 1);
    LAB_ASSERT_EQ(lab_recv_datagram(server, &byte, 1, &from, LAB_MS(LAB_WAIT_MS)), 1);
    if (wanted != NULL)
        LAB_CHECK(strcmp(lab_address_text(&from), wanted) == 0, "seen as %s, wanted %s",
                  lab_address_text(&from), wanted);
    LAB_ASSERT_EQ(sendto(server, "y", 1, 0, (struct sockaddr *)&from,
                         from.ss_family == AF_INET ? sizeof(struct sockaddr_in)
                                                   : sizeof(struct sockaddr_in6)),
                  1);
    LAB_ASSERT_EQ(lab_recv_datagram(client, &byte, 1, NULL, LAB_MS(LAB_WAIT_MS)), 1);
    LAB_ASSERT_EQ(byte, 'y');
}

LAB_TEST(source, udp_server_sees_the_clients_own_address_and_port)
{
    int four = lab_udp(lab, LAB_GUEST, "0.0.0.0", 5000), six = lab_udp(lab, LAB_GUEST, "::", 5000);
    int client;

    (void)publishing(lab, "-p 5353:5000/udp");
    client = lab_udp_connected(lab, LAB_FAR, LAB_HOST_V4, 5353);
    datagram(client, four, name_of(client));
    datagram(client, four, name_of(client));
    client = lab_udp_connected(lab, LAB_FAR, LAB_HOST_V6, 5353);
    datagram(client, six, name_of(client));
    datagram(client, six, name_of(client));
}

/* The families of a client at FAR, a published port and a server. */
static const struct {
    const char *far, *host, *any, *gateway, *loopback;
} families[] = {{LAB_FAR_V4, LAB_HOST_V4, "0.0.0.0", LAB_GATEWAY_V4, "127.0.0.1"},
                {LAB_FAR_V6, LAB_HOST_V6, "::", LAB_GATEWAY_V6, "::1"}};

LAB_TEST(source, udp_clients_get_their_own_replies)
{
    /* The same client port by two published ports to one guest port: the second is shown as another. */
    (void)lab_helper(lab, "--fast-path=require", "-p 5353:5000/udp", "-p 5354:5000/udp", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(families); i++) {
        int server = lab_udp(lab, LAB_GUEST, families[i].any, 5000);
        int one =
            client_from(lab, LAB_FAR, SOCK_DGRAM, families[i].far, 4444, families[i].host, 5353);
        int two =
            client_from(lab, LAB_FAR, SOCK_DGRAM, families[i].far, 4444, families[i].host, 5354);
        const char *first = name_of(one);

        datagram(one, server, first);
        datagram(two, server, NULL);
        datagram(one, server, first);
        datagram(two, server, NULL);
        datagram(lab_udp_connected(lab, LAB_FAR, families[i].host, 5353), server, NULL);
    }
}

/* The server sees that address. */
static void udp_is_seen_as(int client, int server, const char *wanted)
{
    struct sockaddr_storage from;
    char byte = 'x';

    LAB_ASSERT_EQ(send(client, &byte, 1, 0), 1);
    LAB_ASSERT_EQ(lab_recv_datagram(server, &byte, 1, &from, LAB_MS(LAB_WAIT_MS)), 1);
    LAB_CHECK(starts_with(lab_address_text(&from), wanted), "%s", lab_address_text(&from));
    datagram(client, server, NULL);
}

LAB_TEST(source, udp_loopback_clients_and_all_with_src_gw_appear_as_the_gateway)
{
    (void)lab_helper(lab, "--fast-path=require", "-p 5353:5000/udp", "-p 5354:5000/udp,src=gw",
                     NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(families); i++) {
        int server = lab_udp(lab, LAB_GUEST, families[i].any, 5000);

        udp_is_seen_as(lab_udp_connected(lab, LAB_RUNTIME, families[i].loopback, 5353), server,
                       families[i].gateway);
        udp_is_seen_as(lab_udp_connected(lab, LAB_FAR, families[i].host, 5354), server,
                       families[i].gateway);
    }
}

/* ---- what the guest's root may do ---- */

static int flush_conntrack(const void *argument, size_t length)
{
    struct {
        struct nlmsghdr header;
        struct nfgenmsg message;
    } request = {.header = {.nlmsg_len = sizeof request,
                            .nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE,
                            .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK}};
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
    } answer;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

    (void)argument;
    (void)length;
    if (send(fd, &request, sizeof request, 0) < 0 || recv(fd, &answer, sizeof answer, 0) < 0)
        return 1;
    return answer.error.error == 0 ? 0 : 2;
}

LAB_TEST(source, connections_survive_a_flush_of_conntrack)
{
    static const char *const hosts[] = {LAB_HOST_V4, LAB_HOST_V6};
    int listeners[] = {lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000),
                       lab_listen(lab, LAB_GUEST, "::", 8000)};

    (void)publishing(lab, "-p 8080:8000");
    for (int i = 0; i < 4; i++) {
        /* From the far machine, and from the host itself, whose addresses the guest may not reach otherwise. */
        int client = lab_connected(lab, i < 2 ? LAB_FAR : LAB_RUNTIME, hosts[i % 2], 8080);
        int server = lab_accepted(listeners[i % 2]);

        say_both_ways(client, server);
        LAB_ASSERT_EQ(lab_run(lab, LAB_GUEST, flush_conntrack, NULL, 0), 0);
        lab_say(server, client, "the server speaks first");
        say_both_ways(client, server);
        close(client);
        close(server);
    }
}

LAB_TEST(source, udp_replies_survive_a_flush_of_conntrack)
{
    (void)publishing(lab, "-p 5353:5000/udp");
    for (size_t i = 0; i < G_N_ELEMENTS(families); i++) {
        int server = lab_udp(lab, LAB_GUEST, families[i].any, 5000);
        int client = lab_udp_connected(lab, LAB_FAR, families[i].host, 5353);
        struct sockaddr_storage from;
        char byte = 'x';

        LAB_ASSERT_EQ(send(client, &byte, 1, 0), 1);
        LAB_ASSERT_EQ(lab_recv_datagram(server, &byte, 1, &from, LAB_MS(LAB_WAIT_MS)), 1);
        LAB_ASSERT_EQ(lab_run(lab, LAB_GUEST, flush_conntrack, NULL, 0), 0);
        LAB_ASSERT_EQ(sendto(server, "z", 1, 0, (struct sockaddr *)&from,
                             from.ss_family == AF_INET ? sizeof(struct sockaddr_in)
                                                       : sizeof(struct sockaddr_in6)),
                      1);
        LAB_ASSERT_EQ(lab_recv_datagram(client, &byte, 1, NULL, LAB_MS(LAB_WAIT_MS)), 1);
        LAB_ASSERT_EQ(byte, 'z');
    }
}

/* ---- a kernel without nf_tables ---- */

/* For this process and the helpers it starts socket(2) refuses the netlink of netfilter, as such a kernel does. */
static void without_nf_tables(void)
{
#define LOAD(member)        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
    static struct sock_filter filter[] = {
        LOAD(nr),
        UNLESS(SYS_socket, 5),
        LOAD(args[0]), /* the low half, on machines where that comes first */
        UNLESS(AF_NETLINK, 3),
        LOAD(args[2]),
        UNLESS(NETLINK_NETFILTER, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPROTONOSUPPORT),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
#undef LOAD
#undef UNLESS
    static const struct sock_fprog program = {G_N_ELEMENTS(filter), filter};

    LAB_ASSERT_CALL(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    LAB_ASSERT_CALL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    LAB_ASSERT_EQ(socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER), -1);
    LAB_ASSERT_EQ(errno, EPROTONOSUPPORT);
}

static LabHelper *without_table(Lab *lab, const char *spec)
{
    without_nf_tables();
    return lab_helper(lab, "--fast-path=auto", spec, NULL);
}

LAB_TEST(source, without_nf_tables_records_say_what_is_missing_and_what_is_not)
{
    LabHelper *helper = without_table(lab, "-p 8080:8000");
    const char *log = lab_helper_await(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_FAST_PATH, 0);
    const char *ready = lab_helper_await(helper, SALLYPORT_EVENT_READY, NULL, 0);
    const char *published = lab_helper_await(helper, SALLYPORT_EVENT_PUBLISHED, NULL, 0);

    LAB_CHECK(log != NULL && strstr(log, "no nf_tables") != NULL, "%s", log);
    LAB_CHECK(ready != NULL &&
                  strstr(ready, "\"on\":false,\"why\":\"the kernel has no nf_tables") != NULL,
              "%s", ready);
    /* The process inside keeps what it needs to speak for clients. */
    LAB_CHECK(strstr(ready, "\"inside\":[\"no-new-privs\",\"not-dumpable\",\"few-capabilities\"") !=
                  NULL,
              "%s", ready);
    LAB_CHECK(published != NULL && strstr(published, "\"source\":\"client\"") != NULL, "%s",
              published);
}

LAB_TEST(source, without_nf_tables_connections_go_out_through_libslirp)
{
    static const char *const addresses[] = {LAB_FAR_V4, LAB_FAR_V6};

    (void)without_table(lab, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(addresses); i++) {
        int listener = lab_listen(lab, LAB_FAR, addresses[i], 0);
        int guest = lab_connected(lab, LAB_GUEST, addresses[i], lab_port(listener));
        int far = lab_accepted(listener);

        lab_transfer(guest, far, 1 << 20, 1 << 20, 0);
    }
}

LAB_TEST(source, without_nf_tables_tcp_servers_see_the_true_client)
{
    int four = lab_listen(lab, LAB_GUEST, "0.0.0.0", 8000), client, server;
    int six = lab_listen(lab, LAB_GUEST, "::", 8000);

    (void)without_table(lab, "-p 8080:8000");
    is_true(lab, LAB_FAR, LAB_HOST_V4, four);
    is_true(lab, LAB_FAR, LAB_HOST_V6, six);
    is_seen_as(lab, LAB_RUNTIME, "127.0.0.1", four, LAB_GATEWAY_V4);
    is_seen_as(lab, LAB_RUNTIME, "::1", six, LAB_GATEWAY_V6);
    client = lab_connected(lab, LAB_FAR, LAB_HOST_V4, 8080);
    server = lab_accepted(four);
    lab_transfer(client, server, 8 << 20, 8 << 20, 0);
    client = lab_connected(lab, LAB_FAR, LAB_HOST_V6, 8080);
    server = lab_accepted(six);
    lab_transfer(client, server, 8 << 20, 8 << 20, 0);
}

LAB_TEST(source, without_nf_tables_udp_servers_see_the_true_client)
{
    int four = lab_udp(lab, LAB_GUEST, "0.0.0.0", 5000), six = lab_udp(lab, LAB_GUEST, "::", 5000);
    int client;

    (void)without_table(lab, "-p 5353:5000/udp");
    client = lab_udp_connected(lab, LAB_FAR, LAB_HOST_V4, 5353);
    datagram(client, four, name_of(client));
    datagram(client, four, name_of(client));
    client = lab_udp_connected(lab, LAB_FAR, LAB_HOST_V6, 5353);
    datagram(client, six, name_of(client));
    datagram(client, six, name_of(client));
    datagram(lab_udp_connected(lab, LAB_RUNTIME, "127.0.0.1", 5353), four, NULL);
}

LAB_TEST(source, without_nf_tables_a_required_fast_path_is_an_error)
{
    const LabCause cause = {
        SALLYPORT_CODE_FAST_PATH, "EPROTONOSUPPORT", {"--fast-path require", "nf_tables"}};
    g_autofree char *before = NULL;
    LabRaw *raw;

    without_nf_tables();
    before = lab_traces(lab);
    raw = lab_raw_line(lab, NULL, "--fast-path=require %d", lab_pid(lab, LAB_GUEST));
    lab_raw_expect_refusal(raw, 1, &cause, 1);
    lab_traces_expect(lab, before, 0);
    lab_raw_free(raw);
}

LAB_TEST(source, without_nf_tables_a_clean_end_leaves_nothing_in_the_guest)
{
    static const char command[] = "ip rule; ip -6 rule; cat /proc/sys/net/ipv4/tcp_fwmark_accept";
    LabOutput before = {NULL, NULL}, after = {NULL, NULL};

    LAB_ASSERT_EQ(lab_exec(lab, LAB_GUEST, &before, "sh", "-c", command, NULL), 0);
    lab_helper_stop(without_table(lab, NULL));
    LAB_ASSERT_EQ(lab_exec(lab, LAB_GUEST, &after, "sh", "-c", command, NULL), 0);
    LAB_CHECK(strcmp(before.out, after.out) == 0, "before:\n%s\nafter:\n%s", before.out, after.out);
    lab_output_clear(&before);
    lab_output_clear(&after);
}
