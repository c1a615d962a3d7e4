"""What a field accepts, in words."""

from typing import Any, Literal

import pytest
from pydantic import Field, create_model

from kcompress.fields import Tunable, allowed, short, tunable, tunable_of


def info(annotation: Any, field: Any = None) -> Any:
    return create_model("Model", value=(annotation, field)).model_fields["value"]


@pytest.mark.parametrize(
    ("annotation", "field", "words"),
    [
        (float, Field(0.5, ge=0, lt=1), "in [0, 1)"),
        (float | None, Field(None, gt=0, le=1), "in (0, 1]"),
        (float, Field(0.5, ge=0), "in [0, inf)"),
        (float, Field(0.5, lt=0.5), "in (-inf, 0.5)"),
        (float, 0.5, "a number"),
        (int | None, Field(None, ge=2), "a whole number in [2, inf)"),
        (int, 3, "a whole number"),
        (int | float, Field(1, gt=0), "in (0, inf)"),
        (bool, False, "true or false"),
        (Literal["per_layer", "global"], "global", "one of per_layer, global"),
        (Literal["a", "b"] | None, None, "one of a, b"),
        (tuple[str, ...], (), "text or a list of texts"),
        (str, "", "text or a list of texts"),
        (tuple[create_model("Inner"), ...], (), "a list of mappings"),
        (dict[str, int], {}, "what this field takes"),
    ],
)
def test_what_is_allowed_in_words(annotation, field, words):
    assert allowed(info(annotation, field)) == words


def test_a_tunable_field_has_a_default_a_range_to_search_and_bounds():
    field = info(float, tunable(0.5, 0.1, 0.9, severe="low", ge=0, lt=1))
    assert field.default == 0.5
    assert tunable_of(field) == Tunable(0.1, 0.9, "low")
    assert tunable_of(info(float, 0.5)) is None
    assert allowed(field) == "in [0, 1)"


def test_a_long_value_is_cut():
    assert short("x" * 60) == "x" * 60
    assert short("x" * 61) == "x" * 57 + "..."
    assert short([1, "a"]) == "[1, 'a']"
