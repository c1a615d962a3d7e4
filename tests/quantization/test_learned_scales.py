"""Learned steps, as a model reads them."""

import threading

import numpy as np
import pytest

from kcompress.passes import find
from kcompress.passes.base import Context
from kcompress.quantization.learned_scales import learned_scales
from kcompress.quantization.plan import Activations, QuantPlan
from tests.models import dense


@pytest.fixture
def quantized():
    """A model, its plan, and steps for its kernels and one point."""
    begun = find("quantize.weights")(bits=4, scale="power_of_two").apply(dense(), Context())
    plan = QuantPlan(begun.formats, Activations("static"))
    return begun.model, plan, learned_scales(begun.model, plan, {"point": (-1.0, 3.0), "flat": (0.0, 0.0)})


def test_all_steps_are_one_variable_and_begin_as_planned(quantized):
    model, plan, steps = quantized
    (variable,) = steps.layer.trainable_variables
    assert variable.shape == (sum(len(weight_format.scale) for weight_format in plan.weights.values()) + 1,)
    assert steps.formats(model, plan) == dict(plan.weights)
    with steps.read():
        assert float(steps.get("point")) == pytest.approx(4 / 255)
        assert steps.get("flat") is None
        assert steps.get("another") is None


def test_steps_keep_their_digits_while_they_are_learned(quantized):
    model, plan, steps = quantized
    steps.layer.trainable_variables[0].assign_add(np.full(steps.layer.trainable_variables[0].shape, 0.5))
    after = steps.formats(model, plan)
    kernels = {layer.kernel.path: layer.kernel for layer in model.layers if hasattr(layer, "kernel")}
    with steps.read():
        assert float(steps.get("point")) == pytest.approx(4 / 255 * np.exp(0.5))
        read = np.concatenate([np.ravel(steps.get(id(kernel))) for kernel in kernels.values()])
    assert np.array_equal(read, np.concatenate([weight_format.scale for weight_format in after.values()]))
    assert (np.log2(read) == np.round(np.log2(read))).all()
    assert any(weight_format.scale != plan.weights[name].scale for name, weight_format in after.items())


def test_each_thread_reads_steps_of_its_own(quantized):
    _, _, steps = quantized
    found = []

    def read():
        with steps.read():
            found.append(steps.get("point"))

    with steps.read():
        mine = steps.get("point")
        other = threading.Thread(target=read)
        other.start()
        other.join()
        assert steps.get("point") is mine
    assert found[0] is not mine
