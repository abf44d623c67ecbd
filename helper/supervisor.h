/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_SUPERVISOR_H
#define SALLYPORT_SUPERVISOR_H

#include <sys/types.h>

#include "report.h"
#include "settings.h"

/**
 * supervisor_run() - the life of one helper
 * @settings: borrowed
 * @parent:   of this process, as it was when main() began
 * @report:   borrowed; the exit record is written to it before this returns
 *
 * Starts the processes, says ready, and waits for the end. All processes of ours have ended and all ports are free when it returns.
 *
 * Return: the exit status
 */
int supervisor_run(const Settings *settings, pid_t parent, Report *report);

#endif
