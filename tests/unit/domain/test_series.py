"""Names of series: one for one thing, whatever way it was written."""

from __future__ import annotations

import pytest

from detector.domain.series import Series, Signal, canonical_labels
from detector.errors import Undecodable


def test_order_and_empty_labels_mean_nothing() -> None:
    assert canonical_labels({"b": "2", "a": "1", "c": ""}) == canonical_labels({"a": "1", "b": "2"})
    assert canonical_labels({"a": ""}) == canonical_labels({}) == ()


def test_numbers_and_truth_values_become_text() -> None:
    assert canonical_labels({"code": 500, "ok": True, "ratio": 0.5}) == (
        ("code", "500"),
        ("ok", "true"),
        ("ratio", "0.5"),
    )


@pytest.mark.parametrize("name", ["tenant", "service"])
def test_labels_that_are_the_subjects_to_say_are_refused(name: str) -> None:
    with pytest.raises(Undecodable, match=f"reserved_label: label '{name}'"):
        canonical_labels({name: "acme"})


@pytest.mark.parametrize("value", [None, [], {}, b"x"])
def test_labels_that_are_no_text_are_refused_by_name(value: object) -> None:
    with pytest.raises(Undecodable, match="bad_labels: label 'route'"):
        canonical_labels({"route": value})


def test_equal_series_have_equal_keys_and_others_do_not() -> None:
    def series(**labels: object) -> Series:
        return Series("acme", "shop", "größe der 温度", canonical_labels(labels))

    assert series(a="1", b="2").key == series(b="2", a="1", c="").key
    others = [
        series(a="1"),
        series(a="2"),
        series(b="1"),
        series(),
        Series("acme", "shop", 'größe der 温度{"a":"1"}'),
        Series("acme/shop", "größe der 温度", "x"),
        Series("acme", "shop/größe der 温度", "x"),
    ]
    assert len({one.key for one in others}) == len(others)


def test_lab_03_names_are_kept_as_they_are() -> None:
    for name in ("cpu load", "a.b", "*", ">", "größe", "温度"):
        assert str(Signal(Series("acme", "shop", name, (("core", name),)), "mean")) == f"mean of {name}{{core={name}}}"
