"""Operators: the rule, its history, and what differs between two versions."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Path, Query, Response

from api.errors import ProblemError
from api.guard import GuardedRoute, needs
from api.schemas.fields import header
from api.schemas.rules import RestoreIn, RuleChanged, RuleDiff, RuleVersionDoc, RuleVersionList, RuleVersionOut
from api.service import Serving, Viewed
from api.steering import Steer, Steering
from api.view import VenueView
from racing.diff import differences
from racing.errors import ConflictError
from racing.model import Position
from racing.refill import full_from
from racing.rule import Rule, parse_rule
from racing.store.documents import RuleVersion

router = APIRouter(prefix="/v1/venues", tags=["operators"], route_class=GuardedRoute)

_VISIBLE_WAIT_S = 1.0
_ETAG = {"ETag": header("version of the rule, for If-Match")}
_LOGGED = {"version": 4, "entry": "1763740800123-0", "epoch": None, "frame": None}
_CHANGED: dict[int | str, dict[str, Any]] = {
    200: {"headers": _ETAG},
    202: {
        "model": RuleChanged,
        "description": "logged; no frame shows it within 1 s",
        "headers": _ETAG,
        "content": {"application/json": {"example": _LOGGED}},
    },
}
IfMatch = Annotated[str | None, Header(examples=['"rule-3"'])]
Version = Annotated[int, Path(ge=1, le=2**53, description="number of the version", examples=[1])]


def _rule_etag(version: int) -> str:
    return f'"rule-{version}"'


def _moved_on(if_match: str | None, version: int) -> str:
    return f"If-Match {(if_match or '')[:80]}: the current rule is {_rule_etag(version)}; read it again"


@router.get(
    "/{venue}/rule",
    operation_id="readRule",
    response_model_exclude_none=True,
    responses={200: {"headers": _ETAG}},
)
@needs("operate")
async def read_rule(view: Viewed, service: Serving, response: Response) -> Rule:
    """The current rule document; its version is in ETag, for If-Match."""
    version = await service.desk.rules.read(view.venue.venue)
    response.headers["ETag"] = _rule_etag(version.version)
    response.headers["Cache-Control"] = "no-cache"
    return parse_rule(version.rule)


@router.put("/{venue}/rule", operation_id="putRule", responses=_CHANGED)
@needs("operate")
async def put_rule(
    rule: Rule,
    steer: Steering,
    *,
    note: Annotated[str, Query(max_length=200, description="why, for the history")] = "",
    if_match: IfMatch = None,
) -> RuleChanged:
    """Make this document the rule. Answers with the frame that shows it, or 202 if none does within 1 s.

    Where window or buckets change, it says from when the windows are full: they are rebuilt from what is kept.
    """
    return await _make_current(steer, rule, note, if_match)


async def _make_current(steer: Steer, rule: Rule, note: str, if_match: str | None) -> RuleChanged:
    """As put_rule, whoever made the document. Raises ProblemError (412) where If-Match names another version."""
    view, desk = steer.view, steer.service.desk
    current = await desk.rules.read(steer.venue)
    wanted = {"*"} if if_match is None else {each.strip() for each in if_match.split(",")}
    if wanted.isdisjoint({"*", _rule_etag(current.version)}):
        raise ProblemError("precondition_failed", _moved_on(if_match, current.version))
    try:
        made, entry = await desk.rules.put(
            steer.venue, rule, after=current.version, author=steer.caller.name, note=note
        )
    except ConflictError as exc:
        if if_match is None:
            raise
        raise ProblemError("precondition_failed", _moved_on(if_match, current.version + 1)) from exc
    before, view.rule, view.rule_version = view.rule, rule, made.version
    steer.response.headers["ETag"] = _rule_etag(made.version)
    shown = await _shown(view, made.version)
    steer.response.status_code = 200 if shown else 202
    frame = view.frame if shown else None
    full = full_from(before, rule, changed_ms=Position.parse(entry).ms, began_ms=view.venue.created_ms)
    return RuleChanged(
        version=made.version,
        entry=entry,
        epoch=frame.epoch if frame else None,
        frame=frame.frame if frame else None,
        window_full_ms=full.window_ms if full else None,
        base_full_ms=full.base_ms if full else None,
    )


async def _shown(view: VenueView, version: int) -> bool:
    """Whether a frame scored by this rule version (or a later one) comes within a second."""
    try:
        async with asyncio.timeout(_VISIBLE_WAIT_S):
            while view.frame.rule_version < version:
                await view.shown.wait()
    except TimeoutError:
        return False
    return True


# -- history --------------------------------------------------------------------------------------------------


@router.get("/{venue}/rule/versions", operation_id="listRuleVersions")
@needs("operate")
async def list_rule_versions(
    view: Viewed,
    service: Serving,
    *,
    limit: Annotated[int, Query(ge=1, le=200, description="at most this many")] = 50,
    cursor: Annotated[int | None, Query(ge=1, le=2**53, description="next_cursor of the page before")] = None,
) -> RuleVersionList:
    """Every version that was ever made, newest first; those of phases too."""
    current, highest = await service.desk.rules.numbers(view.venue.venue)
    first = highest if cursor is None else min(highest, cursor - 1)
    numbers = range(first, max(0, first - limit), -1)
    found = await service.desk.rules.versions(view.venue.venue, numbers)
    more = str(numbers[-1]) if numbers and numbers[-1] > 1 else None
    return RuleVersionList(versions=[_version(each, current) for each in found], next_cursor=more)


def _version(version: RuleVersion, current: int) -> RuleVersionOut:
    told = {name: value for name, value in msgspec.structs.asdict(version).items() if name != "rule"}
    return RuleVersionOut(**told, current=version.version == current)


@router.get("/{venue}/rule/versions/{version}", operation_id="readRuleVersion", response_model_exclude_none=True)
@needs("operate")
async def read_rule_version(view: Viewed, version: Version, service: Serving) -> RuleVersionDoc:
    """One version with its document."""
    found = await service.desk.rules.read(view.venue.venue, version)
    current, _ = await service.desk.rules.numbers(view.venue.venue)
    return RuleVersionDoc(**_version(found, current).model_dump(), rule=parse_rule(found.rule))


@router.get("/{venue}/rule/diff", operation_id="compareRules")
@needs("operate")
async def compare_rules(
    view: Viewed,
    service: Serving,
    *,
    before: Annotated[int, Query(alias="from", ge=1, le=2**53, description="number of a version", examples=[1])],
    after: Annotated[
        int | None, Query(alias="to", ge=1, le=2**53, description="number of another; the current one by default")
    ] = None,
) -> RuleDiff:
    """What differs between two versions, field by field."""
    one, other = [await service.desk.rules.read(view.venue.venue, number) for number in (before, after)]
    documents = [parse_rule(each.rule).model_dump(mode="json", exclude_none=True) for each in (one, other)]
    return RuleDiff.model_validate(
        {
            "from": one.version,
            "to": other.version,
            "differences": [dict(zip(("field", "from", "to"), each, strict=True)) for each in differences(*documents)],
        }
    )


@router.post("/{venue}/rule/restore", operation_id="restoreRule", responses=_CHANGED)
@needs("operate")
async def restore_rule(restore: RestoreIn, steer: Steering, *, if_match: IfMatch = None) -> RuleChanged:
    """Make an old version the rule again: as a new version, with the same answer as a rule that is put."""
    found = await steer.service.desk.rules.read(steer.venue, restore.version)
    note = restore.note or f"version {restore.version} restored"
    return await _make_current(steer, parse_rule(found.rule), note, if_match)
