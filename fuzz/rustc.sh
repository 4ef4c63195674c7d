#!/bin/sh
# RUSTC_WORKSPACE_WRAPPER of the fuzz target: rustc, with the counters that libFuzzer steers by in our
# library and nowhere else. Build scripts and Rust dependencies stay as they are.
case " $* " in
*" --crate-name cbp_fast "*)
    exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=16 ;;
*) exec "$@" ;;
esac
