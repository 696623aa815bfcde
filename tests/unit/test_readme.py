"""What the pages say to paste works: the tour of README.md block by block, then the examples of docs/."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from gateway.accounts import roster
from gateway.config import load
from gateway.http import Outbound
from tests.acceptance.gateway_process import Gateway, running

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
ADDRESS = "http://127.0.0.1:3264"
EXPECTED = (
    r"data: \[DONE\]",
    r"[Ss]andbox",
    r'"content":"http://[^"?]+\.png"',
    r'"video_url":"http://[^"?]+\.mp4"',
    r'"status":"completed".*"video_url":"http://[^"?]+\.mp4"',
    r'"status":"succeeded".*"index":2,"url":"http://[^"?]+\.png"',
    r'"model":"sandbox-image".*"content":"http://[^"?]+\.png"',
    r'"assets":\[.*"prompt":"three lighthouses".*"total":\d',
)
"""What each block of the tour prints, in order."""
HASTY = {"name": "sandbox", "type": "sandbox", "image_seconds": 0, "video_seconds": 0.5, "chunk_delay": 0}
"""What answers on a fresh machine, in less time."""


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```$", section("A five-minute tour"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("readme"), {"upstreams": [HASTY]}) as gateway:
        yield gateway


def pasted(language: str, block: str, home: Path) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", block] if language == "bash" else [sys.executable, "-c", block]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=home, env={"PATH": path, "HOME": str(home)}
    )


def test_the_tour_works_when_pasted(gateway: Gateway, tmp_path: Path) -> None:
    assert len(BLOCKS) == len(EXPECTED)
    for (language, block), expected in zip(BLOCKS, EXPECTED, strict=True):
        assert ADDRESS in block
        done = pasted(language, block.replace(ADDRESS, gateway.url), tmp_path)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert re.search(expected, done.stdout, re.DOTALL), f"{block}\n{done.stdout}"
    assert (tmp_path / "fox.png").read_bytes().startswith(b"\x89PNG")


def test_the_image_that_was_uploaded_made_it_image_to_image(gateway: Gateway, tmp_path: Path) -> None:
    """The quote of the tour's last request tells what kind of work it is."""
    image = tmp_path / "dot.png"
    with gateway.client() as http:
        made = http.post(
            "/v1/images/generations", json={"prompt": "a dot", "size": "64x64", "response_format": "url"}
        ).json()
        image.write_bytes(http.get(made["data"][0]["url"]).content)
        url = http.post("/api/files/upload", files={"file": image.open("rb")}).json()["file"]["url"]
        quoted = http.post("/api/quote", json={"message": "at night", "chatType": "t2i", "files": [url]}).json()
    assert (quoted["kind"], quoted["upstream"]) == ("i2i", "sandbox")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", ["api.md", "providers.md"])
def test_the_examples_of_a_page_work_when_pasted(name: str, gateway: Gateway, tmp_path: Path) -> None:
    examples = blocks(ROOT / "docs" / name, "bash")
    assert examples
    for example in examples:
        assert ADDRESS in example
        done = pasted("bash", example.replace(ADDRESS, gateway.url).replace("curl ", "curl --show-error "), tmp_path)
        assert done.returncode == 0, f"{example}\n{done.stderr}"
        refused = '"error":"' in done.stdout or '"error":{' in done.stdout
        assert refused == ("x-sandbox-fault" in example), f"{example}\n{done.stdout}"


STANZAS = [(page.name, block) for page in PAGES for block in blocks(page, "yaml")]


@pytest.mark.parametrize(("page", "stanza"), STANZAS, ids=[page for page, _ in STANZAS])
def test_every_stanza_on_a_page_can_be_used(page: str, stanza: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(stanza)
    env = dict.fromkeys(re.findall(r"\$\{(\w+)\}", stanza), "a-credential")
    found = roster.read(load(env, tmp_path), env, Outbound())
    named = [upstream["name"] for upstream in yaml.safe_load(stanza).get("upstreams", ())]
    assert set(named) <= {one.upstream.name for one in found}


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def test_every_link_to_a_page_leads_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose(page)):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_every_anchor_names_a_heading() -> None:
    for page in PAGES:
        for link, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", prose(page)):
            text = (page.parent / link if link else page).read_text("utf-8")
            assert anchor in map(anchored, re.findall(r"^#+ (.+)$", text, re.MULTILINE)), f"{page.name}: #{anchor}"


def anchored(heading: str) -> str:
    """A heading as the name that links use for it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
