"""The query for what somebody types into a search. What the index holds is in `gateway.db.words`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.db.words import index_text as index_text
from gateway.db.words import owner_word, spelling, tag_word, words_of
from gateway.db.words import tag_of as tag_of
from gateway.errors import InvalidRequest

MOST_WORDS: Final = 50
"""That a search goes by; whoever pastes a whole text means its first ones."""
MOST_CHARACTERS: Final = 1_000
"""Of a search, that are looked at."""
SHORTEST_PREFIX: Final = 3
"""Characters from which on the beginning of a word is enough: two begin half of all words."""

_QUOTES: Final = re.compile('["“”„‟«»]')

_HALF: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand together, as they are spelled in the index."""

    words: tuple[str, ...]
    prefix: bool = False
    """Whether the last one may go on."""


def sayable(text: str) -> bool:
    """Whether a database takes it: PostgreSQL takes no NUL, and nobody half a character."""
    return "\0" not in text and not _HALF.search(text)


def terms_of(search: str) -> list[Term]:
    """What a search asks for: all of these.

    What stands between quotes is taken as it is; elsewhere the beginning of a word is enough. What is written without
    a space (`1.5`, `black-and-white`, Chinese) has to stand together. Raises InvalidRequest (`search`) where there is
    no letter and no digit to look for.
    """
    terms: list[Term] = []
    left = MOST_WORDS
    pieces = _QUOTES.split(search[:MOST_CHARACTERS])
    for number, piece in enumerate(pieces):
        quoted = number % 2 == 1 and number < len(pieces) - 1
        for text in [piece] if quoted else piece.split():
            if words := words_of(text)[:left]:
                terms.append(Term(tuple(map(spelling, words)), not quoted and _may_go_on(words[-1])))
                left -= len(words)
    if not terms:
        raise InvalidRequest(
            "'search' must hold a letter or a digit", param="search", advice="Leave it out to list everything."
        )
    return list(dict.fromkeys(terms))


def asked_of(owner: str, tags: Iterable[str] = (), search: str | None = None) -> list[Term]:
    """What an owner asks for: assets with all of these tags, and all that a search asks for."""
    words = [owner_word(owner), *dict.fromkeys(map(tag_word, tags))]
    return [*(Term((word,)) for word in words), *(terms_of(search) if search is not None else ())]


def fts5(terms: Iterable[Term]) -> str:
    """The query for SQLite's FTS5."""
    return " AND ".join('"' + " ".join(term.words) + ('" *' if term.prefix else '"') for term in terms)


def tsquery(terms: Iterable[Term]) -> str:
    """The query for PostgreSQL, to be cast to `tsquery`."""
    return " & ".join("('" + "' <-> '".join(term.words) + ("':*)" if term.prefix else "')") for term in terms)


def _may_go_on(word: str) -> bool:
    """Numbers are meant as they are, and so are characters that are words."""
    return len(word) >= SHORTEST_PREFIX and not word.isdecimal()
