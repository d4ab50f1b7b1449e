"""Event batches as columns: how they are packed, what is refused, hashes and other vocabularies."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.columns import pack, unpack
from racing.errors import CorruptRecordError
from racing.events import ALIASES, NO_TIME_MS, EventBatch, hash_id, hash_user, table_of
from racing.model import EVENT_KINDS
from tests.laws.logs import law


def _ints(*values: int) -> Any:
    return np.array(values, np.int64)


def _batch(**columns: Any) -> EventBatch:
    return EventBatch(
        **{"kinds": ("click",), "kind": _ints(0, 0), "runner": _ints(3, 70_000), "time_ms": _ints(5, 9)} | columns
    )


def _shown(batch: EventBatch) -> dict[str, Any]:
    """A batch as plain values; a column that says of no event anything says no more than an absent one."""
    shown: dict[str, Any] = {}
    for each in fields(batch):
        value = getattr(batch, each.name)
        shown[each.name] = value.tolist() if isinstance(value, np.ndarray) else value
        silent = NO_TIME_MS if each.name == "time_ms" else 0
        if isinstance(value, np.ndarray) and each.name not in {"kind", "runner"} and (value == silent).all():
            shown[each.name] = None
    return shown


@st.composite
def _batches(draw: st.DrawFn) -> EventBatch:
    size = draw(st.integers(0, 5))

    def column(values: st.SearchStrategy[int], dtype: Any = np.int64) -> Any:
        return np.array(draw(st.lists(values, min_size=size, max_size=size)), dtype)

    def maybe(values: st.SearchStrategy[int], dtype: Any = np.int64) -> Any:
        return column(values, dtype) if draw(st.booleans()) else None

    kinds = tuple(draw(st.lists(st.sampled_from(EVENT_KINDS), min_size=1, max_size=3, unique=True)))
    return EventBatch(
        kinds=kinds,
        kind=column(st.integers(0, len(kinds) - 1)),
        runner=column(st.integers(0, 10**6)),
        time_ms=column(st.integers(-(10**9), 4 * 10**12) | st.just(NO_TIME_MS)),
        amount=maybe(st.integers(0, 10**12)),
        id_hash=maybe(st.integers(0, 2**64 - 1), np.uint64),
        user_hash=maybe(st.integers(0, 2**64 - 1), np.uint64),
        quantity=maybe(st.integers(0, 10**4)),
        slot=maybe(st.integers(0, 1000)),
        frame=maybe(st.integers(0, 2**53)),
        source=maybe(st.integers(0, 2)),
        segment=maybe(st.integers(0, 2)),
        sources=("home", "search"),
        segments=("new", "老客"),
    )


def _altered(**header: Any) -> bytes:
    """A packed batch whose header says something else."""
    found, columns = unpack(_batch().pack())
    return pack({**found, **header}, columns)


@pytest.mark.parametrize(
    "record",
    [
        _altered(n=1),
        _altered(n=None),
        _altered(base_ms="5"),
        _altered(kinds=[]),
        _altered(kinds="click"),
        pack({"n": 1, "base_ms": 0, "kinds": ["click"]}, {"runner": _ints(1)}),
        pack({"n": 1, "base_ms": 0, "kinds": ["click"]}, {"kind": _ints(0)}),
        pack({"n": 1, "base_ms": 0, "kinds": ["click"]}, {"kind": _ints(1), "runner": _ints(1)}),
        pack({"n": 1, "base_ms": 0, "kinds": ["click"]}, {"kind": _ints(-1), "runner": _ints(1)}),
        pack({"n": 1, "base_ms": 0, "kinds": ["click"]}, {"kind": _ints(0), "runner": _ints(-1)}),
        pack({"n": 1, "base_ms": 0, "kinds": ["click"]}, {"kind": _ints(0), "runner": np.array([2**63], np.uint64)}),
        pack({"n": 1, "base_ms": 0, "kinds": ["pay"]}, {"kind": _ints(0), "runner": _ints(0), "amount": _ints(-1)}),
        pack({"n": 1, "base_ms": 2**63, "kinds": ["click"]}, {"kind": _ints(0), "runner": _ints(0)}),
        pack(
            {"n": 1, "base_ms": 0, "kinds": ["click"], "sources": ["search"]},
            {"kind": _ints(0), "runner": _ints(0), "source": _ints(2)},
        ),
        pack({"n": 1, "base_ms": 0, "kinds": ["a"]}, {"kind": _ints(0), "runner": _ints(0), "segment": _ints(1)}),
        pack({"full": True}, {}),
    ],
    ids=[
        "fewer events than rows",
        "no size",
        "text for a time",
        "no kinds",
        "kinds no list",
        "no kind column",
        "no runner column",
        "kind outside its table",
        "kind below 0",
        "runner below 0",
        "runner beyond 63 bits",
        "amount below 0",
        "time beyond 63 bits",
        "source outside its table",
        "segment without a table",
        "a checkpoint",
    ],
)
def test_a_record_that_is_no_batch_is_refused(record: bytes) -> None:
    with pytest.raises(CorruptRecordError):
        EventBatch.unpack(record)


@law(100)
@given(_batches())
def test_what_was_packed_is_unpacked(batch: EventBatch) -> None:
    assert _shown(batch) == _shown(EventBatch.unpack(batch.pack()))


def test_an_event_without_a_time_keeps_none() -> None:
    """Its time is its arrival, which only the fold knows."""
    batch = EventBatch.unpack(_batch(time_ms=_ints(NO_TIME_MS, 7)).pack())

    assert batch.time_ms is not None
    assert [NO_TIME_MS, 7] == batch.time_ms.tolist()


def test_columns_that_say_nothing_take_no_room() -> None:
    _, columns = unpack(_batch(time_ms=_ints(NO_TIME_MS, NO_TIME_MS), amount=_ints(0, 0)).pack())

    assert {"kind", "runner"} == set(columns)


def test_a_batch_of_clicks_takes_a_few_bytes_per_event() -> None:
    """Ten thousand clicks within a minute on two hundred products: kind, runner, and time in 16 bits."""
    chance = np.random.default_rng(1)
    size = 10_000
    batch = EventBatch(
        kinds=("click",),
        kind=np.zeros(size, np.int64),
        runner=chance.integers(0, 200, size),
        time_ms=1_763_740_800_000 + chance.integers(0, 60_000, size),
    )

    assert len(batch.pack()) <= 4 * size + 100


@pytest.mark.parametrize("kind", sorted(set(ALIASES.values())))
def test_an_alias_stands_for_a_kind_that_every_venue_knows(kind: str) -> None:
    assert kind in EVENT_KINDS


def test_no_kind_is_an_alias_of_another() -> None:
    assert set() == set(ALIASES) & set(EVENT_KINDS)


def test_an_id_has_the_same_hash_in_every_process() -> None:
    """Python's own hash of a text differs from process to process; this one is kept in logs."""
    code = "from racing.events import hash_id; print(hash_id('pay', 'order-5'))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]

    assert [hash_id("pay", "order-5")] * 2 == [int(run) for run in runs]


def test_an_id_is_another_one_in_another_kind() -> None:
    assert hash_id("pay", "order-5") != hash_id("refund", "order-5")


@law(100)
@given(st.text(max_size=20), st.text(max_size=20))
def test_kind_and_id_do_not_run_together(kind: str, name: str) -> None:
    assert (hash_id("a", name) == hash_id("a", kind)) == (kind == name)
    assert 0 < hash_id(kind, name) < 2**64


def test_a_user_is_only_known_under_the_secret() -> None:
    assert hash_user(b"one", "u-1") == hash_user(b"one", "u-1")
    assert 3 == len({hash_user(b"one", "u-1"), hash_user(b"two", "u-1"), hash_user(b"one", "u-2")})


def test_a_table_names_each_text_once() -> None:
    index, table = table_of(["home", None, "search", "home"])

    assert index is not None
    assert ([1, 0, 2, 1], ("home", "search")) == (index.tolist(), table)


@pytest.mark.parametrize("values", [[], [None], [None, None]])
def test_a_table_of_nothing_is_no_column(values: list[None]) -> None:
    assert (None, ()) == table_of(values)
