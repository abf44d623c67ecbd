/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_internal.h - what the files of the lab share and the tests do not see
 */
#ifndef LAB_INTERNAL_H
#define LAB_INTERNAL_H

#include <glib.h>
#include <signal.h>

#include "lab.h"

#define LAB_PLACES_MAX (LAB_GUEST + LAB_GUESTS_MAX)

typedef struct LabKeeper {
    pid_t pid; /* 0: there is no such place (any more) */
    int pidfd;
    int control; /* requests and replies, SOCK_SEQPACKET */
    int netns;
    int userns;
} LabKeeper;

struct Lab {
    bool root; /* the lab is owned by the caller's user namespace, and the caller is root */
    LabOptions options;
    LabKeeper places[LAB_PLACES_MAX];
    char directory[64];
    GPtrArray *paths; /* lab_path() */
};

/* The lab of this process; NULL outside a body. */
extern Lab *lab_current;

/* Where lab_fail() and lab_skip() write their text (-1: nowhere), and the exit status they end with. */
#define LAB_STATUS_FAILED  1
#define LAB_STATUS_SKIPPED 77
extern int lab_verdict_fd;

/* Set by lab_helper.c: what a failing body prints last, and what a passing one does last. */
extern void (*lab_on_failure)(void);
extern void (*lab_on_end)(void);

/* How a new user namespace is mapped by the parent of the process that made it. */
typedef enum LabMap {
    LAB_MAP_NONE, /* no new user namespace */
    LAB_MAP_ROOT, /* 0 inside is the caller outside */
    LAB_MAP_USER, /* LAB_USER inside is the caller (the lab's root) outside */
    LAB_MAP_MANY, /* 0 to 65535 inside is 100000 and up outside; needs root */
} LabMap;

#define LAB_USER 1000

/**
 * lab_keeper_start() - fork a keeper for a place
 * @flags: CLONE_NEWNET and the like, unshared by the keeper; CLONE_NEWUSER is @map's business
 *
 * Return: NULL, or what failed with errno set
 */
const char *lab_keeper_start(Lab *lab, LabPlace place, int flags, LabMap map);
void lab_keeper_stop(Lab *lab, LabPlace place);

/* Runs a command for the set-up. Return: its status as lab_run() */
int lab_keeper_exec(Lab *lab, LabPlace place, const char *const *argv);

/**
 * lab_fork() - fork a process that dies with this one
 * @death_signal: what it gets then
 * @keep:         the only fd besides 0-2 it keeps; -1 for none; -2 to keep all
 *
 * In the child: signals are as at the start of a program. Return: as fork()
 */
pid_t lab_fork(int death_signal, int keep);

/* The two halves of a new user namespace. @sync is one end of a socketpair; the child asks, the parent maps. */
const char *lab_unshare_mapped(int flags, LabMap map, int sync);
const char *lab_map_child(pid_t child, LabMap map, int sync);
const char *lab_map_self(void);

/* All capabilities gone, in every set but the bounding one. */
const char *lab_drop_capabilities(void);

/* Interfaces and addresses of HOST and FAR. Return: NULL, or what failed */
const char *lab_network_build(Lab *lab);

/* A link on which frames are sent by hand: a packet socket, or a socketpair to libslirp alone. */
struct LabFrames {
    int fd;
    uint8_t mac[6];
    uint8_t gateway_mac[6];
    uint8_t frame[65550];
};

/* Asks for the gateway's link address. */
LabFrames *lab_frames_of(int take_fd, const uint8_t mac[6]);

/* Data and fds together. Return: 0, or -1 with errno */
int lab_message_send(int fd, const void *data, size_t length, const int *fds, size_t count);
/* Return: bytes (0: end), or -1 with errno. Of @fds those that did not come are -1. */
ssize_t lab_message_recv(int fd, void *data, size_t size, int *fds, size_t count);

#endif
