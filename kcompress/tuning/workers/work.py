"""One worker: it asks for a trial, carries it out and records the outcome, until none is left."""

import time
from collections.abc import Callable

from kcompress.errors import KCompressError
from kcompress.memory import frozen_heap
from kcompress.tuning.evaluation import CandidateEvaluator, TrialPruned
from kcompress.tuning.study import Study
from kcompress.tuning.trials import TrialRequest

WAIT_SECONDS = 1.0


def work(evaluator: CandidateEvaluator, study: Study, report_trials: Callable[[], None]) -> None:
    """Carry out trials, and call `report_trials` after each. A process that has to end leaves its trial to others."""
    try:
        with frozen_heap():
            while (request := study.next()) is not None:
                if request == "wait":
                    time.sleep(WAIT_SECONDS)
                    continue
                with study.working(request.number):
                    carry_out(evaluator, study, request)
                report_trials()
    except BaseException:
        study.leave()
        raise


def carry_out(evaluator: CandidateEvaluator, study: Study, request: TrialRequest) -> None:
    """Carry out one trial."""
    began = time.perf_counter()
    try:
        figures, full = evaluator.carry_out(request)
    except TrialPruned as cut:
        study.cut(request.number, cut.figures, time.perf_counter() - began, cut.reason)
    except (KCompressError, ValueError) as error:
        study.fail(request.number, str(error))
    else:
        study.done(request.number, figures, time.perf_counter() - began, full=full)
