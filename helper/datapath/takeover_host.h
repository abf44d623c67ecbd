/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_DATAPATH_TAKEOVER_HOST_H
#define SALLYPORT_DATAPATH_TAKEOVER_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "takeover.h"

/* A host socket whose connect() is under way or done, or -errno. @port in host byte order. */
int takeover_host_connect(const TakeoverConfig *config, const NetAddr *to, uint16_t port);

/* What has become of it: 0 connected, EINPROGRESS, or the errno of its failure. */
int takeover_host_outcome(int fd);

/**
 * takeover_host_answer() - what a real network would have said to a SYN
 * @syn:     the guest's frame, @len bytes
 * @failed:  errno of connect()
 * @out:     room for the frame that says it
 * @ret_len: its length, 0: a real network would have been silent
 *
 * Return: false for an error of our own, which is no answer to the guest
 */
bool takeover_host_answer(const TakeoverConfig *config, const uint8_t *syn, size_t len, int failed,
                          uint8_t out[FRAME_MAX], size_t *ret_len);

#endif
