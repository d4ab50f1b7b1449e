"""One table of every scenario's figures for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

NAMES = {
    "cpu_us_per_event": "CPU us/event",
    "requests_per_s": "requests/s",
    "p99_ms": "p99 ms",
    "cpu_us_per_client_and_change": "CPU us/client, change",
    "cpu_ms_per_list": "CPU ms/list",
    "bytes": "bytes",
    "seconds": "s",
    "events_per_s": "events/s",
}


def of(results: Sequence[Mapping[str, Any]]) -> Table:
    """Scenario, figure, ours, and each rival with how many times ours is better."""
    table = Table(title="Saima and its rivals (times: how many times ours is better)")
    for heading in ("scenario", "figure", "ours", "rivals", "notes"):
        table.add_column(heading, justify="right" if heading == "ours" else "left")
    for result in results:
        table.add_row(*_row(result))
    return table


def _row(result: Mapping[str, Any]) -> tuple[str, ...]:
    figure = result.get("figure", "")
    error = result.get("error") or result["ours"].get("error")
    return (
        str(result["scenario"]),
        NAMES.get(figure, figure),
        "-" if error else _number(result["ours"].get(figure)),
        "\n".join(_rival(name, rival, figure, result["ratio"].get(name)) for name, rival in result["rivals"].items()),
        str(error) if error else _notes(result),
    )


def _rival(name: str, rival: Mapping[str, Any], figure: str, times: float | None) -> str:
    if "skipped" in rival:
        return f"{name}: skipped, {rival['skipped']}"
    return f"{name}: {_number(rival.get(figure))}" + ("" if times is None else f" ({times:g} times)")


def _notes(result: Mapping[str, Any]) -> str:
    """What a figure needs beside it to be read."""
    ours = result["ours"]
    shown = {name: ours[name] for name in ("events_per_s", "events_per_commit", "boundaries", "p50_ms") if name in ours}
    notes = [f"{name} {_number(value)}" for name, value in shown.items()]
    if result.get("bucket_s"):
        notes.append(f"bucket_s {result['bucket_s']}")
    if ours.get("others_cpu_share", 0) > 0.05:
        notes.append(f"[bold red]others used {ours['others_cpu_share']:.0%} of the machine[/]")
    return ", ".join(notes)


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}" if isinstance(value, float) else str(value)
