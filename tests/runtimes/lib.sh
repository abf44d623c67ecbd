# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# lib.sh - the scene in which real runtimes run: a host, a far machine and an ordinary user, made for the occasion
#
# A test here is a script that is started three times: as itself (main), as --host (root of the machine, in a mount, network and
# process namespace of its own: the "host"; the far machine is a second network namespace behind its only link) and as --user
# (there, as uid 1000 with subordinate ids). When it ends the process namespace ends, and with it all that was started.
# Nothing of the machine is changed: the user, its ids and the resolver are files mounted over those in /etc.
#
# Environment:
#   SALLYPORT       the helper to put in slirp4netns's place
#   SLIRP4NETNS     another program to put there: the original, to see what it does. It fails "slirp4netns::udp_from_loopback"
#                   and no more: with host loopback off, such datagrams do not come through its ports.
#   MUST_WORK=1     a test that has to be skipped is a failure
set -eu
umask 022

# Everything here is Debian's own, and what containers are given is in /usr.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
name=$(basename -- "$0")
tap_count=0

# check NAME COMMAND...: a test that passes if the command does; if not, its output is shown, and that of the program in the
# background, which is in $log. $passed says which.
log=
check() {
    test_=$name::$1
    shift
    tap_count=$((tap_count + 1))
    passed=yes
    "$@" >"$scene/said" 2>&1 </dev/null || passed=
    if [ -n "$passed" ]; then
        echo "ok $tap_count - $test_"
        return 0
    fi
    echo "not ok $tap_count - $test_"
    # shellcheck disable=SC2086
    tail -q -n 20 "$scene/said" $log | sed 's/^/# /'
}

# skip_all WHY: nothing can be tested here.
skip_all() {
    if [ "${MUST_WORK:-}" = 1 ]; then
        echo "not ok 1 - $name::can_be_run: skipped, but MUST_WORK=1: $1"
        echo "1..1"
    else
        echo "1..0 # SKIP $1"
    fi
    exit 0
}

done_testing() {
    echo "1..$tap_count"
}

# is WANTED COMMAND...: the command's output is that, or comes to be that within ten seconds (a server takes its time to start).
is() {
    wanted_=$1
    shift
    end_=$(($(date +%s) + 10))
    while :; do
        got_=$("$@" 2>&1) || true
        [ "$got_" != "$wanted_" ] || return 0
        [ "$(date +%s)" -lt "$end_" ] || break
        sleep 0.1
    done
    echo "wanted: $wanted_"
    echo "got: $got_"
    return 1
}

# shows PATTERNS COMMAND...: each line of PATTERNS matches a line of the command's output; with a ! before it, none.
shows() {
    echo "$1" >"$scene/patterns"
    shift
    "$@" >"$scene/output" 2>&1 || echo "status $?" >>"$scene/output"
    status_=0
    while IFS= read -r pattern_; do
        case $pattern_ in
        !*) ! grep -E -e "${pattern_#!}" "$scene/output" || status_=1 ;;
        *) grep -qE -e "$pattern_" "$scene/output" || { echo "nothing like: $pattern_" && status_=1; } ;;
        esac
    done <"$scene/patterns"
    [ "$status_" -eq 0 ] || cat "$scene/output"
    return "$status_"
}

wire() {
    python3 -I "$scene/bin/wire" "$@"
}

# The command lines of all that runs of the helper, and of podman's own proxy.
what_runs() {
    # shellcheck disable=SC2009
    ps -A -o args= | grep -E "^($scene/bin/slirp4netns|[^ ]*rootlessport)" || true
}

# scene_main PROGRAM...: what must be there; then the scene is set.
scene_main() {
    [ "$(id -u)" -eq 0 ] || ! sudo -n true 2>/dev/null ||
        exec sudo -n env SALLYPORT="${SALLYPORT:-}" SLIRP4NETNS="${SLIRP4NETNS:-}" MUST_WORK="${MUST_WORK:-}" "$0"
    [ "$(id -u)" -eq 0 ] || skip_all "it takes root to make a user with subordinate ids"
    for program_ in "$@" busybox newuidmap newgidmap python3 ip setpriv ps; do
        command -v "$program_" >/dev/null || skip_all "there is no $program_"
    done
    [ -n "${SLIRP4NETNS:-}" ] || [ -n "${SALLYPORT:-}" ] || skip_all "SALLYPORT is not set"
    unshare --mount --net --pid --fork true 2>/dev/null || skip_all "no namespaces can be made here"

    # Short: paths of sockets with ids of containers in them have to fit.
    scene=$(mktemp -d /tmp/rt.XXXXXX)
    # The mounts in it have ended with their namespace.
    trap 'rm -rf "$scene"' EXIT
    trap 'exit 143' TERM
    trap 'exit 130' INT
    export scene
    scene_files
    chown -R 1000:1000 "$scene"
    timeout -k 10 "${SALLYPORT_TEST_TIMEOUT:-300}" unshare --mount --propagation private --net --ipc --pid --fork \
        --kill-child=KILL --mount-proc sh -eu "$0" --host || {
        echo "not ok - $name::ends_well: status $?"
        exit 1
    }
}

# The helper, a root file system of busybox, and both machines' servers.
scene_files() {
    mkdir "$scene/bin" "$scene/etc" "$scene/home" "$scene/run" "$scene/tmp" "$scene/shm"
    chmod 755 "$scene"
    chmod 700 "$scene/run"
    cp "${SLIRP4NETNS:-$SALLYPORT}" "$scene/bin/helper"
    ln -s helper "$scene/bin/slirp4netns"
    cp "$here/wire.py" "$scene/bin/wire"

    echo 'root:x:0:0:root:/root:/bin/sh' >"$scene/etc/passwd"
    echo "tester:x:1000:1000:tester:$scene/home:/bin/sh" >>"$scene/etc/passwd"
    printf 'root:x:0:\ntester:x:1000:\n' >"$scene/etc/group"
    echo 'tester:100000:65536' >"$scene/etc/subuid"
    echo 'tester:100000:65536' >"$scene/etc/subgid"
    echo 'nameserver 198.51.100.2' >"$scene/etc/resolv.conf"
    printf '127.0.0.1 localhost\n' >"$scene/etc/hosts"

    box=$scene/box
    mkdir -p "$box/bin" "$box/etc" "$box/proc" "$box/sys" "$box/dev" "$box/tmp" "$box/run" "$box/usr"
    cp "$(command -v busybox)" "$box/bin/busybox"
    for applet_ in $("$box/bin/busybox" --list); do
        [ "$applet_" = busybox ] || ln -s busybox "$box/bin/$applet_"
    done
    cp "$scene/etc/passwd" "$scene/etc/group" "$box/etc/"
    # Python comes with the machine's /usr, which is mounted there.
    for link_ in lib lib64; do
        ln -s "usr/$link_" "$box/$link_"
    done
    cp "$here/wire.py" "$box/bin/wire"
}

# scene_host: as root, in the namespaces; then the script once more, as the user.
scene_host() {
    for file_ in passwd group subuid subgid hosts; do
        [ -e "/etc/$file_" ] || continue
        mount --bind "$scene/etc/$file_" "/etc/$file_"
    done
    mount --bind "$scene/etc/resolv.conf" "$(realpath /etc/resolv.conf)"
    # crun wants the one hierarchy; what has both, or the old ones, still has it to mount.
    [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # A container's memory files; the machine's own may be closed to us.
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm 2>/dev/null || true

    ip link set lo up
    unshare --net python3 -I "$scene/bin/wire" serve far :: 80 >"$scene/far.log" 2>&1 &
    far=$!
    # The namespace is there once it is not ours.
    until [ "$(readlink "/proc/$far/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
    ip link add eth0 type veth peer name eth0 netns "$far"
    ip address add 198.51.100.1/24 dev eth0
    ip address add 198.51.100.3/24 dev eth0
    ip address add 2001:db8:1::1/64 dev eth0 nodad
    ip link set eth0 up
    ip route add default via 198.51.100.2
    nsenter --net --target "$far" sh -euc '
        ip link set lo up
        ip address add 198.51.100.2/24 dev eth0
        ip address add 2001:db8:1::2/64 dev eth0 nodad
        ip link set eth0 up'
    python3 -I "$scene/bin/wire" serve loopback 127.0.0.1 7000 >"$scene/host.log" 2>&1 &
    python3 -I "$scene/bin/wire" serve host 0.0.0.0 7001 >"$scene/host.log" 2>&1 &
    echo "0 2147483647" >/proc/sys/net/ipv4/ping_group_range
    until python3 -I "$scene/bin/wire" far tcp 127.0.0.1 1 2>/dev/null; do sleep 0.05; done >/dev/null
    "$here/../as-user" env HOME="$scene/home" XDG_RUNTIME_DIR="$scene/run" TMPDIR="$scene/tmp" \
        USER=tester LOGNAME=tester sh -eu "$0" --user
}
