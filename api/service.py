"""What every route works with: the store's desk, the frames in memory, and the settings."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Path, Request

from api.appender import Appender
from api.encoded import Slots
from api.errors import ProblemError
from api.follower import Followers
from api.frames import Frames
from api.gone import Gone
from api.grants import Grants
from api.hub import Hub
from api.ladders import Ladders
from api.live import Live
from api.live_standings import MerchantStandings, Scope, Share
from api.moves import Moves
from api.owned import Owned
from api.quota import Pace, Quotas
from api.recent_ids import RecentIds
from api.tokens import Exposures, TokenUses
from api.turns import Turns
from api.view import VenueView
from racing.model import ID_PATTERN
from racing.settings import Settings
from racing.store.applications import Applications
from racing.store.audit import Audit
from racing.store.client import connect
from racing.store.desk import Desk
from racing.store.orders import Orders
from racing.store.plans import Plans
from racing.store.removal import remove_venue

ADVICE_TIMES, ADVICE_WITHIN_S = 10, 60
"""Advice on one product to one key, by each API process: enough to look at, too little to probe the formula."""

_REMOVED_AT_ONCE = 4
"""Venues; more wait. asyncio's own threads look up names of servers: they must be free when Redis comes back."""


@dataclass
class Service:
    """One per API process."""

    settings: Settings
    desk: Desk
    frames: Frames
    grants: Grants | None = None
    url: str = ""
    """Of Redis, for what is done by clients of its own."""
    recent_ids: dict[str, RecentIds] = field(default_factory=dict)
    appenders: dict[str, Appender] = field(default_factory=dict)
    draining: bool = False
    """Whether this process was asked to end: it still serves, and is not ready."""
    joined: dict[tuple[tuple[Slots, ...], tuple[str, ...]], Slots] = field(default_factory=dict)
    """Answers with the boards of several venues, by those of each."""
    full: str | None = None
    """Why no event and no runner is taken, while Redis is nearly full."""
    again: set[asyncio.Task[None]] = field(default_factory=set)
    """Batches that are being sent again; held here, or nobody would."""
    turns: Turns = field(default_factory=Turns)
    moves: Moves = field(default_factory=Moves)
    ladders: Ladders = field(default_factory=Ladders)
    owned: Owned = field(default_factory=Owned)
    share: Share = field(default_factory=Share)
    """What readings for merchants' live streams take of this process."""
    merchant_quotas: Quotas = field(init=False)
    """What merchants may ask that costs more than a read of memory."""
    token_uses: TokenUses = field(init=False)
    advice: Pace = field(default_factory=lambda: Pace(ADVICE_TIMES, ADVICE_WITHIN_S))
    _removing: Executor = field(default_factory=lambda: ThreadPoolExecutor(_REMOVED_AT_ONCE, "removing"))
    _followers: Followers | None = None
    _secret: bytes | None = None
    _gone: Gone | None = None

    def __post_init__(self) -> None:
        self.live = Live(self.settings, self.frames, self.grants)
        self.token_uses = TokenUses(self.settings.token_uses_max)
        self.merchant_quotas = Quotas(self.settings.merchant_requests_per_s)

    def standings_of(self, merchant: str) -> Hub[Scope]:
        """The live streams of a merchant's standings. To be held by who means to open one."""
        return self.live.standings(merchant, lambda: MerchantStandings(self, merchant, self.share))

    async def remove(self, venue: str) -> int:
        """As remove_venue, with the files of this machine. Takes seconds, in a thread of few that are for it alone."""
        return await asyncio.get_running_loop().run_in_executor(self._removing, self._removed, venue)

    def _removed(self, venue: str) -> int:
        root, client = connect(self.url), connect(self.url, venue=venue)
        try:
            return remove_venue(root, client, venue, folder=self.settings.segments_folder)
        finally:
            root.close()
            client.close()

    def forget(self, venue: str) -> None:
        """Drop what this process holds of a venue that has gone."""
        self.appenders.pop(venue, None)
        self.recent_ids.pop(venue, None)

    @property
    def orders(self) -> Orders:
        """The orders of the desk of every venue."""
        return Orders(self.desk, self.desk.client)

    @property
    def plans(self) -> Plans:
        """The plans of every venue."""
        return Plans(self.desk, self.desk.client)

    @property
    def gone(self) -> Gone:
        """What has left the board since an older frame."""
        if self._gone is None:
            self._gone = Gone(self.desk, self.orders)
        return self._gone

    @property
    def applications(self) -> Applications:
        """The applications to every venue."""
        return Applications(self.desk)

    @property
    def audit(self) -> Audit:
        """The decisions on every venue."""
        return Audit(self.desk.client)

    def exposures(self, view: VenueView, page_kinds: frozenset[str] | None) -> Exposures | None:
        """What reads the tokens of a venue's events now. page_kinds: as Exposures has it."""
        if view.tokens is None:
            return None
        lives_s, now_s = self.settings.token_lives_s, self.now_ms() / 1000
        return Exposures(view.tokens, self.token_uses, now_s, lives_s, page_kinds)

    def followers(self) -> Followers:
        """The processes that answer questions; they run only while they are asked."""
        if self._followers is None:
            self._followers = Followers(self.settings, self.url)
        return self._followers

    async def stop_followers(self) -> None:
        """End those processes."""
        if self._followers is not None:
            await self._followers.stop()

    async def secret(self) -> bytes:
        """The deployment's secret, read once."""
        if self._secret is None:
            self._secret = await self.desk.secret()
        return self._secret

    async def appender(self, venue: str) -> Appender:
        """The way of this process into the log of a venue, made at its first use."""
        found = self.appenders.get(venue)
        if found is None:
            found = self.appenders.setdefault(venue, Appender(self.desk, venue, await self.secret()))
        return found

    def grants_in_force(self) -> Grants:
        """The keys: to be asked only while they are in force."""
        assert self.grants is not None, "keys are in force, and nobody knows them"
        return self.grants

    def now_ms(self) -> int:
        """Wall clock of this process, ms: for limits at the door and dates; the race has its own time."""
        return time.time_ns() // 1_000_000


async def service_of(request: Request) -> Service:
    """The process's service. Async, or FastAPI would run it in a thread, which costs more than most answers."""
    service: Service = request.app.state.service
    return service


Serving = Annotated[Service, Depends(service_of)]


VenueName = Annotated[
    str, Path(description="id of the venue", examples=["hall-1"], json_schema_extra={"pattern": ID_PATTERN})
]


def no_venue(venue: str) -> ProblemError:
    """The one answer for a venue that does not exist, or not for this caller."""
    return ProblemError("not_found", f"there is no venue {venue[:80]!r}: GET /v1/venues lists what there is")


async def view_of(venue: VenueName, service: Serving) -> VenueView:
    """The venue in the path; 404 where it does not exist."""
    view = await service.frames.view(venue)
    if view is None:
        raise no_venue(venue)
    return view


Viewed = Annotated[VenueView, Depends(view_of)]
