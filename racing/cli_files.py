"""replay and backtest as the terminal shows them: files in, progress, a summary."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import httpx2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from racing.backtest import Backtest, backtest
from racing.errors import RecordedFileError, RuleError
from racing.recorded import Recorded, parse_aliases, read_recorded
from racing.replay import Plan, Progress, Summary, replay
from racing.rule import DEFAULT_RULE, Rule, parse_rule


def read_rule(path: Path | None) -> Rule:
    """The rule in a file, the default rule without one. Raises RuleError, which names the file and the field."""
    if path is None:
        return DEFAULT_RULE
    try:
        return parse_rule(path.read_bytes())
    except OSError as exc:
        raise RuleError(f"rule file {str(path)!r} cannot be read: {exc.strerror}") from exc
    except RuleError as exc:
        raise RuleError(f"rule file {str(path)!r}: {exc}", exc.fields) from exc


@contextmanager
def progress(console: Console, *columns: str) -> Iterator[Bar]:
    """A progress bar with further columns; silent where nobody looks."""
    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *(TextColumn(column) for column in columns),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        yield bar


def read_file(path: Path, rule: Rule, maps: list[str], console: Console) -> Recorded:
    """The rows of an event file, with a bar while it is read. Raises RecordedFileError."""
    aliases = parse_aliases(maps, kinds=rule.kinds())
    size = path.stat().st_size if path.is_file() else None
    with progress(console) as bar:
        task = bar.add_task(f"reading {path.name}", total=size)
        return read_recorded(
            path, kinds=rule.kinds(), aliases=aliases, on_bytes=lambda done: bar.update(task, completed=done)
        )


def run_backtest(path: Path, rule: Rule, *, every_s: int, out: Path | None, maps: list[str], console: Console) -> None:
    """Fold a file offline and write a line per boundary to out (or standard output); says what was refused."""
    recorded = read_file(path, rule, maps, console)
    if not len(recorded):
        tell_refused(recorded, console)
        raise RecordedFileError(f"{path}: not one row of it is an event that counts")
    run = backtest(recorded, rule, every_s * 1000)
    if out is None:
        _write_lines(run, sys.stdout.buffer, console)
    else:
        try:
            with out.open("wb") as lines:
                _write_lines(run, lines, console)
        except OSError as exc:
            raise RecordedFileError(f"cannot write {str(out)!r}: {exc.strerror}") from exc
    _tell(recorded, run, console)


def _write_lines(run: Backtest, lines: BinaryIO, console: Console) -> None:
    with progress(console, "boards") as bar:
        lines.writelines(line.json() + b"\n" for line in bar.track(run, total=len(run), description="folding"))


def _tell(recorded: Recorded, run: Backtest, console: Console) -> None:
    counts = run.counts
    console.print(
        f"{len(recorded) + recorded.refused.total()} rows: {counts.counted} counted, {counts.late} late,"
        f" {recorded.refused.total()} refused; {len(recorded.products)} products, {len(run)} boards",
        highlight=False,
    )
    tell_refused(recorded, console)


def tell_refused(recorded: Recorded, console: Console) -> None:
    """Say how many rows were refused for what, with samples."""
    for reason, number in recorded.refused.most_common():
        console.print(f"  refused {number}: {reason}", highlight=False)
    for sample in recorded.samples:
        console.print(f"    {sample}", highlight=False, markup=False, soft_wrap=True)


def run_replay(
    path: Path, plan: Plan, *, url: str, headers: dict[str, str], maps: list[str], console: Console
) -> tuple[Recorded, Summary]:
    """Send a file to a running service with a bar of rate and time left. Raises RacingError."""
    recorded = read_file(path, DEFAULT_RULE, maps, console)
    service = httpx2.Client(base_url=url, timeout=10.0, headers=headers)
    with service as client, progress(console, "{task.fields[told]}") as bar:
        task = bar.add_task("enrolling", total=None, told="")

        def show(state: Progress) -> None:
            eta = "" if state.eta_s is None else f", {state.eta_s:.0f} s left"
            told = f"{state.events_per_s:,.0f} events/s{eta}" if state.phase == "send" else "runners"
            name = "sending" if state.phase == "send" else "enrolling"
            bar.update(task, description=name, completed=state.done, total=state.total, told=told)

        summary = replay(client, recorded, plan, on_progress=show)
    tell_refused(recorded, console)
    return recorded, summary
