/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_control_link.c - libsallyport: the connection to a control socket, and all that can become of it
 *
 * Not here: what the commands are (test_control_calls.c).
 */
#include "config.h"

#include "control_peer.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

TestSuite(control_link, .timeout = 60);

static int ping(const Peer *peer, int timeout_ms)
{
    return sallyport_control_ping(peer->control, timeout_ms, NULL);
}

Test(control_link, request_is_one_line_with_a_counted_id)
{
    Peer peer = peer_new();
    const char *version = NULL;

    peer_says(&peer, "{\"id\":1,\"return\":{\"version\":\"0.1\"}}");
    peer_says(&peer, "{\"id\":2,\"return\":{\"version\":\"0.2\",\"more\":1},\"and\":[]}");
    cr_assert_eq(sallyport_control_ping(peer.control, WAIT_MS, &version), 0);
    cr_assert_str_eq(version, "0.1");
    cr_assert_str_eq(sallyport_control_reply(peer.control),
                     "{\"id\":1,\"return\":{\"version\":\"0.1\"}}");
    cr_assert_eq(sallyport_control_ping(peer.control, WAIT_MS, &version), 0);
    cr_assert_str_eq(version, "0.2");
    cr_assert_null(sallyport_control_refusal(peer.control));
    peer_heard(&peer, "{\"id\":1,\"command\":\"ping\"}");
    peer_heard(&peer, "{\"id\":2,\"command\":\"ping\"}");
    peer_free(&peer);
}

Test(control_link, refusal_has_code_errno_name_and_message_and_the_connection_lives_on)
{
    Peer peer = peer_new();
    const SallyportRefusal *refusal;

    peer_says(&peer, "{\"id\":1,\"error\":{\"code\":\"publish\",\"errno\":\"EADDRINUSE\","
                     "\"message\":\"port 80 is taken\"}}");
    peer_says(&peer, "{\"id\":2,\"error\":{\"code\":\"command\",\"message\":\"no\"}}");
    peer_says(&peer, "{\"id\":3,\"return\":{\"version\":\"0.1\"}}");
    cr_assert_eq(ping(&peer, WAIT_MS), -EREMOTEIO);
    refusal = sallyport_control_refusal(peer.control);
    cr_assert_str_eq(refusal->code, SALLYPORT_REFUSAL_PUBLISH);
    cr_assert_str_eq(refusal->errno_name, "EADDRINUSE");
    cr_assert_str_eq(refusal->message, "port 80 is taken");
    cr_assert_eq(ping(&peer, WAIT_MS), -EREMOTEIO);
    cr_assert_null(sallyport_control_refusal(peer.control)->errno_name);
    cr_assert_eq(ping(&peer, WAIT_MS), 0);
    cr_assert_null(sallyport_control_refusal(peer.control));
    peer_free(&peer);
}

Test(control_link, closed_before_the_request_is_epipe_without_a_signal_and_stays_so)
{
    Peer peer = peer_new();

    peer_hang_up(&peer);
    cr_assert_eq(ping(&peer, WAIT_MS), -EPIPE);
    cr_assert_null(sallyport_control_reply(peer.control));
    cr_assert_eq(ping(&peer, WAIT_MS), -EPIPE);
    peer_free(&peer);
}

Test(control_link, closed_with_the_request_unread_is_epipe)
{
    Peer peer = peer_new();
    int64_t begin = now_ms();

    cr_assert_eq(ping(&peer, 0), -ETIMEDOUT);
    peer_hang_up(&peer);
    cr_assert_eq(ping(&peer, WAIT_MS), -EPIPE);
    cr_assert_lt(now_ms() - begin, WAIT_MS);
    peer_free(&peer);
}

Test(control_link, closed_in_the_middle_of_a_reply_is_epipe)
{
    Peer peer = peer_new();

    peer_write(&peer, "{\"id\":1,\"ret", 11);
    cr_assert_eq(shutdown(peer.fd, SHUT_WR), 0);
    cr_assert_eq(ping(&peer, WAIT_MS), -EPIPE);
    peer_free(&peer);
}

Test(control_link, last_word_of_a_helper_that_closed_is_the_refusal)
{
    Peer peer = peer_new();

    peer_says(&peer, "{\"id\":null,\"error\":{\"code\":\"busy\",\"message\":\"too many\"}}");
    peer_hang_up(&peer);
    cr_assert_eq(ping(&peer, WAIT_MS), -EREMOTEIO);
    cr_assert_str_eq(sallyport_control_refusal(peer.control)->code, SALLYPORT_REFUSAL_BUSY);
    cr_assert_eq(ping(&peer, WAIT_MS), -EPIPE);
    peer_free(&peer);
}

Test(control_link, silence_ends_at_the_deadline_and_the_late_reply_is_skipped)
{
    Peer peer = peer_new();
    int64_t begin = now_ms();
    const char *version = NULL;

    cr_assert_eq(ping(&peer, 200), -ETIMEDOUT);
    cr_assert_geq(now_ms() - begin, 200);
    cr_assert_lt(now_ms() - begin, 200 + SLACK_MS);
    peer_says(&peer, "{\"id\":1,\"return\":{\"version\":\"late\"}}");
    peer_says(&peer, "{\"id\":2,\"return\":{\"version\":\"now\"}}");
    cr_assert_eq(sallyport_control_ping(peer.control, WAIT_MS, &version), 0);
    cr_assert_str_eq(version, "now");
    peer_free(&peer);
}

Test(control_link, half_a_reply_waits_for_the_rest_until_the_deadline_and_beyond)
{
    Peer peer = peer_new();

    peer_write(&peer, "{\"id\":1,", 8);
    cr_assert_eq(ping(&peer, 50), -ETIMEDOUT);
    peer_says(&peer, "\"return\":{\"version\":\"late\"}}");
    peer_says(&peer, "{\"id\":2,\"return\":{\"version\":\"now\"}}");
    cr_assert_eq(ping(&peer, WAIT_MS), 0);
    peer_free(&peer);
}

Test(control_link, rubbish_is_ebadmsg_and_the_connection_is_not_used_again)
{
    static const char *const rubbish[] = {
        "",
        "hello",
        "null",
        "[]",
        "{}",
        "{\"id\":1}",
        "{\"id\":1,\"return\":7}",
        "{\"id\":1,\"return\":{}}",
        "{\"id\":1,\"return\":{\"version\":1}}",
        "{\"id\":1,\"return\":{\"version\":\"a\"}} x",
        "{\"id\":1,\"id\":1,\"return\":{\"version\":\"a\"}}",
        "{\"id\":1,\"error\":{}}",
        "{\"id\":1,\"error\":\"no\"}",
        "{\"id\":1,\"error\":{\"code\":\"x\"}}",
        "{\"id\":1,\"error\":{\"code\":1,\"message\":\"x\"}}",
        "{\"id\":2,\"return\":{\"version\":\"a\"}}",
        "{\"id\":0,\"return\":{\"version\":\"a\"}}",
        "{\"id\":-1,\"return\":{\"version\":\"a\"}}",
        "{\"id\":\"1\",\"return\":{\"version\":\"a\"}}",
        "{\"id\":null,\"return\":{\"version\":\"a\"}}",
        "{\"return\":{\"version\":\"a\"}}",
        "{\"id\":1,\"return\":{\"version\":\"\xff\"}}",
        "{\"id\":1,\"return\":{\"version\":\"\x1b\"}}",
    };

    for (size_t i = 0; i < sizeof(rubbish) / sizeof(rubbish[0]); i++) {
        Peer peer = peer_new();

        peer_says(&peer, "%s", rubbish[i]);
        peer_says(&peer, "{\"id\":2,\"return\":{\"version\":\"a\"}}");
        cr_expect_eq(ping(&peer, WAIT_MS), -EBADMSG, "%s", rubbish[i]);
        cr_expect_eq(ping(&peer, WAIT_MS), -EPIPE, "%s", rubbish[i]);
        peer_free(&peer);
    }
}

Test(control_link, nul_in_a_reply_is_ebadmsg)
{
    static const char line[] = "{\"id\":1,\"return\":{\"version\":\"a\0b\"}}\n";
    Peer peer = peer_new();

    peer_write(&peer, line, sizeof(line) - 1);
    cr_assert_eq(ping(&peer, WAIT_MS), -EBADMSG);
    peer_free(&peer);
}

/* A reply of so many bytes without the newline. */
static void says_long(const Peer *peer, size_t length)
{
    static const char head[] = "{\"id\":1,\"return\":{\"version\":\"";
    char *line = malloc(length + 1);

    cr_assert_not_null(line);
    memset(line, 'x', length);
    memcpy(line, head, sizeof(head) - 1);
    memcpy(line + length - 3, "\"}}\n", 4);
    peer_write(peer, line, length + 1);
    free(line);
}

Test(control_link, reply_of_64_kib_is_read)
{
    Peer peer = peer_new();

    says_long(&peer, SALLYPORT_CONTROL_LINE_MAX);
    cr_assert_eq(ping(&peer, WAIT_MS), 0);
    cr_assert_eq(strlen(sallyport_control_reply(peer.control)), SALLYPORT_CONTROL_LINE_MAX);
    peer_free(&peer);
}

Test(control_link, longer_reply_is_ebadmsg)
{
    Peer peer = peer_new();

    says_long(&peer, SALLYPORT_CONTROL_LINE_MAX + 1);
    cr_assert_eq(ping(&peer, WAIT_MS), -EBADMSG);
    cr_assert_eq(ping(&peer, WAIT_MS), -EPIPE);
    peer_free(&peer);
}

/* {"id":1,"command":"x","arguments":{"a":"..."}} and the newline: 44 bytes and the dots. */
static int call_of(const Peer *peer, size_t size)
{
    char *arguments = malloc(size);
    int r;

    cr_assert_not_null(arguments);
    memset(arguments, 'y', size);
    memcpy(arguments, "{\"a\":\"", 6);
    memcpy(arguments + size - 44 + 6, "\"}", 3);
    r = sallyport_control_call(peer->control, "x", arguments, -1, 0);
    free(arguments);
    return r;
}

Test(control_link, request_above_64_kib_is_not_sent)
{
    Peer peer = peer_new();
    char *heard = malloc(2 * SALLYPORT_CONTROL_LINE_MAX);

    cr_assert_not_null(heard);
    cr_assert_eq(call_of(&peer, SALLYPORT_CONTROL_LINE_MAX), -ETIMEDOUT);
    cr_assert_eq(call_of(&peer, SALLYPORT_CONTROL_LINE_MAX + 1), -EMSGSIZE);
    cr_assert_eq(recv(peer.fd, heard, 2 * SALLYPORT_CONTROL_LINE_MAX, MSG_DONTWAIT),
                 SALLYPORT_CONTROL_LINE_MAX);
    cr_assert_eq(recv(peer.fd, heard, 1, MSG_DONTWAIT), -1);
    free(heard);
    peer_free(&peer);
}

Test(control_link, helper_that_does_not_read_ends_in_etimedout_and_then_epipe)
{
    Peer peer = peer_new();
    int64_t begin = now_ms();
    int r = -ETIMEDOUT;

    for (int i = 0; i < 1000 && r == -ETIMEDOUT; i++) {
        r = call_of(&peer, SALLYPORT_CONTROL_LINE_MAX);
    }
    cr_assert_eq(r, -EPIPE, "half a request was sent");
    cr_assert_lt(now_ms() - begin, WAIT_MS);
    peer_free(&peer);
}

Test(control_link, call_refuses_what_makes_no_sense)
{
    static const char *const arguments[] = {"", "x", "[]", "7", "{} {}", "{\"a\":1,\"a\":2}"};
    Peer peer = peer_new();
    char byte;

    for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++) {
        cr_expect_eq(sallyport_control_call(peer.control, "x", arguments[i], -1, WAIT_MS), -EINVAL,
                     "%s", arguments[i]);
    }
    cr_assert_eq(sallyport_control_call(peer.control, NULL, NULL, -1, WAIT_MS), -EINVAL);
    cr_assert_eq(sallyport_control_call(peer.control, "\xff", NULL, -1, WAIT_MS), -EINVAL);
    cr_assert_eq(sallyport_control_call(peer.control, "x", NULL, -2, WAIT_MS), -EINVAL);
    cr_assert_eq(sallyport_control_call(peer.control, "x", NULL, 9999, WAIT_MS), -EBADF);
    cr_assert_eq(recv(peer.fd, &byte, 1, MSG_DONTWAIT), -1, "nothing was sent");
    peer_free(&peer);
}

Test(control_link, call_passes_arguments_as_they_are)
{
    Peer peer = peer_new();

    peer_says(&peer, "{\"id\":1,\"return\":{}}");
    cr_assert_eq(
        sallyport_control_call(peer.control, "new-word", "{\"a\": [1, null]}", -1, WAIT_MS), 0);
    peer_heard(&peer, "{\"id\":1,\"command\":\"new-word\",\"arguments\":{\"a\":[1,null]}}");
    peer_free(&peer);
}

Test(control_link, open_fd_refuses_what_is_no_connected_stream)
{
    SallyportControl *control = NULL;
    int pair[2], lone;

    cr_assert_eq(sallyport_control_open_fd(-1, &control), -EBADF);
    cr_assert_eq(pipe2(pair, O_CLOEXEC), 0);
    cr_assert_eq(sallyport_control_open_fd(pair[0], &control), -ENOTSOCK);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    cr_assert_eq(sallyport_control_open_fd(pair[0], &control), -EINVAL);
    cr_assert_geq(lone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), 0);
    cr_assert_eq(sallyport_control_open_fd(lone, &control), -ENOTCONN);
    cr_assert_eq(close(lone), 0, "what was refused is still the caller's");
    cr_assert_null(control);
    sallyport_control_close(NULL);
}

static char directory[64];
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static void make_directory(void)
{
    (void)snprintf(directory, sizeof(directory), "/tmp/test_control.XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", directory);
}

static void remove_directory(void)
{
    (void)unlink(address.sun_path);
    (void)rmdir(directory);
}

TestSuite(control_open, .init = make_directory, .fini = remove_directory, .timeout = 60);

static int listener(int backlog)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    if (backlog >= 0) {
        cr_assert_eq(listen(fd, backlog), 0);
    }
    return fd;
}

Test(control_open, connects_by_path_and_the_socket_is_cloexec)
{
    SallyportControl *control = NULL;
    int fd = listener(1);
    Peer peer;

    cr_assert_eq(sallyport_control_open(address.sun_path, WAIT_MS, &control), 0);
    cr_assert(fcntl(sallyport_control_fd(control), F_GETFD) & FD_CLOEXEC);
    peer = (Peer){accept4(fd, NULL, NULL, SOCK_CLOEXEC), control};
    peer_says(&peer, "{\"id\":1,\"return\":{\"version\":\"0.1\"}}");
    cr_assert_eq(ping(&peer, WAIT_MS), 0);
    (void)close(fd);
    peer_free(&peer);
}

Test(control_open, tells_nothing_there_from_nobody_listening_and_a_path_too_long)
{
    SallyportControl *control = NULL;
    char path[200];
    int fd;

    memset(path, 'p', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    cr_assert_eq(sallyport_control_open(path, WAIT_MS, &control), -ENAMETOOLONG);
    cr_assert_eq(sallyport_control_open("", WAIT_MS, &control), -EINVAL);
    cr_assert_eq(sallyport_control_open(NULL, WAIT_MS, &control), -EINVAL);
    cr_assert_eq(sallyport_control_open(address.sun_path, WAIT_MS, &control), -ENOENT);
    fd = listener(-1);
    cr_assert_eq(sallyport_control_open(address.sun_path, WAIT_MS, &control), -ECONNREFUSED);
    (void)close(fd);
    cr_assert_eq(sallyport_control_open(address.sun_path, WAIT_MS, &control), -ECONNREFUSED);
    cr_assert_null(control);
}

Test(control_open, full_queue_ends_at_the_deadline)
{
    SallyportControl *held[8] = {NULL};
    SallyportControl *control = NULL;
    int fd = listener(0);
    size_t count = 0;
    int64_t begin;

    while (count < 8 && sallyport_control_open(address.sun_path, 0, &held[count]) == 0) {
        count++;
    }
    cr_assert_lt(count, 8);
    begin = now_ms();
    cr_assert_eq(sallyport_control_open(address.sun_path, 200, &control), -ETIMEDOUT);
    cr_assert_geq(now_ms() - begin, 200);
    cr_assert_lt(now_ms() - begin, 200 + SLACK_MS);
    for (size_t i = 0; i < count; i++) {
        sallyport_control_close(held[i]);
    }
    (void)close(fd);
}
