"""Models with dead channels planted in them, and the check that removing those changes nothing else."""

import numpy as np

from kcompress.formats.keras.runner import KerasRunner
from kcompress.model.rebuild import fingerprint
from kcompress.model.view import nodes
from kcompress.passes.base import Context
from kcompress.passes.prune.dead import PruneDead
from kcompress.quantization.plan import QuantPlan
from tests.models import batch_for, keras, seeded

k = keras()
nn = k.layers
TOLERANCE = 1e-5  # of the largest output; sums of float32 in another order


def outputs(model, seed=1):
    batch = batch_for(model, 6, seed)
    return KerasRunner(model)({n: v % 12 if v.dtype.kind == "i" else v - 0.5 for n, v in batch.items()})


def checked(model, plan=None, **fields):
    """Apply the pass: outputs are equal, and another time there is nothing left to do."""
    ctx = Context(plan=plan or QuantPlan())
    result = PruneDead(**fields).apply(model, ctx)
    for before, after in zip(outputs(model), outputs(result.model), strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=TOLERANCE * max(np.abs(before).max(), 1e-3))
    again = PruneDead(**fields).apply(result.model, Context(plan=ctx.plan.updated(result.formats)))
    assert (again.changes, fingerprint(again.model)) == ((), fingerprint(result.model))
    return result


def told(result):
    return {change.layer: change.detail for change in result.changes}


def reasons(result):
    return {skip.layer: skip.reason for skip in result.skipped}


def plant(model, **values):
    """Set parts of weights: `plant(model, conv__kernel=(np.s_[..., 0], 0))`; `__` for `/`."""
    named = {node.qualified(w): w for node in nodes(model) for w in node.weights}
    for name, (where, value) in values.items():
        weight = named[name.replace("__", "/")]
        array = weight.values.copy()
        array[where] = value
        weight.variable.assign(array)
    return model


def stacked(*layers, shape=(8, 8, 3)):
    return seeded(k.Sequential([k.Input(shape, name="x"), *layers]))


def constant(bias=0.5, reader=None, between=()):
    """The second filter of a convolution is zero, so that it gives its bias."""
    reader = reader or nn.Conv2D(5, 3, name="reader")
    model = stacked(nn.Conv2D(4, 3, name="conv"), *between, reader, nn.Flatten(), nn.Dense(2, name="head"))
    return plant(model, conv__kernel=(np.s_[..., 1], 0), conv__bias=(1, bias))
