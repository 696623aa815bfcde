"""Accounts on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.plainly import printable

WIDTH_ELSEWHERE: Final = 200
"""Columns where the output is no terminal."""
STYLES: Final[Mapping[str, str]] = {"OK": "green", "RATE_LIMITED": "yellow", "EXHAUSTED": "yellow", "INVALID": "red"}


def print_list(accounts: Iterable[Mapping[str, Any]], *, balance: bool) -> None:
    """A line each."""
    columns = ["account", "type", "source", "status", "busy", "today", "label", "tags", "why"]
    if balance:
        columns.insert(6, "balance")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for account in accounts:
        cells = _cells(account)
        table.add_row(*(cells[column] for column in columns))
    _console().print(table)


def print_one(account: Mapping[str, Any]) -> None:
    """A line for each thing that is known of it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in _flat(account):
        table.add_row(Text(name, "bold"), Text(printable(value)))
    _console().print(table)


def balance_of(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return "–"
    if "error" in told:
        return str(told["error"]["code"])
    amount = "unlimited" if told["amount"] is None else f"{told['amount']:g}"
    return f"{amount} {told['unit']}"


def _cells(account: Mapping[str, Any]) -> dict[str, Text]:
    standing = account["standing"]
    plain = {
        "account": account["id"],
        "type": account["type"],
        "source": account["source"],
        "busy": f"{standing['in_flight']}/{standing['slots']}",
        "today": str(sum(standing["used_today"].values())),
        "balance": balance_of(account["balance"]),
        "label": account["label"],
        "tags": " ".join(account["tags"]),
        "why": _why(standing),
    }
    cells = {name: Text(printable(text)) for name, text in plain.items()}
    return cells | {"status": Text(standing["status"], STYLES.get(standing["status"], "dim"))}


def _why(standing: Mapping[str, Any]) -> str:
    reason = standing["reason"] or ""
    return f"{reason} (until {standing['resetAt']})" if standing["resetAt"] else reason


def _flat(told: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    for name, value in told.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{name}.")
        elif value not in (None, "", [], {}):
            yield before + name, value if isinstance(value, str) else json.dumps(value)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH_ELSEWHERE)
