/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_guest.c - every way to a guest, and what its interface looks like when ready
 */
#include "config.h"

#include <fcntl.h>
#include <glib.h>
#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "lab_raw.h"
#include "lab_test.h"

/* TCP out, by the families that should work. */
static void reaches(Lab *lab, LabPlace guest, bool ipv6)
{
    static const char *const addresses[] = {LAB_FAR_V4, LAB_FAR_V6};

    for (size_t i = 0; i < (ipv6 ? 2 : 1); i++) {
        int listener = lab_listen(lab, LAB_FAR, addresses[i], 0);
        int client = lab_connected(lab, guest, addresses[i], lab_port(listener));
        int server = lab_accepted(listener);

        lab_say(client, server, "there");
        lab_say(server, client, "back");
        close(client);
        close(server);
        close(listener);
    }
}

static char *guest_says(Lab *lab, const char *command)
{
    LabOutput output = {NULL, NULL};

    LAB_CHECK(lab_exec(lab, LAB_GUEST, &output, "sh", "-c", command, NULL) == 0, "%s: %s", command,
              output.err);
    g_free(output.err);
    return output.out;
}

static void shows(Lab *lab, const char *command, const char *wanted)
{
    g_autofree char *out = guest_says(lab, command);

    LAB_CHECK(strstr(out, wanted) != NULL, "no '%s' in %s:\n%s", wanted, command, out);
}

static void shows_not(Lab *lab, const char *command, const char *unwanted)
{
    g_autofree char *out = guest_says(lab, command);

    LAB_CHECK(strstr(out, unwanted) == NULL, "'%s' in %s:\n%s", unwanted, command, out);
}

static LabRaw *ready(Lab *lab, const char *words)
{
    LabRaw *raw = lab_raw_line(lab, NULL, "%s%d", words, (int)lab_pid(lab, LAB_GUEST));

    lab_raw_ready(raw);
    return raw;
}

static void stop(LabRaw *raw)
{
    LAB_ASSERT_CALL(kill(lab_raw_pid(raw), SIGTERM));
    lab_raw_expect_end(raw, 0, SALLYPORT_REASON_SIGNAL);
    lab_raw_free(raw);
}

/* ---- ways to it ---- */

static void way_works(Lab *lab, const LabRawSetup *setup, const char *line)
{
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = lab_raw_line(lab, setup, "-p 8080:80 %s", line);

    lab_raw_ready(raw);
    reaches(lab, LAB_GUEST, true);
    stop(raw);
    lab_traces_expect(lab, before, 0);
}

LAB_TEST(guest, pid_leads_to_it)
{
    g_autofree char *line = g_strdup_printf("%d", (int)lab_pid(lab, LAB_GUEST));

    way_works(lab, NULL, line);
}

LAB_TEST(guest, paths_lead_to_it)
{
    int pid = (int)lab_pid(lab, LAB_GUEST);
    g_autofree char *net = g_strdup_printf("--netns=/proc/%d/ns/net", pid);
    g_autofree char *both = g_strdup_printf("%s --userns=/proc/%d/ns/user", net, pid);

    way_works(lab, NULL, net);
    way_works(lab, NULL, both);
}

LAB_TEST(guest, bind_mounted_paths_lead_to_it)
{
    const char *net = lab_path(lab, "net"), *user = lab_path(lab, "user");
    int pid = (int)lab_pid(lab, LAB_GUEST);
    g_autofree char *net_source = g_strdup_printf("/proc/%d/ns/net", pid);
    g_autofree char *user_source = g_strdup_printf("/proc/%d/ns/user", pid);
    g_autofree char *line = g_strdup_printf("--netns %s --userns %s", net, user);

    lab_write_file(net, "");
    lab_write_file(user, "");
    lab_mount_over(lab, net_source, net);
    lab_mount_over(lab, user_source, user);
    way_works(lab, NULL, line);
}

LAB_TEST(guest, fds_lead_to_it)
{
    LabRawSetup setup = {.fds = {lab_netns(lab, LAB_GUEST), lab_userns(lab, LAB_GUEST)},
                         .fd_count = 2};

    way_works(lab, &setup, "--netns-fd=10");
    way_works(lab, &setup, "--netns-fd=10 --userns-fd=11");
}

LAB_TEST(guest, builder_of_the_library_leads_to_it_in_every_way)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/ns/net", (int)lab_pid(lab, LAB_GUEST));

    for (int way = 0; way < 3; way++) {
        SallyportBuilder *builder = lab_helper_builder(lab);
        int result = -1;

        if (way == 0)
            result = sallyport_builder_set_pid(builder, lab_pid(lab, LAB_GUEST));
        else if (way == 1)
            result = sallyport_builder_set_netns_path(builder, path, NULL);
        else
            result = sallyport_builder_set_netns_fd(builder, lab_netns(lab, LAB_GUEST),
                                                    lab_userns(lab, LAB_GUEST));
        LAB_ASSERT_EQ(result, 0);
        LabHelper *helper = lab_helper_spawn_builder(lab, builder);
        lab_helper_wait_ready(helper);
        reaches(lab, LAB_GUEST, true);
        lab_helper_stop(helper);
    }
}

LAB_TEST(guest, guest_of_our_own_user_namespace_works, .guest_userns_initial = true)
{
    g_autofree char *line = g_strdup_printf("%d", (int)lab_pid(lab, LAB_GUEST));

    way_works(lab, NULL, line);
}

LAB_TEST(guest, two_guests_at_once_have_two_networks)
{
    LabPlace second = lab_guest_new(lab);
    const char *const words[] = {NULL};

    (void)lab_helper(lab, NULL);
    (void)lab_helper_for(lab, second, words);
    reaches(lab, LAB_GUEST, true);
    reaches(lab, second, true);
}

LAB_TEST(guest, two_interfaces_of_one_guest_work_side_by_side)
{
    LabRaw *first = ready(lab, "");
    LabRaw *second = ready(lab, "--ifname=tap1 --cidr=10.0.3.0/24 --cidr6=fd01::/64 ");

    shows(lab, "ip -o -4 address show dev tap1", "10.0.3.100/24");
    /* Both want to be the default; the first stays it. */
    shows(lab, "ip route", "default via 10.0.2.2");
    LAB_ASSERT_EQ(lab_raw_count(second, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_CONFIGURE), 2);
    reaches(lab, LAB_GUEST, true);
    stop(second);
    reaches(lab, LAB_GUEST, true);
    stop(first);
}

/* ---- an interface that was there ---- */

LAB_TEST(guest, persistent_tap_is_attached_and_stays)
{
    lab_do(lab, LAB_GUEST, "ip tuntap add dev tap0 mode tap");
    g_autofree char *before = lab_traces(lab);
    for (int round = 0; round < 2; round++) {
        LabRaw *raw = ready(lab, "");

        shows(lab, "ip -o -4 address show dev tap0", "10.0.2.100/24");
        shows(lab, "ip -o link show dev tap0", "mtu 65520");
        reaches(lab, LAB_GUEST, true);
        stop(raw);
        lab_traces_expect(lab, before, 0);
    }
}

LAB_TEST(guest, persistent_tap_of_a_name_of_its_own_is_attached)
{
    lab_do(lab, LAB_GUEST, "ip tuntap add dev net5 mode tap");
    LabRaw *raw = ready(lab, "--ifname=net5 --mac=02:00:00:00:00:05 ");
    shows(lab, "ip -o link show dev net5", "02:00:00:00:00:05");
    reaches(lab, LAB_GUEST, true);
    stop(raw);
}

LAB_TEST(guest, no_configure_leaves_addresses_to_others)
{
    LabRaw *raw = ready(lab, "--no-configure ");

    shows(lab, "ip -o link show dev tap0", "state DOWN");
    shows_not(lab, "ip -o address show dev tap0", "inet");
    shows(lab, "ip -o link show dev lo", "state DOWN");
    lab_do(lab, LAB_GUEST, "ip link set tap0 up mtu 1500");
    lab_do(lab, LAB_GUEST, "ip address add 10.0.2.100/24 dev tap0");
    lab_do(lab, LAB_GUEST, "ip -6 address add fd00::64/64 dev tap0 nodad");
    lab_do(lab, LAB_GUEST, "ip route add default via 10.0.2.2");
    lab_do(lab, LAB_GUEST, "ip -6 route add default via fd00::2 dev tap0");
    reaches(lab, LAB_GUEST, true);
    stop(raw);
}

/* ---- what it looks like ---- */

/* What "ip -j" says about an interface: one key of the first object. */
static char *ip_value(Lab *lab, const char *command, const char *key)
{
    g_autofree char *out = guest_says(lab, command);
    json_t *all = json_loads(out, 0, NULL), *value;
    char *text = NULL;

    LAB_CHECK(json_is_array(all), "%s: %s", command, out);
    value = json_object_get(json_array_get(all, 0), key);
    if (json_is_string(value))
        text = g_strdup(json_string_value(value));
    else if (value != NULL)
        text = json_dumps(value, JSON_ENCODE_ANY);
    json_decref(all);
    return text;
}

static void ip_shows(Lab *lab, const char *command, const char *key, const char *wanted)
{
    g_autofree char *value = ip_value(lab, command, key);

    LAB_CHECK(g_strcmp0(value, wanted) == 0, "%s: %s is %s, wanted %s", command, key, value,
              wanted);
}

LAB_TEST(guest, defaults_are_as_documented)
{
    LabRaw *raw = ready(lab, "");

    ip_shows(lab, "ip -j link show dev tap0", "mtu", "65520");
    ip_shows(lab, "ip -j link show dev tap0", "link_type", "ether");
    ip_shows(lab, "ip -j route show default", "gateway", "10.0.2.2");
    ip_shows(lab, "ip -j route show default", "dev", "tap0");
    ip_shows(lab, "ip -j -6 route show default", "gateway", "fd00::2");
    shows(lab, "ip -o -4 address show dev tap0", "10.0.2.100/24");
    shows(lab, "ip -o -6 address show dev tap0", "fd00::64/64");
    shows(lab, "ip -o link show dev lo", "LOWER_UP");
    stop(raw);
}

/* Otherwise its kernel asks for them again every few seconds of traffic that they carry no answer to. */
LAB_TEST(guest, gateway_and_name_server_are_known_for_good_and_as_they_answer)
{
    static const struct {
        const char *address, *lladdr;
    } us[] = {
        {"10.0.2.2", "lladdr 52:55:0a:00:02:02"},
        {"10.0.2.3", "lladdr 52:55:0a:00:02:03"},
        {"fd00::2", "lladdr 52:56:00:00:00:02"},
        {"fd00::3", "lladdr 52:56:00:00:00:03"},
    };
    LabRaw *raw = ready(lab, "");

    for (size_t i = 0; i < G_N_ELEMENTS(us); i++) {
        g_autofree char *show = g_strdup_printf("ip neigh show to %s", us[i].address);
        g_autofree char *forget = g_strdup_printf("ip neigh del %s dev tap0", us[i].address);
        g_autofree char *ask = g_strdup_printf("ping -c 1 -W 5 %s", us[i].address);
        g_autofree char *nothing = NULL, *echo = NULL;

        shows(lab, show, us[i].lladdr);
        shows(lab, show, "PERMANENT");
        nothing = guest_says(lab, forget);
        echo = guest_says(lab, ask);
        shows(lab, show, us[i].lladdr);
        shows_not(lab, show, "PERMANENT");
    }
    stop(raw);
}

LAB_TEST(guest, name_mtu_and_link_address_are_as_asked)
{
    static const char *const mtus[] = {"68", "576", "1280", "1500", "9000", "65521"};
    LabRaw *raw = ready(lab, "--ifname=fifteen-letters --mac=02:aa:bb:cc:dd:ee ");

    ip_shows(lab, "ip -j link show dev fifteen-letters", "address", "02:aa:bb:cc:dd:ee");
    stop(raw);
    for (size_t i = 0; i < G_N_ELEMENTS(mtus); i++) {
        g_autofree char *words = g_strdup_printf("--mtu=%s ", mtus[i]);

        raw = ready(lab, words);
        ip_shows(lab, "ip -j link show dev tap0", "mtu", mtus[i]);
        LAB_CHECK(lab_record_has(lab_raw_await(raw, SALLYPORT_EVENT_READY, 0), "mtu", mtus[i]),
                  "mtu in the ready record");
        reaches(lab, LAB_GUEST, false);
        stop(raw);
    }
}

LAB_TEST(guest, networks_are_as_asked)
{
    static const struct {
        const char *cidr, *cidr6, *address, *address6, *gateway, *gateway6;
    } rows[] = {
        {"10.0.0.0/8", "fd07::/32", "10.0.0.100/8", "fd07::64/32", "10.0.0.2", "fd07::2"},
        {"172.30.7.0/25", "fd00:1:2:3::/120", "172.30.7.100/25", "fd00:1:2:3::64/120", "172.30.7.2",
         "fd00:1:2:3::2"},
        {"100.64.0.0/10", "fc00::/7", "100.64.0.100/10", "fc00::64/7", "100.64.0.2", "fc00::2"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *words =
            g_strdup_printf("--cidr=%s --cidr6=%s ", rows[i].cidr, rows[i].cidr6);
        LabRaw *raw = ready(lab, words);

        shows(lab, "ip -o -4 address show dev tap0", rows[i].address);
        shows(lab, "ip -o -6 address show dev tap0", rows[i].address6);
        ip_shows(lab, "ip -j route show default", "gateway", rows[i].gateway);
        ip_shows(lab, "ip -j -6 route show default", "gateway", rows[i].gateway6);
        reaches(lab, LAB_GUEST, true);
        stop(raw);
    }
}

LAB_TEST(guest, no_address_is_tentative_at_ready)
{
    for (int round = 0; round < 10; round++) {
        LabRaw *raw = ready(lab, "");

        shows_not(lab, "ip -o -6 address", "tentative");
        shows(lab, "ip -o -6 address show dev tap0 scope link", "fe80::");
        stop(raw);
    }
}

/* ---- IPv4 alone ---- */

/* Ready, one warning about IPv6 (or none), and no IPv6 anywhere. */
static void ipv4_alone(Lab *lab, const char *words, unsigned warnings)
{
    LabRaw *raw = ready(lab, words);
    unsigned got = lab_raw_count(raw, SALLYPORT_EVENT_LOG, NULL);

    LAB_CHECK(got == warnings, "%u log records, wanted %u", got, warnings);
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_IPV6), warnings);
    if (warnings > 0)
        LAB_ASSERT(lab_record_has(lab_raw_await(raw, SALLYPORT_EVENT_LOG, 0), "level", "warning"));
    LAB_CHECK(
        lab_record_has(lab_raw_await(raw, SALLYPORT_EVENT_READY, 0), "guest", "[\"10.0.2.100\"]"),
        "%s", lab_raw_await(raw, SALLYPORT_EVENT_READY, 0));
    shows_not(lab, "ip -o -6 address show dev tap0", "fd00::64");
    shows_not(lab, "ip -6 route", "default");
    reaches(lab, LAB_GUEST, false);
    stop(raw);
}

static void refuses(Lab *lab, const char *words, const char *code)
{
    const LabCause cause = {code, NULL, {"--cidr6"}};
    g_autofree char *before = lab_traces(lab);
    LabRaw *raw = lab_raw_line(lab, NULL, "%s%d", words, (int)lab_pid(lab, LAB_GUEST));

    lab_raw_expect_refusal(raw, 1, &cause, 1);
    lab_traces_expect(lab, before, 0);
    lab_raw_free(raw);
}

LAB_TEST(guest, no_ipv6_is_ipv4_alone_without_a_word)
{
    ipv4_alone(lab, "--no-ipv6 ", 0);
    shows_not(lab, "ip -o -6 address", "fe80");
}

LAB_TEST(guest, ipv6_refused_by_default_is_one_warning_or_with_cidr6_an_error)
{
    lab_sysctl(lab, LAB_GUEST, "net/ipv6/conf/default/disable_ipv6", "1");
    ipv4_alone(lab, "", 1);
    ipv4_alone(lab, "--no-ipv6 ", 0);
    refuses(lab, "--cidr6=fd00::/64 ", SALLYPORT_CODE_IPV6);
}

LAB_TEST(guest, ipv6_refused_everywhere_is_one_warning_or_with_cidr6_an_error)
{
    lab_sysctl(lab, LAB_GUEST, "net/ipv6/conf/all/disable_ipv6", "1");
    ipv4_alone(lab, "", 1);
    refuses(lab, "--cidr6=fd00::/64 ", SALLYPORT_CODE_IPV6);
}

LAB_TEST(guest, mtu_below_1280_is_one_warning_or_with_cidr6_an_error)
{
    ipv4_alone(lab, "--mtu=1279 ", 1);
    ipv4_alone(lab, "--mtu=68 ", 1);
    ipv4_alone(lab, "--mtu=1279 --no-ipv6 ", 0);
    refuses(lab, "--mtu=1279 --cidr6=fd00::/64 ", SALLYPORT_CODE_OPTION);
}

/* ---- a guest that has routes already ---- */

LAB_TEST(guest, default_route_that_is_there_is_left_with_a_warning)
{
    lab_do(lab, LAB_GUEST, "ip link set lo up");
    lab_do(lab, LAB_GUEST, "ip route add default dev lo");
    LabRaw *raw = ready(lab, "");
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_CONFIGURE), 1);
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_LOG, NULL), 1);
    LAB_CHECK(lab_record_has(lab_raw_await(raw, SALLYPORT_EVENT_LOG, 0), "level", "warning"), "%s",
              lab_raw_await(raw, SALLYPORT_EVENT_LOG, 0));
    ip_shows(lab, "ip -j route show default", "dev", "lo");
    stop(raw);
    lab_do(lab, LAB_GUEST, "ip -6 route add default dev lo");
    raw = ready(lab, "");
    LAB_ASSERT_EQ(lab_raw_count(raw, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_CONFIGURE), 2);
    ip_shows(lab, "ip -j -6 route show default", "dev", "lo");
    stop(raw);
}
