/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * relay_pipe.c - the pipes that bytes are spliced through
 *
 * Does:     opens them when wanted, keeps a few for the next who wants one.
 * Runs in:  the datapath; each pool on the one thread that has it.
 * Limits:   all pipes of all sandboxes of a user draw on one budget (pipe(7): pipe-user-pages-soft, 16,384 pages or 1,024 pipes
 *           of the usual size). RELAY_LARGE_MAX of a pool are large; beyond the budget the kernel gives a page or two, and such
 *           a pipe is worse than none.
 */
#include "config.h"

#include "relay_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <glib.h>

#include "../fd.h"

/* A splice of 64 KiB is one packet of a guest: with room for more of them a wake-up moves what has come meanwhile. */
#define RELAY_PIPE_LARGE    (1024 * 1024)
#define RELAY_LARGE_MAX     4
#define RELAY_PIPE_RETRY_US G_USEC_PER_SEC

static void relay_pipe_close(RelayPipes *pipes, const RelayPipe *pipe)
{
    fd_close(pipe->read_fd);
    fd_close(pipe->write_fd);
    pipes->large -= pipe->large;
    pipes->open--;
}

bool relay_pipes_may_get(const RelayPipes *pipes)
{
    return pipes->spares > 0 ||
           (pipes->open < pipes->max && g_get_monotonic_time() >= pipes->retry_us);
}

static bool relay_pipe_open(RelayPipes *pipes, RelayPipe *ret)
{
    int fds[2];

    if (!relay_pipes_may_get(pipes)) {
        return false;
    }
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        pipes->retry_us = g_get_monotonic_time() + RELAY_PIPE_RETRY_US;
        return false;
    }
    if (fcntl(fds[0], F_GETPIPE_SZ) < (int)RELAY_PIPE_MIN) {
        pipes->retry_us = g_get_monotonic_time() + RELAY_PIPE_RETRY_US;
        fd_close(fds[0]);
        fd_close(fds[1]);
        return false;
    }
    *ret = (RelayPipe){.read_fd = fds[0], .write_fd = fds[1]};
    ret->large = pipes->large < RELAY_LARGE_MAX &&
                 fcntl(fds[0], F_SETPIPE_SZ, RELAY_PIPE_LARGE) >= RELAY_PIPE_LARGE;
    pipes->large += ret->large;
    pipes->open++;
    return true;
}

bool relay_pipes_get(RelayPipes *pipes, RelayPipe *ret)
{
    unsigned best = pipes->spares;

    for (unsigned i = 0; i < pipes->spares && (best == pipes->spares || !pipes->spare[best].large);
         i++) {
        best = i;
    }
    if (best == pipes->spares) {
        return relay_pipe_open(pipes, ret);
    }
    *ret = pipes->spare[best];
    pipes->spare[best] = pipes->spare[--pipes->spares];
    return true;
}

void relay_pipes_put(RelayPipes *pipes, RelayPipe *pipe, bool empty)
{
    if (pipe->read_fd < 0) {
        return;
    }
    if (empty && pipes->spares < RELAY_SPARE_MAX) {
        pipes->spare[pipes->spares++] = *pipe;
    } else {
        relay_pipe_close(pipes, pipe);
    }
    *pipe = RELAY_PIPE_NONE;
}

void relay_pipes_trim(RelayPipes *pipes)
{
    while (pipes->spares > 0) {
        relay_pipe_close(pipes, &pipes->spare[--pipes->spares]);
    }
}
