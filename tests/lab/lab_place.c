/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab_place.c - what the places look like: interfaces, addresses, sysctls, mounts, guests
 *
 * Runs in:  the warden (lab_network_build), the body (the rest); the work itself is done by keepers.
 */
#include "config.h"

#include "lab_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

typedef struct SysctlArgument {
    char path[128];
    char value[128];
} SysctlArgument;

/* LabFunction: writes one sysctl. The network ones belong to the writer's network namespace. */
static int write_sysctl(const void *argument, size_t length)
{
    const SysctlArgument *sysctl = argument;
    int fd = open(sysctl->path, O_WRONLY | O_CLOEXEC);

    (void)length;
    if (fd < 0 || write(fd, sysctl->value, strlen(sysctl->value)) < 0) {
        fprintf(stderr, "%s: %s\n", sysctl->path, strerror(errno));
        return 1;
    }
    close(fd);
    return 0;
}

void lab_sysctl(Lab *lab, LabPlace place, const char *name, const char *value)
{
    SysctlArgument sysctl;

    g_snprintf(sysctl.path, sizeof sysctl.path, "/proc/sys/%s", name);
    g_strlcpy(sysctl.value, value, sizeof sysctl.value);
    LAB_CHECK(lab_run(lab, place, write_sysctl, &sysctl, sizeof sysctl) == 0,
              "sysctl %s = %s in place %d", name, value, (int)place);
}

typedef struct MountArgument {
    char source[256];
    char target[256];
} MountArgument;

static int bind_mount(const void *argument, size_t length)
{
    const MountArgument *bind = argument;

    (void)length;
    if (mount(bind->source, bind->target, NULL, MS_BIND, NULL) < 0) {
        fprintf(stderr, "mount %s over %s: %s\n", bind->source, bind->target, strerror(errno));
        return 1;
    }
    return 0;
}

void lab_mount_over(Lab *lab, const char *source, const char *target)
{
    MountArgument bind;

    g_strlcpy(bind.source, source, sizeof bind.source);
    g_strlcpy(bind.target, target, sizeof bind.target);
    LAB_CHECK(lab_run(lab, LAB_HOST, bind_mount, &bind, sizeof bind) == 0, "mount %s over %s",
              source, target);
}

void lab_limit_user_namespaces(Lab *lab, int count)
{
    char text[16];

    if (lab->root)
        lab_skip("the limit of user namespaces is the whole machine's for root");
    g_snprintf(text, sizeof text, "%d", count);
    lab_sysctl(lab, LAB_STEWARD, "user/max_user_namespaces", text);
}

LabPlace lab_guest_new(Lab *lab)
{
    int flags = CLONE_NEWNET | CLONE_NEWNS;
    LabMap map = LAB_MAP_ROOT;
    int place = LAB_GUEST;
    const char *failed;

    if (lab->root)
        map = lab->options.guest_userns_initial ? LAB_MAP_NONE : LAB_MAP_MANY;
    while (place < (int)LAB_PLACES_MAX && lab->places[place].pid != 0)
        place++;
    LAB_CHECK(place < (int)LAB_PLACES_MAX, "no room for another guest");
    failed = lab_keeper_start(lab, (LabPlace)place, flags, map);
    LAB_CHECK(failed == NULL, "a guest: %s: %s", failed, strerror(errno));
    return (LabPlace)place;
}

void lab_guest_end(Lab *lab, LabPlace guest)
{
    g_assert(guest >= LAB_GUEST);
    lab_keeper_stop(lab, guest);
}

pid_t lab_pid(const Lab *lab, LabPlace place)
{
    return lab->places[place].pid;
}

int lab_netns(const Lab *lab, LabPlace place)
{
    return lab->places[place].netns;
}

int lab_userns(const Lab *lab, LabPlace place)
{
    return lab->places[place].userns;
}

/* ---- interfaces and addresses of HOST and FAR ---- */

static const char host_batch[] = "link set lo up\n"
                                 "link set host0 up\n"
                                 "link set host1 up\n"
                                 "address add 192.0.2.1/24 dev host0\n"
                                 "address add 192.0.2.7/24 dev host0\n"
                                 "address add 2001:db8:1::7/64 dev host0 nodad\n"
                                 "address add 2001:db8:1::1/64 dev host0 nodad\n"
                                 "address add 203.0.113.1/24 dev host1\n"
                                 "address add 2001:db8:3::1/64 dev host1 nodad\n"
                                 "route add default via 192.0.2.2 src 192.0.2.1\n"
                                 "route add default via 2001:db8:1::2 src 2001:db8:1::1\n";

static const char far_batch[] = "link set lo up\n"
                                "link set far0 up\n"
                                "link set far1 up\n"
                                "address add 192.0.2.2/24 dev far0\n"
                                "address add 2001:db8:1::2/64 dev far0 nodad\n"
                                "address add 203.0.113.2/24 dev far1\n"
                                "address add 2001:db8:3::2/64 dev far1 nodad\n"
                                "address add 198.51.100.1/32 dev lo\n"
                                "address add 169.254.169.254/32 dev lo\n"
                                "address add 169.254.7.7/32 dev lo\n"
                                "address add 2001:db8:2::1/128 dev lo nodad\n";

/* LabFunction: feeds a batch to ip(8). */
static int run_batch(const void *argument, size_t length)
{
    int ends[2];

    if (pipe(ends) < 0 || write(ends[1], argument, length) != (ssize_t)length)
        return 1;
    close(ends[1]);
    dup2(ends[0], 0);
    close(ends[0]);
    execlp("ip", "ip", "-batch", "-", (char *)NULL);
    fprintf(stderr, "ip: %s\n", strerror(errno));
    return 127;
}

/* LabFunction: neighbour discovery must not delay the first packets. */
static int no_dad(const void *argument, size_t length)
{
    static const SysctlArgument sysctls[] = {
        {"/proc/sys/net/ipv6/conf/default/accept_dad", "0"},
        {"/proc/sys/net/ipv6/conf/all/accept_dad", "0"},
        {"/proc/sys/net/ipv6/conf/default/router_solicitations", "0"},
    };

    (void)argument;
    (void)length;
    for (size_t i = 0; i < G_N_ELEMENTS(sysctls); i++) {
        if (write_sysctl(&sysctls[i], sizeof sysctls[i]) != 0)
            return 1;
    }
    return 0;
}

/* LabFunction: anybody in the lab may open ping sockets. */
static int open_ping(const void *argument, size_t length)
{
    SysctlArgument sysctl = {.path = "/proc/sys/net/ipv4/ping_group_range"};

    (void)length;
    g_strlcpy(sysctl.value, argument, sizeof sysctl.value);
    return write_sysctl(&sysctl, sizeof sysctl);
}

/* LabFunction: wanted where a listener of the test itself binds port 53 and the like. */
static int open_ports(const void *argument, size_t length)
{
    const SysctlArgument sysctl = {.path = "/proc/sys/net/ipv4/ip_unprivileged_port_start",
                                   .value = "0"};

    (void)argument;
    (void)length;
    return write_sysctl(&sysctl, sizeof sysctl);
}

const char *lab_network_build(Lab *lab)
{
    char links[256];
    const char *group = lab->root ? "0 2147483647" : "0 0";
    pid_t far = lab->places[LAB_FAR].pid;

    g_snprintf(links, sizeof links,
               "link add host0 type veth peer name far0 netns %d\n"
               "link add host1 type veth peer name far1 netns %d\n",
               (int)far, (int)far);
    if (lab_run(lab, LAB_HOST, no_dad, NULL, 0) != 0 || lab_run(lab, LAB_FAR, no_dad, NULL, 0) != 0)
        return "IPv6 sysctls";
    if (lab_run(lab, LAB_HOST, run_batch, links, strlen(links)) != 0)
        return "veth interfaces";
    if (lab_run(lab, LAB_FAR, run_batch, far_batch, strlen(far_batch)) != 0)
        return "addresses of the far machine";
    if (lab_run(lab, LAB_HOST, run_batch, host_batch, strlen(host_batch)) != 0)
        return "addresses of the host";
    if (!lab->options.ping_forbidden &&
        lab_run(lab, LAB_HOST, open_ping, group, strlen(group) + 1) != 0)
        return "ping_group_range";
    if (lab_run(lab, LAB_FAR, open_ports, NULL, 0) != 0)
        return "ip_unprivileged_port_start";
    return NULL;
}
