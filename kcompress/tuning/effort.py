"""The part of a recipe's training that a trial does: a share of it, or none."""

from collections.abc import Sequence

from kcompress.passes.base import Pass
from kcompress.passes.capabilities import PrunesGradually, ReplacesModel, TrainsModel


def shortened(passes: Sequence[Pass], share: float) -> list[Pass]:
    """The passes, those that train with this share of their epochs or steps, at least one of them."""
    return [each.shortened(share) if isinstance(each, TrainsModel) else each for each in passes]


def untrained(passes: Sequence[Pass]) -> list[Pass] | None:
    """The passes without those that train, which make files of the same size.

    None where nothing trains, or where what is trained is another model.
    """
    left = [each for each in passes if not isinstance(each, TrainsModel)]
    if len(left) == len(passes) or any(isinstance(each, ReplacesModel) and each.replaces_model for each in passes):
        return None
    return [each.at_once() if isinstance(each, PrunesGradually) else each for each in left]
