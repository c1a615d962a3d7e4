"""Rounding by calibration data: layers' outputs change less, biases make up for the rest, one sweep serves all.

Covers: passes/statistics.py.
"""

import numpy as np
import pytest

from kcompress import data
from kcompress.api.compress import Hooks, compress
from kcompress.errors import DataError
from kcompress.model.rebuild import fingerprint
from kcompress.model.view import nodes
from kcompress.passes import find, statistics
from kcompress.passes.base import Context, Need, Pass
from kcompress.passes.quantize._grid import COMPARED
from kcompress.passes.statistics import Statistics
from tests.models import batch_for, keras, residual, seeded, tokens
from tests.shell import assert_refused, kcompress

WEIGHTS, INT8 = find("quantize.weights"), find("quantize.int8")
k = keras()
nn = k.layers


def calibrated(model, count=64, **more):
    return Context(data=data.resolve(calibration=next(iter(batch_for(model, count).values()))), **more)


def figures(result, key="output_sqnr_db"):
    return {change.layer: change.figures[key] for change in result.changes}


@pytest.fixture(scope="module")
def nearest():
    return WEIGHTS(bits=3).apply(residual(), calibrated(residual()))


@pytest.mark.parametrize("fields", [{"rounding": "gptq"}, {"rounding": "adaround"}, {"ranges": "output"}], ids=str)
def test_outputs_of_layers_change_less_than_when_rounded_to_nearest(fields, nearest):
    model = residual()
    result = WEIGHTS(bits=3, **fields).apply(model, calibrated(model))
    before, after = figures(nearest), figures(result)
    assert before.keys() == after.keys() == {node.name for node in nodes(model) if node.kernels}
    better = [after[name] - before[name] for name in before]
    assert np.mean(better) > 1.0  # decibels
    assert min(better) > -0.5  # none is worse, but for the positions drawn


def test_the_figures_of_a_change_are_those_of_the_weights_and_of_the_layer_by_itself(nearest):
    model = residual()
    layer, rounded = (next(n for n in nodes(m) if n.name == "stem") for m in (model, nearest.model))
    values, change = layer.kernels[0].values, layer.kernels[0].values - rounded.kernels[0].values
    expected = 10 * np.log10((values**2).sum() / (change**2).sum())
    assert figures(nearest, "weight_sqnr_db")["stem"] == pytest.approx(expected, rel=1e-4)
    assert set(figures(nearest, "bits").values()) == {3}
    x = batch_for(model, 64)["image"][:COMPARED]
    before, after = (k.ops.convert_to_numpy(each.layer(x)) for each in (layer, rounded))
    expected = 10 * np.log10((before**2).sum() / ((before - after) ** 2).sum())
    assert figures(nearest)["stem"] == pytest.approx(expected, rel=1e-4)
    alone = WEIGHTS(bits=3, layers="head").apply(model, calibrated(model))
    assert figures(alone)["head"] == pytest.approx(figures(nearest)["head"], rel=1e-6)


def test_without_calibration_data_only_the_weights_have_figures():
    change = WEIGHTS(bits=3).apply(residual(), Context()).changes[0]
    assert change.figures.keys() == {"bits", "weight_sqnr_db"}


def plain():
    """Every kind of layer whose bias can make up for the mean, each seeing the input."""
    inputs = k.Input((9, 9, 4), name="image")
    layers = [
        nn.Conv2D(6, 3, groups=2, name="grouped"),
        nn.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise"),
        nn.Conv2DTranspose(5, 3, strides=2, name="transposed"),
        nn.SeparableConv2D(6, 3, depth_multiplier=2, name="separable"),
        nn.Dense(3, name="dense"),
    ]
    return seeded(k.Model(inputs, [layer(inputs) for layer in layers], name="plain"))


def test_corrected_biases_keep_the_mean_of_every_output_channel():
    model = plain()
    x = batch_for(model, 2)["image"]  # so few that all positions count
    rough, corrected = (
        WEIGHTS(bits=2, bias_correction=wanted).apply(model, calibrated(model, 2)).model for wanted in (False, True)
    )
    for before, plainly, kept in zip(model(x), rough(x), corrected(x), strict=True):
        means = [np.asarray(each).reshape(-1, each.shape[-1]).mean(0) for each in (before, plainly, kept)]
        assert np.abs(means[1] - means[0]).max() > 0.02
        np.testing.assert_allclose(means[2], means[0], atol=2e-5)  # float32 sums


def test_a_layer_without_bias_says_so():
    result = WEIGHTS(bits=2, bias_correction=True).apply(residual(), calibrated(residual()))
    details = {change.layer: change.detail for change in result.changes}
    assert details["stem"].endswith("; no bias that can be corrected")
    assert details["head"].endswith("; bias corrected")


def test_an_embedding_is_rounded_to_nearest_and_says_so():
    model = tokens()
    result, nearest = (WEIGHTS(bits=3, **f).apply(model, calibrated(model)) for f in ({"rounding": "gptq"}, {}))
    details = {change.layer: change.detail for change in result.changes}
    assert "rounded to nearest, for want of a matrix: embeddings" in details["embedding"]
    assert "nearest" not in details["conv"]
    for ours, theirs in zip(nodes(result.model), nodes(nearest.model), strict=True):
        for one, other in zip(ours.kernels, theirs.kernels, strict=True):
            assert np.array_equal(one.values, other.values) == (ours.name == "embedding")


@pytest.mark.parametrize("rounding", ["gptq", "adaround"])
@pytest.mark.parametrize("fields", [{}, {"scale": "power_of_two", "ranges": "output"}, {"granularity": "per_tensor"}])
def test_zeros_stay_zero_and_the_grid_is_kept(fields, rounding):
    model = residual()
    pruned = find("prune.magnitude")(sparsity=0.5).apply(model, Context()).model
    result = WEIGHTS(bits=4, rounding=rounding, **fields).apply(pruned, calibrated(model))  # which checks both
    assert all(f.bits == 4 for f in result.formats.values())


def test_one_sweep_serves_consecutive_passes_that_round(monkeypatch):
    sweeps = []
    monkeypatch.setattr(statistics, "moments", lambda *args, **kwargs: sweeps.append(args[2]) or {})
    model = residual()
    steps = [
        WEIGHTS(bits=4, rounding="gptq", layers="stem"),
        WEIGHTS(bits=2, layers="grouped"),
        INT8(bias_correction=True, skip="transposed"),
        find("fold.batchnorm")(),
        WEIGHTS(rounding="gptq", layers="transposed"),
    ]
    context = calibrated(model, statistics=Statistics.of(steps, model))
    for step in steps[:3]:
        model = step.apply(model, context).model
    assert sweeps == [{"stem", "separable", "depthwise", "grouped", "head"}]


def test_a_later_pass_does_not_change_what_an_earlier_one_makes():
    model = residual()
    first, later = WEIGHTS(bits=3, rounding="gptq", layers="stem", samples=4), WEIGHTS(rounding="gptq", samples=64)
    alone = first.apply(model, calibrated(model))
    both = first.apply(model, calibrated(model, statistics=Statistics.of([first, later], model)))
    assert fingerprint(alone.model) == fingerprint(both.model)


@pytest.mark.parametrize("fields", [{"rounding": "gptq"}, {"ranges": "output"}, {"bias_correction": True}], ids=str)
def test_a_sample_that_is_not_finite_is_refused_and_the_layer_named(fields):
    model = residual()
    x = batch_for(model, 20)["image"]
    x[17, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="what goes into layer 'stem' is not finite on the samples of"):
        WEIGHTS(**fields).apply(model, Context(data=data.resolve(calibration=x)))


def test_calibration_data_is_needed_where_a_setting_or_a_rule_looks_at_it():
    assert WEIGHTS().required == INT8(mode="weight_only").required == frozenset()
    needy = [{"rounding": "gptq"}, {"bias_correction": True}, {"ranges": "output"}]
    for fields in (*needy, *({"rules": [{"layers": "x", **fields}]} for fields in needy)):
        assert WEIGHTS(**fields).required == {Need.CALIBRATION}, fields


def test_a_run_without_calibration_data_is_refused(fixtures, tmp_path):
    step = "quantize.weights:rounding=gptq"
    result = kcompress("compress", fixtures / "lenet300.keras", tmp_path / "o.keras", "--apply", step)
    assert_refused(result, 2, "quantize.weights: needs calibration data; give it with --calibration or --data")


def test_a_model_with_a_fixed_batch_size_gets_such_batches():
    inputs = k.Input(batch_shape=(6, 8), name="x")
    model = seeded(k.Model(inputs, nn.Dense(3, name="head")(inputs)))
    found = list(statistics.batches(model, calibrated(model, 20).data.calibration, 15))
    assert [len(batch["x"]) for batch in found] == [6, 6, 6]
    np.testing.assert_array_equal(found[2]["x"][:3], found[2]["x"][3:])  # the last three samples, twice


def test_statistics_that_were_found_are_not_lost_to_others_of_as_many_samples():
    model, found = residual(), Statistics()
    data_ = calibrated(model).data.calibration
    first = found.moments(model, data_, {"stem": 64}, 0)
    found.moments(model, data_, {"head": 64}, 0)
    assert found.moments(model, data_, {"stem": 64}, 0) == first
    assert first.keys() == {"stem/kernel"}


def test_one_context_may_serve_several_models():
    one, other = residual(), seeded(residual(), seed=7)
    context, step = calibrated(one), WEIGHTS(bits=3, rounding="gptq")
    step.apply(one, context)
    assert fingerprint(step.apply(other, context).model) == fingerprint(step.apply(other, calibrated(other)).model)


def test_a_run_cut_off_between_passes_that_share_statistics_ends_with_the_same_bytes(tmp_path, monkeypatch, cache):
    x = batch_for(residual(), 32)["image"]
    residual().save(tmp_path / "s.keras")
    steps = [
        WEIGHTS(bits=2, rounding="gptq", layers=["stem", "separable"]),
        WEIGHTS(bits=3, rounding="gptq", layers=["depthwise", "grouped"]),
        find("quantize.float16")(),
    ]

    def run(output):
        compress(tmp_path / "s.keras", tmp_path / output, passes=steps, calibration=x, overwrite=True)
        return (tmp_path / output).read_bytes()

    whole, apply = run("whole.keras"), Pass.apply
    for stop, log in ((2, []), (3, ["resumed after quantize.weights, pass 2 of 3"])):
        monkeypatch.setenv("KCOMPRESS_CACHE", str(cache / str(stop)))
        done = []

        def cut(self, model, ctx):
            done.append(self.name)  # noqa: B023 - of this turn
            if len(done) == stop:  # noqa: B023
                raise KeyboardInterrupt
            return apply(self, model, ctx)

        with monkeypatch.context() as patch:
            patch.setattr(Pass, "apply", cut)
            with pytest.raises(KeyboardInterrupt):
                run("cut.keras")
        lines = []
        hooks = Hooks(log=lines.append)
        output = tmp_path / f"cut{stop}.keras"
        compress(tmp_path / "s.keras", output, passes=steps, calibration=x, hooks=hooks)
        assert output.read_bytes() == whole
        assert lines == log
