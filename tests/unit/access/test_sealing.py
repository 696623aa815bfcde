"""Credentials at rest: sealed, opened by whoever has the master key, and by nobody else."""

import pytest

from gateway.access.sealing import Sealer
from gateway.errors import ConfigError, NoMasterKey, SealBroken

FIRST = "the master key of the tests, long enough"
SECOND = "another master key of the tests, as long"
SECRET = "sk-canary-0123456789"
SEALED_LONG_AGO = "gAAAAABrAdUE8hfouMvPzhzcu4j8uuALT7r1ik7IA-t-1LlNcJP7RvpdDdkqPpWDYEpOsbViTcBadmPt1Tedrr5L9x02214-HA=="


def test_what_is_sealed_opens_and_shows_nothing() -> None:
    sealer = Sealer(FIRST)
    sealed = sealer.seal(SECRET + " é\n")
    assert sealer.open(sealed) == SECRET + " é\n"
    assert "canary" not in sealed
    assert sealed.isascii()
    assert sealer.seal(SECRET) != sealer.seal(SECRET)
    assert sealer.open(sealer.seal("")) == ""


def test_what_an_earlier_version_sealed_still_opens() -> None:
    assert Sealer(FIRST).open(SEALED_LONG_AGO) == "a secret"


def test_a_master_key_can_be_changed() -> None:
    sealed = Sealer(FIRST).seal(SECRET)
    rotated = Sealer(SECOND, [FIRST])
    assert rotated.open(sealed) == SECRET
    assert not rotated.fresh(sealed)
    anew = rotated.seal(SECRET)
    assert rotated.fresh(anew)
    assert Sealer(SECOND).open(anew) == SECRET
    with pytest.raises(SealBroken):
        Sealer(FIRST).open(anew)


@pytest.mark.parametrize("sealer", [Sealer(SECOND), Sealer(SECOND, [FIRST[:-1]]), Sealer(None), Sealer(FIRST + " ")])
def test_a_wrong_key_opens_nothing_and_the_error_says_what_to_set(sealer: Sealer) -> None:
    with pytest.raises(SealBroken) as told:
        sealer.open(Sealer(FIRST).seal(SECRET))
    assert "GATEWAY_MASTER_KEY" in str(told.value)
    assert "GATEWAY_PREVIOUS_MASTER_KEYS" in str(told.value)
    assert isinstance(told.value, ConfigError)
    assert told.value.__context__ is None


def test_what_somebody_changed_does_not_open() -> None:
    sealer = Sealer(FIRST)
    sealed = sealer.seal(SECRET)
    other = "A" if sealed[50] != "A" else "B"
    for broken in ("", "no token", "é", sealed[:-4], sealed[:50] + other + sealed[51:]):
        with pytest.raises(SealBroken):
            sealer.open(broken)
        assert not sealer.fresh(broken)


def test_without_a_master_key_nothing_is_sealed_but_what_was_still_opens() -> None:
    sealer = Sealer(None, [FIRST])
    assert not sealer.able
    with pytest.raises(NoMasterKey, match="set GATEWAY_MASTER_KEY"):
        sealer.seal(SECRET)
    sealed = Sealer(FIRST).seal(SECRET)
    assert sealer.open(sealed) == SECRET
    assert not sealer.fresh(sealed)
