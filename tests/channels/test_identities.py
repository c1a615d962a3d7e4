"""Identities of channels, against a reference that goes through them one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.channels.identities import Identities

COUNT = 8
one = st.integers(0, COUNT - 1)
pairs = st.lists(st.tuples(one, one), max_size=6)
compositions = st.lists(st.tuples(one, st.tuples(one, one) | st.tuples(one, one, one)), max_size=5)
pins = st.lists(one, max_size=2)


def built(united, composed=(), pinned=()):
    identities = Identities()
    identities.new(COUNT)
    for a, b in united:
        identities.unite(np.array([a]), np.array([b]))
    for whole, parts in composed:
        identities.compose(np.array([whole]), [np.array([part]) for part in parts], "they do not fit")
    for number in pinned:
        identities.pin(np.array([number]), "it is pinned")
    return identities.resolve()


def stays(units, number, dropped):
    return bool(units.stay(np.array([number]), dropped)[0])


def some(units, random):
    """Units that may go, at random."""
    return np.array([unit not in units.pinned and random.random() < 0.5 for unit in range(units.count)], bool)


@settings(max_examples=300)
@given(pairs)
def test_what_is_united_is_one_unit_and_nothing_else_is(united):
    units = built(united)
    sets = [{n} for n in range(COUNT)]
    for a, b in united:
        first, second = (next(s for s in sets if n in s) for n in (a, b))
        if first is not second:
            sets.remove(second)
            first |= second
    assert units.count == len(sets)
    assert all(len(units.of(np.array(sorted(s)))) == 1 for s in sets)


@settings(max_examples=500)
@given(pairs, compositions, pins, st.randoms(use_true_random=False))
def test_whatever_is_dropped_all_that_was_said_holds(united, composed, pinned, random):
    """By going through it: what is united goes together, the whole goes if and only if a part does, pins stay."""
    units = built(united, composed, pinned)
    dropped = some(units, random)
    stay = [stays(units, n, dropped) for n in range(COUNT)]
    assert all(stay[a] == stay[b] for a, b in united)
    assert all(stay[n] for n in pinned)
    assert all(stay[whole] == all(stay[part] for part in parts) for whole, parts in composed)


@settings(max_examples=300)
@given(pairs, compositions, pins)
def test_a_unit_takes_away_no_more_than_it_must(united, composed, pinned):
    """Each unit that is free goes alone: what it takes with it is united with it or made of it."""
    units = built(united, composed, pinned)
    for unit in set(range(units.count)) - set(units.pinned):
        dropped = np.arange(units.count) == unit
        gone = {n for n in range(COUNT) if not stays(units, n, dropped)}
        reached = {next(iter(gone))} if gone else set()
        while True:
            more = {b for a, b in united if a in reached} | {a for a, b in united if b in reached}
            for whole, parts in composed:
                if reached & {whole, *parts}:
                    more |= {whole, *parts}
            if more <= reached:
                break
            reached |= more
        assert gone and gone <= reached


def test_a_position_of_two_axes_goes_with_its_row_or_its_column():
    identities = Identities()
    rows, columns, flat = identities.new(3), identities.new(2), identities.new(6)
    identities.compose(flat, [np.repeat(rows, 2), np.tile(columns, 3)], "")
    units = identities.resolve()
    assert units.count == 5
    dropped = np.zeros(5, bool)
    dropped[[units.of(rows[:1])[0], units.of(columns[1:])[0]]] = True
    assert units.stay(flat, dropped).tolist() == [False, False, True, False, True, False]


def test_the_same_axis_composed_twice_has_the_same_rows_and_columns():
    identities = Identities()
    flat, axes = identities.new(6), [identities.new(n) for n in (3, 2, 3, 2)]
    for rows, columns in (axes[:2], axes[2:]):
        identities.compose(flat, [np.repeat(rows, 2), np.tile(columns, 3)], "")
    units = identities.resolve()
    assert units.count == 5
    np.testing.assert_array_equal(units.made_of[axes[0]], units.made_of[axes[2]])


def test_compositions_of_other_lengths_that_meet_stay_and_say_why():
    identities = Identities()
    flat, axes = identities.new(8), [identities.new(n) for n in (4, 2, 2, 2, 2)]
    identities.compose(flat, [np.repeat(axes[0], 2), np.tile(axes[1], 4)], "it is split otherwise")
    parts = [np.repeat(axes[2], 4), np.tile(np.repeat(axes[3], 2), 2), np.tile(axes[4], 4)]
    identities.compose(flat, parts, "it is split otherwise")
    units = identities.resolve()
    assert units.pinned == dict.fromkeys(range(units.count), "it is split otherwise")


def test_what_is_made_of_what_is_made_of_others_goes_with_any_of_these():
    units = built((), [(0, (1, 2)), (1, (3, 4))])
    assert sorted(units.of(np.array([0]))) == sorted(units.of(np.array([2, 3, 4])))


def test_a_pin_on_what_is_composed_pins_its_parts_and_the_first_reason_is_kept():
    identities = Identities()
    ids = identities.new(3)
    identities.compose(ids[:1], [ids[1:2], ids[2:]], "")
    identities.pin(ids[:1], "the first")
    identities.pin(ids[1:2], "the second")
    assert identities.resolve().pinned == {0: "the first", 1: "the first"}


def test_units_that_no_position_is_left_without():
    units = built([(0, 1), (1, 2)], [(4, (5, 0))])
    assert units.in_every_position(np.array([0, 1, 2])) == units.of(np.array([0])).tolist()
    assert units.in_every_position(np.array([0, 3])) == []
    assert units.in_every_position(np.array([0, 4])) == units.of(np.array([0])).tolist()
    assert units.in_every_position(np.array([4])) == sorted(units.of(np.array([4])).tolist())


@pytest.mark.parametrize("count", [0, 5])
def test_identities_of_which_nothing_is_said_are_units(count):
    identities = Identities()
    ids = identities.new(count)
    units = identities.resolve()
    assert units.count == count and not units.pinned
    assert units.stay(ids, np.arange(count) == 2).sum() == max(count - 1, 0)
