"""The command line and the Python API take the same settings, each declared once.

Covers: settings.py, typing.py.
"""

import inspect
import subprocess
import sys

import click
import pytest

from kcompress import settings
from kcompress.analysis.options import SensitivityOptions
from kcompress.api import compare, compress, ensemble, search, sensitivity
from kcompress.api import inspect as inspection
from kcompress.cli.program import cli
from kcompress.hosts import Hosts
from kcompress.run.options import CompareOptions, CompressOptions, EnsembleOptions, InspectOptions
from kcompress.tuning.options import SearchOptions

VERBS = {
    compress.compress: (CompressOptions, {"hosts", "hooks"}),
    compare.compare: (CompareOptions, {"hooks"}),
    ensemble.ensemble: (EnsembleOptions, {"hooks"}),
    inspection.inspect: (InspectOptions, {"hooks"}),
    search.search: (SearchOptions, {"hooks"}),
    sensitivity.sensitivity: (SensitivityOptions, {"hooks"}),
}


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_a_function_takes_what_is_declared_with_the_same_defaults(verb):
    declared, more = VERBS[verb]
    taken = {
        name: parameter.default
        for name, parameter in inspect.signature(verb).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name not in more
    }
    assert taken == {name: field.default for name, field in declared.model_fields.items()}


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_its_docstring_explains_each_setting(verb):
    declared, _ = VERBS[verb]
    assert settings.PLACE not in verb.__doc__
    for name, field in declared.model_fields.items():
        assert f"{name}: {field.description.split()[0]}" in verb.__doc__


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_the_command_has_an_option_for_each_setting(verb):
    declared, _ = VERBS[verb]
    command = cli.get_command(click.Context(cli), verb.__name__)
    taken = {option.name: option.opts for option in command.get_params(click.Context(command))}
    for name in declared.model_fields:
        if settings.extra_of(declared, name)["cli"]:
            assert taken.pop(name) == [declared.option(name)]
    shared = {"model", "models", "output", "backend", "as_json", "quiet", "_click_default_help"}
    assert set(taken) - shared == (set(Hosts.model_fields) if verb is compress.compress else set())


def test_functions_stay_functions_when_their_modules_are_imported():
    program = (
        "import kcompress\n"
        f"names = {[verb.__name__ for verb in VERBS]}\n"
        "before = {name: getattr(kcompress, name) for name in names}\n"
        "from kcompress.api import search, sensitivity, compress\n"
        "import kcompress.tuning.options, kcompress.analysis.options, kcompress.check\n"
        "assert all(callable(f) and getattr(kcompress, name) is f for name, f in before.items())\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
