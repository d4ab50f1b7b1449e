"""``saima pin``, ``boost``, ``exclude``, ``freeze``, ``thaw``, ``orders``, ``phases``, ``audit``, ``undo``, ``enrol``.

What operators do most, over HTTP as any client does: docs/desk.md has the whole of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from racing.cli_keys import milliseconds
from racing.cli_options import AsJson, out
from racing.cli_service import DeskError, service
from racing.moments import moment_text, parse_moment

app = typer.Typer()

Venue = Annotated[str, typer.Argument(help="Id of the venue.")]
Product = Annotated[str, typer.Argument(help="Id of the product.")]
Url = Annotated[str, typer.Option(help="Address of the running service. [SAIMA_URL]", envvar="SAIMA_URL")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder with the admin key of this machine, where SAIMA_KEY is not set.")
]
Start = Annotated[
    str | None, typer.Option(help="Holds from then on, as 2026-11-11T00:00:00+08:00; at once if left out.")
]
End = Annotated[
    str | None, typer.Option(help="Holds until then: a time with its offset, or so long from now, as 30m or 2h.")
]
Note = Annotated[str, typer.Option(help="Why, for the audit.")]
_URL = "http://127.0.0.1:8080"


def times(start: str | None, end: str | None, *, now_ms: int) -> dict[str, int]:
    """start_ms and end_ms of what was given. Raises typer.BadParameter."""
    found: dict[str, int] = {}
    for name, text in (("start_ms", start), ("end_ms", end)):
        if text is None:
            continue
        if text[:1].isdigit() and text[-1:] in "smhd" and text[:-1].isdecimal():
            found[name] = now_ms + milliseconds(text)
            continue
        try:
            found[name] = parse_moment(text)
        except ValueError as exc:
            raise typer.BadParameter(f"{name.removesuffix('_ms')}: {exc}, not {text!r}") from exc
    return found


def _times(start: str | None, end: str | None) -> dict[str, int]:
    return times(start, end, now_ms=time.time_ns() // 1_000_000)


def _tell(changed: Mapping[str, Any], *, as_json: bool) -> None:
    """What was decided, and from which frame it shows."""
    if as_json:
        out.print_json(json.dumps(changed))
        return
    what = [f"{each['kind']} {each['id']} ({each['state']})" for each in changed.get("put", ())]
    what += [f"{name} withdrawn" for name in changed.get("withdrawn", ())]
    frame = changed.get("frame")
    shown = "no frame shows it yet" if frame is None else f"shown from frame {frame} on"
    out.print(f"{', '.join(what) or 'done'}: {shown}; entry {changed['entry']}", highlight=False)


@app.command()
def pin(
    venue: Venue,
    slot: Annotated[int, typer.Argument(min=1, help="The slot, from 1.")],
    product: Product,
    *,
    soft: Annotated[bool, typer.Option("--soft", help="Never below the slot, and higher by its own score.")] = False,
    paid: Annotated[bool, typer.Option("--paid", help="Shoppers are told that it is paid for.")] = False,
    start: Start = None,
    end: End = None,
    note: Note = "",
    url: Url = _URL,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Hold a product at a slot. `saima thaw` ends a freeze, `saima orders VENUE --withdraw pin.SLOT` a pin."""
    body = {"product": product, "hard": not soft, "label": "paid" if paid else "pinned", "note": note}
    with service(url, data_dir) as desk:
        _tell(desk.ask("PUT", f"{venue}/pins/{slot}", {**body, **_times(start, end)}), as_json=as_json)


@app.command()
def boost(
    venue: Venue,
    factor: Annotated[float, typer.Argument(help="Above 1 a boost, below 1 a bury.")],
    *,
    product: Annotated[str | None, typer.Option(help="The product that is meant; or:")] = None,
    merchant: Annotated[str | None, typer.Option(help="All of a merchant's; or:")] = None,
    category: Annotated[str | None, typer.Option(help="A category; or:")] = None,
    tag: Annotated[str | None, typer.Option(help="All with this attribute true.")] = None,
    start: Start = None,
    end: End = None,
    note: Note = "",
    url: Url = _URL,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Multiply the scores of a product, merchant, category or tag."""
    aims = {"product": product, "merchant": merchant, "category": category, "tag": tag}
    aim = {name: value for name, value in aims.items() if value is not None}
    with service(url, data_dir) as desk:
        body = {"factor": factor, "note": note, **aim, **_times(start, end)}
        _tell(desk.ask("POST", f"{venue}/boosts", body), as_json=as_json)


@app.command()
def exclude(
    venue: Venue,
    reason: Annotated[str, typer.Argument(help="Why: the explanation tells it.")],
    *,
    product: Annotated[str | None, typer.Option(help="The product that leaves the board; or:")] = None,
    merchant: Annotated[str | None, typer.Option(help="All of a merchant's.")] = None,
    start: Start = None,
    end: End = None,
    note: Note = "",
    url: Url = _URL,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take a product, or all of a merchant's, off the board; counts and standing go on."""
    aim = {name: value for name, value in (("product", product), ("merchant", merchant)) if value is not None}
    with service(url, data_dir) as desk:
        body = {"reason": reason, "note": note, **aim, **_times(start, end)}
        _tell(desk.ask("POST", f"{venue}/exclusions", body), as_json=as_json)


@app.command()
def freeze(
    venue: Venue,
    *,
    slots: Annotated[int | None, typer.Option(min=1, help="The first so many; all of the board if left out.")] = None,
    end: End = None,
    note: Note = "",
    url: Url = _URL,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Keep the board, or its first slots, as they stand."""
    body = {"note": note, **({} if slots is None else {"slots": slots}), **_times(None, end)}
    with service(url, data_dir) as desk:
        _tell(desk.ask("PUT", f"{venue}/freeze", body), as_json=as_json)


@app.command()
def thaw(venue: Venue, *, note: Note = "", url: Url = _URL, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """End the freeze: the board is the race's again."""
    with service(url, data_dir) as desk:
        _tell(desk.ask("DELETE", f"{venue}/freeze", note=note), as_json=as_json)


@app.command()
def orders(
    venue: Venue,
    *,
    kind: Annotated[str | None, typer.Option(help="Only pin, boost, exclude, freeze, emergency or phase.")] = None,
    state: Annotated[str | None, typer.Option(help="Only scheduled, in force, ended or inactive.")] = None,
    withdraw: Annotated[list[str] | None, typer.Option(help="Id of an order to end now; again for more.")] = None,
    note: Note = "",
    url: Url = _URL,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show the orders of a venue, or end some of them, all at once."""
    with service(url, data_dir) as desk:
        if withdraw:
            _tell(desk.ask("POST", f"{venue}/orders", {"withdraw": withdraw, "note": note}), as_json=as_json)
            return
        found = desk.ask("GET", f"{venue}/orders", kind=kind, state=state, limit=1000)["orders"]
    _show(found, f"orders of {venue}", as_json=as_json)


@app.command()
def phases(venue: Venue, *, url: Url = _URL, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show the timetable of a venue."""
    with service(url, data_dir) as desk:
        _show(desk.ask("GET", f"{venue}/phases")["orders"], f"phases of {venue}", as_json=as_json)


_OF_ORDER = ("product", "merchant", "category", "tag", "slot", "factor", "slots", "products", "title", "reason")


def _show(found: list[dict[str, Any]], title: str, *, as_json: bool) -> None:
    if as_json:
        out.print_json(json.dumps(found))
        return
    table = Table("id", "kind", "what", "state", "start", "end", "who", title=title)
    for each in found:
        what = ", ".join(f"{name} {each[name]}" for name in _OF_ORDER if each.get(name) is not None)
        cells = (each["id"], each["kind"], what, each["state"], each["start"] or "", each["end"] or "", each["who"])
        table.add_row(*cells)
    out.print(table)


@app.command()
def audit(
    venue: Venue,
    *,
    who: Annotated[str | None, typer.Option(help="Only of the key of this name.")] = None,
    what: Annotated[str | None, typer.Option(help="Only rule, enrol, swap, orders, access, venue or plan.")] = None,
    product: Annotated[str | None, typer.Option(help="Only decisions that name this product.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most this many, the newest first.")] = 20,
    url: Url = _URL,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show who changed what, when; `saima undo` takes an entry back."""
    with service(url, data_dir) as desk:
        found = desk.ask("GET", f"{venue}/audit", who=who, what=what, product=product, limit=limit)["decisions"]
    if as_json:
        out.print_json(json.dumps(found))
        return
    table = Table("entry", "at", "who", "what", "changed", "note", title=f"decisions on {venue}")
    for each in found:
        of = [change["of"] for change in each["changes"]]
        told = ", ".join(of[:3]) + (f" and {len(of) - 3} more" if len(of) > 3 else "")  # noqa: PLR2004  # as shown
        undone = f" (undoes {each['undoes']})" if each["undoes"] else ""
        table.add_row(
            each["entry"], moment_text(each["at_ms"]), each["who"], each["what"], told, f"{each['note']}{undone}"
        )
    out.print(table)


@app.command()
def undo(
    venue: Venue,
    entry: Annotated[str, typer.Argument(help="Entry of the decision, as `saima audit` shows it.")],
    *,
    note: Note = "",
    url: Url = _URL,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Take a decision back by a new one, or say why that cannot be."""
    with service(url, data_dir) as desk:
        _tell(desk.ask("POST", f"{venue}/audit/{entry}/undo", {"note": note}), as_json=as_json)


@app.command()
def enrol(
    venue: Venue,
    file: Annotated[Path, typer.Argument(help="CSV file, its columns named in the first line; product is one.")],
    *,
    waive: Annotated[bool, typer.Option("--waive", help="Let in what does not meet the entry conditions.")] = False,
    url: Url = _URL,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Enrol the products of a file, or change what it says of them; exits 1 where rows are refused."""
    try:
        body = file.read_bytes()
    except OSError as exc:
        raise DeskError(f"file {str(file)!r} cannot be read: {exc.strerror}") from exc
    with service(url, data_dir) as desk:
        found = desk.send(f"{venue}/runners/bulk{'?waive=true' if waive else ''}", body, "text/csv")
    if as_json:
        out.print_json(json.dumps(found))
    else:
        _report(found)
    if found["refused"]:
        raise typer.Exit(1)


def _report(found: Mapping[str, Any]) -> None:
    states = [each["state"] for each in found["runners"]]
    told = ", ".join(f"{states.count(state)} {state}" for state in ("enrolled", "changed", "unchanged"))
    out.print(f"{told}, {len(found['refused'])} refused", highlight=False)
    for row in found["refused"]:
        for each in row["errors"]:
            value = "" if each["value"] is None else f", not {each['value']}"
            line = f"  row {row['row']} ({row['product']}): {each['field']}: {each['expected']}{value}"
            out.print(line, highlight=False, markup=False)
