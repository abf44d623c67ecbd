/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_resolvconf.c - following resolv.conf
 *
 * Does:    changes real files in a directory of its own and waits for the callback, never for time; that nothing was
 *          called back is known when the callback of a later change comes with the right number.
 */
#include "config.h"

#include "../../helper/resolvconf.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <criterion/criterion.h>
#include <glib/gstdio.h>

#define WATCHDOG_S 5

typedef struct Fixture {
    GMainContext *context;
    ResolvConf *conf;
    char *root;
    unsigned calls;
    char *servers; /* as last called back */
} Fixture;

static char *join(const NetAddr *servers, size_t count)
{
    GString *text = g_string_new(NULL);

    for (size_t i = 0; i < count; i++) {
        char buf[NETADDR_STRLEN];

        g_string_append_printf(text, "%s%s", i > 0 ? " " : "", netaddr_format(&servers[i], buf));
    }
    return g_string_free(text, FALSE);
}

static void changed(const NetAddr *servers, size_t count, void *user_data)
{
    Fixture *fix = user_data;

    fix->calls++;
    g_free(fix->servers);
    fix->servers = join(servers, count);
}

static char *at(const Fixture *fix, const char *name)
{
    return g_build_filename(fix->root, name, NULL);
}

static void put(const Fixture *fix, const char *name, const char *text)
{
    g_autofree char *path = at(fix, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    cr_assert_geq(fd, 0, "%s", path);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

static void put_by_rename(const Fixture *fix, const char *name, const char *text)
{
    g_autofree char *from = at(fix, "new~");
    g_autofree char *to = at(fix, name);

    put(fix, "new~", text);
    cr_assert_eq(rename(from, to), 0);
}

static void make_dir(const Fixture *fix, const char *name)
{
    g_autofree char *path = at(fix, name);

    cr_assert_eq(mkdir(path, 0755), 0, "%s", path);
}

/* @target as it is, or below the root if it begins with "@". Replaces what is there. */
static void make_link(const Fixture *fix, const char *target, const char *name)
{
    g_autofree char *full = target[0] == '@' ? at(fix, target + 1) : g_strdup(target);
    g_autofree char *temp = at(fix, "link~");
    g_autofree char *path = at(fix, name);

    cr_assert_eq(symlink(full, temp), 0);
    cr_assert_eq(rename(temp, path), 0);
}

static void del(const Fixture *fix, const char *name)
{
    g_autofree char *path = at(fix, name);

    cr_assert_eq(g_remove(path), 0, "%s", path);
}

static void begin(Fixture *fix)
{
    *fix = (Fixture){.context = g_main_context_new()};
    fix->root = g_dir_make_tmp("resolvconf-XXXXXX", NULL);
    cr_assert_not_null(fix->root);
}

static void follow(Fixture *fix, const char *name)
{
    g_autofree char *path = at(fix, name);

    fix->conf = resolvconf_new(path, fix->context, changed, fix, NULL);
    cr_assert_not_null(fix->conf);
}

static void expect_now(const Fixture *fix, const char *want)
{
    NetAddr servers[RESOLVCONF_SERVERS_MAX];
    g_autofree char *have = join(servers, resolvconf_servers(fix->conf, servers));

    cr_assert_str_eq(have, want);
}

static gboolean watchdog(gpointer user_data)
{
    *(bool *)user_data = true;
    return G_SOURCE_REMOVE;
}

/* Until the list is @want. */
static void await(Fixture *fix, const char *want)
{
    GSource *source = g_timeout_source_new_seconds(WATCHDOG_S);
    bool late = false;

    g_source_set_callback(source, watchdog, &late, NULL);
    g_source_attach(source, fix->context);
    while (!late && g_strcmp0(fix->servers, want) != 0) {
        (void)g_main_context_iteration(fix->context, TRUE);
    }
    g_source_destroy(source);
    g_source_unref(source);
    cr_assert_not(late, "waited for \"%s\", have \"%s\"", want, fix->servers);
    expect_now(fix, want);
}

static void drain(Fixture *fix)
{
    while (g_main_context_iteration(fix->context, FALSE)) {
    }
}

static void remove_tree(const char *path)
{
    GDir *dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
    const char *name;

    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *child = g_build_filename(path, name, NULL);

        remove_tree(child);
    }
    g_clear_pointer(&dir, g_dir_close);
    (void)g_remove(path);
}

static void end(Fixture *fix)
{
    g_clear_pointer(&fix->conf, resolvconf_free);
    g_main_context_unref(fix->context);
    remove_tree(fix->root);
    g_free(fix->root);
    g_free(fix->servers);
}

Test(resolvconf, new_reads_the_file_without_a_callback)
{
    Fixture fix;

    begin(&fix);
    put(&fix, "resolv.conf", "nameserver 192.0.2.1\n");
    follow(&fix, "resolv.conf");
    expect_now(&fix, "192.0.2.1");
    drain(&fix);
    cr_assert_eq(fix.calls, 0);
    end(&fix);
}

Test(resolvconf, file_rewritten_in_place_is_read_again)
{
    Fixture fix;

    begin(&fix);
    put(&fix, "resolv.conf", "nameserver 192.0.2.1\n");
    follow(&fix, "resolv.conf");
    put(&fix, "resolv.conf", "nameserver 192.0.2.2\n");
    await(&fix, "192.0.2.2");
    cr_assert_eq(fix.calls, 1);
    end(&fix);
}

Test(resolvconf, file_still_open_and_truncated_is_not_believed_to_be_empty)
{
    Fixture fix;
    g_autofree char *path = NULL;
    int fd;

    begin(&fix);
    put(&fix, "resolv.conf", "nameserver 192.0.2.1\n");
    follow(&fix, "resolv.conf");
    path = at(&fix, "resolv.conf");
    fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    drain(&fix);
    cr_assert_eq(fix.calls, 0);
    cr_assert_eq(write(fd, "nameserver 192.0.2.3\n", 21), 21);
    await(&fix, "192.0.2.3");
    cr_assert_eq(ftruncate(fd, 0), 0);
    (void)close(fd);
    await(&fix, "");
    end(&fix);
}

Test(resolvconf, file_renamed_over_is_read_again_and_again)
{
    Fixture fix;

    begin(&fix);
    put(&fix, "resolv.conf", "nameserver 192.0.2.1\n");
    follow(&fix, "resolv.conf");
    put_by_rename(&fix, "resolv.conf", "nameserver 192.0.2.2\n");
    await(&fix, "192.0.2.2");
    put_by_rename(&fix, "resolv.conf", "nameserver 192.0.2.3\n");
    await(&fix, "192.0.2.3");
    put(&fix, "resolv.conf", "nameserver 192.0.2.4\n");
    await(&fix, "192.0.2.4");
    end(&fix);
}

Test(resolvconf, file_removed_and_made_again_is_followed)
{
    Fixture fix;

    begin(&fix);
    put(&fix, "resolv.conf", "nameserver 192.0.2.1\n");
    follow(&fix, "resolv.conf");
    del(&fix, "resolv.conf");
    await(&fix, "");
    put(&fix, "resolv.conf", "nameserver 192.0.2.2\n");
    await(&fix, "192.0.2.2");
    end(&fix);
}

Test(resolvconf, list_that_stays_the_same_is_not_called_back)
{
    Fixture fix;

    begin(&fix);
    put(&fix, "resolv.conf", "nameserver 192.0.2.1\n");
    follow(&fix, "resolv.conf");
    put_by_rename(&fix, "resolv.conf", "# new\nnameserver 192.0.2.1\noptions rotate\n");
    put(&fix, "neighbour", "nameserver 192.0.2.9\n");
    drain(&fix);
    cr_assert_eq(fix.calls, 0);
    put_by_rename(&fix, "resolv.conf", "nameserver 192.0.2.2\n");
    await(&fix, "192.0.2.2");
    cr_assert_eq(fix.calls, 1);
    end(&fix);
}

Test(resolvconf, many_changes_in_one_batch_are_called_back_once)
{
    Fixture fix;

    begin(&fix);
    put(&fix, "resolv.conf", "nameserver 192.0.2.1\n");
    follow(&fix, "resolv.conf");
    for (int i = 2; i < 200; i++) {
        g_autofree char *text = g_strdup_printf("nameserver 192.0.2.%d\n", i);

        put_by_rename(&fix, "resolv.conf", text);
    }
    await(&fix, "192.0.2.199");
    cr_assert_eq(fix.calls, 1);
    end(&fix);
}

Test(resolvconf, target_of_a_symlink_is_followed)
{
    Fixture fix;

    begin(&fix);
    make_dir(&fix, "etc");
    make_dir(&fix, "run");
    put(&fix, "run/stub.conf", "nameserver 192.0.2.1\n");
    make_link(&fix, "../run/stub.conf", "etc/resolv.conf");
    follow(&fix, "etc/resolv.conf");
    expect_now(&fix, "192.0.2.1");
    put(&fix, "run/stub.conf", "nameserver 192.0.2.2\n");
    await(&fix, "192.0.2.2");
    put_by_rename(&fix, "run/stub.conf", "nameserver 192.0.2.3\n");
    await(&fix, "192.0.2.3");
    end(&fix);
}

Test(resolvconf, retargeted_symlink_is_followed_and_the_old_target_forgotten)
{
    Fixture fix;

    begin(&fix);
    put(&fix, "one", "nameserver 192.0.2.1\n");
    put(&fix, "two", "nameserver 192.0.2.2\n");
    make_link(&fix, "@one", "resolv.conf");
    follow(&fix, "resolv.conf");
    expect_now(&fix, "192.0.2.1");
    make_link(&fix, "two", "resolv.conf");
    await(&fix, "192.0.2.2");
    put(&fix, "one", "nameserver 192.0.2.9\n");
    put(&fix, "two", "nameserver 192.0.2.3\n");
    await(&fix, "192.0.2.3");
    cr_assert_eq(fix.calls, 2);
    end(&fix);
}

Test(resolvconf, retargeted_symlink_in_the_middle_of_the_chain_is_followed)
{
    Fixture fix;

    begin(&fix);
    make_dir(&fix, "a");
    make_dir(&fix, "b");
    make_dir(&fix, "c");
    put(&fix, "c/one", "nameserver 192.0.2.1\n");
    put(&fix, "c/two", "nameserver 192.0.2.2\n");
    make_link(&fix, "../b/middle", "a/resolv.conf");
    make_link(&fix, "./../c//one", "b/middle");
    follow(&fix, "a/resolv.conf");
    expect_now(&fix, "192.0.2.1");
    make_link(&fix, "@c/two", "b/middle");
    await(&fix, "192.0.2.2");
    end(&fix);
}

Test(resolvconf, retargeted_directory_symlink_is_followed)
{
    Fixture fix;

    begin(&fix);
    make_dir(&fix, "one");
    make_dir(&fix, "two");
    put(&fix, "one/resolv.conf", "nameserver 192.0.2.1\n");
    put(&fix, "two/resolv.conf", "nameserver 192.0.2.2\n");
    make_link(&fix, "one", "etc");
    follow(&fix, "etc/resolv.conf");
    expect_now(&fix, "192.0.2.1");
    make_link(&fix, "two", "etc");
    await(&fix, "192.0.2.2");
    put(&fix, "two/resolv.conf", "nameserver 192.0.2.3\n");
    await(&fix, "192.0.2.3");
    end(&fix);
}

Test(resolvconf, dangling_symlink_is_waited_for)
{
    Fixture fix;

    begin(&fix);
    make_link(&fix, "@run/systemd/stub.conf", "resolv.conf");
    follow(&fix, "resolv.conf");
    expect_now(&fix, "");
    make_dir(&fix, "run");
    drain(&fix);
    make_dir(&fix, "run/systemd");
    drain(&fix);
    put(&fix, "run/systemd/stub.conf", "nameserver 192.0.2.1\n");
    await(&fix, "192.0.2.1");
    end(&fix);
}

Test(resolvconf, missing_directories_made_in_one_go_are_found)
{
    Fixture fix;

    begin(&fix);
    follow(&fix, "etc/net/resolv.conf");
    expect_now(&fix, "");
    make_dir(&fix, "etc");
    make_dir(&fix, "etc/net");
    put(&fix, "etc/net/resolv.conf", "nameserver 192.0.2.1\n");
    await(&fix, "192.0.2.1");
    put(&fix, "etc/net/resolv.conf", "nameserver 192.0.2.2\n");
    await(&fix, "192.0.2.2");
    end(&fix);
}

Test(resolvconf, directory_removed_and_made_again_is_followed_even_while_somebody_holds_it)
{
    Fixture fix;
    g_autofree char *dir = NULL;
    int held;

    begin(&fix);
    make_dir(&fix, "etc");
    put(&fix, "etc/resolv.conf", "nameserver 192.0.2.1\n");
    follow(&fix, "etc/resolv.conf");
    dir = at(&fix, "etc");
    held = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    del(&fix, "etc/resolv.conf");
    await(&fix, "");
    del(&fix, "etc");
    drain(&fix);
    make_dir(&fix, "etc");
    drain(&fix);
    put(&fix, "etc/resolv.conf", "nameserver 192.0.2.2\n");
    await(&fix, "192.0.2.2");
    (void)close(held);
    end(&fix);
}

Test(resolvconf, renamed_directory_further_up_is_noticed)
{
    Fixture fix;
    g_autofree char *from = NULL;
    g_autofree char *to = NULL;

    begin(&fix);
    make_dir(&fix, "a");
    make_dir(&fix, "a/b");
    put(&fix, "a/b/resolv.conf", "nameserver 192.0.2.1\n");
    follow(&fix, "a/b/resolv.conf");
    from = at(&fix, "a");
    to = at(&fix, "elsewhere");
    cr_assert_eq(rename(from, to), 0);
    await(&fix, "");
    cr_assert_eq(rename(to, from), 0);
    await(&fix, "192.0.2.1");
    end(&fix);
}

Test(resolvconf, hard_link_written_by_its_other_name_is_read_again)
{
    Fixture fix;
    g_autofree char *from = NULL;
    g_autofree char *to = NULL;

    begin(&fix);
    make_dir(&fix, "etc");
    put(&fix, "other", "nameserver 192.0.2.1\n");
    from = at(&fix, "other");
    to = at(&fix, "etc/resolv.conf");
    cr_assert_eq(link(from, to), 0);
    follow(&fix, "etc/resolv.conf");
    put(&fix, "other", "nameserver 192.0.2.2\n");
    await(&fix, "192.0.2.2");
    end(&fix);
}

Test(resolvconf, symlink_loop_has_no_servers_and_can_be_mended)
{
    Fixture fix;

    begin(&fix);
    make_link(&fix, "there", "here");
    make_link(&fix, "here", "there");
    follow(&fix, "here");
    expect_now(&fix, "");
    put_by_rename(&fix, "there", "nameserver 192.0.2.1\n");
    await(&fix, "192.0.2.1");
    end(&fix);
}

Test(resolvconf, fifo_does_not_hang_and_its_replacement_is_read)
{
    Fixture fix;
    g_autofree char *path = NULL;

    begin(&fix);
    path = at(&fix, "resolv.conf");
    cr_assert_eq(mkfifo(path, 0644), 0);
    follow(&fix, "resolv.conf");
    expect_now(&fix, "");
    put_by_rename(&fix, "resolv.conf", "nameserver 192.0.2.1\n");
    await(&fix, "192.0.2.1");
    end(&fix);
}

Test(resolvconf, directories_and_devices_have_no_servers)
{
    Fixture fix;

    begin(&fix);
    make_dir(&fix, "resolv.conf");
    make_link(&fix, "/dev/zero", "zero");
    follow(&fix, "resolv.conf");
    expect_now(&fix, "");
    g_clear_pointer(&fix.conf, resolvconf_free);
    follow(&fix, "zero");
    expect_now(&fix, "");
    end(&fix);
}

Test(resolvconf, long_file_is_cut_at_the_last_whole_line)
{
    Fixture fix;
    GString *text = g_string_new("nameserver 192.0.2.1\n");

    begin(&fix);
    while (text->len < RESOLVCONF_SIZE_MAX - 21) {
        g_string_append_c(text, text->len == RESOLVCONF_SIZE_MAX - 22 ? '\n' : '#');
    }
    /* The cut falls between the two last digits. */
    g_string_append(text, "nameserver 192.0.2.255\n");
    put(&fix, "resolv.conf", text->str);
    follow(&fix, "resolv.conf");
    expect_now(&fix, "192.0.2.1");
    (void)g_string_free(text, TRUE);
    end(&fix);
}

Test(resolvconf, idle_directory_of_a_link_does_not_wake_for_its_neighbours)
{
    Fixture fix;

    begin(&fix);
    make_dir(&fix, "busy");
    make_dir(&fix, "busy/etc");
    put(&fix, "busy/etc/resolv.conf", "nameserver 192.0.2.1\n");
    follow(&fix, "busy/etc/resolv.conf");
    /* A time without the file, in which the directories above are watched, leaves nothing behind. */
    del(&fix, "busy/etc/resolv.conf");
    await(&fix, "");
    put(&fix, "busy/etc/resolv.conf", "nameserver 192.0.2.2\n");
    await(&fix, "192.0.2.2");
    drain(&fix);
    put(&fix, "busy/neighbour", "x");
    put(&fix, "neighbour", "x");
    cr_assert_not(g_main_context_pending(fix.context));
    end(&fix);
}
