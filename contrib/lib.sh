# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=sh
#
# lib.sh - what contrib/try and contrib/check share

# copy_source FROM TO: the sources without what a build left among them. A copy, because a tree that was configured in place
# cannot be built from another directory, because an ordinary user must be able to read it, and to leave the tree as it is.
copy_source() {
    mkdir -p "$2"
    tar -C "$1" -cf - --exclude=./.git --exclude='./build*' --exclude=./autom4te.cache --exclude='./sallyport-[0-9]*' \
        --exclude=./config.status --exclude=./config.h --exclude=./Makefile --exclude=./libtool \
        --exclude='*.o' --exclude='*.lo' --exclude='*.la' --exclude='*.a' --exclude='*.trs' --exclude='*.log' \
        --exclude=.libs --exclude=.deps --exclude=.dirstamp . | tar -C "$2" -xf - --no-same-owner
}
