"""What was tried for a request, as admins are told it: in a header of every answer, in the body of errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from gateway.errors import Attempt

MOST_BYTES: Final = 2_000
"""Of the header; proxies refuse long ones."""
MOST_LISTED: Final = 100
MOST_REASON: Final = 300
"""Characters."""

_UNPRINTABLE = re.compile(r"[^ -~]")
_CUTTING = re.compile(r"[^!-+\--~]")
"""What would end a word, or an attempt, of the header."""


def account_header(account: str) -> bytes:
    return _UNPRINTABLE.sub("_", account).encode()


def attempts_header(attempts: Sequence[Attempt]) -> bytes:
    """`<account> <outcome> <seconds>s, …` in order; of very many the last ones, with how many there were before."""
    told: list[str] = []
    size = 0
    for attempt in reversed(attempts):
        one = f"{_word(attempt.account)} {_word(attempt.outcome)} {_seconds(attempt.seconds)}s"
        size += len(one) + 2
        if size > MOST_BYTES:
            break
        told.append(one)
    if len(told) < len(attempts):
        told.append(f"{len(attempts) - len(told)} earlier")
    return ", ".join(reversed(told)).encode()


def attempts_json(attempts: Sequence[Attempt]) -> list[dict[str, Any]]:
    """The same for a body, with reasons: `{upstream, account, outcome, seconds, reason?}`, of very many the last."""
    return [_json(attempt) for attempt in attempts[-MOST_LISTED:]]


def _json(attempt: Attempt) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "upstream": attempt.upstream,
        "account": attempt.account,
        "outcome": attempt.outcome,
        "seconds": round(attempt.seconds, 3),
    }
    if attempt.reason:
        shown["reason"] = attempt.reason[:MOST_REASON]
    return shown


def _word(text: str) -> str:
    return _CUTTING.sub("_", text)[:200]


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds < 1 else f"{seconds:.1f}"
