"""One call for every venue: a product or a merchant off all boards, and back, with a result for each venue."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from hashlib import blake2b
from typing import Any

from api.grants import Grant
from api.schemas.everywhere import InVenue
from api.service import Service
from api.steering import checked_by
from api.view import VenueView
from api.visible import frame_from
from racing.errors import NotFoundError, RacingError
from racing.orders import Exclusion
from racing.store.abreast import abreast
from racing.store.orders import Book, Decided, Wanted

_ID_MAX = 64


def everywhere_id(product: str | None, merchant: str | None) -> str:
    """The id of the order that keeps a product or a merchant off a board by a call for all venues."""
    aim = f"product.{product}" if product is not None else f"merchant.{merchant}"
    name = f"everywhere.{aim}"
    return name if len(name) <= _ID_MAX else f"everywhere.{blake2b(aim.encode(), digest_size=16).hexdigest()}"


async def exclude_everywhere(
    service: Service, caller: Grant, *, product: str | None, merchant: str | None, reason: str
) -> list[InVenue]:
    """Put the exclusion in every venue that the caller operates, and that the product races in."""
    name = everywhere_id(product, merchant)
    order = Exclusion(kind="exclude", id=name, product=product, merchant=merchant, reason=reason)

    async def one(view: VenueView) -> Decided | None:
        """What was decided in one venue; None where the product does not race."""
        if product is not None and not await service.desk.runners.numbers(view.venue.venue, [product]):
            return None
        check = checked_by(service, view)

        def wanted(book: Book) -> Wanted:
            """The exclusion, if the other orders let it be. Raises what check raises."""
            check(book, [order], ())
            return Wanted(put=[order], author=caller.name, note=reason)

        return await service.orders.decide(view.venue.venue, wanted)

    return await _in_all(service, caller, one)


async def restore_everywhere(
    service: Service, caller: Grant, *, product: str | None, merchant: str | None, note: str
) -> list[InVenue]:
    """Withdraw that exclusion wherever it is."""
    name = everywhere_id(product, merchant)

    async def one(view: VenueView) -> Decided | None:
        """What was decided in one venue; None where nothing was excluded by such a call."""

        def wanted(book: Book) -> Wanted:
            """The withdrawal. Raises NotFoundError where there is nothing to withdraw."""
            if name not in book.kept:
                raise NotFoundError(name)
            return Wanted(withdraw=[name], author=caller.name, note=note)

        try:
            return await service.orders.decide(view.venue.venue, wanted)
        except NotFoundError:
            return None

    return await _in_all(service, caller, one)


One = Callable[[VenueView], Coroutine[Any, Any, Decided | None]]


async def _in_all(service: Service, caller: Grant, one: One) -> list[InVenue]:
    """What became of it in each venue, by id; each by itself, so that one that fails hinders no other."""
    await service.frames.refresh()

    async def each(view: VenueView) -> InVenue:
        """What became of it in one venue, told with the frame that shows it; never raises a RacingError."""
        name = view.venue.venue
        try:
            decided = await one(view)
        except RacingError as exc:
            return InVenue(venue=name, result="failed", why=str(exc))
        if decided is None:
            return InVenue(venue=name, result="not there")
        frame = await frame_from(view, decided.entry, service.settings)
        return InVenue(
            venue=name,
            result="done" if decided.put or decided.withdrawn else "so already",
            entry=decided.entry,
            epoch=frame.epoch if frame else None,
            frame=frame.frame if frame else None,
        )

    return await abreast(each, [view for name, view in sorted(service.frames.views.items()) if caller.reaches(name)])
