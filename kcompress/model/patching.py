"""Replace an attribute of one object for a while, such as the `call` of a layer or its activation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def patched(target: Any, name: str, value: Any) -> Iterator[None]:
    """Within it, this object alone has another value of an attribute, which Keras's tracking does not see."""
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
