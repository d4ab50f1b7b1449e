"""Venues for tests: a plain one whose every number can be worked out by hand, and one for tests of the board.

The latter has twelve products of known words, whose scores are clicks plus a head start: p0 leads p1 by a point, p1
leads p2, and so on. Moments are in ms since a venue's beginning.
"""

from __future__ import annotations

from typing import Any

from racing.entries import Body, Enrolment, Entry, OrdersChange, RuleChange, Runner, Tick
from racing.model import Explained, Position
from racing.race import Race
from racing.showing import Shown
from tests.laws.logs import START_MS, batch_of, rule_of, runner_of

CLICKS: dict[str, Any] = {"metric": "click", "signal": "level", "weight": 1}
HEAD_START: dict[str, Any] = {"attribute": "entry_score", "weight": 1}
SIZE = 12

SEED = {"metric": "click", "signal": "uplift", "weight": 1}
CLICK: dict[str, Any] = {"runner": 0, "type": "click"}


def document(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    """An order; times in ms since the venue's beginning."""
    for at in ("start_ms", "end_ms"):
        if at in fields:
            fields[at] += START_MS
    return {"kind": kind, "id": name, **fields}


def pin(name: str, product: str, slot: int, **fields: Any) -> dict[str, Any]:
    """A pin, hard unless it says otherwise."""
    return document("pin", name, product=product, slot=slot, **fields)


def exclude(name: str, **fields: Any) -> dict[str, Any]:
    """An exclusion."""
    return document("exclude", name, **{"reason": "complaints", **fields})


def boost(name: str, factor: float, **fields: Any) -> dict[str, Any]:
    """A boost."""
    return document("boost", name, factor=factor, **fields)


class BoardVenue:
    """A race with windows of 4 s and buckets of 2 s. Merchants m0 .. m2, categories c0, c1, every fourth a hero."""

    def __init__(self, *terms: dict[str, Any], size: int = SIZE, **board: Any) -> None:
        self.race = Race()
        self._seq = 0
        self._terms = terms or (CLICKS, HEAD_START)
        self.rule(**{"slots": 6, **board})
        self.entry(Enrolment([(number, self.runner(number)) for number in range(size)]))

    @staticmethod
    def runner(number: int, **fields: Any) -> Runner:
        """The data of a product."""
        given: dict[str, Any] = {
            "category": f"c{number % 2}",
            "tier": "hero" if number % 4 == 0 else None,
            "stock": 5,
            "entry_score": float(SIZE - number),
            "attributes": {"gift": number == 7},
        }
        return Runner(f"p{number}", f"m{number % 3}", f"title {number}", **{**given, **fields})

    def entry(self, body: Body, at_ms: int = 0) -> None:
        self._seq += 1
        self.race.apply([Entry(Position(START_MS + at_ms, self._seq), body)])

    def rule(self, at_ms: int = 0, version: int = 1, **board: Any) -> None:
        self.entry(RuleChange(version, rule_of(*self._terms, board=board)), at_ms)

    def enrol(self, number: int, at_ms: int = 0, **fields: Any) -> None:
        self.entry(Enrolment([(number, self.runner(number, **fields))]), at_ms)

    def put(self, *orders: dict[str, Any], at_ms: int = 0, withdraw: list[str] | None = None) -> None:
        self.entry(OrdersChange(list(orders), withdraw or []), at_ms)

    def clicks(self, number: int, count: int, at_ms: int = 0) -> None:
        self.entry(batch_of([{"runner": number, "type": "click"}] * count), at_ms)

    def stock(self, number: int, left: int, at_ms: int = 0) -> None:
        self.entry(batch_of([{"runner": number, "type": "stock", "amount": left}]), at_ms)

    def tick(self, at_ms: int) -> None:
        self.entry(Tick(), at_ms)

    @property
    def shown(self) -> Shown:
        return self.race.shown()

    def board(self) -> str:
        """The numbers of the products on the board, slot by slot."""
        return " ".join(slot.product[1:] for slot in self.shown.slots)

    def told(self) -> list[str]:
        return list(self.shown.told)

    def steps(self, number: int) -> list[tuple[str, int | None, int | None]]:
        """The steps that moved a product, shown or not."""
        return [(step.step, step.from_slot, step.to_slot) for step in self.explain(number).steps]

    def explain(self, number: int) -> Explained:
        return self.race.explain(number)

    def restored(self) -> Race:
        """The race as its checkpoint has it; it can no longer be told from which one it comes."""
        record, _ = self.race.checkpoint(full=True)
        return Race.restore([record])


class PlainVenue:
    """A race with 4 s windows of 2 s buckets and three runners, written to in ms since its start."""

    def __init__(self, *terms: dict[str, Any], **fields: Any) -> None:
        self.race = Race()
        self._seq = 0
        self.rule(*(terms or (SEED,)), **fields)
        self.enrol({0: {}, 1: {}, 2: {}})

    def entry(self, body: Body, at_ms: int = 0) -> None:
        self._seq += 1
        self.race.apply([Entry(Position(START_MS + at_ms, self._seq), body)])

    def rule(self, *terms: dict[str, Any], at_ms: int = 0, version: int = 1, **fields: Any) -> None:
        self.entry(RuleChange(version=version, rule=rule_of(*terms, **fields)), at_ms)

    def enrol(self, runners: dict[int, dict[str, float]], at_ms: int = 0) -> None:
        self.entry(Enrolment([(number, runner_of(number, given)) for number, given in runners.items()]), at_ms)

    def events(self, at_ms: int, *events: dict[str, Any]) -> None:
        """Events whose own ts_ms, too, are since the start."""
        timed = [{**e, "ts_ms": START_MS + e["ts_ms"]} if "ts_ms" in e else e for e in events]
        self.entry(batch_of(timed), at_ms)

    def tick(self, at_ms: int) -> None:
        self.entry(Tick(), at_ms)

    def scores(self) -> list[float]:
        found: list[float] = self.race.scores.tolist()
        return found

    def counted(self) -> dict[str, int]:
        """The counts that are not 0, but for the sum that they balance with."""
        counts = self.race.counts
        assert counts.accepted == counts.settled()
        return {
            name: value for name in counts.__struct_fields__ if (value := getattr(counts, name)) and name != "accepted"
        }
