/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_hostile_headers.c - options, extension headers, other protocols, UDP that lies, services of libslirp
 *
 * All of it is dropped: nothing arrives at the far machine, no socket is made for it, nothing is answered but what is refused
 * with an error. What is dropped is counted: gate and frame do so for each reason (gate::fragments_and_options_have_counters,
 * frame::every_attack_is_refused_for_its_reason), and the log says how many there were.
 */
#include "config.h"

#include <net/ethernet.h>

#include "hostilefixture.h"
#include "lab_test.h"

static uint8_t frame[LAB_FRAME_MAX];

/* ---- 16: options, extension headers, other protocols ---- */

typedef struct Odd {
    const char *name;
    int six;
    unsigned next;   /* IPv6: type of the first header put in */
    const char *hex; /* put in behind the IP header; NN is the protocol */
    bool jumbo;      /* the length of the payload is 0 */
} Odd;

#define TIMES10(x)  x x x x x x x x x x
#define ADDRESS_HEX "20010db8000100000000000000000002"
#define OPTIONS6    "3c00010400000000"

static const Odd odds[] = {
    {"no operation", 0, 0, "01010101", false},
    {"end of options", 0, 0, "00000000", false},
    {"40 bytes of options", 0, 0, TIMES10("01010101"), false},
    {"loose source route", 0, 0, "830704cb00710200", false},
    {"strict source route", 0, 0, "890704cb00710200", false},
    {"record route", 0, 0, "0707040000000000", false},
    {"timestamp", 0, 0, "4408050000000000", false},
    {"security", 0, 0, "820b00000000000000000000", false},
    {"router alert", 0, 0, "94040000", false},
    {"option of length 0", 0, 0, "83000400", false},
    {"option beyond the header", 0, 0, "83ff0400", false},
    {"hop-by-hop", 1, 0, "NN00010400000000", false},
    {"jumbo payload", 1, 0, "NN00c20400010000", true},
    {"jumbo payload beside a length", 1, 0, "NN00c20400010000", false},
    {"routing of type 0", 1, 43, "NN02000100000000" ADDRESS_HEX, false},
    {"routing without addresses", 1, 43, "NN00040000000000", false},
    {"destination options", 1, 60, "NN00010400000000", false},
    {"thirty-one destination options", 1, 60,
     TIMES10(OPTIONS6) TIMES10(OPTIONS6) TIMES10(OPTIONS6) "NN00010400000000", false},
    {"chain of all kinds", 1, 0,
     OPTIONS6 "2b00010400000000"
              "2c02000100000000" ADDRESS_HEX "NN00000000000001",
     false},
    {"header of 2,048 bytes in a short packet", 1, 60, "NNff010400000000", false},
    {"hop-by-hop behind another", 1, 60, "0000010400000000NN00010400000000", false},
    {"fragment that is whole", 1, 44, "NN00000000000001", false},
    {"first fragment", 1, 44, "NN00000100000002", false},
    {"authentication", 1, 51, "NN020000000000010000000100000000", false},
    {"encapsulated", 1, 50, "0000000100000001", false},
    {"mobility", 1, 135, "NN00000000000000", false},
    {"no next header", 1, 59, "", false},
    {"IPv4 in IPv6", 1, 4, "", false},
    {"protocol 253", 1, 253, "", false},
};

static size_t odd_make(const Site *site, const Odd *odd, int protocol)
{
    g_autofree char *hex = g_strdup(odd->hex);
    char *mark = strstr(hex, "NN");
    uint8_t extra[1024], *ip = frame + ETHER_SIZE;
    size_t length = site_frame(site, protocol, odd->six, frame), count;
    size_t header = odd->six ? V6_SIZE : V4_SIZE;

    if (mark != NULL)
        memcpy(mark, protocol == IPPROTO_TCP ? "06" : "11", 2);
    count = unhex(hex, extra);
    memmove(ip + header + count, ip + header, length - ETHER_SIZE - header);
    memcpy(ip + header, extra, count);
    length += count;
    if (odd->six) {
        ip[6] = (uint8_t)odd->next;
        put16(ip + 4, odd->jumbo ? 0 : (unsigned)(length - ETHER_SIZE - V6_SIZE));
    } else {
        ip[0] = (uint8_t)(0x45 + count / 4);
        put16(ip + 2, (unsigned)(length - ETHER_SIZE));
        lab_frame_seal(frame, length);
    }
    return length;
}

LAB_TEST(hostile_headers, with_options_or_extension_headers_come_to_nothing)
{
    Site site = site_begin(lab, NULL, NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(odds) * 2; i++) {
        const Odd *odd = &odds[i / 2];

        lab_frames_send_raw(site.frames, frame,
                            odd_make(&site, odd, i % 2 == 0 ? IPPROTO_UDP : IPPROTO_TCP));
        LAB_CHECK(lab_frames_fence(site.frames, NULL, NULL) == 0, "%s is answered", odd->name);
    }
    site_quiet(&site, "an option or extension header passed");
    site_serves(&site);
}

/* The first line of a class comes at once, the others are counted until the next, 5 s later. */
static uint64_t malformed_counted(LabHelper *helper)
{
    static const char more[] = "(and ";
    const char *record, *at;
    uint64_t count = 0;

    while ((record = lab_helper_await(helper, SALLYPORT_EVENT_LOG, SALLYPORT_CODE_REFUSED,
                                      LAB_MS(300))) != NULL) {
        if (strstr(record, "malformed") == NULL)
            continue;
        at = strstr(record, more);
        count += 1 + (at != NULL ? g_ascii_strtoull(at + strlen(more), NULL, 10) : 0);
    }
    return count;
}

LAB_TEST(hostile_headers, that_are_malformed_are_counted)
{
    Site site = site_begin(lab, "--log-level=debug", NULL);
    uint64_t sent = 0, counted;

    for (int pause = 0; pause < 2; pause++) {
        for (size_t i = 0; i < G_N_ELEMENTS(odds); i++, sent++)
            lab_frames_send_raw(site.frames, frame, odd_make(&site, &odds[i], IPPROTO_UDP));
        LAB_ASSERT_EQ(lab_frames_fence(site.frames, NULL, NULL), 0);
        g_usleep(pause == 0 ? 5100 * 1000 : 0);
    }
    /* The second half starts with a line that counts the first one; of the second no more is told yet. */
    sent -= G_N_ELEMENTS(odds) - 1;
    counted = malformed_counted(site.helper);
    /* The guest's kernel reports its groups (IGMP) with an option. */
    LAB_CHECK(counted >= sent && counted <= sent + 10,
              "%" G_GUINT64_FORMAT " counted of %" G_GUINT64_FORMAT, counted, sent);
}

LAB_TEST(hostile_headers, of_other_protocols_come_to_nothing)
{
    static const unsigned types[] = {0x88f8, 0x8100, 0x88a8, 0x8847, 0x8863, 0x8864, 0x88cc,
                                     0x8035, 0x0017, 0x05dc, 0x0600, 0x0000, 0xffff};
    Site site = site_begin(lab, NULL, NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        size_t length = site_frame(&site, IPPROTO_UDP, 0, frame);

        put16(frame + 12, types[i]);
        lab_frames_send_raw(site.frames, frame, length);
        /* A header of NC-SI whose length lies, for each of its commands. */
        memset(frame + ETHER_SIZE, 0, 60);
        frame[ETHER_SIZE + 1] = 1;
        for (unsigned command = 0; command <= 0xff; command++) {
            frame[ETHER_SIZE + 4] = (uint8_t)command;
            put16(frame + ETHER_SIZE + 6, 0x0fff);
            lab_frames_send_raw(site.frames, frame, ETHER_SIZE + 16);
        }
        LAB_CHECK(lab_frames_fence(site.frames, NULL, NULL) == 0, "ethertype %04x is answered",
                  types[i]);
    }
    site_quiet(&site, "a frame that is no IP arrived");
}

/* ---- 16: what libslirp serves by itself ---- */

static void only_errors(const uint8_t *answer, size_t length, void *user_data)
{
    const uint8_t *ip = answer + ETHER_SIZE;
    bool six = get16(answer + 12) == ETHERTYPE_IPV6;

    LAB_CHECK(length > ETHER_SIZE + V4_SIZE && (six ? ip[6] : ip[9]) != IPPROTO_UDP,
              "%s is answered with a datagram", (const char *)user_data);
}

static void service_probe(const Site *site, const char *name, LabSegment segment)
{
    int answers;

    lab_frames_send_udp(site->frames, &segment);
    answers = lab_frames_fence(site->frames, only_errors, (void *)(uintptr_t)name);
    LAB_CHECK(answers >= 0 && answers <= 1, "%s has %d answers", name, answers);
}

/* What stands behind the magic cookie. */
static const char *const dhcp_options[] = {
    "350101ff",
    "350101",
    "35ff01",
    "3500",
    "35",
    "",
    "0000000000000000",
    "340103350101ff",
    "340103ff",
    "5200520052005200",
    "3204000000003d000c000000",
    "3d07010200000000773501",
    "fffefdfc",
};

LAB_TEST(hostile_headers, for_dhcp_and_tftp_are_not_served)
{
    static const char *const servers[] = {"255.255.255.255", "10.0.2.255", LAB_GATEWAY_V4,
                                          LAB_DNS_V4};
    static const char *const clients[] = {"0.0.0.0", LAB_RAW_V4};
    static const char tftp[] = "\0\1/etc/passwd\0octet\0tsize\0000\0blksize\00065464";
    static const char solicit[] = "\1\1\2\3\0\1\0\n\0\3\0\1\2\0\0\0\0w\0\10\0\2\0\0\0\6\0\0";
    uint8_t boot[240 + 64] = {1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78};
    Site site = site_begin(lab, NULL, NULL);

    memcpy(boot + 28, "\2\0\0\0\0w", 6);
    memcpy(boot + 236, "\x63\x82\x53\x63", 4);
    for (size_t i = 0; i < G_N_ELEMENTS(dhcp_options); i++)
        for (size_t s = 0; s < G_N_ELEMENTS(servers); s++)
            for (size_t c = 0; c < G_N_ELEMENTS(clients); c++) {
                size_t count = unhex(dhcp_options[i], boot + 240);

                service_probe(&site, "DHCP",
                              (LabSegment){.from = clients[c],
                                           .to = servers[s],
                                           .from_port = 68,
                                           .to_port = 67,
                                           .data = boot,
                                           .length = 240 + count});
            }
    for (int six = 0; six < 2; six++)
        for (size_t s = 0; s < 2; s++) {
            const char *to = s == 0 ? gateways[six] : dns_addresses[six];

            service_probe(&site, "TFTP",
                          (LabSegment){.from = raw_addresses[six],
                                       .to = to,
                                       .from_port = 2000,
                                       .to_port = 69,
                                       .data = tftp,
                                       .length = sizeof tftp});
        }
    for (size_t s = 0; s < 2; s++)
        service_probe(&site, "DHCPv6",
                      (LabSegment){.from = "fe80::77",
                                   .to = s == 0 ? "ff02::1:2" : LAB_GATEWAY_V6,
                                   .from_port = 546,
                                   .to_port = 547,
                                   .data = solicit,
                                   .length = sizeof solicit - 1});
    site_quiet(&site, "a question for a service of libslirp arrived");
}

/* ---- 17: UDP ---- */

typedef struct BadUdp {
    const char *name;
    int six;
    size_t at; /* in the UDP header */
    uint16_t value;
    bool seal; /* the checksum is good for what the frame says */
} BadUdp;

#define FITTING (UDP_SIZE + 16)

static const BadUdp bad_udp[] = {
    {"length 0", 0, 4, 0, true},
    {"length 1", 0, 4, 1, true},
    {"length 2", 0, 4, 2, true},
    {"length 3", 0, 4, 3, true},
    {"length 4", 0, 4, 4, true},
    {"length 5", 0, 4, 5, true},
    {"length 6", 0, 4, 6, true},
    {"length 7", 0, 4, 7, true},
    {"one byte less than there is", 0, 4, FITTING - 1, true},
    {"one byte more than there is", 0, 4, FITTING + 1, true},
    {"length 65,535", 0, 4, 65535, true},
    {"source port 0", 0, 0, 0, true},
    {"destination port 0", 0, 2, 0, true},
    {"wrong checksum", 0, 6, 0x1234, false},
    {"length 0, IPv6", 1, 4, 0, true},
    {"length 7, IPv6", 1, 4, 7, true},
    {"one byte less than there is, IPv6", 1, 4, FITTING - 1, true},
    {"one byte more than there is, IPv6", 1, 4, FITTING + 1, true},
    {"length 65,535, IPv6", 1, 4, 65535, true},
    {"source port 0, IPv6", 1, 0, 0, true},
    {"destination port 0, IPv6", 1, 2, 0, true},
    {"wrong checksum, IPv6", 1, 6, 0x1234, false},
    {"no checksum, IPv6", 1, 6, 0, false},
};

LAB_TEST(hostile_headers, of_bad_udp_come_to_nothing)
{
    Site site = site_begin(lab, NULL, NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(bad_udp); i++) {
        const BadUdp *bad = &bad_udp[i];
        size_t length = site_frame(&site, IPPROTO_UDP, bad->six, frame);

        put16(frame + ETHER_SIZE + (bad->six ? V6_SIZE : V4_SIZE) + bad->at, bad->value);
        if (bad->seal)
            lab_frame_seal(frame, length);
        lab_frames_send_raw(site.frames, frame, length);
        LAB_CHECK(lab_frames_fence(site.frames, NULL, NULL) == 0, "%s is answered", bad->name);
        site_quiet(&site, bad->name);
    }
    site_serves(&site);
}

/* RFC 768: over IPv4 there may be none. This is the one of its list that passes. */
LAB_TEST(hostile_headers, of_udp_without_a_checksum_arrive_over_ipv4)
{
    Site site = site_begin(lab, NULL, NULL);
    size_t length = site_frame(&site, IPPROTO_UDP, 0, frame);
    char got[64];

    put16(frame + ETHER_SIZE + V4_SIZE + 6, 0);
    lab_frames_send_raw(site.frames, frame, length);
    LAB_ASSERT_EQ(lab_recv_datagram(site.traps[1], got, sizeof got, NULL, LAB_MS(LAB_WAIT_MS)), 16);
    LAB_ASSERT(memcmp(got, "datadatadatadata", 16) == 0);
}
