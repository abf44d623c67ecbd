/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_RESOLVCONF_H
#define SALLYPORT_RESOLVCONF_H

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include "netaddr.h"

#define RESOLVCONF_SERVERS_MAX 16
/* A file longer than this is cut there; no resolv.conf comes near it. */
#define RESOLVCONF_SIZE_MAX 65536

/* The nameserver lines of a resolv.conf(5) text, in order, doubles left out; "fe80::1%eth0" keeps its scope. Lines that cannot
 * be read are skipped. Returns the number written to @ret, at most RESOLVCONF_SERVERS_MAX; @ret_ignored (optional)
 * counts nameserver lines that were not taken. */
size_t resolvconf_parse(const char *text, size_t len, NetAddr ret[RESOLVCONF_SERVERS_MAX],
                        size_t *ret_ignored);

typedef struct ResolvConf ResolvConf;
typedef void (*ResolvConfFunc)(const NetAddr *servers, size_t count, void *user_data);

/**
 * resolvconf_new() - follow one resolv.conf
 * @path:    the file, usually a symbolic link; it need not exist
 * @changed: called from @context when the list of servers differs from the one before
 *
 * Watches (inotify(7)) the directory of the path and of every symbolic link behind it, so that a file that is rewritten,
 * renamed over, removed, made again, or reached by a retargeted link is read again at once; a directory that does not exist
 * is waited for at its nearest existing ancestor. No timer, no thread (not GFileMonitor).
 *
 * Return: never NULL unless inotify itself is refused (@error: the reason and sysctl fs.inotify.max_user_instances)
 */
ResolvConf *resolvconf_new(const char *path, GMainContext *context, ResolvConfFunc changed,
                           void *user_data, GError **error);
void resolvconf_free(ResolvConf *conf);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ResolvConf, resolvconf_free)

/* The servers as last read; returns how many. */
size_t resolvconf_servers(const ResolvConf *conf, NetAddr ret[RESOLVCONF_SERVERS_MAX]);

#endif
