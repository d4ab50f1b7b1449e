"""Moments as people write them: RFC 3339 with an offset from UTC, and as the race counts them: ms."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_FORM = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?([Zz]|[+-]\d{2}:\d{2})?")
WORDS = "must be a time with its offset from UTC, as 2025-11-11T00:00:00+08:00"


def parse_moment(text: str) -> int:
    """The ms since 1970 of a time such as 2025-11-11T00:00:00+08:00; finer parts, as clocks write them, are cut off.

    Raises ValueError, in words, for any other text, and for one without an offset: whose midnight it is decides.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(WORDS)
    if found.group(3) is None:
        raise ValueError(f"{WORDS}: without an offset nobody can tell whose clock it is of")
    try:
        moment = datetime.fromisoformat(text.upper().replace(" ", "T"))
    except ValueError as exc:
        raise ValueError(f"{WORDS}: {exc}") from exc
    return int(moment.replace(microsecond=0).timestamp()) * 1000 + moment.microsecond // 1000


def moment_text(at_ms: int) -> str:
    """A moment as RFC 3339 in UTC, to the ms where it has some."""
    whole = datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{at_ms % 1000:03d}Z" if at_ms % 1000 else f"{whole}Z"
