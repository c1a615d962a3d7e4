"""The same seed gives the same losses on TensorFlow and on JAX."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

CHILD = """
import json, sys
import kcompress
from kcompress.passes.train import _training
name, step, output = sys.argv[1:]
losses, plain = [], _training.fit

def fit(*given):
    outcome = plain(*given)
    losses.extend(value for epoch in outcome.epochs for value in (epoch.loss, epoch.validation))
    return outcome

_training.fit = fit
source, data = f"fixtures/{name}.keras", "fixtures/fashion_mnist.npz"
kcompress.compress(source, output, passes=["prune.magnitude:sparsity=0.3", step], data=data, seed=3)
print(json.dumps(losses))
"""


def losses(backend, name, step, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, name, step, str(tmp_path / f"{backend}.keras")],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend, "KCOMPRESS_CACHE": str(tmp_path / backend)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "step"), [("lenet300", "train.distill"), ("resnet8", "train.finetune")])
def test_losses_of_tensorflow_and_jax_are_the_same(name, step, tmp_path):
    settings = "steps=12,validation=0.02,schedule=cosine,warmup=0.02"
    found = [losses(backend, name, f"{step}:{settings}", tmp_path) for backend in ("tensorflow", "jax")]
    assert len(found[0]) == 2
    assert found[1] == pytest.approx(found[0], abs=1e-3)
