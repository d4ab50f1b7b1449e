"""Operators: who changed what, when, from what, to what; and undo."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Path, Query
from fastapi.responses import StreamingResponse

from api.bodies import NDJSON
from api.guard import GuardedRoute, needs
from api.routes.orders import accepted
from api.schemas.decisions import ENTRY_PATTERN, AuditOut, DecisionOut, MaybeNote, Visible
from api.service import Serving, Viewed
from api.steering import Steering
from racing.model import ID_PATTERN
from racing.store.audit import Told, Wanted

router = APIRouter(prefix="/v1/venues", tags=["operators"], route_class=GuardedRoute)

Who = Annotated[str | None, Query(max_length=200, description="only decisions of the key of this name")]
What = Annotated[
    Literal["rule", "enrol", "swap", "orders", "access", "venue", "plan", "void"] | None,
    Query(description="only decisions of this kind"),
]
Product = Annotated[str | None, Query(pattern=ID_PATTERN, description="only decisions that name this product")]
EntryName = Annotated[
    str, Path(description="log entry of the decision", examples=["1763740800123-0"], pattern=ENTRY_PATTERN)
]
_COLUMNS = ("entry", "at", "who", "what", "of", "from", "to", "note", "undoes", "plan")
CSV = "text/csv"


def _wanted(who: str | None, what: str | None, product: str | None) -> Wanted:
    """What of the audit is asked for; None asks for any."""

    def wanted(told: Told) -> bool:
        """Whether a decision is one of those."""
        decision = told.decision
        return (
            who in {None, decision.who}
            and what in {None, decision.what}
            and (product is None or product in decision.products())
        )

    return wanted


@router.get("/{venue}/audit", operation_id="listDecisions")
@needs("operate")
async def list_decisions(
    view: Viewed,
    service: Serving,
    *,
    who: Who = None,
    what: What = None,
    product: Product = None,
    limit: Annotated[int, Query(ge=1, le=200, description="at most this many")] = 50,
    cursor: Annotated[str | None, Query(pattern=ENTRY_PATTERN, description="next_cursor of the page before")] = None,
) -> AuditOut:
    """Every decision on the venue, newest first: rule, products, orders, access, life cycle.

    A page that a filter leaves short, or empty, still has a cursor while there is more to look at.
    """
    wanted = _wanted(who, what, product)
    found, more = await service.audit.page(view.venue.venue, wanted, before=cursor, limit=limit)
    return AuditOut(decisions=[DecisionOut.of(told) for told in found], next_cursor=more)


@router.get(
    "/{venue}/audit/export",
    operation_id="exportDecisions",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "every decision, newest first",
            "content": {
                NDJSON: {"schema": {"type": "string", "description": "a decision a line, as in the list"}},
                CSV: {"schema": {"type": "string", "description": "a line for each thing that was changed"}},
            },
        }
    },
)
@needs("operate")
async def export_decisions(
    view: Viewed,
    service: Serving,
    *,
    form: Annotated[Literal["ndjson", "csv"], Query(alias="format", description="ndjson or csv")] = "ndjson",
    who: Who = None,
    what: What = None,
    product: Product = None,
) -> StreamingResponse:
    """The whole audit as a file."""
    told = service.audit.all(view.venue.venue, _wanted(who, what, product))
    lines, media_type = (_csv(told), CSV) if form == "csv" else (_ndjson(told), NDJSON)
    name = f'attachment; filename="{view.venue.venue}-audit.{form}"'
    return StreamingResponse(lines, media_type=media_type, headers={"Content-Disposition": name})


async def _ndjson(decisions: AsyncIterator[Told]) -> AsyncIterator[bytes]:
    """The file as programs read it: a line for each decision."""
    async for told in decisions:
        yield DecisionOut.of(told).model_dump_json(by_alias=True).encode() + b"\n"


async def _csv(decisions: AsyncIterator[Told]) -> AsyncIterator[bytes]:
    """The file as a spreadsheet reads it: a line for each thing that a decision changed."""
    yield _line(_COLUMNS)
    async for told in decisions:
        out = DecisionOut.of(told)
        for change in out.changes:
            sides = [msgspec.json.encode(side).decode() for side in (change.before, change.after)]
            yield _line((out.entry, out.at, out.who, out.what, change.of, *sides, out.note, out.undoes, out.plan))


def _line(cells: tuple[str, ...]) -> bytes:
    """A line of CSV. Cells that a spreadsheet would take for a formula are told apart by a quote."""
    written = io.StringIO()
    csv.writer(written).writerow([f"'{cell}" if cell[:1] in {"=", "+", "-", "@"} else cell for cell in cells])
    return written.getvalue().encode()


@router.post("/{venue}/audit/{entry}/undo", operation_id="undoDecision", responses=accepted(Visible))
@needs("operate")
async def undo_decision(entry: EntryName, undo: MaybeNote, steer: Steering) -> Visible:
    """Take a decision back by a new one; or 409, which says why not: by which entry it was changed since.

    New products are withdrawn from the board: a number that was given stays given.
    """
    made = await steer.undo(undo.note).of(entry)
    await steer.service.frames.refresh()
    return await steer.shown(made)
