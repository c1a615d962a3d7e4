"""All formats, and the right one for a path.

Each package beside this module that has a `format.py` is a format; the package's name is the format's name, and its
`format.py` defines one subclass of Format.
"""

import importlib
from functools import cache
from pathlib import Path
from typing import Any

from kcompress.errors import ModelError, UsageError
from kcompress.files import check_file, kind_of
from kcompress.formats.base import Format


@cache
def formats() -> dict[str, Format]:
    """All formats by name; importing them imports no backend."""
    found: dict[str, Format] = {}
    for file in sorted(Path(__file__).parent.glob("*/format.py")):
        module = importlib.import_module(f"kcompress.formats.{file.parent.name}.format")
        for item in vars(module).values():
            if isinstance(item, type) and issubclass(item, Format) and item.__module__ == module.__name__:
                found[file.parent.name] = item()
    return found


def find(path: Path) -> Format:
    """The format of a file or folder, by suffix.

    Raises ModelError if there is none, or nothing at that path, or more than the format reads.
    """
    if kind_of(path) == "a folder":
        if kind_of(path / "saved_model.pb") == "a file":
            return formats()["savedmodel"]
        raise ModelError(f"{path}: a folder without saved_model.pb; give a model file or a SavedModel folder")
    found = next((each for each in formats().values() if path.suffix.lower() in each.suffixes), None)
    suffixes = _suffixes(formats().values())
    check_file(path, ModelError, f"give a saved model ({suffixes})", found.most_bytes if found else None)
    if found is None:
        raise ModelError(f"{path}: not a model; allowed: {suffixes}")
    return found


def for_output(path: Path) -> Format:
    """The format that writes files with this suffix; UsageError if there is none."""
    writers = [file_format for file_format in formats().values() if file_format.writes]
    for file_format in writers:
        if path.suffix.lower() in file_format.suffixes:
            return file_format
    raise UsageError(f"{path}: the suffix '{path.suffix}' is no output format; allowed: {_suffixes(writers)}")


def _suffixes(candidates: Any) -> str:
    return ", ".join(suffix for file_format in candidates for suffix in file_format.suffixes)
