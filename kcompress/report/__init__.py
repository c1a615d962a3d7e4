"""The report of a run, and a renderer for each form of report: terminal, JSON, Markdown, HTML, plots."""

from kcompress.report.report import Budget, PassRecord, Report, SourceFigures

__all__ = ["Budget", "PassRecord", "Report", "SourceFigures"]
