"""Architectures of keras.applications as integer `.tflite` files, and what such a file must be like."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from kcompress import data
from kcompress.formats import WriteOptions, formats
from kcompress.formats.keras.runner import KerasRunner
from kcompress.formats.tflite.flatbuffer import operators, schema
from kcompress.formats.tflite.rows import float_operators
from kcompress.passes import find
from kcompress.passes.base import Context
from kcompress.quantization.plan import QuantPlan
from tests.models import keras
from tests.passes.fold.statistics import randomized

SIZES = {
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "DenseNet121": 32,
    "NASNetMobile": 32,
    "Xception": 71,
    "InceptionV3": 75,
    "VGG16": 32,
    "ConvNeXtTiny": 32,
}
"""Pixels of the inputs, about the fewest that each takes."""
SAME = ("CONCATENATION", "RESHAPE", "MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "STRIDED_SLICE", "TRANSPOSE")
"""Operators that LiteRT runs on 8-bit integers only if inputs and output have one scale."""
FIXED = {"SOFTMAX": (1 / 256, -128), "LOGISTIC": (1 / 256, -128), "TANH": (1 / 128, 0)}
"""Operators whose 8-bit output must have this scale and zero point."""
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def images(size: int, count: int) -> Any:
    """Fashion-MNIST, enlarged, each image in a colour of its own. Shape (count, size, size, 3), from 0 to 255."""
    with np.load(FIXTURES / "fashion_mnist.npz") as file:
        grey = file["x_train"][:count].reshape(-1, 28, 28)
    enlarged = np.kron(grey, np.ones((-(-size // 28),) * 2, np.uint8))[:, :size, :size, None]
    return (enlarged * np.random.default_rng(0).uniform(0.3, 1, (len(grey), 1, 1, 3))).astype(np.float32)


def build(name: str, size: int, x: Any, seed: int = 0) -> Any:
    """An architecture for ten classes with random kernels, and batch normalization as after training on `x`."""
    k = keras()
    k.utils.set_random_seed(seed)
    settings = {"weights": None, "classes": 10, "input_shape": (size, size, 3), "classifier_activation": None}
    return randomized(getattr(k.applications, name)(**settings), x)


def write(model: Any, x: Any, path: Path, **fields: Any) -> tuple[Any, Any]:
    """Write in integers, calibrated on `x`. Gives the model whose weights lie on the grid, and what the writer said."""
    step = find("quantize.int8")(samples=len(x), **fields)
    splits = data.resolve(calibration=x)
    samples = splits.calibration
    assert samples is not None
    result = step.apply(find("fold.batchnorm")().apply(model, Context()).model, Context(data=splits, target="tflite"))
    plan = QuantPlan(result.formats, step.computation())
    options = WriteOptions(None, samples.fit_to(KerasRunner(model).inputs))
    return result.model, formats()["tflite"].write(result.model, plan, path, options)


def faults(model: Any) -> list[str]:
    """What keeps a static 8-bit flatbuffer with float inputs and outputs from being one that computes in integers."""
    found = [f"{kind} in float ({count})" for kind, count in float_operators(model).items()]
    types = schema().TensorType
    edges = Counter()
    for graph, operator, kind in operators(model):
        every = [int(i) for i in (*operator.inputs, *operator.outputs) if i >= 0]
        if any(graph.tensors[i].type == types.FLOAT32 for i in every):
            edges[kind] += 1
        moved = [_grid(graph.tensors[i]) for i in every if graph.tensors[i].type == types.INT8]
        if kind in SAME and len(set(moved)) > 1:
            found.append(f"{kind} with different scales")
        if kind in FIXED and moved[-1] != FIXED[kind]:
            found.append(f"{kind} with the scale and zero point {moved[-1]}")
    if edges != {"QUANTIZE": 1, "DEQUANTIZE": 1}:
        found.append(f"more between float and integer than the edges: {dict(edges)}")
    return found


def _grid(tensor: Any) -> tuple[float, int]:
    return float(tensor.quantization.scale[0]), int(tensor.quantization.zeroPoint[0])
