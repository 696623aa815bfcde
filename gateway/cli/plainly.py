"""How commands end: what is the operator's to mend is a sentence, not a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

import typer

from gateway.errors import ConfigError, GatewayError

FAILED = 1
"""What was asked for did not come about."""
NOT_BEGUN = 2
"""The command could not begin as it was given."""

T = TypeVar("T")


def told(work: Callable[[], T]) -> T:
    """Run it, and stop by a sentence where it raises one."""
    try:
        return work()
    except (ConfigError, GatewayError) as error:
        stop(str(error))


def stop(why: str, code: int = NOT_BEGUN) -> NoReturn:
    print(f"mediagate: {printable(why)}", file=sys.stderr)
    raise typer.Exit(code)


def printable(text: str) -> str:
    """Text of others without what a terminal would obey."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
