"""The tour of README.md, pasted block by block into a terminal beside a gateway that has just been started."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.gateway_process import Gateway, running

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
ADDRESS = "http://127.0.0.1:3264"
EXPECTED = (
    r"data: \[DONE\]",
    r"[Ss]andbox",
    r'"content":"http://[^"?]+\.png"',
    r'"video_url":"http://[^"?]+\.mp4"',
    r'"status":"completed".*"video_url":"http://[^"?]+\.mp4"',
    r'"model":"sandbox-image".*"content":"http://[^"?]+\.png"',
)
"""What each block of the tour prints, in order."""


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```$", section("A five-minute tour"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("readme")) as gateway:
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


def test_every_link_to_a_page_leads_somewhere() -> None:
    root = Path(__file__).parents[2]
    for page in (root / "README.md", root / "CONTRIBUTING.md", *(root / "docs").glob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
