"""`kcompress search` from the shell: what it prints, its exit codes, and what it loads to refuse.

Covers: cli/commands/search.py.
"""

import json

import numpy as np
import pytest

from tests.models import dense
from tests.shell import assert_refused, kcompress, light

PRUNE = "prune.magnitude:sparsity={search:[0.1,0.9]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    dense().save(folder / "m.keras")
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 8)).astype(np.float32)
    np.savez(folder / "d.npz", x_train=x[:200], y_train=np.arange(200) % 3, x_test=x[200:], y_test=np.arange(100) % 3)
    return folder


@pytest.mark.slow
def test_one_document_and_nothing_else_as_json(folder):
    arguments = ("search", "m.keras", "o.tflite", "--data", "d.npz", "--apply", PRUNE, "--trials", "2")
    done = kcompress(*arguments, "--max-size", "100B", "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (1, "")
    document = json.loads(done.stdout)
    assert [budget["met"] for budget in document["winner"]["budgets"]] == [False]
    assert len(document["trials"]) == 2
    done = kcompress(*arguments, "--max-drop", "100", "--overwrite", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["trial 0", "trial 1"]
    for word in ("Source against artifact", "Pareto front of the trials", "recipe: o.tflite.recipe.yaml"):
        assert word in done.stdout


REFUSED = {
    "no budget": ([], ["no budget", "--sampler pareto"]),
    "an unknown sampler": (["--max-drop", "1", "--sampler", "gp"], ["gp", "grid, random, bayes, pareto"]),
    "nothing to search": (["--max-drop", "1", "--apply", "quantize.int8"], ["nothing to search"]),
    "no data": (["--max-drop", "1", "--data", "none.npz"], ["none.npz"]),
    "no such recipe": (["--max-drop", "1", "--recipe", "none.yaml"], ["none.yaml"]),
    "a mark that can't be": (["--max-drop", "1", "--apply", "prune.magnitude:sparsity={search:[0.9,0.1]}"], ["0.9"]),
    "storage out of reach": (["--max-drop", "1", "--storage", "sqlite:////no/s.db"], ["--storage", "can't be reached"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_are_told_on_one_line_before_anything_heavy_is_loaded(case, folder):
    options, words = REFUSED[case]
    arguments = ["search", "m.keras", "p.tflite", "--data", "d.npz", *options]
    assert_refused(light(*arguments, cwd=folder), 2, *words)
    assert not list(folder.glob("p.*"))


def test_what_an_extra_brings_is_named(folder, monkeypatch):
    from kcompress.errors import MissingExtraError
    from kcompress.tuning import options, storage

    monkeypatch.setattr(storage, "installed", lambda module: module != "optuna")
    with pytest.raises(MissingExtraError, match="'search' extra"):
        storage.require()
    monkeypatch.setattr(options, "installed", lambda module: False)
    with pytest.raises(MissingExtraError, match="'ray' extra"):
        options.SearchOptions(sampler="pareto", engine="ray").check()


def test_help(folder):
    done = kcompress("search", "--help")
    assert done.returncode == 0
    for option in ("--max-latency", "--max-macs", "--storage", "--engine", "--save-recipe"):
        assert option in done.stdout
