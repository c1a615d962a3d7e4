"""Units of channels, against a slow reference that goes over all pairs until nothing changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.graph.identities import Identities

COUNT = 12
numbers = st.integers(0, COUNT - 1)
pairs = st.lists(st.tuples(numbers, numbers), max_size=15)


def united(pairs, count=COUNT):
    """For each identity the set of those that it is the same as."""
    sets = [{n} for n in range(count)]
    changed = True
    while changed:
        changed = False
        for a, b in pairs:
            if sets[a] is not sets[b]:
                joined = sets[a] | sets[b]
                for n in joined:
                    sets[n] = joined
                changed = True
    return sets


def made(pairs, count=COUNT):
    identities = Identities()
    identities.new(count)
    for a, b in pairs:
        identities.unite(np.array([a]), np.array([b]))
    return identities


@given(pairs)
def test_united_identities_are_one_unit_and_no_others(given_pairs):
    units = made(given_pairs).resolve()
    sets = united(given_pairs)
    assert units.count == len({id(each) for each in sets})
    for a in range(COUNT):
        for b in range(COUNT):
            assert (units.made_of[a, 0] == units.made_of[b, 0]) == (b in sets[a])


@given(pairs, st.sets(numbers, max_size=3))
def test_what_is_united_with_a_pinned_identity_is_pinned(given_pairs, pinned):
    identities = made(given_pairs)
    for n in sorted(pinned):
        identities.pin(np.array([n]), f"because of {n}")
    units = identities.resolve()
    sets = united(given_pairs)
    for n in range(COUNT):
        why = units.pinned.get(int(units.made_of[n, 0]))
        assert (why is not None) == bool(sets[n] & pinned)
        assert why is None or why == f"because of {min(sets[n] & pinned)}"


@settings(max_examples=50)
@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_a_composed_position_goes_with_its_row_or_its_column(rows, columns, draw):
    identities = Identities()
    whole = identities.new(rows * columns)
    row, column = identities.new(rows), identities.new(columns)
    identities.compose(whole, (np.repeat(row, columns), np.tile(column, rows)), "")
    units = identities.resolve()
    assert units.count == rows + columns
    dropped = np.array(draw.draw(st.lists(st.booleans(), min_size=units.count, max_size=units.count)))
    stay = units.stay(whole, dropped).reshape(rows, columns)
    expected = units.stay(row, dropped)[:, None] & units.stay(column, dropped)
    assert np.array_equal(stay, expected)


def test_two_compositions_of_the_same_identities_have_the_same_parts():
    identities = Identities()
    whole, first, second = identities.new(6), identities.new(2), identities.new(2)
    places, others = identities.new(3), identities.new(3)
    identities.compose(whole, (np.repeat(first, 3), np.tile(places, 2)), "")
    identities.compose(whole, (np.repeat(second, 3), np.tile(others, 2)), "")
    units = identities.resolve()
    assert units.count == 5
    assert np.array_equal(units.made_of[first], units.made_of[second])
    assert np.array_equal(units.made_of[places], units.made_of[others])


def test_compositions_that_do_not_fit_pin_all_that_they_are_made_of():
    identities = Identities()
    whole = identities.new(4)
    parts = [identities.new(2) for _ in range(3)]
    identities.compose(whole, (np.repeat(parts[0], 2), np.tile(parts[1], 2)), "split in two ways")
    identities.compose(whole, (np.repeat(parts[2], 2),), "split in two ways")
    free = identities.new(1)
    units = identities.resolve()
    assert set(units.pinned) == set(units.of(np.concatenate([whole, *parts])).tolist())
    assert set(units.pinned.values()) == {"split in two ways"}
    assert int(units.of(free)[0]) not in units.pinned


def test_a_pinned_composition_pins_its_parts():
    identities = Identities()
    whole, row, column = identities.new(4), identities.new(2), identities.new(2)
    identities.compose(whole, (np.repeat(row, 2), np.tile(column, 2)), "")
    identities.pin(whole[:1], "an output")
    units = identities.resolve()
    assert set(units.pinned) == set(units.of(np.array([row[0], column[0]])).tolist())


def test_parts_may_be_composed_themselves():
    identities = Identities()
    whole, middle, low, rest = (identities.new(size) for size in (8, 4, 2, 2))
    other = identities.new(2)
    identities.compose(middle, (np.repeat(low, 2), np.tile(rest, 2)), "")
    identities.compose(whole, (np.repeat(middle, 2), np.tile(other, 4)), "")
    units = identities.resolve()
    assert units.count == 6
    dropped = np.zeros(6, bool)
    dropped[units.of(rest[:1])] = True
    assert units.stay(whole, dropped).tolist() == [False, False, True, True] * 2


def test_sums_add_up_the_positions_that_are_made_of_a_unit():
    identities = Identities()
    channels = identities.new(3)
    units = identities.resolve()
    assert units.sums(np.tile(channels, 2), np.arange(6)).tolist() == [3, 5, 7]


def test_nothing_is_no_unit():
    assert Identities().resolve().count == 0


@pytest.mark.parametrize("count", [2000])
def test_long_chains_are_one_unit(count):
    identities = Identities()
    ids = identities.new(count)
    identities.unite(ids[:-1], ids[1:])
    assert identities.resolve().count == 1
