"""`mediagate check` looks at everything that a start would use, the accounts of the database too."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from gateway.access.sealing import Sealer
from gateway.accounts.book import Book
from gateway.checkup import checkup
from gateway.config import AccountConfig, Config, load
from gateway.db.engine import Database
from gateway.db.migrate import migrate

pytestmark = pytest.mark.anyio

MASTER = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


def configured(home: Path, master: str | None = MASTER, **config: Any) -> Config:
    (home / "config.yaml").write_text(yaml.safe_dump(config))
    return load({"GATEWAY_MASTER_KEY": master} if master else {}, home)


async def checked(config: Config) -> tuple[int, list[str]]:
    lines: list[str] = []
    return await checkup(config, {}, lines.append), lines


async def with_account(config: Config, upstream: str, **brought: Any) -> None:
    await migrate(config.database_url)
    database = Database(config.database_url)
    await database.start()
    account = AccountConfig(name="added", api_key=SecretStr("a-credential"))
    await Book(database, Sealer.of(config)).add(upstream, account, **brought)
    await database.close()


async def test_a_fresh_machine_is_fit(tmp_path: Path) -> None:
    problems, lines = await checked(configured(tmp_path))
    assert (problems, lines[0], lines[-1]) == (0, "config     ok", "sandbox/default   ok")


async def test_an_account_of_the_database_is_asked_like_any_other(tmp_path: Path) -> None:
    config = configured(tmp_path)
    await with_account(config, "sandbox")
    problems, lines = await checked(config)
    assert (problems, lines[-2:]) == (0, ["sandbox/default   ok", "sandbox/added   ok"])


@pytest.mark.parametrize("master", [OTHER, None])
async def test_one_that_no_key_opens_is_a_problem(tmp_path: Path, master: str | None) -> None:
    await with_account(configured(tmp_path), "sandbox")
    problems, lines = await checked(configured(tmp_path, master))
    assert problems == 1
    assert lines[-1].startswith(
        "sandbox/added   its credential cannot be opened: it was sealed with another master key"
    )


async def test_an_upstream_that_waits_for_its_accounts_is_told_and_no_problem(tmp_path: Path) -> None:
    stanza = {"name": "vendor", "type": "openai_compatible", "base_url": "http://127.0.0.1:9/v1"}
    problems, lines = await checked(configured(tmp_path, upstreams=[stanza]))
    assert (problems, "vendor   has no accounts" in lines) == (0, True)


async def test_an_account_that_cannot_be_reached_is_a_problem(tmp_path: Path) -> None:
    config = configured(tmp_path)
    await with_account(config, "vendor", type="openai_compatible", base_url="http://127.0.0.1:9/v1")
    problems, lines = await checked(config)
    assert problems == 1
    assert any(line.startswith("vendor/added   ") and not line.endswith("ok") for line in lines)


async def test_a_storage_that_cannot_be_used_is_a_problem_with_an_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"ENDPOINT": "http://127.0.0.1:9", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "REGION": "r"}
    for name, value in variables.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    problems, lines = await checked(configured(tmp_path, storage={"url": "s3://bucket"}))
    assert problems == 1
    at = lines.index("storage    The object storage could not be reached (at the step: write). [Connection refused]")
    assert lines[at + 1].startswith("           Look whether it is running")
