/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_clients.c - local clients, patient and mad, behind a language of the test's own
 *
 * A request is a line; it comes back as it was. "later" is answered when the test says so, "fd" with what the fd beside it is.
 */
#include "config.h"

#include "control/clients.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "loopfixture.h"

#define REQUEST_MAX 4096

typedef struct Fixture {
    GMainContext *context;
    Clients *clients;
    char *dir;
    char *path;
    int door;
    Reply *later;
    unsigned requests;
    unsigned long_ones;
    unsigned late_ones;
} Fixture;

static size_t line_frame(const char *bytes, size_t len, bool ended)
{
    const char *end = len > 0 ? memchr(bytes, '\n', len) : NULL;

    (void)ended;
    return end != NULL ? (size_t)(end - bytes) + 1 : 0;
}

static size_t once_frame(const char *bytes, size_t len, bool ended)
{
    return ended ? len : line_frame(bytes, len, ended);
}

static void on_request(Reply *take_reply, const char *bytes, size_t len, void *user_data)
{
    Fixture *fix = user_data;
    int fd;

    fix->requests++;
    if (len == 6 && memcmp(bytes, "later\n", 6) == 0) {
        fix->later = take_reply;
        return;
    }
    if (len == 3 && memcmp(bytes, "fd\n", 3) == 0) {
        fd = reply_take_fd(take_reply);
        reply_send(take_reply, fd >= 0 ? "1\n" : "0\n", 2, false);
        if (fd >= 0) {
            (void)close(fd);
        }
        return;
    }
    if (len == 4 && memcmp(bytes, "big\n", 4) == 0) {
        g_autofree char *big = g_strnfill(4 << 20, 'x');

        reply_send(take_reply, big, 4 << 20, false);
        return;
    }
    if (reply_read_only(take_reply)) {
        reply_send(take_reply, "observer\n", 9, false);
        return;
    }
    reply_send(take_reply, bytes, len, false);
}

static void on_refused(Reply *take_reply, ClientsRefusal why, void *user_data)
{
    Fixture *fix = user_data;

    if (why == CLIENTS_TOO_LONG) {
        fix->long_ones++;
    } else {
        fix->late_ones++;
    }
    reply_send(take_reply, "no\n", 3, false);
}

static const ClientsLanguage lines = {
    .request_max = REQUEST_MAX, .frame = line_frame, .request = on_request, .refused = on_refused};
static const ClientsLanguage one_line = {.request_max = REQUEST_MAX,
                                         .once = true,
                                         .frame = once_frame,
                                         .request = on_request,
                                         .refused = on_refused};

static void begin(Fixture *fix, const ClientsLanguage *language)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *fix = (Fixture){.context = g_main_context_new()};
    fix->dir = g_dir_make_tmp("clients-XXXXXX", NULL);
    fix->path = g_build_filename(fix->dir, "s", NULL);
    (void)g_strlcpy(address.sun_path, fix->path, sizeof(address.sun_path));
    fix->door = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fix->door, (const struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_eq(listen(fix->door, 4096), 0);
    fix->clients = clients_new(fix->context, language, fix);
    clients_listen(fix->clients, fix->door, false);
    clients_begin(fix->clients);
}

static void end(Fixture *fix)
{
    clients_free(fix->clients);
    (void)close(fix->door);
    (void)unlink(fix->path);
    (void)rmdir(fix->dir);
    g_free(fix->path);
    g_free(fix->dir);
    g_main_context_unref(fix->context);
}

static int connected(const Fixture *fix)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)g_strlcpy(address.sun_path, fix->path, sizeof(address.sun_path));
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* What has come: 0 nothing yet, -1 the end, else bytes at @ret, NUL-terminated. */
static int heard(int fd, char *ret, size_t size)
{
    ssize_t n = recv(fd, ret, size - 1, MSG_DONTWAIT);

    if (n > 0) {
        ret[n] = '\0';
        return (int)n;
    }
    return n < 0 && errno == EAGAIN ? 0 : -1;
}

/* Waits for the next bytes, or the end. */
#define HEAR(fix, fd, text)                                                                        \
    do {                                                                                           \
        int heard_ = 0;                                                                            \
        LOOP_AWAIT((fix)->context, (heard_ = heard((fd), (text), sizeof(text))) != 0);             \
        if (heard_ < 0) {                                                                          \
            (text)[0] = '\0';                                                                      \
        }                                                                                          \
    } while (0)

Test(clients, requests_are_answered_in_order_however_they_are_cut)
{
    Fixture fix;
    char text[256];
    int fd;

    begin(&fix, &lines);
    fd = connected(&fix);
    say(fd, "one\ntwo\nth");
    LOOP_AWAIT(fix.context, fix.requests == 2);
    say(fd, "ree\n");
    LOOP_AWAIT(fix.context, fix.requests == 3);
    LOOP_AWAIT(fix.context, recv(fd, text, sizeof(text), MSG_DONTWAIT | MSG_PEEK) == 14);
    HEAR(&fix, fd, text);
    cr_expect_str_eq(text, "one\ntwo\nthree\n");
    (void)close(fd);
    end(&fix);
}

Test(clients, last_request_of_a_client_that_has_finished_is_answered)
{
    Fixture fix;
    char text[256];
    int fd;

    begin(&fix, &lines);
    fd = connected(&fix);
    say(fd, "one\ncut off");
    (void)shutdown(fd, SHUT_WR);
    HEAR(&fix, fd, text);
    cr_expect_str_eq(text, "one\n");
    HEAR(&fix, fd, text);
    cr_expect_str_eq(text, "", "then the end");
    cr_expect_eq(fix.requests, 1);
    (void)close(fd);
    end(&fix);
}

Test(clients, what_never_ends_is_refused_at_its_limit)
{
    Fixture fix;
    g_autofree char *much = g_strnfill(REQUEST_MAX, 'x');
    char text[256];
    int fd;

    begin(&fix, &lines);
    fd = connected(&fix);
    say(fd, much);
    HEAR(&fix, fd, text);
    cr_expect_str_eq(text, "no\n");
    cr_expect_eq(fix.long_ones, 1);
    cr_expect_eq(fix.requests, 0);
    HEAR(&fix, fd, text);
    cr_expect_str_eq(text, "");
    (void)close(fd);
    end(&fix);
}

Test(clients, request_that_is_begun_and_not_completed_is_refused_in_time)
{
    Fixture fix;
    char text[256];
    int64_t from = g_get_monotonic_time();
    int fd;

    begin(&fix, &lines);
    fd = connected(&fix);
    say(fd, "x");
    HEAR(&fix, fd, text);
    cr_expect_str_eq(text, "no\n");
    cr_expect_eq(fix.late_ones, 1);
    cr_expect_geq(g_get_monotonic_time() - from, CLIENTS_DEADLINE_MS * 1000);
    HEAR(&fix, fd, text);
    cr_expect_str_eq(text, "");
    (void)close(fd);
    end(&fix);
}

Test(clients, idle_client_may_stay_and_wakes_nobody)
{
    Fixture fix;
    char text[256];
    int fd;

    begin(&fix, &lines);
    fd = connected(&fix);
    say(fd, "one\n");
    HEAR(&fix, fd, text);
    loop_drain(fix.context);
    cr_expect_eq(loop_timeout_ms(fix.context), -1);
    (void)close(fd);
    end(&fix);
}

Test(clients, silent_client_that_has_one_request_is_closed_in_time)
{
    Fixture fix;
    char text[256];
    int fd;

    begin(&fix, &one_line);
    fd = connected(&fix);
    HEAR(&fix, fd, text);
    cr_expect_str_eq(text, "");
    cr_expect_eq(fix.requests, 0);
    (void)close(fd);
    end(&fix);
}

Test(clients, one_request_is_one_and_the_end)
{
    Fixture fix;
    char text[256];
    int fd;

    begin(&fix, &one_line);
    fd = connected(&fix);
    say(fd, "one\ntwo\n");
    HEAR(&fix, fd, text);
    cr_expect_str_eq(text, "one\n");
    LOOP_AWAIT(fix.context, heard(fd, text, sizeof(text)) < 0);
    cr_expect_eq(fix.requests, 1);
    (void)close(fd);
    end(&fix);
}

Test(clients, client_that_goes_before_its_reply_harms_nobody)
{
    Fixture fix;
    char text[256];
    int fd;
    int other;

    begin(&fix, &lines);
    fd = connected(&fix);
    say(fd, "later\n");
    LOOP_AWAIT(fix.context, fix.later != NULL);
    (void)close(fd);
    other = connected(&fix);
    say(other, "one\n");
    HEAR(&fix, other, text);
    reply_send(fix.later, "late\n", 5, false);
    loop_drain(fix.context);
    (void)close(other);
    end(&fix);
}

Test(clients, reply_that_is_owed_outlives_the_server)
{
    Fixture fix;
    int fd;

    begin(&fix, &lines);
    fd = connected(&fix);
    say(fd, "later\n");
    LOOP_AWAIT(fix.context, fix.later != NULL);
    end(&fix);
    reply_send(fix.later, "late\n", 5, false);
    (void)close(fd);
}

Test(clients, reply_that_comes_late_is_written_and_what_came_meanwhile_is_next)
{
    Fixture fix;
    char text[256];
    int fd;

    begin(&fix, &lines);
    fd = connected(&fix);
    say(fd, "later\ntwo\n");
    LOOP_AWAIT(fix.context, fix.later != NULL);
    loop_drain(fix.context);
    cr_expect_eq(fix.requests, 1, "one at a time");
    reply_send(fix.later, "late\n", 5, false);
    LOOP_AWAIT(fix.context, recv(fd, text, sizeof(text), MSG_DONTWAIT | MSG_PEEK) == 9);
    HEAR(&fix, fd, text);
    cr_expect_str_eq(text, "late\ntwo\n");
    (void)close(fd);
    end(&fix);
}

Test(clients, client_that_does_not_read_its_reply_is_closed_in_time)
{
    Fixture fix;
    int fd;
    int64_t from;

    begin(&fix, &lines);
    fd = connected(&fix);
    say(fd, "big\n");
    LOOP_AWAIT(fix.context, fix.requests == 1);
    from = g_get_monotonic_time();
    LOOP_AWAIT(fix.context, send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EPIPE);
    cr_expect_geq(g_get_monotonic_time() - from, CLIENTS_DEADLINE_MS * 1000 - 100000);
    (void)close(fd);
    end(&fix);
}

Test(clients, one_too_many_takes_the_place_of_the_idlest)
{
    Fixture fix;
    int fds[CLIENTS_MAX + 1];
    char text[256];

    begin(&fix, &lines);
    for (unsigned i = 0; i <= CLIENTS_MAX; i++) {
        fds[i] = connected(&fix);
        say(fds[i], "one\n");
        HEAR(&fix, fds[i], text);
        cr_expect_str_eq(text, "one\n", "%u", i);
        if (i == 1) {
            say(fds[0], "one\n"); /* the second has been idle for longer now */
            HEAR(&fix, fds[0], text);
        }
    }
    HEAR(&fix, fds[1], text);
    cr_expect_str_eq(text, "");
    cr_expect_eq(heard(fds[0], text, sizeof(text)), 0, "the first is still there");
    for (unsigned i = 0; i <= CLIENTS_MAX; i++) {
        (void)close(fds[i]);
    }
    end(&fix);
}

Test(clients, one_too_many_is_turned_away_while_all_are_at_work)
{
    Fixture fix;
    int fds[CLIENTS_MAX + 1];
    char text[256];
    unsigned before;

    begin(&fix, &lines);
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        fds[i] = connected(&fix);
        say(fds[i], "half");
        loop_drain(fix.context);
    }
    fds[CLIENTS_MAX] = connected(&fix);
    HEAR(&fix, fds[CLIENTS_MAX], text);
    cr_expect_str_eq(text, "");
    before = fix.late_ones;
    cr_expect_eq(before, 0, "nobody was cut off for it");
    say(fds[0], "\n");
    HEAR(&fix, fds[0], text);
    cr_expect_str_eq(text, "half\n");
    for (unsigned i = 0; i <= CLIENTS_MAX; i++) {
        (void)close(fds[i]);
    }
    end(&fix);
}

Test(clients, thousand_at_once_leave_nothing_behind)
{
    Fixture fix;
    int fds[1000];
    size_t before;
    char text[256];
    int fd;

    begin(&fix, &lines);
    before = count_fds();
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = connected(&fix);
    }
    loop_drain(fix.context);
    fd = connected(&fix);
    say(fd, "one\n");
    HEAR(&fix, fd, text);
    cr_expect_str_eq(text, "one\n");
    (void)close(fd);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        (void)close(fds[i]);
    }
    LOOP_AWAIT(fix.context, (loop_drain(fix.context), count_fds() == before));
    end(&fix);
}

static void say_with(int sock, const char *text, int fd, unsigned count)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * 8)];
    } control = {0};
    char copy[64];
    struct iovec iov = {copy, strlen(text)};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = CMSG_SPACE(sizeof(int) * count)};

    (void)g_strlcpy(copy, text, sizeof(copy));
    control.align.cmsg_level = SOL_SOCKET;
    control.align.cmsg_type = SCM_RIGHTS;
    control.align.cmsg_len = CMSG_LEN(sizeof(int) * count);
    for (unsigned i = 0; i < count; i++) {
        memcpy(CMSG_DATA(&control.align) + i * sizeof(int), &fd, sizeof(int));
    }
    cr_assert_eq(sendmsg(sock, &header, MSG_NOSIGNAL), (ssize_t)strlen(text));
}

Test(clients, fd_comes_with_its_request_and_others_are_closed)
{
    Fixture fix;
    char text[256];
    size_t before;
    int fd;

    begin(&fix, &lines);
    fd = connected(&fix);
    say(fd, "one\n");
    HEAR(&fix, fd, text);
    before = count_fds();
    for (unsigned count = 1; count <= 8; count++) {
        say_with(fd, "fd\n", STDERR_FILENO, count);
        HEAR(&fix, fd, text);
        cr_expect_str_eq(text, count == 1 ? "1\n" : "0\n", "%u", count);
        cr_expect_eq(count_fds(), before, "%u", count);
        say_with(fd, "one\n", STDERR_FILENO, count);
        HEAR(&fix, fd, text);
        cr_expect_eq(count_fds(), before, "%u", count);
    }
    say(fd, "fd\n");
    HEAR(&fix, fd, text);
    cr_expect_str_eq(text, "0\n", "none is left over from others");
    (void)close(fd);
    end(&fix);
}

/* A connection whose other end takes nothing, and which is to be waited for when it is closed. */
static int lingering(int *ret_peer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    static const char bytes[65536];
    int door = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert(bind(door, (struct sockaddr *)&address, len) == 0 && listen(door, 1) == 0);
    cr_assert(getsockname(door, (struct sockaddr *)&address, &len) == 0 &&
              connect(fd, (struct sockaddr *)&address, len) == 0);
    *ret_peer = accept(door, NULL, NULL);
    while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    cr_assert_eq(
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 30}, sizeof(struct linger)), 0);
    (void)close(door);
    return fd;
}

Test(clients, fd_that_lingers_holds_up_nobody)
{
    Fixture fix;
    char text[256];
    int64_t began = g_get_monotonic_time();
    int peer;
    int passed = lingering(&peer);
    int fd;

    begin(&fix, &lines);
    fd = connected(&fix);
    say_with(fd, "one\n", passed, 1);
    (void)close(passed); /* the last one is the helper's */
    HEAR(&fix, fd, text);
    cr_expect_lt(g_get_monotonic_time() - began, 20 * G_USEC_PER_SEC);
    (void)close(peer);
    (void)close(fd);
    end(&fix);
}

Test(clients, inherited_connection_keeps_its_place_and_its_description)
{
    Fixture fix;
    int pair[2];
    int fds[2 * CLIENTS_MAX];
    char text[256];
    g_autoptr(GError) error = NULL;

    begin(&fix, &lines);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    cr_assert(clients_inherit(fix.clients, pair[1], "observe-fd", true, &error));
    clients_begin(fix.clients);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        fds[i] = connected(&fix);
        loop_drain(fix.context);
    }
    say(pair[0], "one\n");
    HEAR(&fix, pair[0], text);
    cr_expect_str_eq(text, "observer\n");
    cr_expect_eq(fcntl(pair[1], F_GETFL) & O_NONBLOCK, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        (void)close(fds[i]);
    }
    (void)close(pair[0]);
    end(&fix);
}

Test(clients, what_is_no_unix_stream_socket_is_not_inherited)
{
    const int fds[] = {socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
                       socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0),
                       socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), STDERR_FILENO, 1000};
    Fixture fix;

    begin(&fix, &lines);
    for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
        g_autoptr(GError) error = NULL;

        cr_expect_not(clients_inherit(fix.clients, fds[i], "control-fd", false, &error), "%zu", i);
        cr_expect_not_null(error, "%zu", i);
    }
    end(&fix);
}

/* Root's clients and ours come in; somebody else's are closed without a word. */
Test(clients, client_of_another_uid_is_closed)
{
    Fixture fix;
    char text[256];
    int fd;
    int status = 0;
    pid_t pid;

    if (geteuid() != 0) {
        cr_skip_test("only root can be somebody else");
    }
    begin(&fix, &lines);
    cr_assert_eq(chmod(fix.dir, 0755), 0);
    cr_assert_eq(chmod(fix.path, 0777), 0);
    pid = fork();
    if (pid == 0) {
        if (setresuid(12345, 12345, 12345) != 0) {
            _exit(1);
        }
        fd = connected(&fix);
        _exit(recv(fd, text, sizeof(text), 0) <= 0 ? 0 : 2);
    }
    while (waitpid(pid, &status, WNOHANG) == 0) {
        (void)g_main_context_iteration(fix.context, FALSE);
    }
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%x", (unsigned)status);
    end(&fix);
}
