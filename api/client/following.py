"""What the clients follow: a board, or a merchant's standings, kept up to date by the messages of a stream."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final, Generic, TypeVar

from api.client.boards import Board, applied, name_of
from api.client.flows import MOST_S, Ask, Asking, Query, SaimaError, delay_s
from api.client.standings import Standings, standings_applied

_STREAM_AGAIN_S: Final = 30.0

T = TypeVar("T")


class Follower(ABC, Generic[T]):
    """What is followed: what to ask next, and what the answers make of it."""

    kinds: frozenset[str]
    """Events of its stream that tell of it."""

    def __init__(self, asking: Asking, query: Mapping[str, Query | None]) -> None:
        self._asking, self._query = asking, query
        self.has: T | None = None
        self.failed = 0
        self._stream_s = 0.0
        self.retry_s = 1.0
        """How long to wait when the stream has ended."""
        self._kind = self._data = ""

    @abstractmethod
    def name(self) -> str | None:
        """Names what is here."""

    @abstractmethod
    def take(self, message: Any) -> T | None:
        """What a message makes of what is here; None where nothing has changed. Raises SaimaError for another's."""

    def ask(self, what: str) -> Ask:
        """The stream or the changes, from what is here."""
        return self._asking.request(what, **self._query, since=self.name())

    def streams(self) -> bool:
        """Whether to try the stream now; then not again soon, unless it comes through."""
        now_s = time.monotonic()
        if now_s < self._stream_s:
            return False
        self._stream_s = now_s + _STREAM_AGAIN_S
        return True

    def hear(self, line: str) -> T | None:
        """A line of the stream: what is followed, where it ends an event that changes it, as take has it."""
        if line:
            name, _, value = line.partition(": ")
            if name == "event":
                self._kind = value
            elif name == "data":
                self._data += value
            elif name == "retry" and value.isdecimal():
                self.retry_s = min(int(value) / 1000, MOST_S)
            return None
        kind, data, self._kind, self._data = self._kind, self._data, "", ""
        if kind not in self.kinds:
            return None
        self.failed, self._stream_s = 0, 0.0
        return self.take(json.loads(data))

    def delay_s(self) -> float:
        """Seconds to wait after something went wrong."""
        self.failed += 1
        return delay_s(self.failed - 1)


class BoardFollower(Follower[Board]):
    """A board that is followed."""

    kinds = frozenset({"frame", "changes"})

    def name(self) -> str | None:
        """The name of its frame."""
        return None if self.has is None else name_of(self.has)

    def take(self, message: Any) -> Board | None:
        """The board, of itself or of changes of the one that is here; None where nothing has changed.

        Raises SaimaError for changes of another board; then the whole of it is asked for.
        """
        whole = message if "slots" in message else message.get("full")
        if whole is None:
            if self.has is None or message["since"] != name_of(self.has):
                self.has = None
                raise SaimaError(f"changes since {message['since']}, which is not the board that is here")
            if message["next"] == message["since"] and not message["changed"]:
                return None
            whole = applied(self.has, message)
        self.has = whole
        return self.has


class StandingsFollower(Follower[Standings]):
    """A merchant's standings that are followed."""

    kinds = frozenset({"standings", "changes"})

    def name(self) -> str | None:
        """What the service has called them."""
        return None if self.has is None else self.has["next"]

    def take(self, message: Any) -> Standings | None:
        """The standings, of themselves or of changes of those that are here; None where nothing has changed.

        Raises SaimaError for changes of others; then all of them are asked for.
        """
        if "since" not in message:
            self.has = message
        elif self.has is None or message["since"] != self.has["next"]:
            self.has = None
            raise SaimaError(f"changes since {message['since']}, which are not the standings that are here")
        elif message["next"] == message["since"]:
            return None
        else:
            self.has = standings_applied(self.has, message)
        return self.has
