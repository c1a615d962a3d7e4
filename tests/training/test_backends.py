"""The same seed gives the same losses on TensorFlow and on JAX."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

import kcompress
from kcompress.passes.train import _training
from tests import other_process
from tests.models import keras, seeded

SETTINGS = "steps=12,validation=0.1,schedule=cosine,warmup=0.02"
PASSES = ["prune.magnitude:sparsity=0.3", f"train.distill:{SETTINGS}", f"train.finetune:{SETTINGS}"]


def residual():
    k = keras()
    nn = k.layers
    inputs = k.Input((8, 8, 1), name="image")
    x = nn.BatchNormalization(name="bn")(nn.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(inputs))
    x = nn.Add(name="add")(
        [x, nn.Conv2D(8, 3, padding="same", activation="relu", name="conv")(nn.ReLU(name="relu")(x))]
    )
    x = nn.GlobalAveragePooling2D(name="pool")(x)
    return seeded(k.Model(inputs, nn.Dense(3, "softmax", name="head")(x), name="residual"))


def losses():
    """Losses of each epoch, of training and validation, in both trainings of a residual network."""
    found, plain = [], _training.fit

    def fit(*given):
        outcome = plain(*given)
        found.append([value for epoch in outcome.epochs for value in (epoch.loss, epoch.validation)])
        return outcome

    model = residual()
    random = np.random.default_rng(0)
    x = random.random((400, *model.inputs[0].shape[1:]), np.float32)
    y = x.reshape(400, -1)[:, : model.outputs[0].shape[-1]].argmax(axis=1)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_training, "fit", fit)
        kcompress.compress(model, Path(folder, "o.keras"), passes=PASSES, data=(x, y), seed=3)
    return found


@pytest.mark.slow
def test_losses_of_tensorflow_and_jax_are_the_same():
    pytest.importorskip("jax")
    ours, theirs = losses(), other_process.call("jax", losses)
    assert [len(each) for each in ours] == [4, 4]
    for found, others in zip(ours, theirs, strict=True):
        assert others == pytest.approx(found, abs=1e-3)
