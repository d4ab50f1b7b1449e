"""One product in one venue, looked at closely: who stands next to it, what chance allows, when it sells out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import msgspec
import numpy as np

from api.grants import Grant
from api.ladders import likely, noise_in
from api.merchants import FrameRef, measures_read, told
from api.service import Service
from api.view import VenueView
from racing.entries import Runner
from racing.forecast import forecast
from racing.ladder import SHARE
from racing.orders import Exclusion

_SALES = "pay:count"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a merchant asks of one product."""

    merchant: str
    product: str
    neighbours: int
    lead_time_s: int


async def looked_at(
    service: Service, view: VenueView, asked: Asked, caller: Grant
) -> tuple[FrameRef, dict[str, Any]] | None:
    """A product of a merchant in one venue; None where it has none of this name there. Raises StoreError.

    Some eight round trips to Redis, each O(log n) at most.
    """
    venue = view.venue.venue
    number = (await service.desk.runners.numbers(venue, [asked.product])).get(asked.product)
    if number is None:
        return None
    boards = await service.moves.of(service.frames.kept, view)
    found = await told(service.desk, view, [number], owns=asked.merchant.__eq__, boards=boards)
    if number not in found.rows:
        return None
    row, runner = found.rows[number], found.runners[number]
    slot = next((slot for slot in view.frame.slots if slot.runner == number), None)
    more = {
        "state": "racing",
        "excluded": await _excluded(service, view, runner),
        "steps": [] if slot is None else msgspec.to_builtins(slot.steps),
        "likely": await _likely(service, view, number, row.score),
        "neighbours": await _neighbours(service, view, number, asked, caller),
        "stock_forecast": await _forecast(service, view, number, row.stock, asked),
    }
    if more["excluded"] is not None:
        more["state"] = "withdrawn" if more["excluded"]["withdrawn"] else "excluded"
    return found.ref, {**msgspec.structs.asdict(row), **more}


async def _excluded(service: Service, view: VenueView, runner: Runner) -> dict[str, Any] | None:
    """The exclusion in force that means a product, the newest of several."""
    book = await service.orders.read(view.venue.venue)
    now_ms = service.now_ms()
    found = [
        (kept.entry, order)
        for kept in book.kept.values()
        if isinstance(order := kept.order, Exclusion)
        and order.holds(now_ms)
        and (order.product == runner.product or order.merchant == runner.merchant)
    ]
    if not found:
        return None
    _, order = max(found, key=lambda each: tuple(map(int, each[0].split("-"))))
    return {"order": order.id, "reason": order.reason, "withdrawn": order.withdrawn, "until_ms": order.end_ms}


async def _likely(service: Service, view: VenueView, number: int, score: float | None) -> dict[str, Any] | None:
    """The standings that chance allows."""
    if score is None:
        return None
    ((_, read),) = await service.desk.standings.read(view.venue.venue, [number], measures_read(view.rule))
    noise = await noise_in(service.desk, view, read)
    (found,) = likely(await service.ladders.of(service.desk, view), [score], noise)
    return None if found is None else {"best": found[0], "worst": found[1], "share": SHARE}


async def _neighbours(
    service: Service, view: VenueView, number: int, asked: Asked, caller: Grant
) -> dict[str, list[dict[str, Any]]]:
    """Who stands above and below, the nearest first; names only where they are for the caller, counts never."""
    venue = view.venue.venue
    around = await service.desk.standings.around(venue, number, asked.neighbours) if asked.neighbours else []
    here = next((index for index, (_, runner, _) in enumerate(around) if runner == number), 0)
    own = around[here][2] if around else 0.0
    known = await service.desk.runners.by_number(venue, [runner for _, runner, _ in around])
    named = view.venue.access.neighbours_named or "operate" in caller.needs

    def one(standing: int, runner: int, score: float) -> dict[str, Any]:
        data = known.get(runner)
        shown = data is not None and (named or data.merchant == asked.merchant)
        name = {"product": data.product, "title": data.title} if data is not None and shown else {}
        return {"standing": standing, "gap": abs(score - own), "product": None, "title": None, **name}

    return {
        "above": [one(*each) for each in reversed(around[:here])],
        "below": [one(*each) for each in around[here + 1 :]],
    }


async def _forecast(service: Service, view: VenueView, number: int, stock: int | None, asked: Asked) -> dict[str, Any]:
    """How long the stock lasts at the pace of the window's payments, each taken for one piece."""
    ((_, read),) = await service.desk.standings.read(view.venue.venue, [number], [_SALES])
    sold = int(np.rint(read.of(f"window:{_SALES}")[0]))
    found = forecast(sold=sold, window_s=view.rule.window_s, stock=stock, lead_time_s=asked.lead_time_s)
    return asdict(found)
