/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test_hostile_frames.c - frames that no kernel would send, by the thousand
 *
 * Frames of every length, good ones cut or with a wrong byte, fragments without end, ICMP of every type. Nothing may be answered
 * with more than it brought, cost memory, or end a process. See also test_hostile_headers.c.
 *
 * Lengths below 14 and above MTU + 14 are refused by the guest's own kernel (EINVAL, EMSGSIZE), whoever asks: seen here.
 * frame::lengths_no_link_of_ours_has_are_short is about them.
 */
#include "config.h"

#include <errno.h>
#include <net/ethernet.h>
#include <stdlib.h>

#include "hostilefixture.h"
#include "lab_test.h"

#define CLOSED_PORT 9
/* What tun allows: whole frames of 65,535 bytes. */
#define MTU_MOST 65521
/* An ICMP error has two headers more than it quotes. */
#define ERROR_EXTRA 48

static uint8_t frame[LAB_FRAME_MAX + 8192];

/* ---- 10: lengths ---- */

static void random_bytes(GRand *dice, uint8_t *at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        at[i] = (uint8_t)g_rand_int(dice);
}

LAB_TEST(hostile_frames, of_any_length_make_no_sound, .limit_ms = 60000)
{
    static const unsigned types[] = {ETHERTYPE_IP, ETHERTYPE_IPV6, ETHERTYPE_ARP, 0x88f8, 0x1234};
    g_autoptr(GRand) dice = g_rand_new_with_seed(10);
    Site site = site_begin(lab, NULL, NULL);
    unsigned sent = 0;

    lab_do(lab, LAB_GUEST, "ip link set tap0 mtu %d", MTU_MOST);
    (void)site_frame(&site, IPPROTO_UDP, 0, frame);
    random_bytes(dice, frame + ETHER_SIZE, sizeof frame - ETHER_SIZE);
    for (size_t length = 0; length <= 70000; length = length == 64 ? 65000 : length + 1) {
        bool fits = length >= ETHER_SIZE && length <= MTU_MOST + ETHER_SIZE;

        for (size_t t = 0; t < (length < 100 ? G_N_ELEMENTS(types) : 1); t++) {
            put16(frame + 12, types[(length + t) % G_N_ELEMENTS(types)]);
            random_bytes(dice, frame + ETHER_SIZE, 60);
            LAB_CHECK(lab_frames_offer(site.frames, frame, length) == fits, "%zu bytes: %s", length,
                      strerror(errno));
            sent += fits;
        }
        if (fits)
            LAB_ASSERT_EQ(lab_frames_fence(site.frames, NULL, NULL), 0);
    }
    LAB_ASSERT_EQ(sent, (64 - ETHER_SIZE + 1) * G_N_ELEMENTS(types) + 536);
    site_quiet(&site, "a random frame arrived");
    site_serves(&site);
}

/* ---- 11: good frames, cut and with one wrong byte ---- */

typedef struct Sum {
    unsigned sent, answered;
    size_t longest_sent, longest_answered;
} Sum;

static void sum_take(const uint8_t *answer, size_t length, void *user_data)
{
    Sum *sum = user_data;

    (void)answer;
    sum->answered++;
    sum->longest_answered = MAX(sum->longest_answered, length);
}

static void sum_send(const Site *site, Sum *sum, const uint8_t *bytes, size_t length)
{
    if (lab_frames_offer(site->frames, bytes, length)) {
        sum->sent++;
        sum->longest_sent = MAX(sum->longest_sent, length);
    }
}

/* As it is, and with checksums that are good again, so that it gets further. */
static void send_damaged(const Site *site, Sum *sum, size_t length)
{
    static uint8_t copy[2048];

    for (size_t cut = ETHER_SIZE; cut < length; cut++) {
        memcpy(copy, frame, cut);
        sum_send(site, sum, copy, cut);
        LAB_ASSERT(cut % 32 != 0 || lab_frames_fence(site->frames, sum_take, sum) >= 0);
    }
    for (size_t at = 0; at < length; at++)
        for (unsigned value = 0; value <= 0xff; value += 0xff) {
            memcpy(copy, frame, length);
            copy[at] = (uint8_t)value;
            sum_send(site, sum, copy, length);
            lab_frame_seal(copy, length);
            sum_send(site, sum, copy, length);
            LAB_ASSERT(at % 16 != 0 || lab_frames_fence(site->frames, sum_take, sum) >= 0);
        }
    LAB_ASSERT(lab_frames_fence(site->frames, sum_take, sum) >= 0);
}

typedef struct Sample {
    int protocol;
    const char *to[2];
    uint16_t to_port;
    uint8_t tcp_flags;
    const char *data;
    size_t length;
} Sample;

/* A question for A of "a.test". */
#define QUESTION                                                                                   \
    "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01"                                         \
    "a\x04test\x00\x00\x01\x00\x01"

static const Sample samples[] = {
    {IPPROTO_TCP, {LAB_FAR_V4, LAB_FAR_V6}, CLOSED_PORT, LAB_TCP_SYN, "", 0},
    {IPPROTO_TCP, {LAB_FAR_V4, LAB_FAR_V6}, CLOSED_PORT, LAB_TCP_ACK | LAB_TCP_PSH, "hello", 5},
    {IPPROTO_TCP, {LAB_FAR_V4, LAB_FAR_V6}, CLOSED_PORT, LAB_TCP_FIN | LAB_TCP_ACK, "", 0},
    {IPPROTO_TCP, {LAB_GATEWAY_V4, LAB_GATEWAY_V6}, CLOSED_PORT, LAB_TCP_SYN, "", 0},
    {IPPROTO_TCP, {LAB_DNS_V4, LAB_DNS_V6}, 53, LAB_TCP_SYN, "", 0},
    {IPPROTO_UDP, {LAB_FAR_V4, LAB_FAR_V6}, CLOSED_PORT, 0, "hello", 5},
    {IPPROTO_UDP, {LAB_DNS_V4, LAB_DNS_V6}, 53, 0, QUESTION, sizeof QUESTION - 1},
    {IPPROTO_UDP, {LAB_GATEWAY_V4, LAB_GATEWAY_V6}, 69, 0, "\0\1x\0octet\0", 10},
    {IPPROTO_ICMP, {LAB_GATEWAY_V4, LAB_GATEWAY_V6}, 0, 0, "hello", 5},
    {IPPROTO_ICMP, {LAB_FAR_V4, LAB_FAR_V6}, 0, 0, "hello", 5},
};

static void samples_from(const Site *site, Sum *sum, const char *const from[2])
{
    for (size_t i = 0; i < G_N_ELEMENTS(samples) * 2; i++) {
        const Sample *sample = &samples[i / 2];
        LabSegment segment = {.from = from[i % 2],
                              .to = sample->to[i % 2],
                              .from_port = (uint16_t)(51000 + i),
                              .to_port = sample->to_port,
                              .data = sample->data,
                              .length = sample->length,
                              .tcp_flags = sample->tcp_flags,
                              .tcp_seq = 1000};

        send_damaged(site, sum, lab_frame_make(site->frames, sample->protocol, &segment, frame));
    }
}

/* An ARP request and a neighbour solicitation, as lab_frames_adopt() sends them. */
static void neighbour_samples(const Site *site, Sum *sum)
{
    static const char arp[] = "0001080006040001020000000077"
                              "0a00024d0000000000000a000202";
    static const char ndp[] = "6000000000203afffd000000000000000000000000000077"
                              "fd000000000000000000000000000002"
                              "8700000000000000fd000000000000000000000000000002"
                              "0101020000000077";
    static const char *const bodies[] = {arp, ndp};

    for (size_t i = 0; i < G_N_ELEMENTS(bodies); i++) {
        size_t length = strlen(bodies[i]) / 2;

        (void)site_frame(site, IPPROTO_UDP, 0, frame);
        put16(frame + 12, i == 0 ? ETHERTYPE_ARP : ETHERTYPE_IPV6);
        (void)unhex(bodies[i], frame + ETHER_SIZE);
        lab_frame_seal(frame, ETHER_SIZE + length);
        send_damaged(site, sum, ETHER_SIZE + length);
    }
}

LAB_TEST(hostile_frames, cut_or_wrong_at_any_byte_end_nothing, .limit_ms = 90000)
{
    static const char *const own[] = {LAB_GUEST_V4, LAB_GUEST_V6};
    Site site = site_begin(lab, NULL, NULL);
    Sum sum = {0};

    samples_from(&site, &sum, raw_addresses);
    samples_from(&site, &sum, own);
    neighbour_samples(&site, &sum);
    LAB_CHECK(sum.sent > 10000, "%u frames", sum.sent);
    LAB_CHECK(sum.answered > 0 && sum.answered <= sum.sent, "%u answers to %u frames", sum.answered,
              sum.sent);
    LAB_CHECK(sum.longest_answered <= sum.longest_sent + ERROR_EXTRA,
              "an answer of %zu bytes to frames of %zu", sum.longest_answered, sum.longest_sent);
    for (size_t i = 0; i < G_N_ELEMENTS(site.traps); i++)
        lab_expect_quiet(site.traps[i], 0, "a damaged frame arrived where it was not sent");
    site_alive(&site);
}

/* ---- 15: fragments without end ---- */

static long resident_kib(Lab *lab, pid_t pid)
{
    g_autofree char *text = lab_says(
        lab, LAB_HOST, "sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/%d/status", (int)pid);

    return strtol(text, NULL, 10);
}

typedef struct Piece {
    uint16_t word; /* flags and offset */
    uint16_t length;
} Piece;

/* First and last, overlapping, tiny, beyond 65,535, and none that ends a datagram. */
static const Piece pieces[] = {
    {0x2000, 1480}, {0x2000, 8},    {0x2001, 1480}, {0x0001, 8},    {0x20b9, 1480}, {0x2004, 1000},
    {0x3fff, 1480}, {0x1fff, 1480}, {0x2000, 24},   {0xa000, 1480}, {0x8000, 100},  {0x2100, 0},
};

static size_t piece_make(const Site *site, const Piece *piece, unsigned id, bool six)
{
    uint8_t *ip = frame + ETHER_SIZE;

    (void)site_frame(site, IPPROTO_UDP, six, frame);
    if (six) {
        put16(ip + 4, 8U + piece->length);
        ip[6] = IPPROTO_FRAGMENT;
        ip[V6_SIZE] = IPPROTO_UDP;
        ip[V6_SIZE + 1] = 0;
        put16(ip + V6_SIZE + 2, (piece->word & 0x1fffU) << 3 | (piece->word >> 13 & 1));
        put32(ip + V6_SIZE + 4, id);
        return ETHER_SIZE + V6_SIZE + 8 + piece->length;
    }
    put16(ip + 2, V4_SIZE + (unsigned)piece->length);
    put16(ip + 4, id & 0xffff);
    put16(ip + 6, piece->word);
    lab_frame_seal(frame, ETHER_SIZE + V4_SIZE);
    return ETHER_SIZE + V4_SIZE + piece->length;
}

static void flood(const Site *site, unsigned count)
{
    static const unsigned batch = 128; /* the TAP holds 500 */

    for (unsigned i = 0; i < count; i++) {
        size_t length = piece_make(site, &pieces[i % G_N_ELEMENTS(pieces)], i, i % 7 == 6);

        LAB_CHECK(lab_frames_offer(site->frames, frame, length), "fragment: %s", strerror(errno));
        if (i % batch == batch - 1)
            LAB_ASSERT_EQ(lab_frames_fence(site->frames, NULL, NULL), 0);
    }
}

/* "100,000 per second for 60 s" is a number of fragments here, for no machine is asked how fast it is. */
static void fragments_cost_nothing(Lab *lab, unsigned count)
{
    Site site = site_begin(lab, NULL, NULL);
    g_autofree char *dropped = NULL;
    long before, after;

    flood(&site, 10000);
    before = resident_kib(lab, site.trio.datapath);
    flood(&site, count);
    after = resident_kib(lab, site.trio.datapath);
    LAB_CHECK(before > 0 && after - before < 1024, "%ld KiB more after %u fragments",
              after - before, count);
    /* All of them have come to the helper. */
    dropped =
        lab_says(lab, LAB_GUEST, "awk '/tap0:/ { sub(/.*:/, \"\"); print $12 + 0 }' /proc/net/dev");
    LAB_CHECK(strcmp(dropped, "0") == 0, "the TAP has lost %s frames", dropped);
    site_quiet(&site, "a fragment arrived");
    site_serves(&site);
}

LAB_TEST(hostile_frames, that_are_fragments_cost_no_memory, .limit_ms = 60000)
{
    fragments_cost_nothing(lab, 300000 / (unsigned)lab_time_factor());
}

LAB_TEST(hostile_frames, that_are_fragments_cost_no_memory_for_long, .limit_ms = 700000)
{
    if (g_getenv("SALLYPORT_TEST_LONG") == NULL)
        lab_skip("6,000,000 fragments, only with SALLYPORT_TEST_LONG");
    fragments_cost_nothing(lab, 6000000);
}

/* ---- 18: ICMP ---- */

typedef struct Echoed {
    size_t sent; /* length of the frame in @frame */
    unsigned replies, others;
    unsigned long length;
} Echoed;

/* A reply must be the request, but for type, checksum, addresses and hop limit. */
static void echoed_take(const uint8_t *answer, size_t length, void *user_data)
{
    Echoed *echoed = user_data;
    bool six = get16(answer + 12) == ETHERTYPE_IPV6;
    size_t at = ETHER_SIZE + (six ? V6_SIZE : V4_SIZE);
    uint8_t type = answer[at];

    echoed->length = length;
    if (type != (six ? 129 : 0)) {
        echoed->others++;
        return;
    }
    echoed->replies++;
    LAB_CHECK(length == echoed->sent &&
                  memcmp(answer + at + 4, frame + at + 4, length - at - 4) == 0,
              "a reply of %zu bytes to a request of %zu", length, echoed->sent);
}

static Echoed icmp_probe(const Site *site, int six, const char *to, unsigned type, const void *data,
                         size_t size)
{
    LabSegment segment = {
        .from = raw_addresses[six], .to = to, .from_port = 0, .data = data, .length = size};
    Echoed echoed = {.sent = lab_frame_make(site->frames, IPPROTO_ICMP, &segment, frame)};

    if (type <= 0xff) {
        frame[ETHER_SIZE + (six ? V6_SIZE : V4_SIZE)] = (uint8_t)type;
        lab_frame_seal(frame, echoed.sent);
    }
    lab_frames_send_raw(site->frames, frame, echoed.sent);
    LAB_ASSERT(lab_frames_fence(site->frames, echoed_take, &echoed) >= 0);
    return echoed;
}

/* @id is 0 in all of them. */
static void types_have_one_reply(Lab *lab, int six, const char *to, bool outside)
{
    Site site = site_begin(lab, NULL, NULL);
    unsigned request = six ? 128 : 8, replies = 0;
    LabAnswer late;

    for (unsigned type = 0; type <= 0xff; type++) {
        Echoed echoed = icmp_probe(&site, six, to, type, "0123456789abcdef", 16);

        LAB_CHECK(echoed.replies + echoed.others <= 1, "type %u to %s: %u answers", type, to,
                  echoed.replies + echoed.others);
        LAB_CHECK(echoed.others == 0, "type %u to %s is answered with %lu bytes", type, to,
                  echoed.length);
        LAB_CHECK(outside || echoed.replies == (type == request), "type %u to %s: %u replies", type,
                  to, echoed.replies);
        replies += echoed.replies;
    }
    while (outside && replies == 0 && lab_frames_next(site.frames, &late, LAB_MS(LAB_WAIT_MS)) &&
           late.icmp)
        replies++;
    LAB_CHECK(replies == 1, "%u replies from %s", replies, to);
    while (lab_frames_next(site.frames, &late, LAB_MS(100)))
        LAB_CHECK(!late.icmp, "a second reply from %s", to);
    site_alive(&site);
}

LAB_TEST(hostile_frames, of_icmp_have_one_reply_from_the_gateway)
{
    types_have_one_reply(lab, 0, LAB_GATEWAY_V4, false);
}

LAB_TEST(hostile_frames, of_icmp_have_one_reply_from_the_name_server)
{
    types_have_one_reply(lab, 0, LAB_DNS_V4, false);
}

LAB_TEST(hostile_frames, of_icmp_have_one_reply_from_the_far_machine)
{
    types_have_one_reply(lab, 0, LAB_FAR_V4, true);
}

LAB_TEST(hostile_frames, of_icmpv6_have_one_reply_from_the_gateway)
{
    types_have_one_reply(lab, 1, LAB_GATEWAY_V6, false);
}

LAB_TEST(hostile_frames, of_icmpv6_have_one_reply_from_the_name_server)
{
    types_have_one_reply(lab, 1, LAB_DNS_V6, false);
}

LAB_TEST(hostile_frames, of_icmpv6_have_one_reply_from_the_far_machine)
{
    types_have_one_reply(lab, 1, LAB_FAR_V6, true);
}

LAB_TEST(hostile_frames, of_sixty_four_kib_are_echoed_once_and_whole)
{
    static uint8_t data[MTU_MOST];
    Site site = site_begin(lab, NULL, NULL);

    lab_do(lab, LAB_GUEST, "ip link set tap0 mtu %d", MTU_MOST);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    for (int six = 0; six < 2; six++) {
        size_t most = MTU_MOST - ECHO_SIZE - (six ? V6_SIZE : V4_SIZE);
        const char *const to[] = {gateways[six], dns_addresses[six]};
        Echoed echoed;
        int64_t end;

        for (size_t i = 0; i < G_N_ELEMENTS(to); i++) {
            echoed = icmp_probe(&site, six, to[i], 256, data, most);
            LAB_CHECK(echoed.replies == 1 && echoed.others == 0, "%s: %u replies", to[i],
                      echoed.replies);
        }
        echoed = icmp_probe(&site, six, far_addresses[six], 256, data, most);
        /* The far machine's is some time on its way. */
        for (end = lab_now() + LAB_MS(LAB_WAIT_MS); echoed.replies == 0 && lab_now() < end;)
            LAB_ASSERT(lab_frames_fence(site.frames, echoed_take, &echoed) >= 0);
        LAB_CHECK(echoed.replies == 1 && echoed.others == 0, "%s: %u replies", far_addresses[six],
                  echoed.replies);
    }
    site_serves(&site);
}
