/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_stream.c - what ends and urgent data of a stream mean, when the guest's kernel carries it
 *
 * Connections out of the sandbox and into it, both families, each spoken on by both sides.
 */
#include "config.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "lab_helper.h"
#include "lab_test.h"

#define MIB (1024 * 1024)

typedef struct Ends {
    int guest, far;
} Ends;

typedef struct Kind {
    const char *name;
    bool inbound;
    const char *address; /* connected to */
} Kind;

static const Kind kinds[] = {
    {"out", false, LAB_FAR_V4},
    {"out, IPv6", false, LAB_FAR_V6},
    {"in", true, LAB_HOST_V4},
    {"in, IPv6", true, LAB_HOST_V6},
};

static Ends joined(Lab *lab, const Kind *kind)
{
    const char *any = lab_address_is_v6(kind->address) ? "::" : "0.0.0.0";
    int listener = kind->inbound ? lab_listen(lab, LAB_GUEST, any, 8000)
                                 : lab_listen(lab, LAB_FAR, kind->address, 8080);
    int one = lab_connected(lab, kind->inbound ? LAB_FAR : LAB_GUEST, kind->address, 8080);
    int two = lab_accepted(listener);

    close(listener);
    return kind->inbound ? (Ends){two, one} : (Ends){one, two};
}

typedef void (*Play)(const Kind *kind, int from, int to);

/* Each kind of connection, each of its sides in turn. */
static void each(Lab *lab, Play play)
{
    (void)lab_helper(lab, "--fast-path=require", "-p 8080:8000", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        for (int side = 0; side < 2; side++) {
            Ends ends = joined(lab, &kinds[i]);

            play(&kinds[i], side == 0 ? ends.guest : ends.far, side == 0 ? ends.far : ends.guest);
        }
}

static void urgent_inline(int fd)
{
    int one = 1;

    LAB_ASSERT_CALL(setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one));
}

static void a_word(const Kind *kind, int from, int to)
{
    char got[8] = "";

    urgent_inline(to);
    lab_say(from, to, "ab");
    LAB_ASSERT_EQ(send(from, "c", 1, MSG_OOB), 1);
    lab_recv(to, got, 1);
    LAB_CHECK(got[0] == 'c', "%s: '%s'", kind->name, got);
    /* Two of them, and no pause. */
    lab_send(from, "de", 2);
    LAB_ASSERT_EQ(send(from, "f", 1, MSG_OOB), 1);
    LAB_ASSERT_EQ(send(from, "g", 1, MSG_OOB), 1);
    lab_send(from, "h", 1);
    lab_recv(to, got, 5);
    LAB_CHECK(strcmp(got, "defgh") == 0, "%s: '%s'", kind->name, got);
    close(from);
    close(to);
}

LAB_TEST(stream, an_urgent_byte_arrives_in_its_place)
{
    each(lab, a_word);
}

static uint8_t byte_at(size_t at)
{
    return (uint8_t)(at * 7 + (at >> 9));
}

/* Sends as much as goes; the byte in the middle is urgent. Return: how much has been sent */
static size_t send_some(int fd, size_t sent, size_t total)
{
    uint8_t data[16384];
    bool urgent = sent == total / 2;
    size_t length = urgent ? 1 : MIN(sizeof data, (sent < total / 2 ? total / 2 : total) - sent);
    ssize_t done;

    for (size_t i = 0; i < length; i++)
        data[i] = byte_at(sent + i);
    done = send(fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT | (urgent ? MSG_OOB : 0));
    LAB_CHECK(done > 0 || errno == EAGAIN, "send after %zu bytes: %s", sent, strerror(errno));
    return sent + (done > 0 ? (size_t)done : 0);
}

static void in_the_middle(const Kind *kind, int from, int to)
{
    const size_t total = 2 * MIB + 1;
    uint8_t data[16384];
    size_t sent = 0, got = 0;

    urgent_inline(to);
    for (bool ended = false; !ended;) {
        struct pollfd polls[2] = {{.fd = sent < total ? from : -1, .events = POLLOUT},
                                  {.fd = to, .events = POLLIN}};

        LAB_CHECK(poll(polls, 2, LAB_MS(LAB_WAIT_MS)) > 0, "%s: nothing after %zu bytes of %zu",
                  kind->name, got, sent);
        if ((polls[0].revents & POLLOUT) != 0 && (sent = send_some(from, sent, total)) == total)
            LAB_ASSERT_CALL(shutdown(from, SHUT_WR));
        if ((polls[1].revents & POLLIN) == 0)
            continue;
        ssize_t came = recv(to, data, sizeof data, MSG_DONTWAIT);
        LAB_CHECK(came >= 0, "%s: after %zu bytes: %s", kind->name, got, strerror(errno));
        for (ssize_t i = 0; i < came; i++, got++)
            LAB_CHECK(data[i] == byte_at(got), "%s: byte %zu is wrong", kind->name, got);
        ended = came == 0;
    }
    LAB_CHECK(got == total, "%s: %zu bytes", kind->name, got);
    close(from);
    close(to);
}

LAB_TEST(stream, an_urgent_byte_in_the_middle_of_two_mib_hides_none_of_them)
{
    each(lab, in_the_middle);
}

static void half_closed(const Kind *kind, int from, int to)
{
    lab_say(from, to, "a question");
    LAB_ASSERT_CALL(shutdown(from, SHUT_WR));
    LAB_CHECK(lab_wait_end(to, LAB_MS(1000)) == LAB_END_EOF, "%s: no FIN", kind->name);
    /* The other direction goes on, and says when it ends. */
    LAB_ASSERT_EQ(lab_wait_end(from, 50), LAB_END_NONE);
    lab_say(to, from, "an answer");
    lab_transfer(from, to, 0, MIB, 0);
    close(from);
    close(to);
}

LAB_TEST(stream, one_side_may_go_on_when_the_other_has_finished)
{
    each(lab, half_closed);
}

static void reset(const Kind *kind, int from, int to)
{
    LabEnd end;

    lab_say(from, to, "hello");
    lab_reset(from);
    end = lab_wait_end(to, LAB_MS(1000));
    LAB_CHECK(end == LAB_END_RESET, "%s: %s", kind->name, lab_end_text(end));
    close(to);
}

LAB_TEST(stream, a_reset_arrives_as_a_reset)
{
    each(lab, reset);
}

static void reset_of_half(const Kind *kind, int from, int to)
{
    LabEnd end;

    LAB_ASSERT_CALL(shutdown(to, SHUT_WR));
    LAB_ASSERT_EQ(lab_wait_end(from, LAB_MS(1000)), LAB_END_EOF);
    lab_say(from, to, "hello");
    lab_reset(from);
    end = lab_wait_end(to, LAB_MS(1000));
    LAB_CHECK(end == LAB_END_RESET, "%s: %s", kind->name, lab_end_text(end));
    close(to);
}

LAB_TEST(stream, a_reset_arrives_at_one_who_has_finished)
{
    each(lab, reset_of_half);
}
