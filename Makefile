# make demo      build in release and run the demo
# make test      run all tests, the CUDA kernels on emulated GPUs
# make kernels   build with the CUDA kernels and check what the compiler made of them, whose registers are
#                recorded for the nvcc that it installs, so it uses that one and no other
# All install what is missing first and are safe to repeat; none needs a GPU.

export PATH := $(CURDIR)/.tools/bin:$(PATH):$(HOME)/.cargo/bin
TARGET := $(or $(CARGO_TARGET_DIR),target)
# For doctor; empty where there is no git, as in a tarball.
COMMIT := $(shell git describe --always --dirty 2>/dev/null)

.PHONY: demo test build kernels setup

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

kernels: setup
	@scripts/nvcc.sh
	NVCC=$(CURDIR)/.tools/cuda/bin/nvcc CBP_REQUIRE_KERNELS=1 CBP_COMMIT=$(COMMIT) cargo build --release --locked
	CBP_REQUIRE_KERNELS=1 python3 scripts/kernel_gates.py $(TARGET)/kernels
