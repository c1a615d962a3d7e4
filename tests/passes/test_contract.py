"""What holds for every pass that is found."""

import inspect

import numpy as np
import pytest

from kcompress import data
from kcompress.errors import UsageError
from kcompress.fields import allowed, tunable_of
from kcompress.formats.keras.runner import KerasRunner
from kcompress.model.rebuild import fingerprint
from kcompress.model.signature import signature
from kcompress.model.view import nodes
from kcompress.passes import find, names
from kcompress.passes.base import Context, Need, Pass
from kcompress.passes.capabilities import TrainsModel
from tests.models import batch_for, seeded
from tests.passes.models import convolutional, everything, without_kernels

every_pass = pytest.mark.parametrize("name", names())


@pytest.fixture
def made(tmp_path):
    """Makes a pass with the settings that it needs to do something."""

    def make(name):
        if name != "fuse.average_weights":
            return find(name)()
        seeded(convolutional(), 7).save(tmp_path / "other.keras")
        return find(name)(models=str(tmp_path / "other.keras"))

    return make


def context(model, seed=0):
    """Images in the model's shape and a label for each, for the passes that need data."""
    x = next(iter(batch_for(model, count=16).values()))
    y = np.arange(16) % int(np.prod(model.outputs[0].shape[1:]))
    return Context(data=data.resolve((x, y)), seed=seed)


@every_pass
def test_is_documented_and_so_is_every_field(name):
    cls = find(name)
    assert cls.__doc__ != Pass.__doc__
    assert inspect.cleandoc(cls.__doc__).splitlines()[0].endswith(".")
    for field, info in cls.model_fields.items():
        assert (info.description or "").endswith("."), field
        assert allowed(info) != "what this field takes", field


@every_pass
def test_declares_what_it_needs(name):
    assert all(isinstance(need, Need) for need in find(name).needs)


@every_pass
def test_is_frozen_and_comes_back_from_its_config(name):
    step = find(name)(layers="conv*", rules=[{"layers": "head", "skip": True}])
    assert find(name)(**step.config()) == step
    with pytest.raises(ValueError, match="frozen"):
        step.layers = ("x",)
    with pytest.raises(TypeError):
        find(name)(0.5)


@every_pass
def test_names_a_field_that_it_does_not_have(name):
    with pytest.raises(UsageError, match=rf"^{name}: no field 'no_such_field'; "):
        find(name)(no_such_field=1)


@every_pass
def test_what_a_search_may_try_is_allowed(name):
    cls = find(name)
    for field, info in cls.model_fields.items():
        about = tunable_of(info)
        for value in () if about is None else (about.low, about.high):
            assert getattr(cls(**{field: value}), field) == value


@every_pass
def test_works_on_a_small_convolutional_model(name, made):
    model = convolutional()
    gamma = model.get_layer("bn").gamma
    gamma.assign(np.asarray(gamma) * (np.arange(8) > 0))  # one channel is constant, for the pass that removes such
    before = fingerprint(model)
    result = made(name).apply(model, context(model))
    assert result.changes
    assert fingerprint(model) == before != fingerprint(result.model)
    assert not {id(v) for v in result.model.weights} & {id(v) for v in model.weights}
    assert set(result.formats) <= {node.qualified(w) for node in nodes(result.model) for w in node.weights}
    assert all(np.isfinite(y).all() for y in KerasRunner(result.model)(batch_for(model)))
    assert signature(result.model).outputs == signature(model).outputs


@every_pass
def test_accounts_for_every_layer_once_in_a_model_with_every_layer_type(name):
    step = find(name)()
    if step.required:
        pytest.skip("needs data for all four inputs")
    model = everything()
    targets = step.select(model).targets
    result = step.apply(model, Context())
    accounted = [item.layer for item in (*result.changes, *result.skipped)]
    assert sorted(accounted) == sorted(targets)
    assert targets <= {node.name for node in nodes(model)}
    assert all(change.detail for change in result.changes)
    assert all(skip.reason for skip in result.skipped)


@every_pass
def test_has_nothing_to_do_on_a_model_without_kernels(name):
    if issubclass(find(name), TrainsModel):
        pytest.skip("training may change any weight")
    model = without_kernels()
    result = find(name)().apply(model, context(model))
    assert result.changes == ()
    assert not result.formats
    assert fingerprint(result.model) == fingerprint(model)


@every_pass
def test_leaves_everything_alone_where_it_is_asked_to(name):
    model = convolutional()
    result = find(name)(skip="*").apply(model, context(model))
    assert result.changes == ()
    assert result.skipped
    assert all(skip.asked for skip in result.skipped)
    assert fingerprint(result.model) == fingerprint(model)


@every_pass
def test_gives_the_same_for_the_same_seed(name, made):
    first, second = (made(name).apply(convolutional(), context(convolutional(), seed=3)) for _ in range(2))
    assert fingerprint(first.model) == fingerprint(second.model)
    assert (first.changes, first.skipped, first.formats) == (second.changes, second.skipped, second.formats)


@every_pass
def test_keeps_the_zeros_and_the_grid_of_earlier_passes(name, made):
    model, ctx = convolutional(), context(convolutional())
    pruned = find("prune.magnitude")(sparsity=0.5).apply(model, ctx).model
    rounded = find("quantize.float16")().apply(pruned, ctx)
    made(name).apply(rounded.model, Context(data=ctx.data, plan=ctx.plan.updated(rounded.formats)))  # checks it
