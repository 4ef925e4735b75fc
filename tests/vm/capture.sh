#!/bin/bash
# Captures a plain vmcore of a crashed guest, once, and prints its path: target/vmcores/NAME.elf.
# Beside it lie NAME.secrets (what was planted), NAME.console and NAME.release.
#
#   capture.sh NAME, where NAME is KERNEL-PAGING-HOW or KERNEL-ppc64el-HOW:
#     KERNEL  bookworm, trixie, backports, sid, backports@6.19: a SUITE of kernel.sh
#     PAGING  4level, 5level
#     HOW     kdump (/proc/vmcore as it is), hugetlb (likewise, with huge pages), qemu (dump-guest-memory),
#             idle, busy (kdump of 4 GB, just booted or in use), full (dump-guest-memory of 16 GB of files), large18, large128 (the same of 18 or 128 GiB, mostly idle)
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

name=${1:?usage: capture.sh KERNEL-PAGING-HOW, as in bookworm-5level-kdump}
IFS=- read -r suite paging how <<< "$name"
out=$TARGET/vmcores
work=$LAB/runs/capture-$name

case "$paging" in
    4level) cpu=max,la57=off ;;
    5level) cpu=max ;;
    # Radix tables.
    ppc64el) suite=$suite-$paging cpu=max ;;
    *) fail "capture.sh knows 4level, 5level and ppc64el, not $paging" ;;
esac

# /proc/vmcore of a guest, SIZE at most; the options go to crash.sh.
by_kdump() { # SIZE [OPTION...]
    rm -f "$work/disk.img"
    truncate -s "$1" "$work/disk.img"
    shift
    "$HERE/crash.sh" --work "$work" --suite "$suite" --cpu "$cpu" --job "$HERE/jobs/plain.sh" --disk "$work/disk.img" "$@"
    truncate -s "$(sed -n 's/^LAB: vmcore size \([0-9]*\).*/\1/p' "$work/console.log")" "$work/disk.img"
}

# A kernel that is not made for virtual machines needs more memory on both sides of the crash.
by_small() {
    case "$paging" in
        ppc64el) by_kdump 1400M --memory 1280 --crashkernel 512M --timeout 900 ;;
        *) by_kdump 320M ;;
    esac
}

# Files of this machine, for the guest to read: 600 MB of those that are not large.
data_disk() { # IMAGE
    local root
    rm -f "$1"
    root=$(mktemp -d)
    find /usr/bin /usr/lib /usr/share -xdev -type f -size -4M -printf '%s %p\n' \
        | awk '(sum += $1) < 600000000 { sub(/^[0-9]* /, ""); print }' | cpio --quiet -pd "$root" 2> /dev/null
    quietly mke2fs -q -t ext4 -d "$root" "$1" 900M
    rm -rf "$root"
}

# 4 GB of memory.
by_large() { # [OPTION...]
    by_kdump 4400M --memory 4096 --crashkernel 128M --timeout 1800 "$@"
}

# Huge pages whose tails' structures the kernel maps to one page.
by_hugetlb() {
    by_kdump 640M --memory 512 --first "hugetlb_free_vmemmap=on hugepages=64"
}

by_busy() {
    data_disk "$work/data.img"
    by_large --disk "$work/data.img" --load busy
}

by_qemu() {
    "$HERE/crash.sh" --work "$work" --suite "$suite" --cpu "$cpu" --dump "$work/disk.img"
}

# 16 GB full of files, by dump-guest-memory.
by_full() {
    data_disk "$work/data.img"
    "$HERE/crash.sh" --work "$work" --suite "$suite" --cpu "$cpu" --memory 16384 --timeout 1800 \
        --disk "$work/data.img" --load full --dump "$work/disk.img"
}

# So many GiB, of which some are in use, by dump-guest-memory.
by_many() { # GIB
    data_disk "$work/data.img"
    "$HERE/crash.sh" --work "$work" --suite "$suite" --cpu "$cpu" --memory $(($1 << 10)) --timeout 3600 --attempts 6 \
        --disk "$work/data.img" --load large --dump "$work/disk.img"
    "$HERE/front.py" "$work/disk.img"
}

mkdir -p "$out" "$work"
locked "$out/$name.lock"
# Another kernel than last time makes the old capture useless: its vmlinux is gone.
if ! cmp -s "$out/$name.release" "$("$HERE/kernel.sh" "$suite")/release"; then
    say "capturing $name"
    case "$how" in
        kdump) by_small ;;
        hugetlb) by_hugetlb ;;
        qemu) by_qemu ;;
        idle) by_large ;;
        busy) by_busy ;;
        full) by_full ;;
        large18 | large128) by_many "${how#large}" ;;
        *) fail "capture.sh knows kdump, hugetlb, qemu, idle, busy, full, large18 and large128, not $how" ;;
    esac
    # Pages of zeros, two thirds of a small guest, take no space.
    case "$how" in large*) ;; *) fallocate --dig-holes "$work/disk.img" ;; esac
    rm -rf "$out/$name".{release,secrets}
    mv "$work/secrets" "$out/$name.secrets"
    mv "$work/console.log" "$out/$name.console"
    mv "$work/disk.img" "$out/$name.elf"
    cp "$LAB/kernels/$suite/release" "$out/$name.release"
    rm -rf "$work"
fi
echo "$out/$name.elf"
