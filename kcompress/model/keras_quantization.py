"""Layers that Keras itself has quantized: they keep integers, those of 4 bits packed two to a byte, and scales.

The parameters that are counted are those of the float layer, as for files of other formats.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.keras_internals import layers_of
from kcompress.model.patching import patched

PACKED = ("int4", "gptq", "awq")
CALIBRATED = ("is_gptq_calibrated", "is_awq_calibrated")


def mode(layer: Any) -> str | None:
    """The mode that Keras quantized the layer in; None if it did not."""
    found = getattr(layer, "quantization_mode", None)
    return None if found is None or not hasattr(layer, "variable_serialization_spec") else str(found)


def is_altered(layer: Any) -> bool:
    """Whether Keras keeps other weights in a layer than it was built with: it is quantized, or has LoRA weights."""
    return bool(getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False))


def nonzero_parameters(layer: Any, variable: Any) -> NDArray[np.bool_]:
    """For each parameter that a variable holds, whether it is not zero; empty for scales, which are no parameters."""
    kind, name = mode(layer), variable.name
    if kind is not None and name not in layer.variable_serialization_spec[None]:
        return np.zeros(0, bool)
    if kind not in PACKED or name == "bias":
        return np.asarray(np.asarray(variable) != 0)
    integers, zero = _integers(layer, name, np.asarray(variable), kind), _zero_points(layer, name, kind)
    return np.asarray(integers != 0 if zero is None else integers.reshape(zero.shape) != zero)


def copy_state(source: Any, target: Any) -> None:
    """Mark the integers of a copied layer as calibrated, as Keras does when it loads a file."""
    for flag in CALIBRATED:
        if getattr(source, flag, False):
            setattr(target, flag, True)


@contextmanager
def saving_zero_points(model: Any) -> Iterator[None]:
    """Within it, a saved model keeps the zero points of gptq and awq, which Keras 3.15 leaves out of a file."""
    with ExitStack() as stack:
        for layer in layers_of(model):
            if mode(layer) in ("gptq", "awq"):
                stack.enter_context(patched(layer, "save_own_variables", partial(_save, layer)))
        yield


def _save(layer: Any, store: Any) -> None:
    names = layer.variable_serialization_spec[mode(layer)]
    for number, variable in enumerate(v for name in names if (v := getattr(layer, name)) is not None):
        store[str(number)] = variable


def _integers(layer: Any, name: str, stored: NDArray[Any], kind: str) -> NDArray[Any]:
    """One integer per weight; in gptq and awq, with the outputs in front."""
    import keras

    if kind != "int4":
        if getattr(layer.dtype_policy, "weight_bits", 4) != 4:
            return stored
        outputs = int(getattr(layer, f"{name}_scale").shape[0])
        unpacked = keras.quantizers.unpack_int4(stored, outputs, axis=0, dtype="uint8")
    elif name == "reverse_embeddings":  # has no property that unpacks
        unpacked = keras.quantizers.unpack_int4(stored, layer.output_dim, axis=0)
    else:
        unpacked = getattr(layer, name)
    return np.asarray(keras.ops.convert_to_numpy(unpacked))


def _zero_points(layer: Any, name: str, kind: str) -> NDArray[Any] | None:
    """The integer that stands for zero, for each weight; None where 0 does."""
    found = getattr(layer, f"{name}_zero", None)
    if found is None:
        return None
    points, groups = np.asarray(found), np.asarray(layer.g_idx).astype(int)
    return np.asarray(points[groups] if kind == "int4" and name != "embeddings" else points[:, groups])
