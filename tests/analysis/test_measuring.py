"""Effects measured are those of the changed model itself.

Covers: analysis/changes.py, analysis/score_cache.py, analysis/probe.py, model/sqnr.py.
"""

import itertools

import numpy as np
import pytest

from kcompress.analysis import measuring
from kcompress.analysis.measuring import measure
from kcompress.analysis.probe import Probe
from kcompress.channels.channels import channels
from kcompress.channels.cut import cut
from kcompress.data import Dataset, Splits, resolve
from kcompress.errors import DataError, UsageError
from kcompress.formats.keras.runner import KerasRunner
from kcompress.model.rebuild import fingerprint
from kcompress.passes import find
from kcompress.passes.base import Context
from tests.models import batch_for, dense, keras, residual, two_in_two_out

k = keras()
SPARSITY, RATIO, BITS = "prune.magnitude:sparsity", "prune.structured:ratio", "quantize.weights:bits"


def data_for(model, count=200, labels=None, seed=1):
    """Inputs that models of random weights do not call all the same."""
    x = {name: values * 4 - 2 for name, values in batch_for(model, count, seed).items()}
    return resolve((x, labels) if labels is not None else x).fit_to(KerasRunner(model).inputs)


def held(splits):
    """The samples that are looked at: every fifth of those that are not every fifth."""
    (batch,) = splits.training.train_test_split()[1].batches(10_000)
    return batch


def predicted(model, x):
    return np.asarray(model(next(iter(x.values())) if len(x) == 1 else x, training=False))


def own_labels(model, count=200):
    """Labels that the model itself would give."""
    x = {name: values * 4 - 2 for name, values in batch_for(model, count).items()}
    return predicted(model, x).argmax(-1)


def centred(shares):
    z = np.log(shares.astype(np.float64))
    return z - z.mean(-1, keepdims=True)


def expected(model, changed, splits):
    """Distortion, drop and agreement of a changed model, computed anew."""
    batch = held(splits)
    a, b = predicted(model, batch.x), predicted(changed, batch.x)
    distortion = ((centred(b) - centred(a)) ** 2).sum() / (centred(a) ** 2).sum()
    right = [(each.argmax(-1) == batch.y).mean() for each in (a, b)]
    return distortion, 100 * (right[0] - right[1]), (a.argmax(-1) == b.argmax(-1)).mean()


@pytest.mark.parametrize("name", [SPARSITY, BITS])
def test_an_effect_is_that_of_the_pass_on_this_layer_alone(name):
    model = residual()
    splits = data_for(model, labels=own_labels(model))
    level = {SPARSITY: 0.5, BITS: 2}[name]
    found = measure(model, splits, fields={name: [level]})
    kind, field = name.split(":")
    assert [e.layers for e in found.effects] == [
        (layer,) for layer in ("stem", "separable", "depthwise", "grouped", "transposed", "head")
    ]
    for effect in found.effects:
        step = find(kind)(**{field: level}, layers=effect.layers)
        changed = step.apply(model, Context()).model
        got = effect.distortion, effect.drop, effect.agreement
        np.testing.assert_allclose(got, expected(model, changed, splits), rtol=1e-3)  # sums in float32, another order
        assert effect.distortion > 1e-6
    assert found.reference.source == 1.0
    assert max(effect.drop for effect in found.effects) > 0


def test_a_ratio_is_that_of_the_model_cut_at_this_group_alone():
    model = residual()
    splits = data_for(model, labels=own_labels(model))
    found = measure(model, splits, fields={RATIO: [0.5]})
    _, alone, _ = find("prune.structured")(ratio=0.5).dropped_apart(model, Context())
    assert [e.layers for e in found.effects] == list(alone)
    assert ("stem", "grouped") in alone or ("stem", "separable") in alone or len(alone) >= 2
    for effect in found.effects:
        changed = cut(model, channels(model), alone[effect.layers])
        assert changed.count_params() < model.count_params()
        got = effect.distortion, effect.drop, effect.agreement
        np.testing.assert_allclose(got, expected(model, changed, splits), rtol=1e-3)


def test_groups_alone_are_what_the_pass_takes_together():
    model = residual()
    step = find("prune.structured")(ratio=0.5)
    found, alone, _ = step.dropped_apart(model, Context())
    together = cut(model, found, np.logical_or.reduce(list(alone.values())))
    assert fingerprint(together) == fingerprint(step.apply(model, Context()).model)
    assert sum(each.sum() for each in alone.values()) == np.logical_or.reduce(list(alone.values())).sum()


def test_the_model_is_not_modified():
    model = residual()
    before = fingerprint(model)
    measure(model, data_for(model, 60), fields={SPARSITY: [0.5], RATIO: [0.5], BITS: [2]})
    assert fingerprint(model) == before


def test_test_samples_are_never_looked_at():
    """Labels of the test split that are no classes at all make no difference."""
    model = dense()
    x = batch_for(model, 100)["x"]
    y = own_labels(model, 100)
    fields = {SPARSITY: [0.5, 0.9]}
    found = []
    for wrong in (y, np.full_like(y, 99)):
        splits = resolve(((x, y), (x[:50] + 1, wrong[:50]))).fit_to(KerasRunner(model).inputs)
        found.append(measure(model, splits, fields=fields).effects)
    assert found[0] == found[1]


def test_milder_levels_come_first_and_after_a_bad_one_the_rest_is_not_run(monkeypatch):
    model = dense()
    splits = data_for(model, labels=own_labels(model))
    runs = []
    score = Probe.score
    monkeypatch.setattr(Probe, "score", lambda self, replaced: runs.append(1) or score(self, replaced))
    monkeypatch.setattr(measuring, "BAD_DROP", 3.0)
    levels = [0.3, 0.5, 0.7, 0.9]
    found = measure(model, splits, fields={SPARSITY: levels[::-1]})
    assert any(effect.cut for effect in found.effects)
    assert len(runs) == sum(not effect.cut for effect in found.effects)
    for effects in found.of("prune.magnitude", "sparsity").values():
        assert [effect.value for effect in effects] == levels
        for before, after in itertools.pairwise(effects):
            assert after.cut == (before.cut or before.drop > 3 or before.distortion > 1)
            if after.cut:
                assert (after.distortion, after.drop, after.agreement) == (
                    before.distortion, before.drop, before.agreement,
                )  # fmt: skip


def test_without_labels_there_is_agreement_and_no_drop():
    model = residual()
    found = measure(model, data_for(model), fields={BITS: [8, 2]})
    assert found.reference.metric is None
    assert {effect.drop for effect in found.effects} == {None}
    fine, coarse = ([e.agreement for e in found.effects if e.value == bits] for bits in (8, 2))
    assert min(fine) > min(coarse)


def test_values_are_judged_by_their_error_and_all_outputs_count():
    model = two_in_two_out()
    x = batch_for(model, 100)
    outputs = model(x, training=False)
    splits = resolve((x, {name: np.asarray(y) for name, y in outputs.items()})).fit_to(KerasRunner(model).inputs)
    found = measure(model, splits, fields={BITS: [2]})
    assert (found.reference.metric, found.reference.in_points) == ("mean_absolute_error", False)
    assert found.reference.source == pytest.approx(0, abs=1e-6)  # float32
    assert {"shared", "score", "kind"} <= {effect.layers[0] for effect in found.effects}
    assert all(effect.distortion > 1e-6 and effect.drop > 1e-4 for effect in found.effects)


def test_the_metric_asked_for_is_what_is_lost():
    model = residual()
    splits = data_for(model, labels=own_labels(model))
    found = measure(model, splits, fields={BITS: [2]}, metric="sparse_top_k_categorical_accuracy")
    assert (found.reference.metric, found.reference.in_points) == ("sparse_top_k_categorical_accuracy", True)
    assert {effect.drop for effect in found.effects} == {0}  # of three classes, all are among the top five


def test_a_fixed_batch_is_filled_up_and_what_fills_it_does_not_count():
    model = dense()
    fixed = k.Sequential([k.Input((8,), batch_size=7, name="x"), *model.layers], name="fixed")
    fields = {BITS: [2]}
    one, other = (measure(each, data_for(each, 100), fields=fields) for each in (model, fixed))
    assert one.reference.samples == other.reference.samples == 16
    for a, b in zip(one.effects, other.effects, strict=True):
        np.testing.assert_allclose(a.distortion, b.distortion, rtol=1e-4)  # float32 in other batches
        assert a.agreement == b.agreement


def test_no_more_samples_than_asked_for_or_than_fit_are_looked_at(monkeypatch):
    model = dense()
    splits = data_for(model, 200)
    assert measure(model, splits, fields={BITS: [8]}, samples=9).reference.samples == 9
    assert measure(model, splits, fields={BITS: [8]}).reference.samples == 32
    monkeypatch.setattr("kcompress.analysis.probe.VALUES", 40)
    assert measure(model, splits, fields={BITS: [8]}).reference.samples == 5  # of 8 values each


def test_data_that_is_too_little_for_a_share_or_only_for_calibration_serves_as_it_is():
    model = dense()
    splits = data_for(model, 5)
    assert measure(model, splits, fields={BITS: [8]}).reference.samples == 4
    only = Splits(None, splits.training, None)
    assert measure(model, only, fields={BITS: [8]}).reference.samples == 4


def test_layers_that_a_pass_declines_are_listed_with_the_reason():
    @k.saving.register_keras_serializable("tests.analysis")
    class Odd(k.layers.Layer):
        def build(self, shape):
            self.odd = self.add_weight(shape=(shape[-1], shape[-1]), name="odd")

        def call(self, x):
            return x @ self.odd

    model = k.Sequential([k.Input((8,), name="x"), Odd(name="odd"), k.layers.Dense(3, name="head")])
    found = measure(model, data_for(model), fields={SPARSITY: [0.5, 0.9]})
    assert [effect.layers for effect in found.effects] == [("head",)] * 2
    assert "custom layer" in found.skipped[SPARSITY]["odd"]


def test_a_level_that_changes_nothing_has_no_effect():
    model = dense()
    model.layers[0].kernel.assign(np.where(np.random.default_rng(0).random((8, 16)) < 0.6, 0, model.layers[0].kernel))
    found = measure(model, data_for(model), fields={SPARSITY: [0.3, 0.9]})
    mild, severe = found.of("prune.magnitude", "sparsity")[("hidden",)]
    assert (mild.distortion, mild.agreement, mild.cut) == (0, 1, False)
    assert severe.distortion > 0


def test_outputs_that_are_not_finite_are_infinitely_far():
    model = k.Sequential([k.Input((8,), name="x"), k.layers.Dense(3, name="head")])
    probe = Probe(model, data_for(model).training, 50)
    score = probe.score([(model.layers[0].kernel, np.full((8, 3), np.inf, np.float32))])
    assert score.distortion == np.inf


@pytest.mark.parametrize("samples", [0, -3])
def test_no_samples_are_refused(samples):
    with pytest.raises(UsageError, match="give the number of samples to look at"):
        measure(dense(), data_for(dense()), samples=samples)


def test_missing_or_empty_data_is_refused():
    with pytest.raises(UsageError, match="give it with --data"):
        measure(dense(), Splits(None, None, None))
    model = dense()
    empty = data_for(model).training
    none = Dataset(empty.source, (*empty.cuts, True, True, True, True), empty.bindings)  # every 625th of 200
    with pytest.raises(DataError, match="no samples"):
        Probe(model, none, 10)


def test_labels_that_do_not_fit_are_refused():
    model = dense()
    with pytest.raises(DataError, match="label 7 does not fit the 3 classes"):
        measure(model, data_for(model, labels=np.full(200, 7)), fields={BITS: [8]})


def test_scores_are_cached_for_the_next_time(monkeypatch, cache):
    model = dense()
    splits = data_for(model, labels=own_labels(model))
    first = measure(model, splits, fields={BITS: [8, 3], SPARSITY: [0.5]}, key="a")
    assert any(path.name.startswith("sensitivity-") for path in cache.iterdir())
    other = measure(model, data_for(model, seed=5), fields={BITS: [8, 3]}, key="b")

    def none(*_args):
        raise AssertionError("measured again")

    monkeypatch.setattr(measuring, "Probe", none)
    monkeypatch.setattr(measuring, "changes", none)
    assert measure(model, splits, fields={BITS: [8, 3], SPARSITY: [0.5]}, key="a") == first
    assert measure(model, splits, fields={BITS: [3]}, key="a").effects == tuple(
        effect for effect in first.effects if effect.value == 3
    )
    assert measure(model, splits, fields={BITS: [8, 3]}, key="b") == other != first
    for again in (
        {"key": "c"},
        {"key": "a", "metric": "sparse_categorical_crossentropy"},
        {"key": "a", "samples": 7},
        {"key": "a", "seed": 1},
        {},
    ):
        with pytest.raises(AssertionError, match="measured again"):
            measure(model, splits, fields={BITS: [8, 3]}, **again)


def test_what_an_earlier_analysis_left_out_as_bad_is_run_where_it_is_not(monkeypatch):
    """Kept figures are of one layer at one level, whatever other levels were asked for with them."""
    model = dense()
    splits = data_for(model, labels=own_labels(model))
    monkeypatch.setattr(measuring, "BAD_DROP", 3.0)
    whole = measure(model, splits, fields={SPARSITY: [0.5, 0.7, 0.9]}, key="a")
    assert any(effect.cut for effect in whole.effects if effect.value == 0.9)
    runs = []
    score = Probe.score
    monkeypatch.setattr(Probe, "score", lambda self, replaced: runs.append(1) or score(self, replaced))
    alone = measure(model, splits, fields={SPARSITY: [0.9]}, key="a")
    assert len(runs) == sum(effect.cut for effect in whole.effects if effect.value == 0.9)
    assert alone == measure(model, splits, fields={SPARSITY: [0.9]})
    assert measure(model, splits, fields={SPARSITY: [0.5, 0.7, 0.9]}, key="a") == whole


def test_a_cache_that_cannot_be_written_or_read_changes_nothing(cache, tmp_path):
    model = dense()
    splits = data_for(model)
    cache.write_text("a file in its place")
    found = measure(model, splits, fields={BITS: [3]}, key="a")
    cache.unlink()
    measure(model, splits, fields={BITS: [3]}, key="a")
    for path in cache.glob("sensitivity-*/*.json"):
        path.write_text("{")
    assert measure(model, splits, fields={BITS: [3]}, key="a") == found
