/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_hostile_libslirp.c - what breaks libslirp 4.7.0, through the gate and without it
 *
 * Each attack is one function over a link. The link is the guest's TAP, where it must do no harm, or a libslirp of its own
 * with nothing before it, where it must: else the first says nothing. The controls are skipped where libslirp is fixed.
 *
 *    urgent pointers (CVE-2026-9539)        the peer gets more bytes than were sent
 *    mixed header lengths of fragments      the reply has bytes that were never sent
 *    data that ends at one number           tcp_reass() follows a wild pointer
 *    127.0.0.1 as a destination             the host's loopback is reached, although that is disabled
 */
#include "config.h"

#include "hostilefixture.h"
#include "lab_test.h"

#define PORT      4000
#define SMALL_MTU 1500
/* A control that has got so much has seen enough: libslirp would go on for megabytes. */
#define ENOUGH 100000

/* A control that does no harm is a mistake of ours where harm is known to be done. */
static void skip_if_fixed(bool harmed)
{
    LAB_CHECK(harmed || strcmp(lab_naked_version(), "4.7.0") != 0,
              "libslirp 4.7.0 stands this: the test tries nothing");
    if (!harmed)
        lab_skip("libslirp %s stands this by itself", lab_naked_version());
}

/* ---- urgent pointers ---- */

typedef enum Placement {
    URGENT_BEFORE, /* a segment of its own, then data */
    URGENT_ON,     /* on the data */
    URGENT_AFTER,  /* data, then a segment of its own, then more data */
    PLACEMENTS
} Placement;

static void urgent_send(LabRawTcp *tcp, Placement placement, uint16_t pointer, const uint8_t *data,
                        size_t length)
{
    const uint32_t half = (uint32_t)length / 2;
    const uint8_t urg = LAB_TCP_PSH | LAB_TCP_URG;

    if (placement == URGENT_BEFORE)
        lab_rawtcp_send(tcp, 0, NULL, 0, urg, pointer);
    lab_rawtcp_send(tcp, 0, data, half, placement == URGENT_ON ? urg : LAB_TCP_PSH,
                    placement == URGENT_ON ? pointer : 0);
    if (placement == URGENT_AFTER)
        lab_rawtcp_send(tcp, half, NULL, 0, urg, pointer);
    lab_rawtcp_send(tcp, half, data + half, length - half, LAB_TCP_PSH, 0);
    lab_rawtcp_send(tcp, (uint32_t)length, NULL, 0, LAB_TCP_FIN, 0);
}

/* What the far end reads until the stream ends, @most at most. */
static GByteArray *read_all(int fd, size_t most)
{
    GByteArray *got = g_byte_array_new();
    uint8_t buffer[65536];
    int one = 1;

    LAB_ASSERT_CALL(setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one));
    while (got->len < most && lab_wait(fd, POLLIN, LAB_MS(LAB_WAIT_MS)) != 0) {
        ssize_t came = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);

        if (came <= 0)
            break;
        g_byte_array_append(got, buffer, (guint)came);
    }
    return got;
}

/* Return: true if exactly what was sent arrived */
static bool urgent_one(LabFrames *frames, int listener, int six, Placement placement,
                       uint16_t pointer)
{
    static uint16_t from_port = 20000;
    LabRawTcp tcp = {.frames = frames,
                     .from = raw_addresses[six],
                     .to = far_addresses[six],
                     .from_port = ++from_port,
                     .to_port = PORT,
                     .first = 1000};
    g_autoptr(GByteArray) got = NULL;
    uint8_t data[40];
    int far;

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(pointer + 31 * i);
    LAB_ASSERT(lab_rawtcp_open(&tcp, LAB_MS(LAB_WAIT_MS)));
    far = lab_accepted(listener);
    urgent_send(&tcp, placement, pointer, data, sizeof data);
    got = read_all(far, ENOUGH);
    lab_rawtcp_reset(&tcp);
    close(far);
    return got->len == sizeof data && memcmp(got->data, data, sizeof data) == 0;
}

static bool is_prime(unsigned number)
{
    for (unsigned i = 2; i * i <= number; i++)
        if (number % i == 0)
            return false;
    return true;
}

LAB_TEST(hostile_libslirp, urgent_pointers_of_any_kind_add_no_byte, .limit_ms = 60000)
{
    Site site = site_begin(lab, NULL, NULL);
    unsigned tried = 0;

    for (int six = 0; six < 2; six++) {
        int listener = lab_listen(lab, LAB_FAR, far_addresses[six], PORT);

        /* Steps are 2, 3, 5, 7, 11... */
        for (unsigned pointer = 0, step = 2; pointer <= UINT16_MAX; pointer += step++) {
            while (!is_prime(step))
                step++;
            for (int placement = 0; placement < PLACEMENTS; placement++, tried++)
                LAB_CHECK(
                    urgent_one(site.frames, listener, six, (Placement)placement, (uint16_t)pointer),
                    "pointer %u, placement %d: other bytes came to %s", pointer, placement,
                    far_addresses[six]);
        }
    }
    LAB_CHECK(tried > 900, "only %u pointers", tried);
    site_alive(&site);
}

static bool urgent_harms(Lab *lab, int six)
{
    LabNaked *naked = lab_naked_start(lab, SMALL_MTU);
    int listener = lab_listen(lab, LAB_FAR, far_addresses[six], PORT);
    bool exact = urgent_one(lab_naked_frames(naked), listener, six, URGENT_ON, 100);

    return lab_naked_end(naked) != 0 || !exact;
}

LAB_TEST(hostile_libslirp, control_one_urgent_pointer_adds_bytes_without_the_gate,
         .without_tun = true)
{
    skip_if_fixed(urgent_harms(lab, 0));
}

LAB_TEST(hostile_libslirp, control_one_urgent_pointer_adds_bytes_without_the_gate_over_ipv6,
         .without_tun = true)
{
    skip_if_fixed(urgent_harms(lab, 1));
}

/* ---- fragments whose headers differ in length ---- */

/* libslirp puts the data together behind the first header and reads on where the last one would end. The message is good
 * there, so that its checksum holds and it is answered. */
#define WHOLE_DATA 2000
#define WHOLE_CUT  1000

typedef struct Mixed {
    LabFrames *frames;
    int protocol;
    unsigned first, last; /* header lengths in words */
    size_t message;       /* bytes of the message that are really sent */
} Mixed;

static void fragment_send(const Mixed *mixed, const uint8_t *options, unsigned words,
                          uint16_t offset, const uint8_t *data, size_t length)
{
    static uint8_t frame[LAB_FRAME_MAX];
    LabSegment shell = {.from = LAB_RAW_V4,
                        .to = mixed->protocol == IPPROTO_ICMP ? LAB_GATEWAY_V4 : LAB_FAR_V4,
                        .from_port = 1,
                        .to_port = TRAP_PORT};
    uint8_t *ip = frame + ETHER_SIZE;

    (void)lab_frame_make(mixed->frames, mixed->protocol, &shell, frame);
    ip[0] = (uint8_t)(0x40 | words);
    put16(ip + 2, words * 4 + (unsigned)length);
    put16(ip + 4, 0x1000 + mixed->first * 16 + mixed->last);
    put16(ip + 6, offset);
    memset(ip + V4_SIZE, 1, words * 4 - V4_SIZE); /* no operation */
    if (options != NULL)
        memcpy(ip + V4_SIZE, options, words * 4 - V4_SIZE);
    memcpy(ip + words * 4, data, length);
    put16(ip + 10, 0);
    put16(ip + 10, fold(sum16(0, ip, words * 4)));
    lab_frames_send_raw(mixed->frames, frame, ETHER_SIZE + words * 4 + length);
}

static void message_put(uint8_t *at, size_t length, int protocol)
{
    static uint8_t frame[LAB_FRAME_MAX], payload[WHOLE_DATA];
    uint8_t *ip = frame + ETHER_SIZE;
    size_t header = protocol == IPPROTO_TCP ? TCP_SIZE : UDP_SIZE;

    memset(payload, 'm', sizeof payload);
    memset(frame, 0, ETHER_SIZE + V4_SIZE + header);
    put16(frame + 12, 0x0800);
    ip[0] = 0x45;
    put16(ip + 2, (unsigned)(V4_SIZE + length));
    ip[9] = (uint8_t)protocol;
    g_assert(inet_pton(AF_INET, LAB_RAW_V4, ip + 12) == 1);
    g_assert(inet_pton(AF_INET, LAB_FAR_V4, ip + 16) == 1);
    memcpy(ip + V4_SIZE + header, payload, length - header);
    put16(ip + V4_SIZE, protocol == IPPROTO_ICMP ? 0x0800 : 30001);
    put16(ip + V4_SIZE + 2, TRAP_PORT);
    put16(ip + V4_SIZE + 4, (unsigned)length);
    if (protocol == IPPROTO_TCP) {
        ip[V4_SIZE + 12] = 0x50;
        ip[V4_SIZE + 13] = LAB_TCP_SYN;
        put16(ip + V4_SIZE + 14, 64240);
    }
    lab_frame_seal(frame, ETHER_SIZE + V4_SIZE + length);
    memcpy(at, ip + V4_SIZE, length);
}

static void mixed_send(Mixed *mixed)
{
    static uint8_t whole[60 + WHOLE_DATA];
    size_t header = mixed->first * 4, total = header + WHOLE_DATA;
    size_t at = mixed->last * 4;

    memset(whole, 1, sizeof whole);
    mixed->message = MIN((size_t)WHOLE_DATA, total - at);
    message_put(whole + at, mixed->message, mixed->protocol);
    fragment_send(mixed, whole + V4_SIZE, mixed->first, 0x2000, whole + header, WHOLE_CUT);
    fragment_send(mixed, NULL, mixed->last, WHOLE_CUT / 8, whole + header + WHOLE_CUT,
                  WHOLE_DATA - WHOLE_CUT);
}

/* Adds up what is in the IP packets. */
static void mixed_take(const uint8_t *frame, size_t length, void *user_data)
{
    if (get16(frame + 12) == 0x0800 && length > ETHER_SIZE + V4_SIZE)
        *(size_t *)user_data +=
            get16(frame + ETHER_SIZE + 2) - (size_t)(frame[ETHER_SIZE] & 15) * 4;
}

LAB_TEST(hostile_libslirp, fragments_of_mixed_header_lengths_come_to_nothing, .limit_ms = 60000)
{
    static const int protocols[] = {IPPROTO_ICMP, IPPROTO_UDP, IPPROTO_TCP};
    Site site = site_begin(lab, "--mtu=1500", NULL);
    size_t answered = 0;

    for (size_t p = 0; p < G_N_ELEMENTS(protocols); p++)
        for (unsigned pair = 0; pair < 121; pair++) {
            Mixed mixed = {site.frames, protocols[p], 5 + pair / 11, 5 + pair % 11, 0};

            mixed_send(&mixed);
            LAB_ASSERT_EQ(lab_frames_fence(site.frames, mixed_take, &answered), 0);
        }
    LAB_ASSERT_EQ(answered, 0);
    site_quiet(&site, "a fragment arrived");
    site_serves(&site);
}

LAB_TEST(hostile_libslirp, control_fragments_of_mixed_header_lengths_leak_without_the_gate,
         .without_tun = true)
{
    LabNaked *naked = lab_naked_start(lab, SMALL_MTU);
    unsigned longer = 0, answers = 0;

    for (unsigned pair = 0; pair < 121; pair++) {
        Mixed mixed = {lab_naked_frames(naked), IPPROTO_ICMP, 5 + pair / 11, 5 + pair % 11, 0};
        size_t answered = 0;

        mixed_send(&mixed);
        if (lab_frames_fence(mixed.frames, mixed_take, &answered) < 0)
            break;
        answers += answered != 0;
        longer += answered > mixed.message;
    }
    /* It does reassemble; else nothing was tried. */
    LAB_ASSERT(answers > 0);
    skip_if_fixed(lab_naked_end(naked) != 0 || longer > 0);
}

/* ---- segments out of order, across one number ---- */

#define STREAM 6000

typedef struct Crossing {
    const char *option; /* of the helper */
    const char *from, *gateway, *to;
    uint32_t number; /* see helper/datapath/seqguard.c */
} Crossing;

/* Cuts @from to @to into pieces, one of which ends at @number sometimes, and sends them in any order. */
static void pieces_send(LabRawTcp *tcp, GRand *dice, const uint8_t *data, uint32_t from,
                        uint32_t to, uint32_t number)
{
    uint32_t at[256], length[256], count = 0;

    while (from < to && count < G_N_ELEMENTS(at)) {
        uint32_t size = (uint32_t)g_rand_int_range(dice, 1, 700);

        size = MIN(size, to - from);
        if (from < number && from + size > number && g_rand_boolean(dice))
            size = number - from;
        at[count] = from;
        length[count++] = size;
        from += size;
    }
    for (uint32_t i = count; i > 0; i--) {
        uint32_t pick = (uint32_t)g_rand_int_range(dice, 0, (gint32)i);

        lab_rawtcp_send(tcp, at[pick], data + at[pick], length[pick], LAB_TCP_PSH, 0);
        at[pick] = at[i - 1];
        length[pick] = length[i - 1];
    }
}

static void crosses(Lab *lab, Site *site, const Crossing *crossing, int listener, guint32 seed)
{
    static uint16_t from_port = 30000;
    g_autoptr(GRand) dice = g_rand_new_with_seed(seed);
    uint32_t before = (uint32_t)g_rand_int_range(dice, 1, STREAM - 1);
    LabRawTcp tcp = {.frames = site->frames,
                     .from = crossing->from,
                     .to = crossing->to,
                     .from_port = ++from_port,
                     .to_port = PORT,
                     .first = crossing->number - before};
    g_autofree uint8_t *data = g_malloc(STREAM);
    g_autofree char *sent = NULL, *received = NULL;
    g_autoptr(GByteArray) got = NULL;
    int far;

    (void)lab;
    for (size_t i = 0; i < STREAM; i++)
        data[i] = (uint8_t)g_rand_int(dice);
    LAB_ASSERT(lab_rawtcp_open(&tcp, LAB_MS(LAB_WAIT_MS)));
    far = lab_accepted(listener);
    for (unsigned turn = 0; tcp.acked < STREAM; turn++) {
        LAB_CHECK(turn < 500, "seed %u: %u bytes of %u, the number is at %u", seed, tcp.acked,
                  STREAM, before);
        pieces_send(&tcp, dice, data, tcp.acked, MIN(tcp.acked + 3000U, (uint32_t)STREAM), before);
        LAB_CHECK(lab_rawtcp_listen(&tcp), "seed %u: reset or gone", seed);
    }
    lab_rawtcp_send(&tcp, STREAM, NULL, 0, LAB_TCP_FIN, 0);
    got = read_all(far, 2 * STREAM);
    sent = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, STREAM);
    received = g_compute_checksum_for_data(G_CHECKSUM_SHA256, got->data, got->len);
    LAB_CHECK(got->len == STREAM && strcmp(sent, received) == 0,
              "seed %u: %u bytes of %u, SHA-256 %s", seed, got->len, STREAM, received);
    lab_rawtcp_reset(&tcp);
    close(far);
}

static void crosses_often(Lab *lab, const Crossing *crossing)
{
    Site site = site_begin(lab, crossing->option, NULL);
    int listener = lab_listen(lab, LAB_FAR, crossing->to, PORT);

    lab_frames_adopt(site.frames, crossing->from, crossing->gateway);
    for (guint32 seed = 1; seed <= 100; seed++)
        crosses(lab, &site, crossing, listener, seed);
    site_alive(&site);
}

LAB_TEST(hostile_libslirp, segments_in_any_order_cross_the_end_of_the_numbers, .limit_ms = 60000)
{
    crosses_often(lab, &(Crossing){NULL, LAB_RAW_V4, LAB_GATEWAY_V4, LAB_FAR_V4, 0});
}

LAB_TEST(hostile_libslirp, segments_in_any_order_cross_the_end_of_the_numbers_over_ipv6,
         .limit_ms = 60000)
{
    crosses_often(lab, &(Crossing){NULL, LAB_RAW_V6, LAB_GATEWAY_V6, LAB_FAR_V6, 0});
}

LAB_TEST(hostile_libslirp, segments_in_any_order_cross_a_number_out_of_the_guests_address,
         .limit_ms = 60000)
{
    uint8_t bytes[16];
    uint32_t number;

    g_assert(inet_pton(AF_INET6, "fd00:0:1234:5678::77", bytes) == 1);
    memcpy(&number, bytes + 4, sizeof number);
    crosses_often(lab, &(Crossing){"--cidr6=fd00:0:1234:5678::/64", "fd00:0:1234:5678::77",
                                   "fd00:0:1234:5678::2", LAB_FAR_V6, number});
}

/* Two segments, the second one first. Return: true if it lives */
static bool reordered(LabFrames *frames, int six, int listener)
{
    LabRawTcp tcp = {.frames = frames,
                     .from = raw_addresses[six],
                     .to = far_addresses[six],
                     .from_port = (uint16_t)(40000 + six),
                     .to_port = PORT,
                     .first = 0U - 20};
    bool lives;
    int far;

    LAB_ASSERT(lab_rawtcp_open(&tcp, LAB_MS(LAB_WAIT_MS)));
    far = lab_accepted(listener);
    lab_rawtcp_send(&tcp, 10, "0123456789", 10, LAB_TCP_PSH, 0);
    lab_rawtcp_send(&tcp, 0, "abcdefghij", 10, LAB_TCP_PSH, 0);
    lives = lab_rawtcp_listen(&tcp);
    /* Not before: what it has not read makes this a RST. */
    close(far);
    return lives;
}

static bool reordering_harms(Lab *lab, int six)
{
    LabNaked *naked = lab_naked_start(lab, SMALL_MTU);
    int listener = lab_listen(lab, LAB_FAR, far_addresses[six], PORT);

    (void)reordered(lab_naked_frames(naked), six, listener);
    return lab_naked_end(naked) != 0;
}

LAB_TEST(hostile_libslirp, control_two_segments_out_of_order_kill_without_the_gate,
         .without_tun = true)
{
    skip_if_fixed(reordering_harms(lab, 0));
}

LAB_TEST(hostile_libslirp, control_two_segments_out_of_order_kill_without_the_gate_over_ipv6,
         .without_tun = true)
{
    skip_if_fixed(reordering_harms(lab, 1));
}

LAB_TEST(hostile_libslirp, two_segments_out_of_order_do_not_kill)
{
    Site site = site_begin(lab, NULL, NULL);

    for (int six = 0; six < 2; six++) {
        int listener = lab_listen(lab, LAB_FAR, far_addresses[six], PORT);

        LAB_ASSERT(reordered(site.frames, six, listener));
        close(listener);
    }
    site_serves(&site);
}

/* ---- the host's loopback ---- */

/* Return: how many of TCP and UDP got there */
static int loopback_reached(LabFrames *frames, int tcp, int udp)
{
    LabSegment segment = {.from = LAB_RAW_V4,
                          .to = "127.0.0.1",
                          .from_port = 41000,
                          .to_port = PORT,
                          .tcp_flags = LAB_TCP_SYN,
                          .tcp_seq = 1000};
    int reached = 0;

    lab_frames_send_tcp(frames, &segment);
    segment.data = "probe";
    segment.length = 5;
    lab_frames_send_udp(frames, &segment);
    LAB_ASSERT(lab_frames_fence(frames, NULL, NULL) >= 0);
    reached += lab_wait(tcp, POLLIN, LAB_MS(200)) != 0;
    reached += lab_wait(udp, POLLIN, LAB_MS(200)) != 0;
    return reached;
}

LAB_TEST(hostile_libslirp, control_loopback_is_reached_without_the_gate, .without_tun = true)
{
    int tcp = lab_listen(lab, LAB_HOST, "127.0.0.1", PORT);
    int udp = lab_udp(lab, LAB_HOST, "127.0.0.1", PORT);
    LabNaked *naked = lab_naked_start(lab, SMALL_MTU);
    int reached = loopback_reached(lab_naked_frames(naked), tcp, udp);

    LAB_ASSERT_EQ(lab_naked_end(naked), 0);
    skip_if_fixed(reached == 2);
}

LAB_TEST(hostile_libslirp, loopback_is_not_reached)
{
    int tcp = lab_listen(lab, LAB_HOST, "127.0.0.1", PORT);
    int udp = lab_udp(lab, LAB_HOST, "127.0.0.1", PORT);
    Site site = site_begin(lab, NULL, NULL);

    LAB_ASSERT_EQ(loopback_reached(site.frames, tcp, udp), 0);
}
