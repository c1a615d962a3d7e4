"""What a criterion is: it gives one score to each unit, and the lowest goes first.

A unit's score is put together over the whole coupled group, from every layer that makes its channels or every place
that reads them. It is then divided by the mean over the units that it is ranked with, so that groups compare.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from kcompress.channels.channels import Channels
from kcompress.channels.identities import Ids
from kcompress.passes.base import Context, Need
from kcompress.passes.prune.criteria._tally import Tally, Values


class Criterion(ABC):
    """Base of all criteria."""

    looks_at: ClassVar[str]
    """What it looks at, for the help, such as `Their weights`."""
    place: ClassVar[int] = 100
    """Where it comes among all criteria in the help; those of the same place by name."""
    needs: ClassVar[Need | None] = None
    """The data that it needs."""

    @classmethod
    def title(cls) -> str:
        """`l2` for the class in criteria/l2.py."""
        return cls.__module__.rpartition(".")[2]

    def scores(self, model: Any, channels: Channels, groups: Sequence[Ids], ctx: Context, samples: int) -> Values:
        """Scores of all units (units,), float64, none negative, of mean 1 in each group unless all of it are zero.

        NaN stands for a unit that is in no group, or of which the criterion can tell nothing.

        Args:
            model: what `channels` was made of; it is left alone.
            channels: whose units are scored.
            groups: the numbers of units that are ranked together; each is in at most one group.
            ctx: where seed and data come from.
            samples: how many samples to look at, at most.

        Raises:
            UsageError: there are no data of the kind that the criterion needs.
            DataError: the data do not fit the model, or give values that are not finite.
            ModelError: weights are not finite.
        """
        tally = Tally(channels.units.count, groups)
        self.collect(tally, model, channels, ctx, samples)
        return tally.scores()

    @abstractmethod
    def collect(self, tally: Tally, model: Any, channels: Channels, ctx: Context, samples: int) -> None:
        """Add to the tally what each layer or place of the model says of its units."""
