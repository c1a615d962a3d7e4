"""Find the settings that make a model smallest within budgets.

`kcompress.search("model.keras", "out.tflite", data="data.npz", max_drop=1.0)`, a call of this package, is `api.search`.
"""

from kcompress.namesake import callable_as
from kcompress.search.api import search
from kcompress.search.report import SearchReport

__all__ = ["SearchReport", "search"]

callable_as(__name__, search)
