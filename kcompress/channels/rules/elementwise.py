"""Layers and operations on each element of one tensor or of several that are broadcast, or on each channel alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompress.channels.rules.visit import STAYS, Rule, Visit, channel_axis, is_elementwise
from kcompress.channels.trace import Axes, Axis, Size, Tensor


def same(v: Visit) -> list[Axes]:
    """One tensor in, one of the same shape out; other tensors, such as masks, are broadcast with it."""
    return broadcast(v) if len(v.given) > 1 else [v.given[0].axes]


def dropout(v: Visit) -> list[Axes]:
    """In training the noise has a shape of its own, which may count channels."""
    noise, axes = getattr(v.layer, "noise_shape", None), v.given[0].axes
    if noise is not None:
        sizes = zip(noise, axes, strict=True)
        v.trace.set(v.layer, "noise_shape", tuple(n if n == 1 or a is None else Size(a) for n, a in sizes))
    return [axes]


def broadcast(v: Visit) -> list[Axes]:
    """Axes are aligned from the last; those of one length are the same, those of length 1 are spread."""
    return [_broadcast(v, v.given, len(v.shapes[0]))]


def merge(v: Visit) -> list[Axes]:
    """As `broadcast`, but the batch axes belong together even if ranks differ."""
    rank = len(v.shapes[0])
    spread = [
        Tensor((t.shape[0], *(1,) * (rank - t.rank), *t.shape[1:]), (None, *(None,) * (rank - t.rank), *t.axes[1:]))
        for t in v.given
    ]
    return [_broadcast(v, spread, rank)]


def _broadcast(v: Visit, tensors: Sequence[Tensor], rank: int) -> Axes:
    made: list[Axis] = []
    for number in range(-rank, 0):
        meeting = [(t.shape[number], t.axes[number]) for t in tensors if t.rank >= -number]
        made.append(v.together([axis for size, axis in meeting if size != 1], STAYS))
    return tuple(made)


def activation(v: Visit) -> list[Axes]:
    if not is_elementwise(v.layer.activation):
        return v.unknown(f"{v.label} mixes it")
    return same(v)


def along(v: Visit) -> list[Axes]:
    """Softmax and the like, which mix what lies along an axis, or several; a mask is broadcast."""
    given, axis = v.given[0], getattr(v.layer, "axis", -1)
    if axis is None:
        return v.unknown(f"{v.label} mixes it")
    mixed = {a % given.rank for a in np.atleast_1d(axis).tolist()}
    axes = _broadcast(v, [*v.given, *v.masks], given.rank)
    v.pin([axes[number] for number in mixed], f"{v.label} mixes it")
    return [tuple(None if number in mixed else ids for number, ids in enumerate(axes))]


def prelu(v: Visit) -> list[Axes]:
    (given,) = v.given
    v.trace.weight(v.layer.alpha, given.axes[1:])
    return [given.axes]


def scaled(v: Visit) -> list[Axes]:
    """The layer scale of ConvNeXt, one factor per channel."""
    (given,) = v.given
    v.trace.weight(v.layer.gamma, (given.axes[-1],))
    ids = given.axes[-1]
    v.trace.set(v.layer, "projection_dim", v.layer.projection_dim if ids is None else Size(ids))
    return [given.axes]


def rescaling(v: Visit) -> list[Axes]:
    if np.ndim(v.layer.scale) or np.ndim(v.layer.offset):
        return v.unknown(f"{v.label} has numbers of its own for each channel of it")
    return [v.given[0].axes]


def spatial(v: Visit) -> list[Axes]:
    """Pooling, padding, cropping and resizing leave each channel to itself."""
    (given,), rank = v.given, len(v.shapes[0])
    at = channel_axis(v.layer, given.rank)
    v.only(given, at, does="works along")
    made: list[Axis] = [None] * rank
    made[at if rank == given.rank else -1] = given.axes[at]
    return [tuple(made)]


def reduction(v: Visit) -> list[Axes]:
    """A sum, mean or maximum over some axes, or all."""
    (given, *rest), axis = v.given, getattr(v.layer, "axis", None)
    if rest:
        return v.unknown(f"{v.label}, of type {type(v.layer).__name__}, uses it")
    over = range(given.rank) if axis is None else [a % given.rank for a in np.atleast_1d(axis).tolist()]
    v.pin([given.axes[number] for number in over], f"{v.label} puts its channels together")
    kept: Any = [None if number in over else axis for number, axis in enumerate(given.axes)]
    if not getattr(v.layer, "keepdims", False):
        kept = [axis for number, axis in enumerate(kept) if number not in over]
    return [tuple(kept)]


SAME = (
    *("GaussianDropout", "GaussianNoise", "ActivityRegularization", "Identity"),
    *("ReLU", "LeakyReLU", "ELU", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "StochasticDepth"),
)
MERGES = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "CustomScaleLayer")
SPATIAL = (
    *(f"{kind}{n}D" for kind in ("MaxPooling", "AveragePooling") for n in (1, 2, 3)),
    *(f"Global{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3)),
    *(f"Adaptive{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3)),
    *(f"{kind}{n}D" for kind in ("ZeroPadding", "Cropping", "UpSampling") for n in (1, 2, 3)),
    *("Resizing", "CenterCrop"),
)
LAYERS: dict[str, Rule] = {
    **dict.fromkeys(SAME, same),
    **dict.fromkeys(("Dropout", "AlphaDropout"), dropout),
    **dict.fromkeys(MERGES, merge),
    **dict.fromkeys(SPATIAL, spatial),
    "Activation": activation,
    "Softmax": along,
    "PReLU": prelu,
    "LayerScale": scaled,
    "Rescaling": rescaling,
}
UNARY = (
    *("Relu", "Relu6", "Sigmoid", "SparseSigmoid", "Softplus", "Softsign", "SoftShrink", "SparsePlus"),
    *("Silu", "Squareplus", "LogSigmoid", "LeakyRelu", "HardSigmoid", "HardSilu", "Elu", "Selu", "Gelu", "Celu"),
    *("TanhShrink", "HardTanh", "HardShrink", "Threshold", "Absolute", "Abs", "Fabs", "Arccos", "Arccosh", "Arcsin"),
    *("Arcsinh", "Arctan", "Arctanh", "Cbrt", "Ceil", "Cos", "Cosh", "Exp", "Exp2", "Expm1", "Floor", "Log", "Log10"),
    *("Log1p", "Log2", "LogicalNot", "Negative", "Reciprocal", "Round", "Sign", "Sin", "Sinh", "Sqrt", "Square", "Tan"),
    *("Tanh", "Trunc", "Rsqrt", "Erf", "Erfinv", "Cast", "StopGradient", "Copy", "NanToNum", "Isfinite", "Isinf"),
    *("Isnan", "ZerosLike", "OnesLike", "Clip"),
)
NARY = (
    *("Add", "Subtract", "Multiply", "Divide", "DivideNoNan", "TrueDivide", "FloorDivide", "Power", "Maximum"),
    *("Minimum", "Fmax", "Fmin", "Mod", "Arctan2", "Hypot", "Logaddexp", "Where", "Equal", "NotEqual", "Greater"),
    *("GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalOr", "LogicalXor"),
)
REDUCTIONS = ("Mean", "Sum", "Max", "Min", "Amax", "Amin", "Prod", "Std", "Var", "Any", "All", "Logsumexp", "Median")
OPERATIONS: dict[str, Rule] = {
    **dict.fromkeys((*UNARY, *NARY), broadcast),
    **dict.fromkeys(REDUCTIONS, reduction),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Sparsemax", "Cumsum", "Cumprod", "Normalize"), along),
    **dict.fromkeys(("MaxPool", "AveragePool", "AdaptiveMaxPool", "AdaptiveAveragePool", "Resize"), spatial),
}
