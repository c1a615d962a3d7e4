"""Trials as tasks of a Ray cluster: this process asks for them and records their outcomes.

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
from kcompress.tuning.report.progress import TrialReporter
from kcompress.tuning.study import Study
from kcompress.tuning.trials import TrialRequest
from kcompress.tuning.workers.start import thread_limits

WAIT_SECONDS = 1.0
_evaluators: dict[str, CandidateEvaluator] = {}
"""The evaluator of this process, by its job."""


def run_on_ray(job: Job, study: Study, options: SearchOptions, report_trials: TrialReporter) -> None:
    """Keep so many tasks going until no trial is left; all processors of the cluster where that was left open."""
    import ray

    document, running = job.to_json(), dict[Any, TrialRequest]()
    if started := not ray.is_initialized():
        ray.init(logging_level=logging.ERROR, log_to_driver=False, include_dashboard=False)
    try:
        threads = options.threads or 1
        most = options.workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
        settings = {"env_vars": {**thread_limits(threads), **_backend()}}
        task = ray.remote(num_cpus=threads, max_retries=1, runtime_env=settings)(_carry_out)
        while True:
            request = study.next() if len(running) < most else "wait"
            if isinstance(request, TrialRequest):
                running[task.remote(document, request)] = request
                continue
            if request is None and not running:
                return
            if running:
                for done in ray.wait(list(running), timeout=WAIT_SECONDS)[0]:
                    _record(study, running.pop(done), done)
                    report_trials()
                for other in running.values():
                    study.heartbeat(other.number)
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


def _record(study: Study, request: TrialRequest, done: Any) -> None:
    """Record the outcome of a task. One whose process died, after Ray started it again once, has failed."""
    import ray

    try:
        kind, figures, seconds, reason, full = ray.get(done)
    except ray.exceptions.RayError as error:
        study.fail(request.number, f"its task failed: {str(error).strip().splitlines()[-1]}")
        return
    if kind == "failed":
        study.fail(request.number, reason)
    elif kind == "cut":
        study.cut(request.number, decode(Figures, figures), seconds, reason)
    else:
        after = None if full is None else decode(Figures, full)
        study.done(request.number, decode(Figures, figures), seconds, reason, after)


def _carry_out(document: dict[str, Any], request: TrialRequest) -> tuple[str, Any, float, str, Any]:
    """What a task does: kind of outcome, figures, seconds, reason, figures after all of the training."""
    began = time.perf_counter()
    try:
        key = repr(document)
        if key not in _evaluators:
            _evaluators.clear()
            _evaluators[key] = CandidateEvaluator(decode(Job, document))
            began = time.perf_counter()
        figures, full = _evaluators[key].carry_out(request)
    except TrialPruned as cut:
        return "cut", cut.figures.to_json(), time.perf_counter() - began, cut.reason, None
    except (KCompressError, ValueError) as error:
        return "failed", None, time.perf_counter() - began, str(error), None
    return "done", figures.to_json(), time.perf_counter() - began, "", None if full is None else full.to_json()
