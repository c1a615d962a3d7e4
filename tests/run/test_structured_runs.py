"""Runs with structured pruning: budgets of passes in the report, exit codes, --strict, steps between trainings."""

import json

import numpy as np
import pytest

import kcompress
from kcompress import recipe
from kcompress.errors import StrictError
from kcompress.model.rebuild import copy
from kcompress.passes import find
from kcompress.passes.base import Change, Pass, PassResult
from kcompress.passes.capabilities import TrainsModel
from kcompress.report.run_tables import budget_text
from tests.models import dense, keras, residual, seeded
from tests.shell import kcompress as shell
from tests.sweep import some


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    return random.random((20, 12, 12, 3), np.float32), np.arange(20) % 3


@pytest.mark.parametrize("suffix", some(["keras", "tflite", "onnx"], lambda suffix: suffix == "tflite"))
def test_the_written_file_has_fewer_parameters_and_multiply_adds(suffix, tmp_path, images):
    report = kcompress.compress(
        residual(), tmp_path / f"o.{suffix}", passes=["prune.structured:macs=0.5"], data=images, strict=True
    )
    (record,) = report.passes
    assert 0.45 <= record.macs / report.source.macs <= 0.5
    assert record.parameters < report.source.parameters
    assert report.artifact.parameters <= record.parameters
    (budget,) = report.budgets
    assert (budget.name, budget.limit, budget.met) == ("prune.structured:macs", 0.5, True)
    assert budget.measured == pytest.approx(record.macs / report.source.macs)
    assert report.exit_code == 0
    assert budget_text(budget).startswith("budget prune.structured:macs met: 0.4")


def test_a_budget_of_a_pass_that_is_missed_gives_exit_code_1_and_the_closest_file(tmp_path):
    model = residual()
    model.save(tmp_path / "m.keras")
    step = "prune.structured:macs=0.01,min_channels=4"
    done = shell("compress", "m.keras", "o.keras", "--apply", step, "--json", cwd=tmp_path)
    assert done.returncode == 1
    (budget,) = json.loads(done.stdout)["budgets"]
    assert (budget["limit"], budget["met"]) == (0.01, False)
    assert "at the least number of channels" in budget["detail"]
    assert (tmp_path / "o.keras").exists()
    done = shell("compress", "m.keras", "strict.keras", "--apply", step, "--strict", cwd=tmp_path)
    assert done.returncode == 2
    assert "prune.structured:macs=0.01 can't be met; the closest is 0." in done.stderr
    assert not (tmp_path / "strict.keras").exists()


def test_a_model_without_a_channel_to_remove_gives_exit_code_1_and_says_so(tmp_path):
    k = keras()
    model = seeded(k.Sequential([k.Input((8,)), k.layers.Dense(3, name="head")]))
    report = kcompress.compress(model, tmp_path / "o.keras", passes=["prune.structured"])
    assert report.exit_code == 1
    told = "no channel of the model can be removed: head (its output is an output of the model)"
    assert budget_text(report.budgets[0]) == f"budget prune.structured:ratio NOT MET: {told}"
    with pytest.raises(StrictError, match=r"ratio=0\.3 can't be met; no channel of the model can be removed"):
        kcompress.compress(model, tmp_path / "s.keras", passes=["prune.structured"], strict=True)


def test_strict_allows_layers_that_an_amount_leaves_alone(tmp_path):
    model = dense()
    report = kcompress.compress(model, tmp_path / "o.keras", passes=["prune.structured:ratio=0"], strict=True)
    assert {entry["layer"] for entry in report.passes[0].skipped} == {"hidden", "head"}
    assert report.exit_code == 0


class Nudge(Pass, TrainsModel):
    """Stands for a pass that trains: moves every weight a little."""

    def shortened(self, share):
        return self

    @property
    def name(self):
        return "nudge"

    def concerns(self, node, named):
        return bool(node.kernels)

    def run(self, model, ctx):
        new = copy(model)
        for variable in new.trainable_variables:
            variable.assign(variable * 1.01)
        return PassResult(new, tuple(Change(node.name, "nudged") for node, _ in self.select(model).chosen))


def test_stages_alternate_with_the_training_behind_them(tmp_path):
    structured = find("prune.structured")(parameters=0.5, steps=3)
    k = keras()
    widths = [k.layers.Dense(width, "relu") for width in (40, 30)]
    model = seeded(k.Sequential([k.Input((20,)), *widths, k.layers.Dense(3)]))
    report = kcompress.compress(model, tmp_path / "o.keras", passes=[structured, Nudge(), Nudge()])
    assert [record.name for record in report.passes] == [*["prune.structured", "nudge"] * 3, "nudge"]
    sizes = [report.source.parameters, *(record.parameters for record in report.passes)]
    assert sizes[0] > sizes[1] == sizes[2] > sizes[3] == sizes[4] > sizes[5] == sizes[6]
    assert 0.48 <= sizes[-1] / sizes[0] <= 0.5


def test_stages_without_a_training_behind_them_are_one_pass():
    structured, other = find("prune.structured")(steps=3), find("quantize.float16")()
    assert recipe.interleaved([structured, other]) == [structured, other]
    assert recipe.interleaved([other, structured]) == [other, structured]


def test_a_resumed_run_reports_the_budgets_of_the_passes_before(tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMPRESS_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "m.keras"
    residual().save(path)
    steps = ["prune.structured:macs=0.01,min_channels=4", "quantize.float16"]
    with monkeypatch.context() as broken:
        broken.setattr(find("quantize.float16"), "run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            kcompress.compress(path, tmp_path / "o.keras", passes=steps)
    lines = []
    hooks = kcompress.Hooks(log=lines.append)
    report = kcompress.compress(path, tmp_path / "o.keras", passes=steps, hooks=hooks)
    assert lines == ["resumed after prune.structured, pass 1 of 2"]
    assert report.exit_code == 1
    assert report.budgets[0].name == "prune.structured:macs"
