"""Several model files as one: combined, written like any output, and measured beside its members."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from kcompress import backend
from kcompress.api.compare import Compared, table
from kcompress.api.compress import saved
from kcompress.data import Splits, resolve
from kcompress.errors import UsageError
from kcompress.files import whole, writing
from kcompress.formats import Format, Runner, Tensors, WriteOptions, by_position
from kcompress.formats.trusted import trusting
from kcompress.leftovers import temporary_folder
from kcompress.progress import Hooks
from kcompress.quantization.plan import QuantPlan
from kcompress.report.document import Document, Result
from kcompress.run import preflight
from kcompress.run.options import Budgets, EnsembleOptions
from kcompress.run.prepare import read_model
from kcompress.settings import documented
from kcompress.typing import Combination, DataLike, ModelLike, PathLike


@dataclass(frozen=True)
class EnsembleReport(Result):
    """The ensemble's figures, and for each member its own, with its quality against the ensemble's.

    `weights` has for each output the share of each member; it is empty for a stacked ensemble.
    """

    how: str
    ensemble: Compared
    members: tuple[Compared, ...]
    weights: dict[str, list[float]]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """`{"kcompress", "how", "weights", "ensemble", "members": [...]}`; entries are as those of `compare`."""
        from kcompress import __version__

        members = [member.to_json() for member in self.members]
        head = {"kcompress": __version__, "how": self.how, "weights": self.weights}
        return {**head, "ensemble": self.ensemble.to_json(), "members": members}

    def document(self) -> Document:
        lines = []
        for output, shares in self.weights.items() if self.how == "weighted" else ():
            parts = zip(self.members, shares, strict=True)
            lines.append(f"{output}: " + ", ".join(f"{share:.4f} {member.figures.path}" for member, share in parts))
        tables = [table([self.ensemble, *self.members])]
        return Document(f"Ensemble, {self.how}", self.to_json(), tables, [*lines, *self.notes])


@documented(EnsembleOptions)
def ensemble(
    models: Sequence[ModelLike],
    output: PathLike,
    *,
    data: DataLike = None,
    test: DataLike = None,
    metric: str | None = None,
    batch: int | None = None,
    seed: int = 0,
    reports: Sequence[PathLike] = (),
    overwrite: bool = False,
    trust: Sequence[str] = (),
    how: Combination = "average",
    hooks: Hooks | None = None,
) -> EnsembleReport:
    """Write several models as one of Keras's own layers, and measure it and its members on the test data.

    Weights and heads are found on the training split, which is best data that no member was trained on.

    Args:
        models: Two or more paths of saved models, or Keras models, with the same inputs and outputs.
        output: The path to write; its suffix picks the format: .keras, .tflite or .onnx.
        {settings}
        hooks: How progress and events are shown; not at all without it.

    Raises:
        KCompressError: with one line, for anything that is wrong with what was given; nothing is written then.
    """
    options, output = EnsembleOptions.of(locals()), Path(output)
    if len(models) < 2:
        raise UsageError(f"an ensemble of {len(models)} model(s); give two or more, and the output behind them")
    with temporary_folder() as scratch:
        files = [saved(model, Path(scratch, str(number))) for number, model in enumerate(models, 1)]
        inputs = [files, options.data, options.test]
        formats = [preflight.paths(path, output, options.reports, options.overwrite, others=inputs) for path in files]
        splits = resolve(options.data, None, options.test)
        _check(splits, options)
        backend.load()
        work = _Work(files, formats[0], splits, options, hooks or Hooks())
        with whole([output]) as (draft,):
            with trusting(options.trust):
                report = work.write(draft)
            figures = replace(report.ensemble.figures, path=str(output))
            report = replace(report, ensemble=replace(report.ensemble, figures=figures))
            report.write(options.reports)
    return report


def _check(splits: Splits, options: EnsembleOptions) -> None:
    """UsageError for what can be known wrong before anything heavy is loaded."""
    preflight.needs([], splits, Budgets(), options.metric)
    if options.how != "average" and (splits.training is None or not splits.training.labelled):
        raise UsageError(f"--how {options.how} needs labelled training data; give it with --data, or take average")


@dataclass(frozen=True)
class _Work:
    """What an ensemble is made of and measured on."""

    files: Sequence[Path]
    file_format: Format
    splits: Splits
    options: EnsembleOptions
    hooks: Hooks

    def write(self, target: Path) -> EnsembleReport:
        """Combine the models, write the file, and measure it and them."""
        from kcompress.formats.keras.runner import KerasRunner
        from kcompress.measure import scoring
        from kcompress.training.ensembles import combine

        models = []
        for path in self.files:
            models.append(read_model(path, self.options.trust, self.hooks))
        splits = self.splits.fit_to(KerasRunner(models[0]).inputs)
        named = None if self.options.metric is None else scoring.metric_named(self.options.metric)
        with self.hooks.progress(f"combining {len(models)} models", None):
            names, options = [*map(str, self.files)], self.options
            made = combine.ensemble(models, names, options.how, splits.training, options.seed)
        del models
        with self.hooks.progress(f"writing {target.name}", None), writing(target):
            settings = WriteOptions(self.options.batch)
            written = self.file_format.write(made.model, QuantPlan(), target, settings)
        return replace(self._measured(made, target, splits, named), notes=written.remarks)

    def _measured(self, made: Any, target: Path, splits: Splits, metric: Any) -> EnsembleReport:
        from kcompress.formats.keras.runner import KerasRunner
        from kcompress.measure.files import measure_file
        from kcompress.measure.quality import Quality, evaluate

        sample = splits.sample()
        with self.hooks.progress("measuring size and speed", None):
            figures, runner = measure_file(target, sample, self.options.trust)
            others = [measure_file(path, sample, self.options.trust)[0] for path in self.files]
        verdicts: list[Quality | None] = [None] * (1 + len(others))
        if splits.test is not None:
            reference = _Renamed(runner, KerasRunner(made.model))
            runners: list[Runner] = [reference, *map(KerasRunner, made.members)]
            with self.hooks.progress("measuring quality", splits.test.samples) as advance:
                verdicts = [*evaluate(reference, runners, splits.test, metric, advance)]
        first, *rest = map(Compared, (figures, *others), verdicts)
        return EnsembleReport(self.options.how, first, tuple(rest), made.weights)


class _Renamed:
    """A file's runner under the names of the model that was written: labels and inputs may go by them."""

    def __init__(self, runner: Runner, model: Runner) -> None:
        self._runner = runner
        batch = next(iter(runner.inputs.values()))[0]
        self.inputs = {name: (batch, *shape[1:]) for name, shape in model.inputs.items()}
        self.outputs = model.outputs
        same = set(runner.outputs) == set(model.outputs)
        self._order = [runner.outputs.index(name) for name in model.outputs] if same else [*range(len(model.outputs))]

    def __call__(self, x: Tensors) -> list[NDArray[Any]]:
        outputs = self._runner(by_position(x, self._runner.inputs))
        return [outputs[position] for position in self._order]
