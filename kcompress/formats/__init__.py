"""One module per file format, with all that is known about it: read, write, run, describe."""

from kcompress.formats.base import Description, Format, Row, Runner, WriteOptions, Written, find, for_output, formats

__all__ = ["Description", "Format", "Row", "Runner", "WriteOptions", "Written", "find", "for_output", "formats"]
