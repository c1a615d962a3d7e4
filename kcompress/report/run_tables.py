"""The report of a run as tables of text and remarks."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kcompress.measure.files import FileFigures
from kcompress.report.table import NONE, Table, count, ratio, size, times
from kcompress.sizes import format_size

if TYPE_CHECKING:
    from kcompress.report.report import Budget, Report

RATIOS = ("weight_sqnr_db", "output_sqnr_db")
WORST = 5
"""Rounded layers that a terminal shows."""


def tables(report: "Report") -> list[Table]:
    """Passes first, then source against artifact, then the rounded layers."""
    return [passes(report), comparison(report), *rounded(report)]


def passes(report: "Report") -> Table:
    start = (
        "source",
        "",
        count(report.source.parameters),
        count(report.source_file.nonzero),
        count(report.source.macs),
        "",
    )
    rows = [
        (
            f"{r.name}{_settings(r.config)}",
            f"{len(r.changed)} / {len(r.skipped)}",
            count(r.parameters),
            count(r.nonzero),
            count(r.macs),
            f"{r.seconds:.1f}",
        )
        for r in report.passes
    ]
    return Table("Passes", ("pass", "changed / skipped", "parameters", "nonzero", "MACs", "seconds"), (start, *rows))


def comparison(report: "Report") -> Table:
    a, b, q = report.source_file, report.artifact, report.quality
    rows = [
        ("file", f"{report.source.path} ({a.format})", f"{b.path} ({b.format})", ""),
        ("bytes", count(a.bytes), count(b.bytes), times(a.bytes, b.bytes)),
        ("gzip bytes", count(a.gzip_bytes), count(b.gzip_bytes), times(a.gzip_bytes, b.gzip_bytes)),
        ("parameters", count(a.parameters), count(b.parameters), ""),
        ("nonzero", count(a.nonzero), count(b.nonzero), ""),
        ("bits per weight", f"{a.bits_per_weight:.2f}", f"{b.bits_per_weight:.2f}", ""),
    ]
    if q.metric is not None and q.source is not None and q.artifact is not None:
        rows.append((q.metric, f"{q.source:.4f}", f"{q.artifact:.4f}", drop_text(report)))
    if q.agreement is not None:
        rows.append(("agreement", "", f"{q.agreement:.4f}", f"on {q.samples:,} samples"))
    rows += [
        ("latency p50, ms", _ms(a, "p50"), _ms(b, "p50"), ratio(a.latency_ms["p50"], b.latency_ms["p50"])),
        ("latency p95, ms", _ms(a, "p95"), _ms(b, "p95"), ""),
        ("peak memory", size(a.peak_memory_bytes), size(b.peak_memory_bytes), ""),
    ]
    return Table("Source against artifact", ("", "source", "artifact", "change"), tuple(rows))


def rounded(report: "Report") -> list[Table]:
    """The layers whose weights were rounded, lowest SQNR first: that of outputs if known, else of weights."""
    found: dict[str, dict[str, Any]] = {}
    for entry in (entry for record in report.passes for entry in record.changed if "bits" in entry):
        before = found.get(entry["layer"], {})
        both = {key: _combined(before, entry, key) for key in RATIOS if key in before or key in entry}
        found[entry["layer"]] = {**entry, **both}
    if not found:
        return []

    def sqnr(entry: dict[str, Any]) -> float:
        value = entry.get(RATIOS[1], entry.get(RATIOS[0]))  # None where nothing was lost, or nothing is known
        return math.inf if value is None else float(value)

    ranked = sorted(found.values(), key=sqnr)
    rows = [(e["layer"], f"{e['bits']:g}", *(_decibels(e, key) for key in RATIOS)) for e in ranked]
    header = ("layer", "bits", "SQNR of weights, dB", "SQNR of outputs, dB")
    return [Table("Rounded layers, the most hurt first (simulated)", header, tuple(rows), shown=WORST)]


def _combined(one: dict[str, Any], other: dict[str, Any], key: str) -> float | None:
    """The SQNR, in decibels, with the noise of two passes together; None for no noise."""
    noise = sum(10 ** (-each[key] / 10) for each in (one, other) if each.get(key) is not None)
    return -10 * math.log10(noise) if noise else None


def _decibels(entry: dict[str, Any], key: str) -> str:
    if key not in entry:
        return NONE
    return "exact" if entry[key] is None else f"{entry[key]:.1f}"


def remarks(report: "Report") -> list[str]:
    """Lines below the tables: skipped layers, layers left in float, budgets, notes."""
    lines = []
    for record in report.passes:
        reasons: dict[str, list[str]] = {}
        for entry in record.skipped:
            reasons.setdefault(entry["reason"], []).append(entry["layer"])
        lines += [f"{record.name} skipped {', '.join(layers)}: {reason}" for reason, layers in reasons.items()]
    if report.float_layers:
        lines.append(f"left in float in the file, stored or computed so: {', '.join(report.float_layers)}")
    return [*lines, *report.notes, *map(budget_text, report.budgets)]


_UNITS: dict[str, Callable[[float], str]] = {
    "max_drop": lambda value: f"{value:.2f} points",
    "max_size": lambda value: format_size(int(value)),
    "max_latency": lambda value: f"{value:.3f} ms",
    "max_macs": lambda value: f"{value:,.0f} multiply-adds",
}


def budget_text(budget: "Budget") -> str:
    of_pass = "." in budget.name

    def shown(value: float) -> str:
        if of_pass:
            return f"{value:.4g}"
        return _UNITS.get(budget.name, _UNITS["max_drop"])(value)

    option = budget.name if of_pass else f"--{budget.name.replace('_', '-')}"
    if budget.measured is None:
        return f"budget {option} NOT MET: {budget.detail or 'nothing to measure it on'}"
    verdict = "met" if budget.met else "NOT MET"
    detail = f"; {budget.detail}" if budget.detail else ""
    return f"budget {option} {verdict}: {shown(budget.measured)}, limit {shown(budget.limit)}{detail}"


def drop_text(report: "Report") -> str:
    """`drop 0.35 points (95 %: -0.21 to 0.91)`; for an error the unit is the metric's own."""
    q = report.quality
    unit = " points" if q.metric and q.source is not None and q.drop == (q.source - (q.artifact or 0)) * 100 else ""
    known = f" (95 %: {q.ci95[0]:.2f} to {q.ci95[1]:.2f})" if q.ci95 else ""
    return f"drop {q.drop:.2f}{unit}{known}" if unit else f"drop {q.drop:.4g}{known}"


def _settings(config: dict[str, object]) -> str:
    shown = {k: v for k, v in config.items() if k != "rules"}
    text = ",".join(f"{key}={value}" for key, value in shown.items())
    return f":{text}" if text else ""


def _ms(figures: FileFigures, key: str) -> str:
    return f"{figures.latency_ms[key]:.3f}"
