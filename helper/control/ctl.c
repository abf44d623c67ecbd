/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * ctl.c - "sallyport ctl": ask and change a running helper from a shell
 *
 * Does:     command line, connection, one command, and what went wrong as one line. One table of options and one of commands feed
 *           the parser and --help.
 * Runs in:  a process of its own, as whoever calls it; nothing is locked down, and nothing of a helper is in it.
 * Trusts:   the helper at the other end to say the truth, not to be kind to a terminal.
 * Not here: the commands (ctl_commands.c, ctl_top.c); requests and replies (libsallyport, helper/parent/).
 */
#include "config.h"

#include "control/ctl.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "control/ctl_private.h"
#include "control/ctl_table.h"

#define TIMEOUT_S  10.0
#define INTERVAL_S 1.0
#define NOT_GIVEN  INT_MIN

/* @options: of those below that belong to no other command: OPTIONS_*. */
typedef struct CtlCommand {
    const char *name;
    const char *arguments;
    const char *help;
    CtlFunc func;
    guint min_args;
    guint max_args;
    unsigned options;
} CtlCommand;

enum {
    OPTIONS_CUT = 1U << 0,
    OPTIONS_MAX_BYTES = 1U << 1,
    OPTIONS_TOP = 1U << 2,
    OPTIONS_JSON = 1U << 3,
};

static const CtlCommand ctl_commands[] = {
    {"ping", "", "say the helper's version", ctl_ping, 0, 0, OPTIONS_JSON},
    {"publish", "SPEC", "publish a port, as sallyport -p does", ctl_publish, 1, 1, OPTIONS_JSON},
    {"unpublish", "NUMBER|SPEC",
     "take it back, by its number or the very text it was published with", ctl_unpublish, 1, 1,
     OPTIONS_CUT | OPTIONS_JSON},
    {"list", "", "what is published", ctl_list, 0, 0, OPTIONS_JSON},
    {"flows", "", "connections and their bytes", ctl_flows, 0, 0, OPTIONS_JSON},
    {"top", "", "the same by rate, again and again; q ends", ctl_top, 0, 0, OPTIONS_TOP},
    {"stats", "", "counters", ctl_stats, 0, 0, OPTIONS_JSON},
    {"pcap", "start FILE", "capture what passes the sandbox's interface", ctl_pcap, 1, 2,
     OPTIONS_MAX_BYTES | OPTIONS_JSON},
    {"pcap", "stop", "end that", ctl_pcap, 1, 2, OPTIONS_MAX_BYTES | OPTIONS_JSON},
    {"log-level", "LEVEL", "error, warning, info or debug", ctl_log_level, 1, 1, OPTIONS_JSON},
};

/* The command line before it is judged; numbers are NOT_GIVEN if they were not. */
typedef struct CtlOptions {
    gboolean help;
    double timeout_s;
    double interval_s;
    gint64 max_bytes;
    gint iterations;
} CtlOptions;

int ctl_complain(const char *format, ...)
{
    g_autofree char *text = NULL, *escaped = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    escaped = ctl_escape(text);
    (void)fprintf(stderr, "sallyport ctl: %s\n", escaped);
    return CTL_TOLD;
}

static int ctl_explain_refusal(const Ctl *ctl, const char *command)
{
    const SallyportRefusal *refusal = sallyport_control_refusal(ctl->control);
    const char *text = refusal->message;

    if (ctl->json) {
        (void)puts(sallyport_control_reply(ctl->control));
    }
    if (g_str_has_prefix(text, command) && text[strlen(command)] == ':') {
        text += strlen(command) + 1; /* some say so themselves */
        text += strspn(text, " ");
    }
    if (refusal->errno_name != NULL && strstr(text, refusal->errno_name) == NULL) {
        return ctl_complain("%s: %s (%s)", command, text, refusal->errno_name);
    }
    return ctl_complain("%s: %s", command, text);
}

static int ctl_explain(const Ctl *ctl, const char *command, int result)
{
    switch (result) {
    case CTL_TOLD:
        return CTL_TOLD;
    case -EREMOTEIO:
        return ctl_explain_refusal(ctl, command);
    case -ETIMEDOUT:
        return ctl_complain("%s: no answer within %g s", command, ctl->timeout_ms / 1000.0);
    case -EPIPE:
        return ctl_complain("%s: the helper closed the connection", command);
    case -EBADMSG:
        return ctl_complain("%s: what answers there is no sallyport, or of another kind", command);
    case -EMSGSIZE:
        return ctl_complain("%s: that is too long", command);
    case -EINVAL:
        return ctl_complain("%s: that is not UTF-8", command);
    default:
        return ctl_complain("%s: %s", command, g_strerror(-result));
    }
}

static void ctl_print_help(GOptionContext *context)
{
    g_autoptr(GString) summary = g_string_new("Asks or changes a running helper.\n\nCommands:\n");
    g_autofree char *help = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(ctl_commands); i++) {
        const CtlCommand *row = &ctl_commands[i];
        g_autofree char *left = g_strdup_printf("%s %s", row->name, row->arguments);

        g_string_append_printf(summary, "  %-22s %s\n", left, row->help);
    }
    g_string_truncate(summary, summary->len - 1); /* its own newline comes behind it */
    g_option_context_set_summary(context, summary->str);
    help = g_option_context_get_help(context, FALSE, NULL);
    (void)fputs(help, stdout);
}

/* False after a complaint. */
static bool ctl_seconds(const char *name, double seconds, double at_least)
{
    if (seconds >= at_least && seconds <= 86400) {
        return true; /* not so for NaN */
    }
    (void)ctl_complain("--%s: want seconds, %g to 86400", name, at_least);
    return false;
}

static bool ctl_positive(const char *name, gint64 number)
{
    if (number > 0 || number == NOT_GIVEN) {
        return true;
    }
    (void)ctl_complain("--%s: want at least 1", name);
    return false;
}

static bool ctl_judge_options(Ctl *ctl, CtlOptions *options, const CtlCommand *command)
{
    bool interval_given = !(options->interval_s <= NOT_GIVEN); /* also if it is NaN */
    const struct {
        bool given;
        unsigned option;
        const char *name;
    } rows[] = {
        {ctl->json, OPTIONS_JSON, "json"},
        {ctl->cut, OPTIONS_CUT, "cut"},
        {options->max_bytes != NOT_GIVEN, OPTIONS_MAX_BYTES, "max-bytes"},
        {interval_given, OPTIONS_TOP, "interval"},
        {options->iterations != NOT_GIVEN, OPTIONS_TOP, "iterations"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].given && (command->options & rows[i].option) == 0) {
            (void)ctl_complain("%s has no --%s", command->name, rows[i].name);
            return false;
        }
    }
    options->interval_s = interval_given ? options->interval_s : INTERVAL_S;
    if (!ctl_seconds("timeout", options->timeout_s, 0.001) ||
        !ctl_seconds("interval", options->interval_s, 0.05)) {
        return false;
    }
    if (!ctl_positive("max-bytes", options->max_bytes) ||
        !ctl_positive("iterations", options->iterations)) {
        return false;
    }
    ctl->timeout_ms = (int)(options->timeout_s * 1000);
    ctl->interval_us = (int64_t)(options->interval_s * G_USEC_PER_SEC);
    ctl->max_bytes = MAX(options->max_bytes, 0);
    ctl->iterations = MAX(options->iterations, 0);
    return true;
}

static const CtlCommand *ctl_find(const char *name, guint args)
{
    const CtlCommand *found = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(ctl_commands) && found == NULL; i++) {
        found = strcmp(ctl_commands[i].name, name) == 0 ? &ctl_commands[i] : NULL;
    }
    if (found == NULL) {
        (void)ctl_complain("'%s' is no command; see --help", name);
    } else if (args < found->min_args || args > found->max_args) {
        (void)ctl_complain("%s: want %s", name,
                           found->max_args == 0 ? "no more words" : found->arguments);
        found = NULL;
    }
    return found;
}

/* GOption leaves the "--" where it stands if what is behind it looks like an option. */
static void ctl_drop_dashes(char **words)
{
    while (*words != NULL && strcmp(*words, "--") != 0) {
        words++;
    }
    if (*words != NULL) {
        g_free(*words);
        for (; *words != NULL; words++) {
            words[0] = words[1];
        }
    }
}

static int ctl_connect(Ctl *ctl)
{
    int r;

    if ((ctl->path == NULL) == (ctl->fd < 0)) {
        return ctl_complain("want one of --control PATH and --control-fd N");
    }
    if (ctl->path != NULL) {
        r = sallyport_control_open(ctl->path, ctl->timeout_ms, &ctl->control);
        return r < 0 ? ctl_complain("cannot connect to %s: %s", ctl->path, g_strerror(-r)) : 0;
    }
    r = sallyport_control_open_fd(ctl->fd, &ctl->control);
    return r < 0 ? ctl_complain("--control-fd %d: %s", ctl->fd,
                                r == -EINVAL ? "not a stream socket of AF_UNIX" : g_strerror(-r))
                 : 0;
}

static int ctl_run(Ctl *ctl, const CtlCommand *command)
{
    int r = ctl_connect(ctl);

    if (r == 0) {
        r = command->func(ctl);
        r = r == 0 ? 0 : ctl_explain(ctl, command->name, r);
    }
    if (fflush(stdout) == EOF && r == 0) {
        r = ctl_complain("cannot write: %s", g_strerror(errno));
    }
    sallyport_control_close(ctl->control);
    return r == 0 ? 0 : 1;
}

int ctl_main(int argc, char **argv)
{
    Ctl ctl = {.fd = -1};
    CtlOptions options = {.timeout_s = TIMEOUT_S,
                          .interval_s = NOT_GIVEN,
                          .max_bytes = NOT_GIVEN,
                          .iterations = NOT_GIVEN};
    const GOptionEntry entries[] = {
        {"control", 0, 0, G_OPTION_ARG_FILENAME, &ctl.path, "the helper's control socket", "PATH"},
        {"control-fd", 0, 0, G_OPTION_ARG_INT, &ctl.fd, "the same as an inherited fd", "N"},
        {"json", 0, 0, G_OPTION_ARG_NONE, &ctl.json, "print replies as they are, one a line", NULL},
        {"timeout", 0, 0, G_OPTION_ARG_DOUBLE, &options.timeout_s,
         "wait so long for each answer (default: 10)", "SECONDS"},
        {"cut", 0, 0, G_OPTION_ARG_NONE, &ctl.cut,
         "unpublish: end its connections too (default: they live on)", NULL},
        {"max-bytes", 0, 0, G_OPTION_ARG_INT64, &options.max_bytes,
         "pcap start: size of FILE at most", "N"},
        {"interval", 0, 0, G_OPTION_ARG_DOUBLE, &options.interval_s,
         "top: time between two screens (default: 1)", "SECONDS"},
        {"iterations", 0, 0, G_OPTION_ARG_INT, &options.iterations, "top: end after N screens",
         "N"},
        {"help", 'h', 0, G_OPTION_ARG_NONE, &options.help, "show this and exit", NULL},
        {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("COMMAND [ARG]...");
    g_auto(GStrv) words = g_strdupv(argv);
    g_autoptr(GError) error = NULL;
    const CtlCommand *command = NULL;
    int status = 1;

    (void)argc;
    g_set_prgname("sallyport ctl");
    g_option_context_add_main_entries(context, entries, NULL);
    g_option_context_set_help_enabled(context, FALSE);
    if (!g_option_context_parse_strv(context, &words, &error)) {
        (void)ctl_complain("%s", error->message);
    } else if (options.help) {
        ctl_print_help(context);
        status = fflush(stdout) == EOF ? 1 : 0;
    } else {
        ctl_drop_dashes(words);
        if (words[1] == NULL) {
            (void)ctl_complain("want a command; see --help");
        } else {
            ctl.args = &words[2];
            command = ctl_find(words[1], g_strv_length(ctl.args));
        }
    }
    if (command != NULL && ctl_judge_options(&ctl, &options, command)) {
        status = ctl_run(&ctl, command);
    }
    g_free(ctl.path);
    return status;
}
