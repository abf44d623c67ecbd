/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * resolvconf.c - the host's name servers, followed as resolv.conf changes
 *
 * Does:     reads the nameserver lines, watches everything the path leads over, calls back when the list is another.
 * Runs in:  the supervisor, on the loop thread.
 * Trusts:   the host's administrator for the servers, nobody for the file: it may be a FIFO, endless, or gone.
 * Owns:     the inotify fd and its watches. Borrows the context.
 * Limits:   RESOLVCONF_SERVERS_MAX servers, RESOLVCONF_SIZE_MAX bytes, LINKS_MAX symbolic links.
 * Theory:   the path is walked by hand from "/". Directories that are passed report only their own removal or renaming,
 *           so that a busy one (/run, /tmp) does not wake us; the directories in which a link, the file or something
 *           missing was looked up report changes of that name; the file itself reports writes. As long as there is
 *           no file, every directory on the way reports the name looked up in it. A watch is always set before
 *           what it watches is looked at, and after each batch of events the walk begins anew.
 * Not here: mounts over a part of the path: the kernel does not report them.
 */
#include "config.h"

#include "resolvconf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib-unix.h>

#include "fault.h"

#define LINKS_MAX 40
#define RETRY_MS  500
/* Ways on a path that changes under our feet; each change is an event, so that giving up loses nothing. */
#define STEPS_MAX         1024
#define READS_PER_WAKEUP  64
#define EVENTS_BUFFER_LEN 4096

#define SELF_EVENTS (IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define NAME_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB)
#define FILE_EVENTS (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

/* One inotify watch. @mask: what the last walk wants to know, @kernel_mask: what the kernel tells. @names: what was looked
 * up in this directory; NULL: only itself is of interest. */
typedef struct Watch {
    unsigned walk;
    uint32_t mask;
    uint32_t kernel_mask;
    char *path;
    GHashTable *names;
} Watch;

struct ResolvConf {
    char *path;
    GSource *source;
    int fd;
    GMainContext *context;
    GSource *retry;      /* NULL: none wanted */
    GHashTable *watches; /* watch descriptor -> Watch */
    unsigned walk;
    bool warned;
    ResolvConfFunc changed;
    void *user_data;
    size_t count;
    NetAddr servers[RESOLVCONF_SERVERS_MAX];
};

/* Where a walk stands. @dir holds no symbolic link; @rest are the components to come. */
typedef struct Walk {
    GString *dir;
    GQueue rest;
    int links;
    bool wary;
} Walk;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool holds(const NetAddr *servers, size_t count, const NetAddr *addr)
{
    for (size_t i = 0; i < count; i++) {
        if (netaddr_equal(&servers[i], addr) && servers[i].scope_id == addr->scope_id) {
            return true;
        }
    }
    return false;
}

/* Behind "nameserver": blanks, the address, then nothing or a blank and anything. */
static bool parse_server(const char *at, const char *end, NetAddr *ret)
{
    char text[NETADDR_STRLEN];
    size_t len = 0;
    NetAddr addr;

    while (at < end && is_blank(*at)) {
        at++;
    }
    while (at < end && !is_blank(*at)) {
        if (*at == '\0' || len == sizeof text - 1) {
            return false;
        }
        text[len++] = *at++;
    }
    text[len] = '\0';
    if (!netaddr_parse_scoped(text, &addr) || netaddr_is_multicast(&addr)) {
        return false;
    }
    *ret = netaddr_unmap(&addr);
    return true;
}

/* The keyword begins its line (resolv.conf(5)); that leaves out comments without looking for them. */
static bool is_server_line(const char *line, const char *end)
{
    static const char keyword[] = "nameserver";
    size_t len = sizeof keyword - 1;

    return (size_t)(end - line) > len && memcmp(line, keyword, len) == 0 && is_blank(line[len]);
}

size_t resolvconf_parse(const char *text, size_t len, NetAddr ret[RESOLVCONF_SERVERS_MAX],
                        size_t *ret_ignored)
{
    const char *at = text;
    const char *text_end = len > 0 ? text + len : text; /* an empty text may be NULL */
    size_t count = 0;
    size_t ignored = 0;

    while (at < text_end) {
        const char *newline = memchr(at, '\n', (size_t)(text_end - at));
        const char *next = newline != NULL ? newline + 1 : text_end;
        const char *end = newline != NULL ? newline : text_end;
        NetAddr addr;

        if (end > at && end[-1] == '\r') {
            end--;
        }
        if (is_server_line(at, end)) {
            if (!parse_server(at + strlen("nameserver"), end, &addr)) {
                ignored++;
            } else if (holds(ret, count, &addr)) {
                ignored++;
            } else if (count == RESOLVCONF_SERVERS_MAX) {
                ignored++;
            } else {
                ret[count++] = addr;
            }
        }
        at = next;
    }
    if (ret_ignored != NULL) {
        *ret_ignored = ignored;
    }
    return count;
}

/* What has nothing to do with the file, and passes. */
static bool is_passing(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOMEM || errnum == EINTR ||
           errnum == EIO;
}

/* A file that cannot be read has no servers; false: who knows, for the reason lies elsewhere. */
static bool read_servers(const char *path, NetAddr ret[RESOLVCONF_SERVERS_MAX], size_t *ret_count)
{
    g_autofree char *text = NULL;
    size_t len = 0;
    bool known = true;
    struct stat st;
    /* O_NONBLOCK: opening a FIFO must not wait for a writer. */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

    *ret_count = 0;
    if (fd < 0) {
        return !is_passing(errno);
    }
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        text = g_malloc(RESOLVCONF_SIZE_MAX);
        while (len < RESOLVCONF_SIZE_MAX) {
            ssize_t got = read(fd, text + len, RESOLVCONF_SIZE_MAX - len);

            if (got < 0 && errno == EINTR) {
                continue;
            }
            if (got <= 0) {
                known = got == 0 || !is_passing(errno);
                break;
            }
            len += (size_t)got;
        }
        /* Half an address may be another address. */
        if (len == RESOLVCONF_SIZE_MAX) {
            while (len > 0 && text[len - 1] != '\n') {
                len--;
            }
        }
        *ret_count = resolvconf_parse(text, len, ret, NULL);
    }
    (void)close(fd);
    return known;
}

static void watch_free(gpointer data)
{
    Watch *watch = data;

    g_clear_pointer(&watch->names, g_hash_table_unref);
    g_free(watch->path);
    g_free(watch);
}

/* Without the watch the rest still works: go on, and say once what is lost. */
static void warn_once(ResolvConf *conf, const char *path, int error)
{
    if (!conf->warned && (error == ENOSPC || error == ENOMEM)) {
        conf->warned = true;
        g_warning("inotify_add_watch %s: %s (fs.inotify.max_user_watches), changes may go unseen",
                  path, g_strerror(error));
    }
}

/* Adds @mask (and @name, optional) to what this walk wants to know of @path. False: @path is not there as such. */
static bool watch_path(ResolvConf *conf, const char *path, uint32_t mask, const char *name)
{
    int wd = inotify_add_watch(conf->fd, path, mask | IN_DONT_FOLLOW | IN_MASK_ADD);
    Watch *watch;

    if (wd < 0) {
        int saved = errno;

        warn_once(conf, path, saved);
        return saved != ENOENT && saved != ENOTDIR;
    }
    watch = g_hash_table_lookup(conf->watches, GINT_TO_POINTER(wd));
    if (watch == NULL) {
        watch = g_new0(Watch, 1);
        g_hash_table_insert(conf->watches, GINT_TO_POINTER(wd), watch);
    }
    if (watch->walk != conf->walk) {
        watch->walk = conf->walk;
        watch->mask = 0;
        g_clear_pointer(&watch->names, g_hash_table_unref);
        g_free(watch->path);
        watch->path = g_strdup(path);
    }
    watch->mask |= mask;
    watch->kernel_mask |= mask;
    if (name != NULL) {
        if (watch->names == NULL) {
            watch->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        }
        g_hash_table_add(watch->names, g_strdup(name));
    }
    return true;
}

/* Components of @path in front of what is still to be walked. */
static void walk_prepend(Walk *walk, const char *path)
{
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);

    if (path[0] == '/') {
        g_string_assign(walk->dir, "/");
    }
    for (guint i = g_strv_length(parts); i > 0; i--) {
        const char *part = parts[i - 1];

        if (part[0] != '\0' && strcmp(part, ".") != 0) {
            g_queue_push_head(&walk->rest, g_strdup(part));
        }
    }
}

static char *walk_child(const Walk *walk, const char *name)
{
    return g_build_filename(walk->dir->str, name, NULL);
}

/* dir holds no symbolic link, so that ".." is what the text says. */
static void walk_up(Walk *walk)
{
    g_autofree char *parent = g_path_get_dirname(walk->dir->str);

    g_string_assign(walk->dir, parent);
}

typedef enum StepResult {
    STEP_ON,
    STEP_FOUND,
    STEP_LOST,
} StepResult;

/* @st: what @child is, seen after the watch on its directory was set. */
static StepResult walk_enter(ResolvConf *conf, Walk *walk, const char *child, const struct stat *st)
{
    bool last = g_queue_is_empty(&walk->rest);

    if (S_ISLNK(st->st_mode)) {
        char target[PATH_MAX];
        ssize_t len = readlink(child, target, sizeof target - 1);

        if (len <= 0 || ++walk->links > LINKS_MAX) {
            return STEP_LOST;
        }
        target[len] = '\0';
        walk_prepend(walk, target);
        return STEP_ON;
    }
    if (S_ISDIR(st->st_mode)) {
        if (last || !watch_path(conf, child, SELF_EVENTS, NULL)) {
            return STEP_LOST;
        }
        g_string_assign(walk->dir, child);
        return STEP_ON;
    }
    if (!last || !S_ISREG(st->st_mode) || !watch_path(conf, child, FILE_EVENTS, NULL)) {
        return STEP_LOST;
    }
    return STEP_FOUND;
}

static StepResult walk_step(ResolvConf *conf, Walk *walk)
{
    g_autofree char *name = g_queue_pop_head(&walk->rest);
    g_autofree char *child = NULL;
    struct stat st;

    if (name == NULL) {
        return STEP_LOST;
    }
    if (strcmp(name, "..") == 0) {
        walk_up(walk);
        return STEP_ON;
    }
    child = walk_child(walk, name);
    /* A plain directory on the way tells by itself when it goes. */
    if (!walk->wary && !g_queue_is_empty(&walk->rest) && lstat(child, &st) == 0 &&
        S_ISDIR(st.st_mode) && watch_path(conf, child, SELF_EVENTS, NULL)) {
        g_string_assign(walk->dir, child);
        return STEP_ON;
    }
    if (!watch_path(conf, walk->dir->str, SELF_EVENTS | NAME_EVENTS, name) ||
        lstat(child, &st) < 0) {
        return STEP_LOST;
    }
    return walk_enter(conf, walk, child, &st);
}

/* Returns whether there is a regular file at the end. */
static bool walk_path(ResolvConf *conf, bool wary)
{
    Walk walk = {.dir = g_string_new("/"), .wary = wary};
    StepResult result = STEP_ON;

    g_queue_init(&walk.rest);
    walk_prepend(&walk, conf->path);
    for (int i = 0; i < STEPS_MAX && result == STEP_ON; i++) {
        result = walk_step(conf, &walk);
    }
    g_queue_clear_full(&walk.rest, g_free);
    (void)g_string_free(walk.dir, TRUE);
    return result == STEP_FOUND;
}

/* During a walk masks only grow, so that no event is lost; afterwards what is wanted no more is taken back. If another
 * file has come to stand there, the event of that is on its way, and the next walk mends whatever this did. */
static void watch_trim(ResolvConf *conf, Watch *watch)
{
    if (watch->kernel_mask != watch->mask) {
        (void)inotify_add_watch(conf->fd, watch->path, watch->mask | IN_DONT_FOLLOW);
        watch->kernel_mask = watch->mask;
    }
}

/* Watches the path as it is now and forgets what it was. */
static void watch_all(ResolvConf *conf)
{
    GHashTableIter iter;
    gpointer wd;
    gpointer data;

    conf->walk++;
    if (!walk_path(conf, false)) {
        /* A directory that is somebody's working directory reports its removal only when that ends. */
        (void)walk_path(conf, true);
    }
    g_hash_table_iter_init(&iter, conf->watches);
    while (g_hash_table_iter_next(&iter, &wd, &data)) {
        if (((const Watch *)data)->walk == conf->walk) {
            watch_trim(conf, data);
        } else {
            (void)inotify_rm_watch(conf->fd, GPOINTER_TO_INT(wd));
            g_hash_table_iter_remove(&iter);
        }
    }
}

static void refresh(ResolvConf *conf, bool settled);

static gboolean retry(gpointer user_data)
{
    ResolvConf *conf = user_data;

    g_clear_pointer(&conf->retry, g_source_unref);
    refresh(conf, true);
    return G_SOURCE_REMOVE;
}

static void retry_later(ResolvConf *conf)
{
    if (conf->retry == NULL) {
        conf->retry = g_timeout_source_new(RETRY_MS);
        g_source_set_callback(conf->retry, retry, conf, NULL);
        g_source_attach(conf->retry, conf->context);
    }
}

/* @settled: false if the file may be in the middle of being rewritten. */
static void refresh(ResolvConf *conf, bool settled)
{
    NetAddr servers[RESOLVCONF_SERVERS_MAX];
    size_t count;
    bool same;

    watch_all(conf);
    if (!read_servers(conf->path, servers, &count)) {
        retry_later(conf);
        return;
    }
    same = count == conf->count;
    for (size_t i = 0; same && i < count; i++) {
        same = netaddr_equal(&servers[i], &conf->servers[i]) &&
               servers[i].scope_id == conf->servers[i].scope_id;
    }
    /* Truncated and not written yet: the writer's close is still to come. */
    if (same || (count == 0 && !settled)) {
        return;
    }
    memcpy(conf->servers, servers, count * sizeof servers[0]);
    conf->count = count;
    if (conf->changed != NULL) {
        conf->changed(conf->servers, conf->count, conf->user_data);
    }
}

/* Does the event concern us? */
static bool event_counts(ResolvConf *conf, const struct inotify_event *event)
{
    const Watch *watch;

    if ((event->mask & IN_Q_OVERFLOW) != 0) {
        return true;
    }
    watch = g_hash_table_lookup(conf->watches, GINT_TO_POINTER(event->wd));
    if (watch == NULL) {
        return false; /* taken back by ourselves */
    }
    if ((event->mask & IN_IGNORED) != 0) {
        g_hash_table_remove(conf->watches, GINT_TO_POINTER(event->wd));
        return true;
    }
    if (event->len == 0) {
        return (event->mask & watch->mask) != 0 || (event->mask & IN_UNMOUNT) != 0;
    }
    return watch->names != NULL && g_hash_table_contains(watch->names, event->name);
}

static gboolean events_ready(gint fd, GIOCondition condition, gpointer user_data)
{
    ResolvConf *conf = user_data;
    _Alignas(struct inotify_event) char buffer[EVENTS_BUFFER_LEN];
    bool changed = false;
    bool settled = false;

    (void)condition;
    for (int i = 0; i < READS_PER_WAKEUP; i++) {
        ssize_t len = read(fd, buffer, sizeof buffer);

        if (len < 0 && errno == EINTR) {
            continue;
        }
        if (len <= 0) {
            break;
        }
        for (const char *at = buffer; at < buffer + len;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)at;

            if (event_counts(conf, event)) {
                changed = true;
                settled = settled || (event->mask & IN_MODIFY) == 0;
            }
            at += sizeof *event + event->len;
        }
    }
    if (changed) {
        refresh(conf, settled);
    }
    return G_SOURCE_CONTINUE;
}

ResolvConf *resolvconf_new(const char *path, GMainContext *context, ResolvConfFunc changed,
                           void *user_data, GError **error)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    ResolvConf *conf;

    if (fd < 0) {
        int saved = errno;

        fault_set(error, FAULT_RESOLVER, saved,
                  "inotify_init1: %s (see sysctl fs.inotify.max_user_instances)",
                  g_strerror(saved));
        return NULL;
    }
    conf = g_new0(ResolvConf, 1);
    conf->fd = fd;
    conf->context = context;
    if (g_path_is_absolute(path)) {
        conf->path = g_strdup(path);
    } else {
        g_autofree char *cwd = g_get_current_dir();

        conf->path = g_build_filename(cwd, path, NULL);
    }
    conf->watches = g_hash_table_new_full(NULL, NULL, NULL, watch_free);
    refresh(conf, true);
    conf->changed = changed;
    conf->user_data = user_data;
    conf->source = g_unix_fd_source_new(fd, G_IO_IN);
    g_source_set_callback(conf->source, G_SOURCE_FUNC(events_ready), conf, NULL);
    g_source_attach(conf->source, context);
    return conf;
}

void resolvconf_free(ResolvConf *conf)
{
    if (conf == NULL) {
        return;
    }
    g_source_destroy(conf->source);
    g_source_unref(conf->source);
    if (conf->retry != NULL) {
        g_source_destroy(conf->retry);
        g_source_unref(conf->retry);
    }
    g_hash_table_unref(conf->watches);
    (void)close(conf->fd);
    g_free(conf->path);
    g_free(conf);
}

size_t resolvconf_servers(const ResolvConf *conf, NetAddr ret[RESOLVCONF_SERVERS_MAX])
{
    memcpy(ret, conf->servers, conf->count * sizeof ret[0]);
    return conf->count;
}
