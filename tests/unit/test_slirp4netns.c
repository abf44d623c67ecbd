/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_slirp4netns.c - slirp4netns's command line and texts
 *
 * Does:     each option and what it comes to in our settings, what is so without any, each error word, help, version, summary.
 * Not here: what a helper then does (tests/system/test_slirp4netns*.c).
 */
#include "config.h"

#include "slirp4netns.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "linefixture.h"

/* The words behind "--personality=slirp4netns". */
static void judge(Line *line, const char *words)
{
    g_autofree char *all =
        g_strdup_printf("--personality=slirp4netns%s%s", words[0] != 0 ? " " : "", words);

    line_judge(line, all);
    cr_assert_eq(line->options->personality, PERSONALITY_SLIRP4NETNS, "%s", all);
}

static void judge_good(Line *line, const char *words)
{
    judge(line, words);
    line_expect_no_fault(line, words);
}

static void expect_addr(const NetAddr *addr, const char *text)
{
    char buf[NETADDR_STRLEN];

    cr_expect_str_eq(netaddr_format(addr, buf), text, "%s instead of %s", buf, text);
}

/* ---- which command line ---- */

static Personality called(const char *argv0, const char *first)
{
    g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
    char *name = g_strdup(argv0), *word = g_strdup(first);
    char *argv[] = {name, word, NULL};
    g_autoptr(Options) options = options_parse(first == NULL ? 1 : 2, argv, faults);
    Personality personality = options->personality;

    g_free(name);
    g_free(word);
    return personality;
}

Test(slirp4netns, basename_or_first_word_chooses_it)
{
    cr_expect_eq(called("slirp4netns", NULL), PERSONALITY_SLIRP4NETNS);
    cr_expect_eq(called("/usr/libexec/podman/slirp4netns", "1"), PERSONALITY_SLIRP4NETNS);
    cr_expect_eq(called("./slirp4netns", "--help"), PERSONALITY_SLIRP4NETNS);
    cr_expect_eq(called("sallyport", "--personality=slirp4netns"), PERSONALITY_SLIRP4NETNS);
    cr_expect_eq(called("slirp4netns", "--personality=sallyport"), PERSONALITY_SALLYPORT);
    cr_expect_eq(called("/slirp4netns/sallyport", "1"), PERSONALITY_SALLYPORT);
    cr_expect_eq(called("slirp4netns-2", "1"), PERSONALITY_SALLYPORT);
    cr_expect_eq(called("sallyport", "slirp4netns"), PERSONALITY_SALLYPORT);
}

/* ---- what is so by tradition ---- */

Test(slirp4netns, bare_line_has_the_traditions)
{
    Line line;
    const GuestSettings *guest;

    judge_good(&line, "42 tap7");
    guest = &line.settings->guest;
    cr_expect_eq(guest->kind, GUEST_PID);
    cr_expect_eq(guest->pid, 42);
    cr_expect_str_eq(guest->ifname, "tap7");
    cr_expect_eq(guest->mtu, 1500);
    cr_expect_not(guest->configure);
    cr_expect_not(guest->ipv6);
    cr_expect_not(guest->has_mac);
    cr_expect(guest->autoconf);
    cr_expect_eq(guest->fast_path, FAST_PATH_AUTO);
    expect_addr(&guest->gateway, "10.0.2.2");
    expect_addr(&guest->dns, "10.0.2.3");
    expect_addr(&guest->addr, "10.0.2.100");
    cr_expect_eq(line.settings->allow,
                 NETCLASS_HOST_LOOPBACK | NETCLASS_HOST | NETCLASS_LINK_LOCAL | NETCLASS_METADATA);
    cr_expect(line.settings->dns);
    cr_expect(line.settings->outlive_parent);
    cr_expect_eq(line.settings->ready_fd, -1);
    cr_expect_eq(line.settings->exit_fd, -1);
    cr_expect_null(line.settings->api_socket);
    cr_expect_eq(line.settings->log_level, LOG_LEVEL_WARNING);
    cr_expect_eq(line.options->notes->len, 0);
    cr_expect_not(line.options->show_usage);
    line_end(&line);
}

Test(slirp4netns, our_own_line_has_none_of_them)
{
    Line line;

    line_judge(&line, "42");
    line_expect_no_fault(&line, "42");
    cr_expect_eq(line.settings->personality, PERSONALITY_SALLYPORT);
    cr_expect_eq(line.settings->allow, 0);
    cr_expect_not(line.settings->guest.autoconf);
    cr_expect_not(line.settings->outlive_parent);
    line_end(&line);
}

/* ---- each option ---- */

Test(slirp4netns, configure_ipv6_mtu_mac_dns)
{
    static const uint8_t mac[] = {0x0e, 0xd4, 0x18, 0xd9, 0x38, 0xfb};
    static const char *const lines[] = {
        "-c -6 -m 65521 --macaddress 0e:d4:18:d9:38:fb --disable-dns 1 tap0",
        "1 --configure --enable-ipv6 tap0 --mtu=65521 --macaddress=0E:D4:18:D9:38:FB --disable-dns",
        "-c6m65521 --macaddr 0e:d4:18:d9:38:fb --disable-dns -- 1 tap0",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        Line line;

        judge_good(&line, lines[i]);
        cr_expect(line.settings->guest.configure, "%s", lines[i]);
        cr_expect(line.settings->guest.ipv6, "%s", lines[i]);
        cr_expect_not(line.settings->guest.ipv6_required, "%s", lines[i]);
        cr_expect_eq(line.settings->guest.mtu, 65521, "%s", lines[i]);
        cr_expect(line.settings->guest.has_mac, "%s", lines[i]);
        cr_expect_arr_eq(line.settings->guest.mac, mac, sizeof(mac));
        cr_expect_not(line.settings->dns, "%s", lines[i]);
        cr_expect_eq(line.settings->guest.pid, 1, "%s", lines[i]);
        cr_expect_str_eq(line.settings->guest.ifname, "tap0");
        line_end(&line);
    }
}

Test(slirp4netns, fds)
{
    Line line;
    int pipes[2];
    g_autofree char *words = NULL;

    cr_assert_eq(pipe(pipes), 0);
    words = g_strdup_printf("-r %d -e %d 1 tap0", pipes[1], pipes[0]);
    judge_good(&line, words);
    cr_expect_eq(line.settings->ready_fd, pipes[1]);
    cr_expect_eq(line.settings->exit_fd, pipes[0]);
    line_end(&line);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
}

Test(slirp4netns, cidr_moves_everything)
{
    Line line;

    judge_good(&line, "--cidr 10.0.135.128/25 1 tap0");
    expect_addr(&line.settings->guest.gateway, "10.0.135.130");
    expect_addr(&line.settings->guest.dns, "10.0.135.131");
    expect_addr(&line.settings->guest.addr, "10.0.135.228");
    line_end(&line);
}

Test(slirp4netns, host_loopback_can_be_disabled_by_two_names)
{
    static const char *const names[] = {"--disable-host-loopback", "--no-host-loopback"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *words = g_strdup_printf("%s 1 tap0", names[i]);
        Line line;

        judge_good(&line, words);
        cr_expect_eq(line.settings->allow, NETCLASS_HOST | NETCLASS_LINK_LOCAL | NETCLASS_METADATA,
                     "%s", words);
        cr_expect_eq(line.options->notes->len, i, "a warning of the old name alone");
        line_end(&line);
    }
}

Test(slirp4netns, api_socket_path)
{
    g_autofree char *fits = g_strnfill(107, 'a');
    g_autofree char *long_one = g_strnfill(108, 'a');
    g_autofree char *good = g_strdup_printf("-a %s 1 tap0", fits);
    g_autofree char *bad = g_strdup_printf("--api-socket=%s 1 tap0", long_one);
    g_autofree char *text = g_strdup_printf("the path of the API socket is too long: %s", long_one);
    Line line;

    judge(&line, good);
    cr_expect_str_eq(line.settings->api_socket, fits);
    line_end(&line);
    judge(&line, bad);
    line_expect_fault(&line, 0, FAULT_OPTION, ENAMETOOLONG, text);
    line_end(&line);
    judge(&line, "--api-socket= 1 tap0");
    line_expect_fault(&line, 0, FAULT_OPTION, EINVAL, "the path of the API socket is empty");
    line_end(&line);
}

Test(slirp4netns, outbound_addresses_and_interfaces)
{
    Line line;

    judge_good(&line, "--outbound-addr 192.0.2.1 --outbound-addr6=2001:db8::1 1 tap0");
    expect_addr(&line.settings->outbound4, "192.0.2.1");
    expect_addr(&line.settings->outbound6, "2001:db8::1");
    line_end(&line);
    /* The last one counts, as of every single option. */
    judge_good(&line, "--outbound-addr 192.0.2.1 --outbound-addr 192.0.2.2 1 tap0");
    expect_addr(&line.settings->outbound4, "192.0.2.2");
    line_end(&line);
    judge_good(&line, "--outbound-addr lo 1 tap0");
    expect_addr(&line.settings->outbound4, "127.0.0.1");
    line_end(&line);
}

Test(slirp4netns, sandbox_and_seccomp_change_nothing)
{
    Line line;

    judge_good(&line, "--enable-sandbox --create-sandbox --enable-seccomp 1 tap0");
    cr_expect_not(line.settings->insecure);
    line_end(&line);
}

Test(slirp4netns, guests)
{
    Line line;

    judge_good(&line, "--netns-type=pid 1 tap0");
    cr_expect_eq(line.settings->guest.kind, GUEST_PID);
    line_end(&line);
    judge_good(&line, "--netns-type=path /proc/self/ns/net tap0");
    cr_expect_eq(line.settings->guest.kind, GUEST_NETNS_PATH);
    cr_expect_str_eq(line.settings->guest.netns_path, "/proc/self/ns/net");
    cr_expect_null(line.settings->guest.userns_path);
    line_end(&line);
    /* Any other word means path. */
    judge_good(&line, "--userns-path=/proc/self/ns/user --netns-type=foo /proc/self/ns/net tap0");
    cr_expect_str_eq(line.settings->guest.netns_path, "/proc/self/ns/net");
    cr_expect_str_eq(line.settings->guest.userns_path, "/proc/self/ns/user");
    line_end(&line);
    judge_good(&line, "--userns-path=/proc/self/ns/user 1 tap0");
    cr_expect_str_eq(line.settings->guest.netns_path, "/proc/1/ns/net");
    cr_expect_str_eq(line.settings->guest.userns_path, "/proc/self/ns/user");
    line_end(&line);
    judge_good(&line, "--target-type=netns 1 tap0");
    line_end(&line);
}

Test(slirp4netns, callers_lines_are_understood)
{
    static const char *const lines[] = {
        "--disable-host-loopback --mtu=65520 --enable-sandbox --enable-seccomp --cidr=10.0.3.0/24 "
        "--enable-ipv6 -c -e %2$d -r %1$d --netns-type=path /proc/self/ns/net tap0",
        "--mtu 65520 -r %1$d --disable-host-loopback --cidr 10.0.2.0/24 --enable-sandbox "
        "--enable-seccomp --enable-ipv6 1 tap0",
        "--mtu 65520 -r %1$d --userns-path=/proc/self/ns/user --netns-type=path /proc/self/ns/net "
        "tap0",
    };
    int pipes[2];
    g_autofree char *one = NULL;
    g_autofree char *two = NULL;

    cr_assert_eq(pipe(pipes), 0);
    one = g_strdup_printf("%d", pipes[1]);
    two = g_strdup_printf("%d", pipes[0]);
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        GString *words = g_string_new(lines[i]);
        Line line;

        (void)g_string_replace(words, "%1$d", one, 0);
        (void)g_string_replace(words, "%2$d", two, 0);
        judge_good(&line, words->str);
        cr_expect_eq(line.settings->ready_fd, pipes[1]);
        cr_expect_eq(line.settings->guest.mtu, 65520);
        line_end(&line);
        (void)g_string_free(words, TRUE);
    }
    (void)close(pipes[0]);
    (void)close(pipes[1]);
}

/* ---- warnings ---- */

Test(slirp4netns, warnings)
{
    static const char *const rows[][2] = {
        {"-6 1 tap0", "WARNING: Support for IPv6 is experimental"},
        {"--enable-seccomp 1 tap0", "WARNING: Support for seccomp is experimental"},
        {"--outbound-addr 192.0.2.1 1 tap0",
         "WARNING: Support for --outbound-addr is experimental"},
        {"--outbound-addr6 2001:db8::1 1 tap0",
         "WARNING: Support for --outbound-addr6 is experimental"},
        {"--create-sandbox 1 tap0",
         "WARNING: --create-sandbox is deprecated, use --enable-sandbox"},
        {"--no-host-loopback 1 tap0",
         "WARNING: --no-host-loopback is deprecated, use --disable-host-loopback"},
        {"1 tap0 more", "WARNING: too many arguments"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Line line;

        judge_good(&line, rows[i][0]);
        cr_assert_eq(line.options->notes->len, 1, "%s", rows[i][0]);
        cr_expect_str_eq((const char *)g_ptr_array_index(line.options->notes, 0), rows[i][1]);
        line_end(&line);
    }
}

/* ---- error words ---- */

typedef struct Wrong {
    const char *words;
    const char *text;
    int errnum;
    bool usage;
} Wrong;

static const Wrong wrongs[] = {
    {"", "no PID or PATH", EINVAL, true},
    {"1", "no TAPNAME", EINVAL, true},
    {"-c", "no PID or PATH", EINVAL, true},
    {"abc tap0", "PID must be a positive integer", EINVAL, true},
    {"0 tap0", "PID must be a positive integer", EINVAL, true},
    {"-1 tap0", "PID must be a positive integer", EINVAL, true},
    {"1x tap0", "PID must be a positive integer", EINVAL, true},
    {"--foo 1 tap0", "unrecognized option '--foo'", EINVAL, true},
    {"-x 1 tap0", "unrecognized option '-x'", EINVAL, true},
    {"--publish=80 1 tap0", "unrecognized option '--publish=80'", EINVAL, true},
    {"1 tap0 --mtu", "--mtu needs a value", EINVAL, true},
    {"1 tap0 -r", "-r needs a value", EINVAL, true},
    {"-m 0 1 tap0", "MTU must be a positive integer (< 65522)", EINVAL, true},
    {"-m -5 1 tap0", "MTU must be a positive integer (< 65522)", EINVAL, true},
    {"-m 65522 1 tap0", "MTU must be a positive integer (< 65522)", EINVAL, true},
    {"-m abc 1 tap0", "MTU must be a positive integer (< 65522)", EINVAL, true},
    {"-e x 1 tap0", "exit-fd must be a non-negative integer", EINVAL, true},
    {"-e -1 1 tap0", "exit-fd must be a non-negative integer", EINVAL, true},
    {"-r x 1 tap0", "ready-fd must be a non-negative integer", EINVAL, true},
    {"-r 9999 1 tap0", "--ready-fd 9999: no such open file descriptor", EBADF, false},
    {"-e 9999 1 tap0", "--exit-fd 9999: no such open file descriptor", EBADF, false},
    {"--cidr 24 1 tap0", "invalid CIDR: 24", EINVAL, false},
    {"--cidr foo 1 tap0", "invalid CIDR: foo", EINVAL, false},
    {"--cidr 10.0.2.0 1 tap0", "invalid CIDR: 10.0.2.0", EINVAL, false},
    {"--cidr 10.0.2.0/ 1 tap0", "invalid CIDR: 10.0.2.0/", EINVAL, false},
    {"--cidr 10.0.2.0/024 1 tap0", "invalid CIDR: 10.0.2.0/024", EINVAL, false},
    {"--cidr 10.0.300.0/24 1 tap0", "invalid CIDR: 10.0.300.0/24", EINVAL, false},
    {"--cidr fd00::/64 1 tap0", "invalid CIDR: fd00::/64", EINVAL, false},
    {"--cidr 10.0.2.100/24 1 tap0",
     "CIDR needs to be a network address like 10.0.2.0/24, not like 10.0.2.100/24", EINVAL, false},
    {"--cidr 10.0.2.100/26 1 tap0", "prefix length needs to be 1-25", EINVAL, false},
    {"--cidr 10.0.2.0/0 1 tap0", "prefix length needs to be 1-25", EINVAL, false},
    {"--macaddress 0e:d4:18:d9:38:fb 1 tap0",
     "--macaddr cannot be specified when --configure or -c is not specified", EINVAL, true},
    {"-c --macaddress xx 1 tap0",
     "macaddress has to be a valid MAC address (six hexadecimal bytes, separated by ':'): \"xx\" "
     "is an invalid MAC address.",
     EINVAL, false},
    {"--outbound-addr nonesuch 1 tap0",
     "outbound-addr has to be valid ipv4 address or interface name.", EINVAL, false},
    {"--outbound-addr ::1 1 tap0", "outbound-addr has to be valid ipv4 address or interface name.",
     EINVAL, false},
    {"--outbound-addr6 192.0.2.1 1 tap0",
     "outbound-addr6 has to be valid ipv6 address or interface name.", EINVAL, false},
    {"--netns-type=path /no/such/path tap0",
     "existing path expected when --netns-type=path: No such file or directory", ENOENT, true},
    {"--netns-type=foo /no/such/path tap0",
     "existing path expected when --netns-type=path: No such file or directory", ENOENT, true},
    {"--userns-path=/no/such/path 1 tap0", "userns path doesn't exist: /no/such/path", ENOENT,
     true},
    {"--target-type=foo 1 tap0", "--target-type must be either \"netns\" or \"bess\"", EINVAL,
     true},
};

Test(slirp4netns, error_words)
{
    for (size_t i = 0; i < G_N_ELEMENTS(wrongs); i++) {
        const Wrong *wrong = &wrongs[i];
        Line line;

        judge(&line, wrong->words);
        cr_expect_eq(line.faults->len, 1, "'%s' has %u faults", wrong->words, line.faults->len);
        line_expect_fault(&line, 0, FAULT_OPTION, wrong->errnum, wrong->text);
        cr_expect_eq(line.options->show_usage, wrong->usage, "usage of '%s'", wrong->words);
        line_end(&line);
    }
}

Test(slirp4netns, several_faults_are_all_said)
{
    Line line;

    judge(&line, "-m 0 --cidr x --netns-type=path /no/such/path tap0");
    cr_expect_eq(line.faults->len, 3);
    line_end(&line);
}

Test(slirp4netns, what_is_not_built_yet_says_so)
{
    static const Wrong rows[] = {
        {"--netns-type=tapfd 3", "--netns-type=tapfd is not supported yet", 0, false},
        {"--target-type=bess /tmp/x", "--target-type=bess is not supported yet", 0, false},
    };
    static const char *const conflicts[][2] = {
        {"--target-type=bess -c /x", "--configure conflicts with --target-type=bess"},
        {"--target-type=bess --netns-type=pid /x",
         "--netns-type conflicts with --target-type=bess"},
        {"--target-type=bess --userns-path=/proc/self/ns/user /x",
         "--userns-path conflicts with --target-type=bess"},
        {"--target-type=bess /x /y", "too many arguments"},
        {"--target-type=bess", "want the path of a socket"},
    };
    Line line;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        judge(&line, rows[i].words);
        cr_expect_eq(line.faults->len, 1, "%s", rows[i].words);
        line_expect_fault(&line, 0, FAULT_NOT_SUPPORTED, 0, rows[i].text);
        line_end(&line);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(conflicts); i++) {
        judge(&line, conflicts[i][0]);
        cr_expect_eq(line.faults->len, 2, "%s", conflicts[i][0]);
        line_expect_fault(&line, 0, FAULT_OPTION, EINVAL, conflicts[i][1]);
        cr_expect(line.options->show_usage);
        line_end(&line);
    }
}

/* ---- texts ---- */

Test(slirp4netns, help_has_every_name_that_callers_look_for)
{
    static const char *const names[] = {
        "--netns-type",  "--disable-host-loopback",
        "--mtu",         "--enable-sandbox",
        "--cidr",        "--enable-seccomp",
        "--api-socket",  "--outbound-addr",
        "--enable-ipv6", "--outbound-addr6",
        "--configure",   "--exit-fd",
        "--ready-fd",    "--userns-path",
        "--macaddress",  "--disable-dns",
        "--target-type", "--help",
        "--version",
    };
    g_autofree char *help = slirp4netns_help();

    cr_expect(g_str_has_prefix(help, slirp4netns_usage()));
    cr_expect(g_str_has_prefix(help, "Usage: slirp4netns [OPTION]... PID|PATH|FD [TAPNAME]\n"));
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *word = g_strdup_printf("%s ", names[i]);

        cr_expect_not_null(strstr(help, word), "%s", names[i]);
    }
}

Test(slirp4netns, help_and_version_are_asked_for_by_letters_too)
{
    Line line;
    g_autofree char *help = NULL;

    judge(&line, "-h");
    cr_expect(options_flag(line.options, OPTION_HELP));
    help = options_help(line.options);
    cr_expect(g_str_has_prefix(help, slirp4netns_usage()));
    line_end(&line);
    judge(&line, "-v");
    cr_expect(options_flag(line.options, OPTION_VERSION));
    line_end(&line);
}

Test(slirp4netns, version_is_five_lines_in_order)
{
    static const char *const starts[] = {"slirp4netns version ", "commit: ", "libslirp: 4.",
                                         "SLIRP_CONFIG_VERSION_MAX: ", "libseccomp: "};
    g_autofree char *version = slirp4netns_version();
    g_auto(GStrv) lines = g_strsplit(version, "\n", -1);

    cr_assert_eq(g_strv_length(lines), 6);
    cr_expect_str_eq(lines[5], "");
    for (size_t i = 0; i < G_N_ELEMENTS(starts); i++) {
        cr_expect(g_str_has_prefix(lines[i], starts[i]), "%s", lines[i]);
    }
    cr_expect_geq(atoi(lines[3] + strlen(starts[3])), 3);
    cr_expect_geq(atoi(lines[4] + strlen(starts[4])), 0);
}

static char *summary_of(const char *words)
{
    const MessageLink link = {.mtu = 1500};
    char *text;
    Line line;

    judge(&line, words);
    text = slirp4netns_summary(line.settings, &link);
    line_end(&line);
    return text;
}

Test(slirp4netns, summary)
{
    g_autofree char *bare = summary_of("--disable-host-loopback 1 tap0");
    g_autofree char *full = summary_of("-c --cidr 192.168.0.0/17 --outbound-addr 192.0.2.1 "
                                       "--outbound-addr6 2001:db8::1 --macaddress "
                                       "0e:d4:18:d9:38:fb -a /tmp/a 1 tap0");

    cr_expect_str_eq(bare, "Starting slirp\n"
                           "* MTU:             1500\n"
                           "* Network:         10.0.2.0\n"
                           "* Netmask:         255.255.255.0\n"
                           "* Gateway:         10.0.2.2\n"
                           "* DNS:             10.0.2.3\n"
                           "* DHCP begin:      10.0.2.15\n"
                           "* DHCP end:        10.0.2.30\n"
                           "* Recommended IP:  10.0.2.100\n");
    cr_expect_str_eq(full, "Starting slirp\n"
                           "* MTU:             1500\n"
                           "* Network:         192.168.0.0\n"
                           "* Netmask:         255.255.128.0\n"
                           "* Gateway:         192.168.0.2\n"
                           "* DNS:             192.168.0.3\n"
                           "* DHCP begin:      192.168.0.15\n"
                           "* DHCP end:        192.168.0.30\n"
                           "* Recommended IP:  192.168.0.100\n"
                           "* API Socket:      /tmp/a\n"
                           "* Outbound IPv4:   192.0.2.1\n"
                           "* Outbound IPv6:   2001:db8::1\n"
                           "* MAC address:     0e:d4:18:d9:38:fb\n"
                           "WARNING: 127.0.0.1:* on the host is accessible as 192.168.0.2 (set "
                           "--disable-host-loopback to prohibit connecting to 127.0.0.1:*)\n");
}
