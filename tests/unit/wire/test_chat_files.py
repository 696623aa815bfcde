"""By what name a part of a chat brings a file."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.types import Input
from gateway.wire import chat_files, native

FILE, ASSET = "file-" + "0a" * 16, "asset_" + "0a" * 16


@pytest.mark.parametrize("text", [FILE, ASSET, FILE.replace("-", "_")])
def test_an_id_of_ours(text: str) -> None:
    assert chat_files.is_id(text)
    assert chat_files.may_name_ids(f'[{{"content": "{text}"}}]'.encode())
    native.check_url(text, "files")


@pytest.mark.parametrize(
    "text",
    ["", FILE[:-1], FILE + "0", FILE.upper(), FILE + "\n", ASSET.replace("_", "-"), "object:a", "file-x", "file:///a"],
)
def test_no_id_of_ours(text: str) -> None:
    assert not chat_files.is_id(text)
    with pytest.raises(InvalidRequest, match="or by its id"):
        native.check_url(text, "files")


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ({"type": "image_url", "image_url": {"url": "u"}}, "u"),
        ({"type": "image_url", "image_url": "u"}, "u"),
        ({"type": "image_url", "image_url": {"url": ""}}, ""),
        ({"type": "image_url", "image_url": {"file_id": FILE}}, FILE),
        ({"type": "file", "file": {"file_id": FILE, "file_data": ""}}, FILE),
        ({"type": "file", "file": {"file_data": "data:,x", "url": "u", "file_id": FILE}}, "data:,x"),
        ({"type": "file", "file": "u"}, "u"),
        ({"type": "file", "file": {"filename": "x"}}, None),
        ({"type": "file", "file": {"url": 5}}, None),
        ({"type": "file", "image_url": "u"}, None),
        ({"type": "text", "text": FILE}, None),
        ({"file": "u"}, None),
        ({"type": ["file"], "file": "u"}, None),
        (FILE, None),
        (None, None),
    ],
)
def test_what_names_the_file_of_a_part(part: Any, name: str | None) -> None:
    assert chat_files.source(part) == name


def test_files_by_id_are_images_where_only_images_are_taken() -> None:
    content = [
        {"type": "file", "file": {"file_id": FILE}},
        {"type": "text", "text": "and"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"url": ASSET}},
        {"type": "file", "file": {"file_data": "data:,x"}},
    ]
    assert native.inputs([{"role": "user", "content": content}]) == (
        Input(FILE),
        Input("https://example.com/a.png"),
        Input(ASSET),
    )
    assert native.inputs([{"role": "user", "content": FILE}]) == ()


def test_the_files_of_a_native_body_may_be_ids() -> None:
    import msgspec

    body = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in {"message": "x", "files": [FILE]}.items()}
    [turn] = msgspec.json.decode(native.chat_body(body)["messages"])
    assert chat_files.source(turn["content"][1]) == FILE
