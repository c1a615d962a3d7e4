"""Workers: processes and Ray tasks share one study, and what a killed one began is done by another.

Covers: tuning/workers/on_ray.py, tuning/workers/work.py, tuning/workers/process.py.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import kcompress
from kcompress.codec import plain
from kcompress.errors import KCompressError
from kcompress.recipe import mapping
from kcompress.run.options import Budgets
from kcompress.tuning.job import Job
from kcompress.tuning.options import SearchOptions
from kcompress.tuning.storage import open_storage
from kcompress.tuning.study import Study
from kcompress.tuning.template import Template
from kcompress.tuning.trials import StudySettings
from kcompress.tuning.workers.start import thread_limits
from tests.models import dense
from tests.quick import write_as_users_get

STEPS = ["prune.magnitude:sparsity={search:[0.1,0.9]}"]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    """A model and data."""
    folder = tmp_path_factory.mktemp("files")
    dense().save(folder / "m.keras")
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 8)).astype(np.float32)
    np.savez(folder / "d.npz", x_train=x[:200], y_train=np.arange(200) % 3, x_test=x[200:], y_test=np.arange(100) % 3)
    return folder / "m.keras", folder / "d.npz"


def find(files, tmp_path, **options):
    settings = {"passes": STEPS, "trials": 4, "max_drop": 50.0, **options}
    return kcompress.search(files[0], tmp_path / "o.keras", data=files[1], **settings)


@pytest.fixture(scope="module")
def alone(files, tmp_path_factory):
    """The figures of the trials of one worker, by their values."""
    with pytest.MonkeyPatch.context() as patch:
        write_as_users_get(patch.setattr)
        report = find(files, tmp_path_factory.mktemp("alone"))
    return {str(trial.values): trial.figures for trial in report.trials}


def assert_figures_are_those_of_one(report, alone):
    shared = [trial for trial in report.trials if str(trial.values) in alone]
    assert shared  # what is tried first is the same
    assert all(trial.figures == alone[str(trial.values)] for trial in shared)


@pytest.mark.slow
def test_two_processes_do_all_trials_and_figures_are_those_of_one(files, tmp_path, alone):
    report = find(files, tmp_path, workers=2, threads=1, storage=f"sqlite:///{tmp_path}/s.db")
    assert sorted(trial.number for trial in report.trials) == list(range(4))
    assert_figures_are_those_of_one(report, alone)
    assert report.exit_code == 0


@pytest.mark.slow
def test_what_ends_all_workers_is_told_on_one_line(files, tmp_path, monkeypatch):
    monkeypatch.setattr("kcompress.tuning.workers.start.thread_limits", lambda threads: {"KERAS_BACKEND": "nonsense"})
    with pytest.raises(KCompressError, match=r"all workers ended.*nonsense") as caught:
        find(files, tmp_path, workers=2)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*o.keras*"))


def job_of(files) -> Job:
    template = Template.of([mapping(step) for step in STEPS])
    return Job(files[0], ".keras", template, Budgets(max_drop=50.0), data=str(files[1]))


@pytest.mark.slow
def test_the_trial_of_a_killed_process_is_done_by_another(files, tmp_path):
    job, url = job_of(files), str(tmp_path / "s.journal")
    plan = StudySettings("s", "random", 2, job.limits, silent_seconds=8.0)
    (tmp_path / "job.json").write_text(json.dumps({"job": job.to_json(), "plan": plain(plan), "storage": url}))
    dead = Study(open_storage(url), plan, job.template.dimensions, "dead")
    program = (
        "import json, os, sys, time; from pathlib import Path\n"
        "from kcompress.tuning.job import Job; from kcompress.tuning.study import Study\n"
        "from kcompress.tuning.trials import StudySettings; from kcompress.codec import decode\n"
        "from kcompress.tuning.storage import open_storage\n"
        "d = json.loads(Path(sys.argv[1]).read_text()); job = decode(Job, d['job'])\n"
        "study = Study(open_storage(d['storage']), decode(StudySettings, d['plan']), job.template.dimensions, 'x')\n"
        "asked = study.next()\n"
        "with study.working(asked.number): print(json.dumps(dict(asked.values)), flush=True); time.sleep(300)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "job.json")], stdout=subprocess.PIPE) as lost:
        values = json.loads(lost.stdout.readline())
        lost.send_signal(signal.SIGKILL)
    began = time.time()
    command = [sys.executable, "-m", "kcompress.tuning.workers.process", str(tmp_path / "job.json"), "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    trials = dead.trials()
    assert [trial.state for trial in trials] == ["done", "done"]
    assert values in [trial.values for trial in trials]
    assert time.time() - began > 2  # it waited for a sign of life


@pytest.mark.slow
def test_a_terminated_process_leaves_its_trial_at_once(files, tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    command = [
        *(sys.executable, "-m", "kcompress.cli", "search", str(files[0]), str(tmp_path / "o.keras"), "--storage", url),
        *("--data", str(files[1]), "--apply", STEPS[0], "--trials", "500", "--max-drop", "50", "--workers", "1"),
        *("--threads", "1"),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline().startswith("trial 0: ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert not list(tmp_path.glob("*.keras*"))
    states = {trial.state.name for trial in _study(url).get_trials(deepcopy=False)}
    assert "RUNNING" not in states
    assert {"COMPLETE"} <= states


def test_a_signal_that_is_lost_comes_again():
    """What is raised while an object is deleted is only printed."""
    program = (
        "import os, signal, time\n"
        "from kcompress.tuning.workers.process import end_when_terminated\n"
        "class Deleted:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.1)\n"
        "end_when_terminated(); lost = Deleted(); del lost\n"
        "print('lost', flush=True); time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("lost\n", 143)


def _study(url):
    import optuna

    (summary,) = optuna.get_all_study_summaries(url)
    return optuna.load_study(study_name=summary.study_name, storage=url)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_ray_carries_out_trials_on_two_workers(files, tmp_path, alone):
    pytest.importorskip("ray")
    report = find(files, tmp_path, engine="ray", workers=2)
    assert len(report.trials) == 4
    assert {trial.state for trial in report.trials} == {"done"}
    assert_figures_are_those_of_one(report, alone)


def test_threads_are_shared_out():
    assert SearchOptions(workers=2, threads=3).threads_each == 3
    assert SearchOptions(workers=10_000).threads_each == 1
    assert thread_limits(1)["TF_NUM_INTRAOP_THREADS"] == "1"
    assert "multi_thread_eigen=false" in thread_limits(1)["XLA_FLAGS"]
    assert "XLA_FLAGS" not in thread_limits(2)
    assert SearchOptions().alone and SearchOptions(workers=1).alone
    assert not (SearchOptions(threads=1).alone or SearchOptions(workers=2).alone or SearchOptions(engine="ray").alone)
