/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * landlock.c - no file system, even if the empty root and the system call filter should fail
 *
 * Does:     one ruleset of all rights the kernel knows, without a rule but for what the proof is still to read: the status of threads
 *           that come later, in the process's own directory of /proc. Its fd is closed with the proof; then it has no name, in a
 *           root that is empty.
 * Runs in:  the datapath before its worker threads are made, and inside: it acts on the calling thread.
 * Numbers:  of the kernel's interface, which the headers of a distribution may be too old for.
 */
#include "config.h"

#include "landlock.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../fault.h"
#include "../fd.h"

/* The same on every architecture (syscalls(2): numbers from 424 on). */
#define LANDLOCK_CREATE_RULESET 444
#define LANDLOCK_ADD_RULE       445
#define LANDLOCK_RESTRICT_SELF  446
#define LANDLOCK_PATH_BENEATH   1   /* LANDLOCK_RULE_PATH_BENEATH */
#define LANDLOCK_READ           12U /* LANDLOCK_ACCESS_FS_READ_FILE, LANDLOCK_ACCESS_FS_READ_DIR */
#define LANDLOCK_VERSION        1U  /* LANDLOCK_CREATE_RULESET_VERSION */
#define LANDLOCK_SCOPES         3U  /* LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, LANDLOCK_SCOPE_SIGNAL */

/* struct landlock_ruleset_attr; older kernels take its first words alone. */
typedef struct LandlockRuleset {
    uint64_t handled_fs;
    uint64_t handled_net;
    uint64_t scoped;
} LandlockRuleset;

/* struct landlock_path_beneath_attr */
typedef struct LandlockBeneath {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed)) LandlockBeneath;

/* Rights of ABI 1 are bits 0 to 12; REFER came with 2, TRUNCATE with 3, IOCTL_DEV with 5. */
static uint64_t landlock_fs_rights(long abi)
{
    uint64_t rights = (1U << 13) - 1;

    if (abi >= 2) {
        rights |= 1U << 13;
    }
    if (abi >= 3) {
        rights |= 1U << 14;
    }
    if (abi >= 5) {
        rights |= 1U << 15;
    }
    return rights;
}

static bool landlock_leave(int ruleset, const int *proof, size_t count, GError **error)
{
    for (size_t i = 0; i < count; i++) {
        const LandlockBeneath rule = {LANDLOCK_READ, proof[i]};

        if (syscall(LANDLOCK_ADD_RULE, ruleset, LANDLOCK_PATH_BENEATH, &rule, 0) < 0) {
            fault_set(error, FAULT_LOCKDOWN, errno, "landlock: add_rule: %s", g_strerror(errno));
            return false;
        }
    }
    return true;
}

bool landlock_deny_all(const int *proof, size_t count, int *ret_abi, GError **error)
{
    long abi = syscall(LANDLOCK_CREATE_RULESET, NULL, 0, LANDLOCK_VERSION);
    LandlockRuleset ruleset = {0};
    size_t size = sizeof(ruleset.handled_fs);
    FD_AUTO fd = -1;

    if (abi < 0 && (errno == ENOSYS || errno == EOPNOTSUPP)) {
        *ret_abi = 0;
        return true;
    }
    if (abi < 0) {
        fault_set(error, FAULT_LOCKDOWN, errno, "landlock: version: %s", g_strerror(errno));
        return false;
    }
    ruleset.handled_fs = landlock_fs_rights(abi);
    if (abi >= LANDLOCK_ABI_SCOPE) {
        ruleset.scoped = LANDLOCK_SCOPES;
        size = sizeof(ruleset);
    }
    fd = (int)syscall(LANDLOCK_CREATE_RULESET, &ruleset, size, 0);
    if (fd < 0) {
        fault_set(error, FAULT_LOCKDOWN, errno, "landlock: create_ruleset: %s", g_strerror(errno));
        return false;
    }
    if (!landlock_leave(fd, proof, count, error)) {
        return false;
    }
    if (syscall(LANDLOCK_RESTRICT_SELF, fd, 0) < 0) {
        fault_set(error, FAULT_LOCKDOWN, errno, "landlock: restrict_self: %s", g_strerror(errno));
        return false;
    }
    *ret_abi = (int)abi;
    return true;
}
