# What people and CI call. Every target installs what it needs by apt and says so (tests/vm/install-tools.sh);
# everything downloaded or generated goes under target/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help build collector uploader command demo test matrix lint bench bench-large fuzz vmcores install tools

TARGET = $(or $(CARGO_TARGET_DIR),target)
# Of the packages' command; with upload it also judges the words of a store.
COMMAND_FEATURES = check,convert
COLLECTOR_TARGET = $(shell uname -m)-unknown-linux-gnu

# Set by the source packages, so that the path of a build is in no program.
REMAP ?=

# The scripts that shellcheck reads: everything tracked that starts as a shell script or a library of one.
SCRIPTS = $$(git ls-files | grep -vE '\.(rs|md)$$' | xargs grep -lE '^(\#!/bin/(ba|busybox )?sh|\# shellcheck shell=)')

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

# Which commit a program was built of; cargo by itself does not ask.
build collector command: export VMCORE_ENCRYPT_COMMIT = $(shell git describe --always --abbrev=12 --dirty --exclude='*' 2>/dev/null)

build: tools ## the two commands, target/release
	cargo build --release --bins

collector: ## the collector for an initramfs: static, without the analyst's parts; prints its path. For another machine: COLLECTOR_TARGET=aarch64-unknown-linux-gnu, powerpc64le-, riscv64gc-, s390x-
	variables=$$(tests/vm/cross.sh $(COLLECTOR_TARGET)) && env $$variables RUSTFLAGS='-C target-feature=+crt-static --cfg chacha20_avx512 $(REMAP)' cargo build --quiet --release \
	    --target $(COLLECTOR_TARGET) --no-default-features --bin vmcore-encrypt
	@echo $(abspath $(TARGET))/$(COLLECTOR_TARGET)/release/vmcore-encrypt

uploader: ## the collector that also saves into object storage; prints its path. COLLECTOR_TARGET= as above
	variables=$$(tests/vm/cross.sh $(COLLECTOR_TARGET)) && env $$variables RUSTFLAGS='-C target-feature=+crt-static --cfg chacha20_avx512 $(REMAP)' cargo build --quiet --release \
	    --target $(COLLECTOR_TARGET) --target-dir $(TARGET)/uploader --no-default-features --features upload --bin vmcore-encrypt
	@echo $(abspath $(TARGET))/uploader/$(COLLECTOR_TARGET)/release/vmcore-encrypt

command: ## the command of the packages: static, with the readers of images and of other tools' dumps; prints its path. COLLECTOR_TARGET= as above
	variables=$$(tests/vm/cross.sh $(COLLECTOR_TARGET)) && env $$variables RUSTFLAGS='-C target-feature=+crt-static --cfg chacha20_avx512 $(REMAP)' cargo build --quiet --release \
	    --target $(COLLECTOR_TARGET) --target-dir $(TARGET)/command --no-default-features --features $(COMMAND_FEATURES) --bin vmcore-encrypt
	@echo $(abspath $(TARGET))/command/$(COLLECTOR_TARGET)/release/vmcore-encrypt

demo: build ## crash a guest, encrypt its memory, restore it, read its log
	tests/demo.sh

# Started by nohup or in the background of a script, a program ignores signals; the ones that tests send are not to be.
UNIGNORED = env --default-signal=HUP,INT,QUIT

test: tools lint collector ## every lint and every test, the ones in virtual machines too
	$(UNIGNORED) cargo test --features remote --no-fail-fast

matrix: tools collector ## what is too long for make test: every kernel of the archive, and more; MATRIX=kernels for the tests whose name goes on so
	tests/vm/install-tools.sh debhelper dpkg-dev $$(command -v npm > /dev/null || echo nodejs npm)
	$(UNIGNORED) cargo test --features remote --no-fail-fast -- --ignored matrix_$(MATRIX)

lint: tools ## format, clippy for each set of features that is shipped, documentation, shellcheck
	cargo fmt --all -- --check
	cargo clippy --all-targets --features remote -- -D warnings
	cargo clippy --lib --bins -- -D warnings
	cargo clippy --no-default-features --lib --bin vmcore-encrypt -- -D warnings
	cargo clippy --no-default-features --features $(COMMAND_FEATURES) --lib --bin vmcore-encrypt -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --quiet --features remote
	shellcheck $(SCRIPTS)

bench: build ## speed against makedumpfile and age; writes docs/benchmarks.md and its plots
	mkdir -p target/bench
	tests/vm/install-tools.sh gdb time
	BENCH_VMCORE=$$(tests/vm/capture.sh bookworm-5level-busy) cargo bench --bench stages
	SYNTH_OUT=$$PWD/target/bench cargo test --test synth_self write_large -- --ignored
	tests/vm/program.sh rage
	PATH="$$(dirname "$$(tests/vm/program.sh age)"):$$PATH" benches/e2e/run.py --ram target/bench --stages target/criterion --out target/bench/results.json \
	    --makedumpfile "$$(tests/vm/program.sh makedumpfile)" \
	    "$$(tests/vm/capture.sh trixie-5level-kdump)" "$$(tests/vm/capture.sh bookworm-5level-idle)" \
	    "$$(tests/vm/capture.sh bookworm-5level-busy)"
	for what in "full 1" "busy 31"; do \
	    benches/e2e/mount.py --crash "$$(tests/vm/program.sh crash)" --level "$${what#* }" --scratch target/bench --out "target/bench/mount-$${what% *}.json" \
	        "$$(tests/vm/capture.sh "bookworm-5level-$${what% *}")" "$$(tests/vm/kernel.sh --debug bookworm)"; \
	done
	benches/e2e/report.py target/bench/results.json target/bench/mount-{full,busy}.json docs

bench-large: tools ## machines of 4 GiB to 1 TiB against makedumpfile; writes docs/benchmarks-large.md. RATES=200,1000 (MB/s) for wall time too, on an idle machine; ROUNDS=3
	mkdir -p target/bench
	tests/vm/install-tools.sh time
	collector=$$($(MAKE) -s collector | tail -n 1) && busy=$$(tests/vm/capture.sh bookworm-5level-busy) && small=$$(tests/vm/capture.sh bookworm-5level-large18) && large=$$(tests/vm/capture.sh trixie-5level-large128) && \
	for times in 2 8; do benches/e2e/tile.py "$$large" $$times "target/bench/large$$((128 * times)).elf"; done && \
	benches/e2e/large.py --collector "$$collector" --makedumpfile "$$(tests/vm/program.sh makedumpfile)" $(addprefix --rates ,$(RATES)) $(addprefix --rounds ,$(ROUNDS)) \
	    --out docs/benchmarks-large.md "$$busy" "$$small" "$$large" target/bench/large256.elf target/bench/large1024.elf

fuzz: tools ## every fuzz target for SECONDS_EACH (600) of CPU time; TARGETS="dump klog" for some
	tests/fuzz/run.sh $(TARGETS)

vmcores: tools ## plain vmcores of crashed guests, target/vmcores
	tests/vm/capture.sh bookworm-5level-kdump
	tests/vm/capture.sh bookworm-4level-kdump
	tests/vm/capture.sh bookworm-5level-qemu
	tests/vm/capture.sh trixie-5level-kdump
	tests/vm/capture.sh trixie-4level-qemu
	tests/vm/capture.sh sid-5level-kdump

install: build collector ## vmcore-decrypt, its pages and completions below $$DESTDIR$$PREFIX (/usr/local); the collector at its fixed places below $$DESTDIR
	$(MAKE) -C kdump-module install install-analyst

tools:
	@tests/vm/install-tools.sh
