"""Devices of a training: one, several with a copy of the model each, or several that share the kernels of one model.

A step sees the same samples as on one device, and its loss is their mean, so that losses and weights are those of one
device; on TensorFlow only with layers that treat each sample by itself. On JAX the variables are laid out over the
devices for the time of the fit, by Keras's DataParallel or ModelParallel; on TensorFlow the model is copied into a
MirroredStrategy, and out of it again. All else that a pass does runs on one device.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.errors import HostsError, UsageError
from kcompress.keras_internals import ADDITIONAL_LOSS, set_layout
from kcompress.model.patching import patched
from kcompress.model.rebuild import copy
from kcompress.model.view import nodes
from kcompress.training.feed import Batch, Feed

LARGE = 1 << 16
"""Elements from which on a kernel is split."""
COLLECTIVES = ("Gloo", "NCCL", "RCCL")
"""The libraries through which JAX's processes reach each other."""


class Devices:
    """One device, and base of several."""

    count = 1
    parts = 1
    """Devices that a batch is divided among."""
    remark = ""
    """What is not as on one device."""

    def copy(self, model: Any) -> Any:
        """A copy of the model to train."""
        return copy(model)

    def home(self, model: Any) -> Any:
        """The trained model, on one device."""
        return model

    def scope(self) -> AbstractContextManager[Any]:
        """Where the optimizer, the teacher and the learner are made."""
        return nullcontext()

    def share(self, feed: Feed) -> Feed:
        """What this process reads of each batch."""
        return feed

    def require_whole_batches(self, setting: str) -> None:
        """UsageError if a loss on a device sees only that device's part of a batch; `setting` is what asks for more."""

    def placed(self, learner: Any, optimizer: Any) -> AbstractContextManager[None]:
        """Meanwhile, let a compiled learner be fitted on the devices."""
        return nullcontext()


def devices(kind: str | None) -> Devices:
    """All devices of the running backend, of all processes; one where there are no more, or without a kind.

    `kind` is data, for copies of the model, or model, for a model whose large kernels are split.
    """
    import keras

    if kind is None:
        return Devices()
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return Mirrored([device.name for device in found]) if len(found) > 1 else Devices()
    import jax

    return Meshed(kind) if jax.device_count() > 1 else Devices()


class Meshed(Devices):
    """All devices that JAX sees."""

    def __init__(self, kind: str) -> None:
        import jax

        self.kind = kind
        self._all = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
        self.count = len(self._all)
        self.parts = self.count if kind == "data" else 1

    def share(self, feed: Feed) -> Feed:
        import jax

        if self.parts == 1 or jax.process_count() == 1:
            return feed
        mine = [place for place, device in enumerate(self._all) if device.process_index == jax.process_index()]
        each = feed.size // self.parts
        return Shared(feed, mine[0] * each, (mine[-1] + 1) * each)

    @contextmanager
    def placed(self, learner: Any, optimizer: Any) -> Iterator[None]:
        import jax

        distribution = self._distribution(learner)
        every = [*learner.variables, *learner.metrics_variables, *optimizer.variables]
        variables = list({id(variable): variable for variable in every}.values())
        values = [np.array(variable) for variable in variables]
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            values = multihost_utils.broadcast_one_to_all(values)
        for variable, value in zip(variables, values, strict=True):
            set_layout(variable, distribution.get_variable_layout(variable))
            variable.assign(value)
        try:
            with distribution.scope():
                yield
        except Exception as error:
            cause = _from_jax(error)
            if jax.process_count() == 1 or cause is None:
                raise
            line = str(cause).strip().splitlines()[0][:200]
            raise HostsError(f"another process stopped answering during training ({line}); see what it said") from error
        for variable in variables:
            value = array(variable)
            set_layout(variable, None)
            variable.assign(value)

    def _distribution(self, learner: Any) -> Any:
        from keras import distribution as keras_distribution

        names = [f"{device.platform}:{device.id}" for device in self._all]
        if self.kind == "data":
            return keras_distribution.DataParallel(devices=names, auto_shard_dataset=False)
        mesh = keras_distribution.DeviceMesh((1, self.count), ("batch", "model"), names)
        layouts = keras_distribution.LayoutMap(mesh)
        for path, axes in split(learner, self.count).items():
            layouts[path] = axes
        return keras_distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch", auto_shard_dataset=False)


def _from_jax(error: BaseException | None) -> BaseException | None:
    """The error of JAX's runtime that an exception comes from; Keras raises another while it cleans up.

    JAX passes some of those of its collectives on as ValueError.
    """
    import jax

    while error is not None and not (
        isinstance(error, jax.errors.JaxRuntimeError) or any(name in str(error) for name in COLLECTIVES)
    ):
        error = error.__cause__ or error.__context__
    return error


def split(model: Any, count: int) -> dict[str, tuple[str | None, ...]]:
    """For the path of each large kernel, the axes of a mesh that its own axes are split along.

    That is the largest output axis whose length the number of devices divides. A kernel without one, or whose path
    another variable has too, stays whole on all devices.
    """
    paths = [variable.path for variable in model.variables]
    found: dict[str, tuple[str | None, ...]] = {}
    for node in nodes(model):
        for weight in node.kernels:
            shape = tuple(weight.variable.shape)
            assert weight.axes is not None
            able = [axis % len(shape) for axis in weight.axes.outputs if shape[axis] % count == 0]
            if able and np.prod(shape) >= LARGE and paths.count(weight.variable.path) == 1:
                longest = max(able, key=shape.__getitem__)
                found[weight.variable.path] = tuple("model" if a == longest else None for a in range(len(shape)))
    return found


class Mirrored(Devices):
    """All devices that TensorFlow sees, each with a copy of the model.

    Batch normalization sees only a device's part of a batch. Keras could synchronize it, but devices then pair up
    gradients of different layers where there are several of them.
    """

    remark = "; batch normalization and dropout see each device's part of a batch by itself"

    def __init__(self, names: Sequence[str]) -> None:
        import tensorflow as tf

        plain = None if "GPU" in names[0] else tf.distribute.ReductionToOneDevice()
        self.strategy = tf.distribute.MirroredStrategy(names, plain)
        self.count = self.parts = len(names)

    def copy(self, model: Any) -> Any:
        fixed = [tensor.shape[0] for tensor in model.inputs if tensor.shape[0] is not None]
        if fixed:
            raise UsageError(
                f"distribute=data: the model has a fixed batch of {fixed[0]}, which TensorFlow can't divide among "
                f"{self.count} devices; pass --backend jax"
            )
        with self.strategy.scope():
            return copy(model)

    def home(self, model: Any) -> Any:
        return copy(model)

    def scope(self) -> AbstractContextManager[Any]:
        scope: AbstractContextManager[Any] = self.strategy.scope()
        return scope

    def require_whole_batches(self, setting: str) -> None:
        raise UsageError(
            f"distribute=data: {setting} compares the samples of a whole batch, and TensorFlow's devices each see only "
            "a part; pass --backend jax, or give another setting"
        )

    @contextmanager
    def placed(self, learner: Any, optimizer: Any) -> Iterator[None]:
        import keras

        with ExitStack() as stack:
            stack.enter_context(patched(learner, "compute_loss", self._share_of(learner.compute_loss)))
            stack.enter_context(patched(learner, ADDITIONAL_LOSS, keras.ops.sum))
            yield

    def _share_of(self, loss: Callable[..., Any]) -> Callable[..., Any]:
        """A loss as the mean over the whole batch has it: Keras sums those of all devices."""
        return lambda *given, **named: loss(*given, **named) / self.count


@dataclass(frozen=True)
class Shared:
    """A feed of which this process reads only some rows of each batch; `size` is that of the whole batch."""

    whole: Feed
    start: int
    stop: int

    @property
    def samples(self) -> int:
        return self.whole.samples

    @property
    def size(self) -> int:
        return self.whole.size

    @property
    def per_epoch(self) -> int:
        return self.whole.per_epoch

    def batch(self, number: int) -> Batch:
        x, y = self.whole.batch(number)
        rows = slice(self.start, self.stop)
        return {name: array[rows] for name, array in x.items()}, [array[rows] for array in y]


def array(variable: Any) -> NDArray[Any]:
    """A variable's value, wherever its parts are; a copy."""
    value: Any = getattr(variable, "value", None)
    if getattr(value, "is_fully_addressable", True) or value.is_fully_replicated:
        return np.array(variable)
    from jax.experimental import multihost_utils

    return np.array(multihost_utils.process_allgather(value, tiled=True))


def alone() -> bool:
    """Whether one process trains."""
    import keras

    if keras.backend.backend() != "jax":
        return True
    import jax

    return bool(jax.process_count() == 1)


def alike(number: int) -> bool:
    """Whether all processes that train together give the same number."""
    if alone():
        return True
    from jax.experimental import multihost_utils

    return len(set(np.asarray(multihost_utils.process_allgather(np.int32(number))).ravel().tolist())) == 1
