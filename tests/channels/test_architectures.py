"""Architectures of keras.applications can be cut as they are, and compute the same; all 38 are in scripts/bench."""

import numpy as np
import pytest

from kcompress.channels.channels import channels
from kcompress.channels.cut import cut
from tests.channels.cutting import OUTPUT, architecture, assert_only_sizes_differ, difference, some_units, zeroed

ARCHITECTURES = {
    "ConvNeXtTiny": (32, 3072 * 3 + 1536 * 9 + 768 * 3 + 384 * 3),  # hidden units; what is normalized stays
    "DenseNet121": (32, None),
    "EfficientNetV2B0": (32, None),
    "InceptionV3": (75, None),
    "MobileNetV3Small": (32, None),
    "Xception": (71, None),
}
"""Pixels of the inputs, about the fewest that each takes; the units that can go if not all but those of the outputs."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_without_a_part_of_its_channels_computes_the_same(name):
    size, droppable = ARCHITECTURES[name]
    samples = np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype(np.float32)
    model = architecture(name, size, samples, classes=10)
    found = channels(model)
    free = found.units.count - len(found.units.pinned)
    if droppable is None:
        assert list(found.units.pinned.values()) == [OUTPUT] * 10
    else:
        assert free == droppable
    dropped = some_units(found, 0, 0.3)
    twin = cut(model, found, dropped)
    assert 0.2 < dropped.sum() / free < 0.4
    assert twin.count_params() < 0.8 * model.count_params()
    assert_only_sizes_differ(model, twin, found, dropped)
    assert difference(zeroed(model, found, dropped), twin, [samples]) < 1e-4  # the bound, in float32
    assert difference(model, twin, [samples]) > 0.1  # what was dropped counted
