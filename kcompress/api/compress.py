"""One run: check everything that can be checked, then read, apply the passes, write, measure, judge, report.

Nothing appears at the output path before the file was written and measured whole; the source is only read.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompress import backend
from kcompress import recipe as recipes
from kcompress.data import resolve
from kcompress.formats import WriteOptions
from kcompress.formats.safety import trusting
from kcompress.hosts import Hosts, together
from kcompress.measure.memory import release, settled
from kcompress.progress import Hooks
from kcompress.report import Report
from kcompress.report.handover import from_text, to_text
from kcompress.run import preflight
from kcompress.run.budgets import hold_to_strict, judge
from kcompress.run.options import Budgets
from kcompress.run.publish import partial, publish, write
from kcompress.run.run import Run

if TYPE_CHECKING:
    from kcompress.passes.base import Pass


def compress(
    model: Any,
    output: str | Path,
    *,
    passes: "Sequence[str | dict[str, Any] | Pass]" = (),
    recipe: str | Path | None = None,
    data: object = None,
    calibration: object = None,
    test: object = None,
    teachers: Sequence[str | Path] = (),
    combine: str | None = None,
    metric: str | None = None,
    max_drop: float | None = None,
    max_size: int | str | None = None,
    max_latency: float | None = None,
    max_macs: int | str | None = None,
    reports: Sequence[str | Path] = (),
    seed: int = 0,
    strict: bool = False,
    overwrite: bool = False,
    batch: int | None = None,
    distribute: str | None = None,
    hosts: Hosts | None = None,
    trust: Sequence[str] = (),
    hooks: Hooks | None = None,
) -> Report:
    """Make a model smaller, write it, and measure what was written.

    Args:
        model: path of a saved model, or a Keras model.
        output: path to write; its suffix picks the format: .keras, .tflite or .onnx.
        passes: steps in order, each a pass, a text as `--apply` takes it, or a mapping as in a recipe.
        recipe: a recipe file, whose passes come before `passes`.
        data, calibration, test: where samples come from; see `kcompress.data.resolve`.
        teachers: paths of saved models for passes that learn from one; the model itself without them.
        combine: average, weighted or stacked: how several teachers become one, where a pass does not say it itself.
        metric: name of a Keras metric; accuracy for class labels, else mean absolute error, without it.
        max_drop: budget in points of quality lost. max_size: budget in bytes, or a text such as "250KB".
        max_latency: budget in milliseconds for one sample, at the median, on this machine. max_macs: budget in
            multiply-adds, or a text such as "5M".
        reports: files to write the report to, .json or .md.
        batch: batch size to fix in a .tflite or .onnx file; dynamic without it.
        distribute: "data" to train on copies of the model on all devices, "model" to split its large kernels among
            them (JAX); on one device without it.
        hosts: the processes that train together on several hosts (JAX); what it leaves open, or without it, is what
            the environment says. Process 0 writes; the others get its report.
        trust: modules whose classes a model file may use.

    Returns:
        The report; `report.exit_code` is 1 if a budget was not met.

    Raises:
        KCompressError: with one line, for anything that is wrong with what was given; nothing is written then.

    >>> folder = tempfile.mkdtemp()
    >>> report = compress("fixtures/lenet300.keras", f"{folder}/o.keras", passes=["prune.magnitude:sparsity=0.8"])
    >>> report.artifact.bytes < report.source.bytes / 4
    True
    """
    started = time.perf_counter()
    hooks = hooks or Hooks()
    output, report_paths = Path(output), [Path(path) for path in reports]
    steps = preflight.combining(recipes.resolve(recipe, passes), combine)
    budget = Budgets.of(locals())
    source = Path(model) if isinstance(model, (str, Path)) else None
    group = preflight.distribution(steps, distribute, hosts)
    writes = group is None or group.process == 0
    form = preflight.paths(source, output, report_paths, overwrite, writes)
    preflight.holds(steps, form)
    splits = resolve(data, calibration, test)
    preflight.needs(steps, splits, budget, metric)
    others = preflight.teachers(steps, teachers, splits)
    preflight.files(steps)
    backend.load()
    with tempfile.TemporaryDirectory() as scratch, trusting(trust), together(group) as team, settled():
        if source is None:
            source = Path(scratch, f"{model.name}.keras")
            model.save(source)
        run = Run(source, form, steps, splits, others or [source], seed, trust, hooks if team.first else Hooks())
        loaded, judged = run.prepare(metric)
        run.join(distribute, team, 0.0 if group is None else group.seconds)
        compressed, plan, records = run.passes(loaded)
        if not team.first:
            run.clear()
            return replace(from_text(team.from_first("report", "")), first=False)
        target = partial(output)
        try:
            with hooks.progress(f"writing {output.name}", None):
                written = write(form, compressed, plan, target, WriteOptions(batch, run.splits.calibration))
            layers = tuple(dict.fromkeys(name.rsplit("/", 1)[0] for name in written.float_weights))
            if strict:
                hold_to_strict(records, layers, written)
            del compressed
            release()
            report = run.measure(output, target, records, layers, written, judged, started)
            report = replace(report, budgets=judge(budget, report))
            publish(report, target, output, report_paths)
        finally:
            target.unlink(missing_ok=True)
        run.clear()
        team.from_first("report", to_text(report))
    return report
