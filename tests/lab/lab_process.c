/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_process.c - processes of the lab: forking, user namespaces, capabilities, messages with fds
 *
 * Runs in:  every process of the lab; nothing here is used by a test body.
 * Why two halves of a user namespace: a map with another uid than one's own, or several, can only be written by a
 * process in the parent namespace, so the child asks over its socket and waits.
 */
#include "config.h"

#include "lab_internal.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

pid_t lab_fork(int death_signal, int keep)
{
    /* Not SIGSEGV and its like: a sanitizer may hold them. */
    static const int reset[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGPIPE,
                                SIGALRM, SIGCHLD, SIGUSR1, SIGUSR2};
    pid_t parent = getpid(), child;
    sigset_t none;

    fflush(NULL);
    child = fork();
    if (child != 0)
        return child;
    (void)prctl(PR_SET_PDEATHSIG, (unsigned long)death_signal, 0, 0, 0);
    if (getppid() != parent)
        _exit(LAB_STATUS_FAILED);
    for (size_t i = 0; i < G_N_ELEMENTS(reset); i++)
        (void)signal(reset[i], SIG_DFL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (keep >= 3) {
        (void)close_range(3, (unsigned)keep - 1, 0);
        (void)close_range((unsigned)keep + 1, ~0U, 0);
    } else if (keep == -1) {
        (void)close_range(3, ~0U, 0);
    }
    return 0;
}

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t written;

    if (fd < 0)
        return -1;
    written = write(fd, text, strlen(text));
    int error = errno;
    close(fd);
    errno = error;
    return written == (ssize_t)strlen(text) ? 0 : -1;
}

static const char *map_write(const char *process, unsigned first, unsigned outside_uid,
                             unsigned outside_gid, unsigned count)
{
    char path[64], text[64];

    g_snprintf(path, sizeof path, "/proc/%s/setgroups", process);
    if (count == 1)
        (void)write_file(path, "deny"); /* refused where the parent namespace denies already */
    g_snprintf(path, sizeof path, "/proc/%s/uid_map", process);
    g_snprintf(text, sizeof text, "%u %u %u", first, outside_uid, count);
    if (write_file(path, text) < 0)
        return "uid_map";
    g_snprintf(path, sizeof path, "/proc/%s/gid_map", process);
    g_snprintf(text, sizeof text, "%u %u %u", first, outside_gid, count);
    if (write_file(path, text) < 0)
        return "gid_map";
    return NULL;
}

const char *lab_map_self(void)
{
    unsigned uid = geteuid(), gid = getegid();

    if (unshare(CLONE_NEWUSER) < 0)
        return "a new user namespace";
    return map_write("self", 0, uid, gid, 1);
}

const char *lab_unshare_mapped(int flags, LabMap map, int sync)
{
    char byte = 0;

    if (unshare(flags | (map != LAB_MAP_NONE ? CLONE_NEWUSER : 0)) < 0)
        return "new namespaces";
    if (map == LAB_MAP_NONE)
        return NULL;
    if (send(sync, &byte, 1, MSG_NOSIGNAL) != 1 || recv(sync, &byte, 1, 0) != 1)
        return "a message to the mapping process";
    if (map == LAB_MAP_MANY && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
        return "uid 0 of the new user namespace";
    /* A change of uid makes /proc/PID root's; a runtime's container would be executing a program by now. */
    (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return NULL;
}

const char *lab_map_child(pid_t child, LabMap map, int sync)
{
    const char *failed = NULL;
    char process[16], byte = 0;

    if (map == LAB_MAP_NONE)
        return NULL;
    ssize_t length = recv(sync, &byte, 1, MSG_PEEK | MSG_TRUNC);
    if (length <= 0) {
        errno = EPIPE;
        return "a message from the new user namespace";
    }
    /* More than a byte is a keeper's refusal: the reader of that message reports it. */
    if (length > 1)
        return NULL;
    (void)recv(sync, &byte, 1, 0);
    g_snprintf(process, sizeof process, "%d", (int)child);
    switch (map) {
    case LAB_MAP_NONE:
        break;
    case LAB_MAP_ROOT:
        failed = map_write(process, 0, geteuid(), getegid(), 1);
        break;
    case LAB_MAP_USER:
        failed = map_write(process, LAB_USER, geteuid(), getegid(), 1);
        break;
    case LAB_MAP_MANY:
        failed = map_write(process, 0, 100000, 100000, 65536);
        break;
    }
    if (failed == NULL && send(sync, &byte, 1, MSG_NOSIGNAL) != 1)
        failed = "a message to the new user namespace";
    return failed;
}

const char *lab_drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3];

    memset(none, 0, sizeof none);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &header, none) < 0 ? "capset" : NULL;
}

int lab_message_send(int fd, const void *data, size_t length, const int *fds, size_t count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(8 * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    g_assert(count <= 8);
    if (count != 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -1;
}

ssize_t lab_message_recv(int fd, void *data, size_t size, int *fds, size_t count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(8 * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = data, .iov_len = size};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t length;

    for (size_t i = 0; i < count; i++)
        fds[i] = -1;
    do {
        length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    } while (length < 0 && errno == EINTR);
    if (length <= 0)
        return length;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_type == SCM_RIGHTS) {
        size_t came = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        for (size_t i = 0; i < came; i++) {
            int one;

            memcpy(&one, CMSG_DATA(header) + i * sizeof one, sizeof one);
            if (i < count)
                fds[i] = one;
            else
                close(one);
        }
    }
    return length;
}
