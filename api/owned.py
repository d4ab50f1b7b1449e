"""A merchant's runners in a venue and their data, kept while no decision is made: lists are asked for often."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final, NamedTuple

from racing.entries import Runner
from racing.store.desk import Desk
from racing.store.standings import OWNED_MAX

_RUNNERS_MAX: Final = 100_000
"""Runners kept of all merchants together: some 60 MB."""


class _Kept(NamedTuple):
    """Runners by number, and how many decisions there were of which owner's time when they were read."""

    made_of: tuple[int, int]
    runners: Mapping[int, Runner]


class Owned:
    """Who owns what, one object per API process. Bound: 100,000 runners, those asked for least lately go."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
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
            kept = _Kept(made_of, own)
            if len(found) == len(numbers):  # else some data is damaged, and will be mended without a decision
                self._keep(name, kept)
        else:
            self._kept.move_to_end(name)
        return kept.runners

    def _keep(self, name: tuple[str, str], kept: _Kept) -> None:
        before = self._kept.pop(name, None)
        self._size += len(kept.runners) - (0 if before is None else len(before.runners))
        self._kept[name] = kept
        while self._size > _RUNNERS_MAX and len(self._kept) > 1:
            _, gone = self._kept.popitem(last=False)
            self._size -= len(gone.runners)
