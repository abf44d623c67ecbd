/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_OPTIONS_H
#define SALLYPORT_OPTIONS_H

#include <stdbool.h>

#include <glib.h>

/* Whose command line we speak: by the name we are called by, or --personality as the first word. */
typedef enum Personality {
    PERSONALITY_SALLYPORT,
    PERSONALITY_SLIRP4NETNS,
} Personality;

/* Options that take one value; the index of OptionValues.value. */
typedef enum OptionId {
    OPTION_PUBLISH_ADDRESS,
    OPTION_REPORT_FD,
    OPTION_READY_FD,
    OPTION_EXIT_FD,
    OPTION_NETNS,
    OPTION_USERNS,
    OPTION_NETNS_FD,
    OPTION_USERNS_FD,
    OPTION_IFNAME,
    OPTION_MTU,
    OPTION_MAC,
    OPTION_CIDR,
    OPTION_CIDR6,
    OPTION_RESOLV_CONF,
    OPTION_FAST_PATH,
    OPTION_MAX_FLOWS,
    OPTION_MAX_PENDING,
    OPTION_LOG_LEVEL,
    OPTION_PCAP,
    OPTION_CONTROL,
    OPTION_CONTROL_FD,
    OPTION_OBSERVE_FD,
    /* slirp4netns's own. */
    OPTION_API_SOCKET,
    OPTION_NETNS_TYPE,
    OPTION_TARGET_TYPE,
    OPTION_OUTBOUND_ADDR4,
    OPTION_OUTBOUND_ADDR6,
    OPTION_VALUE_COUNT,
    /* Repeatable: the index of OptionValues.list, less OPTION_LIST_FIRST. */
    OPTION_LIST_FIRST = OPTION_VALUE_COUNT,
    OPTION_PUBLISH = OPTION_LIST_FIRST,
    OPTION_ALLOW,
    OPTION_OUTBOUND_ADDR,
    OPTION_DNS_UPSTREAM,
    OPTION_LIST_END,
    /* Without a value: the index of OptionValues.flag, less OPTION_FLAG_FIRST. */
    OPTION_FLAG_FIRST = OPTION_LIST_END,
    OPTION_OUTLIVE_PARENT = OPTION_FLAG_FIRST,
    OPTION_NO_IPV6,
    OPTION_NO_CONFIGURE,
    OPTION_NO_DNS,
    OPTION_INSECURE_NO_LOCKDOWN,
    OPTION_HELP,
    OPTION_VERSION,
    /* slirp4netns's own. */
    OPTION_CONFIGURE,
    OPTION_ENABLE_IPV6,
    OPTION_DISABLE_HOST_LOOPBACK,
    OPTION_NO_HOST_LOOPBACK, /* the same, deprecated */
    OPTION_ENABLE_SANDBOX,
    OPTION_CREATE_SANDBOX, /* the same, deprecated */
    OPTION_ENABLE_SECCOMP,
    OPTION_FLAG_END,
    OPTION_UNSUPPORTED,
    OPTION_FIRST_WORD, /* --personality: has been looked at before the table is */
} OptionId;

/**
 * struct Options - the command line as it was given, unjudged
 * @value:       last value of each single option, or NULL
 * @list:        all values of each repeatable one, in order; never NULL
 * @flag:        whether each flag was given
 * @positionals: what is neither an option nor behind "--"
 * @other_guest: an option that is not supported yet names the guest, so there is no use in asking for another
 * @command:     what stands behind "--", NULL-terminated; NULL if there is no "--"
 * @show_usage:  slirp4netns: a fault is of the kind for which it prints its usage too
 * @notes:       slirp4netns: lines for standard output, whatever comes of the rest; never NULL
 */
typedef struct Options {
    Personality personality;
    char *value[OPTION_VALUE_COUNT];
    GPtrArray *list[OPTION_LIST_END - OPTION_LIST_FIRST];
    bool flag[OPTION_FLAG_END - OPTION_FLAG_FIRST];
    GPtrArray *positionals;
    bool other_guest;
    char **command;
    bool show_usage;
    GPtrArray *notes;
} Options;

/**
 * options_parse() - take the command line apart
 * @argv:   argv[0] included; not changed but for getopt's own reading, strings are copied
 * @faults: GError elements (FAULT_OPTION, FAULT_NOT_SUPPORTED) are added, one per wrong word
 *
 * A personality's own words are turned into ours (slirp4netns.c), so that whoever reads the result need not know them.
 *
 * Never returns NULL: the rest of a wrong command line is still wanted, for --report-fd above all.
 */
Options *options_parse(int argc, char **argv, GPtrArray *faults);
void options_free(Options *options);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Options, options_free)

const char *options_value(const Options *options, OptionId id);
const GPtrArray *options_list(const Options *options, OptionId id);
bool options_flag(const Options *options, OptionId id);

/* "mtu" for OPTION_MTU: for messages. */
const char *options_name(OptionId id);

/* The text of --help, made from the table that the parser used. g_free(). */
char *options_help(const Options *options);
/* The text of --version. g_free(). */
char *options_version(const Options *options);

#endif
