"""Prints a FASTA of random sequences as long as a model's input, with the odd cases among them."""

import json
import random
import sys

import h5py

with h5py.File(sys.argv[1], "r") as file:
    config = json.loads(file.attrs["model_config"])
length = config["config"]["layers"][0]["config"]["batch_input_shape"][1]

random.seed(20240)


def sequence(weights=(1, 1, 1, 1)):
    return "".join(random.choices("ACGT", weights=weights, k=length))


records = {f"random_{i}": sequence() for i in range(12)}
records["gc_rich"] = sequence((1, 4, 4, 1))
records["lower_case"] = sequence().lower()
records["n_runs"] = "N" * (length // 4) + sequence()[length // 4 :]
records["poly_a"] = "A" * length
for name, bases in records.items():
    print(f">{name}\n{bases}")
