/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab.h - a small internet in namespaces, for one system test
 *
 * A test body runs in a process of its own, the runtime: it plays the parent of the helper, stands in HOST's network
 * namespace and, unless the lab was made by root, in a user namespace without any capability over HOST. Sockets of every
 * other place are made by that place's keeper and handed over, so a whole test is one process with ordinary sockets.
 *
 *    GUEST  the sandbox: empty network namespace (lo, down), its own user namespace
 *    HOST   192.0.2.1/24 and .7, 2001:db8:1::1/64 and ::7 on host0; 203.0.113.1/24, 2001:db8:3::1/64 on host1
 *    FAR    192.0.2.2/24, 2001:db8:1::2/64 on far0; 203.0.113.2/24, 2001:db8:3::2/64 on far1;
 *           198.51.100.1, 2001:db8:2::1, 169.254.169.254 and 169.254.7.7 on lo; HOST's default routes lead here
 *
 *    test program (Criterion's worker)
 *      '- warden       makes the namespaces, owns every other process, kills what is left over
 *          |- keeper of HOST      root of the lab's user namespace
 *          |- keeper of FAR       root of the lab's user namespace
 *          '- runtime             uid 1000, no capability: runs the body, spawns the helper
 *              |- keeper STEWARD  root of the runtime's user namespace, HOST's network
 *              |- keeper RUNTIME  what the runtime is; for commands of an ordinary user of the host
 *              '- keeper of GUEST root of the guest's user namespace
 *
 * Made by root with LAB_MODE=root, the lab has no user namespace of its own: warden, HOST, FAR, STEWARD and runtime
 * are root, and GUEST is uid 100000 and up (or root too, LabOptions.guest_userns_initial). LAB_MODE=user makes root
 * step down to uid 1000 first. Without LAB_MODE the lab is what the caller is.
 *
 * HOST, FAR, STEWARD and runtime share one mount namespace, which is not the machine's: tests may mount there.
 */
#ifndef LAB_H
#define LAB_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define LAB_HOST_V4   "192.0.2.1"
#define LAB_HOST_V4_2 "192.0.2.7"
#define LAB_HOST_V4_3 "203.0.113.1" /* host1 */
#define LAB_HOST_V6   "2001:db8:1::1"
#define LAB_HOST_V6_2 "2001:db8:1::7"
#define LAB_HOST_V6_3 "2001:db8:3::1" /* host1 */
#define LAB_FAR_V4    "192.0.2.2"
#define LAB_FAR_V4_3  "203.0.113.2" /* far1 */
#define LAB_FAR_V6    "2001:db8:1::2"
#define LAB_FAR_V6_3  "2001:db8:3::2" /* far1 */
#define LAB_ROUTED_V4 "198.51.100.1"
#define LAB_ROUTED_V6 "2001:db8:2::1"
#define LAB_METADATA  "169.254.169.254"
#define LAB_LINKLOCAL "169.254.7.7"

/* What the helper gives the guest unless told otherwise. */
#define LAB_GUEST_V4   "10.0.2.100"
#define LAB_GUEST_V6   "fd00::64"
#define LAB_GATEWAY_V4 "10.0.2.2"
#define LAB_GATEWAY_V6 "fd00::2"
#define LAB_DNS_V4     "10.0.2.3"
#define LAB_DNS_V6     "fd00::3"

typedef struct Lab Lab;

/* More guests come after the last one: lab_guest_new(). */
typedef enum LabPlace {
    LAB_HOST,
    LAB_FAR,
    LAB_STEWARD,
    LAB_RUNTIME,
    LAB_GUEST,
} LabPlace;

typedef struct LabOptions {
    bool preset; /* unused: where the initialiser of LAB_TEST() begins */
    bool
        guest_userns_initial; /* root only: GUEST's namespace is owned by the initial user namespace; user: skip */
    bool without_tun;    /* the body needs no /dev/net/tun */
    bool ping_forbidden; /* HOST keeps the kernel\'s ping_group_range: nobody */
    int limit_ms; /* how long the body may take; 0 means LAB_BODY_MS; times lab_time_factor() */
} LabOptions;

#define LAB_BODY_MS 30000
/* Every single wait ends after this, times lab_time_factor(), unless the call takes a time of its own. */
#define LAB_WAIT_MS 5000

/* ---- running a body (lab.c) ---- */

typedef enum LabVerdict {
    LAB_PASSED,
    LAB_FAILED,
    LAB_SKIPPED,
} LabVerdict;

typedef void (*LabBody)(Lab *lab);

/**
 * lab_try() - build a lab, run a body in it, take everything down again
 * @options: (optional) what the body wants
 * @body:    ends by returning, or by a failed LAB_ assertion or lab_skip()
 * @text:    (out) why it failed or was skipped; empty when it passed
 * @size:    bytes at @text
 *
 * MUST_WORK=1 in the environment: what cannot be built or done here is a failure, not a skip.
 */
LabVerdict lab_try(const LabOptions *options, LabBody body, char *text, size_t size);

/* Ends the body: the test has no meaning in this mode of the lab. */
void lab_skip(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Ends the body: this machine cannot do it. A skip, or with MUST_WORK=1 a failure. */
void lab_cannot(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Ends the body: failed. */
void lab_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));

/* 1, or 5 under a sanitizer; LAB_TIME_FACTOR in the environment overrides. */
int lab_time_factor(void);
#define LAB_MS(ms) ((ms)*lab_time_factor())

/* Monotonic milliseconds. */
int64_t lab_now(void);

bool lab_is_root(const Lab *lab);

/* An empty directory for the test's files: a tmpfs that vanishes with the lab; the runtime owns it. */
const char *lab_directory(const Lab *lab);

/* The name of a file in lab_directory(); valid until the body ends. */
const char *lab_path(Lab *lab, const char *name);

/* Writes a whole file, in place; and by renaming a new one over it. */
void lab_write_file(const char *path, const char *text);
void lab_replace_file(const char *path, const char *text);

#define LAB_ASSERT(condition)                                                                      \
    do {                                                                                           \
        if (!(condition))                                                                          \
            lab_fail(__FILE__, __LINE__, "%s is not so (errno %d)", #condition, errno);            \
    } while (0)

/* The condition and a printf text of the values. */
#define LAB_CHECK(condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            lab_fail(__FILE__, __LINE__, __VA_ARGS__);                                             \
    } while (0)

#define LAB_ASSERT_EQ(got, wanted)                                                                 \
    do {                                                                                           \
        long long lab_got_ = (long long)(got), lab_wanted_ = (long long)(wanted);                  \
        if (lab_got_ != lab_wanted_)                                                               \
            lab_fail(__FILE__, __LINE__, "%s is %lld, wanted %s = %lld", #got, lab_got_, #wanted,  \
                     lab_wanted_);                                                                 \
    } while (0)

/* A call that returns -1 and errno. */
#define LAB_ASSERT_CALL(call)                                                                      \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            lab_fail(__FILE__, __LINE__, "%s: %s", #call, strerror(errno));                        \
    } while (0)

/* ---- places (lab_keeper.c, lab_place.c) ---- */

/* Makes another sandbox beside GUEST; at most LAB_GUESTS_MAX in all. */
#define LAB_GUESTS_MAX 4
LabPlace lab_guest_new(Lab *lab);

/* Ends a guest's first process (SIGKILL) and waits until it is gone. */
void lab_guest_end(Lab *lab, LabPlace guest);

/* The place's keeper: for a guest, the PID a helper is pointed at. */
pid_t lab_pid(const Lab *lab, LabPlace place);

/* The place's namespaces, O_CLOEXEC, owned by the lab. */
int lab_netns(const Lab *lab, LabPlace place);
int lab_userns(const Lab *lab, LabPlace place);

/* A socket made in @place by its keeper: O_CLOEXEC, blocking. -1 and errno if the kernel refused. */
int lab_socket(Lab *lab, LabPlace place, int family, int type, int protocol);

/* The same, bound by the keeper, who has the right to bind any port there. SO_REUSEADDR; IPv6 sockets are v6only. */
int lab_socket_bound(Lab *lab, LabPlace place, int type, const char *address, uint16_t port);

/**
 * typedef LabFunction - something to do in a place
 * @argument, @length: a copy of what lab_run() was given; nothing else of the body's memory is newer than the keeper
 *
 * Runs in a process of its own. Return: its exit status
 */
typedef int (*LabFunction)(const void *argument, size_t length);

/* Runs a function in a place and waits. Return: its exit status, 128 + signal, or 255 after LAB_WAIT_MS */
int lab_run(Lab *lab, LabPlace place, LabFunction function, const void *argument, size_t length);

typedef struct LabOutput {
    char *out; /* standard output, NUL-terminated; lab_output_clear() frees */
    char *err; /* standard error */
} LabOutput;

void lab_output_clear(LabOutput *output);

/* Runs a command in a place: lab_exec(lab, place, &output or NULL, "ip", "address", NULL). Return: as lab_run() */
int lab_exec(Lab *lab, LabPlace place, LabOutput *output, ...) __attribute__((sentinel));
int lab_execv(Lab *lab, LabPlace place, LabOutput *output, const char *const *argv);
/* The same with words split at blanks, and any status but 0 fails the test. */
void lab_do(Lab *lab, LabPlace place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

typedef struct LabJob LabJob;

/* Starts a command or function in a place and leaves it running; its output goes to the test's standard error. */
LabJob *lab_start(Lab *lab, LabPlace place, LabFunction function, const void *argument,
                  size_t length);
LabJob *lab_startv(Lab *lab, LabPlace place, const char *const *argv);
pid_t lab_job_pid(const LabJob *job);
void lab_job_signal(LabJob *job, int signal);
/* Waits and frees; kills at the deadline. Return: as lab_run() */
int lab_job_wait(LabJob *job, int timeout_ms);
/* Kills and frees. */
void lab_job_end(LabJob *job);

/* Writes a sysctl of a place: lab_sysctl(lab, LAB_HOST, "net/ipv4/ip_unprivileged_port_start", "0"). */
void lab_sysctl(Lab *lab, LabPlace place, const char *name, const char *value);

/* Bind-mounts a file or directory over another one, for HOST and the runtime. */
void lab_mount_over(Lab *lab, const char *source, const char *target);

/* Allows @count more user namespaces below the runtime's (0: none). Skips the test as root: the limit is the machine's. */
void lab_limit_user_namespaces(Lab *lab, int count);

/* ---- addresses and sockets (lab_socket.c) ---- */

/* Text to sockaddr; "::1", "127.0.0.1", "fe80::1%4". Returns the length; a bad address fails the test. */
socklen_t lab_address(struct sockaddr_storage *ret, const char *address, uint16_t port);
bool lab_address_is_v6(const char *address);
uint16_t lab_port(int fd);

/* "192.0.2.1:80" of a socket's peer or of itself; from a static ring of buffers. */
const char *lab_peer_text(int fd);
const char *lab_address_text(const struct sockaddr_storage *address);

/* A TCP listener (backlog 4096) or UDP socket; port 0: see lab_port(). Failure fails the test. */
int lab_listen(Lab *lab, LabPlace place, const char *address, uint16_t port);
int lab_udp(Lab *lab, LabPlace place, const char *address, uint16_t port);

/* Connects within @timeout_ms. Return: fd (blocking), or -1 and errno: ECONNREFUSED, ETIMEDOUT, ... */
int lab_connect(Lab *lab, LabPlace place, const char *address, uint16_t port, int timeout_ms);
/* The same, and failure fails the test; LAB_WAIT_MS. */
int lab_connected(Lab *lab, LabPlace place, const char *address, uint16_t port);
/* A UDP socket connected to an address. */
int lab_udp_connected(Lab *lab, LabPlace place, const char *address, uint16_t port);

/* Return: fd, or -1 and errno ETIMEDOUT */
int lab_accept(int listener, int timeout_ms);
/* Waits LAB_WAIT_MS; failure fails the test. */
int lab_accepted(int listener);

/* Waits until one of POLLIN, POLLOUT, ... is there. Return: revents, 0 after the time */
int lab_wait(int fd, short events, int timeout_ms);

/* Whole buffers, each byte of them within LAB_WAIT_MS; failure fails the test. */
void lab_send(int fd, const void *data, size_t length);
void lab_recv(int fd, void *data, size_t length);
/* Sends text, expects text at the other end. */
void lab_say(int from, int to, const char *text);

/* One datagram within the time. Return: its length, or -1 and errno ETIMEDOUT, ECONNREFUSED, ... */
ssize_t lab_recv_datagram(int fd, void *data, size_t size, struct sockaddr_storage *from,
                          int timeout_ms);
void lab_send_datagram(int fd, const char *address, uint16_t port, const void *data, size_t length);

/* How a stream ended. LAB_END_NONE: not within the time; LAB_END_DATA: a byte came instead. */
typedef enum LabEnd {
    LAB_END_NONE,
    LAB_END_DATA,
    LAB_END_EOF,
    LAB_END_RESET,
    LAB_END_ERROR,
} LabEnd;
LabEnd lab_wait_end(int fd, int timeout_ms);
const char *lab_end_text(LabEnd end);

/* Closes with RST. */
void lab_reset(int fd);
/* Nothing may be readable (an accept, a datagram, a byte) for @quiet_ms; else the test fails with @what. */
void lab_expect_quiet(int fd, int quiet_ms, const char *what);

/* ---- the fast path beside libslirp (lab_tap.c) ---- */

struct LabHelper;

/* Two guests alike but for who carries their TCP. */
typedef struct LabPair {
    LabPlace guest[2]; /* the first one has --fast-path=require, the second --fast-path=off */
    struct LabHelper *helper[2];
    const char *name[2];
} LabPair;

/* Words as for lab_helper(); ports published must be others for the second one: "%d" in a word is 0 and 1. */
LabPair lab_pair(Lab *lab, const char *const *words);

/* A connect(). */
typedef struct LabAttempt {
    const char *address; /* (in) */
    uint16_t port;       /* (in) */
    int fd;              /* (in) any socket; (out) blocking, -1 if it failed */
    int error;           /* errno of connect(), or SO_ERROR; ETIMEDOUT also when the time was up */
    short revents;       /* what poll() said at last; 0 when the time was up */
    int ms;              /* how long it took */
} LabAttempt;

/* All of them at the same time, by connect() and poll(). */
void lab_attempts(LabAttempt *attempts, size_t count, int timeout_ms);
/* One with a new socket, bound to @source unless that is 0; LAB_WAIT_MS. */
LabAttempt lab_attempt(Lab *lab, LabPlace place, const char *address, uint16_t port,
                       uint16_t source);

/* What a shell command prints, without the last newline; to be freed. Any status but 0 fails the test. */
char *lab_says(Lab *lab, LabPlace place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Loads rules of nft(8). */
void lab_nft(Lab *lab, LabPlace place, const char *rules);
/* Bytes over tap0 so far, both ways. */
uint64_t lab_tap_bytes(Lab *lab, LabPlace guest);

/* ---- traffic (lab_traffic.c) ---- */

/**
 * lab_transfer() - move bytes between two ends of one connection, and compare SHA-256
 * @a, @b:    the ends
 * @a_to_b:   bytes from @a to @b; then the sender's FIN must arrive
 * @b_to_a:   at the same time, the other way
 * @chunk:    at most so many bytes per call; 0 means 256 KiB
 *
 * Fails the test if nothing moves for LAB_WAIT_MS, if the sums differ or a FIN is missing.
 */
void lab_transfer(int a, int b, uint64_t a_to_b, uint64_t b_to_a, size_t chunk);

/* A server for as long as the lab lives, a child of the runtime. The sockets are closed here. */
typedef enum LabService {
    LAB_ECHO,    /* what comes goes back; EOF is answered by EOF */
    LAB_SINK,    /* reads, says nothing */
    LAB_SOURCE,  /* sends until the peer closes */
    LAB_DISCARD, /* accepts and closes */
} LabService;
pid_t lab_serve_tcp(Lab *lab, int take_listener, LabService service);
/* LAB_ECHO or LAB_SINK. */
pid_t lab_serve_udp(Lab *lab, int take_fd, LabService service);
void lab_serve_end(Lab *lab, pid_t server);

/* Echo (ping) over a ping or raw socket made in @place. Return: true if the reply came in time */
bool lab_ping(Lab *lab, LabPlace place, const char *address, size_t payload, int timeout_ms);

/* ---- raw frames of a guest (lab_frame.c) ---- */

typedef struct LabFrames LabFrames;

/* An AF_PACKET socket on an interface of a place; knows the gateway's MAC (asked by ARP; IPv6 uses the same). */
LabFrames *lab_frames_open(Lab *lab, LabPlace place, const char *ifname);
void lab_frames_close(LabFrames *frames);

typedef struct LabSegment {
    const char *from; /* NULL: the guest's address of the family */
    const char *to;
    uint16_t from_port;
    uint16_t to_port;
    const void *data; /* UDP payload, TCP payload, echo payload */
    size_t length;
    uint8_t tcp_flags;
    uint32_t tcp_seq;
    uint32_t tcp_ack;
    uint16_t tcp_urgent;
    uint8_t ttl; /* 0: 64 */
} LabSegment;

#define LAB_TCP_FIN 0x01
#define LAB_TCP_SYN 0x02
#define LAB_TCP_RST 0x04
#define LAB_TCP_PSH 0x08
#define LAB_TCP_ACK 0x10
#define LAB_TCP_URG 0x20

void lab_frames_send_tcp(LabFrames *frames, const LabSegment *segment);
void lab_frames_send_udp(LabFrames *frames, const LabSegment *segment);
/* from_port is the echo id. */
void lab_frames_send_echo(LabFrames *frames, const LabSegment *segment);
void lab_frames_send_raw(LabFrames *frames, const void *frame, size_t length);

/* What came back to a segment. */
typedef struct LabAnswer {
    bool tcp;
    bool udp;
    bool icmp; /* error or echo reply; both families */
    uint8_t tcp_flags;
    uint32_t tcp_seq;
    uint32_t tcp_ack;
    uint8_t icmp_type;
    uint8_t icmp_code;
    char from[64];
    uint16_t from_port;
    uint16_t to_port;
    size_t length; /* of the payload */
} LabAnswer;

/* The next TCP, UDP or ICMP frame from the helper (neighbour traffic is skipped). Return: false after the time */
bool lab_frames_next(LabFrames *frames, LabAnswer *ret, int timeout_ms);

/* ---- a name server (lab_dns.c) ---- */

typedef enum LabDnsMode {
    LAB_DNS_ANSWER,
    LAB_DNS_SILENT,
    LAB_DNS_SERVFAIL,
    LAB_DNS_TRUNCATED,      /* UDP: TC set, no answer; TCP: the answer */
    LAB_DNS_WRONG_ID,       /* a forged answer before the true one */
    LAB_DNS_WRONG_QUESTION, /* a forged answer before the true one */
    LAB_DNS_WRONG_SOURCE,   /* a forged answer from another port, before the true one */
    LAB_DNS_MODES
} LabDnsMode;

typedef struct LabDns LabDns;

/* Answers A with @v4 and AAAA with @v6 for every name, over UDP and TCP, at port 53 of @address. */
LabDns *lab_dns_start(Lab *lab, LabPlace place, const char *address, LabDnsMode mode,
                      const char *v4, const char *v6);
/* Queries seen so far. */
unsigned lab_dns_queries(const LabDns *dns);
void lab_dns_set_mode(LabDns *dns, LabDnsMode mode);
void lab_dns_stop(LabDns *dns);

typedef struct LabDnsReply {
    int rcode; /* -1: no reply in time */
    bool truncated;
    unsigned answers;
    char address[64]; /* the first A or AAAA; empty if none */
    unsigned ttl;
} LabDnsReply;

/* Asks @server for @name (AAAA if @v6), once, over UDP or TCP. */
LabDnsReply lab_dns_ask(Lab *lab, LabPlace place, const char *server, const char *name, bool v6,
                        bool tcp, int timeout_ms);

#endif
