"""Whom a collector obeys, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.adapters.formats.sampling import decode_recommendation, encode_recommendation
from detector.collector.obedience import EPOCH_SECONDS, Obedience
from detector.domain.recommendation import Entry, Recommendation, Stratum
from detector.errors import Undecodable

STRATA = (Stratum(0.1, 0.05, 4.0), Stratum(None, 0.5, 6.0))
ENTRY = Entry("m", None, "s", "strata", 10.0, STRATA, 1.0, 2.0, 0.04, 1.3)
OWN = replace(ENTRY, labels={"r": "a"}, cap_eps=9.0)


def recommended(epoch: int = 7, version: int = 1, **more: object) -> Recommendation:
    whole = Recommendation("acme", "shop", epoch, version, 0, 120.0, 0, 25.0, 0.001, ("because",), (ENTRY, OWN))
    return replace(whole, **more)  # type: ignore[arg-type]  # any field


def alive(*, mode: str = "strata", epoch: int = 7, now: float = 0.0) -> Obedience:
    obedience = Obedience(mode, 1000.0)
    obedience.heard(epoch, now)
    return obedience


def test_it_is_taken_once_its_epoch_lives_and_only_if_it_is_newer() -> None:
    obedience = Obedience("strata", 1000.0)
    assert obedience.offered(recommended(), 0.0) is None
    assert obedience.policy(0.0).order is None
    obedience.heard(7, 1.0)
    assert obedience.wants(1.0)
    assert obedience.offered(recommended(version=2), 1.0) == ("applied", "")
    assert not obedience.wants(1.0)
    for again in (recommended(version=2), recommended(version=1), recommended(epoch=6, version=9)):
        assert obedience.offered(again, 2.0) is None
    assert obedience.policy(2.0).order == (7, 2)
    assert obedience.policy(2.0).entry("m", (("r", "a"),)) == OWN
    assert obedience.policy(2.0).entry("m", (("r", "b"),)) == ENTRY
    assert obedience.policy(2.0).entry("n", ()) is None


def test_it_expires_on_the_monotonic_clock_and_safe_remains() -> None:
    obedience = alive()
    obedience.offered(recommended(), 0.0)
    for now in range(0, 300, 5):
        obedience.heard(7, float(now))
        assert (obedience.policy(float(now)).order is not None) == (now <= 120)
    assert obedience.policy(300.0).safe == 25.0
    assert obedience.wants(300.0)
    assert obedience.offered(recommended(version=2), 300.0) == ("applied", "")


def test_a_dead_service_is_noticed_before_its_recommendation_expires() -> None:
    obedience = alive()
    obedience.offered(recommended(), 0.0)
    assert obedience.policy(EPOCH_SECONDS).order == (7, 1)
    assert obedience.policy(EPOCH_SECONDS + 0.1).order is None
    obedience.heard(7, 100.0)
    assert obedience.policy(100.0).order is None  # forgotten, so that it has to be read again
    assert obedience.wants(100.0)


def test_of_two_services_the_newer_epoch_wins_and_the_old_one_serves_until_it_has_spoken() -> None:
    obedience = alive()
    obedience.offered(recommended(), 0.0)
    obedience.heard(9, 1.0)
    assert obedience.policy(1.0).order == (7, 1)
    assert obedience.wants(1.0)
    obedience.heard(7, 2.0)
    assert obedience.offered(recommended(version=5), 2.0) is None
    assert obedience.offered(recommended(epoch=9), 2.0) == ("applied", "")
    assert obedience.offered(recommended(epoch=7, version=99), 3.0) is None


def test_a_lost_database_that_counts_from_the_start_is_obeyed_once_the_old_epoch_is_dead() -> None:
    obedience = alive(epoch=9)
    obedience.offered(recommended(epoch=9, version=40), 0.0)
    obedience.heard(2, 10.0)
    assert obedience.offered(recommended(epoch=2), 10.0) is None
    obedience.heard(2, 40.0)
    assert obedience.policy(40.0).order is None
    assert obedience.offered(recommended(epoch=9, version=41), 40.0) is None
    assert obedience.offered(recommended(epoch=2), 40.0) == ("applied", "")


@pytest.mark.parametrize("mode", ["rate", "sketch", "full"])
def test_what_a_collector_can_not_do_is_clamped_with_the_value(mode: str) -> None:
    obedience = alive(mode=mode)
    said = obedience.offered(recommended(), 0.0)
    entry = obedience.policy(0.0).entry("m", ())
    assert said is not None
    assert entry is not None
    assert (said[0], entry.mode) == ("clamped", mode)
    if mode == "rate":
        assert entry.strata == (Stratum(None, 10.0 / 92.0, 10.0),)
        assert "p 0.1087" in said[1]
    else:
        assert entry.strata == ()


@pytest.mark.parametrize(
    "wrong",
    [
        replace(ENTRY, mode="magic"),
        replace(ENTRY, strata=(Stratum(None, 0.0001, 1.0),)),
        replace(ENTRY, strata=()),
        replace(ENTRY, strata=(STRATA[1], STRATA[0])),
        replace(ENTRY, cap_eps=-1.0),
        replace(ENTRY, window_s=0.0),
    ],
)
def test_what_makes_no_sense_is_rejected_with_its_reason(wrong: Entry) -> None:
    bad = recommended(entries=(wrong,))
    said = alive().offered(bad, 0.0)
    assert said is not None
    assert said[0] == "rejected"
    assert said[1]
    with pytest.raises(Undecodable, match="bad_recommendation"):
        decode_recommendation(encode_recommendation(bad))


def test_a_recommendation_travels_whole_or_not_at_all() -> None:
    body = encode_recommendation(recommended())
    assert decode_recommendation(body) == recommended()
    for damaged in (body.replace(b"0.05", b"0.06"), body[:-1], b"{}", b"[]", body.replace(b'"v":1', b'"v":2'), b""):
        with pytest.raises(Undecodable, match="bad_recommendation"):
            decode_recommendation(damaged)


Offer = st.tuples(st.sampled_from(["heard", "offered"]), st.integers(1, 4), st.integers(1, 4), st.floats(0, 40))


@given(st.lists(Offer, max_size=40))
def test_whatever_comes_versions_of_an_epoch_only_grow_and_nothing_outlives_its_time(
    events: list[tuple[str, int, int, float]],
) -> None:
    obedience, now, before, taken_at = Obedience("strata", 1.0), 0.0, (0, 0), 0.0
    for what, epoch, version, later in events:
        now += later
        order = obedience.policy(now).order
        assert order is None or now - taken_at <= 120.0
        if what == "heard":
            obedience.heard(epoch, now)
        elif obedience.offered(recommended(epoch, version), now) is not None:
            if order is not None:
                assert (epoch, version) > order
            before, taken_at = (epoch, version), now
            assert obedience.policy(now).order == before
