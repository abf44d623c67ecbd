/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CONTROL_SOCKETFILE_H
#define SALLYPORT_CONTROL_SOCKETFILE_H

#include <glib.h>

/* A listening Unix socket with a name in the file system. */
typedef struct SocketFile SocketFile;

/**
 * socketfile_new() - make the socket, with mode 0600
 * @path:   at most 107 bytes
 * @option: its option, for the message
 *
 * Its directory must belong to us or to root, and nobody else may be able to put something else in its place. A socket that nobody
 * answers at is replaced; what is no socket, and one where somebody answers, is left alone.
 *
 * Return: NULL with @error set (FAULT_OPTION)
 */
SocketFile *socketfile_new(const char *path, const char *option, GError **error);
/* Closes it, and removes the file if it still is this one. */
void socketfile_free(SocketFile *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SocketFile, socketfile_free)

/* Owned by the object. */
int socketfile_fd(const SocketFile *file);

#endif
