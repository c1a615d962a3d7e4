"""Figures of quality against counts by hand, and the interval against its published formula."""

import numpy as np
import pytest

from kcompress.data import resolve
from kcompress.errors import DataError, UsageError
from kcompress.measure import scoring
from kcompress.measure.quality import bonett_price, evaluate, wald


class Table:
    """A model that looks its outputs up by sample number."""

    def __init__(self, *outputs: np.ndarray, names: tuple[str, ...] = ("out",)) -> None:
        self.table, self.outputs = outputs, names
        self.inputs = {"x": (None, 1)}

    def __call__(self, x):
        rows = np.asarray(x["x"]).ravel().astype(int)
        return [t[rows] for t in self.table]


def data(y, count=None):
    count = len(y) if count is None else count
    return resolve(test=(np.arange(count, dtype=np.float32)[:, None], y)).test


def one_hot(classes, size=4):
    return np.eye(size, dtype=np.float32)[classes]


def test_accuracy_drop_and_agreement_are_counted_per_sample():
    truth = np.arange(250) % 4
    source, artifact = truth.copy(), truth.copy()
    source[:10] = (source[:10] + 1) % 4  # ten that only the source gets wrong
    artifact[10:40] = (artifact[10:40] + 1) % 4  # thirty that only the artifact gets wrong
    (found,) = evaluate(Table(one_hot(source)), [Table(one_hot(artifact))], data(truth))
    assert (found.metric, found.samples) == ("accuracy", 250)
    assert found.source == pytest.approx(240 / 250)
    assert found.artifact == pytest.approx(220 / 250)
    assert found.drop == pytest.approx(8.0)
    assert found.agreement == pytest.approx(210 / 250)
    assert found.ci95 == pytest.approx([100 * end for end in bonett_price(30, 10, 250)])
    assert found.ci95[0] < 8 < found.ci95[1]


def test_interval_is_that_of_bonett_and_price():
    """Their formula by hand for 30 and 10 discordant samples of 250."""
    p, q, n = 31 / 252, 11 / 252, 252
    half = 1.959963984540054 * np.sqrt((p + q - (p - q) ** 2) / n)
    assert bonett_price(30, 10, 250) == pytest.approx((p - q - half, p - q + half))
    assert bonett_price(0, 0, 100)[1] > 0


def test_wald_interval_is_that_of_the_paired_differences():
    d = np.random.default_rng(0).normal(1, 2, 500)
    half = 1.959963984540054 * d.std(ddof=1) / np.sqrt(500)
    assert wald(d.mean(), (d**2).sum(), 500) == pytest.approx((d.mean() - half, d.mean() + half))


def test_an_error_counts_as_a_drop_when_it_grows():
    values = np.random.default_rng(0).normal(size=(60, 3))
    (found,) = evaluate(Table(values + 0.5), [Table(values + 0.75)], data(values))
    assert found.metric == "mean_absolute_error"
    assert (found.source, found.artifact, found.drop) == pytest.approx((0.5, 0.75, 0.25))
    assert 0.9 < found.agreement < 1


def test_single_units_are_compared_with_the_threshold_between_their_classes():
    truth = np.arange(100) % 2
    logits = np.where(truth == 1, 0.3, -0.3)[:, None]
    probabilities = 1 / (1 + np.exp(-logits))
    (found,) = evaluate(Table(logits), [Table(logits)], data(truth))
    assert found.source == 1
    (found,) = evaluate(Table(probabilities), [Table(probabilities)], data(truth))
    assert found.source == 1


def test_classes_per_position_are_averaged_over_a_sample():
    truth = np.zeros((20, 5, 5), int)
    half = one_hot(np.where(np.arange(5) < 2, 0, 1)[None, None].repeat(5, 1).repeat(20, 0))
    (found,) = evaluate(Table(half), [Table(half)], data(truth))
    assert found.source == pytest.approx(2 / 5)


def test_several_outputs_are_averaged():
    truth = np.arange(40) % 4
    right, wrong = one_hot(truth), one_hot((truth + 1) % 4)
    names = ("a", "b")
    test = resolve(test=(np.arange(40, dtype=np.float32)[:, None], {"a": truth, "b": truth})).test
    (found,) = evaluate(Table(right, right, names=names), [Table(right, wrong, names=names)], test)
    assert (found.source, found.artifact, found.agreement) == (1.0, 0.5, 0.5)


def test_without_labels_probabilities_are_compared_by_class_and_values_by_angle():
    test = resolve(test=np.arange(40, dtype=np.float32)[:, None]).test
    soft = np.full((40, 4), 0.1) + 0.6 * one_hot(np.arange(40) % 4)
    (found,) = evaluate(Table(soft), [Table(one_hot(np.arange(40) % 4))], test)
    assert (found.metric, found.drop, found.agreement) == (None, None, 1.0)
    values = np.random.default_rng(0).normal(size=(40, 3))
    (found,) = evaluate(Table(values), [Table(-2 * values)], test)
    assert found.agreement == pytest.approx(-1)


@pytest.mark.parametrize(
    ("labels", "words"),
    [(np.arange(40), "label 39"), (np.full(40, -1), "label -1"), (np.zeros((40, 3)), "do not fit")],
)
def test_labels_that_do_not_fit_are_refused(labels, words):
    outputs = Table(one_hot(np.zeros(40, int)))
    with pytest.raises(DataError, match=words):
        evaluate(outputs, [outputs], data(labels))


def test_metrics_are_found_by_name_and_others_are_not():
    assert scoring.metric_named("accuracy") is scoring.ACCURACY
    assert scoring.metric_named("mean_squared_error").scale == -1
    assert scoring.metric_named("AUC").make is not None
    with pytest.raises(UsageError, match="did you mean 'accuracy'"):
        scoring.metric_named("acuracy")
