"""What holds only while a model is trained."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from kcompress.errors import UsageError
from kcompress.keras_internals import TRAINABLE, layers_of
from kcompress.model.patching import patched
from kcompress.model.view import nodes
from kcompress.training import batchnorm


@contextmanager
def named_errors(name: str) -> Iterator[None]:
    """Meanwhile, put the name of the pass in front of what is wrong with its settings."""
    try:
        yield
    except UsageError as error:
        text = str(error)
        raise UsageError(text if text.startswith(name) else f"{name}: {text}") from error


@contextmanager
def only_learning(names: set[str], model: Any) -> Iterator[None]:
    """Meanwhile, let no other layers learn, and no other batch normalization follow what it sees."""
    others = [node for node in nodes(model) if node.name not in names]
    held = [(w.variable, w.variable.trainable) for node in others for w in node.weights]
    with ExitStack() as stack:
        for node in others:
            if batchnorm.follows(node):
                stack.enter_context(patched(node.layer, TRAINABLE, False))
        for variable, _ in held:
            variable.trainable = False
        try:
            yield
        finally:
            for variable, was in held:
                variable.trainable = was


@contextmanager
def computing_in(model: Any, precision: str) -> Iterator[None]:
    """Meanwhile, compute in another type where the model computes in float32."""
    held = [(layer, layer.dtype_policy) for layer in layers_of(model) if layer.dtype_policy.name == "float32"]
    if precision != "float32":
        for layer, _ in held:
            layer.dtype_policy = precision
    try:
        yield
    finally:
        if precision != "float32":
            for layer, policy in held:
                layer.dtype_policy = policy
