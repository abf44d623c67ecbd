/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_raw.h - the program under test by its bare command line, everything it says, and what it leaves behind
 *
 * lab_helper.h starts what libsallyport can express; this starts anything: options that are wrong, no report pipe, a
 * parent between, fds of the test's. Every record that comes is checked: version, time, event, numbers without a gap,
 * at most SALLYPORT_RECORD_MAX bytes.
 */
#ifndef LAB_RAW_H
#define LAB_RAW_H

#include "lab_helper.h"

/* Inherited fds of the setup come as LAB_RAW_FD, LAB_RAW_FD + 1, ... */
#define LAB_RAW_FD      10
#define LAB_RAW_FDS_MAX 4
#define LAB_RAW_LEAK_FD 400

typedef struct LabRaw LabRaw;

typedef struct LabRawSetup {
    bool no_report;     /* without --report-fd, so that records are lines on standard error */
    bool leaks;         /* fds from LAB_RAW_LEAK_FD on are inherited */
    bool behind_parent; /* a process between is its parent: lab_raw_parent_end() */
    const char *input;  /* its standard input; NULL: empty */
    int fds[LAB_RAW_FDS_MAX];
    size_t fd_count;
} LabRawSetup;

/* Starts the program in lab_directory() with these words, NULL at the end; those of SALLYPORT_LAB_OPTIONS come before them. @setup may
 * be NULL. */
LabRaw *lab_raw_start(Lab *lab, const LabRawSetup *setup, const char *const *words);
/* The words of one line, parted at blanks. */
LabRaw *lab_raw_line(Lab *lab, const LabRawSetup *setup, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Frees; a helper still running is killed and reaped first. */
void lab_raw_free(LabRaw *raw);

pid_t lab_raw_pid(const LabRaw *raw);
/* Kills the process between and reaps it. */
void lab_raw_parent_end(LabRaw *raw);

/* The first record of that event. Return: NULL after the time, or when the helper ended without it */
const char *lab_raw_await(LabRaw *raw, const char *event, int timeout_ms);
/* Waits until it is ready; else the test fails. */
void lab_raw_ready(LabRaw *raw);
/* Waits until its standard output holds the text; else the test fails. */
void lab_raw_await_out(LabRaw *raw, const char *text);

/* Waits for its end; the test fails after the time. Return: exit status or 128 + signal; -1 behind a parent */
int lab_raw_wait(LabRaw *raw, int timeout_ms);

/* What has come so far. */
const char *lab_raw_out(LabRaw *raw);
const char *lab_raw_err(LabRaw *raw);
unsigned lab_raw_err_lines(LabRaw *raw);
/* Records of that event (NULL: all) and code (NULL: any). */
unsigned lab_raw_count(LabRaw *raw, const char *event, const char *code);
/* The @index-th record of all, NULL behind the last. */
const char *lab_raw_record(LabRaw *raw, unsigned index);

/* Is this a record whose key has that value? */
bool lab_record_has(const char *json, const char *key, const char *value);

/* The last record must be an exit with that reason. */
void lab_raw_expect_reason(LabRaw *raw, const char *reason);
/* Waits for the end within 2 s; it must have that status and reason, and no error record. */
void lab_raw_expect_end(LabRaw *raw, int status, const char *reason);

/* One cause: what line and record must hold. A NULL or empty text is not looked for. */
typedef struct LabCause {
    const char *code;
    const char *errno_name;
    const char *says[3];
} LabCause;

/**
 * lab_raw_expect_refusal() - wait for an end before ready, and check all of it
 * @status: exit status wanted
 * @causes: each must have one line on standard error and one error record, and there must be no others
 *
 * The last record must be an exit with reason start-failed.
 */
void lab_raw_expect_refusal(LabRaw *raw, int status, const LabCause *causes, size_t count);

/* ---- its three processes ---- */

typedef struct LabTrio {
    pid_t supervisor, inside, datapath;
    int pidfds[3]; /* in that order */
} LabTrio;

/* Tells them apart by their namespaces. Only when ready. */
LabTrio lab_trio(Lab *lab, pid_t supervisor, LabPlace guest);
/* All three ended within the time? Closes the pidfds. */
bool lab_trio_ended(LabTrio *trio, int timeout_ms);
/* Switches of all threads of all three, which only a wake-up can add to; and (optional) how many threads. */
long long lab_trio_switches(const LabTrio *trio, unsigned *ret_threads);

/* ---- what is left behind (lab_traces.c) ---- */

/* Processes of the lab (no zombies), sockets of HOST, interfaces of GUEST, files in lab_directory(); to be freed. */
char *lab_traces(Lab *lab);
/* Fails the test unless everything is as it was within @timeout_ms (0: now). */
void lab_traces_expect(Lab *lab, const char *before, int timeout_ms);

#endif
