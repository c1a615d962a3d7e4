"""Running only the stages that a change reaches gives what running the changed model gives."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.analysis import forward
from kcompress.analysis.forward import Forward
from kcompress.model.signature import signature
from tests.models import BUILDERS, batch_for, keras, seeded, tokens

k = keras()
nn = k.layers


@k.saving.register_keras_serializable("tests.forward")
class Noise(nn.Layer):
    """Adds noise also where it does not train; layers may have one generator together."""

    def __init__(self, seeds=None, **settings):
        super().__init__(**settings)
        self.seeds = seeds or k.random.SeedGenerator(3)

    def call(self, x):
        return x + k.random.normal(k.ops.shape(x), seed=self.seeds)


@k.saving.register_keras_serializable("tests.forward")
class Borrowed(nn.Layer):
    """Multiplies by a weight of another layer, which Keras does not know of."""

    def __init__(self, lender, **settings):
        super().__init__(**settings)
        self.kernel = lambda: lender.kernel

    def call(self, x):
        return x @ k.ops.transpose(self.kernel())


class Own(k.Model):
    """A Functional model with a call of its own."""

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=training, mask=mask) * 2


def encoder():
    x = inputs = k.Input((6,))
    x = nn.BatchNormalization(name="norm")(nn.Dense(6, "tanh", name="one")(x))
    return k.Model(inputs, nn.Dense(4, name="two")(x), name="encoder")


def shared_encoder():
    """A model that is called twice, each time through all of its layers, and branches that do not meet."""
    left, right, shared = k.Input((6,), name="left"), k.Input((6,), name="right"), encoder()
    a, b = shared(nn.Dense(6, name="before")(left)), shared(right)
    outputs = [nn.Dense(3, name="beside")(right), nn.Dense(2, name="head")(nn.Subtract(name="minus")([a, b]))]
    return seeded(k.Model([left, right], [*outputs, a], name="shared_encoder"))


def noisy():
    """A state that one layer changes for itself."""
    layers = [nn.Dense(6, name="a"), Noise(name="noise"), nn.Dense(6, name="b"), nn.Dropout(0.5), nn.Dense(3, name="c")]
    return seeded(k.Sequential([k.Input((6,), name="x"), *layers]))


def mixed():
    """A nested model whose inputs have another dtype than what it is given."""
    half = k.Input((6,), dtype="float16")
    inner = k.Model(half, nn.Dense(6, name="i")(k.ops.multiply(half, half)), name="inner")
    layers = [nn.Dense(6, name="a"), inner, nn.Dense(3, name="b", dtype="mixed_float16")]
    return seeded(k.Sequential([k.Input((6,), name="x"), *layers]))


def told():
    """A layer that is told to train, which a model that does not train overrules."""
    x = inputs = k.Input((6,), name="x")
    x = nn.Dropout(0.5)(nn.Dense(6, name="a")(x), training=True)
    return seeded(k.Model(inputs, nn.Dense(3, name="b")(x)))


def together():
    """Two layers of noise that draw from one generator."""
    seeds = k.random.SeedGenerator(3)
    layers = [nn.Dense(6, name="a"), Noise(seeds, name="n"), nn.Dense(6, name="b"), Noise(seeds, name="m")]
    return seeded(k.Sequential([k.Input((6,), name="x"), *layers, nn.Dense(3, name="c")]))


def masked():
    layers = [nn.Embedding(50, 4, mask_zero=True, name="e"), nn.LSTM(4, name="lstm"), nn.Dense(2, name="head")]
    return seeded(k.Sequential([k.Input((6,), dtype="int32", name="x"), *layers]))


def borrowed():
    first = nn.Dense(4, name="first")
    layers = [first, nn.Dense(4, name="second"), Borrowed(first, name="third"), nn.Dense(2, name="head")]
    return seeded(k.Sequential([k.Input((6,), name="x"), *layers]))


def own():
    inputs = k.Input((6,), name="x")
    return seeded(Own(inputs, nn.Dense(3, name="b")(nn.Dense(6, name="a")(inputs))))


STAGED = {**BUILDERS, **{build.__name__: build for build in (shared_encoder, noisy, mixed, told)}}
WHOLE = {build.__name__: build for build in (together, masked, borrowed, own)}


@functools.cache
def both(name):
    """A model, it in stages, it in one, and for each what a batch has without changes."""
    model = {**STAGED, **WHOLE}[name]()
    sign, batch = signature(model), batch_for(model, 7)
    found = []
    for most in (forward.STAGES, 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(forward, "STAGES", most)
            made = Forward(model, sign, batch, 7)
        found.append((made, *made.unchanged(batch)))
    return model, found


def assert_same(got, want):
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * max(np.abs(b).max(), 1e-6))  # float32 noise


def changes(model, chosen, seed):
    random = np.random.default_rng(seed)
    known = [variable for variable in model.weights if variable.dtype.startswith("float")]
    picked = {id(v): v for v in (known[number % len(known)] for number in chosen)}.values()
    return [(v, (np.asarray(v) * random.uniform(0.5, 1.5, v.shape)).astype(np.asarray(v).dtype)) for v in picked]


@pytest.mark.parametrize("name", [*STAGED, *WHOLE])
@settings(max_examples=25)
@given(chosen=st.lists(st.integers(0, 50), min_size=1, max_size=4), seed=st.integers(0, 9))
def test_what_is_run_again_gives_what_the_model_in_one_stage_gives(name, chosen, seed):
    model, ((staged, *kept), (one, *all_kept)) = both(name)
    assert len(one.stages) == 1
    replaced = changes(model, chosen, seed)
    assert_same(kept[1], all_kept[1])
    assert_same(staged.changed(replaced, *kept), one.changed(replaced, *all_kept))


@pytest.mark.parametrize("name", STAGED)
def test_one_stage_gives_what_the_changed_model_gives(name):
    model, (_, (one, *kept)) = both(name)
    replaced = changes(model, range(3), 0)
    got, other = one.changed(replaced, *kept), STAGED[name]()
    for mine, theirs in zip(model.weights, other.weights, strict=True):
        theirs.assign(next((values for v, values in replaced if v is mine), mine))
    x = batch_for(other, 7)
    wanted = k.tree.flatten(other(x if len(x) > 1 else next(iter(x.values())), training=False))
    close = 2e-3 if name == "mixed" else 1e-4  # compiled, in another order; float16 has 11 bits
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=close, atol=close / 10)


@pytest.mark.parametrize("name", STAGED)
def test_graphs_are_cut_where_weights_are(name):
    assert len(both(name)[1][0][0].stages) > 1


@pytest.mark.parametrize("name", WHOLE)
def test_layers_that_share_more_than_tensors_are_one_stage(name):
    assert len(both(name)[1][0][0].stages) == 1


def test_the_same_call_gives_the_same_bytes():
    model, ((staged, *kept), _) = both("residual")
    replaced, batch = changes(model, [0], 0), batch_for(model, 7)
    first, again = (staged.changed(replaced, *kept)[0].tobytes() for _ in range(2))
    other = Forward(model, signature(model), batch, 7)
    assert other.changed(replaced, *other.unchanged(batch))[0].tobytes() == first == again


def runs(monkeypatch, made, *given):
    """How many stages are run, and the outputs."""
    count, run = [], Forward._run
    monkeypatch.setattr(Forward, "_run", lambda *args: count.append(1) or run(*args))
    found = made.changed(*given)
    monkeypatch.setattr(Forward, "_run", run)
    return len(count), found


def test_layers_before_the_change_and_beside_it_are_not_run(monkeypatch):
    model, ((staged, *kept), _) = both("shared_encoder")
    count = len(staged.stages)
    first, last, beside = (model.get_layer(name).kernel for name in ("before", "head", "beside"))
    one = lambda v: runs(monkeypatch, staged, [(v, np.zeros(v.shape, np.float32))], *kept)  # noqa: E731
    assert one(last)[0] == 1 and one(beside)[0] <= 2
    assert 1 < one(first)[0] <= count
    found = one(beside)[1]
    assert found[1] is kept[1][1] and found[2] is kept[1][2]


def test_no_more_is_kept_than_may_be(monkeypatch):
    model = BUILDERS["residual"]()
    batch = batch_for(model, 5)
    many = Forward(model, signature(model), batch, 5)
    largest = max(np.asarray(t).size for t in many.unchanged(batch)[0].values())
    monkeypatch.setattr(forward, "KEPT", largest - 1)
    few = Forward(model, signature(model), batch, 5)
    assert 1 < len(few.stages) < len(many.stages)
    taken = few.unchanged(batch)[0]
    del taken[few._inputs[0]]
    assert sum(np.asarray(t).size for t in taken.values()) < largest
    monkeypatch.setattr(forward, "KEPT", 0)
    assert len(Forward(model, signature(model), batch, 5).stages) == 1


def test_sizes_that_a_model_leaves_open_count_as_long_as_they_are(monkeypatch):
    x = k.Input((None, 3), name="x")
    layers = [nn.Conv1D(4, 3, name=name, padding="same") for name in "abc"]
    model = seeded(k.Sequential([x, *layers]))
    batch = {"x": np.ones((2, 90, 3), np.float32)}
    monkeypatch.setattr(forward, "KEPT", 2 * 90 * 4 * 2)
    assert len(Forward(model, signature(model), batch, 2).stages) == 3
    monkeypatch.setattr(forward, "KEPT", 2 * 90 * 4 * 2 - 1)
    assert len(Forward(model, signature(model), batch, 2).stages) == 2


def test_the_model_is_left_as_it_is():
    model = tokens()
    before = [np.asarray(v).copy() for v in model.weights]
    made = Forward(model, signature(model), batch_for(model), 5)
    made.changed(changes(model, range(4), 1), *made.unchanged(batch_for(model)))
    assert all((np.asarray(v) == w).all() for v, w in zip(model.weights, before, strict=True))
