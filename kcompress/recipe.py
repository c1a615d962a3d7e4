"""A recipe: an ordered list of passes, from `--apply` texts or a YAML, TOML or JSON file.

A pass is given as a text, `prune.magnitude:sparsity=0.7`, or as a mapping with the key `pass` and its fields. Besides
its own fields every pass takes `layers`, `skip` and `rules`; see `kcompress passes`. In place of a value there may be a
mark that leaves it to `kcompress search`: `sparsity: {search: [0.5, 0.95]}`.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompress.errors import UsageError, one_line
from kcompress.fields import suggest
from kcompress.files import check_file
from kcompress.passes.capabilities import GoesInStages, TrainsModel
from kcompress.passes.discovery import find, names

if TYPE_CHECKING:
    from kcompress.passes.base import Pass

SUFFIXES = (".yaml", ".yml", ".toml", ".json")
OPEN, CLOSE = "[{(", "]})"
SEARCH = "search"
MOST_BYTES, MOST_VALUES, MOST_DEPTH = 1_000_000, 100_000, 100
"""The most that a recipe file may hold."""


def build(given: "str | dict[str, Any] | Pass", where: str = "--apply") -> "Pass":
    """A validated pass from how it is given; UsageError with one line if it cannot be."""
    from kcompress.passes.base import Pass

    if isinstance(given, Pass):
        return given
    fields = mapping(given, where)
    kind = find(fields.pop("pass"))
    for name, value in _settings(fields):
        if is_mark(value):
            raise UsageError(
                f"{kind.title()}: {name}={_short(value)} is to be searched; run kcompress search, or give a value"
            )
    return kind(**fields)


def mapping(given: "str | dict[str, Any] | Pass", where: str = "--apply") -> dict[str, Any]:
    """A pass as a mapping with the key `pass`, its fields as they were given; UsageError if it is none."""
    from kcompress.passes.base import Pass

    if isinstance(given, Pass):
        return {"pass": given.name, **given.config()}
    if isinstance(given, str):
        name, fields = parse_apply(given)
        return {"pass": name, **fields}
    if not isinstance(given, dict) or not isinstance(given.get("pass"), str):
        raise UsageError(
            f"{where}: {_short(given)} is no pass; give a text such as 'prune.magnitude:sparsity=0.7' or a mapping "
            "with the key 'pass'"
        )
    return {str(key): value for key, value in given.items()}


def is_mark(value: object) -> bool:
    """Whether a field's value is left to a search, as `{search: [0.5, 0.95]}`."""
    return isinstance(value, dict) and SEARCH in value


def _settings(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values of a pass's fields, those in its rules too."""
    yield from fields.items()
    rules = fields.get("rules")
    for rule in rules if isinstance(rules, (list, tuple)) else ():
        yield from rule.items() if isinstance(rule, dict) else ()


def parse_apply(text: str) -> tuple[str, dict[str, Any]]:
    """Split `PASS[:field=value,...]`; values are read as YAML, commas inside brackets do not separate.

    >>> parse_apply("prune.magnitude:sparsity=0.7,skip=[head,stem*]")
    ('prune.magnitude', {'sparsity': 0.7, 'skip': ['head', 'stem*']})
    """
    name, _, rest = text.partition(":")
    fields: dict[str, Any] = {}
    for part in _split(rest) if rest.strip() else []:
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--apply {text}: '{part}' is no field=value; write PASS:field=value,field=value")
        if key.strip() in fields:
            raise UsageError(f"--apply {text}: '{key.strip()}' is given twice; give it once")
        fields[key.strip()] = _value(value.strip())
    return name.strip(), fields


def _split(text: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for position, sign in enumerate(text):
        depth += (sign in OPEN) - (sign in CLOSE)
        if sign == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    return [*parts, text[start:]]


def _value(text: str) -> Any:
    """A number, a truth value, a list or a mark; anything that YAML reads otherwise, such as `*conv`, stays text."""
    import yaml

    if text.startswith("[") and text.endswith("]"):
        return [_value(part.strip()) for part in _split(text[1:-1]) if part.strip()]
    if text.startswith("{") and text.endswith("}"):
        parts = [part.partition(":") for part in _split(text[1:-1])]
        found = {key.strip(): _value(value.strip()) for key, _, value in parts}
        return found if is_mark(found) else text
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):  # ValueError: a date that cannot be
        return text
    return value if isinstance(value, (bool, int, float)) else text


def load(path: Path) -> "list[Pass]":
    """Read a recipe file; UsageError if it cannot be read, or a pass in it cannot be right."""
    return [build(given, where) for where, given in entries(path)]


def entries(path: Path) -> list[tuple[str, Any]]:
    """The passes of a recipe file as they are written there, each with its place; UsageError if it cannot be read."""
    document = _document(path)
    if not isinstance(document, dict) or not isinstance(document.get("passes"), list):
        raise UsageError(f"{path}: no list 'passes'; write 'passes:' and a list of passes under it")
    for key in document:
        if key != "passes":
            raise UsageError(f"{path}: no key '{key}' in a recipe; {suggest(str(key), ('passes',))}")
    return [(f"{path}: pass {number}", given) for number, given in enumerate(document["passes"], 1)]


def _document(path: Path) -> Any:
    import yaml

    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: a recipe cannot be a '{path.suffix}' file; allowed: {', '.join(SUFFIXES)}")
    check_file(path, UsageError, "give a recipe file", MOST_BYTES)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise UsageError(f"{path}: cannot be read ({reason}); give a recipe file") from error
    readers: dict[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": _json}
    read = readers.get(path.suffix.lower(), _yaml)
    try:
        document = read(text)
        _check_extent(document)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        reason = f"line {mark.line + 1}: {getattr(error, 'problem', '')}" if mark else one_line(error)
        raise UsageError(f"{path}: not valid {path.suffix[1:].upper()} ({reason}); correct it there") from error
    return document


def _check_extent(document: Any) -> None:
    """ValueError for more values than any recipe has, counted as often as YAML repeats them, or far inside each other.

    A text of a few lines that repeats itself can stand for more of them than fit in memory.
    """
    level, count = [document], 0
    for _ in range(MOST_DEPTH):
        count += len(level)
        if count > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES:,} values")
        mappings = (item.values() for item in level if isinstance(item, dict))
        lists = (item for item in level if isinstance(item, list))
        level = list(islice(chain.from_iterable(chain(mappings, lists)), MOST_VALUES + 1))
        if not level:
            return
    raise ValueError(f"it has lists or mappings more than {MOST_DEPTH} deep inside of each other")


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping from its pairs; ValueError where a key comes twice, for one of its values would be lost."""
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"'{twice[0]}' is given twice")
    return dict(pairs)


def _yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            _unique([(key.value, None) for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
            return super().construct_mapping(node, deep)

    return yaml.load(text, Loader)


def resolve(recipe: Path | str | None, given: "Sequence[str | dict[str, Any] | Pass]") -> "list[Pass]":
    """The recipe file's passes, then those given, all validated; those in stages are taken apart."""
    return interleaved([*(load(Path(recipe)) if recipe is not None else []), *map(build, given)])


def interleaved(passes: "Sequence[Pass]") -> "list[Pass]":
    """A pass that goes in stages, with the training pass behind it after each of them; as it is without one."""
    found: list[Pass] = []
    for each, after in zip(passes, (*passes[1:], None), strict=False):
        if isinstance(each, GoesInStages) and isinstance(after, TrainsModel):
            *stages, last = each.stages()
            found += [one for stage in stages for one in (stage, after)]
            found.append(last)
        else:
            found.append(each)
    return found


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a recipe, derived from the fields that the passes declare."""
    from kcompress.passes.base import Pass

    titles = "|".join(map(re.escape, names()))
    shapes: list[dict[str, Any]] = [{"type": "string", "pattern": f"^({titles})(:.*)?$"}]
    definitions: dict[str, Any] = {}
    for name in names():
        document = find(name).model_json_schema(ref_template="#/$defs/{model}")
        shared = document.pop("$defs", {})
        rule = shared.pop("Rule")
        own = {
            field: _or_mark(entry) for field, entry in document["properties"].items() if field not in Pass.model_fields
        }
        document["properties"] |= own
        for owner, fields in ((document, ("layers", "skip")), (rule, ("layers",))):
            for field in fields:
                owner["properties"][field] = _text_or_list(owner["properties"][field])
        rule["properties"] |= own
        rule["additionalProperties"] = False
        definitions[f"{name}.rule"] = rule
        document["properties"]["rules"]["items"] = {"$ref": f"#/$defs/{name}.rule"}
        document["properties"] = {"pass": {"const": name}, **document["properties"]}
        document["required"] = ["pass", *document.get("required", [])]
        definitions.update(shared)
        definitions[name] = document
        shapes.append({"$ref": f"#/$defs/{name}"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "kcompress recipe",
        "type": "object",
        "properties": {"passes": {"type": "array", "items": {"anyOf": shapes}}},
        "required": ["passes"],
        "additionalProperties": False,
        "$defs": {SEARCH: _MARK, **definitions},
    }


_MARK: dict[str, Any] = {
    "type": "object",
    "description": "What `kcompress search` may choose from: [low, high], three or more values, or true for all that "
    "suits the field. With groups, a number or each, groups of layers may differ.",
    "properties": {
        SEARCH: {"anyOf": [{"const": True}, {"type": "array", "minItems": 2}]},
        "log": {"type": "boolean"},
        "step": {"type": "number", "exclusiveMinimum": 0},
        "groups": {"anyOf": [{"const": "each"}, {"type": "integer", "minimum": 1}]},
    },
    "required": [SEARCH],
    "additionalProperties": False,
}


def _or_mark(field: dict[str, Any]) -> dict[str, Any]:
    about: dict[str, Any] = {key: field[key] for key in ("title", "description", "default", "tunable") if key in field}
    values = {key: entry for key, entry in field.items() if key not in about}
    return {**about, "anyOf": [values, {"$ref": f"#/$defs/{SEARCH}"}]}


def _text_or_list(field: dict[str, Any]) -> dict[str, Any]:
    listed = {k: field[k] for k in ("type", "items", "minItems") if k in field}
    return {
        **{k: v for k, v in field.items() if k not in listed},
        "anyOf": [{"type": "string"}, listed],
    }


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
