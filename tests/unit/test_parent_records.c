/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_parent_records.c - libsallyport: records, deadlines, waiting for "ready"
 *
 * Does:     spawns shell scripts that write good and bad lines, in pieces and in heaps.
 * Not here: the command line, the child, its end (test_parent.c).
 */
#include "config.h"

#include "parent_scripts.h"

#include <signal.h>
#include <string.h>
#include <sys/time.h>

TestSuite(next_event, .init = setup, .fini = teardown, .timeout = 60);
TestSuite(wait_ready, .init = setup, .fini = teardown, .timeout = 60);

Test(next_event, returns_a_record_split_over_several_writes)
{
    Sallyport *sp =
        spawn_script("printf '{\"v\":1,\"ev' >&3; sleep 0.1; printf 'ent\":\"log\",' >&3\n"
                     "sleep 0.1; printf '\"seq\":5}' >&3; sleep 0.1; printf '\\n' >&3\n");

    expect_event(sp, "log", 5);
    expect_result(sp, -EPIPE);
    sallyport_free(sp);
    check_leaks();
}

Test(next_event, returns_several_records_of_one_write_one_by_one)
{
    Sallyport *sp =
        spawn_script("printf '{\"v\":1,\"event\":\"log\",\"seq\":%d}\\n' 0 1 2 3 >&3\n");

    for (int seq = 0; seq < 4; seq++) {
        expect_event(sp, "log", seq);
    }
    expect_result(sp, -EPIPE);
    expect_result(sp, -EPIPE);
    sallyport_free(sp);
    check_leaks();
}

Test(next_event, skips_lines_that_are_no_records)
{
    Sallyport *sp = spawn_script("printf 'hello\\n\\n[1]\\n{}\\n{\"v\":1,\"seq\":1}\\n' >&3\n"
                                 "printf '{\"v\":2,\"event\":\"log\",\"seq\":1}\\n' >&3\n"
                                 "printf '{\"v\":1,\"event\":7,\"seq\":1}\\n\\0\\n' >&3\n"
                                 "rec log\n");

    for (int i = 0; i < 8; i++) {
        expect_result(sp, -EBADMSG);
    }
    expect_event(sp, "log", 0);
    sallyport_free(sp);
    check_leaks();
}

/* A record without more has 30 bytes, newline included; a key "x" adds 7 and its value. */
#define PADDED "rec log \",\\\"x\\\":\\\"$(printf %%0%dd 0)\\\"\"\n"

Test(next_event, returns_a_record_of_4096_bytes_and_skips_longer_ones_whole)
{
    char body[512];
    Sallyport *sp;
    SallyportEvent *event = NULL;

    (void)snprintf(body, sizeof(body), PADDED PADDED PADDED "rec log\n", 4096 - 37, 4097 - 37,
                   40000);
    sp = spawn_script(body);
    cr_assert_eq(sallyport_next_event(sp, WAIT_MS, &event), 1);
    cr_assert_eq(strlen(event->json), SALLYPORT_RECORD_MAX - 1);
    sallyport_event_free(event);
    expect_result(sp, -EBADMSG);
    expect_result(sp, -EBADMSG);
    expect_event(sp, "log", 3);
    expect_result(sp, -EPIPE);
    sallyport_free(sp);
    check_leaks();
}

Test(next_event, reports_a_last_line_without_end_once)
{
    Sallyport *sp = spawn_script("rec log; printf '{\"v\":1,\"event\":\"log\",\"seq\":1}' >&3\n");

    expect_event(sp, "log", 0);
    expect_result(sp, -EBADMSG);
    expect_result(sp, -EPIPE);
    sallyport_free(sp);
    check_leaks();
}

Test(next_event, takes_the_known_keys_out_and_keeps_the_line)
{
    static const char line[] =
        "{\"v\":1,\"event\":\"exit\",\"seq\":0,\"code\":\"publish\",\"reason\":\"x\","
        "\"errno\":\"EADDRINUSE\",\"message\":7,\"status\":3,\"signal\":\"SIGSYS\","
        "\"new\":null}";
    SallyportEvent *event = NULL;
    char body[512];
    Sallyport *sp;

    (void)snprintf(body, sizeof(body), "printf '%%s\\n' '%s' >&3; rec log ',\"status\":3'", line);
    sp = spawn_script(body);
    cr_assert_eq(sallyport_next_event(sp, WAIT_MS, &event), 1);
    cr_assert_str_eq(event->json, line);
    cr_assert_str_eq(event->code, SALLYPORT_CODE_PUBLISH);
    cr_assert_str_eq(event->reason, "x");
    cr_assert_str_eq(event->errno_name, "EADDRINUSE");
    cr_assert_null(event->message, "a number is no message");
    cr_assert_eq(event->status, 3);
    cr_assert_eq(event->signal, SIGSYS);
    sallyport_event_free(event);
    cr_assert_eq(sallyport_next_event(sp, WAIT_MS, &event), 1);
    cr_assert_eq(event->status, -1, "only exit records have one");
    cr_assert_eq(event->signal, 0);
    sallyport_event_free(event);
    sallyport_event_free(NULL);
    sallyport_free(sp);
    check_leaks();
}

static void on_alarm(int number)
{
    (void)number;
}

Test(next_event, waits_as_long_as_told_even_if_signals_interrupt)
{
    struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART */
    struct itimerval often = {.it_interval.tv_usec = 20000, .it_value.tv_usec = 20000};
    Sallyport *sp = spawn_script("exec sleep 30\n");
    int64_t start;

    cr_assert_eq(sigaction(SIGALRM, &action, NULL), 0);
    cr_assert_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    start = now_ms();
    cr_assert_eq(sallyport_next_event(sp, 300, NULL), 0);
    assert_took(start, 300);
    start = now_ms();
    cr_assert_eq(sallyport_next_event(sp, 0, NULL), 0);
    assert_took(start, 0);
    sallyport_free(sp);
    check_leaks();
}

Test(next_event, ends_with_the_helper_though_another_process_holds_the_pipe)
{
    Sallyport *sp = spawn_script("sleep 5 >/dev/null 2>&1 &\nrec log\n");
    int64_t start = now_ms();

    expect_event(sp, "log", 0);
    expect_result(sp, -EPIPE);
    assert_took(start, 0);
    sallyport_free(sp);
    check_leaks();
}

Test(wait_ready, returns_the_ready_record_and_keeps_published_ones_in_order)
{
    Sallyport *sp =
        spawn_script("rec published; rec published; rec ready; rec log; exec sleep 30\n");
    SallyportEvent *ready = NULL;

    cr_assert_eq(sallyport_wait_ready(sp, WAIT_MS, &ready), 0);
    cr_assert_str_eq(ready->event, "ready");
    cr_assert_eq(ready->seq, 2);
    sallyport_event_free(ready);
    expect_event(sp, "published", 0);
    expect_event(sp, "published", 1);
    expect_event(sp, "log", 3);
    sallyport_free(sp);
    check_leaks();
}

Test(wait_ready, without_ret_loses_nothing_and_returns_at_once_the_next_time)
{
    Sallyport *sp = spawn_script("rec published; echo junk >&3; rec ready; exec sleep 30\n");
    SallyportEvent *ready = NULL;
    int64_t start;

    cr_assert_eq(sallyport_wait_ready(sp, -1, NULL), 0);
    start = now_ms();
    cr_assert_eq(sallyport_wait_ready(sp, WAIT_MS, NULL), 0);
    expect_event(sp, "published", 0);
    expect_event(sp, "ready", 1);
    cr_assert_eq(sallyport_wait_ready(sp, WAIT_MS, &ready), 0);
    cr_assert_null(ready, "it was handed out already");
    assert_took(start, 0);
    sallyport_free(sp);
    check_leaks();
}

Test(wait_ready, times_out_and_may_be_called_again)
{
    Sallyport *sp = spawn_script("rec log; trap 'rec ready; exec sleep 30' USR1; " UNTIL_TERM);
    SallyportEvent *ready = NULL;
    int64_t start = now_ms();

    cr_assert_eq(sallyport_wait_ready(sp, 500, &ready), -ETIMEDOUT);
    assert_took(start, 500);
    cr_assert_null(ready);
    cr_assert_eq(kill(sallyport_pid(sp), SIGUSR1), 0);
    cr_assert_eq(sallyport_wait_ready(sp, WAIT_MS, &ready), 0);
    cr_assert_eq(ready->seq, 1);
    sallyport_event_free(ready);
    expect_event(sp, "log", 0);
    sallyport_free(sp);
    check_leaks();
}

Test(wait_ready, keeps_its_deadline_though_the_helper_never_stops_writing)
{
    Sallyport *sp = spawn_script("exec yes no-record >&3\n");
    int64_t start = now_ms();

    cr_assert_eq(sallyport_wait_ready(sp, 300, NULL), -ETIMEDOUT);
    assert_took(start, 300);
    sallyport_free(sp);
    check_leaks();
}

Test(wait_ready, returns_the_first_error_if_the_helper_ends_instead)
{
    Sallyport *sp =
        spawn_script("rec log; rec error ',\"code\":\"publish\"'; rec error; rec exit; exit 1\n");
    SallyportEvent *error = NULL;
    int status;

    cr_assert_eq(sallyport_wait_ready(sp, WAIT_MS, &error), -ECANCELED);
    cr_assert_str_eq(error->code, SALLYPORT_CODE_PUBLISH);
    sallyport_event_free(error);
    expect_event(sp, "log", 0);
    expect_event(sp, "error", 2);
    expect_event(sp, "exit", 3);
    expect_result(sp, -EPIPE);
    cr_assert_eq(sallyport_stop(sp, WAIT_MS, &status), 0);
    cr_assert_eq(WEXITSTATUS(status), 1);
    sallyport_free(sp);
    check_leaks();
}

Test(wait_ready, returns_no_record_if_the_helper_was_killed_without_a_word)
{
    Sallyport *sp = spawn_script("kill -9 $$\n");
    SallyportEvent *error = NULL;

    cr_assert_eq(sallyport_wait_ready(sp, WAIT_MS, &error), -ECANCELED);
    cr_assert_null(error);
    sallyport_free(sp);
    check_leaks();
}
