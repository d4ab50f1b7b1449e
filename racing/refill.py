"""From when the windows are full again after a rule changed their length or their buckets."""

from __future__ import annotations

from typing import NamedTuple

from racing.rule import Rule


class FullFrom(NamedTuple):
    """The moments from which the window, and the base too, hold all that came in them."""

    window_ms: int
    base_ms: int


def full_from(before: Rule, after: Rule, *, changed_ms: int, began_ms: int) -> FullFrom | None:
    """From when window and base are full under a rule that takes the place of another; None where they are at once.

    Longer windows are rebuilt from what is kept: the buckets of two former windows. changed_ms: when the rule changes;
    began_ms: the first entry of the log, before which there is nothing to lack. Moments that have passed by then say
    that this part is full. The answer for a rule that had just been changed before takes no account of that.
    """
    if (before.window_ms, before.bucket_ms) == (after.window_ms, after.bucket_ms):
        return None
    kept_from_ms = (changed_ms // before.bucket_ms + 1) * before.bucket_ms - 2 * before.window_ms
    if kept_from_ms <= began_ms:
        return None
    first = -(-kept_from_ms // after.bucket_ms)
    length = after.window_ms // after.bucket_ms
    full = FullFrom((first + length - 1) * after.bucket_ms, (first + 2 * length - 1) * after.bucket_ms)
    return full if full.base_ms > changed_ms else None
