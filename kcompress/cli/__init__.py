"""The command line, a module for each command: parse, call one function of `api`, show, return an exit code."""

from kcompress.cli.program import main

__all__ = ["main"]
