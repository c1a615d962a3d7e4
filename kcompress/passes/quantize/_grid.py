"""What the passes share that store kernels in fewer bits: which kernels, which channels, and grids of whole numbers."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kcompress.graph.rebuild import assign, copy
from kcompress.graph.view import Node, Weight
from kcompress.layers.plan import QuantPlan, WeightFormat
from kcompress.numerics import affine
from kcompress.numerics.ranges import Method, limits
from kcompress.passes.base import Change, Context, Pass, PassResult, Skip

PER_TENSOR = ("Embedding", "ReversibleEmbedding", "LSTMCell", "GRUCell", "SimpleRNNCell", "ConvLSTMCell")
"""Layers whose kernels get one scale: files hold these in an order or in an operator that knows no channels."""


class KernelPass(Pass):
    """Base of the passes that store kernels in fewer bits."""

    purpose: ClassVar[str] = "quantize it"
    """What naming a custom layer is for."""

    def concerns(self, node: Node, named: bool) -> bool | str:
        weights = self.kernels(node)
        if not weights:
            return False
        if node.is_custom and not named:
            return f"a custom layer; name it in layers or in a rule to {self.purpose}"
        for weight in weights:
            if weight.variable.dtype != "float32":
                return f"{weight.name} is stored as {weight.variable.dtype} already"
            if not np.isfinite(weight.values).all():
                return f"{weight.name} has values that are no finite numbers"
        return True

    def kernels(self, node: Node) -> tuple[Weight, ...]:
        """The kernels; of a custom layer, the weights of two or more dimensions that are no whole numbers."""
        if not node.is_custom:
            return node.kernels
        return tuple(w for w in node.weights if len(w.variable.shape) >= 2 and "float" in w.variable.dtype)


class GridPass(KernelPass):
    """Base of the passes that choose a grid per kernel: which one, a subclass says in `format_of`; how, in `round`."""

    def format_of(self, node: Node, weight: Weight) -> WeightFormat:
        """The grid for one kernel, from its values."""
        raise NotImplementedError

    def round(self, values: NDArray[Any], format: WeightFormat) -> NDArray[Any]:
        """The whole number for each value of a kernel."""
        return format.levels(values)

    def spared(self, nodes: list[Node]) -> dict[str, str]:
        """Of the layers that would be worked on, in order: those to leave alone all the same, and why."""
        return {}

    def keeps(self, format: WeightFormat) -> bool:
        """Whether a grid of an earlier pass may stay as it is, which counts as done."""
        return False

    def run(self, model: Any, ctx: Context) -> PassResult:
        twin = copy(model)
        selection = self.select(twin)
        changes: list[Change] = []
        skipped = list(selection.skipped)
        formats: dict[str, WeightFormat] = {}
        spared = self.spared([node for node, _ in selection.chosen])
        for node, settings in selection.chosen:
            assert isinstance(settings, GridPass)
            if node.name in spared:
                skipped.append(Skip(node.name, spared[node.name]))
                continue
            found, details = settings._grids(node, ctx.plan)
            if not details:
                skipped.append(Skip(node.name, "its kernels lie on a grid already"))
                continue
            formats.update(found)
            changes.append(Change(node.name, "; ".join(details)))
        return PassResult(twin, tuple(changes), tuple(skipped), formats)

    def _grids(self, node: Node, plan: QuantPlan) -> tuple[dict[str, WeightFormat], list[str]]:
        """Move the kernels of a layer to their grids; their formats by qualified name, and what was done to each."""
        formats, details = {}, []
        for weight in self.kernels(node):
            name, values = node.qualified(weight), weight.values
            earlier = plan.weights.get(name)
            if earlier is not None and earlier.kind == "int":
                if self.keeps(earlier):
                    details.append(f"{weight.name} keeps its {_described(earlier)}")
                continue
            format = self.format_of(node, weight)
            rounded = affine.from_levels(self.round(values, format), format.scales(values.shape))
            assign([(weight.variable, rounded)])
            formats[name] = format
            details.append(f"{weight.name} as {_described(format)}, {_noise(values, rounded)}")
        return formats, details


def channel_axes(node: Node, weight: Weight) -> tuple[int, ...]:
    """The axes along which a kernel has a scale of its own per position, counted from 0; none for one scale in all."""
    if weight.axes is None or type(node.layer).__name__ in PER_TENSOR:
        return ()
    dimensions = len(weight.variable.shape)
    return tuple(sorted(axis % dimensions for axis in weight.axes.outputs))


def symmetric(
    values: NDArray[Any],
    axes: tuple[int, ...],
    bits: int,
    ranges: Method = "minmax",
    percentile: float = 100,
    power_of_two: bool = False,
) -> WeightFormat:
    """The grid of symmetric levels for a kernel, with a scale per position of `axes`, the range chosen by `ranges`."""
    scale = affine.scales(limits(affine.to_rows(values, axes), ranges, bits, percentile), bits, power_of_two)
    top = affine.largest_level(bits)
    return WeightFormat("int", bits, -top, top, axes, tuple(map(float, scale)))


def _described(format: WeightFormat) -> str:
    """`8 bits, 64 scales`."""
    bits, scales = format.bits, len(format.scale)
    return f"{bits} bit{'s' * (bits > 1)}, {scales} scale{'s' * (scales > 1)}"


def _noise(values: NDArray[Any], rounded: NDArray[Any]) -> str:
    """Signal-to-quantization-noise ratio, 10 log10(Σw² / Σ(w − ŵ)²), in words."""
    error = float(((values.astype(np.float64) - rounded) ** 2).sum())
    signal = float((values.astype(np.float64) ** 2).sum())
    return f"SQNR {10 * np.log10(signal / error):.1f} dB" if error and signal else "exact"
