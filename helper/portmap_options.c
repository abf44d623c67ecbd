/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * portmap_options.c - the options behind the comma of a published port
 *
 * Does:     reads "weak", "backlog=64" and the like into a PortMap, refuses those that contradict the
 *           rest of it, and writes them again.
 * Trusts:   nothing it reads; the text is UTF-8 without control characters (portmap_check_text()).
 * Limits:   the ranges in the table; OPTION_NAME_MAX bytes for fd= and name=.
 * Not here: the keys of the long form that say what to publish (portmap_parse.c).
 */
#include "config.h"

#include "portmap_private.h"

#include <inttypes.h>
#include <string.h>

#define OPTION_NAME_MAX 64
#define BACKLOG_MAX     65535
#define CLIENTS_MAX     (1U << 20)
#define ID_MAX          (G_MAXUINT32 - 1) /* (uid_t)-1 means "leave it as it is" to chown(2) */
#define MODE_MAX        0777

typedef bool (*OptionReader)(PortMap *map, const char *value, GError **error);

static bool number_in(const char *key, const char *value, uint64_t min, uint64_t max, uint64_t *ret,
                      GError **error)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(value, 10, min, max, &number, NULL))
        return portmap_fail(error, "%s=%s: want a number from %" PRIu64 " to %" PRIu64, key, value,
                            min, max);
    *ret = number;
    return true;
}

static bool word_in(const char *key, const char *value, char **ret, GError **error)
{
    size_t length = strlen(value);

    /* These words go into log lines, JSON and LISTEN_FDNAMES without any quoting. */
    if (length > OPTION_NAME_MAX ||
        strspn(value, G_CSET_a_2_z G_CSET_A_2_Z "0123456789_.-") != length)
        return portmap_fail(error, "%s=%s: want 1 to %d of the characters A-Z a-z 0-9 _ . -", key,
                            value, OPTION_NAME_MAX);
    *ret = g_strdup(value);
    return true;
}

static bool read_src(PortMap *map, const char *value, GError **error)
{
    if (g_str_equal(value, "keep"))
        map->src = PORTMAP_SOURCE_KEEP;
    else if (g_str_equal(value, "gw"))
        map->src = PORTMAP_SOURCE_GATEWAY;
    else
        return portmap_fail(error, "src=%s: want keep or gw", value);
    return true;
}

static bool read_weak(PortMap *map, const char *value, GError **error)
{
    (void)value;
    (void)error;
    map->weak = true;
    return true;
}

static bool read_backlog(PortMap *map, const char *value, GError **error)
{
    uint64_t number = 0;

    if (!number_in("backlog", value, 1, BACKLOG_MAX, &number, error))
        return false;
    map->backlog = (int)number;
    return true;
}

static bool read_mode(PortMap *map, const char *value, GError **error)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(value, 8, 0, MODE_MAX, &number, NULL))
        return portmap_fail(error, "mode=%s: want an octal number up to %04o", value,
                            (unsigned)MODE_MAX);
    map->mode = (int)number;
    return true;
}

static bool read_uid(PortMap *map, const char *value, GError **error)
{
    uint64_t number = 0;

    if (!number_in("uid", value, 0, ID_MAX, &number, error))
        return false;
    map->uid = (int64_t)number;
    return true;
}

static bool read_gid(PortMap *map, const char *value, GError **error)
{
    uint64_t number = 0;

    if (!number_in("gid", value, 0, ID_MAX, &number, error))
        return false;
    map->gid = (int64_t)number;
    return true;
}

static bool read_proxy(PortMap *map, const char *value, GError **error)
{
    if (g_str_equal(value, "v1"))
        map->proxy = 1;
    else if (g_str_equal(value, "v2"))
        map->proxy = 2;
    else
        return portmap_fail(error, "proxy=%s: want v1 or v2", value);
    return true;
}

static bool read_fd(PortMap *map, const char *value, GError **error)
{
    return word_in("fd", value, &map->fd_name, error);
}

static bool read_name(PortMap *map, const char *value, GError **error)
{
    return word_in("name", value, &map->name, error);
}

static bool read_idle(PortMap *map, const char *value, GError **error)
{
    uint64_t number = 0;

    if (!number_in("idle", value, 0, G_MAXINT32, &number, error))
        return false;
    map->idle_s = (int64_t)number;
    return true;
}

static bool read_max(PortMap *map, const char *value, GError **error)
{
    uint64_t number = 0;

    if (!number_in("max", value, 1, CLIENTS_MAX, &number, error))
        return false;
    map->max = (unsigned)number;
    return true;
}

static const struct {
    const char *key;
    OptionReader read;
    bool takes_value;
} options[] = {
    {"src", read_src, true},     {"weak", read_weak, false}, {"backlog", read_backlog, true},
    {"mode", read_mode, true},   {"uid", read_uid, true},    {"gid", read_gid, true},
    {"proxy", read_proxy, true}, {"fd", read_fd, true},      {"name", read_name, true},
    {"idle", read_idle, true},   {"max", read_max, true},
};

bool portmap_option_parse(PortMap *map, const char *word, unsigned *inout_seen, GError **error)
{
    const char *equals = strchr(word, '=');
    const char *value = equals ? equals + 1 : "";
    g_autofree char *key = equals ? g_strndup(word, (gsize)(equals - word)) : g_strdup(word);
    size_t i = 0;

    if (word[0] == '\0')
        return portmap_fail(error, "an option is empty; drop the ','");
    while (i < G_N_ELEMENTS(options) && !g_str_equal(options[i].key, key))
        i++;
    if (i == G_N_ELEMENTS(options))
        return portmap_fail(error, "unknown option '%s'", key);
    if (*inout_seen & (1U << i))
        return portmap_fail(error, "option '%s' is given twice", key);
    if (options[i].takes_value && value[0] == '\0')
        return portmap_fail(error, "option '%s' needs a value", key);
    if (!options[i].takes_value && equals)
        return portmap_fail(error, "option '%s' takes no value", key);
    if (!options[i].read(map, value, error))
        return false;
    *inout_seen |= 1U << i;
    return true;
}

bool portmap_options_check(const PortMap *map, GError **error)
{
    bool owner = map->mode >= 0 || map->uid >= 0 || map->gid >= 0;
    bool one_port =
        map->ports_kind == PORTMAP_PORTS_KERNEL ||
        (map->ports_kind == PORTMAP_PORTS_RANGE && map->host_ports.first == map->host_ports.last);

    if (owner && map->host_kind != PORTMAP_HOST_UNIX)
        return portmap_fail(error, "mode=, uid= and gid= are for unix: sockets");
    if (owner && map->fd_name)
        return portmap_fail(error, "mode=, uid= and gid= cannot change a socket from fd=");
    if (map->fd_name && (!one_port || map->guest_ports.first != map->guest_ports.last))
        return portmap_fail(error, "fd=%s is one socket; give one port", map->fd_name);
    if (map->proxy != 0 && (map->protocols & PORTMAP_ALL_UDP) != 0)
        return portmap_fail(error, "proxy= is for tcp");
    if (map->backlog >= 0 && (map->protocols & PORTMAP_ALL_TCP) == 0)
        return portmap_fail(error, "backlog= is for tcp");
    return true;
}

static void append_one(GString *list, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void append_one(GString *list, const char *format, ...)
{
    va_list args;

    if (list->len > 0)
        g_string_append(list, ", ");
    va_start(args, format);
    g_string_append_vprintf(list, format, args);
    va_end(args);
}

void portmap_options_append(const PortMap *map, GString *text)
{
    g_autoptr(GString) list = g_string_new(NULL);

    if (map->src != PORTMAP_SOURCE_UNSET)
        append_one(list, "src=%s", map->src == PORTMAP_SOURCE_KEEP ? "keep" : "gw");
    if (map->weak && map->ports_kind != PORTMAP_PORTS_ALL) /* "all" is weak by nature */
        append_one(list, "weak");
    if (map->backlog >= 0)
        append_one(list, "backlog=%d", map->backlog);
    if (map->mode >= 0)
        append_one(list, "mode=%04o", (unsigned)map->mode);
    if (map->uid >= 0)
        append_one(list, "uid=%" PRId64, map->uid);
    if (map->gid >= 0)
        append_one(list, "gid=%" PRId64, map->gid);
    if (map->proxy != 0)
        append_one(list, "proxy=v%d", map->proxy);
    if (map->fd_name)
        append_one(list, "fd=%s", map->fd_name);
    if (map->name)
        append_one(list, "name=%s", map->name);
    if (map->idle_s >= 0)
        append_one(list, "idle=%" PRId64, map->idle_s);
    if (map->max != 0)
        append_one(list, "max=%u", map->max);
    if (list->len > 0)
        g_string_append_printf(text, " {%s}", list->str);
}
