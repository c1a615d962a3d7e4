"""kcompress makes trained Keras models smaller and hands them over ready to deploy.

    import kcompress
    passes = [kcompress.Magnitude(sparsity=0.7), kcompress.Float16()]
    report = kcompress.compress("model.keras", "model.tflite", passes=passes, data="data.npz")

Every class of a pass is a name here: `Magnitude`, `Float16`, and so on. Importing kcompress imports no backend.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from kcompress.api.compare import compare
    from kcompress.api.compress import compress
    from kcompress.api.ensemble import ensemble
    from kcompress.api.inspect import inspect
    from kcompress.api.search import search
    from kcompress.api.sensitivity import sensitivity
    from kcompress.hosts import Hosts
    from kcompress.progress import Hooks
    from kcompress.report import Report
    from kcompress.tuning.report import SearchReport

_PLACES = {
    "Hooks": "kcompress.progress",
    "Hosts": "kcompress.hosts",
    "Report": "kcompress.report",
    "SearchReport": "kcompress.tuning.report",
    "compare": "kcompress.api.compare",
    "compress": "kcompress.api.compress",
    "ensemble": "kcompress.api.ensemble",
    "inspect": "kcompress.api.inspect",
    "search": "kcompress.api.search",
    "sensitivity": "kcompress.api.sensitivity",
}

__all__ = [
    "Hooks",
    "Hosts",
    "Report",
    "SearchReport",
    "__version__",
    "compare",
    "compress",
    "ensemble",
    "inspect",
    "search",
    "sensitivity",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used; a pass is found by its class name."""
    import importlib

    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    if name[:1].isupper():
        from kcompress.passes import find, names

        for title in names():
            if find(title).__name__ == name:
                return find(title)
    raise AttributeError(f"module 'kcompress' has no attribute '{name}'")
