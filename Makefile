# make demo   build in release and run the demo        make test   run all tests
# Both install what is missing first and are safe to repeat.

export PATH := $(CURDIR)/.tools/bin:$(PATH):$(HOME)/.cargo/bin

.PHONY: demo test build setup

setup:
	@scripts/setup.sh

build: setup
	cargo build --release --locked

demo: build
	target/release/cbp-fast demo -o demo-out --force

# With the kernels, compiled for the host. nextest leaves doc tests out, so they run on their own.
test: setup
	@if cargo nextest --version >/dev/null 2>&1; then \
		echo "cargo nextest run --locked --features emulate" && cargo nextest run --locked --features emulate && \
		echo "cargo test --doc --locked --features emulate" && cargo test --doc --locked --features emulate --quiet; \
	else \
		echo "cargo test --locked --features emulate" && cargo test --locked --features emulate; \
	fi
