"""Products in CSV, read row by row."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racing.errors import DocumentError
from racing.rows import ROWS_MAX, Row, rows_of


def read(text: str) -> list[Row]:
    return list(rows_of(text.encode()))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "one of them is product"),
        (b"title\nt\n", "one of them is product"),
        (b"product,Title\n", "column 'Title'"),
        (b"product,attributes.\n", "column 'attributes.'"),
        (b"product,product\n", "column 'product' comes twice"),
        (b"product\n\xff\n", "byte 0xff at 8"),
        (b'product\n"a\n', "the file is not CSV, at line 2"),
        (b"product\n" + b"p\n" * (ROWS_MAX + 1), "more than 20000 rows"),
    ],
)
def test_a_file_that_is_none_says_why(body: bytes, words: str) -> None:
    with pytest.raises(DocumentError, match=words):
        list(rows_of(body))


def test_cells_are_what_their_column_says() -> None:
    text = "product,title,price,entry_score,attributes.a,attributes.b,attributes.c\np,5,5,5,5,true,x\n"
    attributes = {"a": 5.0, "b": True, "c": "x"}
    assert read(text) == [
        Row(2, {"product": "p", "title": "5", "price": 5, "entry_score": 5.0, "attributes": attributes})
    ]


def test_what_is_no_number_stays_as_it_came_for_its_field_to_refuse() -> None:
    for cell in ("5.0", "five", "1e3", "9" * 5000, "٣", "--5"):
        assert read(f"product,price\np,{cell}\n")[0].given["price"] == cell
    assert read("product,price\np,-5\n")[0].given["price"] == -5


def test_empty_cells_and_short_rows_say_nothing_and_long_ones_are_told() -> None:
    assert read("product,title\np,\np\n\np,t,more\n") == [
        Row(2, {"product": "p", "title": None}),
        Row(3, {"product": "p", "title": None}),
        Row(5, {"product": "p", "row": "3 cells for 2 columns"}),
    ]


def test_a_file_of_a_spreadsheet_has_a_mark_before_its_header() -> None:
    assert list(rows_of("product\r\np\r\n".encode("utf-8-sig"))) == [Row(2, {"product": "p"})]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20), max_size=8))
def test_any_title_comes_through(titles: list[str]) -> None:
    """But for blanks around it."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(["product", "title"])
    writer.writerows([["p", title] for title in titles])
    found = [row.given["title"] for row in rows_of(written.getvalue().encode())]
    assert found == [title.strip() or None for title in titles]
