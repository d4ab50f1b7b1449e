"""Standings as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io

from msgspec.structs import replace

from api.csv_rows import as_csv
from api.merchants import Row, SumsOf, metrics_of
from api.moves import Movement

ROW = Row(
    venue="hall-1",
    product="p-1",
    merchant="m-1",
    title="One",
    runner=7,
    slot=None,
    standing=8,
    rank=7,
    of=12,
    percentile=33.3,
    score=1.5,
    terms=(),
    rest=0.0,
    movement=Movement(2, -1, None),
    metrics=metrics_of(("click",))(SumsOf(4, 1.5, 2.5, 9)),
    stock=3,
    price=None,
    badges=["board", "rising"],
)


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_title_that_a_spreadsheet_would_take_for_a_formula_is_text() -> None:
    for title in ("=1+1", "+1", "-1", "@x", "\tx"):
        assert read(as_csv([replace(ROW, title=title)]))[0]["title"] == f"'{title}"


def test_title_of_any_kind_comes_back_as_it_was() -> None:
    title = '双十一 "quoted", and\nmore'
    assert read(as_csv([replace(ROW, title=title)]))[0]["title"] == title


def test_what_is_not_known_is_an_empty_cell() -> None:
    (row,) = read(as_csv([ROW]))
    assert (row["slot"], row["price"]) == ("", "")
    assert (row["moved_one_min"], row["moved_five_min"], row["moved_since_start"]) == ("2", "-1", "")
    assert (row["standing"], row["click_window"], row["click_base"], row["badges"]) == ("8", "4", "1.5", "board rising")


def test_rows_of_venues_with_other_metrics_have_one_header() -> None:
    rows = read(as_csv([ROW, replace(ROW, metrics=metrics_of(("order",))(SumsOf(1, 0, 1, 1)))]))
    assert [row["click_window"] for row in rows] == ["4", ""]
    assert [row["order_window"] for row in rows] == ["", "1"]


def test_no_rows_are_a_header_alone() -> None:
    first = "venue,product,merchant,title,slot,standing,rank,of,percentile,score"
    assert as_csv([]) == f"{first},moved_one_min,moved_five_min,moved_since_start,stock,price,badges\r\n"
