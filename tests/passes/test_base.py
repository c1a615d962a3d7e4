"""The fields of a pass: frozen, kept in its config, overridden by rules, and explained where they are wrong.

Covers: passes/context.py, passes/movement.py, passes/result.py.
"""

from typing import Literal

import pytest

from kcompress.errors import UsageError
from kcompress.passes.base import Change, Pass, Rule
from tests.models import keras

k = keras()
nn = k.layers
DONE = (Change("hidden", "done"), Change("head", "done"))


class Typed(Pass):
    """A pass with a number and a choice."""

    share: float = 0.5
    """The share to take."""
    mode: Literal["a", "b"] = "a"
    """The way to take it."""


def test_a_pass_is_frozen_and_takes_fields_by_name_only():
    given = Typed(share=0.25)
    with pytest.raises(ValueError, match="frozen"):
        given.share = 0.5
    with pytest.raises(TypeError):
        Typed(0.25)


def test_the_config_holds_what_was_set_and_gives_the_same_pass_again():
    given = Typed(share=0.25, layers="a*", skip=["b"], rules=[{"layers": "c", "mode": "b"}])
    assert given.config() == {
        "share": 0.25,
        "layers": ["a*"],
        "skip": ["b"],
        "rules": [{"layers": ["c"], "mode": "b"}],
    }
    assert Typed(**given.config()) == given
    assert Typed().config() == {}


def test_under_a_rule_the_fields_of_the_pass_hold_with_those_of_the_rule_in_front():
    given = Typed(share=0.25, layers="a*", rules=[{"layers": "c", "mode": "b"}])
    assert given.under(given.rules[0]) == Typed(share=0.25, mode="b")


def test_a_rule_keeps_what_it_overrides():
    rule = Rule(layers="a", skip=True, share=0.5)
    assert rule.layers == ("a",)
    assert rule.overrides == {"share": 0.5}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shares": 1}, "no field 'shares'; did you mean 'share'?"),
        ({"self": 1}, "no field 'self'; allowed: "),
        ({"mode": "c"}, "mode=c is not one of a, b; give the way to take it"),
        ({"share": "much"}, "share=much is not a number; give the share to take"),
        ({"layers": 3}, "layers=3 is not text or a list of texts"),
        ({"skip": None}, "skip=None is not text or a list of texts"),
        ({"layers": ["a", 5]}, "layers=5 is not text or a list of texts"),
        ({"rules": "abc"}, "rules=abc is not a list of mappings"),
        ({"rules": [{"layer": "a"}]}, "rule 1: 'layers' is missing; give glob patterns"),
        ({"rules": [{"layers": "a"}, {"layers": []}]}, "rule 2: layers=[] is not text or a list of texts"),
        ({"rules": [{"layers": "a", "skip": "b"}]}, "rule 1: skip=b is not true or false"),
        ({"rules": [{"layers": "a*", "shar": 1}]}, "rule for 'a*': no field 'shar'; did you mean 'share'?"),
        ({"rules": [{"layers": "a*", "mode": "c"}]}, "rule for 'a*': mode=c is not one of a, b"),
        ({"rules": [{"layers": "a*", "rules": []}]}, "rule for 'a*': no field 'rules'"),
        ({"rules": [{"layers": "a*", "self": 1}]}, "rule for 'a*': no field 'self'"),
        ({"mode": "a\nb"}, "mode=a b is not one of a, b"),
        ({"a\nb": 1}, "no field 'a b'; "),
        ({"share": "x" * 500}, "share=" + "x" * 57 + "... is not a number"),
    ],
)
def test_a_wrong_field_is_one_line_that_names_it(fields, message):
    with pytest.raises(UsageError) as caught:
        Typed(**fields)
    assert str(caught.value).startswith(f"tests.passes.test_base: {message}")
    assert "\n" not in str(caught.value)
