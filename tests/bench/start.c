/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * start.c - how long a helper takes from fork to "ready", next to slirp4netns
 *
 * Does:     for each of 20 rounds, one after the other and in alternating order: makes a fresh guest (user and network
 *           namespace), starts a helper for it, and takes the time from just before fork() until the first helper said it is
 *           ready. Prints the median and quartiles of both helpers and of the ratio within each round.
 * Measures: "sallyport --report-fd N [OPTION]... PID" until the record "ready", with the options that follow the program on
 *           the command line; "slirp4netns -c -6 --mtu=65520 -r N PID tap0" until its byte. Never its --enable-sandbox.
 * Runs in:  a network namespace of its own, so that neither helper works in the machine's; as root as root; as an ordinary
 *           user without a capability over that namespace. Both helpers run alike.
 * Output:   text on stdout; exit status 1 if something failed or --at-most was exceeded.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_DEFAULT   20
#define ROUNDS_MAX       1000
#define READY_TIMEOUT_MS 10000
#define REPORT_MAX       65536
#define OPTIONS_MAX      32

/* One helper under test. */
typedef struct Contender {
    const char *label;
    const char *program;
    bool records;   /* says ready by a record, not by a byte */
    char **options; /* more of them, NULL-terminated */
    double times_ms[ROUNDS_MAX];
} Contender;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
    va_list args;

    fputs("start: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* The file must exist and take all of the text at once. */
static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        die("%s: %s", path, strerror(errno));
    close(fd);
}

/* unshare() of a user namespace, in which we have the ids @inside, and of whatever @more names. */
static void enter_user_namespace(unsigned inside, int more)
{
    unsigned uid = geteuid();
    unsigned gid = getegid();
    char map[64];

    if (unshare(CLONE_NEWUSER | more) < 0)
        die("unshare: %s", strerror(errno));
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "%u %u 1\n", inside, uid);
    write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "%u %u 1\n", inside, gid);
    write_file("/proc/self/gid_map", map);
}

/* The host of the lab: a network namespace with lo up. As an ordinary user we stay one, without a capability over it. */
static void enter_lab(void)
{
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    bool ordinary = geteuid() != 0;
    int fd;

    if (ordinary)
        enter_user_namespace(0, CLONE_NEWNET);
    else if (unshare(CLONE_NEWNET) < 0)
        die("unshare: %s", strerror(errno));
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
        die("lo: %s", strerror(errno));
    close(fd);
    if (ordinary)
        enter_user_namespace(1000, 0);
}

/* A process in a user and a network namespace of its own, waiting to be killed. */
static pid_t guest_start(void)
{
    int ready[2];
    char byte;
    pid_t pid;

    if (pipe2(ready, O_CLOEXEC) < 0)
        die("pipe2: %s", strerror(errno));
    pid = fork();
    if (pid < 0)
        die("fork: %s", strerror(errno));
    if (pid == 0) {
        enter_user_namespace(0, CLONE_NEWNET);
        if (write(ready[1], "1", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    if (read(ready[0], &byte, 1) != 1)
        die("the guest did not start");
    close(ready[0]);
    return pid;
}

/* Runs in the child: becomes the helper for @guest, which will write to @fd. Its own chatter goes nowhere. */
__attribute__((noreturn)) static void helper_exec(const Contender *contender, pid_t guest, int fd)
{
    char pid_text[16];
    char fd_text[16];
    const char *words[OPTIONS_MAX + 5] = {contender->program, "--report-fd", fd_text};
    size_t count = 3;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    snprintf(pid_text, sizeof pid_text, "%d", (int)guest);
    snprintf(fd_text, sizeof fd_text, "%d", fd);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || fcntl(fd, F_SETFD, 0) < 0)
        _exit(126);
    if (contender->records) {
        for (char **option = contender->options; *option != NULL && count < OPTIONS_MAX; option++)
            words[count++] = *option;
        words[count] = pid_text;
        execvp(contender->program, (char **)(uintptr_t)words);
    } else {
        dup2(null, 2);
        execlp(contender->program, contender->program, "-c", "-6", "--mtu=65520", "-r", fd_text,
               pid_text, "tap0", (char *)NULL);
    }
    _exit(127);
}

/* Reads @fd until it says ready; the text so far is kept in @text. */
static bool await_ready(const Contender *contender, int fd, char text[REPORT_MAX])
{
    size_t len = 0;

    text[0] = '\0';
    while (len < REPORT_MAX - 1) {
        struct pollfd pfd = {.fd = fd, .events = POLLIN};
        ssize_t n;

        if (poll(&pfd, 1, READY_TIMEOUT_MS) != 1)
            return false;
        n = read(fd, text + len, REPORT_MAX - 1 - len);
        if (n <= 0)
            return false;
        len += (size_t)n;
        text[len] = '\0';
        if (!contender->records || strstr(text, "\"event\":\"ready\"") ||
            strstr(text, "\"event\": \"ready\""))
            return true;
    }
    return false;
}

/* One start of one helper for a guest of its own; the time until ready in milliseconds. */
static double measure(const Contender *contender)
{
    static char text[REPORT_MAX];
    int report[2];
    pid_t guest = guest_start();
    pid_t helper;
    double start;
    double took;
    bool ready;

    if (pipe2(report, O_CLOEXEC) < 0)
        die("pipe2: %s", strerror(errno));
    start = now_ms();
    helper = fork();
    if (helper < 0)
        die("fork: %s", strerror(errno));
    if (helper == 0)
        helper_exec(contender, guest, report[1]);
    close(report[1]);
    ready = await_ready(contender, report[0], text);
    took = now_ms() - start;

    /* sallyport would end with its guest; slirp4netns would not. */
    kill(helper, SIGTERM);
    kill(guest, SIGKILL);
    waitpid(helper, NULL, 0);
    waitpid(guest, NULL, 0);
    close(report[0]);
    if (!ready)
        die("%s (%s) did not become ready%s%s", contender->label, contender->program,
            text[0] != '\0' ? "; it said: " : "", text);
    return took;
}

static int compare(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;

    return (*x > *y) - (*x < *y);
}

/* Quantile @q of @count values, between neighbours by the straight line; sorts them. */
static double quantile(double *values, size_t count, double q)
{
    double at = q * (double)(count - 1);
    size_t below = (size_t)at;

    qsort(values, count, sizeof *values, compare);
    if (below + 1 >= count)
        return values[count - 1];
    return values[below] + (at - (double)below) * (values[below + 1] - values[below]);
}

/* Returns the median. */
static double print_row(const char *label, double *values, size_t count, const char *unit)
{
    double median = quantile(values, count, 0.5);

    printf("%-12s %8.2f%-3s (quartiles %.2f to %.2f)\n", label, median, unit,
           quantile(values, count, 0.25), quantile(values, count, 0.75));
    return median;
}

/* Runs all rounds and prints the three rows; the median of the ratios. */
static double run(Contender *ours, Contender *theirs, size_t rounds)
{
    static double ratios[ROUNDS_MAX];

    /* One start of each that does not count: program files and modules come into memory. */
    (void)measure(ours);
    (void)measure(theirs);
    for (size_t i = 0; i < rounds; i++) {
        Contender *first = i % 2 == 0 ? ours : theirs;
        Contender *second = i % 2 == 0 ? theirs : ours;

        first->times_ms[i] = measure(first);
        second->times_ms[i] = measure(second);
        ratios[i] = ours->times_ms[i] / theirs->times_ms[i];
    }
    printf("start to ready, %zu paired rounds, as uid %u\n", rounds, (unsigned)geteuid());
    (void)print_row(ours->label, ours->times_ms, rounds, " ms");
    (void)print_row(theirs->label, theirs->times_ms, rounds, " ms");
    return print_row("ratio", ratios, rounds, "");
}

static double parse_number(const char *option, const char *text, double max)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value > 0 && value <= max))
        die("--%s: '%s' is not a number above 0 and up to %g", option, text, max);
    return value;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"rounds", required_argument, NULL, 'r'},
        {"at-most", required_argument, NULL, 'a'},
        {"against", required_argument, NULL, 'g'},
        {0},
    };
    static Contender ours = {.label = "sallyport", .records = true};
    static Contender theirs = {.label = "slirp4netns", .program = "slirp4netns"};
    size_t rounds = ROUNDS_DEFAULT;
    double at_most = 0;
    double ratio;
    int option;

    /* "+": what follows the program is the program's. */
    while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        if (option == 'r')
            rounds = (size_t)parse_number("rounds", optarg, ROUNDS_MAX);
        else if (option == 'a')
            at_most = parse_number("at-most", optarg, 1e6);
        else if (option == 'g')
            theirs.program = optarg;
        else
            die("usage: start [--rounds N] [--at-most RATIO] [--against SLIRP4NETNS] "
                "[SALLYPORT [OPTION]...]");
    }
    ours.program = optind < argc ? argv[optind++] : "./sallyport";
    ours.options = argv + optind;
    if (rounds < 1)
        die("--rounds: at least one");

    enter_lab();
    ratio = run(&ours, &theirs, rounds);
    if (at_most > 0 && ratio > at_most) {
        printf("the ratio is above %g\n", at_most);
        return 1;
    }
    return 0;
}
