"""Shares of the venues: even, no venue moved without need, and the same for all who know the same."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from racing.shares import shares

NAMES = [f"s-{number}" for number in range(6)]
VENUES = [f"hall-{number:02}" for number in range(24)]

some_venues = st.lists(st.sampled_from(VENUES), unique=True)
some_scorers = st.lists(st.sampled_from(NAMES), unique=True, min_size=1)
some_owners = st.dictionaries(st.sampled_from(VENUES), st.sampled_from([*NAMES, "gone"]))


def moved(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {venue for venue, name in after.items() if before.get(venue) != name}


def test_nobody_runs_anything_where_nobody_lives() -> None:
    assert shares(VENUES, [], {VENUES[0]: NAMES[0]}) == {}


def test_one_scorer_runs_everything() -> None:
    assert shares(VENUES, ["s-0"], {VENUES[0]: "gone"}) == dict.fromkeys(VENUES, "s-0")


@given(some_venues, some_scorers, some_owners)
def test_every_venue_has_one_living_scorer_and_shares_are_even_within_one(
    venues: list[str], scorers: list[str], owners: dict[str, str]
) -> None:
    wanted = shares(venues, scorers, owners)
    assert wanted.keys() == set(venues)
    assert set(wanted.values()) <= set(scorers)
    sizes = Counter(wanted.values())
    held = [sizes[name] for name in scorers]
    assert max(held) - min(held) <= 1


@given(some_venues, some_scorers, some_owners, st.randoms(use_true_random=False))
def test_shares_do_not_depend_on_the_order_in_which_things_are_listed(
    venues: list[str], scorers: list[str], owners: dict[str, str], rng: random.Random
) -> None:
    wanted = shares(venues, scorers, owners)
    rng.shuffle(venues)
    rng.shuffle(scorers)
    listed = list(owners.items())
    rng.shuffle(listed)
    assert shares(venues, scorers, dict(listed)) == wanted


@given(some_venues, some_scorers, some_owners)
def test_shares_that_are_in_force_are_left_as_they_are(
    venues: list[str], scorers: list[str], owners: dict[str, str]
) -> None:
    wanted = shares(venues, scorers, owners)
    assert shares(venues, scorers, wanted) == wanted


@given(
    st.lists(st.sampled_from(VENUES[:5]), unique=True),
    st.lists(st.sampled_from(NAMES[:3]), unique=True, min_size=1),
    st.dictionaries(st.sampled_from(VENUES[:5]), st.sampled_from([*NAMES[:3], "gone"])),
)
def test_no_even_spread_leaves_more_venues_where_they_are(
    venues: list[str], scorers: list[str], owners: dict[str, str]
) -> None:
    """Held against every possible spread."""

    def even(spread: tuple[str, ...]) -> bool:
        held = [spread.count(name) for name in scorers]
        return max(held) - min(held) <= 1

    spreads = filter(even, product(scorers, repeat=len(venues)))
    least = min(sum(owners.get(venue) != name for venue, name in zip(venues, each, strict=True)) for each in spreads)
    assert len(moved(owners, shares(venues, scorers, owners))) == least


@given(some_venues, some_scorers)
def test_scorer_that_joins_takes_its_share_and_moves_nothing_else(venues: list[str], scorers: list[str]) -> None:
    before = shares(venues, scorers, {})
    after = shares(venues, [*scorers, "new"], before)
    assert all(after[venue] == "new" for venue in moved(before, after))
    assert len(moved(before, after)) == len(venues) // (len(scorers) + 1)


@given(some_venues, some_scorers)
def test_venues_of_a_scorer_that_died_are_all_that_moves(venues: list[str], scorers: list[str]) -> None:
    before = shares(venues, [*scorers, "dead"], {})
    after = shares(venues, scorers, before)
    assert moved(before, after) == {venue for venue, name in before.items() if name == "dead"}


def test_scorers_that_act_on_old_reports_settle_without_a_venue_run_by_two_or_by_none() -> None:
    """A model of hand-over: looks in any order, reports seen late; after a while all is even and at rest."""
    for seed in range(200):
        rng = random.Random(seed)
        venues, names = VENUES[: rng.randrange(1, 24)], NAMES[: rng.randrange(1, 6)]
        leases = {venue: rng.choice([*names, ""]) for venue in venues}
        seen = {name: dict(leases) for name in names}
        for look in range(40 * len(names)):
            name = rng.choice(names)
            if look > 20 * len(names) or rng.random() < 0.5:
                seen[name] = {venue: owner for venue, owner in leases.items() if owner}
            wanted = shares(venues, names, seen[name])
            for venue, meant in wanted.items():
                if meant == name and not leases[venue]:
                    leases[venue] = name
                elif meant != name and leases[venue] == name:
                    leases[venue] = ""
        sizes = Counter(leases.values())
        assert all(leases.values()), f"seed {seed}: {leases}"
        assert max(sizes[name] for name in names) - min(sizes[name] for name in names) <= 1
        held = dict(leases)
        assert shares(venues, names, held) == held
