"""Letters on their way: no two share an id, and one sent again keeps its own."""

from __future__ import annotations

from detector.collector.outbox import Letter, Outbox
from detector.collector.windows import Closed

T0 = 1_764_000_000_000


def closed(version: int, count: int = 1) -> Closed:
    found = [{"metric": "m", "labels": {"n": str(n)}, "kind": "gauge", "value": 1.0} for n in range(count)]
    return Closed(T0, 10_000, (7, version), found)


async def everything(outbox: Outbox) -> list[Letter]:
    found = []
    while len(outbox):
        found.append(await outbox.take())
        outbox.done()
    return found


async def test_the_same_window_under_two_versions_makes_two_letters() -> None:
    outbox = Outbox("pod")
    outbox.put(closed(1))
    outbox.put(closed(2))
    first, second = await everything(outbox)
    assert first.body != second.body
    assert first.id != second.id


async def test_parts_of_one_window_have_ids_of_their_own_and_another_of_the_same_name_others() -> None:
    ids = set()
    for _ in range(2):
        outbox = Outbox("pod")
        outbox.room = 2_000
        outbox.put(closed(1, 100))
        letters = await everything(outbox)
        assert len(letters) > 3
        assert sum(letter.aggregates for letter in letters) == 100
        ids |= {letter.id for letter in letters}
        count = len(letters)
    assert len(ids) == 2 * count


async def test_a_letter_that_is_sent_again_keeps_its_id() -> None:
    outbox = Outbox("pod")
    outbox.put(closed(1))
    assert (await outbox.take()).id == (await outbox.take()).id
