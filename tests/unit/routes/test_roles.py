from pathlib import Path

from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.config import load

CONFIG = """
access:
  keys:
    - {name: reads, key: sk-reads-only-1, role: viewer}
    - {name: makes, key: sk-makes-things-1, role: developer}
"""
CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def test_a_viewer_reads_and_asks_and_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    config = load({"GATEWAY_DATA_DIR": str(tmp_path / "var")}, tmp_path)
    viewer = {"authorization": "Bearer sk-reads-only-1"}
    with TestClient(create_app(config, {})) as client:
        refused = client.post("/v1/chat/completions", json=CHAT, headers=viewer)
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "insufficient_permissions"
        assert client.post("/api/chats", json={}, headers=viewer).status_code == 403
        assert client.get("/v1/models", headers=viewer).status_code == 200
        assert client.post("/api/quote", json={"prompt": "hi"}, headers=viewer).status_code == 200
        maker = {"authorization": "Bearer sk-makes-things-1"}
        assert client.post("/v1/chat/completions", json=CHAT, headers=maker).status_code == 200


def test_raw_samples_are_spoken(tmp_path: Path) -> None:
    config = load({"GATEWAY_DATA_DIR": str(tmp_path / "var")}, tmp_path)
    with TestClient(create_app(config, {}), base_url="http://127.0.0.1", client=("127.0.0.1", 50000)) as client:
        answer = client.post("/v1/audio/speech", json={"input": "hello there", "response_format": "pcm"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/pcm")
        assert len(answer.content) > 10_000
