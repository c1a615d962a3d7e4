"""The gate: a document in a model file may name what is allowed, in all of it, and nothing else.

It looks at the document as it is in the file: also at what is taken off or thrown away later, since another reader may
build it first. Nothing is built here.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompress.errors import ModelError, UnsafeError, one_line, shortened
from kcompress.formats.allowed import RUNS_CODE, Allowed
from kcompress.formats.trusted import LAMBDA, Trusted

MOST_BYTES = 16_000_000
"""The most that is read of a document: its values take many times as much in memory."""
MOST_VALUES = 1_000_000
MOST_DEPTH = 200
"""Lists and mappings inside of each other."""
PATH = re.compile(r"[/\\]|~/|\.\.?[/\\]|[A-Za-z]:[\\/]|[A-Za-z][A-Za-z0-9+.-]*://")
"""How a text begins that says where a file is."""
NAMES_FILES = ("vocabulary", "idf_weights")
"""Settings of layers that take values, or a text that is the path of a file with them."""


TOO_DEEP = f"has lists or mappings more than {MOST_DEPTH} deep inside of each other; get the file again"


def parsed(path: Path, raw: bytes | str, what: str, advice: str = "save the model again") -> Any:
    """The JSON document in a file; ModelError with one line if it is none, or larger or deeper than any is."""
    if len(raw) > MOST_BYTES:
        raise too_large(path, what, len(raw))
    text = raw if isinstance(raw, bytes) else raw.encode(errors="replace")
    values = sum(map(text.count, (b",", b"[", b"{")))
    if values > MOST_VALUES:
        raise ModelError(
            f"{path}: {what} has some {values:,} values, at most {MOST_VALUES:,} are read; get the file again"
        )
    try:
        return json.loads(raw)
    except RecursionError as error:
        raise ModelError(f"{path}: {what} {TOO_DEEP}") from error
    except ValueError as error:
        raise ModelError(f"{path}: {what} is no JSON ({one_line(error)}); {advice}") from error


def too_large(path: Path, what: str, size: int) -> ModelError:
    """What is raised for a document of so many bytes."""
    return ModelError(f"{path}: {what} takes {size:,} bytes, at most {MOST_BYTES:,} are read; get the file again")


class ForeignError(UnsafeError):
    """A document names what Keras does not have, but holds no code."""


def is_own(path: Path, compiled: Any, allowed: Allowed) -> bool:
    """Whether a compile state names Keras's own losses and metrics; else the model is to be read without it.

    Raises UnsafeError if it holds code.
    """
    try:
        check_document(path, compiled, allowed, Trusted(), "its compile state")
    except ForeignError:
        return False
    return True


def check_document(path: Path, document: Any, allowed: Allowed, trusted: Trusted, what: str = "its config") -> None:
    """Raise UnsafeError, naming the layer, if a document names anything that is not allowed, ModelError if too deep.

    It is a ForeignError only where nothing in the document holds code.
    """
    foreign = None
    for entry in _entries(path, document, what):
        try:
            _Entry(path, entry).check(allowed, trusted)
        except ForeignError as error:
            foreign = foreign or error
    if foreign is not None:
        raise foreign


def _entries(path: Path, document: Any, what: str) -> Iterator[dict[str, Any]]:
    """All mappings that name a class, wherever they are."""
    level, depth = [document], 0
    while level:
        if depth > MOST_DEPTH:
            raise ModelError(f"{path}: {what} {TOO_DEEP}")
        yield from (item for item in level if isinstance(item, dict) and "class_name" in item)
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [value for values in inner for value in values if isinstance(value, (dict, list, tuple))]
        depth += 1


@dataclass(frozen=True)
class _Entry:
    """A mapping that names a class or a function."""

    path: Path
    given: dict[str, Any]

    def check(self, allowed: Allowed, trusted: Trusted) -> None:
        kind, name, module = self.given["class_name"], self.given.get("config"), self.given.get("module")
        registered = self.given.get("registered_name")
        if not isinstance(kind, str):
            raise UnsafeError(f"{self.path}: a class is called {shortened(repr(kind))}, no name; get the file again")
        if kind in allowed.literals:
            return
        if kind == "function":
            if not isinstance(name, str):
                raise self._refused("is no name of a function; get the file again")
            own = module in allowed.functions.get(name, ())
        elif kind in ("__lambda__", "Lambda"):
            if not self._calls_trusted(kind, trusted):
                raise self._refused(RUNS_CODE_FROM_FILE)
            return
        else:
            name, own = kind, self._is_listed(kind, module, allowed)
        if own and registered in (None, name):
            self._check_settings()
        elif not trusted.names(registered or name, module):
            if kind in RUNS_CODE:
                raise self._refused("runs code that is not in the file; replace it by Keras layers")
            origin = shortened(str(module or str(registered or name).split(">")[0] or "a custom class"))
            raise self._refused(
                f"comes from '{origin}', which is not part of Keras; pass --trust MODULE with the module that defines "
                "it",
                ForeignError,
            )

    def _refused(self, reason: str, kind: type[UnsafeError] = UnsafeError) -> UnsafeError:
        config = self.given.get("config")
        name = self.given.get("name") or (config.get("name") if isinstance(config, dict) else config)
        label = shortened(name if isinstance(name, str) else self.given["class_name"])
        return kind(f"{self.path}: '{label}' ({shortened(self.given['class_name'])}) {reason}")

    def _is_listed(self, kind: str, module: Any, allowed: Allowed) -> bool:
        operators = allowed.operators.get(kind)
        if operators is not None:
            config = self.given.get("config")
            return isinstance(config, dict) and config.get("function") in operators
        return module in allowed.classes.get(kind, ())

    def _calls_trusted(self, kind: str, trusted: Trusted) -> bool:
        """Whether code in the file is trusted, or a Lambda has none but calls a function of a trusted module."""
        if LAMBDA in trusted.modules:
            return True
        config = self.given.get("config")
        function = config.get("function") if isinstance(config, dict) else None
        if kind != "Lambda" or not isinstance(function, dict) or function.get("class_name") != "function":
            return False
        return trusted.names(function.get("registered_name") or function.get("config"), function.get("module"))

    def _check_settings(self) -> None:
        """Refuse a class of Keras that is to read a file."""
        config = self.given.get("config")
        for name, value in config.items() if isinstance(config, dict) else ():
            if not isinstance(value, str):
                continue
            if name in NAMES_FILES:
                raise self._refused(f"reads a {name} from another file; save the model with the {name} in it")
            if len(value) > 1 and PATH.match(value):
                raise self._refused(f"names a file, {name}={shortened(value)}; save the model without it")


RUNS_CODE_FROM_FILE = (
    f"runs code from the file; replace it by keras.ops calls, or pass --trust {LAMBDA} if the file is yours"
)
