/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * slirp4netns.c - the command line of slirp4netns(1), turned into ours
 *
 * Does:     its options, its words for what is wrong with them, its help, version and summary. What differs by tradition is said
 *           in options of ours: --no-configure unless -c, --allow of every class, --outlive-parent, an MTU of 1500.
 * Runs in:  the supervisor, before anything is made.
 * Trusts:   nothing: settings.c judges what comes out of this as it judges our own command line.
 * Why here: nobody else needs to know whose words they were, but for what has no option of ours (Settings.personality).
 * Not here: the API socket's requests.
 */
#include "config.h"

#include "slirp4netns.h"

#include <errno.h>
#include <ifaddrs.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <slirp/libslirp.h>

#include "fault.h"
#include "options_private.h"

/* The release whose options these are. */
#define SLIRP4NETNS_RELEASE "1.2.0"
#define SLIRP4NETNS_MTU     "1500"
#define SLIRP4NETNS_MTU_MAX 65521
/* The guest is net+100. */
#define SLIRP4NETNS_PREFIX_MAX 25
#define SLIRP4NETNS_USAGE      "Usage: slirp4netns [OPTION]... PID|PATH|FD [TAPNAME]\n"

static const OptionRow slirp4netns_rows[] = {
    {"configure", 'c', OPTION_CONFIGURE, NULL, "bring the interface up, with address and route"},
    {"exit-fd", 'e', OPTION_EXIT_FD, "FD", "end when this file descriptor hangs up"},
    {"ready-fd", 'r', OPTION_READY_FD, "FD",
     "write one byte, 1, to this file descriptor when ready"},
    {"mtu", 'm', OPTION_MTU, "MTU", "MTU of the interface (default: 1500, at most 65521)"},
    {"enable-ipv6", '6', OPTION_ENABLE_IPV6, NULL, "IPv6 too: fd00::/64"},
    {"api-socket", 'a', OPTION_API_SOCKET, "PATH", "take requests to publish ports on this socket"},
    {"cidr", 0, OPTION_CIDR, "CIDR", "the guest's network (default: 10.0.2.0/24)"},
    {"disable-host-loopback", 0, OPTION_DISABLE_HOST_LOOPBACK, NULL,
     "the gateway's address does not lead to 127.0.0.1 of the host"},
    {"netns-type", 0, OPTION_NETNS_TYPE, "TYPE", "what the first word is: pid (default) or path"},
    {"userns-path", 0, OPTION_USERNS, "PATH", "the user namespace that owns the network namespace"},
    {"enable-sandbox", 0, OPTION_ENABLE_SANDBOX, NULL,
     "taken and of no effect: always locked down"},
    {"enable-seccomp", 0, OPTION_ENABLE_SECCOMP, NULL,
     "taken and of no effect: always locked down"},
    {"outbound-addr", 0, OPTION_OUTBOUND_ADDR4, "ADDR",
     "source address of outbound IPv4, or an interface that has one"},
    {"outbound-addr6", 0, OPTION_OUTBOUND_ADDR6, "ADDR", "the same for IPv6"},
    {"disable-dns", 0, OPTION_NO_DNS, NULL, "no name service"},
    {"macaddress", 0, OPTION_MAC, "MAC", "link address of the interface (with -c)"},
    {"target-type", 0, OPTION_TARGET_TYPE, "TYPE", "netns (default); bess is not supported yet"},
    {"help", 'h', OPTION_HELP, NULL, "show this and exit"},
    {"version", 'v', OPTION_VERSION, NULL, "show versions and exit"},
    {"no-host-loopback", 0, OPTION_NO_HOST_LOOPBACK, NULL, NULL},
    {"create-sandbox", 0, OPTION_CREATE_SANDBOX, NULL, NULL},
};

static const OptionTable slirp4netns_table = {slirp4netns_rows, G_N_ELEMENTS(slirp4netns_rows)};

static bool slirp4netns_flag(const Options *options, OptionId id)
{
    return options_flag(options, id);
}

static void slirp4netns_set(Options *options, OptionId id, const char *value)
{
    char *copy = g_strdup(value);

    g_free(options->value[id]);
    options->value[id] = copy;
}

static void slirp4netns_set_flag(Options *options, OptionId id)
{
    options->flag[id - OPTION_FLAG_FIRST] = true;
}

static void G_GNUC_PRINTF(3, 4)
    slirp4netns_fault(GPtrArray *faults, int errnum, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    g_ptr_array_add(faults, fault_new(FAULT_OPTION, errnum, "%s", text));
}

/* For these it prints its usage as well. */
static void slirp4netns_misused(Options *options, GPtrArray *faults, int errnum, const char *text)
{
    options->show_usage = true;
    slirp4netns_fault(faults, errnum, "%s", text);
}

static void slirp4netns_note(Options *options, const char *text)
{
    g_ptr_array_add(options->notes, g_strdup_printf("WARNING: %s", text));
}

static void slirp4netns_say_notes(Options *options)
{
    if (slirp4netns_flag(options, OPTION_ENABLE_IPV6)) {
        slirp4netns_note(options, "Support for IPv6 is experimental");
    }
    if (slirp4netns_flag(options, OPTION_ENABLE_SECCOMP)) {
        slirp4netns_note(options, "Support for seccomp is experimental");
    }
    if (options_value(options, OPTION_OUTBOUND_ADDR4) != NULL) {
        slirp4netns_note(options, "Support for --outbound-addr is experimental");
    }
    if (options_value(options, OPTION_OUTBOUND_ADDR6) != NULL) {
        slirp4netns_note(options, "Support for --outbound-addr6 is experimental");
    }
    if (slirp4netns_flag(options, OPTION_CREATE_SANDBOX)) {
        slirp4netns_note(options, "--create-sandbox is deprecated, use --enable-sandbox");
    }
    if (slirp4netns_flag(options, OPTION_NO_HOST_LOOPBACK)) {
        slirp4netns_note(options, "--no-host-loopback is deprecated, use --disable-host-loopback");
    }
}

static void slirp4netns_fd(Options *options, OptionId id, const char *name, GPtrArray *faults)
{
    const char *text = options_value(options, id);
    guint64 number;
    g_autofree char *says = NULL;

    if (text == NULL || g_ascii_string_to_unsigned(text, 10, 0, G_MAXINT, &number, NULL)) {
        return;
    }
    says = g_strdup_printf("%s must be a non-negative integer", name);
    slirp4netns_misused(options, faults, EINVAL, says);
    slirp4netns_set(options, id, NULL);
}

static void slirp4netns_mtu(Options *options, GPtrArray *faults)
{
    const char *text = options_value(options, OPTION_MTU);
    guint64 number;

    if (text != NULL &&
        !g_ascii_string_to_unsigned(text, 10, 1, SLIRP4NETNS_MTU_MAX, &number, NULL)) {
        slirp4netns_misused(options, faults, EINVAL, "MTU must be a positive integer (< 65522)");
        text = NULL;
    }
    if (text == NULL) {
        slirp4netns_set(options, OPTION_MTU, SLIRP4NETNS_MTU);
    }
}

static bool slirp4netns_cidr_ok(const char *text, GPtrArray *faults)
{
    g_auto(GStrv) parts = g_strsplit(text, "/", 2);
    NetAddr addr;
    guint64 prefix;

    if (g_strv_length(parts) != 2 || !netaddr_parse(parts[0], &addr) || addr.family != AF_INET ||
        strlen(parts[1]) > 2 || !g_ascii_string_to_unsigned(parts[1], 10, 0, 99, &prefix, NULL)) {
        slirp4netns_fault(faults, EINVAL, "invalid CIDR: %s", text);
        return false;
    }
    if (prefix < 1 || prefix > SLIRP4NETNS_PREFIX_MAX) {
        slirp4netns_fault(faults, EINVAL, "prefix length needs to be 1-%d", SLIRP4NETNS_PREFIX_MAX);
        return false;
    }
    if ((ntohl(addr.v4.s_addr) & (UINT32_MAX >> prefix)) != 0) {
        slirp4netns_fault(faults, EINVAL,
                          "CIDR needs to be a network address like 10.0.2.0/24, not like %s", text);
        return false;
    }
    return true;
}

static void slirp4netns_mac(Options *options, GPtrArray *faults)
{
    const char *text = options_value(options, OPTION_MAC);
    bool ok = text != NULL && strlen(text) == 17;

    if (text == NULL) {
        return;
    }
    for (size_t i = 0; ok && text[i] != '\0'; i++) {
        ok = i % 3 == 2 ? text[i] == ':' : g_ascii_isxdigit(text[i]);
    }
    if (!ok) {
        slirp4netns_fault(faults, EINVAL,
                          "macaddress has to be a valid MAC address (six hexadecimal bytes, "
                          "separated by ':'): \"%s\" is an invalid MAC address.",
                          text);
    } else if (!slirp4netns_flag(options, OPTION_CONFIGURE)) {
        slirp4netns_misused(
            options, faults, EINVAL,
            "--macaddr cannot be specified when --configure or -c is not specified");
    }
    if (!ok) {
        slirp4netns_set(options, OPTION_MAC, NULL);
    }
}

static void slirp4netns_api_socket(Options *options, GPtrArray *faults)
{
    const char *path = options_value(options, OPTION_API_SOCKET);
    bool empty = path != NULL && path[0] == '\0';

    if (path == NULL || (!empty && strlen(path) < sizeof(((struct sockaddr_un *)NULL)->sun_path))) {
        return;
    }
    if (empty) {
        slirp4netns_fault(faults, EINVAL, "the path of the API socket is empty");
    } else {
        slirp4netns_fault(faults, ENAMETOOLONG, "the path of the API socket is too long: %s", path);
    }
    slirp4netns_set(options, OPTION_API_SOCKET, NULL);
}

/* ---- outbound addresses ---- */

/* The first address of that family an interface has; of IPv6 one that is good for more than the link, if there is one. */
static bool slirp4netns_address_of(const char *ifname, sa_family_t family, NetAddr *ret)
{
    struct ifaddrs *all = NULL;
    bool found = false;

    if (getifaddrs(&all) < 0) {
        return false;
    }
    for (const struct ifaddrs *at = all; at != NULL; at = at->ifa_next) {
        NetAddr addr;
        uint16_t port;

        if (at->ifa_addr == NULL || at->ifa_addr->sa_family != family ||
            strcmp(at->ifa_name, ifname) != 0 ||
            !netaddr_from_sockaddr(at->ifa_addr, &addr, &port)) {
            continue;
        }
        if (!found || (netaddr_classify(ret) & NETCLASS_LINK_LOCAL) != 0) {
            *ret = addr;
            found = true;
        }
    }
    freeifaddrs(all);
    return found;
}

static void slirp4netns_outbound(Options *options, OptionId id, const char *name,
                                 sa_family_t family, GPtrArray *faults)
{
    GPtrArray *list = options->list[OPTION_OUTBOUND_ADDR - OPTION_LIST_FIRST];
    const char *text = options_value(options, id);
    char format[NETADDR_STRLEN];
    NetAddr addr;

    if (text == NULL) {
        return;
    }
    if ((!netaddr_parse_scoped(text, &addr) || addr.family != family) &&
        !slirp4netns_address_of(text, family, &addr)) {
        slirp4netns_fault(faults, EINVAL, "%s has to be valid %s address or interface name.", name,
                          family == AF_INET ? "ipv4" : "ipv6");
        return;
    }
    g_ptr_array_add(list, g_strdup(netaddr_format(&addr, format)));
}

/* ---- the guest ---- */

static void slirp4netns_not_yet(Options *options, const char *what, GPtrArray *faults)
{
    g_ptr_array_add(faults, fault_new(FAULT_NOT_SUPPORTED, 0, "%s is not supported yet", what));
    options->other_guest = true;
}

/* Whoever wants UML's transport: its own rules first. */
static void slirp4netns_bess(Options *options, GPtrArray *faults)
{
    if (slirp4netns_flag(options, OPTION_CONFIGURE)) {
        slirp4netns_misused(options, faults, EINVAL,
                            "--configure conflicts with --target-type=bess");
    }
    if (options_value(options, OPTION_NETNS_TYPE) != NULL) {
        slirp4netns_misused(options, faults, EINVAL,
                            "--netns-type conflicts with --target-type=bess");
    }
    if (options_value(options, OPTION_USERNS) != NULL) {
        slirp4netns_misused(options, faults, EINVAL,
                            "--userns-path conflicts with --target-type=bess");
    }
    if (options->positionals->len != 1) {
        slirp4netns_misused(options, faults, EINVAL,
                            options->positionals->len == 0 ? "want the path of a socket"
                                                           : "too many arguments");
    }
    slirp4netns_not_yet(options, "--target-type=bess", faults);
}

static void slirp4netns_userns(Options *options, GPtrArray *faults)
{
    const char *path = options_value(options, OPTION_USERNS);
    struct stat st;

    if (path != NULL && stat(path, &st) < 0) {
        g_autofree char *says = g_strdup_printf("userns path doesn't exist: %s", path);

        slirp4netns_misused(options, faults, errno, says);
        slirp4netns_set(options, OPTION_USERNS, NULL);
    }
}

/* Unlike every word but pid and tapfd, which means path too. */
static void slirp4netns_path(Options *options, const char *path, GPtrArray *faults)
{
    struct stat st;

    if (stat(path, &st) < 0) {
        g_autofree char *says =
            g_strdup_printf("existing path expected when --netns-type=path: %s", g_strerror(errno));

        slirp4netns_misused(options, faults, errno, says);
        options->other_guest = true;
        return;
    }
    slirp4netns_set(options, OPTION_NETNS, path);
}

static void slirp4netns_pid(Options *options, const char *text, GPtrArray *faults)
{
    guint64 pid;

    if (!g_ascii_string_to_unsigned(text, 10, 1, G_MAXINT32, &pid, NULL)) {
        slirp4netns_misused(options, faults, EINVAL, "PID must be a positive integer");
        options->other_guest = true;
    } else if (options_value(options, OPTION_USERNS) != NULL) {
        /* With a user namespace of its own it is a path to us; its end is noticed all the same. */
        g_autofree char *path = g_strdup_printf("/proc/%u/ns/net", (unsigned)pid);

        slirp4netns_set(options, OPTION_NETNS, path);
    } else {
        g_ptr_array_add(options->positionals, g_strdup(text));
    }
}

/* The positionals are taken off, and those that are ours put back. */
static void slirp4netns_guest(Options *options, GPtrArray *faults)
{
    const char *type = options_value(options, OPTION_NETNS_TYPE);
    const char *target = options_value(options, OPTION_TARGET_TYPE);
    g_autoptr(GPtrArray) words = options->positionals;

    if (target != NULL && strcmp(target, "bess") == 0) {
        slirp4netns_bess(options, faults);
    }
    options->positionals = g_ptr_array_new_with_free_func(g_free);
    if (target != NULL && strcmp(target, "bess") != 0 && strcmp(target, "netns") != 0) {
        slirp4netns_misused(options, faults, EINVAL,
                            "--target-type must be either \"netns\" or \"bess\"");
        options->other_guest = true;
    }
    slirp4netns_userns(options, faults);
    if (!options->other_guest && g_strcmp0(type, "tapfd") == 0) {
        slirp4netns_not_yet(options, "--netns-type=tapfd", faults);
    }
    if (options->other_guest) {
        slirp4netns_set(options, OPTION_USERNS, NULL); /* there is nothing it could go with */
        return;
    }
    if (words->len < 2) {
        slirp4netns_misused(options, faults, EINVAL,
                            words->len == 0 ? "no PID or PATH" : "no TAPNAME");
        options->other_guest = true;
        return;
    }
    if (words->len > 2) {
        slirp4netns_note(options, "too many arguments");
    }
    slirp4netns_set(options, OPTION_IFNAME, g_ptr_array_index(words, 1));
    if (type == NULL || strcmp(type, "pid") == 0) {
        slirp4netns_pid(options, g_ptr_array_index(words, 0), faults);
    } else {
        slirp4netns_path(options, g_ptr_array_index(words, 0), faults);
    }
}

/* What this name has always done, said in our words. */
static void slirp4netns_traditions(Options *options)
{
    bool without_loopback = slirp4netns_flag(options, OPTION_DISABLE_HOST_LOOPBACK) ||
                            slirp4netns_flag(options, OPTION_NO_HOST_LOOPBACK);

    if (!slirp4netns_flag(options, OPTION_CONFIGURE)) {
        slirp4netns_set_flag(options, OPTION_NO_CONFIGURE);
    }
    if (!slirp4netns_flag(options, OPTION_ENABLE_IPV6)) {
        slirp4netns_set_flag(options, OPTION_NO_IPV6);
    }
    slirp4netns_set_flag(options, OPTION_OUTLIVE_PARENT);
    slirp4netns_set(options, OPTION_LOG_LEVEL, "warning");
    g_ptr_array_add(options->list[OPTION_ALLOW - OPTION_LIST_FIRST],
                    g_strdup(without_loopback ? "host,link-local,metadata"
                                              : "host-loopback,host,link-local,metadata"));
}

void slirp4netns_parse(Options *options, int argc, char **argv, GPtrArray *faults)
{
    const char *cidr;

    options_walk(options, &slirp4netns_table, argc, argv, faults);
    options->show_usage = faults->len > 0;
    for (char **word = options->command; word != NULL && *word != NULL; word++) {
        g_ptr_array_add(options->positionals, g_strdup(*word));
    }
    g_clear_pointer(&options->command, g_strfreev);
    slirp4netns_say_notes(options);
    slirp4netns_fd(options, OPTION_EXIT_FD, "exit-fd", faults);
    slirp4netns_fd(options, OPTION_READY_FD, "ready-fd", faults);
    slirp4netns_mtu(options, faults);
    cidr = options_value(options, OPTION_CIDR);
    if (cidr != NULL && !slirp4netns_cidr_ok(cidr, faults)) {
        slirp4netns_set(options, OPTION_CIDR, NULL);
    }
    slirp4netns_mac(options, faults);
    slirp4netns_outbound(options, OPTION_OUTBOUND_ADDR4, "outbound-addr", AF_INET, faults);
    slirp4netns_outbound(options, OPTION_OUTBOUND_ADDR6, "outbound-addr6", AF_INET6, faults);
    slirp4netns_api_socket(options, faults);
    slirp4netns_guest(options, faults);
    slirp4netns_traditions(options);
}

/* ---- texts ---- */

bool slirp4netns_is_called(const char *argv0)
{
    g_autofree char *name = argv0 != NULL ? g_path_get_basename(argv0) : NULL;

    return g_strcmp0(name, SLIRP4NETNS_NAME) == 0;
}

const char *slirp4netns_usage(void)
{
    return SLIRP4NETNS_USAGE;
}

void slirp4netns_say_first(const Options *options)
{
    for (guint i = 0; i < options->notes->len; i++) {
        (void)printf("%s\n", (const char *)g_ptr_array_index(options->notes, i));
    }
    if (options->show_usage) {
        (void)fputs(slirp4netns_usage(), stdout);
    }
    (void)fflush(stdout);
}

char *slirp4netns_help(void)
{
    GString *text = g_string_new(SLIRP4NETNS_USAGE);

    g_string_append(text, "A network for one namespace, by sallyport " PACKAGE_VERSION
                          " in place of slirp4netns.\n\n");
    options_append_rows(text, &slirp4netns_table);
    g_string_append(text, "\nThe whole story: sallyport(1).\n");
    return g_string_free(text, FALSE);
}

/* A filter of system calls is there, but of our own making: hence the zeros, for who takes that line apart. */
char *slirp4netns_version(void)
{
    return g_strdup_printf("slirp4netns version " SLIRP4NETNS_RELEASE " (sallyport " PACKAGE_VERSION
                           ")\n"
                           "commit: sallyport-" PACKAGE_VERSION "\n"
                           "libslirp: %s\n"
                           "SLIRP_CONFIG_VERSION_MAX: %d\n"
                           "libseccomp: 0.0.0 (not used: the filters are sallyport's own)\n",
                           slirp_version_string(), SLIRP_CONFIG_VERSION_MAX);
}

static void slirp4netns_line(GString *text, const char *name, const NetAddr *addr)
{
    char format[NETADDR_STRLEN];

    if (addr->family != AF_UNSPEC) {
        g_string_append_printf(text, "* %-16s %s\n", name, netaddr_format(addr, format));
    }
}

char *slirp4netns_summary(const Settings *settings, const MessageLink *link)
{
    const GuestSettings *guest = &settings->guest;
    const NetAddr mask = netaddr_from_v4(UINT32_MAX << (32 - guest->cidr.prefix));
    const NetAddr first = netcidr_host(&guest->cidr, SETTINGS_HOST_DHCP);
    const NetAddr last = netcidr_host(&guest->cidr, SETTINGS_HOST_DHCP + SETTINGS_DHCP_LEASES - 1);
    GString *text = g_string_new("Starting slirp\n");
    char format[NETADDR_STRLEN];

    g_string_append_printf(text, "* %-16s %u\n", "MTU:", link->mtu);
    slirp4netns_line(text, "Network:", &guest->cidr.net);
    slirp4netns_line(text, "Netmask:", &mask);
    slirp4netns_line(text, "Gateway:", &guest->gateway);
    slirp4netns_line(text, "DNS:", &guest->dns);
    slirp4netns_line(text, "DHCP begin:", &first);
    slirp4netns_line(text, "DHCP end:", &last);
    slirp4netns_line(text, "Recommended IP:", &guest->addr);
    if (settings->api_socket != NULL) {
        g_string_append_printf(text, "* %-16s %s\n", "API Socket:", settings->api_socket);
    }
    slirp4netns_line(text, "Outbound IPv4:", &settings->outbound4);
    slirp4netns_line(text, "Outbound IPv6:", &settings->outbound6);
    if (guest->has_mac) {
        const uint8_t *m = guest->mac;

        g_string_append_printf(text, "* %-16s %02x:%02x:%02x:%02x:%02x:%02x\n",
                               "MAC address:", m[0], m[1], m[2], m[3], m[4], m[5]);
    }
    if ((settings->allow & NETCLASS_HOST_LOOPBACK) != 0) {
        g_string_append_printf(text,
                               "WARNING: 127.0.0.1:* on the host is accessible as %s (set "
                               "--disable-host-loopback to prohibit connecting to 127.0.0.1:*)\n",
                               netaddr_format(&guest->gateway, format));
    }
    return g_string_free(text, FALSE);
}

void slirp4netns_announce(const Settings *settings, const MessageLink *link)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    g_autofree char *text = NULL;

    if (settings->personality != PERSONALITY_SLIRP4NETNS) {
        return;
    }
    text = slirp4netns_summary(settings, link);
    if (poll(&out, 1, 0) > 0) {
        (void)!write(STDOUT_FILENO, text, strlen(text));
    }
}
