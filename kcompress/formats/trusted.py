"""Modules that the caller trusts with `--trust`: their classes and functions may be named by a model file.

A trusted module is imported, and what it defines is built and called as any Python is: it can do all that the user can.
Nothing that it merely imports from elsewhere is trusted with it.
"""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kcompress.errors import UsageError
from kcompress.keras_internals import any_layer_name, sequential_at_once
from kcompress.process_state import importing_from

LAMBDA = "keras.layers.Lambda"
"""What is given in place of a module to trust the code that Lambda layers hold."""


@dataclass(frozen=True)
class Trusted:
    """The modules that were named."""

    modules: tuple[str, ...] = ()

    @classmethod
    def of(cls, trust: Sequence[str]) -> "Trusted":
        return cls(tuple(trust))

    def names(self, name: Any, module: Any) -> bool:
        """Whether a name in a file, and the module given with it, is of a trusted module."""
        inside = isinstance(module, str) and any(module == own or module.startswith(f"{own}.") for own in self.modules)
        return inside or (isinstance(name, str) and name in self._every_name)

    @cached_property
    def objects(self) -> dict[str, Any]:
        """Classes and functions that the modules define, by name; UsageError if a module cannot be imported."""
        found: dict[str, Any] = {}
        for name in self.modules:
            if name == LAMBDA:
                continue
            try:
                with importing_from(Path.cwd()):
                    module = importlib.import_module(name)
            except ImportError as error:
                raise UsageError(f"--trust {name}: cannot be imported ({error}); give a module on the path") from error
            for key, item in vars(module).items():
                origin = str(getattr(item, "__module__", ""))
                if callable(item) and not key.startswith("_") and (origin == name or origin.startswith(f"{name}.")):
                    found[key] = item
        return found

    @cached_property
    def _every_name(self) -> frozenset[str]:
        """Names as they are in the modules, and as Keras has registered them."""
        if not self.objects:
            return frozenset()
        import keras

        return frozenset({*self.objects, *map(keras.saving.get_registered_name, self.objects.values())})

    @property
    def safe_mode(self) -> bool:
        """Whether Keras is to refuse code in the file."""
        return LAMBDA not in self.modules


@contextmanager
def trusting(trust: Sequence[str]) -> Iterator[None]:
    """Meanwhile, Keras builds the classes of the trusted modules; layers may have any name, and be many."""
    import keras

    with keras.saving.CustomObjectScope(Trusted.of(trust).objects), any_layer_name(), sequential_at_once():
        yield
