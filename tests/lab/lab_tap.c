/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_tap.c - two guests side by side: one has the fast path, the other has not
 *
 * Runs in:  the body.
 */
#include "config.h"

#include "lab_helper.h"
#include "lab_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

LabPair lab_pair(Lab *lab, const char *const *words)
{
    static const char *const modes[] = {"--fast-path=require", "--fast-path=off"};
    LabPair pair = {.guest = {LAB_GUEST, lab_guest_new(lab)}, .name = {"fast", "off"}};

    for (int i = 0; i < 2; i++) {
        g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);

        for (; words != NULL && words[argv->len] != NULL;) {
            g_auto(GStrv) parts = g_strsplit(words[argv->len], "%d", 2);

            g_ptr_array_add(argv, g_strjoinv(i == 0 ? "0" : "1", parts));
        }
        g_ptr_array_add(argv, g_strdup(modes[i]));
        g_ptr_array_add(argv, NULL);
        pair.helper[i] = lab_helper_for(lab, pair.guest[i], (const char *const *)argv->pdata);
    }
    return pair;
}

/* One whose answer is there. */
static void attempt_end(LabAttempt *attempt, int64_t begin)
{
    socklen_t size = sizeof attempt->error;

    attempt->ms = (int)(lab_now() - begin);
    if (attempt->error == EINPROGRESS)
        LAB_ASSERT_CALL(getsockopt(attempt->fd, SOL_SOCKET, SO_ERROR, &attempt->error, &size));
    (void)fcntl(attempt->fd, F_SETFL, fcntl(attempt->fd, F_GETFL) & ~O_NONBLOCK);
    if (attempt->error != 0) {
        close(attempt->fd);
        attempt->fd = -1;
    }
}

static void attempt_begin(LabAttempt *attempt)
{
    struct sockaddr_storage to;
    socklen_t length = lab_address(&to, attempt->address, attempt->port);

    LAB_ASSERT_CALL(fcntl(attempt->fd, F_SETFL, fcntl(attempt->fd, F_GETFL) | O_NONBLOCK));
    attempt->error = connect(attempt->fd, (struct sockaddr *)&to, length) < 0 ? errno : 0;
}

void lab_attempts(LabAttempt *attempts, size_t count, int timeout_ms)
{
    g_autofree struct pollfd *polls = g_new0(struct pollfd, count);
    g_autofree int64_t *begin = g_new0(int64_t, count);
    int64_t end = lab_now() + timeout_ms;
    size_t left = count;

    for (size_t i = 0; i < count; i++) {
        begin[i] = lab_now();
        attempt_begin(&attempts[i]);
        polls[i] = (struct pollfd){.fd = attempts[i].fd, .events = POLLOUT};
    }
    while (left > 0 && lab_now() < end) {
        (void)poll(polls, count, (int)MAX(0, end - lab_now()));
        for (size_t i = 0; i < count; i++) {
            if (polls[i].fd < 0 || (polls[i].revents == 0 && attempts[i].error == EINPROGRESS))
                continue;
            attempts[i].revents = polls[i].revents;
            attempt_end(&attempts[i], begin[i]);
            polls[i].fd = -1;
            left--;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (polls[i].fd < 0)
            continue;
        attempts[i].error = ETIMEDOUT;
        attempts[i].revents = 0;
        attempt_end(&attempts[i], begin[i]);
    }
}

LabAttempt lab_attempt(Lab *lab, LabPlace place, const char *address, uint16_t port,
                       uint16_t source)
{
    bool v6 = lab_address_is_v6(address);
    LabAttempt attempt = {.address = address, .port = port};

    attempt.fd = source != 0
                     ? lab_socket_bound(lab, place, SOCK_STREAM, v6 ? "::" : "0.0.0.0", source)
                     : lab_socket(lab, place, v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    LAB_CHECK(attempt.fd >= 0, "socket, port %u: %s", source, strerror(errno));
    lab_attempts(&attempt, 1, LAB_MS(LAB_WAIT_MS));
    return attempt;
}

char *lab_says(Lab *lab, LabPlace place, const char *format, ...)
{
    LabOutput output = {NULL, NULL};
    g_autofree char *command = NULL;
    char *text;
    va_list values;
    int status;

    va_start(values, format);
    command = g_strdup_vprintf(format, values);
    va_end(values);
    status = lab_exec(lab, place, &output, "sh", "-c", command, NULL);
    LAB_CHECK(status == 0, "%s: status %d, %s%s", command, status, output.out, output.err);
    text = g_strchomp(g_strdup(output.out));
    lab_output_clear(&output);
    return text;
}

void lab_nft(Lab *lab, LabPlace place, const char *rules)
{
    const char *path = lab_path(lab, "rules.nft");

    lab_write_file(path, rules);
    lab_do(lab, place, "nft -f %s", path);
}

uint64_t lab_tap_bytes(Lab *lab, LabPlace guest)
{
    g_autofree char *text =
        lab_says(lab, guest, "awk '/tap0:/ { sub(/.*:/, \"\"); print $1 + $9 }' /proc/net/dev");

    return g_ascii_strtoull(text, NULL, 10);
}
