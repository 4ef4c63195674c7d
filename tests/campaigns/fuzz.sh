#!/usr/bin/env bash
# Fuzzes every reader for its share of SECONDS, in parallel on JOBS cores.
#
#   tests/campaigns/fuzz.sh [SECONDS [JOBS]]
#
# Builds the target (fuzz/) with the counters that libFuzzer steers by; they need no nightly compiler. Seeds are
# made by the library's own writers, what once failed is in tests/corpus, and what libFuzzer found interesting is
# kept in target/fuzz/corpus, so that a later run goes on from there. An input fails that panics, crashes, takes
# 20 s or 2 GB; it is left in target/fuzz/failed, to be mended and moved to tests/corpus/<reader>.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60} jobs=${2:-$(nproc 2>/dev/null || echo 2)}
target=${CARGO_TARGET_DIR:-target}

RUSTC_WORKSPACE_WRAPPER=$PWD/fuzz/rustc.sh \
    cargo build --locked --package cbp-fast-fuzz --features libfuzzer --bin readers

mkdir -p "$target/fuzz/failed" "$target/fuzz/log"
CBP_FUZZ_SEEDS="$target/fuzz/seeds" "$target/debug/readers"
readers=$(ls "$target/fuzz/seeds")
share=$((seconds * jobs / $(echo "$readers" | wc -w)))
if [ "$share" -lt 1 ]; then share=1; fi

# Addresses of 6 GB: a hostile size that is believed ends the process before the machine suffers.
fuzz() {
    local reader=$1 corpus="$target/fuzz/corpus/$1" known="tests/corpus/$1"
    mkdir -p "$corpus"
    ulimit -v 6000000
    if CBP_FUZZ_READER=$reader timeout $((share + 120)) "$target/debug/readers" \
        -max_total_time="$share" -timeout=20 -rss_limit_mb=2048 -max_len=65536 -print_final_stats=1 \
        -artifact_prefix="$target/fuzz/failed/$reader-" \
        "$corpus" "$target/fuzz/seeds/$reader" $([ -d "$known" ] && echo "$known") >"$target/fuzz/log/$reader" 2>&1; then
        echo "$reader: $(sed -n 's/^stat::number_of_executed_units: *//p' "$target/fuzz/log/$reader") inputs"
    else
        echo "FAILED $reader: see $target/fuzz/log/$reader"
        tail -n 5 "$target/fuzz/log/$reader"
        return 1
    fi
}
export -f fuzz
export target share
echo "$readers" | xargs -P "$jobs" -I{} bash -c 'fuzz {}'
