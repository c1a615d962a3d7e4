"""The passes of a run, one after the other: each takes a state and gives the next.

Whoever goes through the passes keeps the last state only, so that at most two models are alive at a time:

    state = resumed(prepared) or State(model)
    while state.done < len(passes):
        state = apply(prepared, state)
"""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kcompress.formats import find
from kcompress.memory import release
from kcompress.model.cost import macs
from kcompress.model.view import nonzero, parameters
from kcompress.passes.capabilities import PrunesGradually, SharesStatistics, TrainsModel
from kcompress.quantization.plan import QuantPlan
from kcompress.report import Budget, PassRecord
from kcompress.run.prepare import Prepared

if TYPE_CHECKING:
    from kcompress.passes.base import Context, Pass, PassResult
    from kcompress.passes.statistics import Statistics


@dataclass(frozen=True)
class State:
    """A model between two passes, how it is to be stored, and a record of each pass so far."""

    model: Any
    plan: QuantPlan = field(default_factory=QuantPlan)
    records: tuple[PassRecord, ...] = ()
    statistics: "Statistics | None" = None
    """Statistics of calibration data, for as long as passes only round weights."""

    @property
    def done(self) -> int:
        """The number of passes so far."""
        return len(self.records)


def resumed(prepared: Prepared) -> State | None:
    """What an earlier run of the same left, where it left the same to all processes; None if it left nothing."""
    if prepared.resume is None:
        return None
    done, model, plan, records = prepared.resume.find()
    if len(set(prepared.group.all_gather("passes done", str(done)))) > 1:
        done, model, plan, records = prepared.resume.find(0)
    if not done:
        return None
    passes = prepared.given.passes
    prepared.given.hooks.log(f"resumed after {passes[done - 1].name}, pass {done} of {len(passes)}")
    return State(model, plan, tuple(records))


def apply(prepared: Prepared, state: State) -> State:
    """The state after the next pass, which is kept on disk to resume from."""
    from kcompress.passes.statistics import Statistics

    given, number = prepared.given, state.done + 1
    applied, statistics = given.passes[state.done], state.statistics
    if statistics is None or not isinstance(applied, SharesStatistics):
        statistics = Statistics.of(given.passes[state.done :], state.model)
    with given.hooks.progress(applied.name, None):
        began = time.perf_counter()
        result = applied.apply(state.model, _context(prepared, state, statistics))
        seconds = time.perf_counter() - began
    plan = state.plan.updated(result.formats, result.activations)
    release()
    record = _record(applied, result, seconds, _macs(prepared, state, result.model))
    after = State(result.model, plan, (*state.records, record), statistics)
    given.hooks.passed(number, after.model)
    following = given.passes[number] if number < len(given.passes) else None
    shared = not statistics.empty and isinstance(following, SharesStatistics)
    if prepared.resume is not None and not shared:  # else statistics would be of another model
        prepared.resume.keep(number, after.model, after.plan, after.records)
    return after


def finish(prepared: Prepared) -> None:
    """The run is done: drop what was kept to resume from."""
    if prepared.resume is not None:
        prepared.resume.clear()


def _context(prepared: Prepared, state: State, statistics: "Statistics") -> "Context":
    """All that the next pass may know."""
    from kcompress.passes.base import Context, TrainingContext

    given, number = prepared.given, state.done + 1
    return Context(
        prepared.data,
        given.seed,
        given.file_format.name,
        state.plan,
        given.hooks.progress,
        given.hooks.log,
        lambda path: find(path).read(path, given.trust),
        statistics,
        TrainingContext(
            prepared.teachers,
            None if prepared.resume is None else prepared.resume.unfinished(number),
            _pruning(given.passes[:number]),
            prepared.devices,
        ),
    )


def _pruning(passes: "tuple[Pass, ...]") -> PrunesGradually | None:
    """The last but one of these passes, if it prunes while the last one trains."""
    before = passes[-2] if len(passes) > 1 and isinstance(passes[-1], TrainsModel) else None
    return before if isinstance(before, PrunesGradually) and before.is_gradual else None


def _macs(prepared: Prepared, state: State, model: Any) -> int | None:
    """Multiply-adds after a pass; counted anew where shapes changed."""
    if _shapes(model) != _shapes(state.model):
        return macs(model)
    return state.records[-1].macs if state.records else prepared.macs


def _record(applied: "Pass", result: "PassResult", seconds: float, cost: int | None) -> PassRecord:
    return PassRecord(
        applied.name,
        applied.config(),
        seconds,
        tuple({"layer": c.layer, "detail": c.detail, **c.figures} for c in result.changes),
        tuple({"layer": s.layer, "reason": s.reason} for s in result.skipped),
        parameters(result.model),
        nonzero(result.model),
        cost,
        tuple(Budget(f"{applied.name}:{g.name}", g.limit, g.reached, g.why) for g in result.goals),
        tuple(s.layer for s in result.skipped if not (s.asked or s.expected)),
        tuple(map(dict, result.history)),
    )


def _shapes(model: Any) -> list[tuple[int, ...]]:
    return [tuple(v.shape) for v in model.weights]
