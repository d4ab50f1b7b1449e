"""``saima explain`` and ``saima preview``: a follower in this process, and its answer as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from racing.cli_files import read_rule
from racing.follower import Follower
from racing.inquiries import AskPreview, Question
from racing.questions import Draft, rule_document
from racing.settings import Settings


def asked(url: str, settings: Settings, question: Question) -> dict[str, Any]:
    """The answer to a question. Raises RacingError."""
    found: dict[str, Any] = msgspec.json.decode(Follower(url, settings).answer(question).found())
    return found


def preview(url: str, settings: Settings, venue: str, rule: Path, segment: str | None = None) -> dict[str, Any]:
    """What the rule in a file would make of a venue, or of one of its segments, now. Raises RacingError."""
    return asked(url, settings, AskPreview(venue, Draft(rule=rule_document(read_rule(rule))), segment=segment))


def print_explained(found: dict[str, Any], console: Console) -> None:
    """A product's place, its terms as they add up, its sums, and the steps of the board."""
    slot = "not on the board" if found["slot"] is None else f"slot {found['slot']}"
    console.print(
        f"{found['product']} in {found['venue']}: {slot}, standing {found['standing']} of {found['of']},"
        f" score {found['score']!r}  (rule {found['rule_version']}, frame {found['frame']}, {found['position']})",
        highlight=False,
    )
    terms = Table("term", "signal", "weight", "contribution", "so far")
    so_far = 0.0
    for term in found["terms"]:
        so_far += term["contribution"]
        terms.add_row(
            term["name"], *(f"{value:.6g}" for value in (term["value"], term["weight"])), *_pair(term, so_far)
        )
    console.print(terms)
    if found["boost"] != 1:
        console.print(f"  boosted by {found['boost']:g}: {found['summed']!r} -> {found['score']!r}", highlight=False)
    sums = Table("metric", "window", "base", "since the race began")
    for each in found["sums"]:
        sums.add_row(each["metric"], str(each["window"]), f"{each['base']:g}", str(each["total"]))
    console.print(sums)
    if found.get("segment"):
        _print_drawn(found["segment"], console)
    for step in found["steps"]:
        by = f" by {step['by']}" if step.get("by") else ""
        console.print(f"  {step['step']}{by}: {step.get('from_slot')} -> {step.get('to_slot')}", highlight=False)


def _print_drawn(segment: dict[str, Any], console: Console) -> None:
    """What is scored in a segment in place of the venue's sums."""
    console.print(
        f"  in segment {segment['name']}: {segment['events']:g} events, so its own sums have weight"
        f" {segment['weight']:.4g} (prior {segment['prior']:g}), the whole venue's the rest",
        highlight=False,
    )
    drawn = Table("metric", "own window", "own base", "part of the venue", "scored window", "scored base")
    for each in segment["sums"]:
        scored = (f"{each[f'drawn_{name}']:.6g}" for name in ("window", "base"))
        drawn.add_row(each["metric"], str(each["window"]), f"{each['base']:g}", f"{each['part']:.4g}", *scored)
    console.print(drawn)


def _pair(term: dict[str, Any], so_far: float) -> tuple[str, str]:
    return f"{term['contribution']:.6g}", f"{so_far:.6g}"


def print_preview(found: dict[str, Any], console: Console) -> None:
    """Who would enter, leave, rise and fall; and what the draft counts that is not kept whole."""
    console.print(
        f"{_board(found)}: {len(found['slots'])} slots, {found['unmoved']} unmoved, overlap {found['overlap']:.0%}"
        f"  (frame {found['frame']}, {found['position']})",
        highlight=False,
    )
    moves = Table("", "product", "slot", "standing", "score", "by")
    for name in ("entered", "left", "rose", "fell"):
        for move in found[name]:
            places = (
                f"{move[f'{what}_before'] or '-'} -> {move[f'{what}_after'] or '-'}" for what in ("slot", "standing")
            )
            scores = f"{move['score_before']:.4g} -> {move['score_after']:.4g}"
            moves.add_row(name, move["product"], *places, scores, _by(move["terms"]))
    console.print(moves)
    for each in found["not_full"]:
        console.print(f"  {each['what']}: not kept whole, full from {each['full_from_ms']} on", highlight=False)


def _board(found: dict[str, Any]) -> str:
    return f"{found['venue']}, segment {found['segment']}" if found.get("segment") else str(found["venue"])


def _by(terms: list[dict[str, Any]]) -> str:
    """The terms whose contribution changes, the greatest change first."""
    changes = [(term["name"], (term["after"] or 0.0) - (term["before"] or 0.0)) for term in terms]
    changed = sorted((change for change in changes if change[1]), key=lambda change: -abs(change[1]))
    return ", ".join(f"{name} {change:+.4g}" for name, change in changed)
