/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_LOCKDOWN_PROOF_H
#define SALLYPORT_LOCKDOWN_PROOF_H

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

/**
 * struct ProofPlan - what /proc/PID/task/TID/status of every thread must say
 * @caps:     permitted and effective, by bit; inheritable and ambient must be empty
 * @bounding: must be empty; else it is not looked at
 */
typedef struct ProofPlan {
    uint64_t caps;
    bool bounding;
} ProofPlan;

/* Fds on /proc, opened while it can still be reached. */
typedef struct Proof Proof;

/* NULL with @error set (FAULT_LOCKDOWN). */
Proof *proof_new(GError **error);
void proof_free(Proof *proof);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Proof, proof_free)

#define PROOF_ANY_FDS UINT32_MAX

/* How many fds above 2 there may be, at most; besides those that wait and wake (epoll, eventfd), and this object's.
 * @sockets: PROOF_ANY_FDS: fds are not looked at; @sysctls: files of /proc/sys */
typedef struct ProofFds {
    unsigned sockets;
    unsigned sysctls;
} ProofFds;

/* Dumpability is off, and no fd is open that is not planned. False with @error set. Before the filter. */
bool proof_check_process(const Proof *proof, ProofFds most, GError **error);

#define PROOF_DIRECTORIES 2

/* What Landlock must leave readable until proof_read_tasks(); borrowed. */
void proof_directories(const Proof *proof, int ret_dirs[PROOF_DIRECTORIES]);

/* Opens the status of each thread there is. */
bool proof_open_tasks(Proof *proof, GError **error);

/* Reads them: as planned, all threads of the process, one filter more than when the object was made. False with @error set. */
bool proof_read_tasks(Proof *proof, const ProofPlan *plan, GError **error);

#endif
