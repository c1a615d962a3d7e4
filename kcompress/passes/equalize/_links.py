"""What may stand between two layers whose channels are scaled: f(s x) = s f(x) for s > 0, channel by channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompress.model.flow import Call, passes_on
from kcompress.model.linear import Array
from kcompress.passes.edits import activation_name

SPATIAL = ("MaxPooling", "AveragePooling", "ZeroPadding", "Cropping", "UpSampling", "GlobalMax", "GlobalAverage")


@dataclass(frozen=True)
class Channels:
    """Along which axis of a tensor the channels of a layer lie, and which channel each position holds."""

    axis: int
    where: Array


def is_homogeneous(activation: Any) -> bool:
    """Whether an activation function passes a positive factor on."""
    import keras

    allowed = (keras.activations.linear, keras.activations.relu, keras.activations.leaky_relu)
    return activation is None or any(activation is each for each in allowed)


def link(call: Call, shape: Sequence[int | None], channels: Channels) -> Channels | str | None:
    """Where the channels lie behind a call; a text where it mixes or bends them, None for what is no such link."""
    layer, kind = call.operation, call.kind
    if not type(layer).__module__.startswith("keras.") or len(call.inputs) != 1:
        return None
    if passes_on(call) or kind in ("Relu", "LeakyRelu", "LeakyReLU", "PReLU"):
        return channels
    if kind == "ReLU":
        if layer.max_value is None and not layer.threshold:
            return channels
        setting = f"max_value {layer.max_value:g}" if layer.max_value is not None else f"threshold {layer.threshold:g}"
        return f"{call.label} behind it, a ReLU with {setting}, does not pass a scale on"
    if kind == "Activation":
        name = activation_name(layer)
        return (
            channels
            if is_homogeneous(layer.activation)
            else f"{call.label} behind it, {name}, does not pass a scale on"
        )
    if kind.startswith(SPATIAL):
        return _spatial(call, len(shape), channels)
    if kind == "Flatten":
        return _flat(call, shape, channels)
    if kind == "BatchNormalization":
        return f"{call.label} stands behind it; run fold.batchnorm first"
    return None


def _spatial(call: Call, rank: int, channels: Channels) -> Channels | str:
    """Pooling, padding, cropping and resizing leave each channel to itself, unless it is across the channels."""
    first = getattr(call.operation, "data_format", "channels_last") == "channels_first"
    if channels.axis != (1 if first else rank - 1):
        return f"{call.label} behind it mixes its channels"
    removes_axes = call.kind.startswith("Global") and not call.operation.keepdims
    return Channels(1, channels.where) if removes_axes else channels


def _flat(call: Call, shape: Sequence[int | None], channels: Channels) -> Channels | str:
    """Flatten repeats the channels, in the order in which it lays out the positions."""
    sizes = shape[1:]
    if any(size is None for size in sizes):
        return f"{call.label} behind it has an input of unknown size"
    along = [1] * len(sizes)
    along[channels.axis - 1] = -1
    spread = np.broadcast_to(channels.where.reshape(along), [int(size or 0) for size in sizes])
    if call.operation.data_format == "channels_first":
        spread = np.moveaxis(spread, 0, -1)
    return Channels(1, spread.reshape(-1))
