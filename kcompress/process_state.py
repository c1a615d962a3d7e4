"""State of the whole process, changed for a while and put back: loggers, the module path, signals, random states."""

import logging
import random
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

HELD = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGALRM") if hasattr(signal, name)]


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


@contextmanager
def signals_held() -> Iterator[None]:
    """Meanwhile, let signals that end the process wait; they arrive when this is left."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    handlers = {number: signal.getsignal(number) for number in HELD}
    own = {number: handler for number, handler in handlers.items() if handler is not None}  # None: not of Python
    for number in own:
        signal.signal(number, lambda number, _frame: arrived.append(number))
    try:
        yield
    finally:
        for number, handler in own.items():
            signal.signal(number, handler)
        for each in arrived[:1]:
            signal.raise_signal(each)
