#!/bin/sh
# machine.sh STAGE SCRIPT [SOURCE:PLACE...] - runs SCRIPT in a copy-on-write view of this machine on which STAGE is installed.
#
# Run by machine.rs in a mount namespace of its own, as root of it: nothing written by SCRIPT outlives it
# but what it writes to /out, which is STAGE/out. Directories SOURCE of this machine are seen at PLACE.
# What SCRIPT writes elsewhere lies in memory.

set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

stage=$1
script=$2
shift 2
view=$stage/view
mkdir -p "$view"
mount -t tmpfs tmpfs "$view"
mkdir "$view/upper" "$view/work" "$view/root" "$view/stage"
# A layer must not lie inside another one, so STAGE is copied; what was written to /out is not part of it.
tar -C "$stage" --exclude=./out --exclude=./view -cf - . | tar -C "$view/stage" -xf -
mkdir "$view/stage/out"
mount -t overlay overlay -o "lowerdir=$view/stage:/,upperdir=$view/upper,workdir=$view/work" "$view/root"
for system in proc sys dev; do
    mount --rbind "/$system" "$view/root/$system"
done
mount -t tmpfs tmpfs "$view/root/tmp"
mount --bind "$stage/out" "$view/root/out"
for extra; do
    mkdir -p "$view/root/${extra#*:}"
    mount --bind "${extra%%:*}" "$view/root/${extra#*:}"
done
exec chroot "$view/root" /bin/sh -eu -c "$script"
