/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * test_nat.c - libslirp behind its adapter
 */
#include "config.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "datapath/nat.h"
#include "datapath/natshare.h"

#include "frame_samples.h"
#include "loopfixture.h"

typedef struct Caught {
    unsigned resets;
    unsigned lines;
    uint8_t last[FRAME_MAX];
    size_t len;
} Caught;

static void catch_frame(const uint8_t *frame, size_t len, void *user_data)
{
    Caught *caught = user_data;
    FrameView view;

    memcpy(caught->last, frame, len);
    caught->len = len;
    if (frame_parse(frame, len, &view) == FRAME_OK && view.protocol == IPPROTO_TCP) {
        caught->resets += (view.tcp_flags & FRAME_TCP_RST) != 0;
    }
}

static void count_log(const char *message, void *user_data)
{
    (void)message;
    ((Caught *)user_data)->lines++;
}

static Nat *nat_of(GMainContext *context, Caught *caught)
{
    NatHooks hooks = {.send = catch_frame, .log = count_log, .user_data = caught};
    Settings settings = {0};
    Nat *nat;

    cr_assert(netcidr_parse("10.0.2.0/24", AF_INET, &settings.guest.cidr, NULL));
    cr_assert(netcidr_parse("fd00::/64", AF_INET6, &settings.guest.cidr6, NULL));
    settings.guest.gateway = sample_addr("10.0.2.2");
    settings.guest.dns = sample_addr("10.0.2.3");
    settings.guest.gateway6 = sample_addr("fd00::2");
    settings.guest.dns6 = sample_addr("fd00::3");
    settings.guest.autoconf = true;
    nat = nat_new(&settings, 65520, true, context, &hooks, NULL);
    cr_assert_not_null(nat);
    return nat;
}

/* From now on connect(2) is refused before it returns, as a host's own policy may do it (BPF of a cgroup, SELinux). */
static void refuse_connect(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ECONNREFUSED),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {G_N_ELEMENTS(code), code};

    cr_assert_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    cr_assert_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* A port of the loopback where somebody listens. */
static int listen_on_loopback(uint16_t *ret_port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    cr_assert_eq(listen(fd, 16), 0);
    *ret_port = ntohs(addr.sin_port);
    return fd;
}

static size_t make_syn(uint8_t *frame, uint16_t src_port, uint16_t dst_port)
{
    TcpSpec spec = {"10.0.2.77",          "10.0.2.2",  .src_port = src_port,
                    .dst_port = dst_port, .seq = 1000, .flags = FRAME_TCP_SYN};

    return sample_tcp(frame, &spec);
}

static void input(Nat *nat, const uint8_t *frame, size_t len)
{
    FrameView view;

    cr_assert_eq(frame_parse(frame, len, &view), FRAME_OK);
    nat_input(nat, frame, len, &view);
}

/* The guest says where it is; libslirp looks at what waits for that when its clock has grown old. */
static void say_where(Nat *nat, GMainContext *context)
{
    static const char reply[] = "0001 0800 06 04 0002 020000000001 0a00024d 525500000202 0a000202";
    uint8_t frame[64];

    memcpy(frame, "\x52\x55\x0a\0\x02\x02\x02\0\0\0\0\x01\x08\x06", FRAME_ETH_LEN);
    for (unsigned i = 0; i < 3; i++) {
        input(nat, frame, FRAME_ETH_LEN + sample_unhex(reply, frame + FRAME_ETH_LEN));
        loop_run_ms(context, 50);
    }
}

/* The guest has never said where it is, so that libslirp's answers wait for its link address; 40 are more than it keeps. */
Test(nat, connections_refused_at_once_are_reset_and_leave_nothing_behind, .timeout = 30)
{
    static Caught caught;
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(Nat) nat = nat_of(context, &caught);
    uint8_t frame[256];

    refuse_connect();
    for (uint16_t i = 0; i < 40; i++) {
        input(nat, frame, make_syn(frame, (uint16_t)(41000 + i), 80));
        loop_drain(context);
    }
    say_where(nat, context);
    cr_expect_geq(caught.resets, 1);
    cr_expect_leq(caught.resets, 40);
    cr_expect_eq(nat_sockets(nat), 0);
}

/* DNS over TCP and the host's loopback, where it is allowed, go to the gateway: what the gate calls no new flow of the outside. */
Test(nat, connections_to_the_gateway_count_for_the_share_of_sockets)
{
    static Caught caught;
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(Nat) nat = nat_of(context, &caught);
    g_autoptr(NatShare) share = natshare_new(context, nat, 3);
    uint8_t frame[256];
    FrameView view;
    uint16_t port;
    int fd = listen_on_loopback(&port);
    unsigned admitted = 0;

    for (uint16_t i = 0; i < 8; i++) {
        size_t len = make_syn(frame, (uint16_t)(41000 + i), port);

        cr_assert_eq(frame_parse(frame, len, &view), FRAME_OK);
        if (natshare_admits(share, &view)) {
            admitted++;
            nat_input(nat, frame, len, &view);
        }
        view.tcp_flags = FRAME_TCP_ACK;
        cr_expect(natshare_admits(share, &view), "an ACK makes no socket");
    }
    cr_expect_eq(admitted, 3);
    cr_expect_eq(nat_sockets(nat), 3);
    (void)close(fd);
}

/* libslirp must not have to ask: an answer that nobody gives stays in its queue. */
Test(nat, sender_that_never_said_where_it_is_gets_answers_at_once)
{
    static Caught caught;
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(Nat) nat = nat_of(context, &caught);
    TcpSpec spec = {"fd00::77",  "fd00::2", .dst_port = 80,
                    .seq = 1000, .ack = 7,  .flags = FRAME_TCP_ACK};
    uint8_t frame[256];

    input(nat, frame, sample_tcp(frame, &spec));
    cr_expect_eq(caught.resets, 1, "IPv6");
    spec.src = "10.0.2.77";
    spec.dst = "10.0.2.2";
    input(nat, frame, sample_tcp(frame, &spec));
    cr_expect_eq(caught.resets, 2, "IPv4");
}

/* A DHCPDISCOVER of whoever has the hardware address @client, for @wanted of the guest's network if that is not 0. */
static size_t make_discover(uint8_t *frame, const char *from, uint32_t client, uint8_t wanted)
{
    static uint8_t l4[8 + 300];
    NetAddr src = sample_addr(from);
    NetAddr all = sample_addr("255.255.255.255");

    memset(l4, 0, sizeof(l4));
    memcpy(l4, "\0\x44\0\x43", 4);
    put16(l4 + 4, sizeof(l4));
    memcpy(l4 + 8, "\x01\x01\x06", 3);
    l4[8 + 28] = 2;
    put32(l4 + 8 + 30, client);
    memcpy(l4 + 8 + 236, "\x63\x82\x53\x63\x35\x01\x01\xff", 8);
    if (wanted != 0) {
        memcpy(l4 + 8 + 243, "\x32\x04\x0a\0\x02", 5);
        l4[8 + 248] = wanted;
        l4[8 + 249] = 0xff;
    }
    return sample_ip(frame, &src, &all, IPPROTO_UDP, 64, l4, sizeof(l4), UDP_SUM);
}

/* libslirp 4.7.0 loses the answer it has begun, 64 KiB at this MTU, where no lease is left. */
Test(nat, dhcp_without_a_lease_left_costs_no_more_than_so_much)
{
    static Caught caught;
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(Nat) nat = nat_of(context, &caught);
    uint8_t frame[512];
    size_t before; /* a sanitizer has a malloc(3) of its own: then it tells nothing */

    for (uint32_t i = 0; i < 16; i++) {
        caught.len = 0;
        input(nat, frame, make_discover(frame, "0.0.0.0", i, 0));
        cr_assert_gt(caught.len, 0, "lease %u", i);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        caught.len = 0;
        input(nat, frame, make_discover(frame, "0.0.0.0", 3, 0));
        cr_assert_gt(caught.len, 0, "whoever has a lease may ask as often as he likes");
    }
    before = mallinfo2().uordblks;
    caught.len = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        input(nat, frame, make_discover(frame, "0.0.0.0", 100 + i, 0));
    }
    cr_expect_eq(caught.len, 0);
    cr_expect_lt(mallinfo2().uordblks, before + (32U << 20));
    cr_expect_eq(caught.lines, 1, "said once");
}

/* libslirp remembers 16 link addresses, and enters those it leases; what is for one it has forgotten stays in its queue. */
Test(nat, leases_do_not_push_out_whoever_asks_for_them, .timeout = 30)
{
    static Caught caught;
    g_autoptr(GMainContext) context = g_main_context_new();
    g_autoptr(Nat) nat = nat_of(context, &caught);
    uint8_t frame[512];
    FrameView view;
    uint16_t port;
    int fd = listen_on_loopback(&port);
    TcpSpec ack = {"10.0.2.77",      "10.0.2.2",  .src_port = 41000,
                   .dst_port = port, .seq = 1001, .flags = FRAME_TCP_ACK};
    int server;

    input(nat, frame, make_syn(frame, 41000, port));
    server = accept(fd, NULL, NULL);
    cr_assert_geq(server, 0);
    loop_run_ms(context, 50);
    cr_assert_eq(frame_parse(caught.last, caught.len, &view), FRAME_OK);
    cr_assert_eq(view.tcp_flags, FRAME_TCP_SYN | FRAME_TCP_ACK);
    ack.ack = view.seq + 1;
    input(nat, frame, sample_tcp(frame, &ack));
    for (uint8_t i = 15; i < 31; i++) {
        caught.len = 0;
        input(nat, frame, make_discover(frame, "10.0.2.77", 1, i));
        cr_assert_gt(caught.len, 0, "lease %u", i);
    }
    cr_assert_eq(write(server, "hello", 5), 5);
    loop_run_ms(context, 50);
    cr_assert_eq(frame_parse(caught.last, caught.len, &view), FRAME_OK);
    cr_expect_eq(view.protocol, IPPROTO_TCP);
    cr_expect_eq(view.end - view.payload, 5);
    (void)close(server);
    (void)close(fd);
}
