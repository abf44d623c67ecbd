/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * contender.c - start a contender for a guest of its own, until it says it is ready; end it
 *
 * Never slirp4netns's --enable-sandbox.
 */
#include "config.h"

#include "contender.h"
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define READY_TIMEOUT_MS 10000
#define HOST_PORT        20001 /* of the first contender */
#define WORDS_MAX        24
#define TEXT_MAX         65536

Contender contenders[CONTENDERS] = {
    [CONTENDER_SALLYPORT] = {"sallyport", NULL, true, true, true, .report = -1},
    [CONTENDER_OFF] = {"sallyport-off", NULL, true, true, true, .report = -1},
    [CONTENDER_SLIRP4NETNS] = {"slirp4netns", "slirp4netns", true, true, true, .report = -1},
    [CONTENDER_PASTA] = {"pasta", "pasta", true, true, true, .report = -1},
    [CONTENDER_SPLICE] = {"splice", NULL, true, false, false, .report = -1},
    [CONTENDER_DIRECT] = {"direct", NULL, false, false, true, .report = -1},
    [CONTENDER_INSECURE] = {"insecure", NULL, true, true, true, .report = -1},
    [CONTENDER_AGAIN] = {"again", NULL, true, true, true, .report = -1},
};

static char traffic_path[4096], splice_path[4096], directory_path[2048];

/* The words of a command line. */
typedef struct Words {
    const char *argv[WORDS_MAX];
    char text[WORDS_MAX][64]; /* of those made here */
    unsigned count;
} Words;

static void word(Words *words, const char *text)
{
    if (words->count >= WORDS_MAX - 1)
        say_die("too many words");
    words->argv[words->count++] = text;
}

__attribute__((format(printf, 2, 3))) static void word_made(Words *words, const char *format, ...)
{
    char *text = words->text[words->count];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof words->text[0], format, args);
    va_end(args);
    word(words, text);
}

static const char *path_of(const char *name, const char *suffix)
{
    static char path[4096];

    snprintf(path, sizeof path, "%s/%s%s", directory_path, name, suffix);
    return path;
}

/* ---- reading what somebody says until it is enough ---- */

typedef bool (*Enough)(const char *text);

static bool enough_anything(const char *text)
{
    return text[0] != '\0';
}

static bool enough_line(const char *text)
{
    return strchr(text, '\n') != NULL;
}

/* The record "ready" or one that says there will be none, whole. */
static const char *find_record(const char *text, const char *event)
{
    char compact[64], spaced[64];
    const char *found;

    snprintf(compact, sizeof compact, "\"event\":\"%s\"", event);
    snprintf(spaced, sizeof spaced, "\"event\": \"%s\"", event);
    found = strstr(text, compact);
    if (found == NULL)
        found = strstr(text, spaced);
    return found != NULL && strchr(found, '\n') != NULL ? found : NULL;
}

static bool enough_record(const char *text)
{
    return find_record(text, "ready") != NULL || find_record(text, "exit") != NULL;
}

/* Reads @fd, which @pid writes to. Return: false if there was not enough before it ended or the time was up */
static bool read_until(int fd, pid_t pid, Enough enough, char text[TEXT_MAX])
{
    struct pollfd polls[2] = {{.fd = fd, .events = POLLIN},
                              {.fd = pidfd_open(pid, 0), .events = POLLIN}};
    size_t length = 0;
    bool done = false;

    text[0] = '\0';
    while (!done && length < TEXT_MAX - 1 && poll(polls, 2, READY_TIMEOUT_MS) > 0) {
        ssize_t n;

        if ((polls[0].revents & POLLIN) == 0)
            break;
        n = read(fd, text + length, TEXT_MAX - 1 - length);
        if (n <= 0)
            break;
        length += (size_t)n;
        text[length] = '\0';
        done = enough(text);
    }
    if (polls[1].fd >= 0)
        close(polls[1].fd);
    return done;
}

/* ---- servers ---- */

static pid_t server_start(const Place *place, uint16_t port, unsigned count)
{
    static char text[TEXT_MAX];
    Words words = {0};
    int ends[2];
    pid_t pid;

    word(&words, traffic_path);
    word(&words, "serve");
    word_made(&words, "%u", (unsigned)port);
    word_made(&words, "%u", count);
    if (pipe2(ends, O_CLOEXEC) < 0)
        say_die("pipe: %s", strerror(errno));
    pid = place_spawn(place, words.argv, -1, ends[1], 2, -1);
    close(ends[1]);
    if (!read_until(ends[0], pid, enough_line, text))
        say_die("%s serve did not become ready", traffic_path);
    close(ends[0]);
    return pid;
}

void contender_prepare(const char *directory, const char *programs, const char *sallyport)
{
    snprintf(directory_path, sizeof directory_path, "%s", directory);
    snprintf(traffic_path, sizeof traffic_path, "%s/traffic", programs);
    snprintf(splice_path, sizeof splice_path, "%s/splice", programs);
    contenders[CONTENDER_SALLYPORT].program = sallyport;
    contenders[CONTENDER_OFF].program = sallyport;
    contenders[CONTENDER_INSECURE].program = sallyport;
    contenders[CONTENDER_AGAIN].program = sallyport;
    contenders[CONTENDER_SPLICE].program = splice_path;
    for (unsigned i = 0; i < CONTENDERS; i++)
        contenders[i].port = (uint16_t)(HOST_PORT + i);
    /* They end with the runner. */
    (void)server_start(&place_far, CONTENDER_FAR_PORT, CONTENDER_FAR_PORTS);
    (void)server_start(&place_host, contenders[CONTENDER_DIRECT].port, 1);
}

const char *contender_traffic(void)
{
    return traffic_path;
}

/* ---- versions ---- */

/* The first line @command prints goes to @ret, if there is one. */
static void first_line(const char *command, char ret[192])
{
    FILE *pipe = popen(command, "re");
    char line[192];

    if (pipe == NULL)
        return;
    if (fgets(line, sizeof line, pipe) != NULL && line[0] != '\n') {
        line[strcspn(line, "\n")] = '\0';
        memcpy(ret, line, sizeof line);
    }
    while (fgets(line, sizeof line, pipe) != NULL)
        ;
    pclose(pipe);
}

void contender_versions(void)
{
    static const char package[] = "dpkg-query -W -f='${Package} ${Version}, ' %s 2>/dev/null";
    char command[5000];

    for (unsigned i = CONTENDER_SALLYPORT; i <= CONTENDER_PASTA; i++) {
        snprintf(command, sizeof command, "'%s' --version 2>/dev/null", contenders[i].program);
        first_line(command, contenders[i].version);
    }
    /* The packages say more about the peers than they do themselves. */
    snprintf(command, sizeof command, package, "slirp4netns libslirp0");
    first_line(command, contenders[CONTENDER_SLIRP4NETNS].version);
    snprintf(command, sizeof command, package, "passt");
    first_line(command, contenders[CONTENDER_PASTA].version);
    for (unsigned i = 0; i < CONTENDERS; i++) {
        size_t length = strlen(contenders[i].version);

        if (length > 2 && strcmp(contenders[i].version + length - 2, ", ") == 0)
            contenders[i].version[length - 2] = '\0';
    }
}

/* ---- command lines ---- */

static void words_sallyport(const Contender *contender, ContenderId id, bool whole, int report,
                            Words *words)
{
    word(words, contender->program);
    word(words, id == CONTENDER_OFF ? "--fast-path=off" : "--fast-path=auto");
    if (id == CONTENDER_INSECURE)
        word(words, "--insecure-no-lockdown");
    word(words, "--report-fd");
    word_made(words, "%d", report);
    if (whole) {
        word(words, "-p");
        word_made(words, "%u:%u", contender->port, CONTENDER_GUEST_PORT);
        word(words, "-p");
        word_made(words, "%u:%u/udp", contender->port, CONTENDER_GUEST_PORT);
    }
    word_made(words, "%d", (int)contender->guest.pid);
}

static void words_slirp4netns(const Contender *contender, bool whole, int report,
                              const char *socket, Words *words)
{
    word(words, contender->program);
    word(words, "-c");
    word(words, "-6");
    word(words, "--mtu=65520");
    word(words, "-r");
    word_made(words, "%d", report);
    if (whole) {
        word(words, "--api-socket");
        word(words, socket);
    }
    word_made(words, "%d", (int)contender->guest.pid);
    word(words, "tap0");
}

/* The pid file is a FIFO: pasta writes it when it is ready. */
static void words_pasta(const Contender *contender, bool whole, const char *fifo, Words *words)
{
    word(words, contender->program);
    word(words, "-q");
    word(words, "-f");
    word(words, "--config-net");
    word(words, "-P");
    word(words, fifo);
    for (unsigned i = 0; i < 2; i++) {
        word(words, i == 0 ? "-t" : "-u");
        if (whole)
            word_made(words, "%u:%u", contender->port, CONTENDER_GUEST_PORT);
        else
            word(words, "none");
    }
    word(words, "-T");
    word(words, "none");
    word(words, "-U");
    word(words, "none");
    word_made(words, "%d", (int)contender->guest.pid);
}

static void words_splice(const Contender *contender, Words *words)
{
    word(words, contender->program);
    word_made(words, "%d", (int)contender->guest.pid);
    word(words, PLACE_FAR_ADDRESS);
    word_made(words, "%u", CONTENDER_FAR_PORT);
    word_made(words, "%u", CONTENDER_FAR_PORTS);
    word_made(words, "%u", contender->port);
    word_made(words, "%u", CONTENDER_GUEST_PORT);
}

/* ---- published ports of slirp4netns ---- */

static bool slirp4netns_publish(const Contender *contender, const char *path, const char *protocol)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char text[512];
    bool done = false;
    ssize_t n;
    int length = snprintf(text, sizeof text,
                          "{\"execute\":\"add_hostfwd\",\"arguments\":{\"proto\":\"%s\","
                          "\"host_addr\":\"0.0.0.0\",\"host_port\":%u,"
                          "\"guest_addr\":\"10.0.2.100\",\"guest_port\":%u}}",
                          protocol, contender->port, CONTENDER_GUEST_PORT);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, text, (size_t)length, MSG_NOSIGNAL) == length && shutdown(fd, SHUT_WR) == 0) {
        n = recv(fd, text, sizeof text - 1, 0);
        text[n > 0 ? n : 0] = '\0';
        done = strstr(text, "\"return\"") != NULL;
    }
    if (fd >= 0)
        close(fd);
    return done;
}

/* ---- start and end ---- */

/* What a helper that did not start has to say: its record of an error, or the last line of its log. */
static void explain(Contender *contender, const char *said)
{
    char line[256], last[256] = "it said nothing";
    FILE *log = fopen(path_of(contender->label, ".log"), "re");
    const char *message = strstr(said, "\"message\"");

    while (log != NULL && fgets(line, sizeof line, log) != NULL) {
        if (line[0] != '\n') {
            line[strcspn(line, "\n")] = '\0';
            memcpy(last, line, sizeof last);
        }
    }
    if (log != NULL)
        fclose(log);
    if (message != NULL)
        snprintf(last, sizeof last, "%.*s", (int)strcspn(message, "\n"), message);
    snprintf(contender->left_out, sizeof contender->left_out, "%s did not become ready: %s",
             contender->program, last);
}

/* Is it what its label says? The record "ready" tells. */
static bool has_fast_path(Contender *contender, const char *said)
{
    const char *line = find_record(said, "ready");
    json_t *record, *state;
    bool on;

    while (line > said && line[-1] != '\n')
        line--;
    record = json_loads(line, JSON_DISABLE_EOF_CHECK, NULL);
    state = json_object_get(record, "fast_path");
    on = json_is_true(json_object_get(state, "on"));
    if (!on) {
        const char *why = json_string_value(json_object_get(state, "why"));

        snprintf(contender->left_out, sizeof contender->left_out,
                 "it reports its fast path as off: %s", why != NULL ? why : "it does not say why");
    }
    json_decref(record);
    return on;
}

/* Starts the helper's program and waits for it. @said: what it told us. */
static bool helper_start(ContenderId id, bool whole, double *ret_ms, char said[TEXT_MAX])
{
    Contender *contender = &contenders[id];
    char extra[4096], log_path[4096];
    Enough enough = enough_anything;
    Words words = {0};
    int ends[2], log, out = -1, keep = -1;
    uint64_t start;
    bool ready;

    snprintf(log_path, sizeof log_path, "%s", path_of(contender->label, ".log"));
    snprintf(extra, sizeof extra, "%s", path_of(contender->label, ".extra"));
    (void)unlink(extra);
    log = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (log < 0 || pipe2(ends, O_CLOEXEC) < 0)
        say_die("%s: %s", log_path, strerror(errno));
    if (id == CONTENDER_PASTA) {
        words_pasta(contender, whole, extra, &words);
        close(ends[0]);
        close(ends[1]);
        ends[1] = -1;
        if (mkfifo(extra, 0600) < 0 ||
            (ends[0] = open(extra, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) < 0)
            say_die("%s: %s", extra, strerror(errno));
    } else if (id == CONTENDER_SPLICE) {
        words_splice(contender, &words);
        out = ends[1];
    } else if (id == CONTENDER_SLIRP4NETNS) {
        words_slirp4netns(contender, whole, ends[1], extra, &words);
        keep = ends[1];
    } else {
        words_sallyport(contender, id, whole, ends[1], &words);
        enough = enough_record;
        keep = ends[1];
    }
    start = say_now();
    contender->pid = place_spawn(&place_user, words.argv, -1, out, log, keep);
    if (ends[1] >= 0)
        close(ends[1]);
    ready = read_until(ends[0], contender->pid, enough, said);
    *ret_ms = (double)(say_now() - start) / 1e6;
    close(log);
    contender->report = ends[0];
    if (ready && enough == enough_record)
        ready = find_record(said, "ready") != NULL;
    if (ready && id == CONTENDER_SLIRP4NETNS && whole)
        ready = slirp4netns_publish(contender, extra, "tcp") &&
                slirp4netns_publish(contender, extra, "udp");
    return ready;
}

bool contender_start(ContenderId id, bool whole, double *ret_ms)
{
    static char said[TEXT_MAX];
    Contender *contender = &contenders[id];

    contender->guest = place_guest();
    if (id == CONTENDER_DIRECT)
        place_join(&contender->guest);
    else if (id == CONTENDER_SPLICE)
        place_loopback(&contender->guest);
    if (contender->helper && !helper_start(id, whole, ret_ms, said)) {
        contender_stop(id);
        explain(contender, said);
        return false;
    }
    if (id == CONTENDER_SALLYPORT && !has_fast_path(contender, said)) {
        contender_stop(id);
        return false;
    }
    if (whole)
        contender->server = server_start(&contender->guest, CONTENDER_GUEST_PORT, 1);
    return true;
}

void contender_stop(ContenderId id)
{
    Contender *contender = &contenders[id];

    if (contender->server > 0)
        place_kill(contender->server);
    if (contender->pid > 0)
        place_kill(contender->pid);
    if (contender->report >= 0)
        close(contender->report);
    contender->server = 0;
    contender->pid = 0;
    contender->report = -1;
    if (id == CONTENDER_DIRECT)
        place_part();
    place_end(&contender->guest);
}

const Place *contender_route(ContenderId id, ContenderWay way, const char **ret_address,
                             uint16_t *ret_port)
{
    const Contender *contender = &contenders[id];

    if (way == CONTENDER_OUT) {
        *ret_address = id == CONTENDER_SPLICE ? "127.0.0.1" : PLACE_FAR_ADDRESS;
        *ret_port = CONTENDER_FAR_PORT;
        return &contender->guest;
    }
    *ret_port = contender->port;
    if (way == CONTENDER_LOOPBACK) {
        *ret_address = "127.0.0.1";
        return &place_host;
    }
    *ret_address = PLACE_HOST_ADDRESS;
    if (id == CONTENDER_DIRECT) {
        *ret_address = PLACE_JOINED_ADDRESS;
        *ret_port = CONTENDER_GUEST_PORT;
    }
    return &place_far;
}
