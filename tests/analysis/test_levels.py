import pytest

from kcompress.analysis.levels import LEVELS, parse, sweeps
from kcompress.errors import UsageError


def test_without_fields_zeros_channels_and_bits_are_tried():
    assert [sweep.name for sweep in sweeps(None)] == list(LEVELS)


def test_levels_go_from_mild_to_severe_each_once():
    asked = {"quantize.weights:bits": [3, 8, 5, 8], "prune.magnitude:sparsity": [0.9, 0.5]}
    assert [[value for value, _ in sweep.passes] for sweep in sweeps(asked)] == [[8, 5, 3], [0.5, 0.9]]


def test_each_level_has_its_pass():
    (sweep,) = sweeps({"prune.structured:ratio": [0.5, 0.25]})
    assert [(pass_.name, pass_.config()) for _, pass_ in sweep.passes] == [
        ("prune.structured", {"ratio": 0.25}),
        ("prune.structured", {"ratio": 0.5}),
    ]


def test_texts_are_fields_and_levels():
    assert parse(["a:b=1,0.5", "c:d=2"]) == {"a:b": [1, 0.5], "c:d": [2]}
    assert parse([]) is None


@pytest.mark.parametrize("text", ["a", "a:b=", "a:b=x", "a:b=1,,2", ""])
def test_other_texts_are_refused(text):
    with pytest.raises(UsageError, match="is not PASS:FIELD=LEVEL,LEVEL"):
        parse([text])


@pytest.mark.parametrize(
    ("name", "levels", "message"),
    [
        ("quantize.weight:bits", [8], "did you mean 'quantize.weights'"),
        ("quantize.weights", [8], "says no field; write quantize.weights:bits"),
        ("quantize.weights:bit", [8], "did you mean 'bits'"),
        ("quantize.weights:scale", [1], "no field of quantize.weights that can be tried"),
        ("quantize.weights:bits", [9], r"bits=9 is not a whole number in \[2, 8\]"),
        ("quantize.weights:bits", [], "levels are one number or more"),
        ("prune.magnitude:sparsity", [float("nan")], "levels are one number or more"),
        ("prune.structured:macs", [0.5], "is for the whole model; give prune.structured:ratio"),
        ("train.distill:epochs", [1], "has no field whose effect on one layer alone can be measured"),
        ("fold.batchnorm:layers", [1], "has no field whose effect on one layer alone can be measured"),
    ],
)
def test_fields_that_cannot_be_tried_are_refused_in_one_line(name, levels, message):
    with pytest.raises(UsageError, match=message):
        sweeps({name: levels})
