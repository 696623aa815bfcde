"""Secrets at rest: sealed with the newest master key, opened with any that is set."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Final, Self

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.config import Config
from gateway.errors import NoMasterKey, SealBroken

PURPOSE: Final = b"mediagate sealed credentials"
"""What keys are derived for: another use of the master key never shares one."""

UNSEALABLE: Final = "credentials are kept only sealed: set GATEWAY_MASTER_KEY (make one with: openssl rand -hex 32)"
UNOPENABLE: Final = (
    "it was sealed with another master key: set GATEWAY_MASTER_KEY to that one, "
    "or name it in GATEWAY_PREVIOUS_MASTER_KEYS"
)


class Sealer:
    """Seals with `master`; opens what that one or one of `previous` sealed. Without `master` it only opens."""

    def __init__(self, master: str | None, previous: Sequence[str] = ()) -> None:
        self._newest = _fernet(master) if master is not None else None
        keys = [self._newest] if self._newest else []
        self._keys = [*keys, *map(_fernet, previous)]

    @classmethod
    def of(cls, config: Config) -> Self:
        """By the master keys of the config."""
        master = config.master_key.get_secret_value() if config.master_key else None
        return cls(master, [key.get_secret_value() for key in config.previous_master_keys])

    @property
    def able(self) -> bool:
        """Whether it can seal."""
        return self._newest is not None

    def seal(self, text: str) -> str:
        """Plain ASCII that only a holder of the key can read or change. Raises NoMasterKey."""
        if self._newest is None:
            raise NoMasterKey(UNSEALABLE)
        return self._newest.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """What was sealed. Raises SealBroken where no key opens it, or somebody changed it."""
        if self._keys:
            try:
                return MultiFernet(self._keys).decrypt(sealed.encode()).decode()
            except InvalidToken:
                pass  # what it was about is not for anybody's eyes
        raise SealBroken(UNOPENABLE)

    def fresh(self, sealed: str) -> bool:
        """Whether the newest key sealed it."""
        if self._newest is None:
            return False
        try:
            self._newest.decrypt(sealed.encode())
        except InvalidToken:
            return False
        return True


def _fernet(master: str) -> Fernet:
    """A master key is free text; what seals is derived from it."""
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE).derive(master.encode())
    return Fernet(base64.urlsafe_b64encode(derived))
