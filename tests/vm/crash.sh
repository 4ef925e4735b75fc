#!/bin/bash
# Boots a Debian cloud kernel in QEMU, plants secrets, makes it panic, and runs a job in the capture kernel.
#
#   crash.sh --work DIR [options]
#     --suite SUITE         whose kernel (bookworm); bookworm-arm64 is an arm64 machine, trixie-ppc64el a ppc64le one
#     --job FILE            the shell script that runs in the capture kernel
#     --image FILE          instead of a job: the capture kernel's whole image, as distributions' tools build it
#     --append WORDS        for its command line
#     --first WORDS         for the command line of the kernel that crashes
#     --ram FILE            its memory is this file, which keeps it, as a warm start does, for boot.sh --ram
#     --efi DIR             its firmware is OVMF, which keeps variables in DIR, for boot.sh --efi
#     --running DIR         /mnt/running of the first kernel, which runs DIR/job, a shell script, before it crashes
#     --dump FILE           no capture kernel: QEMU's dump-guest-memory of the panicked guest into FILE, sparse
#     --dump-as OPT:FILE    after --dump, the same memory into FILE with an option of that command, as -p or -z; repeatable
#     --disk IMAGE          a raw disk, /dev/vdb and on; repeatable
#     --file SRC:DST        a file for the capture kernel's image; repeatable
#     --program PATH        a program for it, /bin/NAME with its libraries; repeatable
#     --load NAME           fill the first kernel's memory by guest/load-NAME: busy, full or large, from the last
#                           --disk, an ext4
#     --net                 a network card; the host is 10.0.2.2
#     --serve PORT          likewise, and 127.0.0.1:PORT of the host is the guest's NFS port, 2049
#     --memory MB (320)  --crashkernel SIZE (112M)  --cpus N (1)  --cpu MODEL (max)
#     --timeout S (300)  --attempts N (3)
#
# In DIR afterwards: console.log, and secrets/ with what was planted: files of random bytes
# (anon, clean, dirty, tmpfs, free) and lines (slab, klog). The exit status is the job's.
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

work='' suite=bookworm job='' image='' append='' first='' ram='' efi='' running='' dump='' net='' serve='' load='' memory=320 crashkernel=112M cpus=1 cpu=max timeout=300
attempts=3
# Emulated timers come late on a busy host; without the check the kernel only uses them.
QUIET_START="quiet no_timer_check"
disks=() files=() programs=() more_dumps=()

parse() {
    while [ $# -gt 0 ]; do
        case "$1" in
            --net) net=1; shift; continue ;;
            --disk) disks+=("$2") ;;
            --file) files+=("$2") ;;
            --program) programs+=("$2") ;;
            --dump-as) more_dumps+=("$2") ;;
            --serve) net=1 serve=,hostfwd=tcp:127.0.0.1:$2-:2049 ;;
            --work | --suite | --job | --image | --append | --first | --ram | --efi | --running | --dump | --memory | --crashkernel | --cpus | --cpu | --timeout | --attempts | --load)
                printf -v "${1#--}" '%s' "$2" ;;
            *) fail "crash.sh does not know $1" ;;
        esac
        shift 2
    done
    [ -n "$work" ] || fail "crash.sh needs --work DIR"
    [ -n "$job$image$dump" ] || fail "crash.sh needs --job, --image or --dump"
}

make_secrets() { # DIR: random pages survive any compressor as they are, lines look like secrets do
    local name
    mkdir -p "$1"
    for name in anon clean dirty tmpfs free; do head -c 1048576 /dev/urandom > "$1/$name"; done
    for name in slab klog; do
        echo "$name-$(head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \n')" > "$1/$name"
    done
}

# The capture kernel's image: the base, then the job and its files.
capture_image() { # BASE OUT
    local root entry
    root=$(mktemp -d)
    mkdir -p "$root/lab"
    [ -z "$job" ] || cp "$job" "$root/lab/job"
    for entry in "${files[@]}"; do install -D "${entry%%:*}" "$root/${entry#*:}"; done
    for entry in "${programs[@]}"; do install_program "$entry" "$root"; done
    { cat "$1"; archive "$root"; } > "$2"
    rm -rf "$root"
}

# The first kernel's own disk: what to plant, and what to load with kexec.
boot_disk() { # KERNEL BASE
    local root=$work/boot
    mkdir -p "$root"
    make_secrets "$work/secrets"
    cp -r "$work/secrets" "$1/vmlinuz" "$root/"
    if [ -n "$image" ]; then cp "$image" "$root/capture.cpio.gz"; else capture_image "$2" "$root/capture.cpio.gz"; fi
    [ -z "$load" ] || cp "$HERE/guest/load-$load" "$root/load"
    [ -z "$running" ] || cp -rL "$running" "$root/running"
    echo "console=$console rdinit=/init $QUIET_START panic=-1 irqpoll nr_cpus=1 reset_devices $append" > "$root/append"
    quietly mke2fs -q -t ext4 -d "$root" "$work/boot.img" 96M
    rm -rf "$root"
}

guest() { # KERNEL BASE QEMU-OPTION...
    local disk args kernel=$1 base=$2
    shift 2
    # shellcheck disable=SC2054 # QEMU's own commas
    args=("${machine[@]}" -cpu "$cpu" -smp "$cpus" -m "$memory"
        -kernel "$kernel/vmlinuz" -initrd "$base"
        -append "console=$console rdinit=/init $QUIET_START printk.devkmsg=on lab.how=$how $reserve $first")
    [ -z "$ram" ] || args+=("${kept_ram[@]}")
    [ -z "$efi" ] || args+=("${firmware[@]}")
    # The first kernel's writes go nowhere: its dirty pages are secrets.
    args+=(-drive "file=$work/boot.img,if=virtio,format=raw,snapshot=on")
    for disk in "${disks[@]}"; do args+=(-drive "file=$disk,if=virtio,format=raw,cache=unsafe"); done
    # shellcheck disable=SC2054
    [ -z "$net" ] || args+=(-netdev "user,id=net$serve" -device virtio-net-pci,netdev=net,romfile=)
    # More memory than this machine has, most of it never touched.
    [ "$memory" -lt 16384 ] || args+=(-object "memory-backend-ram,id=ram,size=${memory}M,reserve=off" -machine memory-backend=ram)
    emulate "$work/console.log" "${args[@]}" "$@"
}

# Asks QEMU for the memory of the guest once it has panicked; no capture kernel takes part. What it never touched, most
# of a large guest, takes no space: QEMU would write zeros.
guest_dump() { # KERNEL BASE
    local pid copier entry
    rm -f "$work"/monitor.* "$work/memory"
    mkfifo "$work/monitor.in" "$work/monitor.out" "$work/memory"
    dd if="$work/memory" of="$dump" bs=64k conv=sparse iflag=fullblock status=none &
    copier=$!
    guest "$1" "$2" -monitor "pipe:$work/monitor" &
    pid=$!
    cat "$work/monitor.out" > "$work/monitor.log" &
    until grep -qs "end Kernel panic" "$work/console.log"; do
        kill -0 $pid 2> /dev/null || break
        sleep 0.2
    done
    # Without a panic nobody opens the pipe.
    grep -qs "end Kernel panic" "$work/console.log" || kill $copier
    {
        # All files are of one moment.
        printf 'stop\ndump-guest-memory %s\n' "$(readlink -m "$work/memory")"
        for entry in "${more_dumps[@]}"; do
            printf 'dump-guest-memory %s %s\n' "${entry%%:*}" "$(readlink -m "${entry#*:}")"
        done
        echo quit
    } > "$work/monitor.in"
    wait $pid
    wait $copier || true
    rm -f "$work"/monitor.in "$work"/monitor.out "$work/memory"
}

status_of_job() {
    local status
    status=$(sed -n 's/^LAB: job status \([0-9]*\).*/\1/p' "$work/console.log")
    [ -n "$status" ] || {
        tail -n 20 "$work/console.log" >&2
        fail "the job did not end; see $work/console.log"
    }
    return "$status"
}

parse "$@"
need mke2fs
mkdir -p "$work"
rm -rf "${work:?}"/{boot,secrets}
# Machines with a configuration device tell QEMU where VMCOREINFO is.
case "$(debian_arch "$suite")" in
    arm64)
        # Pointer authentication as specified takes most of the time when it is emulated.
        qemu=$("$HERE/program.sh" qemu-aarch64) console=ttyAMA0
        machine=(-machine "virt,gic-version=3" -device vmcoreinfo)
        [ "$cpu" != max ] || cpu=max,pauth-impdef=on
        ;;
    ppc64el)
        qemu=$("$HERE/program.sh" qemu-ppc64) console=hvc0
        # What the emulator has no counterpart of; it would warn.
        machine=(-machine "pseries,cap-cfpc=broken,cap-ibs=broken,cap-ccf-assist=off")
        [ "$cpu" != max ] || cpu=power10
        ;;
    *) qemu=$("$HERE/program.sh" qemu) console=ttyS0 machine=(-device vmcoreinfo) ;;
esac
kernel=$("$HERE/kernel.sh" "$suite")
base=$("$HERE/initramfs.sh" "$kernel")
keep_ram
keep_variables
boot_disk "$kernel" "$base"
if [ -n "$dump" ]; then
    how=none reserve=''
else
    how=kdump reserve="panic=-1 crashkernel=$crashkernel"
fi
begun="^LAB: planted"
# Of a whole image only its own tools know when their work begins.
[ -z "$job" ] || begun="^LAB: capture kernel"
if [ -n "$dump" ]; then run=(guest_dump "$kernel" "$base"); else run=(guest "$kernel" "$base" -monitor none); fi
until_begun "$attempts" "$work/console.log" "$begun" "${run[@]}"
rm -f "$work/boot.img"
[ -z "$job" ] || status_of_job
