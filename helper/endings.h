/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_ENDINGS_H
#define SALLYPORT_ENDINGS_H

#include <stdbool.h>
#include <sys/types.h>

#include <glib.h>

#include "settings.h"

/* What ends a helper from outside, but for its guest: signals, its parent, --exit-fd. */
typedef struct Endings Endings;

/* @reason: a SALLYPORT_REASON_*; @number: of the signal, else 0; @from_terminal: it was typed (Ctrl-C), so that the whole foreground process
 * group got it. May be called more than once. */
typedef void (*EndingsFunc)(const char *reason, int number, bool from_terminal, void *user_data);

/**
 * endings_new() - watch them from @context
 *
 * SIGTERM, SIGINT, SIGQUIT and SIGHUP (unless it was ignored) come by signalfd(2) from now on. @parent, our parent when main() began, is held by a pidfd unless
 * --outlive-parent or --exit-fd was given. Return: NULL with @error set (FAULT_INTERNAL)
 */
Endings *endings_new(const Settings *settings, pid_t parent, GMainContext *context,
                     EndingsFunc func, void *user_data, GError **error);
void endings_free(Endings *endings);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Endings, endings_free)

#endif
