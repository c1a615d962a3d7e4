"""State of the whole process that is changed for a while, and put back: loggers, the module path, random states."""

import logging
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


@contextmanager
def quiet_logger(name: str) -> Iterator[None]:
    """Meanwhile, a logger says nothing but errors."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Meanwhile, modules of a folder can be imported."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


@contextmanager
def seeded_process(seed: int) -> Iterator[None]:
    """Meanwhile, all that is random follows a seed. Python's and NumPy's states are put back, not those of backends."""
    import keras

    states = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
