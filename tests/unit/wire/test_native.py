import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError, InvalidRequest
from gateway.types import Input, Size
from gateway.wire import body as wire_body
from gateway.wire import native, openai_chat
from gateway.wire.native import CHAT_TYPES, LONG_NAMES, MAX_INPUTS, MAX_PROMPT, Names

KINDS = "t2t, t2i, i2i, t2v, i2v, flf2v, ref2v, t2m, tts"
PARTS = "a part of a message must be {type:'text',text}, {type:'image',image:url} or {type:'file',file:url}"
REQUIRED = ("missing_required_parameter", "message", "'message' is required: a string, or a list of parts")
EMPTY = ("invalid_value", "message", "'message' must not be empty")


def body(**fields: Any) -> native.Body:
    return wire_body.decode(msgspec.json.encode(fields))


def turns(**fields: Any) -> Any:
    """The messages that a native body becomes."""
    return json.loads(bytes(native.chat_body(body(**fields))["messages"]))


def refused(work: Callable[..., Any], *args: Any, **fields: Any) -> tuple[str, str | None, str]:
    with pytest.raises(GatewayError) as told:
        work(*args, **fields)
    assert told.value.status == 400
    return told.value.code, told.value.param, told.value.message


# --- what is asked for ---


@pytest.mark.parametrize("kind", CHAT_TYPES)
def test_a_kind_is_named_by_its_word_under_either_name(kind: str) -> None:
    assert native.kind(body(chatType=kind)) == native.kind(body(kind=kind)) == kind


@pytest.mark.parametrize("word", LONG_NAMES)
def test_a_kind_is_named_by_its_long_name(word: str) -> None:
    assert native.kind(body(chatType=word)) == LONG_NAMES[word]


def test_a_request_may_leave_its_kind_open() -> None:
    assert native.kind(body()) is None
    assert native.kind(body(chatType=None)) is None
    assert native.kind(body(chatType=None, kind="t2i")) == "t2i"
    assert native.kind(body(chatType="t2i", kind="t2v")) == "t2i"


@pytest.mark.parametrize("word", ["", "x", "T2I", "embedding", "transcription"])
def test_an_unknown_kind_is_answered_with_those_there_are(word: str) -> None:
    expected = ("unknown_chat_type", "chatType", f"'chatType' {word!r} is unknown: use one of {KINDS}")
    assert refused(native.kind, body(chatType=word)) == expected


def test_the_refusal_of_a_kind_names_the_caller_s_own_parameter_and_stays_short() -> None:
    code, param, sentence = refused(native.kind, body(kind="k" * 10_000))
    assert (code, param) == ("unknown_chat_type", "kind")
    assert sentence.startswith(f"'kind' {'k' * 40!r} is unknown")
    assert refused(native.kind, body(chatType=5)) == ("invalid_value", "chatType", "'chatType': expected str, got int")


def test_a_conversation_is_named_by_either_of_two_names() -> None:
    assert native.names(body(message="x")) is None
    assert native.names(body(chatId="c")) == Names("c", None)
    assert native.names(body(parentId="p")) == Names(None, "p")
    assert native.names(body(chatId="", parentId=None)) == Names(None, None)
    assert refused(native.names, body(chatId=5))[:2] == ("invalid_value", "chatId")
    assert refused(native.names, body(parentId="a\0"))[:2] == ("invalid_value", "parentId")


def test_who_says_nothing_waits() -> None:
    assert (
        native.waits(body())
        and native.waits(body(waitForCompletion=None))
        and native.waits(body(waitForCompletion=True))
    )
    assert not native.waits(body(waitForCompletion=False))
    assert refused(native.waits, body(waitForCompletion="no")) == (
        "invalid_value", "waitForCompletion", "'waitForCompletion': expected bool, got str",
    )  # fmt: skip


# --- a native body as a chat ---


def test_a_message_is_the_last_of_the_conversation() -> None:
    earlier = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]
    assert turns(message="b") == [{"role": "user", "content": "b"}]
    assert turns(messages=earlier, message="b") == [*earlier, {"role": "user", "content": "b"}]
    assert turns(messages=earlier) == earlier


def test_what_only_the_gateway_reads_is_left_out_and_all_else_is_kept() -> None:
    sent = body(
        message="x", model="m", chatType="t2t", kind="t2t", chatId="c", parentId="p", files=[], waitForCompletion=True,
        size="1:1", temperature=0.5, tools=[{"a": 1}], stream=True,
    )  # fmt: skip
    kept = native.chat_body(sent)
    assert set(kept) == {"messages", "model", "temperature", "tools", "stream"}
    assert all(kept[name] is sent[name] for name in kept if name != "messages")


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, REQUIRED),
        ({"message": None}, REQUIRED),
        ({"messages": []}, REQUIRED),
        ({"message": ""}, EMPTY),
        ({"message": "  \n"}, EMPTY),
        ({"message": [{"type": "text", "text": " "}]}, EMPTY),
        ({"messages": [{"role": "user"}]}, EMPTY),
        ({"messages": [{"role": "user", "content": ""}]}, EMPTY),
        ({"messages": [{"role": "user", "content": " "}]}, EMPTY),
        ({"messages": [{"role": "user", "content": []}]}, EMPTY),
        ({"message": []}, ("invalid_value", "message", "'message' must hold at least one part")),
        ({"message": "a\0b"}, ("invalid_value", "message", "'message' must not hold a NUL character")),
        ({"message": 5}, ("invalid_value", "message", "'message': expected str | array, got int")),
        ({"message": {}}, ("invalid_value", "message", "'message': expected str | array, got object")),
        ({"message": ["x"]}, ("invalid_value", "message[0]", "'message': expected object, got str")),
        ({"message": [{"text": "x"}]}, ("invalid_value", "message", PARTS)),
        ({"message": [{"type": 5}]}, ("invalid_value", "message", PARTS)),
        ({"message": [{"type": "image", "image": 5}]}, ("invalid_value", "message", PARTS)),
        ({"messages": [{"role": "user", "content": ["x"]}]}, ("invalid_value", "message", PARTS)),
        ({"messages": "x"}, ("invalid_value", "messages", "'messages': expected array, got str")),
        ({"messages": ["x"]}, ("invalid_value", "messages[0]", "'messages': expected object, got str")),
        ({"message": "x", "files": "y"}, ("invalid_value", "files", "'files': expected array, got str")),
        (
            {"message": "x", "files": [{}]},
            ("invalid_value", "files[0]", "'files': Object missing required field url"),
        ),
        (
            {"message": "x", "files": ["file:///etc/passwd"]},
            ("invalid_url", "files", "a file must be named by an http(s) or data: URL, or by its id"),
        ),
    ],
)
def test_a_body_with_nothing_to_answer_is_refused(fields: dict[str, Any], error: tuple[str, str, str]) -> None:
    assert refused(turns, **fields) == error


def test_an_answer_may_go_on_from_a_turn_without_words() -> None:
    asked = [{"role": "assistant", "content": None, "tool_calls": []}, {"role": "tool", "content": ""}]
    assert turns(messages=asked) == asked


def test_native_parts_become_those_of_the_openai_dialect() -> None:
    message = [
        {"type": "text", "text": "look"},
        {"type": "image", "image": "https://a/1.png"},
        {"type": "file", "file": "https://a/2.JPG?x=1"},
        {"type": "file", "file": "https://a/some/Paper.pdf"},
        {"type": "image_url", "image_url": {"url": "https://a/3.png", "detail": "low"}},
        {"type": "file", "file": {"file_id": "file_1"}},
        {"type": "input_audio", "input_audio": {"data": ""}},
    ]
    assert turns(message=message)[0]["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "https://a/1.png"}},
        {"type": "image_url", "image_url": {"url": "https://a/2.JPG?x=1"}},
        {"type": "file", "file": {"url": "https://a/some/Paper.pdf", "filename": "paper.pdf"}},
        {"type": "image_url", "image_url": {"url": "https://a/3.png", "detail": "low"}},
        {"type": "file", "file": {"file_id": "file_1"}},
        {"type": "input_audio", "input_audio": {"data": ""}},
    ]


def test_files_join_the_last_message_as_its_parts() -> None:
    files = [
        "https://a/1.webp",
        {"url": "https://a/x", "type": "image/png"},
        {"url": "https://a/y", "file_type": "image"},
        {"url": "data:image/png;base64,AA"},
        {"url": "https://a/z", "name": "Notes.txt"},
    ]
    first, last = turns(messages=[{"role": "system", "content": "s"}], message="look", files=files)
    assert first == {"role": "system", "content": "s"}
    assert last["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "https://a/1.webp"}},
        {"type": "image_url", "image_url": {"url": "https://a/x"}},
        {"type": "image_url", "image_url": {"url": "https://a/y"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}},
        {"type": "file", "file": {"url": "https://a/z", "filename": "Notes.txt"}},
    ]


def test_files_alone_are_something_to_answer() -> None:
    files = ["https://a/1.png"]
    assert turns(messages=[{"role": "user", "content": ""}], files=files)[0]["content"] == [
        {"type": "image_url", "image_url": {"url": "https://a/1.png"}}
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
openai_parts = st.fixed_dictionaries({"type": st.just("text"), "text": st.text(min_size=1)}) | st.fixed_dictionaries(
    {"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": st.text()})}
)
words = st.text(min_size=1).filter(lambda text: text.strip() and "\0" not in text)
messages = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool"]),
            "content": words | st.lists(openai_parts, max_size=3),
        },
        optional={"name": st.text(), "tool_calls": json_values, "x": json_values},
    ),
    max_size=4,
)


@given(messages, words)
def test_any_conversation_survives_and_is_an_openai_chat(before: list[dict[str, Any]], message: str) -> None:
    sent = body(messages=before, message=message)
    assert openai_chat.messages(openai_chat.parse(native.chat_body(sent))) == [
        *before,
        {"role": "user", "content": message},
    ]


@given(st.dictionaries(st.sampled_from(["message", "messages", "files", "chatType", "size", "n"]), json_values))
def test_no_body_does_more_than_be_refused(fields: dict[str, Any]) -> None:
    try:
        assert native.chat_body(body(**fields))["messages"]
    except InvalidRequest as error:
        assert error.param


# --- inputs ---


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def test_only_the_last_message_brings_images() -> None:
    asked = [{"role": "user", "content": [image("https://a/1.png")]}, {"role": "user", "content": [image("data:,x")]}]
    assert native.inputs(asked) == (Input("data:,x"),)
    assert native.inputs([{"role": "user", "content": "x"}]) == ()


def test_images_are_few_and_named_by_urls() -> None:
    many = [{"content": [image("https://a/1.png")] * (MAX_INPUTS + 1)}]
    assert refused(native.inputs, many) == (
        "invalid_value", "messages", "a request may bring at most 16 images, not 17",
    )  # fmt: skip
    assert len(native.inputs([{"content": many[0]["content"][1:]}])) == MAX_INPUTS
    for url in ("/etc/passwd", "file:///a", "javascript:x", "", "object:uploads/x"):
        assert refused(native.inputs, [{"content": [image(url)]}]) == (
            "invalid_url", "messages", "a file must be named by an http(s) or data: URL, or by its id",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "images", "kind"),
    [
        ("t2i", 0, "t2i"), ("t2i", 1, "i2i"), ("t2i", 16, "i2i"), ("i2i", 1, "i2i"),
        ("t2v", 0, "t2v"), ("t2v", 1, "i2v"), ("t2v", 2, "flf2v"), ("t2v", 3, "ref2v"),
        ("i2v", 1, "i2v"), ("flf2v", 2, "flf2v"), ("ref2v", 1, "ref2v"), ("ref2v", 16, "ref2v"),
        ("tts", 0, "tts"), ("t2m", 0, "t2m"), ("t2t", 5, "t2t"),
    ],
)  # fmt: skip
def test_the_inputs_settle_the_kind(asked: Any, images: int, kind: str) -> None:
    assert native.fitting(asked, images) == kind


@pytest.mark.parametrize(
    ("asked", "images", "wanted"),
    [
        ("i2i", 0, "1 to 16 images"), ("i2i", 17, "1 to 16 images"), ("i2v", 0, "1 image"), ("i2v", 2, "1 image"),
        ("flf2v", 1, "2 images"), ("flf2v", 3, "2 images"), ("ref2v", 0, "1 to 16 images"), ("tts", 1, "0 images"),
        ("t2m", 1, "0 images"),
    ],
)  # fmt: skip
def test_a_kind_and_its_inputs_may_clash(asked: Any, images: int, wanted: str) -> None:
    assert refused(native.fitting, asked, images) == (
        "invalid_value", "chatType", f"{asked} takes {wanted}, the request has {images}",
    )  # fmt: skip


def test_each_image_gets_its_role() -> None:
    found = (Input("https://a/1"), Input("https://a/2"))
    roles = {kind: [one.role for one in native.with_roles(kind, found)] for kind in ("i2i", "i2v", "flf2v", "ref2v")}
    assert roles["flf2v"] == ["first_frame", "last_frame"]
    assert roles["ref2v"] == ["reference", "reference"]
    assert roles["i2i"] == ["image", "image"]
    assert native.with_roles("i2v", found[:1])[0].role == "first_frame"


# --- requests ---


def image_request(prompt: str = "p", **fields: Any) -> Any:
    return native.image_request(body(**fields), "t2i", "m", prompt, (), {})


def video_request(**fields: Any) -> Any:
    return native.video_request(body(**fields), "t2v", "m", "p", (), {"x": "y"})


def speech_request(**fields: Any) -> Any:
    return native.speech_request(body(**fields), "m", "p", {})


def test_a_request_has_what_was_asked_for_and_the_rest_as_parameters() -> None:
    asked = image_request(n=2, size="1024x512", seed=7, partial_images=3, style="noir", message="x", chatType="t2i")
    assert (asked.n, asked.size, asked.seed, asked.partial_images) == (2, Size("2:1", 1024, 512), 7, 3)
    assert asked.params == {"style": "noir"}
    film = video_request(seconds="8", aspect_ratio="9:16", negative_prompt="rain", progress=True)
    assert (film.kind, film.seconds, film.size) == ("t2v", 8.0, Size("9:16"))
    assert (film.params, film.hints) == ({"negative_prompt": "rain"}, {"x": "y"})


def test_what_is_null_counts_as_not_said() -> None:
    asked = image_request(n=None, size=None, seed=None)
    assert (asked.n, asked.size, asked.seed) == (1, None, None)
    assert image_request(size=None, aspect_ratio="16:9").size == Size("16:9")
    assert video_request(seconds=None, duration=5).seconds == 5
    assert speech_request(format=None, response_format="wav").format == "wav"


@pytest.mark.parametrize(
    ("make", "fields", "param", "sentence"),
    [
        (image_request, {"n": 0}, "n", "'n' must be a whole number from 1 to 10, not 0"),
        (image_request, {"n": 11}, "n", "'n' must be a whole number from 1 to 10, not 11"),
        (image_request, {"n": "2"}, "n", "'n': expected int, got str"),
        (image_request, {"size": 5}, "size", "'size': expected str, got int"),
        (image_request, {"size": "0:5"}, "size",
         "'size' '0:5' is impossible: the ratio must lie between 1:8 and 8:1"),
        (image_request, {"aspect_ratio": "big"}, "aspect_ratio",
         "'aspect_ratio' 'big' is not a size: write a ratio like '16:9' or pixels like '1024x1024'"),
        (image_request, {"seed": -1}, "seed", "'seed' must be a whole number from 0 to 9223372036854775807, not -1"),
        (image_request, {"partial_images": 4}, "partial_images",
         "'partial_images' must be a whole number from 0 to 3, not 4"),
        (video_request, {"seconds": 0}, "seconds",
         "'seconds' must be a number of seconds above 0 and at most 600"),
        (video_request, {"seconds": "601"}, "seconds",
         "'seconds' must be a number of seconds above 0 and at most 600"),
        (video_request, {"duration": "soon"}, "duration",
         "'duration' must be a number of seconds above 0 and at most 600"),
        (video_request, {"seconds": "nan"}, "seconds",
         "'seconds' must be a number of seconds above 0 and at most 600"),
        (video_request, {"seconds": [5]}, "seconds", "'seconds': expected float | str, got array"),
        *((video_request, {"seconds": odd}, "seconds",
           "'seconds' must be a number of seconds above 0 and at most 600")
          for odd in ("inf", "1e400", "1_0", "\u0665", " 5", "0x5", "", 10**25)),
        (video_request, {"seconds": True}, "seconds", "'seconds': expected float | str, got bool"),
        (video_request, {"seconds": {"a": 1}}, "seconds", "'seconds': expected float | str, got object"),
        *((make, {"n": odd}, "n", f"'n': expected int, got {name}")
          for make in (image_request, video_request, speech_request)
          for odd, name in (("2", "str"), (1.5, "float"), (True, "bool"), ([1], "array"), ({}, "object"))),
        (speech_request, {"n": 11}, "n", "'n' must be a whole number from 1 to 10, not 11"),
        *((video_request, {"seed": odd}, "seed", f"'seed': expected int, got {name}")
          for odd, name in (("2", "str"), (1.5, "float"), (True, "bool"), ([1], "array"), ({}, "object"))),
        (speech_request, {"speed": 9}, "speed", "'speed' must be a number from 0.25 to 4"),
        (speech_request, {"speed": 0}, "speed", "'speed' must be a number from 0.25 to 4"),
        (speech_request, {"format": "exe"}, "format",
         "'format' 'exe' is unknown: use one of aac, flac, mp3, opus, pcm, wav"),
        (speech_request, {"response_format": {}}, "response_format", "'response_format': expected str, got object"),
        (speech_request, {"voice": 5}, "voice", "'voice': expected str | object, got int"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_before_anything_is_spent(
    make: Callable[..., Any], fields: dict[str, Any], param: str, sentence: str
) -> None:
    assert refused(make, **fields) == ("invalid_value", param, sentence)


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("", "the prompt must not be empty"),
        (" \n", "the prompt must not be empty"),
        ("a\0b", "the prompt must not hold a NUL character"),
        ("x" * (MAX_PROMPT + 1), "the prompt may have at most 131072 characters"),
    ],
    ids=["nothing", "blank", "nul", "too long"],
)
def test_a_prompt_has_words_that_can_be_kept(prompt: str, sentence: str) -> None:
    assert refused(image_request, prompt) == ("invalid_value", "message", sentence)
    assert image_request("x" * MAX_PROMPT)


def test_speech_and_music_have_their_own_words() -> None:
    spoken = speech_request(voice={"id": "anna"}, speed=1.5, format="opus", style="warm")
    assert (spoken.text, spoken.voice, spoken.speed, spoken.format) == ("p", "anna", 1.5, "opus")
    assert spoken.params == {"style": "warm"}
    assert (speech_request().voice, speech_request().speed, speech_request().format) == ("", 1.0, "mp3")
    song = native.music_request(body(seconds=30, seed=4, format="wav"), "m", "p", {})
    assert (song.prompt, song.seconds, song.seed, song.format) == ("p", 30.0, 4, "wav")


@pytest.mark.parametrize(
    ("make", "own"),
    [
        (image_request, {"size": "16:9", "n": 2, "seed": 5}),
        (video_request, {"size": "16:9", "n": 2, "seed": 5, "seconds": 3}),
        (speech_request, {"voice": "bob", "speed": 2.0, "format": "wav"}),
        (lambda **fields: native.music_request(body(**fields), "m", "p", {}),
         {"n": 2, "seed": 5, "seconds": 3, "format": "wav"}),
    ],
    ids=["image", "video", "speech", "music"],
)  # fmt: skip
def test_what_a_kind_has_no_field_for_is_kept_for_the_model_to_say(
    make: Callable[..., Any], own: dict[str, Any]
) -> None:
    every = {"size": "16:9", "n": 2, "seed": 5, "seconds": 3, "voice": "bob", "speed": 2.0, "format": "wav"}
    assert set(every) <= native.OF_SOME_KINDS
    asked = make(**every, stream=True, tools=[{"a": 1}], tool_choice="auto", modalities=["image"], style="noir")
    assert asked.params == {"style": "noir"} | {name: every[name] for name in every.keys() - own.keys()}
    assert all(not hasattr(asked, name) for name in every.keys() - own.keys())
    assert make(**dict.fromkeys(every)).params == {}, "null asks for nothing"


def test_one_piece_of_speech_is_what_there_is_anyway() -> None:
    assert speech_request(n=1).params == {}
    assert speech_request(n=5).params == {"n": 5}


def test_a_chat_goes_on_by_the_names_in_its_answer() -> None:
    assert native.names_json("chat_1", "resp_1") == {"response_id": "resp_1", "parentId": "resp_1", "chatId": "chat_1"}
    assert native.names_json(None, "resp_1") == {"response_id": "resp_1", "parentId": "resp_1"}
