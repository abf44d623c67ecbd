/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * settings.c - raw options become a validated, immutable configuration
 *
 * Does:     every judgement that needs nothing but the command line; collects all faults instead of stopping at the first.
 * Trusts:   nothing.
 * Not here: what needs the system: namespaces (guest/target.c), ports (publisher.c).
 * Why the name: config.h belongs to autoconf.
 */
#include "config.h"

#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <string.h>

#include "fault.h"
#include "fd.h"
#include "portmap.h"

/* Where things are within the CIDRs. */
#define SETTINGS_HOST_GATEWAY 2
#define SETTINGS_HOST_DNS     3
#define SETTINGS_HOST_GUEST   100

#define SETTINGS_LIMIT_MAX 1000000

static void settings_fault(GPtrArray *faults, OptionId id, const char *value, const char *cause)
{
    g_ptr_array_add(faults,
                    fault_new(FAULT_OPTION, EINVAL, "--%s %s: %s", options_name(id), value, cause));
}

static bool settings_number(const Options *options, OptionId id, guint64 min, guint64 max,
                            guint64 *ret, GPtrArray *faults)
{
    const char *text = options_value(options, id);
    g_autoptr(GError) error = NULL;

    if (text == NULL) {
        return false;
    }
    if (!g_ascii_string_to_unsigned(text, 10, min, max, ret, &error)) {
        g_autofree char *cause = g_strdup_printf(
            "want a number from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT, min, max);

        settings_fault(faults, id, text, cause);
        return false;
    }
    return true;
}

static int settings_fd(const Options *options, OptionId id, bool written, GPtrArray *faults)
{
    guint64 number;
    int flags;

    if (!settings_number(options, id, 0, G_MAXINT, &number, faults)) {
        return -1;
    }
    flags = fcntl((int)number, F_GETFL);
    if (flags < 0) {
        g_ptr_array_add(faults,
                        fault_new(FAULT_OPTION, errno, "--%s %d: no such open file descriptor",
                                  options_name(id), (int)number));
        return -1;
    }
    if (written && (flags & O_ACCMODE) == O_RDONLY) {
        g_ptr_array_add(faults, fault_new(FAULT_OPTION, EBADF, "--%s %d: not open for writing",
                                          options_name(id), (int)number));
        return -1;
    }
    return (int)number;
}

static void settings_target(Settings *settings, const Options *options, GPtrArray *faults)
{
    GuestSettings *guest = &settings->guest;
    const char *netns = options_value(options, OPTION_NETNS);
    const char *netns_fd = options_value(options, OPTION_NETNS_FD);
    guint positionals = options->positionals->len;
    guint given =
        (positionals > 0) + (netns != NULL) + (netns_fd != NULL) + (options->command != NULL);

    if (!(given == 0 && options->other_guest) && (given != 1 || positionals > 1)) {
        g_ptr_array_add(faults,
                        fault_new(FAULT_OPTION, EINVAL,
                                  given == 0
                                      ? "no guest: want one PID, --netns, --netns-fd or -- COMMAND"
                                      : "more than one guest: want one PID, --netns, --netns-fd "
                                        "or -- COMMAND"));
    }
    if (options_value(options, OPTION_USERNS) != NULL && netns == NULL) {
        g_ptr_array_add(faults, fault_new(FAULT_OPTION, EINVAL, "--userns goes with --netns"));
    }
    if (options_value(options, OPTION_USERNS_FD) != NULL && netns_fd == NULL) {
        g_ptr_array_add(faults,
                        fault_new(FAULT_OPTION, EINVAL, "--userns-fd goes with --netns-fd"));
    }
    guest->netns_fd = settings_fd(options, OPTION_NETNS_FD, false, faults);
    guest->userns_fd = settings_fd(options, OPTION_USERNS_FD, false, faults);
    guest->netns_path = g_strdup(netns);
    guest->userns_path = g_strdup(options_value(options, OPTION_USERNS));
    if (options->command != NULL) {
        guest->kind = GUEST_COMMAND;
        guest->command = g_strdupv(options->command);
        if (options->command[0] == NULL) {
            g_ptr_array_add(faults, fault_new(FAULT_OPTION, EINVAL, "no command behind --"));
        }
    } else if (netns != NULL) {
        guest->kind = GUEST_NETNS_PATH;
    } else if (netns_fd != NULL) {
        guest->kind = GUEST_NETNS_FD;
    } else if (positionals > 0) {
        const char *text = g_ptr_array_index(options->positionals, 0);
        guint64 pid;

        guest->kind = GUEST_PID;
        if (g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT32, &pid, NULL)) {
            guest->pid = (pid_t)pid;
        } else {
            g_ptr_array_add(
                faults, fault_new(FAULT_OPTION, EINVAL, "PID '%s': want a positive number", text));
        }
    }
}

static bool settings_parse_mac(const char *text, uint8_t ret[SETTINGS_MAC_LEN])
{
    uint8_t mac[SETTINGS_MAC_LEN];

    if (strlen(text) != 3 * SETTINGS_MAC_LEN - 1) {
        return false;
    }
    for (size_t i = 0; i < SETTINGS_MAC_LEN; i++) {
        int high = g_ascii_xdigit_value(text[3 * i]);
        int low = g_ascii_xdigit_value(text[3 * i + 1]);

        if (high < 0 || low < 0 || (i + 1 < SETTINGS_MAC_LEN && text[3 * i + 2] != ':')) {
            return false;
        }
        mac[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret, mac, sizeof(mac));
    return true;
}

/* dev_valid_name() of net/core/dev.c, less what would be a trap: "." and ".." and '%' (a name pattern for the kernel). */
static bool settings_ifname_valid(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len >= IFNAMSIZ || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!g_ascii_isgraph(name[i]) || strchr("/:%", name[i]) != NULL) {
            return false;
        }
    }
    return true;
}

static void settings_interface(Settings *settings, const Options *options, GPtrArray *faults)
{
    GuestSettings *guest = &settings->guest;
    const char *ifname = options_value(options, OPTION_IFNAME);
    const char *mac = options_value(options, OPTION_MAC);
    guint64 mtu = SETTINGS_MTU_DEFAULT;

    if (ifname == NULL) {
        ifname = "tap0";
    }
    if (settings_ifname_valid(ifname)) {
        g_strlcpy(guest->ifname, ifname, sizeof(guest->ifname));
    } else {
        settings_fault(faults, OPTION_IFNAME, ifname,
                       "not an interface name (1 to 15 bytes, no '/', ':', '%' or space)");
    }
    (void)settings_number(options, OPTION_MTU, SETTINGS_MTU_MIN, SETTINGS_MTU_MAX, &mtu, faults);
    guest->mtu = (unsigned)mtu;
    if (mac != NULL) {
        guest->has_mac = settings_parse_mac(mac, guest->mac);
        if (!guest->has_mac) {
            settings_fault(faults, OPTION_MAC, mac,
                           "want six hexadecimal bytes like 02:00:00:00:00:01");
        } else if ((guest->mac[0] & 1) != 0 ||
                   memcmp(guest->mac, "\0\0\0\0\0\0", SETTINGS_MAC_LEN) == 0) {
            settings_fault(faults, OPTION_MAC, mac,
                           "a multicast or zero address cannot be an interface's own");
        } else if (guest->mac[0] == 0x52 && (guest->mac[1] == 0x55 || guest->mac[1] == 0x56)) {
            settings_fault(faults, OPTION_MAC, mac,
                           "52:55 and 52:56 are used by the gateway and the name server");
        }
    }
    guest->configure = !options_flag(options, OPTION_NO_CONFIGURE);
}

static void settings_cidr(const Options *options, OptionId id, sa_family_t family,
                          const char *fallback, unsigned prefix_max, NetCidr *ret,
                          GPtrArray *faults)
{
    const char *given = options_value(options, id);
    g_autoptr(GError) error = NULL;
    NetCidr cidr;

    if (!netcidr_parse(given != NULL ? given : fallback, family, &cidr, &error)) {
        settings_fault(faults, id, given, error->message);
        /* Something valid, so that what depends on it can still be judged. */
        (void)netcidr_parse(fallback, family, ret, NULL);
        return;
    }
    if (cidr.prefix < 1 || cidr.prefix > prefix_max) {
        g_autofree char *cause = g_strdup_printf(
            "want a prefix length from 1 to %u, so that the guest's address fits", prefix_max);

        settings_fault(faults, id, given, cause);
        (void)netcidr_parse(fallback, family, ret, NULL);
        return;
    }
    if (netaddr_classify(&cidr.net) != NETCLASS_NONE) {
        settings_fault(faults, id, given,
                       "not a network for hosts (loopback, link-local, multicast or reserved)");
    }
    *ret = cidr;
}

static void settings_addresses(Settings *settings, const Options *options, GPtrArray *faults)
{
    GuestSettings *guest = &settings->guest;
    const char *cidr6 = options_value(options, OPTION_CIDR6);

    /* .100 needs 7 host bits, so does ::64. */
    settings_cidr(options, OPTION_CIDR, AF_INET, "10.0.2.0/24", 25, &guest->cidr, faults);
    settings_cidr(options, OPTION_CIDR6, AF_INET6, "fd00::/64", 120, &guest->cidr6, faults);
    guest->ipv6 = !options_flag(options, OPTION_NO_IPV6);
    guest->ipv6_required = cidr6 != NULL;
    if (!guest->ipv6 && cidr6 != NULL) {
        settings_fault(faults, OPTION_CIDR6, cidr6, "contradicts --no-ipv6");
    }
    if (guest->mtu < SETTINGS_MTU_IPV6_MIN && guest->ipv6_required) {
        settings_fault(faults, OPTION_CIDR6, cidr6, "IPv6 needs an MTU of 1280 or more");
    }
    guest->gateway = netcidr_host(&guest->cidr, SETTINGS_HOST_GATEWAY);
    guest->dns = netcidr_host(&guest->cidr, SETTINGS_HOST_DNS);
    guest->addr = netcidr_host(&guest->cidr, SETTINGS_HOST_GUEST);
    guest->gateway6 = netcidr_host(&guest->cidr6, SETTINGS_HOST_GATEWAY);
    guest->dns6 = netcidr_host(&guest->cidr6, SETTINGS_HOST_DNS);
    guest->addr6 = netcidr_host(&guest->cidr6, SETTINGS_HOST_GUEST);
}

static void settings_policy(Settings *settings, const Options *options, GPtrArray *faults)
{
    const GPtrArray *allow = options_list(options, OPTION_ALLOW);
    const GPtrArray *outbound = options_list(options, OPTION_OUTBOUND_ADDR);

    for (guint i = 0; i < allow->len; i++) {
        const char *text = g_ptr_array_index(allow, i);
        g_autofree char *bad = NULL;

        if (!netclass_parse_list(text, &settings->allow, &bad)) {
            g_autofree char *cause =
                g_strdup_printf("'%s' is none of host-loopback, host, link-local, metadata", bad);

            settings_fault(faults, OPTION_ALLOW, text, cause);
        }
    }
    for (guint i = 0; i < outbound->len; i++) {
        const char *text = g_ptr_array_index(outbound, i);
        NetAddr addr;

        if (!netaddr_parse_scoped(text, &addr) || netaddr_is_any(&addr) ||
            netaddr_is_multicast(&addr)) {
            settings_fault(faults, OPTION_OUTBOUND_ADDR, text, "want an address of the host");
        } else if ((addr.family == AF_INET ? &settings->outbound4 : &settings->outbound6)->family !=
                   AF_UNSPEC) {
            settings_fault(faults, OPTION_OUTBOUND_ADDR, text,
                           "a second address of the same family");
        } else {
            *(addr.family == AF_INET ? &settings->outbound4 : &settings->outbound6) = addr;
        }
    }
}

static void settings_dns(Settings *settings, const Options *options, GPtrArray *faults)
{
    const GPtrArray *upstream = options_list(options, OPTION_DNS_UPSTREAM);
    const char *path = options_value(options, OPTION_RESOLV_CONF);

    settings->dns = !options_flag(options, OPTION_NO_DNS);
    settings->dns_upstream = g_array_new(FALSE, FALSE, sizeof(NetAddr));
    settings->resolv_conf = g_strdup(path != NULL ? path : "/etc/resolv.conf");
    if (path != NULL && path[0] != '/') {
        settings_fault(faults, OPTION_RESOLV_CONF, path, "want an absolute path");
    }
    for (guint i = 0; i < upstream->len; i++) {
        const char *text = g_ptr_array_index(upstream, i);
        NetAddr addr;

        if (!netaddr_parse_scoped(text, &addr) || netaddr_is_any(&addr) ||
            netaddr_is_multicast(&addr)) {
            settings_fault(faults, OPTION_DNS_UPSTREAM, text, "want the address of a name server");
        } else if (settings->dns_upstream->len >= 16) {
            settings_fault(faults, OPTION_DNS_UPSTREAM, text, "more than 16 name servers");
        } else {
            g_array_append_val(settings->dns_upstream, addr);
        }
    }
}

/* What the grammar knows and this version does not do yet. NULL if there is nothing of that. */
static const char *settings_publish_missing(const PortMap *map)
{
    if (map->host_kind == PORTMAP_HOST_UNIX) {
        return "unix:";
    }
    if (map->ports_kind == PORTMAP_PORTS_ALL) {
        return "all";
    }
    if (map->ports_kind == PORTMAP_PORTS_AUTO) {
        return "auto";
    }
    if (map->fd_name != NULL) {
        return "fd=";
    }
    return map->proxy != 0 ? "proxy=" : NULL;
}

PortMap *settings_port_map(const Settings *settings, const char *spec, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autoptr(PortMap) map = portmap_parse(spec, &cause);
    const char *missing = map != NULL ? settings_publish_missing(map) : NULL;

    if (missing != NULL) {
        fault_set(error, FAULT_NOT_SUPPORTED, 0, "--publish %s: '%s' is not supported yet", spec,
                  missing);
        return NULL;
    }
    if (map != NULL && map->src != PORTMAP_SOURCE_UNSET &&
        settings->guest.fast_path == FAST_PATH_OFF) {
        fault_set(error, FAULT_OPTION, EINVAL,
                  "--publish %s: src= needs --fast-path auto or require", spec);
        return NULL;
    }
    if (map == NULL || (settings->publish_address != NULL &&
                        !portmap_set_default_host(map, settings->publish_address, &cause))) {
        fault_set(error, FAULT_OPTION, EINVAL, "--publish %s: %s", spec, cause->message);
        return NULL;
    }
    return g_steal_pointer(&map);
}

static void settings_publish_one(Settings *settings, const char *spec, GPtrArray *faults)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(PortMap) map = settings_port_map(settings, spec, &error);

    if (map == NULL) {
        g_ptr_array_add(faults, g_steal_pointer(&error));
        return;
    }
    for (guint i = 0; i < settings->publish->len; i++) {
        const PortMap *other = g_ptr_array_index(settings->publish, i);

        if (portmap_overlaps(map, other)) {
            g_autofree char *cause = g_strdup_printf("overlaps with '%s'", other->text);

            settings_fault(faults, OPTION_PUBLISH, spec, cause);
            return;
        }
    }
    g_ptr_array_add(settings->publish, g_steal_pointer(&map));
}

static void settings_publish(Settings *settings, const Options *options, GPtrArray *faults)
{
    const GPtrArray *specs = options_list(options, OPTION_PUBLISH);
    const char *address = options_value(options, OPTION_PUBLISH_ADDRESS);
    g_autoptr(PortMap) probe = portmap_parse("1:1", NULL);
    g_autoptr(GError) error = NULL;

    settings->publish = g_ptr_array_new_with_free_func((GDestroyNotify)portmap_free);
    /* A wrong --publish-address is one cause, however many specs there are. */
    if (address != NULL && !portmap_set_default_host(probe, address, &error)) {
        settings_fault(faults, OPTION_PUBLISH_ADDRESS, address, error->message);
        address = NULL;
    }
    settings->publish_address = g_strdup(address);
    for (guint i = 0; i < specs->len; i++) {
        settings_publish_one(settings, g_ptr_array_index(specs, i), faults);
    }
}

/* Which of the inherited fds @fd is too, or NULL. The exit fd may well be a control socket: its end is the parent's. */
static const char *settings_other_use(const Settings *settings, int fd)
{
    if (fd == settings->report_fd) {
        return "report-fd";
    }
    return fd == settings->ready_fd ? "ready-fd" : NULL;
}

static void settings_control_fd(const Settings *settings, OptionId id, int fd, GPtrArray *faults)
{
    const char *other = fd >= 0 ? settings_other_use(settings, fd) : NULL;

    if (other == NULL && fd >= 0 && id == OPTION_OBSERVE_FD && fd == settings->control_fd) {
        other = "control-fd";
    }
    if (other != NULL) {
        g_ptr_array_add(faults, fault_new(FAULT_OPTION, EINVAL, "--%s %d: is --%s too",
                                          options_name(id), fd, other));
    } else if (fd >= 0 && fd <= STDERR_FILENO && settings->guest.kind == GUEST_COMMAND) {
        g_ptr_array_add(faults, fault_new(FAULT_OPTION, EINVAL,
                                          "--%s %d: COMMAND would have it too, as one of 0, 1, 2",
                                          options_name(id), fd));
    }
}

static void settings_control(Settings *settings, const Options *options, GPtrArray *faults)
{
    settings->control = g_strdup(options_value(options, OPTION_CONTROL));
    settings->control_fd = settings_fd(options, OPTION_CONTROL_FD, true, faults);
    settings->observe_fd = settings_fd(options, OPTION_OBSERVE_FD, true, faults);
    settings_control_fd(settings, OPTION_CONTROL_FD, settings->control_fd, faults);
    settings_control_fd(settings, OPTION_OBSERVE_FD, settings->observe_fd, faults);
}

bool settings_log_level(const char *word, LogLevel *ret)
{
    static const char *const levels[] = {"error", "warning", "info", "debug"};

    for (unsigned i = 0; i < G_N_ELEMENTS(levels); i++) {
        if (strcmp(levels[i], word) == 0) {
            *ret = (LogLevel)i;
            return true;
        }
    }
    return false;
}

static void settings_words(Settings *settings, const Options *options, GPtrArray *faults)
{
    const char *level = options_value(options, OPTION_LOG_LEVEL);
    const char *fast_path = options_value(options, OPTION_FAST_PATH);

    settings->log_level = LOG_LEVEL_INFO;
    if (level != NULL && !settings_log_level(level, &settings->log_level)) {
        settings_fault(faults, OPTION_LOG_LEVEL, level, "want error, warning, info or debug");
    }
    settings->guest.fast_path = FAST_PATH_AUTO;
    if (fast_path != NULL && strcmp(fast_path, "require") == 0) {
        settings->guest.fast_path = FAST_PATH_REQUIRE;
    } else if (fast_path != NULL && strcmp(fast_path, "off") == 0) {
        settings->guest.fast_path = FAST_PATH_OFF;
    } else if (fast_path != NULL && strcmp(fast_path, "auto") != 0) {
        settings_fault(faults, OPTION_FAST_PATH, fast_path, "want auto, off or require");
    }
}

static unsigned settings_limit(const Options *options, OptionId id, GPtrArray *faults)
{
    guint64 value;

    return settings_number(options, id, 1, SETTINGS_LIMIT_MAX, &value, faults) ? (unsigned)value
                                                                               : 0;
}

/* Only what can hang up is of use: epoll(7) refuses regular files, /dev/null and the like, which never do. */
static void settings_check_exit_fd(const Settings *settings, GPtrArray *faults)
{
    FD_AUTO epoll = settings->exit_fd >= 0 ? epoll_create1(EPOLL_CLOEXEC) : -1;
    struct epoll_event event = {.events = 0};

    if (epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, settings->exit_fd, &event) < 0 &&
        errno == EPERM) {
        g_ptr_array_add(faults, fault_new(FAULT_OPTION, EINVAL,
                                          "--exit-fd %d: can never hang up (want a pipe or socket)",
                                          settings->exit_fd));
    }
}

static void settings_check_fds(const Settings *settings, GPtrArray *faults)
{
    settings_check_exit_fd(settings, faults);
    if (settings->ready_fd >= 0 &&
        (settings->ready_fd == settings->report_fd || settings->ready_fd == settings->exit_fd)) {
        g_ptr_array_add(
            faults, fault_new(FAULT_OPTION, EINVAL,
                              "--ready-fd %d: is closed when ready, so it cannot be --%s",
                              settings->ready_fd,
                              settings->ready_fd == settings->report_fd ? "report-fd" : "exit-fd"));
    }
}

Settings *settings_new(const Options *options, GPtrArray *faults)
{
    Settings *settings = g_new0(Settings, 1);

    settings->report_fd = settings_fd(options, OPTION_REPORT_FD, true, faults);
    settings->ready_fd = settings_fd(options, OPTION_READY_FD, true, faults);
    settings->exit_fd = settings_fd(options, OPTION_EXIT_FD, false, faults);
    settings_check_fds(settings, faults);
    settings->personality = options->personality;
    settings->guest.autoconf = options->personality == PERSONALITY_SLIRP4NETNS;
    settings->api_socket = g_strdup(options_value(options, OPTION_API_SOCKET));
    settings->insecure = options_flag(options, OPTION_INSECURE_NO_LOCKDOWN);
    settings->outlive_parent = options_flag(options, OPTION_OUTLIVE_PARENT);
    settings_words(settings, options, faults);
    settings->pcap = g_strdup(options_value(options, OPTION_PCAP));
    if (settings->pcap != NULL && settings->pcap[0] == '\0') {
        settings_fault(faults, OPTION_PCAP, settings->pcap, "want the name of a file");
    }
    settings->max_flows = settings_limit(options, OPTION_MAX_FLOWS, faults);
    settings->max_pending = settings_limit(options, OPTION_MAX_PENDING, faults);
    settings_target(settings, options, faults);
    settings_interface(settings, options, faults);
    settings_addresses(settings, options, faults);
    settings_policy(settings, options, faults);
    settings_dns(settings, options, faults);
    settings_publish(settings, options, faults);
    settings_control(settings, options, faults);
    return settings;
}

void settings_free(Settings *settings)
{
    if (settings == NULL) {
        return;
    }
    g_free(settings->guest.netns_path);
    g_free(settings->guest.userns_path);
    g_strfreev(settings->guest.command);
    g_array_unref(settings->dns_upstream);
    g_free(settings->resolv_conf);
    g_free(settings->pcap);
    g_ptr_array_unref(settings->publish);
    g_free(settings->publish_address);
    g_free(settings->control);
    g_free(settings->api_socket);
    g_free(settings);
}
