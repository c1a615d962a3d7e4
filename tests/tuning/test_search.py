"""A whole search on a small model: what it writes, what it promises, what it refuses.

Covers: api/search.py, tuning/effort.py, tuning/evaluation.py, tuning/figures.py, tuning/job.py, tuning/layer_groups.py,
tuning/options.py, tuning/presets.py, tuning/rebuilding.py, tuning/report/outputs.py, tuning/report/plot.py,
tuning/report/progress.py, tuning/report/report.py, tuning/report/tables.py.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

import kcompress
from kcompress.codec import decode
from kcompress.data import Splits, resolve
from kcompress.errors import DataError, KCompressError, OutputError, UsageError
from kcompress.passes.capabilities import TrainsModel
from kcompress.run.options import Budgets
from kcompress.tuning import layer_groups
from kcompress.tuning.evaluation import CandidateEvaluator, TrialPruned
from kcompress.tuning.job import Job
from kcompress.tuning.report import tables
from kcompress.tuning.template import Template
from tests.models import dense, keras

PRUNE = "prune.magnitude:sparsity={search:[0.1,0.9]}"
ROUND = "quantize.weights:bits={search:[2,4,8],groups:2}"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("source") / "m.keras"
    dense().save(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory, source) -> Path:
    """Labels are what the model says, so that it is never wrong itself."""
    random = np.random.default_rng(0)
    x = random.normal(size=(700, 8)).astype(np.float32)
    y = keras().saving.load_model(source).predict(x, verbose=0).argmax(-1)
    path = tmp_path_factory.mktemp("data") / "d.npz"
    np.savez(path, x_train=x[:500], y_train=y[:500], x_test=x[500:], y_test=y[500:])
    return path


def find(source, data, tmp_path, name="o.keras", **options):
    settings = {"passes": [PRUNE, ROUND], "trials": 6, "max_drop": 20.0, **options}
    return kcompress.search(source, tmp_path / name, data=data, **settings)


@pytest.fixture(scope="module")
def found(source, data, tmp_path_factory):
    """A search with all reports, and the folder of what it wrote."""
    folder = tmp_path_factory.mktemp("found")
    return find(source, data, folder, reports=[folder / f"r.{form}" for form in ("json", "md", "html", "svg")]), folder


def test_the_winner_is_the_smallest_that_meets_the_budget(found, source):
    report, folder = found
    output = folder / "o.keras"
    assert report.exit_code == 0
    assert report.winner.artifact.bytes == output.stat().st_size < source.stat().st_size
    assert report.winner.artifact.path == str(output)
    assert report.winner.quality.samples == 200  # the test data, all of it
    met = [t.figures.bytes for t in report.trials if t.figures.drop is not None and t.figures.drop <= 20]
    winner = next(t for t in report.trials if t.number == report.trial)
    assert winner.figures.bytes == min(met)
    assert report.groups["quantize.weights:bits"] in ((("head",), ("hidden",)), (("hidden",), ("head",)))


def test_the_recipe_makes_the_same_bytes(found, source, data, tmp_path):
    report, folder = found
    recipe = folder / "o.keras.recipe.yaml"
    assert yaml.safe_load(recipe.read_text()) == json.loads(json.dumps(report.recipe))
    kcompress.compress(source, tmp_path / "again.keras", recipe=recipe, data=data)
    assert (tmp_path / "again.keras").read_bytes() == (folder / "o.keras").read_bytes()


def test_reports_say_it_in_every_form(found):
    report, folder = found
    document = json.loads((folder / "r.json").read_text())
    assert document == json.loads(json.dumps(report.to_json()))
    assert document["front"] and document["rebuilt"][-1]["met"]
    assert len(document["trials"]) == 6
    assert set(document["importances"]) <= {"bytes", "drop"}
    page = (folder / "r.html").read_text()
    for word in ("<svg", "Pareto front", "prune.magnitude:sparsity", "budget --max-drop met", "What mattered"):
        assert word in page
    assert "| trial | bytes | drop |" in (folder / "r.md").read_text()
    assert {path.name for path in folder.iterdir()} == {
        *("o.keras", "o.keras.recipe.yaml", "r.json", "r.md", "r.html", "r.svg"),
    }


def test_test_data_chooses_nothing_and_the_same_seed_tries_the_same(found, source, data, tmp_path):
    """Other test data, the same trials."""
    report, _ = found
    with np.load(data) as file:
        arrays = dict(file)
    other = tmp_path / "other.npz"
    np.savez(other, **{**arrays, "y_test": (arrays["y_test"] + 1) % 3})
    again = find(source, other, tmp_path)
    assert [t.values for t in again.trials] == [t.values for t in report.trials]
    assert [t.figures for t in again.trials] == [t.figures for t in report.trials]
    assert again.winner.quality.source != report.winner.quality.source


def test_a_grid_is_tried_as_a_whole(source, data, tmp_path):
    report = find(source, data, tmp_path, sampler="grid", trials=3, passes=[PRUNE])
    values = sorted(t.values["prune.magnitude:sparsity"] for t in report.trials)
    assert values == pytest.approx([0.1, 0.5, 0.9])


def test_pareto_needs_no_budget_and_takes_what_is_best_in_both(source, data, tmp_path):
    report = find(source, data, tmp_path, sampler="pareto", max_drop=None, trials=6)
    assert report.winner.budgets == ()
    assert report.trial in [trial.number for trial in report.pareto_front]
    sizes = [t.figures.bytes for t in report.pareto_front]
    drops = [t.figures.drop for t in report.pareto_front]
    assert sizes == sorted(sizes) and drops == sorted(drops, reverse=True)


def test_a_size_alone_gives_what_loses_least(source, data, tmp_path):
    report = find(source, data, tmp_path, max_drop=None, max_size=2900, trials=5)
    met = [t for t in report.trials if t.figures.bytes is not None and t.figures.bytes <= 2900]
    winner = next(t for t in report.trials if t.number == report.trial)
    assert winner.figures.drop == min(t.figures.drop for t in met if t.state == "done")
    assert report.winner.artifact.bytes <= 2900


@pytest.mark.slow
def test_a_budget_that_nothing_meets_gives_the_closest(source, data, tmp_path, capsys):

    report = find(source, data, tmp_path, max_size=100, max_drop=None, trials=3)
    assert report.exit_code == 1
    assert (tmp_path / "o.keras").exists()
    assert len(report.rebuilt) == 3
    assert report.winner.artifact.bytes == min(each.report.artifact.bytes for each in report.rebuilt)
    (line,) = [line for line in tables.remarks(report) if "closest" in line]
    percent = 100 * (report.winner.artifact.bytes - 100) / 100
    assert f"{percent:.0f} % above --max-size" in line


@pytest.mark.slow
def test_a_search_with_a_storage_goes_on(source, data, tmp_path):
    options = {"storage": f"sqlite:///{tmp_path}/s.db", "passes": [PRUNE]}
    first = find(source, data, tmp_path, trials=2, **options)
    second = find(source, data, tmp_path, "p.keras", trials=3, **options)
    assert [t.to_json() for t in second.trials[:2]] == [t.to_json() for t in first.trials]
    assert len(second.trials) == 3


def test_a_search_of_a_model_in_memory_goes_on(source, data, tmp_path):
    """Its file, written for the search, says when that was."""
    options = {"storage": str(tmp_path / "s.journal"), "passes": [PRUNE], "trials": 1}
    model = keras().saving.load_model(source)
    first, second = (find(model, data, tmp_path, f"{number}.keras", **options) for number in range(2))
    assert first.trials == second.trials
    kernel = model.trainable_variables[0]
    kernel.assign(kernel.numpy() * 1.01)
    other = find(model, data, tmp_path, "other.keras", **options)
    assert other.trials[0].figures != first.trials[0].figures


def test_a_study_is_known_by_all_that_its_trials_depend_on(source, data, tmp_path):
    from dataclasses import replace

    from kcompress.recipe import mapping
    from kcompress.run.options import Budgets

    template, other = (Template.of([mapping(step)]) for step in (PRUNE, PRUNE.replace("0.9", "0.8")))
    job = Job(source, ".keras", template, Budgets(max_drop=1.0), data=str(data))
    differing = [
        replace(job, **{name: value})
        for name, value in {
            "template": other,
            "limits": Budgets(max_drop=2.0),
            "suffix": ".tflite",
            "seed": 1,
            "effort": 1.0,
            "metric": "mae",
        }.items()
    ]
    assert len({each.name() for each in (job, *differing)}) == len(differing) + 1
    assert job.name() == replace(job).name() == decode(Job, json.dumps(job.to_json())).name()
    shutil.copy(source, tmp_path / "m.keras")
    assert replace(job, source=tmp_path / "m.keras").name() == job.name()  # the same content


@pytest.mark.slow
def test_without_labels_the_drop_is_of_agreement(source, data, tmp_path):
    with np.load(data) as file:
        x = file["x_train"]
    report = find(dense(), x, tmp_path, passes=[PRUNE], trials=2)  # a model in memory
    for trial in report.trials:
        assert trial.figures.drop == pytest.approx(100 * (1 - trial.figures.agreement))
    (budget,) = report.winner.budgets
    assert budget.measured == pytest.approx(100 * (1 - report.winner.quality.agreement))
    assert report.exit_code == (0 if budget.measured <= 20 else 1)


@pytest.mark.parametrize("suffix", [".keras", ".tflite", ".onnx"])
def test_without_a_recipe_there_is_one_that_suits_the_format(suffix):
    from kcompress.formats import for_output
    from kcompress.run import preflight
    from kcompress.tuning.presets import preset

    file_format = for_output(Path(f"o{suffix}"))
    x = np.zeros((10, 8), np.float32)
    for splits in (resolve((x, x[:, 0])), resolve(x), Splits(None, resolve(x).training, None)):
        template = Template.of(preset(file_format, splits))
        layer_groups.check(template)
        steps = template.passes(template.middle())
        preflight.holds(steps, file_format)
        assert any(isinstance(step, TrainsModel) for step in steps) == (splits.training is not None)


def parts_of(**data):
    """The samples of which the trials' training, calibration and judgement consist, as sets of numbers."""
    splits = Job(Path("m.keras"), ".keras", Template((), (), {}), Budgets(max_drop=1.0), **data).splits()
    return [
        {float(value) for batch in part.batches(50) for value in np.asarray(batch.x).ravel()}
        for part in (splits.training, splits.calibration, splits.test)
    ]


def test_trials_are_judged_on_what_they_do_not_train_on():
    x = np.arange(50, dtype=np.float32)[:, None]
    training, calibration, judged = parts_of(data=(x, x[:, 0]))
    test = set(map(float, range(4, 50, 5)))
    assert training == calibration
    assert (len(training), len(judged)) == (32, 8)
    assert not (training & judged or training & test or judged & test)
    assert parts_of(data=(x, x[:, 0]), calibration=x + 100)[1] == set(map(float, range(100, 150)))


def test_trials_are_judged_on_validation_data_and_train_on_all_of_the_others():
    x = np.arange(50, dtype=np.float32)[:, None]
    training, calibration, judged = parts_of(data=(x, x[:, 0]), validation=(x + 100, x[:, 0]))
    assert training == calibration
    assert (len(training), judged) == (40, set(map(float, range(100, 150))))


def test_test_data_can_not_be_validation_data(source, data, tmp_path):
    with pytest.raises(DataError, match="the same samples were given as validation and test data"):
        find(source, data, tmp_path, validation=data)


TRAINED = ["prune.structured:ratio={search:[0.1,0.8]}", "train.distill:steps=4", "quantize.weights:bits={search:[4,8]}"]


def bench(source, data, steps=TRAINED, **options) -> CandidateEvaluator:
    from kcompress.recipe import mapping

    budget = {"max_drop": 50.0, "max_size": None, **options}
    template = Template.of([mapping(step) for step in steps])
    return CandidateEvaluator(Job(source, ".keras", template, Budgets(**budget), data=str(data)))


@pytest.mark.slow
def test_what_can_not_become_small_enough_is_given_up_before_training(source, data):
    values = {"prune.structured:ratio": 0.1, "quantize.weights:bits": 8}
    found = bench(source, data)
    figures = found.measure(values)
    with pytest.raises(TrialPruned, match="not smaller than the best"):
        found.measure(values, best=figures.bytes // 2)
    assert found.measure(values, best=figures.bytes * 2) == figures
    with pytest.raises(TrialPruned, match="over budget") as caught:
        bench(source, data, max_size=figures.bytes // 2).measure(values)
    assert caught.value.figures.bytes == pytest.approx(figures.bytes, rel=0.05)
    assert caught.value.figures.drop is None


@pytest.mark.slow
def test_what_is_hopeless_between_two_trainings_is_given_up(source, data):
    steps = [*TRAINED, "train.distill:steps=2"]
    values = {"prune.structured:ratio": 0.8, "quantize.weights:bits": 8}
    drop = bench(source, data, TRAINED).measure(values).drop
    assert drop > 5
    with pytest.raises(TrialPruned, match=r"a drop of [\d.]+ after train.distill"):
        bench(source, data, steps, max_drop=0.1).measure(values)


def test_what_the_source_knows_by_heart_is_no_loss(source, data, tmp_path):
    """The source is always right on the training data, and on the test data as good as any other."""
    with np.load(data) as arrays:
        labels = np.random.default_rng(1).integers(0, 3, len(arrays["y_test"]))
        np.savez(tmp_path / "d.npz", **{**arrays, "y_test": labels})
    prune = "prune.magnitude:sparsity={search:[0.3,0.9]}"
    options = {"passes": [prune, "quantize.weights:bits={search:[3,6]}"], "max_drop": 5.0, "trials": 12}
    report = find(source, tmp_path / "d.npz", tmp_path, **options)
    first = report.trials[0]
    assert list(first.values.values()) == [0.3, 6]
    assert first.full == first.figures, "nothing trains here"
    assert report.trial_budgets.max_drop == report.unbiased_budgets.max_drop == 5 + first.figures.drop > 8
    assert "by heart" in " ".join(tables.remarks(report))
    assert report.exit_code == 0
    assert report.winner.artifact.bytes < first.figures.bytes


def test_trials_train_less(source, data):
    found = bench(source, data)
    steps = found.passes(found.job.template.middle())
    assert [step.steps for step in steps if isinstance(step, TrainsModel)] == [1]
    for given, expected in (({}, 1), ({"epochs": 6}, 2), ({"epochs": 1}, 1)):
        step = kcompress.TrainDistill(warmup=0.6, **given)
        short = step.shortened(1 / 3)
        assert short.epochs == expected
        assert short.warmup == pytest.approx(0.6 * expected / (given.get("epochs") or 3))
        assert step.shortened(1) is step


REFUSED = {
    "no budget": ({"max_drop": None}, UsageError, ["no budget", "--max-drop"]),
    "an unknown sampler": ({"sampler": "baies"}, UsageError, ["baies", "'bayes'"]),
    "an unknown engine": ({"engine": "slurm"}, UsageError, ["slurm", "process, ray"]),
    "no trials": ({"trials": 0}, UsageError, ["--trials 0"]),
    "no workers": ({"workers": 0}, UsageError, ["--workers 0"]),
    "no time": ({"timeout": 0}, UsageError, ["--timeout 0"]),
    "an effort above one": ({"effort": 2}, UsageError, ["--effort 2", "(0, 1]"]),
    "nothing to search": ({"passes": ["quantize.float16"]}, UsageError, ["nothing to search", "kcompress compress"]),
    "groups of words": (
        {"passes": ["quantize.weights:scale={search:true,groups:2}"]},
        UsageError,
        ["groups by sensitivity go with numbers"],
    ),
    "a field of which no layer alone can be told": (
        {"passes": ["train.distill:alpha={search:true,groups:2}"]},
        UsageError,
        ["groups can't be given"],
    ),
    "a storage that can't be reached": ({"storage": "sqlite:////no/where/s.db"}, UsageError, ["can't be reached"]),
    "a teacher for nothing": ({"teachers": ["t.keras"]}, UsageError, ["no pass learns from a teacher"]),
    "a folder that is not there": ({"reports": ["/no/where/r.md"]}, OutputError, ["/no/where"]),
    "a report of another kind": ({"reports": ["r.pdf"]}, UsageError, [".pdf"]),
    "a recipe that is no yaml": ({"save_recipe": "r.txt"}, UsageError, ["--save-recipe r.txt"]),
    "latency that can't be": ({"max_latency": -1}, UsageError, ["--max-latency -1"]),
    "MACs that can't be": ({"max_macs": "many"}, UsageError, ["--max-macs", "many", "5M"]),
    "nothing but calibration data": ({"data": None, "calibration": "d"}, UsageError, ["training data"]),
    "too few samples": ({"data": (np.zeros((5, 8)), np.zeros(5))}, DataError, ["too few"]),
    "data that other processes can't read": (
        {"data": (np.zeros((60, 8)), np.zeros(60, int)), "workers": 2},
        UsageError,
        ["other processes can't read"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_not_be_is_refused_on_one_line_and_nothing_is_written(case, source, data, tmp_path):
    options, kind, words = REFUSED[case]
    options = {"data": data, "passes": [PRUNE], **options}
    if options.get("calibration"):
        options["calibration"] = np.zeros((20, 8), np.float32)
    with pytest.raises(kind) as caught:
        find(source, tmp_path=tmp_path, **options)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    assert not list(tmp_path.glob("*o.keras*"))


def test_a_file_that_exists_is_kept_without_overwrite(source, data, tmp_path):
    (tmp_path / "o.keras.recipe.yaml").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        find(source, data, tmp_path)
    assert (tmp_path / "o.keras.recipe.yaml").read_text() == "mine"


def test_where_nothing_can_be_built_the_reason_is_told(source, data, tmp_path):
    steps = ["quantize.weights:bits={search:[2,8]}", "train.distill:features=nothing"]
    with pytest.raises(KCompressError, match=r"all \d candidates failed.*features=nothing"):
        find(source, data, tmp_path, passes=steps)
    assert not (tmp_path / "o.keras").exists()
