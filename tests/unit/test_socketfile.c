/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_socketfile.c - the file of a control socket: where it may be, what it replaces, when it goes
 */
#include "config.h"

#include "control/socketfile.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <glib/gstdio.h>

#include "fault.h"
#include "loopfixture.h"

typedef struct Fixture {
    char *dir;
    char *path;
} Fixture;

static void begin(Fixture *fix)
{
    fix->dir = g_dir_make_tmp("socketfile-XXXXXX", NULL);
    cr_assert_not_null(fix->dir);
    fix->path = g_build_filename(fix->dir, "control", NULL);
}

static void end(Fixture *fix)
{
    (void)g_chmod(fix->dir, 0700);
    (void)g_unlink(fix->path);
    (void)g_rmdir(fix->dir);
    g_free(fix->path);
    g_free(fix->dir);
}

static SocketFile *made(const char *path)
{
    g_autoptr(GError) error = NULL;
    SocketFile *file = socketfile_new(path, "control", &error);

    cr_assert_not_null(file, "%s", error->message);
    return file;
}

static void expect_refused(const char *path, int errnum)
{
    g_autoptr(GError) error = NULL;
    size_t before = count_fds();
    SocketFile *file = socketfile_new(path, "control", &error);

    cr_assert_null(file, "%s", path);
    cr_expect_eq(fault_kind(error), FAULT_OPTION);
    cr_expect_eq(fault_errno(error), errnum, "%s", error->message);
    cr_expect(g_str_has_prefix(error->message, "--control "), "%s", error->message);
    cr_expect_eq(count_fds(), before);
}

/* A socket that listens there; the caller's. */
static int listening(const char *path, int type)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    (void)g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    cr_assert_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert(type == SOCK_DGRAM || listen(fd, 0) == 0);
    return fd;
}

static int answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failed;

    (void)g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    failed = connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
    (void)close(fd);
    return failed;
}

Test(socketfile, is_for_its_owner_alone_whatever_the_umask_and_goes_with_it)
{
    Fixture fix;
    SocketFile *file;
    struct stat st;
    mode_t mask = umask(0);

    begin(&fix);
    file = made(fix.path);
    (void)umask(mask);
    cr_assert_eq(lstat(fix.path, &st), 0);
    cr_expect(S_ISSOCK(st.st_mode));
    cr_expect_eq(st.st_mode & 07777, 0600, "%o", st.st_mode);
    cr_expect_eq(answers(fix.path), 0);
    socketfile_free(file);
    cr_expect_neq(lstat(fix.path, &st), 0);
    end(&fix);
}

Test(socketfile, dead_one_is_replaced_and_a_live_one_is_left_alone)
{
    Fixture fix;
    SocketFile *file;

    begin(&fix);
    (void)close(listening(fix.path, SOCK_STREAM));
    cr_assert_eq(answers(fix.path), ECONNREFUSED);
    file = made(fix.path);
    expect_refused(fix.path, EADDRINUSE);
    cr_expect_eq(answers(fix.path), 0);
    socketfile_free(file);
    end(&fix);
}

Test(socketfile, live_one_of_another_kind_or_with_a_full_backlog_is_left_alone)
{
    static const int types[] = {SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM};

    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        Fixture fix;
        int fd;
        int waiting[8];
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        begin(&fix);
        fd = listening(fix.path, types[i]);
        (void)g_strlcpy(address.sun_path, fix.path, sizeof(address.sun_path));
        for (size_t n = 0; n < G_N_ELEMENTS(waiting); n++) {
            waiting[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
            (void)connect(waiting[n], (const struct sockaddr *)&address, sizeof(address));
        }
        expect_refused(fix.path, EADDRINUSE);
        cr_expect_eq(access(fix.path, F_OK), 0);
        for (size_t n = 0; n < G_N_ELEMENTS(waiting); n++) {
            (void)close(waiting[n]);
        }
        (void)close(fd);
        end(&fix);
    }
}

Test(socketfile, what_is_no_socket_is_never_removed)
{
    Fixture fix;
    struct stat st;
    g_autofree char *target = NULL;

    begin(&fix);
    target = g_build_filename(fix.dir, "target", NULL);
    cr_assert(g_file_set_contents(fix.path, "precious", -1, NULL));
    expect_refused(fix.path, EEXIST);
    cr_assert_eq(lstat(fix.path, &st), 0);
    cr_expect_eq(st.st_size, 8);
    (void)g_unlink(fix.path);

    cr_assert_eq(mkfifo(fix.path, 0600), 0);
    expect_refused(fix.path, EEXIST);
    cr_assert_eq(lstat(fix.path, &st), 0);
    (void)g_unlink(fix.path);

    cr_assert_eq(g_mkdir(fix.path, 0700), 0);
    expect_refused(fix.path, EEXIST);
    cr_expect_eq(g_rmdir(fix.path), 0);

    (void)close(listening(target, SOCK_STREAM));
    cr_assert_eq(symlink(target, fix.path), 0);
    expect_refused(fix.path, EEXIST);
    cr_expect_eq(lstat(target, &st), 0, "what a link leads to is not even looked at");
    cr_assert_eq(g_unlink(target), 0);
    expect_refused(fix.path, EEXIST);
    end(&fix);
}

Test(socketfile, path_that_does_not_fit_is_refused)
{
    g_autofree char *name = g_strnfill(108 - strlen("/tmp/"), 'x');
    g_autofree char *path = g_strconcat("/tmp/", name, NULL);

    cr_assert_eq(strlen(path), 108);
    expect_refused(path, ENAMETOOLONG);
    expect_refused("", EINVAL);
    expect_refused("/tmp/", EINVAL);
    expect_refused("/tmp/there-is-no-such-directory-here/x", ENOENT);
    expect_refused("/dev/null/x", ENOTDIR);
}

Test(socketfile, path_of_107_bytes_fits)
{
    Fixture fix;
    g_autofree char *rest = NULL;

    begin(&fix);
    rest = g_strnfill(107 - strlen(fix.dir) - 1, 'x');
    g_free(fix.path);
    fix.path = g_build_filename(fix.dir, rest, NULL);
    cr_assert_eq(strlen(fix.path), 107);
    socketfile_free(made(fix.path));
    end(&fix);
}

Test(socketfile, directory_where_others_can_replace_it_is_refused)
{
    Fixture fix;

    begin(&fix);
    cr_assert_eq(g_chmod(fix.dir, 0777), 0);
    expect_refused(fix.path, EPERM);
    cr_assert_eq(g_chmod(fix.dir, 01777), 0);
    socketfile_free(made(fix.path));
    if (geteuid() == 0) {
        cr_assert_eq(g_chmod(fix.dir, 0700), 0);
        cr_assert_eq(chown(fix.dir, 12345, 12345), 0);
        expect_refused(fix.path, EPERM);
    }
    end(&fix);
}

Test(socketfile, file_that_is_not_ours_any_more_stays)
{
    Fixture fix;
    SocketFile *file;
    struct stat st;
    int other;

    begin(&fix);
    file = made(fix.path);
    cr_assert_eq(g_unlink(fix.path), 0);
    other = listening(fix.path, SOCK_STREAM);
    socketfile_free(file);
    cr_expect_eq(lstat(fix.path, &st), 0);
    cr_expect_eq(answers(fix.path), 0);
    (void)close(other);
    end(&fix);
}
