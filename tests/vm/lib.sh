# shellcheck shell=bash
# What the lab's scripts share: where things lie, and how they speak.

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
TOP=$(readlink -f "$HERE/../..")
TARGET=${CARGO_TARGET_DIR:-$TOP/target}
LAB=$TARGET/vm
export LC_ALL=C
mkdir -p "$LAB/apt"

# A suite names its machine too: bookworm is amd64, bookworm-arm64 is arm64, trixie-ppc64el is ppc64el; and its kernel:
# backports@6.19.
debian_suite() {
    local suite=${1%-arm64}
    suite=${suite%-ppc64el}
    case "${suite%@*}" in backports) echo trixie-backports ;; *) echo "${suite%@*}" ;; esac
}
debian_arch() { case "$1" in *-arm64) echo arm64 ;; *-ppc64el) echo ppc64el ;; *) echo amd64 ;; esac; }

say() { echo "lab: $*" >&2; }

fail() {
    echo "lab: error: $*" >&2
    exit 1
}

# What the lab needs cannot be had here: status 77, for which a test may be skipped.
absent() {
    echo "lab: absent: $*" >&2
    exit 77
}

# Fails with 77 unless all these commands are there.
need() {
    local command
    for command in "$@"; do
        [ -n "$(PATH=$PATH:/sbin:/usr/sbin type -P "$command")" ] || absent "$command; see tests/vm/install-tools.sh"
    done
}

# Runs a talkative command; its words are shown only if it fails, with status 1.
quietly() {
    local log
    log=$(mktemp)
    if ! "$@" > "$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

# Holds an exclusive lock on file $1 until the script ends: tests run the lab in parallel.
locked() {
    exec {lock}> "$1"
    flock "$lock"
}

# Copies program $1 into the tree $2 as /bin/NAME, with the libraries it is linked to.
install_program() {
    local library
    install -D -m 755 "$1" "$2/bin/${3:-$(basename "$1")}"
    { ldd "$1" 2> /dev/null || true; } | { grep -oE '/[^ ]+\.so[^ ]*' || true; } | while read -r library; do
        [ -e "$2$library" ] || install -D -m 755 "$(readlink -f "$library")" "$2$library"
    done
}

# The tree $1 as a compressed cpio archive; the kernel unpacks several of them one after the other.
archive() {
    (cd "$1" && find . | cpio --quiet -o -H newc -R 0:0) | gzip -1
}

# A guest with no device but those named, as long as $timeout allows; what it says goes to a file. The caller sets
# qemu and timeout.
emulate() { # LOG QEMU-OPTION...
    local log=$1
    shift
    # shellcheck disable=SC2154 # set by the caller
    timeout "$timeout" "$qemu" -accel tcg,thread=multi -nodefaults -no-reboot -display none -serial "file:$log" "$@"
}

# Emulated kernels now and then die in their own start, most of all on a busy host. That says nothing about what is
# tested, so COMMAND runs another guest as long as LOG has no line that says the work began.
until_begun() { # ATTEMPTS LOG BEGUN COMMAND...
    local attempt attempts=$1 log=$2 begun=$3
    shift 3
    for ((attempt = 1; attempt <= attempts; attempt++)); do
        rm -f "$log"
        "$@" || say "QEMU ended with status $? (124: after $timeout s)"
        ! grep -qs "$begun" "$log" || return 0
        say "attempt $attempt: the guest did not start"
        touch "$log"
        mv "$log" "$log.$attempt"
    done
    tail -n 20 "$log.$attempts" >&2
    fail "the guest does not start; see $log.*"
}

# Sets kept_ram to QEMU's options for a memory of $memory MB that is the file $ram: a guest that starts with it finds what
# the one before left there, as after a warm start.
keep_ram() {
    # shellcheck disable=SC2034,SC2054,SC2154 # the caller's; QEMU's own commas
    kept_ram=(-object "memory-backend-file,id=ram,size=${memory}M,mem-path=$ram,share=on" -machine memory-backend=ram)
}

# Sets firmware to QEMU's options for OVMF with its variables in the directory $efi, made there at first.
keep_variables() {
    local code
    # shellcheck disable=SC2154 # set by the caller
    [ -n "$efi" ] || return 0
    code=$("$HERE/program.sh" ovmf)
    mkdir -p "$efi"
    [ -e "$efi/variables" ] || cp "$(dirname "$code")/OVMF_VARS_4M.fd" "$efi/variables"
    # shellcheck disable=SC2034,SC2054
    firmware=(-drive "if=pflash,format=raw,unit=0,readonly=on,file=$code"
        -drive "if=pflash,format=raw,unit=1,file=$efi/variables")
}
