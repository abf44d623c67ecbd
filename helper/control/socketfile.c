/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * socketfile.c - the file of a listening Unix socket
 *
 * Does:     judges the place, finds out whether somebody answers there, binds; takes the file away at the end.
 * Runs in:  the supervisor: made before it is locked down; the end needs unlinkat(2) and fstatat(2) on a directory opened before.
 * Trusts:   the parent's path, but not what stands there: a helper killed by SIGKILL leaves its socket behind, and a path may be
 *           mistyped. Nothing but a dead socket is ever removed.
 * Owns:     the socket, the directory's fd.
 * Race:     two helpers that start at the same path at the same time may both find the same dead socket. The inode is compared right
 *           before it is removed; the few microseconds that stay are the user's own, for nobody else can write there.
 */
#include "config.h"

#include "socketfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../fault.h"
#include "../fd.h"

#define SOCKETFILE_BACKLOG 64

struct SocketFile {
    int fd;
    int dir; /* O_PATH */
    char *name;
    dev_t dev;
    ino_t ino;
    bool bound;
};

static bool socketfile_fail(GError **error, const char *option, const char *path, int errnum,
                            const char *cause)
{
    fault_set(error, FAULT_OPTION, errnum, "--%s %s: %s", option, path, cause);
    return false;
}

/* A directory of ours or root's, where others cannot replace what is ours. A group of our own may: it is ours alone on the systems
 * whose umask lets it. */
static bool socketfile_directory_safe(int dir, int *ret_errno)
{
    struct stat st;

    *ret_errno = EPERM;
    if (fstat(dir, &st) < 0) {
        *ret_errno = errno;
        return false;
    }
    if (st.st_uid != geteuid() && st.st_uid != 0) {
        return false;
    }
    if ((st.st_mode & S_ISVTX) != 0) {
        return true;
    }
    return (st.st_mode & S_IWOTH) == 0 && ((st.st_mode & S_IWGRP) == 0 || st.st_gid == getegid());
}

/* 0: nobody answers, or another errno of connect(2); -1: somebody does. */
static int socketfile_ask(const struct sockaddr_un *address)
{
    FD_AUTO fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return errno;
    }
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN ||
        errno == EPROTOTYPE) {
        return -1; /* EAGAIN: its backlog is full; EPROTOTYPE: of another type, but alive */
    }
    return errno == ECONNREFUSED ? 0 : errno;
}

/* Removes a dead socket. False with @error set if something is in the way. */
static bool socketfile_clear(SocketFile *file, const struct sockaddr_un *address,
                             const char *option, GError **error)
{
    struct stat before;
    struct stat now;
    int failed;

    if (fstatat(file->dir, file->name, &before, AT_SYMLINK_NOFOLLOW) < 0) {
        return errno == ENOENT ||
               socketfile_fail(error, option, address->sun_path, errno, g_strerror(errno));
    }
    if (!S_ISSOCK(before.st_mode)) {
        return socketfile_fail(error, option, address->sun_path, EEXIST,
                               "something that is no socket is there");
    }
    failed = socketfile_ask(address);
    if (failed < 0) {
        return socketfile_fail(error, option, address->sun_path, EADDRINUSE,
                               "somebody answers there");
    }
    if (failed > 0) {
        return socketfile_fail(error, option, address->sun_path, failed, g_strerror(failed));
    }
    if (fstatat(file->dir, file->name, &now, AT_SYMLINK_NOFOLLOW) < 0 ||
        now.st_ino != before.st_ino || now.st_dev != before.st_dev) {
        return socketfile_fail(error, option, address->sun_path, EADDRINUSE,
                               "somebody else works at it");
    }
    return unlinkat(file->dir, file->name, 0) == 0 ||
           socketfile_fail(error, option, address->sun_path, errno, g_strerror(errno));
}

static bool socketfile_bind(SocketFile *file, const struct sockaddr_un *address, const char *option,
                            GError **error)
{
    mode_t mask = umask(S_IXUSR | S_IRWXG | S_IRWXO);
    struct stat st;
    int failed;

    file->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    failed = file->fd < 0 || bind(file->fd, (const struct sockaddr *)address, sizeof(*address)) < 0
                 ? errno
                 : 0;
    (void)umask(mask);
    if (failed == 0 && fstatat(file->dir, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        file->dev = st.st_dev;
        file->ino = st.st_ino;
        file->bound = true;
    }
    if (failed == 0 && listen(file->fd, SOCKETFILE_BACKLOG) < 0) {
        failed = errno;
    }
    return failed == 0 ||
           socketfile_fail(error, option, address->sun_path, failed, g_strerror(failed));
}

SocketFile *socketfile_new(const char *path, const char *option, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_autofree char *dirname = g_path_get_dirname(path);
    g_autoptr(SocketFile) file = g_new0(SocketFile, 1);
    int failed;

    file->fd = -1;
    file->name = g_path_get_basename(path);
    file->dir = open(dirname, O_PATH | O_DIRECTORY | O_CLOEXEC);
    failed = file->dir < 0 ? errno : 0;
    if (path[0] == '\0' || g_str_has_suffix(path, "/")) {
        (void)socketfile_fail(error, option, path, EINVAL, "want the name of a socket");
        return NULL;
    }
    if (strlen(path) >= sizeof(address.sun_path)) {
        (void)socketfile_fail(error, option, path, ENAMETOOLONG,
                              "too long for a socket (107 bytes at most)");
        return NULL;
    }
    memcpy(address.sun_path, path, strlen(path));
    if (failed != 0) {
        (void)socketfile_fail(error, option, path, failed, g_strerror(failed));
        return NULL;
    }
    if (!socketfile_directory_safe(file->dir, &failed)) {
        (void)socketfile_fail(error, option, path, failed,
                              "others may put something else in its place there");
        return NULL;
    }
    if (!socketfile_clear(file, &address, option, error) ||
        !socketfile_bind(file, &address, option, error)) {
        return NULL;
    }
    return g_steal_pointer(&file);
}

void socketfile_free(SocketFile *file)
{
    struct stat st;

    if (file == NULL) {
        return;
    }
    /* Before it is closed: until then its inode's number is nobody else's. */
    if (file->bound && fstatat(file->dir, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_dev == file->dev && st.st_ino == file->ino) {
        (void)unlinkat(file->dir, file->name,
                       0); /* if it cannot be removed now, the next helper sees that it is dead */
    }
    fd_close(file->fd);
    fd_close(file->dir);
    g_free(file->name);
    g_free(file);
}

int socketfile_fd(const SocketFile *file)
{
    return file->fd;
}
