/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_ctl.c - sallyport ctl: command line, commands, what they print and how they end
 *
 * Does:     runs ctl_main() against the test itself as the helper, with --control-fd.
 * Not here: a real helper (tests/system/test_ctl.c).
 */
#include "config.h"

#include "control/ctl.h"

#include "control_peer.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <criterion/redirect.h>

static void redirect(void)
{
    cr_redirect_stdout();
    cr_redirect_stderr();
}

TestSuite(ctl, .init = redirect, .timeout = 60);

/* The socket pair's other end is given to ctl, which closes it. */
static int ctl_peer(char number[16])
{
    int pair[2];

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    (void)snprintf(number, 16, "%d", pair[0]);
    return pair[1];
}

#define MAX_WORDS 16

static int run_words(char **words)
{
    int argc = 0;

    while (words[argc] != NULL) {
        argc++;
    }
    return ctl_main(argc, words);
}

/* "ctl --control-fd N WORDS..." of a helper that answers @replies. Return: the exit status; @ret_asked is what it was asked */
static int run_ctl(const char *replies, char *ret_asked, size_t size, const char *const *words)
{
    char number[16];
    Peer peer = {.fd = ctl_peer(number)};
    char *argv[MAX_WORDS] = {(char[]){"ctl"}, (char[]){"--control-fd"}, number};
    ssize_t n;
    int status;

    for (size_t i = 0; words[i] != NULL && i + 4 < MAX_WORDS; i++) {
        argv[i + 3] = (char *)(uintptr_t)words[i];
    }
    peer_write(&peer, replies, strlen(replies));
    status = run_words(argv);
    n = recv(peer.fd, ret_asked, size - 1, MSG_DONTWAIT);
    ret_asked[n > 0 ? n : 0] = '\0';
    (void)close(peer.fd);
#ifdef SALLYPORT_ASAN
    cr_assert_eq(__lsan_do_recoverable_leak_check(), 0);
#endif
    return status;
}

static char asked[8192];

#define RUN(replies, ...)                                                                          \
    run_ctl(replies, asked, sizeof(asked), (const char *const[]){__VA_ARGS__, NULL})
#define RUN_ALONE(...) run_words((char *[]){(char[]){"ctl"}, __VA_ARGS__, NULL})
#define WORD(text)     ((char[]){text})

#define RECORD                                                                                     \
    "\"spec\":\"8080:80\",\"protocol\":\"tcp\",\"family\":\"ipv6\",\"host_addr\":\"::\","          \
    "\"host_ports\":\"8080\",\"guest_ports\":\"80\",\"exposure\":\"all\",\"source\":\"client\""

Test(ctl, ping_says_the_version)
{
    cr_assert_eq(RUN("{\"id\":1,\"return\":{\"version\":\"1.2\\u001b\"}}\n", "ping"), 0);
    cr_assert_stdout_eq_str("sallyport 1.2\\x1b\n");
    cr_assert_str_eq(asked, "{\"id\":1,\"command\":\"ping\"}\n");
}

Test(ctl, publish_shows_what_came_of_the_spec)
{
    cr_assert_eq(RUN("{\"id\":1,\"return\":{\"publication\":4,\"published\":[{" RECORD "}]}}\n",
                     "publish", "8080:80"),
                 0);
    cr_assert_stdout_eq_str(
        "NUMBER  PROTOCOL  HOST       GUEST  EXPOSURE  SOURCE  ORIGIN   NAME  SPEC\n"
        "     4  tcp       [::]:8080  80     all       client  control  -     8080:80\n");
    cr_assert_str_eq(asked,
                     "{\"id\":1,\"command\":\"publish\",\"arguments\":{\"spec\":\"8080:80\"}}\n");
}

Test(ctl, json_is_the_reply_as_it_came_for_results_and_refusals)
{
    cr_assert_eq(
        RUN("{ \"return\":{\"published\" : []},\"id\":1, \"new\":null}\n", "--json", "list"), 0);
    cr_assert_eq(
        RUN("{\"id\":1,\"error\":{\"code\":\"x\",\"message\":\"y\"} }\n", "list", "--json"), 1);
    cr_assert_stdout_eq_str("{ \"return\":{\"published\" : []},\"id\":1, \"new\":null}\n"
                            "{\"id\":1,\"error\":{\"code\":\"x\",\"message\":\"y\"} }\n");
}

Test(ctl, refusal_is_one_line_with_the_errno_and_status_1)
{
    cr_assert_eq(RUN("{\"id\":1,\"error\":{\"code\":\"publish\",\"errno\":\"EADDRINUSE\","
                     "\"message\":\"port 80\\n\\u001b[2J is taken\"}}\n",
                     "publish", "80:80"),
                 1);
    cr_assert_stderr_eq_str("sallyport ctl: publish: port 80\\x0a\\x1b[2J is taken (EADDRINUSE)\n");
}

Test(ctl, unpublish_takes_digits_as_a_number_and_anything_else_as_a_spec)
{
    cr_assert_eq(RUN("{\"id\":1,\"return\":{}}\n", "unpublish", "4"), 0);
    cr_assert_str_eq(asked, "{\"id\":1,\"command\":\"unpublish\",\"arguments\":{\"publication\":4,"
                            "\"connections\":\"keep\"}}\n");
    cr_assert_eq(RUN("{\"id\":1,\"return\":{}}\n", "unpublish", "--cut", "8080:80"), 0);
    cr_assert_str_eq(asked,
                     "{\"id\":1,\"command\":\"unpublish\",\"arguments\":{\"spec\":\"8080:80\","
                     "\"connections\":\"cut\"}}\n");
    cr_assert_eq(RUN("", "unpublish", "99999999999999999999"), 1);
    cr_assert_str_eq(asked, "");
    cr_assert_stderr_eq_str("sallyport ctl: unpublish: 99999999999999999999 is no number of a "
                            "publication\n");
}

Test(ctl, list_escapes_what_a_client_wrote)
{
    cr_assert_eq(
        RUN("{\"id\":1,\"return\":{\"published\":[{\"publication\":0,\"origin\":\"api\","
            "\"spec\":\"80,name=\\u009b\",\"protocol\":\"udp\",\"host_addr\":\"192.0.2.1\","
            "\"host_ports\":\"80-81\",\"guest_addr\":\"10.0.2.5\",\"guest_ports\":\"80-81\","
            "\"interface\":\"eth0\",\"name\":\"\\u001b[31m\"}]}}\n",
            "list"),
        0);
    cr_assert_stdout_eq_str("NUMBER  PROTOCOL  HOST                  GUEST           EXPOSURE  "
                            "SOURCE  ORIGIN  NAME      SPEC\n"
                            "     0  udp       192.0.2.1:80-81%eth0  10.0.2.5:80-81  -         -   "
                            "    api     \\x1b[31m"
                            "  80,name=\\x9b\n");
}

#define FLOW(port, in, age)                                                                        \
    "{\"path\":\"relay\",\"protocol\":\"tcp\",\"guest\":{\"local\":\"10.0.2.100:80\",\"remote\":"  \
    "\"192.0.2.2:" port "\"},\"host\":{\"local\":\"192.0.2.1:8080\",\"remote\":\"192.0.2.2:" port  \
    "\"},\"bytes_in\":" in ",\"bytes_out\":20,\"age_ms\":" age ",\"state\":\"open\"}"

Test(ctl, flows_of_all_pages_are_one_table)
{
    cr_assert_eq(
        RUN("{\"id\":1,\"return\":{\"flows\":[" FLOW(
                "1", "10", "5") "],\"cursor\":9}}\n{\"id\":2,"
                                "\"return\":{\"flows\":[" FLOW("2", "2048", "61000") "],\"cursor\":"
                                                                                     "null}}\n",
            "flows"),
        0);
    cr_assert_str_eq(asked, "{\"id\":1,\"command\":\"flows\",\"arguments\":{}}\n"
                            "{\"id\":2,\"command\":\"flows\",\"arguments\":{\"cursor\":9}}\n");
    cr_assert_stdout_eq_str("PATH   PROTOCOL  STATE  GUEST          GUEST-PEER   HOST            "
                            "HOST-PEER         IN  OUT    AGE\n"
                            "relay  tcp       open   10.0.2.100:80  192.0.2.2:1  192.0.2.1:8080  "
                            "192.0.2.2:1       10   20   0.0s\n"
                            "relay  tcp       open   10.0.2.100:80  192.0.2.2:2  192.0.2.1:8080  "
                            "192.0.2.2:2  2.0 KiB   20  1m01s\n");
}

Test(ctl, json_of_several_pages_is_a_line_each)
{
    cr_assert_eq(RUN("{\"id\":1,\"return\":{\"flows\":[],\"cursor\":9}}\n"
                     "{\"id\":2,\"return\":{\"flows\":[],\"cursor\":null}}\n",
                     "flows", "--json"),
                 0);
    cr_assert_str_eq(asked, "{\"id\":1,\"command\":\"flows\"}\n"
                            "{\"id\":2,\"command\":\"flows\",\"arguments\":{\"cursor\":9}}\n");
    cr_assert_eq(RUN("{\"id\":1,\"return\":{\"published\":[],\"cursor\":9}}\n"
                     "{\"id\":2,\"return\":{\"published\":[],\"cursor\":9}}\n",
                     "list", "--json"),
                 1);
    cr_assert_stdout_eq_str("{\"id\":1,\"return\":{\"flows\":[],\"cursor\":9}}\n"
                            "{\"id\":2,\"return\":{\"flows\":[],\"cursor\":null}}\n"
                            "{\"id\":1,\"return\":{\"published\":[],\"cursor\":9}}\n"
                            "{\"id\":2,\"return\":{\"published\":[],\"cursor\":9}}\n");
}

Test(ctl, flows_do_not_go_round_in_circles)
{
    cr_assert_eq(RUN("{\"id\":1,\"return\":{\"flows\":[],\"cursor\":9}}\n"
                     "{\"id\":2,\"return\":{\"flows\":[],\"cursor\":9}}\n",
                     "flows"),
                 1);
}

Test(ctl, top_shows_rates_as_often_as_it_is_told_to)
{
    cr_assert_eq(RUN("{\"id\":1,\"return\":{\"flows\":[" FLOW(
                         "1", "0", "0") "],\"cursor\":null}}\n{\"id\":2,\"return\":{\"flows\":"
                                        "[" FLOW("1", "0", "1") "," FLOW(
                                            "2", "4096000", "1000000") "],\"cursor\":null}}\n"
                                                                       "{\"id\":3,\"return\":{"
                                                                       "\"flows\":[],\"cursor\":"
                                                                       "null}}\n",
                     "top", "--interval", "0.05", "--iterations", "2"),
                 0);
    cr_assert_stdout_eq_str(
        "2 flows, in 4.0 KiB/s, out 0/s\n"
        "       IN  OUT  TOTAL-IN  TOTAL-OUT     AGE  PATH   PROTOCOL  STATE  GUEST          "
        "GUEST-PEER\n"
        "4.0 KiB/s  0/s   3.9 MiB         20  16m40s  relay  tcp       open   10.0.2.100:80  "
        "192.0.2.2:2\n"
        "      0/s  0/s         0         20    0.0s  relay  tcp       open   10.0.2.100:80  "
        "192.0.2.2:1\n"
        "\n"
        "0 flows, in 0/s, out 0/s\n"
        "IN  OUT  TOTAL-IN  TOTAL-OUT  AGE  PATH  PROTOCOL  STATE  GUEST  GUEST-PEER\n"
        "\n");
}

Test(ctl, top_ends_with_status_1_when_the_helper_does)
{
    cr_assert_eq(RUN("", "top", "--timeout", "0.05"), 1);
    cr_assert_stderr_eq_str("sallyport ctl: top: no answer within 0.05 s\n");
}

Test(ctl, stats_are_names_and_numbers)
{
    cr_assert_eq(
        RUN("{\"id\":1,\"return\":{\"counters\":{\"gate.malformed\":3},\"fds\":12}}\n", "stats"),
        0);
    cr_assert_stdout_eq_str("NAME                     VALUE\n"
                            "counters.gate.malformed      3\n"
                            "fds                         12\n");
}

Test(ctl, pcap_makes_the_file_for_its_owner_alone_and_stop_tells_its_size)
{
    char directory[] = "/tmp/test_ctl.XXXXXX", path[64], complaints[256];
    struct stat st, again;

    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/file", directory);
    (void)umask(0);
    cr_assert_eq(RUN("{\"id\":1,\"return\":{}}\n", "pcap", "start", path, "--max-bytes=4096"), 0);
    cr_assert_str_eq(asked, "{\"id\":1,\"command\":\"pcap\",\"arguments\":{\"action\":\"start\","
                            "\"max_bytes\":4096}}\n");
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_mode & 07777, 0600);
    /* A refused start leaves what is there, and nothing else beside it. */
    cr_assert_eq(RUN("{\"id\":1,\"error\":{\"code\":\"busy\",\"message\":\"pcap: it runs\"}}\n",
                     "pcap", "start", path),
                 1);
    cr_assert_eq(stat(path, &again), 0);
    cr_assert_eq(again.st_ino, st.st_ino);
    cr_assert_eq(RUN("{\"id\":1,\"return\":{}}\n", "pcap", "start", path), 0);
    cr_assert_eq(stat(path, &again), 0);
    cr_assert_neq(again.st_ino, st.st_ino);
    cr_assert_eq(RUN("{\"id\":1,\"return\":{}}\n", "pcap", "start", "/dev/null"), 0);
    cr_assert_eq(lstat("/dev/null", &again), 0);
    cr_assert(S_ISCHR(again.st_mode));
    (void)unlink(path);
    cr_assert_eq(rmdir(directory), 0, "nothing else is there");
    cr_assert_eq(RUN("", "pcap", "start", path), 1);
    cr_assert_str_eq(asked, "");
    cr_assert_eq(RUN("{\"id\":1,\"return\":{\"bytes\":4000,\"frames\":7}}\n", "pcap", "stop"), 0);
    cr_assert_stdout_eq_str("7 frames, 4000 bytes, 0 dropped\n");
    (void)snprintf(complaints, sizeof(complaints),
                   "sallyport ctl: pcap: it runs\n"
                   "sallyport ctl: pcap: %s: No such file or directory\n",
                   path);
    cr_assert_stderr_eq_str(complaints);
}

Test(ctl, log_level_is_silent)
{
    cr_assert_eq(RUN("{\"id\":1,\"return\":{}}\n", "log-level", "debug"), 0);
    cr_assert_stdout_eq_str("");
}

Test(ctl, rubbish_silence_and_a_closed_connection_are_told_apart)
{
    int pair[2];
    char number[16];

    cr_assert_eq(RUN("hello\n", "ping"), 1);
    cr_assert_eq(RUN("", "ping", "--timeout=0.05"), 1);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    (void)close(pair[1]);
    (void)snprintf(number, sizeof(number), "%d", pair[0]);
    cr_assert_eq(RUN_ALONE(WORD("--control-fd"), number, WORD("ping")), 1);
    cr_assert_eq(RUN("", "publish", "\xff"), 1);
    cr_assert_stderr_eq_str(
        "sallyport ctl: ping: what answers there is no sallyport, or of another kind\n"
        "sallyport ctl: ping: no answer within 0.05 s\n"
        "sallyport ctl: ping: the helper closed the connection\n"
        "sallyport ctl: publish: that is not UTF-8\n");
}

Test(ctl, usage_errors_are_one_line_and_status_1)
{
    cr_assert_eq(run_words((char *[]){WORD("ctl"), NULL}), 1);
    cr_assert_eq(RUN_ALONE(WORD("dance")), 1);
    cr_assert_eq(RUN_ALONE(WORD("ping")), 1);
    cr_assert_eq(RUN_ALONE(WORD("ping"), WORD("--control=x"), WORD("--control-fd=3")), 1);
    cr_assert_eq(RUN_ALONE(WORD("ping"), WORD("more")), 1);
    cr_assert_eq(RUN_ALONE(WORD("publish")), 1);
    cr_assert_eq(RUN_ALONE(WORD("list"), WORD("--cut")), 1);
    cr_assert_eq(RUN_ALONE(WORD("top"), WORD("--json")), 1);
    cr_assert_eq(RUN_ALONE(WORD("top"), WORD("--interval=nan")), 1);
    cr_assert_eq(RUN_ALONE(WORD("top"), WORD("--interval=-3")), 1);
    cr_assert_eq(RUN_ALONE(WORD("top"), WORD("--iterations=0")), 1);
    cr_assert_eq(RUN_ALONE(WORD("pcap"), WORD("start"), WORD("x"), WORD("--max-bytes=-3")), 1);
    cr_assert_eq(RUN_ALONE(WORD("ping"), WORD("--timeout=-1")), 1);
    cr_assert_eq(RUN_ALONE(WORD("ping"), WORD("--control=/nonexistent/\x1b")), 1);
    cr_assert_eq(RUN_ALONE(WORD("ping"), WORD("--control-fd=9999")), 1);
    cr_assert_stderr_eq_str(
        "sallyport ctl: want a command; see --help\n"
        "sallyport ctl: 'dance' is no command; see --help\n"
        "sallyport ctl: want one of --control PATH and --control-fd N\n"
        "sallyport ctl: want one of --control PATH and --control-fd N\n"
        "sallyport ctl: ping: want no more words\n"
        "sallyport ctl: publish: want SPEC\n"
        "sallyport ctl: list has no --cut\n"
        "sallyport ctl: top has no --json\n"
        "sallyport ctl: --interval: want seconds, 0.05 to 86400\n"
        "sallyport ctl: --interval: want seconds, 0.05 to 86400\n"
        "sallyport ctl: --iterations: want at least 1\n"
        "sallyport ctl: --max-bytes: want at least 1\n"
        "sallyport ctl: --timeout: want seconds, 0.001 to 86400\n"
        "sallyport ctl: cannot connect to /nonexistent/\\x1b: No such file or directory\n"
        "sallyport ctl: --control-fd 9999: Bad file descriptor\n");
}

Test(ctl, pcap_words_are_checked_before_anything_is_made)
{
    static const char *const wrong[][3] = {{"start", NULL, NULL},
                                           {"stop", "file", NULL},
                                           {"stop", "--max-bytes=5", NULL},
                                           {"dance", NULL, NULL}};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        cr_assert_eq(RUN("", "pcap", wrong[i][0], wrong[i][1], wrong[i][2]), 1);
        cr_assert_str_eq(asked, "");
    }
    cr_assert_stdout_eq_str("");
}

Test(ctl, words_behind_two_dashes_are_no_options)
{
    cr_assert_eq(RUN("{\"id\":1,\"error\":{\"code\":\"publish\",\"message\":\"no\"}}\n", "publish",
                     "--", "--cut"),
                 1);
    cr_assert_str_eq(asked,
                     "{\"id\":1,\"command\":\"publish\",\"arguments\":{\"spec\":\"--cut\"}}\n");
}
