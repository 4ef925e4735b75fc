#!/bin/bash
# Builds the base initramfs of a kernel (busybox, kexec, the modules of a small guest, guest/*) and prints
# its path. The archive is cached beside the kernel and rebuilt when one of its sources is newer.
#
#   initramfs.sh KERNEL-DIR
#   initramfs.sh --modules KERNEL-DIR NAME...   prints the files of modules in the order to load them
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# Loaded at boot, in this order; what they depend on comes first by itself.
BOOT_MODULES=(virtio_pci virtio_blk virtio_net qemu_fw_cfg)
# Loaded when a mount asks for them.
MOUNT_MODULES=(ext4 crc32c_generic vfat nls_cp437 nls_ascii nls_iso8859-1 nls_utf8)
# Loaded when cryptsetup asks for them.
CRYPT_MODULES=(dm_crypt xts aesni_intel)
# Loaded by tests of what the firmware keeps of a crash.
PSTORE_MODULES=(ramoops efi_pstore)

modules=
[ "${1:-}" != --modules ] || { modules=1; shift; }
kernel=${1:?usage: initramfs.sh [--modules] KERNEL-DIR}
release=$(cat "$kernel/release")
image=$kernel/base.cpio.gz

module_files() { # NAME...: the files to load for these, in order; names built into this kernel give none
    local name
    for name in "$@"; do
        modprobe -d "$kernel" -S "$release" --show-depends "$name" 2> /dev/null || true
    done | sed -n 's/^insmod //p' | awk '!seen[$1]++ { print $1 }'
}

install_modules() { # ROOT
    local file
    for file in $(module_files "${BOOT_MODULES[@]}" "${MOUNT_MODULES[@]}" "${CRYPT_MODULES[@]}" "${PSTORE_MODULES[@]}"); do
        install -D -m 644 "$file" "$1/lib/modules/$release/${file#*"/lib/modules/$release/"}"
    done
    quietly depmod -b "$1" "$release"
    printf '%s\n' "${BOOT_MODULES[@]}" > "$1/lab/modules"
}

# Copies a program or library of the foreign tree $1 into the directory $2, and then what it is linked to.
copy_linked() { # TREE DIR FILE
    local library
    [ ! -e "$2/$(basename "$3")" ] || return 0
    cp -L "$3" "$2/"
    for library in $(readelf -d "$3" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
        copy_linked "$1" "$2" "$(find "$1" -name "$library" | head -n 1)"
    done
}

# busybox and kexec: the machine's own, or for a guest of another machine Debian's with their libraries. For arm64 those of
# Debian 13: an older kexec leaves the page structures out of the vmcore.
install_programs() { # ROOT
    local arch tree suite=trixie
    arch=$(debian_arch "$kernel")
    [ "$arch" = arm64 ] || suite=$(debian_suite "$(basename "$kernel")")
    tree=$LAB/programs/$arch.tree
    if [ "$arch" = amd64 ]; then
        install -m 755 /bin/busybox "$1/bin/busybox"
        install_program /sbin/kexec "$1"
        return
    fi
    mkdir -p "$LAB/programs"
    locked "$tree.lock"
    [ -e "$tree" ] || "$HERE/packages.sh" tree "$suite" "$tree" "busybox-static:$arch" "kexec-tools:$arch"
    # Where the loader of some machines is asked for.
    ln -s lib "$1/lib64"
    copy_linked "$tree" "$1/lib" "$(find "$tree" -path '*/sbin/kexec')"
    mv "$1/lib/kexec" "$1/bin/"
    install -m 755 "$(find "$tree" -path '*/bin/busybox')" "$1/bin/"
}

need busybox kexec cpio modprobe readelf
[ -z "$modules" ] || { module_files "${@:2}"; exit 0; }
locked "$kernel.lock"
if [ ! -e "$image" ] || [ -n "$(find "$HERE/guest" "$HERE/initramfs.sh" "$kernel/release" -newer "$image")" ]; then
    root=$(mktemp -d)
    mkdir -p "$root"/{bin,dev,lab,lib,mnt,proc,sys}
    ln -s bin "$root/sbin" # the kernel asks for /sbin/modprobe
    install -m 755 "$HERE/guest/init" "$root/init"
    install -m 755 "$HERE/guest/plant" "$HERE/guest/crasher" "$root/lab/"
    install_programs "$root"
    install_modules "$root"
    archive "$root" > "$image.new"
    mv "$image.new" "$image"
    rm -rf "$root"
fi
echo "$image"
