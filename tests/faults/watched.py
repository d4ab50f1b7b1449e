"""What a server carried out, in its order and by its clock: every commit and first frame, as MONITOR tells them."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import redis

from racing.store.client import connect
from racing.store.commit import CommitRecord, decode_commit

_COMMIT = re.compile(r"SET saima:\{(?P<venue>[^}]+)\}:commit (?P<record>.*)", re.DOTALL)
_FRAME = re.compile(r"XADD saima:\{(?P<venue>[^}]+)\}:frames (?:MAXLEN ~ \d+ )?(?P<epoch>\d+)-")
_END_S = 20.0


@dataclass
class Seen:
    """By venue: (moment in s since 1970, commit record), and epoch -> moment of its first frame."""

    commits: dict[str, list[tuple[float, CommitRecord]]] = field(default_factory=dict)
    frames: dict[str, dict[int, float]] = field(default_factory=dict)

    def note(self, at_s: float, command: str) -> None:
        """Take note of a command, if it is one of those looked for."""
        if found := _COMMIT.match(command):
            record = decode_commit(found["record"].replace("\\", "").encode())
            self.commits.setdefault(found["venue"], []).append((at_s, record))
        elif found := _FRAME.match(command):
            self.frames.setdefault(found["venue"], {}).setdefault(int(found["epoch"]), at_s)

    def stale(self, venue: str) -> int:
        """Commits that do not follow the one before: by number in its epoch, or as the first of a greater epoch."""
        found = 0
        for (_, before), (_, after) in pairwise(self.commits.get(venue, ())):
            follows = (
                after.number == before.number + 1
                if after.epoch == before.epoch
                else after.epoch > before.epoch and after.number == 0
            )
            found += not follows
        return found

    def take_overs(self, venue: str) -> dict[int, tuple[float, float]]:
        """Each new epoch of a venue but the first: epoch -> (moment of the last commit before, its own moment), s."""
        return {
            after.epoch: (before_s, after_s)
            for (before_s, before), (after_s, after) in pairwise(self.commits.get(venue, ()))
            if after.epoch != before.epoch
        }


@contextlib.contextmanager
def watched(url: str) -> Iterator[Seen]:
    """All that happens meanwhile; complete once left."""
    seen = Seen()
    watcher: Any = redis.Redis.from_url(url, protocol=2, socket_timeout=None)
    with watcher.monitor() as monitor:

        def watch() -> None:
            while not (told := monitor.next_command())["command"].startswith("ECHO end"):
                seen.note(told["time"], told["command"])

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield seen
        finally:
            client: Any = connect(url)
            client.execute_command("ECHO", "end")
            thread.join(_END_S)
            client.close()
    watcher.close()
