"""Which layers a step works on, and with which settings: `layers`, `skip` and per-layer rules, first match wins."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kcompress.model.view import Node, matches, nodes

if TYPE_CHECKING:
    from kcompress.passes.base import Pass


@dataclass(frozen=True)
class Change:
    """A layer that a pass changed, what it did to it in a few words, and figures by name, such as `weight_sqnr_db`.

    A figure of None is without bound, as a signal-to-noise ratio without noise.
    """

    layer: str
    detail: str
    figures: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Skip:
    """A layer that a pass left as it was, and why.

    `asked` is set where the recipe asked for it, `expected` where that is no shortcoming of the pass, as where the
    amount that was asked for came from other layers.
    """

    layer: str
    reason: str
    asked: bool = False
    expected: bool = False


@dataclass(frozen=True)
class Goal:
    """What a pass was to reach, as the least it could bring a figure to: `name` such as `macs`; None if nothing.

    `why` tells what stood in the way where it was not reached.
    """

    name: str
    limit: float
    reached: float | None
    why: str = ""


@dataclass(frozen=True)
class Selection:
    """The layers that a step works on, each with the settings that hold there, and those it leaves alone."""

    chosen: tuple[tuple[Node, "Pass"], ...]
    skipped: tuple[Skip, ...]

    @property
    def targets(self) -> set[str]:
        return {node.name for node, _ in self.chosen} | {skip.layer for skip in self.skipped}


def patterns(value: Any) -> Any:
    """One text as a tuple of it; anything else as it is, for pydantic to judge."""
    return (value,) if isinstance(value, str) else value


def select(step: "Pass", model: Any) -> Selection:
    """Go through the model's layers once; a pattern that had no effect is reported among the skipped."""
    chosen: list[tuple[Node, Pass]] = []
    skipped: list[Skip] = []
    unused = dict.fromkeys((*step.layers, *step.skip, *(p for rule in step.rules for p in rule.layers)))
    shadowed: set[str] = set()
    for node in nodes(model):
        wanted = [p for p in step.layers if matches(node.name, p)]
        unwanted = [p for p in step.skip if matches(node.name, p)]
        fitting = [(r, fits) for r in step.rules if (fits := [p for p in r.layers if matches(node.name, p)])]
        rule, ruled = fitting[0] if fitting else (None, [])
        settings = step.under(rule) if rule else step
        concern = settings.concerns(node, named=bool(wanted or ruled))
        if concern is False:
            continue
        for pattern in (*wanted, *unwanted, *ruled):
            unused.pop(pattern, None)
        shadowed.update(pattern for _, later in fitting[1:] for pattern in later)
        if step.layers and not wanted and not ruled:
            continue
        if unwanted:
            skipped.append(Skip(node.name, f"asked for by skip '{unwanted[0]}'", asked=True))
        elif rule and rule.skip:
            skipped.append(Skip(node.name, f"asked for by the rule for '{ruled[0]}'", asked=True))
        elif isinstance(concern, str):
            skipped.append(Skip(node.name, concern))
        else:
            chosen.append((node, settings))
    for pattern in unused:
        if pattern in shadowed:
            skipped.append(Skip(f"rule '{pattern}'", "an earlier rule comes first wherever this one fits"))
        else:
            skipped.append(Skip(pattern, "this pattern fits no layer that the pass works on"))
    return Selection(tuple(chosen), tuple(skipped))
