#!/bin/bash
# Installs what the build, the lints, the lab and the judges need, and the packages named, by apt, and says so.
# Quick and silent when everything is there. Needs root or sudo only when something is missing.
set -euo pipefail

PACKAGES="build-essential shellcheck age zstd xz-utils bzip2 lz4 lzop squashfs-tools erofs-utils cpio kmod
    busybox-static kexec-tools makedumpfile crash e2fsprogs dosfstools mtools python3-venv procps util-linux bsdutils rsyslog
    openssh-client cryptsetup-bin strace systemd dracut-core dracut-network isc-dhcp-client iputils-arping initramfs-tools-core rpm fuse3
    bindfs fuse2fs fusefat
    tmux zsh fish man-db lintian rpmlint"

missing() { # PACKAGE...
    local package
    for package in $PACKAGES "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || echo "$package"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

wanted=$(missing "$@" | tr '\n' ' ')
[ -n "$wanted" ] || exit 0
command -v apt-get > /dev/null || {
    echo "install-tools: not a Debian system; please install: $wanted" >&2
    exit 1
}
echo "install-tools: installing $wanted" >&2
as_root apt-get -qq update
# --allow-downgrades: a security update of a sibling package may be ahead of the archive.
# shellcheck disable=SC2086 # a list of names
as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends --allow-downgrades install $wanted > /dev/null
echo "install-tools: done" >&2
