"""The ChromBPNet training step of `cbp-fast bench train` in JAX on a GPU, jitted and timed: same model,
frozen bias model, batch, losses and optimizer, on random data that stays on the GPU. Channels last
(NWC). One JSON line per form: tf32 (float32 storage, TF32 products) and bf16 (layers in bfloat16,
heads, losses and weights in float32)."""

import argparse
import json
import os
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--filters", type=int, default=512)
parser.add_argument("--layers", type=int, default=8)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--warmup", type=int, default=10)
parser.add_argument("--steps", type=int, default=30)
parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the script out")
parser.add_argument("--forms", nargs="+", default=["tf32", "bf16"], choices=["tf32", "bf16"])
args = parser.parse_args()

os.environ["JAX_PLATFORMS"] = args.device
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
import jax
import jax.numpy as jnp
from jax import lax

INPUTLEN, OUTPUTLEN = 2114, 1000
BIAS_FILTERS, BIAS_LAYERS = 128, 4
COUNTS_LOSS_WEIGHT = 10.0
RATE, BETA_1, BETA_2, EPSILON = 1e-3, 0.9, 0.999, 1e-7


def glorot(key, *shape):
    fans = shape[0] * (shape[1] + shape[2])
    limit = (6 / fans) ** 0.5
    return jax.random.uniform(key, shape, minval=-limit, maxval=limit)


def bpnet(key, filters, layers):
    keys = jax.random.split(key, layers + 3)
    zeros = jnp.zeros
    return {
        "first": (glorot(keys[0], 21, 4, filters), zeros(filters)),
        "dilated": [(glorot(k, 3, filters, filters), zeros(filters)) for k in keys[1 : layers + 1]],
        "profile": (glorot(keys[-2], 75, filters, 1), zeros(1)),
        "counts": (glorot(keys[-1], 1, filters, 1)[0], zeros(1)),
    }


def conv(x, w, dilation=1):
    """'valid', NWC"""
    return lax.conv_general_dilated(
        x, w.astype(x.dtype), (1,), "VALID", rhs_dilation=(dilation,), dimension_numbers=("NWC", "WIO", "NWC")
    )


def forward(p, x):
    relu = jax.nn.relu
    x = relu(conv(x, p["first"][0]) + p["first"][1].astype(x.dtype))
    for i, (w, b) in enumerate(p["dilated"], start=1):
        x = relu(conv(x, w, 2**i) + b.astype(x.dtype)) + x[:, 2**i : -(2**i)]
    x = x.astype(jnp.float32)
    profile = (conv(x, p["profile"][0]) + p["profile"][1])[..., 0]
    crop = (profile.shape[1] - OUTPUTLEN) // 2
    counts = (x.mean(axis=1) @ p["counts"][0] + p["counts"][1])[:, 0]
    return profile[:, crop : crop + OUTPUTLEN], counts


def multinomial_nll(counts, logits):
    gammaln = jax.scipy.special.gammaln
    combinations = gammaln(counts.sum(-1) + 1) - gammaln(counts + 1).sum(-1)
    return -(combinations + (counts * jax.nn.log_softmax(logits)).sum(-1)).mean()


def training(form):
    keys = jax.random.split(jax.random.key(1), 4)
    main, bias = bpnet(keys[0], args.filters, args.layers), bpnet(keys[1], BIAS_FILTERS, BIAS_LAYERS)
    dtype = jnp.bfloat16 if form == "bf16" else jnp.float32
    codes = jax.random.randint(keys[2], (args.batch_size, INPUTLEN), 0, 4)
    x = jax.nn.one_hot(codes, 4, dtype=dtype)
    counts = jax.random.poisson(keys[3], 0.2, (args.batch_size, OUTPUTLEN)).astype(jnp.float32)

    def losses(main):
        logits, logcounts = forward(main, x)
        bias_logits, bias_logcounts = forward(bias, x)
        predicted = jnp.logaddexp(logcounts, bias_logcounts)
        counts_loss = jnp.square(predicted - jnp.log1p(counts.sum(-1))).mean()
        return multinomial_nll(counts, logits + bias_logits) + COUNTS_LOSS_WEIGHT * counts_loss

    def step(state):
        main, m, v, t = state
        loss, gradient = jax.value_and_grad(losses)(main)
        t = t + 1
        rate = RATE * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
        m = jax.tree.map(lambda m, g: m + (g - m) * (1 - BETA_1), m, gradient)
        v = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - BETA_2), v, gradient)
        main = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + EPSILON), main, m, v)
        return (main, m, v, t), loss

    step = jax.jit(step, donate_argnums=0)
    zeros = jax.tree.map(jnp.zeros_like, main)
    state = (main, zeros, jax.tree.map(jnp.zeros_like, main), jnp.float32(0))
    precision = "tensorfloat32" if args.device == "cuda" else "float32"
    with jax.default_matmul_precision(precision):
        for _ in range(args.warmup):
            state, loss = step(state)
        jax.block_until_ready(loss)
        seconds = []
        for _ in range(args.steps):
            start = time.perf_counter()
            state, loss = step(state)
            jax.block_until_ready((state, loss))
            seconds.append(time.perf_counter() - start)
    memory = jax.local_devices()[0].memory_stats() or {}
    return {
        "filters": args.filters,
        "layers": args.layers,
        "batch_size": args.batch_size,
        "ms_per_step": 1e3 * statistics.median(seconds),
        "examples_per_s": args.batch_size / statistics.median(seconds),
        "step_seconds": seconds,
        "loss": float(loss),
        "memory_bytes": memory.get("peak_bytes_in_use"),
    }


for form in args.forms:
    result = {"peer": "jax", "version": jax.__version__, "form": form, "device": args.device}
    try:
        result["gpu"] = jax.local_devices()[0].device_kind
        result.update(training(form))
    except Exception as error:  # one form less must not cost the others
        result["error"] = f"{type(error).__name__}: {error}"[:300]
    print(json.dumps(result), flush=True)
