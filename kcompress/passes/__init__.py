"""One pass per file; the file's path is its name: passes/prune/magnitude.py is prune.magnitude."""

from kcompress.passes.discovery import find, names

__all__ = ["find", "names"]
