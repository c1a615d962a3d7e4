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

from kcompress.formats.onnx.graph import array, attributes, constant, is_float, replace
from kcompress.formats.onnx.integer_operators import KERNELS, MOVING, Ranges, chosen_operators, limits
from kcompress.formats.onnx.product import Product, product
from kcompress.formats.onnx.weights import kernel_codes
from kcompress.formats.stored_tensors import StoredTensor
from kcompress.numerics import affine

LEVELS = 256
BIAS = float(1 << 30)  # the largest bias, in steps of its scale; sums of products have the rest of int32


@dataclass(frozen=True)
class Grid:
    """What an integer tensor stands for: (q - zero) · scale; and the constants that say so."""

    scale: np.float32
    zero: int
    constants: tuple[Any, Any]


def to_static_integers(model: Any, kernels: Mapping[str, StoredTensor], ranges: Ranges) -> dict[str, set[Any]]:
    """Make a prepared graph compute in integers where it can; `kernels` and `ranges` are by tensor name.

    Returns by kernel the integer values that stand for it now.
    """
    work = _Static(model, kernels, ranges)
    work.run()
    return work.kernel_codes


class _Static:
    def __init__(self, model: Any, kernels: Mapping[str, StoredTensor], ranges: Ranges) -> None:
        import onnx_ir as ir

        self.model, self.graph, self.kernels, self.ranges = model, model.graph, kernels, dict(ranges)
        self.tape = ir.tape.Tape(model.graph)
        self.codes: dict[Any, tuple[Any, Grid]] = {}
        """Float value to the integer value that stands for it."""
        self.views: dict[Any, Any] = {}
        """Float value to the float value that DequantizeLinear makes of its integers."""
        self.kernel_codes: dict[str, set[Any]] = {}
        self.packed: dict[str, tuple[Any, np.integer]] = {}

    def run(self) -> None:
        chosen = chosen_operators(self.graph, self.kernels, self.ranges)
        for node in list(self.graph):
            if node.op_type == "Shape" and node.inputs[0] in self.codes:
                node.replace_input_with(0, self.codes[node.inputs[0]][0])  # asks nothing of the values
            elif node in chosen:
                self._move(node) if node.op_type in MOVING else self._compute(node)
        for node in chosen:
            replace(node, *(self.views[value] for value in node.outputs))

    def _grid(self, name: str) -> Grid:
        """The grid for a tensor's range, and its constants."""
        scale, zero = affine.asymmetric(*self.ranges[name], LEVELS)
        constants = self._constant(f"{name}|scale", scale), self._constant(f"{name}|zero", np.uint8(zero))
        return Grid(scale, zero, constants)

    def _constant(self, name: str, values: Any) -> Any:
        return constant(self.graph, name, values)

    def _code(self, value: Any) -> tuple[Any, Grid]:
        """The integers for a float value; one that is computed in floats is quantized here."""
        if value not in self.codes:
            grid = self._grid(value.name)
            self.codes[value] = self.tape.op("QuantizeLinear", [value, *grid.constants]), grid
        return self.codes[value]

    def _view(self, value: Any) -> Any:
        """A float value as an operator to be fused reads it: through its integers."""
        if value not in self.views:
            code, grid = self._code(value)
            self.views[value] = self.tape.op("DequantizeLinear", [code, *grid.constants])
        return self.views[value]

    def _made(self, value: Any, code: Any, grid: Grid) -> None:
        """Take note of integers that an operator has made; all others will read the floats that they stand for."""
        self.codes[value] = code, grid
        self._view(value)

    def _move(self, node: Any) -> None:
        code, grid = self._code(node.inputs[0])
        inputs, kind = [code, *node.inputs[1:]], node.op_type
        if kind in ("Relu", "Clip"):
            ends = np.clip(np.rint(np.array(limits(node)) / grid.scale) + grid.zero, 0, LEVELS - 1)
            names = [f"{node.outputs[0].name}|{end}" for end in ("least", "most")]
            inputs = [code, *(self._constant(n, np.uint8(end)) for n, end in zip(names, ends, strict=True))]
            kind = "Clip"
        if kind == "Pad":
            inputs[2:3] = [grid.constants[1]]
        moved = self.tape.op_multi_out(kind, inputs, attributes(node), num_outputs=len(node.outputs))
        for value, made in zip(node.outputs, moved, strict=True):
            self._made(value, made, grid)

    def _compute(self, node: Any) -> None:
        found = product(node, self.kernels) if node.op_type in KERNELS else None
        if found is not None:
            inputs = [self._view(node.inputs[0]), *self._factors(node, found)]
        else:
            inputs = [self._operand(value) if is_float(value) else value for value in node.inputs]
        grid = self._grid(node.outputs[0].name)
        raw = self.tape.op(node.op_type, inputs, attributes(node))
        self._made(node.outputs[0], self.tape.op("QuantizeLinear", [raw, *grid.constants]), grid)

    def _operand(self, value: Any) -> Any:
        """A value as an operator to be fused reads it; a constant has the range of its values."""
        values, name = array(value), value.name
        if values is None:
            return self._view(value)
        self.ranges[name] = min(0.0, float(values.min())), max(0.0, float(values.max()))
        grid = self._grid(name)
        levels = affine.to_levels(values, np.asarray(grid.scale), -grid.zero, LEVELS - 1 - grid.zero) + grid.zero
        code = self._constant(f"{name}|code", levels.astype(np.uint8))
        return self.tape.op("DequantizeLinear", [code, *grid.constants])

    def _factors(self, node: Any, found: Product) -> Iterator[Any]:
        """An operator's kernel, and its bias, through their integers.

        The scale of a channel that is tiny against its bias, or all zeros, is raised so that the bias fits int32.
        """
        source, name, axis = self._code(node.inputs[0])[1].scale, found.kernel, found.axis
        used = affine.to_rows(found.levels, (axis,)).any(1)
        scale = np.where(used, found.scale, 0).astype(np.float64)
        least = np.full_like(scale, affine.TINY / source)  # the product of two scales must be more than zero
        if found.bias is not None:
            least = np.maximum(least, np.abs(found.bias) / (source * BIAS))
        scale = np.maximum(scale, least).astype(np.float32)
        label = f"{name}|of_{node.outputs[0].name}"
        if (scale[used] != found.scale[used]).any():
            ratio = affine.along(np.where(used, found.scale / scale, 1), (axis,), found.levels.shape)
            levels = np.rint(found.levels * ratio).astype(np.int32)
            code, zero = kernel_codes(self.model, label, levels, found.bits)
        else:
            if name not in self.packed:
                self.packed[name] = kernel_codes(self.model, name, found.levels, found.bits)
            code, zero = self.packed[name]
        self.kernel_codes.setdefault(name, set()).add(code)
        step = self._constant(f"{label}|scale", scale)
        zeros = self._constant(f"{label}|zero", np.full(len(scale), zero))
        yield self.tape.op("DequantizeLinear", [code, step, zeros], {"axis": axis})
        if found.bias is not None:
            steps = scale * source
            code = self._constant(f"{label}|bias", np.rint(found.bias / steps).astype(np.int32))
            step = self._constant(f"{label}|bias_scale", steps)
            yield self.tape.op("DequantizeLinear", [code, step], {"axis": 0})
