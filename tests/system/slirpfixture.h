/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_SLIRPFIXTURE_H
#define SALLYPORT_TESTS_SLIRPFIXTURE_H

/* Shared by test_slirp4netns*.c: the program under its other name, waited for as its callers do, by --ready-fd. */

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lab/lab_raw.h"

#define SLIRP_WORDS "--personality=slirp4netns"
#define SLIRP_TAP   "tap0"

/* The personality is the first word or nothing: the options of a second run would stand before it. */
static void __attribute__((constructor)) slirp_plain_words(void)
{
    g_unsetenv("SALLYPORT_LAB_OPTIONS");
}

/* One that need not become ready. */
static inline LabRaw *slirp_line(Lab *lab, const char *format, ...) G_GNUC_PRINTF(2, 3);

static inline LabRaw *slirp_line(Lab *lab, const char *format, ...)
{
    const LabRawSetup setup = {.no_report = true};
    g_autofree char *words = NULL;
    va_list values;

    va_start(values, format);
    words = g_strdup_vprintf(format, values);
    va_end(values);
    return lab_raw_line(lab, &setup, SLIRP_WORDS "%s%s", words[0] != '\0' ? " " : "", words);
}

/* The byte of --ready-fd, and that nothing else comes. */
static inline void slirp_await_ready(LabRaw *raw, int ready)
{
    char bytes[2];

    LAB_CHECK(lab_wait(ready, POLLIN | POLLHUP, LAB_MS(LAB_WAIT_MS)) & POLLIN,
              "the helper is not ready: %s", lab_raw_err(raw));
    LAB_ASSERT_EQ(read(ready, bytes, sizeof bytes), 1);
    LAB_ASSERT_EQ(bytes[0], '1');
    close(ready);
}

/* "--ready-fd and these words", ready. */
static inline LabRaw *slirp(Lab *lab, const char *format, ...) G_GNUC_PRINTF(2, 3);

static inline LabRaw *slirp(Lab *lab, const char *format, ...)
{
    LabRawSetup setup = {.no_report = true, .fd_count = 1};
    g_autofree char *words = NULL;
    int ready[2];
    va_list values;
    LabRaw *raw;

    va_start(values, format);
    words = g_strdup_vprintf(format, values);
    va_end(values);
    LAB_ASSERT_CALL(pipe(ready));
    setup.fds[0] = ready[1];
    raw = lab_raw_line(lab, &setup, SLIRP_WORDS " -r %d %s", LAB_RAW_FD, words);
    close(ready[1]);
    slirp_await_ready(raw, ready[0]);
    return raw;
}

/* Until a command of a shell in GUEST succeeds. */
static inline void slirp_until(Lab *lab, const char *command)
{
    int64_t end = lab_now() + LAB_MS(10000);

    while (lab_exec(lab, LAB_GUEST, NULL, "sh", "-c", command, NULL) != 0) {
        LAB_CHECK(lab_now() < end, "'%s' does not come true", command);
        (void)poll(NULL, 0, 20);
    }
}

/* Until the fast path's rules are in the guest, which is behind ready. A connection that comes while they are loaded, and is not
 * served in time, is made twice: whoever looks at single connections waits for this. */
static inline void slirp_await_rules(Lab *lab)
{
    slirp_until(lab, "nft list table inet sallyport >/dev/null 2>&1 && "
                     "ip route show table 5480731 | grep -q '^local default dev tap'");
}

/* The usual one: more words, GUEST by PID. With "-c" the fast path is there. */
static inline LabRaw *slirp_guest(Lab *lab, const char *words)
{
    LabRaw *raw = slirp(lab, "%s%s%d " SLIRP_TAP, words, words[0] != '\0' ? " " : "",
                        (int)lab_pid(lab, LAB_GUEST));

    if (g_str_has_prefix(words, "-c")) {
        slirp_await_rules(lab);
    }
    return raw;
}

/* A command of a shell in GUEST says that; or does not. */
static inline void slirp_shows(Lab *lab, const char *command, const char *wanted)
{
    g_autofree char *out = lab_says(lab, LAB_GUEST, "%s", command);

    LAB_CHECK(strstr(out, wanted) != NULL, "%s: no '%s' in:\n%s", command, wanted, out);
}

static inline void slirp_shows_not(Lab *lab, const char *command, const char *unwanted)
{
    g_autofree char *out = lab_says(lab, LAB_GUEST, "%s", command);

    LAB_CHECK(strstr(out, unwanted) == NULL, "%s: '%s' in:\n%s", command, unwanted, out);
}

/* Bytes from the guest to an echo at @address of FAR and back, however many connections it takes. */
static inline void slirp_transfers(Lab *lab, const char *address, size_t bytes)
{
    int listener = lab_listen(lab, LAB_FAR, address, 0);
    int client =
        lab_socket(lab, LAB_GUEST, lab_address_is_v6(address) ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    struct sockaddr_storage to;
    socklen_t length = lab_address(&to, address, lab_port(listener));
    pid_t echo = lab_serve_tcp(lab, listener, LAB_ECHO);
    static char sent[32768], back[32768];

    LAB_CHECK(connect(client, (struct sockaddr *)&to, length) == 0, "%s: %s", address,
              g_strerror(errno));
    for (size_t done = 0; done < bytes; done += sizeof sent) {
        size_t part = MIN(bytes - done, sizeof sent);

        memset(sent, (int)(done / sizeof sent) + 1, part);
        lab_send(client, sent, part);
        lab_recv(client, back, part);
        LAB_ASSERT(memcmp(sent, back, part) == 0);
    }
    close(client);
    lab_serve_end(lab, echo);
}

/* connect() from GUEST within @timeout_ms: 0 or errno. */
static inline int slirp_connect(Lab *lab, const char *address, uint16_t port, int timeout_ms)
{
    int fd = lab_connect(lab, LAB_GUEST, address, port, timeout_ms);
    int failed = fd < 0 ? errno : 0;

    if (fd >= 0) {
        close(fd);
    }
    return failed;
}

#endif
