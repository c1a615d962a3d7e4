"""`kcompress check`, the size gate."""

from kcompress.check.gate import check as command

__all__ = ["command"]
