/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fault.c - errors that can reach the parent
 *
 * Does:     packs the kind of failure and its errno into a GError code, and names both.
 * Not here: how they are printed (report.c).
 */
#include "config.h"

#include "fault.h"

#include <stdarg.h>
#include <string.h>

#include "sallyport.h"

/* errno values fit in 12 bits (asm-generic/errno-base.h: MAX_ERRNO is 4095). */
#define FAULT_SHIFT 12

G_DEFINE_QUARK(sallyport - fault, fault_error)

static const char *const fault_words[FAULT_KIND_COUNT] = {
    [FAULT_OPTION] = SALLYPORT_CODE_OPTION,
    [FAULT_TARGET] = SALLYPORT_CODE_TARGET,
    [FAULT_NAMESPACE] = SALLYPORT_CODE_NAMESPACE,
    [FAULT_TAP] = SALLYPORT_CODE_TAP,
    [FAULT_CONFIGURE] = SALLYPORT_CODE_CONFIGURE,
    [FAULT_PUBLISH] = SALLYPORT_CODE_PUBLISH,
    [FAULT_RESOLVER] = SALLYPORT_CODE_RESOLVER,
    [FAULT_IPV6] = SALLYPORT_CODE_IPV6,
    [FAULT_PING] = SALLYPORT_CODE_PING,
    [FAULT_REFUSED] = SALLYPORT_CODE_REFUSED,
    [FAULT_LIMIT] = SALLYPORT_CODE_LIMIT,
    [FAULT_LOCKDOWN] = SALLYPORT_CODE_LOCKDOWN,
    [FAULT_COMMAND] = SALLYPORT_CODE_COMMAND,
    [FAULT_REPORT] = SALLYPORT_CODE_REPORT,
    [FAULT_FAST_PATH] = SALLYPORT_CODE_FAST_PATH,
    [FAULT_NOT_SUPPORTED] = SALLYPORT_CODE_NOT_SUPPORTED,
    [FAULT_INTERNAL] = SALLYPORT_CODE_INTERNAL,
};

static GError *G_GNUC_PRINTF(3, 0)
    fault_new_valist(FaultKind kind, int errnum, const char *format, va_list args)
{
    return g_error_new_valist(FAULT_ERROR, ((int)kind << FAULT_SHIFT) | errnum, format, args);
}

GError *fault_new(FaultKind kind, int errnum, const char *format, ...)
{
    va_list args;
    GError *error;

    va_start(args, format);
    error = fault_new_valist(kind, errnum, format, args);
    va_end(args);
    return error;
}

void fault_set(GError **error, FaultKind kind, int errnum, const char *format, ...)
{
    va_list args;

    if (error == NULL) {
        return;
    }
    va_start(args, format);
    g_propagate_error(error, fault_new_valist(kind, errnum, format, args));
    va_end(args);
}

FaultKind fault_kind(const GError *error)
{
    if (error->domain != FAULT_ERROR) {
        return FAULT_INTERNAL;
    }
    return (FaultKind)(error->code >> FAULT_SHIFT);
}

int fault_errno(const GError *error)
{
    if (error->domain != FAULT_ERROR) {
        return 0;
    }
    return error->code & ((1 << FAULT_SHIFT) - 1);
}

const char *fault_word(FaultKind kind)
{
    g_return_val_if_fail((unsigned)kind < FAULT_KIND_COUNT, SALLYPORT_CODE_INTERNAL);
    return fault_words[kind];
}

const char *fault_errno_name(int errnum)
{
    return errnum == 0 ? NULL : strerrorname_np(errnum);
}
