"""What scores are made with beside a runner's own sums: the venue's sums, the rule and the formula, for readers.

An owner writes it with the first commit after it has changed, at a bucket boundary or with the rule. Output only.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from racing.formula import Held
from racing.race import Race
from racing.store.keys import VenueKeys


class HeldRecord(msgspec.Struct, frozen=True):
    """What the key of held sums has, as JSON. now, before: sums of each measure, in the order of kinds, count first.

    position: of the commit that wrote it: scores of before were made with another one.
    """

    position: str
    rule_version: int
    formula: int
    kinds: list[str]
    now: list[int]
    before: list[int]

    def held(self) -> Held:
        """The venue's sums as the formula takes them."""
        return Held(np.array(self.now, np.int64), np.array(self.before, np.int64))

    def kind_index(self) -> dict[str, int]:
        """Event kinds by name, as the race numbers them."""
        return {kind: index for index, kind in enumerate(self.kinds)}


_encode = msgspec.json.Encoder().encode
decode_held = msgspec.json.Decoder(HeldRecord).decode


class HeldWriter:
    """Says when an owner has to write what its race holds."""

    def __init__(self, keys: VenueKeys) -> None:
        self._keys = keys
        self._written: tuple[Held, int] | None = None

    def take(self, race: Race) -> list[tuple[Any, ...]]:
        """The command that belongs into the commit of the race's present position; none while all is as it was."""
        present = (race.held, race.rule_version)
        if self._written is not None and self._written[0] is present[0] and self._written[1] == present[1]:
            return []
        self._written = present
        width = 2 * len(race.kinds)
        record = HeldRecord(
            str(race.position),
            race.rule_version,
            race.formula_version,
            list(race.kinds),
            race.held.now[:width].tolist(),
            race.held.before[:width].tolist(),
        )
        return [("SET", self._keys.held, _encode(record))]
