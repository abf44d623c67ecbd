/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_hostfwd.c - requests of slirp4netns's API socket, and the words for what is wrong with them
 */
#include "config.h"

#include "control/hostfwd.h"

#include <string.h>

#include <criterion/criterion.h>

#define ADD(arguments)    "{\"execute\":\"add_hostfwd\",\"arguments\":{" arguments "}}"
#define REMOVE(arguments) "{\"execute\":\"remove_hostfwd\",\"arguments\":{" arguments "}}"

static HostFwd parsed(const char *text)
{
    HostFwd ret;

    hostfwd_parse(text, strlen(text), true, &ret);
    cr_expect_eq(ret.command == HOSTFWD_WRONG, ret.wrong != NULL, "%s", text);
    return ret;
}

Test(hostfwd, what_callers_send_becomes_a_port_map)
{
    static const struct {
        const char *text;
        const char *spec;
    } rows[] = {
        {ADD("\"proto\":\"tcp\",\"host_addr\":\"0.0.0.0\",\"host_port\":8080,"
             "\"guest_addr\":\"10.0.2.100\",\"guest_port\":80"),
         "0.0.0.0:8080:10.0.2.100:80/tcp"},
        /* podman: an empty address is the guest's own; and a newline */
        {ADD("\"proto\":\"udp\",\"host_addr\":\"\",\"host_port\":53,\"guest_addr\":\"\","
             "\"guest_port\":53") "\n",
         "0.0.0.0:53:53/udp"},
        {ADD("\"proto\":\"tcp\",\"host_port\":1,\"guest_port\":65535"), "0.0.0.0:1:65535/tcp"},
        {ADD("\"proto\":\"tcp\",\"host_port\":80.0,\"guest_port\":8e1,\"other\":[]"),
         "0.0.0.0:80:80/tcp"},
        {ADD("\"proto\":\"tcp\",\"host_port\":0,\"guest_port\":80"), "0.0.0.0:0:80/tcp"},
        {ADD("\"proto\":\"tcp\",\"host_addr\":\"::1\",\"host_port\":8080,"
             "\"guest_addr\":\"fd00::64\",\"guest_port\":80"),
         "[::1]:8080:[fd00::64]:80/tcp"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        HostFwd add = parsed(rows[i].text);
        g_autofree char *spec = NULL;

        cr_assert_eq(add.command, HOSTFWD_ADD, "%s: %s", rows[i].text, add.wrong);
        spec = hostfwd_spec(&add);
        cr_expect_str_eq(spec, rows[i].spec);
    }
}

Test(hostfwd, list_and_remove_are_understood)
{
    HostFwd remove = parsed(REMOVE("\"id\":4294967295"));

    cr_expect_eq(parsed("{\"execute\":\"list_hostfwd\"}").command, HOSTFWD_LIST);
    cr_expect_eq(remove.command, HOSTFWD_REMOVE);
    cr_expect_eq(remove.id, UINT32_MAX);
}

static const char *wrong(const char *text)
{
    HostFwd ret = parsed(text);

    return ret.wrong != NULL ? ret.wrong : "";
}

Test(hostfwd, faults_are_told_in_slirp4netnss_words)
{
    static const struct {
        const char *text;
        const char *wrong;
    } rows[] = {
        {"", "cannot parse JSON"},
        {"\n", "cannot parse JSON"},
        {"x", "cannot parse JSON"},
        {"{", "cannot parse JSON"},
        {"{}}", "cannot parse JSON"},
        {"{\"execute\":\"list_hostfwd\",\"execute\":\"list_hostfwd\"}", "cannot parse JSON"},
        {"{\"execute\":\"\xff\"}", "cannot parse JSON"},
        {"{\"execute\":\"list\\u0000\"}", "cannot parse JSON"},
        {"NaN", "cannot parse JSON"},
        {"1e999", "cannot parse JSON"},
        {"[]", "json_object() failed"},
        {"1", "json_object() failed"},
        {"null", "json_object() failed"},
        {"{}", "no execute found"},
        {"{\"execute\":null}", "no execute found"},
        {"{\"execute\":1}", "no execute found"},
        {"{\"execute\":{}}", "no execute found"},
        {"{\"execute\":\"\"}", "unknown execute"},
        {"{\"execute\":\"add\"}", "unknown execute"},
        {"{\"execute\":\"add_hostfwd\"}", "add_hostfwd: bad arguments.proto"},
        {"{\"execute\":\"add_hostfwd\",\"arguments\":null}", "add_hostfwd: bad arguments.proto"},
        {"{\"execute\":\"add_hostfwd\",\"arguments\":[]}", "add_hostfwd: bad arguments.proto"},
        {ADD(""), "add_hostfwd: bad arguments.proto"},
        {ADD("\"proto\":null"), "add_hostfwd: bad arguments.proto"},
        {ADD("\"proto\":\"sctp\""), "add_hostfwd: bad arguments.proto"},
        {ADD("\"proto\":\"tcp\""), "add_hostfwd: bad arguments.host_port"},
        {ADD("\"proto\":\"tcp\",\"host_addr\":null"), "add_hostfwd: bad arguments.host_addr"},
        {ADD("\"proto\":\"tcp\",\"host_addr\":1"), "add_hostfwd: bad arguments.host_addr"},
        {ADD("\"proto\":\"tcp\",\"host_addr\":\"localhost\""),
         "add_hostfwd: bad arguments.host_addr"},
        {ADD("\"proto\":\"tcp\",\"host_addr\":\"1.2.3\""), "add_hostfwd: bad arguments.host_addr"},
        {ADD("\"proto\":\"tcp\",\"host_port\":80,\"guest_addr\":[],\"guest_port\":80"),
         "add_hostfwd: bad arguments.guest_addr"},
        {ADD("\"proto\":\"tcp\",\"host_port\":80,\"guest_port\":0"),
         "add_hostfwd: bad arguments.guest_port"},
        {ADD("\"proto\":\"tcp\",\"host_port\":80"), "add_hostfwd: bad arguments.guest_port"},
        {"{\"execute\":\"remove_hostfwd\"}", "remove_hostfwd: bad arguments.id"},
        {REMOVE(""), "remove_hostfwd: bad arguments.id"},
        {REMOVE("\"id\":0"), "remove_hostfwd: bad arguments.id"},
        {REMOVE("\"id\":-1"), "remove_hostfwd: bad arguments.id"},
        {REMOVE("\"id\":\"1\""), "remove_hostfwd: bad arguments.id"},
        {REMOVE("\"id\":1.5"), "remove_hostfwd: bad arguments.id"},
        {REMOVE("\"id\":4294967296"), "remove_hostfwd: bad arguments.id"},
        {REMOVE("\"id\":1e308"), "remove_hostfwd: bad arguments.id"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        cr_expect_str_eq(wrong(rows[i].text), rows[i].wrong, "%s: %s", rows[i].text,
                         wrong(rows[i].text));
    }
}

Test(hostfwd, ipv6_is_taken_only_where_it_is_asked_for)
{
    static const struct {
        const char *text;
        const char *wrong;
    } rows[] = {
        {ADD("\"proto\":\"tcp\",\"host_addr\":\"::1\",\"host_port\":8080,\"guest_port\":80"),
         "add_hostfwd: bad arguments.host_addr"},
        {ADD("\"proto\":\"udp\",\"host_addr\":\"::\",\"host_port\":8080,\"guest_port\":80"),
         "add_hostfwd: bad arguments.host_addr"},
        {ADD("\"proto\":\"tcp\",\"host_port\":8080,\"guest_addr\":\"fd00::64\","
             "\"guest_port\":80"),
         "add_hostfwd: bad arguments.guest_addr"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        HostFwd add;

        hostfwd_parse(rows[i].text, strlen(rows[i].text), false, &add);
        cr_expect_eq(add.command, HOSTFWD_WRONG, "%s", rows[i].text);
        cr_expect_str_eq(add.wrong, rows[i].wrong, "%s: %s", rows[i].text, add.wrong);
        cr_expect_eq(parsed(rows[i].text).command, HOSTFWD_ADD, "%s", rows[i].text);
    }
}

Test(hostfwd, ports_out_of_range_are_not_cut_down_to_others)
{
    static const char *const ports[] = {"-1",   "65616",  "65536", "1e308", "-0.5", "80.5",
                                        "null", "\"80\"", "true",  "[80]",  NULL};

    for (size_t i = 0; ports[i] != NULL; i++) {
        g_autofree char *host =
            g_strdup_printf(ADD("\"proto\":\"tcp\",\"host_port\":%s,\"guest_port\":80"), ports[i]);
        g_autofree char *guest =
            g_strdup_printf(ADD("\"proto\":\"tcp\",\"host_port\":80,\"guest_port\":%s"), ports[i]);

        cr_expect_str_eq(wrong(host), "add_hostfwd: bad arguments.host_port", "%s", ports[i]);
        cr_expect_str_eq(wrong(guest), "add_hostfwd: bad arguments.guest_port", "%s", ports[i]);
    }
}

static size_t frame(const char *text, bool ended)
{
    return hostfwd_frame(text, strlen(text), ended);
}

Test(hostfwd, request_is_whole_when_its_value_is)
{
    cr_expect_eq(frame("", false), 0);
    cr_expect_eq(frame("{\"execute\":\"list_host", false), 0, "it may come in pieces");
    cr_expect_eq(frame("{\"execute\":\"list_hostfwd\"}", false), 26);
    cr_expect_eq(frame("{\"execute\":\"list_hostfwd\"}\n", false), 27);
    cr_expect_eq(frame("{\"execute\":\"list_host", true), 21, "no more will come");
    cr_expect_eq(frame("garbage", false), 7, "nothing makes that JSON");
}

Test(hostfwd, nesting_of_four_thousand_is_answered)
{
    g_autofree char *deep = g_strnfill(4000, '[');

    cr_expect_eq(hostfwd_frame(deep, 4000, false), 4000);
    cr_expect_str_eq(wrong(deep), "cannot parse JSON");
}
