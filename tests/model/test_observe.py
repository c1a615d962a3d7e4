"""Every call of the chosen layers is seen, with its values, and the model is left as it was.

Covers: model/call_hooks.py, model/kernels.py, model/patching.py.
"""

import numpy as np
import pytest

from kcompress.model.observe import observe
from kcompress.model.signature import signature
from kcompress.model.view import nodes
from tests.models import BUILDERS, batch_for, keras, two_in_two_out
from tests.passes.models import KERNELS, everything

k = keras()


def seen(model, names, batches):
    calls = []
    observe(model, batches, names, lambda name, given, result: calls.append((name, given, result)))
    return calls


def test_shared_and_nested_layers_are_seen_at_every_call_with_their_values():
    model = two_in_two_out()
    batches = [batch_for(model, seed=1), batch_for(model, count=2, seed=2)]
    calls = seen(model, ["shared", "inner/shared", "score"], batches)
    assert [name for name, _, _ in calls] == 2 * ["shared", "shared", "inner/shared", "score"]
    assert {len(given) for _, given, _ in calls[4:]} == {2}
    given = {id_: x for id_, (_, x, _) in enumerate(calls[:2])}
    expected = sorted(batches[0][name].sum() for name in ("left", "right"))
    np.testing.assert_allclose(sorted(x.sum() for x in given.values()), expected, rtol=1e-6)
    for name, x, y in calls:
        layer = next(n.layer for n in nodes(model) if n.name == name)
        assert isinstance(y, np.ndarray)
        np.testing.assert_allclose(y, k.ops.convert_to_numpy(layer(x)), rtol=1e-6, atol=1e-6)


def test_only_cells_and_what_they_hold_are_never_seen():
    model = everything()
    names = [name for name in KERNELS if name in {n.name for n in nodes(model)}]
    calls = {name for name, _, _ in seen(model, names, [batch_for_everything(model)])}
    assert set(names) - calls == {name for name in names if name.endswith("_cell")}


def batch_for_everything(model):
    batch = batch_for(model, 2)
    return {**batch, "tokens": batch["tokens"] % 12}


@pytest.mark.parametrize("name", BUILDERS)
def test_a_model_computes_the_same_after_it_was_observed(name):
    model = BUILDERS[name]()
    batch = batch_for(model)
    x = signature(model).pack(list(batch.values()))
    before = k.tree.flatten(model.predict(x, verbose=0))
    observe(model, [batch], [n.name for n in nodes(model)], lambda *_: None)
    assert all("call" not in vars(n.layer) for n in nodes(model))
    for one, two in zip(before, k.tree.flatten(model.predict(x, verbose=0)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_hooks_go_also_when_a_visit_fails():
    model = two_in_two_out()

    def fail(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        observe(model, [batch_for(model)], ["shared", "score"], fail)
    assert all("call" not in vars(n.layer) for n in nodes(model))


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError, match="nowhere"):
        observe(two_in_two_out(), [], ["nowhere"], lambda *_: None)
