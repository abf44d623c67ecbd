/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_ctl_top.c - sallyport ctl top: on a terminal, which it leaves as it was
 *
 * Does:     runs it in a child on a pseudoterminal; the test is the helper and the person in front of it.
 * Not here: screens without a terminal (test_ctl.c), rates and columns (test_ctl_text.c).
 */
#include "config.h"

#include "control/ctl.h"

#include "control_peer.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>

TestSuite(ctl_top, .timeout = 60);

/* @terminal: the person's end; @before: how it was */
typedef struct Screen {
    int terminal;
    int line;
    struct termios before;
    int helper;
    pid_t pid;
    char seen[65536];
    size_t length;
} Screen;

static Screen screen;

static void child(int helper)
{
    char number[16];
    char *argv[] = {(char[]){"ctl"}, (char[]){"--control-fd"},    number,
                    (char[]){"top"}, (char[]){"--interval=0.05"}, NULL};

    (void)setsid();
    (void)ioctl(screen.line, TIOCSCTTY, 0);
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        (void)dup2(screen.line, fd);
    }
    (void)setenv("TERM", "xterm", 1);
    (void)snprintf(number, sizeof(number), "%d", helper);
    _exit(ctl_main(5, argv));
}

static void screen_open(unsigned short columns, unsigned short rows)
{
    struct winsize size = {.ws_col = columns, .ws_row = rows};
    int pair[2];

    screen.terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    cr_assert_geq(screen.terminal, 0);
    cr_assert_eq(grantpt(screen.terminal), 0);
    cr_assert_eq(unlockpt(screen.terminal), 0);
    screen.line = open(ptsname(screen.terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
    cr_assert_geq(screen.line, 0);
    cr_assert_eq(ioctl(screen.line, TIOCSWINSZ, &size), 0);
    cr_assert_eq(tcgetattr(screen.line, &screen.before), 0);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    screen.helper = pair[1];
    screen.pid = fork();
    cr_assert_geq(screen.pid, 0);
    if (screen.pid == 0) {
        (void)close(pair[1]);
        child(pair[0]);
    }
    (void)close(pair[0]);
}

/* Three flows, of 0, 1 and 2 bytes at the first listing and a thousand times as many at each that follows. */
static void answer(void)
{
    static const char flow[] =
        "%s{\"path\":\"relay\",\"protocol\":\"tcp\",\"guest\":{\"local\":\"10.0.2.100:80\","
        "\"remote\":\"192.0.2.2:%d\"},\"bytes_in\":%lld,\"bytes_out\":0,\"age_ms\":%d,"
        "\"state\":\"\\u001b]0;x\\u0007\"}";
    static int asked;
    static long long bytes = 1;
    char line[2048];
    int length;
    ssize_t n = recv(screen.helper, line, sizeof(line), 0);

    if (n <= 0) {
        return; /* it has ended */
    }
    asked++;
    length = snprintf(line, sizeof(line), "{\"id\":%d,\"return\":{\"flows\":[", asked);
    for (int i = 0; i < 3; i++) {
        length += snprintf(line + length, sizeof(line) - (size_t)length, flow, i > 0 ? "," : "",
                           i + 1, bytes * i, asked);
    }
    length += snprintf(line + length, sizeof(line) - (size_t)length, "],\"cursor\":null}}\n");
    bytes *= 1000;
    (void)send(screen.helper, line, (size_t)length, MSG_NOSIGNAL);
}

static void screen_read(void)
{
    ssize_t n =
        read(screen.terminal, screen.seen + screen.length, sizeof(screen.seen) - 1 - screen.length);

    cr_assert_gt(n, 0);
    screen.length += (size_t)n;
    screen.seen[screen.length] = '\0';
}

/* Plays the helper until the screen has shown that text. */
static void screen_await(const char *text)
{
    struct pollfd fds[] = {{.fd = screen.helper, .events = POLLIN},
                           {.fd = screen.terminal, .events = POLLIN}};

    while (strstr(screen.seen, text) == NULL) {
        cr_assert_gt(poll(fds, 2, WAIT_MS), 0, "no \"%s\"", text);
        if (fds[1].revents != 0) {
            screen_read();
        }
        if (fds[0].revents != 0) {
            answer();
        }
    }
}

/* Return: the wait status. The terminal must be what it was. */
static int screen_end(void)
{
    struct pollfd fd = {.fd = screen.terminal, .events = POLLIN};
    struct termios now;
    int status = 0;

    cr_assert_eq(waitpid(screen.pid, &status, 0), screen.pid);
    while (poll(&fd, 1, 0) > 0) {
        screen_read();
    }
    cr_assert_eq(tcgetattr(screen.line, &now), 0);
    cr_assert_eq(now.c_lflag, screen.before.c_lflag);
    cr_assert_eq(memcmp(now.c_cc, screen.before.c_cc, sizeof(now.c_cc)), 0);
    return status;
}

static void screen_running(void)
{
    struct termios now;

    screen_open(0, 0);
    screen_await("/s  0/s");
    cr_assert_eq(tcgetattr(screen.line, &now), 0);
    cr_assert_eq(now.c_lflag & (tcflag_t)(ICANON | ECHO), 0);
}

Test(ctl_top, key_q_ends_it_with_status_0)
{
    screen_running();
    cr_assert_eq(write(screen.terminal, "xq", 2), 2);
    cr_assert_eq(screen_end(), 0);
}

Test(ctl_top, ctrl_c_ends_it_with_status_0)
{
    screen_running();
    cr_assert_eq(write(screen.terminal, "\003", 1), 1);
    cr_assert_eq(screen_end(), 0);
}

Test(ctl_top, ctrl_d_ends_it_with_status_0)
{
    screen_running();
    cr_assert_eq(write(screen.terminal, "\004", 1), 1);
    cr_assert_eq(screen_end(), 0);
}

Test(ctl_top, sigterm_ends_it_and_is_seen)
{
    screen_running();
    cr_assert_eq(kill(screen.pid, SIGTERM), 0);
    cr_assert_eq(screen_end(), SIGTERM);
}

Test(ctl_top, end_of_the_helper_ends_it_with_status_1)
{
    screen_running();
    (void)close(screen.helper);
    cr_assert_eq(WEXITSTATUS(screen_end()), 1);
}

Test(ctl_top, screen_is_cut_to_its_size_sorted_by_rate_and_obeys_no_flow)
{
    const char *last;

    screen_open(90, 6);
    screen_await("3 flows, in 0/s");
    screen_await("KiB/s");
    screen_await("\033[J\033[H3 flows, in ");
    cr_assert_eq(write(screen.terminal, "q", 1), 1);
    cr_assert_eq(screen_end(), 0);
    cr_assert_null(strstr(screen.seen, "\033]0;"));
    last = strstr(screen.seen, "KiB/s");
    cr_assert_not_null(strstr(last, "\\x1b]0;x\\x07"));
    /* Titles and two of the flows: the fastest come from port 3 and 2. */
    cr_assert_null(strstr(screen.seen, "192.0.2.2:1"));
    for (const char *line = screen.seen; line != NULL; line = strchr(line + 1, '\n')) {
        cr_assert_leq(strcspn(line + 1, "\033\r\n"), 90);
    }
}
