"""Files on /v1, as OpenAI's API has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.routes.v1_files import PURPOSES
from tests.unit.routes.file_rig import NOBODY, OTHER_KEY, Place, place, refusal
from tests.unit.scripted import png

LINES = b'{"custom_id": "1", "method": "POST"}\n{"custom_id": "2", "method": "POST"}\n'


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("files")) as found:
        yield found


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_file_is_made_and_told_as_openai_does(here: Place, purpose: str) -> None:
    made = here.create(LINES, "batch.jsonl", purpose=purpose).json()
    assert made == {
        "id": made["id"], "object": "file", "bytes": len(LINES), "created_at": made["created_at"], "expires_at": None,
        "filename": "batch.jsonl", "purpose": purpose, "status": "processed", "status_details": None,
    }  # fmt: skip
    assert made["id"].startswith("file-")
    assert isinstance(made["created_at"], int)
    assert here.told("GET", f"/v1/files/{made['id']}") == made
    native = here.told("GET", f"/api/files/{made['id']}")
    assert (native["type"], native["purpose"]) == ("application/jsonl", purpose)


def test_the_bytes_come_back_to_be_saved(here: Place) -> None:
    made = here.create(png(), "Übung.png", purpose="vision").json()
    path = f"/v1/files/{made['id']}/content"
    answer = here.ask("GET", path)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, png(), "image/png")
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"Ubung.png\"; filename*=UTF-8''%C3%9Cbung.png"
    )
    assert answer.headers["cache-control"] == "private, max-age=0"
    part = here.ask("GET", path, headers={"range": "bytes=1-3"})
    assert (part.status_code, part.content) == (206, b"PNG")
    told = here.ask("HEAD", path)
    assert (told.status_code, told.content, told.headers["content-length"]) == (200, b"", str(len(png())))


@pytest.mark.parametrize("seconds", ["3600", "2592000"])
def test_a_file_may_be_made_for_a_time(here: Place, seconds: str) -> None:
    expires = {"expires_after[anchor]": "created_at", "expires_after[seconds]": seconds}
    made = here.create(**expires).json()
    assert made["expires_at"] - made["created_at"] == int(seconds)
    assert here.told("GET", f"/api/files/{made['id']}")["expires_at"] is not None


ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"purpose": "upload"}, (400, "invalid_value", "purpose")),
        ({"purpose": "input"}, (400, "invalid_value", "purpose")),
        ({"purpose": ""}, (400, "invalid_value", "purpose")),
        ({ANCHOR: "created_at"}, (400, "invalid_value", SECONDS)),
        ({SECONDS: "3600"}, (400, "invalid_value", ANCHOR)),
        ({ANCHOR: "now", SECONDS: "3600"}, (400, "invalid_value", ANCHOR)),
        *(
            ({ANCHOR: "created_at", SECONDS: seconds}, (400, "invalid_value", SECONDS))
            for seconds in ("3599", "2592001", "", "x", "3600.5", "-3600", "²", "9" * 5000)
        ),
    ],
)
def test_a_form_that_asks_for_what_there_is_not(
    here: Place, fields: dict[str, str], wrong: tuple[int, str, str]
) -> None:
    before = here.objects
    assert refusal(here.create(b"never stored", **fields)) == wrong
    assert here.objects == before


def test_what_a_form_must_have(here: Place) -> None:
    answer = here.ask("POST", "/v1/files", files={"file": ("a.txt", b"words")})
    assert refusal(answer) == (400, "missing_required_parameter", "purpose")
    answer = here.ask("POST", "/v1/files", files={"other": ("a.txt", b"words")}, data={"purpose": "batch"})
    assert refusal(answer) == (400, "missing_file", "file")
    assert refusal(here.ask("POST", "/v1/files", json={"purpose": "batch"}))[:2] == (415, "unsupported_media_type")
    assert refusal(here.create(b""))[:2] == (400, "empty_file")
    assert refusal(here.create(b"MZ\x90\0" + bytes(100), "a.png"))[:2] == (415, "unsupported_file_type")


def test_lists_have_pages_purposes_and_an_order(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        ids = [
            here.create(LINES, f"{at}.jsonl", purpose=what).json()["id"] for at, what in enumerate(("batch", "evals"))
        ]
        ids += [here.upload()["fileId"], here.create().json()["id"]]
        here.create(key=OTHER_KEY)

        def listed(query: str = "") -> list[int]:
            return [ids.index(file["id"]) for file in here.told("GET", f"/v1/files{query}")["data"]]

        assert listed() == [3, 2, 1, 0]
        assert listed("?order=asc") == [0, 1, 2, 3]
        assert listed("?limit=10000&order=desc") == [3, 2, 1, 0]
        assert listed(f"?after={ids[2]}") == [1, 0]
        assert listed(f"?after={ids[2]}&order=asc") == [3]
        assert listed("?purpose=batch") == [0]
        assert listed("?purpose=user_data") == [3, 2]
        assert listed("?purpose=vision") == []
        page = here.told("GET", "/v1/files?limit=3")
        assert page.keys() == {"object", "data", "first_id", "last_id", "has_more"}
        assert (page["object"], page["first_id"], page["last_id"], page["has_more"]) == ("list", ids[3], ids[1], True)
        assert {file["purpose"] for file in page["data"]} == {"user_data", "evals"}


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("limit=0", (400, "invalid_value", "limit")),
        ("limit=10001", (400, "invalid_value", "limit")),
        ("order=up", (400, "invalid_value", "order")),
        ("purpose=upload", (400, "invalid_value", "purpose")),
        (f"after={NOBODY}", (404, "file_not_found", "after")),
    ],
)
def test_a_list_that_cannot_be_made(here: Place, query: str, wrong: tuple[int, str, str]) -> None:
    assert refusal(here.ask("GET", f"/v1/files?{query}")) == wrong


def test_a_file_goes_once(here: Place) -> None:
    made = here.create(b"goes once").json()
    path = f"/v1/files/{made['id']}"
    assert here.told("DELETE", path) == {"id": made["id"], "object": "file", "deleted": True}
    for method in ("DELETE", "GET"):
        assert refusal(here.ask(method, path)) == (404, "file_not_found", "file_id")
    assert refusal(here.ask("GET", f"{path}/content")) == (404, "file_not_found", "file_id")
