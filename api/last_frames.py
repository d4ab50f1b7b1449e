"""Last frames on disk: what an API process shows that is started while Redis is away (兜底).

Each process writes what it shows, every few seconds, to a folder of its own; nothing else reads it. A file is whole or
not there; one that cannot be read counts as none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import structlog

from api.view import VenueView
from racing.entries import Runner
from racing.errors import RuleError
from racing.model import Frame
from racing.rule import parse_rule
from racing.store.blocks import write_whole
from racing.store.venues import Venue

log = structlog.get_logger("saima.frames")

EVERY_S = 5.0
"""Between two times that frames are written: a shopper can bear an order of some seconds before."""
FORMAT = 1


class _Kept(msgspec.Struct, frozen=True):
    """A frame with all that is shown with it, and when nothing was missing in it, ms of the server's clock."""

    format: int
    venue: Venue
    frame: Frame
    runners: dict[int, Runner]
    rule: dict[str, Any]
    rule_version: int
    as_of_ms: int


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Kept).decode


class LastFrames:
    """The files of one folder. Bound: one for each venue, some 20 kB for 50 slots."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[str, str] = {}
        self._written_s = float("-inf")

    async def keep(self, views: Iterable[VenueView]) -> None:
        """Write the frames that are new, if it is time again; forget those of venues that are no more. Never raises."""
        if time.monotonic() - self._written_s < EVERY_S:
            return
        self._written_s = time.monotonic()
        shown = {view.venue.venue: view for view in views if view.frame.frame and view.age_ms is not None}
        fresh = [_kept(view) for name, view in shown.items() if self._written.get(name) != view.frame.name]
        gone = self._written.keys() - shown.keys()
        try:
            await asyncio.to_thread(self._write, fresh, gone)
        except OSError as exc:
            log.warning("cannot write last frames", folder=str(self._folder), reason=str(exc))
            return
        self._written = {name: view.frame.name for name, view in shown.items()}

    def _write(self, fresh: list[_Kept], gone: set[str]) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds boards that are not public
        for kept in fresh:
            write_whole(self._path(kept.venue.venue), [_encode(kept)])
        for venue in gone:
            self._path(venue).unlink(missing_ok=True)

    def _path(self, venue: str) -> Path:
        return self._folder / f"venue-{venue}.json"

    def load(self, now_ms: int) -> Iterator[VenueView]:
        """The venues as they were shown last, each with its age. now_ms: the clock of this machine."""
        for path in sorted(self._folder.glob("venue-*.json")) if self._folder.is_dir() else ():
            try:
                kept = _decode(path.read_bytes())
                if kept.format != FORMAT:
                    continue
                view = VenueView(kept.venue, kept.frame, parse_rule(kept.rule), kept.rule_version)
            except (OSError, msgspec.MsgspecError, RuleError) as exc:
                log.warning("a last frame cannot be read and is not shown", file=str(path), reason=str(exc))
                continue
            view.show(kept.frame, kept.runners)
            view.last_id = kept.frame.name
            view.age_ms, view.age_read_s = float(max(0, now_ms - kept.as_of_ms)), time.monotonic()
            self._written[kept.venue.venue] = kept.frame.name
            yield view


def _kept(view: VenueView) -> _Kept:
    return _Kept(
        FORMAT,
        view.venue,
        view.frame,
        view.runners,
        view.rule.model_dump(mode="json", exclude_none=True),
        view.rule_version,
        view.commit.as_of_ms,
    )
