/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_SETTINGS_H
#define SALLYPORT_SETTINGS_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>

#include "netaddr.h"
#include "options.h"
#include "portmap.h"

#define SETTINGS_MAC_LEN     6
#define SETTINGS_MTU_DEFAULT 65520
#define SETTINGS_MTU_MIN     68
/* The largest a TAP takes: 65535 less an Ethernet header (drivers/net/tun.c: MAX_MTU). */
#define SETTINGS_MTU_MAX 65521
/* RFC 8200 section 5: no IPv6 on a link below. */
#define SETTINGS_MTU_IPV6_MIN 1280

/* libslirp's DHCP: host number of the first lease, and how many there are (libslirp: NB_BOOTP_CLIENTS). */
#define SETTINGS_HOST_DHCP   15
#define SETTINGS_DHCP_LEASES 16

typedef enum GuestKind {
    GUEST_PID,
    GUEST_NETNS_PATH,
    GUEST_NETNS_FD,
    GUEST_COMMAND,
} GuestKind;

typedef enum FastPath {
    FAST_PATH_AUTO,
    FAST_PATH_OFF,
    FAST_PATH_REQUIRE,
} FastPath;

typedef enum LogLevel {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
} LogLevel;

/**
 * struct GuestSettings - which namespace, and what its interface shall be
 * @netns_fd, @userns_fd: inherited fds, -1 for none
 * @ipv6:          addresses of IPv6 are wanted
 * @ipv6_required: --cidr6 was given: doing without is an error
 * @addr, @addr6:  the guest's own addresses
 * @autoconf:      the guest may configure itself: DHCP and router advertisements are there for it, and with @configure IPv6 is left
 *                 to them; without it the MTU is what somebody else is going to set
 * @fast_path:     whether the guest's kernel shall carry TCP (datapath/takeover.h)
 */
typedef struct GuestSettings {
    GuestKind kind;
    pid_t pid;
    char *netns_path;
    char *userns_path;
    int netns_fd;
    int userns_fd;
    char **command;
    char ifname[IFNAMSIZ];
    unsigned mtu;
    bool has_mac;
    uint8_t mac[SETTINGS_MAC_LEN];
    bool configure;
    bool ipv6;
    bool ipv6_required;
    bool autoconf;
    FastPath fast_path;
    NetCidr cidr;
    NetCidr cidr6;
    NetAddr addr;
    NetAddr addr6;
    NetAddr gateway;
    NetAddr gateway6;
    NetAddr dns;
    NetAddr dns6;
} GuestSettings;

/**
 * struct Settings - the validated configuration; immutable once made
 * @allow:        set of NetClass bits
 * @outbound4:    source address of outbound IPv4 sockets, AF_UNSPEC for the kernel's choice; @outbound6 likewise
 * @dns_upstream: NetAddr elements; empty: the host's resolv.conf
 * @publish:      PortMap elements, in the order given, host addresses filled in
 * @publish_address: host address of those that name none, or NULL: all
 * @control:      path of the control socket, or NULL; @control_fd, @observe_fd: inherited sockets, -1 for none
 * @max_flows:    TCP connections relayed at most, @max_pending: of which not answered yet; 0: what RLIMIT_NOFILE leaves
 * @insecure:     --insecure-no-lockdown
 * @api_socket:   path of slirp4netns's API socket, short enough for a sockaddr_un; NULL for none
 * @pcap:         file that frames are recorded into from the start, or NULL
 * @report_fd, @ready_fd, @exit_fd: -1 for none
 */
typedef struct Settings {
    Personality personality;
    GuestSettings guest;
    unsigned allow;
    NetAddr outbound4;
    NetAddr outbound6;
    bool dns;
    GArray *dns_upstream;
    char *resolv_conf;
    GPtrArray *publish;
    char *publish_address;
    char *control;
    int control_fd;
    int observe_fd;
    unsigned max_flows;
    unsigned max_pending;
    int report_fd;
    int ready_fd;
    int exit_fd;
    bool outlive_parent;
    bool insecure;
    char *api_socket;
    LogLevel log_level;
    char *pcap;
} Settings;

/**
 * settings_new() - judge a command line
 * @options: borrowed
 * @faults:  GError elements are added, one per cause, each naming its option
 *
 * Opens nothing; looks at inherited fds only to see whether they are open.
 *
 * Never returns NULL: with faults the result is good for report_fd and log_level alone.
 */
Settings *settings_new(const Options *options, GPtrArray *faults);
/* "error", "warning"... */
bool settings_log_level(const char *word, LogLevel *ret);
void settings_free(Settings *settings);

/* A port map as --publish would take it: parsed, of a kind that is supported, the host address filled in. NULL with @error set
 * (FAULT_OPTION, FAULT_NOT_SUPPORTED), which names --publish and @spec. */
PortMap *settings_port_map(const Settings *settings, const char *spec, GError **error);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Settings, settings_free)

#endif
