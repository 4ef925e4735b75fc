#!/bin/bash
# Prepares a build for another architecture and prints the variables that cargo needs for it: Debian's cross compiler
# and C library, the standard library of the Rust toolchain in use. Nothing is printed for the machine's own.
#
#   cross.sh TARGET   aarch64-, powerpc64le-, riscv64gc- or s390x-unknown-linux-gnu
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/lib.sh"

target=${1:?usage: cross.sh TARGET}
[ "$target" != "$(uname -m)-unknown-linux-gnu" ] || exit 0

case "$target" in
    aarch64-unknown-linux-gnu) gnu=aarch64-linux-gnu debian=arm64 ;;
    powerpc64le-unknown-linux-gnu) gnu=powerpc64le-linux-gnu debian=ppc64el ;;
    riscv64gc-unknown-linux-gnu) gnu=riscv64-linux-gnu debian=riscv64 ;;
    s390x-unknown-linux-gnu) gnu=s390x-linux-gnu debian=s390x ;;
    *) fail "cross.sh does not know $target" ;;
esac

quietly "$HERE/install-tools.sh" "gcc-$gnu" "libc6-dev-$debian-cross" qemu-user || absent "the cross compiler gcc-$gnu"
if [ ! -e "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
    need rustup
    quietly timeout 300 rustup target add "$target" || absent "Rust's standard library for $target"
fi
variable=${target^^}
echo "CARGO_TARGET_${variable//-/_}_LINKER=$gnu-gcc CC_${target//-/_}=$gnu-gcc AR_${target//-/_}=$gnu-ar"
