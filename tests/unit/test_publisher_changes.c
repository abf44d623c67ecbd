/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_publisher_changes.c - publications that come and go while the helper runs
 *
 * Does:     asks for changes, plays the datapath, looks at sockets, answers and records.
 * Not here: the start (test_publisher.c).
 */
#include "config.h"

#include "publisher.h"

#include "fault.h"
#include "publisherfixture.h"

/* What somebody who asked was told. */
typedef struct Told {
    unsigned times;
    uint32_t id; /* 0: it failed */
    int errnum;
    char *message;
    bool removed;
} Told;

static void on_added(const Published *published, const GError *error, void *user_data)
{
    Told *told = user_data;

    cr_expect_eq(published == NULL, error != NULL);
    told->times++;
    told->id = published != NULL ? published->id : 0;
    told->errnum = error != NULL ? fault_errno(error) : 0;
    told->message = error != NULL ? g_strdup(error->message) : NULL;
}

static void on_removed(bool removed, void *user_data)
{
    Told *told = user_data;

    told->times++;
    told->removed = removed;
}

/* A helper without a -p that runs. */
static void begin_running(Fixture *fix, GMainContext *context)
{
    fixture_begin(fix, "");
    publisher_start(fix->publisher);
    cr_assert_eq(publisher_report(fix->publisher, true), 0);
    publisher_serve(fix->publisher, context);
}

static Told add(Fixture *fix, const char *spec)
{
    g_autoptr(PortMap) map = portmap_parse(spec, NULL);
    Told told = {0};

    cr_assert_not_null(map, "%s", spec);
    publisher_add(fix->publisher, map, PUBLISHED_BY_CONTROL, on_added, &told);
    while (fixture_take(fix)) {
        fixture_answer(fix, fixture_handed(fix, fix->handed->len - 1)->listen.publication, 0);
    }
    cr_assert_eq(told.times, 1, "%s", spec);
    return told;
}

/* The datapath's side of an end. */
static bool take_unlisten(Fixture *fix, MessageUnlisten *ret)
{
    Message message;
    int fds[MESSAGE_FDS_MAX];
    size_t count;

    if (message_recv(fix->datapath, &message, fds, &count) != 1) {
        return false;
    }
    cr_assert_eq(message.type, MESSAGE_UNLISTEN);
    *ret = message.unlisten;
    return true;
}

static void answer_unlisten(Fixture *fix, uint32_t id)
{
    publisher_unlistened(fix->publisher, &(MessageUnlistened){MESSAGE_UNLISTENED, id});
}

static void expect_record(Fixture *fix, guint line, const char *event, uint32_t id)
{
    json_t *record;

    (void)reader_read(&fix->reader);
    record = reader_record(&fix->reader, line);
    cr_expect_str_eq(record_text(record, "event"), event);
    cr_expect_eq(json_integer_value(json_object_get(record, "publication")), id);
    json_decref(record);
}

Test(publisher_changes, what_is_added_is_handed_over_told_and_recorded)
{
    uint16_t port = free_ports(1);
    g_autofree char *spec = spec_of("127.0.0.1:%u:80", port);
    Fixture fix;
    Told told;

    begin_running(&fix, NULL);
    told = add(&fix, spec);
    cr_expect_eq(told.id, 1);
    cr_expect_eq(fixture_handed(&fix, 0)->ports[0], port);
    expect_record(&fix, 0, "published", 1);
    cr_assert_not_null(publisher_next(fix.publisher, 0));
    cr_expect_str_eq(publisher_next(fix.publisher, 0)->map->text, spec);
    cr_expect_null(publisher_next(fix.publisher, 1));
    fixture_end(&fix);
}

Test(publisher_changes, port_in_use_is_told_by_its_errno_and_no_socket_stays)
{
    uint16_t port = free_ports(3);
    g_autofree char *spec = spec_of("127.0.0.1:%u-%u:80-82", port, port + 2);
    int taken = occupy((uint16_t)(port + 2));
    size_t before;
    Fixture fix;
    Told told;

    cr_assert_geq(taken, 0);
    begin_running(&fix, NULL);
    before = count_fds();
    told = add(&fix, spec);
    cr_expect_eq(told.id, 0);
    cr_expect_eq(told.errnum, EADDRINUSE);
    cr_expect(strstr(told.message, "Address already in use") != NULL, "%s", told.message);
    cr_expect_eq(count_fds(), before);
    cr_expect_eq(fix.handed->len, 0);
    cr_expect_null(publisher_next(fix.publisher, 0));
    cr_expect_not(publisher_failed(fix.publisher), "what fails later is no failed start");
    (void)reader_read(&fix.reader);
    cr_expect_eq(fix.reader.lines->len, 0, "no record of what never was");
    g_free(told.message);
    (void)close(taken);
    told = add(&fix, spec);
    cr_expect_eq(told.id, 1, "the number nobody has seen is used");
    fixture_end(&fix);
}

Test(publisher_changes, what_the_datapath_refuses_in_part_is_closed_before_it_is_told)
{
    enum { COUNT = 300 };
    uint16_t port = free_ports(COUNT);
    g_autofree char *spec = spec_of("127.0.0.1:%u-%u:80-%u", port, port + COUNT - 1, 79 + COUNT);
    g_autoptr(PortMap) map = portmap_parse(spec, NULL);
    MessageUnlisten unlisten;
    Fixture fix;
    Told told = {0};

    begin_running(&fix, NULL);
    publisher_add(fix.publisher, map, PUBLISHED_BY_CONTROL, on_added, &told);
    cr_assert(fixture_take(&fix) && fixture_take(&fix));
    fixture_answer(&fix, 1, 0);
    fixture_answer(&fix, 1, EMFILE);
    cr_expect_eq(told.times, 0, "half of it is still open");
    cr_assert(take_unlisten(&fix, &unlisten));
    cr_expect_eq(unlisten.publication, 1);
    cr_expect(unlisten.cut);
    answer_unlisten(&fix, 1);
    cr_expect_eq(told.times, 1);
    cr_expect_eq(told.errnum, EMFILE);
    cr_expect_null(publisher_next(fix.publisher, 0));
    (void)reader_read(&fix.reader);
    cr_expect_eq(fix.reader.lines->len, 0);
    g_free(told.message);
    fixture_end(&fix);
}

Test(publisher_changes, what_is_removed_is_closed_before_it_is_told)
{
    uint16_t port = free_ports(1);
    g_autofree char *spec = spec_of("127.0.0.1:%u:80", port);
    MessageUnlisten unlisten;
    Fixture fix;
    Told told = {0};

    begin_running(&fix, NULL);
    (void)add(&fix, spec);
    cr_expect_eq(publisher_remove(fix.publisher, 2, false, on_removed, &told), -ENOENT);
    cr_expect_eq(publisher_remove(fix.publisher, 0, false, on_removed, &told), -ENOENT);
    cr_expect_eq(publisher_remove(fix.publisher, 1, true, on_removed, &told), 0);
    cr_expect_eq(publisher_remove(fix.publisher, 1, true, on_removed, &told), -EBUSY);
    cr_assert(take_unlisten(&fix, &unlisten));
    cr_expect(unlisten.cut);
    cr_expect_eq(told.times, 0);
    cr_expect_not_null(publisher_next(fix.publisher, 0), "not gone yet");
    answer_unlisten(&fix, 1);
    cr_expect_eq(told.times, 1);
    cr_expect(told.removed);
    cr_expect_null(publisher_next(fix.publisher, 0));
    expect_record(&fix, 1, "unpublished", 1);
    fixture_end(&fix);
}

Test(publisher_changes, of_the_start_can_be_removed_too_and_numbers_are_not_used_again)
{
    uint16_t port = free_ports(2);
    g_autofree char *specs = spec_of("127.0.0.1:%u:80 127.0.0.1:%u:81", port, port + 1);
    g_autofree char *again = spec_of("127.0.0.1:%u:80", port);
    MessageUnlisten unlisten;
    Fixture fix;
    Told told = {0};

    fixture_begin(&fix, specs);
    fixture_run(&fix);
    cr_assert_eq(publisher_report(fix.publisher, false), 2);
    publisher_serve(fix.publisher, NULL);
    cr_expect_eq(publisher_remove(fix.publisher, 1, false, on_removed, &told), 0);
    cr_assert(take_unlisten(&fix, &unlisten));
    cr_expect_not(unlisten.cut);
    fixture_let_go(&fix);
    answer_unlisten(&fix, 1);
    cr_expect_eq(add(&fix, again).id, 3);
    fixture_end(&fix);
}

Test(publisher_changes, those_who_wait_are_told_of_the_end)
{
    uint16_t port = free_ports(2);
    g_autofree char *first = spec_of("127.0.0.1:%u:80", port);
    g_autofree char *second = spec_of("127.0.0.1:%u:80", port + 1);
    g_autoptr(PortMap) map = portmap_parse(second, NULL);
    Fixture fix;
    Told added = {0};
    Told removed = {.removed = true};

    begin_running(&fix, NULL);
    (void)add(&fix, first);
    publisher_add(fix.publisher, map, PUBLISHED_BY_CONTROL, on_added, &added);
    cr_expect_eq(publisher_remove(fix.publisher, 1, true, on_removed, &removed), 0);
    fixture_end(&fix);
    cr_expect_eq(added.times, 1);
    cr_expect_eq(added.errnum, ECANCELED);
    cr_expect_eq(removed.times, 1);
    cr_expect_not(removed.removed);
    g_free(added.message);
}

/* A datapath in an attacker's hands says what it likes. */
Test(publisher_changes, answers_nobody_waits_for_change_nothing)
{
    enum { COUNT = 2000 };
    uint16_t port = free_ports(COUNT);
    g_autofree char *spec = spec_of("127.0.0.1:%u-%u:1-%d", port, port + COUNT - 1, COUNT);
    g_autoptr(PortMap) map = portmap_parse(spec, NULL);
    Fixture fix;
    Told told = {0};

    begin_running(&fix, NULL);
    publisher_add(fix.publisher, map, PUBLISHED_BY_CONTROL, on_added, &told);
    for (unsigned i = 0; i < 20 && told.times == 0; i++) {
        publisher_answer(fix.publisher,
                         &(MessageListening){MESSAGE_LISTENING, i % 3, i == 7 ? EMFILE : 0});
        answer_unlisten(&fix, 1);
    }
    fix.unanswered = 0;
    fixture_end(&fix);
    cr_expect_eq(told.times, 1);
    g_free(told.message);
}

/* The connection takes no message while its queue is full of others. */
Test(publisher_changes, full_connection_is_tried_again)
{
    GMainContext *context = g_main_context_new();
    uint16_t port = free_ports(1);
    g_autofree char *spec = spec_of("127.0.0.1:%u:80", port);
    g_autoptr(PortMap) map = portmap_parse(spec, NULL);
    MessageServers other = {.type = MESSAGE_DNS_SERVERS};
    Message message;
    int fds[MESSAGE_FDS_MAX];
    size_t count;
    unsigned queued = 0;
    Fixture fix;
    Told told = {0};

    begin_running(&fix, context);
    while (message_send(fix.ours, &other, NULL, 0) == 0) {
        queued++;
    }
    cr_assert_gt(queued, 0);
    publisher_add(fix.publisher, map, PUBLISHED_BY_CONTROL, on_added, &told);
    cr_expect_eq(told.times, 0);
    while (queued-- > 0) {
        cr_assert_eq(message_recv(fix.datapath, &message, fds, &count), 1);
        cr_assert_eq(message.type, MESSAGE_DNS_SERVERS);
    }
    LOOP_AWAIT(context, fixture_take(&fix));
    fixture_answer(&fix, 1, 0);
    cr_expect_eq(told.id, 1);
    cr_expect_eq(loop_timeout_ms(context), -1, "nothing wakes us any more");
    fixture_end(&fix);
    g_main_context_unref(context);
}

Test(publisher_changes, thousands_leave_neither_fds_nor_publications)
{
    uint16_t port = free_ports(1);
    g_autofree char *spec = spec_of("127.0.0.1:%u:80", port);
    MessageUnlisten unlisten;
    size_t before;
    Fixture fix;

    begin_running(&fix, NULL);
    before = count_fds();
    for (unsigned i = 1; i <= 3000; i++) {
        Told told = add(&fix, spec);
        Told gone = {0};

        cr_assert_eq(told.id, i);
        cr_assert_eq(publisher_remove(fix.publisher, i, true, on_removed, &gone), 0);
        cr_assert(take_unlisten(&fix, &unlisten));
        fixture_let_go(&fix);
        answer_unlisten(&fix, i);
        cr_assert(gone.removed);
        (void)reader_read(&fix.reader);
    }
    cr_expect_eq(count_fds(), before);
    cr_expect_null(publisher_next(fix.publisher, 0));
    fixture_end(&fix);
}
