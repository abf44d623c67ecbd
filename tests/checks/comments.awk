# SPDX-License-Identifier: GPL-2.0-or-later
#
# comments.awk - see the check "comments"; prints what does not agree. Needs -v file=NAME.

# A name after "@": letters, digits, underscores.
function take_names(text, at) {
    while (match(text, /@[a-z][A-Za-z0-9_]*/)) {
        at = substr(text, RSTART + 1, RLENGTH - 1)
        named[at] = FNR
        text = substr(text, RSTART + RLENGTH)
    }
}

# Code without comments: remembers each identifier.
function take_code(text, rest) {
    while (match(text, /\/\*/)) {
        rest = substr(text, RSTART + 2)
        text = substr(text, 1, RSTART - 1)
        in_inner = !match(rest, /\*\//)
        if (!in_inner)
            text = text substr(rest, RSTART + 2)
        else
            break
    }
    depth += gsub(/\{/, " ", text) - gsub(/\}/, " ", text)
    while (match(text, /[A-Za-z_][A-Za-z0-9_]*/)) {
        known[substr(text, RSTART, RLENGTH)] = 1
        text = substr(text, RSTART + RLENGTH)
    }
}

function settle(name) {
    for (name in named)
        if (!(name in known))
            print file ":" named[name] ": @" name " is not in the declaration below"
    split("", named)
    split("", known)
    depth = 0
}

in_comment {
    take_names($0)
    if (/\*\//) {
        in_comment = 0
        ended = FNR
    }
    next
}
in_inner {
    if (!match($0, /\*\//))
        next
    in_inner = 0
    take_code(substr($0, RSTART + 2))
    next
}
/^\/\*/ {
    settle()
    take_names($0)
    in_comment = !/\*\//
    ended = in_comment ? 0 : FNR
    next
}
/^[ \t]*$/ {
    # A comment with nothing right below it speaks of the file at large.
    if (ended == FNR - 1)
        split("", named)
    if (!depth)
        settle()
    next
}
{
    take_code($0)
}
END { settle() }
