/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * place.c - the namespaces the bench works in, and processes in them
 */
#include "config.h"

#include "place.h"
#include "say.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONGESTION      "cubic"
#define CONGESTION_PATH "/proc/sys/net/ipv4/tcp_congestion_control"
#define END_TIMEOUT_MS  3000

Place place_host = {.userns = -1, .netns = -1};
Place place_user = {.userns = -1, .netns = -1};
Place place_far = {.userns = -1, .netns = -1};

static char congestion[32];

/* The file must exist and take all of the text at once. */
static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        say_die("%s: %s", path, strerror(errno));
    close(fd);
}

/* unshare() of a user namespace, in which we have the ids @inside, and of whatever @more names. */
static void enter_user_namespace(unsigned inside, int more)
{
    unsigned uid = geteuid(), gid = getegid();
    char map[64];

    if (unshare(CLONE_NEWUSER | more) < 0)
        say_die("unshare: %s (are user namespaces forbidden?)", strerror(errno));
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "%u %u 1\n", inside, uid);
    write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "%u %u 1\n", inside, gid);
    write_file("/proc/self/gid_map", map);
}

/* Asks for cubic in the network namespace we are in, and looks at what is in force: it may be forbidden. */
static void choose_congestion(char ret[32])
{
    int fd = open(CONGESTION_PATH, O_WRONLY | O_CLOEXEC);
    ssize_t n;

    if (fd >= 0) {
        (void)!write(fd, CONGESTION, strlen(CONGESTION));
        close(fd);
    }
    memset(ret, 0, 32);
    fd = open(CONGESTION_PATH, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, ret, 31);
    if (n <= 0)
        strcpy(ret, "unknown");
    else
        ret[strcspn(ret, "\n")] = '\0';
    if (fd >= 0)
        close(fd);
}

static void note_congestion(const char *found)
{
    if (congestion[0] == '\0')
        snprintf(congestion, sizeof congestion, "%s", found);
    else if (strcmp(congestion, found) != 0)
        strcpy(congestion, "different");
}

const char *place_congestion(void)
{
    return congestion;
}

/* Feeds @batch to ip(8) in @place. */
static void ip_batch(const Place *place, const char *batch)
{
    static const char *const argv[] = {"ip", "-batch", "-", NULL};
    int ends[2], status;
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0 || write(ends[1], batch, strlen(batch)) < 0)
        say_die("pipe: %s", strerror(errno));
    close(ends[1]);
    pid = place_spawn(place, argv, ends[0], 2, 2, -1);
    close(ends[0]);
    if (waitpid(pid, &status, 0) != pid || status != 0)
        say_die("ip -batch failed on:\n%s", batch);
}

/* The life of a keeper: makes its namespaces, says which congestion control it has, waits to be killed. */
__attribute__((noreturn)) static void keeper_main(int parent, int flags, unsigned inside, int out)
{
    char found[32] = "";

    if (parent >= 0 && setns(parent, CLONE_NEWUSER) < 0)
        say_die("setns: %s", strerror(errno));
    if ((flags & CLONE_NEWUSER) != 0)
        enter_user_namespace(inside, flags & ~CLONE_NEWUSER);
    else if (unshare(flags) < 0)
        say_die("unshare: %s", strerror(errno));
    if ((flags & CLONE_NEWNET) != 0)
        choose_congestion(found);
    /* Entering a user namespace took both away. A helper must be able to open our namespaces. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)prctl(PR_SET_DUMPABLE, 1);
    if (write(out, found, sizeof found) != (ssize_t)sizeof found)
        _exit(1);
    for (;;)
        pause();
}

static int open_namespace(pid_t pid, const char *name)
{
    char path[64];
    int fd;

    snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        say_die("%s: %s", path, strerror(errno));
    return fd;
}

/* @parent: the user namespace it is made in, or -1. */
static Place keeper_start(int parent, int flags, unsigned inside)
{
    Place place = {.userns = -1, .netns = -1};
    char found[32];
    int ready[2];

    if (pipe2(ready, O_CLOEXEC) < 0)
        say_die("pipe: %s", strerror(errno));
    place.pid = fork();
    if (place.pid < 0)
        say_die("fork: %s", strerror(errno));
    if (place.pid == 0)
        keeper_main(parent, flags, inside, ready[1]);
    close(ready[1]);
    if (read(ready[0], found, sizeof found) != (ssize_t)sizeof found)
        say_die("a namespace was not made");
    close(ready[0]);
    if (found[0] != '\0')
        note_congestion(found);
    if ((flags & CLONE_NEWUSER) != 0)
        place.userns = open_namespace(place.pid, "user");
    if ((flags & CLONE_NEWNET) != 0)
        place.netns = open_namespace(place.pid, "net");
    return place;
}

void place_build(void)
{
    char found[32], link[128];

    enter_user_namespace(0, CLONE_NEWNET | CLONE_NEWNS);
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        say_die("mounts made private: %s", strerror(errno));
    choose_congestion(found);
    note_congestion(found);
    place_user = keeper_start(-1, CLONE_NEWUSER, 1000);
    place_far = keeper_start(-1, CLONE_NEWNET, 0);
    snprintf(link, sizeof link, "link add host0 type veth peer name far0 netns %d\n",
             (int)place_far.pid);
    ip_batch(&place_host, link);
    /* Far is the same address whichever way it is reached, and never the gateway's, which helpers treat apart. */
    ip_batch(&place_far, "link set lo up\n"
                         "link set far0 up\n"
                         "address add 192.0.2.2/24 dev far0\n"
                         "address add " PLACE_FAR_ADDRESS "/32 dev lo\n"
                         "route replace 192.0.2.0/24 dev far0 src " PLACE_FAR_ADDRESS "\n");
    ip_batch(&place_host, "link set lo up\n"
                          "link set host0 up\n"
                          "address add " PLACE_HOST_ADDRESS "/24 dev host0\n"
                          "route add default via 192.0.2.2\n");
}

Place place_guest(void)
{
    return keeper_start(place_user.userns, CLONE_NEWUSER | CLONE_NEWNET, 0);
}

void place_loopback(const Place *guest)
{
    ip_batch(guest, "link set lo up\n");
}

void place_join(const Place *guest)
{
    char link[128];

    snprintf(link, sizeof link, "link add guest0 type veth peer name eth0 netns %d\n",
             (int)guest->pid);
    ip_batch(&place_far, link);
    ip_batch(&place_far, "address add 10.77.0.1/24 dev guest0\n"
                         "link set guest0 up\n"
                         "route replace 10.77.0.0/24 dev guest0 src " PLACE_FAR_ADDRESS "\n");
    ip_batch(guest, "link set lo up\n"
                    "link set eth0 up\n"
                    "address add " PLACE_JOINED_ADDRESS "/24 dev eth0\n"
                    "route add default via 10.77.0.1\n");
}

void place_part(void)
{
    ip_batch(&place_far, "link delete guest0\n");
}

void place_end(Place *place)
{
    if (place->pid <= 0)
        return;
    (void)kill(place->pid, SIGKILL);
    (void)waitpid(place->pid, NULL, 0);
    if (place->userns >= 0)
        close(place->userns);
    if (place->netns >= 0)
        close(place->netns);
    *place = (Place){.userns = -1, .netns = -1};
}

/* ---- processes ---- */

__attribute__((noreturn)) static void child_main(const Place *place, const char *const *argv,
                                                 const int *standard, int keep, pid_t parent)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int fds[3];

    if ((place->userns >= 0 && setns(place->userns, CLONE_NEWUSER) < 0) ||
        (place->netns >= 0 && setns(place->netns, CLONE_NEWNET) < 0)) {
        say_note("setns: %s", strerror(errno));
        _exit(126);
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGPIPE, SIG_DFL);
    if (getppid() != parent)
        _exit(126);
    /* Out of the way of 0, 1 and 2 first. */
    for (int i = 0; i < 3; i++)
        fds[i] = fcntl(standard[i] >= 0 ? standard[i] : null, F_DUPFD_CLOEXEC, 10);
    for (int i = 0; i < 3; i++) {
        if (dup2(fds[i], i) < 0)
            _exit(126);
    }
    if (keep >= 0)
        (void)fcntl(keep, F_SETFD, 0);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    say_note("%s: %s", argv[0], strerror(errno));
    _exit(127);
}

pid_t place_spawn(const Place *place, const char *const *argv, int in, int out, int err, int keep)
{
    const int standard[3] = {in, out, err};
    pid_t parent = getpid();
    pid_t pid = fork();

    if (pid < 0)
        say_die("fork: %s", strerror(errno));
    if (pid == 0)
        child_main(place, argv, standard, keep, parent);
    return pid;
}

void place_kill(pid_t pid)
{
    struct pollfd pfd = {.fd = pidfd_open(pid, 0), .events = POLLIN};

    (void)kill(pid, SIGTERM);
    if (pfd.fd < 0 || poll(&pfd, 1, END_TIMEOUT_MS) != 1)
        (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    if (pfd.fd >= 0)
        close(pfd.fd);
}
