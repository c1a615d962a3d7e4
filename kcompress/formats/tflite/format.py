"""The `.tflite` flatbuffer of LiteRT: written by TensorFlow's converter, then edited; run by `ai-edge-litert`.

The converter gets the model traced on constants, which saves it a SavedModel on disk and most of its time. The
edit gives the file a `serving_default` signature with the model's own input and output names, and stores each planned
weight in its format: where activations are to be integers `ai-edge-quantizer` rewrites the operators; all other planned
weights become small constants behind a DEQUANTIZE operator.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kcompress import backend
from kcompress.formats.base import Description, Format, Runner, WriteOptions, Written, reading
from kcompress.formats.frozen_graph import explain_failure, frozen_graph
from kcompress.formats.stored_tensors import match_plan
from kcompress.formats.tensorflow_process import in_child, on_tensorflow
from kcompress.formats.tflite.description import describe, float_operators
from kcompress.formats.tflite.flatbuffer import add_signature, float_constants, pack, shorten_names, store, unpack
from kcompress.formats.tflite.integers import quantize_activations
from kcompress.formats.tflite.runner import LiteRTRunner
from kcompress.model.signature import signature
from kcompress.quantization.plan import QuantPlan


class TFLite(Format):
    suffixes = (".tflite",)
    extra = "tensorflow"
    modules = ("tensorflow", "ai_edge_litert")
    activations = frozenset({("static", 8), ("static", 16), ("dynamic", 8)})
    integer_edges = True
    most_bytes = 2_147_483_647  # as many as flatbuffers can address
    writes = True

    def write(self, model: Any, plan: QuantPlan, path: Path, options: WriteOptions) -> Written:
        self.require(f"writing {path.name}")
        if not on_tensorflow():
            return in_child(self.name, model, plan, path, options)
        data, notes = _convert(model, path, options.batch)
        buffer = unpack(data)
        sign = signature(model)
        add_signature(buffer, tuple(sign.inputs), sign.outputs)
        found, missing = match_plan(model, plan, float_constants(buffer) if plan else {})
        if plan.activations is None:
            store(buffer, found)
            shorten_names(buffer)
            path.write_bytes(pack(buffer))
            return Written(missing, notes)
        buffer = quantize_activations(buffer, found, plan.activations, options)
        left = {name: found[name] for name in float_constants(buffer) if name in found}
        store(buffer, left)
        shorten_names(buffer)
        path.write_bytes(pack(buffer))
        whole = [name for stored in left.values() if stored.levels is not None for name in stored.weights]
        floats = float_operators(buffer) if plan.activations.mode == "static" else {}
        return Written(tuple(sorted({*missing, *whole})), notes, dict(floats))

    def open(self, path: Path, trust: Sequence[str] = ()) -> Runner:
        self.require(f"running {path.name}")
        with reading(path, "convert it again"):
            return LiteRTRunner(path)

    def describe(self, path: Path, trust: Sequence[str] = (), runner: Runner | None = None) -> Description:
        self.require(f"reading {path.name}")
        with reading(path, "convert it again"):
            opened = runner or LiteRTRunner(path)  # the runtime's verifier first
            return describe(self.name, unpack(path.read_bytes()), opened)


def _convert(model: Any, path: Path, batch: int | None) -> tuple[bytes, tuple[str, ...]]:
    """The converter's flatbuffer, and remarks. Loops of recurrent layers force a fixed batch size, which is then 1."""
    import tensorflow as tf

    try:
        with backend.silenced():
            frozen = frozen_graph(model, batch)
            graph = frozen.definition, list(frozen.inputs), list(frozen.outputs)
            return tf.compat.v1.lite.TFLiteConverter(*graph).convert(), ()
    except Exception as error:  # of TensorFlow's converter, which has no public class
        if batch is None and "TensorList" in str(error):
            data, _ = _convert(model, path, 1)
            return data, ("the batch size is fixed at 1: LiteRT cannot run recurrent layers with a dynamic one",)
        raise explain_failure(path, error, _unknown_operators) from error


def _unknown_operators(message: str) -> list[str]:
    return re.findall(r"tf\.[A-Z]\w+", message)
