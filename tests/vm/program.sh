#!/bin/bash
# Fetches a program in one known version, and prints its path. The system stays as it is: Debian programs run
# with the libraries of their own suite, drgn from a Python environment of its own.
#
#   program.sh makedumpfile|crash|drgn|gdb   the judges of our dumps, in versions that know the newest kernels
#   program.sh pahole|bpftool              readers of the kernel's types
#   program.sh age|rage                      the judges of the encryption
#   program.sh age-keygen|age-plugin-NAME    what else comes with age
#   program.sh servers                       a Python that has what tests/remote/serve.py serves dumps with
#   program.sh azurite|s3rver   the store of another cloud, and an S3 server that overwrites
#   program.sh qemu-aarch64|qemu-ppc64       the emulator of arm64 or ppc64le machines
#   program.sh qemu                          the emulator; Debian 12's (7.2) now and then derails newer kernels
#   program.sh ovmf                          EFI firmware for guests, with empty variables beside it
#   program.sh cargo-cyclonedx               lists what the programs are built from, for packages
#   program.sh sshd                          a server for guests, which is not installed on the machine
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# A script that starts PROGRAM of the unpacked tree with the tree's own loader and libraries.
wrapper() { # TREE PROGRAM OPTION...
    local tree=$1 program=$2 library=$1/usr/lib/x86_64-linux-gnu loader=$1/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
    shift 2
    # Before Debian 13 /lib was a directory of its own in packages.
    [ -e "$loader" ] || loader=$tree/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 library=$library:$tree/lib/x86_64-linux-gnu
    cat << SCRIPT
#!/bin/sh
export TERMINFO_DIRS=$tree/usr/share/terminfo:/lib/terminfo PYTHONHOME=$tree/usr
exec $loader --argv0 $(basename "$program") --library-path $library $program $* "\$@"
SCRIPT
}

from_debian() { # SUITE PACKAGE PROGRAM OPTION...
    local tree=$out.tree suite=$1 package=$2 program=$3
    shift 3
    say "fetching $package of $suite"
    "$HERE/packages.sh" tree "$suite" "$tree" "$package"
    wrapper "$tree" "$tree/usr/$program" "$@" > "$out.new"
    chmod 755 "$out.new"
    mv "$out.new" "$out"
}

from_pip() { # PROGRAM PACKAGE...
    local tree=$out.venv program=$1
    shift
    say "fetching $*"
    rm -rf "$tree"
    need python3
    quietly python3 -m venv "$tree" || absent "a Python environment; see tests/vm/install-tools.sh"
    quietly "$tree/bin/pip" install --quiet "$@" || absent "$* from the Python package index"
    # Not a link: Python finds its environment by the name it is called by.
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$tree/bin/$program" > "$out.new"
    chmod 755 "$out.new"
    mv "$out.new" "$out"
}

from_npm() { # PROGRAM PACKAGE
    say "fetching $2"
    need node npm
    quietly npm install --no-audit --no-fund --ignore-scripts --prefix "$out.tree" "$2" || absent "$2 from the npm registry"
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$out.tree/node_modules/.bin/$1" > "$out.new"
    chmod 755 "$out.new"
    mv "$out.new" "$out"
}

name=${1:?usage: program.sh makedumpfile|crash|drgn|gdb|pahole|bpftool|age|rage|servers|azurite|s3rver|qemu|qemu-aarch64|qemu-ppc64|ovmf|cargo-cyclonedx|sshd}
out=$LAB/programs/$name
mkdir -p "$LAB/programs"
locked "$out.lock"
if [ ! -e "$out" ]; then
    case "$name" in
        makedumpfile) from_debian sid makedumpfile bin/makedumpfile ;; # 1.7.8
        crash) from_debian sid crash bin/crash ;;                      # 9
        pahole) from_debian sid dwarves bin/pahole ;;     # 1.32
        bpftool) from_debian sid bpftool sbin/bpftool ;; # 7.8
        age) from_debian sid age bin/age ;;    # 1.3; Debian 12's knows no post-quantum recipients
        rage) from_debian sid rage bin/rage ;; # 0.12
        age-*)
            tree=$("$HERE/program.sh" age).tree
            [ -x "$tree/usr/bin/$name" ] || fail "age brings no $name"
            wrapper "$tree" "$tree/usr/bin/$name" > "$out.new"
            chmod 755 "$out.new"
            mv "$out.new" "$out"
            ;;
        # -r: it does not start itself anew, as the loader's program.
        sshd) from_debian bookworm openssh-server sbin/sshd -r ;; # 9.2
        ovmf)
            say "fetching ovmf of trixie"
            "$HERE/packages.sh" pick trixie "$out.tree" '*/OVMF/OVMF_*_4M.fd' ovmf
            ln -s "ovmf.tree/usr/share/OVMF/OVMF_CODE_4M.fd" "$out"
            ;;
        gdb) from_debian trixie gdb-minimal bin/gdb ;; # 16
        cargo-cyclonedx) from_debian sid cargo-cyclonedx bin/cargo-cyclonedx ;;
        drgn) from_pip drgn drgn==0.3.0 ;;
        # flask: moto's server, without the services that are not S3.
        servers) from_pip python 'moto[s3]==5.2.5' flask flask-cors rangehttpserver==1.4.0 ;;
        azurite) from_npm azurite-blob azurite@3.37.0 ;;
        s3rver) from_npm s3rver s3rver@3.7.1 ;;
        qemu)
            share=$out.tree/usr/share
            from_debian trixie qemu-system-x86 bin/qemu-system-x86_64 -L "$share/qemu" -L "$share/seabios"
            ;;
        qemu-aarch64) from_debian trixie qemu-system-arm bin/qemu-system-aarch64 -L "$out.tree/usr/share/qemu" ;;
        qemu-ppc64) from_debian trixie qemu-system-ppc bin/qemu-system-ppc64 -L "$out.tree/usr/share/qemu" ;;
        *) fail "program.sh does not know $name" ;;
    esac
fi
if [ -L "$out" ]; then readlink -f "$out"; else echo "$out"; fi
