"""The emulator by plain HTTP: it takes what the sheet tells and nothing else."""

import copy
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.emulators.ima import KEY, OTHER, Cut, ImaSite, Plan, Refusal
from tests.emulators.ima.storage import APP_KEY
from tests.emulators.ima.trees import leaves, products
from tests.emulators.serving import serve

pytestmark = pytest.mark.anyio

HEADERS = {"authorization": f"Bearer {KEY}", "x-app-source": "ima_skills", "x_app_language": "en"}
CATEGORIES = (
    "text_to_image", "image_to_image", "text_to_video", "image_to_video", "first_last_frame_to_video",
    "reference_image_to_video", "text_to_music", "text_to_speech",
)  # fmt: skip


class Client:
    def __init__(self, http: httpx.AsyncClient, site: ImaSite) -> None:
        self.http, self.site = http, site

    async def ask(self, method: str, path: str, **what: Any) -> dict[str, Any]:
        answer = await self.http.request(method, path, **{"headers": HEADERS, **what})
        found: dict[str, Any] = answer.json()
        return found

    async def create(self, body: dict[str, Any], **what: Any) -> dict[str, Any]:
        return await self.ask("POST", "/open/v1/tasks/create", json=body, **what)

    async def detail(self, task: str) -> list[dict[str, Any]]:
        told = await self.ask("POST", "/open/v1/tasks/detail", json={"task_id": task})
        medias: list[dict[str, Any]] = told["data"]["medias"]
        return medias

    async def token(self, **changed: str) -> dict[str, Any]:
        signed = hashlib.sha1(f"webAgent|{APP_KEY}|1790000000|abc".encode(), usedforsecurity=False).hexdigest().upper()
        query = {
            "appUid": KEY, "appId": "webAgent", "appKey": APP_KEY, "cmimToken": KEY, "sign": signed,
            "timestamp": "1790000000", "nonce": "abc", "fService": "privite", "fType": "picture", "fSuffix": "png",
            "fContentType": "image/png", **changed,
        }  # fmt: skip
        return await self.ask("GET", "/api/rest/oss/getuploadtoken", params=query, headers={})


@asynccontextmanager
async def emulated() -> AsyncIterator[Client]:
    site = ImaSite((KEY, OTHER))
    async with serve(site.app) as url, httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as http:
        yield Client(http, site)


def minimal() -> dict[str, Any]:
    """The sheet's own exchange."""
    inner = {
        "prompt": "a lighthouse", "size": "2048x2048", "n": 1, "input_images": [],
        "cast": {"points": 5, "attribute_id": 2341},
    }  # fmt: skip
    product = {
        "attribute_id": 2341, "model_id": "doubao-seedream-4.5", "model_name": "SeeDream 4.5",
        "model_version": "doubao-seedream-4-5-251128", "app": "ima", "platform": "web", "category": "text_to_image",
        "credit": 5, "parameters": inner,
    }  # fmt: skip
    return {"task_type": "text_to_image", "enable_multi_model": False, "src_img_url": [], "parameters": [product]}


def film(**changed: Any) -> dict[str, Any]:
    body = minimal()
    product = body["parameters"][0]
    body["task_type"] = product["category"] = "text_to_video"
    product |= {"model_id": "wan2.6-t2v", "model_name": "Wan2.6", "model_version": "wan2.6-t2v", "attribute_id": 2057,
                "credit": 25}  # fmt: skip
    inner = {"prompt": "a kite", "n": 1, "input_images": [], "duration": "5", "resolution": "720P"}
    product["parameters"] = inner | {"cast": {"points": 25, "attribute_id": 2057}} | changed
    return body


async def test_a_minimal_exchange_ends_with_a_picture() -> None:
    async with emulated() as client:
        made = await client.create(minimal())
        assert made["code"] == 0
        assert made["data"]["medias"] == []
        assert made["data"]["timeout_at"] - made["data"]["created_at"] == 300_000
        [media] = await client.detail(made["data"]["id"])
        assert (media["resource_status"], media["status"]) == (1, "success")
        picture = await client.http.get(media["url"])
        assert picture.content.startswith(b"\x89PNG")
        assert (client.site.spent, client.site.balance[KEY]) == (5, 99_995)


@pytest.mark.parametrize("category", CATEGORIES)
async def test_every_category_has_a_tree_of_groups_and_leaves(category: str) -> None:
    async with emulated() as client:
        query = {"app": "ima", "platform": "web", "category": category}
        told = await client.ask("GET", "/open/v1/product/list", params=query)
        found = list(leaves(told["data"]))
        assert found
        assert all(leaf["credit_rules"] and isinstance(leaf["type"], str) for leaf in found)
        assert (await client.ask("GET", "/open/v1/product/list", params={"category": category}))["code"] == 400


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("parameters.0.model_name", None, 400),
        ("parameters.0.model_version", "4.5", 400),
        ("parameters.0.app", "web", 400),
        ("parameters.0.category", "text_to_video", 400),
        ("parameters.0.prompt", "one level too high", 400),
        ("parameters.0.attribute_id", 0, 400),
        ("parameters.0.credit", 6, 6006),
        ("parameters.0.parameters.cast", None, 6006),
        ("parameters.0.parameters.cast.points", 4, 6006),
        ("parameters.0.parameters.prompt", None, 400),
        ("parameters.0.parameters.n", "1", 400),
        ("parameters.0.parameters.n", 5, 400),
        ("parameters.0.parameters.input_images", ["https://a.example/a.png"], 400),
        ("parameters.0.parameters.default", "enabled", 400),
        ("parameters.0.parameters.aspect_ratio", "1:1", 400),
        ("enable_multi_model", True, 400),
        ("task_type", "text_to_text", 400),
        ("src_img_url", ["https://a.example/a.png"], 400),
        ("prompt", "x", 400),
    ],
)
async def test_a_create_that_is_not_right_is_refused_and_costs_nothing(path: str, value: Any, code: int) -> None:
    body = copy.deepcopy(minimal())
    at: Any = body
    *way, last = path.split(".")
    for step in way:
        at = at[int(step)] if step.isdigit() else at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    async with emulated() as client:
        assert (await client.create(body))["code"] == code
        assert client.site.creates == []
        assert client.site.balance[KEY] == 100_000


async def test_headers_are_looked_at() -> None:
    async with emulated() as client:
        for missing, code in (("authorization", 401), ("x-app-source", 400), ("x_app_language", 400)):
            headers = {name: value for name, value in HEADERS.items() if name != missing}
            assert (await client.create(minimal(), headers=headers))["code"] == code


async def test_rule_and_attributes_must_be_one() -> None:
    async with emulated() as client:
        assert (await client.create(film()))["code"] == 0
        assert (await client.create(film(resolution="1080P")))["code"] == 6010
        assert (await client.create(film(duration="7")))["code"] == 400
        gone = film()
        del gone["parameters"][0]["parameters"]["resolution"]
        assert (await client.create(gone))["code"] == 6009
        client.site.reprice("text_to_video", "wan2.6-t2v", 1)
        assert (await client.create(film()))["code"] == 6006
        client.site.renumber("text_to_video", "wan2.6-t2v")
        told = await client.create(film())
        assert (told["code"], told["message"]) == (400, "Invalid product attribute")


async def test_pixverse_wants_its_version() -> None:
    body = film()
    product = body["parameters"][0]
    product |= {"model_id": "pixverse", "model_name": "Pixverse V5", "model_version": "pv-5", "attribute_id": 3020,
                "credit": 14}  # fmt: skip
    inner = {"prompt": "a kite", "n": 1, "input_images": [], "duration": 5}
    product["parameters"] = inner | {"cast": {"points": 14, "attribute_id": 3020}}
    async with emulated() as client:
        assert (await client.create(body))["code"] == 400017
        product["parameters"]["model"] = "v5"
        assert (await client.create(body))["code"] == 0


async def test_several_outputs_are_several_resources_each_paid_for() -> None:
    async with emulated() as client:
        client.site.plan = Plan(late=1)
        body = minimal()
        body["parameters"][0]["parameters"]["n"] = 3
        name = (await client.create(body))["data"]["id"]
        assert [len(await client.detail(name)) for _ in range(2)] == [1, 3]
        assert client.site.spent == 15
        client.site.balance[KEY] = 14
        assert (await client.create(body))["code"] == 4008


async def test_a_task_is_found_by_its_id_and_its_key_only() -> None:
    async with emulated() as client:
        made = (await client.create(minimal()))["data"]
        path = "/open/v1/tasks/detail"
        assert (await client.ask("POST", path, json={"task_id": made["biz_id"]}))["code"] == 404
        assert (await client.ask("POST", path, json={"id": made["id"]}))["code"] == 404
        other = {**HEADERS, "authorization": f"Bearer {OTHER}"}
        assert (await client.ask("POST", path, json={"task_id": made["id"]}, headers=other))["code"] == 404


async def test_a_task_takes_its_time_and_ends_as_it_is_told_to() -> None:
    now = [1000.0]
    async with emulated() as client:
        client.site.clock = lambda: now[0]
        client.site.plan = Plan(queued=1, running=1, ends={0: (1, "failed")}, why="no memory")
        name = (await client.create(minimal()))["data"]["id"]
        words = []
        for moment in (1000.0, 1001.0, 1002.0):
            now[0] = moment
            [media] = await client.detail(name)
            words.append((media["resource_status"], media["status"]))
        assert words == [(None, "pending"), (0, "processing"), (1, "failed")]
        assert media["error_msg"] == "no memory"


async def test_a_file_goes_in_by_leave_only() -> None:
    async with emulated() as client:
        granted = (await client.token())["data"]
        wrong = await client.http.put(granted["ful"], content=b"x", headers={"content-type": "image/jpeg"})
        keyed = await client.http.put(granted["ful"], content=b"x", headers={**HEADERS, "content-type": "image/png"})
        unsigned = await client.http.put(
            granted["ful"].partition("?")[0], content=b"x", headers={"content-type": "image/png"}
        )
        assert [wrong.status_code, keyed.status_code, unsigned.status_code] == [403, 403, 403]
        assert (await client.http.get(granted["fdl"])).status_code == 404
        right = await client.http.put(granted["ful"], content=b"x", headers={"content-type": "image/png"})
        assert right.status_code == 200
        assert (await client.http.get(granted["fdl"])).content == b"x"


@pytest.mark.parametrize(
    "changed",
    [
        {"sign": "0" * 40},
        {"nonce": "n" * 22},
        {"appUid": "nobody"},
        {"cmimToken": OTHER},
        {"fService": "private"},
        {"fType": "video"},
        {"appKey": "another"},
        {"more": "x"},
    ],
)
async def test_leave_that_is_not_asked_for_rightly_is_not_given(changed: dict[str, str]) -> None:
    async with emulated() as client:
        assert (await client.token(**changed))["code"] in (400, 401, 403)
        assert client.site.storage.granted == {}


async def test_files_of_films_are_looked_at() -> None:
    async with emulated() as client:
        client.site.unverified["bad"] = "no"
        path = "/open/v1/assets/verify"
        good = await client.ask("POST", path, json={"url": "https://a.example/good.png"})
        bad = await client.ask("POST", path, json={"url": "https://a.example/bad.png"})
        assert good["data"]["result"]["status"] == "active"
        assert bad["data"]["result"]["error"]["message"] == "no"


async def test_faults_come_once_and_a_lost_answer_may_have_been_done() -> None:
    async with emulated() as client:
        client.site.fail("create", Refusal(429), Cut(), Cut(done=True))
        assert (await client.create(minimal()))["code"] == 429
        for made in (0, 1):
            with pytest.raises(httpx.TransportError):
                await client.create(minimal())
            assert len(client.site.creates) == made
        assert (await client.create(minimal()))["code"] == 0


def test_a_test_that_changes_prices_changes_only_its_own() -> None:
    ImaSite().reprice("text_to_image", "doubao-seedream-4.5", 7)
    [found] = [leaf for leaf in leaves(products()["text_to_image"]) if leaf["model_id"] == "doubao-seedream-4.5"]
    assert found["credit_rules"][0]["points"] == 5
