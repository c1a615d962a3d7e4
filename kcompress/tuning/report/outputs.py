"""What a search writes: the artifact, the recipe that makes it, reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompress import recipe as recipes
from kcompress.errors import UsageError
from kcompress.formats import Format
from kcompress.report.document import check as check_reports
from kcompress.run import preflight


@dataclass(frozen=True)
class SearchFiles:
    """What is written at the end."""

    output: Path
    recipe: Path
    reports: tuple[Path, ...]

    def check(self, source: Path | None, others: Sequence[Any], overwrite: bool) -> Format:
        """The output's format; OutputError or UsageError for what can't be written."""
        check_reports(self.reports, plotted=True)
        if self.recipe.suffix.lower() not in recipes.SUFFIXES[:2]:
            raise UsageError(f"--save-recipe {self.recipe}: is no .yaml file; give the path of one")
        file_format = preflight.paths(source, self.output, [], overwrite)
        preflight.targets([source, *others], [self.output, self.recipe, *self.reports], overwrite)
        return file_format
