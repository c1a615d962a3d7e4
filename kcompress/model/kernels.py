"""Which weights of a Keras layer are kernels, and along which of their axes inputs and outputs lie.

A kernel is what a layer multiplies its input by; biases, normalization parameters and states are not. An output axis
has one position per output channel; an input axis is summed over.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Axes:
    """Positions in a kernel's shape; negative ones count from the end. `inputs` is empty where nothing is summed."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


_DENSE = Axes(inputs=(0,), outputs=(1,))
_CONV = Axes(inputs=(-2,), outputs=(-1,))
_TRANSPOSED = Axes(inputs=(-1,), outputs=(-2,))
_DEPTHWISE = Axes(inputs=(), outputs=(-2, -1))
_LOOKUP = Axes(inputs=(), outputs=(1,))

KERNELS: dict[str, dict[str, Axes]] = {
    "Dense": {"kernel": _DENSE},
    **{f"Conv{n}D": {"kernel": _CONV} for n in (1, 2, 3)},
    **{f"Conv{n}DTranspose": {"kernel": _TRANSPOSED} for n in (1, 2, 3)},
    **{f"DepthwiseConv{n}D": {"kernel": _DEPTHWISE} for n in (1, 2)},
    **{f"SeparableConv{n}D": {"depthwise_kernel": _DEPTHWISE, "pointwise_kernel": _CONV} for n in (1, 2)},
    "Embedding": {"embeddings": _LOOKUP},
    "ReversibleEmbedding": {"embeddings": _LOOKUP, "reverse_embeddings": _DENSE},
    **{f"{kind}Cell": {"kernel": _DENSE, "recurrent_kernel": _DENSE} for kind in ("LSTM", "GRU", "SimpleRNN")},
    "ConvLSTMCell": {"kernel": _CONV, "recurrent_kernel": _CONV},
}


def is_keras(layer: Any) -> bool:
    """Whether the layer's class is Keras's own, not a custom one or a subclass of one."""
    return type(layer).__module__.split(".")[0] == "keras"


def kernel_axes(layer: Any, weight: str) -> Axes | None:
    """Axes of the layer's kernel called `weight`; None if that weight is no kernel, or the layer is not Keras's own."""
    if not is_keras(layer):
        return None
    if type(layer).__name__ == "EinsumDense":
        return einsum_axes(layer.equation) if weight == "kernel" else None
    return KERNELS.get(type(layer).__name__, {}).get(weight)


def einsum_axes(equation: str) -> Axes:
    """Axes of the second operand of an einsum: summed over where the output lacks the label."""
    operands, output = equation.replace(" ", "").split("->")
    kernel = operands.split(",")[1]
    return Axes(
        inputs=tuple(i for i, label in enumerate(kernel) if label not in output),
        outputs=tuple(i for i, label in enumerate(kernel) if label in output),
    )
