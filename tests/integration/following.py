"""A client of live streams that does by hand what a browser's EventSource does, and keeps its board up to date."""

from __future__ import annotations

import http.client
import json
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from api.changes import applied
from api.client import standings_applied


@dataclass(frozen=True)
class Event:
    """One event of a stream. retry_ms: when to come again, where it says so."""

    kind: str
    id: str | None
    data: dict[str, Any]
    retry_ms: int | None = None


class Follower:
    """An open stream, or its refusal. Reads wait 5 s at most."""

    def __init__(
        self, url: str, path: str, headers: dict[str, str] | None = None, *, receive_bytes: int | None = None
    ) -> None:
        """receive_bytes: what the system takes before it is read; its own choice where absent."""
        place = urlsplit(url)
        self._http = http.client.HTTPConnection(place.hostname or "", place.port, timeout=5)
        if receive_bytes is not None:
            self._http.sock = socket.socket()
            self._http.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            self._http.sock.settimeout(5)
            self._http.sock.connect((place.hostname, place.port))
        self._http.request("GET", path, headers=headers or {})
        self.answer = self._http.getresponse()
        self.status = self.answer.status
        self.board: dict[str, Any] = {}
        self.retry_ms: int | None = None
        self.comments = self.events = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Go away without a word."""
        self.answer.close()
        self._http.close()

    def problem(self) -> dict[str, Any]:
        """The refusal."""
        found: dict[str, Any] = json.loads(self.answer.read())
        return found

    def next(self) -> Event:
        """The next event, taken into the board. Raises EOFError at the end of the stream."""
        fields: dict[str, str] = {}
        while True:
            line = self.answer.readline()
            if not line:
                raise EOFError
            text = line.decode().rstrip("\n")
            if text.startswith(":"):
                self.comments += 1
            elif text:
                name, _, value = text.partition(": ")
                fields[name] = value
            elif "event" in fields:
                return self._take(fields)
            else:
                self.retry_ms = int(fields["retry"]) if "retry" in fields else self.retry_ms
                fields = {}

    def _take(self, fields: dict[str, str]) -> Event:
        retry_ms = int(fields["retry"]) if "retry" in fields else None
        self.events += 1
        event = Event(fields["event"], fields.get("id"), json.loads(fields["data"]), retry_ms)
        if event.kind in {"frame", "standings"}:
            self.board = event.data
        elif event.kind == "changes" and self.board:
            apply: Any = standings_applied if "merchant" in event.data else applied
            self.board = apply(self.board, event.data)
        return event

    def until(self, shows: Any, within_s: float = 5.0) -> dict[str, Any]:
        """The board, once it shows what is waited for."""
        end_s = time.monotonic() + within_s
        while not self.board or not shows(self.board):
            assert time.monotonic() < end_s, f"never shown; the last board: {self.board}"
            self.next()
        return self.board
