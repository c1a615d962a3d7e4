"""Trials as tasks of a Ray cluster: this process asks for them and tells what came of them.

The cluster is that of $RAY_ADDRESS, or one of this machine's processors. Every machine of it needs kcompress, and the
files under the same paths.
"""

import logging
import os
import time
from typing import Any

from kcompress.codec import decode
from kcompress.errors import KCompressError
from kcompress.tuning.evaluation import CandidateEvaluator, TrialPruned
from kcompress.tuning.figures import Figures
from kcompress.tuning.job import Job
from kcompress.tuning.options import SearchOptions
from kcompress.tuning.progress import TrialReporter
from kcompress.tuning.study import Study
from kcompress.tuning.trials import TrialRequest
from kcompress.tuning.workers import environment

WAIT_SECONDS = 1.0
_benches: dict[str, CandidateEvaluator] = {}
"""The bench of this process, by the job it is for."""


def run_on_ray(job: Job, study: Study, options: SearchOptions, report_trials: TrialReporter) -> None:
    """Keep so many tasks going until no trial is left; all processors of the cluster where that was left open."""
    import ray

    document, running = job.to_json(), dict[Any, TrialRequest]()
    if started := not ray.is_initialized():
        ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    try:
        threads = options.threads or 1
        most = options.workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
        settings = {"env_vars": {**environment(threads), **_backend()}}
        task = ray.remote(num_cpus=threads, max_retries=1, runtime_env=settings)(_carry_out)
        while True:
            asked = study.next() if len(running) < most else "wait"
            if isinstance(asked, TrialRequest):
                running[task.remote(document, asked)] = asked
                continue
            if asked is None and not running:
                return
            if running:
                for done in ray.wait(list(running), timeout=WAIT_SECONDS)[0]:
                    _told(study, running.pop(done), done)
                    report_trials()
                for other in running.values():
                    study.beat(other.number)
            else:
                time.sleep(WAIT_SECONDS)
    except BaseException:
        study.leave()
        raise
    finally:
        if started:
            ray.shutdown()


def _backend() -> dict[str, str]:
    return {name: os.environ[name] for name in ("KERAS_BACKEND", "KCOMPRESS_CACHE") if name in os.environ}


def _told(study: Study, asked: TrialRequest, done: Any) -> None:
    """Write down what a task came to; one whose process died, which Ray begins again once, has failed."""
    import ray

    try:
        kind, figures, seconds, reason, full = ray.get(done)
    except ray.exceptions.RayError as error:
        study.fail(asked.number, f"its task failed: {str(error).strip().splitlines()[-1]}")
        return
    if kind == "failed":
        study.fail(asked.number, reason)
    elif kind == "cut":
        study.cut(asked.number, decode(Figures, figures), seconds, reason)
    else:
        after = None if full is None else decode(Figures, full)
        study.done(asked.number, decode(Figures, figures), seconds, reason, after)


def _carry_out(document: dict[str, Any], asked: TrialRequest) -> tuple[str, Any, float, str, Any]:
    """What a task does: kind of outcome, figures, seconds, reason, figures after all of the training."""
    began = time.perf_counter()
    try:
        key = repr(document)
        if key not in _benches:
            _benches.clear()
            _benches[key] = CandidateEvaluator(Job.from_json(document))
            began = time.perf_counter()
        figures, full = _benches[key].carry_out(asked)
    except TrialPruned as cut:
        return "cut", cut.figures.to_json(), time.perf_counter() - began, cut.reason, None
    except (KCompressError, ValueError) as error:
        return "failed", None, time.perf_counter() - began, str(error), None
    return "done", figures.to_json(), time.perf_counter() - began, "", None if full is None else full.to_json()
