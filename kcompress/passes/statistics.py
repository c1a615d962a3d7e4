"""Statistics of what layers see of the calibration data, collected once for passes that follow each other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kcompress.data import Dataset
from kcompress.graph.moments import Moment, moments
from kcompress.graph.signature import signature

if TYPE_CHECKING:
    from kcompress.passes.base import Pass

BATCH = 16


class Statistics:
    """The second moments of kernels' inputs, found in one sweep for all that will be asked for.

    A run keeps one over consecutive passes that only round weights, which hardly moves what later layers see.
    """

    def __init__(self, wanted: Mapping[str, int] | None = None) -> None:
        """`wanted`: the layers that will be asked for, by qualified name, and the number of samples."""
        self._wanted = dict(wanted or {})
        self._found: dict[str, Moment | None] = {}
        self._seen: set[str] = set()

    @classmethod
    def of(cls, steps: "Sequence[Pass]", model: Any) -> "Statistics":
        """What the first of these steps will ask for, and those after it for as long as they only round weights."""
        wanted: dict[str, int] = {}
        for number, step in enumerate(steps):
            if number and not step.rounds:
                break
            for name, samples in step.statistics(model).items():
                wanted[name] = max(wanted.get(name, 0), samples)
        return cls(wanted)

    def moments(
        self, model: Any, data: Dataset | None, asked: Mapping[str, int], seed: int
    ) -> dict[str, Moment | None]:
        """Kernel's qualified name to its moment, for the layers `asked`, each with a number of samples.

        Empty without data.
        """
        if data is None or not asked:
            return {}
        if not self._seen >= set(asked):
            whole = {**self._wanted, **asked}
            limit = max([*asked.values(), *self._wanted.values()])
            self._found = moments(model, batches(model, data, limit), set(whole), seed=seed)
            self._seen = set(whole)
        return self._found


def batches(model: Any, data: Dataset, samples: int) -> Iterator[dict[str, Any]]:
    """Batches of at most so many samples of the data, by the model's input names.

    A model with a fixed batch size gets such batches only.
    """
    inputs = dict(signature(model).inputs)
    fixed = next(iter(inputs.values()))[0]
    fitted = data if data.feeds else data.fit_to(inputs)
    for batch in fitted.batches(fixed or BATCH, limit=samples):
        assert isinstance(batch.x, dict)
        if fixed is None or batch.samples == fixed:
            yield batch.x
