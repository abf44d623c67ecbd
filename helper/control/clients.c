/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * clients.c - local clients: who may come, how many, for how long
 *
 * Does:     accepts, looks at credentials, reads until a request is whole, writes replies.
 * Runs in:  the supervisor. Nothing here ever waits; and no packet passes here.
 * Trusts:   clients of our uid or root's to ask for changes, and not to behave: they may be slow, silent, many, or send garbage.
 * Owns:     accepted connections. Listening and inherited sockets are borrowed.
 * Limits:   CLIENTS_MAX connections. One more takes the place of the one that has been idle longest, so that forgotten ones lock
 *           nobody out; if none is idle it is closed at once, so that nobody is cut off in the middle. The request_max of the
 *           language; CLIENTS_DEADLINE_MS; one request of a client at a time, the next one is not read before its reply is written.
 * States:   of a client, by what there is: READING (no reply owed, none to be written) -> OWED (a command is at work: only a
 *           hang-up is noticed) -> WRITING -> READING. A deadline runs in READING once a byte is there, and in WRITING.
 * Not here: what requests mean (control.c, api.c); the file of a socket (socketfile.c).
 */
#include "config.h"

#include "clients.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../fault.h"
#include "../fd.h"
#include "../lockdown/process.h"
#include "watch.h"

#define CLIENTS_ACCEPT_BUDGET 16
#define CLIENTS_READ_MAX      (16 * 1024)
/* Out of fds: so long nobody is accepted. */
#define CLIENTS_PAUSE_MS 250

typedef struct Client {
    Clients *clients;
    int fd;
    bool kept; /* inherited: not put out for another */
    bool read_only;
    bool ended; /* no more comes from it */
    bool last;  /* ends when all is written */
    bool timed; /* the deadline of READING runs */
    int64_t idle_since;
    Watch *watch;
    GString *in;
    GString *out;
    size_t written; /* of out */
    int fds[CLIENTS_FDS_MAX];
    unsigned fd_count;
    Reply *reply; /* owed; NULL: none */
} Client;

struct Reply {
    Client *client; /* NULL: gone */
    bool read_only;
    int fds[CLIENTS_FDS_MAX];
    unsigned fd_count;
};

/* A listening socket. */
typedef struct Door {
    Clients *clients;
    int fd;
    bool read_only;
    Watch *watch;
} Door;

struct Clients {
    GMainContext *context;
    const ClientsLanguage *language;
    void *user_data;
    uid_t uid;
    GPtrArray *doors;   /* Door */
    GPtrArray *clients; /* Client */
};

void clients_close_passed(int take_fd)
{
    const struct linger none = {.l_onoff = 0};

    (void)setsockopt(take_fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)); /* most are no socket */
    fd_close(take_fd);
}

static void clients_close_fds(int *fds, unsigned *count)
{
    while (*count > 0) {
        clients_close_passed(fds[--*count]);
    }
}

static void client_free(Client *client)
{
    if (client->reply != NULL) {
        client->reply->client = NULL;
    }
    watch_free(client->watch);
    clients_close_fds(client->fds, &client->fd_count);
    (void)g_string_free(client->in, TRUE);
    (void)g_string_free(client->out, TRUE);
    if (client->kept) {
        process_close_inherited(client->fd);
    } else {
        fd_close(client->fd);
    }
    g_free(client);
}

static void client_end(Client *client)
{
    (void)g_ptr_array_remove_fast(client->clients->clients, client);
}

static void door_free(Door *door)
{
    watch_free(door->watch);
    g_free(door);
}

Clients *clients_new(GMainContext *context, const ClientsLanguage *language, void *user_data)
{
    Clients *clients = g_new0(Clients, 1);

    clients->context = context;
    clients->language = language;
    clients->user_data = user_data;
    clients->uid = geteuid();
    clients->doors = g_ptr_array_new_with_free_func((GDestroyNotify)door_free);
    clients->clients = g_ptr_array_new_with_free_func((GDestroyNotify)client_free);
    return clients;
}

void clients_free(Clients *clients)
{
    if (clients == NULL) {
        return;
    }
    g_ptr_array_unref(clients->doors);
    g_ptr_array_unref(clients->clients);
    g_free(clients);
}

bool reply_read_only(const Reply *reply)
{
    return reply->read_only;
}

int reply_take_fd(Reply *reply)
{
    if (reply->fd_count != 1) {
        return -1;
    }
    reply->fd_count = 0;
    return reply->fds[0];
}

/* False: the client has gone. */
static bool client_write(Client *client)
{
    while (client->written < client->out->len) {
        ssize_t n = send(client->fd, client->out->str + client->written,
                         client->out->len - client->written, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno != EAGAIN) {
            return false;
        }
        if (n < 0) {
            return true;
        }
        client->written += (size_t)n;
    }
    g_string_truncate(client->out, 0);
    client->written = 0;
    return true;
}

static Reply *client_owe(Client *client)
{
    Reply *reply = g_new0(Reply, 1);

    reply->client = client;
    reply->read_only = client->read_only;
    client->reply = reply;
    client->timed = false;
    watch_deadline(client->watch, -1);
    return reply;
}

/* The fds that have come belong to the request that the last bytes read are of: the last one there is. */
static void client_give_fds(Client *client, Reply *reply, size_t length)
{
    if (length < client->in->len) {
        return;
    }
    memcpy(reply->fds, client->fds, sizeof(reply->fds));
    reply->fd_count = client->fd_count;
    client->fd_count = 0;
}

static void client_refuse(Client *client, ClientsRefusal why)
{
    const Clients *clients = client->clients;

    client->last = true;
    g_string_truncate(client->in, 0);
    clients->language->refused(client_owe(client), why, clients->user_data);
}

/* One more request of what was read. False: there is none. */
static bool client_take_request(Client *client)
{
    const Clients *clients = client->clients;
    size_t length = client->last
                        ? 0
                        : clients->language->frame(client->in->str, client->in->len, client->ended);
    g_autofree char *request = NULL;
    Reply *reply;

    if (length == 0 && client->in->len >= clients->language->request_max && !client->last) {
        client_refuse(client, CLIENTS_TOO_LONG);
        return true;
    }
    /* To have said nothing and to have finished is a request too where there is just one. */
    if (length == 0 && (!client->ended || !clients->language->once || client->last)) {
        return false;
    }
    request = g_memdup2(client->in->str, length);
    reply = client_owe(client);
    client_give_fds(client, reply, length);
    (void)g_string_erase(client->in, 0, (gssize)length);
    client->last = clients->language->once;
    clients->language->request(reply, request, length, clients->user_data);
    return true;
}

/* What to wait for now. */
static void client_settle(Client *client)
{
    bool writing = client->out->len > 0;
    bool reading = client->reply == NULL && !writing;
    bool begun = reading && (client->in->len > 0 || client->clients->language->once);

    watch_for(client->watch, writing ? G_IO_OUT : reading ? G_IO_IN : 0);
    if (begun && !client->timed) {
        client->timed = true;
        watch_deadline(client->watch, CLIENTS_DEADLINE_MS);
    }
    if (reading && !begun) {
        client->timed = false;
        client->idle_since = g_get_monotonic_time();
        watch_deadline(client->watch, -1);
    }
}

/* Goes on with a client as far as it can. It may be gone afterwards. */
static void client_advance(Client *client)
{
    while (client->reply == NULL && client->out->len == 0 && client_take_request(client)) {
        if (!client_write(client)) {
            client_end(client);
            return;
        }
    }
    if (client->reply == NULL && client->out->len == 0 && (client->ended || client->last)) {
        client_end(client);
        return;
    }
    client_settle(client);
}

void reply_send(Reply *take_reply, const char *text, size_t len, bool last)
{
    Client *client = take_reply->client;

    if (client != NULL) {
        client->reply = NULL;
        client->last |= last;
        g_string_append_len(client->out, text, (gssize)len);
        watch_for(client->watch, G_IO_OUT);
        watch_deadline(client->watch, CLIENTS_DEADLINE_MS);
    }
    clients_close_fds(take_reply->fds, &take_reply->fd_count);
    g_free(take_reply);
}

static void client_keep_fds(Client *client, struct msghdr *header)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg != NULL;
         cmsg = CMSG_NXTHDR(header, cmsg)) {
        size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
            if (client->fd_count < CLIENTS_FDS_MAX) {
                client->fds[client->fd_count++] = fd;
            } else {
                clients_close_passed(fd);
            }
        }
    }
}

/* False: the client has gone. */
static bool client_read(Client *client)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * CLIENTS_FDS_MAX)];
    } control;
    char bytes[CLIENTS_READ_MAX];
    size_t room = client->clients->language->request_max - client->in->len;
    struct iovec iov = {bytes, MIN(room, sizeof(bytes))};
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(client->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (n < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    client_keep_fds(client, &header);
    client->ended = n == 0;
    g_string_append_len(client->in, bytes, (gssize)n);
    return true;
}

/* The deadline has passed. */
static void client_late(Client *client)
{
    if (client->out->len > 0 || client->in->len == 0) {
        client_end(client); /* it does not take its reply, or has said nothing */
        return;
    }
    client_refuse(client, CLIENTS_TOO_LATE);
    if (client_write(client)) {
        client_advance(client);
    } else {
        client_end(client);
    }
}

/* WatchFunc */
static void client_ready(GIOCondition condition, void *user_data)
{
    Client *client = user_data;

    if (condition == 0) {
        client_late(client);
    } else if (client->reply != NULL) {
        client_end(client); /* a hang-up: nobody waits for the reply any more */
    } else if (client->out->len > 0 ? !client_write(client) : !client_read(client)) {
        client_end(client);
    } else if (client->out->len == 0) {
        client_advance(client);
    }
}

static Client *client_new(Clients *clients, int fd, bool read_only)
{
    Client *client = g_new0(Client, 1);

    client->clients = clients;
    client->fd = fd;
    client->read_only = read_only;
    client->in = g_string_new(NULL);
    client->out = g_string_new(NULL);
    client->watch = watch_new(clients->context, fd, client_ready, client);
    g_ptr_array_add(clients->clients, client);
    return client;
}

/* Makes room for one more if it can. */
static bool clients_have_room(Clients *clients)
{
    Client *idlest = NULL;

    if (clients->clients->len < CLIENTS_MAX) {
        return true;
    }
    for (guint i = 0; i < clients->clients->len; i++) {
        Client *client = g_ptr_array_index(clients->clients, i);
        bool idle = client->reply == NULL && client->in->len == 0 && client->out->len == 0;

        if (idle && !client->kept && (idlest == NULL || client->idle_since < idlest->idle_since)) {
            idlest = client;
        }
    }
    if (idlest != NULL) {
        client_end(idlest);
    }
    return idlest != NULL;
}

/* In a user namespace of our own, root of the one outside shows as nobody, and is not let in. */
static bool clients_may_come(const Clients *clients, int fd)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t len = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == clients->uid || peer.uid == 0);
}

static void clients_admit(Clients *clients, int take_fd, bool read_only)
{
    Client *client;

    if (!clients_may_come(clients, take_fd) || !clients_have_room(clients)) {
        fd_close(take_fd);
        return;
    }
    client = client_new(clients, take_fd, read_only);
    client->idle_since = g_get_monotonic_time();
    client_settle(client);
}

/* WatchFunc */
static void door_ready(GIOCondition condition, void *user_data)
{
    Door *door = user_data;

    if (condition == 0) {
        watch_for(door->watch, G_IO_IN);
        return;
    }
    for (unsigned i = 0; i < CLIENTS_ACCEPT_BUDGET; i++) {
        int fd = accept4(door->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (fd >= 0) {
            clients_admit(door->clients, fd, door->read_only);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            /* Out of fds or memory, or the socket was shut down by who shares it: waiting is all there is. */
            watch_pause(door->watch);
            watch_deadline(door->watch, CLIENTS_PAUSE_MS);
            return;
        }
    }
}

void clients_listen(Clients *clients, int fd, bool read_only)
{
    Door *door = g_new0(Door, 1);
    int flags = fcntl(fd, F_GETFL);

    (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK); /* accept4(2) has no MSG_DONTWAIT */
    door->clients = clients;
    door->fd = fd;
    door->read_only = read_only;
    door->watch = watch_new(clients->context, fd, door_ready, door);
    g_ptr_array_add(clients->doors, door);
}

static int clients_ask(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, option, &value, &len) == 0 ? value : -1;
}

bool clients_inherit(Clients *clients, int fd, const char *option, bool read_only, GError **error)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof(peer);

    if (clients_ask(fd, SO_DOMAIN) != AF_UNIX || clients_ask(fd, SO_TYPE) != SOCK_STREAM) {
        fault_set(error, FAULT_OPTION, ENOTSOCK, "--%s %d: want a Unix stream socket", option, fd);
        return false;
    }
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (clients_ask(fd, SO_ACCEPTCONN) == 1) {
        clients_listen(clients, fd, read_only);
        return true;
    }
    if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0) {
        fault_set(error, FAULT_OPTION, errno, "--%s %d: neither listening nor connected: %s",
                  option, fd, g_strerror(errno));
        return false;
    }
    client_new(clients, fd, read_only)->kept = true;
    return true;
}

void clients_begin(Clients *clients)
{
    for (guint i = 0; i < clients->doors->len; i++) {
        watch_for(((Door *)g_ptr_array_index(clients->doors, i))->watch, G_IO_IN);
    }
    for (guint i = 0; i < clients->clients->len; i++) {
        client_settle(g_ptr_array_index(clients->clients, i));
    }
}
