"""The door of a venue: which events it takes just now, and why it refuses the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import repeat
from typing import Any

import msgspec
import numpy as np

from api.sent_events import is_id
from api.taken import VALUE_MAX, Decoded, RefusedEvent, Rows, Taken
from api.tokens import Exposures, TokenRefusedError
from racing.documents import ID_WORDS
from racing.events import NO_TIME_MS
from racing.rule import Rule


class Door(msgspec.Struct, frozen=True):
    """What the venue takes just now: its rule, its kinds by code, the clock, and the numbers of its products.

    exposures: reads the tokens of events.
    """

    venue: str
    rule: Rule
    kinds: Mapping[str, int]
    numbers: Mapping[str, int]
    now_ms: int
    exposures: Exposures | None = None

    def sort_out(self, decoded: Decoded) -> tuple[Taken, list[RefusedEvent]]:
        """The events that are taken, in order, and all that are refused, by index.

        Where all products and kinds are known and all times fit, no event is looked at alone.
        """
        rows = decoded.rows
        from_page = self.exposures is not None and self.exposures.page_kinds is not None
        taken = None if from_page else self.take(rows)
        if taken is not None:
            return taken, decoded.refused
        whys = list(map(self.why, rows.type, rows.product, rows.ts_ms or repeat(None)))
        rows = self._tied(rows, whys)
        good = [place for place, why in enumerate(whys) if why is None]
        wrong = [RefusedEvent(decoded.places[place], *why) for place, why in enumerate(whys) if why is not None]
        refused = sorted([*decoded.refused, *wrong], key=lambda each: each.index)
        taken = self.take(rows.only(good))
        assert taken is not None, "events that nothing is wrong with are taken"
        return taken, refused

    def take(self, rows: Rows) -> Taken | None:
        """All of these events; None if one of them is to be refused, or has a token that is to be read."""
        if rows.token is not None:
            return None
        if rows.ts_ms is not None:
            first_ms, last_ms = self.times_ms()
            earliest_ms, latest_ms = _ends(rows.ts_ms, first_ms)
            if earliest_ms < first_ms or latest_ms > last_ms:
                return None
        try:
            kind = bytes(map(self.kinds.__getitem__, rows.type))
            runners = np.fromiter(map(self.numbers.__getitem__, rows.product), np.int64, len(rows.product))
        except KeyError:
            return None
        return Taken(rows, tuple(self.kinds), kind, runners)

    def _tied(self, rows: Rows, whys: list[tuple[str, str] | None]) -> Rows:
        """Events with the frame and slot of their tokens for their own; whys gets why a token is refused."""
        page_kinds = None if self.exposures is None else self.exposures.page_kinds
        if self.exposures is None or (rows.token is None and page_kinds is None):
            return rows._replace(token=None)
        size = len(rows.type)
        frames, slots = list(rows.frame or repeat(None, size)), list(rows.slot or repeat(None, size))
        for place, token in enumerate(rows.token or repeat(None, size)):
            if whys[place] is None and page_kinds is not None:
                whys[place] = _not_for_pages(rows, place, page_kinds)
            if whys[place] is not None:
                continue
            try:
                shown = self.exposures.shown(token, rows.type[place], self.numbers[rows.product[place]])
            except TokenRefusedError as exc:
                whys[place] = exc.code, str(exc)
            else:
                frames[place], slots[place] = shown or (frames[place], slots[place])
        return rows._replace(frame=frames, slot=slots, token=None)

    def times_ms(self) -> tuple[int, int]:
        """The earliest and the latest event time that is taken."""
        rule = self.rule
        oldest = self.now_ms // rule.bucket_ms - 2 * (rule.window_ms // rule.bucket_ms) + 1
        first_ms = max(oldest * rule.bucket_ms, self.now_ms - rule.lateness_ms)
        return first_ms, self.now_ms + 1000 * rule.clock_skew_s

    def why(self, kind: str, product: str, ts_ms: int | None) -> tuple[str, str] | None:
        """Why an event is refused, as (code, reason); None for one that is taken."""
        if product not in self.numbers and not is_id(product):
            return "invalid", f"product: {ID_WORDS}, not {product[:VALUE_MAX]!r}"
        if kind not in self.kinds:
            return "unknown_kind", f"type: {kind!r} is none of {', '.join(sorted(self.kinds))}"
        if product not in self.numbers:
            return "unknown_product", f"product: {product!r} is not enrolled in venue {self.venue!r}: enrol it first"
        return None if ts_ms is None or ts_ms == NO_TIME_MS else self._why_time(ts_ms)

    def _why_time(self, ts_ms: int) -> tuple[str, str] | None:
        first_ms, last_ms = self.times_ms()
        if ts_ms < first_ms:
            return "late", f"ts_ms: {ts_ms} is before {first_ms}, the earliest time that still counts"
        if ts_ms > last_ms:
            ahead = f"more than {self.rule.clock_skew_s} s ahead of the server's {self.now_ms}"
            return "future", f"ts_ms: {ts_ms} is {ahead}"
        return None


def _not_for_pages(rows: Rows, place: int, kinds: frozenset[str]) -> tuple[str, str] | None:
    """Why an event is refused of a page, where anyone may have made it up; None if it may be sent from there."""
    if rows.type[place] not in kinds:
        taken = ", ".join(sorted(kinds)) or "none"
        return "unknown_kind", f"type: {rows.type[place]!r} is not for pages to send; access.beacon_kinds: {taken}"
    for name, column in (("amount", rows.amount), ("quantity", rows.quantity)):
        if column is not None and column[place]:
            return "invalid", f"{name}: a page tells of no {name}, not {column[place]}: send it from a server"
    return None


def _ends(times_ms: Sequence[int | None], default_ms: int) -> tuple[int, int]:
    """The earliest and the latest of the times that are given; the default twice where none is."""
    known: Any = times_ms
    with suppress(TypeError):  # a None among them; to look for it first would cost as much as both ends
        latest_ms = max(known, default=NO_TIME_MS)
        if latest_ms not in {None, NO_TIME_MS}:  # None where it is the only one
            return min(known), latest_ms
    known = [ts_ms for ts_ms in times_ms if ts_ms is not None and ts_ms != NO_TIME_MS]
    return min(known, default=default_ms), max(known, default=default_ms)
