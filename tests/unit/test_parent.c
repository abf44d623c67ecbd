/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_parent.c - libsallyport: the command line, the child, its end
 *
 * Does:     spawns shell scripts that tell what they were given, or end in all the ways there are.
 * Not here: records and waiting for "ready" (test_parent_records.c).
 */
#include "config.h"

#include "parent_scripts.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

TestSuite(builder, .init = setup, .fini = teardown, .timeout = 60);
TestSuite(spawn, .init = setup, .fini = teardown, .timeout = 60);
TestSuite(stop, .init = setup, .fini = teardown, .timeout = 60);

#define SAY_ARGUMENTS                                                                              \
    "[ $1 = --report-fd ] || exit 1; shift 2; rec log \",\\\"message\\\":\\\"$*\\\"\"\n"

Test(builder, command_line_has_options_publish_specs_and_pid_in_this_order)
{
    SallyportBuilder *builder = new_builder();
    Sallyport *sp;

    write_file("", SAY_ARGUMENTS);
    cr_assert_eq(sallyport_builder_set_pid(builder, 4242), 0);
    cr_assert_eq(sallyport_builder_publish(builder, "8080:80"), 0);
    cr_assert_eq(sallyport_builder_publish(builder, "53:53/udp"), 0);
    cr_assert_eq(sallyport_builder_option(builder, "--mtu=1500"), 0);
    cr_assert_eq(sallyport_builder_option(builder, "--no-ipv6"), 0);
    sp = spawn_take(builder);
    expect_message(sp, "--mtu=1500 --no-ipv6 -p 8080:80 -p 53:53/udp 4242");
    sallyport_free(sp);
    check_leaks();
}

Test(builder, command_line_has_netns_and_userns_paths)
{
    SallyportBuilder *builder = new_builder();
    Sallyport *sp;

    write_file("", SAY_ARGUMENTS);
    cr_assert_eq(sallyport_builder_set_netns_path(builder, "/old", NULL), 0);
    cr_assert_eq(sallyport_builder_set_netns_path(builder, "/net", "/user"), 0);
    cr_assert_eq(sallyport_builder_publish(builder, "80:80"), 0);
    sp = spawn_take(builder);
    expect_message(sp, "--netns /net --userns /user -p 80:80");
    sallyport_free(sp);
    check_leaks();
}

Test(builder, command_line_ends_with_the_command_after_two_dashes)
{
    static const char *const command[] = {"sh", "-c", "true", NULL};
    SallyportBuilder *builder = new_builder();
    Sallyport *sp;

    write_file("", SAY_ARGUMENTS);
    cr_assert_eq(sallyport_builder_set_command(builder, command), 0);
    sp = spawn_take(builder);
    expect_message(sp, "-- sh -c true");
    sallyport_free(sp);
    check_leaks();
}

Test(builder, refuses_a_second_kind_of_guest_and_keeps_the_first)
{
    SallyportBuilder *builder = new_builder();
    Sallyport *sp;

    write_file("", SAY_ARGUMENTS);
    cr_assert_eq(sallyport_builder_set_pid(builder, 7), 0);
    cr_assert_eq(sallyport_builder_set_netns_path(builder, "/net", NULL), -EINVAL);
    cr_assert_eq(sallyport_builder_set_netns_fd(builder, 0, -1), -EINVAL);
    sp = spawn_take(builder);
    expect_message(sp, "7");
    sallyport_free(sp);
    check_leaks();
}

Test(builder, refuses_what_makes_no_sense)
{
    static const char *const options[] = {NULL, "", "-", "--", "word", "--report-fd=3"};
    static const char *const empty[] = {NULL};
    SallyportBuilder *builder = new_builder();
    Sallyport *sp = NULL;

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        cr_assert_eq(sallyport_builder_option(builder, options[i]), -EINVAL);
    }
    cr_assert_eq(sallyport_builder_set_helper(builder, ""), -EINVAL);
    cr_assert_eq(sallyport_builder_set_pid(builder, 0), -EINVAL);
    cr_assert_eq(sallyport_builder_set_netns_path(builder, NULL, NULL), -EINVAL);
    cr_assert_eq(sallyport_builder_set_netns_fd(builder, -1, -1), -EINVAL);
    cr_assert_eq(sallyport_builder_set_command(builder, empty), -EINVAL);
    cr_assert_eq(sallyport_builder_publish(builder, ""), -EINVAL);
    write_file("", "");
    cr_assert_eq(sallyport_spawn(builder, &sp), -EINVAL, "no guest is set");
    cr_assert_null(sp);
    sallyport_builder_free(builder);
    sallyport_builder_free(NULL);
    check_leaks();
}

/* The script answers one request with what it was asked, then waits for the end of the connection. */
Test(builder, control_is_a_socket_pair_whose_other_end_is_taken_once)
{
    SallyportBuilder *builder = new_builder();
    SallyportControl *control = NULL, *again = NULL;
    const char *version = NULL;
    Sallyport *sp;

    /* dash has no fds above 9. */
    write_file("[ $3 = --control-fd ] || exit 1\n",
               "exec bash -c 'read -r asked <&$0\n"
               "[ \"$asked\" = \"{\\\"id\\\":1,\\\"command\\\":\\\"ping\\\"}\" ] || exit 1\n"
               "printf \"{\\\"id\\\":1,\\\"return\\\":{\\\"version\\\":\\\"9\\\"}}\\n\" >&$0\n"
               "read -r asked <&$0; exit 7' $4\n");
    cr_assert_eq(sallyport_builder_set_pid(builder, 1), 0);
    cr_assert_eq(sallyport_builder_option(builder, "--control-fd=3"), -EINVAL);
    cr_assert_eq(sallyport_builder_set_control(builder, true), 0);
    sp = spawn_take(builder);
    cr_assert_eq(sallyport_take_control(sp, &control), 0);
    cr_assert_eq(sallyport_take_control(sp, &again), -ENOENT);
    cr_assert_eq(sallyport_control_ping(control, WAIT_MS, &version), 0);
    cr_assert_str_eq(version, "9");
    sallyport_free(sp);
    cr_assert_eq(sallyport_control_ping(control, WAIT_MS, &version), -EPIPE);
    sallyport_control_close(control);
    check_leaks();
}

Test(builder, control_that_is_not_taken_is_closed)
{
    SallyportBuilder *builder = new_builder();
    SallyportControl *control = NULL;
    int fds = count_fds();
    Sallyport *sp;

    write_file("", "sleep 60\n");
    cr_assert_eq(sallyport_builder_set_pid(builder, 1), 0);
    cr_assert_eq(sallyport_builder_set_control(builder, true), 0);
    cr_assert_eq(sallyport_spawn(builder, &sp), 0);
    sallyport_free(sp);
    cr_assert_eq(sallyport_builder_set_control(builder, false), 0);
    sp = spawn_take(builder);
    cr_assert_eq(sallyport_take_control(sp, &control), -ENOENT);
    sallyport_free(sp);
    cr_assert_eq(count_fds(), fds);
    check_leaks();
}

static void expect_spawn_error(const char *path, int error)
{
    SallyportBuilder *builder = new_builder();
    int fds = count_fds();
    Sallyport *sp = NULL;

    cr_assert_eq(sallyport_builder_set_helper(builder, path), 0);
    cr_assert_eq(sallyport_builder_set_pid(builder, 1), 0);
    cr_assert_eq(sallyport_spawn(builder, &sp), error);
    cr_assert_null(sp);
    cr_assert_eq(count_fds(), fds);
    assert_no_child();
    sallyport_builder_free(builder);
    check_leaks();
}

Test(spawn, of_a_missing_path_fails_with_enoent_and_leaves_nothing)
{
    expect_spawn_error(helper, -ENOENT);
}

Test(spawn, of_a_name_that_is_not_in_path_fails_with_enoent)
{
    cr_assert_eq(setenv("PATH", directory, 1), 0);
    expect_spawn_error("helper", -ENOENT);
}

Test(spawn, of_a_file_that_may_not_be_executed_fails_with_eacces)
{
    write_file("", "");
    cr_assert_eq(chmod(helper, 0644), 0);
    expect_spawn_error(helper, -EACCES);
    cr_assert_eq(setenv("PATH", directory, 1), 0);
    expect_spawn_error("helper", -EACCES);
}

Test(spawn, finds_the_helper_in_path)
{
    SallyportBuilder *builder = new_builder();
    char path[256];
    Sallyport *sp;

    write_file("", "rec ready\n");
    (void)snprintf(path, sizeof(path), "/nonexistent::%s:/usr/bin:/bin", directory);
    cr_assert_eq(setenv("PATH", path, 1), 0);
    cr_assert_eq(sallyport_builder_set_helper(builder, "helper"), 0);
    cr_assert_eq(sallyport_builder_set_pid(builder, 1), 0);
    sp = spawn_take(builder);
    expect_event(sp, "ready", 0);
    sallyport_free(sp);
    check_leaks();
}

Test(spawn, of_a_netns_fd_that_is_not_open_fails_with_ebadf)
{
    SallyportBuilder *builder = new_builder();
    Sallyport *sp = NULL;

    write_file("", "");
    cr_assert_eq(sallyport_builder_set_netns_fd(builder, 900, -1), 0);
    cr_assert_eq(sallyport_spawn(builder, &sp), -EBADF);
    assert_no_child();
    sallyport_builder_free(builder);
    check_leaks();
}

static void expect_only_named_fds(void)
{
    SallyportBuilder *builder = new_builder();
    int netns_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 310);
    int userns_fd = fcntl(STDERR_FILENO, F_DUPFD, 300);
    char expected[128];
    Sallyport *sp;

    write_file(LIST_FDS, "rec log \",\\\"message\\\":\\\"$2 $4 $6:$list\\\"\"\n");
    /* Neither of them CLOEXEC: below, between and above those that stay. */
    for (int fd = 255; fd <= 335; fd += 20) {
        cr_assert_eq(fcntl(STDERR_FILENO, F_DUPFD, fd), fd);
    }
    cr_assert_eq(netns_fd, 310);
    cr_assert_eq(userns_fd, 300);
    cr_assert_eq(sallyport_builder_set_netns_fd(builder, netns_fd, userns_fd), 0);
    /* The report pipe gets the second lowest free number, after its read end. */
    for (int fd = 3; fd < 20; fd++) {
        if (fcntl(fd, F_GETFD) < 0) {
            cr_assert_eq(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, fd), fd);
        }
    }
    cr_assert_lt(fcntl(20, F_GETFD), 0);
    cr_assert_lt(fcntl(21, F_GETFD), 0);
    sp = spawn_take(builder);
    /* Sorted as the shell sorts: by text. */
    (void)snprintf(expected, sizeof(expected), "21 310 300: 0 1 2 21 300 310");
    expect_message(sp, expected);
    cr_assert_eq(fcntl(netns_fd, F_GETFD), FD_CLOEXEC, "the parent's own flags are as before");
    sallyport_free(sp);
}

Test(spawn, gives_the_child_no_fd_but_those_it_is_told_of)
{
    expect_only_named_fds();
    check_leaks();
}

Test(spawn, gives_the_child_no_other_fd_on_a_kernel_without_close_range)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
    expect_only_named_fds();
    check_leaks();
}

Test(spawn, with_closed_stdin_gives_the_child_dev_null_and_not_the_pipe)
{
    Sallyport *sp;

    (void)close(STDIN_FILENO);
    sp = spawn_script("rec log \",\\\"message\\\":\\\"$(readlink /proc/$$/fd/0)\\\"\"\n");
    expect_message(sp, "/dev/null");
    sallyport_free(sp);
    check_leaks();
}

Test(spawn, gives_the_child_default_signals)
{
    sigset_t set;
    Sallyport *sp;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGUSR1, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGUSR2);
    cr_assert_eq(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    /* Signals 1 to 28 of the mask: 32 and 33 are libc's own, and whoever started us may have left them ignored. */
    sp = spawn_script("while read key value; do case $key in Sig[BI]*:) "
                      "list=\"$list $key${value#?????????}\";; "
                      "esac; done </proc/$$/status\n"
                      "rec log \",\\\"message\\\":\\\"$list\\\"\"\n");
    expect_message(sp, " SigBlk:0000000 SigIgn:0000000");
    (void)sigemptyset(&set);
    cr_assert_eq(pthread_sigmask(SIG_BLOCK, NULL, &set), 0);
    cr_assert(sigismember(&set, SIGTERM), "the parent's mask is as before");
    cr_assert_not(sigismember(&set, SIGINT));
    sallyport_free(sp);
    check_leaks();
}

static atomic_int started;

static void *spawn_some(void *unused)
{
    for (int i = 0; i < 8; i++) {
        SallyportBuilder *builder = sallyport_builder_new();
        Sallyport *sp = NULL;
        int status;

        if (builder != NULL && sallyport_builder_set_helper(builder, helper) == 0 &&
            sallyport_builder_set_pid(builder, 1) == 0 && sallyport_spawn(builder, &sp) == 0 &&
            sallyport_wait_ready(sp, WAIT_MS, NULL) == 0 &&
            sallyport_stop(sp, WAIT_MS, &status) == 0 && status == 0) {
            started++;
        }
        sallyport_free(sp);
        sallyport_builder_free(builder);
    }
    return unused;
}

Test(spawn, works_in_several_threads_at_once)
{
    pthread_t threads[4];

    write_file("", END_ON_TERM "rec ready\n" UNTIL_TERM);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, spawn_some, NULL), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    cr_assert_eq(started, 32);
    check_leaks();
}

Test(stop, ends_the_helper_and_leaves_its_records_to_be_read_without_gap)
{
    Sallyport *sp = spawn_script(END_ON_TERM "rec published; rec ready\n" UNTIL_TERM);
    SallyportEvent *event = NULL;
    int status = -1;

    cr_assert_eq(sallyport_wait_ready(sp, WAIT_MS, NULL), 0);
    cr_assert_eq(sallyport_stop(sp, WAIT_MS, &status), 0);
    cr_assert_eq(status, 0);
    assert_no_child();
    expect_event(sp, "published", 0);
    expect_event(sp, "ready", 1);
    cr_assert_eq(sallyport_next_event(sp, 0, &event), 1);
    cr_assert_str_eq(event->event, "exit");
    cr_assert_str_eq(event->reason, SALLYPORT_REASON_SIGNAL);
    cr_assert_eq(event->seq, 2);
    cr_assert_eq(event->signal, SIGTERM);
    cr_assert_eq(event->status, -1);
    sallyport_event_free(event);
    event = NULL;
    expect_result(sp, -EPIPE);
    status = -1;
    cr_assert_eq(sallyport_stop(sp, 0, &status), 0, "the second time tells the same");
    cr_assert_eq(status, 0);
    sallyport_free(sp);
    check_leaks();
}

Test(stop, reads_on_so_that_a_helper_with_much_to_say_can_end)
{
    Sallyport *sp = spawn_script(
        "trap 'i=0; while [ $i -lt 300 ]; do rec log \",\\\"x\\\":\\\"$pad\\\"\"; "
        "i=$((i+1)); done; exit 0' TERM; pad=$(printf %01000d 0); rec ready\n" UNTIL_TERM);
    int status = -1;

    cr_assert_eq(sallyport_wait_ready(sp, WAIT_MS, NULL), 0);
    cr_assert_eq(sallyport_stop(sp, WAIT_MS, &status), 0);
    cr_assert(WIFEXITED(status));
    expect_event(sp, "ready", 0);
    for (int seq = 1; seq <= 300; seq++) {
        expect_event(sp, "log", seq);
    }
    expect_result(sp, -EPIPE);
    sallyport_free(sp);
    check_leaks();
}

/* "ready" comes when the trap is set: before, SIGTERM would end the shell. */
static void expect_killed(const char *body)
{
    Sallyport *sp = spawn_script(body);
    int64_t start;
    int status = 0;

    cr_assert_eq(sallyport_wait_ready(sp, WAIT_MS, NULL), 0);
    start = now_ms();
    cr_assert_eq(sallyport_stop(sp, 300, &status), 0);
    assert_took(start, 300);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(WTERMSIG(status), SIGKILL);
    expect_event(sp, "ready", 0);
    sallyport_free(sp);
}

Test(stop, kills_a_helper_that_ignores_sigterm_after_the_deadline)
{
    expect_killed("trap '' TERM; rec ready; exec sleep 30\n");
    check_leaks();
}

Test(stop, kills_a_helper_that_closed_the_pipe_or_never_stops_writing)
{
    char body[128];

    expect_killed("trap '' TERM; rec ready; exec yes no-record >&3\n");
    (void)snprintf(body, sizeof(body), "trap '' TERM; rec ready; exec yes >/dev/null 3>&-\n");
    expect_killed(body);
    check_leaks();
}

Test(stop, says_echild_if_somebody_else_reaped_the_helper)
{
    Sallyport *sp = spawn_script("rec exit\n");
    int status = 99;

    cr_assert_eq(waitpid(sallyport_pid(sp), NULL, 0), sallyport_pid(sp));
    cr_assert_eq(sallyport_stop(sp, WAIT_MS, &status), -ECHILD);
    cr_assert_eq(status, 99);
    expect_event(sp, "exit", 0);
    expect_result(sp, -EPIPE);
    sallyport_free(sp);
    check_leaks();
}

Test(stop, works_where_sigchld_is_ignored)
{
    Sallyport *sp;

    (void)signal(SIGCHLD, SIG_IGN);
    sp = spawn_script("rec exit\n");
    expect_event(sp, "exit", 0);
    cr_assert_eq(sallyport_stop(sp, WAIT_MS, NULL), -ECHILD);
    sallyport_free(sp);
    check_leaks();
}

Test(stop, is_done_by_free_which_leaves_no_process_and_no_fd)
{
    int fds = count_fds();
    Sallyport *sp = spawn_script("trap '' TERM; rec published; rec ready; exec sleep 30\n");
    pid_t pid = sallyport_pid(sp);

    cr_assert_geq(sallyport_fd(sp), 0);
    cr_assert_eq(sallyport_wait_ready(sp, WAIT_MS, NULL), 0);
    sallyport_free(sp);
    sallyport_free(NULL);
    cr_assert_eq(kill(pid, 0), -1);
    assert_no_child();
    cr_assert_eq(count_fds(), fds);
    check_leaks();
}
