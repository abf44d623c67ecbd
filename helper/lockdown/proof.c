/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * proof.c - read back what the kernel says of us, and compare
 *
 * Does:     reads the status of each thread and the kinds of our fds. Whatever differs from the plan is an error, and the
 *           process does not begin its work.
 * Why:      a call that succeeded is no proof (a tool of this kind dropped its bounding set for years, by calls whose EPERM it
 *           ignored).
 * Order:    new - before the root goes; open_tasks - when all threads are made; read_tasks - when the filter is loaded.
 * Calls:    after the filter read(2) and close(2) alone.
 */
#include "config.h"

#include "proof.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../fault.h"
#include "../fd.h"

#define PROOF_STATUS_MAX 8192
#define PROOF_OPEN       (O_RDONLY | O_CLOEXEC | O_NOCTTY)

struct Proof {
    int task_dir;
    int fd_dir;
    GArray *tasks;    /* int: fds on their status */
    uint64_t filters; /* when we came: a container's */
};

static bool proof_fault(const char *what, int errnum, GError **error)
{
    fault_set(error, FAULT_LOCKDOWN, errnum, "proof: %s%s%s", what, errnum != 0 ? ": " : "",
              errnum != 0 ? g_strerror(errnum) : "");
    return false;
}

/* The number behind a line's name. False if there is no such line. */
static bool proof_number(const char *status, const char *name, int base, uint64_t *ret)
{
    g_autofree char *key = g_strdup_printf("\n%s:", name);
    const char *line = strstr(status, key);

    if (line == NULL) {
        return false;
    }
    *ret = strtoull(line + strlen(key), NULL, base);
    return true;
}

/* 0 or -errno; -ESRCH for a thread that has ended. */
static int proof_read(int fd, char text[PROOF_STATUS_MAX])
{
    ssize_t got = read(fd, text, PROOF_STATUS_MAX - 1);

    if (got < 0) {
        return -errno;
    }
    text[got] = '\0';
    return 0;
}

Proof *proof_new(GError **error)
{
    g_autoptr(Proof) proof = g_new0(Proof, 1);
    FD_AUTO status = open("/proc/self/status", PROOF_OPEN);
    char text[PROOF_STATUS_MAX];

    proof->tasks = g_array_new(FALSE, FALSE, sizeof(int));
    proof->task_dir = open("/proc/self/task", PROOF_OPEN | O_DIRECTORY);
    proof->fd_dir = open("/proc/self/fd", PROOF_OPEN | O_DIRECTORY);
    if (status < 0 || proof->task_dir < 0 || proof->fd_dir < 0 || proof_read(status, text) != 0) {
        (void)proof_fault("/proc/self", errno, error);
        return NULL;
    }
    /* Kernels before 5.9 do not count them; the mode still tells. */
    (void)proof_number(text, "Seccomp_filters", 10, &proof->filters);
    return g_steal_pointer(&proof);
}

void proof_directories(const Proof *proof, int ret_dirs[PROOF_DIRECTORIES])
{
    ret_dirs[0] = proof->task_dir;
    ret_dirs[1] = proof->fd_dir;
}

static void proof_close_tasks(Proof *proof)
{
    for (guint i = 0; i < proof->tasks->len; i++) {
        fd_close(g_array_index(proof->tasks, int, i));
    }
    g_array_set_size(proof->tasks, 0);
}

void proof_free(Proof *proof)
{
    if (proof == NULL) {
        return;
    }
    proof_close_tasks(proof);
    g_array_unref(proof->tasks);
    fd_close(proof->task_dir);
    fd_close(proof->fd_dir);
    g_free(proof);
}

/* A new stream over a directory we hold; its end closes neither. */
static DIR *proof_list(int dir)
{
    int copy = openat(dir, ".", PROOF_OPEN | O_DIRECTORY);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);

    if (list == NULL) {
        fd_close(copy);
    }
    return list;
}

/* What an fd is, by the name /proc gives it. Anonymous ones: what waits and wakes, and nothing that leads anywhere (a pidfd, io_uring,
 * a mount, a BPF map). */
static bool proof_may_be(int dir, const char *name, ProofFds *left)
{
    static const char *const kinds[] = {"anon_inode:[eventpoll]", "anon_inode:[eventfd]"};
    char text[64];
    ssize_t len = readlinkat(dir, name, text, sizeof(text) - 1);

    if (len <= 0) {
        return false;
    }
    text[len] = '\0';
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (strcmp(text, kinds[i]) == 0) {
            return true;
        }
    }
    return g_str_has_prefix(text, "/proc/sys/") && left->sysctls-- > 0;
}

/* The two directories, one of them open once more for the listing. */
static bool proof_is_own(const Proof *proof, const struct stat *st)
{
    const int dirs[] = {proof->task_dir, proof->fd_dir};
    struct stat own;

    for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++) {
        if (fstat(dirs[i], &own) == 0 && st->st_dev == own.st_dev && st->st_ino == own.st_ino) {
            return true;
        }
    }
    return false;
}

static bool proof_check_fd(const Proof *proof, const char *name, ProofFds *left)
{
    struct stat st;
    int fd = atoi(name);

    if (fd <= 2 || fstat(fd, &st) < 0) {
        return true; /* 0, 1 and 2 are /dev/null or the user's; what is closed again was the listing's */
    }
    if (S_ISSOCK(st.st_mode)) {
        return left->sockets-- > 0;
    }
    return proof_is_own(proof, &st) || proof_may_be(proof->fd_dir, name, left);
}

bool proof_check_process(const Proof *proof, ProofFds most, GError **error)
{
    DIR *list = proof_list(proof->fd_dir);
    struct dirent *entry;
    bool looks = most.sockets != PROOF_ANY_FDS;
    bool right = true;

    if (list == NULL) {
        return proof_fault("/proc/self/fd", errno, error);
    }
    while (looks && right && (entry = readdir(list)) != NULL) {
        right = entry->d_name[0] == '.' || proof_check_fd(proof, entry->d_name, &most);
    }
    (void)closedir(list);
    if (!right) {
        return proof_fault("a file descriptor is open that is not planned", 0, error);
    }
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) {
        return proof_fault("the process is dumpable", 0, error);
    }
    return true;
}

bool proof_open_tasks(Proof *proof, GError **error)
{
    DIR *list = proof_list(proof->task_dir);
    struct dirent *entry;
    int failed = 0;

    if (list == NULL) {
        return proof_fault("/proc/self/task", errno, error);
    }
    while (failed == 0 && (entry = readdir(list)) != NULL) {
        g_autofree char *path = g_strdup_printf("%s/status", entry->d_name);
        int fd;

        if (entry->d_name[0] == '.') {
            continue;
        }
        fd = openat(proof->task_dir, path, PROOF_OPEN);
        failed = fd < 0 ? errno : 0;
        if (fd >= 0) {
            g_array_append_val(proof->tasks, fd);
        }
    }
    (void)closedir(list);
    return failed == 0 || proof_fault("/proc/self/task", failed, error);
}

static bool proof_check_task(const Proof *proof, const char *status, const ProofPlan *plan,
                             GError **error)
{
    struct {
        const char *name;
        int base;
        uint64_t wanted;
        bool skipped;
    } const lines[] = {
        {"CapInh", 16, 0, false},
        {"CapPrm", 16, plan->caps, false},
        {"CapEff", 16, plan->caps, false},
        {"CapBnd", 16, 0, !plan->bounding},
        {"CapAmb", 16, 0, false},
        {"NoNewPrivs", 10, 1, false},
        {"Seccomp", 10, 2, false}, /* SECCOMP_MODE_FILTER */
        {"Seccomp_filters", 10, proof->filters + 1, false},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        uint64_t got = 0;
        bool there = proof_number(status, lines[i].name, lines[i].base, &got);

        /* Missing: a kernel before 5.9. */
        if (!lines[i].skipped && (there || i + 1 < G_N_ELEMENTS(lines)) &&
            (!there || got != lines[i].wanted)) {
            fault_set(error, FAULT_LOCKDOWN, 0,
                      "proof: %s of a thread is %" G_GINT64_MODIFIER
                      "x, planned %" G_GINT64_MODIFIER "x",
                      lines[i].name, got, lines[i].wanted);
            return false;
        }
    }
    return true;
}

bool proof_read_tasks(Proof *proof, const ProofPlan *plan, GError **error)
{
    uint64_t threads = 0;
    uint64_t seen = 0;

    for (guint i = 0; i < proof->tasks->len; i++) {
        char text[PROOF_STATUS_MAX];
        int failed = proof_read(g_array_index(proof->tasks, int, i), text);

        if (failed == -ESRCH) {
            continue;
        }
        if (failed != 0) {
            return proof_fault("status of a thread", -failed, error);
        }
        if (!proof_number(text, "Threads", 10, &threads) ||
            !proof_check_task(proof, text, plan, error)) {
            return error != NULL && *error != NULL ? false
                                                   : proof_fault("status of a thread", 0, error);
        }
        seen++;
    }
    proof_close_tasks(proof);
    return (seen > 0 && seen == threads) ||
           proof_fault("there are threads that were not looked at", 0, error);
}
