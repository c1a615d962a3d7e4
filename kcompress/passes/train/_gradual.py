"""Gradual pruning: every few steps of a training, the pass before it ranks weights anew and says which are zero."""

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from kcompress.model.rebuild import assign
from kcompress.passes.capabilities import GradualPruning
from kcompress.quantization.readers import Reader, read_through
from kcompress.training.masks import Masks

UPDATES = 50
"""How often weights are ranked anew in a training."""


class PruningInTraining:
    """Gradual pruning of a model in a training of so many steps."""

    def __init__(self, pruning: GradualPruning, layer: Any, steps: int) -> None:
        """`layer` is trained with the model, and gets the masks of weights that go on learning while they are zero."""
        self.pruning, self.every = pruning, max(1, steps // UPDATES)
        self.settled = round(pruning.until * steps)
        self.variables = [variable for variable, _ in pruning.removed(0.0)]
        self.hidden: dict[int, Any] = {}
        if pruning.regrow:
            for variable in self.variables:
                shape = tuple(variable.shape)
                self.hidden[id(variable)] = layer.add_weight(
                    shape=shape, initializer="ones", trainable=False, name="kept"
                )

    @property
    def shown(self) -> list[Any]:
        """The variables whose removed weights are zero, and not only read as such."""
        return [] if self.hidden else self.variables

    def on(self, model: Any) -> AbstractContextManager[None]:
        """Meanwhile, let the model read its weights as if those that are removed were zero."""
        return read_through(model, {key: _through(mask) for key, mask in self.hidden.items()})

    def due(self, step: int) -> bool:
        """Whether it is time to rank anew before this step."""
        return step % self.every == 0

    def change(self, masks: Masks, step: int, of: int) -> None:
        """Rank anew."""
        for variable, removed in self.pruning.removed(step / of):
            if self.hidden:
                self.hidden[id(variable)].assign(~removed)
            else:
                masks.set(variable, ~removed)

    def end(self) -> None:
        """Make what the model reads its weights."""
        for variable in self.variables if self.hidden else ():
            assign([(variable, np.asarray(variable) * np.asarray(self.hidden[id(variable)]))])


def _through(mask: Any) -> Reader:
    """Reads a weight times a mask; the gradient goes to all of it."""

    def read(value: Any) -> Any:
        from keras import ops

        return value + ops.stop_gradient(value * ops.cast(mask, value.dtype) - value)

    return read
