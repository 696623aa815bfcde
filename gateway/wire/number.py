"""Numbers as some clients write them: in a string, like `"5"` or `"7.5"`."""

from __future__ import annotations

import re
from typing import Final

BOUND: Final = 1e18
"""No number that means anything here reaches so far; below it, whole ones are exact and all can be shown."""
_NUMBER: Final = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_WHOLE: Final = re.compile(r"-?\d{1,40}", re.ASCII)


def parse(text: str) -> int | float | None:
    """The number that a string holds, written as JSON writes one; None for any other string and from BOUND on."""
    if not _NUMBER.fullmatch(text):
        return None
    found = int(text) if _WHOLE.fullmatch(text) else float(text)
    return found if abs(found) < BOUND else None
