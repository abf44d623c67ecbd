/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * main.c - the contents page: parse, judge, run
 *
 * Not here: everything else. Options are in options.c, their meaning in settings.c, a helper's life in supervisor.c, its client in
 *           control/ctl.c.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>
#include <jansson.h>

#include "control/ctl.h"
#include "lockdown/process.h"
#include "options.h"
#include "report.h"
#include "sallyport.h"
#include "settings.h"
#include "slirp4netns.h"
#include "supervisor.h"

/* Every cause its record and its line, then the last record. */
static int main_refuse(const Settings *settings, Report *report, const GPtrArray *faults)
{
    for (guint i = 0; i < faults->len; i++) {
        report_error(report, g_ptr_array_index(faults, i), NULL);
    }
    report_event(report, SALLYPORT_EVENT_EXIT,
                 json_pack("{s:s}", "reason", SALLYPORT_REASON_START_FAILED));
    report_drain(report, 1000);
    return settings->guest.kind == GUEST_COMMAND ? 125 : 1;
}

/* What the command line does not name is none of ours: a leaked fd of the runtime must not reach any of our processes. */
static void main_close_inherited(const Settings *settings)
{
    const int keep[] = {settings->report_fd,      settings->ready_fd,   settings->exit_fd,
                        settings->control_fd,     settings->observe_fd, settings->guest.netns_fd,
                        settings->guest.userns_fd};

    process_close_others(keep, G_N_ELEMENTS(keep));
}

static int main_print(const char *text)
{
    return fputs(text, stdout) == EOF || fflush(stdout) == EOF ? 1 : 0;
}

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) faults = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
    g_autoptr(Options) options = NULL;
    g_autoptr(Settings) settings = NULL;
    g_autoptr(Report) report = NULL;
    pid_t parent = getppid(); /* before it can end: later getppid() names somebody else */

    /* Ignored, as some parents leave it, it would reap our children behind our back. */
    (void)signal(SIGCHLD, SIG_DFL);
    if (process_fill_stdio() != 0) {
        return 1;
    }
    if (argc > 1 && strcmp(argv[1], "ctl") == 0 && !slirp4netns_is_called(argv[0])) {
        return ctl_main(argc - 1, argv + 1);
    }
    options = options_parse(argc, argv, faults);
    if (options_flag(options, OPTION_HELP)) {
        g_autofree char *help = options_help(options);

        return main_print(help);
    }
    if (options_flag(options, OPTION_VERSION)) {
        g_autofree char *version = options_version(options);

        return main_print(version);
    }
    settings = settings_new(options, faults);
    main_close_inherited(settings);
    report = report_new(settings->report_fd, settings->log_level);
    if (settings->personality == PERSONALITY_SLIRP4NETNS) {
        report_set_plain(report);
        slirp4netns_say_first(options);
    }
    if (faults->len > 0) {
        return main_refuse(settings, report, faults);
    }
    return supervisor_run(settings, parent, report);
}
