"""The heat map: a panel for each field, a row for each layer, a column for each level."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kcompress.analysis.probe import BAD_DROP
from kcompress.analysis.rows import SEVERAL, figure, in_points, text
from kcompress.numerics.clusters import logarithms
from kcompress.report import plot

if TYPE_CHECKING:
    from kcompress.analysis.effects import Effect, Sensitivity

COLOURS = "YlOrRd"
FAINTEST = -4.0
"""The decimal logarithm of the distortion that has the first colour, as have all smaller ones."""
ROW, COLUMN, LETTER, EDGES = 0.24, 0.55, 0.075, 1.6
"""Inches."""
DARK = 0.6
"""The share of the colours from which on text is white."""
LONGEST = 40


def heat_map(found: "Sensitivity") -> Any:
    """A Figure of Matplotlib's. Cells that were not run have the colour of the milder level, and a `>`."""
    panels = [(f"{pass_name}:{field}", found.of(pass_name, field)) for pass_name, field in found.fields]
    names = [[_short(SEVERAL.join(layers)) for layers in rows] for _, rows in panels]
    columns = [len(next(iter(rows.values()))) for _, rows in panels]
    widths = [max(map(len, own)) * LETTER + count * COLUMN for own, count in zip(names, columns, strict=True)]
    drawn = plot.figure(sum(widths) + EDGES, max(map(len, names)) * ROW + EDGES)
    all_axes = drawn.subplots(1, len(panels), squeeze=False, width_ratios=columns)[0]
    low, high, label = _scale(found)
    image = None
    for axes, (name, rows), own in zip(all_axes, panels, names, strict=True):
        effects = list(rows.values())
        values = np.array([[_shade(found, effect) for effect in row] for row in effects])
        image = axes.imshow(values, COLOURS, aspect="auto", vmin=low, vmax=high)
        for (row, column), value in np.ndenumerate(values):
            colour = "white" if (value - low) / (high - low) > DARK else "black"
            shown = text(found, effects[row][column])
            axes.text(column, row, shown, ha="center", va="center", color=colour, fontsize=7)
        axes.set_title(name, fontsize=9)
        axes.set_xticks(range(values.shape[1]), [f"{effect.value:g}" for effect in effects[0]])
        axes.set_yticks(range(len(own)), own)
        axes.tick_params(length=0)
    if image is not None:
        drawn.colorbar(image, ax=list(all_axes), label=label, fraction=0.04, extend="max")
    return drawn


def _scale(found: "Sensitivity") -> tuple[float, float, str]:
    """The figures that have the first and the last colour, and what they are."""
    if found.reference.in_points:
        return 0.0, BAD_DROP, f"points of {found.reference.metric} lost"
    if not in_points(found):
        return FAINTEST, 0.0, "distortion of the outputs, decimal logarithm"
    shown = [figure(found, effect) for effect in found.effects]
    most = max((value for value in shown if math.isfinite(value)), default=0.0)
    return 0.0, most if most > 0 else 1.0, f"{found.reference.metric} lost"


def _shade(found: "Sensitivity", effect: "Effect") -> float:
    """Where the colour of an effect lies on the scale."""
    value = figure(found, effect)
    if not in_points(found):
        return float(logarithms(np.array([value]))[0])
    return value if math.isfinite(value) else _scale(found)[1]


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
