/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * footprint.c - what our processes cost
 *
 * Runs in:  the supervisor, when somebody asks: its children cannot see /proc.
 * Trusts:   the kernel, once /proc is known to be this PID namespace's.
 */
#include "config.h"

#include "footprint.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include "fd.h"

#define FOOTPRINT_PATH_MAX 64

/* Does /proc number processes as we do? */
static bool footprint_known(void)
{
    char name[FOOTPRINT_PATH_MAX];
    ssize_t len = readlink("/proc/self", name, sizeof(name) - 1);

    if (len <= 0) {
        return false;
    }
    name[len] = '\0';
    return g_ascii_strtoull(name, NULL, 10) == (guint64)getpid();
}

int64_t footprint_rss(pid_t pid)
{
    char path[FOOTPRINT_PATH_MAX];
    char text[256];
    const char *resident;
    ssize_t len;

    (void)g_snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
    FD_AUTO fd = footprint_known() ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (len <= 0) {
        return -1;
    }
    text[len] = '\0';
    resident = strchr(text, ' '); /* proc(5): size resident..., in pages */
    return resident == NULL
               ? -1
               : (int64_t)g_ascii_strtoull(resident + 1, NULL, 10) * (int64_t)sysconf(_SC_PAGESIZE);
}

int64_t footprint_fds(pid_t pid)
{
    char path[FOOTPRINT_PATH_MAX];
    struct stat st;

    (void)g_snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    /* fs/proc/fd.c: proc_readfd_count(); 0 before Linux 6.2, and no process of ours has none. */
    return footprint_known() && stat(path, &st) == 0 && st.st_size > 0 ? (int64_t)st.st_size : -1;
}
