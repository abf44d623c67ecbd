/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * sandbox.c - COMMAND in namespaces of its own
 *
 * Does:     forks; the child makes user, network and mount namespaces, maps its uid to 0, puts a resolv.conf in place, waits
 *           until the network stands, and executes COMMAND with our stdin, stdout, stderr and terminal.
 * Runs in:  the supervisor; the child in the new namespaces.
 * Trusts:   COMMAND not at all: it holds nothing of ours but 0, 1 and 2.
 * Steps:    child -> "made" (or an errno) -> supervisor -> "go" -> child: exec, or an errno; the end of file of a CLOEXEC
 *           socket says that exec worked.
 */
#include "config.h"

#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../fault.h"
#include "../fd.h"
#include "../lockdown/process.h"

/* As resolv.conf is read elsewhere (resolvconf.h). */
#define SANDBOX_RESOLV_CONF_MAX 65536

struct Sandbox {
    const GuestSettings *guest;
    pid_t pid;
    int sock;
    GError *warning;
};

typedef enum SandboxStep {
    SANDBOX_UNSHARE,
    SANDBOX_MAP,
    SANDBOX_MOUNT,
    SANDBOX_EXEC,
    SANDBOX_MADE,
} SandboxStep;

/* What the child says; @warned: resolv.conf could not be put in place, for this errno. */
typedef struct SandboxWord {
    int32_t step;
    int32_t errnum;
    int32_t warned;
} SandboxWord;

static bool sandbox_write(const char *path, const char *text)
{
    FD_AUTO fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);

    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

/* user_namespaces(7): one line each, setgroups denied first, and no privilege is needed. */
static bool sandbox_map_ids(uid_t uid, gid_t gid)
{
    g_autofree char *uids = g_strdup_printf("0 %u 1\n", (unsigned)uid);
    g_autofree char *gids = g_strdup_printf("0 %u 1\n", (unsigned)gid);

    return sandbox_write("/proc/self/setgroups", "deny") &&
           sandbox_write("/proc/self/uid_map", uids) && sandbox_write("/proc/self/gid_map", gids);
}

/* The host's file, if it is one: a FIFO there must not hang us. */
static char *sandbox_read_host_file(const char *path)
{
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    g_autofree char *text = g_malloc0(SANDBOX_RESOLV_CONF_MAX + 1);
    struct stat st;
    size_t len = 0;
    ssize_t got;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return g_strdup("");
    }
    while (len < SANDBOX_RESOLV_CONF_MAX &&
           (got = read(fd, text + len, SANDBOX_RESOLV_CONF_MAX - len)) > 0) {
        len += (size_t)got;
    }
    return g_steal_pointer(&text);
}

/* Search list and options stay the host's; only the servers change. */
static char *sandbox_resolv_conf(const GuestSettings *guest, const char *host_path)
{
    char dns[NETADDR_STRLEN];
    GString *text = g_string_new(NULL);
    g_autofree char *host = sandbox_read_host_file(host_path);
    g_auto(GStrv) lines = g_strsplit(host, "\n", -1);

    g_string_append_printf(text, "nameserver %s\n", netaddr_format(&guest->dns, dns));
    if (guest->ipv6 && guest->mtu >= SETTINGS_MTU_IPV6_MIN) {
        g_string_append_printf(text, "nameserver %s\n", netaddr_format(&guest->dns6, dns));
    }
    for (char **line = lines; *line != NULL; line++) {
        if (g_str_has_prefix(*line, "search") || g_str_has_prefix(*line, "domain") ||
            g_str_has_prefix(*line, "options")) {
            g_string_append_printf(text, "%s\n", *line);
        }
    }
    return g_string_free(text, FALSE);
}

/* The file lives on a tmpfs that nothing but the bind mount refers to: no file of the host is made or changed. */
static int sandbox_mount_resolv_conf(const char *text)
{
    FD_AUTO fd = -1;
    int failed = 0;

    if (access("/etc/resolv.conf", F_OK) < 0 ||
        mount("tmpfs", "/tmp", "tmpfs", MS_NODEV | MS_NOSUID, "mode=0755") < 0) {
        return errno;
    }
    fd = open("/tmp/resolv.conf", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
        mount("/tmp/resolv.conf", "/etc/resolv.conf", NULL, MS_BIND, NULL) < 0) {
        failed = errno;
    }
    fd_clear(&fd);
    if (umount2("/tmp", MNT_DETACH) < 0 && failed == 0) {
        failed = errno;
    }
    return failed;
}

static void sandbox_say(int sock, SandboxStep step, int errnum, int warned)
{
    SandboxWord word = {(int32_t)step, errnum, warned};

    (void)send(sock, &word, sizeof(word), MSG_NOSIGNAL);
}

static void sandbox_reset_signals(void)
{
    sigset_t none;

    for (int number = 1; number < SIGRTMAX; number++) {
        struct sigaction now;

        /* nohup(1) is meant for COMMAND too. */
        if (number != SIGHUP || (sigaction(SIGHUP, NULL, &now) == 0 && now.sa_handler != SIG_IGN)) {
            (void)signal(number, SIG_DFL);
        }
    }
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* execvp(3) says EACCES for a directory of PATH that may not be searched, even if no other has the command: a shell says that it
 * was not found. */
static int sandbox_exec_errno(const char *command, int errnum)
{
    const char *path = g_getenv("PATH");
    g_auto(GStrv) directories = g_strsplit(path != NULL ? path : "", ":", -1);

    if (errnum != EACCES || strchr(command, '/') != NULL) {
        return errnum;
    }
    for (char **directory = directories; *directory != NULL; directory++) {
        g_autofree char *candidate =
            g_build_filename(**directory != '\0' ? *directory : ".", command, NULL);

        if (access(candidate, F_OK) == 0) {
            return errnum;
        }
    }
    return ENOENT;
}

static int sandbox_child(const GuestSettings *guest, const char *resolv_conf_path, pid_t parent,
                         int sock)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    g_autofree char *resolv_conf = NULL;
    char go;
    int warned = 0;

    process_close_others(&sock, 1);
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS) < 0) {
        sandbox_say(sock, SANDBOX_UNSHARE, errno, 0);
        return 1;
    }
    if (!sandbox_map_ids(uid, gid)) {
        sandbox_say(sock, SANDBOX_MAP, errno, 0);
        return 1;
    }
    /* The new mount namespace is already a slave of the host's; keep it from sharing among its own children too. */
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) {
        sandbox_say(sock, SANDBOX_MOUNT, errno, 0);
        return 1;
    }
    if (resolv_conf_path != NULL) {
        resolv_conf = sandbox_resolv_conf(guest, resolv_conf_path);
        warned = sandbox_mount_resolv_conf(resolv_conf);
    }
    sandbox_say(sock, SANDBOX_MADE, 0, warned);
    if (recv(sock, &go, 1, 0) != 1) {
        return 1; /* the supervisor gave up, and has said why */
    }
    sandbox_reset_signals();
    /* Without its door a sandbox has no network: it ends with the supervisor. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent) {
        return 1;
    }
    (void)execvp(guest->command[0], guest->command);
    sandbox_say(sock, SANDBOX_EXEC, sandbox_exec_errno(guest->command[0], errno), 0);
    return 1;
}

static void sandbox_fault(const SandboxWord *word, GError **error)
{
    static const char *const steps[] = {
        [SANDBOX_UNSHARE] = "cannot make a user and network namespace",
        [SANDBOX_MAP] = "cannot map our uid into the new user namespace",
        [SANDBOX_MOUNT] = "cannot make the new mount namespace private",
        [SANDBOX_EXEC] = "cannot execute",
        [SANDBOX_MADE] = "",
    };
    const char *hint = "";

    if (word->step == SANDBOX_UNSHARE && (word->errnum == ENOSPC || word->errnum == EUSERS)) {
        hint = " (sysctl user.max_user_namespaces, max_net_namespaces or max_mnt_namespaces)";
    } else if (word->step <= SANDBOX_MAP && (word->errnum == EPERM || word->errnum == EACCES)) {
        hint = " (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone or "
               "kernel.apparmor_restrict_unprivileged_userns)";
    }
    fault_set(error, FAULT_NAMESPACE, word->errnum, "-- COMMAND: %s: %s%s", steps[word->step],
              g_strerror(word->errnum), hint);
}

static void sandbox_kill(const Sandbox *sandbox)
{
    (void)kill(sandbox->pid, SIGKILL); /* not reaped, so the number is still its own */
    (void)waitpid(sandbox->pid, NULL, 0);
}

Sandbox *sandbox_new(const GuestSettings *guest, const char *resolv_conf, GError **error)
{
    g_autoptr(Sandbox) sandbox = g_new0(Sandbox, 1);
    SandboxWord word;
    pid_t parent = getpid();
    int pair[2];

    sandbox->guest = guest;
    sandbox->sock = -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
        fault_set(error, FAULT_INTERNAL, errno, "socketpair: %s", g_strerror(errno));
        return NULL;
    }
    sandbox->sock = pair[0];
    sandbox->pid = fork();
    if (sandbox->pid == 0) {
        _exit(sandbox_child(guest, resolv_conf, parent, pair[1]));
    }
    fd_close(pair[1]);
    if (sandbox->pid < 0) {
        fault_set(error, FAULT_INTERNAL, errno, "fork: %s", g_strerror(errno));
        return NULL;
    }
    if (recv(sandbox->sock, &word, sizeof(word), 0) != sizeof(word)) {
        fault_set(error, FAULT_NAMESPACE, ECHILD, "-- COMMAND: the sandbox's process ended early");
        sandbox_kill(sandbox);
        return NULL;
    }
    if (word.step != SANDBOX_MADE) {
        sandbox_fault(&word, error);
        sandbox_kill(sandbox);
        return NULL;
    }
    if (word.warned != 0) {
        sandbox->warning = fault_new(
            FAULT_RESOLVER, word.warned,
            "-- COMMAND: cannot put a resolv.conf in place that names the name server: %s",
            g_strerror(word.warned));
    }
    return g_steal_pointer(&sandbox);
}

void sandbox_free(Sandbox *sandbox)
{
    if (sandbox == NULL) {
        return;
    }
    fd_close(sandbox->sock);
    g_clear_error(&sandbox->warning);
    g_free(sandbox);
}

pid_t sandbox_pid(const Sandbox *sandbox)
{
    return sandbox->pid;
}

const GError *sandbox_warning(const Sandbox *sandbox)
{
    return sandbox->warning;
}

bool sandbox_go(Sandbox *sandbox, int *ret_status, GError **error)
{
    SandboxWord word;
    ssize_t got;

    if (send(sandbox->sock, "g", 1, MSG_NOSIGNAL) != 1) {
        fault_set(error, FAULT_COMMAND, errno, "-- COMMAND: the sandbox's process has ended: %s",
                  g_strerror(errno));
        *ret_status = SANDBOX_STATUS_OURS;
        return false;
    }
    got = recv(sandbox->sock, &word, sizeof(word), 0);
    if (got == 0) {
        return true; /* CLOEXEC closed it: COMMAND runs */
    }
    if (got != sizeof(word)) {
        word = (SandboxWord){SANDBOX_EXEC, got < 0 ? errno : EPROTO, 0};
    }
    fault_set(error, FAULT_COMMAND, word.errnum, "-- %s: cannot execute it: %s",
              sandbox->guest->command[0], g_strerror(word.errnum));
    *ret_status = word.errnum == ENOENT ? SANDBOX_STATUS_NOT_FOUND : SANDBOX_STATUS_NOT_RUN;
    return false;
}
