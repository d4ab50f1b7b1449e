"""Frames in memory: one task follows every venue's published frames; readers are answered without Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import structlog

from api.history import GRID_MS, NO_REFERENCES, References, Shown, references_after, references_at
from api.known_numbers import KnownNumbers
from api.last_frames import LastFrames
from api.past_frames import PastFrames, runners_of
from api.tokens import VenueTokens
from api.view import VenueView
from racing.errors import (
    CorruptRecordError,
    NotFoundError,
    RacingError,
    StoreError,
    StoreUnavailableError,
)
from racing.lifecycle import SHOWN
from racing.metrics import METRICS
from racing.model import Frame, Place, Position
from racing.rule import parse_rule
from racing.store.commit import FramePlace, decode_commit, decode_frame, placed_in
from racing.store.desk import Desk
from racing.store.feed import feed_over
from racing.store.kept import KeptFrames, Raw
from racing.store.protocol import AsyncClient
from racing.store.venues import Venue

log = structlog.get_logger("saima.frames")

_BLOCK_MS = 200
_VENUES_EVERY_S = 1.0
_LOOK_S, _RESTS = 0.2, 10
"""After a look for venues that are not known none is made for so many times as long, 200 ms at most: a flood of unknown
names costs a tenth of a process's time, and who has one wrong name hardly waits."""
"""Between two looks for venues that are not known: however many are asked for, they are listed five times a second."""
_VERSIONS_READ = 200
"""So many of the newest rule versions are looked through for phases: each was put by an operator."""


class Frames:
    """All venues of the deployment as this process sees them, kept fresh by one task.

    guarded: whether keys are in force. Without them every venue is open with all its details.
    """

    def __init__(
        self,
        desk: Desk,
        client: AsyncClient,
        reader: AsyncClient,
        *,
        guarded: bool = False,
        folder: Path | None = None,
        last: LastFrames | None = None,
    ) -> None:
        """Begin with no venue.

        folder: that of the segment files, where frames of more than some minutes ago are. last: where what is shown is
        kept, to be shown where the next start finds the store away.
        """
        self._desk = desk
        self._feed = feed_over(reader)
        self.kept = KeptFrames(client, folder)
        self._last = last
        self.past = PastFrames(desk, self.kept)
        self.numbers = KnownNumbers(desk)
        self._guarded = guarded
        self.views: dict[str, VenueView] = {}
        self.open_views: dict[str, VenueView] = {} if guarded else self.views
        """Those whose slots anyone may read."""
        self.on_show: Callable[[Shown, Shown], None] | None = None
        """Called with each frame that is shown, and the one before it."""
        self.redis_ok = False
        self._listed_s = 0.0
        self._listed_ok = False
        self._looking, self._looked_s, self._rest_s = asyncio.Lock(), 0.0, 0.0
        self._halted = False
        self._tasks: list[asyncio.Task[None]] = []

    def remember(self, now_ms: int) -> None:
        """Show the venues as this process has shown them last, before it was started anew: the store is away."""
        for view in () if self._last is None else self._last.load(now_ms):
            if view.venue.venue not in self.views:
                self.views[view.venue.venue] = view
                self.take(view.venue)

    async def start(self) -> None:
        """Begin to follow; never fails, an absent Redis is tried again."""
        self._tasks = [
            asyncio.create_task(self._list(), name="venues"),
            asyncio.create_task(self._follow(), name="frames"),
        ]

    async def stop(self) -> None:
        """End the tasks."""
        self._halted = True  # a cancellation that meets a time-out at once can be lost in the client
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._feed.stop()

    async def view(self, venue: str) -> VenueView | None:
        """A venue's view, after a look at Redis for one not seen yet: None where there was none when it was asked for.

        Raises StoreUnavailableError where a venue is not seen and nobody can tell whether there is one.
        """
        await self.look_for([venue])
        return self.views.get(venue)

    async def look_for(self, venues: Iterable[str]) -> None:
        """Look once for all those of these venues that are not seen yet. Raises as look_again does."""
        missing = next((venue for venue in venues if venue not in self.views), None)
        if missing is not None:
            await self.look_again(missing)

    async def look_again(self, venue: str) -> None:
        """Return when the venues are as a look has found them that began after this call.

        Raises StoreUnavailableError where they could not be listed, and the venue is not one that is known. Cost: a
        look, a tenth of the time at most; all who wait meanwhile share the next one.
        """
        came_s = time.monotonic()
        async with self._looking:
            wait_s = self._looked_s + self._rest_s - time.monotonic()
            if self._looked_s <= came_s and (wait_s <= 0 or self._listed_ok):  # else it was found away just now
                await asyncio.sleep(wait_s)
                self._looked_s = begun_s = time.monotonic()
                try:
                    await self.refresh()
                except StoreError:  # told below, with the venue's name; and so to all who came meanwhile
                    self._looked_s, self._rest_s = time.monotonic(), _LOOK_S
                else:
                    self._rest_s = min(_LOOK_S, _RESTS * (time.monotonic() - begun_s))
        if venue not in self.views and not self._listed_ok:
            raise StoreUnavailableError(f"Redis is away: nobody can tell whether there is a venue {venue[:80]!r}")

    async def list_again(self) -> None:
        """List the venues, unless that was done less than 200 ms ago. Raises StoreUnavailableError."""
        if time.monotonic() - self._listed_s > _LOOK_S:
            with suppress(StoreError):  # told below
                await self.refresh()
        if not self._listed_ok:
            raise StoreUnavailableError("Redis is away: nobody can tell which venues there are")

    async def refresh(self) -> None:
        """Take note of venues that are new or gone. Raises StoreError."""
        self._listed_s = time.monotonic()
        before = set(self.views)
        try:
            listed = {venue.venue: venue for venue in await self._desk.venues.all()}
        except StoreError:
            self._listed_ok = False
            raise
        for name in before - set(listed):  # a venue made since then is not in the list, and not gone
            self.views.pop(name, None)
            self.open_views.pop(name, None)
        trouble: StoreError | None = None
        for name, venue in listed.items():
            try:
                if name not in self.views:
                    await self._see(venue)
                elif venue != self.views[name].venue:
                    self.take(venue)
                if self.views[name].tokens is None:  # it was remembered, while nobody could tell the secret
                    self.views[name].tokens = VenueTokens(await self._desk.secret(), name)
                    self.take(venue)  # what was made without them is made anew
            except StoreError as exc:  # on a cluster one node may be away; the venues of the others are seen
                trouble = exc
            except CorruptRecordError as exc:
                log.error("cannot show a venue", venue=name, reason=str(exc))  # noqa: TRY400  # said whole
        self._listed_ok = trouble is None
        if trouble is not None:
            raise trouble

    async def _see(self, venue: Venue) -> None:
        version = await self._desk.rules.read(venue.venue)
        empty = Frame(venue.venue, 0, 0, "0-0", venue.created_ms, version.version, 0, 0, ())
        newest = await self.kept.newest(venue.venue)
        tokens = VenueTokens(await self._desk.secret(), venue.venue)
        view = VenueView(venue, empty, parse_rule(version.rule), version.version, tokens=tokens)
        if newest is not None:  # those before it are not shown, so they are not read either
            await self._take_newer(view, [newest])
        self.views.setdefault(venue.venue, view)
        self.take(venue)

    def take(self, venue: Venue) -> None:
        """Take note of a venue's own data."""
        view, access = self.views[venue.venue], venue.access
        public_slots = not self._guarded or (access.slots_public and venue.state in SHOWN)
        view.take(venue, public_details=not self._guarded or access.details_public, public_slots=public_slots)
        if public_slots:
            self.open_views[venue.venue] = view
        else:
            self.open_views.pop(venue.venue, None)

    async def refresh_rule(self, view: VenueView, version: int) -> None:
        """Read the rule that scored a frame: a phase's, while it holds."""
        try:
            found = await self._desk.rules.read(view.venue.venue, version)
        except NotFoundError:  # of a log that a failover has cut
            found = await self._desk.rules.read(view.venue.venue)
        view.rule, view.rule_version = parse_rule(found.rule), version

    async def learn_kinds(self, view: VenueView) -> None:
        """Read which kinds of events a venue takes beside those of the rule in force: of phases, and the rule put last.

        Those of a phase that was withdrawn are still taken.
        """
        current, highest = await self._desk.rules.numbers(view.venue.venue)
        numbers = range(max(view.versions_seen, highest - _VERSIONS_READ) + 1, highest + 1)
        found = await self._desk.rules.versions(view.venue.venue, [current, *numbers])
        of_phases = {kind for each in found if each.phase for kind in parse_rule(each.rule).kinds()}
        kinds = view.more_kinds | of_phases | (parse_rule(found[0].rule).kinds() if found else set())
        view.versions_seen = highest
        if kinds != view.more_kinds:
            view.more_kinds = kinds

    async def _list(self) -> None:
        """Keep the list of venues fresh, apart from the frames: on a cluster its node may be away alone."""
        while not self._halted:
            await asyncio.sleep(max(0.0, self._listed_s + _VENUES_EVERY_S - time.monotonic()))
            try:
                await self.refresh()
                for view in self.views.values():
                    view.history.forget(time.monotonic())
                if self._last is not None:
                    await self._last.keep(self.views.values())
            except StoreError as exc:
                log.warning("cannot list venues", reason=str(exc))
            except Exception:
                log.exception("unexpected error while listing venues")

    async def _follow(self) -> None:
        while not self._halted:
            try:
                await self._look()
                self.redis_ok = self._listed_ok
            except StoreUnavailableError as exc:
                if self.redis_ok:
                    log.warning("Redis is away, frames are served as they were", reason=str(exc))
                self.redis_ok = False
                await asyncio.sleep(0.25)
            except RacingError as exc:
                log.error("cannot follow frames", reason=str(exc))  # noqa: TRY400  # said whole
                await asyncio.sleep(0.25)
            except Exception:
                log.exception("unexpected error while following frames")
                await asyncio.sleep(0.25)

    async def _look(self) -> None:
        if not self.views:
            await asyncio.sleep(_BLOCK_MS / 1000)
            return
        after = {name: view.last_id for name, view in self.views.items()}
        fresh = await self._feed.look(after, block_ms=_BLOCK_MS)
        looked_s = time.monotonic()
        for name, raws in fresh.frames.items():
            if (view := self.views.get(name)) is not None:
                await self._take_newer(view, raws)
        for name, last in fresh.commits.items():
            view = self.views.get(name)
            if view is not None and last.raw and self._reads_commit(view, last.raw):
                view.age_ms, view.age_read_s = max(0.0, last.now_ms - view.commit.as_of_ms), looked_s
                METRICS.set("saima_frame_age_ms", name, view.age_ms)

    async def catch_up(self, view: VenueView, place: Place) -> bool:
        """Whether the venue's current frame is one at this place or later, once those published by now are taken.

        Readers name frames that another process has shown them: this one must not answer with an older one. Raises
        StoreError. Cost: nothing where it is so already, else a short read, which all who wait meanwhile share.
        """
        if view.frame.place >= place:
            return True
        looked = view.looks
        async with view.looking:
            if view.looks == looked:  # else there was a look that began after what the reader had seen was published
                view.looks += 1
                while view.frame.place < place and (raws := await self.kept.after(view.venue.venue, view.last_id)):
                    await self._take_newer(view, raws)
        return view.frame.place >= place

    async def _take_newer(self, view: VenueView, raws: list[Raw]) -> None:
        """Show the last of some published frames, oldest first, unless one as new is shown. Damaged ones are none."""
        async with view.following:
            fresh = [
                (placed, raw)
                for _, raw in raws
                if (placed := placed_in(raw)) is not None and placed.place > view.frame.place
            ]
            if fresh:
                references = await self._references(view, fresh)
                await self._show(view, decode_frame(fresh[-1][1]), references)
            view.last_id = max(view.last_id, raws[-1][0], key=Position.parse)

    async def _references(self, view: VenueView, fresh: list[tuple[FramePlace, bytes]]) -> References:
        """What the last of some frames is compared with, which come after the current one and are not all shown."""
        before = view.frame
        if not before.frame or view.now.references is NO_REFERENCES:
            return await references_at(self.kept, view.venue.venue, fresh[-1][0].at_ms)
        references, at_ms, last = view.now.references, before.at_ms, b""
        for placed, raw in fresh:
            if placed.at_ms // GRID_MS != at_ms // GRID_MS:  # only then is the one before it worth decoding
                references = references_after(references, decode_frame(last) if last else before, placed.at_ms)
            at_ms, last = placed.at_ms, raw
        return references

    async def _show(self, view: VenueView, frame: Frame, references: References) -> None:
        wanted = runners_of(frame)
        known = view.runners if (frame.epoch, frame.roster) == (view.frame.epoch, view.frame.roster) else {}
        missing = sorted(wanted - known.keys())
        runners = {
            **{n: known[n] for n in wanted & known.keys()},
            **await self._desk.runners.by_number(view.venue.venue, missing),
        }
        if frame.rule_version != view.rule_version:
            await self.refresh_rule(view, frame.rule_version)
        badges, before = await self.past.badges_of(view, frame.rule_version), view.now
        view.show(frame, runners, references, badges)
        if self.on_show is not None:
            self.on_show(before, view.now)

    def _reads_commit(self, view: VenueView, raw: bytes) -> bool:
        """Take note of a venue's last commit; one that cannot be read is told once, and leaves other venues alone."""
        before = view.trouble
        try:
            view.commit, view.trouble = decode_commit(raw), ""
        except RacingError as exc:
            view.trouble = str(exc)
        if view.trouble and view.trouble != before:
            told = "commit cannot be read, frames are served as they were"
            log.error(told, venue=view.venue.venue, reason=view.trouble)
        return not view.trouble
