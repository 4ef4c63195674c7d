# make demo      build in release and run the demo
# make test      run all tests, the CUDA kernels on emulated GPUs
# make docs      build docs/ into target/docs, broken links are errors; needs python3
# make kernels   build with the CUDA kernels and check what the compiler made of them, whose registers are
#                recorded for the nvcc that it installs, so it uses that one and no other
# make fuzz      fuzz every reader, all of them in SECONDS=60; what fails is left in target/fuzz/failed
# make faults    fail system calls of every command, SAMPLE=N of them [all]; needs strace
# make kills     kill every command at random moments, KILLS=300 times, and run it again
# make races     start 2 and 8 runs at once in one place, for every command
# make mutants   ROUNDS=100 mutants of each seed through every reader, and MUTANTS=1000 through the binary
# make asan      HDF5 and the emulated kernels under AddressSanitizer; builds everything once more
#                these six are explained in tests/campaigns/README.md; BINARY=PATH tests another build
# All install what is missing first and are safe to repeat; none needs a GPU.

export PATH := $(CURDIR)/.tools/bin:$(PATH):$(HOME)/.cargo/bin
TARGET := $(or $(CARGO_TARGET_DIR),target)
# For doctor; empty where there is no git, as in a tarball.
COMMIT := $(shell git describe --always --dirty 2>/dev/null)

SECONDS ?= 60
KILLS ?= 300
ROUNDS ?= 100
MUTANTS ?= 1000
SEED ?= 1
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# Set to test another build than this folder's.
BINARY ?= $(TARGET)/debug/cbp-fast

.PHONY: demo test build docs kernels setup fuzz faults kills races mutants asan debug

setup:
	@scripts/setup.sh

build: setup
	CBP_COMMIT=$(COMMIT) cargo build --release --locked

demo: build
	$(TARGET)/release/cbp-fast demo -o demo-out --force

# With the kernels, compiled for the host. nextest leaves doc tests out, so they run on their own.
test: setup
	@if cargo nextest --version >/dev/null 2>&1; then \
		echo "cargo nextest run --locked --features emulate" && cargo nextest run --locked --features emulate && \
		echo "cargo test --doc --locked --features emulate" && cargo test --doc --locked --features emulate --quiet; \
	else \
		echo "cargo test --locked --features emulate" && cargo test --locked --features emulate; \
	fi

docs:
	@scripts/docs.sh

kernels: setup
	@scripts/nvcc.sh
	NVCC=$(CURDIR)/.tools/cuda/bin/nvcc CBP_REQUIRE_KERNELS=1 CBP_COMMIT=$(COMMIT) cargo build --release --locked
	CBP_REQUIRE_KERNELS=1 python3 scripts/kernel_gates.py $(TARGET)/kernels

fuzz: setup
	@tests/campaigns/fuzz.sh $(SECONDS) $(JOBS)

# The binary that the campaigns run, where no other is named.
debug: setup
	$(if $(filter $(TARGET)/debug/cbp-fast,$(BINARY)),cargo build --locked)

faults: debug
	@scripts/setup.sh strace
	python3 -B tests/campaigns/faults.py --binary $(BINARY) --jobs $(JOBS) --seed $(SEED) $(if $(SAMPLE),--sample $(SAMPLE))

kills: debug
	python3 -B tests/campaigns/kills.py --binary $(BINARY) --jobs $(JOBS) --seed $(SEED) --kills $(KILLS)

races: debug
	python3 -B tests/campaigns/races.py --binary $(BINARY)

mutants: debug
	cargo build --locked --package cbp-fast-fuzz --bin mutants
	$(TARGET)/debug/mutants run $(ROUNDS) $(SEED)
	python3 -B tests/campaigns/mutants.py --binary $(BINARY) --jobs $(JOBS) --seed $(SEED) --mutants $(MUTANTS)

asan: setup
	@tests/campaigns/asan.sh
