#!/bin/bash
# The whole way on a real vmcore: key pair, crash, encrypt, restore, and the crashed kernel's last words out of the
# restored dump. `make demo` builds first.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
target=${CARGO_TARGET_DIR:-target}
demo=$target/demo
PATH=$PWD/$target/release:$PATH

# Shows a command as it would be typed, then runs it.
run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

vmcore=$(tests/vm/capture.sh bookworm-5level-kdump)
makedumpfile=$(tests/vm/program.sh makedumpfile)
rm -rf "$demo"
mkdir -p "$demo"
ln -s "$vmcore" "$demo/proc-vmcore"
ln -s "$makedumpfile" "$demo/makedumpfile"
cd "$demo"

echo "A guest has crashed; proc-vmcore is what its capture kernel had as /proc/vmcore."
printf '\n$ vmcore-decrypt keygen -o key.txt | tee recipients\n'
vmcore-decrypt keygen -o key.txt | tee recipients
run vmcore-encrypt -d 31 --recipients-file recipients proc-vmcore vmcore.age
run vmcore-decrypt -i key.txt vmcore.age vmcore
run vmcore-decrypt verify -i key.txt vmcore.age
run ls -Llgo proc-vmcore vmcore.age vmcore
printf '\n$ vmcore-decrypt dmesg -i key.txt vmcore.age | tail -n 12\n'
vmcore-decrypt dmesg -i key.txt vmcore.age | tail -n 12
printf '\nThe same dump with stock tools alone:\n'
printf '\n$ age -d -i key.txt vmcore.age | zstd -d | makedumpfile -R vmcore.stock\n'
age -d -i key.txt vmcore.age | zstd -d | ./makedumpfile -R vmcore.stock
