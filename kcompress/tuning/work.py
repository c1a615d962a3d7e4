"""One worker: it asks for a trial, carries it out, tells what came of it, until none is left."""

import time
from collections.abc import Callable

from kcompress.errors import KCompressError
from kcompress.measure.memory import settled
from kcompress.tuning.evaluation import CandidateEvaluator, TrialPruned
from kcompress.tuning.study import Study
from kcompress.tuning.trials import TrialRequest

WAIT_SECONDS = 1.0


def work(bench: CandidateEvaluator, study: Study, told: Callable[[], None]) -> None:
    """Carry out trials; `told` is called after each. What is begun is left to others if this process is to end."""
    try:
        with settled():
            while (asked := study.next()) is not None:
                if asked == "wait":
                    time.sleep(WAIT_SECONDS)
                    continue
                with study.working(asked.number):
                    carry_out(bench, study, asked)
                told()
    except BaseException:
        study.leave()
        raise


def carry_out(bench: CandidateEvaluator, study: Study, asked: TrialRequest) -> None:
    """Carry out one trial."""
    began = time.perf_counter()
    try:
        figures, full = bench.carry_out(asked)
    except TrialPruned as cut:
        study.cut(asked.number, cut.figures, time.perf_counter() - began, cut.reason)
    except (KCompressError, ValueError) as error:
        study.fail(asked.number, str(error))
    else:
        study.done(asked.number, figures, time.perf_counter() - began, full=full)
