/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fuzz_resolvconf.c - the parser of resolvconf.c
 *
 * Oracles:  as many servers as there may be, no two the same, none multicast; each server line is taken or counted as ignored;
 *           the list written out again reads the same.
 */
#include "config.h"

#include "resolvconf.h"

#include "check.h"

static void check_servers(const NetAddr *servers, size_t count)
{
    FUZZ_CHECK(count <= RESOLVCONF_SERVERS_MAX, "%zu servers", count);
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(servers[i].family == AF_INET || servers[i].family == AF_INET6, "no address");
        FUZZ_CHECK(!netaddr_is_multicast(&servers[i]), "multicast");
        for (size_t j = 0; j < i; j++) {
            FUZZ_CHECK(!netaddr_equal(&servers[i], &servers[j]) ||
                           servers[i].scope_id != servers[j].scope_id,
                       "a server twice");
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree uint8_t *exact = fuzz_exact(data, size);
    NetAddr servers[RESOLVCONF_SERVERS_MAX];
    NetAddr again[RESOLVCONF_SERVERS_MAX];
    g_autoptr(GString) text = g_string_new(NULL);
    size_t ignored = 0;
    size_t lines = 0;
    size_t count = resolvconf_parse((const char *)exact, size, servers, &ignored);

    check_servers(servers, count);
    for (size_t at = 0; at < size; at++) {
        if ((at == 0 || data[at - 1] == '\n') && size - at > 10 &&
            memcmp(data + at, "nameserver", 10) == 0 &&
            (data[at + 10] == ' ' || data[at + 10] == '\t')) {
            lines++;
        }
    }
    FUZZ_CHECK(count + ignored == lines, "%zu taken, %zu not, of %zu", count, ignored, lines);
    for (size_t i = 0; i < count; i++) {
        char addr[NETADDR_STRLEN];

        g_string_append_printf(text, "nameserver %s\n", netaddr_format(&servers[i], addr));
    }
    FUZZ_CHECK(resolvconf_parse(text->str, text->len, again, &ignored) == count && ignored == 0,
               "reads differently: %s", text->str);
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(netaddr_equal(&servers[i], &again[i]) &&
                       servers[i].scope_id == again[i].scope_id,
                   "%s", text->str);
    }
    return 0;
}
