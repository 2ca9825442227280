"""From any state, whoever joins or leaves, a few rounds lead to the fair split, and then nothing moves."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from detector.domain.sharing import fair_split, parse_partitions, share, show_partitions

PARTITIONS = range(32)
ROUNDS = 12

names = st.sampled_from("abcdefghij")
anything = st.frozensets(st.sampled_from(PARTITIONS), min_size=1)
alike = st.sets(names, min_size=1).map(lambda found: dict.fromkeys(found, frozenset(PARTITIONS)))
pinned = st.dictionaries(names, anything, min_size=1)
# holders include the dead (K), whose leases have not run out yet
holders = st.dictionaries(st.sampled_from(PARTITIONS), st.sampled_from("abcdefghijK"))


def even(members: dict[str, frozenset[int]], split: dict[int, str]) -> None:
    loads = Counter(dict.fromkeys(members, 0))
    loads.update(split.values())
    assert set(split) == set().union(*members.values())
    assert max(loads.values()) - min(loads.values()) <= 1


def least_square(members: dict[str, frozenset[int]], partitions: list[int]) -> int:
    """The smallest sum of squared loads there is, by trying every split."""
    able = [[member for member in members if partition in members[member]] for partition in partitions]
    return min(sum(n * n for n in Counter(split).values()) for split in itertools.product(*able))


@given(alike, holders)
def test_who_want_the_same_get_the_same(members: dict[str, frozenset[int]], owners: dict[int, str]) -> None:
    even(members, fair_split(members, owners))


@given(
    st.dictionaries(st.sampled_from("abcd"), st.frozensets(st.integers(0, 5), min_size=1), min_size=1),
    st.dictionaries(st.integers(0, 5), st.sampled_from("abcdK")),
)
def test_no_split_among_pinned_members_is_more_even(members: dict[str, frozenset[int]], owners: dict[int, str]) -> None:
    split = fair_split(members, owners)
    assert all(partition in members[owner] for partition, owner in split.items())
    assert sum(n * n for n in Counter(split.values()).values()) == least_square(members, sorted(split))


@given(pinned, holders)
def test_a_fair_split_is_its_own(members: dict[str, frozenset[int]], owners: dict[int, str]) -> None:
    split = fair_split(members, owners)
    assert fair_split(members, split) == split
    assert fair_split(dict(reversed(members.items())), dict(reversed(owners.items()))) == split  # order says nothing


@given(alike, names)
def test_a_joiner_is_all_that_moves(members: dict[str, frozenset[int]], joiner: str) -> None:
    before = fair_split(members, {})
    after = fair_split({**members, joiner: frozenset(PARTITIONS)}, before)
    assert all(after[p] in (before[p], joiner) for p in PARTITIONS)


def rounds(
    members: dict[str, frozenset[int]],
    owners: dict[int, str],
    order: Callable[[list[str]], list[str]],
    stale: bool,
) -> int:
    """Let members look and act, one after another or all on what they saw before; how often something moved."""
    moves = 0
    for _ in range(ROUNDS):
        seen = dict(owners)
        for me in order(sorted(members)):
            mine = share(me, members, seen if stale else owners)
            for partition in mine.give_up:
                assert owners.pop(partition) == me
            moves += len(mine.give_up)
            for partition in mine.claim:
                holder = owners.setdefault(partition, me)  # the database gives it to one
                moves += holder == me and seen.get(partition) != me
    return moves


@settings(deadline=None, max_examples=60)
@given(pinned | alike, pinned | alike, holders, st.integers(0, 2**32), st.booleans())
def test_rounds_converge_and_then_nothing_moves(
    first: dict[str, frozenset[int]],
    then: dict[str, frozenset[int]],
    owners: dict[int, str],
    seed: int,
    stale: bool,
) -> None:
    rng = random.Random(seed)

    def shuffled(them: list[str]) -> list[str]:
        return rng.sample(them, len(them))

    for members in (first, then):
        owners = {partition: owner for partition, owner in owners.items() if owner in members}  # leases ran out
        rounds(members, owners, shuffled, stale)
        assert owners == fair_split(members, owners)
        loads = Counter(owners.values())
        best = Counter(fair_split(members, {}).values())
        assert sorted(loads.values()) == sorted(best.values())
        assert rounds(members, owners, shuffled, stale) == 0


@given(anything)
def test_partitions_are_read_as_they_are_written(partitions: frozenset[int]) -> None:
    assert parse_partitions(show_partitions(partitions), 32) == tuple(sorted(partitions))
