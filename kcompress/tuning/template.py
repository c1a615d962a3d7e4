"""A template: the entries of a recipe with marks in them, and what each mark leaves to choose.

Where a mark has groups, each group of layers has a choice of its own. The first group's value becomes the entry's own;
the other groups' values, where they differ from it, become rules.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kcompress.errors import UsageError
from kcompress.fields import Tunable, suggest, tunable_of
from kcompress.passes.base import Pass
from kcompress.passes.discovery import find
from kcompress.recipe import build, is_mark
from kcompress.tuning.marks import Mark, Value, parse

Layers = tuple[str, ...]
Grouping = Callable[["Place"], Sequence[Layers]]
"""Gives the groups of layers for a mark that asks for some, the most sensitive first."""
STARTS = (0.25, 0.75, 0.125)
"""How severe the values are that a search begins with, besides those in the middle."""
OWN = ("layers", "skip", "rules", "pass")


@dataclass(frozen=True)
class Place:
    """A marked field: that of entry `entry`, counted from 0, or of its rule `rule`."""

    name: str
    """How reports call it: `quantize.weights:bits`, with the entry's number where that does not tell it apart."""
    entry: int
    rule: int | None
    pass_name: str
    field: str
    mark: Mark
    tunable: Tunable | None
    """What the field says about being varied."""


@dataclass(frozen=True)
class Dimension:
    """One value to choose; that of some layers where `layers` names them."""

    name: str
    place: Place
    layers: Layers = ()

    @property
    def mark(self) -> Mark:
        return self.place.mark

    def severe(self, share: float) -> Value:
        """The value that is so far from the mildest to the most severe; in the middle where that is not known."""
        end = None if self.place.tunable is None else self.place.tunable.severe
        return self.mark.middle if end is None else self.mark.at(share if end == "high" else 1 - share)


@dataclass(frozen=True)
class Template:
    """Entries as mappings, with marks in them, and the groups of each marked place that has some."""

    entries: tuple[dict[str, Any], ...]
    places: tuple[Place, ...]
    groups: Mapping[str, tuple[Layers, ...]]

    @classmethod
    def of(cls, entries: Sequence[dict[str, Any]]) -> "Template":
        """Check the entries and their marks; groups are not known yet. UsageError with one line for what can't be."""
        places = _places(entries)
        if not places:
            raise UsageError(
                "the recipe has nothing to search; put a mark in place of a value, such as "
                "prune.magnitude:sparsity={search:[0.5,0.95]}, or run kcompress compress"
            )
        found = cls(tuple(entries), tuple(places), {})
        found.check()
        return found

    @property
    def grouped(self) -> list[Place]:
        """The places that ask for groups of layers."""
        return [place for place in self.places if place.mark.groups is not None]

    @property
    def dimensions(self) -> list[Dimension]:
        found: list[Dimension] = []
        for place in self.places:
            groups = self.groups.get(place.name, ())
            if len(groups) < 2:
                found.append(Dimension(place.name, place))
            else:
                found += [Dimension(f"{place.name}[{number}]", place, group) for number, group in enumerate(groups, 1)]
        return found

    def with_groups(self, grouping: Grouping) -> "Template":
        """The template with groups of layers wherever a mark asks for them."""
        groups = {place.name: tuple(map(tuple, grouping(place))) for place in self.grouped}
        return Template(self.entries, self.places, groups)

    def fill(self, values: Mapping[str, Value]) -> list[dict[str, Any]]:
        """The entries with a value for each dimension, as a recipe has them."""
        entries = copy.deepcopy(list(self.entries))
        rules: dict[int, dict[str, dict[str, Value]]] = {}
        for dimension in self.dimensions:
            place, value = dimension.place, values[dimension.name]
            entry = entries[place.entry]
            owner = entry if place.rule is None else entry["rules"][place.rule]
            if is_mark(owner[place.field]):
                owner[place.field] = value
            elif owner[place.field] != value:
                for layer in dimension.layers:
                    rules.setdefault(place.entry, {}).setdefault(layer, {})[place.field] = value
        for number, layers in rules.items():
            entries[number]["rules"] = [*entries[number].get("rules", ()), *_alike(layers)]
        return entries

    def middle(self) -> dict[str, Value]:
        """The value in the middle for each dimension."""
        return {dimension.name: dimension.mark.middle for dimension in self.dimensions}

    def severe(self, share: float) -> dict[str, Value]:
        """Values that are so far from the mildest to the most severe; in the middle where that is not known."""
        return {dimension.name: dimension.severe(share) for dimension in self.dimensions}

    def starts(self) -> list[dict[str, Value]]:
        """Values in the middle, milder and more severe ones, which show where budgets come to be missed."""
        return [self.middle(), *map(self.severe, STARTS)]

    def check(self) -> None:
        """Build the entries once for each end and choice; UsageError with the first that a pass can't have."""
        ungrouped = Template(self.entries, self.places, {})
        start = {place.name: place.mark.ends[0] for place in self.places}
        for place in self.places:
            if place.mark.groups is not None:
                _check_rule(place, ungrouped.fill(start)[place.entry])
            for value in place.mark.ends:
                build(ungrouped.fill({**start, place.name: value})[place.entry])
        for number, entry in enumerate(self.entries):
            if all(place.entry != number for place in self.places):
                build(entry)

    def passes(self, values: Mapping[str, Value]) -> list[Pass]:
        """The filled entries as passes; UsageError where they don't go together."""
        return [build(entry) for entry in self.fill(values)]

    def text(self) -> str:
        """All that is in a template, as JSON."""
        return json.dumps({"entries": self.entries, "groups": self.groups})


def _places(entries: Sequence[dict[str, Any]]) -> list[Place]:
    """The marked fields in order; names that would come twice get the number of the entry in front."""
    found: list[Place] = []
    for number, entry in enumerate(entries):
        kind = find(entry["pass"])
        for rule, owner in _owners(entry):
            for field, value in owner.items():
                if is_mark(value):
                    found.append(_place(kind, number, rule, owner, field, value))
    names = [place.name for place in found]
    return [
        replace(place, name=f"{place.entry + 1} {place.name}") if names.count(place.name) > 1 else place
        for place in found
    ]


def _owners(entry: dict[str, Any]) -> Iterator[tuple[int | None, dict[str, Any]]]:
    yield None, entry
    rules = entry.get("rules")
    for number, rule in enumerate(rules if isinstance(rules, (list, tuple)) else ()):
        if isinstance(rule, dict):
            yield number, rule


def _place(kind: type[Pass], number: int, rule: int | None, owner: dict[str, Any], field: str, value: Any) -> Place:
    title = kind.title()
    if field in OWN or field not in kind.model_fields:
        able = tuple(name for name in kind.model_fields if name not in OWN)
        raise UsageError(f"{title}: no field '{field}' to search; {suggest(field, able)}")
    info = kind.model_fields[field]
    mark, about = parse(title, field, info, value), tunable_of(info)
    if rule is None:
        return Place(f"{title}:{field}", number, rule, title, field, mark, about)
    if mark.groups is not None:
        raise UsageError(f"{title}: groups in a rule for {owner.get('layers')}; give them to the pass's own {field}")
    return Place(f"{title}:{field}({rule + 1})", number, rule, title, field, mark, about)


def _check_rule(place: Place, entry: dict[str, Any]) -> None:
    """UsageError if the field can't differ between layers."""
    rule = {"layers": ["*"], place.field: place.mark.ends[-1]}
    try:
        build({**entry, "rules": [rule]})
    except UsageError as error:
        reason = str(error).removeprefix(f"{place.pass_name}: ").removeprefix("rule for '*': ")
        raise UsageError(f"{place.name}: groups can't be given to it ({reason}); leave groups out") from error


def _alike(layers: Mapping[str, dict[str, Value]]) -> list[dict[str, Any]]:
    """Rules for layers that have settings of their own, one for all that have the same."""
    found: dict[str, tuple[list[str], dict[str, Value]]] = {}
    for layer, settings in layers.items():
        found.setdefault(json.dumps(settings, sort_keys=True), ([], settings))[0].append(layer.replace("[", "[[]"))
    return [{"layers": names, **settings} for names, settings in found.values()]
