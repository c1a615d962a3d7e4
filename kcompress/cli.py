"""The command line: parse, call one function, print, return an exit code.

0 done; 1 a budget or a check was not met; 2 bad usage or bad input; 3 refused for safety; 130 interrupted.
"""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import click

from kcompress import __version__
from kcompress.check import check
from kcompress.errors import KCompressError

INTERRUPTED, TERMINATED = 130, 143


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="kcompress")
def cli() -> None:
    """Make trained Keras models smaller, and prove it on the file that was written."""


cli.add_command(check)

_metric = click.option(
    "--metric", metavar="NAME", help="Keras metric [accuracy for class labels, else mean absolute error]"
)
_backend = click.option("--backend", metavar="NAME", help="Keras backend: tensorflow, jax or torch")
_trust = click.option(
    "--trust", metavar="MODULE", multiple=True, help="Module whose classes the model may use (repeatable)"
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else")
_seed = click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random")
_overwrite = click.option("--overwrite", is_flag=True, help="Replace files that exist")
_batch = click.option(
    "--batch", type=click.IntRange(min=1), metavar="N", help="Fix the batch size in a .tflite or .onnx file [dynamic]"
)
_ways = click.Choice(["average", "weighted", "stacked"])
_max_drop = click.option("--max-drop", type=float, metavar="POINTS", help="Budget: quality that may be lost, in points")
_max_size = click.option("--max-size", metavar="SIZE", help="Budget: size of the file, such as 250KB")
_max_latency = click.option(
    "--max-latency",
    type=float,
    metavar="MS",
    help="Budget: median time for one sample on this machine, in milliseconds",
)
_max_macs = click.option("--max-macs", metavar="COUNT", help="Budget: multiply-adds for one sample, such as 5M")
_quiet = click.option("--quiet", is_flag=True, help="Print nothing but errors")


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--recipe", type=click.Path(path_type=Path), help="YAML, TOML or JSON file with a list of passes")
@click.option("--apply", "steps", metavar="PASS[:field=value,...]", multiple=True, help="A pass, in order (repeatable)")
@click.option(
    "--data",
    metavar="SPEC",
    help="Data with train and test splits: .npz, .npy, folder, .csv, .parquet, module:function",
)
@click.option("--calibration", metavar="SPEC", help="Calibration data [the train split of --data]")
@click.option("--test", metavar="SPEC", help="Test data [the test split of --data]")
@click.option(
    "--teacher",
    "teachers",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Model to learn from in train.distill [MODEL] (repeatable)",
)
@click.option(
    "--combine",
    type=_ways,
    help="How several teachers become one, where no pass says it itself [average]",
)
@_metric
@_max_drop
@_max_size
@_max_latency
@_max_macs
@click.option(
    "--report",
    "reports",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Write the report to a .json or .md file (repeatable)",
)
@_seed
@click.option("--strict", is_flag=True, help="A layer that a pass or the file could not handle is an error")
@_overwrite
@_batch
@_backend
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
@_trust
@_json
@_quiet
def compress(**options: Any) -> None:
    """Apply passes to MODEL, write OUTPUT (.keras, .tflite or .onnx) and report what it cost.

    Example: kcompress compress model.keras small.tflite --data data.npz --apply quantize.float16
    """
    from kcompress import pipeline, terminal
    from kcompress.hosts import Hosts

    _use(options["backend"])
    hosts = Hosts(**{key: options[key] for key in ("coordinator", "processes", "process", "timeout")})
    hooks = terminal.hooks(options["quiet"] or options["as_json"])
    report = pipeline.compress(
        options["model"],
        options["output"],
        passes=options["steps"],
        hosts=hosts,
        hooks=hooks,
        **{
            key: options[key]
            for key in (
                "recipe", "data", "calibration", "test", "teachers", "combine",
                "metric", "max_drop", "max_size", "max_latency", "max_macs", "reports", "seed", "strict",
                "overwrite", "batch", "distribute", "trust",
            )
        },
    )  # fmt: skip
    if not report.first:
        return
    if options["as_json"]:
        click.echo(json.dumps(report.to_json(), indent=2))
    elif not options["quiet"]:
        from kcompress.report import terminal as form

        form.show(report)
    sys.exit(report.exit_code)


@cli.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL MODEL...")
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--how", type=_ways, default="average", show_default=True, help="How the models become one")
@click.option("--data", metavar="SPEC", help="Data with train and test splits; weights and heads need the train split")
@click.option("--test", metavar="SPEC", help="Test data [the test split of --data]")
@_metric
@_seed
@_overwrite
@_batch
@_backend
@_trust
@_json
@_quiet
def ensemble(**options: Any) -> None:
    """Write several MODELs of the same inputs and outputs as one ordinary model, and measure them beside it.

    Example: kcompress ensemble a.keras b.keras both.keras --how weighted --data data.npz
    """
    from kcompress import combination, terminal

    as_json, quiet = options.pop("as_json"), options.pop("quiet")
    _use(options.pop("backend"))
    report = combination.ensemble(options.pop("models"), **options, hooks=terminal.hooks(quiet or as_json))
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    elif not quiet:
        combination.show(report)


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", metavar="SPEC", help="Data; every fifth sample of its train split is looked at")
@click.option("--calibration", metavar="SPEC", help="Calibration data [the train split of --data]")
@click.option(
    "--levels",
    metavar="PASS:FIELD=LEVEL,...",
    multiple=True,
    help="What to try, such as quantize.weights:bits=8,4 (repeatable) [pruning, channels and bits at several levels]",
)
@click.option(
    "--samples", type=click.IntRange(min=1), metavar="N", default=512, show_default=True, help="Samples to look at"
)
@_metric
@click.option(
    "--report",
    "reports",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Write a .json, .md, .html, .png or .svg file (repeatable)",
)
@_seed
@_overwrite
@_backend
@_trust
@_json
@_quiet
def sensitivity(**options: Any) -> None:
    """Show how much pruning and quantizing each layer of MODEL alone costs.

    Example: kcompress sensitivity model.keras --data data.npz --report heat.svg
    """
    from kcompress import terminal
    from kcompress.sensitivity import analysis

    as_json, quiet = options.pop("as_json"), options.pop("quiet")
    _use(options.pop("backend"))
    found = analysis.sensitivity(options.pop("model"), **options, hooks=terminal.hooks(quiet or as_json))
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
    elif not quiet:
        analysis.show(found)


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--data", metavar="SPEC", help="Data with train and test splits; candidates need the train split")
@_max_drop
@_max_size
@_max_latency
@_max_macs
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
@click.option("--calibration", metavar="SPEC", help="Calibration data [the train split of --data]")
@click.option("--test", metavar="SPEC", help="Test data, for the winner alone [the test split of --data]")
@click.option(
    "--validation",
    metavar="SPEC",
    help="Data that candidates are judged on, which MODEL was not trained on [a fifth of the train split]",
)
@click.option(
    "--teacher",
    "teachers",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Model to learn from in train.distill [MODEL] (repeatable)",
)
@click.option("--combine", type=_ways, help="How several teachers become one, where no pass says it itself [average]")
@_metric
@click.option(
    "--report",
    "reports",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Write the report to a .json, .md, .html, .png or .svg file (repeatable)",
)
@click.option(
    "--save-recipe", type=click.Path(path_type=Path), metavar="FILE", help="The winner's recipe [OUTPUT.recipe.yaml]"
)
@_seed
@_overwrite
@_batch
@_backend
@_trust
@_json
@_quiet
def search(**options: Any) -> None:
    """Find the settings that make MODEL smallest within budgets, and write it as OUTPUT.

    Example: kcompress search model.keras small.tflite --data data.npz --max-drop 1.0
    """
    from kcompress import terminal
    from kcompress.search import api, rows

    as_json, quiet = options.pop("as_json"), options.pop("quiet")
    _use(options.pop("backend"))
    model, output = options.pop("model"), options.pop("output")
    report = api.search(model, output, **options, hooks=terminal.hooks(quiet or as_json))
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    elif not quiet:
        rows.show(report)
    sys.exit(report.exit_code)


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@_backend
@_trust
@_json
def inspect(model: Path, backend: str | None, trust: tuple[str, ...], as_json: bool) -> None:
    """Show what a model file holds: inputs, outputs, weights, layers or operators."""
    from kcompress import inspection

    _use(backend)
    found = inspection.inspect(model, trust)
    if as_json:
        click.echo(json.dumps(inspection.to_json(found), indent=2))
    else:
        inspection.show(found)


@cli.command()
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="MODEL MODEL...")
@click.option("--test", metavar="SPEC", help="Test data; without it only size and speed are compared")
@_metric
@_backend
@_trust
@_json
def compare(
    models: tuple[Path, ...],
    test: str | None,
    metric: str | None,
    backend: str | None,
    trust: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure model files side by side; quality is given against the first."""
    from kcompress import comparison, terminal

    _use(backend)
    found = comparison.compare(models, test=test, metric=metric, trust=trust, hooks=terminal.hooks(as_json))
    if as_json:
        click.echo(json.dumps(comparison.to_json(found), indent=2))
    else:
        comparison.show(found)


@cli.command()
@click.argument("name", required=False)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a recipe")
def passes(name: str | None, schema: bool) -> None:
    """List the passes, or explain one with all its fields."""
    from kcompress import manual, recipe

    if schema:
        click.echo(json.dumps(recipe.schema(), indent=2))
    else:
        click.echo(manual.overview() if name is None else manual.page(name))


@cli.command()
@click.argument("folder", default="kcompress-demo", type=click.Path(path_type=Path), metavar="[DIR]")
def demo(folder: Path) -> None:
    """Compress a small trained model in three formats into DIR and show the reports."""
    from kcompress import demonstration, terminal

    _use(None)
    sys.exit(demonstration.run(folder, terminal.hooks(False)))


def _use(name: str | None) -> None:
    """Settle on a backend before anything imports Keras."""
    if name is not None:
        from kcompress import backend

        backend.select(name)


def _terminate(_signal: int, _frame: Any) -> None:
    """End as an interrupt does, so that nothing half written stays behind."""
    raise SystemExit(TERMINATED)


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        code = cli.main(standalone_mode=False)
    except KCompressError as error:
        from kcompress import hosts

        click.echo(f"Error: {error}", err=True)
        code = error.exit_code
        hosts.leave(code)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = 0
    except click.ClickException as error:
        click.echo(f"Error: {' '.join(error.format_message().split())}", err=True)
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted; nothing was written.", err=True)
        code = INTERRUPTED
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
