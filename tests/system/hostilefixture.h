/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef SALLYPORT_TESTS_HOSTILEFIXTURE_H
#define SALLYPORT_TESTS_HOSTILEFIXTURE_H

/* Shared by the tests of what a guest's root sends by hand: a helper watched from outside, and where nothing may arrive. */

#include <arpa/inet.h>
#include <glib.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "../lab/lab_bytes.h"
#include "../lab/lab_helper.h"
#include "../lab/lab_raw.h"
#include "../lab/lab_wire.h"

/* Where nothing may arrive, and where something must. */
#define TRAP_PORT 4444
#define OPEN_PORT 4001

static const char *const raw_addresses[] = {LAB_RAW_V4, LAB_RAW_V6};
static const char *const far_addresses[] = {LAB_FAR_V4, LAB_FAR_V6};
static const char *const gateways[] = {LAB_GATEWAY_V4, LAB_GATEWAY_V6};
static const char *const dns_addresses[] = {LAB_DNS_V4, LAB_DNS_V6};

typedef struct Site {
    Lab *lab;
    LabHelper *helper;
    LabTrio trio;
    LabFrames *frames; /* LAB_RAW_V4 and LAB_RAW_V6 are adopted */
    int traps[4];      /* TCP and UDP of both families at FAR */
    unsigned sockets;  /* of HOST, at the start */
} Site;

/* TCP, UDP, ping and raw sockets of HOST's namespace; the datapath's are all there. */
static inline unsigned site_sockets(Lab *lab)
{
    g_autofree char *text =
        lab_says(lab, LAB_HOST, "cd /proc/net; cat tcp tcp6 udp udp6 icmp icmp6 raw raw6 | wc -l");

    return (unsigned)g_ascii_strtoull(text, NULL, 10);
}

static inline Site site_begin(Lab *lab, const char *option, const char *second)
{
    const char *const words[] = {option, second, NULL};
    Site site = {.lab = lab};

    for (int i = 0; i < 2; i++) {
        site.traps[2 * i] = lab_listen(lab, LAB_FAR, far_addresses[i], TRAP_PORT);
        site.traps[2 * i + 1] = lab_udp(lab, LAB_FAR, far_addresses[i], TRAP_PORT);
    }
    site.helper = lab_helper_for(lab, LAB_GUEST, words);
    site.trio = lab_trio(lab, lab_helper_pid(site.helper), LAB_GUEST);
    site.frames = lab_frames_open(lab, LAB_GUEST, "tap0");
    for (int i = 0; i < 2; i++)
        lab_frames_adopt(site.frames, raw_addresses[i], gateways[i]);
    LAB_ASSERT(lab_frames_fence(site.frames, NULL, NULL) >= 0);
    site.sockets = site_sockets(lab);
    return site;
}

static inline void site_alive(const Site *site)
{
    static const char *const names[] = {"supervisor", "inside", "datapath"};

    for (int i = 0; i < 3; i++) {
        struct pollfd gone = {.fd = site->trio.pidfds[i], .events = POLLIN};

        LAB_CHECK(poll(&gone, 1, 0) == 0, "%s has ended", names[i]);
    }
}

/* A datagram or SYN that would arrive in a trap. @out has LAB_FRAME_MAX bytes. */
static inline size_t site_frame(const Site *site, int protocol, int six, uint8_t *out)
{
    LabSegment segment = {.from = raw_addresses[six],
                          .to = far_addresses[six],
                          .from_port = 50000,
                          .to_port = TRAP_PORT,
                          .data = "datadatadatadata",
                          .length = 16,
                          .tcp_flags = LAB_TCP_SYN,
                          .tcp_seq = 1000};

    return lab_frame_make(site->frames, protocol, &segment, out);
}

static inline size_t unhex(const char *hex, uint8_t *out)
{
    size_t length = strlen(hex) / 2;

    for (size_t i = 0; i < length; i++)
        out[i] =
            (uint8_t)(g_ascii_xdigit_value(hex[2 * i]) << 4 | g_ascii_xdigit_value(hex[2 * i + 1]));
    return length;
}

/* All that was sent has been judged, nothing of it arrived, no socket was made for it, and all three processes live. */
static inline void site_quiet(const Site *site, const char *what)
{
    unsigned now;

    LAB_ASSERT(lab_frames_fence(site->frames, NULL, NULL) >= 0);
    for (size_t i = 0; i < G_N_ELEMENTS(site->traps); i++)
        lab_expect_quiet(site->traps[i], i == 0 ? LAB_MS(50) : 0, what);
    now = site_sockets(site->lab);
    LAB_CHECK(now <= site->sockets, "%s: %u sockets, %u at the start", what, now, site->sockets);
    site_alive(site);
}

/* A datagram that may pass arrives as it was sent. */
static inline void site_serves(const Site *site)
{
    static uint16_t from_port = 61000;

    for (int i = 0; i < 2; i++) {
        int fd = lab_udp(site->lab, LAB_FAR, far_addresses[i], OPEN_PORT);
        LabSegment segment = {.from = raw_addresses[i],
                              .to = far_addresses[i],
                              .from_port = ++from_port,
                              .to_port = OPEN_PORT,
                              .data = "good",
                              .length = 4};
        char got[8] = "";

        lab_frames_send_udp(site->frames, &segment);
        LAB_CHECK(lab_recv_datagram(fd, got, sizeof got, NULL, LAB_MS(LAB_WAIT_MS)) == 4 &&
                      memcmp(got, "good", 4) == 0,
                  "what may pass does not, family %d", i);
        close(fd);
    }
    site_alive(site);
}

#endif
