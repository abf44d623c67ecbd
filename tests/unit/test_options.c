/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_options.c - the command line, taken apart
 *
 * Does:     each option with and without its value, the guest and the command beside them, wrong words, --help.
 * Not here: what the values mean (test_settings.c).
 */
#include "config.h"

#include "options.h"

#include <errno.h>
#include <string.h>

#include "linefixture.h"

typedef struct OptionSample {
    const char *name;
    OptionId id;
} OptionSample;

static const OptionSample with_value[] = {
    {"publish-address", OPTION_PUBLISH_ADDRESS},
    {"report-fd", OPTION_REPORT_FD},
    {"ready-fd", OPTION_READY_FD},
    {"exit-fd", OPTION_EXIT_FD},
    {"netns", OPTION_NETNS},
    {"userns", OPTION_USERNS},
    {"netns-fd", OPTION_NETNS_FD},
    {"userns-fd", OPTION_USERNS_FD},
    {"ifname", OPTION_IFNAME},
    {"mtu", OPTION_MTU},
    {"mac", OPTION_MAC},
    {"cidr", OPTION_CIDR},
    {"cidr6", OPTION_CIDR6},
    {"resolv-conf", OPTION_RESOLV_CONF},
    {"fast-path", OPTION_FAST_PATH},
    {"max-flows", OPTION_MAX_FLOWS},
    {"max-pending", OPTION_MAX_PENDING},
    {"log-level", OPTION_LOG_LEVEL},
    {"pcap", OPTION_PCAP},
    {"control", OPTION_CONTROL},
    {"control-fd", OPTION_CONTROL_FD},
    {"observe-fd", OPTION_OBSERVE_FD},
};

static const OptionSample repeatable[] = {
    {"publish", OPTION_PUBLISH},
    {"allow", OPTION_ALLOW},
    {"outbound-addr", OPTION_OUTBOUND_ADDR},
    {"dns-upstream", OPTION_DNS_UPSTREAM},
};

static const OptionSample flags[] = {
    {"outlive-parent", OPTION_OUTLIVE_PARENT},
    {"insecure-no-lockdown", OPTION_INSECURE_NO_LOCKDOWN},
    {"no-ipv6", OPTION_NO_IPV6},
    {"no-configure", OPTION_NO_CONFIGURE},
    {"no-dns", OPTION_NO_DNS},
    {"help", OPTION_HELP},
    {"version", OPTION_VERSION},
};

static const char *const unsupported[] = {"fd", "listen", "socket-type"};

static unsigned values_given(const Options *options)
{
    unsigned given = 0;

    for (int id = 0; id < OPTION_VALUE_COUNT; id++) {
        given += options_value(options, (OptionId)id) != NULL;
    }
    for (int id = OPTION_LIST_FIRST; id < OPTION_LIST_END; id++) {
        given += options_list(options, (OptionId)id)->len;
    }
    for (int id = OPTION_FLAG_FIRST; id < OPTION_FLAG_END; id++) {
        given += options_flag(options, (OptionId)id);
    }
    return given;
}

static const char *list_at(const Options *options, OptionId id, guint i)
{
    const GPtrArray *list = options_list(options, id);

    cr_assert_gt(list->len, i);
    return g_ptr_array_index(list, i);
}

Test(options, samples_of_these_tests_are_all_there_are)
{
    /* Behind them come slirp4netns's: test_slirp4netns.c. */
    cr_assert_eq(G_N_ELEMENTS(with_value), OPTION_API_SOCKET);
    cr_assert_eq(G_N_ELEMENTS(repeatable), OPTION_LIST_END - OPTION_LIST_FIRST);
    cr_assert_eq(G_N_ELEMENTS(flags), OPTION_CONFIGURE - OPTION_FLAG_FIRST);
}

Test(options, nothing_given_is_nothing_set)
{
    Line line;

    line_parse(&line, "");
    cr_assert_eq(values_given(line.options), 0);
    cr_assert_eq(line.options->positionals->len, 0);
    cr_assert_null(line.options->command);
    cr_assert_eq(line.faults->len, 0);
    line_end(&line);
}

Test(options, each_single_option_keeps_its_value_alone)
{
    for (size_t i = 0; i < 2 * G_N_ELEMENTS(with_value); i++) {
        const OptionSample *sample = &with_value[i / 2];
        g_autofree char *words =
            g_strdup_printf("--%s%sa,b=c", sample->name, i % 2 == 0 ? " " : "=");
        Line line;

        line_parse(&line, words);
        line_expect_no_fault(&line, words);
        cr_expect_str_eq(options_value(line.options, sample->id), "a,b=c", "%s", words);
        cr_expect_eq(values_given(line.options), 1, "%s sets one thing", words);
        line_end(&line);
    }
}

Test(options, last_value_of_a_repeated_single_option_counts)
{
    for (size_t i = 0; i < G_N_ELEMENTS(with_value); i++) {
        g_autofree char *words =
            g_strdup_printf("--%s one --%s=two", with_value[i].name, with_value[i].name);
        Line line;

        line_parse(&line, words);
        line_expect_no_fault(&line, words);
        cr_expect_str_eq(options_value(line.options, with_value[i].id), "two", "%s", words);
        line_end(&line);
    }
}

Test(options, repeatable_options_keep_all_values_in_order)
{
    for (size_t i = 0; i < G_N_ELEMENTS(repeatable); i++) {
        const OptionSample *sample = &repeatable[i];
        g_autofree char *words = g_strdup_printf("--%s=b --%s a --no-dns --%s b", sample->name,
                                                 sample->name, sample->name);
        Line line;

        line_parse(&line, words);
        line_expect_no_fault(&line, words);
        cr_assert_eq(options_list(line.options, sample->id)->len, 3, "%s", words);
        cr_expect_str_eq(list_at(line.options, sample->id, 0), "b");
        cr_expect_str_eq(list_at(line.options, sample->id, 1), "a");
        cr_expect_str_eq(list_at(line.options, sample->id, 2), "b");
        cr_expect_eq(values_given(line.options), 4);
        line_end(&line);
    }
}

Test(options, each_flag_sets_itself_alone_however_often_it_is_given)
{
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        g_autofree char *words = g_strdup_printf("--%s --%s", flags[i].name, flags[i].name);
        Line line;

        line_parse(&line, words);
        line_expect_no_fault(&line, words);
        cr_expect(options_flag(line.options, flags[i].id), "%s", words);
        cr_expect_eq(values_given(line.options), 1, "%s sets one thing", words);
        line_end(&line);
    }
}

Test(options, short_letters_are_the_long_options)
{
    Line line;

    line_parse(&line, "-p 80 -p81:81 -hV -Vp 82");
    line_expect_no_fault(&line, "short letters");
    cr_assert_eq(options_list(line.options, OPTION_PUBLISH)->len, 3);
    cr_expect_str_eq(list_at(line.options, OPTION_PUBLISH, 0), "80");
    cr_expect_str_eq(list_at(line.options, OPTION_PUBLISH, 1), "81:81");
    cr_expect_str_eq(list_at(line.options, OPTION_PUBLISH, 2), "82");
    cr_expect(options_flag(line.options, OPTION_HELP));
    cr_expect(options_flag(line.options, OPTION_VERSION));
    line_end(&line);
}

Test(options, order_of_options_and_guest_does_not_matter)
{
    static const char *const rows[] = {
        "--mtu 1500 --no-dns 1234 5678",
        "--mtu 1500 1234 --no-dns 5678",
        "1234 --mtu 1500 5678 --no-dns",
        "1234 5678 --no-dns --mtu=1500",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Line line;

        line_parse(&line, rows[i]);
        line_expect_no_fault(&line, rows[i]);
        cr_expect_str_eq(options_value(line.options, OPTION_MTU), "1500", "%s", rows[i]);
        cr_expect(options_flag(line.options, OPTION_NO_DNS), "%s", rows[i]);
        cr_assert_eq(line.options->positionals->len, 2, "%s", rows[i]);
        cr_expect_str_eq(g_ptr_array_index(line.options->positionals, 0), "1234");
        cr_expect_str_eq(g_ptr_array_index(line.options->positionals, 1), "5678");
        cr_expect_null(line.options->command, "%s", rows[i]);
        line_end(&line);
    }
}

Test(options, words_behind_two_dashes_are_the_command_whatever_they_look_like)
{
    static const char *const rows[] = {"--no-dns -- sh --mtu 9 -- -x",
                                       "--no-dns 12 -- sh --mtu 9 -- -x"};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *command = NULL;
        Line line;

        line_parse(&line, rows[i]);
        line_expect_no_fault(&line, rows[i]);
        cr_assert_not_null(line.options->command, "%s", rows[i]);
        command = g_strjoinv(" ", line.options->command);
        cr_expect_str_eq(command, "sh --mtu 9 -- -x");
        cr_expect_eq(line.options->positionals->len, i, "%s", rows[i]);
        cr_expect_eq(values_given(line.options), 1, "%s", rows[i]);
        line_end(&line);
    }
}

Test(options, two_dashes_with_nothing_behind_are_an_empty_command)
{
    Line line;

    line_parse(&line, "--no-dns --");
    line_expect_no_fault(&line, "--no-dns --");
    cr_assert_not_null(line.options->command);
    cr_assert_null(line.options->command[0]);
    line_end(&line);
}

Test(options, two_dashes_as_a_value_are_a_value)
{
    Line line;

    line_parse(&line, "--ifname -- sh");
    line_expect_no_fault(&line, "--ifname -- sh");
    cr_expect_str_eq(options_value(line.options, OPTION_IFNAME), "--");
    cr_expect_null(line.options->command);
    cr_assert_eq(line.options->positionals->len, 1);
    cr_expect_str_eq(g_ptr_array_index(line.options->positionals, 0), "sh");
    line_end(&line);
}

Test(options, one_dash_and_the_empty_word_are_no_options)
{
    Line line;

    line_parse(&line, "-  --no-dns");
    line_expect_no_fault(&line, "-  --no-dns");
    cr_assert_eq(line.options->positionals->len, 2);
    cr_expect_str_eq(g_ptr_array_index(line.options->positionals, 0), "-");
    cr_expect_str_eq(g_ptr_array_index(line.options->positionals, 1), "");
    cr_expect(options_flag(line.options, OPTION_NO_DNS));
    line_end(&line);
}

Test(options, wrong_word_is_one_fault_that_names_it_and_the_rest_is_still_read)
{
    static const struct {
        const char *words; /* --no-dns is among them, and the PID 12 */
        const char *text;
    } rows[] = {
        {"--wrong --no-dns 12", "unrecognized option '--wrong'"},
        {"12 --wrong=1 --no-dns", "unrecognized option '--wrong=1'"},
        {"-x --no-dns 12", "unrecognized option '-x'"},
        {"-? --no-dns 12", "unrecognized option '-?'"},
        {"-: --no-dns 12", "unrecognized option '-:'"},
        {"--no-ip6 --no-dns 12", "unrecognized option '--no-ip6'"},
        {"--help=yes --no-dns 12", "unrecognized option '--help=yes'"},
        {"--no-dns 12 --mtu", "--mtu needs a value"},
        {"--no-dns 12 --publish", "--publish needs a value"},
        {"--no-dns 12 -p", "-p needs a value"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        Line line;

        line_parse(&line, rows[i].words);
        cr_expect_eq(line.faults->len, 1, "'%s' has %u faults", rows[i].words, line.faults->len);
        line_expect_fault(&line, 0, FAULT_OPTION, EINVAL, rows[i].text);
        cr_expect(options_flag(line.options, OPTION_NO_DNS), "%s", rows[i].words);
        cr_expect_eq(line.options->positionals->len, 1, "%s", rows[i].words);
        cr_expect_eq(values_given(line.options), 1, "%s", rows[i].words);
        line_end(&line);
    }
}

Test(options, letters_around_a_wrong_one_still_count)
{
    Line line;

    line_parse(&line, "-hxV");
    cr_assert_eq(line.faults->len, 1);
    line_expect_fault(&line, 0, FAULT_OPTION, EINVAL, "unrecognized option '-x'");
    cr_expect(options_flag(line.options, OPTION_HELP));
    cr_expect(options_flag(line.options, OPTION_VERSION));
    line_end(&line);
}

Test(options, beginning_of_several_options_is_none_of_them)
{
    Line line;

    line_parse(&line, "--no --report-fd 5");
    cr_assert_eq(line.faults->len, 1);
    line_expect_fault(&line, 0, FAULT_OPTION, EINVAL, "unrecognized option '--no'");
    cr_expect_str_eq(options_value(line.options, OPTION_REPORT_FD), "5");
    cr_expect_eq(values_given(line.options), 1);
    line_end(&line);
}

Test(options, faults_are_collected_in_order_and_report_fd_is_found_among_them)
{
    Line line;

    line_parse(&line, "--bad1 -y 12 --socket-type f --report-fd 9 --bad2 --mtu");
    cr_assert_eq(line.faults->len, 5);
    line_expect_fault(&line, 0, FAULT_OPTION, EINVAL, "unrecognized option '--bad1'");
    line_expect_fault(&line, 1, FAULT_OPTION, EINVAL, "unrecognized option '-y'");
    line_expect_fault(&line, 2, FAULT_NOT_SUPPORTED, 0, "--socket-type is not supported yet");
    line_expect_fault(&line, 3, FAULT_OPTION, EINVAL, "unrecognized option '--bad2'");
    line_expect_fault(&line, 4, FAULT_OPTION, EINVAL, "--mtu needs a value");
    cr_expect_str_eq(options_value(line.options, OPTION_REPORT_FD), "9");
    line_end(&line);
}

Test(options, what_is_not_built_yet_takes_its_value_and_says_so)
{
    for (size_t i = 0; i < 2 * G_N_ELEMENTS(unsupported); i++) {
        const char *name = unsupported[i / 2];
        g_autofree char *words =
            g_strdup_printf("--%s%svalue --no-dns", name, i % 2 == 0 ? " " : "=");
        g_autofree char *text = g_strdup_printf("--%s is not supported yet", name);
        Line line;

        line_parse(&line, words);
        cr_expect_eq(line.faults->len, 1, "%s", words);
        line_expect_fault(&line, 0, FAULT_NOT_SUPPORTED, 0, text);
        cr_expect_eq(line.options->positionals->len, 0, "%s", words);
        cr_expect_eq(values_given(line.options), 1, "%s", words);
        line_end(&line);
    }
}

Test(options, second_command_line_knows_nothing_of_the_first)
{
    Line first;
    Line second;

    line_parse(&first, "--mtu 1500 -p 80 12 --wrong");
    line_parse(&second, "--no-dns 34");
    cr_expect_eq(values_given(second.options), 1);
    cr_expect_eq(second.faults->len, 0);
    cr_assert_eq(second.options->positionals->len, 1);
    cr_expect_str_eq(g_ptr_array_index(second.options->positionals, 0), "34");
    cr_expect_str_eq(options_value(first.options, OPTION_MTU), "1500");
    line_end(&first);
    line_end(&second);
}

Test(options, names_are_those_of_the_command_line)
{
    for (size_t i = 0; i < G_N_ELEMENTS(with_value); i++) {
        cr_expect_str_eq(options_name(with_value[i].id), with_value[i].name);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(repeatable); i++) {
        cr_expect_str_eq(options_name(repeatable[i].id), repeatable[i].name);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        cr_expect_str_eq(options_name(flags[i].id), flags[i].name);
    }
}

/* Is there exactly one line of @help that begins with "--name" (and its letter, if any)? */
static bool help_lists(const char *help, const char *name)
{
    g_auto(GStrv) lines = g_strsplit(help, "\n", -1);
    unsigned found = 0;

    for (char **at = lines; *at != NULL; at++) {
        const char *dashes = strncmp(*at, "  ", 2) == 0 ? strstr(*at, "--") : NULL;

        found += dashes != NULL && dashes == *at + 6 && g_str_has_prefix(dashes + 2, name) &&
                 dashes[2 + strlen(name)] == ' ';
    }
    return found == 1;
}

Test(options, help_lists_each_option_once_and_none_that_is_not_built)
{
    const Options plain = {.personality = PERSONALITY_SALLYPORT};
    g_autofree char *help = options_help(&plain);

    cr_assert(g_str_has_prefix(help, "Usage: sallyport "));
    cr_assert(g_str_has_suffix(help, "\n"));
    for (size_t i = 0; i < G_N_ELEMENTS(with_value); i++) {
        cr_expect(help_lists(help, with_value[i].name), "%s", with_value[i].name);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(repeatable); i++) {
        cr_expect(help_lists(help, repeatable[i].name), "%s", repeatable[i].name);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        cr_expect(help_lists(help, flags[i].name), "%s", flags[i].name);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(unsupported); i++) {
        cr_expect_not(help_lists(help, unsupported[i]), "%s", unsupported[i]);
    }
    cr_expect_not_null(strstr(help, "\n  -p, --publish SPEC"));
    cr_expect_not_null(strstr(help, "\n  -h, --help"));
    cr_expect_not_null(strstr(help, "\n  -V, --version"));
}

Test(options, personality_is_the_first_word_or_a_fault)
{
    static const char *const rows[][2] = {
        {"--personality=slirp", "--personality slirp: want slirp4netns"},
        {"--personality=", "--personality : want slirp4netns"},
        {"--no-dns --personality=slirp4netns",
         "--personality slirp4netns: want it as the first word"},
        {"--personality=sallyport --personality sallyport",
         "--personality sallyport: want it as the first word"},
    };
    Line line;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        line_parse(&line, rows[i][0]);
        cr_expect_eq(line.options->personality, PERSONALITY_SALLYPORT, "%s", rows[i][0]);
        cr_expect_eq(line.faults->len, 1, "%s", rows[i][0]);
        line_expect_fault(&line, 0, FAULT_OPTION, EINVAL, rows[i][1]);
        line_end(&line);
    }
    line_parse(&line, "--personality sallyport --no-dns");
    line_expect_no_fault(&line, "--personality sallyport");
    cr_expect(options_flag(line.options, OPTION_NO_DNS));
    line_end(&line);
}
