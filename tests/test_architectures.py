"""What real architectures of keras.applications go through: folding, equalizing, cutting, and integers alone.

A few stand for the kinds of blocks there are; scripts/bench tries all (fold.py, structured.py --all, and quantize.py
--architectures). They are here in one file so that each is built once.
"""

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.channels.cut import cut
from kcompress.formats import formats, run_batches
from kcompress.formats.tflite.flatbuffer import unpack
from kcompress.passes import find
from kcompress.passes.base import Context
from tests.architectures import SIZES, built, images
from tests.channels.cutting import OUTPUT, assert_only_sizes_differ, difference, some_units, zeroed
from tests.formats.integers import faults, write
from tests.sweep import some

CLOSE = 1e-4  # float32 rounds at 1e-7, which tens of layers amplify
CUT = {
    "ConvNeXtTiny": 3072 * 3 + 1536 * 9 + 768 * 3 + 384 * 3,  # hidden units; what is normalized stays
    "DenseNet121": None,
    "MobileNetV3Small": None,
}
"""The units that can go if not all but those of the outputs."""
pytestmark = pytest.mark.slow


def outputs(model, x):
    return np.asarray(model(x, training=False), np.float64)


def apply(name, model):
    return find(name)().apply(model, Context())


@pytest.mark.parametrize(
    ("name", "folded", "kept"),
    some([("MobileNetV2", 52, 0), ("DenseNet121", 59, 62)], lambda case: case[0] == "MobileNetV2"),
)
def test_outputs_stay_where_batch_normalization_is_folded(name, folded, kept):
    model, x = built(name), images(SIZES[name], 4)
    result = apply("fold.batchnorm", model)
    assert (len(result.changes), len(result.skipped)) == (folded, kept)
    old, new = (outputs(m, x) for m in (model, result.model))
    assert 0.01 < np.abs(old).max() < 100
    assert np.abs(new - old).max() <= CLOSE * np.abs(old).max()


def test_outputs_stay_where_layers_are_equalized():
    model, x = apply("fold.batchnorm", built("ResNet50")).model, images(SIZES["ResNet50"], 4)
    result = apply("equalize.cross_layer", model)
    assert len(result.changes) == 48  # three convolutions in each of 16 blocks
    old, new = (outputs(m, x) for m in (model, result.model))
    assert np.abs(new - old).max() <= CLOSE * np.abs(old).max()


@pytest.mark.parametrize("name", some(CUT, lambda name: name != "DenseNet121"))
def test_without_a_part_of_its_channels_it_computes_the_same(name):
    model, x = built(name), images(SIZES[name], 2)
    found = channels(model)
    free = found.units.count - len(found.units.pinned)
    if CUT[name] is None:
        assert list(found.units.pinned.values()) == [OUTPUT] * 10
    else:
        assert free == CUT[name]
    dropped = some_units(found, 0, 0.3)
    smaller = cut(model, found, dropped)
    assert 0.2 < dropped.sum() / free < 0.4
    assert smaller.count_params() < 0.8 * model.count_params()
    assert_only_sizes_differ(model, smaller, found, dropped)
    assert difference(zeroed(model, found, dropped), smaller, [x]) < CLOSE
    assert difference(model, smaller, [x]) > 0.1  # what was dropped counted


@pytest.mark.parametrize("name", some(["MobileNetV2", "MobileNetV3Small"], lambda name: name == "MobileNetV3Small"))
def test_every_operator_of_a_static_file_computes_in_integers(name, tmp_path):
    _, written = write(built(name), images(SIZES[name], 8), tmp_path / "m.tflite")
    assert (written.float_weights, written.notes) == ((), ())
    assert faults(unpack((tmp_path / "m.tflite").read_bytes())) == []


def test_a_file_with_16_bit_activations_gives_what_keras_gives_on_the_grid(tmp_path):
    """With 8 bits, random kernels make networks so deep that no two roundings agree."""
    x = images(SIZES["MobileNetV2"], 32)
    model, _ = write(built("MobileNetV2"), x, tmp_path / "m.tflite", activations=16)
    runner = formats()["tflite"].open(tmp_path / "m.tflite")
    ours, theirs = run_batches(runner, {next(iter(runner.inputs)): x})[0], outputs(model, x)
    assert np.abs(ours - theirs).max() < 0.05 * np.abs(theirs).max()  # 16-bit steps of more than fifty layers
