"""Which layers a pass works on, and with which settings: `layers`, `skip` and per-layer rules, first match wins."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from kcompress.model.view import Node, matches, nodes
from kcompress.passes.result import Skip

if TYPE_CHECKING:
    from kcompress.passes.base import Pass


def patterns(value: Any) -> Any:
    """One text as a tuple of it; anything else as it is, for pydantic to judge."""
    return (value,) if isinstance(value, str) else value


class Rule(BaseModel):
    """Other settings for some layers: `layers` names them, `skip` leaves them alone, the rest overrides fields."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    layers: tuple[str, ...] = Field(min_length=1)
    """Glob patterns of qualified layer names, such as `block*/conv*`."""
    skip: bool = False
    """Leave these layers alone."""

    _to_tuple = field_validator("layers", mode="before")(patterns)

    @property
    def overrides(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


@dataclass(frozen=True)
class Selection:
    """The layers that a pass works on, each with the settings that hold there, and those it leaves alone."""

    chosen: tuple[tuple[Node, "Pass"], ...]
    skipped: tuple[Skip, ...]

    @property
    def targets(self) -> set[str]:
        return {node.name for node, _ in self.chosen} | {skip.layer for skip in self.skipped}


def select(owner: "Pass", model: Any) -> Selection:
    """Go through the model's layers once; a pattern that had no effect is reported among the skipped."""
    chosen: list[tuple[Node, Pass]] = []
    skipped: list[Skip] = []
    unused = dict.fromkeys((*owner.layers, *owner.skip, *(p for rule in owner.rules for p in rule.layers)))
    shadowed: set[str] = set()
    for node in nodes(model):
        wanted = [p for p in owner.layers if matches(node.name, p)]
        unwanted = [p for p in owner.skip if matches(node.name, p)]
        fitting = [(r, fits) for r in owner.rules if (fits := [p for p in r.layers if matches(node.name, p)])]
        rule, ruled = fitting[0] if fitting else (None, [])
        settings = owner.under(rule) if rule else owner
        concern = settings.concerns(node, named=bool(wanted or ruled))
        if concern is False:
            continue
        for pattern in (*wanted, *unwanted, *ruled):
            unused.pop(pattern, None)
        shadowed.update(pattern for _, later in fitting[1:] for pattern in later)
        if owner.layers and not wanted and not ruled:
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
