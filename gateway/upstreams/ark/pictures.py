"""Images as the vendor answers them: all at once, or each as it comes. Pure readers.

An answer may hold, beside images, those that were not made, each with its error; there is one error for all only where
none was made. In a stream a refusal of the content ends one image, a failure of the vendor's all that would follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from gateway.errors import GatewayError, UpstreamGarbled
from gateway.types import Media, MediaReady, Usage
from gateway.upstreams.ark import failures

_TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png"}


class Item(msgspec.Struct):
    url: str | None = None
    b64_json: str | None = None
    size: str | None = None
    """Like `2048x2048`."""
    output_format: str | None = None
    error: failures.Trouble | None = None

    def media(self) -> Media:
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", self.size or "")
        return Media(
            "image",
            mime=_TYPES.get(self.output_format or "", ""),
            url=None if self.b64_json else self.url,
            b64=self.b64_json,
            width=int(found[1]) if found else None,
            height=int(found[2]) if found else None,
        )


class Spent(msgspec.Struct):
    generated_images: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


class Images(msgspec.Struct):
    """An answer that comes in one piece."""

    data: list[Item] | None = None
    usage: Spent | None = None
    error: Any = None


class Told(Item):
    """An event of a stream."""

    type: str = ""
    usage: Spent | None = None


class Gathered:
    """What one or more askings came to, as far as it is known."""

    def __init__(self, secret: str) -> None:
        """`secret` is kept out of every word."""
        self._secret = secret
        self.usage = Usage()
        self.failure: GatewayError | None = None
        """Why an image was not made; of several the last."""
        self.missing: list[int] = []
        """The places of those that were not, from 1 on."""
        self.completed = False
        """Whether the vendor said that this is all."""

    def whole(self, images: Images) -> Iterator[MediaReady]:
        for item in images.data or ():
            yield from self._item(item)
        self._spent(images.usage)
        self.completed = True

    def event(self, told: Told) -> Iterator[MediaReady]:
        """Of a stream."""
        if not told.type.endswith(".completed"):
            yield from self._item(told)
            return
        if told.error is not None:
            self.failure = failures.of_job(told.error, self._secret)
        self._spent(told.usage)
        self.completed = True

    @property
    def nothing(self) -> GatewayError:
        """Why there is no image at all."""
        return self.failure or UpstreamGarbled("the upstream's answer holds no image", sent="unknown")

    def lost(self, wanted: int, error: GatewayError) -> None:
        """Nothing more comes of `wanted` images."""
        self.failure = error
        while self._count < wanted:
            self.missing.append(self._count + 1)

    @property
    def told(self) -> str:
        """What is missing of several, in words; empty where nothing is."""
        if not self.missing:
            return ""
        why = f": {self.failure.message}" if self.failure else ""
        return f"Of {self._count} images came to nothing {', '.join(map(str, self.missing))}{why}\n"

    @property
    def _count(self) -> int:
        return self.usage.images + len(self.missing)

    def _item(self, item: Item) -> Iterator[MediaReady]:
        if item.error is not None:
            self.failure = failures.of_job(item.error, self._secret)
            self.missing.append(self._count + 1)
        elif item.url or item.b64_json:
            self.usage = replace(self.usage, images=self.usage.images + 1)
            yield MediaReady(item.media())

    def _spent(self, spent: Spent | None) -> None:
        if spent is not None:
            self.usage = replace(
                self.usage,
                input_tokens=self.usage.input_tokens + max(0, spent.total_tokens - spent.output_tokens),
                output_tokens=self.usage.output_tokens + spent.output_tokens,
            )
