"""The estimate of memory is from above, and not far above, for a venue as it stands in a real server."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from racing.doctor import PlanError, plan_of, planned
from racing.entries import Runner
from racing.settings import load_settings
from racing.sizing import FULL_AT, Plan, memory_needed
from racing.store.desk import Desk, KeyedBatch
from racing.store.keys import VenueKeys
from tests.contract.servers import RealStore
from tests.contract.track import clicks, packed

PLAN = Plan(runners=2_000, events_per_s=1_000)
KEYS = VenueKeys("hall-1")


def test_twice_the_venue_needs_twice_the_memory_but_for_the_server_and_the_frames() -> None:
    one, two = (asdict(memory_needed(plan)) for plan in (PLAN, replace(PLAN, runners=4_000, events_per_s=2_000)))
    for name, size in one.items():
        factor = 1 if name in {"server", "frames"} else 2
        assert two[name] == pytest.approx(factor * size, rel=0.01), name


@pytest.mark.parametrize("name", ["runners", "measures", "window_s", "log_keep_s", "idempotency_s", "slots"])
def test_whatever_is_asked_for_more_needs_more(name: str) -> None:
    more = replace(PLAN, **{name: 2 * getattr(PLAN, name)})
    assert memory_needed(more).total > memory_needed(PLAN).total


async def test_runners_members_keys_and_log_weigh_at_most_what_is_said(real_store: RealStore) -> None:
    """And at least half of it."""
    client = real_store.async_client()
    desk, raw = Desk(client), real_store.raw
    number, batch = 1_000, 100
    for start in range(0, number, 500):
        some = range(start, start + 500)
        await desk.runners.enrol(
            "hall-1", [Runner(f"product-{n:05d}", "m-1", f"A title of usual length {n:05d}") for n in some]
        )
    batches = [KeyedBatch(packed(clicks([n % number] * batch)), f"{n:032x}", "d" * 32, b"{}" * 30) for n in range(50)]
    await desk.append_all("hall-1", batches)
    raw.zadd(KEYS.standings, {f"{n:010d}": -n / 7 for n in range(number)})
    await client.aclose()

    def weight(*names: str) -> int:
        return sum(int(raw.memory_usage(name, samples=0)) for name in names)

    plan = Plan(runners=number, events_per_s=50 * batch, batch_events=batch, log_keep_s=0, window_s=0, idempotency_s=1)
    said = memory_needed(replace(plan, measures=0))
    for found, most in (
        (weight(KEYS.products, KEYS.runners, KEYS.roll, KEYS.merchants), said.runners),
        (weight(KEYS.standings), said.sorted_sets),
        (2 * weight(KEYS.answers), said.idempotency_keys),  # with those of before,
    ):
        assert most / 2 < found <= most
    log_most = memory_needed(replace(plan, log_keep_s=1)).log
    assert log_most / 4 < weight(KEYS.log) <= log_most, "these events are clicks without users"


def test_doctor_says_what_a_venue_needs_and_whether_it_fits(real_store: RealStore) -> None:
    client, settings = real_store.client(), load_settings()
    used = int(real_store.raw.info("memory")["used_memory"])
    need = memory_needed(PLAN)
    for bound, grade in ((int((used + need.total) / FULL_AT * 1.1), "ok"), (need.total, "warning")):
        real_store.raw.config_set("maxmemory", bound)
        found = planned(client, settings, PLAN)
        assert found.grade == grade, found
        assert f"{need.total / 1e6:.0f} MB: server 32, runners 1, " in found.found
        assert ("SAIMA_MEMORY_MB" in found.advice) is (grade == "warning")
    real_store.raw.config_set("maxmemory", 0)
    client.close()


def test_a_plan_is_made_of_what_is_given_and_of_how_long_things_are_kept() -> None:
    settings = load_settings(log_keep_s=60, idempotency_ms=5_000)
    assert plan_of(["runners=10", "events_per_s=2.5"], settings) == Plan(10, 2.5, log_keep_s=60, idempotency_s=5)


@pytest.mark.parametrize(
    ("need", "message"), [("shops=1", "must be one of runners"), ("runners=many", "Expected `int`")]
)
def test_a_plan_that_says_something_else_is_refused(need: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan_of([need], load_settings())
