# shellcheck shell=bash
# What `./dev` needs from the machine, and how it gets it. Sourced by ./dev, which has set `root` (the checkout).
#
# Two kinds of things: packages of the machine's own Debian, and, where that is Debian 12, hiredis 1.2 and llhttp 9 from
# Debian 13's packages, unpacked into .deps without being installed. Both come from the mirrors that the machine's own apt
# is set up for, verified with its own keys. A second call finds everything in place and does nothing.

say() { printf 'dev: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

suite() { (. /etc/os-release 2>/dev/null && printf '%s' "${VERSION_CODENAME:-unknown}") || printf unknown; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "installing packages needs root or sudo; as root: apt-get install $missing"
    fi
}

# Runs a command and shows its output only when it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    [ "$status" = 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$status"
}

# Debian's packages start their daemons; a developer's machine should not get a Redis on port 6379 for having run the tests.
apt_install() {
    local policy=/usr/sbin/policy-rc.d made='' status=0
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        made=1
    fi
    quietly as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" </dev/null || status=$?
    [ -z "$made" ] || as_root rm -f "$policy"
    return "$status"
}

# need PACKAGE...: installs those that are missing. `a|b` means whichever of the two the machine's Debian has.
need() {
    local package name missing=''
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "this is no Debian: taking it on trust that these are installed: $*"
        return 0
    fi
    for package in "$@"; do
        for name in ${package//|/ }; do
            is_installed "$name" && continue 2
        done
        missing="$missing ${package}"
    done
    [ -n "$missing" ] || return 0
    quietly as_root apt-get update -qq || die "apt-get update failed"
    local install=''
    for package in $missing; do
        for name in ${package//|/ }; do
            if [ -n "$(apt-cache madison "$name" 2>/dev/null)" ]; then
                install="$install $name"
                continue 2
            fi
        done
        die "no package of this Debian provides ${package//|/ or }"
    done
    missing=$install
    say "installing$install"
    # shellcheck disable=SC2086 # a list of names
    apt_install $install || die "apt-get install failed"
}

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# hiredis and llhttp: in Debian 13 packages like any other, on Debian 12 unpacked into .deps.
need_hiredis_and_llhttp() {
    if [ "$(suite)" != bookworm ]; then
        need libhiredis-dev libllhttp-dev
        return
    fi
    [ -e "$root/.deps/.complete" ] && return
    say "unpacking Debian 13's hiredis and llhttp into .deps (nothing is installed)"
    unpack_from_trixie libhiredis-dev libhiredis1.1.0 libllhttp-dev libllhttp9.2
    touch "$root/.deps/.complete"
}

# A private apt state whose sources are the machine's own Debian ones with the suite changed; the machine's apt.conf.d (a proxy,
# say) and its keys stay in force. Downloads are verified as any other.
unpack_from_trixie() {
    local apt="$root/.deps/apt" file options package
    rm -rf "$apt"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/sources.list.d" "$apt/debs"
    trixie_sources "$apt"
    options=(-o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o "Dir::Etc::SourceList=$apt/sources.list"
        -o "Dir::Etc::SourceParts=$apt/sources.list.d" -o "APT::Sandbox::User=$(id -un)" -o "Acquire::Languages=none")
    quietly apt-get "${options[@]}" update -qq || die "Debian 13's package lists cannot be read"
    (cd "$apt/debs" && quietly apt-get "${options[@]}" download -qq "$@") || die "Debian 13's packages cannot be fetched: $*"
    for package in "$apt"/debs/*.deb; do
        dpkg -x "$package" "$root/.deps"
    done
    rm -rf "$apt"
}

# Only the entries whose suite is bookworm itself (or its alias), one-line and deb822. The updates and security archives are left out:
# what is fetched here is in the main one.
trixie_sources() {
    local apt=$1 file
    : >"$apt/sources.list"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -e "$file" ] || continue
        sed -nE '/^deb[[:space:]]/s/([[:space:]])(bookworm|oldstable)([[:space:]])/\1trixie\3/p' "$file" >>"$apt/sources.list"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -e "$file" ] || continue
        # A paragraph at a time: those that name the suite bookworm, with that one suite alone.
        awk -v RS= -v ORS='\n\n' '/(^|\n)Suites:[^\n]*[ \t](bookworm|oldstable)([ \t\n]|$)/ {
            sub(/Suites:[^\n]*/, "Suites: trixie"); print }' "$file" >"$apt/sources.list.d/$(basename "$file")"
    done
    grep -rqs trixie "$apt/sources.list" "$apt/sources.list.d" || die "no Debian source for bookworm found under /etc/apt"
}
