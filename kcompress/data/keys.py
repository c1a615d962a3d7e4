"""The key names of npz files and of dicts: ROLE, ROLE_SPLIT, ROLE_NAME or ROLE_SPLIT_NAME.

ROLE is x or y; SPLIT is train, test, val or validation; NAME is a model's input (or output) when there are several:

    x, y                                        all samples, no split
    x_train, y_train, x_test, y_test            as Keras's own files have it
    x_left, x_right, y                          two inputs, read as x = {"left": …, "right": …}
    x_train_left, x_train_right, y_train, …     two inputs, with splits
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from kcompress.data.batches import Key
from kcompress.errors import DataError

TEST_SPLITS = ("test", "val", "validation")
"""What a split of held-out samples may be called; the first that is there is the test data."""

_KEY = re.compile(r"(?P<role>[xy])(?:_(?P<split>train|test|val|validation))?(?:_(?P<name>.+))?")
_ALLOWED = "x, y, x_train, y_train, x_test, y_test, or x_NAME, x_train_NAME, … for several inputs"


@dataclass
class SplitKeys:
    """The keys that make up one split: the names in the file, by input (None for the only one)."""

    x: dict[Key, str] = field(default_factory=dict)
    y: dict[Key, str] = field(default_factory=dict)


def are_keys(keys: Iterable[str]) -> bool:
    """Return whether every key is of the form above and there is an x among them."""
    found = [_KEY.fullmatch(key) for key in keys]
    return all(found) and any(match and match["role"] == "x" for match in found)


def keys_by_split(keys: Iterable[str], name: str) -> dict[str, SplitKeys]:
    """Return the keys of each split: {"": all samples}, or {"train": …, "test": …} with at least one of the two.

    Raises:
        DataError: a key that means nothing, labels without samples, or samples both with and without a split.
    """
    splits: dict[str, SplitKeys] = {}
    for key in keys:
        match = _KEY.fullmatch(key)
        if match is None:
            raise DataError(f"{name}: key {key!r} is not one of {_ALLOWED}; rename it or leave it out")
        split_keys = splits.setdefault(match["split"] or "", SplitKeys())
        (split_keys.x if match["role"] == "x" else split_keys.y)[match["name"]] = key
    if not splits:
        raise DataError(f"{name}: it holds no arrays; give {_ALLOWED}")
    for split, split_keys in splits.items():
        _check(split_keys, split, name)
    if "" in splits and len(splits) > 1:
        plain, parted = next(iter(splits[""].x.values())), next(iter(splits[max(splits)].x.values()))
        raise DataError(f"{name}: it has both {plain} and {parted}; give samples with splits or without, not both")
    held_out = next((split for split in TEST_SPLITS if split in splits), None)
    if held_out is not None:
        splits["test"] = splits[held_out]
    return {split: split_keys for split, split_keys in splits.items() if split in ("", "train", "test")}


def _check(split_keys: SplitKeys, split: str, name: str) -> None:
    suffix = f"_{split}" if split else ""
    if not split_keys.x:
        labels = ", ".join(split_keys.y.values())
        raise DataError(f"{name}: it has {labels} but no x{suffix}; name the samples x{suffix}")
    for role, keys in (("x", split_keys.x), ("y", split_keys.y)):
        if None in keys and len(keys) > 1:
            others = ", ".join(label for key, label in keys.items() if key is not None)
            raise DataError(
                f"{name}: it has both {role}{suffix} and {others}; give one array, or one for each name, not both"
            )
