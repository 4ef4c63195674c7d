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

# nextest leaves doc tests out, so they run on their own.
test: setup
	@if cargo nextest --version >/dev/null 2>&1; then \
		echo "cargo nextest run --locked" && cargo nextest run --locked && \
		echo "cargo test --doc --locked" && cargo test --doc --locked --quiet; \
	else \
		echo "cargo test --locked" && cargo test --locked; \
	fi
