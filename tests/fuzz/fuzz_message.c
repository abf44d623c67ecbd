/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * fuzz_message.c - message.c: datagrams with any contents and 0 to 253 fds, and room for few of them
 *
 * Oracles:  what is taken has a known type, the length and the fds of it, and text that ends; of everything else no fd stays open;
 *           what message_send() sent arrives as it was.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "message.h"

#include "bytes.h"
#include "check.h"

#define SCM_MAX 253

static const struct {
    size_t size;
    size_t fds_min;
    size_t fds_max;
} shapes[MESSAGE_TYPE_COUNT] = {
    [MESSAGE_INSIDE_READY] = {sizeof(MessageLink), 1, 1},
    [MESSAGE_INSIDE_FAST_PATH] = {sizeof(MessageFastPathState), 0, 0},
    [MESSAGE_START] = {sizeof(MessageLink), 1, 1},
    [MESSAGE_HOST_ADDRESSES] = {sizeof(MessageAddresses), 0, 0},
    [MESSAGE_DNS_SERVERS] = {sizeof(MessageServers), 0, 0},
    [MESSAGE_DNS_LISTENER] = {sizeof(MessageDnsListener), 1, 1},
    [MESSAGE_LISTEN] = {sizeof(MessageListen), 1, 250},
    [MESSAGE_LISTENING] = {sizeof(MessageListening), 0, 0},
    [MESSAGE_UNLISTEN] = {sizeof(MessageUnlisten), 0, 0},
    [MESSAGE_UNLISTENED] = {sizeof(MessageUnlistened), 0, 0},
    [MESSAGE_GO] = {sizeof(MessagePlain), 0, 0},
    [MESSAGE_DATAPATH_READY] = {sizeof(MessagePlain), 0, 0},
    [MESSAGE_LOG] = {sizeof(MessageText), 0, 0},
    [MESSAGE_FAULT] = {sizeof(MessageText), 0, 0},
    [MESSAGE_TAP_GONE] = {sizeof(MessagePlain), 0, 0},
    [MESSAGE_SOCKET_REQUEST] = {sizeof(MessageSocketRequest), 0, 0},
    [MESSAGE_SOCKET_REPLY] = {sizeof(MessageSocketReply), 0, 1},
    [MESSAGE_FAST_PATH] = {sizeof(MessageFastPath), 0, 6},
    [MESSAGE_REPAIR] = {sizeof(MessageRepair), 0, 0},
    [MESSAGE_LOCKED] = {sizeof(MessageLocked), 0, 0},
    [MESSAGE_FLOWS_QUERY] = {sizeof(MessageFlowsQuery), 0, 0},
    [MESSAGE_FLOWS] = {sizeof(MessageFlows), 0, 0},
    [MESSAGE_STATS_QUERY] = {sizeof(MessageQuery), 0, 0},
    [MESSAGE_STATS] = {sizeof(MessageStats), 0, 0},
    [MESSAGE_PCAP] = {sizeof(MessagePcap), 0, 1},
    [MESSAGE_PCAP_DONE] = {sizeof(MessagePcapDone), 0, 0},
    [MESSAGE_LOG_LEVEL] = {sizeof(MessageLogLevel), 0, 0},
};

static unsigned open_fds(int first)
{
    unsigned count = 0;

    for (int fd = first; fd < first + 2 * SCM_MAX; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static void send_raw(int sock, const uint8_t *data, size_t len, const int *fds, size_t count)
{
    static union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * SCM_MAX)];
    } control;
    union {
        const uint8_t *in;
        void *out;
    } unconst = {.in = data};
    struct iovec iov = {unconst.out, len};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    if (count > 0) {
        struct cmsghdr *cmsg = &control.align;

        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * count);
    }
    FUZZ_CHECK(sendmsg(sock, &header, MSG_NOSIGNAL) == (ssize_t)len, "sendmsg: %s",
               strerror(errno));
}

static void check_taken(const Message *got, size_t size, const int *fds, size_t count, int result)
{
    uint32_t type = got->type;

    FUZZ_CHECK(type > 0 && type < MESSAGE_TYPE_COUNT && size == shapes[type].size,
               "type %u of %zu bytes", type, size);
    if (result == -EMFILE) {
        FUZZ_CHECK(count == 0, "fds, though they were lost");
        return;
    }
    FUZZ_CHECK(count >= shapes[type].fds_min && count <= shapes[type].fds_max,
               "%zu fds with type %u", count, type);
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK((fcntl(fds[i], F_GETFD) & FD_CLOEXEC) != 0, "fd %d", fds[i]);
    }
    if (type == MESSAGE_LISTEN) {
        FUZZ_CHECK(got->listen.count == count, "%u listeners, %zu fds", got->listen.count, count);
    } else if (type == MESSAGE_FLOWS) {
        FUZZ_CHECK(got->flows.count <= MESSAGE_FLOWS_MAX, "%u flows", got->flows.count);
    } else if (type == MESSAGE_SOCKET_REPLY) {
        FUZZ_CHECK((got->socket_reply.errnum == 0) == (count == 1), "a socket and an error");
    } else if (type == MESSAGE_FAST_PATH) {
        FUZZ_CHECK(count == 0 || count == 1 || count == 2 || count == 6, "%zu fds", count);
    } else if (type == MESSAGE_LOG || type == MESSAGE_FAULT) {
        FUZZ_CHECK(memchr(got->text.text, 0, MESSAGE_TEXT_MAX) != NULL, "text without an end");
    } else if (type == MESSAGE_INSIDE_FAST_PATH) {
        FUZZ_CHECK(memchr(got->fast_path_state.why, 0, MESSAGE_WHY_MAX) != NULL,
                   "text without an end");
    }
}

static void one(Bytes *bytes, const int pair[2], int event)
{
    static Message message;
    int fds[SCM_MAX];
    int got_fds[MESSAGE_FDS_MAX];
    uint8_t how = bytes_u8(bytes);
    uint32_t type = bytes_u8(bytes) % (MESSAGE_TYPE_COUNT + 2);
    size_t count = bytes_below(bytes, SCM_MAX + 1);
    size_t size = how & 1                     ? bytes_u16(bytes) % (sizeof(message) + 64)
                  : type < MESSAGE_TYPE_COUNT ? shapes[type].size
                                              : 4;
    size_t got_count = 0;
    uint8_t raw[sizeof(message) + 64];
    Message *got = g_malloc(sizeof(*got));
    unsigned before;
    int result;

    memset(raw, how & 2 ? 0xff : 0, sizeof(raw));
    memcpy(raw, &type, sizeof(type));
    if (how & 4) {
        size_t at = bytes_u8(bytes);
        size_t len = bytes_u8(bytes);

        bytes_copy(bytes, raw + at % sizeof(message), MIN(len, 64));
    }
    if (how & 8) {
        uint16_t many = (uint16_t)count; /* so that a MESSAGE_LISTEN can be right */

        memcpy(raw + offsetof(MessageListen, count), &many, sizeof(many));
    }
    memcpy(&type, raw, sizeof(type)); /* as it is now */
    for (size_t i = 0; i < count; i++) {
        fds[i] = event;
    }
    if ((how & 16) && size > 0) {
        /* As our own side sends it. */
        if (type == 0 || type >= MESSAGE_TYPE_COUNT || count > MESSAGE_FDS_MAX) {
            g_free(got);
            return;
        }
        memcpy(&message, raw, sizeof(message));
        FUZZ_CHECK(message_send(pair[0], &message, fds, count) == 0, "message_send");
        size = shapes[type].size;
    } else {
        send_raw(pair[0], raw, size, fds, count);
    }
    before = open_fds(event);
    memset(got, 0xee, sizeof(*got));
    if (how & 32) {
        struct rlimit limit;

        /* Room for some of them. */
        FUZZ_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
        limit.rlim_cur = (rlim_t)event + 1 + how / 64 * 2;
        FUZZ_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
        result = message_recv(pair[1], got, got_fds, &got_count);
        limit.rlim_cur = MIN(limit.rlim_max, 4096);
        FUZZ_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    } else {
        result = message_recv(pair[1], got, got_fds, &got_count);
    }
    if (result == 1 || result == -EMFILE) {
        check_taken(got, size, got_fds, got_count, result);
        FUZZ_CHECK(memcmp(got, raw, size) == 0, "other contents");
    } else {
        FUZZ_CHECK(result == -EBADMSG || (result == 0 && size == 0), "%d for %zu bytes", result,
                   size);
        FUZZ_CHECK(got_count == 0, "fds with what was refused");
    }
    for (size_t i = 0; i < got_count; i++) {
        (void)close(got_fds[i]);
    }
    FUZZ_CHECK(open_fds(event) == before, "fds stay open");
    g_free(got);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Bytes bytes = {data, data + size};
    int pair[2];
    int event;

    FUZZ_CHECK(message_pair(pair) == 0, "message_pair");
    event = eventfd(0, EFD_CLOEXEC); /* the highest of ours */
    while (bytes_left(&bytes) > 0) {
        one(&bytes, pair, event);
    }
    (void)close(pair[0]);
    (void)close(pair[1]);
    (void)close(event);
    return 0;
}
