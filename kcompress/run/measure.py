"""The report of a run: source and artifact measured as files, and the artifact's quality against the source's."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kcompress.formats import Written
from kcompress.measure.files import measure_file
from kcompress.measure.quality import Quality, evaluate
from kcompress.report import PassRecord, Report, SourceFigures
from kcompress.report.report import Provenance
from kcompress.run.prepare import Prepared
from kcompress.run.provenance import sha256_of


def measure(
    prepared: Prepared,
    records: Sequence[PassRecord],
    written: Written,
    came_of: Provenance,
    draft: Path,
    output: Path,
) -> Report:
    """Measure the file at `draft`, which will be at `output`; `report.seconds` is left at 0."""
    from kcompress import __version__

    given, sample = prepared.given, prepared.data.sample()
    with given.hooks.progress("measuring size and speed", None):
        before, reference = measure_file(given.source, sample, given.trust)
        after, runner = measure_file(draft, sample, given.trust)
    quality = Quality(None, 0, None, None, None, None, None)
    if prepared.data.test is not None:
        with given.hooks.progress("measuring quality", prepared.data.test.samples) as advance:
            quality = evaluate(reference, [runner], prepared.data.test, prepared.metric, advance)[0]
    return Report(
        version=__version__,
        source=SourceFigures(str(given.source), before.format, before.bytes, prepared.parameters, prepared.macs),
        passes=tuple(records),
        artifact=replace(after, path=str(output)),
        float_layers=float_layers(written),
        quality=quality,
        seconds=0.0,
        source_file=before,
        provenance=came_of,
        artifact_sha256=sha256_of(draft),
        notes=written.remarks,
    )


def float_layers(written: Written) -> tuple[str, ...]:
    """The layers with weights that the file stores or computes with in float."""
    return tuple(dict.fromkeys(name.rsplit("/", 1)[0] for name in written.float_weights))
