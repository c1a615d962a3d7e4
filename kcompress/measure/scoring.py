"""Scores per sample: accuracy where labels are classes, mean absolute error elsewhere, or a Keras metric by name."""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kcompress.data import Arrays
from kcompress.errors import DataError, UsageError
from kcompress.keras_internals import wrapped_function

Array = NDArray[Any]
Kind = Literal["classes", "one_hot", "binary", "values"]
LOWER_IS_BETTER = (
    "error",
    "loss",
    "crossentropy",
    "divergence",
    "hinge",
    "poisson",
    "cosh",
    "mae",
    "mse",
    "mape",
    "msle",
)
PROBABILITY_TOLERANCE = 1e-2  # float16 softmax outputs sum to 1 within this


def labels_for(name: str, y: Arrays, outputs: Sequence[str]) -> list[Array]:
    """One label array per output, in the outputs' order; DataError if outputs and label arrays do not match."""
    if isinstance(y, dict):
        missing = [output for output in outputs if output not in y]
        if missing:
            raise DataError(f"{name}: no labels for output '{missing[0]}'; labels are named {', '.join(y)}")
        return [y[output] for output in outputs]
    labels = list(y) if isinstance(y, tuple) else [y]
    if len(labels) != len(outputs):
        raise DataError(
            f"{name}: {len(labels)} label array(s) for {len(outputs)} output(s); "
            f"give one per output: {', '.join(outputs)}"
        )
    return labels


def kind_of(name: str, output_name: str, labels: Array, output: Array) -> Kind:
    """How labels relate to an output: class indices, one-hot rows, 0 or 1 for a single unit, or values."""
    integral = bool(
        np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool or np.all(labels == np.floor(labels))
    )
    if labels.shape[-1:] == (1,) and labels.ndim == output.ndim and output.shape[-1] > 1:
        labels = labels[..., 0]
    if integral and output.shape[-1] > 1 and labels.shape == output.shape[:-1]:
        return "classes"
    if labels.shape == output.shape and output.shape[-1] > 1 and integral and np.all(labels.sum(-1) == 1):
        return "one_hot"
    if output.shape[-1] == 1 and labels.size == output.size:
        return "binary" if integral and np.isin(labels, (0, 1)).all() else "values"
    if labels.shape == output.shape:
        return "values"
    raise DataError(
        f"{name}: labels of shape {labels.shape[1:]} and type {labels.dtype} do not fit output '{output_name}' "
        f"of shape {output.shape[1:]}; give class indices, one-hot rows, or values of the output's shape"
    )


def check_classes(name: str, output_name: str, labels: Array, classes: int) -> None:
    """Raise DataError unless the labels are indices of the classes that an output has."""
    if labels.min() < 0 or labels.max() >= classes:
        wrong = labels.max() if labels.max() >= classes else labels.min()
        raise DataError(
            f"{name}: label {wrong} does not fit the {classes} classes of output '{output_name}'; "
            f"give indices from 0 to {classes - 1}"
        )


def top1(output: Array, threshold: float) -> Array:
    """Predicted class per position; a single unit is compared with the threshold between its two classes."""
    result: Array = (output[..., 0] > threshold).astype(np.int64) if output.shape[-1] == 1 else output.argmax(-1)
    return result


def per_sample(values: Array) -> Array:
    """Mean over all axes but the first."""
    means: Array = np.asarray(values, np.float64).reshape(len(values), -1).mean(1)
    return means


def is_distribution(output: Array) -> bool:
    """Whether rows look like class probabilities."""
    return bool(
        output.ndim >= 2
        and output.shape[-1] > 1
        and output.min(initial=0) >= 0
        and np.allclose(output.sum(-1), 1, atol=PROBABILITY_TOLERANCE)
    )


def cosine(a: Array, b: Array) -> Array:
    """Cosine similarity per sample; two zero vectors count as equal."""
    a, b = a.reshape(len(a), -1).astype(np.float64), b.reshape(len(b), -1).astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    same = (np.linalg.norm(a, axis=1) == 0) & (np.linalg.norm(b, axis=1) == 0)
    return np.where(same, 1.0, np.divide((a * b).sum(1), norms, out=np.zeros_like(norms), where=norms > 0))


@dataclass(frozen=True)
class Metric:
    """A metric by its Keras name. `scale` turns a difference into points: 100 for a fraction, -1 for an error."""

    name: str
    function: Callable[[Any, Any], Any] | None
    """Values per sample from (labels, outputs), or None for a metric that only has a value over all samples."""
    make: Callable[[], Any] | None = None

    @property
    def scale(self) -> float:
        return -1.0 if any(word in self.name for word in LOWER_IS_BETTER) else 100.0


ACCURACY, ERROR = Metric("accuracy", None), Metric("mean_absolute_error", None)


def metric_named(name: str) -> Metric:
    """The Keras metric called `name`, such as `top_k_categorical_accuracy` or `AUC`; UsageError if there is none."""
    if name in ("accuracy", "acc"):
        return ACCURACY
    if name in ("mean_absolute_error", "mae"):
        return ERROR
    import keras

    try:
        found = keras.metrics.get(name)
    except ValueError:
        found = None
    if found is None or not callable(found):
        known = ["accuracy", "mae", *(item for item in dir(keras.metrics) if not item.startswith("_"))]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "give the name of a Keras metric, such as AUC"
        raise UsageError(f"metric={name} is no Keras metric; {hint}")
    if isinstance(found, keras.metrics.Metric):
        wrapped = wrapped_function(found)
        return Metric(str(found.name), wrapped, None if wrapped else lambda: type(found)())
    return Metric(str(getattr(found, "__name__", name)), found)
