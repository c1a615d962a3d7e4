"""A package that is called like the function that it is there for, such as `kcompress.search`.

Importing anything of a package puts it in the place of whatever has its name in the package above. So that
`kcompress.search(...)` works before and after that, the package itself can be called.
"""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def callable_as(package: str, function: Callable[..., Any]) -> None:
    """Have a call of the package, by its full name, be one of the function."""

    class Namesake(ModuleType):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

    sys.modules[package].__class__ = Namesake
