import numpy as np
import pytest

from kcompress.numerics.ranges import Range, limits

METHODS = ("minmax", "percentile", "mse", "entropy")
random = np.random.default_rng(0)


def observed(*batches):
    statistics = Range()
    for batch in batches:
        statistics.add(np.asarray(batch, np.float32))
    return statistics


@pytest.mark.parametrize("method", METHODS)
def test_zero_and_the_middle_of_the_values_lie_inside(method):
    low, high = observed(random.normal(3, 1, 5000), random.normal(3, 1, 5000) * 4).choose(method, 256, 99.9)
    assert low <= 0 < 3 < high <= observed(random.normal(3, 1, 5000) * 10).high


def test_minmax_is_exact_over_all_batches():
    assert observed([-1, 2], [5], [-0.5]).choose("minmax", 256, 99) == (-1, 5)


@pytest.mark.parametrize("method", METHODS[1:])
def test_an_outlier_is_clipped_where_levels_are_few(method):
    values = np.concatenate([random.normal(0, 1, 20000), [50.0]])
    assert observed(values).choose(method, 16, 99.9)[1] < 40


def test_mse_leaves_less_error_than_minmax():
    values = random.standard_t(3, 20000).astype(np.float32)

    def error(method):
        low, high = observed(values).choose(method, 16, 99)
        step = (high - low) / 15
        return np.mean((np.clip(np.rint((values - low) / step), 0, 15) * step + low - values) ** 2)

    assert error("mse") < 0.5 * error("minmax")


def test_a_histogram_that_grows_counts_every_value():
    statistics = observed([0.1, -0.1], [1000.0], [-3.0])
    assert statistics.counts.sum() == 4
    assert statistics.limit >= 1000


@pytest.mark.parametrize("channels", [32, 48, 64, 96])
def test_every_channel_of_a_large_tensor_is_counted(channels):
    values = np.zeros((1, 160, 160, channels), np.float32)
    values[..., -1] = 1  # all that is not zero lies in one channel
    statistics = observed(values)
    assert statistics.counts[-1] / statistics.counts.sum() == pytest.approx(1 / channels, rel=0.2)


def test_not_a_number_is_noticed():
    assert not observed([1.0], [np.nan]).finite
    assert not observed([np.inf]).finite


@pytest.mark.parametrize("method", METHODS)
def test_limits_of_weights_never_exceed_their_largest_magnitude(method):
    rows = random.standard_t(3, (5, 300))
    rows[2] = 0
    found = limits(rows, method, 4, 99)
    largest = np.abs(rows).max(1)
    assert np.all(found <= largest * (1 + 1e-6))
    assert found[2] == 0
    assert (found[[0, 1, 3, 4]] > 0.25 * largest[[0, 1, 3, 4]]).all()


def test_limits_by_mse_round_weights_better_than_their_largest_magnitude():
    rows = np.random.default_rng(1).normal(size=(5, 3000))  # seeded here: the order of tests must not matter

    def error(method):
        scale = limits(rows, method, 4, 99)[:, None] / 7
        return ((np.clip(np.rint(rows / scale), -7, 7) * scale - rows) ** 2).sum(1)

    assert (error("mse") <= error("minmax")).all()
    assert error("mse").sum() < 0.9 * error("minmax").sum()
