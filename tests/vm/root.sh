#!/bin/bash
# A small Debian with systemd as its init, unpacked and not configured; prints the directory.
#
#   root.sh SUITE
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

PACKAGES=(base-files dash coreutils sed util-linux mount kmod udev systemd-sysv cryptsetup-bin)

# Debian 12 still ships /bin, /lib and /sbin beside /usr; systems have merged them.
merge_usr() { # TREE
    local name
    for name in bin sbin lib lib64; do
        [ -L "$1/$name" ] || {
            mkdir -p "$1/usr/$name"
            [ ! -d "$1/$name" ] || cp -a "$1/$name/." "$1/usr/$name/"
            rm -rf "${1:?}/$name"
            ln -s "usr/$name" "$1/$name"
        }
    done
}

suite=${1:?usage: root.sh SUITE}
tree=$LAB/roots/$suite
mkdir -p "$LAB/roots"
locked "$tree.lock"
if [ ! -e "$tree" ]; then
    say "fetching systemd of $suite"
    "$HERE/packages.sh" tree "$suite" "$tree.new" "${PACKAGES[@]}"
    merge_usr "$tree.new"
    rm -rf "$tree.new"/usr/share/{doc,man,locale,perl,info} "$tree.new"/usr/lib/x86_64-linux-gnu/{gconv,perl*}
    mv "$tree.new" "$tree"
fi
echo "$tree"
