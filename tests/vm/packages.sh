#!/bin/bash
# Fetches Debian packages of any suite without touching the system: a private apt state under
# target/vm/apt, the machine's own mirror and proxy settings, packages unpacked aside.
#
#   packages.sh fetch SUITE DIR PACKAGE...   unpack just these packages into DIR
#   packages.sh pick SUITE DIR GLOB PACKAGE  unpack only the files that match GLOB
#   packages.sh tree SUITE DIR PACKAGE...    unpack them with every dependency, down to libc
#   packages.sh depends SUITE PACKAGE        print what a package depends on
#   packages.sh names SUITE REGEX            print the names of packages that match
#
# PACKAGE:arm64 is the arm64 one, PACKAGE:ppc64el the ppc64el one.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# The Debian mirror the machine itself uses; DEBIAN_MIRROR=URL where it has none.
mirror() {
    need apt-get
    [ -z "${DEBIAN_MIRROR:-}" ] || { echo "$DEBIAN_MIRROR"; return; }
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' |
        grep -m 1 -E '/debian/?$' || absent "a Debian mirror in the apt sources; set DEBIAN_MIRROR=URL"
}

# The packages of ppc64el are few tests' matter: a state of their own spares the others their index.
case "$*" in *:ppc64el*) also=ppc64el ;; *) also= ;; esac

# Writes the private configuration of suite $1 and fetches its index unless it is a day old at most.
suite() {
    state=$LAB/apt/$1${also:+-$also}
    locked "$state.lock"
    conf=$state/apt.conf
    [ -z "$(find "$state/fresh" -mtime -1 -newer "$HERE/packages.sh" 2>/dev/null)" ] || return 0
    mkdir -p "$state"/{lists/partial,archives/partial,etc}
    : > "$state/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $1 main" > "$state/sources.list"
    cat > "$conf" <<CONF
Dir::State "$state";
Dir::State::Lists "$state/lists";
Dir::State::status "$state/status";
Dir::Cache "$state";
Dir::Cache::archives "$state/archives";
Dir::Etc::SourceList "$state/sources.list";
Dir::Etc::SourceParts "$state/etc";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "$state/etc";
APT::Architecture "amd64";
APT::Architectures { "amd64"; "${also:-arm64}"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
CONF
    quietly apt-get -c "$conf" update || absent "the package index of Debian $1"
    touch "$state/fresh"
}

unpack() { # DIR GLOB ARCHIVE...: all or nothing, so that an interrupted run leaves no half tree
    local dir=$1 glob=$2 archive
    shift 2
    rm -rf "$dir" "$dir.partial"
    mkdir -p "$dir.partial"
    for archive in "$@"; do
        dpkg-deb --fsys-tarfile "$archive" |
            tar -x -C "$dir.partial" --no-same-owner --wildcards "$glob"
    done
    mv "$dir.partial" "$dir"
}

fetch() { # SUITE DIR PACKAGE...
    local suite=$1 dir=$2
    shift 2
    pick "$suite" "$dir" '*' "$@"
}

pick() { # SUITE DIR GLOB PACKAGE...
    local scratch suite=$1 dir=$2 glob=$3
    suite "$1"
    scratch=$(mktemp -d "$LAB/apt/fetch.XXXXXX")
    shift 3
    (cd "$scratch" && quietly apt-get -c "$conf" download "$@") || absent "packages of Debian $suite: $*"
    unpack "$dir" "$glob" "$scratch"/*.deb
    rm -rf "$scratch"
}

tree() { # SUITE DIR PACKAGE...
    local suite=$1 dir=$2
    suite "$1"
    shift 2
    rm -f "$state"/archives/*.deb
    quietly apt-get -c "$conf" --yes --download-only install "$@" || absent "packages of Debian $suite: $*"
    unpack "$dir" '*' "$state"/archives/*.deb
    rm -f "$state"/archives/*.deb
}

depends() { # SUITE PACKAGE
    suite "$1"
    apt-cache -c "$conf" depends --no-recommends "$2" | sed -n 's/^ *Depends: //p'
}

names() { # SUITE REGEX
    suite "$1"
    apt-cache -c "$conf" search --names-only "$2" | sed 's/ .*//'
}

case "${1:-}" in
    fetch | pick | tree | depends | names) "$@" ;;
    *) fail "usage: packages.sh fetch|pick|tree|depends|names SUITE ..." ;;
esac
