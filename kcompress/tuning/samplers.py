"""What to try next: Optuna's samplers, made anew for each trial so that its number and the seed alone decide."""

import itertools
import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompress.tuning.marks import Value
from kcompress.tuning.template import Dimension

STARTUP = 5
"""Trials of bayes before it looks at what was found."""
GOOD = 0.2
"""The share of trials that bayes takes for good ones."""
POPULATION = 12
"""Candidates in a generation of pareto."""


def sampler(kind: str, seed: int, trials: int, worker: str) -> Any:
    """A sampler for the trial that comes after so many; workers that start at once draw differently."""
    from optuna import samplers

    drawn = zlib.crc32(f"{seed} {trials} {worker}".encode())
    if kind == "bayes":
        return samplers.TPESampler(seed=drawn, multivariate=True, n_startup_trials=STARTUP, gamma=_good)
    if kind == "pareto":
        return samplers.NSGAIISampler(seed=drawn, population_size=POPULATION)
    return samplers.RandomSampler(seed=drawn)


def _good(trials: int) -> int:
    """How many of so many trials bayes takes for good ones."""
    return min(25, math.ceil(GOOD * trials))


def suggested(trial: Any, dimension: Dimension) -> Value:
    """The value that a trial has for a dimension, as a recipe writes it."""
    mark, name = dimension.mark, dimension.name
    if mark.choices:
        found: Value = trial.suggest_categorical(name, mark.choices)
        return found
    if mark.integer:
        return mark.number(trial.suggest_int(name, mark.low, mark.high, step=int(mark.step or 1), log=mark.log))
    return mark.number(trial.suggest_float(name, mark.low, mark.high, step=mark.step, log=mark.log))


def grid(dimensions: Sequence[Dimension], trials: int, seed: int) -> list[dict[str, Value]]:
    """At most so many points of the finest even grid with no more than that, or of the coarsest there is."""
    count = 2
    while math.prod(len(d.mark.points(count + 1)) for d in dimensions) <= trials and count < trials:
        count += 1
    points = list(itertools.product(*(dimension.mark.points(count) for dimension in dimensions)))
    if len(points) > trials:
        kept = np.random.default_rng(seed).permutation(len(points))[:trials]
        points = [points[number] for number in sorted(kept)]
    return [{d.name: value for d, value in zip(dimensions, point, strict=True)} for point in points]
