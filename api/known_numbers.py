"""Runner numbers by product, as far as this process has learnt them; read on a miss, and anew when they were lost."""

from __future__ import annotations

import structlog

from api.view import VenueView
from racing.errors import StaleNumbersError, StoreUnavailableError
from racing.metrics import METRICS
from racing.store.desk import Desk
from racing.store.numbers import Numbers

log = structlog.get_logger("saima.frames")

_PRODUCTS_MAX = 2_000_000
"""Product numbers cached per venue; above that the cache starts anew."""
_READ_AHEAD = 100_000
"""So many numbers are read at the first miss: a process that starts under load would ask for each product apart."""
_TRIES = 5
"""Numbers are read so often while enrolments change under the reader."""


class KnownNumbers:
    """The numbers of every venue's runners; each view holds those of its venue."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def of(self, view: VenueView, products: set[str]) -> Numbers:
        """Runner numbers by product, for at least those products that are enrolled; from memory on a hit.

        Raises StoreError.
        """
        for _ in range(_TRIES):
            known = view.numbers
            missing = [product for product in products if product not in known]
            if not missing:
                return known
            if len(known) > _PRODUCTS_MAX:
                known = view.numbers = Numbers()  # the old one stays whole: batches under way look products up in it
                missing = list(products)
            try:
                if await self._learn(view, known, sorted(missing)):
                    METRICS.set("saima_known_products", view.venue.venue, len(known))
                    return known
            except StaleNumbersError:
                self.forget(view, known)
        raise StoreUnavailableError(f"venue {view.venue.venue}: its enrolments keep changing: send again later")

    async def _learn(self, view: VenueView, known: Numbers, products: list[str]) -> bool:
        """Read numbers of products into what is known; False if that must be tried again. Raises StaleNumbersError."""
        venue, since = view.venue.venue, known.mark
        if not view.read_ahead:
            view.read_ahead = True
            if not known.learn(await self._desk.runners.first_numbers(venue, at_most=_READ_AHEAD), since):
                return False
            products, since = [product for product in products if product not in known], known.mark
        if products and not known.learn(await self._desk.runners.numbers(venue, products, since), since):
            return False
        return view.numbers is known

    def forget(self, view: VenueView, numbers: Numbers) -> None:
        """Drop numbers of enrolments that are gone, unless that has been done; the next batch has them read anew."""
        if view.numbers is numbers:
            log.warning("enrolments were lost, runner numbers are read anew", venue=view.venue.venue)
            METRICS.count("saima_numbers_dropped_total", view.venue.venue)
            view.numbers, view.read_ahead = Numbers(), False
