"""A model that is read but cannot run is one line, wherever it is run first."""

import pytest

from kcompress.errors import KCompressError, ModelError
from kcompress.formats.keras.runner import KerasRunner
from kcompress.model.calling import calling
from kcompress.model.cost import macs_by_layer
from tests.models import batch_for, dense


def test_any_error_names_the_model_and_ours_pass():
    model = dense()
    with pytest.raises(ModelError, match=rf"the model '{model.name}' cannot be run \(no\)"), calling(model):
        raise ZeroDivisionError("no\nmore")
    with pytest.raises(KCompressError, match=r"^ours$"), calling(model):
        raise KCompressError("ours")


@pytest.mark.parametrize("use", [macs_by_layer, lambda model: KerasRunner(model)(batch_for(model))])
def test_to_count_or_to_run_it_says_so(use, monkeypatch):
    model = dense()
    monkeypatch.setattr(model.layers[-1], "call", lambda _: 1 // 0)
    with pytest.raises(ModelError, match=r"cannot be run \(.*\); correct it and save it again") as told:
        use(model)
    assert "\n" not in str(told.value)
