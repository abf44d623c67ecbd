/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * record.c - what the first and the last record say
 *
 * Does:     puts the keys together. Pure functions.
 * Not here: numbering, dating, writing (report.c).
 */
#include "config.h"

#include "record.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "lockdown/lockdown.h"
#include "sallyport.h"

static json_t *record_addresses(const MessageLink *link, const NetAddr *v4, const NetAddr *v6)
{
    char text[NETADDR_STRLEN];
    json_t *list = json_array();

    (void)json_array_append_new(list, json_string(netaddr_format(v4, text)));
    if (link->ipv6) {
        (void)json_array_append_new(list, json_string(netaddr_format(v6, text)));
    }
    return list;
}

static json_t *record_held(uint32_t held)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < LOCKDOWN_HELD_COUNT; i++) {
        if ((held & (1U << i)) != 0) {
            (void)json_array_append_new(list, json_string(lockdown_word((LockdownHeld)i)));
        }
    }
    return list;
}

/* What the kernel does not have shows in the datapath, which wants everything. */
static json_t *record_locked(const RecordLocked *locked)
{
    static const LockdownHeld kernels[] = {LOCKDOWN_LANDLOCK, LOCKDOWN_LANDLOCK_SCOPE};
    json_t *absent = json_array();

    for (size_t i = 0; !locked->insecure && i < G_N_ELEMENTS(kernels); i++) {
        if ((locked->held[ROLE_DATAPATH] & (1U << kernels[i])) == 0) {
            (void)json_array_append_new(absent, json_string(lockdown_word(kernels[i])));
        }
    }
    return json_pack("{s:o,s:o,s:o,s:o,s:b}", "datapath", record_held(locked->held[ROLE_DATAPATH]),
                     "inside", record_held(locked->held[ROLE_INSIDE]), "supervisor",
                     record_held(locked->held[ROLE_SUPERVISOR]), "absent", absent, "insecure",
                     locked->insecure);
}

json_t *record_ready(const Settings *settings, const MessageLink *link,
                     const MessageFastPathState *fast_path, const RecordLocked *locked,
                     unsigned published)
{
    const GuestSettings *guest = &settings->guest;
    const uint8_t *m = link->mac;
    g_autofree char *mac =
        g_strdup_printf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
    json_t *dns = settings->dns ? record_addresses(link, &guest->dns, &guest->dns6) : json_array();
    json_t *fast = json_pack("{s:b}", "on", fast_path->on);

    if (fast_path->on) {
        (void)json_object_set_new(fast, "loaded", json_boolean(fast_path->loaded));
    } else {
        (void)json_object_set_new(fast, "why", json_string(fast_path->why));
    }
    return json_pack("{s:i,s:s,s:o,s:o,s:o,s:i,s:s,s:s,s:i,s:o,s:o}", "pid", (int)getpid(),
                     "version", PACKAGE_VERSION, "guest",
                     record_addresses(link, &guest->addr, &guest->addr6), "gateway",
                     record_addresses(link, &guest->gateway, &guest->gateway6), "dns", dns, "mtu",
                     (int)link->mtu, "interface", guest->ifname, "mac", mac, "published",
                     (int)published, "fast_path", fast, "locked_down", record_locked(locked));
}

char *record_exit_line(const Settings *settings, const char *reason, int status,
                       const char *signal_name)
{
    const char *who = NULL;

    if (strcmp(reason, SALLYPORT_REASON_TAP_GONE) == 0) {
        return g_strdup_printf("%s was deleted from inside the guest", settings->guest.ifname);
    }
    if (strcmp(reason, SALLYPORT_REASON_INSIDE_DIED) == 0) {
        who = "the process in the guest's namespace";
    } else if (strcmp(reason, SALLYPORT_REASON_DATAPATH_DIED) == 0) {
        who = "the datapath";
    }
    if (who == NULL) {
        return NULL;
    }
    return signal_name != NULL ? g_strdup_printf("%s was killed by %s", who, signal_name)
                               : g_strdup_printf("%s ended with status %d", who, status);
}

char *record_signal_name(int number)
{
    const char *name = sigabbrev_np(number);

    return name != NULL ? g_strdup_printf("SIG%s", name)
                        : g_strdup_printf("SIGRTMIN+%d", number - SIGRTMIN);
}
