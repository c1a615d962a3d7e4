"""Describe a loaded Keras model layer by layer."""

from typing import Any

from kcompress.formats.base import Description, Row
from kcompress.model import keras_quantization as quantized
from kcompress.model.cost import macs_by_layer
from kcompress.model.signature import signature
from kcompress.model.view import nodes, nonzero, parameters


def describe_model(format_name: str, model: Any, weight_bytes: int) -> Description:
    """A row per layer that has weights or multiply-adds; `weight_bytes` is what the weights take in the file."""
    sign = signature(model)
    macs = macs_by_layer(model)
    rows = []
    for node in nodes(model):
        masks = [quantized.nonzero_parameters(node.layer, w.variable) for w in node.weights]
        count = sum(each.size for each in masks)
        cost = macs.get(node.name, 0) if macs is not None else None
        if not count and not cost:
            continue
        shape = " ".join("x".join(map(str, w.variable.shape)) for w in node.kernels or node.weights[:1])
        nonzeros = sum(int(each.sum()) for each in masks)
        rows.append(Row(node.name, type(node.layer).__name__, shape, count, nonzeros, cost))
    total = None if macs is None else sum(macs.values())
    return Description(
        format_name, sign.inputs, sign.outputs, parameters(model), nonzero(model), weight_bytes, tuple(rows), total
    )
