from decimal import Decimal

import pytest

from kcompress.errors import UsageError
from kcompress.sizes import format_percents, format_size, format_sizes, parse_percent, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("250000", 250_000),
        ("12B", 12),
        ("250KB", 250_000),
        ("250KiB", 256_000),
        ("1.5MB", 1_500_000),
        ("1.5MiB", 1_572_864),
        ("2GB", 2_000_000_000),
        ("2GiB", 2_147_483_648),
        (" 250 kb ", 250_000),
        ("1.1KB", 1_100),
        ("1.0009KB", 1_000),
    ],
)
def test_kb_is_a_thousand_bytes_and_kib_is_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "KB", "250K", "250M", "250Kb/s", "-1KB", "+1KB", "1e3", "1,5MB", "1_000", "nan", "inf", "٣KB", "1\nKB2"],
)
def test_what_is_no_size_is_refused_in_one_line_that_repeats_it_and_shows_a_right_one(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_size(text)
    message = str(refused.value)
    assert message.startswith(repr(text))
    assert "250KB" in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["0", "0KB", "0.0001KB"])
def test_a_size_below_one_byte_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="less than one byte"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 KB"),
        (251_349, "251.3 KB"),
        (999_949, "999.9 KB"),
        (999_950, "1.0 MB"),
        (1_500_000, "1.5 MB"),
        (999_950_000, "1.0 GB"),
        (12_345_000_000_000, "12345.0 GB"),
        (-251_300, "-251.3 KB"),
    ],
)
def test_sizes_are_written_in_units_of_1000_with_one_decimal(size: int, text: str) -> None:
    assert format_size(size) == text


def test_two_sizes_that_round_to_the_same_text_are_written_to_the_byte() -> None:
    assert format_sizes(250_001, 250_000) == ("250001 B", "250000 B")
    assert format_sizes(312_400, 250_000) == ("312.4 KB", "250.0 KB")


@pytest.mark.parametrize(
    ("text", "percent"), [("5%", "5"), ("5", "5"), ("0", "0"), (" 1.1 % ", "1.1"), ("250%", "250")]
)
def test_a_percentage_is_read_exactly_with_and_without_its_sign(text: str, percent: str) -> None:
    assert parse_percent(text) == Decimal(percent)


@pytest.mark.parametrize("text", ["", "%", "-5%", "5%%", "five", "nan", "1e2", "5KB"])
def test_what_is_no_percentage_is_refused_in_one_line_that_repeats_it(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_percent(text)
    assert str(refused.value).startswith(repr(text))
    assert "\n" not in str(refused.value)


def test_two_percentages_get_as_many_decimals_as_tell_them_apart() -> None:
    assert format_percents(Decimal("12.34"), Decimal(5)) == ("12.3%", "5.0%")
    assert format_percents(Decimal("5.004"), Decimal(5)) == ("5.004%", "5.000%")
    assert format_percents(Decimal(5), Decimal(5))[0].startswith("5.0")
