#!/usr/bin/env bash
# Everything to measure on a machine with a GPU, in one run of under ten minutes: ceilings, selftest,
# the demo, the same training twice, every kernel, training steps in every precision, and the peers on the
# same GPU. One table, raw JSON. What does not fit into the ten minutes is left out and said so.
#
#   benches/gpu/check.sh [-b BINARY] [-o FOLDER] [-p PYTHON] [-d DEVICE] [--quick] [--dry-run]
#
# Needs: this folder and the built binary (nothing else of the repository, no Rust), and for the peers a
# python with PyTorch and/or JAX; a peer that is not installed is left out and said so.
#   -b   the binary; default target/release/cbp-fast, else cbp-fast on PATH
#   -o   where results go; default benches/runs/DATE-GPU in a checkout, else gpu-check-DATE-GPU here
#   -p   default python3
#   -d   default cuda; cpu tries the script itself, where no GPU is: what needs one fails
#   --quick     small model, few steps: to see that everything runs
#   --dry-run   print the commands instead of running them
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

binary="" out="" python=python3 device=cuda dry="" quick=""
while [ $# -gt 0 ]; do
    case $1 in
    -b) binary=$2 && shift 2 ;;
    -o) out=$2 && shift 2 ;;
    -p) python=$2 && shift 2 ;;
    -d) device=$2 && shift 2 ;;
    --dry-run) dry=1 && shift ;;
    --quick) quick=1 && shift ;;
    *) echo "error: unknown argument $1" >&2 && sed -n '6,15p' "$0" >&2 && exit 2 ;;
    esac
done
if [ -z "$binary" ]; then
    binary=$root/target/release/cbp-fast
    [ -x "$binary" ] || binary=$(command -v cbp-fast || echo "$binary")
fi
if [ -z "$dry" ] && [ ! -x "$binary" ]; then
    echo "error: no binary at $binary" >&2
    echo "  fix: build it with make kernels, or name it with -b" >&2
    exit 1
fi

gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -n1 |
    tr 'A-Z ' 'a-z-' | sed 's/^nvidia-//; s/[^a-z0-9-]//g')
name=$(date +%F)-${gpu:-no-gpu}
if [ -z "$out" ]; then
    if [ -d "$root/benches/runs" ]; then out=$root/benches/runs/$name; else out=gpu-check-$name; fi
fi

model="--filters 512 --n-dilation-layers 8 --batch-size 64"
bias="--filters 128 --n-dilation-layers 4 --bias-filters 0 --batch-size 64"
steps="--steps 50"
inference="--filters 512 --n-dilation-layers 8 --predictions 4096"
regions=240
peers="--filters 512 --layers 8 --batch-size 64 --warmup 10 --steps 30"
if [ -n "$quick" ]; then
    model="--filters 64 --n-dilation-layers 4 --batch-size 8"
    bias="--filters 32 --n-dilation-layers 2 --bias-filters 0 --batch-size 8"
    steps="--steps 3"
    inference="--filters 64 --n-dilation-layers 4 --predictions 8"
    regions=2
    peers="--filters 64 --layers 4 --batch-size 8 --warmup 2 --steps 3"
fi

failed=0
deadline=${CBP_CHECK_SECONDS:-590} # from the start of this script; the table takes one more
# run SECONDS FILE COMMAND...: its stdout goes to FILE, its stderr to FILE.log
run() {
    local limit=$1 file=$2
    shift 2
    if [ -n "$dry" ]; then
        echo "$* > $file"
        return
    fi
    echo "== $*" >&2
    local start=$SECONDS
    [ "$limit" -le $((deadline - start)) ] || limit=$((deadline - start))
    if [ "$limit" -le 0 ]; then
        echo "   left out: the $deadline s are over" >&2
        failed=1
        return
    fi
    # Whatever does not end when told to is ended.
    if timeout -k 3 "$limit" "$@" >"$out/$file" 2>"$out/$file.log"; then
        echo "   $((SECONDS - start)) s" >&2
    else
        echo "   failed ($?) after $((SECONDS - start)) s: $(tail -n 3 "$out/$file.log" | tr '\n' ' ')" >&2
        failed=1
    fi
}

# The table comes in any case, also after an interruption.
finish() {
    [ -z "${dmon:-}" ] || kill "$dmon" 2>/dev/null
    rm -rf "$work"
    "$python" "$here/table.py" "$out" | tee "$out/table.txt"
    echo "results are in $out" >&2
}
work='$WORK'
if [ -z "$dry" ]; then
    mkdir -p "$out"
    work=$(mktemp -d)
    trap finish EXIT
    trap 'exit 130' INT TERM
fi

# Two trainings on the demo's inputs must leave the same bytes.
twice() {
    local precision=$1 file name
    local data=(-g "$work/demo/genome.fa" -c "$work/demo/chrom.sizes" --bigwig "$work/demo/signal.bw" -d ATAC
        -p "$work/demo/peaks.narrowPeak" -n "$work/demo/nonpeaks.bed" -fl "$work/demo/folds.json")
    for name in one two; do
        run 40 train-$precision-$name.txt "$binary" bias train "${data[@]}" -o "$work/$precision-$name" \
            --device $device --precision $precision -il 1114 -ol 500 -b 0.5 -fil 32 -dil 3 -bs 32 -e 2
    done
    for file in models/bias.h5 logs/bias.log logs/bias.log.batch; do
        run 5 same-$precision-${file##*/}.txt sh -c 'cmp "$1" "$2" && echo "the same bytes"' cmp \
            "$work/$precision-one/$file" "$work/$precision-two/$file"
    done
}

run 20 machine.csv nvidia-smi --format=csv \
    --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,power.limit,compute_cap
run 20 doctor.json "$binary" doctor --json
run 150 selftest.txt "$binary" doctor --selftest --device $device
# Where the GPU has a core of its own for 16 bits (Hopper), the portable one does not run there unasked.
hopper=""
if [ -n "$dry" ] || grep -q '"core": *"Hopper"' "$out/doctor.json"; then hopper=1; fi
if [ -n "$hopper" ]; then
    for precision in fp16 bf16; do
        run 60 selftest-portable-$precision.txt env CBP_CORE=portable \
            "$binary" doctor --selftest --device $device --precision $precision
    done
fi
mixed=fp16
[ "$device" != cpu ] || mixed=f32
run 60 demo.txt "$binary" demo -o "$work/demo" --device $device --precision $mixed --quiet
twice $mixed
for precision in fp16 bf16 tf32 f32; do
    run 60 kernels-$precision.json "$binary" bench kernels --device $device --precision $precision $model --json
    run 60 train-$precision.json "$binary" bench train --device $device --precision $precision $model $steps --json
    run 30 train-bias-$precision.json "$binary" bench train --device $device --precision $precision $bias $steps --json
done
if [ -n "$hopper" ]; then
    run 60 kernels-fp16-portable.json env CBP_CORE=portable \
        "$binary" bench kernels --device $device --precision fp16 $model --json
    run 60 train-fp16-portable.json env CBP_CORE=portable \
        "$binary" bench train --device $device --precision fp16 $model $steps --json
    # What programmatic edges between kernels save, and that they change nothing.
    run 60 train-fp16-full.json env CBP_LINKS=full \
        "$binary" bench train --device $device --precision fp16 $model $steps --json
    run 30 train-bias-fp16-full.json env CBP_LINKS=full \
        "$binary" bench train --device $device --precision fp16 $bias $steps --json
    run 60 selftest-full.txt env CBP_LINKS=full \
        "$binary" doctor --selftest --device $device --precision fp16
fi
# The bias model's outputs computed in each step, as where there is no room to keep them.
run 60 kernels-fp16-bias-step.json env CBP_BIAS=step \
    "$binary" bench kernels --device $device --precision fp16 $model --json
run 60 train-fp16-bias-step.json env CBP_BIAS=step \
    "$binary" bench train --device $device --precision fp16 $model $steps --json
# Contribution scores and predictions, these in bytes too.
run 60 contribs-fp16.json "$binary" bench contribs --device $device --precision $mixed $inference --regions $regions --json
[ -z "$hopper" ] || run 60 contribs-fp16-portable.json env CBP_CORE=portable \
    "$binary" bench contribs --device $device --precision $mixed $inference --regions $regions --json
run 30 contribs-int8.json "$binary" bench contribs --device $device --precision int8 $inference --regions 0 --json
# Several models at once: much for narrow ones, little for wide ones.
for n in 2 4; do
    run 30 together-bias-$n.json "$binary" bench train --device $device --precision $mixed $bias $steps --models $n --json
done
run 60 together-main-2.json "$binary" bench train --device $device --precision $mixed $model $steps --models 2 --json
# Clocks and power while our fastest form and the peers run.
if [ -z "$dry" ]; then
    nvidia-smi dmon -s pcut -d 1 >"$out/dmon.txt" 2>/dev/null &
    dmon=$!
fi
for form in ceilings tf32 amp-bf16 amp-bf16-cl; do
    run 60 torch-$form.json "$python" "$here/torch_step.py" $peers --forms $form
done
run 200 torch-compiled-bf16.json "$python" "$here/torch_step.py" $peers --forms compiled-bf16
for form in tf32 bf16; do
    run 90 jax-$form.json "$python" "$here/jax_step.py" $peers --forms $form
done
exit $failed
