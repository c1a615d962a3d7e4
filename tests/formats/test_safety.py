from pathlib import Path

import keras
import pytest

from kcompress.errors import ModelError
from kcompress.formats.safety import implied_bytes
from kcompress.model.cost import macs


@pytest.fixture
def huge() -> dict:
    """Config of a model of 40 GB, which was never built."""
    layers = [keras.layers.InputLayer(shape=(100_000,), name="x"), keras.layers.Dense(100_000, name="dense")]
    configs = [keras.saving.serialize_keras_object(layer) for layer in layers]
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "huge", "layers": configs},
        "registered_name": None,
        "build_config": {"input_shape": (None, 100_000)},
    }


def test_outlining_a_huge_model_allocates_nothing_then_or_later(huge, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 1 << 25)  # a machine of 2^50 bytes
    assert implied_bytes(Path("huge.keras"), huge) == 4 * (100_000 * 100_000 + 100_000)
    small = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    assert macs(small) == 8  # ends a StatelessScope of Keras's, which initializes whatever still waits for it


def test_model_beyond_this_machine_is_refused(huge, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 1 << 17)  # a machine of 2^34 bytes
    with pytest.raises(ModelError, match="needs 40,000,400,000 bytes"):
        implied_bytes(Path("huge.keras"), huge)
