from base64 import urlsafe_b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Forbidden
from gateway.links import Links

NOW = 1_790_000_000.4
KEY = "videos/2026-01/wan2.6-t2v_20260105_101010_0a1b2c3d.mp4"
LINKS = Links([b"s" * 32], ttl=600)


def taken_apart(path: str) -> tuple[str, str]:
    _, files, token, key = path.split("/", 3)
    assert files == "files"
    return token, key


def test_a_link_opens_what_it_was_made_for() -> None:
    token, key = taken_apart(LINKS.path(KEY, NOW))
    assert key == KEY
    LINKS.verify(token, key, NOW)
    LINKS.verify(token, key, NOW + 599)


def test_a_link_is_a_plain_path_that_ends_in_the_extension() -> None:
    path = LINKS.path(KEY, NOW)
    assert path.startswith("/files/")
    assert path.endswith(".mp4")
    assert not set(path) & set("?#%&=+ ")


def test_a_link_is_over_after_its_time() -> None:
    token, key = taken_apart(LINKS.path(KEY, NOW))
    with pytest.raises(Forbidden) as refused:
        LINKS.verify(token, key, NOW + 600)
    assert refused.value.code == "expired_link"
    assert refused.value.status == 403


@given(st.integers(0, 27), st.characters(max_codepoint=0x2FF))
def test_a_changed_token_is_refused(place: int, other: str) -> None:
    token, key = taken_apart(LINKS.path(KEY, NOW))
    changed = token[:place] + other + token[place + 1 :]
    if changed == token:
        return
    with pytest.raises(Forbidden):
        LINKS.verify(changed, key, NOW)


@given(st.integers(0, 27), st.integers(0, 7))
def test_a_flipped_bit_of_the_token_is_refused(place: int, bit: int) -> None:
    token, key = taken_apart(LINKS.path(KEY, NOW))
    raw = bytearray(token.encode())
    raw[place] ^= 1 << bit
    with pytest.raises(Forbidden):
        LINKS.verify(raw.decode("latin-1"), key, NOW)


@given(st.integers(0, len(KEY) - 1), st.integers(0, 7))
def test_a_flipped_bit_of_the_key_is_refused(place: int, bit: int) -> None:
    token, key = taken_apart(LINKS.path(KEY, NOW))
    raw = bytearray(key.encode())
    raw[place] ^= 1 << bit
    with pytest.raises(Forbidden):
        LINKS.verify(token, raw.decode("latin-1"), NOW)


@given(st.text(max_size=40))
def test_any_other_text_is_no_token(text: str) -> None:
    with pytest.raises(Forbidden):
        LINKS.verify(text, KEY, NOW)


@pytest.mark.parametrize(
    "spell", [lambda t: t + "=", lambda t: t + "\n", lambda t: t[:-1], lambda t: f" {t}", lambda t: ""]
)
def test_only_one_spelling_of_a_token_is_taken(spell) -> None:  # type: ignore[no-untyped-def]
    token, key = taken_apart(LINKS.path(KEY, NOW))
    with pytest.raises(Forbidden):
        LINKS.verify(spell(token), key, NOW)


def test_the_standard_alphabet_is_refused() -> None:
    tokens = (taken_apart(LINKS.path(f"a{n}.png", NOW)) for n in range(200))
    token, key = next((token, key) for token, key in tokens if "-" in token or "_" in token)
    with pytest.raises(Forbidden):
        LINKS.verify(token.replace("-", "+").replace("_", "/"), key, NOW)


def test_a_token_has_no_spare_bits() -> None:
    token, _ = taken_apart(LINKS.path(KEY, NOW))
    assert len(urlsafe_b64decode(token)) * 8 == len(token) * 6


def test_a_link_does_not_open_another_file() -> None:
    token, _ = taken_apart(LINKS.path(KEY, NOW))
    with pytest.raises(Forbidden):
        LINKS.verify(token, KEY.replace("0a1b2c3d", "0a1b2c3e"), NOW)


def test_links_of_an_old_secret_go_on_until_it_is_taken_out() -> None:
    old, new = b"o" * 32, b"n" * 32
    token, key = taken_apart(Links([old], 600).path(KEY, NOW))
    Links([new, old], 600).verify(token, key, NOW)
    with pytest.raises(Forbidden):
        Links([new], 600).verify(token, key, NOW)
    assert Links([new, old], 600).path(KEY, NOW) == Links([new], 600).path(KEY, NOW)


def test_the_time_left_is_counted() -> None:
    token, _ = taken_apart(LINKS.path(KEY, NOW))
    assert LINKS.seconds_left(token, NOW + 100) == 500
    assert LINKS.seconds_left(token, NOW + 10_000) == 0


@pytest.mark.parametrize(("secrets", "ttl"), [([], 60), ([b"short"], 60), ([b"s" * 32], 0), ([b"s" * 32], 86_401)])
def test_weak_links_are_not_made(secrets: list[bytes], ttl: int) -> None:
    with pytest.raises(ValueError):
        Links(secrets, ttl)
