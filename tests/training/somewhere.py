"""A child process that trains a model on some devices, and prints what came of it as JSON.

`python -m tests.training.somewhere BACKEND FOLDER KIND,KIND,... [COORDINATOR PROCESS]`: KIND is one, data or model. The
model is FOLDER/small.keras, what is made of it FOLDER/KIND.keras. There are 4 devices, or with a coordinator one for
each of 2 processes.
"""

import json
import os
import sys
from pathlib import Path

BACKEND, FOLDER, KINDS = sys.argv[1], Path(sys.argv[2]), sys.argv[3].split(",")
os.environ["KERAS_BACKEND"] = BACKEND
if BACKEND == "jax" and len(sys.argv) == 4:
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"

import numpy as np

import kcompress
from kcompress import backend
from kcompress.passes.train import _training
from kcompress.training.distribution import array
from tests.quick import work_less

PASSES = [
    "prune.magnitude:sparsity=0.5",
    "train.finetune:steps=8,batch=16,validation=0.2,optimizer=sgd,momentum=0.9,learning_rate=0.1",
    "quantize.weights:bits=4",
    "train.distill:steps=4,batch=16,features=[first],optimizer=sgd,learning_rate=0.01"
    + (",feature_loss=mse" if BACKEND == "tensorflow" else ""),
]


def same_everywhere(variable):
    """Whether all devices that hold the same part of a variable hold the same values."""
    if BACKEND == "tensorflow":
        copies = [copy.numpy() for copy in variable.value.values]
        assert len(copies) == 4
        return all(np.array_equal(copies[0], copy) for copy in copies)
    parts = {}
    for shard in variable.value.addressable_shards:
        parts.setdefault(str(shard.index), []).append(np.asarray(shard.data))
    return all(np.array_equal(copies[0], copy) for copies in parts.values() for copy in copies)


def outcome_of(outcome, variables, kind):
    several = kind != "one"
    kernels = [variable for variable in variables if variable.path.endswith("kernel")]
    return {
        "losses": [epoch.loss for epoch in outcome.epochs] + [epoch.validation or 0.0 for epoch in outcome.epochs],
        "differ": [variable.path for variable in variables if several and not same_everywhere(variable)],
        "split": [v.path for v in kernels if kind == "model" and not v.value.sharding.is_fully_replicated],
        "zeros": sum(int((array(kernel) == 0).sum()) for kernel in kernels),
        "sum": sum(float(np.abs(array(variable)).astype(np.float64).sum()) for variable in variables),
    }


def main():
    backend.load()
    work_less()
    if BACKEND == "tensorflow":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
    fits, plain = [], _training.fit

    def fit(learner, variables, *others):
        outcome = plain(learner, variables, *others)
        fits.append(outcome_of(outcome, variables, kind))
        return outcome

    _training.fit = fit
    x = np.random.default_rng(0).random((100, 64), np.float32)
    hosts, reports = None, []
    if len(sys.argv) > 4:
        hosts = kcompress.Hosts(coordinator=sys.argv[4], processes=2, process=int(sys.argv[5]), timeout=60)
        reports = [] if hosts.process == 0 else ["/no/such/folder/out.json"]  # only the first one writes
    found = {}
    for kind in KINDS:
        fits.clear()
        report = kcompress.compress(
            FOLDER / "small.keras",
            FOLDER / f"{kind}.keras",
            passes=PASSES,
            data=(x, x[:, :4].argmax(axis=1)),
            distribute=None if kind == "one" else kind,
            hosts=hosts,
            reports=reports,
        )
        found[kind] = {"fits": list(fits), "first": report.first, "bytes": report.artifact.bytes, "shown": report.shown}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
