import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, field_validator

from gateway.config import Config, load, read_options
from gateway.errors import ConfigError

GOOD_KEY = "8d0f5b1e2c7a4936"
MASTER_KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(text: str = "", **env: str) -> Config:
        (tmp_path / "config.yaml").write_text(text)
        return load(env, tmp_path)

    return read


@pytest.fixture
def complaint(read: Any) -> Any:
    def complaint(text: str = "", **env: str) -> str:
        with pytest.raises(ConfigError) as told:
            read(text, **env)
        return str(told.value)

    return complaint


# --- where it comes from ---


def test_nothing_configured_is_a_working_configuration(tmp_path: Path) -> None:
    config = load({}, tmp_path)
    assert (config.server.host, config.server.port) == ("127.0.0.1", 3264)
    assert config.data_dir == tmp_path / "var"
    assert config.database_url == f"sqlite+aiosqlite:///{tmp_path}/var/mediagate.db"
    assert config.storage.url == f"file://{tmp_path}/var/objects"
    assert (config.upstreams, config.access.keys, config.master_key) == ((), (), None)


def test_the_file_named_by_the_environment_is_read(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("server: {port: 4000}")
    assert load({"GATEWAY_CONFIG": "other.yaml"}, tmp_path).server.port == 4000


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"GATEWAY_CONFIG: .*other\.yaml"):
        load({"GATEWAY_CONFIG": "other.yaml"}, tmp_path)


def test_the_environment_wins_over_the_file(read: Any) -> None:
    text = f"""
        server: {{host: 127.0.0.1, port: 1, public_url: http://a}}
        data_dir: a
        database_url: sqlite:///a.db
        storage: {{url: file:///a, link_ttl: 5}}
        access: {{keys: [{{name: file, key: {GOOD_KEY}}}]}}
        master_key: {"a1b2c3d4" * 4}
        """
    config = read(
        text,
        PORT="2",
        HOST="::1",
        GATEWAY_PUBLIC_URL="https://b.example/",
        GATEWAY_DATA_DIR="/srv/b",
        DATABASE_URL="postgres://u:p@h/b?sslmode=require",
        STORAGE_URL="s3://b",
        API_KEYS=f" {GOOD_KEY}x, ,{GOOD_KEY}y",
        GATEWAY_MASTER_KEY=MASTER_KEY,
    )
    assert (config.server.host, config.server.port, config.server.public_url) == ("::1", 2, "https://b.example")
    assert config.data_dir == Path("/srv/b")
    assert config.database_url == "postgresql+asyncpg://u:p@h/b?sslmode=require"
    assert (config.storage.url, config.storage.link_ttl) == ("s3://b", 5)
    assert [(key.name, key.role) for key in config.access.keys] == [("env-1", "admin"), ("env-2", "admin")]
    assert config.access.keys[1].key.get_secret_value() == f"{GOOD_KEY}y"
    assert config.master_key.get_secret_value() == MASTER_KEY


def test_an_empty_variable_counts_as_not_set(read: Any) -> None:
    config = read("server: {port: 5}", PORT="", HOST="", API_KEYS=" , ")
    assert (config.server.port, config.server.host, config.access.keys) == (5, "127.0.0.1", ())


def test_database_and_objects_follow_the_data_directory(read: Any, tmp_path: Path) -> None:
    config = read("storage: {link_ttl: 60}", GATEWAY_DATA_DIR="elsewhere")
    assert config.database_url == f"sqlite+aiosqlite:///{tmp_path}/elsewhere/mediagate.db"
    assert config.storage.url == f"file://{tmp_path}/elsewhere/objects"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql+asyncpg://h/d", "postgresql+asyncpg://h/d"),
        ("sqlite:////srv/x.db", "sqlite+aiosqlite:////srv/x.db"),
        ("sqlite+aiosqlite:////srv/x.db", "sqlite+aiosqlite:////srv/x.db"),
    ],
)
def test_database_urls_name_the_driver(read: Any, given: str, used: str) -> None:
    assert read(DATABASE_URL=given).database_url == used


# --- references ---


def test_references_are_read_from_the_environment(read: Any) -> None:
    text = """
        upstreams:
          - name: a
            type: t
            models: ["x-${A}-${B:-two}", "${EMPTY:-three}", "$${A} $$ costs"]
            accounts: [{name: a, max_concurrency: "${N}", api_key: "${EMPTY}"}]
        """
    upstream = read(text, A="one", N="4", EMPTY="").upstreams[0]
    assert [model.id for model in upstream.models] == ["x-one-two", "three", "${A} $$ costs"]
    assert (upstream.accounts[0].max_concurrency, upstream.accounts[0].api_key) == (4, None)


def test_an_unset_variable_is_named_with_the_key_that_wants_it(complaint: Any) -> None:
    text = "upstreams: [{name: a, type: t, accounts: [{name: x, api_key: '${ARK_KEY}'}]}]"
    told = complaint(text)
    assert told.startswith("upstreams[0].accounts[0].api_key: needs the environment variable ARK_KEY")


def test_a_reference_that_is_none_is_an_error(complaint: Any) -> None:
    assert complaint("server: {host: '${not a name}'}").startswith("server.host: must refer to a variable as ${NAME}")


# --- what is told of mistakes ---

STANZA = "upstreams: [{name: u, type: t, accounts: [{name: ok}, {name: a, %s}]}]"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("server: {port: four}",
         'server.port: must be a whole number from 1 to 65535, or 0 for any free port (got "four")'),
        ("server: {port: true}",
         "server.port: must be a whole number from 1 to 65535, or 0 for any free port (got true)"),
        ("server: {prot: 1}", "server.prot: unknown key; did you mean 'port'?"),
        ("log: {zzz: 1}", "log.zzz: unknown key; there are format, level"),
        ("upstream: []", "upstream: unknown key; did you mean 'upstreams'?"),
        ("server: 5", "server: must be a mapping of keys to values"),
        ("upstreams: {name: a}", "upstreams: must be a list"),
        ("upstreams: [{type: t}]", "upstreams[0].name: is missing"),
        (STANZA % "max_concurrency: four",
         'upstreams[0].accounts[1].max_concurrency: must be a whole number of at least 1 (got "four")'),
        (STANZA % "max_concurrency: 0",
         "upstreams[0].accounts[1].max_concurrency: must be a whole number of at least 1 (got 0)"),
        (STANZA % "weight: .nan", "upstreams[0].accounts[1].weight: must be a number above 0 (got NaN)"),
        (STANZA % "enabled: 3", "upstreams[0].accounts[1].enabled: must be true or false (got 3)"),
        (STANZA % "base_url: ftp://x", "upstreams[0].accounts[1].base_url: must be a URL that begins with http:// or "
         "https:// and has no query"),
        (STANZA % "token: a, api_key: b", "upstreams[0].accounts[1]: must have api_key or token, not both"),
        ("upstreams: [{name: a/b, type: t}]",
         "upstreams[0].name: must be a name of 1 to 64 plain ASCII characters without '/' (got \"a/b\")"),
        ("upstreams: [{name: '', type: t}]",
         "upstreams[0].name: must be a name of 1 to 64 plain ASCII characters without '/' (got \"\")"),
        ("upstreams: [{name: a, type: t}, {name: a, type: t}]",
         "upstreams[1].name: is the same as that of upstreams[0]"),
        ("upstreams: [{name: u, type: t, accounts: [{name: a}, {name: a}]}]",
         "upstreams[0].accounts[1].name: is the same as that of upstreams[0].accounts[0]"),
        ("models: {aliases: {a: b, b: c, c: a}}", "models.aliases: must not go round in a circle: a → b → c → a"),
        ("limits: {upload_memory: 5}",
         "limits: upload_memory must be at least upload_max, or no upload of that size could be taken"),
        ("storage: {link_ttl: 86401}", "storage.link_ttl: must be a whole number from 1 to 86400 (got 86401)"),
        ("data_dir: ~/x", "data_dir: must be a path without ~; write ${HOME} in its place"),
        ("log: {level: loud}", 'log.level: must be one of debug, info, warning, error (got "loud")'),
        ("1: x", "1: must be text: put this key in quotes"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_its_path_and_what_would_be_right(complaint: Any, text: str, told: str) -> None:
    assert complaint(text) == told


def test_an_unknown_kind_is_told_with_those_there_are(complaint: Any) -> None:
    told = complaint(STANZA % "daily_quota: {t2x: 3}")
    assert told.startswith("upstreams[0].accounts[1].daily_quota.t2x: must be one of t2t, t2i, ")


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"PORT": "http"}, 'PORT: must be a whole number from 1 to 65535, or 0 for any free port (got "http")'),
        ({"GATEWAY_PUBLIC_URL": "x"}, "GATEWAY_PUBLIC_URL: must be a URL that begins with http:// or https://"),
        ({"DATABASE_URL": "mysql://me:hunter22@h/d"}, "DATABASE_URL: must begin with postgresql:// or be sqlite:///"),
        ({"DATABASE_URL": "sqlite://"}, "DATABASE_URL: must begin with postgresql:// or be sqlite:///"),
        ({"STORAGE_URL": "ftp://me:hunter22@h"}, "STORAGE_URL: must begin with file:///, s3://"),
        ({"GATEWAY_MASTER_KEY": ""}, "GATEWAY_MASTER_KEY: must have at least 32 characters"),
        ({"GATEWAY_MASTER_KEY": "hunter22"}, "GATEWAY_MASTER_KEY: must have at least 32 characters"),
        ({"GATEWAY_MASTER_KEY": "0" * 64}, "GATEWAY_MASTER_KEY: is a well-known or too simple value"),
        ({"GATEWAY_MASTER_KEY": "changeme" * 5}, "GATEWAY_MASTER_KEY: is a well-known or too simple value"),
        ({"API_KEYS": f"{GOOD_KEY}, hunter2"}, "API_KEYS: env-2: is shorter than 8 characters"),
        ({"API_KEYS": "changeme"}, "API_KEYS: env-1: is a well-known placeholder"),
        ({"API_KEYS": "sk-xxxxxxxxxxxx"}, "API_KEYS: env-1: is a well-known placeholder"),
        ({"API_KEYS": "abababababab"}, "API_KEYS: env-1: is too simple"),
        ({"API_KEYS": "clé-très-secrète"}, "API_KEYS: env-1: may hold only plain ASCII"),
        ({"API_KEYS": f"{GOOD_KEY},{GOOD_KEY}"}, "API_KEYS: env-2: is the same as that of access.keys[0]"),
    ],
)
def test_a_wrong_variable_is_told_by_its_name(complaint: Any, env: Mapping[str, str], told: str) -> None:
    said = complaint(**env)
    assert said.startswith(told)
    assert "hunter2" not in said


def test_all_problems_are_told_at_once(complaint: Any) -> None:
    text = """
        server: {port: x}
        upstreams: [{name: a, type: t, priority: high}, {name: a, type: t, accounts: [{name: "${UNSET}"}]}]
        """
    lines = complaint(text, DATABASE_URL="mysql://").splitlines()
    assert lines[0] == "the configuration has 5 problems:"
    paths = {line.strip().split(":")[0] for line in lines[1:]}
    assert paths == {
        "server.port",
        "upstreams[0].priority",
        "upstreams[1].name",
        "upstreams[1].accounts[0].name",
        "DATABASE_URL",
    }


@pytest.mark.parametrize(
    "text",
    [
        "upstreams: [{name: a, type: t, accounts: [sk-hunter22]}]",
        "upstreams: [{name: a, type: t, accounts: [{name: a, api_key: [hunter22]}]}]",
        "upstreams: [{name: a, type: t, accounts: [{name: a, proxy: 'socks://hunter22@h'}]}]",
        "upstreams: [{name: a, type: t, accounts: [{name: a, max_concurrency: '${SECRET}'}]}]",
        "access: {keys: [{name: a, key: [hunter22]}]}",
        "access: {keys: [hunter22]}",
        "master_key: hunter22",
        "database_url: hunter22",
        "access: {keys: [{name: a, key: 'hunter22}]}",
        "access: {keys: [{name: a, key: 'hunter22', key: 'hunter22'}]}",
        "access: {keys: [{name: a, key: &hunter22",
        "hunter22",
    ],
)
def test_no_complaint_tells_a_secret(complaint: Any, text: str) -> None:
    assert "hunter22" not in complaint(text, SECRET="hunter22")


def test_no_secret_is_in_what_the_tree_looks_like(read: Any) -> None:
    text = """
        database_url: postgresql://me:hunter22@h/d
        storage: {url: "s3://hunter22:hunter22@b"}
        master_key: hunter22-0123456789-0123456789abcdef
        access: {keys: [{name: a, key: hunter22}]}
        upstreams:
          - {name: a, type: t, cookie: hunter22,
             accounts: [{name: a, token: hunter22, secret: hunter22, proxy: "http://hunter22@h"}]}
        """
    assert "hunter22" not in repr(read(text))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\na: 2", "line 2, column 1: 'a' stands twice"),
        ("a: [1", "line 1, column 6: "),
        ("- a", "must be a mapping of keys to values"),
        ("a: \x07", "must be YAML in UTF-8"),
    ],
)
def test_a_file_that_is_no_configuration_is_told_with_the_place(complaint: Any, text: str, told: str) -> None:
    assert re.match(rf"/.*config\.yaml(, |: ){re.escape(told)}", complaint(text))


# --- what it becomes ---


def test_a_stanza_keeps_the_keys_of_its_type(read: Any) -> None:
    text = """
        upstreams:
          - name: a
            type: t
            base_url: https://x.example/v1/
            fault: none
            models: [m, {id: n, kinds: [text_to_video, i2v]}]
            accounts: [{name: x, token: " abc\\n", device: d, daily_quota: {text_to_image: 3}, not_models: [m]}]
        models: {defaults: {text_to_speech: m}}
        """
    config = read(text)
    upstream = config.upstreams[0]
    account = upstream.accounts[0]
    assert upstream.options == {"fault": "none"}
    assert upstream.base_url == "https://x.example/v1"
    assert [(model.id, model.kinds) for model in upstream.models] == [("m", ()), ("n", ("t2v", "i2v"))]
    assert account.options == {"device": "d"}
    assert account.api_key is not None
    assert account.api_key.get_secret_value() == "abc"
    assert (account.daily_quota, account.not_models, account.weight) == ({"t2i": 3}, ("m",), 1.0)
    assert config.models.defaults == {"tts": "m"}


class TypeOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    delay: float = 0
    cookie: str = ""

    @field_validator("delay")
    @classmethod
    def _forward(cls, delay: float) -> float:
        if delay < 0:
            raise ValueError("time goes forward")
        return delay


def test_the_keys_of_a_type_are_read_by_its_own_model(read: Any) -> None:
    upstream = read("upstreams: [{name: a, type: t, delay: '2'}]").upstreams[0]
    assert read_options(upstream, TypeOptions, "upstreams[0]") == TypeOptions(delay=2)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("delya: 2", "upstreams[0].delya: unknown key; did you mean 'delay'?"),
        ("acounts: []", "upstreams[0].acounts: unknown key; did you mean 'accounts'?"),
        ("cookie: [hunter22]", "upstreams[0].cookie: must be a valid string"),
        ("delay: -1", "upstreams[0].delay: time goes forward"),
    ],
)
def test_mistakes_in_the_keys_of_a_type_are_told_like_others(read: Any, keys: str, told: str) -> None:
    upstream = read(f"upstreams: [{{name: a, type: t, {keys}}}]").upstreams[0]
    with pytest.raises(ConfigError) as error:
        read_options(upstream, TypeOptions, "upstreams[0]")
    assert str(error.value).startswith(told)
    assert "hunter22" not in str(error.value)


def test_the_tree_cannot_be_changed(read: Any) -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().server.port = 5
