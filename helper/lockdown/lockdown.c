/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * lockdown.c - each process gives up what it does not need, in named stages, and proves it
 *
 * Stages:   stage          datapath  inside  supervisor   proved by
 *           namespaces     x                              inode numbers, against the supervisor's
 *           empty root     x                              a look into it
 *           capabilities   none      a few   a few        status of every thread
 *           landlock       x         x                    restrict_self's result (the kernel shows it nowhere)
 *           seccomp        x         x       x            status of every thread
 *           A stage that the kernel refuses is an error, and the process ends: nothing runs half locked. A kernel without
 *           Landlock is the exception, and the ready record says so.
 * Order:    namespaces come with the process (namespaces_fork()); root, capabilities and Landlock before any worker thread, which
 *           inherits them; the filter when all threads are there (TSYNC); then the proof; then the word that leads to "ready".
 * Status:   of a thread can be opened only when there is one, below Landlock by then: it leaves the two directories of /proc that the
 *           proof holds, and these are closed before the process says that it is locked. Rejected: a thread that opens them
 *           before Landlock and ends before the filter, which took 1 ms of the start.
 * The supervisor has no Landlock: it reads what paths of the user's lead to, and a restricted process may not follow
 *           /proc/PID/ns/net of others (ptrace access). Its filter lets it open files to read them alone; with a control socket it
 *           may remove files, to take away its own at the end.
 * Bounding set: can be emptied with CAP_SETPCAP alone. The datapath has it in its namespace, inside in the guest's, a supervisor
 *           started by root too; of an ordinary user's supervisor it stays full, and no_new_privs makes it moot.
 *
 * A socket-free datapath was considered, and is not built: the right to make TCP and UDP sockets stays with the datapath. To make and
 *           connect one takes 11 us here and 43 us when another process does it and passes it by SCM_RIGHTS (medians of 2001, over
 *           loopback, two cores). At 8,300 connects a second, 120 us each, those 32 us are a quarter of the rate; 10 % was the
 *           limit. And libslirp makes its own sockets in any case (UDP, TCP that is not taken over), so that socket(2) and
 *           connect(2) would stay on the list: the right would be gone in name alone. What the filter says instead: no family but
 *           INET and INET6, no raw socket, no netlink.
 * Nor is the datapath executed anew: it shares the supervisor's layout of addresses, but an attacker in it has nothing to use the
 *           knowledge on: messages to the supervisor are fixed-size and without pointers. An execve(2) of the program costs about
 *           as much as all of lock-down, and would need the program's file inside the empty root.
 */
#include "config.h"

#include "lockdown.h"

#include <errno.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "../fault.h"
#include "filter.h"
#include "landlock.h"
#include "process.h"
#include "proof.h"

struct Lockdown {
    Role role;
    bool insecure;
    bool serves;
    uint32_t held;
    ProofPlan plan;
    Proof *proof;
    bool threads; /* are made between begin and finish */
};

static const char *const lockdown_words[LOCKDOWN_HELD_COUNT] = {
    [LOCKDOWN_NO_NEW_PRIVS] = "no-new-privs",
    [LOCKDOWN_NOT_DUMPABLE] = "not-dumpable",
    [LOCKDOWN_NO_CAPABILITIES] = "no-capabilities",
    [LOCKDOWN_FEW_CAPABILITIES] = "few-capabilities",
    [LOCKDOWN_NO_BOUNDING_SET] = "no-bounding-set",
    [LOCKDOWN_NAMESPACES] = "namespaces",
    [LOCKDOWN_EMPTY_ROOT] = "empty-root",
    [LOCKDOWN_LANDLOCK] = "landlock",
    [LOCKDOWN_LANDLOCK_SCOPE] = "landlock-scope",
    [LOCKDOWN_SECCOMP] = "seccomp",
    [LOCKDOWN_SECCOMP_WIDE] = "seccomp-wide",
};

const char *lockdown_word(LockdownHeld held)
{
    return lockdown_words[held];
}

static void lockdown_free(Lockdown *lock)
{
    proof_free(lock->proof);
    g_free(lock);
}

static void lockdown_hold(Lockdown *lock, LockdownHeld held)
{
    lock->held |= 1U << held;
}

/* Those of @caps that we have: an ordinary user's supervisor has none. */
static bool lockdown_capabilities(Lockdown *lock, uint64_t caps, GError **error)
{
    cap_value_t kept[64];
    cap_t now = cap_get_proc();
    cap_flag_value_t setpcap = CAP_CLEAR;
    int count = 0;

    if (now == NULL) {
        fault_set(error, FAULT_LOCKDOWN, errno, "capabilities: capget: %s", g_strerror(errno));
        return false;
    }
    (void)cap_get_flag(now, CAP_SETPCAP, CAP_EFFECTIVE, &setpcap);
    for (cap_value_t cap = 0; cap < 64; cap++) {
        cap_flag_value_t has = CAP_CLEAR;

        if ((caps & (UINT64_C(1) << cap)) != 0 &&
            cap_get_flag(now, cap, CAP_PERMITTED, &has) == 0 && has == CAP_SET) {
            kept[count++] = cap;
            lock->plan.caps |= UINT64_C(1) << cap;
        }
    }
    (void)cap_free(now);
    lock->plan.bounding = setpcap == CAP_SET;
    if (!process_keep_capabilities(kept, count, error)) {
        g_prefix_error(error, "capabilities: ");
        return false;
    }
    /* capset(2) may have set it anew (kernel/cred.c: commit_creds()); the proof looks. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    lockdown_hold(lock, count == 0 ? LOCKDOWN_NO_CAPABILITIES : LOCKDOWN_FEW_CAPABILITIES);
    return true;
}

/* Before the filter: what cannot change after it, and the fds for what does. */
static bool lockdown_look(Lockdown *lock, GError **error)
{
    static const unsigned sockets[ROLES] = {
        [ROLE_SUPERVISOR] = PROOF_ANY_FDS, /* the user's, and listeners */
        [ROLE_INSIDE] = 5,                 /* supervisor, datapath, nf_tables, rtnetlink, claim */
        [ROLE_DATAPATH] = 2,               /* supervisor, inside; more come by messages */
    };

    return proof_check_process(lock->proof, sockets[lock->role], error) &&
           proof_open_tasks(lock->proof, error);
}

static bool lockdown_landlock(Lockdown *lock, GError **error)
{
    int dirs[PROOF_DIRECTORIES];
    int abi = 0;

    proof_directories(lock->proof, dirs);
    if (!landlock_deny_all(dirs, lock->threads ? PROOF_DIRECTORIES : 0, &abi, error)) {
        return false;
    }
    if (abi > 0) {
        lockdown_hold(lock, LOCKDOWN_LANDLOCK);
    }
    if (abi >= LANDLOCK_ABI_SCOPE) {
        lockdown_hold(lock, LOCKDOWN_LANDLOCK_SCOPE);
    }
    return true;
}

static bool lockdown_root(Lockdown *lock, const Namespaces *parent, GError **error)
{
    if (!namespaces_differ(parent, error) || !namespaces_empty_root(error) ||
        !namespaces_root_is_empty(error)) {
        return false;
    }
    lockdown_hold(lock, LOCKDOWN_NAMESPACES);
    lockdown_hold(lock, LOCKDOWN_EMPTY_ROOT);
    return true;
}

/* All of it but the filter. */
static bool lockdown_stages(Lockdown *lock, uint64_t caps, const Namespaces *parent, GError **error)
{
    if (lock->insecure) {
        return lockdown_capabilities(lock, caps, error);
    }
    lock->proof = proof_new(error);
    if (lock->proof == NULL || (parent != NULL && !lockdown_root(lock, parent, error)) ||
        !lockdown_capabilities(lock, caps, error)) {
        return false;
    }
    if (lock->role == ROLE_DATAPATH) {
        lock->threads = true; /* yet to come, and to be looked at then */
        return lockdown_landlock(lock, error);
    }
    /* No threads come after this. */
    return lockdown_look(lock, error) &&
           (lock->role == ROLE_SUPERVISOR || lockdown_landlock(lock, error));
}

static Lockdown *lockdown_new(Role role, uint64_t caps, const Namespaces *parent, bool insecure,
                              GError **error)
{
    Lockdown *lock = g_new0(Lockdown, 1);

    lock->role = role;
    lock->insecure = insecure;
    lockdown_hold(lock, LOCKDOWN_NO_NEW_PRIVS);
    lockdown_hold(lock, LOCKDOWN_NOT_DUMPABLE);
    if (!lockdown_stages(lock, caps, parent, error)) {
        lockdown_free(lock);
        return NULL;
    }
    return lock;
}

Lockdown *lockdown_begin(Role role, const Namespaces *parent, bool insecure, GError **error)
{
    return lockdown_new(role, 0, parent, insecure, error);
}

Lockdown *lockdown_begin_keeping(Role role, uint64_t caps, bool serves, bool insecure,
                                 GError **error)
{
    Lockdown *lock = lockdown_new(role, caps, NULL, insecure, error);

    if (lock != NULL) {
        lock->serves = serves;
    }
    return lock;
}

static bool lockdown_filter(Lockdown *lock, GError **error)
{
    if ((lock->threads && !lockdown_look(lock, error)) ||
        !filter_load(lock->role, lock->serves, error) ||
        !proof_read_tasks(lock->proof, &lock->plan, error)) {
        return false;
    }
    if (lock->plan.bounding) {
        lockdown_hold(lock, LOCKDOWN_NO_BOUNDING_SET);
    }
    lockdown_hold(lock, LOCKDOWN_SECCOMP);
#ifdef SALLYPORT_SANITIZED
    lockdown_hold(lock, LOCKDOWN_SECCOMP_WIDE);
#endif
    return true;
}

bool lockdown_finish(Lockdown *take_lockdown, uint32_t *ret_held, GError **error)
{
    bool done = take_lockdown->insecure || lockdown_filter(take_lockdown, error);

    *ret_held = take_lockdown->held;
    lockdown_free(take_lockdown);
    return done;
}
