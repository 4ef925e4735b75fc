# shellcheck shell=sh
# functions.sh - what the saving scripts of vmcore-encrypt share: configuration, device, saving, leaving.
#
# Sourced in the capture kernel by save, debian-dump and suse-transfer, under dash, busybox sh or bash.
# Must never open /proc/vmcore with anything but the collector, give a dump its final name unless the
# collector exited 0, or end in a shell: there is no plaintext fallback.

PATH=/usr/sbin:/usr/bin:/sbin:/bin
set -f # words of the configuration are split, never expanded to file names

COLLECTOR=/usr/bin/vmcore-encrypt
VMCORE=/proc/vmcore
CONFIG=/etc/vmcore-encrypt/config

say() {
    echo "vmcore-encrypt: $*" >&2
}

fail() {
    say "error: $*"
    return 1
}

# load_config: sets one variable per key of $CONFIG, each with a default; a bad line is an error.
# shellcheck disable=SC2034 # used by the scripts that source this file
load_config() {
    TARGET=kdump DEVICE='' FSTYPE='' DIRECTORY=/crash RESERVE=64 KEEP=3 DEVICE_TIMEOUT=60
    DUMP_LEVEL=31 COLLECTOR_ARGS='' DMESG=yes ON_SUCCESS=reboot ON_FAILURE=reboot COLLECT_DIR=/var/crash
    [ -e "$CONFIG" ] || return 0
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
            '' | '#'*) ;;
            *=*) set_option "${line%%=*}" "${line#*=}" || return 1 ;;
            *) fail "reading $CONFIG: \"$line\" is not KEY=value" || return 1 ;;
        esac
    done < "$CONFIG"
}

# set_option KEY VALUE. Choices are checked here, so that a typo never means something else.
set_option() {
    case $1 in
        TARGET) one_of "$@" kdump file raw ;;
        DMESG) one_of "$@" yes no ;;
        ON_SUCCESS | ON_FAILURE) one_of "$@" reboot poweroff halt ;;
        RESERVE | KEEP | DEVICE_TIMEOUT) a_number "$@" ;;
        DUMP_LEVEL) a_list "$@" ;;
        DEVICE | FSTYPE | DIRECTORY | COLLECTOR_ARGS | COLLECT_DIR) ;;
        *) fail "reading $CONFIG: unknown key $1" ;;
    esac && eval "$1=\$2"
}

one_of() {
    key=$1 value=$2
    shift 2
    for choice; do
        [ "$value" != "$choice" ] || return 0
    done
    fail "reading $CONFIG: $key is \"$value\", not one of: $*"
}

a_number() {
    case $2 in
        '' | *[!0-9]*) fail "reading $CONFIG: $1 is \"$2\", not a number" ;;
    esac
}

a_list() {
    case $2 in
        '' | *[!0-9,]* | ,* | *, | *,,*) fail "reading $CONFIG: $1 is \"$2\", not numbers with commas between" ;;
    esac
}

# device_path DEVICE: where udev puts what the configuration names.
device_path() {
    case $1 in
        UUID=*) echo "/dev/disk/by-uuid/${1#*=}" ;;
        LABEL=*) echo "/dev/disk/by-label/${1#*=}" ;;
        PARTUUID=*) echo "/dev/disk/by-partuuid/${1#*=}" ;;
        PARTLABEL=*) echo "/dev/disk/by-partlabel/${1#*=}" ;;
        *) echo "$1" ;;
    esac
}

# collect ARGUMENT...: runs the collector with the configured dump level and words.
collect() {
    # shellcheck disable=SC2086 # words by design, and set -f holds
    "$COLLECTOR" -d "$DUMP_LEVEL" $COLLECTOR_ARGS "$@" < /dev/null
}

collect_dmesg() {
    "$COLLECTOR" dmesg "$@" < /dev/null
}

# save_as FILE COMMAND...: COMMAND writes FILE-incomplete, given as its last argument; only a whole dump
# gets the name FILE. Where the file system ends files early, as FAT does below 4 GiB, the collector goes on in
# further ones.
save_as() {
    file=$1
    shift
    "$@" "$file-incomplete" || fail "writing $file-incomplete: exit status $?" || return 1
    number=1
    while piece=$(printf %03d "$number") && [ -e "$file-incomplete.$piece" ]; do
        mv "$file-incomplete.$piece" "$file.$piece" || return 1
        number=$((number + 1))
    done
    mv "$file-incomplete" "$file" && sync
}

# save_in DIR DUMP_NAME DMESG_NAME LIMIT: log, then dump, into DIR. LIMIT is in bytes, empty for none.
# The log is a help, not the dump: without it the dump still counts. Half a dump is kept: it opens as far as
# it goes.
save_in() {
    umask 077
    mkdir -p "$1" || fail "making directory $1" || return 1
    if [ "$DMESG" = yes ]; then
        save_as "$1/$3" collect_dmesg "$VMCORE" || say "going on without the kernel log"
    fi
    save_as "$1/$2" collect -f --keep-incomplete ${4:+-L "$4"} "$VMCORE"
}

# room_for_dump DIR RESERVE_MIB: prints how many bytes a dump in DIR may have.
room_for_dump() {
    available=$(df -Pk "$1" | { read -r _ && read -r _ _ _ kib _ && echo "$kib"; })
    a_number 'free space' "$available" || return 1
    limit=$((available * 1024 - $2 * 1048576))
    [ "$limit" -gt 0 ] || fail "no room in $1: $available KiB are free, $2 MiB stay free" || return 1
    echo "$limit"
}

# keep_newest COUNT DIR PATTERN: removes the oldest of DIR/PATTERN; the names sort by time.
keep_newest() {
    count=$1
    set +f
    # shellcheck disable=SC2086 # PATTERN is one
    set -- "$2"/$3
    set -f
    while [ $# -gt "$count" ] && [ -d "$1" ]; do
        say "removing old dump $1"
        rm -rf "$1"
        shift
    done
}

# remote COMMAND: on the host $REMOTE. Never asks: an unknown host or a missing key is a failure.
remote() {
    ssh -o BatchMode=yes ${SSH_KEY:+-i "$SSH_KEY"} "$REMOTE" "$1"
}

# remote_directory DIR TRIES: makes DIR on $REMOTE, waiting for the network.
remote_directory() {
    tries=$2
    until remote "umask 077 && mkdir -p '$1'" < /dev/null; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "making $1 on $REMOTE" || return 1
        sleep 3
    done
}

# remote_save_as FILE COMMAND...: COMMAND's output becomes FILE on $REMOTE, by way of FILE-incomplete.
# Descriptor 3 carries the status of both sides of the pipe: sh has no pipefail.
remote_save_as() {
    file=$1
    shift
    status=$({
        { "$@" 3>&-; echo "$?" >&3; } |
            remote "umask 077 && cat > '$file-incomplete'" >&2 3>&- || echo "ssh failed" >&3
    } 3>&1)
    [ "$status" = 0 ] || fail "writing $file-incomplete on $REMOTE: exit status $status" || return 1
    remote "mv '$file-incomplete' '$file' && sync" < /dev/null || fail "renaming $file-incomplete on $REMOTE"
}

# remote_save_in DIR DUMP_NAME DMESG_NAME: save_in on $REMOTE, where DIR exists.
remote_save_in() {
    if [ "$DMESG" = yes ]; then
        remote_save_as "$1/$3" collect_dmesg "$VMCORE" || say "going on without the kernel log"
    fi
    remote_save_as "$1/$2" collect "$VMCORE"
}

# leave ACTION: reboot, poweroff or halt, by the kernel itself where no program does it. Does not return.
leave() {
    sync
    case $1 in
        poweroff) poweroff -f; echo o > /proc/sysrq-trigger ;;
        halt) halt -f ;;
        *) reboot -f; echo b > /proc/sysrq-trigger ;;
    esac
    while :; do sleep 60; done
}
