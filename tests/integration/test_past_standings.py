"""How a product stood over an hour, from kept boards."""

from __future__ import annotations

from typing import Any

import numpy as np

from racing.store.minutes import BY_TENS, Minute, write_minute
from tests.integration.contract import problem
from tests.integration.running import Running
from tests.integration.test_merchants import happen, made, runner
from tests.waiting import until

POINT = ("slot", "standing", "score")


def told(service: Running, venue: str, product: str, **query: Any) -> dict[str, Any]:
    answer = service.http.get(
        f"/v1/merchants/m-1/runners/{product}/history", params={"venue": venue, **query}, timeout=20
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert len(found["slot"]) == len(found["standing"]) == len(found["score"])
    return found


def test_product_of_another_and_steps_that_cannot_be_are_refused(service: Running) -> None:
    venue = made(service, runner("a", "m-1"), runner("b", "m-2"))
    path = "/v1/merchants/m-1/runners/{}/history"
    for product in ("b", "nothing"):
        problem(service.http.get(path.format(product), params={"venue": venue}), 404, "not_found")
    for query in ({"every_s": 9}, {"every_s": 601}, {"from_ms": -1}):
        for product in ("a", "nothing"):  # nobody is looked for before the question is right
            problem(service.http.get(path.format(product), params={"venue": venue, **query}), 422, "invalid")


def test_points_are_of_the_boards_that_stood_then(service: Running) -> None:
    """Null before there was a board, and for a product that had no slot."""
    venue = made(service, runner("a", "m-1"), runner("b", "m-2"), runner("c", "m-1"))
    happen(service, venue, a=9, b=4, c=1)

    def has_stood() -> dict[str, Any] | None:
        service.send(venue, {"type": "click", "product": "a"})
        found = told(service, venue, "a")
        return found if found["slot"] and found["slot"][-1] == 1 else None

    found = until(has_stood, within_s=30, what="a whole ten seconds have passed")
    assert found is not None
    assert (found["every_s"], found["from_ms"] % 10_000) == (10, 0)
    assert len(found["slot"]) in {360, 361}
    assert found["slot"][0] is None
    assert (found["standing"][-1], found["score"][-1] > 0) == (1, True)
    assert set(told(service, venue, "c")["slot"]) <= {None, 3}
    assert told(service, venue, "a", from_ms=2**42)["slot"] == []


def test_whole_race_is_told_by_the_minute_also_off_the_board(service: Running) -> None:
    """Of b the board never told; of c the record does not tell either."""
    venue = made(service, runner("a", "m-2"), runner("b", "m-1"), runner("c", "m-1"))
    problem(service.http.get(f"/v1/merchants/m-1/runners/b/history?venue={venue}&every_s=90"), 422, "invalid")
    happen(service, venue, a=9, b=4)
    folder = service.settings.segments_folder
    assert folder is not None
    at_ms = service.http.get(f"/v1/venues/{venue}").json()["created_ms"] - 60_000  # its scorer keeps the later ones
    kept = Minute(at_ms, 3, np.array([0]), np.array([0, 1]), np.array([7.5, 2.25]))
    write_minute(folder, venue, kept, epoch=7)
    found = told(service, venue, "b", every_s=60, from_ms=at_ms // 60_000 * 60_000)
    assert (found["every_s"], found["from_ms"]) == (60, at_ms // 60_000 * 60_000)
    assert (found["slot"][0], found["standing"][0], found["score"][0]) == (None, 2, 2.25)
    assert told(service, venue, "c", every_s=60, from_ms=found["from_ms"])["standing"][0] is None


def test_hour_is_told_by_ten_seconds_also_off_the_board(service: Running) -> None:
    """The board never told of b; where the ten seconds are not kept, the minute is."""
    venue = made(service, runner("a", "m-2"), runner("b", "m-1"))
    happen(service, venue, a=9, b=4)
    folder = service.settings.segments_folder
    assert folder is not None
    begun_ms = service.http.get(f"/v1/venues/{venue}").json()["created_ms"] // 60_000 * 60_000 - 120_000
    for at_ms, score in ((begun_ms, 1.5), (begun_ms + 10_000, 2.5), (begun_ms + 30_000, 4.5)):
        kept = Minute(at_ms + 700, 2, np.array([0]), np.array([0, 1]), np.array([7.5, score]))
        write_minute(folder, venue, kept, epoch=7, pace=BY_TENS)
    late = Minute(begun_ms + 60_700, 2, np.array([0]), np.array([1, 0]), np.array([9.5, 7.5]))
    write_minute(folder, venue, late, epoch=7)
    found = told(service, venue, "b", every_s=10, from_ms=begun_ms)
    assert found["score"][:7] == [1.5, 2.5, None, 4.5, None, None, 9.5]
    assert found["standing"][:7] == [2, 2, None, 2, None, None, 1]
    assert set(found["slot"][:7]) == {None}


def test_history_behind_the_first_is_kept_from_when_it_is_asked_for(service: Running) -> None:
    """Not of a product of another, nor for longer than may be; once ended it is told as before."""
    venue = made(service, runner("a", "m-1"), runner("b", "m-2"))
    path, query = "/v1/merchants/m-1/runners/{}/history", {"venue": venue}
    for product in ("b", "nothing"):
        for method in ("PUT", "DELETE"):
            problem(service.http.request(method, path.format(product), params=query), 404, "not_found")
    for wrong in ({"for_s": 59}, {"for_s": 2_592_001}, {"for_s": "x"}, {"venue": ""}):
        problem(service.http.put(path.format("a"), params={**query, **wrong}), 422, "invalid")
    assert told(service, venue, "a", every_s=60)["kept_until_ms"] is None

    kept = service.http.put(path.format("a"), params={**query, "for_s": 600}).json()
    assert (kept["product"], kept["venue"]) == ("a", venue)
    assert told(service, venue, "a", every_s=60)["kept_until_ms"] == kept["kept_until_ms"]
    folder, created_ms = service.settings.segments_folder, service.http.get(f"/v1/venues/{venue}").json()["created_ms"]
    assert folder is not None
    nobody = np.zeros(0, np.int64)
    at_ms = created_ms // 60_000 * 60_000 - 60_000
    stood = Minute(at_ms, 20_000, nobody, nobody, np.zeros(0), watched=((0, (None, 12_345, 0.25)),))
    write_minute(folder, venue, stood, epoch=7)
    found = told(service, venue, "a", every_s=60, from_ms=at_ms)
    assert [found[name][0] for name in POINT] == [None, 12_345, 0.25]

    for _ in range(2):
        assert service.http.delete(path.format("a"), params=query).status_code == 204
    after = told(service, venue, "a", every_s=60, from_ms=at_ms)
    assert after["kept_until_ms"] is None
    assert [after[name][0] for name in POINT] == [
        found[name][0] for name in POINT
    ]  # later ones its scorer may have kept meanwhile
