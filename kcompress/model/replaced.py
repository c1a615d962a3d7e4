"""Another attribute of one object for a while: another `call` of a layer, another activation, another way to save."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(target: Any, name: str, value: Any) -> Iterator[None]:
    """Meanwhile, give this object alone another attribute, past Keras's tracking of attributes."""
    own = vars(target)
    before = own.get(name, own)
    own[name] = value
    try:
        yield
    finally:
        if before is own:
            del own[name]
        else:
            own[name] = before
