"""Marks: what they leave to choose, and what is wrong with one, on one line."""

import math

import pytest

from kcompress import recipe
from kcompress.errors import UsageError
from kcompress.passes import find
from kcompress.tuning.marks import Mark, parse


def mark(text: str) -> Mark:
    """The mark in an --apply text with one field."""
    name, fields = recipe.parse_apply(text)
    ((field, value),) = fields.items()
    return parse(name, field, find(name).model_fields[field], value)


READ = {
    "prune.magnitude:sparsity={search:[0.5,0.95]}": Mark(low=0.5, high=0.95),
    "prune.magnitude:sparsity={search: [0.5, 0.95], step: 0.2}": Mark(low=0.5, high=0.9, step=0.2),
    "prune.magnitude:sparsity={search:true}": Mark(low=0.1, high=0.98),
    "prune.magnitude:sparsity={search:[0.5,0.7,0.9],groups:3}": Mark((0.5, 0.7, 0.9), groups=3),
    "prune.magnitude:ranking={search:true}": Mark(("per_layer", "global")),
    "prune.magnitude:biases={search:true}": Mark((False, True)),
    "prune.structured:criterion={search:[l2,taylor]}": Mark(("l2", "taylor")),
    "quantize.int8:activations={search:[8,16]}": Mark((8, 16)),
    "quantize.weights:bits={search:[2,8],groups:each}": Mark(low=2, high=8, integer=True, groups="each"),
    "train.distill:learning_rate={search:[1e-4,1e-2],log:true}": Mark(low=1e-4, high=1e-2, log=True),
}


@pytest.mark.parametrize("text", READ)
def test_what_a_mark_means(text):
    assert mark(text) == READ[text]


WRONG = {
    "prune.magnitude:sparsity={search:[0.9,0.5]}": ["0.9 is not below 0.5"],
    "prune.magnitude:sparsity={search:[0.5,.inf]}": ["not below"],
    "prune.magnitude:sparsity={search:[0.5]}": ["nothing to choose from"],
    "prune.magnitude:sparsity={search:much}": ["nothing to choose from"],
    "prune.magnitude:sparsity={search:[0.1,0.2,0.2]}": ["twice"],
    "prune.magnitude:sparsity={search:[[1],[2]]}": ["[1] is no number"],
    "prune.magnitude:sparsity={search:[0.5,0.9],lgo:true}": ["'lgo'", "'log'"],
    "prune.magnitude:sparsity={search:[0,0.9],log:true}": ["log", "above 0"],
    "prune.magnitude:sparsity={search:[0.5,0.9],log:5}": ["log is true or false"],
    "prune.magnitude:sparsity={search:[0.5,0.9],step:0.5}": ["step=0.5", "(0, 0.4]"],
    "prune.magnitude:sparsity={search:[0.5,0.6,0.7],step:0.1}": ["go with a range"],
    "prune.magnitude:sparsity={search:[0.5,0.9],groups:0}": ["groups=0", "or each"],
    "prune.magnitude:sparsity={search:[0.5,0.9],groups:all}": ["groups=all"],
    "prune.magnitude:threshold={search:true}": ["no range of its own"],
    "quantize.weights:bits={search:[2.5,8]}": ["whole numbers"],
    "quantize.weights:bits={search:[2,8],step:1.5}": ["step=1.5", "a whole number"],
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_told_on_one_line(text):
    with pytest.raises(UsageError) as caught:
        mark(text)
    message = str(caught.value)
    assert message.startswith(text.split(":")[0])
    for word in WRONG[text]:
        assert word in message


def test_numbers_are_as_a_person_would_write_them_and_stay_in_their_range():
    assert Mark(low=0.5, high=0.95).number(0.7123456) == 0.7123
    assert Mark(low=1 / 3, high=2 / 3).number(1 / 3) == 1 / 3  # 0.3333 would lie below
    assert Mark(low=2, high=8, integer=True).number(4.0) == 4
    assert isinstance(Mark(low=2, high=8, integer=True).number(4.0), int)
    assert Mark(low=0.1, high=0.9, step=0.2).number(0.44) == 0.5


def test_middle_and_points_of_ranges_and_choices():
    assert Mark(low=0.2, high=0.8).middle == 0.5
    assert Mark(low=1e-4, high=1e-2, log=True).middle == pytest.approx(1e-3)
    assert Mark(("a", "b", "c")).middle == Mark(("a", "b", "c")).at(0.0) == "b"
    assert [Mark((8, 2, 4)).at(share) for share in (0.0, 0.5, 1.0)] == [2, 4, 8]
    assert Mark(low=0, high=1).points(3) == (0, 0.5, 1)
    assert Mark(low=1e-4, high=1e-2, log=True).points(3) == pytest.approx((1e-4, 1e-3, 1e-2))
    assert Mark(low=2, high=4, integer=True).points(5) == (2, 3, 4)
    assert Mark(("a", "b", "c")).points(2) == ("a", "b", "c")


def test_how_many_values_there_are():
    assert Mark(low=0, high=1).count == math.inf
    assert Mark(low=2, high=8, integer=True).count == 7
    assert Mark(low=0.1, high=0.7, step=0.2).count == 4
    assert Mark(("a", "b")).count == 2
