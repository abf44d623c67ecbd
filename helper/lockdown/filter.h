/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_LOCKDOWN_FILTER_H
#define SALLYPORT_LOCKDOWN_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "role.h"

#define FILTER_ARGS_MAX 3

/* The argument's lower 32 bits, of these those of @mask, must be @value. */
typedef struct FilterArg {
    unsigned index;
    uint32_t mask;
    uint32_t value;
} FilterArg;

/**
 * struct FilterRow - one system call, with one set of arguments
 * @number: -1 where this architecture has no such call
 * @count:  of @args; every one of them must match
 */
typedef struct FilterRow {
    const char *name;
    int number;
    unsigned count;
    FilterArg args[FILTER_ARGS_MAX];
} FilterRow;

/* What a role may call; all rows of a call together are its allowed arguments. FILTER_CALLS_COMMON is every role's. */
typedef enum FilterCalls {
    FILTER_CALLS_DATAPATH,
    FILTER_CALLS_INSIDE,
    FILTER_CALLS_SUPERVISOR,
    FILTER_CALLS_CONTROL, /* and a supervisor's that has a control socket */
    FILTER_CALLS_COMMON,
    FILTER_CALLS_SANITIZER, /* of builds with one */
    FILTER_CALLS_KINDS
} FilterCalls;

const FilterRow *filter_rows(FilterCalls calls, size_t *ret_count);

/**
 * filter_load() - from now on every thread of this process that calls anything else is the end of the process
 * @serves: ROLE_SUPERVISOR: FILTER_CALLS_CONTROL too
 *
 * Other architectures and x32 are killed too. Sets no_new_privs if it is not set. A refusal by the kernel is an error.
 *
 * Return: false with @error set (FAULT_LOCKDOWN)
 */
bool filter_load(Role role, bool serves, GError **error);

#endif
