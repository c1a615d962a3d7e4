"""Statistics of what layers see of the calibration data, collected once for passes that follow each other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kcompress.data import Dataset
from kcompress.errors import DataError
from kcompress.model.moments import Moment, moments
from kcompress.model.signature import signature
from kcompress.passes.capabilities import SharesStatistics

if TYPE_CHECKING:
    from kcompress.passes.base import Pass

BATCH = 16


class Statistics:
    """The second moments of kernels' inputs, found in one sweep for all that will be asked for.

    A run keeps one over consecutive passes that only round weights, so that they all see the model before the first.
    """

    def __init__(self, wanted: Iterable[tuple[str, int]] = ()) -> None:
        """`wanted`: the layers that will be asked for, by qualified name, with the number of samples each."""
        self._wanted = set(wanted)
        self._found: dict[int, dict[str, Moment | None]] = {}
        self._seen: set[tuple[str, int]] = set()

    @classmethod
    def of(cls, passes: "Sequence[Pass]", model: Any) -> Self:
        """What the first of these passes will ask for, and those after it for as long as they only round weights."""
        following = takewhile(lambda each: isinstance(each, SharesStatistics), passes[1:])
        asking = [each for each in (*passes[:1], *following) if isinstance(each, SharesStatistics)]
        return cls(item for each in asking for item in each.statistics(model).items())

    @property
    def empty(self) -> bool:
        """Whether nothing was or will be asked for."""
        return not self._wanted and not self._seen

    def moments(
        self, model: Any, data: Dataset | None, asked: Mapping[str, int], seed: int
    ) -> dict[str, Moment | None]:
        """Kernel's qualified name to its moment, for the layers `asked`, each with a number of samples.

        Empty without data. Raises DataError where a layer's input is not finite.
        """
        if data is None:
            return {}
        found: dict[str, Moment | None] = {}
        for samples in sorted(set(asked.values())):
            names = {name for name, each in asked.items() if each == samples}
            if not self._seen >= {(name, samples) for name in names}:
                whole = names | {name for name, each in self._wanted if each == samples}
                new = moments(model, batches(model, data, samples), whole, seed=seed)
                _check(new, data)
                self._found.setdefault(samples, {}).update(new)
                self._seen |= {(name, samples) for name in whole}
            found |= {k: m for k, m in self._found[samples].items() if k.rpartition("/")[0] in names}
        return found


def _check(found: Mapping[str, Moment | None], data: Dataset) -> None:
    for name, moment in found.items():
        if moment is not None and not np.isfinite(moment.second).all():
            raise DataError(
                f"what goes into layer '{name.rpartition('/')[0]}' is not finite on the samples of {data.name}; "
                "calibrate with data like the training data, or repair the layer"
            )


def batches(model: Any, data: Dataset, samples: int) -> Iterator[dict[str, Any]]:
    """Batches of at most so many samples of the data, by the model's input names, of the size that it has fixed."""
    inputs = dict(signature(model).inputs)
    fitted = data if data.bindings else data.fit_to(inputs)
    return fitted.inputs(BATCH, next(iter(inputs.values()))[0], samples)
