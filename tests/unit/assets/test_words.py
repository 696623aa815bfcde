"""Words of texts, what searches ask for, and that both databases find by them what a person would."""

from __future__ import annotations

import sqlite3
import string
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.assets.asset import Changes
from gateway.assets.search import Filters, Search
from gateway.assets.words import MOST_WORDS as MOST_ASKED
from gateway.assets.words import Term, asked_of, fts5, sayable, tag_of, terms_of, tsquery
from gateway.db import words
from gateway.db.engine import Database
from gateway.db.words import APART, index_text, owner_word, spelling, tag_word, words_of
from gateway.errors import InvalidRequest
from tests.unit.assets.shelf import OWNER, asset, shelved

# --- cutting and spelling ---


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("  — …!? ", []),
        ("A Red-Fox, 1.5 at 4K", ["a", "red", "fox", "1", "5", "at", "4k"]),
        ("O'Neil@example.com a.b/c?d=e_f", ["o", "neil", "example", "com", "a", "b", "c", "d", "e", "f"]),
        ("café Straße Ångström naïve İstanbul", ["cafe", "strasse", "angstrom", "naive", "istanbul"]),
        ("ﬁlm ＡＢＣ１２ ½ ①", ["film", "abc12", "1", "2", "1"]),
        ("红狐狸在雪地里, iPhone手机", [*"红狐狸在雪地里", "iphone", *"手机"]),
        ("東京ﾀﾜｰ が", [*"東京タワー", "が"]),
        ("서울의 밤", list("서울의밤")),
        ("ภาษาไทย", list("ภาษาไทย")),
        ("𠀀𠀁 〇々", ["𠀀", "𠀁", "〇", "々"]),
        ("Ёлка и йод", ["ёлка", "и", "йод"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("ΣΊΣΥΦΟΣ", ["σίσυφοσ"]),
        ("👩‍🚀 on 🌙", ["on"]),
        ("e\u0301te\u0301", ["ete"]),
        ("\u0301lone", ["lone"]),
        ("x" * 100, ["x" * words.LONGEST]),
        ("é" * 100, ["e" * words.LONGEST]),
    ],
)
def test_a_text_is_cut_into_words(text: str, found: list[str]) -> None:
    assert words_of(text) == found


@given(st.text())
def test_words_are_cut_the_same_by_the_short_way_and_by_the_long_one(text: str) -> None:
    plain = text.encode("ascii", "ignore").decode()
    assert words_of(plain) == words_of(plain + " \u00b7")


@given(st.text("qaz09é狐", min_size=1), st.text("qaz09é狐", min_size=1))
def test_a_word_is_spelled_in_letters_and_one_begins_another_only_if_it_does(one: str, other: str) -> None:
    assert set(spelling(one)) <= set(string.ascii_lowercase)
    assert spelling(other).startswith(spelling(one)) == other.startswith(one)


@given(st.text(min_size=1))
def test_no_word_is_spelled_like_what_marks_owners_tags_and_gaps(text: str) -> None:
    for mark in (APART, owner_word("ada")[:2], tag_word("final")[:2]):
        assert not any(spelling(word).startswith(mark) or mark == spelling(word) for word in words_of(text))


def test_an_index_text_has_the_owner_the_tags_and_every_text_apart() -> None:
    assert index_text("ada", ["Red fox", None, "", "at 4"], ["Night Sky"]).split() == [
        *(owner_word("ada"), tag_word("night  SKY")),
        *(APART, "night", "sky", APART, "red", "fox", APART, "at", spelling("4")),
    ]
    assert owner_word("ada") != owner_word("bob")
    assert tag_of("  Night\tＳｋｙ ") == "night sky"


def test_an_index_text_has_bounds_that_both_databases_can_keep() -> None:
    many = index_text("ada", [" ".join(f"w{number}" for number in range(20_000))]).split()
    assert len(many) == words.MOST_WORDS
    long = index_text("ada", [chr(0x1E922 + number) * 64 + f" {number}" for number in range(30)] * 200)
    assert words.MOST_LETTERS < len(long) < 2 * words.MOST_LETTERS < 1_048_575
    same = index_text("ada", ["fox " * 1_000]).split()
    assert same.count("fox") == words.MOST_OF_ONE
    assert same.count(APART) == 1_000 - words.MOST_OF_ONE + 1


# --- what a search asks for ---


def plainly(search: str) -> list[tuple[str, bool]]:
    """Terms as they were typed: where each word can be told from its spelling."""
    return [(" ".join(term.words), term.prefix) for term in terms_of(search)]


@pytest.mark.parametrize(
    ("search", "asked"),
    [
        ("red fox", [("red", True), ("fox", True)]),
        ("  RED\tfox\n", [("red", True), ("fox", True)]),
        ("red red", [("red", True)]),
        ('"red fox" sky', [("red fox", False), ("sky", True)]),
        ("„red fox“ sky", [("red fox", False), ("sky", True)]),
        ('"red', [("red", True)]),
        ('red" fox', [("red", True), ("fox", True)]),
        ('""" red', [("red", True)]),
        ("black-and-white", [("black and white", True)]),
        ("a", [("a", False)]),
        ("ab", [("ab", False)]),
        ("abc", [("abc", True)]),
        ("AND NOT (or)", [("and", True), ("not", True), ("or", False)]),
        ("fox*", [("fox", True)]),
        ("words:fox", [("words fox", True)]),
        ("^fox -sky +sea", [("fox", True), ("sky", True), ("sea", True)]),
        ("NEAR(fox sky, 5)", [("near fox", True), ("sky", True), (spelling("5"), False)]),
        ("fox & !sky | sea <-> sun:*", [("fox", True), ("sky", True), ("sea", True), ("sun", True)]),
        ("1080", [(spelling("1080"), False)]),
        ("1.5", [(f"{spelling('1')} {spelling('5')}", False)]),
        ("4k", [(spelling("4k"), False)]),
        ("红狐狸", [(" ".join(map(spelling, "红狐狸")), False)]),
        ("红 狐", [(spelling("红"), False), (spelling("狐"), False)]),
    ],
)
def test_a_search_asks_for_words_and_is_never_syntax(search: str, asked: list[tuple[str, bool]]) -> None:
    assert plainly(search) == asked


@pytest.mark.parametrize("nothing", ["", "   ", '"', '""', "***", "'; --", "🌙", "(-)"])
def test_a_search_without_a_word_is_refused(nothing: str) -> None:
    with pytest.raises(InvalidRequest) as told:
        terms_of(nothing)
    assert (told.value.param, told.value.status) == ("search", 400)


def test_a_long_search_goes_by_its_first_words() -> None:
    assert len(terms_of(" ".join(f"w{number}" for number in range(500)))) == MOST_ASKED
    [term] = terms_of("狐" * 5_000)
    assert len(term.words) == MOST_ASKED
    assert len(terms_of("a " * 5_000_000)) == 1


def test_queries_are_of_quoted_letters_alone() -> None:
    asked = [Term(("red", "fox"), prefix=True), Term(("sky",))]
    assert fts5(asked) == '"red fox" * AND "sky"'
    assert tsquery(asked) == "('red' <-> 'fox':*) & ('sky')"
    assert asked_of("ada", ["Final", "final "], "sky") == [
        Term((owner_word("ada"),)),
        Term((tag_word("final"),)),
        Term(("sky",), prefix=True),
    ]
    assert asked_of("ada") == [Term((owner_word("ada"),))]


@pytest.mark.parametrize(("text", "can"), [("fox", True), ("", True), ("a\0b", False), ("\ud800", False), ("😀", True)])
def test_texts_that_no_database_takes_are_known(text: str, can: bool) -> None:
    assert sayable(text) is can


# --- what is found, against a plain reading of the same terms ---

TEXTS = (
    "A red fox in the snow",
    "The snow fox, red: 1.5 at 4K",
    "foxes and black-and-white photos 1080p",
    "红狐狸在雪地里",
    "雪地里的红色狐狸",
    "东京タワー 서울의 밤 ภาษาไทย",
    "café Straße; query quit 42",
    "https://example.com/a?b=c AND OR NOT NEAR",
    "हिन्दी में йод",
    "fox fox fox snow",
    "in the red",
)
PIECES = (
    "red",
    "fo",
    "snow",
    '"',
    "the red",
    "1.5",
    "108",
    "红",
    "狐狸",
    "雪地里",
    "서울",
    "ไท",
    "strasse",
    "q",
    "qu",
    "not",
)
SEARCHES = st.one_of(
    st.text(max_size=12),
    st.text(alphabet="\"'*:&|!()<->^+- \\%_{}[],.;~NEARfox", max_size=16),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map(" ".join),
    st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join),
)


def has(text: str, term: Term) -> bool:
    said = [spelling(word) for word in words_of(text)]
    length = len(term.words)
    return any(
        tuple(said[at : at + length - 1]) == term.words[:-1]
        and (
            said[at + length - 1].startswith(term.words[-1]) if term.prefix else said[at + length - 1] == term.words[-1]
        )
        for at in range(len(said) - length + 1)
    )


@pytest.mark.anyio
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(search=SEARCHES)
async def test_whatever_is_typed_finds_what_it_says_on_both_databases(search: str, found: Found) -> None:
    await found.check(search)


class Found:
    """Assets with these texts, and somebody else's with the same."""

    def __init__(self, database: Database) -> None:
        self.search = Search(database)
        self.database = database

    async def shelved(self) -> Found:
        mine = [asset(f"a{number}", prompt=text) for number, text in enumerate(TEXTS)]
        theirs = [asset(f"b{number}", prompt=text, owner="bob") for number, text in enumerate(TEXTS)]
        self.library = await shelved(self.database, *mine, *theirs)
        return self

    async def check(self, search: str) -> None:
        if not sayable(search) or not words_of(search):
            with pytest.raises(InvalidRequest) as told:
                await self.search.page(OWNER, Filters(search=search))
            assert told.value.param == "search"
            return
        terms = terms_of(search)
        right = {f"a{number}" for number, text in enumerate(TEXTS) if all(has(text, term) for term in terms)}
        page = await self.search.page(OWNER, Filters(search=search), limit=100)
        assert ({one.id for one in page.assets}, page.total) == (right, len(right))


@pytest.fixture
async def found(database: Database) -> Found:
    return await Found(database).shelved()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("search", "ids"),
    [
        ("fox snow", {"a0", "a1", "a9"}),
        ('"red fox"', {"a0"}),
        ('"snow red"', set()),
        ("狐狸", {"a3", "a4"}),
        ("红狐", {"a3"}),
        ("STRASSE cafe", {"a6"}),
        ("108", set()),
        ("1080", set()),
        ("1080p", {"a2"}),
        ("white", {"a2"}),
        ("'; DROP TABLE assets; --", set()),
    ],
)
async def test_searches_find_what_a_person_would(found: Found, search: str, ids: set[str]) -> None:
    page = await found.search.page(OWNER, Filters(search=search))
    assert {one.id for one in page.assets} == ids
    await found.check(search)


@pytest.mark.anyio
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60).filter(sayable))
async def test_every_text_is_found_by_each_of_its_words_and_as_a_whole(text: str, found: Found) -> None:
    changed = await found.library.change("a0", OWNER, Changes(prompt=text, given=frozenset({"prompt"})))
    assert changed.prompt == text
    said = words_of(text)
    for search in [*said[:5], f'"{" ".join(said[:20])}"'] if said else []:
        page = await found.search.page(OWNER, Filters(search=search), limit=100)
        assert "a0" in {one.id for one in page.assets}, search


@pytest.mark.anyio
async def test_the_longest_texts_can_be_entered_and_found(found: Found) -> None:
    """What is said over and over, in words as long and many as can be, in letters that take most room."""
    same = "狐" * 40_000
    different = " ".join(chr(0x10400 + number % 40) * 64 + f"x{number}" for number in range(6_000))
    for text in (same, different, "a" * 100_000, "x " * 50_000):
        await found.library.change("a0", OWNER, Changes(prompt=text, given=frozenset({"prompt"})))
        page = await found.search.page(OWNER, Filters(search=words_of(text)[0]))
        assert "a0" in {one.id for one in page.assets}


def test_the_tokenizer_of_sqlite_takes_no_spelling_apart() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE w USING fts5(words, tokenize='ascii')")
        connection.execute("CREATE VIRTUAL TABLE v USING fts5vocab(w, row)")
        text = index_text("ada", TEXTS)
        connection.execute("INSERT INTO w VALUES (?)", (text,))
        assert {term for term, *_ in connection.execute("SELECT * FROM v")} == set(text.split())
