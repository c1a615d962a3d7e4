"""A Keras model as a flat TensorFlow function whose weights are constants, for converters to read."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from kcompress.errors import UnsupportedError
from kcompress.keras_internals import LOWERED
from kcompress.model.signature import signature


@dataclass(frozen=True)
class Frozen:
    """A model's inference pass as a GraphDef whose weights are constants, with its input and output tensors."""

    definition: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def frozen_graph(model: Any, batch: int | None) -> Frozen:
    """Trace a model on constants instead of variables, with flat inputs and outputs; the batch is dynamic without one.

    No variables, nothing to freeze: converters need no SavedModel on disk, and one copy of the weights less than
    TensorFlow's own freezing.
    """
    import keras
    import tensorflow as tf

    sign = signature(model)
    trainable = [v.value.numpy() for v in model.trainable_variables]
    rest = [v.value.numpy() for v in model.non_trainable_variables]

    def call(*tensors: Any) -> list[Any]:
        weights = [[tf.constant(values) for values in group] for group in (trainable, rest)]
        outputs, _ = model.stateless_call(*weights, sign.pack(tensors), training=False)
        return [tf.identity(o) for o in keras.tree.flatten(outputs)]

    specs = [
        tf.TensorSpec((batch, *shape[1:]), sign.dtypes[name], name=name.replace("/", "_"))
        for name, shape in sign.inputs.items()
    ]
    eager = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # inlines Keras's compiled grouped convolution, which no converter reads
    try:
        concrete = tf.function(call, autograph=False).get_concrete_function(*specs)
    finally:
        tf.config.run_functions_eagerly(eager)
    definition = concrete.graph.as_graph_def()
    captured = {inner.op.name: outer for outer, inner in concrete.graph.captures}
    for node in definition.node:
        if node.name in captured:
            _make_constant(node, captured[node.name].numpy())
    functions = (node for function in definition.library.function for node in function.node_def)
    for node in (*definition.node, *functions):
        if LOWERED in node.attr:
            node.attr[LOWERED].b = False
    return Frozen(definition, tuple(concrete.inputs[: len(specs)]), tuple(concrete.outputs))


def _make_constant(node: Any, values: NDArray[Any]) -> None:
    """Turn the placeholder of a tensor that a layer holds besides its weights, as Normalization does, to a constant."""
    import tensorflow as tf

    node.op = "Const"
    del node.input[:]
    node.attr.clear()
    node.attr["dtype"].type = tf.as_dtype(values.dtype).as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))


def explain_failure(path: Path, error: Exception, names: Callable[[str], list[str]]) -> UnsupportedError:
    """A converter's exception as one line that names the operators it could not express."""
    found = sorted(set(names(str(error))))
    what = f"operators without a counterpart: {', '.join(found)}" if found else str(error).strip().splitlines()[0][:200]
    return UnsupportedError(f"{path}: cannot be converted ({what}); give another output format or replace the layers")
