"""Layers that are linear in their input, and what scaling or shifting single channels does to their weights.

For y = W x + b: scaling the outputs, s y = (s W) x + s b; scaling the inputs, W (s x) = (W s) x; shifting the inputs,
W (x + t) = W x + W t, where W t is the same at every position only if no padding mixes in zeros that are not shifted.
Weights are arrays by name; none is changed in place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kcompress.model.kernels import einsum_axes, is_keras

Array = NDArray[Any]
Weights = Mapping[str, Array]
Kind = Literal["matrix", "conv", "transposed", "depthwise"]


@dataclass(frozen=True)
class Linear:
    """How channels lie in a layer's weights: the input is multiplied by the kernel `first`, the output made by `last`.

    Only in a separable convolution these are two kernels. `axis` is the channel axis of the layer's input and output, 1
    or -1.
    """

    layer: Any
    first: tuple[str, Kind]
    last: tuple[str, Kind]
    axis: int
    groups: int = 1

    @property
    def reads_padding(self) -> bool:
        """Whether some output positions depend on fewer inputs than others: at borders, or as it is transposed."""
        if self.first[1] == "matrix":
            return False
        if self.first[1] == "transposed":
            return set(self.layer.kernel_size) != {1} or set(self.layer.strides) != {1}
        return self.layer.padding != "valid" and set(self.layer.kernel_size) != {1}

    def inputs(self, weights: Weights) -> int:
        """Number of input channels."""
        shape = weights[self.first[0]].shape
        return int(shape[{"matrix": 0, "transposed": -1}.get(self.first[1], -2)]) * self.groups

    def outputs(self, weights: Weights) -> int:
        """Number of output channels."""
        shape = weights[self.last[0]].shape
        kind = self.last[1]
        return int(shape[-2] * shape[-1]) if kind == "depthwise" else int(shape[-2 if kind == "transposed" else -1])

    def scale_outputs(self, weights: Weights, factors: Array) -> dict[str, Array]:
        """Weights that multiply output channel i by `factors[i]`."""
        name, kind = self.last
        kernel = weights[name]
        shaped = factors.reshape(kernel.shape[-2:]) if kind == "depthwise" else factors
        scaled = {**weights, name: kernel * (shaped[:, None] if kind == "transposed" else shaped)}
        return {**scaled, "bias": weights["bias"] * factors} if "bias" in weights else scaled

    def scale_inputs(self, weights: Weights, factors: Array) -> dict[str, Array]:
        """Weights that give for x what the layer gave for x with channel i multiplied by `factors[i]`."""
        name, _ = self.first
        return {**weights, name: weights[name] * self._over_inputs(weights, factors)}

    def shift_outputs(self, weights: Weights, shift: Array) -> dict[str, Array]:
        """Weights that add `shift[i]` to output channel i; a bias is made where there is none and it is needed."""
        bias = weights.get("bias")
        if bias is None and not shift.any():
            return dict(weights)
        return {**weights, "bias": shift if bias is None else bias + shift}

    def shift_inputs(self, weights: Weights, shift: Array) -> dict[str, Array]:
        """Weights that give for x what the layer gave for x with `shift[i]` added to channel i.

        Exact unless `reads_padding`.
        """
        name, kind = self.first
        kernel = weights[name] * self._over_inputs(weights, shift)
        around = tuple(range(kernel.ndim - 2))
        if kind == "depthwise":
            seen = kernel.sum(axis=around).reshape(-1)
        else:
            seen = kernel.sum(axis=(*around, -1 if kind == "transposed" else -2))
        if self.last[0] != name:
            seen = seen @ weights[self.last[0]].reshape(seen.size, -1)
        return self.shift_outputs(weights, seen)

    def output_ranges(self, weights: Weights) -> Array:
        """The largest magnitude among the weights of each output channel."""
        name, kind = self.last
        kernel = np.abs(weights[name])
        kernel = kernel.max(axis=tuple(range(kernel.ndim - 2)), initial=0)
        if kind == "depthwise":
            return np.asarray(kernel.reshape(-1))
        return np.asarray(kernel.max(axis=1 if kind == "transposed" else 0, initial=0))

    def input_ranges(self, weights: Weights) -> Array:
        """The largest magnitude among the weights that each input channel meets."""
        name, kind = self.first
        kernel = np.abs(weights[name])
        kernel = kernel.max(axis=tuple(range(kernel.ndim - 2)), initial=0)
        if kind == "transposed":
            return np.asarray(kernel.max(axis=0, initial=0))
        return np.asarray(kernel.reshape(len(kernel), self.groups, -1).max(axis=2).T.reshape(-1))

    def _over_inputs(self, weights: Weights, values: Array) -> Array:
        """One value per input channel, in a shape that broadcasts with the first kernel."""
        name, kind = self.first
        if kind == "transposed":
            return values
        per_group = weights[name].shape[-1] // self.groups
        return np.repeat(values.reshape(self.groups, -1).T, per_group, axis=1)


def linear(layer: Any) -> Linear | None:
    """The linear part of a layer of Keras's own, without its activation; None if it has none."""
    kind = type(layer).__name__ if is_keras(layer) else ""
    matrix: tuple[str, Kind] = ("kernel", "matrix")
    if kind == "Dense" or (kind == "EinsumDense" and _is_dense(layer)):
        return Linear(layer, matrix, matrix, -1)
    if "Conv" not in kind or not hasattr(layer, "data_format") or not hasattr(layer, "padding"):
        return None
    axis = 1 if layer.data_format == "channels_first" else -1
    if kind.startswith("SeparableConv"):
        return Linear(layer, ("depthwise_kernel", "depthwise"), ("pointwise_kernel", "conv"), axis)
    if kind.startswith("DepthwiseConv"):
        return Linear(layer, ("kernel", "depthwise"), ("kernel", "depthwise"), axis)
    if kind.startswith("Conv") and kind.endswith("Transpose"):
        return Linear(layer, ("kernel", "transposed"), ("kernel", "transposed"), axis)
    if kind in ("Conv1D", "Conv2D", "Conv3D"):
        return Linear(layer, ("kernel", "conv"), ("kernel", "conv"), axis, layer.groups)
    return None


def _is_dense(layer: Any) -> bool:
    """Whether an EinsumDense multiplies the last axis by a matrix, with a bias per output if any."""
    operands, output = layer.equation.replace(" ", "").split("->")
    given, kernel = operands.split(",")
    axes = einsum_axes(layer.equation)
    return (
        (axes.inputs, axes.outputs) == ((0,), (1,))
        and given[-1:] == kernel[0]
        and output[-1:] == kernel[1]
        and kernel[1] not in given
        and given[:-1] == output[:-1]
        and layer.bias_axes in (None, kernel[1])
    )


def with_bias(layer: Any) -> Any:
    """A new layer, not built, with the settings of this one and a bias."""
    config = {**layer.get_config(), "use_bias": True}
    if type(layer).__name__ == "EinsumDense":
        config["bias_axes"] = layer.equation.replace(" ", "").split("->")[1][-1]
        del config["use_bias"]
    return type(layer).from_config(config)
