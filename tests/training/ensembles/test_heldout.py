import numpy as np
import pytest

from kcompress.data.objects import open_data
from kcompress.training.ensembles.heldout import held_out
from tests.models import keras

k = keras()


def numbered(batch=None):
    """A model that gives what it takes: the number of the sample."""
    inputs = k.Input(batch_shape=(batch, 1), name="x")
    return k.Model(inputs, k.layers.Identity(name="same")(inputs))


def held(count, seed=0, **options):
    numbers = np.arange(count, dtype=np.float32)[:, None]
    model = numbered(**options)
    found = held_out(model, model, open_data((numbers, numbers), "data").unsplit, seed)
    return found.predictions[0][:, 0], found.labels[0][:, 0]


@pytest.mark.parametrize("batch", [None, 7])
def test_a_fifth_of_the_samples_from_all_over_the_data_with_their_own_labels(batch):
    seen, labels = held(6000, batch=batch)
    np.testing.assert_array_equal(seen, labels)
    assert len(seen) == len(set(seen)) == 1200
    spread = np.histogram(seen, 6, (0, 6000))[0]
    assert (abs(spread - 200) < 60).all()  # over four standard deviations


def test_few_samples_are_all_taken_and_many_are_not():
    assert len(held(300)[0]) == 300
    assert len(held(2000)[0]) == 1000
    assert len(held(60_000)[0]) == 10_000


def test_the_seed_alone_decides_which():
    first, again, other = held(6000, 1)[0], held(6000, 1)[0], held(6000, 2)[0]
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
