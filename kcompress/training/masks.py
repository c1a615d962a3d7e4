"""Zeros stay zero: what training does to a kernel is multiplied by a mask, in the compiled step.

The mask is 0 where the kernel was. It is one of the optimizer's own variables, so that every backend passes it through
its step and it can be changed while training goes on. Nothing is left of it afterwards.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.training.distribution import array


class Masks:
    """The masks of kernels during one training; none for a kernel without a zero."""

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        self._masks: dict[int, Any] = {}

    @contextmanager
    def on(self, variables: Iterable[Any], always: Iterable[Any] = ()) -> Iterator[None]:
        """Meanwhile, keep the zeros of these variables; those in `always` get a mask though they have none yet."""
        open_ended = {id(variable): variable for variable in always}
        every = {id(variable): variable for variable in variables} | open_ended
        held = [(variable, variable.constraint) for variable in every.values()]
        try:
            for variable, constraint in held:
                kept = np.asarray(variable) != 0
                if id(variable) in open_ended or not kept.all():
                    mask = self._optimizer.add_variable(tuple(variable.shape), name="mask", dtype="bool")
                    mask.assign(kept)
                    self._masks[id(variable)] = mask
                    variable.constraint = _Masking(mask, constraint)
            yield
        finally:
            for variable, constraint in held:
                variable.constraint = constraint

    def set(self, variable: Any, kept: NDArray[np.bool_]) -> None:
        """Keep other places of a variable from now on, and zero the rest."""
        self._masks[id(variable)].assign(kept)
        variable.assign(array(variable) * kept)


@contextmanager
def within(limits: Iterable[tuple[Any, NDArray[Any]]]) -> Iterator[None]:
    """Meanwhile, clip each of these variables to plus and minus what is given for it, which broadcasts against it.

    So weights that count by their sign alone can still change it: beyond their scale they would get no gradient.
    """
    held = [(variable, variable.constraint, limit) for variable, limit in limits]
    try:
        for variable, constraint, limit in held:
            variable.constraint = _Clipping(limit, constraint)
        yield
    finally:
        for variable, constraint, _ in held:
            variable.constraint = constraint


class _Clipping:
    """A constraint: values clipped, after the constraint that the variable had."""

    def __init__(self, limit: NDArray[Any], inner: Any) -> None:
        self.limit, self.inner = limit, inner

    def __call__(self, value: Any) -> Any:
        from keras import ops

        value = ops.convert_to_tensor(value if self.inner is None else self.inner(value))
        return ops.clip(value, -self.limit, self.limit)


class _Masking:
    """A constraint: values times a mask, after the constraint that the variable had."""

    def __init__(self, mask: Any, inner: Any) -> None:
        self.mask, self.inner = mask, inner

    def __call__(self, value: Any) -> Any:
        from keras import ops

        value = ops.convert_to_tensor(value if self.inner is None else self.inner(value))
        return ops.where(ops.convert_to_tensor(self.mask), value, ops.zeros_like(value))
