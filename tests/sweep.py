"""Sweeps over models, settings and seeds: a run of the tests takes those cases that stand for the others.

`python scripts/bench/sweeps.py` takes all.
"""

import os
from collections.abc import Callable, Iterable
from typing import TypeVar

VARIABLE = "KCOMPRESS_TEST_ALL"
ALL = VARIABLE in os.environ
Case = TypeVar("Case")


def some(cases: Iterable[Case], stands: Callable[[Case], bool]) -> list[Case]:
    """The cases that stand for all, or all."""
    return [case for case in cases if ALL or stands(case)]
