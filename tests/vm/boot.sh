#!/bin/bash
# Boots an installed system in QEMU, with its own init, until it powers itself off.
#
#   boot.sh --work DIR --root IMAGE [--suite SUITE (bookworm)] [--append WORDS] [--disk IMAGE]... [--timeout S (300)]
#           [--memory MB (512)] [--ram FILE] [--efi DIR]: as crash.sh has them
#
# IMAGE of the root file system is an ext4, /dev/vda there; a disk is /dev/vdb and on, and the first one of them
# /dev/disk/by-id/virtio-disk1. What the system prints goes to DIR/boot.log; OVMF prints escape sequences before the first line.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

work='' root='' suite=bookworm append='' timeout=300 memory=512 ram='' efi=''
disks=()
while [ $# -gt 0 ]; do
    case "$1" in
        --disk) disks+=("$2") ;;
        --work | --root | --suite | --append | --timeout | --memory | --ram | --efi) printf -v "${1#--}" '%s' "$2" ;;
        *) fail "boot.sh does not know $1" ;;
    esac
    shift 2
done
[ -n "$work" ] || fail "boot.sh needs --work DIR"
[ -n "$root" ] || fail "boot.sh needs --root IMAGE"

# The lab's image with another program to begin with.
switching_image() { # BASE OUT
    local extra
    extra=$(mktemp -d)
    install -D -m 755 "$HERE/guest/switch" "$extra/switch"
    { cat "$1"; archive "$extra"; } > "$2"
    rm -rf "$extra"
}

qemu=$("$HERE/program.sh" qemu)
kernel=$("$HERE/kernel.sh" "$suite")
base=$("$HERE/initramfs.sh" "$kernel")
switching_image "$base" "$work/switch.cpio.gz"
args=()
keep_ram
keep_variables
[ -z "$ram" ] || args+=("${kept_ram[@]}")
[ -z "$efi" ] || args+=("${firmware[@]}")
disks=("$root" "${disks[@]}")
for number in "${!disks[@]}"; do
    args+=(-drive "file=${disks[$number]},if=none,id=disk$number,format=raw,cache=unsafe"
        -device "virtio-blk-pci,drive=disk$number,serial=disk$number")
done
until_begun 3 "$work/boot.log" "LAB: switching" emulate "$work/boot.log" -cpu max -m "$memory" -monitor none \
    -kernel "$kernel/vmlinuz" -initrd "$work/switch.cpio.gz" \
    -append "console=ttyS0 rdinit=/switch quiet no_timer_check panic=-1 systemd.show_status=no $append" "${args[@]}"
rm -f "$work/switch.cpio.gz"
