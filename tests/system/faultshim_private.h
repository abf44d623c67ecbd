/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_FAULTSHIM_PRIVATE_H
#define SALLYPORT_TESTS_FAULTSHIM_PRIVATE_H

/* What the files of the shim share: decisions (faultshim.c), and the wrappers that ask for them. */

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "faultshim.h"

#define EXPORT __attribute__((visibility("default")))

enum {
    A = 1 << 0,
    I = 1 << 1,
    B = 1 << 2,
    M = 1 << 3,
    F = 1 << 4,
    N = 1 << 5,
    P = 1 << 6,
    C = 1 << 7,
    E = 1 << 8,
    O = 1 << 9
};

#define KINDS_MAX 65536

typedef enum Kind {
    KIND_ANY,
    KIND_STREAM,
    KIND_DATAGRAM,
    KIND_UNIX,
    KIND_NETLINK,
    KIND_PIPE,
    KIND_COUNTER, /* eventfd, signalfd, timerfd */
    KIND_FILE,
} Kind;

extern FaultPage *fault_page; /* NULL before the constructor */
extern unsigned fault_role;
extern uint8_t fault_edges[KINDS_MAX]; /* epoll reports edges of the fd */

/* Every wrapped call comes here first. */
void fault_enter(void);
/* 0, or the errno this call shall fail with; @set: what it may be. */
int fault_drawn(FaultCall call, unsigned set);
Kind fault_kind_of(int fd);
/* What an fd is from now on. Return: @fd */
int fault_born(int fd, Kind kind);
/* @to is what @from is. Return: @to */
int fault_copied(int from, int to);
/* Errnos of @set that make sense for an fd, whatever the call. */
unsigned fault_for_fd(int fd, unsigned set);
/* How many bytes of @size shall move. */
size_t fault_at_most(int fd, size_t size);
/* A stream that has failed for that reason has ended. Return: @failed */
int fault_ended(int fd, int failed);

/* The next one in line: libc's, or a sanitizer's. */
#define NEXT(name)                                                                                 \
    static __typeof__(&name) next;                                                                 \
    if (next == NULL) {                                                                            \
        void *found = dlsym(RTLD_NEXT, #name);                                                     \
        memcpy(&next, &found, sizeof(next));                                                       \
    }                                                                                              \
    fault_enter()

#define FAIL(call, set)                                                                            \
    do {                                                                                           \
        int failed_ = fault_drawn(FAULT_CALL_##call, (set));                                       \
        if (failed_ != 0) {                                                                        \
            errno = failed_;                                                                       \
            return -1;                                                                             \
        }                                                                                          \
    } while (0)

#define FAIL_STREAM(call, fd, set)                                                                 \
    do {                                                                                           \
        int failed_ = fault_ended(fd, fault_drawn(FAULT_CALL_##call, (set)));                      \
        if (failed_ != 0) {                                                                        \
            errno = failed_;                                                                       \
            return -1;                                                                             \
        }                                                                                          \
    } while (0)

#define ALL (~0U)

#endif
