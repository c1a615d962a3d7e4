"""What a model file may name: the classes and functions of the installed Keras that only compute.

They are listed by what they are. A class is one that Keras exports and can save, an operation of `keras.ops`, or a
layer of `keras.applications`; a function takes `x`, or `y_true` and `y_pred`. So a layer that a new Keras brings needs
no entry here. `RUNS_CODE` are those layers that hold or fetch code.
"""

import importlib
import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from kcompress.formats.tensorflow_operators import OPERATORS
from kcompress.keras_internals import exported, saveable

RUNS_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
PARTS = (
    *("activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics", "optimizers"),
    *("optimizers.schedules", "quantizers", "regularizers"),
)
"""The modules of Keras whose names a file may give, besides the one that defines a class."""
UNEXPORTED = ("keras.src.ops.", "keras.src.applications.", "keras.src.models.functional")
"""Where Keras defines classes that its own models hold, but that it does not export."""
KERAS2_PARTS = (*(part for part in PARTS if part not in ("dtype_policies", "quantizers")), "mixed_precision")
KERAS2_MODELS = ("Model", "Sequential", "Functional")
LITERALS = ("__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__")
"""What Keras writes in place of values that JSON has not."""
KERAS2_LITERALS = ("__tuple__", "__ellipsis__", "TensorShape")


@dataclass(frozen=True)
class Allowed:
    """Names of classes and functions, each with the modules that a file may name it by; None is to name no module."""

    classes: Mapping[str, frozenset[str | None]]
    functions: Mapping[str, frozenset[str | None]]
    literals: frozenset[str] = frozenset()
    operators: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Classes that call a function which they name, and the functions that they may name."""

    def __or__(self, other: "Allowed") -> "Allowed":
        return Allowed(
            _merged((self.classes, other.classes)),
            _merged((self.functions, other.functions)),
            self.literals | other.literals,
            {**self.operators, **other.operators},
        )


@cache
def keras3(legacy: bool = False) -> Allowed:
    """What Keras 3 has; in `legacy` documents, those of `.h5` files, classes are named without their modules too."""
    classes: dict[str, set[str | None]] = defaultdict(set)
    functions: dict[str, set[str | None]] = defaultdict(set)
    nowhere = {None} if legacy else set()
    for module, name, item in _public("keras", PARTS):
        if inspect.isclass(item) and _configures(item):
            classes[name] |= {module, item.__module__, *nowhere}
        elif inspect.isfunction(item) and _computes(item):
            functions[name] |= {module, "builtins"}
    for path, item in exported().items():
        module, _, name = path.rpartition(".")
        if inspect.isclass(item) and _configures(item):
            classes[name] |= {module, item.__module__, *nowhere}
        elif inspect.isfunction(item) and module.startswith("keras.ops") and _computes(item):
            functions[name].add(module)
    for item in _subclasses(saveable()):
        if item.__module__.startswith(UNEXPORTED):
            classes[item.__name__] |= {item.__module__, *nowhere}
    if legacy:
        classes["Model"].add(None)
    for name in RUNS_CODE:
        classes.pop(name, None)
    return Allowed(_frozen(classes), _frozen(functions), frozenset(LITERALS))


@cache
def keras2() -> Allowed:
    """What Keras 2 (`tf_keras`) has, as its `.h5` files name it."""
    classes: dict[str, set[str | None]] = {name: {None} for name in KERAS2_MODELS}
    functions: dict[str, set[str | None]] = defaultdict(set)
    for module, name, item in _public("tf_keras", KERAS2_PARTS):
        # Its files call the package `keras`, as it was called when they were made.
        own = str(getattr(item, "__module__", module))
        modules = {module, module.removeprefix("tf_"), own, own.removeprefix("tf_"), None}
        if inspect.isclass(item) and hasattr(item, "from_config"):
            classes[name] = classes.get(name, set()) | modules
            classes[f"Custom>{name}"] = {None}  # as optimizers are registered
        elif inspect.isfunction(item) and _computes(item):
            functions[name] |= {*modules, "builtins"}
    for name in RUNS_CODE:
        classes.pop(name, None)
    return Allowed(
        _frozen(classes), _frozen(functions), frozenset(KERAS2_LITERALS), {"TFOpLambda": frozenset(OPERATORS)}
    )


@cache
def tfmot() -> Allowed:
    """What TensorFlow Model Optimization has: all of its scopes, and schedules of pruning."""
    import tensorflow_model_optimization as library

    sparsity, clustering = library.sparsity.keras, library.clustering.keras
    found = [sparsity.ConstantSparsity, sparsity.PolynomialDecay]
    for scope in (sparsity.prune_scope, clustering.cluster_scope, library.quantization.keras.quantize_scope):
        found += [item for objects in scope().custom_objects for item in objects.values()]
    return Allowed({item.__name__: frozenset({item.__module__, None}) for item in found}, {})


def _public(package: str, parts: Iterable[str]) -> Iterator[tuple[str, str, Any]]:
    """Module, name and object of all that the public modules of a package hold, and the package itself."""
    for module in (package, *(f"{package}.{part}" for part in parts)):
        for name, item in vars(importlib.import_module(module)).items():
            if not name.startswith("_"):
                yield module, name, item


def _computes(function: Any) -> bool:
    """Whether a function takes values to values: an activation, a loss or a metric."""
    names = list(inspect.signature(function).parameters)
    return names[:1] == ["x"] or names[:2] == ["y_true", "y_pred"]


def _configures(item: type) -> bool:
    """Whether a class is one that Keras can save, or a part of one."""
    import keras

    parts = (
        *(saveable(), keras.initializers.Initializer, keras.regularizers.Regularizer, keras.constraints.Constraint),
        *(keras.optimizers.schedules.LearningRateSchedule, keras.DTypePolicy, keras.quantizers.Quantizer),
        keras.quantizers.QuantizationConfig,
    )
    return issubclass(item, parts)


def _subclasses(kind: type) -> Iterator[type]:
    own: list[type] = type.__subclasses__(kind)
    for each in own:
        yield each
        yield from _subclasses(each)


def _frozen(found: Mapping[str, set[str | None]]) -> dict[str, frozenset[str | None]]:
    return {name: frozenset(modules) for name, modules in found.items()}


def _merged(many: Iterable[Mapping[str, frozenset[str | None]]]) -> dict[str, frozenset[str | None]]:
    merged: dict[str, frozenset[str | None]] = {}
    for one in many:
        for name, modules in one.items():
            merged[name] = merged.get(name, frozenset()) | modules
    return merged
