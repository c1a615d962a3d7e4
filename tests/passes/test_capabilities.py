"""What passes declare beside being passes: with their defaults they are ordinary ones, and do nothing special."""

import pytest

from kcompress.passes import find, names
from kcompress.passes.capabilities import (
    CombinesTeachers,
    GoesInStages,
    PrunesGradually,
    ReplacesModel,
    TrainsModel,
)


def passes_that(capability):
    """All passes with a capability, with their defaults."""
    found = [find(name)() for name in names() if issubclass(find(name), capability)]
    return pytest.mark.parametrize("given", found, ids=[each.name for each in found])


@passes_that(TrainsModel)
def test_all_of_a_training_is_the_pass_itself(given):
    assert given.shortened(1) is given
    assert given.shortened(0.5) != given


@passes_that(ReplacesModel)
def test_the_model_is_only_replaced_where_that_is_asked_for(given):
    assert not given.replaces_model


@passes_that(CombinesTeachers)
def test_the_way_to_combine_teachers_is_set_once(given):
    assert given.combination is None
    once = given.combining("stacked")
    assert once.combination == once.combining("weighted").combination == "stacked"


@passes_that(PrunesGradually)
def test_pruning_is_only_gradual_where_that_is_asked_for(given):
    assert not given.is_gradual
    assert given.at_once() == given


@passes_that(GoesInStages)
def test_a_pass_is_one_stage_by_default(given):
    assert given.stages() == (given,)
