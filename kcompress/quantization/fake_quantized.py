"""The fake-quantized model: the same layers, meanwhile computing as a file of integers would.

Kernels are read through a quantizer, and values between layers are rounded to 8 or 16 bits where such a file holds them
as integers: the model's inputs, what a layer makes, and what comes before an activation that is an operator of its own.
Not between layers that converters fuse into one operator: a linear layer, the batch normalization behind it and a ReLU.

Both go by a straight-through gradient (Bengio, Léonard and Courville, 2013): rounding counts as the identity, and what
is clipped gets none. So a fake-quantized model can be trained, on any
backend; `bake` then puts its weights on their grids. What a layer computes inside of itself, such as the state of a
recurrent one, stays in float.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from kcompress.model.call_hooks import recurrent_cells
from kcompress.model.flow import Call, Flow, flow, passes_on
from kcompress.model.linear import linear
from kcompress.model.observe import is_traced, run, to_arrays
from kcompress.model.patching import patched
from kcompress.model.rebuild import assign
from kcompress.model.view import nodes
from kcompress.numerics import affine
from kcompress.numerics.ranges import Range
from kcompress.quantization.learned_scales import LearnedScales
from kcompress.quantization.plan import QuantPlan, WeightFormat
from kcompress.quantization.readers import Reader, read_through
from kcompress.quantization.rounding import to_grid, to_signs

Tap = Callable[[str, Any], Any]
"""Takes the name of a point and its value there, and returns the value to go on with."""
Limits = Mapping[str, tuple[float, float]]

NONE_LEARNED = LearnedScales(None, {})
"""No scale is learned."""
FIXED = {"softmax": (0.0, 255 / 256), "sigmoid": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}
"""Ranges that LiteRT's 8-bit scheme prescribes for what these make."""
MODEL_INPUT = "/input"
"""The name of the point before all layers."""
FUSED = ("linear", "relu", "relu6")
"""Activations that are part of the operator before them."""


def ranges(model: Any, batches: Iterable[Mapping[str, Any]], detailed: bool = False) -> dict[str, Range]:
    """What occurs at every point, by its name: a layer's, with `/input` for what comes before its activation.

    `batches` map input names to arrays; `detailed` is for methods that need more than minimum and maximum.
    """
    found: dict[str, Range] = {}

    def tap(name: str, value: Any) -> Any:
        if not is_traced(value):
            found.setdefault(name, Range(detailed)).add(to_arrays(value))
        return value

    with tapped(model, tap):
        run(model, batches, (), lambda *_: None)
    return found


@contextmanager
def fake_quantized_model(
    model: Any, plan: QuantPlan, limits: Limits, scales: LearnedScales = NONE_LEARNED
) -> Iterator[None]:
    """Meanwhile, calling the model computes with quantized weights and activations.

    `limits` holds the range of every point whose values are to be rounded; `scales` replace those that follow from
    the plan and these. The model must not have been compiled into a function yet, nor be used as such afterwards.
    """
    bits = 8 if plan.activations is None else plan.activations.bits

    def tap(name: str, value: Any) -> Any:
        low, high = limits.get(name, (0.0, 0.0))
        return fake_quantize(value, low, high, bits, scales.get(name)) if high > low else value

    planned = [(w.variable, plan.weights.get(node.qualified(w))) for node in nodes(model) for w in node.weights]
    whole = {
        id(v): _quantizer(v, weight_format, scales)
        for v, weight_format in planned
        if weight_format and weight_format.kind == "int"
    }
    with tapped(model, tap), read_through(model, whole), patched(model, "call", _reading(model.call, scales)):
        yield


def bake(model: Any, plan: QuantPlan) -> None:
    """Put every planned weight on its grid, to the nearest level, in place."""
    for node in nodes(model):
        for weight in node.weights:
            weight_format = plan.weights.get(node.qualified(weight))
            if weight_format is not None and not weight_format.holds(weight.values):
                assign([(weight.variable, weight_format.nearest(weight.values))])


def describe_point(point: str) -> str:
    """A point in words: `layer 'conv'`."""
    return "the model's inputs" if point == MODEL_INPUT else f"layer '{point.removesuffix('/input')}'"


@contextmanager
def tapped(model: Any, tap: Tap) -> Iterator[None]:
    """Meanwhile, send the value at every point through `tap`: those that an integer file would hold as integers."""
    calls = flow(model)
    fused = _fused(calls)
    with ExitStack() as stack:
        stack.enter_context(patched(model, "call", _tapping_inputs(model.call, MODEL_INPUT, tap)))
        for name, operation in _operations(model, calls):
            activation = getattr(operation, "activation", None)
            if callable(activation) and _name(activation) not in FUSED and type(operation).__name__ != "Activation":
                stack.enter_context(patched(operation, "activation", _tapping(activation, f"{name}/input", tap)))
            if id(operation) not in fused:
                stack.enter_context(patched(operation, "call", _tapping_result(operation.call, name, tap)))
        yield


def fixed_limits(model: Any) -> dict[str, tuple[float, float]]:
    """Points whose range does not depend on data."""
    import keras

    found = {}
    for name, operation in _operations(model, flow(model)):
        if isinstance(operation, keras.layers.RNN):  # its states are no results of its activation
            continue
        kind = type(operation).__name__.lower()
        made = kind if kind in FIXED else _name(getattr(operation, "activation", None))
        if made in FIXED:
            found[name] = FIXED[made]
    return found


def fake_quantize(value: Any, low: float, high: float, bits: int, scale: Any = None) -> Any:
    """Values rounded to one of 2^bits levels over [low, high], which contains 0 and makes it a level.

    Shape and dtype of a float tensor; with 16 bits the levels are symmetric around 0, as in LiteRT. `scale` is a tensor
    to take instead of the scale that follows from the range.
    """
    from keras import ops

    size, bottom, top = affine.span(low, high, bits)
    value = ops.convert_to_tensor(value)
    return to_grid(value, ops.convert_to_tensor(size) if scale is None else scale, bottom, top)


def _quantizer(variable: Any, weight_format: WeightFormat, scales: LearnedScales) -> Reader:
    """Reads a weight on its grid."""
    planned = weight_format.scales(tuple(variable.shape))

    def read(value: Any) -> Any:
        from keras import ops

        learned = scales.get(id(variable))
        scale = ops.convert_to_tensor(planned) if learned is None else learned
        return (
            to_signs(value, scale)
            if weight_format.bits == 1
            else to_grid(value, scale, weight_format.low, weight_format.high)
        )

    return read


def _reading(call: Any, scales: LearnedScales) -> Any:
    def reading(*args: Any, **kwargs: Any) -> Any:
        with scales.read():
            return call(*args, **kwargs)

    return reading


def _operations(model: Any, calls: Flow) -> Iterator[tuple[str, Any]]:
    """Every layer and operation that runs, once, with its name; also layers with kernels inside of others."""
    import keras

    seen: set[int] = set()
    every = nodes(model)
    hidden = recurrent_cells(every)
    inner = ((node.name, node.layer) for node in every if node.kernels and id(node.layer) not in hidden)
    for name, operation in (*((call.label, call.operation) for call in calls.calls), *inner):
        if id(operation) not in seen and not isinstance(operation, keras.Model):
            seen.add(id(operation))
            yield name, operation


def _fused(calls: Flow) -> set[int]:
    """Operations whose result goes into one other only, which converters make part of them, wherever they are used."""
    joined: set[int] = set()
    alone: set[int] = set()
    for call in calls.calls:
        users = [user for tensor in call.outputs for user in calls.consumers[tensor]]
        single = len(users) == 1 and not set(call.outputs) & set(calls.outputs) and _joins(call, users[0])
        (joined if single else alone).add(id(call.operation))
    return joined - alone


def _joins(call: Call, user: Call) -> bool:
    if passes_on(user):
        return True
    if user.kind == "BatchNormalization":
        return linear(call.operation) is not None and _name(getattr(call.operation, "activation", None)) == "linear"
    if user.kind == "ReLU":
        return not user.operation.negative_slope and not user.operation.threshold
    return user.kind == "Activation" and _name(user.operation.activation) in FUSED


def _name(activation: Any) -> str:
    return str(getattr(activation, "__name__", "")) if activation is not None else ""


def _tapping(function: Any, name: str, tap: Tap) -> Any:
    return lambda value: function(_each(value, name, tap))


def _tapping_result(call: Any, name: str, tap: Tap) -> Any:
    return lambda *args, **kwargs: _each(call(*args, **kwargs), name, tap)


def _tapping_inputs(call: Any, name: str, tap: Tap) -> Any:
    return lambda inputs, *args, **kwargs: call(_each(inputs, name, tap), *args, **kwargs)


def _each(structure: Any, name: str, tap: Tap) -> Any:
    """Every float tensor through the tap; others are no activations."""
    import keras

    def one(item: Any) -> Any:
        return tap(name, item) if "float" in str(getattr(item, "dtype", "")) else item

    return keras.tree.map_structure(one, structure)
