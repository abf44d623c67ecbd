/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * options.c - the command line, taken apart but not judged
 *
 * Does:     one table feeds getopt_long(3) and --help, so that they cannot drift. Each personality has its own.
 * Trusts:   nothing about the values: settings.c judges them.
 * Not here: meaning, defaults, ranges (settings.c); slirp4netns's table and what its words come to (slirp4netns.c).
 */
#include "config.h"

#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "fault.h"
#include "options_private.h"
#include "slirp4netns.h"

#define OPTION_FIRST "--personality"

static const OptionRow option_rows[] = {
    {"netns", 0, OPTION_NETNS, "PATH", "the guest's network namespace, by path"},
    {"userns", 0, OPTION_USERNS, "PATH",
     "the user namespace that owns it (default: asked of the kernel)"},
    {"netns-fd", 0, OPTION_NETNS_FD, "N", "the guest's network namespace, as an inherited fd"},
    {"userns-fd", 0, OPTION_USERNS_FD, "N", "the user namespace that owns it, as an inherited fd"},
    {"publish", 'p', OPTION_PUBLISH, "SPEC",
     "publish a port: [[ADDR:]HOSTPORT:]GUESTPORT[/PROTO][,OPTION]..."},
    {"publish-address", 0, OPTION_PUBLISH_ADDRESS, "ADDR",
     "host address of specs that name none (default: all)"},
    {"report-fd", 0, OPTION_REPORT_FD, "N", "write one JSON record per line to this fd"},
    {"ready-fd", 0, OPTION_READY_FD, "N",
     "write one byte, 1, to this fd when ready, then close it"},
    {"exit-fd", 0, OPTION_EXIT_FD, "N", "end when this fd hangs up"},
    {"control", 0, OPTION_CONTROL, "PATH",
     "take requests at this Unix socket, made with mode 0600"},
    {"control-fd", 0, OPTION_CONTROL_FD, "N",
     "take requests from this fd, a Unix socket, connected or listening"},
    {"observe-fd", 0, OPTION_OBSERVE_FD, "N", "the same, but refuse those that change anything"},
    {"outlive-parent", 0, OPTION_OUTLIVE_PARENT, NULL, "do not end with the parent process"},
    {"ifname", 0, OPTION_IFNAME, "NAME", "name of the interface in the guest (default: tap0)"},
    {"mtu", 0, OPTION_MTU, "N", "its MTU, 68 to 65521 (default: 65520)"},
    {"mac", 0, OPTION_MAC, "ADDR", "its link address (default: the kernel's choice)"},
    {"cidr", 0, OPTION_CIDR, "NET", "the guest's IPv4 network (default: 10.0.2.0/24)"},
    {"cidr6", 0, OPTION_CIDR6, "NET", "the guest's IPv6 network (default: fd00::/64)"},
    {"no-ipv6", 0, OPTION_NO_IPV6, NULL, "IPv4 alone"},
    {"no-configure", 0, OPTION_NO_CONFIGURE, NULL,
     "make the interface, but leave addresses and routes to others"},
    {"allow", 0, OPTION_ALLOW, "CLASS[,CLASS]",
     "let the guest reach host-loopback, host, link-local, metadata"},
    {"outbound-addr", 0, OPTION_OUTBOUND_ADDR, "ADDR",
     "source address of outbound connections, one per family"},
    {"dns-upstream", 0, OPTION_DNS_UPSTREAM, "ADDR",
     "ask this name server instead of the host's (repeatable)"},
    {"no-dns", 0, OPTION_NO_DNS, NULL, "no name service: its address stays silent"},
    {"resolv-conf", 0, OPTION_RESOLV_CONF, "PATH",
     "where the host's name servers stand (default: /etc/resolv.conf)"},
    {"fast-path", 0, OPTION_FAST_PATH, "MODE",
     "auto, off or require: TCP at the speed of the guest's kernel (default: auto)"},
    {"max-flows", 0, OPTION_MAX_FLOWS, "N",
     "TCP connections at most that are relayed (default: by RLIMIT_NOFILE)"},
    {"max-pending", 0, OPTION_MAX_PENDING, "N",
     "of the fast path, those that wait for their server (default: 1024)"},
    {"log-level", 0, OPTION_LOG_LEVEL, "LEVEL", "error, warning, info or debug (default: info)"},
    {"pcap", 0, OPTION_PCAP, "FILE", "record what passes the guest's interface"},
    {"insecure-no-lockdown", 0, OPTION_INSECURE_NO_LOCKDOWN, NULL,
     "for debugging: no namespaces, no Landlock, no filter of system calls"},
    {"help", 'h', OPTION_HELP, NULL, "show this and exit"},
    {"version", 'V', OPTION_VERSION, NULL, "show the version and exit"},
    {"personality", 0, OPTION_FIRST_WORD, "NAME",
     "as the first word: speak the command line of NAME, slirp4netns"},
    {"fd", 0, OPTION_UNSUPPORTED, "N", NULL},
    {"listen", 0, OPTION_UNSUPPORTED, "PATH", NULL},
    {"socket-type", 0, OPTION_UNSUPPORTED, "TYPE", NULL},
};

static const OptionTable option_table = {option_rows, G_N_ELEMENTS(option_rows)};

/* getopt_long() returns these plus the row, so that no value is mistaken for '?' or ':'. */
#define OPTION_BASE 0x1000

static void option_store(Options *options, const OptionRow *row, const char *argument,
                         GPtrArray *faults)
{
    if (row->id == OPTION_UNSUPPORTED) {
        g_ptr_array_add(faults,
                        fault_new(FAULT_NOT_SUPPORTED, 0, "--%s is not supported yet", row->name));
        options->other_guest |= strcmp(row->name, "fd") == 0 || strcmp(row->name, "listen") == 0;
    } else if (row->id == OPTION_FIRST_WORD) {
        g_ptr_array_add(faults,
                        fault_new(FAULT_OPTION, EINVAL, "--%s %s: want it as the first word",
                                  row->name, argument));
    } else if (row->id >= OPTION_FLAG_FIRST) {
        options->flag[row->id - OPTION_FLAG_FIRST] = true;
    } else if (row->id >= OPTION_LIST_FIRST) {
        g_ptr_array_add(options->list[row->id - OPTION_LIST_FIRST], g_strdup(argument));
    } else {
        g_free(options->value[row->id]);
        options->value[row->id] = g_strdup(argument);
    }
}

static void option_complain(char **argv, int result, GPtrArray *faults)
{
    /* For a short option getopt sets optopt; for a long one only argv says which word it was. */
    if (optopt > 0 && optopt < 128) {
        g_ptr_array_add(faults,
                        fault_new(FAULT_OPTION, EINVAL,
                                  result == ':' ? "-%c needs a value" : "unrecognized option '-%c'",
                                  optopt));
    } else if (result == ':') {
        g_ptr_array_add(faults,
                        fault_new(FAULT_OPTION, EINVAL, "%s needs a value", argv[optind - 1]));
    } else {
        g_ptr_array_add(
            faults, fault_new(FAULT_OPTION, EINVAL, "unrecognized option '%s'", argv[optind - 1]));
    }
}

/* A negative number is a wrong PID, not an option, unless the digit is one. */
static bool option_is_number(const OptionTable *table, const char *word)
{
    if (word[0] != '-' || !g_ascii_isdigit(word[1])) {
        return false;
    }
    for (size_t i = 0; i < table->count; i++) {
        if (table->rows[i].letter == word[1]) {
            return false;
        }
    }
    return true;
}

static void option_store_letter(Options *options, const OptionTable *table, int letter,
                                GPtrArray *faults)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->rows[i].letter == letter) {
            option_store(options, &table->rows[i], optarg, faults);
        }
    }
}

static void option_walk(Options *options, const OptionTable *table, int argc, char **argv,
                        const char *letters, const struct option *longs, GPtrArray *faults)
{
    char *nothing[] = {argv[0], NULL};

    opterr = 0;
    /* Begins anew, whatever a parse before this one left (getopt(3), NOTES): the first word below may not be getopt's. */
    optind = 0;
    (void)getopt_long(1, nothing, letters, longs, NULL);
    optind = 1;
    for (;;) {
        int before = optind;
        int result;

        if (before < argc && option_is_number(table, argv[before])) {
            g_ptr_array_add(options->positionals, g_strdup(argv[before]));
            optind = before + 1;
            continue;
        }
        optopt = 0;
        result = getopt_long(argc, argv, letters, longs, NULL);
        if (result >= OPTION_BASE) {
            option_store(options, &table->rows[result - OPTION_BASE], optarg, faults);
        } else if (result == '?' || result == ':') {
            option_complain(argv, result, faults);
        } else if (result != -1) {
            option_store_letter(options, table, result, faults);
        } else if (optind > before && strcmp(argv[optind - 1], "--") == 0) {
            options->command = g_strdupv(&argv[optind]);
            return;
        } else if (optind >= argc) {
            return;
        } else {
            g_ptr_array_add(options->positionals, g_strdup(argv[optind]));
            optind++;
        }
    }
}

void options_walk(Options *options, const OptionTable *table, int argc, char **argv,
                  GPtrArray *faults)
{
    g_autofree struct option *longs = g_new0(struct option, table->count + 1);
    /* '+': stop at each word that is no option, so that a PID before "--" and a COMMAND behind it stay apart. */
    g_autoptr(GString) letters = g_string_new("+:");

    for (size_t i = 0; i < table->count; i++) {
        const OptionRow *row = &table->rows[i];

        longs[i] =
            (struct option){row->name, row->argument != NULL ? required_argument : no_argument,
                            NULL, OPTION_BASE + (int)i};
        if (row->letter != 0) {
            g_string_append_c(letters, row->letter);
            g_string_append(letters, row->argument != NULL ? ":" : "");
        }
    }
    option_walk(options, table, argc, argv, letters->str, longs, faults);
}

/* The value of --personality if it is the first word; @ret_words: how many words that takes. */
static const char *options_first_word(int argc, char **argv, int *ret_words)
{
    *ret_words = 0;
    if (argc > 2 && strcmp(argv[1], OPTION_FIRST) == 0) {
        *ret_words = 2;
        return argv[2];
    }
    if (argc > 1 && g_str_has_prefix(argv[1], OPTION_FIRST "=")) {
        *ret_words = 1;
        return argv[1] + strlen(OPTION_FIRST "=");
    }
    return NULL;
}

/* @ret_words: as above. */
static Personality options_personality(int argc, char **argv, int *ret_words, GPtrArray *faults)
{
    const char *name = options_first_word(argc, argv, ret_words);

    if (name != NULL ? strcmp(name, SLIRP4NETNS_NAME) == 0
                     : argc > 0 && slirp4netns_is_called(argv[0])) {
        return PERSONALITY_SLIRP4NETNS;
    }
    if (name != NULL && strcmp(name, "sallyport") != 0) {
        g_ptr_array_add(faults, fault_new(FAULT_OPTION, EINVAL, OPTION_FIRST " %s: want %s", name,
                                          SLIRP4NETNS_NAME));
    }
    return PERSONALITY_SALLYPORT;
}

Options *options_parse(int argc, char **argv, GPtrArray *faults)
{
    Options *options = g_new0(Options, 1);
    int words;

    options->personality = options_personality(argc, argv, &words, faults);
    for (size_t i = 0; i < G_N_ELEMENTS(options->list); i++) {
        options->list[i] = g_ptr_array_new_with_free_func(g_free);
    }
    options->positionals = g_ptr_array_new_with_free_func(g_free);
    options->notes = g_ptr_array_new_with_free_func(g_free);
    argv += words;
    argc -= words;
    if (options->personality == PERSONALITY_SLIRP4NETNS) {
        slirp4netns_parse(options, argc, argv, faults);
    } else {
        options_walk(options, &option_table, argc, argv, faults);
    }
    return options;
}

void options_free(Options *options)
{
    if (options == NULL) {
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(options->value); i++) {
        g_free(options->value[i]);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(options->list); i++) {
        g_ptr_array_unref(options->list[i]);
    }
    g_ptr_array_unref(options->positionals);
    g_ptr_array_unref(options->notes);
    g_strfreev(options->command);
    g_free(options);
}

const char *options_value(const Options *options, OptionId id)
{
    g_return_val_if_fail(id < OPTION_VALUE_COUNT, NULL);
    return options->value[id];
}

const GPtrArray *options_list(const Options *options, OptionId id)
{
    g_return_val_if_fail(id >= OPTION_LIST_FIRST && id < OPTION_LIST_END, NULL);
    return options->list[id - OPTION_LIST_FIRST];
}

bool options_flag(const Options *options, OptionId id)
{
    g_return_val_if_fail(id >= OPTION_FLAG_FIRST && id < OPTION_FLAG_END, false);
    return options->flag[id - OPTION_FLAG_FIRST];
}

const char *options_name(OptionId id)
{
    for (size_t i = 0; i < option_table.count; i++) {
        if (option_rows[i].id == id) {
            return option_rows[i].name;
        }
    }
    g_return_val_if_reached("");
}

void options_append_rows(GString *text, const OptionTable *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const OptionRow *row = &table->rows[i];
        g_autofree char *left = NULL;

        if (row->help == NULL) {
            continue;
        }
        left = g_strdup_printf("--%s%s%s", row->name, row->argument != NULL ? " " : "",
                               row->argument != NULL ? row->argument : "");
        if (row->letter != 0) {
            g_string_append_printf(text, "  -%c, %-24s %s\n", row->letter, left, row->help);
        } else {
            g_string_append_printf(text, "      %-24s %s\n", left, row->help);
        }
    }
}

char *options_help(const Options *options)
{
    GString *text;

    if (options->personality == PERSONALITY_SLIRP4NETNS) {
        return slirp4netns_help();
    }
    text =
        g_string_new("Usage: sallyport [OPTION]... PID\n"
                     "       sallyport [OPTION]... --netns PATH [--userns PATH]\n"
                     "       sallyport [OPTION]... --netns-fd N [--userns-fd N]\n"
                     "       sallyport [OPTION]... -- COMMAND [ARG]...\n"
                     "The network door of one sandbox: NAT outwards, published ports inwards.\n\n");
    options_append_rows(text, &option_table);
    g_string_append(text, "\nThe whole story: sallyport(1).\n");
    return g_string_free(text, FALSE);
}

char *options_version(const Options *options)
{
    return options->personality == PERSONALITY_SLIRP4NETNS
               ? slirp4netns_version()
               : g_strdup("sallyport " PACKAGE_VERSION "\n");
}
