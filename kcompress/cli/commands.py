"""The commands: each calls one function and prints what came of it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from kcompress.cli import options


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--recipe", type=click.Path(path_type=Path), help="YAML, TOML or JSON file with a list of passes")
@click.option(
    "--apply", "passes", metavar="PASS[:field=value,...]", multiple=True, help="A pass, in order (repeatable)"
)
@click.option(
    "--data",
    metavar="SPEC",
    help="Data with train and test splits: .npz, .npy, folder, .csv, .parquet, module:function",
)
@options.calibration
@options.test
@options.teachers
@options.combine
@options.metric
@options.max_drop
@options.max_size
@options.max_latency
@options.max_macs
@options.reports(".json or .md")
@options.seed
@click.option("--strict", is_flag=True, help="A layer that a pass or the file could not handle is an error")
@options.overwrite
@options.batch
@options.backend
@click.option(
    "--distribute",
    metavar="data|model",
    help="Train on all devices: on copies of the model (data), or with large kernels split (model, JAX) [one device]",
)
@click.option("--coordinator", metavar="HOST:PORT", help="Several hosts (JAX): where process 0 is [environment]")
@click.option("--processes", type=click.IntRange(min=1), metavar="N", help="Several hosts: processes [environment]")
@click.option(
    "--process", type=click.IntRange(min=0), metavar="I", help="Several hosts: this one, from 0 [environment]"
)
@click.option("--timeout", type=float, metavar="SECONDS", help="Several hosts: how long to wait for the others [300]")
@options.trust
@options.as_json
@options.quiet
def compress(**given: Any) -> None:
    """Apply passes to MODEL, write OUTPUT (.keras, .tflite or .onnx) and report what it cost.

    Example: kcompress compress model.keras small.tflite --data data.npz --apply quantize.float16
    """
    from kcompress.api import compress as pipeline
    from kcompress.cli import progress as terminal
    from kcompress.hosts import Hosts

    as_json, quiet = begun(given)
    hosts = Hosts(**{name: given.pop(name) for name in ("coordinator", "processes", "process", "timeout")})
    model, output = given.pop("model"), given.pop("output")
    report = pipeline.compress(model, output, **given, hosts=hosts, hooks=terminal.hooks(quiet or as_json))
    if not report.first:
        return

    def show() -> None:
        from kcompress.report.terminal import show as shown

        shown(report)

    told(report.to_json, show, as_json, quiet)
    sys.exit(report.exit_code)


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL MODEL...")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--how", type=options.WAYS, default="average", show_default=True, help="How the models become one")
@click.option("--data", metavar="SPEC", help="Data with train and test splits; weights and heads need the train split")
@options.test
@options.metric
@options.seed
@options.overwrite
@options.batch
@options.backend
@options.trust
@options.as_json
@options.quiet
def ensemble(**given: Any) -> None:
    """Write several MODELs of the same inputs and outputs as one ordinary model, and measure them beside it.

    Example: kcompress ensemble a.keras b.keras both.keras --how weighted --data data.npz
    """
    from kcompress.api import ensemble as combination
    from kcompress.cli import progress as terminal

    as_json, quiet = begun(given)
    report = combination.ensemble(given.pop("models"), **given, hooks=terminal.hooks(quiet or as_json))
    told(report.to_json, lambda: combination.show(report), as_json, quiet)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", metavar="SPEC", help="Data; every fifth sample of its train split is looked at")
@options.calibration
@click.option(
    "--levels",
    metavar="PASS:FIELD=LEVEL,...",
    multiple=True,
    help="What to try, such as quantize.weights:bits=8,4 (repeatable) [pruning, channels and bits at several levels]",
)
@click.option(
    "--samples", type=click.IntRange(min=1), metavar="N", default=512, show_default=True, help="Samples to look at"
)
@options.metric
@options.reports(".json, .md, .html, .png or .svg")
@options.seed
@options.overwrite
@options.backend
@options.trust
@options.as_json
@options.quiet
def sensitivity(**given: Any) -> None:
    """Show how much pruning and quantizing each layer of MODEL alone costs.

    Example: kcompress sensitivity model.keras --data data.npz --report heat.svg
    """
    from kcompress.api import sensitivity as analysis
    from kcompress.cli import progress as terminal

    as_json, quiet = begun(given)
    found = analysis.sensitivity(given.pop("model"), **given, hooks=terminal.hooks(quiet or as_json))
    told(found.to_json, lambda: analysis.show(found), as_json, quiet)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--data", metavar="SPEC", help="Data with train and test splits; candidates need the train split")
@options.max_drop
@options.max_size
@options.max_latency
@options.max_macs
@click.option("--trials", type=int, default=40, show_default=True, metavar="N", help="Candidates to try, in all")
@click.option(
    "--sampler",
    default="bayes",
    show_default=True,
    metavar="NAME",
    help="What to try next: grid, random, bayes, pareto",
)
@click.option("--recipe", type=click.Path(path_type=Path), help="File with passes and {search: ...} in place of values")
@click.option(
    "--apply",
    "passes",
    metavar="PASS[:field=value,...]",
    multiple=True,
    help="A pass, in order; a value may be {search:[low,high]} (repeatable) [what suits the format]",
)
@click.option(
    "--storage", metavar="URL", help="Keep trials, and go on with them: sqlite:///FILE, FILE.journal [memory]"
)
@click.option("--workers", type=int, metavar="N", help="Candidates at once, each in a process of its own [1]")
@click.option("--threads", type=int, metavar="N", help="Threads of each worker [its share of the processors]")
@click.option("--engine", default="process", show_default=True, metavar="NAME", help="Where workers are: process, ray")
@click.option(
    "--effort", type=float, default=0.1, metavar="SHARE", help="Share of the training that a candidate gets [0.1]"
)
@click.option("--timeout", type=float, metavar="MINUTES", help="Begin no candidate after so long [no limit]")
@options.calibration
@click.option("--test", metavar="SPEC", help="Test data, for the winner alone [the test split of --data]")
@click.option(
    "--validation",
    metavar="SPEC",
    help="Data that candidates are judged on, which MODEL was not trained on [a fifth of the train split]",
)
@options.teachers
@options.combine
@options.metric
@options.reports(".json, .md, .html, .png or .svg")
@click.option(
    "--save-recipe", type=click.Path(path_type=Path), metavar="FILE", help="The winner's recipe [OUTPUT.recipe.yaml]"
)
@options.seed
@options.overwrite
@options.batch
@options.backend
@options.trust
@options.as_json
@options.quiet
def search(**given: Any) -> None:
    """Find the settings that make MODEL smallest within budgets, and write it as OUTPUT.

    Example: kcompress search model.keras small.tflite --data data.npz --max-drop 1.0
    """
    from kcompress.api import search as api
    from kcompress.cli import progress as terminal
    from kcompress.tuning import rows

    as_json, quiet = begun(given)
    model, output = given.pop("model"), given.pop("output")
    report = api.search(model, output, **given, hooks=terminal.hooks(quiet or as_json))
    told(report.to_json, lambda: rows.show(report), as_json, quiet)
    sys.exit(report.exit_code)


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@options.backend
@options.trust
@options.as_json
def inspect(model: Path, backend: str | None, trust: tuple[str, ...], as_json: bool) -> None:
    """Show what a model file holds: inputs, outputs, weights, layers or operators."""
    from kcompress.api import inspect as inspection

    options.use(backend)
    found = inspection.inspect(model, trust=trust)
    told(lambda: inspection.to_json(found), lambda: inspection.show(found), as_json)


@click.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL MODEL...")
@click.option("--test", metavar="SPEC", help="Test data; without it only size and speed are compared")
@options.metric
@options.backend
@options.trust
@options.as_json
def compare(
    models: tuple[Path, ...],
    test: str | None,
    metric: str | None,
    backend: str | None,
    trust: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure model files side by side; quality is given against the first."""
    from kcompress.api import compare as comparison
    from kcompress.cli import progress as terminal

    options.use(backend)
    found = comparison.compare(models, test=test, metric=metric, trust=trust, hooks=terminal.hooks(as_json))
    told(lambda: comparison.to_json(found), lambda: comparison.show(found), as_json)


@click.command()
@click.argument("name", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a recipe")
def passes(name: str | None, schema: bool) -> None:
    """List the passes, or explain one with all its fields."""
    from kcompress import recipe
    from kcompress.cli import manual

    if schema:
        click.echo(json.dumps(recipe.schema(), indent=2))
    else:
        click.echo(manual.overview() if name is None else manual.page(name))


@click.command()
@click.argument("folder", default="kcompress-demo", type=click.Path(path_type=Path), metavar="[DIR]")
def demo(folder: Path) -> None:
    """Compress a small trained model in three formats into DIR and show the reports."""
    from kcompress.cli import demonstration
    from kcompress.cli import progress as terminal

    options.use(None)
    sys.exit(demonstration.run(folder, terminal.hooks(False)))


def begun(given: dict[str, Any]) -> tuple[bool, bool]:
    """Settle on the backend; take what says how to print out of what was given: as JSON, or not at all."""
    options.use(given.pop("backend"))
    return given.pop("as_json"), given.pop("quiet")


def told(to_json: Callable[[], Any], show: Callable[[], None], as_json: bool, quiet: bool = False) -> None:
    """Print what was found, for a program, for people, or not at all."""
    if as_json:
        click.echo(json.dumps(to_json(), indent=2))
    elif not quiet:
        show()
