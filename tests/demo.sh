#!/bin/bash
# The whole way on a real vmcore: key pair, crash, encrypt, restore, verify, the crashed kernel's last words.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
target=${CARGO_TARGET_DIR:-target}
demo=$target/demo
encrypt=$target/release/vmcore-encrypt
decrypt=$target/release/vmcore-decrypt

# Shows a command as it would be typed, then runs it.
run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

vmcore=$(tests/vm/capture.sh bookworm-5level-kdump)
rm -rf "$demo"
mkdir -p "$demo"

run "$decrypt" keygen -o "$demo/key.txt"
age-keygen -y "$demo/key.txt" > "$demo/recipients"
run "$encrypt" -d 31 --recipients-file "$demo/recipients" "$vmcore" "$demo/vmcore.age"
run "$decrypt" verify -i "$demo/key.txt" "$demo/vmcore.age"
run "$decrypt" -i "$demo/key.txt" "$demo/vmcore.age" "$demo/vmcore"
run ls -l "$vmcore" "$demo/vmcore.age" "$demo/vmcore"
printf '\n$ %s\n' "$decrypt dmesg -i $demo/key.txt $demo/vmcore.age | tail"
"$decrypt" dmesg -i "$demo/key.txt" "$demo/vmcore.age" | tail
