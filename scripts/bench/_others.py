"""Post-training quantization to integers by other tools, each as its documentation tells, on arrays of samples."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kcompress import backend


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what these tools print and warn of."""
    sink = io.StringIO()
    with (
        backend.silenced(),
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def tflite_converter(model: Any, x: Any, path: Path) -> None:
    """TensorFlow's converter, full integers with float inputs and outputs."""
    import tensorflow as tf

    with quiet():
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x[i : i + 1]] for i in range(len(x)))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        path.write_bytes(converter.convert())


def ai_edge_quantizer(source: Path, x: Any, path: Path, weight_bits: int = 8) -> None:
    """`ai-edge-quantizer` on a float `.tflite` file with one input: 8-bit activations, 8 or 4-bit weights."""
    from ai_edge_quantizer import qtyping, quantizer

    with quiet():
        worker = quantizer.Quantizer(str(source))
        every = qtyping.TFLOperationName
        worker.add_static_config(".*", every.ALL_SUPPORTED, 8, 8)
        for kind in (every.CONV_2D, every.FULLY_CONNECTED) if weight_bits == 4 else ():
            worker.add_static_config(".*", kind, 8, weight_bits)
        name = _signature_input(source)
        samples = {"serving_default": [{name: x[i : i + 1]} for i in range(len(x))]}
        path.write_bytes(worker.quantize(worker.calibrate(samples)).quantized_model)


def _signature_input(source: Path) -> str:
    from ai_edge_litert.interpreter import Interpreter

    return str(Interpreter(str(source)).get_signature_list()["serving_default"]["inputs"][0])


def onnxruntime_static(source: Path, x: Any, path: Path) -> None:
    """ONNX Runtime's `quantize_static` on a float `.onnx` file: QuantizeLinear and DequantizeLinear, per channel."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    name = onnxruntime.InferenceSession(str(source)).get_inputs()[0].name

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(x)

        def get_next(self) -> dict[str, Any] | None:
            sample = next(self.left, None)
            return None if sample is None else {name: np.asarray(sample[None])}

    with quiet():
        quantize_static(source, path, Reader(), quant_format=QuantFormat.QDQ, per_channel=True)
