"""Types of public signatures."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

    from kcompress.data import Dataset, Splits
    from kcompress.passes.base import Pass

PathLike: TypeAlias = str | Path
ModelLike: TypeAlias = "str | Path | keras.Model"
"""The path of a saved model, or a Keras model."""
DataLike: TypeAlias = (
    "str | Path | NDArray[Any] | tuple[Any, ...] | Mapping[str, Any] | Iterable[Any] | Callable[[], Any] | "
    "Dataset | Splits | None"
)
"""Where samples come from; see `kcompress.data.resolve`."""
PassLike: TypeAlias = "str | Mapping[str, Any] | Pass"
"""A pass, a text as `--apply` takes it, or a mapping as in a recipe."""
Combination = Literal["average", "weighted", "stacked"]
"""How several models become one."""
Distribution = Literal["data", "model"]
"""What is divided among devices: samples, or large kernels."""
