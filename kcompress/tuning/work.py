"""One worker: it asks for a trial, carries it out, tells what came of it, until none is left."""

import time
from collections.abc import Callable

from kcompress.errors import KCompressError
from kcompress.measure.memory import settled
from kcompress.tuning.bench import Bench, Cut
from kcompress.tuning.ledger import Ledger
from kcompress.tuning.trials import Asked

WAIT_SECONDS = 1.0


def work(bench: Bench, ledger: Ledger, told: Callable[[], None]) -> None:
    """Carry out trials; `told` is called after each. What is begun is left to others if this process is to end."""
    try:
        with settled():
            while (asked := ledger.next()) is not None:
                if asked == "wait":
                    time.sleep(WAIT_SECONDS)
                    continue
                with ledger.working(asked.number):
                    carry_out(bench, ledger, asked)
                told()
    except BaseException:
        ledger.leave()
        raise


def carry_out(bench: Bench, ledger: Ledger, asked: Asked) -> None:
    """Carry out one trial."""
    began = time.perf_counter()
    try:
        figures, full = bench.carry_out(asked)
    except Cut as cut:
        ledger.cut(asked.number, cut.figures, time.perf_counter() - began, cut.reason)
    except (KCompressError, ValueError) as error:
        ledger.fail(asked.number, str(error))
    else:
        ledger.done(asked.number, figures, time.perf_counter() - began, full=full)
