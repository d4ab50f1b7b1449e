"""Who writes to live streams, with its clock and its connections in hand."""

from __future__ import annotations

import asyncio
import json
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from api import boards, hub, live_boards
from api.errors import ProblemError
from api.frames import Frames
from api.hub import Asked
from api.live import Live
from api.live_boards import Kind
from api.sse import PING
from api.stream import STALL_S
from api.view import VenueView
from racing.model import Frame, Slot
from racing.rule import DEFAULT_RULE
from racing.settings import load_settings
from racing.store.venues import Venue

PRODUCTS = ("p-1", "p-2", "p-3")


def frame(number: int, *products: str, epoch: int = 1) -> Frame:
    slots = tuple(Slot(place + 1, PRODUCTS.index(name), name, 1.0) for place, name in enumerate(products))
    return Frame("hall-1", number, epoch, "5-0", 5, 1, 3, 0, slots)


class Transport(asyncio.Transport):
    """A connection whose client reads when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = True
        self.written = b""
        self.unread = 0
        self.ended: str | None = None
        self.protocol: Any = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        self.written += bytes(data)
        self.unread += 0 if self.reads else len(data)

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.ended is not None

    def close(self) -> None:
        self.ended = self.ended or "closed"
        self.protocol.connection_lost(None)

    def abort(self) -> None:
        self.ended = "aborted"
        self.protocol.connection_lost(None)

    def events(self) -> list[tuple[str, Any]]:
        """(kind, data) of what was written."""
        found = []
        for text in self.written.decode().split("\n\n"):
            lines = [line for line in text.split("\r\n")[-1].splitlines() if line]
            fields = dict(line.partition(": ")[::2] for line in lines)
            if "event" in fields:
                found.append((fields["event"], json.loads(fields["data"])))
        return found


class Track:
    """A venue, its live streams, and a clock that stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **given: Any) -> None:
        self.now_s = 1_000.0
        monkeypatch.setattr(hub, "time", SimpleNamespace(monotonic=lambda: self.now_s))
        self.view = VenueView(Venue("hall-1", "", 0), frame(0), DEFAULT_RULE, 1)
        self.view.show(frame(1, "p-1", "p-2"), {})
        frames = SimpleNamespace(views={"hall-1": self.view}, open_views={"hall-1": self.view})
        self.frames = frames
        self.live = Live(load_settings(keys="off", **given), cast("Frames", frames), None)
        self.connections: set[Any] = set()

    def open(self, *, since: tuple[int, int] | None = None, caller: str = "x", limit: int = 10) -> Transport:
        """A new stream."""
        transport = Transport()
        asked = Asked(Kind(limit, detailed=False, tokens=False), since, caller, "")
        self.live.open(self.live.boards(self.view), asked, transport, self.connections)
        return transport

    async def turn(self, seconds: float = 0.1) -> None:
        """One round of writing, so much later."""
        self.now_s += seconds
        (board,) = self.live._hubs.values()
        await board._round(self.now_s)


@pytest.fixture
async def track(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = Track(monkeypatch)
    yield made
    await made.live.stop()


async def test_who_does_not_read_is_written_nothing_more_and_then_the_latest(track: Track) -> None:
    slow, quick = track.open(), track.open()
    slow.reads = False
    for number in range(2, 8):
        track.view.show(frame(number, *PRODUCTS[number % 2 :]), {})
        await track.turn()
    assert [kind for kind, _ in quick.events()] == ["frame", *["changes"] * 6]
    assert [kind for kind, _ in slow.events()] == ["frame", "changes"]  # the second found no room
    slow.reads, slow.unread = True, 0
    await track.turn()
    kind, data = slow.events()[-1]
    assert (kind, data["since"], data["next"]) == ("changes", "1-2", "1-7")
    await track.turn()
    assert len(slow.events()) == 3


async def test_who_was_away_for_longer_than_frames_are_kept_is_given_the_whole_board(track: Track) -> None:
    slow = track.open()
    slow.reads, slow.unread = False, 1
    for number in range(2, 100):
        track.view.show(frame(number, "p-1"), {})
        await track.turn()
    slow.unread = 0
    await track.turn()
    assert [kind for kind, _ in slow.events()] == ["frame", "frame"]


async def test_who_reads_nothing_for_long_is_cut_off(track: Track) -> None:
    slow, quick = track.open(), track.open()
    slow.unread = 1
    await track.turn(2.0)
    await track.turn(STALL_S - 1)
    assert not slow.is_closing()
    await track.turn(2.0)
    assert slow.ended == "aborted"
    assert not quick.is_closing()
    assert slow.protocol not in track.connections


async def test_a_quiet_stream_is_kept_open_by_a_comment(track: Track) -> None:
    quiet = track.open()
    for _ in range(14):
        await track.turn(1.0)
    assert quiet.written.count(PING) == 1
    for _ in range(14):
        await track.turn(1.0)
    assert quiet.written.count(PING) == 2


async def test_a_client_that_is_ahead_is_not_given_an_older_frame_as_a_change(track: Track) -> None:
    ahead = track.open(since=(9, 9))
    assert [kind for kind, _ in ahead.events()] == ["frame"]


async def test_a_message_is_encoded_once_for_all_who_see_the_same(
    track: Track, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    encode = boards.encode

    def counted(told: Any) -> bytes:
        made.append(told)
        return encode(told)

    monkeypatch.setattr(live_boards, "encode", counted)
    streams = [track.open() for _ in range(50)]
    assert len(made) == 1
    track.view.show(frame(2, "p-2", "p-1"), {})
    await track.turn()
    assert len(made) == 2
    assert {len(stream.events()) for stream in streams} == {2}
    again = [track.open(since=(1, 1)) for _ in range(50)]
    assert len(made) == 3
    assert {stream.events()[0][1]["next"] for stream in again} == {"1-2"}


async def test_data_that_goes_stale_is_told_without_a_frame(track: Track) -> None:
    stream = track.open()
    track.view.age_ms, track.view.age_read_s = 60_000.0, time.monotonic()
    await track.turn()
    kind, data = stream.events()[-1]
    assert (kind, data["head"]["stale"], data["moves"]) == ("changes", True, [])


async def test_a_venue_that_is_gone_ends_its_streams(track: Track) -> None:
    stream = track.open()
    track.frames.views.clear()
    await track.turn(1.0)
    assert (stream.events()[-1], stream.ended) == (("bye", {"reason": "closed"}), "closed")
    assert stream.written.endswith(b"0\r\n\r\n")


async def test_bounds_are_of_streams_that_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    track = Track(monkeypatch, live_streams_max=3, live_streams_per_caller=2)
    mine, _ = track.open(caller="me"), track.open(caller="me")
    with pytest.raises(ProblemError) as refused:
        track.live.check_room("hall-1", "me")
    assert refused.value.code == "too_many_requests"
    track.live.check_room("hall-1", "you")
    yours = track.open(caller="you")
    with pytest.raises(ProblemError) as refused:
        track.live.check_room("hall-1", "another")
    assert refused.value.code == "overloaded"
    yours.close()
    mine.close()
    track.live.check_room("hall-1", "me")
    await track.live.stop()
