/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * message.c - fixed-size typed messages and fds between the three processes
 *
 * Does:     sends and receives one message per datagram; checks type, exact length and number of fds in one place.
 * Runs in:  all three processes.
 * Trusts:   the kernel alone. The datapath may be in an attacker's hands: what it sends is judged by its reader.
 * Limits:   MESSAGE_FDS_MAX fds a message.
 * Not here: what a message means.
 */
#include "config.h"

#include "message.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>

/* Of message_send_patiently(): about a second. */
#define MESSAGE_TRIES 100

typedef struct MessageShape {
    size_t size;
    size_t fds_min;
    size_t fds_max;
} MessageShape;

static const MessageShape message_shapes[MESSAGE_TYPE_COUNT] = {
    [MESSAGE_INSIDE_READY] = {sizeof(MessageLink), 1, 1},
    [MESSAGE_INSIDE_FAST_PATH] = {sizeof(MessageFastPathState), 0, 0},
    [MESSAGE_START] = {sizeof(MessageLink), 1, 1},
    [MESSAGE_HOST_ADDRESSES] = {sizeof(MessageAddresses), 0, 0},
    [MESSAGE_DNS_SERVERS] = {sizeof(MessageServers), 0, 0},
    [MESSAGE_DNS_LISTENER] = {sizeof(MessageDnsListener), 1, 1},
    [MESSAGE_LISTEN] = {sizeof(MessageListen), 1, MESSAGE_FDS_MAX},
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
    [MESSAGE_FAST_PATH] = {sizeof(MessageFastPath), 0, FAST_PATH_FDS},
    [MESSAGE_LOCKED] = {sizeof(MessageLocked), 0, 0},
    [MESSAGE_REPAIR] = {sizeof(MessageRepair), 0, 0},
    [MESSAGE_FLOWS_QUERY] = {sizeof(MessageFlowsQuery), 0, 0},
    [MESSAGE_FLOWS] = {sizeof(MessageFlows), 0, 0},
    [MESSAGE_STATS_QUERY] = {sizeof(MessageQuery), 0, 0},
    [MESSAGE_STATS] = {sizeof(MessageStats), 0, 0},
    [MESSAGE_PCAP] = {sizeof(MessagePcap), 0, 1},
    [MESSAGE_PCAP_DONE] = {sizeof(MessagePcapDone), 0, 0},
    [MESSAGE_LOG_LEVEL] = {sizeof(MessageLogLevel), 0, 0},
};

typedef union MessageControl {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
} MessageControl;

int message_pair(int ret_pair[2])
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        return -errno;
    }
    memcpy(ret_pair, pair, sizeof(pair));
    return 0;
}

int message_send(int sock, const void *message, const int *fds, size_t fd_count)
{
    const Message *any = message;
    union {
        const void *in;
        void *out;
    } unconst = {.in = message}; /* sendmsg(2) does not write, but struct iovec cannot say so */
    struct iovec iov;
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    MessageControl control;

    g_return_val_if_fail(any->type > 0 && any->type < MESSAGE_TYPE_COUNT, -EINVAL);
    g_return_val_if_fail(fd_count <= MESSAGE_FDS_MAX, -EINVAL);
    iov = (struct iovec){unconst.out, message_shapes[any->type].size};
    if (fd_count > 0) {
        struct cmsghdr *cmsg;

        memset(&control, 0, CMSG_SPACE(sizeof(int) * fd_count));
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
    }
    for (;;) {
        if (sendmsg(sock, &header, MSG_NOSIGNAL) >= 0) {
            return 0;
        }
        if (errno == ENOBUFS || errno == ENOMEM) {
            return -EAGAIN; /* the kernel lacks memory for it now */
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

int message_send_patiently(int sock, const void *message)
{
    int failed = message_send(sock, message, NULL, 0);

    for (unsigned tries = 0; failed == -EAGAIN && tries < MESSAGE_TRIES; tries++) {
        struct pollfd pfd = {.fd = sock, .events = POLLOUT};

        (void)poll(&pfd, 1, 10);
        (void)poll(NULL, 0, 1); /* for memory there is nothing to wait for but time */
        failed = message_send(sock, message, NULL, 0);
    }
    return failed;
}

static size_t message_take_fds(struct msghdr *header, int ret_fds[MESSAGE_FDS_MAX])
{
    size_t count = 0;

    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg != NULL;
         cmsg = CMSG_NXTHDR(header, cmsg)) {
        size_t here = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < here; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
            if (count < MESSAGE_FDS_MAX) {
                ret_fds[count++] = fd;
            } else {
                (void)close(fd);
            }
        }
    }
    return count;
}

static bool message_well_formed(const Message *message, size_t size, size_t fd_count, bool fds_lost)
{
    const MessageShape *shape;

    if (size < sizeof(message->type) || message->type == 0 || message->type >= MESSAGE_TYPE_COUNT) {
        return false;
    }
    shape = &message_shapes[message->type];
    if (size != shape->size || fd_count > shape->fds_max ||
        (!fds_lost && fd_count < shape->fds_min)) {
        return false;
    }
    if (message->type == MESSAGE_LOG || message->type == MESSAGE_FAULT) {
        return memchr(message->text.text, '\0', MESSAGE_TEXT_MAX) != NULL;
    }
    if (message->type == MESSAGE_INSIDE_FAST_PATH) {
        return memchr(message->fast_path_state.why, '\0', MESSAGE_WHY_MAX) != NULL;
    }
    if (message->type == MESSAGE_FAST_PATH) {
        return fds_lost || fd_count <= 1 || fd_count == FAST_PATH_INBOUND_FDS ||
               fd_count == FAST_PATH_FDS;
    }
    if (message->type == MESSAGE_FLOWS) {
        return message->flows.count <= MESSAGE_FLOWS_MAX;
    }
    if (message->type == MESSAGE_LISTEN) {
        return fds_lost || message->listen.count == fd_count;
    }
    if (message->type == MESSAGE_SOCKET_REPLY) {
        return fds_lost || (message->socket_reply.errnum == 0) == (fd_count == 1);
    }
    return true;
}

int message_recv(int sock, Message *ret, int ret_fds[MESSAGE_FDS_MAX], size_t *ret_fd_count)
{
    MessageControl control;
    struct iovec iov = {ret, sizeof(*ret)};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof(control)};
    ssize_t size;
    size_t count;
    bool lost;

    *ret_fd_count = 0;
    /* ECONNRESET: the other end died with messages of ours unread. It is said once, before what it had sent (net/unix/af_unix.c:
     * unix_release_sock()): that comes next, then the end. */
    do {
        size = recvmsg(sock, &header, MSG_CMSG_CLOEXEC);
    } while (size < 0 && (errno == EINTR || errno == ECONNRESET));
    if (size < 0) {
        return -errno;
    }
    count = message_take_fds(&header, ret_fds);
    if (size == 0) {
        /* The end; or an empty message, which nobody of ours sends: the end as well. */
        for (size_t i = 0; i < count; i++) {
            (void)close(ret_fds[i]);
        }
        return 0;
    }
    /* net/core/scm.c: scm_detach_fds() says MSG_CTRUNC when it could not install them all. */
    lost = (header.msg_flags & MSG_CTRUNC) != 0;
    if ((header.msg_flags & MSG_TRUNC) != 0 || lost ||
        !message_well_formed(ret, (size_t)size, count, lost)) {
        for (size_t i = 0; i < count; i++) {
            (void)close(ret_fds[i]);
        }
        if ((header.msg_flags & MSG_TRUNC) == 0 && lost &&
            message_well_formed(ret, (size_t)size, 0, true)) {
            return -EMFILE;
        }
        return -EBADMSG;
    }
    *ret_fd_count = count;
    return 1;
}

void message_text_init(MessageText *ret, MessageType type, unsigned level, unsigned kind,
                       int errnum, const char *text)
{
    memset(ret, 0, sizeof(*ret));
    ret->type = type;
    ret->level = level;
    ret->kind = kind;
    ret->errnum = errnum;
    g_strlcpy(ret->text, text, sizeof(ret->text));
}
