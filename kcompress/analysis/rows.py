"""The effects as tables of text: a row for each layer or set of coupled layers, a column for each level."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kcompress.report.table import Table, count

if TYPE_CHECKING:
    from kcompress.analysis.effects import Effect, Sensitivity

WORST, SEVERAL = "*", " + "


def in_points(found: "Sensitivity") -> bool:
    """Whether effects are shown as what was lost; else as distortion."""
    return found.reference.metric is not None


def tables(found: "Sensitivity") -> list[Table]:
    """One table for each field; the worst layer at each level is marked with a star."""
    return [_table(found, pass_name, field) for pass_name, field in found.fields]


def _table(found: "Sensitivity", pass_name: str, field: str) -> Table:
    by_layers = found.of(pass_name, field)
    levels = [effect.value for effect in next(iter(by_layers.values()))]
    columns = zip(*by_layers.values(), strict=True)
    worst = [max(column, key=lambda effect: (figure(found, effect), effect.distortion)) for column in columns]
    reference = found.reference
    if not in_points(found):
        what = "distortion of the outputs"
    elif reference.in_points:
        what = f"points of {reference.metric} lost"
    else:
        what = f"{reference.metric} lost"
    header = ("layers", "weights", *(f"{field}={level:g}" for level in levels))
    rows = []
    for layers, effects in by_layers.items():
        marks = [
            WORST if effect is top and effect.distortion > 0 else "" for effect, top in zip(effects, worst, strict=True)
        ]
        cells = [text(found, effect) + mark for effect, mark in zip(effects, marks, strict=True)]
        rows.append((SEVERAL.join(layers), count(weights(found, layers)), *cells))
    return Table(f"{pass_name}:{field}, {what}", header, tuple(rows))


def weights(found: "Sensitivity", layers: tuple[str, ...]) -> int:
    """The number of values in the kernels of some layers."""
    return sum(found.weights.get(layer, 0) for layer in layers)


def figure(found: "Sensitivity", effect: "Effect") -> float:
    """What is shown of an effect: the drop, or the distortion without labels."""
    return effect.distortion if effect.drop is None or not in_points(found) else effect.drop


def text(found: "Sensitivity", effect: "Effect") -> str:
    """A figure in a cell: `>23.4` where it was left at a milder level's."""
    value = figure(found, effect)
    shown = f"{value:.1f}" if found.reference.in_points else f"{value:.2g}"
    return f">{shown}" if effect.cut else shown.replace("-0.0", "0.0")


def remarks(found: "Sensitivity") -> list[str]:
    """Lines below the tables: what was looked at, what the marks mean, what was left alone."""
    reference = found.reference
    own = "" if reference.source is None else f"; the model's own {reference.metric} there is {reference.source:.4f}"
    lines = [f"each layer alone, on {reference.samples:,} samples that are no test data{own}"]
    if any(effect.cut for effect in found.effects):
        lines.append("> : not run, since the milder level with this figure was clearly bad")
    lines.append(f"{WORST} : the layer that costs most at this level")
    for name, skipped in found.skipped.items():
        lines += [f"{name} leaves {', '.join(layers)} alone: {reason}" for reason, layers in _by_reason(skipped)]
    return lines


def _by_reason(skipped: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    reasons: dict[str, list[str]] = {}
    for layer, reason in skipped.items():
        reasons.setdefault(reason, []).append(layer)
    return list(reasons.items())
