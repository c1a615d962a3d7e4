"""Every private attribute of Keras and of its backends that is read, each by a function of its own.

Seen in Keras 3.15.1, tf_keras 2.21.0, TensorFlow 2.21.0 and JAX 0.10.2, which pyproject.toml bounds. What a new version
no longer has is an UnsupportedError that names it. No other module reads private attributes of libraries, as a test
sees to.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from kcompress.errors import UnsupportedError

TRAINABLE = "_trainable"
"""The attribute behind `layer.trainable`, which can be set without setting it for all weights and layers inside."""
ADDITIONAL_LOSS = "_aggregate_additional_loss"
"""The method of a trainer that adds losses of layers to that of the outputs; under MirroredStrategy it divides them."""
INVALID = re.compile(r"[^A-Za-z0-9./_-]")
"""What a scope of a TensorFlow graph may not have in its name; its first sign may be a letter, a digit or a dot."""
LOWERED = "_lower_using_switch_merge"
"""The attribute of a GraphDef's loop by which TensorFlow takes it apart, which converters cannot put together again."""


def private(owner: Any, name: str, library: str = "keras") -> Any:
    """A private attribute; UnsupportedError where this version of the library has none of that name."""
    try:
        return getattr(owner, name)
    except AttributeError as error:
        kind = owner if isinstance(owner, type) else type(owner)
        raise UnsupportedError(
            f"{library} {_version(library)} has no {getattr(kind, '__name__', kind)}.{name} any more; install a "
            "version that kcompress is made for, with pip install --upgrade kcompress"
        ) from error


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "of an unknown version"


# Layers


def layers_of(layer: Any, itself: bool = True, inner: bool = True) -> list[Any]:
    """A layer or model and all layers inside it, in order: public attributes have only those of models.

    Without `itself` the layer is left out, without `inner` what lies inside of those inside.
    """
    return list(private(layer, "_flatten_layers")(include_self=itself, recursive=inner))


def own_variables(layer: Any) -> tuple[list[Any], list[Any]]:
    """The variables of a layer but not of those inside it: what training changes, and what it does not."""
    return list(private(layer, "_trainable_variables")), list(private(layer, "_non_trainable_variables"))


def seed_generators(layer: Any) -> list[Any]:
    """The generators that a layer draws from; none for most."""
    return list(getattr(layer, "_seed_generators", ()))


def takes_training(operation: Any) -> bool:
    """Whether Keras hands `training` on to a layer's call."""
    return "training" in getattr(operation, "_call_context_args", ())


def attention_part(layer: Any, name: str) -> Any:
    """One of the layers inside attention: query, key, value, output or gate. None where it has no such part."""
    return getattr(layer, f"_{name}_dense", None)


def value_dim(layer: Any) -> int:
    """The width of a head's values in MultiHeadAttention, whose configuration may leave it open."""
    return int(private(layer, "_value_dim"))


def attention_output_shape(layer: Any) -> Any:
    """The shape of the outputs that MultiHeadAttention was given; None where there was none."""
    return private(layer, "_output_shape")


def layers_as_listed(model: Any) -> list[Any]:
    """The layers of a model in its own list, to which input layers of a Sequential belong too."""
    return list(private(model, "_layers"))


@contextmanager
def any_layer_name() -> Iterator[None]:
    """Meanwhile, layers may have names that TensorFlow's graphs do not take, such as `_conv_stem` or `my layer`.

    A scope of a graph then has a name like it; names of layers and weights stay. Other backends take all names.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf
    from keras.src.backend.tensorflow.core import name_scope

    made = name_scope.__init__

    def make(self: Any, name: str, **settings: Any) -> None:
        made(self, name, **settings)
        private(self, "_tf_name_scope")
        plain = INVALID.sub("_", name)
        plain = plain if plain[:1].isalnum() or plain[:1] == "." else f"x{plain}"
        if plain != name:
            self._tf_name_scope = tf.name_scope(plain)

    name_scope.__init__ = make
    try:
        yield
    finally:
        name_scope.__init__ = made


@contextmanager
def sequential_at_once() -> Iterator[None]:
    """Meanwhile, a Sequential that is made from its config is put together once, not anew after each of its layers.

    That takes Keras a time that grows with the square of their number.
    """
    import keras

    own = keras.Sequential
    make, add = own.from_config.__func__, own.add

    def from_config(cls: type, config: Any, custom_objects: Any = None) -> Any:
        started: dict[int, Any] = {}

        def add_only(self: Any, layer: Any, rebuild: bool = True) -> None:
            started[id(self)] = self
            add(self, layer, rebuild=False)

        outer, own.add = own.add, add_only
        try:
            model = make(cls, config, custom_objects)
        finally:
            own.add = outer
        for each in started.values():
            if private(each, "_functional") is None:
                private(each, "_maybe_rebuild")()
        return model

    own.from_config = classmethod(from_config)
    try:
        yield
    finally:
        own.from_config = classmethod(make)


# What can be saved


def exported() -> dict[str, Any]:
    """What Keras exports, by its public name, such as `keras.layers.Dense`: the names by which its files call it."""
    from keras.src import api_export

    return dict(private(api_export, "REGISTERED_NAMES_TO_OBJS"))


def saveable() -> type:
    """The base of all classes that Keras builds from a file."""
    from keras.src.saving.keras_saveable import KerasSaveable

    return KerasSaveable  # type: ignore[no-any-return]


# Graphs


def producer(tensor: Any) -> Any:
    """The layer or operation that a symbolic tensor comes from."""
    return private(tensor, "_keras_history").operation


def nodes_in_order(graph: Any, library: str = "keras") -> Iterator[Any]:
    """The nodes of a Functional model or a Function, each behind those that it needs."""
    by_depth = private(graph, "_nodes_by_depth", library)
    for depth in sorted(by_depth, reverse=True):
        yield from by_depth[depth]


def input_structure(model: Any) -> Any:
    """The structure that a Functional model takes its inputs in; None for other models."""
    return getattr(model, "_inputs_struct", None)


def output_structure(model: Any) -> Any:
    """The structure that a Functional model gives its outputs in; None for other models."""
    return getattr(model, "_outputs_struct", None)


def functional_of(sequential: Any) -> Any:
    """The Functional model that a Sequential one runs; None before it was built."""
    return private(sequential, "_functional")


def is_functional_class(cls: type) -> bool:
    """Whether a subclass of Functional has the constructor of that class, so that its configuration is one's."""
    from keras.src.models.functional import functional_like_constructor

    return bool(functional_like_constructor(cls))


def mask_of(tensor: Any) -> Any:
    """The mask that goes with a tensor; None for none."""
    from keras.src.backend import get_keras_mask

    return get_keras_mask(tensor)


# Compiled models


def compiled_loss(model: Any) -> tuple[Any, Any] | None:
    """The losses and loss weights that `compile` was given, as they were given; None for a model without any."""
    compiled = getattr(model, "_compile_loss", None)
    return None if compiled is None else (private(compiled, "_user_loss"), private(compiled, "_user_loss_weights"))


def compile_settings(model: Any) -> Any:
    """All that `compile` was given; None for a model that was not compiled."""
    compiled = getattr(model, "_compile_config", None)
    return None if compiled is None else compiled.config


def wrapped_function(metric: Any) -> Any:
    """The function that a metric or loss is a mean of; None where there is none."""
    return getattr(metric, "_fn", None)


def function_settings(loss: Any) -> Mapping[str, Any]:
    """What the function of a loss is called with."""
    found: Mapping[str, Any] = getattr(loss, "_fn_kwargs", {})
    return found


# Building and placing variables


@contextmanager
def variables_without_values() -> Iterator[None]:
    """Meanwhile, models are built whose variables have shapes but no values, and are forgotten afterwards.

    Keras puts off their initialization until the end of the next StatelessScope, which would allocate all of them.
    """
    import keras
    from keras.src.backend.common import global_state

    waiting = global_state.get_global_attribute("uninitialized_variables", [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            global_state.set_global_attribute("uninitialized_variables", [])
            yield
    finally:
        global_state.set_global_attribute("uninitialized_variables", waiting)


def set_layout(variable: Any, layout: Any) -> None:
    """How a variable is divided among devices from its next assignment on; None for not at all."""
    private(variable, "_layout")
    variable._layout = layout


def detected_cluster(coordinator: str | None, processes: int | None, process: int | None, seconds: int) -> Any:
    """What JAX finds out of a cluster: coordinator, processes, process and local devices.

    `jax.distributed.initialize` asks it too, but ends the process when time is up.
    """
    from jax._src import clusters

    detect = private(clusters.ClusterEnv, "auto_detect_unset_distributed_params", "jax")
    return detect(coordinator, processes, process, None, None, seconds)


def patch_tf2onnx() -> None:
    """Keras's own patch of tf2onnx, for NumPy 2."""
    from keras.src.export.tf2onnx_lib import patch_tf2onnx as patch

    patch()


def set_compressor(opened: Any, compressor: Any) -> None:
    """Give a zip's member that is being written a compressor: zipfile's own has settings that can't be changed."""
    private(opened, "_compressor", "zipfile")
    opened._compressor = compressor


# Keras 2


def is_keras2_graph(model: Any) -> bool:
    """Whether a model of tf_keras is a Functional one."""
    return bool(getattr(model, "_is_graph_network", False))


def keras2_input_layers(model: Any) -> Sequence[Any]:
    """The input layers of a Functional model of tf_keras, in the order of its inputs."""
    layers: Sequence[Any] = private(model, "_input_layers", "tf_keras")
    return layers


def keras2_uses(model: Any, tensor: str) -> int:
    """How often a tensor, by the text of its id, is used in a Functional model of tf_keras."""
    return int(private(model, "_tensor_usage_count", "tf_keras")[tensor])


def keras2_structures(model: Any) -> tuple[Any, Any]:
    """The structures that a Functional model of tf_keras takes its inputs in and gives its outputs in."""
    return private(model, "_nested_inputs", "tf_keras"), private(model, "_nested_outputs", "tf_keras")


def keras2_safe_mode() -> AbstractContextManager[Any]:
    """Meanwhile, tf_keras refuses code in the files that it reads, `.h5` files included."""
    from tf_keras.src.saving.serialization_lib import SafeModeScope

    return SafeModeScope(True)  # type: ignore[no-any-return]


def keras2_has_backward_layer(layer: Any) -> bool:
    """Whether a Bidirectional of tf_keras was given a layer for the way back."""
    return bool(getattr(layer, "_backward_layer_config", None))
