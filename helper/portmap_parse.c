/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * portmap_parse.c - the grammar of a published port: cutting
 *
 * Does:     cuts a specification, short ("127.0.0.1:8080:80/udp") or long
 *           ("published=8080,target=80"), into the texts of struct PortMapParts and has them read.
 *           Each token is known by its shape, so nothing is ever tried and taken back.
 * Trusts:   nothing it reads.
 * Limits:   those of portmap_check_text().
 * Not here: what the texts mean (portmap_read.c), the options (portmap_options.c).
 */
#include "config.h"

#include "portmap.h"

#include <string.h>

#include "portmap_private.h"

static void parts_clear(PortMapParts *parts)
{
    g_free(parts->spec);
    g_free(parts->path);
    g_free(parts->host);
    g_free(parts->hports);
    g_free(parts->gaddr);
    g_free(parts->gports);
    g_free(parts->proto);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(PortMapParts, parts_clear)

static bool brackets_balanced(const char *text)
{
    bool inside = false;

    for (; *text != '\0'; text++) {
        if ((*text == '[' && inside) || (*text == ']' && !inside))
            return false;
        if (*text == '[' || *text == ']')
            inside = !inside;
    }
    return !inside;
}

/* Never empty: "" is one empty word. */
static GPtrArray *split_outside_brackets(const char *text, char separator)
{
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
    const char *start = text;
    bool inside = false;

    for (;; text++) {
        if (*text == '[' || *text == ']')
            inside = *text == '[';
        if (*text == '\0' || (*text == separator && !inside)) {
            g_ptr_array_add(words, g_strndup(start, (gsize)(text - start)));
            start = text + 1;
        }
        if (*text == '\0')
            return words;
    }
}

static const char *word_at(const GPtrArray *words, unsigned i)
{
    return g_ptr_array_index(words, i);
}

static char *join(const GPtrArray *words, unsigned first, unsigned end)
{
    GString *text = g_string_new(NULL);

    for (unsigned i = first; i < end; i++)
        g_string_append_printf(text, "%s%s", i > first ? ":" : "", word_at(words, i));
    return g_string_free(text, FALSE);
}

static void cut_protocol(const char *last, PortMapParts *parts)
{
    const char *slash = strchr(last, '/');

    parts->gports = slash ? g_strndup(last, (gsize)(slash - last)) : g_strdup(last);
    parts->proto = slash ? g_strdup(slash + 1) : NULL;
}

/* A dot alone does not make an address here, because file names have dots. */
static bool follows_path_as_address(const char *token)
{
    return token[0] == '[' || (strchr(token, '.') && strspn(token, "0123456789.") == strlen(token));
}

static bool cut_unix(const GPtrArray *tokens, PortMapParts *parts, GError **error)
{
    unsigned end = tokens->len - 1; /* the guest's ports, and later the end of the path */

    if (tokens->len < 3) {
        if (tokens->len == 1 || word_at(tokens, 1)[0] == '\0')
            return portmap_fail(error, "socket path is missing");
        return portmap_fail(error, "guest port is missing after the socket path");
    }
    cut_protocol(word_at(tokens, end), parts);
    if (parts->gports[0] == '\0')
        return portmap_fail(error, "guest port is missing after the socket path");
    if (end > 2 && follows_path_as_address(word_at(tokens, end - 1)))
        parts->gaddr = g_strdup(word_at(tokens, --end));
    parts->path = join(tokens, 1, end);
    if (strchr(parts->path, ':')) /* also one between [ ], which is no separator */
        return portmap_fail(error, "socket path '%s': write ':' as %%3A", parts->path);
    return true;
}

/* "ADDR:PORT": docker refuses it, others disagree on the side that ADDR belongs to. Always false. */
static bool refuse_lone_address(const char *token, const char *ports, GError **error)
{
    PortMapListen listen;
    NetAddr guest;

    if (!portmap_read_listen(token, &listen, error))
        return false;
    if (portmap_read_guest_addr(token, &guest, NULL))
        return portmap_fail(error,
                            "'%s:%s' is ambiguous: write %s:%s:%s to listen on %s, or %s:%s:%s to "
                            "reach %s in the guest",
                            token, ports, token, ports, ports, token, ports, token, ports, token);
    return portmap_fail(error, "'%s:%s' lacks a port: write %s:%s:%s, or %s::%s for any host port",
                        token, ports, token, ports, ports, token, ports);
}

/* Several tokens left of the host ports: docker's bare IPv6 address, or a mistake. */
static bool cut_bare_v6(const GPtrArray *tokens, unsigned end, PortMapParts *parts, GError **error)
{
    g_autofree char *text = join(tokens, 0, end);
    g_autofree char *plain = g_strndup(text, strcspn(text, "%"));
    NetAddr addr;

    if (!netaddr_parse(plain, &addr))
        return portmap_fail(error, "too many ':' in '%s'; put IPv6 addresses in [ ]", parts->spec);
    if (parts->gaddr)
        return portmap_fail(error,
                            "put the IPv6 host address in [ ] when a guest address is given");
    parts->host = g_steal_pointer(&text);
    return true;
}

static bool cut_short(const char *spec, PortMapParts *parts, GError **error)
{
    static const char no_host[] = "host address is empty; drop the leading ':' or give an address";
    g_autoptr(GPtrArray) tokens = split_outside_brackets(spec, ':');
    unsigned left = tokens->len - 1; /* how many tokens nothing has claimed yet */
    const char *token;

    parts->spec = g_strdup(spec);
    if (g_str_equal(word_at(tokens, 0), "unix"))
        return cut_unix(tokens, parts, error);
    for (unsigned i = 1; i < tokens->len; i++) {
        if (g_str_equal(word_at(tokens, i), "unix"))
            return portmap_fail(error, "a guest socket is not supported with -p; see --reach");
    }
    cut_protocol(word_at(tokens, left), parts);
    if (parts->gports[0] == '\0')
        return portmap_fail(error, "guest port is missing");
    if (left == 0)
        return true;

    token = word_at(tokens, left - 1);
    if (left == 1 && (strpbrk(token, ".[%*") || g_str_equal(token, "localhost")))
        return refuse_lone_address(token, parts->gports, error);
    if (strpbrk(token, ".[")) {
        parts->gaddr = g_strdup(token);
        left--;
    }
    parts->hports = g_strdup(word_at(tokens, --left));
    if (left == 0 && parts->hports[0] == '\0')
        return parts->gaddr
                   ? portmap_fail(error, "host port is empty; write 0 to let the kernel pick")
                   : portmap_fail(error, "%s", no_host);
    if (left == 1 && word_at(tokens, 0)[0] == '\0')
        return portmap_fail(error, "%s", no_host);
    if (left > 1)
        return cut_bare_v6(tokens, left, parts, error);
    parts->host = left == 1 ? g_strdup(word_at(tokens, 0)) : NULL;
    return true;
}

/* Where the value of a long form's key goes; NULL if the key is none of them. */
static char **long_key(PortMapParts *parts, const char *key, size_t length)
{
    const struct {
        const char *key;
        char **slot;
    } keys[] = {
        {"target", &parts->gports},  {"published", &parts->hports}, {"host_ip", &parts->host},
        {"guest_ip", &parts->gaddr}, {"protocol", &parts->proto},   {"socket", &parts->path},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        if (strlen(keys[i].key) == length && strncmp(keys[i].key, key, length) == 0)
            return keys[i].slot;
    }
    return NULL;
}

/* Takes the keys that say what to publish; the other words stay in @words for the options' parser. */
static bool cut_long(GPtrArray *words, PortMapParts *parts, GError **error)
{
    unsigned i = 0;

    while (i < words->len) {
        const char *word = word_at(words, i);
        size_t length = strcspn(word, "=");
        char **slot = long_key(parts, word, length);

        if (!slot) {
            i++;
            continue;
        }
        if (*slot)
            return portmap_fail(error, "option '%.*s' is given twice", (int)length, word);
        /* Refused, because host_ip=$IP with an empty variable would open the port to everyone. */
        if (word[length] == '\0' || word[length + 1] == '\0')
            return portmap_fail(error, "option '%.*s' needs a value", (int)length, word);
        *slot = g_strdup(word + length + 1);
        g_ptr_array_remove_index(words, i);
    }
    if (!parts->gports)
        return portmap_fail(error, "target= is missing");
    if (parts->path && (parts->host || parts->hports))
        return portmap_fail(error, "socket= stands in place of published= and host_ip=");
    return true;
}

static PortMap *portmap_new(const char *text)
{
    PortMap *map = g_new0(PortMap, 1);

    map->text = g_strdup(text);
    map->backlog = -1;
    map->idle_s = -1;
    map->mode = -1;
    map->uid = -1;
    map->gid = -1;
    return map;
}

PortMap *portmap_parse(const char *spec, GError **error)
{
    g_autoptr(PortMap) map = NULL;
    g_autoptr(GPtrArray) words = NULL;
    g_auto(PortMapParts) parts = {0};
    unsigned seen = 0;
    bool cut;

    g_return_val_if_fail(spec != NULL, NULL);

    if (!portmap_check_text(spec, error))
        return NULL;
    if (!brackets_balanced(spec)) {
        (void)portmap_fail(error, "'[' and ']' do not match in '%s'", spec);
        return NULL;
    }
    map = portmap_new(spec);
    words = split_outside_brackets(spec, ',');
    if (spec[strcspn(spec, "=:/,")] == '=') {
        cut = cut_long(words, &parts, error);
    } else {
        cut = cut_short(word_at(words, 0), &parts, error);
        g_ptr_array_remove_index(words, 0);
    }
    if (!cut || !portmap_read_parts(map, &parts, error))
        return NULL;
    for (unsigned i = 0; i < words->len; i++) {
        if (!portmap_option_parse(map, word_at(words, i), &seen, error))
            return NULL;
    }
    if (!portmap_options_check(map, error))
        return NULL;
    return g_steal_pointer(&map);
}
