/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_RELAY_PIPE_H
#define SALLYPORT_DATAPATH_RELAY_PIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that every pipe of a pool takes at least. */
#define RELAY_PIPE_MIN  ((size_t)64 * 1024)
#define RELAY_SPARE_MAX 8

/* @read_fd is -1: none. */
typedef struct RelayPipe {
    int read_fd;
    int write_fd;
    bool large;
} RelayPipe;

#define RELAY_PIPE_NONE ((RelayPipe){.read_fd = -1, .write_fd = -1})

/**
 * struct RelayPipes - the pipes of one thread
 * @spare: open and empty
 * @open:  all there are, @large of them large
 * @retry_us: no new pipe is tried before
 */
typedef struct RelayPipes {
    RelayPipe spare[RELAY_SPARE_MAX];
    unsigned spares;
    unsigned open;
    unsigned large;
    unsigned max;
    int64_t retry_us;
} RelayPipes;

/* Non-blocking, empty; a large one if the user's budget allows it. False: none is to be had now. */
bool relay_pipes_get(RelayPipes *pipes, RelayPipe *ret);
/* Would relay_pipes_get() try? Asks nobody. */
bool relay_pipes_may_get(const RelayPipes *pipes);
/* Takes one back; it becomes RELAY_PIPE_NONE, which may be given too. @empty: it can be used again. */
void relay_pipes_put(RelayPipes *pipes, RelayPipe *pipe, bool empty);
/* Closes those that nobody uses: they count against a budget shared with every other sandbox of the user. */
void relay_pipes_trim(RelayPipes *pipes);

#endif
