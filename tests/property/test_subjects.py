"""Any name survives its way through a subject."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.adapters.nats import subjects
from detector.errors import Undecodable

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@given(names)
def test_a_name_comes_back_from_one_legal_token(name: str) -> None:
    token = subjects.escape(name)
    assert re.fullmatch(r"[A-Za-z0-9_=-]+", token)
    assert subjects.unescape(token) == name


@given(st.text(max_size=20))
def test_every_name_has_one_token(token: str) -> None:
    try:
        name = subjects.unescape(token)
    except ValueError:
        return
    assert subjects.escape(name) == token


@given(st.integers(0, 31), names, names)
def test_a_stored_subject_says_where_it_belongs(partition: int, tenant: str, service: str) -> None:
    _, *tokens = subjects.metrics(tenant, service).split(".")
    subject = ".".join(["part", str(partition), *tokens])
    if "\0" in tenant + service:
        with pytest.raises(Undecodable, match=r"bad_subject: .* no NUL"):
            subjects.parse_part(subject)
    else:
        assert subjects.parse_part(subject) == (partition, tenant, service)
