#!/bin/sh
# upstream.sh - fetches the kdump scripts of Fedora, SUSE and Debian, at known versions, for the tests beside it.
#
# Run by hand or by CI: it needs the network; the tests that want these scripts are skipped without them.
# They go to target/upstream and never into the project: their licence is the GPL.
# KDUMP_UTILS_GIT and SUSE_KDUMP_GIT name other places to clone from.

set -eu

top=$(readlink -f "$(dirname "$0")/../..")
out=${CARGO_TARGET_DIR:-$top/target}/upstream

checkout() { # NAME URL COMMIT
    [ ! -e "$out/$1/.git" ] || return 0
    rm -rf "$out/$1.new"
    git clone -q --no-checkout "$2" "$out/$1.new"
    git -C "$out/$1.new" checkout -q --detach "$3"
    mv "$out/$1.new" "$out/$1"
}

mkdir -p "$out"
checkout kdump-utils "${KDUMP_UTILS_GIT:-https://github.com/rhkdump/kdump-utils}" 63f248c
checkout suse-kdump "${SUSE_KDUMP_GIT:-https://github.com/openSUSE/kdump}" 34da4b8
"$top/tests/vm/packages.sh" fetch trixie "$out/kdump-tools" kdump-tools
