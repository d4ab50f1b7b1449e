"""A merchant's standings as the stream tells them, and what changes make of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict


class Row(TypedDict):
    """Where a product stands; slot is null where it is not shown, standing and score for a second after enrolment."""

    venue: str
    product: str
    runner: int
    title: str
    slot: int | None
    standing: int | None
    score: float | None
    movement: dict[str, int | None]


class Standings(TypedDict):
    """All products of a merchant, best first. frames: what they are of, one for each venue.

    alerts: those that came with this, each with its venue and kind; of venues in full they are all that holds. next:
    names it, to be taken up from there.
    """

    merchant: str
    next: str
    frames: list[dict[str, Any]]
    runners: list[Row]
    full: list[str]
    alerts: list[dict[str, Any]]


def standings_applied(standings: Standings, changes: Mapping[str, Any]) -> Standings:
    """The standings that changes make of those that they are since. Inputs are read only."""
    gone = {*changes["gone"]}
    left = {(each["venue"], each["runner"]) for each in changes["left"]}
    rows: dict[tuple[str, int], Any] = {
        key: {**row}
        for row in standings["runners"]
        if (key := (row["venue"], row["runner"])) not in left and row["venue"] not in gone
    }
    for fields in changes["changed"]:
        rows[fields["venue"], fields["runner"]].update(fields)
    rows.update({(row["venue"], row["runner"]): row for row in changes["entered"]})
    frames = {frame["venue"]: frame for frame in (*standings["frames"], *changes["frames"])}
    return {
        "merchant": changes["merchant"],
        "next": changes["next"],
        "frames": [frame for venue, frame in frames.items() if venue not in gone],
        "runners": sorted(rows.values(), key=_order),
        "full": changes["full"],
        "alerts": changes["alerts"],
    }


def _order(row: Row) -> tuple[bool, int, str, int]:
    return row["standing"] is None, row["standing"] or 0, row["venue"], row["runner"]
