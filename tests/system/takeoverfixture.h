/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_TAKEOVERFIXTURE_H
#define SALLYPORT_TESTS_TAKEOVERFIXTURE_H

/* Shared by the tests of what the fast path stands: looks at the guest and at the helper's processes, echo at FAR. */

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lab/lab_helper.h"
#include "../lab/lab_raw.h"

/* The marks of helper/guest/rules.c, which the guest's root can read there. */
#define MARK        0x53a11b01U
#define MARK_INJECT 0x53a11b02U

#define MIB (1024 * 1024)
/* Name resolution of neighbours, SYNs: what a connection taken over may leave on the TAP. */
#define FEW_BYTES 20000
/* Spare pipes of the relays: what connections in bulk may leave open. */
#define POOLED_FDS 16

static const char *const far_addresses[] = {LAB_FAR_V4, LAB_FAR_V6};

#define EACH_FAMILY(address)                                                                       \
    for (size_t each_ = 0; each_ < G_N_ELEMENTS(far_addresses); each_++)                           \
        for (const char *address = far_addresses[each_]; address != NULL; address = NULL)

/* All helpers of the program, unless the caller's environment says otherwise; a later option of a test's own wins. */
static void __attribute__((constructor)) fast_path_on(void)
{
    (void)g_setenv("SALLYPORT_LAB_OPTIONS", "--fast-path=auto", FALSE);
}

/* ---- looking ---- */

static inline char *place_says(Lab *lab, LabPlace place, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

/* What a shell command says in a place; to be freed. */
static inline char *place_says(Lab *lab, LabPlace place, const char *format, ...)
{
    LabOutput output = {NULL, NULL};
    g_autofree char *command = NULL;
    char *text;
    va_list values;

    va_start(values, format);
    command = g_strdup_vprintf(format, values);
    va_end(values);
    LAB_CHECK(lab_exec(lab, place, &output, "sh", "-c", command, NULL) == 0, "%s: %s", command,
              output.err);
    text = g_strdup(output.out);
    lab_output_clear(&output);
    return text;
}

static inline uint64_t tap_bytes(Lab *lab)
{
    g_autofree char *text = place_says(
        lab, LAB_GUEST, "awk '/tap0:/ { sub(/.*:/, \"\"); print $1 + $9 }' /proc/net/dev");

    return g_ascii_strtoull(text, NULL, 10);
}

/* The takeover listener's; 0: the rules are not there. */
static inline uint16_t listener_port(Lab *lab)
{
    g_autofree char *text = place_says(
        lab, LAB_GUEST,
        "nft list chain inet sallyport p | sed -n 's/.*tproxy to :\\([0-9]*\\).*/\\1/p'");

    return (uint16_t)g_ascii_strtoull(text, NULL, 10);
}

/* Open fds of a process, seen by the lab's root: the processes forbid it to others, and /proc/PID/fd belongs to the machine's. */
static inline unsigned fds_of(Lab *lab, pid_t pid)
{
    g_autofree char *text = place_says(
        lab, LAB_HOST, "set -e; list=$(ls /proc/%d/fdinfo); echo \"$list\" | wc -l", (int)pid);
    unsigned count = (unsigned)g_ascii_strtoull(text, NULL, 10);

    LAB_CHECK(count > 3, "process %d has %u fds", (int)pid, count);
    return count;
}

static inline unsigned fds_of_all(Lab *lab, const LabTrio *trio)
{
    return fds_of(lab, trio->supervisor) + fds_of(lab, trio->inside) + fds_of(lab, trio->datapath);
}

/* Waits until the helper has as many fds as before; what the kernel tells it last may be on its way. */
static inline void fds_return(Lab *lab, const LabTrio *trio, unsigned before)
{
    int64_t end = lab_now() + LAB_MS(LAB_WAIT_MS);
    unsigned now;

    while ((now = fds_of_all(lab, trio)) > before) {
        LAB_CHECK(lab_now() < end, "%u fds, %u at the start", now, before);
        g_usleep(20000);
    }
}

/* KiB of one kind over all three: Private_Dirty is what they have written, each for itself. Private_Clean, pages of files, goes
 * up and down with whoever else has the same file open, so it is no measure of growth. */
static inline long memory_of_all(Lab *lab, const LabTrio *trio, const char *key)
{
    g_autofree char *text =
        place_says(lab, LAB_HOST,
                   "cat /proc/%d/smaps_rollup /proc/%d/smaps_rollup /proc/%d/smaps_rollup | "
                   "awk '/^%s:/ { sum += $2 } END { print sum }'",
                   (int)trio->supervisor, (int)trio->inside, (int)trio->datapath, key);
    long sum = strtol(text, NULL, 10);

    LAB_CHECK(sum > 0, "smaps_rollup says nothing");
    return sum;
}

static inline long private_memory(Lab *lab, const LabTrio *trio)
{
    return memory_of_all(lab, trio, "Private_Dirty");
}

/* ---- traffic ---- */

typedef struct Ends {
    int guest, far;
} Ends;

static inline Ends connection(Lab *lab, const char *address)
{
    int listener = lab_listen(lab, LAB_FAR, address, 0);
    Ends ends = {lab_connected(lab, LAB_GUEST, address, lab_port(listener)), -1};

    ends.far = lab_accepted(listener);
    close(listener);
    return ends;
}

static inline void ends_close(Ends ends)
{
    close(ends.guest);
    close(ends.far);
}

static inline void say_both_ways(Ends ends)
{
    lab_say(ends.guest, ends.far, "there");
    lab_say(ends.far, ends.guest, "and back");
}

/* One MiB each way and FIN; says whether the guest's kernel carried it. */
static inline bool carries(Lab *lab, Ends ends)
{
    uint64_t before = tap_bytes(lab);

    lab_transfer(ends.guest, ends.far, MIB, MIB, 0);
    ends_close(ends);
    return tap_bytes(lab) - before < FEW_BYTES;
}

static inline void is_fast(Lab *lab)
{
    EACH_FAMILY(address)
    LAB_CHECK(carries(lab, connection(lab, address)), "%s: went over the TAP", address);
}

/* By whomever. FAR may see one more connection, closed at once: takeover's, before libslirp got the SYN. */
static inline void address_is_served(Lab *lab, const char *address)
{
    int listener = lab_listen(lab, LAB_FAR, address, 0), fd;
    uint16_t port = lab_port(listener);
    pid_t server = lab_serve_tcp(lab, listener, LAB_ECHO);
    char text[6] = "";

    fd = lab_connected(lab, LAB_GUEST, address, port);
    lab_send(fd, "hello", 5);
    lab_recv(fd, text, 5);
    LAB_ASSERT(strcmp(text, "hello") == 0);
    close(fd);
    lab_serve_end(lab, server);
}

static inline void is_served(Lab *lab)
{
    EACH_FAMILY(address)
    address_is_served(lab, address);
}

static inline LabHelper *fast_helper(Lab *lab)
{
    return lab_helper(lab, "--fast-path=require", NULL);
}

static inline LabTrio trio_of(Lab *lab, const LabHelper *helper)
{
    return lab_trio(lab, lab_helper_pid(helper), LAB_GUEST);
}

static inline void guest_firewall(Lab *lab, const char *rules)
{
    const char *path = lab_path(lab, "firewall.nft");

    lab_write_file(path, rules);
    lab_do(lab, LAB_GUEST, "nft -f %s", path);
}

#endif
