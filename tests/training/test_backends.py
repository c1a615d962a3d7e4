"""The same seed gives the same losses on TensorFlow and on JAX."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT

SETTINGS = "steps=12,validation=0.1,schedule=cosine,warmup=0.02"
JOBS = {"lenet300": f"train.distill:{SETTINGS}", "resnet8": f"train.finetune:{SETTINGS}"}
CHILD = """
import json, sys
import kcompress
from kcompress.passes.train import _training
losses, plain = {}, _training.fit

def fit(*given):
    outcome = plain(*given)
    losses[name] = [value for epoch in outcome.epochs for value in (epoch.loss, epoch.validation)]
    return outcome

_training.fit = fit
for name, step in json.loads(sys.argv[1]).items():
    source, output = f"fixtures/{name}.keras", f"{sys.argv[2]}/{name}.keras"
    kcompress.compress(source, output, passes=["prune.magnitude:sparsity=0.3", step], data=sys.argv[3], seed=3)
print(json.dumps(losses))
"""


def losses(backend, tmp_path):
    (tmp_path / backend).mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(JOBS), str(tmp_path / backend), str(tmp_path / "d.npz")],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "KCOMPRESS_CACHE": str(tmp_path / backend / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_losses_of_tensorflow_and_jax_are_the_same(tmp_path):
    with np.load(ROOT / "fixtures" / "fashion_mnist.npz") as arrays:
        np.savez(tmp_path / "d.npz", **{name: values[:500] for name, values in arrays.items()})
    ours, theirs = (losses(backend, tmp_path) for backend in ("tensorflow", "jax"))
    assert ours.keys() == theirs.keys() == JOBS.keys()
    for name, found in ours.items():
        assert len(found) == 2
        assert theirs[name] == pytest.approx(found, abs=1e-3)
