"""Clients of live streams: so many connections in one thread, which read all they are sent, or nothing at all."""

from __future__ import annotations

import re
import selectors
import socket
import time
from collections import Counter
from typing import Any

import numpy as np

from loadtests.bodies import request_bytes

_RECEIVE_BYTES = 1 << 18
_SILENT_RECEIVE_BYTES = 4_096
"""What the system takes for a client that never reads, so that it is soon full."""
_CHANGES = re.compile(rb"event: changes\nid: ([0-9-]+)\n")
_END = b"\n\n\r\n"
_OPEN_S = 40.0
_LAST_S = 0.3


class Followers:
    """Open streams. Raises ConnectionError where one is refused, or ended by the service."""

    def __init__(self, address: tuple[str, int], path: str, connections: int, silent: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._request = request_bytes("GET", path)
        self._tails: dict[socket.socket, bytes] = {}
        self._silent = [self._asked(address, _SILENT_RECEIVE_BYTES) for _ in range(silent)]
        for _ in range(connections):
            stream = self._asked(address, None)
            stream.setblocking(False)  # noqa: FBT003  # the standard library's own signature
            self._tails[stream] = b""
            self._selector.register(stream, selectors.EVENT_READ)
        self._forget()
        self._open()

    def _forget(self) -> None:
        self._seen: dict[bytes, float] = {}
        self._late_s: list[float] = []
        self._counts: Counter[socket.socket] = Counter()
        self._boards = 0
        self._bytes = 0

    def _asked(self, address: tuple[str, int], receive_bytes: int | None) -> socket.socket:
        made = socket.socket()
        if receive_bytes is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        made.settimeout(_OPEN_S)
        made.connect(address)
        made.sendall(self._request)
        return made

    def _open(self) -> None:
        """Read until each has its first board."""
        until_s = time.monotonic() + _OPEN_S
        while self._boards < len(self._tails):
            if time.monotonic() > until_s:
                raise ConnectionError(f"{self._boards} streams of {len(self._tails)} showed a board within {_OPEN_S} s")
            for key, _ in self._selector.select(0.1):
                self._take(key.fileobj)

    def run(self, seconds: float) -> dict[str, Any]:
        """Read for so long; what came: changes told, their bytes, and how much later than the first each was told."""
        self._forget()
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            for key, _ in self._selector.select(0.05):
                self._take(key.fileobj)
        told = sorted(self._counts[stream] for stream in self._tails) or [0]
        late_ms = 1000 * np.array(self._late_s or [0.0])
        return {
            "changes": sum(told),
            "frames": len(self._seen),
            "changes_per_client": [told[0], told[-1]],
            "bytes": self._bytes,
            "late_ms_p50": round(float(np.percentile(late_ms, 50)), 2),
            "late_ms_p99": round(float(np.percentile(late_ms, 99)), 2),
            "late_ms_max": round(float(late_ms.max()), 2),
            "cpu_s": time.process_time(),
        }

    def _take(self, stream: Any) -> None:
        """Count the events that are whole by now."""
        came: bytes = stream.recv(_RECEIVE_BYTES)
        now_s = time.monotonic()
        data = self._tails[stream] + came
        self._bytes += len(came)
        if not came or (data.startswith(b"HTTP") and not data.startswith(b"HTTP/1.1 200")):
            raise ConnectionError(f"the service ended or refused a stream: {data[-300:].decode(errors='replace')}")
        last = data.rfind(_END)
        whole = 0 if last < 0 else last + len(_END)
        self._tails[stream] = data[whole:]
        self._boards += data.count(b"event: frame\n", 0, whole)
        for name in _CHANGES.findall(data, 0, whole):
            self._counts[stream] += 1
            self._late_s.append(now_s - self._seen.setdefault(name, now_s))

    def close(self) -> None:
        """Hang up all."""
        self._selector.close()
        for stream in (*self._tails, *self._silent):
            stream.close()
