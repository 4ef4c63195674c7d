#!/usr/bin/env bash
# The bundled HDF5 and the kernels' host emulation under AddressSanitizer: tests of files and of kernels.
#
#   tests/campaigns/asan.sh [NEXTEST_FILTER]
#
# All C and C++ is built with the checks of gcc, in a build folder of its own; Rust code is not. The checks' runtime
# goes in front of the test binary. Leaks are not looked for: HDF5 keeps its tables to the end of the process.
set -euo pipefail
cd "$(dirname "$0")/../.."
filter=${1:-'test(/h5/) | test(/kernels::/) | test(/model_files/) | test(/fuzz_corpus/)'}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/asan
export CFLAGS="-fsanitize=address -fno-omit-frame-pointer -g1" CXXFLAGS="-fsanitize=address -fno-omit-frame-pointer -g1"
# rustc links with -nodefaultlibs, so the runtime has to be named; in front of everything it gets by LD_PRELOAD.
runtime=$(cc -print-file-name=libasan.so)
export RUSTFLAGS="-Clink-arg=-lasan"
export CARGO_TARGET_$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')_RUNNER="env LD_PRELOAD=$runtime"
# Build scripts are linked like everything else, so the leak check is off while building, too.
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:allocator_may_return_null=1

cargo test --locked --features emulate --no-run
# libtest's filter is plain text, nextest's an expression; both run what the filter names.
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --features emulate --no-fail-fast -E "$filter"
else
    for part in h5 kernels:: model_files fuzz_corpus; do
        cargo test --locked --features emulate "$part"
    done
fi
