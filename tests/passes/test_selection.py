"""Which layers a step works on: `layers`, `skip` and rules, the first that matches, and patterns without effect."""

from typing import Any

import pytest

from kcompress.passes import find
from kcompress.passes.base import Context, Pass
from kcompress.passes.result import Skip
from tests.models import dense, keras
from tests.passes.models import Projection

k = keras()
nn = k.layers
NOT_FOUND = "this pattern fits no layer that the pass works on"
SHADOWED = "an earlier rule comes first wherever this one fits"


class Chooser(Pass):
    """Works on kernels, declines small ones, and custom layers unless they are named."""

    size: int = 1
    """Number of outputs that a kernel must have."""

    def concerns(self, node: Any, named: bool) -> bool | str:
        if node.is_custom:
            return named or "custom"
        if not node.kernels:
            return False
        return node.kernels[0].variable.shape[-1] >= self.size or "too small"


def model() -> Any:
    block = [k.Input((4,)), nn.Dense(4, name="first"), nn.ReLU(name="relu"), nn.Dense(2, name="second")]
    layers = [
        k.Input((4,)),
        nn.Dense(4, name="stem"),
        k.Sequential(block, name="block"),
        Projection(name="mine"),
        nn.Dense(3, name="head"),
    ]
    return k.Sequential(layers)


def choose(**fields: Any) -> tuple[dict[str, int], dict[str, str]]:
    """Chosen layers with the size that holds for each, and skipped ones with the reason."""
    selection = Chooser(**fields).select(model())
    chosen = {node.name: settings.size for node, settings in selection.chosen}
    skipped = {skip.layer: skip.reason for skip in selection.skipped}
    assert selection.targets == {*chosen, *skipped}
    assert len(selection.chosen) + len(selection.skipped) == len(selection.targets)
    return chosen, skipped


def test_without_patterns_every_layer_that_the_pass_handles_is_chosen():
    assert choose() == ({"stem": 1, "block/first": 1, "block/second": 1, "head": 1}, {"mine": "custom"})


def test_a_layer_that_is_declined_is_skipped_with_the_reason():
    chosen, skipped = choose(size=3)
    assert set(chosen) == {"stem", "block/first", "head"}
    assert skipped == {"block/second": "too small", "mine": "custom"}


def test_layers_restricts_and_what_it_leaves_out_is_no_target():
    assert choose(layers="block") == ({"block/first": 1, "block/second": 1}, {})
    assert choose(layers=["block/f*", "head"]) == ({"block/first": 1, "head": 1}, {})


def test_skip_leaves_layers_alone_and_says_that_it_was_asked_for():
    selection = Chooser(skip=["block/*", "mine"]).select(model())
    assert [node.name for node, _ in selection.chosen] == ["stem", "head"]
    assert selection.skipped == (
        Skip("block/first", "asked for by skip 'block/*'", asked=True),
        Skip("block/second", "asked for by skip 'block/*'", asked=True),
        Skip("mine", "asked for by skip 'mine'", asked=True),
    )


def test_a_rule_overrides_a_field_for_its_layers_only():
    rules = [{"layers": "block*", "size": 2}]
    assert choose(rules=rules)[0] == {"stem": 1, "block/first": 2, "block/second": 2, "head": 1}


def test_the_first_rule_that_matches_wins():
    rules = [{"layers": "*second", "size": 2}, {"layers": ["block", "head"], "size": 3}]
    chosen, skipped = choose(rules=rules)
    assert chosen == {"stem": 1, "block/first": 3, "block/second": 2, "head": 3}
    assert skipped == {"mine": "custom"}


def test_a_rule_that_is_preceded_for_some_of_its_layers_is_used():
    rules = [{"layers": "*second", "size": 2}, {"layers": "block", "size": 1}]
    assert choose(rules=rules)[1] == {"mine": "custom"}


def test_a_rule_can_skip_and_names_the_pattern_that_asked():
    selection = Chooser(rules=[{"layers": ["x", "block/first"], "skip": True}]).select(model())
    assert Skip("block/first", "asked for by the rule for 'block/first'", asked=True) in selection.skipped


def test_skip_wins_over_a_rule():
    assert "head" not in choose(skip="head", rules=[{"layers": "head", "size": 2}])[0]


def test_a_rule_s_settings_decide_whether_a_layer_is_declined():
    assert choose(rules=[{"layers": "block", "size": 3}])[1] == {"block/second": "too small", "mine": "custom"}


def test_a_rule_adds_its_layers_to_those_of_the_step():
    assert choose(layers="stem", rules=[{"layers": "head", "size": 2}])[0] == {"stem": 1, "head": 2}


@pytest.mark.parametrize("fields", [{"layers": "mine"}, {"layers": "*"}, {"rules": [{"layers": "mine"}]}])
def test_a_custom_layer_is_chosen_where_it_is_named(fields):
    assert "mine" in choose(**fields)[0]


def test_a_layer_that_the_pass_does_not_handle_is_never_a_target():
    assert choose(layers="*relu") == ({}, {"*relu": NOT_FOUND})


@pytest.mark.parametrize("fields", [{"layers": ["stem", "stm"]}, {"skip": ["stm"]}, {"rules": [{"layers": ["stm"]}]}])
def test_a_pattern_that_fits_nothing_is_reported_as_not_asked_for(fields):
    assert Skip("stm", NOT_FOUND, asked=False) in Chooser(**fields).select(model()).skipped


@pytest.mark.parametrize("shadowed", ["block/first", "block/f*"])
def test_a_rule_that_an_earlier_one_always_precedes_is_reported(shadowed):
    chosen, skipped = choose(rules=[{"layers": "block", "size": 2}, {"layers": shadowed, "size": 3}])
    assert chosen["block/first"] == 2
    assert skipped == {"mine": "custom", f"rule '{shadowed}'": SHADOWED}


def test_a_shadowed_rule_does_not_break_the_pass():
    rules = [{"layers": "h*", "sparsity": 0.25}, {"layers": "hidden", "sparsity": 0.9}]
    result = find("prune.magnitude")(rules=rules).apply(dense(), Context())
    assert [change.detail for change in result.changes] == ["32 of 128 weights zeroed", "12 of 48 weights zeroed"]
    assert result.skipped == (Skip("rule 'hidden'", SHADOWED),)
