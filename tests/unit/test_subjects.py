"""Names in subjects: what is legal stays, the rest is written in bytes and comes back."""

from __future__ import annotations

import pytest

from detector.adapters.nats import subjects
from detector.errors import Undecodable


@pytest.mark.parametrize(
    ("name", "token"),
    [
        ("shop", "shop"),
        ("Web_1-a", "Web_1-a"),
        ("cpu load", "cpu=20load"),
        ("a.b", "a=2Eb"),
        ("*", "=2A"),
        (">", "=3E"),
        ("=", "=3D"),
        ("größe", "gr=C3=B6=C3=9Fe"),
        ("温度", "=E6=B8=A9=E5=BA=A6"),
        ("a\r\nb", "a=0D=0Ab"),
    ],
)
def test_lab_03_names_are_escaped_reversibly(name: str, token: str) -> None:
    assert subjects.escape(name) == token
    assert subjects.unescape(token) == name


def test_lab_03_an_empty_name_is_refused() -> None:
    with pytest.raises(ValueError, match="empty name"):
        subjects.escape("")
    with pytest.raises(ValueError, match="empty name"):
        subjects.unescape("")


@pytest.mark.parametrize("token", ["größe", "=41", "=c3=b6", "=C3", "a=", "=ZZ", "a b", "\ud800"])
def test_only_what_escape_writes_is_read(token: str) -> None:
    with pytest.raises(ValueError, match="no escaped name"):
        subjects.unescape(token)


def test_subjects_are_built() -> None:
    assert subjects.metrics("acme", "web.shop") == "metrics.acme.web=2Eshop"
    assert subjects.alerts("acme", "shop", "critical") == "alerts.acme.shop.critical"
    assert subjects.deadletter("acme", "shop") == "deadletter.acme.shop"
    assert subjects.scores("acme", "shop") == "scores.acme.shop"
    assert subjects.tick(31) == "tick.31"


def test_the_transform_is_the_contract() -> None:
    assert subjects.TRANSFORM == ("metrics.*.*", "part.{{partition(32,1,2)}}.{{wildcard(1)}}.{{wildcard(2)}}")


def test_a_stored_subject_is_parsed() -> None:
    assert subjects.parse_part("part.31.acme.gr=C3=B6=C3=9Fe") == (31, "acme", "größe")


@pytest.mark.parametrize(
    "subject",
    ["tick.3", "part.3.acme", "part.3.acme.shop.x", "part.x.acme.shop", "part.².a.b", "part.3.acme.größe", "part.3..a"],
)
def test_other_subjects_are_refused_by_name(subject: str) -> None:
    with pytest.raises(Undecodable) as error:
        subjects.parse_part(subject)
    assert error.value.reason == "bad_subject"
