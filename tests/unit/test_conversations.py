"""Chats that go on: every turn kept, on both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.conversations import Conversation, Conversations, Turn
from gateway.db.engine import Database
from gateway.errors import InvalidRequest, NotFound
from gateway.types import ChatRef, Event, Finish, Frame, InConversation, TextDelta, Usage, Whole

pytestmark = pytest.mark.anyio

OWNER = "owner"


@pytest.fixture
def talks(database: Database) -> Conversations:
    return Conversations(database)


def asked(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def answered(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


async def say(
    talks: Conversations,
    text: str,
    answer: str,
    chat_id: str | None = None,
    parent_id: str | None = None,
    **fields: Any,
) -> Conversation:
    """One turn said and kept."""
    talk = await talks.open(OWNER, chat_id, parent_id)
    await talks.keep(talk, Turn(asked(text), "m", "up", "up/a", [answer], **fields))
    return talk


async def missing(talks: Conversations, *names: str | None, owner: str = OWNER) -> NotFound:
    with pytest.raises(NotFound) as told:
        await talks.open(owner, *names)
    return told.value


async def test_a_chat_that_nobody_named_is_a_new_one_each_time(talks: Conversations) -> None:
    first, second = [await talks.open(OWNER, None, None) for _ in range(2)]
    assert first.chat_id != second.chat_id
    assert first.response_id != second.response_id
    assert (first.earlier, first.ref, first.known) == ([], None, False)


async def test_a_chat_goes_on_after_its_last_turn(talks: Conversations) -> None:
    first = await say(talks, "one", "1")
    second = await say(talks, "two", "2", first.chat_id)
    third = await talks.open(OWNER, first.chat_id, None)
    assert (second.parent_id, third.parent_id) == (first.response_id, second.response_id)
    assert third.earlier == [*asked("one"), answered("1"), *asked("two"), answered("2")]
    assert (third.account, third.upstream) == ("up/a", "up")


async def test_a_chat_branches_at_the_turn_it_is_told_to_go_on_from(talks: Conversations) -> None:
    first = await say(talks, "one", "1")
    await say(talks, "two", "2", first.chat_id)
    branch = await say(talks, "other two", "2b", first.chat_id, first.response_id)
    after = await talks.open(OWNER, first.chat_id, branch.response_id)
    assert after.earlier == [*asked("one"), answered("1"), *asked("other two"), answered("2b")]


async def test_a_turn_names_its_chat_by_itself(talks: Conversations) -> None:
    first = await say(talks, "one", "1")
    second = await talks.open(OWNER, None, first.response_id)
    assert (second.chat_id, second.parent_id) == (first.chat_id, first.response_id)


async def test_an_empty_chat_waits_for_its_first_turn(talks: Conversations) -> None:
    chat_id = await talks.create(OWNER, name="Plans", model="m")
    talk = await talks.open(OWNER, chat_id, None)
    assert (talk.known, talk.earlier, talk.parent_id) == (True, [], None)
    await say(talks, "one", "1", chat_id)
    assert len((await talks.open(OWNER, chat_id, None)).earlier) == 2


async def test_a_chat_is_its_owner_s_alone(talks: Conversations) -> None:
    first = await say(talks, "one", "1")
    for names, sentence, param in (
        ((first.chat_id, None), f"no chat {first.chat_id!r}", "chatId"),
        ((None, first.response_id), f"no turn {first.response_id!r} to go on from", "parentId"),
    ):
        error = await missing(talks, *names, owner="somebody else")
        assert (error.message, error.param, error.code) == (sentence, param, "chat_not_found")
    assert (await missing(talks, "chat_x", None)).message == "no chat 'chat_x'"
    assert len((await missing(talks, "x" * 10_000, None)).message) < 100


async def test_a_turn_of_another_chat_is_not_one_of_this(talks: Conversations) -> None:
    first, other = await say(talks, "one", "1"), await say(talks, "else", "0")
    with pytest.raises(InvalidRequest) as told:
        await talks.open(OWNER, first.chat_id, other.response_id)
    assert told.value.message == (
        f"the chat has no turn {other.response_id!r}; send the 'response_id' of one of its answers"
    )
    assert told.value.param == "parentId"


async def test_where_the_upstream_holds_a_chat_is_known_again(talks: Conversations) -> None:
    first = await say(talks, "one", "1", ref=ChatRef("c-1", "p-1"))
    assert (await talks.open(OWNER, first.chat_id, None)).ref == ChatRef("c-1", "p-1")
    second = await say(talks, "two", "2", first.chat_id, ref=ChatRef("c-1"))
    assert (await talks.open(OWNER, first.chat_id, None)).ref == ChatRef("c-1", None)
    await say(talks, "three", "3", second.chat_id)
    assert (await talks.open(OWNER, first.chat_id, None)).ref is None


async def test_what_was_said_comes_back_as_it_was(talks: Conversations) -> None:
    parts = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}], "n": [1, None]}]
    talk = await talks.open(OWNER, None, None)
    await talks.keep(talk, Turn(parts, "m", said=["a\u2028", "\U0001f600", "'; DROP TABLE turns"]))
    assert (await talks.open(OWNER, talk.chat_id, None)).earlier == [
        *parts,
        answered("a\u2028\U0001f600'; DROP TABLE turns"),
    ]


async def test_a_nul_that_an_upstream_says_keeps_no_turn_from_being_kept(talks: Conversations) -> None:
    talk = await say(talks, "one\0", "a\0b")
    assert (await talks.open(OWNER, talk.chat_id, None)).earlier == [*asked("one\0"), answered("ab")]


async def test_a_turn_is_kept_whole_or_not_at_all(talks: Conversations) -> None:
    talk = await say(talks, "one", "1")
    with pytest.raises(Exception, match=r"(?i)unique"):
        await talks.keep(talk, Turn(asked("two"), "m"))
    assert len((await talks.open(OWNER, talk.chat_id, None)).earlier) == 2


# --- an answer, overheard ---


async def events(*given: Event) -> AsyncIterator[Event]:
    for event in given:
        yield event


FRAME = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((TextDelta("a"), Usage(1, 1), TextDelta("b"), Finish()), "ab"),
        ((Frame(FRAME), Frame(FRAME + FRAME), Frame(b"data: [DONE]\n\n"), Finish()), "aaa"),
        ((Whole(b'{"choices":[{"message":{"content":"whole"}}]}'), Finish()), "whole"),
        ((), ""),
    ],
)
async def test_a_turn_hears_what_is_said_and_changes_nothing(given: tuple[Event, ...], said: str) -> None:
    turn = Turn(asked("x"), "m")
    assert [event async for event in turn.heard(events(*given))] == list(given)
    assert ("".join(turn.said), turn.finished) == (said, bool(given))


async def test_a_turn_hears_where_it_is_held() -> None:
    turn = Turn(asked("x"), "m")
    told = (InConversation(ChatRef("c", "p1")), TextDelta("a"), InConversation(ChatRef("c", "p2")))
    async for _ in turn.heard(events(*told)):
        pass
    assert turn.ref == ChatRef("c", "p2")
