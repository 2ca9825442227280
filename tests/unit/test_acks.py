"""Which refusals of the broker are final."""

from __future__ import annotations

import json

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from detector.adapters.nats.acks import RefusedError, _verdict
from detector.errors import BusError


def verdict(code: int, number: int) -> bool | BusError:
    error = {"code": code, "err_code": number, "description": "no"}
    return _verdict(Msg(Client(), data=json.dumps({"error": error}).encode()))


@pytest.mark.parametrize(("code", "number"), [(400, 10054), (400, 10097), (400, 10109)])
def test_nc_08_what_can_never_be_stored_is_refused_for_good(code: int, number: int) -> None:
    assert isinstance(verdict(code, number), RefusedError)


@pytest.mark.parametrize(("code", "number"), [(429, 10167), (400, 10002), (503, 10077), (500, 1)])
def test_nc_09_what_passes_is_tried_again(code: int, number: int) -> None:
    answer = verdict(code, number)
    assert isinstance(answer, BusError)
    assert not isinstance(answer, RefusedError)
