"""Runners of a venue and their data, kept while no decision is made: a merchant's, and those asked for by product.

Lists are asked for often, and by the same names.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from racing.entries import Runner
from racing.store.desk import Desk
from racing.store.standings import OWNED_MAX

_RUNNERS_MAX: Final = 100_000
"""Runners kept of all merchants together: some 60 MB."""


_NOBODY: Final = ""
"""In the place of a merchant: those that were asked for by product."""


class Kept(NamedTuple):
    """Runners by number, and how many decisions there were of which owner's time when they were read.

    numbers: of their products, where they were asked for by them.
    """

    made_of: tuple[int, int]
    runners: Mapping[int, Runner]
    numbers: Mapping[str, int]


class Owned:
    """Who owns what, one object per API process. Bound: 100,000 runners, those asked for least lately go."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._size = 0

    async def of(self, desk: Desk, venue: str, merchant: str, epoch: int) -> Mapping[int, Runner]:
        """A merchant's runners by number, at most OWNED_MAX + 1, in order of enrolment. Not to be written to.

        epoch: of the venue's frame; with another owner decisions may have been lost. Raises StoreError. Cost: one short
        read where nothing was decided since.
        """
        name, made_of = (venue, merchant), (epoch, await desk.runners.decisions(venue))
        kept = self._kept.get(name)
        if kept is None or kept.made_of != made_of:
            numbers = await desk.standings.owned(venue, merchant, at_most=OWNED_MAX + 1)
            found = await desk.runners.by_number(venue, numbers)
            own = {number: runner for number, runner in found.items() if runner.merchant == merchant}
            kept = Kept(made_of, own, {})
            if len(found) == len(numbers):  # else some data is damaged, and will be mended without a decision
                self._keep(name, kept)
        else:
            self._kept.move_to_end(name)
        return kept.runners

    async def named(self, desk: Desk, venue: str, products: Sequence[str], epoch: int) -> Kept:
        """Runners and numbers of those of these products that are enrolled, among others. Not to be written to.

        Raises StoreError. Cost: one short read where nothing was decided since the same were asked for.
        """
        name, made_of = (venue, _NOBODY), (epoch, await desk.runners.decisions(venue))
        kept = self._kept.get(name)
        if kept is None or kept.made_of != made_of or len(kept.runners) + len(products) > _RUNNERS_MAX:
            kept = Kept(made_of, {}, {})
        missing = [product for product in products if product not in kept.numbers]
        if missing:
            numbers = await desk.runners.numbers(venue, missing)
            found = await desk.runners.by_number(venue, list(numbers.values()))
            known = {product: number for product, number in numbers.items() if number in found}  # not of damaged data
            if known:  # else a copy for nothing: whoever asks for one that is not enrolled does so each time
                kept = Kept(made_of, {**kept.runners, **found}, {**kept.numbers, **known})
        self._keep(name, kept)
        return kept

    def _keep(self, name: tuple[str, str], kept: Kept) -> None:
        before = self._kept.pop(name, None)
        self._size += len(kept.runners) - (0 if before is None else len(before.runners))
        self._kept[name] = kept
        while self._size > _RUNNERS_MAX and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._size -= len(gone.runners)
