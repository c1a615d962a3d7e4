"""Signals that are to wait."""

import contextlib
import signal
import threading
from collections.abc import Iterator

HELD = signal.SIGINT, signal.SIGTERM


@contextlib.contextmanager
def held() -> Iterator[None]:
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
