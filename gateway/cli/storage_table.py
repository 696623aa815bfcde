"""The storage on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.account_table import WIDTH_ELSEWHERE
from gateway.cli.plainly import printable


def print_storage(told: Mapping[str, Any]) -> None:
    ways = [name for name in ("redirect", "direct_uploads") if told[name]]
    _say(f"store: {told['store']}{' (' + ', '.join(ways) + ')' if ways else ''}")
    _print(("folder", "objects", "size"), ((name, *_heap(held)) for name, held in told["folders"].items()))
    for name in ("check", "collection", "retention"):
        _say(f"last {name}: {_last(told[name])}")


def print_collection(told: Mapping[str, Any]) -> None:
    rows = [
        ("scanned", *_heap(told["scanned"])),
        ("nobody's", *_heap(told["orphans"])),
        ("deleted", *_heap(told["deleted"])),
        ("from before this installation", *_heap(told["earlier"])),
        ("not the gateway's", *_heap(told["foreign"])),
    ]
    _print(("objects", "count", "size"), rows)
    missing = told["missing"]
    new, back, removed = missing["new"], missing["back"], missing["removed"]
    _say(f"rows without an object: {missing['count']} of {missing['rows']} ({new} new, {back} back, {removed} removed)")
    for key in told["keys"]:
        _say(f"  {key}")
    if told["dry_run"]:
        _say("nothing was changed: --for-real does it")


def print_retention(told: Mapping[str, Any]) -> None:
    rows = [
        (name, str(one["days"]), *_heap(one), _day(one["oldest"]), str(one["removed"]))
        for name, one in told["data"].items()
    ]
    _print(("kept", "days", "over it", "size", "oldest", "removed"), rows)
    if told["dry_run"]:
        _say("nothing was changed: --for-real does it")


def size_of(count: int | None) -> str:
    """Bytes as people say them."""
    if count is None:
        return "–"
    size, unit = float(count), "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, bigger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def _heap(told: Mapping[str, Any]) -> tuple[str, str]:
    return str(told.get("count", told.get("objects"))), size_of(told["bytes"])


def _last(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return "never"
    how = "ok" if told["ok"] else f"{told['error']} ({told['code']})"
    return f"{datetime.fromtimestamp(told['at'], UTC):%Y-%m-%d %H:%M:%S} UTC, {how}"


def _day(moment: float | None) -> str:
    return "–" if moment is None else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d}"


def _print(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else WIDTH_ELSEWHERE).print(table)


def _say(sentence: str) -> None:
    print(printable(sentence))
