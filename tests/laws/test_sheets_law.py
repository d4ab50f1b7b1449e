"""Whoever follows a merchant's standings has what whoever reads them has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from api.alert_reading import Since
from api.alerts import Scene, Seen
from api.client import standings_applied
from api.merchants import FrameRef
from api.moves import NOT_MOVED, Movement
from api.sheets import LiveRow, Sheet, Sheets, changes, whole

VENUES = ("hall-1", "hall-2", "hall-3")
PLACES = st.none() | st.integers(1, 4)
FEW = st.integers(0, 3)


@st.composite
def sheets_of(draw: st.DrawFn, venue: str) -> Sheet:
    """A few runners in any place, of any product: one may be swapped for another; under any head, some seen."""
    ref = FrameRef(
        venue, draw(FEW), 1, draw(FEW), draw(FEW), draw(FEW), "1-1", draw(st.booleans()), draw(st.booleans())
    )
    rows = {
        number: LiveRow(
            venue,
            draw(st.sampled_from(("p", "q"))) + str(number),
            number,
            "t",
            draw(PLACES),
            draw(PLACES),
            draw(st.none() | st.floats(allow_nan=False, allow_infinity=False)),
            draw(st.sampled_from((NOT_MOVED, Movement(1, None, 2)))),
        )
        for number in draw(st.sets(FEW))
    }
    seen = {row.product: Seen(row.slot, row.title, draw(PLACES)) for row in rows.values() if row.slot is not None}
    return Sheet(ref, rows, Scene(seen), Since((1, draw(FEW)), draw(FEW)))


@st.composite
def states(draw: st.DrawFn) -> list[Sheets]:
    """States one after the other; a venue in which nothing is new keeps its sheet."""
    found: list[Sheets] = [{}]
    for _ in range(draw(st.integers(1, 4))):
        last, now = found[-1], {}
        for venue in draw(st.sets(st.sampled_from(VENUES))):
            stays = venue in last and draw(st.booleans())
            now[venue] = last[venue] if stays else draw(sheets_of(venue))
        found.append(now)
    return found


def read(document: Mapping[str, Any]) -> Any:
    return json.loads(msgspec.json.encode(document))


def heads_of(standings: Any) -> Any:
    return {each["venue"]: (each["settled"], each["stale"], each["runners"]) for each in standings["frames"]}


def rows(standings: Any) -> Any:
    return {(row["venue"], row["runner"]): row for row in standings["runners"]}


@settings(max_examples=30)
@given(states())
def test_changes_followed_one_by_one_come_to_the_last_state(found: list[Sheets]) -> None:
    """Rows in order, and of each venue the frame that was told last: no older than what has changed."""
    has = read(whole("m", found[0], "0", {}))
    for number, (old, new) in enumerate(pairwise(found), 1):
        told = changes(old, new)
        if told is not None:
            has = standings_applied(has, read({"merchant": "m", "since": has["next"], "next": str(number), **told}))
        wanted = read(whole("m", new, str(number), {}))
        assert has["runners"] == wanted["runners"]
        assert heads_of(has) == heads_of(wanted)


@settings(max_examples=30)
@given(states())
def test_what_is_passed_over_is_told_at_once(found: list[Sheets]) -> None:
    """To a slow reader: from any state to the last, the alerts those that hold there and did not before."""
    for old in found[:-1]:
        has, new = read(whole("m", old, "0", {})), found[-1]
        told = changes(old, new)
        if told is not None:
            has = standings_applied(has, read({"merchant": "m", "since": "0", "next": "1", **told}))
        assert rows(has) == rows(read(whole("m", new, "1", {})))
        before = {venue: sheet.scene for venue, sheet in old.items()}
        assert (told or {"alerts": []})["alerts"] == whole("m", new, "1", before)["alerts"]


@settings(max_examples=30)
@given(states())
def test_a_row_is_told_only_where_something_of_it_changed(found: list[Sheets]) -> None:
    for old, new in pairwise(found):
        told = changes(old, new) or {"changed": [], "entered": [], "left": []}
        before, after = (
            {(venue, number): row for venue, sheet in sheets.items() for number, row in sheet.rows.items()}
            for sheets in (old, new)
        )
        assert {(row.venue, row.runner) for row in told["entered"]} == after.keys() - before.keys()
        for fields in told["changed"]:
            key = (fields.pop("venue"), fields.pop("runner"))
            assert fields
            assert all(getattr(before[key], name) != value for name, value in fields.items())
