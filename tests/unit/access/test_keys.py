import hashlib

import pytest

from gateway.access import keys
from gateway.access.keys import MISSING, WRONG, Keyring, KeySpec
from gateway.errors import ConfigError, Unauthorized

ADMIN = KeySpec.of("ops", "sk-secret-of-ops", "admin")
RING = Keyring([ADMIN, KeySpec.of("shop", "sk-secret-of-shop")])


def refused(ring: Keyring, header: bytes | None) -> str:
    with pytest.raises(Unauthorized) as told:
        ring.principal(header)
    assert (told.value.status, told.value.code) == (401, "invalid_api_key")
    return str(told.value)


def test_a_key_proves_who_holds_it() -> None:
    ops, shop = RING.principal(b"Bearer sk-secret-of-ops"), RING.principal(b"Bearer sk-secret-of-shop")
    assert (ops.name, ops.role, shop.name, shop.role) == ("ops", "admin", "shop", "developer")
    assert ops.id != shop.id


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER"])
def test_the_case_of_the_scheme_does_not_matter(scheme: bytes) -> None:
    assert RING.principal(scheme + b" sk-secret-of-ops").name == "ops"


@pytest.mark.parametrize("header", [None, b"", b"Bearer", b"Bearer "])
def test_without_a_key_the_caller_is_told_how_to_send_one(header: bytes | None) -> None:
    assert refused(RING, header) == MISSING


@pytest.mark.parametrize(
    "header",
    [
        b"Bearer sk-secret-of-op",
        b"Bearer sk-secret-of-ops ",
        b"Bearer  sk-secret-of-ops",
        b"Bearer sk-secret-of-ops, Bearer sk-secret-of-ops",
        b"Bearer\tsk-secret-of-ops",
        b"Basic sk-secret-of-ops",
        b"sk-secret-of-ops",
        b"Bearer ' OR 1=1--",
        b"Bearer sk-\xff\x00\n\xc3\xa9",
        b"Bearer " + b"x" * 1_000_000,
    ],
)
def test_anything_else_is_refused_in_the_same_words_without_an_echo(header: bytes) -> None:
    assert refused(RING, header) == WRONG


def test_an_oversized_header_is_refused_without_being_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(hashlib, "sha256")
    assert refused(RING, b"Bearer " + b"x" * 506) == WRONG


def test_the_longest_key_that_is_taken_can_be_used() -> None:
    key = "k" * keys.LONGEST_KEY
    assert Keyring([KeySpec.of("long", key)]).principal(b"Bearer " + key.encode()).name == "long"


def test_a_key_of_other_letters_works() -> None:
    assert Keyring([KeySpec.of("é", "clé-ключ")]).principal("Bearer clé-ключ".encode()).name == "é"


def test_the_owner_id_is_stable_and_is_no_prefix_of_the_hash_of_the_key() -> None:
    again = Keyring([KeySpec.of("renamed", "sk-secret-of-ops", "viewer")]).principal(b"Bearer sk-secret-of-ops")
    assert again.id == RING.principal(b"Bearer sk-secret-of-ops").id
    assert len(again.id) == 16
    assert not hashlib.sha256(b"sk-secret-of-ops").hexdigest().startswith(again.id)


def test_a_known_header_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = RING.principal(b"Bearer sk-secret-of-ops")
    monkeypatch.delattr(hashlib, "sha256")
    assert RING.principal(b"Bearer sk-secret-of-ops") is first


def test_what_is_remembered_is_bounded_and_holds_no_wrong_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MOST_REMEMBERED", 2)
    ring = Keyring([ADMIN])
    for scheme in (b"Bearer", b"bearer", b"BEARER", b"bEARER"):
        assert ring.principal(scheme + b" sk-secret-of-ops").name == "ops"
        refused(ring, scheme + b" wrong")
        assert len(ring._remembered) <= 2
        assert all(header.endswith(b"sk-secret-of-ops") for header in ring._remembered)


def test_a_ring_knows_whether_it_is_empty() -> None:
    assert Keyring().empty
    assert not RING.empty
    assert refused(Keyring(), b"Bearer x") == WRONG


def test_one_key_cannot_have_two_roles() -> None:
    with pytest.raises(ConfigError, match="'ops' and 'other' are one key with two roles") as told:
        Keyring([ADMIN, KeySpec.of("other", "sk-secret-of-ops", "viewer")])
    assert "secret" not in str(told.value)


def test_naming_a_key_twice_with_one_role_is_harmless() -> None:
    assert (
        Keyring([ADMIN, KeySpec.of("b", "sk-secret-of-ops", "admin")]).principal(b"Bearer sk-secret-of-ops").name
        == "ops"
    )


@pytest.mark.parametrize("key", ["", "two words", "line\n", "nul\0", "k" * 600])
def test_a_key_that_no_header_can_carry_is_an_error_of_the_configuration(key: str) -> None:
    with pytest.raises(ConfigError, match="'x'"):
        KeySpec.of("x", key)


def test_a_key_shows_in_no_repr() -> None:
    assert "secret" not in repr(ADMIN)
    assert repr(ADMIN.secret_sha256) not in repr(ADMIN)


def test_a_key_says_which_accounts_serve_it() -> None:
    ring = Keyring([KeySpec.of("shop", "sk-secret-of-shop", account_tags=["eu", "paid", "eu"]), ADMIN])
    assert ring.principal(b"Bearer sk-secret-of-shop").account_tags == {"eu", "paid"}
    assert ring.principal(b"Bearer sk-secret-of-ops").account_tags == frozenset()
