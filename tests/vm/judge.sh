#!/bin/bash
# Fetches a program that judges our dumps, in one known version, and prints its path. The system stays as it is:
# Debian programs run with the libraries of their own suite, drgn from a Python environment of its own.
#
#   judge.sh makedumpfile|crash|age|drgn
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# The suite whose versions know the newest kernels: makedumpfile 1.7.8, crash 9, age 1.3.
SUITE=sid
DRGN=drgn==0.3.0

# A script that starts PROGRAM of the unpacked tree with the tree's own loader and libraries.
wrapper() { # TREE PROGRAM
    local library=$1/usr/lib/x86_64-linux-gnu
    cat << SCRIPT
#!/bin/sh
export TERMINFO_DIRS=$1/usr/share/terminfo:/lib/terminfo
exec $library/ld-linux-x86-64.so.2 --argv0 $(basename "$2") --library-path $library $2 "\$@"
SCRIPT
}

from_debian() { # NAME OUT
    local tree=$LAB/judges/$1.tree
    say "fetching $1 of $SUITE"
    "$HERE/packages.sh" tree "$SUITE" "$tree" "$1"
    wrapper "$tree" "$(find "$tree/usr/bin" "$tree/usr/sbin" -name "$1" -type f 2> /dev/null | head -n 1)" > "$2.new"
    chmod 755 "$2.new"
    mv "$2.new" "$2"
}

from_pip() { # PACKAGE OUT
    local tree=$LAB/judges/drgn.venv
    say "fetching $1"
    rm -rf "$tree"
    quietly python3 -m venv "$tree"
    quietly "$tree/bin/pip" install --quiet "$1"
    ln -sfn "$tree/bin/drgn" "$2"
}

name=${1:?usage: judge.sh makedumpfile|crash|age|drgn}
out=$LAB/judges/$name
mkdir -p "$LAB/judges"
locked "$out.lock"
if [ ! -e "$out" ]; then
    case "$name" in
        makedumpfile | crash | age) from_debian "$name" "$out" ;;
        drgn) from_pip "$DRGN" "$out" ;;
        *) fail "judge.sh does not know $name" ;;
    esac
fi
echo "$out"
