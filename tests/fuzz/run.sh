#!/bin/bash
# Builds the fuzz targets and runs them one after the other, each for SECONDS of CPU time (600 unless set), starting
# from the seeds that tests/fuzz_seeds.rs writes and from what earlier runs found. Arguments: the targets, all of them
# by default. A finding stops the run; the input that makes it lies in tests/fuzz/artifacts.
# Needs the nightly compiler and cargo-fuzz: rustup toolchain install nightly; cargo install cargo-fuzz
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${SECONDS_EACH:-600}
built=$PWD/${CARGO_TARGET_DIR:-target}/fuzz

if [ $# = 0 ]; then
    mapfile -t all < <(cargo +nightly fuzz list --fuzz-dir tests/fuzz)
    set -- "${all[@]}"
fi
cargo test --quiet --test fuzz_seeds -- --ignored > /dev/null
cargo +nightly fuzz build --fuzz-dir tests/fuzz --target-dir "$built"
mkdir -p tests/fuzz/artifacts
for target in "$@"; do
    corpus=tests/fuzz/corpus/$target
    mkdir -p "$corpus"
    echo "fuzz: $target, $seconds CPU seconds" >&2
    status=0
    # The limit ends the process by SIGXCPU, 24; what ends it otherwise is a finding. An input may use 256 MiB.
    (
        ulimit -S -t "$seconds" -c 0
        exec nice "$built/x86_64-unknown-linux-gnu/release/$target" "$corpus" -max_len=65536 -timeout=20 \
            -malloc_limit_mb=256 -rss_limit_mb=1024 -print_final_stats=1 "-artifact_prefix=tests/fuzz/artifacts/$target-"
    ) > "$built/$target.log" 2>&1 || status=$?
    if [ "$status" != 152 ]; then
        tail -n 40 "$built/$target.log" >&2
        echo "fuzz: $target found something (status $status)" >&2
        exit 1
    fi
    grep -a '^#' "$built/$target.log" | tail -n 1
done
