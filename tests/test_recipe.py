"""Recipes: one meaning in every form, a schema that agrees with the reader, errors on one line that say what to do."""

import json
import subprocess
import sys

import jsonschema
import pytest

from kcompress import recipe
from kcompress.errors import UsageError
from kcompress.passes import names
from kcompress.passes.prune.magnitude import PruneMagnitude
from kcompress.passes.quantize.float16 import QuantizeFloat16

EXPECTED = [
    PruneMagnitude(
        sparsity=0.7,
        skip=["head"],
        rules=[{"layers": "block*/conv*", "threshold": 0.01}, {"layers": ["stem", "tail"], "skip": True}],
    ),
    QuantizeFloat16(layers="backbone"),
]
YAML = """
passes:
  - pass: prune.magnitude
    sparsity: 0.7
    skip: [head]
    rules:
      - layers: "block*/conv*"
        threshold: 0.01
      - layers: [stem, tail]
        skip: true
  - quantize.float16:layers=backbone
"""
TOML = """
[[passes]]
pass = "prune.magnitude"
sparsity = 0.7
skip = ["head"]
rules = [{layers = "block*/conv*", threshold = 0.01}, {layers = ["stem", "tail"], skip = true}]
[[passes]]
pass = "quantize.float16"
layers = "backbone"
"""
DOCUMENT = {
    "passes": [
        {
            "pass": "prune.magnitude",
            "sparsity": 0.7,
            "skip": "head",
            "rules": [
                {"layers": "block*/conv*", "threshold": 0.01},
                {"layers": ["stem", "tail"], "skip": True},
            ],
        },
        {"pass": "quantize.float16", "layers": ["backbone"]},
    ]
}
FORMS = {"a.yaml": YAML, "a.yml": YAML, "a.toml": TOML, "a.json": json.dumps(DOCUMENT), "a.YAML": YAML}


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.mark.parametrize("name", FORMS)
def test_every_form_means_the_same(name, write):
    assert recipe.load(write(name, FORMS[name])) == EXPECTED


def test_the_files_steps_come_first(write):
    steps = recipe.resolve(write("a.json", json.dumps(DOCUMENT)), ["quantize.float16:skip=x", PruneMagnitude(keep=0.2)])
    assert steps == [*EXPECTED, QuantizeFloat16(skip="x"), PruneMagnitude(keep=0.2)]
    assert recipe.resolve(None, []) == []
    assert recipe.load(write("empty.yaml", "passes: []")) == []


APPLIED = {
    "prune.magnitude": {},
    "prune.magnitude:": {},
    " prune.magnitude : sparsity = 0.7 ": {"sparsity": 0.7},
    "prune.magnitude:threshold=1e-3": {"threshold": 0.001},
    "prune.magnitude:n=2,m=4": {"n": 2, "m": 4},
    "prune.magnitude:biases=true,ranking=global": {"biases": True, "ranking": "global"},
    "prune.magnitude:layers=*conv": {"layers": ("*conv",)},
    "prune.magnitude:skip=[head,stem*],keep=0.5": {"skip": ("head", "stem*"), "keep": 0.5},
    "prune.magnitude:skip=[conv[12],head]": {"skip": ("conv[12]", "head")},
    "prune.magnitude:layers=block/conv:0": {"layers": ("block/conv:0",)},
}


@pytest.mark.parametrize("text", APPLIED)
def test_apply_means_the_same_as_the_fields(text):
    assert recipe.build(text) == PruneMagnitude(**APPLIED[text])


@pytest.mark.parametrize("value", ["true", "5", "on", "2026-13-45", "a: b", "!x", "[1,2]", "null", "&a", "{a"])
def test_a_text_that_yaml_reads_as_something_else_is_refused_or_kept(value):
    """Such as a layer called `on`: never a traceback, never another text than the one that was given."""
    try:
        built = recipe.build(f"prune.magnitude:layers={value}")
    except UsageError as error:
        assert_one_line(error, "prune.magnitude", "layers", "text or a list of texts")
    else:
        assert built.layers == (value,)


def assert_one_line(error, *words):
    text = str(error)
    assert text.splitlines() == [text], text
    for word in words:
        assert word in text, text


BAD_STEPS = {
    "an unknown pass": ("prune.magnitud:sparsity=0.5", ["prune.magnitud", "'prune.magnitude'"]),
    "a pass's last name": ("magnitude", ["'prune.magnitude'"]),
    "nothing near": ("zzzzzz", ["zzzzzz", "allowed", *names()]),
    "an empty text": ("", ["allowed"]),
    "an unknown field": ("prune.magnitude:sparcity=0.5", ["prune.magnitude", "'sparcity'", "'sparsity'"]),
    "out of range": ("prune.magnitude:sparsity=1.5", ["sparsity=1.5", "[0, 1)", "such as 0.7"]),
    "not a number": ("prune.magnitude:sparsity=much", ["sparsity=much", "[0, 1)"]),
    "no such choice": ("prune.magnitude:ranking=local", ["ranking=local", "per_layer, global"]),
    "half a pair": ("prune.magnitude:n=2", ["n=2,m=4"]),
    "n not below m": ("prune.magnitude:n=4,m=4", ["n=4", "m=4"]),
    "two modes": ("prune.magnitude:sparsity=0.5,threshold=0.1", ["sparsity and threshold", "one of"]),
    "an amount of zero": ("prune.magnitude:amount=0", ["amount=0", "(0, 1]"]),
    "no equals sign": ("prune.magnitude:sparsity", ["'sparsity'", "field=value"]),
    "given twice": ("prune.magnitude:n=1,n=2", ["'n'", "twice"]),
    "a line break": ("prune.magnitude:ranking=a\nb", ["ranking=a b"]),
    "a number": (5, ["5", "'pass'"]),
    "no pass": ({"sparsity": 0.5}, ["'pass'"]),
    "pass is no text": ({"pass": ["prune.magnitude"]}, ["'pass'"]),
    "a key that is no text": ({"pass": "prune.magnitude", 5: 1}, ["'5'"]),
    "a long value": (["x" * 500], ["..."]),
    "rules that are no list": ({"pass": "prune.magnitude", "rules": 5}, ["rules=5", "a list of mappings"]),
    "a rule without layers": ({"pass": "prune.magnitude", "rules": [{"keep": 0.5}]}, ["rule 1", "'layers'"]),
    "a rule for nothing": ({"pass": "prune.magnitude", "rules": [{"layers": []}]}, ["rule 1", "layers"]),
    "a wrong field in a rule": (
        {"pass": "prune.magnitude", "rules": [{"layers": "a"}, {"layers": "stem", "sparcity": 0.5}]},
        ["'stem'", "'sparcity'", "'sparsity'"],
    ),
    "a wrong value in a rule": (
        {"pass": "prune.magnitude", "rules": [{"layers": "stem", "sparsity": 7}]},
        ["'stem'", "sparsity=7", "[0, 1)"],
    ),
    "rules in a rule": ({"pass": "prune.magnitude", "rules": [{"layers": "a", "rules": []}]}, ["'rules'"]),
    "a value left to a search": (
        "prune.magnitude:sparsity={search:[0.5,0.9]}",
        ["prune.magnitude", "sparsity={'search': [0.5, 0.9]}", "kcompress search"],
    ),
    "a value in a rule left to a search": (
        {"pass": "prune.magnitude", "rules": [{"layers": "a", "keep": {"search": True}}]},
        ["keep=", "kcompress search"],
    ),
    "another pass's field in a rule": (
        {"pass": "quantize.float16", "rules": [{"layers": "a", "sparsity": 0.5}]},
        ["quantize.float16", "'sparsity'"],
    ),
}


@pytest.mark.parametrize("case", BAD_STEPS)
def test_a_wrong_step_is_explained_on_one_line(case):
    step, words = BAD_STEPS[case]
    with pytest.raises(UsageError) as caught:
        recipe.build(step)
    assert_one_line(caught.value, *words)


BAD_FILES = {
    "another suffix": ("a.txt", YAML, [".txt", ".yaml, .yml, .toml, .json"]),
    "no suffix": ("recipe", YAML, [".yaml"]),
    "not text": ("a.yaml", b"\xff\xfe\x00passes", ["not text"]),
    "broken YAML": ("a.yaml", "passes:\n  - [1", ["not valid YAML", "line"]),
    "a tag of Python's": ("a.yaml", "passes: !!python/object/apply:os.getcwd []", ["not valid YAML", "line 1"]),
    "control characters": ("a.yaml", "passes: \x00", ["not valid YAML"]),
    "two documents": ("a.yaml", "passes: []\n---\npasses: []", ["not valid YAML"]),
    "an impossible date": ("a.yaml", "passes: [2026-13-45]", ["not valid YAML"]),
    "broken TOML": ("a.toml", "passes = [", ["not valid TOML"]),
    "broken JSON": ("a.json", '{"passes": [}', ["not valid JSON", "line 1"]),
    "too deep": ("a.json", "[" * 200_000, ["not valid JSON"]),
    "a field twice in YAML": (
        "a.yaml",
        "passes:\n- {pass: prune.magnitude, keep: 0.5, keep: 0.1}",
        ["'keep'", "twice"],
    ),
    "a field twice in JSON": ("a.json", '{"passes": [], "passes": []}', ["'passes'", "twice"]),
    "a field twice in TOML": ("a.toml", "passes = []\npasses = []", ["not valid TOML"]),
    "nothing": ("a.yaml", "", ["no list 'passes'"]),
    "a list": ("a.json", "[]", ["no list 'passes'"]),
    "passes no list": ("a.yaml", "passes: prune.magnitude", ["no list 'passes'"]),
    "a key too many": ("a.yaml", "passes: []\npases: []", ["'pases'", "'passes'"]),
    "a pass that is none": ("a.yaml", "passes: [quantize.float16, {keep: 1}]", ["pass 2", "'pass'"]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_wrong_file_is_named_on_one_line(case, write):
    name, text, words = BAD_FILES[case]
    with pytest.raises(UsageError) as caught:
        recipe.load(write(name, text))
    assert_one_line(caught.value, name, *words)


def test_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UsageError) as caught:
            recipe.resolve(path, [])
        assert_one_line(caught.value, str(path))


def test_reading_a_recipe_and_its_schema_loads_no_backend(write):
    program = f"""
import sys
from pathlib import Path
from kcompress import recipe
recipe.load(Path({str(write("a.yaml", YAML))!r}))
recipe.schema()
try:
    recipe.build("prune.magnitude:sparsity=2")
except recipe.UsageError:
    print("refused", *sorted({{"keras", "tensorflow", "jax", "torch", "onnx"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused"]


SCHEMA = recipe.schema()


def is_valid(document):
    return jsonschema.Draft202012Validator(SCHEMA).is_valid(document)


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


GOOD_STEPS = [
    *names(),
    *({"pass": name} for name in names()),
    "prune.magnitude:sparsity=0.5,skip=[a,b]",
    {"pass": "prune.magnitude", "n": 2, "m": 4, "amount": 1},
    {"pass": "prune.magnitude", "layers": "a*", "skip": ["b", "c"]},
    {"pass": "prune.magnitude", "rules": [{"layers": "a", "skip": True}, {"layers": ["b"], "threshold": 0.1}]},
    {"pass": "quantize.float16", "rules": [{"layers": "a", "skip": True}]},
]


@pytest.mark.parametrize("step", GOOD_STEPS, ids=str)
def test_what_the_schema_and_the_reader_both_take(step):
    assert is_valid({"passes": [step]})
    recipe.build(step)


MARKED = [
    ("prune.magnitude", "sparsity", {"search": [0.5, 0.9], "groups": 3}),
    ("prune.magnitude", "ranking", {"search": True}),
    ("quantize.weights", "bits", {"search": [2, 4, 8], "groups": "each"}),
    ("train.distill", "learning_rate", {"search": [0.0001, 0.01], "log": True}),
    ("prune.magnitude", "sparsity", {"search": [0.1, 0.9], "step": 0.1}),
]


@pytest.mark.parametrize(("name", "field", "mark"), MARKED)
def test_a_mark_fits_the_schema_in_place_of_a_value(name, field, mark):
    assert is_valid({"passes": [{"pass": name, field: mark}]})
    if name != "train.distill":
        assert is_valid({"passes": [{"pass": name, "rules": [{"layers": "a", field: mark}]}]})
    for wrong in ({}, {**mark, "search": [1]}, {**mark, "srch": 1}, {**mark, "groups": 0}):
        assert not is_valid({"passes": [{"pass": name, field: wrong}]})
    assert not is_valid({"passes": [{"pass": name, "layers": mark}]})


@pytest.mark.parametrize("text", ["{search:[0.5,0.9]}", "{search: [0.5, 0.9]}", "{ search : [ 0.5 , 0.9 ] }"])
def test_a_mark_on_the_command_line(text):
    name, fields = recipe.parse_apply(f"prune.magnitude:sparsity={text},ranking=global")
    assert (name, fields) == ("prune.magnitude", {"sparsity": {"search": [0.5, 0.9]}, "ranking": "global"})


def test_whole_recipes_fit_the_schema():
    assert is_valid(DOCUMENT)
    assert is_valid({"passes": []})


@pytest.mark.parametrize(
    "step",
    [
        5,
        "magnitude",
        "prune.magnitud",
        {},
        {"pass": "prune.magnitud"},
        {"pass": "prune.magnitude", "sparcity": 0.5},
        {"pass": "prune.magnitude", "sparsity": 1},
        {"pass": "prune.magnitude", "sparsity": -0.1},
        {"pass": "prune.magnitude", "keep": 0},
        {"pass": "prune.magnitude", "threshold": -1},
        {"pass": "prune.magnitude", "amount": 1.5},
        {"pass": "prune.magnitude", "n": 0, "m": 4},
        {"pass": "prune.magnitude", "n": 1, "m": 1},
        {"pass": "prune.magnitude", "ranking": "local"},
        {"pass": "prune.magnitude", "biases": "perhaps"},
        {"pass": "prune.magnitude", "layers": 5},
        {"pass": "prune.magnitude", "layers": [["a"]]},
        {"pass": "prune.magnitude", "rules": {}},
        {"pass": "prune.magnitude", "rules": [{"threshold": 0.1}]},
        {"pass": "prune.magnitude", "rules": [{"layers": []}]},
        {"pass": "prune.magnitude", "rules": [{"layers": "a", "sparcity": 0.5}]},
        {"pass": "prune.magnitude", "rules": [{"layers": "a", "sparsity": 2}]},
        {"pass": "prune.magnitude", "rules": [{"layers": "a", "rules": []}]},
        {"pass": "quantize.float16", "sparsity": 0.5},
        {"pass": "quantize.float16", "rules": [{"layers": "a", "sparsity": 0.5}]},
    ],
    ids=str,
)
def test_what_neither_the_schema_nor_the_reader_takes(step):
    assert not is_valid({"passes": [step]})
    with pytest.raises(UsageError):
        recipe.build(step)


@pytest.mark.parametrize("document", [[], {}, {"passes": {}}, {"passes": [], "extra": 1}], ids=str)
def test_what_is_no_recipe(document, write):
    assert not is_valid(document)
    with pytest.raises(UsageError):
        recipe.load(write("a.json", json.dumps(document)))


def test_the_schema_documents_every_field():
    for name in names():
        for field, entry in SCHEMA["$defs"][name]["properties"].items():
            assert field == "pass" or entry.get("description"), f"{name}: {field}"
