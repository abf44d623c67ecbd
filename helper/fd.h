/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_FD_H
#define SALLYPORT_FD_H

#include <errno.h>
#include <unistd.h>

/* GLib 2.74 has no g_autofd. -1 is "no fd". */

static inline void fd_close(int fd)
{
    if (fd >= 0) {
        int saved = errno;

        (void)close(
            fd); /* nothing can be done about a failure, and the fd is gone all the same (close(2)) */
        errno = saved;
    }
}

static inline void fd_clear(int *fd)
{
    fd_close(*fd);
    *fd = -1;
}

/* Hands the fd over: *fd is -1 afterwards. */
static inline int fd_steal(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

#define FD_AUTO __attribute__((cleanup(fd_clear))) int

#endif
