"""Templates: marks become dimensions, values become recipes, and what can't be is told before anything runs."""

import pytest

from kcompress import recipe
from kcompress.codec import decode, encode
from kcompress.errors import UsageError
from kcompress.tuning.template import Template


def template(*steps: str | dict) -> Template:
    return Template.of([recipe.mapping(step) for step in steps])


def test_values_take_the_place_of_marks():
    found = template("prune.magnitude:sparsity={search:[0.5,0.9]},ranking={search:true}", "quantize.float16")
    assert [d.name for d in found.dimensions] == ["prune.magnitude:sparsity", "prune.magnitude:ranking"]
    steps = found.fill({"prune.magnitude:sparsity": 0.6, "prune.magnitude:ranking": "global"})
    assert steps == [
        {"pass": "prune.magnitude", "sparsity": 0.6, "ranking": "global"},
        {"pass": "quantize.float16"},
    ]
    assert found.passes(found.middle())[0].config() == {"sparsity": 0.7, "ranking": "global"}


def test_the_same_field_of_two_steps_has_two_names():
    found = template("train.distill:epochs={search:[1,3]}", "train.distill:epochs={search:[2,4]}")
    assert [d.name for d in found.dimensions] == ["1 train.distill:epochs", "2 train.distill:epochs"]
    assert [step["epochs"] for step in found.fill(found.middle())] == [2, 3]


def test_a_mark_in_a_rule():
    step = {"pass": "prune.magnitude", "keep": 0.5, "rules": [{"layers": "head", "keep": {"search": [0.7, 0.9]}}]}
    found = template(step)
    (dimension,) = found.dimensions
    assert found.fill({dimension.name: 0.8})[0]["rules"] == [{"layers": "head", "keep": 0.8}]
    assert step["rules"][0]["keep"] == {"search": [0.7, 0.9]}


GROUPED = ("quantize.weights:bits={search:[2,4,8],groups:3},scale={search:true,groups:each}",)
LAYERS = {
    "quantize.weights:bits": [("a", "b"), ("c",), ("d[1]",)],
    "quantize.weights:scale": [("a",), ("b",), ("c",), ("d[1]",)],
}


def test_groups_become_one_rule_for_all_layers_with_the_same_settings():
    found = template(*GROUPED).with_groups(lambda place: LAYERS[place.name])
    names = [dimension.name for dimension in found.dimensions]
    assert names == [
        *(f"quantize.weights:bits[{number}]" for number in (1, 2, 3)),
        *(f"quantize.weights:scale[{number}]" for number in (1, 2, 3, 4)),
    ]
    values = dict(zip(names, (8, 4, 4, "float", "power_of_two", "float", "float"), strict=True))
    (step,) = found.fill(values)
    assert step == {
        "pass": "quantize.weights",
        "bits": 8,
        "scale": "float",
        "rules": [
            {"layers": ["c", "d[[]1]"], "bits": 4},
            {"layers": ["b"], "scale": "power_of_two"},
        ],
    }
    recipe.build(step)
    (step,) = found.fill({name: value if "scale" in name else 2 for name, value in values.items()})
    assert step["bits"] == 2
    assert step["rules"] == [{"layers": ["b"], "scale": "power_of_two"}]


def test_one_group_is_as_none():
    found = template(*GROUPED).with_groups(lambda place: [("a", "b", "c", "d[1]")])
    assert [d.name for d in found.dimensions] == ["quantize.weights:bits", "quantize.weights:scale"]
    assert "rules" not in found.fill(found.middle())[0]


def test_own_rules_stay_in_front():
    rule = {"layers": "head", "bits": 8}
    found = template({"pass": "quantize.weights", "bits": {"search": [2, 4], "groups": 2}, "rules": [rule]})
    found = found.with_groups(lambda place: [("a",), ("b",)])
    values = {"quantize.weights:bits[1]": 4, "quantize.weights:bits[2]": 2}
    assert found.fill(values)[0]["rules"] == [rule, {"layers": ["b"], "bits": 2}]


def test_a_template_survives_being_written_down():
    found = template(*GROUPED, "prune.magnitude:sparsity={search:true}").with_groups(
        lambda place: [tuple(group) for group in LAYERS[place.name]]
    )
    assert decode(Template, encode(found)) == found


WRONG = {
    "prune.magnitude:sparsity={search:[0.5,1.5]}": ["sparsity=1.5", "[0, 1)"],
    "prune.magnitude:sparsty={search:[0.5,0.9]}": ["'sparsty'", "'sparsity'"],
    "prune.magnitude:layers={search:[a,b,c]}": ["no field 'layers' to search"],
    "prune.magnitude:ranking={search:[local,global]}": ["ranking=local"],
    "prune.magnitude:sparsity={search:[0.5,0.9]},keep=0.5": ["sparsity and keep exclude"],
    "prune.magnitude:sparsity=0.5": ["nothing to search", "kcompress compress"],
    "prune.magnitud:sparsity={search:[0.5,0.9]}": ["no such pass"],
    "train.distill:epochs={search:[1,3],groups:2}": ["groups can't be given", "whole training"],
    "prune.structured:parameters={search:[0.3,0.9],groups:2}": ["groups can't be given", "ratio in a rule"],
}


@pytest.mark.parametrize("text", WRONG)
def test_what_can_not_be_is_told_on_one_line(text):
    with pytest.raises(UsageError) as caught:
        template(text)
    assert "\n" not in str(caught.value)
    for word in WRONG[text]:
        assert word in str(caught.value)


def test_a_step_without_marks_is_checked_too():
    with pytest.raises(UsageError, match="mode=never"):
        template("prune.magnitude:sparsity={search:[0.5,0.9]}", "quantize.int8:mode=never")


def test_groups_in_a_rule_are_refused():
    with pytest.raises(UsageError, match="groups in a rule"):
        template({"pass": "quantize.weights", "rules": [{"layers": "a", "bits": {"search": [2, 4, 8], "groups": 2}}]})


def test_a_search_starts_in_the_middle_and_from_what_is_milder_and_more_severe():
    """Fewer bits and more zeros are more severe; what a learning rate is nobody knows."""
    found = template(
        "prune.magnitude:sparsity={search:[0.1,0.9]}",
        "train.finetune:learning_rate={search:[1e-4,1e-2],log:true}",
        "quantize.weights:bits={search:[2,8]}",
    )
    assert [tuple(values.values()) for values in found.starts()] == [
        (0.5, 0.001, 5),
        (0.3, 0.001, 6),
        (0.7, 0.001, 4),
        (0.2, 0.001, 7),
    ]
