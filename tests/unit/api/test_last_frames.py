"""Last frames on disk: what cannot be read, what is written when, and that it is shown as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from api import last_frames as module
from api.last_frames import LastFrames
from api.view import VenueView
from racing.entries import Coupon
from racing.rule import DEFAULT_RULE
from racing.store.commit import CommitRecord
from racing.store.venues import Access, Venue
from tests.unit.api.fake_store import frame_of, runner_of

NOW_MS = 1_763_740_800_000


def view_of(venue: str = "hall-1", number: int = 3) -> VenueView:
    made = VenueView(Venue(venue, "Hall", 5, Access(slots_public=False)), frame_of(venue=venue), DEFAULT_RULE, 1)
    runners = {0: runner_of("p-1", price=900, coupon=Coupon(100)), 1: runner_of("p-2")}
    made.show(frame_of("p-1", "p-2", number=number, venue=venue), runners)
    made.commit = CommitRecord(7, 1, "1-0", "1-0", number, as_of_ms=NOW_MS - 60_000)
    made.age_ms = 10.0
    return made


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    return iter(())


async def test_a_file_that_cannot_be_read_counts_as_none(tmp_path: Path) -> None:
    """It is told, and the others are shown."""
    await LastFrames(tmp_path).keep([view_of("hall-1"), view_of("hall-2")])
    (tmp_path / "venue-hall-1.json").write_bytes(b'{"format": 1')
    (tmp_path / "venue-hall-3.json").write_bytes((tmp_path / "venue-hall-2.json").read_bytes().replace(b"root", b"x"))
    with capture_logs() as logged:
        assert [view.venue.venue for view in LastFrames(tmp_path).load(NOW_MS)] == ["hall-2"]
    assert len(logged) == 2


def test_without_a_folder_nothing_is_remembered(tmp_path: Path) -> None:
    assert list(LastFrames(tmp_path / "none").load(NOW_MS)) == []


async def test_a_folder_that_cannot_be_written_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with capture_logs() as logged:
        await LastFrames(tmp_path / "file").keep([view_of()])
    assert [each["event"] for each in logged] == ["cannot write last frames"]


async def test_a_venue_without_a_frame_or_a_commit_is_not_kept(tmp_path: Path) -> None:
    view = view_of()
    view.age_ms = None
    empty = VenueView(Venue("hall-2", "Hall", 5), frame_of(number=0, venue="hall-2"), DEFAULT_RULE, 1)
    await LastFrames(tmp_path).keep([view, empty])
    assert files(tmp_path) == []


async def test_what_was_shown_is_shown_again_with_its_age(tmp_path: Path) -> None:
    """To whom it was for, and marked stale."""
    before = view_of()
    await LastFrames(tmp_path).keep([before])
    (after,) = LastFrames(tmp_path).load(NOW_MS)
    assert (after.venue, after.frame, after.runners) == (before.venue, before.frame, before.runners)
    assert after.last_id == "7-3"
    assert after.stale()
    assert 60_000 <= (after.age() or 0) < 65_000
    assert after.slots(50, stale=True).body == before.slots(50, stale=True).body


async def test_only_what_is_new_is_written_and_what_is_gone_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last, path = LastFrames(tmp_path), tmp_path / "venue-hall-1.json"
    await last.keep([view_of(), view_of("hall-2")])
    path.unlink()
    await last.keep([view_of()])
    assert files(tmp_path) == []
    await last.keep([view_of(number=4)])
    assert files(tmp_path) == [path.name]
    monkeypatch.setattr(module, "EVERY_S", 5.0)
    await last.keep([])
    assert path.exists(), "it is not yet time"
