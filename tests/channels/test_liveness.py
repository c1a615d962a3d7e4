"""Which channels matter for what must stay."""

import numpy as np

from kcompress.channels.channels import channels
from kcompress.channels.liveness import emptied, live, read_for, reads, single
from tests.models import keras, seeded

k = keras()
nn = k.layers


def chain(zeros):
    """Dense layers of 3 units each, with these weights zero: {layer: where}."""
    layers = [nn.Dense(3, name=name) for name in "abc"]
    model = seeded(k.Sequential([k.Input((2,)), *layers, nn.Dense(2, name="head")]))
    for name, where in zeros.items():
        kernel = np.asarray(model.get_layer(name).kernel).copy()
        kernel[where] = 0
        model.get_layer(name).kernel.assign(kernel)
    return channels(model)


def pinned(found):
    roots = np.zeros(found.units.count, bool)
    roots[list(found.units.pinned)] = True
    return roots


def alive(found, roots):
    flags = live(found, reads(found, {}), roots)
    return {source.layer: found.units.stay(source.ids, ~flags).tolist() for source in found.sources}


def test_what_is_read_for_a_live_unit_is_live():
    found = chain({"head": 0, "c": np.s_[1, 1:], "b": np.s_[2, [0, 2]]})
    assert alive(found, pinned(found)) == {
        "a": [True, True, False],  # 2 is read for 1 of b only
        "b": [True, False, True],  # 1 is read for 0 of c only
        "c": [False, True, True],
        "head": [True, True],
    }


def test_what_counts_can_be_given():
    found = chain({})
    kernel = next(s.variable for s in found.slices.values() if s.variable.shape == (3, 2))
    counts = np.array([[False, False], [True, False], [False, True]])
    flags = live(found, reads(found, {id(kernel): counts}), pinned(found))
    assert found.units.stay(found.sources[2].ids, ~flags).tolist() == [False, True, True]


def test_reads_for_live_units_alone_are_one_step():
    found = chain({})
    marked = read_for(found, reads(found, {}), pinned(found))
    assert [found.units.stay(source.ids, ~marked).tolist() for source in found.sources[:3]] == [
        [False] * 3,
        [False] * 3,
        [True] * 3,
    ]


def test_one_position_is_spared_along_each_axis_that_would_be_empty():
    found = chain({})
    dropped = np.zeros(found.units.count, bool)
    dropped[found.units.of(found.sources[0].ids)] = True
    dropped[found.units.of(found.sources[1].ids[1:])] = True
    assert np.flatnonzero(emptied(found, dropped)).tolist() == found.units.of(found.sources[0].ids[:1]).tolist()


def test_units_that_are_alone_are_found():
    inputs = k.Input((4,))
    model = k.Model(inputs, nn.Dense(3, name="b")(nn.Dense(1, name="a")(inputs)))
    found = channels(model)
    assert np.flatnonzero(single(found)).tolist() == found.units.of(found.sources[0].ids).tolist()
