/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fuzz_control.c - call.c and hostfwd.c: any bytes as a request of the control socket (first byte even) or of slirp4netns's API
 *
 * Oracles:  a request is right or has words for what is wrong; what is right reads the same when it is written again; every reply is
 *           one line of valid JSON with the id that was given; an API request that adds is a port map of those very ports; what is
 *           whole stays whole whatever follows it.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "control/call.h"
#include "control/hostfwd.h"
#include "portmap.h"

#include "bytes.h"
#include "check.h"

static void check_answer(const json_t *id, const char *key, json_t *take_body)
{
    g_autofree char *line = call_answer(id, key, take_body);
    size_t len = strlen(line);
    json_t *answer = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);

    FUZZ_CHECK(answer != NULL, "the reply is no JSON: %s", line);
    FUZZ_CHECK(call_frame(line, len, false) == len, "more or less than one line: %s", line);
    FUZZ_CHECK(id == NULL ? json_is_null(json_object_get(answer, "id"))
                          : json_equal(id, json_object_get(answer, "id")),
               "another id: %s", line);
    json_decref(answer);
}

static void check_again(const Call *call)
{
    json_t *request = json_object();
    g_auto(Call) again = {0};
    char *text;

    if (call->id != NULL) {
        (void)json_object_set(request, "id", call->id);
    }
    (void)json_object_set_new(request, "command", json_string(call->command));
    (void)json_object_set(request, "arguments", call->arguments);
    text = json_dumps(request, JSON_COMPACT);
    call_parse(text, strlen(text), &again);
    FUZZ_CHECK(again.fault == NULL, "%s: %s", text, again.fault);
    FUZZ_CHECK(strcmp(again.command, call->command) == 0 &&
                   json_equal(again.arguments, call->arguments),
               "%s", text);
    free(text);
    json_decref(request);
}

static void check_call(const char *bytes, size_t len)
{
    g_auto(Call) call = {0};
    json_int_t number = -1;

    FUZZ_CHECK(call_frame(bytes, len, false) <= len, "longer than it is");
    call_parse(bytes, len, &call);
    FUZZ_CHECK((call.fault == NULL) == (call.command != NULL), "neither right nor wrong");
    if (call.fault != NULL) {
        FUZZ_CHECK(call.fault[0] != '\0', "no words");
        check_answer(call.id, "error", call_text(call.fault));
        return;
    }
    FUZZ_CHECK(json_is_object(call.arguments), "no arguments");
    (void)call_unknown_key(call.arguments, NULL);
    if (call_integer(call.arguments, "publication", 1, UINT32_MAX, &number)) {
        FUZZ_CHECK(number >= 1 && number <= UINT32_MAX, "publication");
    }
    check_answer(call.id, "return", json_incref(call.arguments));
    check_again(&call);
}

static void check_add(const HostFwd *add)
{
    g_autofree char *spec = hostfwd_spec(add);
    g_autoptr(GError) error = NULL;
    g_autoptr(PortMap) map = portmap_parse(spec, &error);
    unsigned wanted = add->host_addr.family == AF_INET6 ? (add->udp ? PORTMAP_UDP6 : PORTMAP_TCP6)
                                                        : (add->udp ? PORTMAP_UDP4 : PORTMAP_TCP4);

    FUZZ_CHECK(add->guest_port != 0, "port 0");
    if (map == NULL) {
        return; /* multicast and the like */
    }
    FUZZ_CHECK(map->protocols == wanted && netaddr_equal(&map->host_addr, &add->host_addr), "%s",
               spec);
    FUZZ_CHECK(map->guest_ports.first == add->guest_port &&
                   map->guest_ports.last == add->guest_port,
               "%s", spec);
    FUZZ_CHECK(add->host_port == 0 ? map->ports_kind == PORTMAP_PORTS_KERNEL
                                   : map->host_ports.first == add->host_port &&
                                         map->host_ports.last == add->host_port,
               "%s", spec);
}

static void check_hostfwd(const char *bytes, size_t len, bool ipv6)
{
    size_t whole = hostfwd_frame(bytes, len, false);
    HostFwd request;

    FUZZ_CHECK(whole == 0 || whole == len, "a part of it");
    FUZZ_CHECK(hostfwd_frame(bytes, len, true) == len, "not all of it");
    hostfwd_parse(bytes, len, ipv6, &request);
    FUZZ_CHECK((request.command == HOSTFWD_WRONG) == (request.wrong != NULL),
               "neither right nor wrong");
    if (request.command != HOSTFWD_WRONG) {
        FUZZ_CHECK(whole == len, "right, but not whole");
    }
    if (request.command == HOSTFWD_REMOVE) {
        FUZZ_CHECK(request.id != 0, "id 0");
    }
    if (request.command == HOSTFWD_ADD) {
        FUZZ_CHECK(
            ipv6 || (request.host_addr.family == AF_INET && request.guest_addr.family != AF_INET6),
            "IPv6");
        check_add(&request);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *bytes = size > 1 ? g_memdup2(data + 1, size - 1) : NULL;

    if (size == 0) {
        return 0;
    }
    if ((data[0] & 1) == 0) {
        check_call(bytes != NULL ? bytes : "", size - 1);
    } else {
        check_hostfwd(bytes != NULL ? bytes : "", size - 1, (data[0] & 2) == 0);
    }
    return 0;
}
