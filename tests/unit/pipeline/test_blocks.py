"""The look-up of whole blocks stays within its bound, names of instances included."""

from __future__ import annotations

import numpy as np

from detector.pipeline.blocks import BlockMemory, Scope


def scope(instance: str) -> Scope:
    return (0, instance, "cpu", b"{}")


def test_what_is_kept_stays_within_the_bound_whoever_names_it() -> None:
    memory, rows = BlockMemory(2000), np.arange(3)
    for i in range(500):
        memory.keep(scope(f"{'a' * 90}{i}"), b"token", rows)
        assert 0 < memory.held <= 2000
    assert memory.find(scope(f"{'a' * 90}499"), b"token") is not None
    assert memory.find(scope(f"{'a' * 90}0"), b"token") is None


def test_a_block_that_alone_is_too_large_is_not_kept() -> None:
    memory = BlockMemory(100)
    memory.keep(scope("a"), b"x" * 200, np.arange(3))
    assert memory.find(scope("a"), b"x" * 200) is None
    assert memory.held == 0


def test_the_latest_block_of_a_scope_takes_the_place_of_the_one_before() -> None:
    memory = BlockMemory(100)
    for token in (b"one", b"another", b"one"):
        memory.keep(scope("a"), token, np.arange(3))
        assert memory.find(scope("a"), token) is not None
    assert memory.held == len("a") + len("cpu") + len(b"{}") + len(b"one")
