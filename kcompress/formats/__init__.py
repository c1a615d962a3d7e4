"""One package per file format, with all that is known about it: read, write, run, describe."""

from kcompress.formats.base import Description, Format, OwnProcess, Row, Runner, Tensors, WriteOptions, Written
from kcompress.formats.batches import by_position, run_batches
from kcompress.formats.file_sizes import file_bytes, gzip_bytes
from kcompress.formats.registry import find, for_output, formats

__all__ = [
    "Description",
    "Format",
    "OwnProcess",
    "Row",
    "Runner",
    "Tensors",
    "WriteOptions",
    "Written",
    "by_position",
    "file_bytes",
    "find",
    "for_output",
    "formats",
    "gzip_bytes",
    "run_batches",
]
