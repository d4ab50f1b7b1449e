"""How long answers to Idempotency-Keys are kept: by the time that owners see pass, which no clock that is set can skip.

Redis would end keys by its own clock: were it set an hour ahead, all would end at once, and a batch that is sent again
would count twice. So answers stand in one hash, and after so long the owner puts that hash aside, in place of the one
put aside before; an answer is looked for in both. The commit that does so is fenced like any other, and says how old
the hash is, so that the next owner counts on.
"""

from __future__ import annotations

import time
from typing import Any

from racing.errors import CorruptRecordError
from racing.model import Position
from racing.store.keys import VenueKeys

_MARK = "@"
"""Field of a hash that is put aside: no sender's key, and there to be renamed also where nothing was answered."""


class AnswersAge:
    """The age of a venue's hash of answers, as its owner counts it.

    An answer is kept for keep_ms at least, and for twice that at most, beside what time no owner saw pass.
    """

    def __init__(self, keys: VenueKeys, keep_ms: int, age_ms: int) -> None:
        """keep_ms: how long an answer is kept at least. age_ms: of the hash, as the last commit has it."""
        self._keys = keys
        self._keep_ms = keep_ms
        self._begun_s = time.monotonic() - age_ms / 1000

    def take(self) -> tuple[int, list[tuple[Any, ...]]]:
        """(age for the next commit, ms; commands that belong into it, which put the hash aside when it is due)."""
        now_s = time.monotonic()
        age_ms = int((now_s - self._begun_s) * 1000)
        if age_ms < self._keep_ms:
            return age_ms, []
        self._begun_s = now_s
        young, old = self._keys.answers, self._keys.answers_before
        return 0, [("UNLINK", old), ("HSET", young, _MARK, ""), ("RENAME", young, old)]


def parts_of(kept: bytes) -> tuple[str, str, bytes]:
    """(digest of the body, log entry, answer) of what is kept for a key. Raises CorruptRecordError."""
    try:
        digest, entry, answer = kept.split(b" ", 2)
        return digest.decode(), str(Position.parse(entry)), answer
    except ValueError as exc:
        raise CorruptRecordError(f"the answer that is kept for an Idempotency-Key is damaged: {kept!r:.100}") from exc


def within(kept: bytes, last: Position) -> bool:
    """Whether an answer is one to a batch of the log up to there; none that is damaged, and not the mark."""
    try:
        return Position.parse(parts_of(kept)[1]) <= last
    except CorruptRecordError:
        return False
