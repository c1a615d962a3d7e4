"""What passes that store kernels in fewer bits share: which kernels, which channels, and grids of whole numbers."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kcompress.data import Dataset
from kcompress.formats import formats
from kcompress.model.moments import Moment
from kcompress.model.rebuild import assign, copy
from kcompress.model.sqnr import output_sqnr_db, sqnr_db
from kcompress.model.view import Node, Weight, nodes
from kcompress.numerics import affine
from kcompress.numerics.ranges import Method, limits
from kcompress.passes.base import Change, Context, Pass, PassResult, Skip
from kcompress.passes.statistics import batches
from kcompress.quantization.plan import WeightFormat

Moments = Mapping[str, Moment | None]
COMPARED = 32
"""Samples on which the outputs of layers are compared."""

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
                return f"{weight.name} is stored as {weight.variable.dtype}; only float32 is handled"
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

    def moments(self, model: Any, ctx: Context) -> Moments:
        """What is known of the input of each kernel, by qualified name."""
        return {}

    def format_of(self, node: Node, weight: Weight, moment: Moment | None, digits: int) -> WeightFormat:
        """The grid for one kernel, from its values and what is known of its input; `digits` are those of scales."""
        raise NotImplementedError

    def round(self, node: Node, weight: Weight, format: WeightFormat, moment: Moment | None) -> NDArray[Any]:
        """The whole number for each value of a kernel."""
        return format.levels(weight.values)

    def settle(self, node: Node, changes: Mapping[str, NDArray[Any]], moments: Moments) -> list[str]:
        """Make up for `changes`, which rounding made to kernels, by qualified name. Returns what was done, in words."""
        return []

    def spared(self, nodes: list[Node]) -> dict[str, str]:
        """Layers to leave alone though they could be changed, and why; `nodes` are all that have kernels, in order."""
        return {}

    def keeps(self, format: WeightFormat) -> bool:
        """Whether a grid of an earlier pass may stay as it is, which counts as done."""
        return False

    def run(self, model: Any, ctx: Context) -> PassResult:
        rounded = copy(model)
        selection = self.select(rounded)
        moments = self.moments(model, ctx)
        done: dict[str, _LayerResult] = {}
        skipped = list(selection.skipped)
        spared = self.spared([node for node in nodes(rounded) if self.kernels(node)])
        with ctx.progress(self.name, len(selection.chosen)) as advance:
            for node, settings in selection.chosen:
                assert isinstance(settings, GridPass)
                if node.name in spared:
                    skipped.append(Skip(node.name, spared[node.name]))
                elif (found := settings._grids(node, ctx, moments)).details:
                    done[node.name] = found
                else:
                    skipped.append(Skip(node.name, "its kernels lie on a grid already"))
                advance(1)
        grids = {name: format for each in done.values() for name, format in each.formats.items()}
        data = ctx.data.calibration
        comparable = [node.name for node, _ in selection.chosen if node.name in done and not node.is_custom]
        compared: dict[str, float | None] = {}
        if data is not None:
            with self.computing(model, rounded, data):
                compared = output_sqnr_db(model, rounded, batches(model, data, COMPARED), comparable)
        changes = [Change(name, "; ".join(each.details), each.figures(name, compared)) for name, each in done.items()]
        return PassResult(rounded, tuple(changes), tuple(skipped), grids)

    def computing(self, model: Any, rounded: Any, data: Dataset) -> AbstractContextManager[None]:
        """Meanwhile, let the rounded model compute as a file of it would; DataError if it could not."""
        return nullcontext()

    def _grids(self, node: Node, ctx: Context, moments: Moments) -> "_LayerResult":
        """Move the kernels of a layer to their grids."""
        done = _LayerResult()
        digits = formats()[ctx.target].scale_digits
        changes: dict[str, NDArray[Any]] = {}
        for weight in self.kernels(node):
            name, values = node.qualified(weight), weight.values
            earlier = ctx.plan.weights.get(name)
            if earlier is not None and earlier.kind == "int":
                if self.keeps(earlier):
                    done.kept.append(earlier)
                    done.details.append(f"{weight.name} keeps its {_described(earlier)}")
                continue
            format = replace(self.format_of(node, weight, moments.get(name), digits), sparse=not values.all())
            levels = self.round(node, weight, format, moments.get(name))
            rounded = affine.from_levels(levels, format.scales(values.shape))
            changes[name] = rounded - values.astype(np.float64)
            done.add(name, format, values, changes[name])
            done.details.append(f"{weight.name} as {_described(format)}")
            assign([(weight.variable, rounded)])
        done.details += self.settle(node, changes, moments)
        return done


@dataclass
class _LayerResult:
    """What was done to the kernels of one layer: formats by qualified name, words, and the energy of what was lost."""

    formats: dict[str, WeightFormat] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)
    kept: list[WeightFormat] = field(default_factory=list)
    signal: float = 0.0
    noise: float = 0.0

    def add(self, name: str, format: WeightFormat, values: NDArray[Any], change: NDArray[Any]) -> None:
        self.formats[name] = format
        self.signal += float((values.astype(np.float64) ** 2).sum())
        self.noise += float((change**2).sum())

    def figures(self, name: str, outputs: Mapping[str, float | None]) -> dict[str, float | None]:
        """Bits, and the signal-to-quantization-noise ratios of weights and outputs, None where nothing was lost."""
        found: dict[str, float | None] = {"bits": max(format.bits for format in (*self.formats.values(), *self.kept))}
        if self.formats:
            found["weight_sqnr_db"] = sqnr_db(self.signal, self.noise)
        if name in outputs:
            found["output_sqnr_db"] = outputs[name]
        return found


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
    digits: int = affine.FULL,
) -> WeightFormat:
    """The grid of symmetric levels for a kernel, with a scale per position of `axes`, the range chosen by `ranges`."""
    scale = affine.scales(limits(affine.to_rows(values, axes), ranges, bits, percentile), bits, digits)
    top = affine.largest_level(bits)
    return WeightFormat("int", bits, -top, top, axes, tuple(map(float, scale)))


def _described(format: WeightFormat) -> str:
    """`8 bits, 64 scales`."""
    bits, scales = format.bits, len(format.scale)
    return f"{bits} bit{'s' * (bits > 1)}, {scales} scale{'s' * (scales > 1)}"
