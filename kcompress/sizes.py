"""Sizes, counts and percentages as text, both ways. KB is 1000 bytes and KiB is 1024; nothing here mixes them up."""

import re
from decimal import Decimal

from kcompress.errors import UsageError

BYTES_PER_UNIT = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([a-z]*)")
_COUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([kmg]?)")
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_PERCENT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*%?")


def parse_size(text: str) -> int:
    """Read a size such as `250KB`, `250 KiB`, `1.5MB` or `250000`; return bytes, a fraction of a byte cut off.

    Units are read in any case. Raises UsageError, with a one-line message, for anything else and for less than a byte.

    >>> parse_size("250KB"), parse_size("250KiB"), parse_size("1.5MB"), parse_size("250000")
    (250000, 256000, 1500000, 250000)
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None or match[2] not in BYTES_PER_UNIT:
        raise UsageError(
            f"{text!r} is not a size; give bytes, or a number with B, KB, MB, GB (1000s) or KiB, MiB, GiB (1024s), "
            "such as 250KB"
        )
    size = int(Decimal(match[1]) * BYTES_PER_UNIT[match[2]])
    if size < 1:
        raise UsageError(f"{text!r} is less than one byte; give a size of at least 1, such as 250KB")
    return size


def parse_count(text: str) -> int:
    """Read a number from 1, such as `5M` or `250000`. Raises UsageError, with a one-line message, for anything else.

    >>> parse_count("5M"), parse_count("2.5k")
    (5000000, 2500)
    """
    match = _COUNT.fullmatch(text.strip().lower())
    count = int(Decimal(match[1]) * _COUNTS[match[2]]) if match else 0
    if count < 1:
        raise UsageError(f"{text!r} is no number of at least 1; give one, such as 5M or 250000")
    return count


def format_size(size: int) -> str:
    """Write a size in bytes for a person, in units of 1000 with one decimal; below 1000, exactly.

    >>> format_size(251_300), format_size(999), format_size(999_999)
    ('251.3 KB', '999 B', '1.0 MB')
    """
    if abs(size) < 1000:
        return f"{size} B"
    for unit, scale in (("KB", 10**3), ("MB", 10**6)):
        if abs(size) < 999.95 * scale:  # what lies above would be written as 1000.0
            return f"{size / scale:.1f} {unit}"
    return f"{size / 10**9:.1f} GB"


def format_sizes(first: int, second: int) -> tuple[str, str]:
    """Write two sizes in bytes to be compared: to the byte where rounding would make unequal ones look the same.

    >>> format_sizes(312_400, 250_000), format_sizes(250_001, 250_000)
    (('312.4 KB', '250.0 KB'), ('250001 B', '250000 B'))
    """
    texts = format_size(first), format_size(second)
    return texts if texts[0] != texts[1] else (f"{first} B", f"{second} B")


def parse_percent(text: str) -> Decimal:
    """Read `5%` or `5` as 5 percent. Raises UsageError, with a one-line message, for anything else and below 0."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is not a percentage of at least 0; give one such as 5% (or 5, the same)")
    return Decimal(match[1])


def format_percents(first: Decimal, second: Decimal) -> tuple[str, str]:
    """Write two percentages to be compared, with one decimal, or as many as it takes to tell unequal ones apart.

    >>> format_percents(Decimal("12.34"), Decimal(5)), format_percents(Decimal("5.004"), Decimal(5))
    (('12.3%', '5.0%'), ('5.004%', '5.000%'))
    """
    for digits in range(1, 20):
        texts = f"{first:.{digits}f}%", f"{second:.{digits}f}%"
        if texts[0] != texts[1]:
            break
    return texts
