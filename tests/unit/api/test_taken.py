"""Events that are taken, laid out as columns."""

from __future__ import annotations

from api.sent_events import AMOUNT_MAX, EventIn
from api.taken import Rows, Taken
from racing.events import NO_TIME_MS, EventBatch, hash_id, hash_user
from tests.unit.api.batches import SECRET, columns_of, event, taken_of


def test_rows_have_the_fields_of_an_event_in_their_order() -> None:
    """Rows.of puts them in by place."""
    assert Rows._fields == EventIn.__struct_fields__


def test_a_plain_batch_has_only_the_columns_that_it_needs() -> None:
    batch = columns_of(event(), event(product="p-2", type="order"))
    assert batch.kinds == ("click", "order")
    assert batch.kind.tolist() == [0, 1]
    assert batch.runner.tolist() == [0, 7]
    for name in ("time_ms", "amount", "quantity", "slot", "frame", "id_hash", "user_hash", "source", "segment"):
        assert getattr(batch, name) is None


def test_every_field_reaches_its_column() -> None:
    """And comes back from the packed entry; where an event lacks it, 0 stands for absent."""
    full = event(ts_ms=5, user="u", amount=7, quantity=2, id="o-1", source="search", segment="new", frame=9, slot=3)
    batch = EventBatch.unpack(columns_of(event(), full).pack())
    for name, value in {
        "time_ms": 5,
        "amount": 7,
        "quantity": 2,
        "slot": 3,
        "frame": 9,
        "id_hash": hash_id("id", "o-1"),
        "user_hash": hash_user(SECRET, "u"),
        "source": 1,
        "segment": 1,
    }.items():
        absent = NO_TIME_MS if name == "time_ms" else 0
        assert getattr(batch, name).tolist() == [absent, value], name
    assert (batch.sources, batch.segments) == (("search",), ("new",))


def test_the_largest_values_fit_their_columns() -> None:
    full = event(ts_ms=2**53, amount=AMOUNT_MAX, quantity=10**9, frame=2**53, slot=10_000)
    batch = EventBatch.unpack(columns_of(full).pack())
    assert batch.time_ms is not None
    assert batch.amount is not None
    assert batch.frame is not None
    assert (batch.time_ms[0], batch.amount[0], batch.frame[0]) == (2**53, AMOUNT_MAX, 2**53)


def test_one_user_has_another_hash_under_another_secret() -> None:
    one, other = (columns_of(event(user="u"), secret=bytes([n] * 32)).user_hash for n in (1, 2))
    assert one is not None
    assert other is not None
    assert one[0] != other[0]


def test_batches_joined_give_the_columns_of_one() -> None:
    """Whichever fields each of them has."""
    events = [event(user="u"), event(product="p-2", id="a"), event(ts_ms=5, amount=7)]
    parts = [taken_of(each) for each in events]
    joined = Taken.joined(parts)
    assert len(joined) == 3
    assert joined.batch(SECRET).pack() == columns_of(*events).pack()
    assert Taken.joined(parts[:1]) is parts[0]
