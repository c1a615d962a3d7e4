"""A model may be read without harm and still not run: layers may not fit each other, or have errors of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kcompress.errors import KCompressError, ModelError, one_line


@contextmanager
def calling(model: Any) -> Iterator[None]:
    """Meanwhile, an error of any kind is a ModelError of one line that names the model."""
    try:
        yield
    except KCompressError:
        raise
    except Exception as error:  # of any layer's `call`
        raise ModelError(
            f"the model '{model.name}' cannot be run ({one_line(error)}); correct it and save it again"
        ) from error
