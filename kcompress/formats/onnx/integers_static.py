"""Integer arithmetic in an ONNX graph, with ranges from calibration, in a form that ONNX Runtime fuses.

An operator that has an integer kernel reads its inputs through DequantizeLinear and writes its output through
QuantizeLinear; the runtime makes one operator of the three. Operators that only move or compare values work on the
integers themselves, at the scale of their input. Activations are uint8, x = (q - z) · s, one scale per tensor; kernels
are symmetric with a scale per output channel, biases int32 at the scale of input times kernel.

Processors without 8-bit dot products add pairs of products in 16 bits, which saturates for uint8 times int8 where
2 · 255 · |level| > 32767. So kernels with levels beyond 64 are stored as uint8 around 128, which is exact everywhere;
all others as int8, which is faster.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompress.formats.onnx.draft import Draft
from kcompress.formats.onnx.graph import Graph, Product, attributes
from kcompress.formats.onnx.integer_operators import KERNELS, MOVING, Ranges, chosen_operators, limits
from kcompress.formats.onnx.weights import kernel_codes
from kcompress.formats.stored_tensors import StoredTensor
from kcompress.numerics import affine

LEVELS = 256
BIAS = float(1 << 30)  # the largest bias, in steps of its scale; sums of products have the rest of int32


@dataclass(frozen=True)
class Grid:
    """What an integer tensor stands for: (q - zero) · scale; and the names of the constants that say so."""

    scale: np.float32
    zero: int
    constants: tuple[str, str]


def to_static_integers(proto: Any, kernels: Mapping[str, StoredTensor], ranges: Ranges) -> dict[str, set[str]]:
    """Make a prepared graph compute in integers where it can; `kernels` and `ranges` are by tensor name.

    Returns by kernel the integer tensors that stand for it now.
    """
    work = _Static(Graph(proto), Draft(proto), kernels, ranges)
    work.run()
    return work.kernel_codes


class _Static:
    def __init__(self, graph: Graph, draft: Draft, kernels: Mapping[str, StoredTensor], ranges: Ranges) -> None:
        self.graph, self.draft, self.kernels, self.ranges = graph, draft, kernels, dict(ranges)
        self.codes: dict[str, tuple[str, Grid]] = {}
        """Float tensor to the integer tensor that stands for it."""
        self.views: dict[str, str] = {}
        """Float tensor to the float tensor that DequantizeLinear makes of its integers."""
        self.kernel_codes: dict[str, set[str]] = {}
        self.packed: dict[str, tuple[str, np.integer]] = {}

    def run(self) -> None:
        chosen = chosen_operators(self.graph, self.kernels, self.ranges)
        for number, node in self.graph.nodes.items():
            if node.op_type == "Shape" and node.input[0] in self.codes:
                code, _ = self._code(node.input[0])  # asks nothing of the values
                self.draft.add("Shape", [code], node.output[0], **attributes(node))
            elif number not in chosen:
                self.draft.keep(node)
            elif node.op_type in MOVING:
                self._move(node)
            else:
                self._compute(node)
        self.draft.replace()

    def _grid(self, name: str) -> Grid:
        """The grid for a tensor's range, and its constants."""
        scale, zero = affine.asymmetric(*self.ranges[name], LEVELS)
        constants = self.draft.constant(f"{name}|scale", scale), self.draft.constant(f"{name}|zero", np.uint8(zero))
        return Grid(scale, zero, constants)

    def _code(self, name: str) -> tuple[str, Grid]:
        """The integers for a float tensor; one that is computed in floats is quantized here."""
        if name not in self.codes:
            grid = self._grid(name)
            self.codes[name] = self.draft.add("QuantizeLinear", [name, *grid.constants], f"{name}|code"), grid
        return self.codes[name]

    def _view(self, name: str) -> str:
        """A float tensor as an operator to be fused reads it: through its integers."""
        if name not in self.views:
            code, grid = self._code(name)
            self.views[name] = self.draft.add("DequantizeLinear", [code, *grid.constants], f"{name}|view")
        return self.views[name]

    def _made(self, name: str, code: str, grid: Grid) -> None:
        """Take note of integers that an operator has made, and let all others read the floats that they stand for."""
        self.codes[name] = code, grid
        self.views[name] = self.draft.add("DequantizeLinear", [code, *grid.constants], name)

    def _move(self, node: Any) -> None:
        code, grid = self._code(node.input[0])
        inputs, kind, settings = [code, *node.input[1:]], node.op_type, attributes(node)
        if kind in ("Relu", "Clip"):
            ends = np.clip(np.rint(np.array(limits(self.graph, node)) / grid.scale) + grid.zero, 0, LEVELS - 1)
            names = [f"{node.output[0]}|{end}" for end in ("least", "most")]
            inputs = [code, *(self.draft.constant(n, np.uint8(end)) for n, end in zip(names, ends, strict=True))]
            kind = "Clip"
        if kind == "Pad":
            inputs[2:3] = [grid.constants[1]]
        outputs = [f"{name}|code" for name in node.output]
        self.draft.add(kind, inputs, *outputs, **settings)
        for name, made in zip(node.output, outputs, strict=True):
            self._made(name, made, grid)

    def _compute(self, node: Any) -> None:
        product = self.graph.product(node, self.kernels) if node.op_type in KERNELS else None
        if product is not None:
            inputs = [self._view(node.input[0]), *self._factors(node, product)]
        else:
            inputs = [self._operand(name) if name in self.graph.floats else name for name in node.input]
        name = node.output[0]
        grid = self._grid(name)
        raw = self.draft.add(node.op_type, inputs, f"{name}|float", **attributes(node))
        self._made(name, self.draft.add("QuantizeLinear", [raw, *grid.constants], f"{name}|code"), grid)

    def _operand(self, name: str) -> str:
        """A value as an operator to be fused reads it; a constant has the range of its values."""
        values = self.graph.constants.get(name)
        if values is None:
            return self._view(name)
        self.ranges[name] = min(0.0, float(values.min())), max(0.0, float(values.max()))
        grid = self._grid(name)
        levels = affine.to_levels(values, np.asarray(grid.scale), -grid.zero, LEVELS - 1 - grid.zero) + grid.zero
        code = self.draft.constant(f"{name}|code", levels.astype(np.uint8))
        return self.draft.add("DequantizeLinear", [code, *grid.constants], f"{name}|{len(self.draft.nodes)}")

    def _factors(self, node: Any, product: Product) -> Iterator[str]:
        """An operator's kernel, and its bias, through their integers.

        The scale of a channel that is tiny against its bias, or all zeros, is raised so that the bias fits int32.
        """
        source, name, axis = self._code(node.input[0])[1].scale, product.kernel, product.axis
        used = affine.to_rows(product.levels, (axis,)).any(1)
        scale = np.where(used, product.scale, 0).astype(np.float64)
        least = np.full_like(scale, affine.TINY / source)  # the product of two scales must be more than zero
        if product.bias is not None:
            least = np.maximum(least, np.abs(product.bias) / (source * BIAS))
        scale = np.maximum(scale, least).astype(np.float32)
        label = f"{name}|of_{node.output[0]}"
        if (scale[used] != product.scale[used]).any():
            ratio = affine.along(np.where(used, product.scale / scale, 1), (axis,), product.levels.shape)
            levels = np.rint(product.levels * ratio).astype(np.int32)
            code, zero = kernel_codes(self.draft, label, levels, product.bits)
        else:
            if name not in self.packed:
                self.packed[name] = kernel_codes(self.draft, name, product.levels, product.bits)
            code, zero = self.packed[name]
        self.kernel_codes.setdefault(name, set()).add(code)
        step = self.draft.constant(f"{label}|scale", scale)
        zeros = self.draft.constant(f"{label}|zero", np.full(len(scale), zero))
        yield self.draft.add("DequantizeLinear", [code, step, zeros], f"{label}|view", axis=axis)
        if product.bias is not None:
            steps = scale * source
            code = self.draft.constant(f"{label}|bias", np.rint(product.bias / steps).astype(np.int32))
            step = self.draft.constant(f"{label}|bias_scale", steps)
            yield self.draft.add("DequantizeLinear", [code, step], f"{label}|bias_view", axis=0)
