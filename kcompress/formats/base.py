"""What a file format is: the class that each format's package defines, and what its methods take and return."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from numpy.typing import NDArray

from kcompress.backend import installed
from kcompress.data import Dataset
from kcompress.errors import KCompressError, MissingExtraError, ModelError, UnsupportedError, one_line
from kcompress.numerics import affine
from kcompress.quantization.plan import QuantPlan

Tensors = Mapping[str, NDArray[Any]]


class Runner(Protocol):
    """A loaded model that can be run. `inputs` maps names to shapes, the batch axis (None if dynamic) in front."""

    inputs: dict[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]

    def __call__(self, x: Tensors) -> list[NDArray[Any]]:
        """Run one batch; float inputs are cast to the model's dtype. One array per output, in order."""


@runtime_checkable
class OwnProcess(Protocol):
    """A Runner whose model runs in a process of its own, which measures it.

    `seconds` counts the time that it has computed; `peak_bytes` is the memory that its process has needed more since
    before it loaded the model, None where that is not known.
    """

    seconds: float
    peak_bytes: int | None


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


@contextmanager
def reading(path: Path, advice: str = "export it again") -> Iterator[None]:
    """Meanwhile, an error of any kind is a ModelError of one line: parsers have many for damaged files."""
    try:
        yield
    except KCompressError:
        raise
    except Exception as error:  # of flatbuffers, protobuf, NumPy or a runtime
        raise ModelError(f"{path}: damaged ({one_line(error)}); {advice}") from error


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
    most_bytes: ClassVar[int | None] = None
    """The largest file of this format that is read at all."""
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
