"""Mending on demand: the same whether a scorer runs the venue or nobody does."""

from __future__ import annotations

import pytest

from racing.entries import Runner
from racing.errors import NotFoundError
from racing.mending import mend_venue
from racing.settings import Settings
from racing.store.commit import read_commit
from racing.store.desk import Desk
from racing.store.keys import VenueKeys
from racing.verify import verify
from tests.contract.appends import append
from tests.contract.servers import Store
from tests.contract.test_threads import Running, counts, opened, running, url_of
from tests.contract.track import clicks, packed
from tests.waiting import until

__all__ = ["running"]
VENUE = "hall-1"
KEYS = VenueKeys(VENUE)
SETTINGS = Settings(lease_ms=1000, redis_url="redis://elsewhere")  # so that no segment files are written


@pytest.fixture
def store(real_store: Store) -> Store:
    """Real servers only: mending starts threads and clients of its own."""
    return real_store


async def raced(desk: Desk, store: Store) -> None:
    """Two clicks counted; then one member of every kind of set is made wrong, and a runner is lost from the race."""
    await opened(desk, VENUE)
    await append(desk, VENUE, packed(clicks([0, 1])))
    mend_venue(url_of(store), VENUE, SETTINGS)
    assert verify(store.client(), VENUE).clean
    for name in ("standings", "total:click:count"):
        store.raw.zadd(f"saima:{{{VENUE}}}:{name}", {"0000000001": 77.0, "0000000009": 3.0})
    assert not verify(store.client(), VENUE).clean


async def test_sets_are_right_again_where_nobody_runs_the_venue(store: Store, real_desk: Desk) -> None:
    await raced(real_desk, store)

    done = mend_venue(url_of(store), VENUE, SETTINGS)

    assert done.here
    assert (done.runners_logged, done.rule_logged) == (0, False)
    assert verify(store.client(), VENUE).clean
    assert store.raw.get(KEYS.lease) is None, "it was given back"


async def test_sets_are_right_again_while_a_scorer_runs_the_venue(
    store: Store, real_desk: Desk, running: Running
) -> None:
    await raced(real_desk, store)
    running.start("one", url_of(store), lease_ms=1000)
    counts(store.client(), VENUE, 2)
    until(lambda: store.raw.get(KEYS.lease) is not None, within_s=10, what="the scorer has the venue")

    done = mend_venue(url_of(store), VENUE, SETTINGS)

    assert not done.here
    assert verify(store.client(), VENUE).clean
    assert store.raw.get(KEYS.lease).decode().startswith("one")


async def test_decisions_that_the_race_lacks_are_logged_again(store: Store, real_desk: Desk) -> None:
    await opened(real_desk, VENUE)
    mend_venue(url_of(store), VENUE, SETTINGS)
    # as after an enrolment whose entry was damaged: its data is there, and the race does not know it
    store.raw.hset(KEYS.products, "lost", 3)
    store.raw.hset(KEYS.runners, 3, b'{"product":"lost","merchant":"m","title":"t"}')
    await append(real_desk, VENUE, packed(clicks([3])))

    done = mend_venue(url_of(store), VENUE, SETTINGS)
    await append(real_desk, VENUE, packed(clicks([3, 3])))
    again = mend_venue(url_of(store), VENUE, SETTINGS)

    assert (done.runners_logged, again.runners_logged) == (1, 0)
    report = verify(store.client(), VENUE)
    assert report.clean
    assert report.counts["counted"] in {2, 3}  # the click that came before it is known may or may not be folded yet


async def test_enrolment_goes_on_after_mending(store: Store, real_desk: Desk) -> None:
    await opened(real_desk, VENUE)
    mend_venue(url_of(store), VENUE, SETTINGS)
    (enrolled,) = await real_desk.runners.enrol(VENUE, [Runner("new", "m", "t")])

    assert enrolled.runner == 3


async def test_venue_that_does_not_exist_is_named(store: Store, real_desk: Desk) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        mend_venue(url_of(store), "nowhere", SETTINGS)


@pytest.mark.parametrize("scorer_runs", [False, True])
async def test_damaged_commit_record_is_made_anew_from_checkpoint_and_log(
    store: Store, real_desk: Desk, running: Running, *, scorer_runs: bool
) -> None:
    """Until then the venue is refused by every owner; nothing that was counted is lost or counted twice."""
    await opened(real_desk, VENUE)
    await append(real_desk, VENUE, packed(clicks([0, 1])))
    mend_venue(url_of(store), VENUE, SETTINGS)
    before = read_commit(store.client(), KEYS)
    if scorer_runs:
        running.start("one", url_of(store), lease_ms=1000)
    store.raw.set(KEYS.commit, b'{"epoch":"no')
    await append(real_desk, VENUE, packed(clicks([2])))

    done = mend_venue(url_of(store), VENUE, SETTINGS)

    assert done.record_dropped
    counts(store.client(), VENUE, 3)
    after = read_commit(store.client(), KEYS)
    assert after.epoch > before.epoch
    assert after.frame > before.frame > 0
    assert verify(store.client(), VENUE).clean
