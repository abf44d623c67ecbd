# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# lib.sh - what the checks share: where the source is, and TAP
#
# A check is a program that writes TAP and reads nothing but the source tree. It may run anywhere.
set -eu

top=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
tap_count=0

# ok NAME: the test NAME passed.
ok() {
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $1"
}

# not_ok NAME: the test NAME failed; standard input says why.
not_ok() {
    tap_count=$((tap_count + 1))
    echo "not ok $tap_count - $1"
    sed 's/^/# /'
}

# verdict NAME FILE: passed if FILE is empty; else its text says why not.
verdict() {
    if [ -s "$2" ]; then
        not_ok "$1" <"$2"
    else
        ok "$1"
    fi
}

# skip NAME WHY: a failure where everything must work.
skip() {
    if [ "${MUST_WORK:-}" = 1 ]; then
        echo "skipped, but MUST_WORK=1: $2" | not_ok "$1"
    else
        tap_count=$((tap_count + 1))
        echo "ok $tap_count - $1 # SKIP $2"
    fi
}

done_testing() {
    echo "1..$tap_count"
}

# Paths, relative to $top, of our own C files that have one of the suffixes given ("c h").
c_files() {
    for suffix in "$@"; do
        (cd "$top" && find helper include tests contrib -type f -name "*.$suffix")
    done | sort
}

scratch() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/sallyport-check.XXXXXX")
    trap 'rm -rf "$work"' EXIT
}
