"""What a file format is, and how the right one is found for a path.

A format module defines one Format subclass; its file name is the format's name. Modules whose name starts with an
underscore hold what formats share.
"""

import importlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from kcompress.backend import installed
from kcompress.data import Dataset
from kcompress.errors import MissingExtraError, ModelError, UnsupportedError, UsageError
from kcompress.numerics import affine
from kcompress.quantization.plan import QuantPlan

Tensors = Mapping[str, NDArray[Any]]


class Runner(Protocol):
    """A loaded model that can be run. `inputs` maps names to shapes, the batch axis (None if dynamic) in front."""

    inputs: dict[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]

    def __call__(self, x: Tensors) -> list[NDArray[Any]]:
        """Run one batch; float inputs are cast to the model's dtype. One array per output, in order."""


@dataclass(frozen=True)
class Row:
    """One line of `inspect`: a layer of a Keras model, or an operator type or a tensor type of another file."""

    name: str
    kind: str
    shape: str
    parameters: int
    nonzero: int
    macs: int | None = None


@dataclass(frozen=True)
class Description:
    """What a file holds, read from the file. `weight_bytes` is what its weights take there."""

    format: str
    inputs: dict[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]
    parameters: int
    nonzero: int
    weight_bytes: int
    rows: tuple[Row, ...]
    macs: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.weight_bytes / self.parameters if self.parameters else 0.0


@dataclass(frozen=True)
class WriteOptions:
    """`batch` fixes the batch size of a .tflite or .onnx file; a .keras file's `compression`: auto, deflate or none.

    `calibration` holds samples for the ranges of integer activations, by the model's input names.
    """

    batch: int | None = None
    calibration: Dataset | None = None
    compression: str = "auto"


@dataclass(frozen=True)
class Written:
    """What a writer could not do, and other remarks.

    `float_weights` are planned weights that the file holds in float32 all the same, or computes with in floats where
    integers were asked for; `float_operators` are the operators, with their number, that compute in floats there.
    """

    float_weights: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    float_operators: Mapping[str, int] = field(default_factory=dict)

    @property
    def remarks(self) -> tuple[str, ...]:
        """All that is to be said of the file besides the layers left in float."""
        if not self.float_operators:
            return self.notes
        return (*self.notes, f"computed in float: {counted(self.float_operators)}")


def counted(operators: Mapping[str, int]) -> str:
    """`LEAKY_RELU (1), PRELU (2)`."""
    return ", ".join(f"{kind} ({count})" for kind, count in sorted(operators.items()))


class Format:
    """Base of all formats. A format that cannot do something keeps the method as it is here."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""
    """The extra that brings what `modules` and `makers` list."""
    modules: ClassVar[tuple[str, ...]] = ()
    makers: ClassVar[tuple[str, ...]] = ()
    """What writing needs besides `modules`."""
    activations: ClassVar[frozenset[tuple[str, int]]] = frozenset()
    """Mode and bits of the activations that a plan may ask for here; what is not computed so is noted by the writer."""
    scale_digits: ClassVar[int] = affine.FULL
    """Significant bits of the scales of weights' grids that suit the file."""
    integer_edges: ClassVar[bool] = False
    """Whether the file's own inputs and outputs may be integers."""
    reads: ClassVar[bool] = False
    writes: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return type(self).__module__.split(".")[-2]

    def require(self, purpose: str, writing: bool = False) -> None:
        """Raise MissingExtraError if a library that this format needs, for writing where asked, is not installed."""
        if not all(map(installed, (*self.modules, *(self.makers if writing else ())))):
            raise MissingExtraError(self.extra, purpose)

    def read(self, path: Path, trust: Sequence[str] = ()) -> Any:
        """Read a Keras model, after checking that the file runs no code of its own."""
        raise UnsupportedError(
            f"{path}: a {self.name} file can be inspected, measured and compared, but not compressed further; "
            "give the Keras model (.keras or .h5) that it was made from"
        )

    def write(self, model: Any, plan: QuantPlan, path: Path, options: WriteOptions) -> Written:
        """Write the model to `path`, each weight in its planned format."""
        raise UnsupportedError(f"{path}: {self.name} files are not written")

    def open(self, path: Path, trust: Sequence[str] = ()) -> Runner:
        """Load the file with the runtime that is to run it."""
        raise UnsupportedError(f"{path}: {self.name} files are not run")

    def describe(self, path: Path, trust: Sequence[str] = (), runner: Runner | None = None) -> Description:
        """What the file holds. `runner`, if the file is open already, saves loading it once more."""
        raise UnsupportedError(f"{path}: {self.name} files are not described")


@cache
def formats() -> dict[str, Format]:
    """All formats by name; importing them imports no backend."""
    found: dict[str, Format] = {}
    for file in sorted(Path(__file__).parent.glob("*/format.py")):
        module = importlib.import_module(f"kcompress.formats.{file.parent.name}.format")
        for item in vars(module).values():
            if isinstance(item, type) and issubclass(item, Format) and item.__module__ == module.__name__:
                found[file.parent.name] = item()
    return found


def find(path: Path) -> Format:
    """The format of an existing file or folder, by suffix; ModelError if there is none, or nothing at that path."""
    if not path.exists():
        raise ModelError(f"{path}: no such file; give a saved model ({_suffixes(formats().values())})")
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            return formats()["savedmodel"]
        raise ModelError(f"{path}: a folder without saved_model.pb; give a model file or a SavedModel folder")
    for form in formats().values():
        if path.suffix.lower() in form.suffixes:
            return form
    raise ModelError(f"{path}: not a model; allowed: {_suffixes(formats().values())}")


def for_output(path: Path) -> Format:
    """The format that writes files with this suffix; UsageError if there is none."""
    writers = [form for form in formats().values() if form.writes]
    for form in writers:
        if path.suffix.lower() in form.suffixes:
            return form
    raise UsageError(f"{path}: the suffix '{path.suffix}' is no output format; allowed: {_suffixes(writers)}")


def _suffixes(candidates: Any) -> str:
    return ", ".join(suffix for form in candidates for suffix in form.suffixes)


def file_bytes(path: Path) -> int:
    """Size of a file, or of all files in a folder."""
    return sum(p.stat().st_size for p in _files(path))


def gzip_bytes(path: Path) -> int:
    """Size under gzip at its default level, the way a server would send it; read in pieces."""
    total = 0
    for file in _files(path):
        packer = zlib.compressobj(6, wbits=31)
        with file.open("rb") as stream:
            while piece := stream.read(1 << 20):
                total += len(packer.compress(piece))
        total += len(packer.flush())
    return total


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def run_batches(runner: Runner, x: Tensors) -> list[NDArray[Any]]:
    """Run any number of samples; a file with a fixed batch size gets them in such batches, the last one filled up."""
    fixed = next(iter(runner.inputs.values()))[0]
    count = len(next(iter(x.values())))
    if fixed is None or fixed == count:
        return runner(x)
    parts = []
    for start in range(0, count, fixed):
        piece = {name: values[start : start + fixed] for name, values in x.items()}
        short = fixed - len(next(iter(piece.values())))
        if short:
            piece = {name: np.concatenate([values, np.repeat(values[-1:], short, 0)]) for name, values in piece.items()}
        parts.append(runner(piece))
    return [np.concatenate(outputs)[:count] for outputs in zip(*parts, strict=True)]


def by_position(x: Tensors, inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The same arrays under these input names: by name where the names agree, else in order; ModelError if neither."""
    if set(x) == set(inputs):
        return dict(x)
    if len(x) != len(inputs):
        raise ModelError(f"models take {len(x)} and {len(inputs)} inputs; compare like with like")
    return dict(zip(inputs, x.values(), strict=True))


def cast_inputs(x: Tensors, dtypes: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Give each input the dtype that the runtime wants."""
    return {name: np.asarray(x[name], dtype=dtype) for name, dtype in dtypes.items()}
