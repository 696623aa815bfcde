"""Patterns: writes a text that a regular expression of the usual kind matches.

Understands literals, classes, groups, alternation, repetition, anchors at the ends and the common escapes. What it does
not understand (look-around, back-references) is a ValueError; the caller checks the text against the expression anyway.
"""

from __future__ import annotations

import string
from random import Random

SPARE = 4
"""How many repeats beyond the least an open `*`, `+` or `{n,}` gets unless more are needed."""
DEEPEST = 50
LONGEST = 10_000
CLASSES = {
    "d": string.digits,
    "w": string.ascii_lowercase + string.digits,
    "s": " ",
    "D": string.ascii_lowercase,
    "W": "-",
    "S": string.ascii_lowercase,
}
CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
PRINTABLE = string.ascii_letters + string.digits + " !#$%&()*+,-./:;<=>?@[]^_{|}~\"'\\`"


def matching(pattern: str, chance: Random, *, spare: int = SPARE) -> str:
    """A text that `pattern` is found in; open repeats go up to `spare` times beyond their least.

    Raises ValueError for a pattern beyond this module.
    """
    writer = _Writer(pattern, chance, min(spare, LONGEST))
    text = writer.choice()
    if writer.at < len(pattern):
        raise ValueError(f"the pattern {pattern!r} has a ')' too many")
    return text


class _Writer:
    """Reads the pattern once, from left to right, and writes as it reads."""

    def __init__(self, pattern: str, chance: Random, spare: int) -> None:
        self.pattern, self.chance, self.spare = pattern, chance, spare
        self.at = self.depth = 0

    def choice(self) -> str:
        """Alternatives, to the closing bracket or the end: one of them."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError("the pattern is nested too deeply")
        options = [self._sequence()]
        while self._peek() == "|":
            self.at += 1
            options.append(self._sequence())
        self.depth -= 1
        return self.chance.choice(options)

    def _sequence(self) -> str:
        text = ""
        while self._peek() not in ("", "|", ")"):
            text += self._repeated()
            if len(text) > LONGEST:
                raise ValueError("the pattern asks for a text too long to write")
        return text

    def _repeated(self) -> str:
        start = self.at
        first = self._atom()
        end = self.at
        least, most = self._quantity()
        if (least, most) == (1, 1):
            return first
        after, parts = self.at, []
        # Every repeat is read anew, so that [a-z]{8} is not one letter eight times.
        for _ in range(self.chance.randint(least, most)):
            self.at = start
            parts.append(self._atom())
            if self.at != end:
                raise ValueError("the pattern cannot be repeated")
        self.at = after
        return "".join(parts)

    def _quantity(self) -> tuple[int, int]:
        mark = self._peek()
        if mark in ("*", "+", "?"):
            self.at += 1
            bounds = {"*": (0, self.spare), "+": (1, 1 + self.spare), "?": (0, 1)}[mark]
        elif mark == "{" and (end := self.pattern.find("}", self.at)) > 0 and self.pattern[self.at + 1].isdigit():
            low, comma, high = self.pattern[self.at + 1 : end].partition(",")
            self.at = end + 1
            least = min(int(low), LONGEST)
            bounds = (
                least,
                min(int(high), least + max(8, self.spare)) if high else least + self.spare if comma else least,
            )
        else:
            return 1, 1
        if self._peek() in ("?", "+"):
            self.at += 1
        return bounds

    def _atom(self) -> str:
        mark = self._take()
        match mark:
            case "^" | "$":
                return ""
            case ".":
                return self.chance.choice(string.ascii_lowercase)
            case "(":
                return self._group()
            case "[":
                return self.chance.choice(self._class())
            case "\\":
                return self._escape()
            case "*" | "+" | "?":
                raise ValueError(f"the pattern {self.pattern!r} repeats nothing")
            case _:
                return mark

    def _group(self) -> str:
        if self._peek() == "?":
            self.at += 1
            kind = self._take()
            if kind == "P" or (kind == "<" and self._peek() not in ("=", "!")):
                self.at = self.pattern.index(">", self.at) + 1
            elif kind != ":":
                raise ValueError(f"the pattern {self.pattern!r} looks around, which the sandbox cannot follow")
        text = self.choice()
        if self._take() != ")":
            raise ValueError(f"the pattern {self.pattern!r} has an open bracket")
        return text

    def _escape(self) -> str:
        mark = self._take()
        if mark in CLASSES:
            return self.chance.choice(CLASSES[mark])
        if mark in "bBAZz":
            return ""
        if mark in "123456789pPkK":
            raise ValueError(f"the pattern {self.pattern!r} uses \\{mark}, which the sandbox cannot follow")
        return self._literal(mark)

    def _literal(self, mark: str) -> str:
        if mark in CONTROLS:
            return CONTROLS[mark]
        if mark in ("x", "u"):
            size = 2 if mark == "x" else 4
            code = self.pattern[self.at : self.at + size]
            self.at += size
            return chr(int(code, 16))
        return mark

    def _class(self) -> str:
        """The characters of a class, the bracket already taken; of a negated one, those that are easy to read."""
        negated = self._peek() == "^"
        self.at += negated
        chosen = self._member()
        while self._peek() != "]":
            chosen += self._member()
        self.at += 1
        if not negated:
            return chosen
        rest = "".join(character for character in PRINTABLE if character not in chosen)
        if not rest:
            raise ValueError(f"the pattern {self.pattern!r} has a class that leaves nothing")
        return rest

    def _member(self) -> str:
        first = self._take()
        if first == "\\":
            mark = self._take()
            if mark in CLASSES:
                return (string.ascii_letters + string.digits + "_") if mark == "w" else CLASSES[mark]
            first = "\b" if mark == "b" else self._literal(mark)
        if self._peek() != "-" or self.pattern[self.at + 1 : self.at + 2] == "]":
            return first
        self.at += 1
        last = self._take()
        if last == "\\":
            last = self._literal(self._take())
        if ord(last) - ord(first) > 0x10000 or last < first:
            raise ValueError(f"the pattern {self.pattern!r} has a range that cannot be used")
        return "".join(map(chr, range(ord(first), min(ord(last), ord(first) + 255) + 1)))

    def _peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def _take(self) -> str:
        if self.at >= len(self.pattern):
            raise ValueError(f"the pattern {self.pattern!r} ends too soon")
        self.at += 1
        return self.pattern[self.at - 1]
