/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_SLIRP4NETNS_H
#define SALLYPORT_SLIRP4NETNS_H

#include <glib.h>

#include "message.h"
#include "options.h"
#include "settings.h"

/* The --personality that chooses it. */
#define SLIRP4NETNS_NAME "slirp4netns"

/* Is it that name we are called by? @argv0 may be NULL. */
bool slirp4netns_is_called(const char *argv0);

/**
 * slirp4netns_parse() - its command line, in our words
 * @options: empty; filled in as if our own command line had said the same
 * @argv:    argv[0] is skipped
 * @faults:  GError elements, in the words its callers and their tests look for
 *
 * Looks at paths and at the host's interfaces, opens nothing that stays open.
 */
void slirp4netns_parse(Options *options, int argc, char **argv, GPtrArray *faults);

/* What callers search for names of options; and the five lines of --version. g_free(). */
char *slirp4netns_help(void);
char *slirp4netns_version(void);
/* The line that goes before a message. Static. */
const char *slirp4netns_usage(void);

/* Its warnings and, where a fault is of that kind, its usage, on standard output: what it says before anything else. */
void slirp4netns_say_first(const Options *options);

/* What people paste into bug reports; lines. g_free(). */
char *slirp4netns_summary(const Settings *settings, const MessageLink *link);

/* The same on standard output, if that takes it now: nobody reads it for more than curiosity. */
void slirp4netns_announce(const Settings *settings, const MessageLink *link);

#endif
