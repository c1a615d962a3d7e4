"""One call of a layer with the numbers that its inputs are known to hold; it can run the layer on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.channels.constants.numbers import Numbers, varying
from kcompress.model.flow import Call, Shape

Array = NDArray[Any]


@dataclass(frozen=True)
class Evaluation:
    """A call of `layer`, or of one inside the called layer, with the numbers that it gets.

    `shapes` are those of its inputs, `made` those of its outputs. A handler calls `lose` for positions of an axis of
    the first input that are constant where the output is not, and says why.
    """

    call: Call
    layer: Any
    given: tuple[Numbers, ...]
    shapes: tuple[Shape, ...]
    made: tuple[Shape, ...]
    lose: Callable[[int, NDArray[np.bool_], str], None]

    @property
    def label(self) -> str:
        return self.call.label

    def unknown(self) -> list[Numbers]:
        return [varying(len(shape)) for shape in self.made]

    def inner(self, layer: Any) -> "Evaluation":
        return replace(self, layer=layer)

    def run(self, arrays: Sequence[Array], moves: bool = False) -> list[Numbers]:
        """What the called layer or operation gives for these arrays in place of the tensors among its arguments.

        They are cast to the types of the tensors; where the call only `moves` elements to float32 at least, in which
        NaN stays NaN.
        """
        import keras

        def cast(array: Array, dtype: str) -> Any:
            return keras.ops.convert_to_tensor(array, "float32" if moves and "float" not in dtype else dtype)

        call = self.call
        tensors = {id(item): cast(array, item.dtype) for item, array in zip(call.symbols, arrays, strict=True)}
        args, kwargs = keras.tree.map_structure(
            lambda item: tensors.get(id(item), item), (call.args, dict(call.kwargs))
        )
        return [as_array(each) for each in keras.tree.flatten(call.operation(*args, **kwargs))]


def as_array(tensor: Any) -> Numbers:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(tensor)).astype(np.float64)
