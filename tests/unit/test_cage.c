/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_cage.c - each wall around the datapath by itself, without the others that would hide its fall
 *
 * An attempt is made in a process of its own. What the kernel does not have is a skip.
 */
#include "config.h"

#include "lockdown/landlock.h"
#include "lockdown/namespaces.h"
#include "lockdown/proof.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <criterion/criterion.h>

#define KERNEL_LACKS 77

/* Exit status of the child: 0: all was refused as it should be, else the number of the attempt that was not. */
static int status_of(pid_t pid)
{
    int status = 0;

    cr_assert_gt(pid, 0);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status), "wait status %x", (unsigned)status);
    if (WEXITSTATUS(status) == KERNEL_LACKS) {
        cr_skip_test("this kernel does not have it");
    }
    return WEXITSTATUS(status);
}

static bool refused(const char *path, int flags, int wanted)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);

    if (fd >= 0) {
        (void)close(fd);
    }
    return fd < 0 && errno == wanted;
}

/* The ABI, or the end of the process. */
static int deny_all(int least)
{
    int abi = 0;

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || !landlock_deny_all(NULL, 0, &abi, NULL)) {
        _exit(99);
    }
    if (abi < least) {
        _exit(KERNEL_LACKS);
    }
    return abi;
}

Test(cage, landlock_alone_lets_no_file_be_opened)
{
    char name[] = "/tmp/sallyport-cage.XXXXXX";
    int fd = mkstemp(name);
    pid_t pid;

    cr_assert_geq(fd, 0);
    (void)close(fd);
    pid = fork();
    if (pid == 0) {
        if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0) {
            _exit(98); /* before it can be */
        }
        (void)deny_all(1);
        _exit(!refused("/etc/passwd", O_RDONLY, EACCES)                    ? 1
              : !refused("/proc/1/status", O_RDONLY, EACCES)               ? 2
              : !refused("/", O_RDONLY | O_DIRECTORY, EACCES)              ? 3
              : !refused(name, O_WRONLY, EACCES)                           ? 4
              : unlink(name) == 0 || errno != EACCES                       ? 5
              : mkdir("/tmp/sallyport-cage", 0700) == 0 || errno != EACCES ? 6
                                                                           : 0);
    }
    cr_expect_eq(status_of(pid), 0);
    (void)unlink(name);
}

/* An abstract socket of the host's: a session bus, a display, a container engine. */
static int abstract_listener(struct sockaddr_un *ret, socklen_t *ret_len)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int len;

    memset(ret, 0, sizeof(*ret));
    ret->sun_family = AF_UNIX;
    len = snprintf(ret->sun_path + 1, sizeof(ret->sun_path) - 1, "sallyport-cage-%d", getpid());
    *ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
    return fd >= 0 && bind(fd, (struct sockaddr *)ret, *ret_len) == 0 && listen(fd, 1) == 0 ? fd
                                                                                            : -1;
}

Test(cage, landlock_alone_lets_no_abstract_socket_be_reached)
{
    struct sockaddr_un name;
    socklen_t len;
    int listener = abstract_listener(&name, &len);

    cr_assert_geq(listener, 0);
    for (int caged = 0; caged < 2; caged++) {
        pid_t pid = fork();

        if (pid == 0) {
            int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

            if (caged != 0) {
                (void)deny_all(LANDLOCK_ABI_SCOPE);
                _exit(connect(fd, (struct sockaddr *)&name, len) < 0 && errno == EPERM ? 0 : 1);
            }
            _exit(connect(fd, (struct sockaddr *)&name, len) == 0 ? 0 : 2);
        }
        cr_expect_eq(status_of(pid), 0, "caged %d", caged);
    }
    (void)close(listener);
}

Test(cage, landlock_alone_lets_nobody_outside_be_signalled)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (kill(getppid(), 0) < 0) {
            _exit(98);
        }
        (void)deny_all(LANDLOCK_ABI_SCOPE);
        _exit(kill(getppid(), 0) < 0 && errno == EPERM ? 0 : 1);
    }
    cr_expect_eq(status_of(pid), 0);
}

Test(cage, namespaces_alone_show_nothing_of_the_host)
{
    pid_t pid = namespaces_fork(NULL);

    if (pid == 0) {
        if (!namespaces_empty_root(NULL)) {
            _exit(99);
        }
        _exit(!refused("/etc/passwd", O_RDONLY, ENOENT)      ? 1
              : !refused("/proc/1/status", O_RDONLY, ENOENT) ? 2
              : !refused("/../../etc", O_RDONLY, ENOENT)     ? 3
              : !refused("/x", O_WRONLY | O_CREAT, EROFS)    ? 4
              : mkdir("/x", 0700) == 0 || errno != EROFS     ? 5
              : getpid() != 1 || getppid() != 0              ? 6
              : kill(-1, 0) == 0 || errno != ESRCH           ? 7
                                                             : 0);
    }
    cr_expect_eq(status_of(pid), 0);
}

/* Each of these leads somewhere, and none is a socket. */
static int leak(int which)
{
    switch (which) {
    case 0:
        return (int)syscall(SYS_pidfd_open, getppid(), 0);
    case 1:
        return open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    case 2:
        return open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    case 3:
        return open("/", O_PATH | O_CLOEXEC);
    default:
        return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    }
}

static int proof_with_leaks(void)
{
    g_autoptr(Proof) proof = NULL;

    (void)syscall(SYS_close_range, 3U, ~0U, 0U);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    proof = proof_new(NULL);
    if (proof == NULL || epoll_create1(EPOLL_CLOEXEC) < 0 ||
        socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) < 0) {
        return 98;
    }
    if (!proof_check_process(proof, (ProofFds){1, 0}, NULL)) {
        return 97;
    }
    for (int i = 0; i < 5; i++) {
        int fd = leak(i);

        if (fd < 0 || proof_check_process(proof, (ProofFds){1, 0}, NULL)) {
            return 1 + i;
        }
        (void)close(fd);
    }
    return proof_check_process(proof, (ProofFds){0, 0}, NULL) ? 6 : 0;
}

Test(cage, the_proof_sees_each_fd_that_is_not_planned)
{
    pid_t pid = fork();

    if (pid == 0) {
        _exit(proof_with_leaks());
    }
    cr_assert_eq(status_of(pid), 0);
}
