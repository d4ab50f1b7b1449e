"""Who is enrolled under which number, and their attributes."""

from __future__ import annotations

import numpy as np

from racing.model import IntArray
from racing.roster import Roster

_ALL: IntArray = np.arange(3)


def _roster() -> Roster:
    roster = Roster()
    roster.enrol(0, "kettle", {"margin": 2.0})
    roster.enrol(1, "lamp", {})
    roster.enrol(2, "wok", {"margin": 0.5, "entry_score": -1.0})
    return roster


def test_an_attribute_that_nobody_gave_is_zero() -> None:
    assert [0.0, 0.0, 0.0] == _roster().values("stock", _ALL).tolist()


def test_an_attribute_is_zero_where_it_was_not_given() -> None:
    assert [2.0, 0.0, 0.5] == _roster().values("margin", _ALL).tolist()
    assert [-1.0, 0.0] == _roster().values("entry_score", _ALL[[2, 0]]).tolist()


def test_data_given_again_replaces_all_of_it() -> None:
    roster = _roster()
    roster.enrol(2, "wok 2", {"margin": 0.75})

    assert ["kettle", "lamp", "wok 2"] == roster.products
    assert ([0.75], [0.0]) == (
        roster.values("margin", _ALL[2:]).tolist(),
        roster.values("entry_score", _ALL[2:]).tolist(),
    )


def test_rows_saved_are_loaded_as_they_were() -> None:
    roster, loaded = _roster(), Roster()
    loaded.load(roster.save(full=True))

    assert roster.products == loaded.products
    for name in ("margin", "entry_score"):
        assert roster.values(name, _ALL).tolist() == loaded.values(name, _ALL).tolist()


def test_only_rows_that_changed_are_saved_again() -> None:
    roster = _roster()
    roster.save(full=False)
    assert [] == roster.save(full=False)

    roster.enrol(1, "lamp", {"margin": 9.0})

    assert [(1, "lamp", {"margin": 9.0}, {}, 0)] == roster.save(full=False)
    assert 3 == len(roster.save(full=True))


def test_loaded_rows_are_saved_already() -> None:
    loaded = Roster()
    loaded.load(_roster().save(full=True))

    assert [] == loaded.save(full=False)
