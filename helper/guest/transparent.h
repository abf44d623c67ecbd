/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_GUEST_TRANSPARENT_H
#define SALLYPORT_GUEST_TRANSPARENT_H

#include <stdint.h>

#include "../message.h"
#include "../settings.h"

/*
 * Sockets of the fast path, made in the network namespace of the calling process with CAP_NET_ADMIN there.
 * All return an fd (CLOEXEC, non-blocking) or -errno.
 */

/* The listener of both families that takes connections to any address; @ret_port: kernel-picked, host byte order. */
int transparent_listener(uint16_t *ret_port);

/* Sends whole IP packets with @mark; receives nothing (raw(7): IPPROTO_RAW). */
int transparent_raw(sa_family_t family, uint32_t mark);

/* Asks what sockets there are (sock_diag(7)); may change nothing without CAP_NET_ADMIN. */
int transparent_diag(void);

/**
 * transparent_connect() - the socket a MESSAGE_SOCKET_REQUEST asks for
 * @guest:     which source addresses may not be shown
 * @request:   judged: the datapath may be in an attacker's hands
 * @ret_reply: source and other_port are filled in
 *
 * A client whose address cannot be shown in the guest (loopback, link-local, inside the guest's networks...) appears as
 * the gateway. A taken tuple falls back to the client's address with another port, then to the gateway.
 *
 * Return: connected, a TCP connect may be under way
 */
int transparent_connect(const GuestSettings *guest, const MessageSocketRequest *request,
                        MessageSocketReply *ret_reply);

#endif
