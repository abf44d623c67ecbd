/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_takeover.c - the fast path outwards: who carries a connection, and that nobody can tell otherwise
 *
 * What went over the TAP tells who carried it: a connection that was taken over leaves one SYN there.
 */
#include "config.h"

#include <errno.h>
#include <glib.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab_helper.h"
#include "lab_test.h"

/* All helpers of this program, unless the caller's environment says otherwise; a later option of a test's own wins. */
static void __attribute__((constructor)) fast_path_on(void)
{
    (void)g_setenv("SALLYPORT_LAB_OPTIONS", "--fast-path=auto", FALSE);
}

#define MIB (1024 * 1024)
/* Name resolution of neighbours, SYNs: what a connection taken over may leave on the TAP. */
#define FEW_BYTES 20000

static const char *const far_addresses[] = {LAB_FAR_V4, LAB_FAR_V6};

#define EACH_FAMILY(address)                                                                       \
    for (size_t each_ = 0; each_ < G_N_ELEMENTS(far_addresses); each_++)                           \
        for (const char *address = far_addresses[each_]; address != NULL; address = NULL)

/* ---- looking at the guest ---- */

static char *guest_says(Lab *lab, const char *command)
{
    LabOutput output = {NULL, NULL};
    char *text;

    LAB_CHECK(lab_exec(lab, LAB_GUEST, &output, "sh", "-c", command, NULL) == 0, "%s: %s", command,
              output.err);
    text = g_strdup(output.out);
    lab_output_clear(&output);
    return text;
}

static void guest_firewall(Lab *lab, const char *rules)
{
    const char *path = lab_path(lab, "firewall.nft");

    lab_write_file(path, rules);
    lab_do(lab, LAB_GUEST, "nft -f %s", path);
}

static uint64_t tap_bytes(Lab *lab)
{
    g_autofree char *text =
        guest_says(lab, "awk '/tap0:/ { sub(/.*:/, \"\"); print $1 + $9 }' /proc/net/dev");

    return g_ascii_strtoull(text, NULL, 10);
}

static uint16_t listener_port(Lab *lab)
{
    g_autofree char *text = guest_says(
        lab, "nft list chain inet sallyport p | sed -n 's/.*tproxy to :\\([0-9]*\\).*/\\1/p'");
    uint16_t port = (uint16_t)g_ascii_strtoull(text, NULL, 10);

    LAB_CHECK(port != 0, "no port in '%s'", text);
    return port;
}

typedef struct Ends {
    int guest, far;
} Ends;

/* @source: a port of the guest's, 0: any; @device: bound to it, unless NULL */
static Ends connection_from(Lab *lab, const char *address, uint16_t source, int ttl,
                            const char *device)
{
    bool six = lab_address_is_v6(address);
    int listener = lab_listen(lab, LAB_FAR, address, 0), one = 1;
    struct sockaddr_storage to, from;
    socklen_t to_len = lab_address(&to, address, lab_port(listener));
    socklen_t from_len = lab_address(&from, six ? "::" : "0.0.0.0", source);
    Ends ends = {lab_socket(lab, LAB_GUEST, six ? AF_INET6 : AF_INET, SOCK_STREAM, 0), -1};

    LAB_ASSERT_CALL(ends.guest);
    LAB_ASSERT_CALL(setsockopt(ends.guest, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    if (ttl != 0)
        LAB_ASSERT_CALL(
            six ? setsockopt(ends.guest, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &ttl, sizeof ttl)
                : setsockopt(ends.guest, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl));
    if (device != NULL)
        LAB_ASSERT_CALL(
            setsockopt(ends.guest, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)));
    LAB_ASSERT_CALL(bind(ends.guest, (struct sockaddr *)&from, from_len));
    LAB_CHECK(connect(ends.guest, (struct sockaddr *)&to, to_len) == 0, "connect to %s: %s",
              address, strerror(errno));
    ends.far = lab_accepted(listener);
    close(listener);
    return ends;
}

static Ends connection(Lab *lab, const char *address)
{
    return connection_from(lab, address, 0, 0, NULL);
}

static void ends_close(Ends ends)
{
    close(ends.guest);
    close(ends.far);
}

/* One MiB to the far machine and its FIN; says whether the guest's kernel carried it. */
static bool carries(Lab *lab, Ends ends)
{
    uint64_t before = tap_bytes(lab);

    lab_transfer(ends.guest, ends.far, MIB, MIB, 0);
    ends_close(ends);
    return tap_bytes(lab) - before < FEW_BYTES;
}

static void is_fast(Lab *lab)
{
    EACH_FAMILY(address)
    LAB_CHECK(carries(lab, connection(lab, address)), "%s: went over the TAP", address);
}

/* Within a second: what was lost is being made again. */
static void becomes_fast(Lab *lab)
{
    int64_t end = lab_now() + LAB_MS(1000);

    EACH_FAMILY(address)
    while (!carries(lab, connection(lab, address)))
        LAB_CHECK(lab_now() < end, "%s: still goes over the TAP", address);
}

/* By whomever. The far machine may see one more connection, closed at once: takeover's, before libslirp got the SYN. */
static void is_served(Lab *lab)
{
    EACH_FAMILY(address)
    {
        int listener = lab_listen(lab, LAB_FAR, address, 0), fd;
        uint16_t port = lab_port(listener);
        char text[6] = "";

        (void)lab_serve_tcp(lab, listener, LAB_ECHO);
        fd = lab_connected(lab, LAB_GUEST, address, port);
        lab_send(fd, "hello", 5);
        lab_recv(fd, text, 5);
        LAB_ASSERT(strcmp(text, "hello") == 0);
        close(fd);
    }
}

static LabHelper *fast_helper(Lab *lab)
{
    return lab_helper(lab, "--fast-path=require", NULL);
}

/* ---- begin and end ---- */

LAB_TEST(takeover, ready_record_says_that_it_is_on)
{
    LabHelper *helper = fast_helper(lab);
    const char *ready = lab_helper_await(helper, SALLYPORT_EVENT_READY, NULL, 0);

    LAB_CHECK(ready != NULL && strstr(ready, "\"fast_path\":{\"on\":true,") != NULL, "%s", ready);
}

LAB_TEST(takeover, off_puts_nothing_into_the_guest)
{
    LabHelper *helper = lab_helper(lab, "--fast-path=off", NULL);
    const char *ready = lab_helper_await(helper, SALLYPORT_EVENT_READY, NULL, 0);
    g_autofree char *rules = guest_says(lab, "nft list ruleset; ip rule | grep fwmark || :");

    LAB_CHECK(rules[0] == '\0', "%s", rules);
    LAB_CHECK(ready != NULL && strstr(ready, "\"on\":false") != NULL, "%s", ready);
    is_served(lab);
}

LAB_TEST(takeover, a_clean_end_leaves_nothing_in_the_guest)
{
    static const char command[] =
        "nft list ruleset; ip rule; ip -6 rule; cat /proc/sys/net/ipv4/tcp_fwmark_accept";
    g_autofree char *before = guest_says(lab, command);
    LabHelper *helper = fast_helper(lab);
    g_autofree char *within = guest_says(lab, command);
    g_autofree char *after = NULL;

    LAB_ASSERT(strcmp(before, within) != 0);
    lab_helper_stop(helper);
    after = guest_says(lab, command);
    LAB_CHECK(strcmp(before, after) == 0, "before:\n%s\nafter:\n%s", before, after);
}

LAB_TEST(takeover, the_next_helper_takes_over_what_a_killed_one_left)
{
    LabHelper *helper = fast_helper(lab);
    int status;

    LAB_ASSERT_CALL(kill(lab_helper_pid(helper), SIGKILL));
    status = lab_helper_wait_end(helper, LAB_MS(2000));
    LAB_ASSERT(WIFSIGNALED(status));
    /* Its children follow within a second. */
    for (int i = 0; i < 100; i++) {
        g_autofree char *rules =
            guest_says(lab, "nft list ruleset; ip -o link show tap0 2>&1 || :");

        if (strstr(rules, "sallyport") == NULL && strstr(rules, "does not exist") != NULL)
            break;
        g_usleep(20000);
    }
    (void)fast_helper(lab);
    is_fast(lab);
}

/* Owners of tables are known since Linux 5.12. What is left here is not what this helper would make, but has its names. */
LAB_TEST(takeover, leftovers_of_a_kernel_without_owners_are_replaced_and_nothing_stays)
{
    static const char look[] =
        "nft list ruleset; ip rule; ip -6 rule; cat /proc/sys/net/ipv4/tcp_fwmark_accept";
    static const char routes[] = "ip route show table 5480731; ip -6 route show table 5480731";
    g_autofree char *before = guest_says(lab, look);
    g_autofree char *within = NULL, *route = NULL, *after = NULL;
    LabHelper *helper;

    guest_firewall(lab, "table inet sallyport {\n"
                        "chain o { type route hook output priority mangle; meta mark 1 return; }\n"
                        "chain n { type nat hook postrouting priority 90; }\n"
                        "chain old { drop; }\n"
                        "chain p { type filter hook prerouting priority mangle; iif 1 jump old; }\n"
                        "}\n");
    lab_do(lab, LAB_GUEST, "ip link set lo up");
    for (int six = 0; six < 2; six++) {
        const char *ip = six ? "ip -6" : "ip";

        lab_do(lab, LAB_GUEST, "%s rule add fwmark 0x53a11b01 lookup 5480731 priority 100", ip);
        lab_do(lab, LAB_GUEST, "%s route add local default dev lo table 5480731", ip);
    }
    lab_sysctl(lab, LAB_GUEST, "net/ipv4/tcp_fwmark_accept", "1");
    helper = fast_helper(lab);
    is_fast(lab);
    within = guest_says(lab, look);
    LAB_CHECK(strstr(within, "chain old") == NULL && strstr(within, "tproxy") != NULL, "%s",
              within);
    route = guest_says(lab, routes);
    LAB_CHECK(strstr(route, "dev lo") == NULL, "%s", route);
    lab_helper_stop(helper);
    after = guest_says(lab, look);
    LAB_CHECK(strcmp(before, after) == 0, "before:\n%s\nafter:\n%s", before, after);
    g_free(route);
    route = guest_says(lab, "ip route show table all; ip -6 route show table all");
    LAB_CHECK(strstr(route, "5480731") == NULL, "%s", route);
}

LAB_TEST(takeover, a_second_helper_in_one_namespace_falls_back_with_a_record)
{
    static const char *const words[] = {"--fast-path=auto", "--ifname=tap1", "--cidr=10.1.0.0/24",
                                        "--no-ipv6", NULL};
    LabHelper *first = fast_helper(lab), *second;
    const char *record;

    (void)first;
    second = lab_helper_for(lab, LAB_GUEST, words);
    record = lab_helper_await(second, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_FAST_PATH, 0);
    LAB_CHECK(record != NULL && strstr(record, "another helper") != NULL, "%s", record);
    is_fast(lab);
}

/* ---- what connect() means ---- */

LAB_TEST(takeover, sixty_four_mib_go_through_the_guests_kernel, .limit_ms = 60000)
{
    (void)fast_helper(lab);
    EACH_FAMILY(address)
    {
        uint64_t before = tap_bytes(lab);
        Ends up = connection(lab, address), down = connection(lab, address);

        lab_transfer(up.guest, up.far, 64 * MIB, 0, 0);
        lab_transfer(down.guest, down.far, 0, 64 * MIB, 0);
        ends_close(up);
        ends_close(down);
        LAB_CHECK(tap_bytes(lab) - before < FEW_BYTES, "%s: %llu bytes over the TAP", address,
                  (unsigned long long)(tap_bytes(lab) - before));
    }
}

LAB_TEST(takeover, an_mtu_of_1500_is_as_good, .limit_ms = 60000)
{
    (void)lab_helper(lab, "--fast-path=require", "--mtu=1500", NULL);
    is_fast(lab);
    is_fast(lab);
}

LAB_TEST(takeover, both_names_of_the_guests_socket_are_true)
{
    (void)fast_helper(lab);
    EACH_FAMILY(address)
    {
        Ends ends = connection(lab, address);
        struct sockaddr_storage own, peer;
        socklen_t len = sizeof own, peer_len = sizeof peer;
        const char *guest = lab_address_is_v6(address) ? "[" LAB_GUEST_V6 "]:" : LAB_GUEST_V4 ":";

        LAB_ASSERT_CALL(getsockname(ends.guest, (struct sockaddr *)&own, &len));
        LAB_ASSERT_CALL(getpeername(ends.guest, (struct sockaddr *)&peer, &peer_len));
        LAB_CHECK(g_str_has_prefix(lab_address_text(&own), guest), "%s", lab_address_text(&own));
        LAB_CHECK(strstr(lab_address_text(&peer), address) != NULL, "%s", lab_address_text(&peer));
        LAB_ASSERT_EQ(lab_port(ends.far), ntohs(((struct sockaddr_in *)(void *)&peer)->sin_port));
        ends_close(ends);
    }
}

static void connect_fails(Lab *lab, const char *address, int wanted, int at_most_ms)
{
    int64_t begin = lab_now();

    LAB_ASSERT_EQ(lab_connect(lab, LAB_GUEST, address, 81, LAB_MS(at_most_ms)), -1);
    LAB_CHECK(errno == wanted, "%s: %s, wanted %s", address, strerror(errno), strerror(wanted));
    if (wanted != ETIMEDOUT)
        LAB_CHECK(lab_now() - begin < LAB_MS(500), "%s took %d ms", address,
                  (int)(lab_now() - begin));
}

LAB_TEST(takeover, failures_of_connect_are_those_of_a_real_network)
{
    (void)fast_helper(lab);
    lab_do(lab, LAB_HOST, "ip route add unreachable 198.18.0.0/24");
    lab_do(lab, LAB_HOST, "ip route add unreachable 2001:db8:77::/64");
    EACH_FAMILY(address)
    connect_fails(lab, address, ECONNREFUSED, 1000);
    connect_fails(lab, "198.18.0.1", EHOSTUNREACH, 1000);
    connect_fails(lab, "2001:db8:77::1", EHOSTUNREACH, 1000);
    /* FAR forwards nothing: silence. */
    lab_do(lab, LAB_HOST, "ip route add 198.18.1.0/24 via " LAB_FAR_V4);
    connect_fails(lab, "198.18.1.1", ETIMEDOUT, 1500);
}

LAB_TEST(takeover, the_same_five_tuple_is_used_again_at_once)
{
    (void)fast_helper(lab);
    EACH_FAMILY(address)
    for (int i = 0; i < 10; i++) {
        int64_t begin = lab_now();
        Ends ends = connection_from(lab, address, 4444, 0, NULL);

        LAB_CHECK(lab_now() - begin < LAB_MS(300), "round %d took %d ms", i,
                  (int)(lab_now() - begin));
        lab_say(ends.guest, ends.far, "hello");
        lab_reset(ends.guest);
        close(ends.far);
    }
}

/* The guest's end of a connection that was taken over has the far server's port as its own. */
LAB_TEST(takeover, a_far_servers_port_is_free_for_a_server_in_the_guest)
{
    (void)fast_helper(lab);
    EACH_FAMILY(address)
    {
        Ends ends = connection(lab, address);
        struct sockaddr_storage far;
        socklen_t size = sizeof far;
        uint16_t port;
        int server;

        LAB_ASSERT_CALL(getpeername(ends.guest, (struct sockaddr *)&far, &size));
        port = ntohs(((struct sockaddr_in *)&far)->sin_port); /* where sin6_port is, too */
        server = lab_listen(lab, LAB_GUEST, "::", port);
        close(server);
        lab_say(ends.guest, ends.far, "hello");
        LAB_ASSERT(carries(lab, ends));
        server = lab_listen(lab, LAB_GUEST, "::", port);
        close(server);
    }
}

LAB_TEST(takeover, a_socket_bound_to_the_tap_is_taken_over)
{
    (void)fast_helper(lab);
    EACH_FAMILY(address)
    LAB_CHECK(carries(lab, connection_from(lab, address, 0, 0, "tap0")), "%s", address);
}

LAB_TEST(takeover, another_ttl_than_the_guests_own_goes_to_libslirp)
{
    (void)fast_helper(lab);
    EACH_FAMILY(address)
    LAB_CHECK(!carries(lab, connection_from(lab, address, 0, 50, NULL)), "%s", address);
}

/* ---- what the guest's root may do ---- */

LAB_TEST(takeover, a_direct_connection_to_the_listener_is_reset)
{
    (void)fast_helper(lab);
    uint16_t port = listener_port(lab);
    static const char *const addresses[] = {"127.0.0.1", "::1", LAB_GUEST_V4, LAB_GUEST_V6};

    for (size_t i = 0; i < G_N_ELEMENTS(addresses); i++) {
        int fd = lab_connect(lab, LAB_GUEST, addresses[i], port, LAB_MS(1000));

        LAB_CHECK(fd < 0 ? errno == ECONNRESET : lab_wait_end(fd, LAB_MS(1000)) == LAB_END_RESET,
                  "%s", addresses[i]);
        close(fd);
    }
    is_fast(lab);
}

LAB_TEST(takeover, lost_rules_cost_no_connection_and_come_back)
{
    LabHelper *helper = fast_helper(lab);

    lab_do(lab, LAB_GUEST, "ip rule del priority 100");
    lab_do(lab, LAB_GUEST, "ip -6 rule del priority 100");
    is_served(lab);
    LAB_ASSERT(lab_helper_await(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_FAST_PATH,
                                LAB_MS(1000)) != NULL);
    becomes_fast(lab);
}

/* Deletes every entry of the guest's connection tracking: IPCTNL_MSG_CT_DELETE without attributes. */
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

LAB_TEST(takeover, a_flow_survives_a_flush_of_conntrack)
{
    (void)fast_helper(lab);
    EACH_FAMILY(address)
    {
        Ends ends = connection(lab, address);

        lab_say(ends.guest, ends.far, "before");
        LAB_ASSERT_EQ(lab_run(lab, LAB_GUEST, flush_conntrack, NULL, 0), 0);
        lab_say(ends.guest, ends.far, "after");
        LAB_ASSERT_EQ(lab_run(lab, LAB_GUEST, flush_conntrack, NULL, 0), 0);
        lab_say(ends.far, ends.guest, "and back");
        LAB_CHECK(carries(lab, ends), "%s: not back in the kernel", address);
    }
}

LAB_TEST(takeover, a_destroyed_listener_is_replaced)
{
    (void)fast_helper(lab);
    uint16_t port = listener_port(lab);

    lab_do(lab, LAB_GUEST, "ss -K -l -t sport = :%u", port);
    is_served(lab);
    for (int i = 0; i < 50 && listener_port(lab) == port; i++)
        g_usleep(50000);
    LAB_ASSERT(listener_port(lab) != port);
    becomes_fast(lab); /* the datapath hears of it a moment after the guest's kernel */
}

LAB_TEST(takeover, a_destroyed_connection_is_a_reset_at_the_far_end)
{
    (void)fast_helper(lab);
    EACH_FAMILY(address)
    {
        Ends ends = connection(lab, address);

        lab_say(ends.guest, ends.far, "hello");
        lab_do(lab, LAB_GUEST, "ss -K -t dport = :%u", lab_port(ends.far));
        LAB_ASSERT(lab_wait_end(ends.far, LAB_MS(1000)) != LAB_END_NONE);
        ends_close(ends);
    }
    is_fast(lab);
}

LAB_TEST(takeover, masquerade_of_the_guests_own_does_no_harm)
{
    (void)fast_helper(lab);
    guest_firewall(lab, "table inet g { chain p { type nat hook postrouting priority 100;\n"
                        "oifname \"tap0\" masquerade; }\n}\n");
    is_fast(lab);
    guest_firewall(lab, "flush table inet g\ntable inet g { chain p {\n"
                        "oifname \"tap0\" masquerade fully-random; }\n}\n");
    is_fast(lab);
}

LAB_TEST(takeover, a_firewall_that_accepts_lo_does_no_harm)
{
    (void)fast_helper(lab);
    guest_firewall(lab, "table inet g { chain i { type filter hook input priority 0; policy drop;\n"
                        "iif lo accept; ct state established,related accept; meta l4proto "
                        "ipv6-icmp accept; }\n}\n");
    is_fast(lab);
}

LAB_TEST(takeover, a_firewall_that_refuses_lo_leads_to_libslirp)
{
    (void)fast_helper(lab);
    guest_firewall(lab, "table inet g { chain i { type filter hook input priority 0; policy drop;\n"
                        "iif tap0 accept; meta l4proto ipv6-icmp accept; }\n}\n");
    is_served(lab);
}

LAB_TEST(takeover, every_rp_filter_will_do)
{
    (void)fast_helper(lab);
    for (int value = 0; value <= 2; value++) {
        g_autofree char *text = g_strdup_printf("%d", value);

        lab_sysctl(lab, LAB_GUEST, "net/ipv4/conf/all/rp_filter", text);
        lab_sysctl(lab, LAB_GUEST, "net/ipv4/conf/tap0/rp_filter", text);
        lab_sysctl(lab, LAB_GUEST, "net/ipv4/conf/lo/rp_filter", text);
        is_fast(lab);
    }
}

LAB_TEST(takeover, an_address_added_later_is_taken_over)
{
    (void)fast_helper(lab);
    lab_do(lab, LAB_GUEST, "ip address add 10.0.2.150/24 dev tap0");
    lab_do(lab, LAB_GUEST, "ip route change default via 10.0.2.2 src 10.0.2.150");
    is_fast(lab);
}

LAB_TEST(takeover, containers_behind_the_guest_are_served)
{
    static const char *const words[] = {"unshare", "--net", "sleep", "30", NULL};
    LabJob *job;
    int pid;
    LabOutput output = {NULL, NULL};

    (void)fast_helper(lab);
    job = lab_startv(lab, LAB_GUEST, words);
    pid = (int)lab_job_pid(job);
    lab_sysctl(lab, LAB_GUEST, "net/ipv4/ip_forward", "1");
    g_usleep(200000);
    lab_do(lab, LAB_GUEST, "ip link add v0 type veth peer name v1 netns %d", pid);
    lab_do(lab, LAB_GUEST, "ip address add 10.88.0.1/24 dev v0");
    lab_do(lab, LAB_GUEST, "ip link set v0 up");
    guest_firewall(lab, "table inet g { chain p { type nat hook postrouting priority 100;\n"
                        "oifname \"tap0\" masquerade; }\n}\n");
    lab_do(lab, LAB_GUEST, "nsenter -t %d -n ip address add 10.88.0.2/24 dev v1", pid);
    lab_do(lab, LAB_GUEST, "nsenter -t %d -n ip link set v1 up", pid);
    lab_do(lab, LAB_GUEST, "nsenter -t %d -n ip route add default via 10.88.0.1", pid);
    (void)lab_serve_tcp(lab, lab_listen(lab, LAB_FAR, LAB_FAR_V4, 7), LAB_ECHO);
    g_autofree char *command = g_strdup_printf(
        "nsenter -t %d -n bash -c 'exec 3<>/dev/tcp/" LAB_FAR_V4 "/7; echo ok >&3; head -c3 <&3'",
        pid);
    LAB_ASSERT_EQ(lab_exec(lab, LAB_GUEST, &output, "timeout", "5", "sh", "-c", command, NULL), 0);
    LAB_CHECK(strcmp(output.out, "ok\n") == 0, "%s%s", output.out, output.err);
    lab_output_clear(&output);
    lab_job_end(job);
    is_fast(lab);
}
