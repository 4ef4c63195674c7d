"""One ChromBPNet training step in TensorFlow, timed: the model, losses and optimizer that
`cbp-fast bench train` runs, on random data. Prints one JSON line per form (graph, XLA)."""

import argparse
import json
import os
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--filters", type=int, default=512)
parser.add_argument("--layers", type=int, default=8)
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--warmup", type=int, default=1)
parser.add_argument("--steps", type=int, default=3)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--forms", nargs="+", default=["graph", "xla"], choices=["graph", "xla"])
args = parser.parse_args()

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
import numpy as np
import tensorflow as tf
from tensorflow.keras import layers

tf.config.threading.set_intra_op_parallelism_threads(args.threads)
tf.config.threading.set_inter_op_parallelism_threads(args.threads)
INPUTLEN, OUTPUTLEN = 2114, 1000
BIAS_FILTERS, BIAS_LAYERS = 128, 4
COUNTS_LOSS_WEIGHT = 10.0


def bpnet(filters, n_layers):
    inputs = layers.Input((INPUTLEN, 4))
    x = layers.Conv1D(filters, 21, activation="relu")(inputs)
    for i in range(1, n_layers + 1):
        y = layers.Conv1D(filters, 3, dilation_rate=2**i, activation="relu")(x)
        x = layers.add([y, layers.Cropping1D(2**i)(x)])
    profile = layers.Conv1D(1, 75)(x)
    profile = layers.Cropping1D((profile.shape[1] - OUTPUTLEN) // 2)(profile)
    counts = layers.Dense(1)(layers.GlobalAveragePooling1D()(x))
    return tf.keras.Model(inputs, [layers.Flatten()(profile), counts])


def multinomial_nll(counts, logits):
    """Mean over the batch, combinatorial term included."""
    total = tf.reduce_sum(counts, axis=-1)
    combinations = tf.math.lgamma(total + 1) - tf.reduce_sum(tf.math.lgamma(counts + 1), axis=-1)
    log_p = tf.nn.log_softmax(logits)
    return -tf.reduce_mean(combinations + tf.reduce_sum(counts * log_p, axis=-1))


rng = np.random.default_rng(1)
x = tf.constant(np.eye(4, dtype="f4")[rng.integers(0, 4, (args.batch_size, INPUTLEN))])
counts = tf.constant(rng.poisson(0.2, (args.batch_size, OUTPUTLEN)).astype("f4"))
logcounts = tf.math.log(1 + tf.reduce_sum(counts, axis=-1, keepdims=True))

for form in args.forms:
    tf.keras.utils.set_random_seed(1)
    main, bias = bpnet(args.filters, args.layers), bpnet(BIAS_FILTERS, BIAS_LAYERS)
    bias.trainable = False
    optimizer = tf.keras.optimizers.Adam(1e-3, epsilon=1e-7)
    optimizer.build(main.trainable_variables)

    @tf.function(jit_compile=form == "xla")
    def step():
        bias_logits, bias_logcounts = bias(x, training=False)
        with tf.GradientTape() as tape:
            logits, main_logcounts = main(x, training=True)
            both = tf.concat([main_logcounts, bias_logcounts], axis=-1)
            predicted = tf.reduce_logsumexp(both, axis=-1, keepdims=True)
            profile_loss = multinomial_nll(counts, logits + bias_logits)
            counts_loss = tf.reduce_mean(tf.square(predicted - logcounts))
            loss = profile_loss + COUNTS_LOSS_WEIGHT * counts_loss
        gradients = tape.gradient(loss, main.trainable_variables)
        optimizer.apply_gradients(zip(gradients, main.trainable_variables))
        return loss

    try:
        for _ in range(args.warmup):
            first = float(step())
        seconds = []
        for _ in range(args.steps):
            start = time.perf_counter()
            last = float(step())
            seconds.append(time.perf_counter() - start)
    except tf.errors.OpError as error:
        print(json.dumps({"peer": "tensorflow", "form": form, "error": str(error)[:200]}), flush=True)
        continue
    print(
        json.dumps(
            {
                "peer": "tensorflow",
                "version": tf.__version__,
                "form": form,
                "filters": args.filters,
                "layers": args.layers,
                "batch_size": args.batch_size,
                "threads": args.threads,
                "examples_per_s": args.batch_size / statistics.median(seconds),
                "step_seconds": seconds,
                "loss": last,
            }
        ),
        flush=True,
    )
