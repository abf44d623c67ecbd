/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_helper.h - the program under test, spawned by the body with libsallyport
 *
 * The program is $SALLYPORT, or ./sallyport. Its standard error is the test's. Every record is kept: when the test
 * fails they are printed, and when it passes every helper still running is stopped and must end with status 0.
 */
#ifndef LAB_HELPER_H
#define LAB_HELPER_H

#include "lab.h"
#include "sallyport.h"

typedef struct LabHelper LabHelper;

/**
 * lab_helper() - start a helper for GUEST and wait until it is ready
 *
 * Words, then NULL: "-p SPEC" publishes, anything else is an option as it stands ("--mtu=1500").
 * A helper that does not become ready fails the test.
 */
LabHelper *lab_helper(Lab *lab, ...) __attribute__((sentinel));

/* The same for any guest; and without waiting. SALLYPORT_LAB_OPTIONS in the environment ("--fast-path=off") comes before the
 * words. */
LabHelper *lab_helper_for(Lab *lab, LabPlace guest, const char *const *words);
LabHelper *lab_helper_spawn(Lab *lab, LabPlace guest, const char *const *words);

/* A builder with the program set and nothing else; spawns what such a builder describes. Takes the builder. */
SallyportBuilder *lab_helper_builder(Lab *lab);
LabHelper *lab_helper_spawn_builder(Lab *lab, SallyportBuilder *take_builder);
void lab_helper_wait_ready(LabHelper *helper);

/* The program, or a wrapper made by lab_helper_wrap(). */
const char *lab_helper_program(void);
/* From now on helpers start by a shell that first does this: "ulimit -n 64". They keep the PID. */
void lab_helper_wrap(Lab *lab, const char *command);

/* The helper and all its descendants. Return: how many */
size_t lab_helper_processes(const LabHelper *helper, pid_t *pids, size_t max);
/* CPU time of all of them so far, in milliseconds. */
int64_t lab_helper_cpu_ms(const LabHelper *helper);

Sallyport *lab_helper_object(LabHelper *helper);
pid_t lab_helper_pid(const LabHelper *helper);

/* Reads what has come, waits for a record of that event (and code, unless NULL) that was not returned before. Its JSON
 * lives as long as the helper. Return: NULL after the time or when the helper ended without it */
const char *lab_helper_await(LabHelper *helper, const char *event, const char *code,
                             int timeout_ms);
/* Number of records of that event (and code, unless NULL) so far. */
unsigned lab_helper_count(LabHelper *helper, const char *event, const char *code);
/* A value of a record: a string or number as text, to be freed; NULL if there is no such key. */
char *lab_record_value(const char *json, const char *key);

/* The kernel-picked (or first) host port of the @index-th published record. */
uint16_t lab_helper_port(LabHelper *helper, unsigned index);

/* SIGTERM; the test fails unless the helper ends with exit status 0 in time. Frees nothing; may be called once. */
void lab_helper_stop(LabHelper *helper);
/* Waits for the helper's own end. Return: wait status; the test fails after the time */
int lab_helper_wait_end(LabHelper *helper, int timeout_ms);
/* From now on the end of this helper is the test's business: not checked when the body ends. */
void lab_helper_forget(LabHelper *helper);

#endif
