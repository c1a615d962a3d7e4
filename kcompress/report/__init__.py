"""What a run did and what came of it, and one renderer per form."""

from kcompress.report.report import Budget, PassRecord, Report, SourceFigures

__all__ = ["Budget", "PassRecord", "Report", "SourceFigures"]
