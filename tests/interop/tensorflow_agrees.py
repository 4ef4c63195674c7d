"""TensorFlow loads each model, with and without the official custom objects, and agrees."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import tensorflow as tf

from compare import Table, manifest, short

tf.get_logger().setLevel("ERROR")
# The names that the official tool and variant-scorer hand over when they load a model.
OFFICIAL = {"tf": tf, "multinomial_nll": lambda true, logits: 0.0}

table = Table(f"TensorFlow {tf.__version__}, Python {sys.version.split()[0]}")
for path, logits, logcounts, x in manifest(sys.argv[1]):
    for suffix, objects in [("", None), (" (custom_objects)", OFFICIAL)]:
        name = short(path) + suffix
        try:
            model = tf.keras.models.load_model(path, compile=False, custom_objects=objects)
        except Exception as error:
            table.fail(name, f"does not load: {error}")
            continue
        if model.input_shape != (None,) + x.shape[1:]:
            table.fail(name, f"input shape {model.input_shape}, expected {x.shape[1:]}")
            continue
        profile, counts = model.predict(x, verbose=0)
        table.row(name, (logits, logcounts), (profile, counts[:, 0]))
sys.exit(table.exit_code())
