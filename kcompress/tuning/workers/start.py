"""Workers: this process alone, processes beside it, or tasks of a Ray cluster; all on one study."""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from kcompress.child_processes import command, environment
from kcompress.codec import plain
from kcompress.errors import KCompressError
from kcompress.progress import Hooks
from kcompress.tuning.evaluation import CandidateEvaluator
from kcompress.tuning.job import Job
from kcompress.tuning.marks import Value
from kcompress.tuning.options import SearchOptions
from kcompress.tuning.report.progress import TrialReporter
from kcompress.tuning.storage import open_storage
from kcompress.tuning.study import Study
from kcompress.tuning.trials import StudySettings
from kcompress.tuning.workers.work import work

LOOK_SECONDS = 0.5
JOURNAL = "trials.journal"


def run_trials(
    job: Job,
    plan: StudySettings,
    options: SearchOptions,
    starts: Sequence[Mapping[str, Value]],
    scratch: Path,
    hooks: Hooks,
) -> Study:
    """Carry out all trials that are still to be done; returns the study with their outcomes."""
    url = options.storage
    if url is None and not options.alone and options.engine == "process":
        url = str(scratch / JOURNAL)
    study = Study(open_storage(url), plan, job.template.dimensions)
    study.suggest(starts)
    with hooks.progress("trying candidates", plan.trials) as advance:
        report_trials = TrialReporter(study, hooks.log, advance)
        report_trials()
        if options.engine == "ray":
            from kcompress.tuning.workers.on_ray import run_on_ray

            run_on_ray(job, study, options, report_trials)
        elif options.alone:
            if not study.finished:
                work(CandidateEvaluator(job, Hooks(hooks.progress)), study, report_trials)
        else:
            assert url is not None
            _processes(job, plan, options, url, scratch, study, report_trials)
    return study


def thread_limits(threads: int) -> dict[str, str]:
    """What makes libraries of a process use so many threads."""
    count = str(threads)
    names = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OPENBLAS_NUM_THREADS")
    found = dict.fromkeys(names, count)
    if threads == 1:
        flags = os.environ.get("XLA_FLAGS", "")
        found["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    return found


def _processes(
    job: Job,
    plan: StudySettings,
    options: SearchOptions,
    url: str,
    scratch: Path,
    study: Study,
    report_trials: TrialReporter,
) -> None:
    """Start the workers and wait until all trials are done, or all workers have ended."""
    path = scratch / "job.json"
    path.write_text(json.dumps({"job": job.to_json(), "plan": plain(plan), "storage": url}))
    own = environment(**thread_limits(options.threads_each))
    errors = [scratch / f"worker-{number}.txt" for number in range(options.workers or 1)]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for number, error in enumerate(errors):
            child = command("kcompress.tuning.workers.process", str(path), str(number))
            with error.open("wb") as stream:
                running.append(subprocess.Popen(child, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=own))
        while any(process.poll() is None for process in running):
            time.sleep(LOOK_SECONDS)
            report_trials()
    finally:
        _end(running)
    report_trials()
    if not study.finished:
        said = [text for error in errors if (text := error.read_text(errors="replace").strip())]
        last = said[0].splitlines()[-1].removeprefix("Error: ") if said else "they were killed"
        raise KCompressError(f"all workers ended before the search was done: {last}")


def _end(running: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Have workers leave their trials to others and end."""
    for process in running:
        if process.poll() is None:
            process.terminate()
    for process in running:
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
