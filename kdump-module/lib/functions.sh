# shellcheck shell=sh
# functions.sh - what the saving scripts of vmcore-encrypt share: configuration, device, saving, leaving.
#
# Sourced in the capture kernel by save, debian-dump and suse-transfer, under dash, busybox sh or bash. Uses only
# programs that every kdump image holds, and builtins. Must never open /proc/vmcore with anything but the collector,
# give a dump its final name unless the collector reported a whole one, write into a directory that was there,
# or end in a shell: there is no plaintext fallback.

# plain_shell: the settings that these scripts count on; called again after a file that anybody may have filled.
plain_shell() {
    PATH=/usr/sbin:/usr/bin:/sbin:/bin
    LC_ALL=C # [0-9] means ten characters
    unset IFS
    set -f # words of the configuration are split, never expanded to file names
}

plain_shell

COLLECTOR=/usr/bin/vmcore-encrypt
VMCORE=/proc/vmcore
CONFIG=/etc/vmcore-encrypt/config
WARNING=''

# printf, not echo: echo of dash and busybox interprets backslashes, and a host name may hold one.
say() {
    printf 'vmcore-encrypt: %s\n' "$*" >&2
}

fail() {
    say "error: $*"
    return 1
}

# load_config: sets one variable per key of $CONFIG. The collector checks the file and prints quoted assignments, with
# its defaults; with a line at fault it prints nothing and fails.
# shellcheck disable=SC2034 # used by the scripts that source this file
load_config() {
    TARGET='' DEVICE='' FSTYPE='' URL='' NETWORK='' DIRECTORY='' RESERVE='' KEEP='' DEVICE_TIMEOUT=''
    DUMP_LEVEL='' COLLECTOR_ARGS='' DMESG='' ON_SUCCESS='' ON_FAILURE='' COLLECT_DIR=''
    assignments=$("$COLLECTOR" config "$CONFIG" < /dev/null) || fail "reading $CONFIG" || return 1
    eval "$assignments" || return 1
    [ -n "$TARGET" ] || fail "reading $CONFIG: $COLLECTOR printed no configuration"
}

# count VALUE MOST: prints VALUE as arithmetic takes it, MOST where it is larger; fails unless it is all digits.
# Shells read 08 as a bad octal number, which ends the script, and overflow beyond 64 bits.
count() {
    case $1 in
        '' | *[!0-9]*) return 1 ;;
    esac
    digits=$1
    while [ "${#digits}" -gt 1 ] && [ "${digits#0}" != "$digits" ]; do
        digits=${digits#0}
    done
    if [ "${#digits}" -gt 15 ] || [ "$digits" -gt "$2" ]; then
        digits=$2
    fi
    echo "$digits"
}

# numeric NAME DEFAULT MOST: makes the variable NAME, which a distribution's file set, a number of at most MOST. A
# dump does not fail for a bad number there: empty or bad, it becomes DEFAULT.
numeric() {
    eval "setting=\${$1-}"
    # shellcheck disable=SC2154 # set by eval
    if ! number=$(count "$setting" "$3"); then
        [ -z "$setting" ] || say "$1 is \"$setting\", not a number: going on with $2"
        number=$2
    fi
    eval "$1=\$number"
}

# device_path DEVICE: where udev puts what the configuration names.
device_path() {
    case $1 in
        UUID=*) echo "/dev/disk/by-uuid/${1#*=}" ;;
        LABEL=*) echo "/dev/disk/by-label/${1#*=}" ;;
        PARTUUID=*) echo "/dev/disk/by-partuuid/${1#*=}" ;;
        PARTLABEL=*) echo "/dev/disk/by-partlabel/${1#*=}" ;;
        *) printf '%s\n' "$1" ;;
    esac
}

# a_path PATH: prints PATH so that no program takes it for an option.
a_path() {
    case $1 in
        /*) printf '%s\n' "$1" ;;
        *) printf './%s\n' "$1" ;;
    esac
}

# as_name TEXT: prints TEXT, which may come from a DHCP server, as the name of a file: never a path.
as_name() {
    rest=$1 name=''
    while [ "${rest#*/}" != "$rest" ]; do
        name=${name}${rest%%/*}_
        rest=${rest#*/}
    done
    printf '%s\n' "$name$rest"
}

# quote WORD: prints WORD so that a POSIX shell reads it as one word, whatever is in it.
quote() {
    rest=$1 quoted=''
    while [ "${rest#*\'}" != "$rest" ]; do
        quoted=$quoted${rest%%\'*}"'\\''"
        rest=${rest#*\'}
    done
    printf "'%s'\n" "$quoted$rest"
}

# collect ARGUMENT...: runs the collector with the configured dump level and words.
collect() {
    # shellcheck disable=SC2086 # words by design, and set -f holds
    "$COLLECTOR" -d "$DUMP_LEVEL" $COLLECTOR_ARGS "$@" < /dev/null
}

collect_dmesg() {
    "$COLLECTOR" dmesg "$@" < /dev/null
}

# whole STATUS DOING: whether the collector's exit status means a whole dump. 6 is whole with a warning,
# 7 incomplete; WARNING then holds what the log and README.txt report.
whole() {
    case $1 in
        0) ;;
        6)
            WARNING="whole, with a warning: unfiltered, or see the collector's messages"
            say "$2: $WARNING (exit status 6)"
            ;;
        7) fail "$2: incomplete (exit status 7)" ;;
        *) fail "$2: exit status $1" ;;
    esac
}

# save_as FILE COMMAND...: COMMAND writes FILE-incomplete, given as its last argument; only a whole dump
# gets the name FILE. Where the file system ends files early, as FAT does below 4 GiB, the collector goes on in
# further ones.
save_as() {
    file=$1
    shift
    "$@" "$file-incomplete"
    whole $? "writing $file-incomplete" || return 1
    number=1
    while continuation=$(printf %03d "$number") && [ -e "$file-incomplete.$continuation" ]; do
        name_it "$file-incomplete.$continuation" "$file.$continuation" || return 1
        number=$((number + 1))
    done
    name_it "$file-incomplete" "$file" && sync
}

# name_it OLD NEW: mv would move OLD into a directory NEW, also into one that a link names.
name_it() {
    if [ -e "$2" ] || [ -L "$2" ]; then
        fail "renaming $1 to $2: that name is taken" || return 1
    fi
    mv "$1" "$2" || fail "renaming $1 to $2"
}

# new_directory PARENT NAMES [ARGUMENT]: makes PARENT with all above it, then a directory in it that was not
# there, and sets MADE to its path. `NAMES ARGUMENT TRY` prints the name to use at TRY 0, 1, 2 ... A directory that
# somebody else made in advance may hold links: nothing is written into it.
new_directory() {
    umask 077
    parent=$(a_path "$1")
    shift
    mkdir -p "$parent" || fail "making directory $parent" || return 1
    try=0
    while [ "$try" -le 10 ]; do
        MADE=$parent/$("$@" "$try")
        mkdir "$MADE" 2> /dev/null && return 0
        if [ ! -e "$MADE" ] && [ ! -L "$MADE" ]; then
            break
        fi
        say "$MADE is there already: trying another name"
        try=$((try + 1))
    done
    fail "making directory $MADE"
}

# numbered NAME TRY: NAME, NAME-1 ... NAME-9, and at last one that nobody can have made in advance.
numbered() {
    case $2 in
        0) printf '%s\n' "$1" ;;
        ?) printf '%s\n' "$1-$2" ;;
        *) read -r random < /proc/sys/kernel/random/uuid && printf '%s\n' "$1-$random" ;;
    esac
}

# save_in DIR DUMP_NAME DMESG_NAME LIMIT: log, then dump, into the new directory DIR. LIMIT is in bytes, empty for
# none. The log is a help, not the dump: without it the dump still counts. Half a dump is kept: it opens as far
# as it goes.
save_in() {
    umask 077
    if [ "$DMESG" = yes ] && [ ! -e "$1/$3" ]; then
        save_as "$1/$3" collect_dmesg "$VMCORE" || say "going on without the kernel log"
    fi
    save_as "$1/$2" collect --keep-incomplete ${4:+-L "$4"} "$VMCORE"
}

# save_beside_old DIR DUMP_NAME DMESG_NAME RESERVE_MIB KEEP PATTERN: save_in, leaving RESERVE_MIB free, in a directory
# that also holds old dumps, of the names PATTERN. At most KEEP of them stay, all when KEEP is empty. They go after the
# new dump is whole. Only where it has no room beside them do they go first, one by one, and the dump is begun again.
save_beside_old() {
    parent=${1%/*}
    while :; do
        if limit=$(room_for_dump "$parent" "$4"); then
            save_in "$1" "$2" "$3" "$limit" && break
            enough_room_left "$parent" "$4" "$limit" && return 1
        fi
        [ -n "$5" ] && make_room "$5" "$parent" "$6" "$1" || return 1
        set +f
        rm -f "$1/$3-incomplete" "$1/$2-incomplete"*
        set -f
    done
    [ -z "$5" ] || keep_newest "$5" "$parent" "$6" "$1"
}

# room_for_dump DIR RESERVE_MIB: prints how many bytes a dump in DIR may have.
room_for_dump() {
    available=$(df -Pk "$1" | { read -r _ && read -r fields && free_field "$fields"; })
    available=$(count "$available" 999999999999999) || fail "reading the free space of $1" || return 1
    limit=$((available * 1024 - $2 * 1048576))
    [ "$limit" -gt 0 ] || fail "no room in $1: $available KiB are free, $2 MiB stay free" || return 1
    echo "$limit"
}

# free_field LINE: the field of df's line before the percentage; the name of a share may hold blanks.
free_field() {
    before=''
    # shellcheck disable=SC2086 # split at blanks
    for field in $1; do
        case $field in
            [0-9]*% | -) break ;;
        esac
        before=$field
    done
    echo "$before"
}

# enough_room_left DIR RESERVE_MIB LIMIT: whether a dump that had LIMIT bytes of room failed for another reason.
enough_room_left() {
    left=$(room_for_dump "$1" "$2" 2> /dev/null) && [ "$left" -gt $(($3 / 8)) ]
}

# make_room KEEP DIR PATTERN NEW: removes one old dump. The last good one goes only when no other is left and
# none is to be kept beside the new one.
make_room() {
    find_oldest "$2" "$3" "$4" ''
    good=$newest_whole
    find_oldest "$2" "$3" "$4" "$good"
    if [ -z "$oldest" ] && [ "$1" -eq 0 ]; then
        oldest=$good
    fi
    [ -n "$oldest" ] || fail "no old dump in $2 may go to make room" || return 1
    remove_dump "$oldest"
}

# keep_newest COUNT DIR PATTERN [NEW]: removes the oldest of DIR/PATTERN until COUNT are left beside NEW.
keep_newest() {
    while find_oldest "$2" "$3" "${4-}" '' && [ "$found" -gt "$1" ] && [ -n "$oldest" ]; do
        remove_dump "$oldest" || return 1
    done
}

remove_dump() {
    say "removing old dump $1"
    rm -rf "$1"
    [ ! -e "$1" ] || fail "removing $1"
}

# find_oldest DIR PATTERN NEW SPARED: sets oldest and newest_whole to directories DIR/PATTERN other than NEW and
# SPARED, empty when there is none, and found to how many there are. What was saved first is the oldest, by the time
# of the dump, not of the name: a clock may have been slow. The names decide for dumps of the same time.
# shellcheck disable=SC3013 # dash, busybox sh and bash have -nt
find_oldest() {
    new=$3 spared=$4 found=0 oldest='' newest_whole=''
    set +f
    # shellcheck disable=SC2086 # PATTERN is one
    set -- "$1"/$2
    set -f
    for dump; do
        if ! an_old_dump "$dump" || [ "$dump" = "$new" ] || [ "$dump" = "$spared" ]; then
            continue
        fi
        found=$((found + 1))
        dump_file "$dump"
        if [ -z "$oldest" ] || [ "$oldest_file" -nt "$file" ]; then
            oldest=$dump oldest_file=$file
        fi
        if [ "$file" != "$dump" ] && { [ -z "$newest_whole" ] || [ ! "$whole_file" -nt "$file" ]; }; then
            newest_whole=$dump whole_file=$file
        fi
    done
}

# Whether a directory is root's own: in a KDUMP_COREDIR that others can write to, theirs do not count, and
# rm does not follow what they change meanwhile.
an_old_dump() {
    [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ]
}

# dump_file DIR: sets file to the whole dump in DIR, ours or the distribution's, or to DIR where there is none.
dump_file() {
    file=$1
    set +f
    set -- "$1"/vmcore.age "$1"/dump.*.age "$1"/vmcore "$1"/dump.[0-9]*
    set -f
    for candidate; do
        case $candidate in
            *-incomplete*) ;;
            *) [ ! -f "$candidate" ] || file=$candidate ;;
        esac
    done
}

# remote COMMAND: on the host $REMOTE. Never asks: an unknown host or a missing key is a failure.
remote() {
    case $REMOTE in
        '' | -*) fail "\"$REMOTE\" is not a host" || return 1 ;;
    esac
    ssh -o BatchMode=yes ${SSH_KEY:+-i "$SSH_KEY"} "$REMOTE" "$1"
}

# remote_directory PARENT TRIES NAMES [ARGUMENT]: new_directory on $REMOTE, waiting for the network.
remote_directory() {
    parent=$(a_path "$1") tries=$2
    shift 2
    try=0
    while [ "$try" -le 10 ]; do
        MADE=$parent/$("$@" "$try")
        remote "$(exclusive_mkdir "$parent" "$MADE")" < /dev/null
        case $? in
            0) return 0 ;;
            17) try=$((try + 1)) ;;
            *)
                tries=$((tries - 1))
                [ "$tries" -gt 0 ] || break
                sleep 3
                ;;
        esac
    done
    fail "making $MADE on $REMOTE"
}

# exclusive_mkdir PARENT DIR: prints a command that ends with status 17 when DIR was there.
exclusive_mkdir() {
    directory=$(quote "$2")
    printf '%s' "umask 077 && mkdir -p $(quote "$1") && { mkdir $directory || " \
        "{ if [ -e $directory ] || [ -L $directory ]; then exit 17; fi; exit 1; }; }"
}

# remote_save_as FILE COMMAND...: COMMAND's output becomes FILE on $REMOTE, by way of FILE-incomplete, which must not
# be there (set -C). Descriptor 3 carries the status of both sides of the pipe: sh has no pipefail.
remote_save_as() {
    file=$1 incomplete=$(quote "$1-incomplete")
    shift
    status=$({
        { "$@" 3>&-; echo "$?" >&3; } |
            remote "umask 077 && set -C && cat > $incomplete" >&2 3>&- || echo "ssh failed" >&3
    } 3>&1)
    whole "$status" "writing $file-incomplete on $REMOTE" || return 1
    remote "mv $incomplete $(quote "$file") && sync" < /dev/null || fail "renaming $file-incomplete on $REMOTE"
}

# remote_save_in DIR DUMP_NAME DMESG_NAME: save_in on $REMOTE, where DIR exists.
remote_save_in() {
    if [ "$DMESG" = yes ]; then
        remote_save_as "$1/$3" collect_dmesg "$VMCORE" || say "going on without the kernel log"
    fi
    remote_save_as "$1/$2" collect "$VMCORE"
}

# default_route: whether the network has one, of IPv4 or IPv6. Source: Linux net/ipv4/fib_trie.c, net/ipv6/route.c,
# /proc/net/route and ipv6_route; the kernel's own entry for "unreachable" is on lo.
default_route() {
    [ -r /proc/net/route ] || return 1
    while read -r _ destination _; do
        [ "$destination" != 00000000 ] || return 0
    done < /proc/net/route
    [ -r /proc/net/ipv6_route ] || return 1
    while read -r destination length _ _ _ _ _ _ _ interface; do
        case $destination:$length:$interface in
            *:lo) ;;
            00000000000000000000000000000000:00:?*) return 0 ;;
        esac
    done < /proc/net/ipv6_route
    return 1
}

# network_up: waits for it, for DEVICE_TIMEOUT seconds.
network_up() {
    waited=0
    until default_route; do
        [ "$waited" -lt "$DEVICE_TIMEOUT" ] || return 1
        sleep 1
        waited=$((waited + 1))
    done
}

# save_to_store: the dump as objects at $URL, or where the URLs lead that COLLECTOR_ARGS names. There is no log beside it:
# a store has no use for one, since a dump is read there by range. A server in the same network needs no route.
save_to_store() {
    network_up || say "the network has no default route after $DEVICE_TIMEOUT s: going on"
    collect "$VMCORE" ${URL:+"$URL"}
    whole $? "writing to ${URL:-the presigned URLs}"
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
