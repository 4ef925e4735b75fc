#!/bin/bash
# crashkernel.sh - the least crashkernel= with which a crash is saved, by bisecting in the crash lab; one line of a
# table for each way to save it. Each step is a guest that crashes: half an hour and more in all.
#
#   benches/crashkernel.sh [WAY...]
#     collector        our collector to a plain file system, in the lab's minimal image
#     makedumpfile     makedumpfile -l in its place, unencrypted
#     luks-volume-key  makedumpfile to a LUKS2 volume, opened with its volume key
#     luks-passphrase  the same, opened with a passphrase, which Argon2id makes a key with 1 GiB (cryptsetup's default)
#     dracut           our collector in the image of vmcore-encrypt-mkinitrd
#     initramfs-tools  our collector in an image as kdump-tools builds it, cryptsetup not in it
#     store            our collector for stores, in the lab's minimal image, over the network to a bucket on this machine
#     dracut-store     the same in the image of vmcore-encrypt-mkinitrd, whose network dracut brings up
#   MEMORY=MB (2048; 4096 for luks-passphrase) of the guest, SUITE (bookworm) of its kernel, COLLECTOR=FILE, UPLOADER=FILE
#   and COMMAND=FILE (`make command COMMAND_FEATURES=check,convert,upload`) where they are built already
set -euo pipefail
top=$(readlink -f "$(dirname "$0")/..")
lab=$top/tests/vm
suite=${SUITE:-bookworm}
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d "${CARGO_TARGET_DIR:-$top/target}/crashkernel.XXXXXX")
server=''
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT

# How far apart the bounds may be in the end: MiB, and a share of what works.
STEP=8
SHARE=32

plain_disk() {
    rm -f "$1"
    truncate -s 256M "$1"
    mke2fs -q -F -t ext4 "$1"
}

luks_disk() { # IMAGE KDF-OPTION...: with a file system in it; its key is $work/volume.key, its passphrase "passphrase"
    local image=$1
    shift
    rm -f "$image"
    truncate -s 256M "$image"
    head -c 64 /dev/urandom > "$work/volume.key"
    echo -n passphrase > "$work/passphrase"
    cryptsetup luksFormat -q --type luks2 --key-size 512 --volume-key-file "$work/volume.key" "$@" "$image" "$work/passphrase"
}

job() { # LINE...
    { echo "set -e"; printf '%s\n' "$@"; } > "$work/job"
    arguments+=(--job "$work/job")
}

opened_by() { # CRYPTSETUP-OPTION...
    plain=''
    job "modprobe dm_crypt" "cryptsetup open --type luks2 $* /dev/vdb crash" "mkfs.ext4 -q /dev/mapper/crash" \
        "mount -t ext4 /dev/mapper/crash /mnt" "makedumpfile -l -d 31 /proc/vmcore /mnt/vmcore" "umount /mnt"
    arguments+=(--program "$(command -v cryptsetup)" --program "$(command -v mkfs.ext4)" --program "$(command -v makedumpfile)")
    arguments+=(--file "$work/volume.key:volume.key" --file "$work/passphrase:passphrase")
    # Argon2's threads load it when they end.
    local library=/lib/x86_64-linux-gnu/libgcc_s.so.1
    arguments+=(--file "$library:$library")
}

# A machine with our parts, as the tests of kdump-module/ see it; the image is its /out/image.
machine_image() { # SCRIPT COLLECTOR CONFIG-LINE...: the hooks ask the command, which judges the configuration
    local release kernel command script=$1 program=$2
    shift 2
    command=${COMMAND:-$(make -s -C "$top" command COMMAND_FEATURES=check,convert,upload | tail -n 1)}
    kernel=$("$lab/kernel.sh" "$suite")
    release=$(cat "$kernel/release")
    mkdir -p "$work/stage/out"
    make --silent -C "$top/kdump-module" install DESTDIR="$work/stage" BIN="$command" COLLECTOR="$program"
    cp "$work/recipients" "$work/stage/etc/vmcore-encrypt/"
    printf '%s\n' "$@" ON_SUCCESS=poweroff ON_FAILURE=poweroff > "$work/stage/etc/vmcore-encrypt/config"
    [ ! -e "$work/credentials" ] || install -m 600 "$work/credentials" "$work/stage/etc/vmcore-encrypt/"
    unshare --mount sh "$top/tests/kdump_module/machine.sh" "$work/stage" "release=$release; $script" \
        "$kernel/lib/modules/$release:/lib/modules/$release" > "$work/build.log" 2>&1 || {
        tail -n 5 "$work/build.log" >&2
        exit 1
    }
    arguments+=(--image "$work/stage/out/image" --append panic=10)
}

DRACUT="vmcore-encrypt-mkinitrd /out/image \$release --no-hostonly --gzip --add-drivers 'virtio_pci virtio_blk' \
    --omit 'kernel-modules kernel-modules-extra qemu dm lunmask lvm mdraid multipath nvdimm virtiofs rootfs-block \
    terminfo usrmount'"
ON_DISK=(TARGET=file DEVICE=/dev/vdb FSTYPE=ext4 RESERVE=1)
INITRAMFS_TOOLS="mkdir -p /var/lib/kdump; cp -r /etc/initramfs-tools /var/lib/kdump/
    echo MODULES=list > /var/lib/kdump/initramfs-tools/conf.d/zzz-kdump
    printf 'virtio_pci\\nvirtio_blk\\n' > /var/lib/kdump/initramfs-tools/modules
    echo CONFIG_RD_GZIP=y > /boot/config-\$release
    mkinitramfs -c gzip -d /var/lib/kdump/initramfs-tools -o /out/image \$release"

# A real server of S3 (moto) on this machine, which is 10.0.2.2 for the guest, and the right to write to it.
serve() {
    [ -z "$server" ] || return 0
    mkdir "$work/served" && mkfifo "$work/served.in" "$work/served.out"
    "$("$lab/program.sh" servers)" "$top/tests/remote/serve.py" s3 "$work/served" < "$work/served.in" > "$work/served.out" 2> /dev/null &
    server=$!
    exec 8> "$work/served.in" 9< "$work/served.out"
    read -r port <&9
    uploader=${UPLOADER:-$(make -s -C "$top" uploader | tail -n 1)}
    printf '%s\n' AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x AWS_REGION=us-east-1 "AWS_ENDPOINT=http://10.0.2.2:$port" \
        AWS_ALLOW_HTTP=true > "$work/credentials"
    chmod 600 "$work/credentials"
}

# How many whole dumps are in the bucket.
stored() {
    curl -sS "http://127.0.0.1:$port/dumps?list-type=2" | { grep -o '/end</Key>' || true; } | wc -l
}

# Sets the guest's `arguments`, and makes what they name.
prepare() { # WAY
    memory=${MEMORY:-2048}
    [ "$1" != luks-passphrase ] || memory=${MEMORY:-4096}
    arguments=(--suite "$suite" --memory "$memory" --work "$work/guest" --disk "$work/disk.img" --attempts 1 --timeout 900)
    plain=1
    case "$1" in
        collector)
            job "mount -t ext4 /dev/vdb /mnt" "vmcore-encrypt -d 31 /proc/vmcore /mnt/vmcore" "umount /mnt"
            arguments+=(--program "$collector" --file "$work/recipients:etc/vmcore-encrypt/recipients")
            ;;
        makedumpfile)
            job "mount -t ext4 /dev/vdb /mnt" "makedumpfile -l -d 31 /proc/vmcore /mnt/vmcore" "umount /mnt"
            arguments+=(--program "$(command -v makedumpfile)")
            ;;
        luks-volume-key)
            luks_disk "$work/disk.img" --pbkdf pbkdf2 --pbkdf-force-iterations 1000
            opened_by --volume-key-file /volume.key
            ;;
        luks-passphrase)
            luks_disk "$work/disk.img" --pbkdf argon2id --pbkdf-memory 1048576 --pbkdf-parallel 4 --pbkdf-force-iterations 4
            opened_by --key-file /passphrase
            ;;
        dracut) machine_image "$DRACUT" "$collector" "${ON_DISK[@]}" ;;
        initramfs-tools) machine_image "$INITRAMFS_TOOLS" "$collector" "${ON_DISK[@]}" ;;
        store)
            serve
            plain=''
            plain_disk "$work/disk.img"
            job "vmcore-encrypt -d 31 --credentials /credentials /proc/vmcore s3://dumps/host1/"
            arguments+=(--program "$uploader" --file "$work/recipients:etc/vmcore-encrypt/recipients")
            arguments+=(--net --file "$work/credentials:credentials")
            ;;
        dracut-store)
            serve
            plain=''
            plain_disk "$work/disk.img"
            machine_image "${DRACUT/virtio_blk/virtio_blk virtio_net}" "$uploader" TARGET=store URL=s3://dumps/host1/
            arguments+=(--net --append "panic=10 net.ifnames=0")
            ;;
        *)
            echo "crashkernel.sh does not know $1" >&2
            exit 2
            ;;
    esac
}

# The image's own scripts do not report to the lab: a dump with its final name does.
dump_is_there() {
    if [ -n "$server" ]; then
        [ "$(stored)" -gt "$before" ]
        return
    fi
    mkdir "$work/saved"
    debugfs -R "rdump /crash $work/saved" "$work/disk.img" > /dev/null 2>&1
    local found
    found=$(find "$work/saved" -name vmcore.age)
    rm -rf "$work/saved"
    [ -n "$found" ]
}

saves_with() { # MIB
    [ -z "$plain" ] || plain_disk "$work/disk.img"
    [ -z "$server" ] || before=$(stored)
    "$lab/crash.sh" "${arguments[@]}" --crashkernel "$1M" > "$work/guest.log" 2>&1 || return 1
    [ ! -e "$work/stage" ] || dump_is_there
}

# An emulated kernel may die by itself; what fails twice does not work.
works_with() { # MIB
    if saves_with "$1" || saves_with "$1"; then
        echo "crashkernel.sh: $way: $1M works" >&2
    else
        echo "crashkernel.sh: $way: $1M fails" >&2
        return 1
    fi
}

least() { # FAILS WORKS: bounds that are believed, in MiB
    local fails=$1 works=$2 middle
    until works_with "$works"; do
        fails=$works works=$((works * 3 / 2))
        [ "$works" -lt "$memory" ] || { echo "more than $fails"; return; }
    done
    while [ $((works - fails)) -gt $STEP ] && [ $((works - fails)) -gt $((works / SHARE)) ]; do
        middle=$(((fails + works) / 2 / STEP * STEP))
        if works_with "$middle"; then works=$middle; else fails=$middle; fi
    done
    echo "$works"
}

image_size() {
    local image=$work/stage/out/image
    [ -e "$image" ] && echo "$(($(stat -c %s "$image") >> 20)) MiB" || echo "-"
}

collector=${COLLECTOR:-$(make -s -C "$top" collector | tail -n 1)}
echo "age1td9jgf5309nml0x4ff8k6hxzsp5xkhcst899de99fluxwk5ej9ssluv4wv" > "$work/recipients"
[ $# -gt 0 ] || set -- collector makedumpfile luks-volume-key luks-passphrase dracut initramfs-tools store dracut-store
echo "| way | image | least crashkernel= |"
echo "|---|---:|---:|"
for way; do
    rm -rf "$work/stage"
    prepare "$way"
    case "$way" in
        luks-passphrase) bounds="1024 1408" ;;
        dracut-store) bounds="112 176" ;;
        *) bounds="64 128" ;;
    esac
    # shellcheck disable=SC2086 # two bounds
    result=$(least $bounds)
    echo "| $way | $(image_size) | ${result}M |"
done
