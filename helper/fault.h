/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_FAULT_H
#define SALLYPORT_FAULT_H

#include <glib.h>

/*
 * Every failure that can reach the parent is a GError of this domain: what kind of thing failed (the "code" of the
 * record), the errno behind it (0 if none), and one sentence that names the option or object and the cause.
 */
#define FAULT_ERROR (fault_error_quark())
GQuark fault_error_quark(void);

/* The order is that of the words in fault.c. */
typedef enum FaultKind {
    FAULT_OPTION,
    FAULT_TARGET,
    FAULT_NAMESPACE,
    FAULT_TAP,
    FAULT_CONFIGURE,
    FAULT_PUBLISH,
    FAULT_RESOLVER,
    FAULT_IPV6,
    FAULT_PING,
    FAULT_REFUSED,
    FAULT_LIMIT,
    FAULT_LOCKDOWN,
    FAULT_COMMAND,
    FAULT_REPORT,
    FAULT_FAST_PATH,
    FAULT_NOT_SUPPORTED,
    FAULT_INTERNAL,
    FAULT_KIND_COUNT
} FaultKind;

/* Sets @error; @errnum 0 if no errno is behind it. */
void fault_set(GError **error, FaultKind kind, int errnum, const char *format, ...)
    G_GNUC_PRINTF(4, 5);
GError *fault_new(FaultKind kind, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Of an error of another domain: FAULT_INTERNAL, 0. */
FaultKind fault_kind(const GError *error);
int fault_errno(const GError *error);

/* The word of sallyport.h for @kind; "EADDRINUSE" for an errno, NULL for 0 or an unknown one. */
const char *fault_word(FaultKind kind);
const char *fault_errno_name(int errnum);

#endif
