/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_CONTROL_HOSTFWD_H
#define SALLYPORT_CONTROL_HOSTFWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "../netaddr.h"

/* Bytes of a request, less than which it must have: slirp4netns reads them with one read(2). */
#define HOSTFWD_REQUEST_MAX 4096

typedef enum HostFwdCommand {
    HOSTFWD_WRONG,
    HOSTFWD_ADD,
    HOSTFWD_LIST,
    HOSTFWD_REMOVE,
} HostFwdCommand;

/**
 * struct HostFwd - one request of slirp4netns's API, read
 * @wrong:      HOSTFWD_WRONG: what the error says behind "bad request: ", a fixed text
 * @host_addr:  never AF_UNSPEC; 0.0.0.0 if none was given
 * @host_port:  host byte order; 0: the kernel picks
 * @guest_addr: AF_UNSPEC: none was given
 * @id:         of HOSTFWD_REMOVE
 */
typedef struct HostFwd {
    HostFwdCommand command;
    const char *wrong;
    bool udp;
    NetAddr host_addr;
    uint16_t host_port;
    NetAddr guest_addr;
    uint16_t guest_port;
    uint32_t id;
} HostFwd;

/* Reads all the bytes of one request. @ipv6: an address may be one of IPv6; otherwise it is as wrong as slirp4netns has it. */
void hostfwd_parse(const char *bytes, size_t len, bool ipv6, HostFwd *ret);

/* Bytes of the one request: a JSON value, or what can never become one; 0: it may go on. */
size_t hostfwd_frame(const char *bytes, size_t len, bool ended);

/* HOSTFWD_ADD as a port map of --publish. g_free(). */
char *hostfwd_spec(const HostFwd *add);

#endif
