"""Event files are read row by row: what cannot be counted is refused with its reason, the rest is exact."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from racing.errors import RecordedFileError
from racing.events import ALIASES
from racing.recorded import AMOUNT_MAX, SAMPLES_MAX, Recorded, parse_aliases, read_recorded

HEADER = "ts_ms,type,product,user,category,price,position"
Read = Callable[..., Recorded]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads rows under the usual header, or a whole text as it is."""

    def make(*rows: str, text: str | bytes | None = None, **options: object) -> Recorded:
        path = tmp_path / "events"
        content = "\n".join([HEADER, *rows]) if text is None else text
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_recorded(path, **options)  # type: ignore[arg-type]  # as the test gives them

    return make


# -- files that cannot be read ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n  \n", "empty"),
        (gzip.compress(b"", mtime=0), "empty"),
        (b"ts_ms,kind,product\n1,click,p", "lacks type"),
        (b"time;type;product\n1;click;p", "lacks ts_ms, type, product"),
        (b"[{}]", "NDJSON holds one object per line"),
        (b"ts_ms,type,product,ts_ms\n1,click,p,1", "names ts_ms more than once"),
        (b'ts_ms,"type,product\n', "the header is"),
        (b"ts_ms,type,product\n1,click,\xff\xfe", "not UTF-8 text"),
        (b"PK\x03\x04\xe2\x28\xa1", "not UTF-8 text"),
        (gzip.compress(HEADER.encode(), mtime=0)[:-9], "gzip data is cut off or damaged"),
        (
            gzip.compress(f"{HEADER}\n{'1,click,p,,,,' * 5000}".encode(), mtime=0)[:200],
            "gzip data is cut off or damaged",
        ),
        (gzip.compress(b"x" * 100, mtime=0)[:20] + b"\x00" * 40, "gzip data is cut off or damaged"),
        (b"\x1f\x8bnot really", "gzip data is cut off or damaged"),
    ],
)
def test_a_file_that_is_no_event_file_is_an_error_that_names_it(content: bytes, reason: str, read: Read) -> None:
    with pytest.raises(RecordedFileError, match=rf"events: .*{reason}"):
        read(text=content)


def test_a_missing_file_or_a_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(RecordedFileError, match=r"absent\.csv: cannot be read: No such file"):
        read_recorded(tmp_path / "absent.csv")
    with pytest.raises(RecordedFileError, match="cannot be read: Is a directory"):
        read_recorded(tmp_path)


# -- rows that are refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "reason", "told"),
    [
        ("1,click", "fields", "line 2 has 2 fields, the header has 7"),
        ("1,click,p,,,,,", "fields", "8 fields"),
        ('1,click,"p,,,,', "fields", "quoted wrongly"),
        ('1,click,"p"q,,,,', "fields", "quoted wrongly"),
        ("soon,click,p,,,,", "ts_ms", "has ts_ms 'soon': whole milliseconds since 1970"),
        ("1.5,click,p,,,,", "ts_ms", "'1.5'"),
        (" 1,click,p,,,,", "ts_ms", "' 1'"),
        ("1_0,click,p,,,,", "ts_ms", "'1_0'"),
        ("١,click,p,,,,", "ts_ms", "whole milliseconds"),
        (",click,p,,,,", "ts_ms", "''"),
        ("-5,click,p,,,,", "ts_ms", "'-5', which is negative"),
        ("1511658000000000,click,p,,,,", "ts_ms", "after the year 9999: give milliseconds"),
        (f"{'9' * 5000},click,p,,,,", "ts_ms", "after the year 9999"),
        ("1,wink,p,,,,", "type", "has type 'wink': known are cart, click,"),
        ("1,Click,p,,,,", "type", "'Click'"),
        ("1,,p,,,,", "type", "''"),
        ("1,click,,,,,", "product", "has product '': 1 to 64 letters, digits"),
        ("1,click,a b,,,,", "product", "'a b'"),
        ("1,click,a:b,,,,", "product", "'a:b'"),
        (f"1,click,{'x' * 65},,,,", "product", "…'"),
        ("1,pay,p,,,-1,", "price", "has price '-1', which is negative"),
        ("1,pay,p,,,NaN,", "price", "has price 'NaN': decimal major units"),
        ("1,pay,p,,,inf,", "price", "'inf'"),
        ("1,pay,p,,,1_000,", "price", "'1_000'"),
        ('1,pay,p,,,"1,000",', "price", "'1,000'"),
        ("1,pay,p,,,1e99,", "price", "more than 10000000000"),
        ("1,pay,p,,,1e999999999,", "price", "decimal major units"),
        (f"1,pay,p,,,{AMOUNT_MAX / 100 + 0.01:.2f},", "price", "more than"),
    ],
)
def test_a_wrong_row_is_refused_alone_with_its_line_and_value(row: str, reason: str, told: str, read: Read) -> None:
    recorded = read(row, "7,click,good,,,,")
    assert recorded.refused == {reason: 1}
    (sample,) = recorded.samples
    assert sample.startswith("line 2 ")
    assert told in sample
    assert recorded.ts_ms.tolist() == [7]


@pytest.mark.parametrize(
    "line", ["{", "[1]", "3", "null", '"text"', '{"ts_ms": 1} x', '{"price": NaN}', "[" * 50_000, '{"type": "\\ud800"}']
)
def test_a_line_that_is_no_object_is_refused_alone(line: str, read: Read) -> None:
    first = '{"ts_ms": 7, "type": "click", "product": "good"}'
    recorded = read(text=f"{first}\n{line}\n{first}")
    assert recorded.refused == {"json": 1}
    assert recorded.samples[0].startswith("line 2 is ")
    assert len(recorded) == 2


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"type": "click", "product": "p"}, "ts_ms"),
        ({"ts_ms": None, "type": "click", "product": "p"}, "ts_ms"),
        ({"ts_ms": True, "type": "click", "product": "p"}, "ts_ms"),
        ({"ts_ms": 1.0, "type": "click", "product": "p"}, "ts_ms"),
        ({"ts_ms": 10**30, "type": "click", "product": "p"}, "ts_ms"),
        ({"ts_ms": 1, "type": ["click"], "product": "p"}, "type"),
        ({"ts_ms": 1, "type": "click", "product": {"id": "p"}}, "product"),
        ({"ts_ms": 1, "type": "pay", "product": "p", "price": "cheap"}, "price"),
        ({"ts_ms": 1, "type": "pay", "product": "p", "price": False}, "price"),
    ],
)
def test_an_object_with_a_wrong_value_is_refused_for_it(document: dict[str, object], reason: str, read: Read) -> None:
    assert read(text=json.dumps(document)).refused == {reason: 1}


def test_every_refused_row_is_counted_and_the_first_few_are_told(read: Read) -> None:
    recorded = read(*["x,click,p,,,,"] * 40, *["1,wink,p,,,,"] * 3)
    assert recorded.refused == {"ts_ms": 40, "type": 3}
    assert [sample.split()[1] for sample in recorded.samples] == ["2", "3", "4", "5", "6"]
    assert len(recorded.samples) == SAMPLES_MAX


def test_a_file_of_refused_rows_only_is_read(read: Read) -> None:
    recorded = read("1,wink,p,,,,")
    assert len(recorded) == len(recorded.user) == 0
    assert recorded.kinds == ()
    assert recorded.products == ("p",)


# -- products, kinds, prices -----------------------------------------------------------------------------


def test_products_stand_in_the_order_in_which_the_file_first_names_them(read: Read) -> None:
    """A row that is refused for another reason still names its product; one without proper fields does not."""
    recorded = read(
        "9,click,c,,,,", "1,wink,b,,,,", "x,click,a,,,,", "3,pay,d,,,-1,", "2,click", "2,click,e{},,,,", "2,click,c,,,,"
    )
    assert recorded.products == ("c", "b", "a", "d")
    assert recorded.product.tolist() == [0, 0]
    assert recorded.ts_ms.tolist() == [9, 2]


@pytest.mark.parametrize(("alias", "kind"), [*ALIASES.items(), ("refund", "refund"), ("impression", "impression")])
def test_other_vocabularies_are_known_by_alias(alias: str, kind: str, read: Read) -> None:
    recorded = read(f"1,{alias},p,,,,", f"1,{kind},p,,,,")
    assert recorded.kinds == (kind,)
    assert recorded.kind.tolist() == [0, 0]


def test_kinds_that_the_rule_declares_are_taken(read: Read) -> None:
    assert read("1,image,p,,,,").refused == {"type": 1}
    assert read("1,image,p,,,,", kinds={"image"}).kinds == ("image",)


def test_a_mapped_name_is_taken_and_goes_before_the_built_in_one(read: Read) -> None:
    recorded = read("1,image,p,,,,", "1,pv,p,,,,", aliases={"image": "click", "pv": "impression"})
    assert recorded.kinds == ("click", "impression")


@pytest.mark.parametrize("pair", ["image", "image=", "=click", "=", "", " = "])
def test_a_map_of_another_form_is_refused(pair: str) -> None:
    with pytest.raises(RecordedFileError, match="name=kind"):
        parse_aliases([pair])


def test_a_map_to_an_unknown_kind_or_to_two_kinds_is_refused() -> None:
    with pytest.raises(RecordedFileError, match="unknown kind 'wink': known are cart, click"):
        parse_aliases(["image=wink"])
    with pytest.raises(RecordedFileError, match="both 'click' and 'pay'"):
        parse_aliases(["image=click", "image=pay"])


def test_a_map_leads_to_the_canonical_kind() -> None:
    assert parse_aliases(["a=click", " b = pv", "c=image", "a=view"], kinds={"image"}) == {
        "a": "click",
        "b": "click",
        "c": "image",
    }


@pytest.mark.parametrize(
    ("price", "amount"),
    [
        ("", 0),
        ("0", 0),
        ("-0.00", 0),
        ("19.9", 1990),
        ("+5", 500),
        (".07", 7),
        ("8.", 800),
        ("1e2", 10_000),
        ("0.005", 0),
        ("0.015", 2),
        ("0.025", 2),
        ("0.0250000000000000000000000000000000000001", 3),
        ("1.115", 112),
        ("2.675", 268),
        ("9999999999.99", 999_999_999_999),
    ],
)
def test_prices_become_minor_units_exactly_as_written_halves_to_even(price: str, amount: int, read: Read) -> None:
    """Binary floats would make 1.115 * 100 = 111.4999..., and 2.675 * 100 = 267.4999..."""
    assert read(f"1,pay,p,,,{price},").amount.tolist() == [amount]
    if price and price[0] not in "+." and price[-1] != ".":
        line = f'{{"ts_ms": 1, "type": "pay", "product": "p", "price": {price}}}'
        assert read(text=line).amount.tolist() == [amount]


# -- forms of one file -----------------------------------------------------------------------------------

ROWS = ["30,pv,b,u1,shoes,1.5,2", "10,buy,a,,,,", '20,fav,b,"u,2","say ""hi""",,', "20,click,c,ü,,0.1,"]


def assert_rows(recorded: Recorded) -> None:
    assert recorded.ts_ms.tolist() == [30, 10, 20, 20]
    assert [recorded.kinds[kind] for kind in recorded.kind] == ["click", "pay", "favorite", "click"]
    assert [recorded.products[product] for product in recorded.product] == ["b", "a", "b", "c"]
    assert recorded.amount.tolist() == [150, 0, 0, 10]
    assert recorded.user == ["u1", None, "u,2", "ü"]
    assert recorded.category == ["shoes", None, 'say "hi"', None]
    assert recorded.position == ["2", None, None, None]
    assert not recorded.refused


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("before", ["", "\ufeff", "\n \n"], ids=["as is", "byte order mark", "blank lines"])
def test_csv_is_read_packed_or_plain_with_any_line_ends(
    pack: Callable[[bytes], bytes], newline: str, before: str, read: Read
) -> None:
    text = before + newline.join([HEADER, *ROWS, "", ""])
    assert_rows(read(text=pack(text.encode())))


def test_two_gzip_files_end_to_end_are_one(read: Read) -> None:
    text = "\n".join([HEADER, *ROWS, ""]).encode()
    assert_rows(read(text=gzip.compress(text[:70], mtime=0) + gzip.compress(text[70:], mtime=0)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_ndjson_with_the_same_names_gives_the_same_rows(pack: Callable[[bytes], bytes], read: Read) -> None:
    documents = [
        {"ts_ms": 30, "type": "pv", "product": "b", "user": "u1", "category": "shoes", "price": 1.5, "position": 2},
        {"product": "a", "type": "buy", "ts_ms": "10", "user": None, "price": None, "more": [1]},
        {"ts_ms": 20, "type": "fav", "product": "b", "user": "u,2", "category": 'say "hi"', "price": ""},
        {"ts_ms": 20, "type": "click", "product": "c", "user": "ü", "price": "0.1"},
    ]
    text = "\n \n" + "\n\n".join(json.dumps(document) for document in documents)
    assert_rows(read(text=pack(text.encode())))


def test_columns_are_found_by_name_and_others_are_ignored(read: Read) -> None:
    recorded = read(text='session ,"product", type,quantity,ts_ms\ns1,p,click,2,5\ns2,q,pay,,6')
    assert recorded.ts_ms.tolist() == [5, 6]
    assert recorded.products == ("p", "q")
    assert recorded.user == recorded.category == recorded.position == [None, None]
    assert recorded.amount.tolist() == [0, 0]


def test_numbers_of_ndjson_name_users_and_products_too(read: Read) -> None:
    recorded = read(text='{"ts_ms": 1, "type": "view", "product": 17, "user": 4}')
    assert (recorded.products, recorded.user) == (("17",), ["4"])


def test_progress_is_told_in_bytes_of_the_file(read: Read) -> None:
    told: list[int] = []
    rows = ["1,click,p,,,,"] * 25_000
    read(*rows, on_bytes=told.append)
    assert len(told) == 2
    assert 0 < told[0] < told[1] <= len(HEADER) + 14 * 25_000
