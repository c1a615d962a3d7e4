"""What stock Keras makes of a file, in a process where kcompress can't be found; see `tests.other_process`."""

import sys
import warnings
from typing import Any

import keras
import numpy as np


def read(path: str, inputs: str | None = None, labels: bool = False) -> dict[str, Any]:
    """Read a model, with warnings as errors; its weights and outputs (for inputs in a .npy file) go to PATH.npz.

    With `labels` it is evaluated on classes, all 0, as it was compiled.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "__array__ implementation")
        model = keras.models.load_model(path)
        found = {f"weight{number}": value for number, value in enumerate(model.get_weights())}
        if inputs is not None:
            x = np.load(inputs)
            found["outputs"] = model.predict(x, verbose=0)
            if labels:
                model.evaluate(x, np.zeros(len(x)), verbose=0)
    np.savez(f"{path}.npz", **found)
    assert not any(name.startswith("kcompress.") for name in sys.modules)
    return {"weights": len(model.weights), "optimizer": model.optimizer.name if model.compiled else None}
