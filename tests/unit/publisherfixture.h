/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_PUBLISHERFIXTURE_H
#define SALLYPORT_TESTS_PUBLISHERFIXTURE_H

/* Shared by test_publisher.c and test_publisher_records.c: a publisher, and the datapath played at the other end. */

#include <stdarg.h>
#include <sys/socket.h>

#include "../../helper/bindport.h"
#include "../../helper/message.h"
#include "../../helper/portmap.h"
#include "../../helper/publisher.h"
#include "loopfixture.h"
#include "reportfixture.h"

typedef struct Handed {
    MessageListen listen;
    size_t count;
    uint16_t ports[MESSAGE_FDS_MAX]; /* what the sockets are bound to */
} Handed;

typedef struct Fixture {
    GuestSettings guest; /* no networks of its own: nothing depends on them here */
    GPtrArray *maps;
    Publisher *publisher;
    int ours;
    int datapath;
    Reader reader;
    unsigned done;
    GArray *handed;      /* Handed */
    unsigned unanswered; /* messages seen without an answer */
    unsigned most_unanswered;
    GArray *keep; /* int: sockets received, open until the end */
} Fixture;

static inline void fixture_on_done(void *user_data)
{
    Fixture *fix = user_data;

    fix->done++;
}

/* @specs: port maps with blanks between them. */
static inline void fixture_begin(Fixture *fix, const char *specs)
{
    g_auto(GStrv) words = g_strsplit(specs, " ", -1);
    int pair[2];

    *fix = (Fixture){.maps = g_ptr_array_new_with_free_func((GDestroyNotify)portmap_free)};
    for (char **word = words; *word != NULL; word++) {
        PortMap *map = portmap_parse(*word, NULL);

        cr_assert_not_null(map, "%s", *word);
        g_ptr_array_add(fix->maps, map);
    }
    cr_assert_eq(message_pair(pair), 0);
    fix->ours = pair[0];
    fix->datapath = pair[1];
    fix->handed = g_array_new(FALSE, TRUE, sizeof(Handed));
    fix->keep = g_array_new(FALSE, FALSE, sizeof(int));
    reader_begin(&fix->reader, LOG_LEVEL_INFO);
    fix->publisher =
        publisher_new(fix->maps, &fix->guest, fix->ours, fix->reader.report, fixture_on_done, fix);
}

static inline void fixture_let_go(Fixture *fix)
{
    for (guint i = 0; i < fix->keep->len; i++) {
        (void)close(g_array_index(fix->keep, int, i));
    }
    g_array_set_size(fix->keep, 0);
}

static inline void fixture_end(Fixture *fix)
{
    publisher_free(fix->publisher);
    fixture_let_go(fix);
    g_array_unref(fix->keep);
    g_array_unref(fix->handed);
    reader_end(&fix->reader);
    (void)close(fix->ours);
    (void)close(fix->datapath);
    g_ptr_array_unref(fix->maps);
}

/* Takes one message; false if there is none. */
static inline bool fixture_take(Fixture *fix)
{
    Message message;
    int fds[MESSAGE_FDS_MAX];
    Handed handed = {0};

    if (message_recv(fix->datapath, &message, fds, &handed.count) != 1) {
        return false;
    }
    cr_assert_eq(message.type, MESSAGE_LISTEN);
    handed.listen = message.listen;
    for (size_t i = 0; i < handed.count; i++) {
        handed.ports[i] = bindport_port(fds[i]);
        g_array_append_val(fix->keep, fds[i]);
    }
    g_array_append_val(fix->handed, handed);
    fix->unanswered++;
    fix->most_unanswered = MAX(fix->most_unanswered, fix->unanswered);
    return true;
}

static inline const Handed *fixture_handed(const Fixture *fix, guint i)
{
    cr_assert_gt(fix->handed->len, i, "no batch %u", i);
    return &g_array_index(fix->handed, Handed, i);
}

static inline void fixture_answer(Fixture *fix, uint32_t publication, int errnum)
{
    MessageListening answer = {
        .type = MESSAGE_LISTENING, .publication = publication, .errnum = errnum};

    cr_assert_gt(fix->unanswered, 0);
    fix->unanswered--;
    publisher_answer(fix->publisher, &answer);
}

/* Plays a datapath that takes all there is before it answers, until the publisher is done. */
static inline void fixture_run(Fixture *fix)
{
    publisher_start(fix->publisher);
    while (fixture_take(fix) || fix->unanswered > 0) {
        while (fixture_take(fix)) {
        }
        fixture_answer(fix, fixture_handed(fix, fix->handed->len - 1)->listen.publication, 0);
    }
    cr_assert_eq(fix->done, 1, "done %u times", fix->done);
    cr_assert(publisher_finished(fix->publisher));
}

/* All ports handed over for publication @id and @protocol, ascending as handed: "8000,8001". g_free(). */
static inline char *fixture_ports(const Fixture *fix, uint32_t id, PortMapProtocol protocol)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < fix->handed->len; i++) {
        const Handed *handed = fixture_handed(fix, i);

        for (size_t n = 0; n < handed->count; n++) {
            if (handed->listen.publication == id && handed->listen.protocol == (uint32_t)protocol) {
                g_string_append_printf(text, "%s%u", text->len > 0 ? "," : "", handed->ports[n]);
            }
        }
    }
    return g_string_free(text, FALSE);
}

/* An address of lo that no other test uses at the same time, so that ports never clash. */
static inline const char *own_address(void)
{
    static char text[NETADDR_STRLEN];
    unsigned pid = (unsigned)getpid();

    (void)g_snprintf(text, sizeof(text), "127.%u.%u.%u", 64 + (pid >> 16 & 63), pid >> 8 & 255,
                     pid & 255);
    return text;
}

/* As g_strdup_printf(), with own_address() for each 127.0.0.1. */
static inline char *spec_of(const char *format, ...) G_GNUC_PRINTF(1, 2);

static inline char *spec_of(const char *format, ...)
{
    GString *text = g_string_new(NULL);
    va_list args;

    va_start(args, format);
    g_string_vprintf(text, format, args);
    va_end(args);
    (void)g_string_replace(text, "127.0.0.1", own_address(), 0);
    return g_string_free(text, FALSE);
}

/* A listener at own_address(): @port is taken then. -1 if it is already. */
static inline int occupy(uint16_t port)
{
    struct sockaddr_storage sa;
    socklen_t len;
    NetAddr addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    cr_assert(netaddr_parse(own_address(), &addr));
    len = netaddr_to_sockaddr(&addr, port, &sa);
    if (bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, 1) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* The first of @count ports in a row that are free at own_address(): somebody may listen on all addresses. */
static inline uint16_t free_ports(unsigned count)
{
    for (unsigned first = 20011; first < 60000; first += 97) {
        unsigned got = 0;

        while (got < count) {
            int fd = occupy((uint16_t)(first + got));

            if (fd < 0) {
                break;
            }
            (void)close(fd);
            got++;
        }
        if (got == count) {
            return (uint16_t)first;
        }
    }
    cr_skip_test("no %u free ports in a row", count);
    return 0;
}

#endif
