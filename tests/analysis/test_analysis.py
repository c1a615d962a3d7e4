"""The command and the function of its name, on a model file.

Covers: analysis/heat.py, analysis/options.py, analysis/rows.py, api/sensitivity.py, cli/commands/sensitivity.py.
"""

import json

import numpy as np
import pytest

import kcompress
from kcompress.analysis.effects import Effect, Sensitivity
from kcompress.analysis.heat import heat_map
from kcompress.analysis.probe import Reference
from kcompress.analysis.rows import remarks, tables
from kcompress.errors import DataError, MissingExtraError, ModelError, OutputError, UsageError
from kcompress.report import plot
from tests.models import dense, keras
from tests.shell import assert_refused
from tests.shell import kcompress as command

k = keras()
LEVELS = ["quantize.weights:bits=8,2", "prune.structured:ratio=0.5"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dense().save("m.keras")
    x = np.random.default_rng(0).random((100, 8), np.float32) * 4 - 2
    np.savez("d.npz", x=x, y=np.asarray(dense()(x)).argmax(1))
    return tmp_path


def invented(metric="accuracy", drops=(0.0, 3.0, 25.0)):
    """Two layers at three levels: one mild, one cut after the second."""
    field = "prune.magnitude", "sparsity"
    rows = [Effect(*field, ("mild",), v, d, d, 0.9) for v, d in zip((0.5, 0.7, 0.9), drops, strict=True)]
    rows += [Effect(*field, ("a", "b"), v, 30.0, 30.0, 0.5, cut) for v, cut in ((0.5, False), (0.7, True), (0.9, True))]
    if metric is None:
        rows = [Effect(*field, e.layers, e.value, e.distortion, None, e.agreement, e.cut) for e in rows]
    skipped = {"prune.magnitude:sparsity": {"odd": "a custom layer", "odder": "a custom layer"}}
    return Sensitivity(
        tuple(rows), skipped, Reference(50, metric, 0.9 if metric else None), {"a": 10, "b": 5, "mild": 2}
    )


@pytest.mark.slow
def test_the_command_prints_and_writes_every_form_and_the_second_time_the_same(folder):
    reports = ["r.json", "r.md", "r.html", "r.png", "r.svg"]
    options = [text for level in LEVELS for text in ("--levels", level)]
    options += [text for report in reports for text in ("--report", report)]
    done = command("sensitivity", "m.keras", "--data", "d.npz", *options, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "quantize.weights:bits, points of" in done.stdout
    first = {name: (folder / name).read_bytes() for name in reports}
    again = command("sensitivity", "m.keras", "--data", "d.npz", *options, "--overwrite", "--json", cwd=folder)
    document = json.loads(again.stdout)
    for name in reports[1:]:
        assert (folder / name).read_bytes() == first[name]
    timeless = {key: value for key, value in json.loads(first["r.json"]).items() if key != "seconds"}
    assert {key: value for key, value in document.items() if key != "seconds"} == timeless


def test_a_model_in_memory_gives_what_its_file_gives(folder):
    ask = {"data": "d.npz", "levels": LEVELS}
    found, other = kcompress.sensitivity("m.keras", **ask), kcompress.sensitivity(dense(), **ask)
    assert found.effects == other.effects
    assert (found.source, other.source) == ("m.keras", "dense")
    assert [effect.layers for effect in found.effects] == [("hidden",)] * 2 + [("head",)] * 2 + [("hidden",)]


def test_json_has_all_there_is_and_no_infinity():
    found = invented()
    effects = (*found.effects, Effect("p", "f", ("a",), 1, float("inf"), None, 0.0))
    document = Sensitivity(effects, found.skipped, found.reference, found.weights, "m.keras", 2.0).to_json()
    assert list(document) == [
        *("kcompress", "source", "samples", "metric", "value", "effects", "skipped", "weights", "seconds"),
    ]
    assert document["effects"][0] == {
        "pass": "prune.magnitude", "field": "sparsity", "layers": ["mild"], "value": 0.5,
        "distortion": 0.0, "drop": 0.0, "agreement": 0.9, "cut": False,
    }  # fmt: skip
    assert document["effects"][-1]["distortion"] is None
    json.dumps(document, allow_nan=False)


def test_tables_mark_what_costs_most_and_what_was_not_run():
    (table,) = tables(invented())
    assert table.title == "prune.magnitude:sparsity, points of accuracy lost"
    assert table.header == ("layers", "weights", "sparsity=0.5", "sparsity=0.7", "sparsity=0.9")
    assert table.rows == (("mild", "2", "0.0", "3.0", "25.0"), ("a + b", "15", "30.0*", ">30.0*", ">30.0*"))


def test_without_labels_tables_show_distortion():
    (table,) = tables(invented(metric=None, drops=(0.0, 0.00123, 0.4)))
    assert table.title.endswith("distortion of the outputs")
    assert table.rows[0] == ("mild", "2", "0", "0.0012", "0.4")


def test_nothing_is_the_worst_where_nothing_is_lost():
    found = invented()
    (table,) = tables(Sensitivity(found.effects[:1], {}, found.reference))
    assert table.rows == (("mild", "0", "0.0"),)


def test_remarks_name_layers_left_alone_once_per_reason():
    lines = remarks(invented())
    assert lines[0] == (
        "each layer alone, on 50 samples that are no test data; the model's own accuracy there is 0.9000"
    )
    assert lines[-1] == "prune.magnitude:sparsity leaves odd, odder alone: a custom layer"
    assert any(line.startswith("> : not run") for line in lines)
    mild = invented()
    assert not any("not run" in line for line in remarks(Sensitivity(mild.effects[:3], {}, mild.reference)))


@pytest.mark.parametrize("metric", ["accuracy", None, "mean_absolute_error"])
def test_the_heat_map_has_a_cell_for_every_effect(metric):
    found = invented(metric)
    drawn = heat_map(found)
    panel, scale = drawn.axes
    assert panel.get_title() == "prune.magnitude:sparsity"
    assert [label.get_text() for label in panel.get_yticklabels()] == ["mild", "a + b"]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["0.5", "0.7", "0.9"]
    assert [text.get_text() for text in panel.texts][3:] == (
        ["30.0", ">30.0", ">30.0"] if metric == "accuracy" else ["30", ">30", ">30"]
    )
    wanted = {"accuracy": "points of accuracy lost", None: "distortion", "mean_absolute_error": "absolute_error lost"}
    assert wanted[metric] in scale.get_ylabel()
    assert b"prune.magnitude:sparsity" in found.document().render(".svg")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, UsageError, "give it with --data"),
        ({"data": "none.npz"}, DataError, "no such file"),
        ({"data": "d.npz", "levels": ["a"]}, UsageError, "is not PASS:FIELD"),
        ({"data": "d.npz", "levels": {"quantize.weights:bits": [1]}}, UsageError, "is not a whole number in"),
        ({"data": "d.npz", "reports": ["r.txt"]}, UsageError, "no report as"),
        ({"data": "d.npz", "reports": ["m.keras"]}, UsageError, "no report as"),
        ({"data": "d.npz", "reports": ["there.md"]}, OutputError, "exists already; pass --overwrite"),
        ({"data": "d.npz", "reports": ["none/r.md"]}, OutputError, "make it first"),
        ({"data": "d.npz", "metric": "no_such"}, UsageError, "is no Keras metric"),
        ({"data": "x.npz", "metric": "accuracy"}, UsageError, "metric=accuracy needs labels"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_written(options, error, message, folder):
    (folder / "there.md").write_text("mine")
    np.savez("x.npz", x=np.zeros((20, 8), np.float32))
    before = sorted(path.name for path in folder.iterdir() if path.name != "cache")
    with pytest.raises(error, match=message) as caught:
        kcompress.sensitivity("m.keras", **options)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in folder.iterdir() if path.name != "cache") == before
    assert (folder / "there.md").read_text() == "mine"


@pytest.mark.parametrize("name", ["none.keras", "d.npz"])
def test_a_model_that_cannot_be_read_is_refused(name, folder):
    with pytest.raises(ModelError):
        kcompress.sensitivity(name, data="d.npz")


def test_a_missing_extra_is_named_before_anything_is_computed(folder, monkeypatch):
    monkeypatch.setattr(plot, "installed", lambda name: name != "matplotlib")
    with pytest.raises(MissingExtraError, match=r"a report as \.png needs the 'report' extra"):
        kcompress.sensitivity("m.keras", data="none.npz", reports=["r.png"])


def test_the_command_refuses_in_one_line(folder):
    assert_refused(command("sensitivity", "m.keras", cwd=folder), 2, "--data")
