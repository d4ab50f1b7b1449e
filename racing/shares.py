"""Who runs which venue: even shares over the scorers that live, and no venue moved without need.

Every scorer computes this for itself from the same reports. Where two have seen different reports for a moment, the
lease decides; what they then hold is in the next reports, and both come to the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def shares(venues: Iterable[str], scorers: Iterable[str], owners: Mapping[str, str]) -> dict[str, str]:
    """Each venue's scorer: venue -> name; empty without scorers.

    owners: who runs a venue now, as far as known; names that are not among the scorers count as nobody. Two scorers'
    shares differ by one venue at most, and no even spread leaves more venues with their owners than this one. Handed
    back as owners it comes out again. Cost: O(n log n).
    """
    held: dict[str, list[str]] = {name: [] for name in sorted(set(scorers))}
    if not held:
        return {}
    free: list[str] = []
    wanted = sorted(set(venues))
    for venue in wanted:
        held.get(owners.get(venue, ""), free).append(venue)
    least, extra = divmod(len(wanted), len(held))
    # The places above the least go to those who hold most: each saves one move there, and none elsewhere.
    most_first = sorted(held, key=lambda name: (-len(held[name]), name))
    places = {name: least + (rank < extra) for rank, name in enumerate(most_first)}
    for name, own in held.items():
        free += own[places[name] :]
        del own[places[name] :]
    rest = iter(sorted(free))
    for name, own in held.items():
        own += [next(rest) for _ in range(places[name] - len(own))]
    return {venue: name for name, own in held.items() for venue in own}
