#!/bin/bash
# module-setup.sh - puts the collector and the recipients into a kdump image made by dracut.
#
# Sourced by dracut for every image it builds; takes part in kdump images only. Ends the build when a
# crash could not be saved encrypted: dracut itself goes on when a file is missing, and that would be
# noticed after the crash. Must never copy a private key, nor leave a program that saves the log in plain.
# shellcheck disable=SC2154 # initdir, moddir and dracutbasedir are dracut's

# called by dracut: kdump-utils exports IN_KDUMP, SUSE's mkdumprd adds the module "kdump"
check() {
    [[ ${IN_KDUMP-} ]] && return 0
    [[ " ${dracutmodules-} ${add_dracutmodules-} ${force_add_dracutmodules-} " == *" kdump "* ]]
}

# called by dracut. A fault in the configuration ends the build later, in install.
depends() {
    local TARGET='' NETWORK='' COLLECTOR_ARGS='' DEVICE='' FSTYPE=''
    vmcore_encrypt_config || return 0
    [[ $TARGET != store ]] || vmcore_encrypt_network
}

# Prints the modules of dracut that bring up a network. In an image without systemd the one that starts by itself comes
# first: else dracut takes systemd-networkd where that is installed, and ends without an image.
vmcore_encrypt_network() {
    local handler
    if [[ " ${omit_dracutmodules-} " == *" systemd "* ]]; then
        for handler in network-legacy network-manager; do
            [[ -d $(echo "$dracutbasedir"/modules.d/??"$handler") ]] || continue
            echo "$handler"
            break
        done
    fi
    echo network
}

# called by dracut: the kdump scripts bring the file system of their target, not that of ours
installkernel() {
    local FSTYPE='' DEVICE='' TARGET='' NETWORK='' COLLECTOR_ARGS=''
    vmcore_encrypt_config || exit 1
    [[ $TARGET == file ]] || return 0
    [[ $FSTYPE ]] || FSTYPE=$(vmcore_encrypt_fs_type "$DEVICE")
    # shellcheck disable=SC2086 # a list when the type is unknown
    hostonly='' instmods ${FSTYPE:-ext4 xfs vfat}
    [[ ${FSTYPE:-vfat} != vfat ]] || hostonly='' instmods nls_cp437 nls_iso8859-1 nls_ascii nls_utf8
}

# called by dracut
install() {
    vmcore_encrypt_ready || exit 1
    local FSTYPE='' DEVICE='' TARGET='' NETWORK='' COLLECTOR_ARGS=''
    vmcore_encrypt_config || exit 1
    vmcore_encrypt_collector || exit 1
    inst_simple /etc/vmcore-encrypt/recipients || exit 1
    vmcore_encrypt_plugins || exit 1
    [[ ! -e /etc/vmcore-encrypt/config ]] || inst_simple /etc/vmcore-encrypt/config || exit 1
    inst_simple /usr/lib/vmcore-encrypt/functions.sh || exit 1
    local script
    for script in save suse-transfer; do
        [[ ! -e /usr/lib/vmcore-encrypt/$script ]] || inst_script "/usr/lib/vmcore-encrypt/$script" || exit 1
    done
    inst_multiple cat date df mkdir modprobe mount mv rm sleep sync umount || exit 1
    # ssh comes with the kdump scripts that have a use for it; with its libraries it is as large as the collector.
    # kdump-utils watches the dd of a raw target by pidof, in a loop that takes a CPU while there is no pidof.
    inst_multiple -o blkid hostname reboot poweroff halt pidof
    vmcore_encrypt_replace_dmesg
    [[ $TARGET != store ]] || vmcore_encrypt_store || exit 1
    vmcore_encrypt_who_saves || exit 1
}

# What an object store takes: the right to write, certificates, names, and the network. SUSE's kdump brings its own network
# (KDUMP_NETCONFIG).
vmcore_encrypt_store() {
    local file word
    local -a words
    read -ra words <<< "$COLLECTOR_ARGS"
    for word in /etc/vmcore-encrypt/credentials "${words[@]#*=}"; do
        [[ $word != /* || ! -f $word ]] || inst_simple "$word" || return 1
    done
    # Those of the system, where no --ca-file is named.
    if [[ " $COLLECTOR_ARGS" != *" --ca-file"[\ =]* ]]; then
        for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /var/lib/ca-certificates/ca-bundle.pem; do
            [[ ! -f $file ]] || inst_simple "$file" || return 1
        done
    fi
    for file in /etc/hosts /etc/machine-id; do
        [[ ! -f $file || -e $initdir$file ]] || inst_simple "$file" || return 1
    done
    [[ ! -e $initdir/kdump/kdump-save ]] || return 0
    mkdir -p "$initdir/etc/cmdline.d" &&
        echo "rd.neednet=1 ip=$NETWORK" > "$initdir/etc/cmdline.d/99-vmcore-encrypt.conf"
}

# The recipients parse, none is a private key, and the binary runs: it is the one that is asked.
vmcore_encrypt_ready() {
    if [[ ! -x /usr/bin/vmcore-encrypt ]]; then
        dfatal "vmcore-encrypt: /usr/bin/vmcore-encrypt is not there: every dump would fail"
        return 1
    fi
    /usr/bin/vmcore-encrypt --check-params vmcore && return 0
    dfatal "vmcore-encrypt: no image without valid recipients in /etc/vmcore-encrypt/recipients"
    return 1
}

# The small build of the collector, as /usr/bin/vmcore-encrypt. kdump-utils and SUSE's kdump have copied the command of
# that name, which can do more and is larger, or one from elsewhere in the path: that name becomes a link.
vmcore_encrypt_collector() {
    local collector=/usr/lib/vmcore-encrypt/vmcore-encrypt copy
    local -a copies=()
    [[ -x $collector ]] || collector=/usr/bin/vmcore-encrypt
    for copy in "$initdir"/{usr/bin,usr/sbin,bin,sbin,usr/local/bin,usr/local/sbin}/vmcore-encrypt; do
        [[ -e $copy || -L $copy ]] || continue
        rm -f "$copy" || return 1
        copies+=("$copy")
    done
    inst_binary "$collector" /usr/bin/vmcore-encrypt || return 1
    for copy in "${copies[@]}"; do
        [[ -e $copy ]] || ln -s /usr/bin/vmcore-encrypt "$copy" || return 1
    done
}

# Programs of plugin recipients, where the capture kernel finds them.
vmcore_encrypt_plugins() {
    local program path
    for program in $(/usr/bin/vmcore-encrypt fingerprint --plugins); do
        path=$(type -P "$program") && inst_binary "$path" "/usr/bin/$program" && continue
        dfatal "vmcore-encrypt: $program, which a recipient needs, cannot be put into the image"
        return 1
    done
}

# The program kdump-utils calls for the crashed kernel's log becomes ours, which encrypts it.
vmcore_encrypt_replace_dmesg() {
    rm -f "$initdir/sbin/vmcore-dmesg" "$initdir/usr/sbin/vmcore-dmesg" "$initdir/usr/bin/vmcore-dmesg"
    ln -s /usr/bin/vmcore-encrypt "$initdir/sbin/vmcore-dmesg"
}

# Either the distribution's kdump scripts, which then must call us, or our own hook.
vmcore_encrypt_who_saves() {
    if [[ -e $initdir/bin/kdump.sh ]]; then
        vmcore_encrypt_fedora_calls_us
    elif [[ -e $initdir/kdump/kdump-save ]]; then
        vmcore_encrypt_suse_calls_us
    else
        vmcore_encrypt_own_target || return 1
        inst_hook cmdline 50 "$moddir/vmcore-encrypt-root.sh"
        vmcore_encrypt_hook
    fi
}

# Our own hook: before any device is opened, or once the network is up. Without one the initqueue would end too soon, and
# where none comes up it would end in a shell.
vmcore_encrypt_hook() {
    if [[ $TARGET != store ]]; then
        inst_hook pre-trigger 99 "$moddir/vmcore-encrypt-save.sh"
        return
    fi
    inst_hook initqueue/finished 99 "$moddir/vmcore-encrypt-wait.sh"
    inst_hook initqueue/settled 99 "$moddir/vmcore-encrypt-online.sh"
    inst_hook initqueue/timeout 99 "$moddir/vmcore-encrypt-save.sh"
    inst_hook pre-mount 00 "$moddir/vmcore-encrypt-save.sh"
}

# kdump-utils: every way that /etc/kdump.conf can go ends in our collector or in no dump.
vmcore_encrypt_fedora_calls_us() {
    vmcore_encrypt_gate kdump-utils "/etc/kdump.conf"
}

# SUSE's kdump: likewise.
vmcore_encrypt_suse_calls_us() {
    vmcore_encrypt_gate kdump "/etc/sysconfig/kdump"
}

# Nobody else chooses a target in this image.
vmcore_encrypt_own_target() {
    vmcore_encrypt_gate own "/etc/vmcore-encrypt/config"
}

# vmcore_encrypt_gate SCRIPTS FILE: the collector judges the configuration in the image; the rule is its own. Without
# the program there is no image.
vmcore_encrypt_gate() {
    local program
    program=$(vmcore_encrypt_program) && "$program" gate "$1" --root "$initdir" && return 0
    dfatal "vmcore-encrypt: no image: $2 has a way to a dump in plain or to none at all, or could not be judged"
    return 1
}

# Prints the program that judges: the installed one, or in a checkout, where nothing is installed, its newest build.
vmcore_encrypt_program() {
    local here=${BASH_SOURCE[0]} program='' build
    case $here in
        */kdump-module/dracut/99vmcore-encrypt/*)
            for build in "${here%/kdump-module/*}"/target/{debug,release}/vmcore-encrypt; do
                [[ ! -x $build || ( $program && $program -nt $build ) ]] || program=$build
            done
            ;;
    esac
    program=${VMCORE_ENCRYPT_PROGRAM:-${program:-/usr/bin/vmcore-encrypt}}
    [[ -x $program ]] || return 1
    echo "$program"
}

# Sets TARGET, DEVICE, FSTYPE, NETWORK and COLLECTOR_ARGS, and no other variable of dracut, from the checked assignments of the collector. The
# scripts in the image take the same ones: without them no dump is saved there.
vmcore_encrypt_config() {
    local assignments program line
    if ! program=$(vmcore_encrypt_program) || ! assignments=$("$program" config) || [[ ! $assignments ]]; then
        dfatal "vmcore-encrypt: no image without a valid /etc/vmcore-encrypt/config"
        return 1
    fi
    while IFS= read -r line; do
        case $line in
            TARGET=* | DEVICE=* | FSTYPE=* | NETWORK=* | COLLECTOR_ARGS=*) eval "$line" ;;
        esac
    done <<< "$assignments"
}

# Prints the file system type of DEVICE; nothing when it is not there on the building machine.
vmcore_encrypt_fs_type() {
    if [[ $1 == *=* ]]; then
        blkid -t "$1" -o value -s TYPE
    else
        blkid -o value -s TYPE "$1"
    fi
}
