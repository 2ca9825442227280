"""Partitions as people write them, and shares as they are worked out by hand."""

from __future__ import annotations

import pytest

from detector.config import load
from detector.domain.sharing import fair_split, parse_partitions, share, show_partitions
from detector.errors import SettingsError

ALL = frozenset(range(32))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0-7", range(8)),
        ("0-7,12,30-31", [*range(8), 12, 30, 31]),
        (" 3 , 1 - 2 ,3", [1, 2, 3]),
        ("31", [31]),
        ("0-31", range(32)),
    ],
)
def test_partitions_are_read(text: str, wanted: list[int]) -> None:
    assert parse_partitions(text, 32) == tuple(wanted)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "'' is no partition"),
        ("1,,2", "'' is no partition"),
        ("abc", "'abc' is no partition; write numbers and ranges, such as 0-7,12,30-31"),
        ("-1", "'-1' is no partition"),
        ("1.5", "'1.5' is no partition"),
        ("٣", "is no partition"),
        ("7-3", "'7-3' runs backwards; write 3-7"),
        ("0-32", "'0-32' names partition 32; there are 32, 0 to 31"),
        ("99999999999999999999", "is no partition"),
    ],
)
def test_nonsense_is_named(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_partitions(text, 32)
    with pytest.raises(SettingsError, match=f"partitions: .*{told}.* \\(environment\\)"):
        load(environment={"DETECTOR_PARTITIONS": text})


def test_settings_show_partitions_in_one_form() -> None:
    assert load(environment={}).settings.partitions == "0-31"
    assert load(flags={"partitions": "2,1,0,9"}).settings.partitions == "0-2,9"
    assert show_partitions([]) == ""


def test_a_pinned_worker_gets_what_only_it_wants_and_leaves_the_rest() -> None:
    members = {"pinned": frozenset(range(8)), "x": ALL, "y": ALL}
    split = fair_split(members, {})
    assert {p for p, owner in split.items() if owner == "pinned"} == set(range(8))
    assert sum(owner == "x" for owner in split.values()) == 12


def test_a_chain_hands_on_where_nobody_can_give_directly() -> None:
    members = {"a": frozenset({0, 1, 2}), "b": frozenset({2, 3}), "c": frozenset({3})}
    owners = {0: "a", 1: "a", 2: "a", 3: "b"}
    assert fair_split(members, owners) == {0: "a", 1: "a", 2: "b", 3: "c"}
    assert [sorted(share(me, members, owners).give_up) for me in members] == [[2], [3], []]


def test_leases_of_the_dead_count_for_nobody_but_are_not_claimed_before_they_end() -> None:
    members = {"a": ALL, "b": ALL}
    owners = dict.fromkeys(range(16), "dead") | dict.fromkeys(range(16, 24), "a") | dict.fromkeys(range(24, 32), "b")
    mine = share("a", members, owners)
    assert len(mine.own) == 16
    assert mine.claim == frozenset(range(16, 24))  # its own, which it holds
    assert mine.give_up == frozenset()
    free = {partition: owner for partition, owner in owners.items() if owner != "dead"}
    claims = [share(me, members, free).claim & frozenset(range(16)) for me in members]
    assert [len(claim) for claim in claims] == [8, 8]
    assert not claims[0] & claims[1]


def test_more_workers_than_partitions() -> None:
    split = fair_split({f"w{n:02}": ALL for n in range(40)}, {})
    assert len(set(split.values())) == 32
