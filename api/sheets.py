"""A merchant's sheets: where its products stand in each venue at a moment, and what changed from some sheets to others.

``applied(whole(old), changes(old, new))`` tells of each product what ``whole(new)`` does (api/client/standings.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from api.alert_reading import Since
from api.alerts import NOTHING, Scene, alerts
from api.merchants import FrameRef, is_settled
from api.moves import Boards, Movement, moved
from racing.badges import FIRST_PAGE
from racing.entries import Runner
from racing.model import Frame
from racing.store.standings import Field


class LiveRow(msgspec.Struct, frozen=True):
    """Where a product stands, as the list of a merchant's products has it."""

    venue: str
    product: str
    runner: int
    title: str
    slot: int | None
    standing: int | None
    score: float | None
    movement: Movement


_FIELDS: Final = LiveRow.__struct_fields__


@dataclass(frozen=True, slots=True)
class Sheet:
    """A merchant's products in one venue, by runner number.

    ref: what they are of. scene, since: what alerts are told of, and the moment of that.
    """

    ref: FrameRef
    rows: Mapping[int, LiveRow]
    scene: Scene = NOTHING
    since: Since = field(default=Since((0, 0), 0))


Sheets = Mapping[str, Sheet]
"""By venue."""


def rows_of(
    frame: Frame, owned: Mapping[int, Runner], reads: Sequence[tuple[Sequence[int], Field]], boards: Boards
) -> dict[int, LiveRow]:
    """Rows of a merchant's runners: those on the board are of the frame, others as they were read."""
    shown = {slot.runner: slot for slot in frame.slots}
    stands = {
        number: (standing or None, score if standing else None)
        for numbers, read in reads
        for number, standing, score in zip(numbers, read.standing.tolist(), read.score.tolist(), strict=True)
    }
    found = {}
    for number, runner in owned.items():
        slot = shown.get(number)
        standing, score = stands.get(number, (None, None))
        if slot is not None:
            standing, score = slot.standing or slot.slot, slot.score
        place = None if slot is None else slot.slot
        found[number] = LiveRow(
            frame.venue, runner.product, number, runner.title, place, standing, score, moved(boards, number, place)
        )
    return found


def ref_of(frame: Frame, reads: Sequence[tuple[Sequence[int], Field]], *, stale: bool) -> FrameRef:
    """What such rows are of."""
    last = reads[-1][1].commit.position if reads else frame.position
    return FrameRef(
        venue=frame.venue,
        frame=frame.frame,
        epoch=frame.epoch,
        at_ms=frame.at_ms,
        rule_version=frame.rule_version,
        runners=frame.runners,
        position=last,
        settled=all(is_settled(read) for _, read in reads),
        stale=stale,
    )


def whole(merchant: str, sheets: Sheets, name: str, before: Mapping[str, Scene]) -> dict[str, Any]:
    """All rows, best first, and alerts: of each venue what changed since a scene, or all that holds where none is."""
    rows = [row for sheet in sheets.values() for row in sheet.rows.values()]
    return {
        "merchant": merchant,
        "next": name,
        "frames": [sheet.ref for sheet in sheets.values()],
        "runners": sorted(rows, key=_order),
        **_alerted(before, sheets),
    }


def _order(row: LiveRow) -> tuple[bool, int, str, int]:
    return row.standing is None, row.standing or 0, row.venue, row.runner


def changes(old: Sheets, new: Sheets) -> dict[str, Any] | None:
    """What makes some sheets of others; None where nothing is to be told. Cost: O(products) of the sheets that differ.

    frames: of venues where something is new. gone: venues that are no longer there, with all their rows. left: venue
    and runner of rows that are no longer there. entered: whole rows. changed: venue, runner, and the fields that are
    not what they were.
    """
    frames, entered = list[FrameRef](), list[LiveRow]()
    left, changed = list[dict[str, Any]](), list[dict[str, Any]]()
    for venue, sheet in new.items():
        was = old.get(venue)
        if was is sheet:
            continue
        before = {} if was is None else was.rows
        gone = [{"venue": venue, "runner": number} for number in before if number not in sheet.rows]
        come = [row for number, row in sheet.rows.items() if number not in before]
        apart = list(_apart(before, sheet.rows))
        if was is None or gone or come or apart or _head(was.ref) != _head(sheet.ref):
            frames.append(sheet.ref)
        left, entered, changed = left + gone, entered + come, changed + apart
    told = _alerted({venue: sheet.scene for venue, sheet in old.items()}, new)
    gone_venues = [venue for venue in old if venue not in new]
    if not (frames or gone_venues or told["alerts"]):
        return None
    rows = {"left": left, "entered": entered, "changed": changed}
    return {"frames": frames, "gone": gone_venues, **rows, **told}


def _apart(old: Mapping[int, LiveRow], new: Mapping[int, LiveRow]) -> Iterator[dict[str, Any]]:
    for number, row in new.items():
        was = old.get(number, row)
        if was is not row and was != row:
            fields = {name: value for name in _FIELDS if (value := getattr(row, name)) != getattr(was, name)}
            yield {"venue": row.venue, "runner": number, **fields}


def _head(ref: FrameRef) -> tuple[Any, ...]:
    """What is worth telling of it alone: a number that grows is not."""
    return ref.rule_version, ref.runners, ref.settled, ref.stale


def _alerted(before: Mapping[str, Scene], sheets: Sheets) -> dict[str, Any]:
    """Alerts of each venue, and those venues of which they are all that holds."""
    found = [
        {"venue": venue, **msgspec.structs.asdict(alert)}
        for venue, sheet in sheets.items()
        for alert in alerts(before.get(venue, NOTHING), sheet.scene, FIRST_PAGE)
    ]
    return {"full": [venue for venue in sheets if venue not in before], "alerts": found}
