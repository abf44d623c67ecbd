/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fuzz_options.c - options.c and settings.c: any words on the command line
 *
 * Oracles:  settings made without a fault hold what settings.h promises; each fault says something; no fd is opened.
 * Limits:   the words are the lines of the input, WORDS_MAX of them.
 */
#include "config.h"

#include <fcntl.h>
#include <unistd.h>

#include "options.h"
#include "portmap.h"
#include "settings.h"

#include "check.h"

#define WORDS_MAX 24

static void check_network(const GuestSettings *guest)
{
    FUZZ_CHECK(guest->mtu >= SETTINGS_MTU_MIN && guest->mtu <= SETTINGS_MTU_MAX, "mtu %u",
               guest->mtu);
    FUZZ_CHECK(memchr(guest->ifname, 0, sizeof(guest->ifname)) != NULL && guest->ifname[0] != 0 &&
                   strpbrk(guest->ifname, "/:% ") == NULL,
               "'%.16s'", guest->ifname);
    FUZZ_CHECK(!guest->has_mac || !(guest->mac[0] & 1), "a multicast address");
    FUZZ_CHECK(netcidr_contains(&guest->cidr, &guest->addr) &&
                   netcidr_contains(&guest->cidr, &guest->gateway) &&
                   netcidr_contains(&guest->cidr, &guest->dns) &&
                   netcidr_contains(&guest->cidr6, &guest->addr6) &&
                   netcidr_contains(&guest->cidr6, &guest->gateway6) &&
                   netcidr_contains(&guest->cidr6, &guest->dns6),
               "an address beside its network");
    FUZZ_CHECK(!netaddr_equal(&guest->addr, &guest->gateway) &&
                   !netaddr_equal(&guest->addr, &guest->dns) &&
                   !netaddr_equal(&guest->gateway, &guest->dns),
               "an address twice");
    FUZZ_CHECK(netaddr_classify(&guest->cidr.net) == NETCLASS_NONE &&
                   netaddr_classify(&guest->cidr6.net) == NETCLASS_NONE,
               "no network for hosts");
}

static void check_settings(const Settings *settings)
{
    const GuestSettings *guest = &settings->guest;
    unsigned kinds = (guest->pid > 0) + (guest->netns_path != NULL) + (guest->netns_fd >= 0) +
                     (guest->command != NULL);

    check_network(guest);
    FUZZ_CHECK(kinds == 1, "%u guests", kinds);
    FUZZ_CHECK(guest->command == NULL || guest->command[0] != NULL, "an empty command");
    FUZZ_CHECK(!(guest->ipv6_required && !guest->ipv6), "IPv6 both ways");
    FUZZ_CHECK(settings->allow < 16 && !(settings->allow & NETCLASS_NEVER), "allow %x",
               settings->allow);
    FUZZ_CHECK(settings->dns_upstream->len <= 16 && settings->resolv_conf[0] == '/',
               "name servers");
    FUZZ_CHECK(settings->max_flows <= 1000000 && settings->max_pending <= 1000000, "limits");
    FUZZ_CHECK(settings->ready_fd < 0 || (settings->ready_fd != settings->report_fd &&
                                          settings->ready_fd != settings->exit_fd),
               "an fd twice");
    FUZZ_CHECK(settings->log_level <= LOG_LEVEL_DEBUG && guest->fast_path <= FAST_PATH_REQUIRE,
               "words");
    FUZZ_CHECK(settings->outbound4.family == AF_UNSPEC || settings->outbound4.family == AF_INET,
               "outbound");
    FUZZ_CHECK(settings->outbound6.family == AF_UNSPEC || settings->outbound6.family == AF_INET6,
               "outbound");
    for (guint i = 0; i < settings->publish->len; i++) {
        const PortMap *map = g_ptr_array_index(settings->publish, i);

        FUZZ_CHECK(map->host_kind != PORTMAP_HOST_UNIX && map->proxy == 0 && map->fd_name == NULL,
                   "not supported");
        for (guint j = 0; j < i; j++) {
            FUZZ_CHECK(!portmap_overlaps(map, g_ptr_array_index(settings->publish, j)),
                       "'%s' overlaps", map->text);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *all = g_strndup((const char *)data, size);
    g_auto(GStrv) words = g_strsplit(all, "\n", WORDS_MAX);
    guint count = g_strv_length(words);
    g_autofree char **argv = g_new0(char *, count + 2);
    g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
    g_autoptr(Options) options = NULL;
    g_autoptr(Settings) settings = NULL;
    char name[] = "sallyport";
    int before = fcntl(0, F_DUPFD_CLOEXEC, 3);
    int after;

    (void)close(before);
    argv[0] = name;
    memcpy(argv + 1, words, count * sizeof(*words));
    options = options_parse((int)count + 1, argv, faults);
    FUZZ_CHECK(options != NULL, "no options");
    settings = settings_new(options, faults);
    FUZZ_CHECK(settings != NULL, "no settings");
    if (faults->len == 0 && !options_flag(options, OPTION_HELP) && !options->other_guest) {
        check_settings(settings);
    }
    for (guint i = 0; i < faults->len; i++) {
        FUZZ_CHECK(((const GError *)g_ptr_array_index(faults, i))->message[0] != 0,
                   "a fault that says nothing");
    }
    after = fcntl(0, F_DUPFD_CLOEXEC, 3);
    (void)close(after);
    FUZZ_CHECK(before == after, "an fd stays open");
    return 0;
}
