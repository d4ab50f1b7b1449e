"""Products in CSV (报名表): rows read into what an enrolment takes, each wrong one with its row and its reason."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any, NamedTuple

from racing.errors import DocumentError

TEXTS = ("product", "merchant", "title", "category", "series", "tier", "image", "url")
WHOLE = ("price", "list_price", "stock")
NUMBERS = ("entry_score",)
COLUMNS = (*TEXTS, *WHOLE, *NUMBERS)
ATTRIBUTE = "attributes."
ROWS_MAX = 20_000
_DIGITS_MAX = 18


class Row(NamedTuple):
    """A row of the file. number: its line, the header being 1. given: fields by name; None: the cell is empty."""

    number: int
    given: dict[str, Any]


def rows_of(body: bytes) -> Iterator[Row]:
    """The rows of a CSV file with a header; cells are what their column says, attributes what they look like.

    Raises DocumentError for a file that is none: not UTF-8, without product, with an unknown column, or with more than
    20,000 rows. A cell that is no number where one should be stays a text, for the check of its field to refuse.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DocumentError(f"the file is not UTF-8: byte 0x{body[exc.start]:02x} at {exc.start}") from exc
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        _check_header(header)
        for count, cells in enumerate(lines, start=1):
            if count > ROWS_MAX:
                raise DocumentError(f"more than {ROWS_MAX} rows: send several files")
            if cells:
                yield Row(lines.line_num, _given(header, cells))
    except csv.Error as exc:
        raise DocumentError(f"the file is not CSV, at line {lines.line_num}: {exc}") from exc


def _check_header(header: list[str]) -> None:
    for name in header:
        if name not in COLUMNS and not (name.startswith(ATTRIBUTE) and len(name) > len(ATTRIBUTE)):
            raise DocumentError(f"column {name[:80]!r}: there are {', '.join(COLUMNS)} and attributes.<name>")
        if header.count(name) > 1:
            raise DocumentError(f"column {name!r} comes twice")
    if "product" not in header:
        raise DocumentError("the first line names the columns, and one of them is product")


def _given(header: list[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) > len(header):
        return {"product": cells[header.index("product")], "row": f"{len(cells)} cells for {len(header)} columns"}
    found: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for name, cell in zip(header, [*cells, *[""] * (len(header) - len(cells))], strict=True):
        if name.startswith(ATTRIBUTE):
            attributes[name.removeprefix(ATTRIBUTE)] = _looks_like(cell.strip())
        else:
            found[name] = _cell(name, cell.strip())
    return found | ({"attributes": attributes} if attributes else {})


def _cell(name: str, cell: str) -> Any:
    if not cell:
        return None
    if name in WHOLE:
        digits = cell.removeprefix("-")
        return int(cell) if digits.isascii() and digits.isdecimal() and len(digits) <= _DIGITS_MAX else cell
    return _number(cell) if name in NUMBERS else cell


def _looks_like(cell: str) -> Any:
    if not cell:
        return None
    words = {"true": True, "false": False}
    return words[cell.lower()] if cell.lower() in words else _number(cell)


def _number(cell: str) -> Any:
    try:
        return float(cell)
    except ValueError:
        return cell
