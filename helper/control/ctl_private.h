/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CTL_PRIVATE_H
#define SALLYPORT_CTL_PRIVATE_H

/* What the files of ctl share. */

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "sallyport.h"

/**
 * struct Ctl - one run
 * @path, @fd:    --control or --control-fd; NULL and -1 if not given
 * @control:      the connection; owned by ctl_main()
 * @args:         what stands behind the command, NULL-terminated
 * @timeout_ms:   for each request
 * @json:         reply lines as they are
 * @cut:          unpublish: connections too
 * @max_bytes:    pcap start: 0 if not given
 * @interval_us:  top: between two listings
 * @iterations:   top: screens, 0 for no end
 */
typedef struct Ctl {
    char *path;
    int fd;
    SallyportControl *control;
    char **args;
    int timeout_ms;
    gboolean json;
    gboolean cut;
    int64_t max_bytes;
    int64_t interval_us;
    int iterations;
} Ctl;

/* A command. Return: 0, or -errno of a libsallyport call, which the caller explains, or CTL_TOLD */
typedef int (*CtlFunc)(Ctl *ctl);

/* It has said what went wrong. */
#define CTL_TOLD 1

int ctl_ping(Ctl *ctl);
int ctl_publish(Ctl *ctl);
int ctl_unpublish(Ctl *ctl);
int ctl_list(Ctl *ctl);
int ctl_flows(Ctl *ctl);
int ctl_stats(Ctl *ctl);
int ctl_pcap(Ctl *ctl);
int ctl_log_level(Ctl *ctl);
int ctl_top(Ctl *ctl);

/* One line on stderr, "sallyport ctl: ...", with control characters escaped. Returns CTL_TOLD. */
int ctl_complain(const char *format, ...) G_GNUC_PRINTF(1, 2);

#endif
