"""Hand over to Keras's own quantization modes, `model.quantize`, and account for every layer that they leave alone."""

from typing import Any, Literal

from pydantic import Field, field_validator

from kcompress.errors import UsageError
from kcompress.keras_internals import layers_of
from kcompress.model import keras_quantization as quantized
from kcompress.model.matrices import has_matrix, to_matrix
from kcompress.model.observe import run
from kcompress.model.rebuild import copy
from kcompress.model.view import Node, nodes
from kcompress.passes.base import Change, Context, Need, PassResult, Skip
from kcompress.passes.quantize._calibrated import calibrate, misread
from kcompress.passes.quantize._grid import KernelPass
from kcompress.passes.statistics import batches

LOOKUPS = ("Embedding", "ReversibleEmbedding")
MATRICES = ("Dense", "EinsumDense")
CALIBRATED = ("gptq", "awq")
DETAILS = {
    "int8": "8-bit integers, a scale per channel; inputs are rounded to 8 bits as they come",
    "int4": "4-bit integers, two to a byte; computation stays in float",
    "float8": "computes in 8-bit floats; the file still holds its kernel in float32",
    "gptq": "4-bit integers, two to a byte, rounded by GPTQ; computation stays in float",
    "awq": "4-bit integers, two to a byte, scaled by AWQ; computation stays in float",
}

LEVELS = 15  # above the lowest; the zero point -low / scale is stored as uint8, so it wraps
WIDEST = 128  # inputs at a time in Keras's gptq
BITS = {"int8": 8, "int4": 4, "float8": 32, "gptq": 4, "awq": 4}
"""Of a weight in the file."""


class QuantizeKeras(KernelPass):
    """Hand over to Keras's own quantization, for a .keras file that stock Keras runs on integers.

    Keras has it for Dense, EinsumDense and Embedding. Convolutions and recurrent cells stay float and are named, and so
    do layers inside other layers, as in attention, which Keras could not read back. The output has to be a `.keras`
    file. GPTQ: Frantar, Ashkboos, Hoefler and Alistarh, "GPTQ: Accurate Post-Training Quantization for Generative
    Pre-trained Transformers", 2022; AWQ: Lin et al., "AWQ: Activation-aware Weight Quantization", 2023; both are for
    Dense and EinsumDense, fitted to what calibration data puts into each layer. float8 is for training on
    hardware that has it: the file does not shrink.
    """

    needs = frozenset({Need.CALIBRATION})
    outputs = frozenset({"keras"})

    mode: Literal["int8", "int4", "float8", "gptq", "awq"] = "int8"
    """How Keras stores and computes: int8, int4, float8, or 4 bits by gptq or awq, which need calibration data."""
    block_size: int = Field(128, ge=-1)
    """The number of weights of a channel that share a scale with int4, gptq and awq, such as 128; -1 for all of it."""
    samples: int = Field(128, ge=1)
    """The number of calibration samples to use with gptq and awq; fewer are fine."""

    @field_validator("block_size")
    @classmethod
    def _some(cls, value: int) -> int:
        if value == 0:
            raise ValueError("block_size=0 is no size; give a positive number, or -1 for one scale per channel")
        return value

    @property
    def required(self) -> frozenset[Need]:
        modes = {self.mode, *(rule.overrides.get("mode") for rule in self.rules)}
        return self.needs if modes & set(CALIBRATED) else frozenset()

    def concerns(self, node: Node, named: bool) -> bool | str:
        if node.is_custom:
            return bool(self.kernels(node)) and "a custom layer; Keras quantizes none but its own"
        concern = super().concerns(node, named)
        if concern is not True:
            return concern
        if str(node.layer.compute_dtype) != "float32":
            return f"computes in {node.layer.compute_dtype}; Keras quantizes layers that compute in float32"
        kind, earlier = type(node.layer).__name__, quantized.mode(node.layer)
        if earlier is not None:
            return f"Keras quantized it already, in mode {earlier}"
        if kind not in MATRICES and (kind not in LOOKUPS or self.mode not in ("int8", "int4")):
            return f"stays float: Keras has no {self.mode} for {kind}"
        if self.mode in CALIBRATED and misread(node.layer):
            return f"stays float: Keras's {self.mode} takes the wrong axes of its kernel for inputs"
        if self.mode == "gptq" and not all(weight.values.all() for weight in self.kernels(node)):
            return "has zeros, which gptq would fill; int4 keeps them"
        if self.mode in CALIBRATED:
            return self._fitting(node)
        return True

    def _fitting(self, node: Node) -> bool | str:
        """Whether Keras's gptq and awq get a kernel right, which have no zero point below all of a group's weights."""
        for weight in self.kernels(node):
            if not has_matrix(node.layer, weight.name):
                return f"stays float: its kernel is no matrix, which Keras's {self.mode} needs"
            matrix = to_matrix(weight.values, node.layer, weight.name)[0]
            if self.mode == "gptq" and self.block_size == -1 and len(matrix) > WIDEST:
                return f"Keras's gptq has no single scale for more than {WIDEST} inputs; give block_size={WIDEST}"
            size = len(matrix) if self.block_size == -1 else self.block_size
            for start in range(0, len(matrix), size):
                low, high = matrix[start : start + size].min(0), matrix[start : start + size].max(0)
                if (2 * LEVELS * low > high - low).any():
                    return f"stays float: Keras's {self.mode} gets groups of weights that are all positive wrong"
        return True

    def run(self, model: Any, ctx: Context) -> PassResult:
        new = copy(model)
        selection = self.select(new)
        inside = _inside(new)
        changes: list[Change] = []
        skipped = list(selection.skipped)
        groups: dict[QuantizeKeras, list[Any]] = {}
        for node, settings in selection.chosen:
            assert isinstance(settings, QuantizeKeras)
            planned = (ctx.plan.weights.get(node.qualified(weight)) for weight in self.kernels(node))
            if any(found is not None and found.kind == "int" for found in planned):
                skipped.append(Skip(node.name, "its kernels lie on a grid already"))
            elif (outer := inside.get(id(node.layer))) is not None:
                skipped.append(Skip(node.name, f"stays float: Keras reads no quantized layer back inside {outer}"))
            else:
                bare = settings.model_copy(update={"layers": (), "skip": (), "rules": ()})
                groups.setdefault(bare, []).append(node.layer)
                changes.append(Change(node.name, DETAILS[settings.mode], {"bits": BITS[settings.mode]}))
        for settings, layers in groups.items():
            settings._quantize(new, layers, ctx)
        return PassResult(new, tuple(changes), tuple(skipped))

    def _quantize(self, model: Any, layers: list[Any], ctx: Context) -> None:
        """Quantize these layers in place."""
        import keras

        if self.mode in CALIBRATED:
            calibrate(model, layers, self.mode, self.block_size, lambda: _run(model, ctx, self.samples))
            return
        config = keras.quantizers.Int4QuantizationConfig(block_size=self.block_size) if self.mode == "int4" else None
        chosen = set(map(id, layers))
        model.quantize(self.mode, config=config, filters=lambda layer: id(layer) in chosen)


def _inside(model: Any) -> dict[int, str]:
    """The layers inside other layers, by identity, and the type of the outermost of those.

    Keras 3.15 builds such a layer in float when it reads a file, whatever was saved, and TimeDistributed calls it past
    its quantization.
    """
    import keras

    found: dict[int, str] = {}
    for node in nodes(model):
        if not isinstance(node.layer, keras.Model):
            for layer in layers_of(node.layer, itself=False):
                found.setdefault(id(layer), type(node.layer).__name__)
    return found


def _run(model: Any, ctx: Context, samples: int) -> None:
    """Run the model on calibration data."""
    data = ctx.data.calibration
    if data is None:
        raise UsageError(f"quantize.keras: needs {Need.CALIBRATION}; give it with --calibration or --data")
    run(model, batches(model, data, samples), (), lambda *_: None)
