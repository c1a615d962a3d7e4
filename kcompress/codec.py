"""What is stored or handed to another process: dataclasses and models as JSON text, and back, by their types."""

import json
from typing import Any, TypeVar

from pydantic import TypeAdapter

Kind = TypeVar("Kind")


def plain(value: Any) -> Any:
    """A value as JSON data: mappings, lists, text, numbers (NaN and infinity among them), truth values and None."""
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def encode(value: Any) -> str:
    """A value as JSON text."""
    return json.dumps(plain(value))


def decode(kind: type[Kind], document: Any) -> Kind:
    """The value of a type, from JSON text or data; ValueError if it is none."""
    data = json.loads(document) if isinstance(document, (str, bytes)) else document
    return TypeAdapter(kind).validate_python(data)
