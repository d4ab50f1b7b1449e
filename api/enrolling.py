"""Enrolment from a request to its answer: one product, many, or a file whose rows are refused one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import msgspec
from fastapi import Query
from pydantic import ValidationError

from api.grants import Grant
from api.schemas.fields import BULK_MAX
from api.schemas.runners import EnrolledList, EnrolledOut, FieldOut, RefusedProduct, RefusedRow, RunnerIn
from api.service import Service
from api.view import VenueView
from racing.conditions import Conditions, parse_conditions, refuse, unmet
from racing.documents import wrong_field
from racing.entries import Runner
from racing.errors import OverloadedError
from racing.rows import Row

Waive = Annotated[bool, Query(description="let new products in that do not meet the venue's entry conditions")]


async def enrol(
    service: Service, view: VenueView, caller: Grant, runners: Sequence[Runner], *, waive: bool
) -> list[EnrolledOut]:
    """Enrol products, or replace their data, all or none.

    waive: let new ones in that do not meet the venue's conditions. Raises ConditionsError, OverloadedError, StoreError.
    """
    if service.full is not None:
        raise OverloadedError(service.full)
    conditions = parse_conditions(view.venue.conditions)
    if conditions != Conditions() and not waive:
        known = await service.desk.runners.numbers(view.venue.venue, [runner.product for runner in runners])
        for place, runner in enumerate(runners):
            if runner.product not in known:
                refuse(conditions, runner, at=f"runners[{place}]." if len(runners) > 1 else "")
    enrolled = await service.desk.runners.enrol(view.venue.venue, runners, author=caller.name)
    return [EnrolledOut(product=each.product, runner=each.runner, state=each.state) for each in enrolled]


async def enrol_rows(
    service: Service, view: VenueView, caller: Grant, rows: Iterable[Row], *, waive: bool
) -> EnrolledList:
    """Enrol the rows of a file, or change what they say of products that are enrolled; wrong ones are told by row.

    A column that the file has not leaves what a product has; an empty cell takes it away. Up to 1,000 rows are one
    decision. Raises OverloadedError, StoreError: then rows before may have been enrolled, and to repeat it is safe.
    """
    listed = list(rows)
    found = EnrolledList(runners=[])
    seen: dict[str, int] = {}
    for first in range(0, len(listed), BULK_MAX):
        some = listed[first : first + BULK_MAX]
        present = await _present(service, view, [str(row.given.get("product") or "") for row in some])
        good: list[tuple[Row, Runner]] = []
        for row in some:
            made = _runner(row, present, seen)
            if isinstance(made, Runner) and not waive and made.product not in present:
                made = _admitted(row, made, parse_conditions(view.venue.conditions))
            if isinstance(made, Runner):
                good.append((row, made))
            else:
                found.refused.append(made)
        if good:
            enrolled = await enrol(service, view, caller, [runner for _, runner in good], waive=True)
            found.runners += [
                each.model_copy(update={"row": row.number}) for each, (row, _) in zip(enrolled, good, strict=True)
            ]
    return found


def admitted(
    conditions: Conditions, runners: Iterable[Runner], *, waive: bool
) -> tuple[list[Runner], list[RefusedProduct]]:
    """The products that may enter a venue, in their order, and those that may not, each with what it lacks."""
    good: list[Runner] = []
    refused: list[RefusedProduct] = []
    for runner in runners:
        missing = [] if waive else unmet(conditions, runner)
        if missing:
            errors = [FieldOut(field=each.field, expected=each.expected, value=each.value) for each in missing]
            refused.append(RefusedProduct(product=runner.product, errors=errors))
        else:
            good.append(runner)
    return good, refused


async def _present(service: Service, view: VenueView, products: Sequence[str]) -> dict[str, Runner]:
    """The data of those products that are enrolled."""
    numbers = await service.desk.runners.numbers(view.venue.venue, [product for product in products if product])
    data = await service.desk.runners.by_number(view.venue.venue, sorted(numbers.values()))
    return {product: data[number] for product, number in numbers.items() if number in data}


def _runner(row: Row, present: dict[str, Runner], seen: dict[str, int]) -> Runner | RefusedRow:
    """The runner of a row, with what the file does not say as it is; or what is wrong with the row."""
    product = str(row.given.get("product") or "")
    if "row" in row.given:
        return _refused(row, [("row", "must have no more cells than the header", str(row.given["row"]))])
    before = present.get(product)
    kept: dict[str, Any] = {} if before is None else msgspec.to_builtins(before)
    attributes = {**kept.get("attributes", {}), **row.given.get("attributes", {})}
    stated = {name: value for name, value in {**kept, **row.given}.items() if value is not None}
    stated["attributes"] = {name: value for name, value in attributes.items() if value is not None}
    try:
        runner = RunnerIn.model_validate(stated).runner()
    except ValidationError as exc:
        return _refused(row, [wrong_field(error) for error in exc.errors()])
    if product in seen:
        return _refused(row, [("product", f"comes in row {seen[product]} already", product)])
    seen[product] = row.number
    return runner


def _admitted(row: Row, runner: Runner, conditions: Conditions) -> Runner | RefusedRow:
    missing = unmet(conditions, runner)
    return _refused(row, [(each.field, each.expected, each.value) for each in missing]) if missing else runner


def _refused(row: Row, wrong: Sequence[tuple[str, str, str | None]]) -> RefusedRow:
    errors = [FieldOut(field=field, expected=expected, value=value) for field, expected, value in wrong]
    return RefusedRow(row=row.number, product=str(row.given.get("product") or "")[:80], errors=errors)
